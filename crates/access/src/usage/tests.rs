use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::quota::{KeyLimits, Unit};
use crate::rate::RateLimit;

const DAY_MS: i64 = 86_400_000;

fn limit(per_second: f64, burst: u64) -> Option<RateLimit> {
    Some(RateLimit::new(per_second, burst).expect("a limit"))
}

fn paying(tenant_limits: TenantLimits, key_limits: Option<KeyLimits>) -> Paying {
    Paying {
        tenant: Arc::new(TenantUsage::new(Timestamp::from_millis(0))),
        tenant_limits: Arc::new(tenant_limits),
        key: key_limits.map(|limits| (Arc::default(), Arc::new(limits))),
    }
}

/// Both clocks at this time.
fn at(millis: u64) -> Now {
    Now {
        monotonic: Duration::from_millis(millis),
        wall: Timestamp::from_millis(i64::try_from(millis).expect("a time")),
    }
}

fn samples(samples: u64) -> Demand {
    Demand { samples, bytes: samples * 2, events: 0 }
}

fn reason<T>(result: Result<T, Refusal>) -> Option<RefusalReason> {
    result.err().map(|refusal| refusal.reason)
}

fn total(paying: &Paying, kind: UsageKind) -> u64 {
    let report = paying.tenant.report(Timestamp::from_millis(0));
    report.total.iter().find(|(found, _)| *found == kind).expect("all kinds").1
}

#[test]
fn names_are_read_as_they_are_written() {
    for kind in UsageKind::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
    assert!("sample".parse::<UsageKind>().is_err());
}

#[test]
fn reasons_and_kinds_are_counted_at_their_place() {
    let usage = TenantUsage::new(Timestamp::from_millis(0));
    for (count, reason) in RefusalReason::ALL.into_iter().enumerate() {
        (0..=count).for_each(|_| usage.count_refusal(reason));
    }
    let report = usage.report(Timestamp::from_millis(0));
    let expected: Vec<_> = RefusalReason::ALL.into_iter().zip(1..).collect();
    assert_eq!(report.refused, expected);
    assert!(report.total.contains(&(UsageKind::Refused, 28)));
    let kinds: Vec<_> = report.total.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, UsageKind::ALL);
}

#[test]
fn requests_are_limited_for_the_key_and_the_tenant() {
    let tenant = TenantLimits { requests: limit(1.0, 3), ..TenantLimits::default() };
    let key = KeyLimits { requests: limit(1.0, 2), ..KeyLimits::default() };
    let first = paying(tenant, Some(key));
    let other = Paying {
        key: first.key.as_ref().map(|(_, limits)| (Arc::default(), Arc::clone(limits))),
        ..first.clone()
    };
    let now = at(10_000);
    assert_eq!(
        [(); 3].map(|()| reason(first.request(now))),
        [None, None, Some(RefusalReason::RateKey),]
    );
    assert_eq!(
        [(); 2].map(|()| reason(other.request(now))),
        [None, Some(RefusalReason::RateTenant)]
    );
    // What the tenant was refused is not taken from the key.
    assert_eq!(reason(other.request(at(11_000))), None);
    assert_eq!(total(&first, UsageKind::Requests), 6);
    assert_eq!(total(&first, UsageKind::Refused), 2);
}

#[test]
fn a_write_takes_all_or_nothing() {
    let limits = TenantLimits {
        samples: limit(10.0, 100),
        samples_per_day_max: Some(1_000),
        bytes_per_day_max: Some(100),
        ..TenantLimits::default()
    };
    let paying = paying(limits, None);
    let now = at(1_000);
    // The bytes refuse: the samples are whole afterwards.
    assert_eq!(reason(paying.write(samples(60), now)), Some(RefusalReason::QuotaBytes));
    let charge =
        paying.write(Demand { samples: 100, bytes: 100, events: 0 }, now).expect("allowed");
    assert_eq!(reason(paying.write(samples(1), now)), Some(RefusalReason::RateTenant));
    drop(charge);
    let charge = paying.write(samples(50), now).expect("all was given back");
    charge.keep(samples(50));
    assert_eq!(reason(paying.write(samples(1), now)), Some(RefusalReason::QuotaBytes));
    assert_eq!(total(&paying, UsageKind::Samples), 50);
    assert_eq!(total(&paying, UsageKind::BytesIn), 100);
}

#[test]
fn a_quota_that_refuses_leaves_the_others_whole() {
    let limits = TenantLimits {
        samples_per_day_max: Some(10),
        bytes_per_day_max: Some(100),
        ..TenantLimits::default()
    };
    let paying = paying(limits, None);
    let demand = |samples, bytes| Demand { samples, bytes, events: 0 };
    paying.write(demand(8, 60), at(0)).expect("allowed").keep(demand(8, 60));
    assert_eq!(reason(paying.write(demand(3, 40), at(0))), Some(RefusalReason::QuotaSamples));
    assert_eq!(reason(paying.write(demand(2, 40), at(0))), None);
}

#[test]
fn a_key_is_refused_before_its_tenant_and_costs_it_nothing() {
    let tenant = TenantLimits { events: limit(1.0, 10), ..TenantLimits::default() };
    let key = KeyLimits { events: limit(1.0, 5), ..KeyLimits::default() };
    let paying = paying(tenant, Some(key));
    let events = |events| paying.write(Demand { events, ..Demand::default() }, at(0));
    let refusal = events(6).expect_err("more than the burst");
    assert_eq!((refusal.reason, refusal.retry_after), (RefusalReason::RateKey, None));
    events(5).expect("allowed").keep(Demand { events: 5, ..Demand::default() });
    let refusal = events(1).expect_err("nothing left");
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(1)));
    let without_key = Paying { key: None, ..paying.clone() };
    assert!(without_key.write(Demand { events: 5, ..Demand::default() }, at(0)).is_ok());
}

#[test]
fn a_quota_is_exact_and_ends_with_the_day() {
    let limits = TenantLimits { samples_per_day_max: Some(10), ..TenantLimits::default() };
    let paying = paying(limits, None);
    let noon = at(43_200_000);
    paying.write(samples(9), noon).expect("allowed").keep(samples(9));
    assert_eq!(reason(paying.may_write(Unit::Samples, 0, noon)), None);
    let refusal = paying.write(samples(2), noon).expect_err("one is left");
    assert_eq!(refusal.reason, RefusalReason::QuotaSamples);
    assert_eq!(refusal.retry_after, Some(Duration::from_hours(12)));
    let refusal = paying.write(samples(11), noon).expect_err("more than a day's");
    assert_eq!(refusal.retry_after, None);
    paying.write(samples(1), noon).expect("allowed").keep(samples(1));
    let before = paying.may_write(Unit::Samples, 0, noon);
    assert_eq!(reason(before), Some(RefusalReason::QuotaSamples));
    assert_eq!(reason(paying.may_write(Unit::Events, 0, noon)), None);
    let tomorrow = at(86_400_000);
    paying.write(samples(10), tomorrow).expect("a new day").keep(samples(10));
}

#[test]
fn what_was_not_stored_is_left_of_the_day() {
    let limits = TenantLimits { samples_per_day_max: Some(10), ..TenantLimits::default() };
    let paying = paying(limits, None);
    paying.write(samples(10), at(0)).expect("allowed").keep(samples(4));
    assert_eq!(reason(paying.write(samples(7), at(0))), Some(RefusalReason::QuotaSamples));
    assert_eq!(reason(paying.write(samples(6), at(0))), None);
    assert_eq!(total(&paying, UsageKind::Samples), 4);
}

#[test]
fn what_is_given_back_after_midnight_does_not_break_the_new_day() {
    let limits = TenantLimits { samples_per_day_max: Some(10), ..TenantLimits::default() };
    let paying = paying(limits, None);
    let charge = paying.write(samples(10), at(86_399_999)).expect("allowed");
    let tomorrow = at(86_400_000);
    assert_eq!(reason(paying.may_write(Unit::Samples, 0, tomorrow)), None);
    drop(charge);
    assert_eq!(reason(paying.write(samples(11), tomorrow)), Some(RefusalReason::QuotaSamples));
    assert_eq!(reason(paying.write(samples(10), tomorrow)), None);
}

#[test]
fn a_quota_survives_a_restart() {
    let limits = TenantLimits { samples_per_day_max: Some(10), ..TenantLimits::default() };
    let before = paying(limits.clone(), None);
    before.write(samples(6), at(0)).expect("allowed").keep(samples(6));
    before.request(at(0)).expect("allowed");
    let sums = before.tenant.take_unsaved(at(0).wall);
    assert_eq!(sums.len(), 3);

    let after = paying(limits, None);
    let old = DaySum { day: Day::from_number(-1), kind: UsageKind::Samples, amount: 100 };
    for sum in sums.iter().copied().chain([old]) {
        after.tenant.load(sum, at(0).wall);
    }
    assert_eq!(reason(after.write(samples(5), at(0))), Some(RefusalReason::QuotaSamples));
    after.write(samples(4), at(0)).expect("allowed").keep(samples(4));
    let report = after.tenant.report(at(0).wall);
    assert!(report.today.contains(&(UsageKind::Samples, 10)));
    assert!(report.total.contains(&(UsageKind::Samples, 4)));
    let unsaved = after.tenant.take_unsaved(at(0).wall);
    assert!(unsaved.contains(&DaySum {
        day: Day::from_number(0),
        kind: UsageKind::Samples,
        amount: 4
    }));
}

#[test]
fn queries_have_a_rate_and_a_number_at_a_time() {
    let limits = TenantLimits {
        queries: limit(1.0, 3),
        queries_concurrent_max: Some(2),
        ..TenantLimits::default()
    };
    let paying = paying(limits, None);
    let first = paying.query(at(0)).expect("allowed");
    let second = paying.query(at(0)).expect("allowed");
    assert_eq!(reason(paying.query(at(0))), Some(RefusalReason::QueriesConcurrent));
    paying.count_samples_read(7);
    drop((first, second));
    drop(paying.query(at(0)).expect("places are free again"));
    assert_eq!(reason(paying.query(at(0))), Some(RefusalReason::RateTenant));
    let report = paying.tenant.report(Timestamp::from_millis(0));
    assert_eq!(report.queries_running, 0, "a refused query takes no place");
    assert_eq!(total(&paying, UsageKind::Queries), 3);
    assert_eq!(total(&paying, UsageKind::SamplesRead), 7);
}

#[test]
fn a_tenant_has_limits_of_its_own_before_those_of_all() {
    let usage = TenantUsage::new(at(0).wall);
    let all = Arc::new(TenantLimits { samples: limit(1.0, 1), ..TenantLimits::default() });
    assert_eq!(usage.limits(&all), all);
    let own = Arc::new(TenantLimits { series_max: Some(7), ..TenantLimits::default() });
    usage.set_limits(Arc::clone(&own));
    assert_eq!(usage.limits(&Arc::default()), own);
    let both = TenantLimits { series_max: Some(7), ..TenantLimits::clone(&all) };
    assert_eq!(*usage.limits(&all), both);
}

#[test]
fn threads_together_get_what_is_allowed() {
    let limits = TenantLimits {
        samples: limit(0.001, 1_000),
        samples_per_day_max: Some(700),
        ..TenantLimits::default()
    };
    let paying = paying(limits, None);
    let mut threads = platform::Threads::new();
    for _ in 0..4 {
        let paying = paying.clone();
        let work = move || {
            for _ in 0..500 {
                if let Ok(charge) = paying.write(samples(1), at(0)) {
                    charge.keep(samples(1));
                }
            }
        };
        threads.spawn("writer", work, |_| {}).expect("a thread");
    }
    threads.join().expect("no panic");
    assert_eq!(total(&paying, UsageKind::Samples), 700);
    assert_eq!(total(&paying, UsageKind::Refused), 1_300);
}

proptest! {
    #[test]
    fn sums_of_days_add_up(steps in vec((0_u64..3, 1_u64..100, any::<bool>()), 1..60)) {
        let paying = paying(TenantLimits::default(), None);
        let (mut day, mut expected, mut stored) = (0_i64, 0, 0);
        for (days, amount, fails) in steps {
            day += days.cast_signed();
            let now = at((day * DAY_MS).cast_unsigned());
            paying.write(samples(amount), now).expect("no limits").keep(samples(amount));
            expected += amount;
            let sums = paying.tenant.take_unsaved(now.wall);
            if fails {
                paying.tenant.put_back(sums);
            } else {
                let of_samples = sums.iter().filter(|sum| sum.kind == UsageKind::Samples);
                stored += of_samples.map(|sum| sum.amount).sum::<u64>();
                prop_assert_eq!(stored, expected);
            }
        }
    }
}
