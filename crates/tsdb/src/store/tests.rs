use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use model::{
    LabelEncoding, LabelError, Labels, MatchOp, MetricType, RejectReason, Sample, SampleColumns,
    SeriesKey, SeriesLimitScope,
};
use platform::{FsOperation, SimClock, SimFs, SimRng};

use super::*;

mod crash;
mod damage;
mod limits;
mod oracle;
mod upkeep;

/// Where the clock of the tests stands: an ordinary afternoon.
const NOW: i64 = 1_760_000_000_000;

/// What a store holds: labels, and the bits of the value at each time.
type Contents = BTreeMap<String, BTreeMap<i64, u64>>;

/// A store on a simulated disk.
struct Rig {
    fs: Arc<SimFs>,
    clock: Arc<SimClock>,
    config: StoreConfig,
    store: Arc<Store>,
    report: RecoveryReport,
}

impl Rig {
    fn new(config: StoreConfig) -> Self {
        Self::on(SimFs::new(), config)
    }

    fn on(fs: Arc<SimFs>, config: StoreConfig) -> Self {
        let clock = SimClock::new(Timestamp::from_millis(NOW));
        let (store, report) = open(&fs, &clock, &config).expect("a store that opens");
        Self { fs, clock, config, store, report }
    }

    /// Closes the store and opens it again.
    fn reopened(self) -> Self {
        self.store.close();
        let Self { fs, config, store, .. } = self;
        drop(store);
        Self::on(fs, config)
    }

    fn try_append(
        &self,
        samples: &[(&str, i64, f64)],
        mode: AppendMode,
    ) -> Result<AppendReceipt, AppendError> {
        append_to(&self.store, samples, mode)
    }

    /// Appends samples of which none is to be refused.
    fn append(&self, samples: &[(&str, i64, f64)]) {
        let receipt = self.try_append(samples, AppendMode::AllOrNothing).expect("accepted");
        assert_eq!(receipt.stored_samples, samples.len());
    }

    /// Appends samples and returns how many were refused, with the first reason.
    fn refused(&self, samples: &[(&str, i64, f64)]) -> (usize, Option<RejectReason>) {
        let receipt = self.try_append(samples, AppendMode::Partial).expect("partly accepted");
        assert_eq!(receipt.stored_samples + receipt.rejections.samples, samples.len());
        let first = receipt.rejections.examples.first().map(|example| example.reason.clone());
        (receipt.rejections.samples, first)
    }

    /// Cuts the head and writes it, whatever is in it.
    fn flush(&self) -> Maintenance {
        self.clock.advance(std::time::Duration::from_secs(24 * 3_600));
        self.clock.set_now(Timestamp::from_millis(NOW));
        self.store.maintain().expect("maintained")
    }

    fn contents(&self) -> Contents {
        contents_of(&self.store, &[], TimeRange::ALL)
    }

    fn samples(&self, series: &str) -> Vec<(i64, f64)> {
        let contents = self.contents();
        let samples = contents.get(&labels_of(series).to_string()).cloned().unwrap_or_default();
        samples.into_iter().map(|(time, bits)| (time, f64::from_bits(bits))).collect()
    }
}

fn open(
    fs: &Arc<SimFs>,
    clock: &Arc<SimClock>,
    config: &StoreConfig,
) -> Result<(Arc<Store>, RecoveryReport), StoreError> {
    let (fs, clock) = (Arc::clone(fs), Arc::new(Arc::clone(clock)));
    Store::open(fs, clock, SimRng::new(1), Path::new("/data/metrics"), config.clone())
}

/// Returns the labels that are written `name` or `name,label=value,…`.
fn labels_of(text: &str) -> Labels {
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    let pairs = rest.split(',').filter_map(|pair| pair.split_once('='));
    Labels::from_pairs([("__name__", name)].into_iter().chain(pairs)).expect("valid labels")
}

fn append_to(
    store: &Store,
    samples: &[(&str, i64, f64)],
    mode: AppendMode,
) -> Result<AppendReceipt, AppendError> {
    let labels: Vec<Labels> = samples.iter().map(|(series, ..)| labels_of(series)).collect();
    let mut batch = WriteBatch::new();
    for (labels, (_, time, value)) in labels.iter().zip(samples) {
        let sample = Sample::new(Timestamp::from_millis(*time), *value);
        batch.push(SeriesKey::canonical(labels), sample);
    }
    store.append(&batch, mode)
}

fn contents_of(store: &Store, matchers: &[Matcher], range: TimeRange) -> Contents {
    let selected = store.select(matchers, range, &Cancellation::never()).expect("selected");
    assert!(selected.is_sorted_by(|left, right| left.labels() < right.labels()));
    let mut contents = Contents::new();
    for series in selected {
        let mut columns = SampleColumns::new();
        series.read(range, &mut columns).expect("read");
        let samples: BTreeMap<i64, u64> = columns
            .iter()
            .map(|sample| (sample.timestamp.as_millis(), sample.value.to_bits()))
            .collect();
        assert_eq!(samples.len(), columns.len(), "each time once");
        if !samples.is_empty() {
            contents.insert(series.labels().to_string(), samples);
        }
    }
    contents
}

/// Returns what a future resolves to that has nothing to wait for any more.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn unlimited() -> StoreConfig {
    StoreConfig { retention_ms: 0, ..StoreConfig::default() }
}

#[test]
fn samples_are_read_back_before_and_after_a_restart() {
    let rig = Rig::new(unlimited());
    rig.append(&[("up,job=a", NOW, 1.0), ("up,job=b", NOW, 0.0), ("up,job=a", NOW + 5, 2.0)]);
    let before = rig.contents();
    assert_eq!(before.len(), 2);
    assert_eq!(rig.samples("up,job=a"), [(NOW, 1.0), (NOW + 5, 2.0)]);
    let rig = rig.reopened();
    assert_eq!(rig.contents(), before);
    assert_eq!((rig.report.records, rig.report.samples, rig.report.series), (1, 3, 2));
}

#[test]
fn a_restarted_store_goes_on_where_it_was() {
    let mut rig = Rig::new(unlimited());
    for round in 0..4 {
        rig.append(&[("a", NOW + round, 1.0), ("b", NOW + round, 2.0)]);
        rig = rig.reopened();
    }
    assert_eq!(rig.samples("a").len(), 4);
    assert_eq!(rig.samples("b").len(), 4);
    assert_eq!(rig.store.stats().series, 2);
}

#[test]
fn a_batch_is_durable_once_it_is_committed_and_not_before() {
    let rig = Rig::new(unlimited());
    let receipt = rig.try_append(&[("a", NOW, 1.0)], AppendMode::Partial).expect("accepted");
    assert_eq!(now(rig.store.durable(receipt.sequence)), None);
    rig.store.commit().expect("committed");
    assert_eq!(now(rig.store.durable(receipt.sequence)), Some(Ok(())));
    let again = rig.try_append(&[("a", NOW, 1.0)], AppendMode::Partial).expect("accepted");
    assert_eq!((again.sequence, again.stored_samples), (receipt.sequence, 1));
}

#[test]
fn a_sample_sent_again_changes_nothing_and_another_value_replaces_it() {
    let rig = Rig::new(unlimited());
    rig.append(&[("a", NOW, 1.0)]);
    rig.append(&[("a", NOW, 1.0)]);
    assert_eq!(rig.store.stats().head_samples, 1);
    rig.append(&[("a", NOW, 2.0)]);
    assert_eq!(rig.samples("a"), [(NOW, 2.0)]);
    rig.append(&[("a", NOW, 1.0)]);
    assert_eq!(rig.samples("a"), [(NOW, 1.0)]);
    assert_eq!(rig.store.stats().samples_replaced_total, 2);
    assert_eq!(rig.reopened().samples("a"), [(NOW, 1.0)]);
}

#[test]
fn staleness_markers_and_other_nans_are_kept_bit_for_bit() {
    let rig = Rig::new(unlimited());
    let payload = f64::from_bits(0x7ff8_0000_0000_beef);
    rig.append(&[("a", NOW, model::stale_nan()), ("a", NOW + 1, payload), ("a", NOW + 2, -0.0)]);
    let rig = rig.reopened();
    let bits: Vec<u64> = rig.contents().into_values().flat_map(BTreeMap::into_values).collect();
    assert_eq!(bits, [model::STALE_NAN_BITS, payload.to_bits(), (-0.0_f64).to_bits()]);
}

#[test]
fn another_spelling_of_the_same_labels_is_the_same_series() {
    static REVERSED: LabelEncoding = LabelEncoding { id: 9, decode: decode_reversed };
    fn decode_reversed(bytes: &[u8]) -> Result<Labels, LabelError> {
        Labels::from_bytes(&bytes.iter().rev().copied().collect::<Vec<u8>>())
    }
    let rig = Rig::new(unlimited());
    rig.append(&[("a", NOW, 1.0)]);
    let reversed: Vec<u8> = labels_of("a").as_bytes().iter().rev().copied().collect();
    for time in [NOW + 1, NOW + 2] {
        let mut batch = WriteBatch::new();
        let sample = Sample::new(Timestamp::from_millis(time), 2.0);
        batch.push(SeriesKey { encoding: &REVERSED, bytes: &reversed }, sample);
        rig.store.append(&batch, AppendMode::Partial).expect("accepted");
    }
    assert_eq!(rig.samples("a"), [(NOW, 1.0), (NOW + 1, 2.0), (NOW + 2, 2.0)]);
    assert_eq!(rig.store.cardinality().total_series, 1);
}

#[test]
fn an_idle_head_is_written_when_its_series_have_many_samples() {
    let second = std::time::Duration::from_secs(1);
    for (series, expected) in [(1_000, 100_000), (5_000, 0)] {
        let rig = Rig::new(StoreConfig::default());
        for at in 0..100_000 / series {
            let names: Vec<String> = (0..series).map(|index| format!("m{index}")).collect();
            let samples: Vec<_> =
                names.iter().map(|name| (name.as_str(), NOW + at * 15, 1.0)).collect();
            rig.append(&samples);
        }
        rig.clock.advance(19 * second);
        assert_eq!(rig.store.maintain().expect("maintained").samples_flushed, 0);
        rig.clock.advance(second);
        assert_eq!(rig.store.maintain().expect("maintained").samples_flushed, expected);
    }
}

#[test]
fn descriptions_survive_restarts_and_cuts() {
    let described = |help: &str| model::MetricMetadata {
        metric_type: MetricType::Counter,
        help: help.to_owned(),
        unit: "seconds".to_owned(),
    };
    let rig = Rig::new(StoreConfig { metadata_max: 2, ..unlimited() });
    let mut batch = WriteBatch::new();
    batch.push_metadata("b".to_owned(), described("old"));
    batch.push_metadata("a".to_owned(), described("first"));
    batch.push_metadata("c".to_owned(), described("one too many"));
    rig.store.append(&batch, AppendMode::Partial).expect("accepted");
    batch.clear();
    batch.push_metadata("b".to_owned(), described("new"));
    rig.store.append(&batch, AppendMode::Partial).expect("accepted");
    assert_eq!(rig.store.stats().metadata_dropped_total, 1);
    let expected = [("a".to_owned(), described("first")), ("b".to_owned(), described("new"))];
    let mut rig = rig.reopened();
    assert_eq!(rig.store.metadata(None), expected);
    rig.append(&[("a", NOW, 1.0)]);
    rig.flush();
    rig = rig.reopened();
    assert_eq!(rig.store.metadata(None), expected);
    assert_eq!(rig.store.metadata(Some("b")), expected[1..]);
    assert_eq!(rig.store.metadata(Some("c")), []);
}

#[test]
fn labels_are_listed_from_head_and_blocks() {
    let rig = Rig::new(unlimited());
    rig.append(&[("up,job=a", NOW, 1.0), ("down,zone=x", NOW, 1.0)]);
    rig.flush();
    rig.append(&[("up,job=b", NOW + 1_000, 1.0)]);
    let up = [Matcher::equal("__name__", "up")];
    let at = |time| TimeRange::new(Timestamp::from_millis(time), Timestamp::from_millis(time));
    let never = Cancellation::never();
    let names = |matchers: &[Matcher], range| {
        rig.store.label_names(matchers, range, &never).expect("listed")
    };
    let values = |name, matchers: &[Matcher], range| {
        rig.store.label_values(name, matchers, range, &never).expect("listed")
    };
    assert_eq!(names(&[], TimeRange::ALL), ["__name__", "job", "zone"]);
    assert_eq!(names(&up, TimeRange::ALL), ["__name__", "job"]);
    assert_eq!(names(&[], at(NOW + 1_000)), ["__name__", "job"]);
    assert_eq!(values("job", &[], TimeRange::ALL), ["a", "b"]);
    assert_eq!(values("job", &up, at(NOW + 1_000)), ["b"]);
    assert_eq!(values("__name__", &[], TimeRange::ALL), ["down", "up"]);
    assert!(values("nothing", &[], TimeRange::ALL).is_empty());
}

#[test]
fn a_query_does_not_take_one_part_of_the_head_for_the_other_when_a_writer_comes_between() {
    let rig = Rig::new(StoreConfig { journal_bytes_max: 1, ..unlimited() });
    rig.append(&[("gone", NOW, 1.0), ("a", NOW, 2.0)]);
    rig.flush();
    rig.append(&[("a", NOW + 1, 3.0)]);
    maintain::cut(&rig.store).expect("cut");
    let a = [Matcher::equal("__name__", "a")];
    let at = Timestamp::from_millis;
    let found = rig.store.state.read().find(&a, TimeRange::new(at(NOW), at(NOW + 9)));
    // The part that is written now had nothing to offer, and numbers series anew.
    rig.append(&[("b", NOW + 2, 4.0), ("a", NOW + 2, 5.0)]);
    let state = rig.store.state.read();
    let copied = found
        .iter()
        .enumerate()
        .flat_map(|(place, series)| state.copy(place, series).expect("a part that is still there"));
    let mut columns = SampleColumns::new();
    copied.for_each(|series| {
        assert_eq!(*series.labels(), labels_of("a"));
        series.read(TimeRange::ALL, &mut columns).expect("read");
    });
    assert_eq!((columns.timestamps(), columns.values()), ([NOW + 1].as_slice(), [3.0].as_slice()));
}

#[test]
fn matchers_are_satisfied_by_absent_labels_in_head_and_blocks() {
    let rig = Rig::new(unlimited());
    rig.append(&[("a", NOW, 1.0), ("a,job=x", NOW, 1.0)]);
    rig.flush();
    rig.append(&[("a", NOW + 1, 1.0), ("a,job=y", NOW + 1, 1.0)]);
    let found = |op, value| {
        let matcher = Matcher::new("job", op, value).expect("an expression");
        contents_of(&rig.store, &[matcher], TimeRange::ALL).len()
    };
    assert_eq!(found(MatchOp::Equal, ""), 1);
    assert_eq!(found(MatchOp::NotEqual, ""), 2);
    assert_eq!(found(MatchOp::NotEqual, "x"), 2);
    assert_eq!(found(MatchOp::Regex, "x|y"), 2);
    assert_eq!(found(MatchOp::Regex, "x|"), 2);
    assert_eq!(found(MatchOp::NotRegex, "x.*"), 2);
}

#[test]
fn a_cancelled_query_ends() {
    let rig = Rig::new(unlimited());
    rig.append(&[("a", NOW, 1.0)]);
    let cancellation = Cancellation::never();
    cancellation.cancel();
    let selected = rig.store.select(&[], TimeRange::ALL, &cancellation);
    assert_eq!(selected.expect_err("cancelled"), SourceError::Cancelled);
}

#[test]
fn a_folder_has_one_owner() {
    let rig = Rig::new(unlimited());
    let second = open(&rig.fs, &rig.clock, &rig.config);
    assert!(matches!(second, Err(StoreError::Locked { .. })));
    let Rig { fs, clock, config, store, .. } = rig;
    drop(store);
    assert!(open(&fs, &clock, &config).is_ok());
}

#[test]
fn a_failed_sync_makes_the_store_read_only_and_red() {
    let rig = Rig::new(unlimited());
    rig.append(&[("a", NOW, 1.0)]);
    rig.store.commit().expect("committed");
    let receipt = rig.try_append(&[("a", NOW + 1, 2.0)], AppendMode::Partial).expect("queued");
    rig.fs.fail_next(FsOperation::SyncData, std::io::ErrorKind::Other);
    assert!(matches!(rig.store.commit(), Err(AppendError::ReadOnly { .. })));
    let durable = now(rig.store.durable(receipt.sequence));
    assert!(matches!(durable, Some(Err(AppendError::ReadOnly { .. }))), "{durable:?}");
    let refused = rig.try_append(&[("a", NOW + 2, 3.0)], AppendMode::Partial);
    assert!(matches!(refused, Err(AppendError::ReadOnly { .. })), "{refused:?}");
    assert!(rig.store.health().read_only.is_some());
    assert!(rig.samples("a").contains(&(NOW, 1.0)), "reads go on");
    let rig = rig.reopened();
    assert_eq!(rig.store.health(), StoreHealth::default());
    assert!(rig.samples("a").contains(&(NOW, 1.0)));
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space_again() {
    let rig = Rig::new(unlimited());
    rig.append(&[("a", NOW, 1.0)]);
    rig.store.commit().expect("committed");
    rig.fs.set_space(Some(10));
    rig.try_append(&[("b", NOW + 1, 2.0)], AppendMode::Partial).expect("queued");
    assert!(rig.store.commit().is_err());
    assert!(rig.store.health().read_only.is_some());
    assert!(rig.try_append(&[("b", NOW + 1, 2.0)], AppendMode::Partial).is_err());
    assert!(rig.store.maintain().is_err());
    assert!(rig.store.health().last_maintenance_error.is_some());
    rig.fs.set_space(None);
    rig.store.maintain().expect("maintained");
    assert_eq!(rig.store.health(), StoreHealth::default());
    // The same sample again, and a new one of a series that the journal has lost the labels of.
    rig.append(&[("b", NOW + 1, 2.0), ("b", NOW + 2, 3.0)]);
    let rig = rig.reopened();
    assert_eq!(rig.samples("b"), [(NOW + 1, 2.0), (NOW + 2, 3.0)]);
    assert_eq!(rig.samples("a"), [(NOW, 1.0)]);
}

#[test]
fn a_store_counts_what_it_does() {
    let rig = Rig::new(unlimited());
    assert_eq!(rig.store.activity().last_maintenance, None);
    rig.append(&[("up", NOW, 1.0), ("up", NOW + 1, 1.0)]);
    rig.store.commit().expect("committed");
    rig.flush();
    let activity = rig.store.activity();
    assert_eq!((activity.flushes.count(), activity.compactions.count()), (1, 0));
    assert_eq!((activity.maintained.blocks_written, activity.maintained.samples_flushed), (1, 2));
    assert_eq!(activity.last_maintenance, Some(Timestamp::from_millis(NOW)));
    assert!(activity.journal.commit_records.count() > 0 && activity.commits.count() == 1);

    rig.append(&[("up", NOW + 2, 1.0)]);
    rig.fs.set_space(Some(0));
    rig.clock.advance(std::time::Duration::from_secs(24 * 3_600));
    rig.store.maintain().expect_err("the disk is full");
    assert_eq!(rig.store.activity().maintenance_failures, 1);
}

#[test]
fn a_closed_store_refuses_writes_and_still_reads() {
    let rig = Rig::new(unlimited());
    rig.append(&[("a", NOW, 1.0)]);
    rig.store.close();
    let refused = rig.try_append(&[("a", NOW + 1, 1.0)], AppendMode::Partial);
    assert!(matches!(refused, Err(AppendError::ReadOnly { .. })));
    assert_eq!(rig.samples("a"), [(NOW, 1.0)]);
    assert!(!rig.store.wait_for_pending());
}

#[test]
fn damage_within_the_journal_is_reported_and_the_rest_is_served() {
    let rig = Rig::new(unlimited());
    for samples in [[("a", NOW, 1.0), ("b", NOW, 2.0)], [("c", NOW, 3.0), ("d", NOW, 4.0)]] {
        rig.append(&samples);
        rig.store.commit().expect("committed");
    }
    let journal = Path::new("/data/metrics").join(JOURNAL_DIR);
    let segment = rig.fs.list(&journal).expect("listed").into_iter().find(|entry| !entry.is_dir);
    let path = journal.join(segment.expect("a segment").name);
    let damaged_at = rig.fs.read(&path, 1 << 20).expect("read").len() - 5;
    rig.append(&[("c", NOW + 1, 5.0), ("a", NOW + 1, 6.0)]);
    rig.store.commit().expect("committed");
    rig.fs.corrupt(&path, damaged_at, 0x40);
    let rig = rig.reopened();
    assert_eq!(rig.samples("a"), [(NOW, 1.0), (NOW + 1, 6.0)]);
    assert_eq!(rig.samples("b"), [(NOW, 2.0)]);
    assert_eq!(
        rig.contents().len(),
        2,
        "the labels of c are lost, and it is not taken for another"
    );
    assert!(rig.report.quarantined.iter().any(|line| line.contains("labels are lost")));
    assert!(rig.report.quarantined.len() > 1, "{:?}", rig.report.quarantined);
    rig.append(&[("c", NOW + 2, 7.0)]);
    let rig = rig.reopened();
    assert_eq!(rig.samples("c"), [(NOW + 2, 7.0)]);
}
