//! Behaviour of whole blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{
    Cancellation, Labels, MatchOp, Matcher, SampleColumns, Series as _, TimeRange, Timestamp,
};
use platform::{Fs as _, SimCrash, SimFs};
use proptest::prelude::*;

use super::*;

type Content = BTreeMap<Labels, Vec<(i64, u64)>>;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).expect("valid")
}

fn columns(samples: &[(i64, u64)]) -> SampleColumns {
    let mut columns = SampleColumns::new();
    samples.iter().for_each(|(time, bits)| columns.push(*time, f64::from_bits(*bits)));
    columns
}

fn path() -> PathBuf {
    PathBuf::from("/block")
}

fn write(fs: &SimFs, content: &Content) -> BlockMeta {
    let mut writer = BlockWriter::create(fs, &path()).expect("created");
    for (labels, samples) in content {
        writer.append(labels, &columns(samples)).expect("appended");
    }
    writer.finish(BlockOrigin::default()).expect("finished")
}

fn read(block: &Block) -> Result<Content, String> {
    let all = block.select(&[], TimeRange::ALL, &Cancellation::never());
    let mut content = Content::new();
    for series in all.map_err(|error| error.to_string())? {
        let mut columns = SampleColumns::new();
        series.read(TimeRange::ALL, &mut columns).map_err(|error| error.to_string())?;
        let samples = columns.iter().map(|s| (s.timestamp.as_millis(), s.value.to_bits()));
        content.insert(series.labels().clone(), samples.collect());
    }
    Ok(content)
}

/// Two jobs with two instances each, some series without a zone.
fn sample_content() -> Content {
    let mut content = Content::new();
    for (number, metric) in (0_i64..).zip(["cpu", "disk", "up"]) {
        for (job, instance) in [("x", "1"), ("x", "2"), ("y", "3"), ("y", "4")] {
            let zone = if instance == "3" { "" } else { "z" };
            let key = [("__name__", metric), ("job", job), ("instance", instance), ("zone", zone)];
            let samples = (0..60).map(|n| (n * 15_000, ((n * number) as f64 / 7.0).to_bits()));
            content.insert(labels(&key), samples.collect());
        }
    }
    content
}

#[test]
fn equal_columns_of_times_are_kept_once() {
    let fs = SimFs::new();
    let content = sample_content();
    let meta = write(&fs, &content);
    let block = Block::open(&*fs, &path()).expect("opened");
    assert_eq!(block.columns_len(), 1);
    assert_eq!(block.meta(), &meta);
    assert_eq!((meta.series, meta.samples), (12, 720));
    assert_eq!((meta.oldest, meta.newest), (0, 59 * 15_000));
    assert_eq!(read(&block).as_ref(), Ok(&content));
    block.verify().expect("intact");
}

#[test]
fn samples_are_restricted_to_the_range() {
    let fs = SimFs::new();
    write(&fs, &sample_content());
    let block = Block::open(&*fs, &path()).expect("opened");
    for (start, end, expected) in [
        (15_000, 30_000, 2),
        (15_001, 29_999, 0),
        (-5, 0, 1),
        (885_000, 999_999, 1),
        (885_001, i64::MAX, 0),
    ] {
        let range = TimeRange::new(Timestamp::from_millis(start), Timestamp::from_millis(end));
        let never = Cancellation::never();
        let found = block.select(&[], range, &never).expect("selected");
        let mut columns = SampleColumns::new();
        if let Some(series) = found.first() {
            series.read(range, &mut columns).expect("read");
        }
        assert_eq!(columns.len(), expected, "{start}..={end}");
    }
}

#[test]
fn matchers_select_what_a_scan_would() {
    let fs = SimFs::new();
    let content = sample_content();
    write(&fs, &content);
    let block = Block::open(&*fs, &path()).expect("opened");
    let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
    let values = ["", "x", "z", "z|", "x|y", "cp.*", ".+", ".*", "[0-3]", "nothing"];
    let names = ["__name__", "job", "zone", "instance", "absent"];
    let mut all = Vec::new();
    for name in names {
        for op in ops {
            all.extend(values.iter().map(|value| Matcher::new(name, op, *value).expect("valid")));
        }
    }
    for first in &all {
        for second in &all {
            let matchers = [first.clone(), second.clone()];
            check_matchers(&block, &content, &matchers);
        }
    }
}

fn check_matchers(block: &Block, content: &Content, matchers: &[Matcher]) {
    let matches = |labels: &&Labels| {
        matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or("")))
    };
    let expected: Vec<&Labels> = content.keys().filter(matches).collect();
    let never = Cancellation::never();
    let found = block.select(matchers, TimeRange::ALL, &never).expect("selected");
    let found: Vec<&Labels> = found.iter().map(|series| series.labels()).collect();
    assert_eq!(found, expected, "{matchers:?}");
    let (mut names, mut values) = (BTreeSet::new(), BTreeSet::new());
    block.label_names(matchers, TimeRange::ALL, &never, &mut names).expect("names");
    block.label_values("zone", matchers, TimeRange::ALL, &never, &mut values).expect("values");
    let pairs = || expected.iter().flat_map(|labels| labels.iter());
    assert_eq!(names, pairs().map(|(name, _)| name.to_owned()).collect());
    let zones = pairs().filter(|(name, _)| *name == "zone");
    assert_eq!(values, zones.map(|(_, value)| value.to_owned()).collect());
}

#[test]
fn a_changed_bit_is_noticed_wherever_it_is() {
    let fs = SimFs::new();
    let content: Content = sample_content().into_iter().skip(9).collect();
    let meta = write(&fs, &content);
    for offset in 0..usize::try_from(meta.bytes).expect("small") {
        for mask in [0x01, 0x80] {
            fs.corrupt(&path(), offset, mask);
            let damaged = Block::open(&*fs, &path()).and_then(|block| {
                block.verify()?;
                Ok(block)
            });
            assert!(damaged.is_err(), "byte {offset}");
            fs.corrupt(&path(), offset, mask);
        }
    }
    assert_eq!(read(&Block::open(&*fs, &path()).expect("opened")), Ok(content));
}

#[test]
fn a_file_of_any_shorter_length_is_no_block() {
    let fs = SimFs::new();
    let meta = write(&fs, &sample_content());
    for len in 0..meta.bytes {
        fs.restart(&SimCrash::Kill);
        let mut file = fs.open_append(&path()).expect("opened");
        file.truncate(meta.bytes - 1 - len).expect("cut");
        assert!(Block::open(&*fs, Path::new("/block")).is_err(), "{len}");
    }
}

#[test]
fn long_series_are_divided_and_short_reads_find_their_part() {
    let fs = SimFs::new();
    let count = CHUNK_SAMPLES_MAX as i64 * 2 + 7;
    let samples: Vec<_> = (0..count).map(|n| (n * 10, (n as f64).to_bits())).collect();
    let content = Content::from([(labels(&[("__name__", "a")]), samples)]);
    write(&fs, &content);
    let block = Block::open(&*fs, &path()).expect("opened");
    assert_eq!(block.columns_len(), 3);
    assert_eq!(read(&block), Ok(content));
}

#[test]
fn series_out_of_order_are_refused() {
    let fs = SimFs::new();
    let mut writer = BlockWriter::create(&*fs, &path()).expect("created");
    let samples = columns(&[(1, 1)]);
    writer.append(&labels(&[("a", "2")]), &samples).expect("first");
    for value in ["1", "2"] {
        assert!(writer.append(&labels(&[("a", value)]), &samples).is_err());
    }
}

#[test]
fn node_exporter_like_series_take_few_bytes() {
    let fs: Arc<SimFs> = SimFs::new();
    let mut content = Content::new();
    let mut state = 1_u64;
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    for number in 0..60 {
        let metric = format!("node_metric_{number:03}");
        let key = labels(&[("__name__", &metric), ("instance", "host:9100"), ("job", "node")]);
        let mut value = f64::from(number) * 1000.0;
        let samples = (0..720).map(|n| {
            match number % 3 {
                0 => {}
                1 => value += (10.0 * (0.5 + random())).round(),
                _ => value += if random() < 0.1 { 1.0 } else { 0.0 },
            }
            (n * 15_000, value.to_bits())
        });
        content.insert(key, samples.collect());
    }
    let meta = write(&fs, &content);
    let per_sample = meta.bytes as f64 / meta.samples as f64;
    assert!(per_sample < 0.35, "{per_sample} bytes per sample");
}

fn any_content() -> impl Strategy<Value = Content> {
    let bits = prop_oneof![
        any::<u64>(),
        (0..50_u32).prop_map(|n| f64::from(n).to_bits()),
        Just(model::STALE_NAN_BITS),
        Just((-0.0_f64).to_bits()),
    ];
    let time = prop_oneof![any::<i64>(), (0..20_i64).prop_map(|n| n * 15_000)];
    let samples = proptest::collection::btree_map(time, bits, 1..40);
    let text = prop_oneof!["[a-c]{1,2}", "\\PC{1,3}"];
    let key = proptest::collection::btree_map(text.clone(), text, 0..4);
    proptest::collection::vec((key, samples), 1..40).prop_map(|series| {
        series
            .into_iter()
            .map(|(key, samples)| {
                let pairs = key.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                (Labels::from_pairs(pairs).expect("valid"), samples.into_iter().collect())
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn blocks_round_trip(content in any_content()) {
        let fs = SimFs::new();
        write(&fs, &content);
        let block = Block::open(&*fs, &path()).expect("opened");
        block.verify().expect("intact");
        prop_assert_eq!(read(&block), Ok(content.clone()));
        let mut numbered = content.keys().cloned();
        for number in 0.. {
            let series = block.series_at(number).expect("read");
            prop_assert_eq!(series.map(|series| series.labels().clone()), numbered.next());
            if u64::from(number) == content.len() as u64 {
                break;
            }
        }
    }
}
