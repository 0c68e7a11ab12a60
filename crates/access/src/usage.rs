//! What tenants use, and where it is held against what they are allowed.
//!
//! What passes with every request is a few atomic numbers: tens of nanoseconds, no lock. A lock is taken when a day of
//! UTC ends, and when sums are written back or reported.

mod charge;
mod days;
mod meters;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use platform::{Clock, Timestamp};

pub use charge::{Demand, KeyUsage, Paying, QueryCharge, WriteCharge};
pub use days::{Day, DaySum};
pub use meters::{Meters, MetersFull};

use crate::permission::UnknownName;
use crate::quota::{Refusal, RefusalReason, TenantLimits};
use crate::rate::Limiter;
use days::Days;

/// What is counted of a tenant, since the start and for each day. The names are those in the state database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageKind {
    /// Requests of any kind, the refused ones too.
    Requests,
    /// Requests that a limit refused.
    Refused,
    /// Samples that were stored.
    Samples,
    /// Events that were stored.
    Events,
    /// Bytes of the bodies of writes that were stored, as sent.
    BytesIn,
    /// Queries that began.
    Queries,
    /// Samples that queries read.
    SamplesRead,
}

impl UsageKind {
    /// All kinds, in order.
    pub const ALL: [Self; 7] = [
        Self::Requests,
        Self::Refused,
        Self::Samples,
        Self::Events,
        Self::BytesIn,
        Self::Queries,
        Self::SamplesRead,
    ];

    /// Returns the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Refused => "refused",
            Self::Samples => "samples",
            Self::Events => "events",
            Self::BytesIn => "bytes_in",
            Self::Queries => "queries",
            Self::SamplesRead => "samples_read",
        }
    }
}

impl std::str::FromStr for UsageKind {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == name);
        found.ok_or_else(|| UnknownName::new(name, Self::ALL.iter().map(|known| known.as_str())))
    }
}

/// Both times at which a request is looked at: rates go by the monotonic one, days by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The monotonic time.
    pub monotonic: Duration,
    /// The time of day.
    pub wall: Timestamp,
}

impl Now {
    /// Returns both times of `clock`.
    #[must_use]
    pub fn of(clock: &dyn Clock) -> Self {
        Self { monotonic: clock.monotonic(), wall: clock.now() }
    }
}

/// One number for each kind.
pub(crate) type Counts = [u64; UsageKind::ALL.len()];

/// What one tenant uses.
#[derive(Debug)]
pub struct TenantUsage {
    requests: Limiter,
    samples: Limiter,
    events: Limiter,
    queries: Limiter,
    queries_running: AtomicU64,
    /// What happened since the start, by kind. Never goes down.
    counts: [AtomicU64; UsageKind::ALL.len()],
    /// The refused requests by reason.
    refused: [AtomicU64; RefusalReason::ALL.len()],
    quotas: Quotas,
    days: Mutex<Days>,
    /// What the tenant is allowed itself.
    limits: ArcSwap<TenantLimits>,
}

/// What counts against the quotas of the day, what is being stored included.
#[derive(Debug)]
struct Quotas {
    /// The number of the day that `begun` belongs to. Changed with `days` locked.
    day: AtomicU64,
    bytes: Quota,
    samples: Quota,
    events: Quota,
}

/// A count that goes up with what is asked for, and down with what was not stored after all.
#[derive(Debug, Default)]
struct Quota {
    taken: AtomicU64,
    /// What `taken` was when the day began, less what was used of it before the program started. Wraps.
    begun: AtomicU64,
}

/// What a tenant has used since the program started, and what it is using.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageReport {
    /// Queries that run or wait.
    pub queries_running: u64,
    /// What happened since the start, by kind.
    pub total: Vec<(UsageKind, u64)>,
    /// What happened today, by kind, before the program started too.
    pub today: Vec<(UsageKind, u64)>,
    /// The refused requests since the start, by reason.
    pub refused: Vec<(RefusalReason, u64)>,
}

impl TenantUsage {
    /// Returns the usage of a tenant that has used nothing yet.
    #[must_use]
    pub fn new(wall: Timestamp) -> Self {
        let day = Day::of(wall);
        Self {
            requests: Limiter::new(),
            samples: Limiter::new(),
            events: Limiter::new(),
            queries: Limiter::new(),
            queries_running: AtomicU64::new(0),
            counts: Default::default(),
            refused: Default::default(),
            quotas: Quotas {
                day: AtomicU64::new(day.bits()),
                bytes: Quota::default(),
                samples: Quota::default(),
                events: Quota::default(),
            },
            days: Mutex::new(Days::new(day)),
            limits: ArcSwap::default(),
        }
    }

    /// Says what the tenant is allowed from now on.
    pub fn set_limits(&self, limits: Arc<TenantLimits>) {
        self.limits.store(limits);
    }

    /// Returns what the tenant is allowed, with `defaults` where it has no limit of its own.
    #[must_use]
    pub fn limits(&self, defaults: &Arc<TenantLimits>) -> Arc<TenantLimits> {
        let (own, none) = (self.limits.load(), TenantLimits::default());
        if **own == none {
            Arc::clone(defaults)
        } else if **defaults == none {
            Arc::clone(&own)
        } else {
            Arc::new(own.or(defaults))
        }
    }

    /// Adds what was used on one day before the program started, or on another server: today's counts against the
    /// quotas. It is not returned by [`TenantUsage::take_unsaved`].
    pub fn load(&self, sum: DaySum, wall: Timestamp) {
        self.begin_day(wall);
        let mut days = self.days.lock();
        if days.load(sum)
            && let Some(quota) = self.quotas.of(sum.kind)
        {
            // Wraps below zero; only the difference counts.
            quota.begun.fetch_sub(sum.amount, Ordering::Relaxed);
        }
    }

    /// Returns what was used since the last call, by day and kind, in order: to be added to what is stored. What could
    /// not be stored is [put back](TenantUsage::put_back). When the program ends without a call, it is forgotten.
    #[must_use]
    pub fn take_unsaved(&self, wall: Timestamp) -> Vec<DaySum> {
        self.begin_day(wall);
        let mut days = self.days.lock();
        days.take_unsaved(self.counts())
    }

    /// Takes back what could not be stored.
    pub fn put_back(&self, sums: Vec<DaySum>) {
        self.days.lock().put_back(sums);
    }

    /// Returns the counts.
    #[must_use]
    pub fn report(&self, wall: Timestamp) -> UsageReport {
        self.begin_day(wall);
        let (counts, today) = {
            let days = self.days.lock();
            // Read with the lock held: they are not behind what is remembered there.
            let counts = self.counts();
            (counts, days.today(counts))
        };
        let refused = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        UsageReport {
            queries_running: self.queries_running.load(Ordering::Relaxed),
            total: UsageKind::ALL.into_iter().zip(counts).collect(),
            today: UsageKind::ALL.into_iter().zip(today).collect(),
            refused: RefusalReason::ALL.into_iter().zip(refused).collect(),
        }
    }

    /// Counts what a limit refused.
    pub fn count_refusal(&self, reason: RefusalReason) {
        self.count(UsageKind::Refused, 1);
        if let Some(count) = self.refused.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count(&self, kind: UsageKind, amount: u64) {
        if let Some(count) = self.counts.get(kind as usize) {
            count.fetch_add(amount, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> Counts {
        self.counts.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Begins a new day when it is due.
    fn begin_day(&self, wall: Timestamp) {
        let today = Day::of(wall);
        if self.quotas.day.load(Ordering::Acquire) == today.bits() {
            return;
        }
        let mut days = self.days.lock();
        if !days.begin(today, self.counts()) {
            return;
        }
        for quota in [&self.quotas.bytes, &self.quotas.samples, &self.quotas.events] {
            quota.begun.store(quota.taken.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        // The last: who sees the new day sees its quotas, or at worst those of the day that ended.
        self.quotas.day.store(today.bits(), Ordering::Release);
    }

    /// Takes `amount` of a quota: all of it, or nothing.
    fn take_quota(
        &self,
        reason: RefusalReason,
        limits: &TenantLimits,
        amount: u64,
        wall: Timestamp,
    ) -> Result<(), Refusal> {
        let (quota, maximum) = match reason {
            RefusalReason::QuotaSamples => (&self.quotas.samples, limits.samples_per_day_max),
            RefusalReason::QuotaEvents => (&self.quotas.events, limits.events_per_day_max),
            _ => (&self.quotas.bytes, limits.bytes_per_day_max),
        };
        let begun = quota.begun.load(Ordering::Relaxed);
        let more = |taken: u64| {
            let Some(maximum) = maximum else { return Some(taken.wrapping_add(amount)) };
            // Less than nothing is used when what was asked for yesterday was given back today.
            let used = taken.wrapping_sub(begun).cast_signed().max(0).cast_unsigned();
            (amount <= maximum.saturating_sub(used)).then_some(taken.wrapping_add(amount))
        };
        let taken = quota.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(drop).map_err(|_| {
            Refusal::quota(reason, maximum.unwrap_or_default(), amount, Day::rest(wall))
        })
    }
}

impl Quotas {
    const fn of(&self, kind: UsageKind) -> Option<&Quota> {
        match kind {
            UsageKind::BytesIn => Some(&self.bytes),
            UsageKind::Samples => Some(&self.samples),
            UsageKind::Events => Some(&self.events),
            _ => None,
        }
    }
}

impl Quota {
    fn give_back(&self, amount: u64) {
        self.taken.fetch_sub(amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
