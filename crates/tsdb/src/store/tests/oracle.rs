//! The store against a map.

use proptest::prelude::*;

use super::*;

const SERIES: [&str; 5] = ["a", "a,job=x", "a,job=y", "b,job=x", "b,job=y,zone=z"];
const WINDOW_MS: i64 = 500;

/// One step of a made-up history.
#[derive(Clone, Debug)]
enum Step {
    /// Series, time and value of each sample.
    Append(Vec<(usize, i64, u8)>),
    Flush,
    Maintain,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    // Times near each other collide and arrive late; times days apart go to different blocks.
    let time = prop_oneof![4 => 0..1_000_i64, 1 => (0..4_i64).prop_map(|day| day * 90_000_000)];
    let sample = (0..SERIES.len(), time, any::<u8>());
    prop_oneof![
        8 => proptest::collection::vec(sample, 1..8).prop_map(Step::Append),
        2 => Just(Step::Flush),
        1 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
    ]
}

/// What a store should hold.
#[derive(Default)]
struct Oracle {
    contents: Contents,
    newest: BTreeMap<usize, i64>,
}

impl Oracle {
    /// Returns the samples that are to be accepted, and keeps them.
    fn append(&mut self, samples: &[(usize, i64, u8)]) -> usize {
        let newest = self.newest.clone();
        let mut accepted = 0;
        for (series, time, value) in samples {
            if newest.get(series).is_some_and(|newest| *time < newest - WINDOW_MS) {
                continue;
            }
            let labels = labels_of(SERIES[*series]).to_string();
            let bits = f64::from(*value).to_bits();
            self.contents.entry(labels).or_default().insert(*time, bits);
            let newest = self.newest.entry(*series).or_insert(*time);
            *newest = (*newest).max(*time);
            accepted += 1;
        }
        accepted
    }

    fn within(&self, start: i64, end: i64) -> Contents {
        let part = |samples: &BTreeMap<i64, u64>| -> BTreeMap<i64, u64> {
            samples.range(start..=end).map(|(time, bits)| (*time, *bits)).collect()
        };
        let parts = self.contents.iter().map(|(labels, samples)| (labels.clone(), part(samples)));
        parts.filter(|(_, samples)| !samples.is_empty()).collect()
    }
}

fn check(steps: &[Step]) {
    let config = StoreConfig { out_of_order_window_ms: WINDOW_MS, ..unlimited() };
    let mut rig = Rig::new(config);
    let mut oracle = Oracle::default();
    for step in steps {
        match step {
            Step::Append(samples) => {
                let batch: Vec<_> = samples
                    .iter()
                    .map(|(series, time, value)| (SERIES[*series], *time, f64::from(*value)))
                    .collect();
                let receipt = rig.try_append(&batch, AppendMode::Partial).expect("taken");
                assert_eq!(receipt.stored_samples, oracle.append(samples));
            }
            Step::Flush => drop(rig.flush()),
            Step::Maintain => drop(rig.store.maintain().expect("maintained")),
            Step::Reopen => rig = rig.reopened(),
        }
        if !matches!(step, Step::Append(_)) {
            // The newest time of a series is forgotten with it: late samples of it are accepted again.
            oracle.newest = newest_in_head(&rig);
        }
        assert_eq!(rig.contents(), oracle.contents, "after {step:?}");
    }
    for (start, end) in [(0, 300), (301, 999), (1_000, i64::MAX), (300, 299)] {
        let at = Timestamp::from_millis;
        let range = TimeRange::new(at(start), at(end));
        let expected = if start > end { Contents::new() } else { oracle.within(start, end) };
        assert_eq!(contents_of(&rig.store, &[], range), expected);
        let rest = contents_of(&rig.store, &[Matcher::equal("job", "x")], TimeRange::ALL);
        assert!(rest.keys().all(|labels| labels.contains("job=\"x\"")));
    }
}

fn newest_in_head(rig: &Rig) -> BTreeMap<usize, i64> {
    let state = rig.store.state.read();
    let newest = |series: &str| {
        let number = state.index.find(&labels_of(series))?;
        state.active.series(number).map(|chunk| chunk.newest).filter(|newest| *newest >= 0)
    };
    (0..SERIES.len()).filter_map(|series| Some((series, newest(SERIES[series])?))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_store_holds_what_a_map_would(steps in proptest::collection::vec(step(), 1..24)) {
        check(&steps);
    }
}

#[test]
fn a_value_is_replaced_across_a_flush() {
    check(&[
        Step::Append(vec![(0, 5, 1), (0, 6, 2)]),
        Step::Flush,
        Step::Append(vec![(0, 5, 3)]),
        Step::Flush,
        Step::Append(vec![(0, 6, 4), (0, 4, 9)]),
        Step::Maintain,
        Step::Reopen,
    ]);
}
