//! What a request pays, before its work is done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Now, TenantUsage, UsageKind};
use crate::quota::{KeyLimits, Refusal, RefusalReason, TenantLimits, Unit};
use crate::rate::{Limiter, RateLimit};

/// What is held against the limits of one key.
#[derive(Debug, Default)]
pub struct KeyUsage {
    requests: Limiter,
    samples: Limiter,
    events: Limiter,
}

impl KeyUsage {
    /// Returns whether everything is left that the key is allowed.
    pub(super) fn is_unused(&self, monotonic: Duration) -> bool {
        [&self.requests, &self.samples, &self.events]
            .iter()
            .all(|limiter| limiter.is_full(monotonic))
    }
}

/// Who pays: a tenant, and the key that acts for it, with what they are allowed at this moment.
#[derive(Clone, Debug)]
pub struct Paying {
    /// What the tenant uses.
    pub tenant: Arc<TenantUsage>,
    /// What the tenant is allowed.
    pub tenant_limits: Arc<TenantLimits>,
    /// What the key uses and is allowed; people, and servers without a login, have none.
    pub key: Option<(Arc<KeyUsage>, Arc<KeyLimits>)>,
}

/// What a write brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Samples.
    pub samples: u64,
    /// Events.
    pub events: u64,
    /// Bytes of the body, as sent.
    pub bytes: u64,
}

impl Paying {
    /// Counts a request, and takes it from the rates of the key and the tenant.
    ///
    /// # Errors
    ///
    /// There are too many; the refusal is counted.
    pub fn request(&self, now: Now) -> Result<(), Refusal> {
        self.tenant.begin_day(now.wall);
        self.tenant.count(UsageKind::Requests, 1);
        self.counted(self.rates(Unit::Requests).spend(1, now))
    }

    /// Asks before the body of a write is read whether there is any use in it: of what it may bring, `unit`, the rates
    /// allow something and the day has something left, and it has `bytes` left too. Takes nothing.
    ///
    /// # Errors
    ///
    /// Whatever the body says, it would be refused; the refusal is counted.
    pub fn may_write(&self, unit: Unit, bytes: u64, now: Now) -> Result<(), Refusal> {
        self.tenant.begin_day(now.wall);
        let demand = |amount| match unit {
            Unit::Events => Demand { events: amount, samples: 0, bytes },
            _ => Demand { samples: amount, events: 0, bytes },
        };
        self.counted(self.rates(unit).probe(now).and_then(|()| {
            self.take_quotas(demand(1), now)?;
            self.give_back_quotas(demand(1));
            Ok(())
        }))
    }

    /// Takes what a write brings from the rates and from the quotas of the day: all of it, or nothing. It counts as used
    /// once [kept](WriteCharge::keep).
    ///
    /// # Errors
    ///
    /// It is too much for now, or too much at once for ever; the refusal is counted.
    pub fn write(&self, demand: Demand, now: Now) -> Result<WriteCharge, Refusal> {
        self.tenant.begin_day(now.wall);
        let rates = self.rates(Unit::Samples).spend(demand.samples, now).and_then(|()| {
            let events = self.rates(Unit::Events).spend(demand.events, now);
            events.inspect_err(|_| self.rates(Unit::Samples).give_back(demand.samples))
        });
        let taken = rates.and_then(|()| {
            let quotas = self.take_quotas(demand, now);
            quotas.inspect_err(|_| self.give_back_rates(demand))
        });
        self.counted(taken)?;
        Ok(WriteCharge { paying: self.clone(), demand, kept: false })
    }

    /// Counts a query, and takes it from the tenant's rate of queries and from those that may run at a time.
    ///
    /// # Errors
    ///
    /// There are too many; the refusal is counted.
    pub fn query(&self, now: Now) -> Result<QueryCharge, Refusal> {
        self.tenant.begin_day(now.wall);
        let maximum = self.tenant_limits.queries_concurrent_max;
        let one_more =
            |running| (maximum.is_none_or(|maximum| running < maximum)).then_some(running + 1);
        let running = &self.tenant.queries_running;
        let begun = running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        self.counted(
            begun
                .map(drop)
                .map_err(|running| Refusal::queries_concurrent(maximum.unwrap_or(running))),
        )?;
        // From here on the place is given back when the charge is dropped.
        let charge = QueryCharge { tenant: Arc::clone(&self.tenant) };
        self.counted(self.rates(Unit::Queries).spend(1, now))?;
        self.tenant.count(UsageKind::Queries, 1);
        Ok(charge)
    }

    /// Counts what a query read.
    pub fn count_samples_read(&self, samples: u64) {
        self.tenant.count(UsageKind::SamplesRead, samples);
    }

    fn counted<T>(&self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        result.inspect_err(|refusal| self.tenant.count_refusal(refusal.reason))
    }

    fn take_quotas(&self, demand: Demand, now: Now) -> Result<(), Refusal> {
        let tenant = &self.tenant;
        let mut taken = Demand::default();
        let wanted = [
            (RefusalReason::QuotaBytes, demand.bytes, &mut taken.bytes),
            (RefusalReason::QuotaSamples, demand.samples, &mut taken.samples),
            (RefusalReason::QuotaEvents, demand.events, &mut taken.events),
        ];
        let mut result = Ok(());
        for (reason, amount, taken) in wanted {
            if amount > 0 && result.is_ok() {
                result = tenant.take_quota(reason, &self.tenant_limits, amount, now.wall);
                *taken = if result.is_ok() { amount } else { 0 };
            }
        }
        result.inspect_err(|_| self.give_back_quotas(taken))
    }

    fn give_back_quotas(&self, demand: Demand) {
        let quotas = &self.tenant.quotas;
        quotas.bytes.give_back(demand.bytes);
        quotas.samples.give_back(demand.samples);
        quotas.events.give_back(demand.events);
    }

    fn give_back_rates(&self, demand: Demand) {
        self.rates(Unit::Samples).give_back(demand.samples);
        self.rates(Unit::Events).give_back(demand.events);
    }

    fn rates(&self, unit: Unit) -> Rates<'_> {
        let key = self.key.as_ref().and_then(|(usage, limits)| {
            let (limiter, limit) = match unit {
                Unit::Requests => (&usage.requests, limits.requests),
                Unit::Samples => (&usage.samples, limits.samples),
                Unit::Events => (&usage.events, limits.events),
                Unit::Queries => return None,
            };
            Some((RefusalReason::RateKey, limiter, limit?))
        });
        let (usage, limits) = (&self.tenant, &self.tenant_limits);
        let (limiter, limit) = match unit {
            Unit::Requests => (&usage.requests, limits.requests),
            Unit::Samples => (&usage.samples, limits.samples),
            Unit::Events => (&usage.events, limits.events),
            Unit::Queries => (&usage.queries, limits.queries),
        };
        let tenant = limit.map(|limit| (RefusalReason::RateTenant, limiter, limit));
        Rates { unit, key, tenant }
    }
}

type Rate<'a> = (RefusalReason, &'a Limiter, RateLimit);

/// The rates that hold for one unit.
struct Rates<'a> {
    unit: Unit,
    key: Option<Rate<'a>>,
    tenant: Option<Rate<'a>>,
}

impl Rates<'_> {
    /// Spends from both, or from none.
    fn spend(&self, cost: u64, now: Now) -> Result<(), Refusal> {
        if cost == 0 {
            return Ok(());
        }
        let spend = |(reason, limiter, limit): Rate<'_>| {
            let spent = limiter.check(limit, cost, now.monotonic);
            spent.map_err(|exceeded| Refusal::rate(reason, self.unit, limit, exceeded))
        };
        self.key.map_or(Ok(()), spend)?;
        self.tenant.map_or(Ok(()), spend).inspect_err(|_| {
            if let Some((_, limiter, limit)) = self.key {
                limiter.give_back(limit, cost);
            }
        })
    }

    /// Asks whether anything may be spent.
    fn probe(&self, now: Now) -> Result<(), Refusal> {
        for (reason, limiter, limit) in [self.key, self.tenant].into_iter().flatten() {
            let found = limiter.probe(limit, 1, now.monotonic);
            found.map_err(|exceeded| Refusal::rate(reason, self.unit, limit, exceeded))?;
        }
        Ok(())
    }

    fn give_back(&self, cost: u64) {
        for (_, limiter, limit) in [self.key, self.tenant].into_iter().flatten() {
            limiter.give_back(limit, cost);
        }
    }
}

/// What a write has taken. Dropped without being kept, everything is given back: nothing was stored.
#[derive(Debug)]
#[must_use = "what is not kept is given back"]
pub struct WriteCharge {
    paying: Paying,
    demand: Demand,
    kept: bool,
}

impl WriteCharge {
    /// Counts what was stored: of the samples and events perhaps less than was asked for, and then the day has the rest
    /// left. The rates do not: looking at it was work.
    pub fn keep(mut self, stored: Demand) {
        self.kept = true;
        let tenant = &self.paying.tenant;
        tenant.count(UsageKind::Samples, stored.samples);
        tenant.count(UsageKind::Events, stored.events);
        tenant.count(UsageKind::BytesIn, stored.bytes);
        self.paying.give_back_quotas(Demand {
            samples: self.demand.samples.saturating_sub(stored.samples),
            events: self.demand.events.saturating_sub(stored.events),
            bytes: self.demand.bytes.saturating_sub(stored.bytes),
        });
    }
}

impl Drop for WriteCharge {
    fn drop(&mut self) {
        if !self.kept {
            self.paying.give_back_quotas(self.demand);
            self.paying.give_back_rates(self.demand);
        }
    }
}

/// The place of a query that runs or waits; free again when dropped.
#[derive(Debug)]
#[must_use = "the query has its place only as long as this lives"]
pub struct QueryCharge {
    tenant: Arc<TenantUsage>,
}

impl Drop for QueryCharge {
    fn drop(&mut self) {
        self.tenant.queries_running.fetch_sub(1, Ordering::Relaxed);
    }
}
