use super::*;

fn rejected(rig: &Rig, reason: &str) -> u64 {
    let stats = rig.store.stats();
    let found = stats.samples_rejected_total.iter().find(|(name, _)| *name == reason);
    found.expect("a reason").1
}

#[test]
fn the_series_limit_refuses_new_series_and_known_ones_go_on() {
    let rig = Rig::new(StoreConfig { series_max: 3, ..unlimited() });
    rig.append(&[("a", NOW, 1.0), ("b", NOW, 1.0)]);
    // Two new ones in the same batch, for one of which there is room.
    let batch = [("c", NOW, 1.0), ("d,x=1", NOW, 1.0), ("a", NOW + 1, 1.0), ("c", NOW + 1, 1.0)];
    let (count, reason) = rig.refused(&batch);
    assert_eq!(count, 1);
    let expected = RejectReason::SeriesLimit {
        scope: SeriesLimitScope::Total,
        metric: "d".to_owned(),
        current: 3,
        limit: 3,
        fastest_label: "x".to_owned(),
    };
    assert_eq!(reason, Some(expected));
    assert_eq!(rig.store.cardinality().total_series, 3);
    assert_eq!(rejected(&rig, "series_limit"), 1);
    let rig = rig.reopened();
    assert_eq!(rig.refused(&[("d,x=1", NOW, 1.0)]).0, 1);
    rig.append(&[("c", NOW + 2, 1.0)]);
}

#[test]
fn the_series_limit_can_be_changed_while_the_store_is_open() {
    let rig = Rig::new(StoreConfig { series_max: 1, ..unlimited() });
    rig.append(&[("a", NOW, 1.0)]);
    rig.store.set_series_max(Some(2));
    rig.append(&[("b", NOW, 1.0)]);
    assert_eq!(rig.refused(&[("c", NOW, 1.0), ("a", NOW + 1, 1.0)]).0, 1);
    assert_eq!(rig.store.cardinality().series_limit, 2);
    rig.store.set_series_max(None);
    assert_eq!(rig.store.cardinality().series_limit, 1);
    rig.append(&[("b", NOW + 1, 1.0)]);
}

#[test]
fn the_limit_of_a_metric_names_its_fastest_growing_label() {
    let rig = Rig::new(StoreConfig { series_per_metric_max: 4, ..unlimited() });
    let batch: Vec<String> = (0..6).map(|n| format!("m,id={n},zone={}", n % 2)).collect();
    let batch: Vec<_> = batch.iter().map(|series| (series.as_str(), NOW, 1.0)).collect();
    let (count, reason) = rig.refused(&batch);
    assert_eq!(count, 2);
    let Some(RejectReason::SeriesLimit { scope, current, limit, .. }) = reason else {
        panic!("{reason:?}");
    };
    assert_eq!((scope, current, limit), (SeriesLimitScope::Metric, 4, 4));
    let (_, reason) = rig.refused(&[("m,id=9", NOW, 1.0)]);
    let Some(RejectReason::SeriesLimit { fastest_label, .. }) = reason else {
        panic!("{reason:?}");
    };
    assert_eq!(fastest_label, "id");
    rig.append(&[("other", NOW, 1.0), ("m,id=3,zone=1", NOW + 1, 1.0)]);
    assert_eq!(rejected(&rig, "series_per_metric_limit"), 3);
    let cardinality = rig.store.cardinality();
    assert_eq!((cardinality.max_series_metric.as_str(), cardinality.max_series_count), ("m", 4));
    assert_eq!((cardinality.total_series, cardinality.unique_metrics), (5, 2));
}

#[test]
fn all_or_nothing_leaves_nothing_behind() {
    let rig = Rig::new(StoreConfig { series_max: 2, ..unlimited() });
    rig.append(&[("a", NOW, 1.0)]);
    let batch = [("b", NOW, 1.0), ("a", NOW + 1, 2.0), ("c", NOW, 1.0)];
    let refused = rig.try_append(&batch, AppendMode::AllOrNothing);
    let Err(AppendError::Rejected(rejection)) = refused else { panic!("{refused:?}") };
    assert_eq!(rejection.series_index, 2);
    assert_eq!(rejected(&rig, "series_limit"), 3);
    assert_eq!(rig.samples("a"), [(NOW, 1.0)]);
    assert_eq!(rig.store.cardinality().total_series, 1);
    let rig = rig.reopened();
    assert_eq!((rig.report.records, rig.report.series), (1, 1));
    rig.append(&[("b", NOW, 1.0)]);
}

#[test]
fn label_limits_hold_at_the_limit() {
    let config = StoreConfig {
        labels_max: 3,
        label_name_bytes_max: 8,
        label_value_bytes_max: 5,
        ..unlimited()
    };
    let rig = Rig::new(config);
    rig.append(&[("m,abcdefgh=12345,b=2", NOW, 1.0)]);
    let check = |series: &str, expected: LabelError| {
        let (count, reason) = rig.refused(&[(series, NOW, 1.0)]);
        assert_eq!((count, reason), (1, Some(RejectReason::Labels(expected))));
    };
    check("m,a=1,b=2,c=3", LabelError::TooMany { metric: "m".to_owned(), count: 4, limit: 3 });
    let name = "abcdefghi".to_owned();
    check("m,abcdefghi=1", LabelError::TooLong { part: "name", name, bytes: 9, limit: 8 });
    let name = "a".to_owned();
    check("m,a=123456", LabelError::TooLong { part: "value", name, bytes: 6, limit: 5 });
    let name = "__name__".to_owned();
    check("metric", LabelError::TooLong { part: "value", name, bytes: 6, limit: 5 });
    check("", LabelError::NoMetricName);
    assert_eq!(rejected(&rig, "labels"), 5);
    assert_eq!(rig.store.cardinality().total_series, 1);
}

#[test]
fn bytes_that_are_no_labels_are_refused_alone() {
    let rig = Rig::new(unlimited());
    let good = labels_of("good");
    let mut batch = WriteBatch::new();
    let sample = Sample::new(Timestamp::from_millis(NOW), 1.0);
    batch.push(SeriesKey { encoding: &LabelEncoding::CANONICAL, bytes: &[200, 1, 2] }, sample);
    batch.push(SeriesKey::canonical(&good), sample);
    let receipt = rig.store.append(&batch, AppendMode::Partial).expect("partly accepted");
    assert_eq!((receipt.stored_samples, receipt.rejections.samples), (1, 1));
}

#[test]
fn times_are_accepted_from_the_first_to_the_last_that_is_allowed() {
    let rig = Rig::new(StoreConfig {
        retention_ms: 1_000,
        future_ms_max: 100,
        out_of_order_window_ms: 50,
        ..StoreConfig::default()
    });
    rig.append(&[("a", NOW - 1_000, 1.0), ("b", NOW + 100, 1.0)]);
    let (_, reason) = rig.refused(&[("c", NOW - 1_001, 1.0)]);
    assert!(matches!(reason, Some(RejectReason::TooOld { .. })), "{reason:?}");
    let (_, reason) = rig.refused(&[("c", NOW + 101, 1.0)]);
    assert!(matches!(reason, Some(RejectReason::TooNew { .. })), "{reason:?}");
    rig.append(&[("b", NOW + 50, 2.0)]);
    let (_, reason) = rig.refused(&[("b", NOW + 49, 3.0)]);
    let expected = RejectReason::OutOfOrder {
        metric: "b".to_owned(),
        timestamp: Timestamp::from_millis(NOW + 49),
        newest: Timestamp::from_millis(NOW + 100),
        window_ms: 50,
    };
    assert_eq!(reason, Some(expected));
    assert_eq!(rig.store.cardinality().total_series, 2, "no series without a sample");
    let counts: Vec<u64> =
        ["too_old", "too_new", "out_of_order"].map(|reason| rejected(&rig, reason)).to_vec();
    assert_eq!(counts, [1, 1, 1]);
}

#[test]
fn a_series_refused_beside_a_new_one_is_not_taken_for_it_later() {
    let rig = Rig::new(unlimited());
    let far_ahead = NOW + rig.config.future_ms_max + 1;
    assert_eq!(rig.refused(&[("refused", far_ahead, 1.0), ("new", NOW, 2.0)]).0, 1);
    rig.append(&[("refused", NOW + 1, 3.0)]);
    assert_eq!(rig.samples("new"), [(NOW, 2.0)]);
    assert_eq!(rig.samples("refused"), [(NOW + 1, 3.0)]);
}

#[test]
fn what_retention_does_not_keep_is_not_seen_and_then_deleted() {
    let day_ms = 24 * 3_600_000;
    let rig = Rig::new(StoreConfig { retention_ms: day_ms, ..StoreConfig::default() });
    rig.append(&[("a", NOW, 1.0), ("a", NOW + 10, 2.0)]);
    rig.flush();
    assert_eq!(rig.store.stats().blocks, 1);
    let delay = std::time::Duration::from_secs(600);
    let expired = |past_ms| -> u64 {
        let step = |_| {
            rig.clock.advance(delay);
            rig.clock.set_now(Timestamp::from_millis(NOW + day_ms + past_ms));
            rig.store.maintain().expect("maintained").blocks_expired
        };
        (0..3).map(step).sum()
    };
    assert_eq!(expired(5), 0);
    assert_eq!(rig.samples("a"), [(NOW + 10, 2.0)]);
    assert_eq!(expired(10), 0);
    assert_eq!(expired(11), 1);
    assert!(rig.contents().is_empty());
    let stats = rig.store.stats();
    assert_eq!((stats.blocks, stats.samples), (0, 0));
}

#[test]
fn without_retention_samples_of_any_age_are_kept() {
    let rig = Rig::new(unlimited());
    rig.append(&[("a", 0, 1.0), ("a", NOW, 2.0), ("b", -86_400_000, 3.0), ("c", i64::MIN, 4.0)]);
    rig.flush();
    let rig = rig.reopened();
    assert_eq!(rig.samples("a"), [(0, 1.0), (NOW, 2.0)]);
    assert_eq!(rig.samples("b"), [(-86_400_000, 3.0)]);
    assert_eq!(rig.samples("c"), [(i64::MIN, 4.0)]);
    rig.clock.set_now(Timestamp::from_millis(NOW * 2));
    assert_eq!(rig.store.maintain().expect("maintained").blocks_expired, 0);
}

#[test]
fn a_batch_that_exceeds_a_record_is_refused_whole() {
    let rig = Rig::new(StoreConfig { record_bytes_max: 100, ..unlimited() });
    let batch: Vec<_> = (0..9).map(|n| ("a", NOW + n, 1.0)).collect();
    let refused = rig.try_append(&batch, AppendMode::Partial);
    assert!(matches!(refused, Err(AppendError::TooLarge { limit: 100, .. })), "{refused:?}");
    assert_eq!(rig.store.cardinality().total_series, 0);
    rig.append(&batch[..5]);
    assert_eq!(rig.reopened().samples("a").len(), 5);
}

#[test]
fn a_batch_that_the_journal_finds_too_long_is_too_large_and_not_a_sign_of_a_broken_store() {
    let rig = Rig::new(StoreConfig { pending_bytes_max: 100, ..unlimited() });
    let batch: Vec<_> = (0..9).map(|n| ("a", NOW + n, 1.0)).collect();
    let refused = rig.try_append(&batch, AppendMode::Partial);
    assert!(matches!(refused, Err(AppendError::TooLarge { limit: 84, .. })), "{refused:?}");
}

#[test]
fn a_head_that_is_full_refuses_writes_until_it_is_written() {
    let rig = Rig::new(StoreConfig { head_bytes_max: 4_000, ..unlimited() });
    let mut stored = 0;
    let refused = loop {
        let value = f64::from(stored).sqrt();
        match rig.try_append(&[("a", NOW + i64::from(stored), value)], AppendMode::Partial) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        rig.store.commit().expect("committed");
    };
    assert_eq!(refused, AppendError::Overloaded);
    assert!(stored > 100, "{stored}");
    let done = rig.store.maintain().expect("maintained");
    assert_eq!(done.samples_flushed, u64::try_from(stored).expect("positive"));
    rig.append(&[("a", NOW + i64::from(stored), 1.0)]);
    assert_eq!(rig.samples("a").len(), usize::try_from(stored).expect("positive") + 1);
}

#[test]
fn series_that_ended_make_room_for_new_ones() {
    let rig = Rig::new(StoreConfig { series_max: 2, ..unlimited() });
    rig.append(&[("a", NOW, 1.0), ("b", NOW, 1.0)]);
    rig.flush();
    rig.append(&[("b", NOW + 1, 1.0)]);
    assert_eq!(rig.refused(&[("c", NOW + 1, 1.0)]).0, 1);
    rig.flush();
    rig.append(&[("c", NOW + 2, 1.0), ("b", NOW + 2, 2.0)]);
    let before = rig.contents();
    assert_eq!(before.len(), 3);
    assert_eq!(rig.reopened().contents(), before);
}

#[test]
fn retention_can_change_while_the_store_is_open() {
    let hour = 3_600_000;
    let rig = Rig::new(StoreConfig { retention_ms: 24 * hour, ..StoreConfig::default() });
    let stored = |hours: i64| {
        let name = format!("after_{hours}_hours");
        let sample = [(name.as_str(), NOW - hours * hour, 1.0)];
        rig.try_append(&sample, AppendMode::AllOrNothing).is_ok()
    };
    assert!(!stored(30));
    rig.store.set_retention(Some(Duration::from_hours(48)));
    assert!(stored(30));
    rig.store.set_retention(Some(Duration::ZERO));
    assert!(stored(9_999));
    rig.store.set_retention(None);
    assert!(!stored(31));
}
