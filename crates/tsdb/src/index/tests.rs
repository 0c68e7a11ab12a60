use model::{MatchOp, Matcher};
use platform::SimRng;
use proptest::prelude::*;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).expect("valid labels")
}

fn index_of(sets: &[Labels]) -> Index {
    let mut index = Index::new(KeyedHash::new(&*SimRng::new(1)));
    for set in sets {
        if index.find(set).is_none() {
            index.insert(set);
        }
    }
    index
}

/// Compares a selection with asking each series in turn.
fn check(sets: &[Labels], matchers: &[Matcher]) -> usize {
    let index = index_of(sets);
    let found = index.select(matchers);
    let expected: Vec<u32> = (0..index.series_count())
        .filter(|series| {
            let labels = index.labels(*series);
            let satisfied =
                |matcher: &Matcher| matcher.matches(labels.get(matcher.name()).unwrap_or(""));
            matchers.iter().all(satisfied)
        })
        .collect();
    assert_eq!(found, expected, "{matchers:?} of {sets:?}");
    found.len()
}

fn matcher(name: &str, op: MatchOp, value: &str) -> Matcher {
    Matcher::new(name, op, value).expect("a valid expression")
}

fn some_series() -> Vec<Labels> {
    let mut sets = vec![labels(&[("__name__", "lone")])];
    for instance in 0..40 {
        let instance = format!("host-{instance}");
        for code in ["200", "404", "500"] {
            sets.push(labels(&[("__name__", "requests"), ("code", code), ("instance", &instance)]));
        }
        sets.push(labels(&[("__name__", "up"), ("instance", &instance)]));
    }
    sets
}

#[test]
fn every_kind_of_condition_finds_what_it_says() {
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    let sets = some_series();
    let up = matcher("__name__", Equal, "up");
    let cases = [
        (vec![], 161),
        (vec![up.clone()], 40),
        (vec![up.clone(), matcher("code", Equal, "")], 40),
        (vec![up.clone(), matcher("code", NotEqual, "")], 0),
        (vec![matcher("code", Equal, "200"), matcher("instance", Equal, "host-7")], 1),
        (vec![matcher("code", Equal, "nothing")], 0),
        (vec![matcher("nothing", Equal, "x")], 0),
        (vec![matcher("nothing", NotEqual, "x")], 161),
        (vec![matcher("nothing", Equal, "")], 161),
        (vec![matcher("code", NotEqual, "200")], 121),
        (vec![matcher("code", Regex, "200|404")], 80),
        (vec![matcher("code", Regex, "200|")], 81),
        (vec![matcher("code", Regex, "[45]..")], 80),
        (vec![matcher("code", Regex, ".*")], 161),
        (vec![matcher("code", Regex, ".+")], 120),
        (vec![matcher("code", NotRegex, "200|404")], 81),
        (vec![matcher("code", NotRegex, "200|")], 80),
        (vec![matcher("code", NotRegex, ".+")], 41),
        (vec![matcher("instance", Regex, "host-1.*"), matcher("code", Equal, "500")], 11),
        (vec![matcher("instance", NotRegex, "host-.*"), up], 0),
    ];
    for (matchers, count) in cases {
        assert_eq!(check(&sets, &matchers), count, "{matchers:?}");
    }
}

#[test]
fn series_are_found_by_their_labels_and_by_nothing_else() {
    let sets = some_series();
    let index = index_of(&sets);
    for (series, set) in (0..).zip(&sets) {
        assert_eq!(index.find(set), Some(series));
        assert_eq!(&index.labels(series), set);
    }
    assert_eq!(index.find(&labels(&[("__name__", "up"), ("instance", "host-99")])), None);
    assert_eq!(index.find(&labels(&[("__name__", "up")])), None);
}

#[test]
fn series_sort_by_their_labels() {
    let sets = some_series();
    let index = index_of(&sets);
    let mut series: Vec<u32> = (0..index.series_count()).rev().collect();
    index.sort_key().sort(&mut series);
    let sorted: Vec<Labels> = series.iter().map(|series| index.labels(*series)).collect();
    assert!(sorted.is_sorted());
}

#[test]
fn the_label_with_the_most_values_is_named() {
    let index = index_of(&some_series());
    assert_eq!(index.fastest_label("requests", 1_000), Some("instance"));
    assert_eq!(index.fastest_label("lone", 1_000), None);
    assert_eq!(index.fastest_label("unknown", 1_000), None);
}

#[test]
fn a_retained_index_numbers_what_is_left_anew() {
    let index = index_of(&some_series());
    let retained = index.retained(|series| index.labels(series).metric_name() == Some("up"));
    assert_eq!(retained.series_count(), 40);
    assert_eq!(retained.metric_series("requests"), 0);
    assert_eq!(retained.metric_series("up"), 40);
    assert_eq!(retained.values("code", |_| true).len(), 0);
    assert_eq!(retained.values("instance", |_| true).len(), 40);
}

fn arbitrary_labels() -> impl Strategy<Value = Labels> {
    let pairs = proptest::collection::btree_map("[a-c]", "[x-z]{1,2}", 1..4);
    pairs.prop_map(|pairs| {
        Labels::from_pairs(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))).expect("valid")
    })
}

fn arbitrary_matcher() -> impl Strategy<Value = Matcher> {
    let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
    let value = prop_oneof!["[x-z]{0,2}", Just("x|yy".to_owned()), Just("x.*".to_owned())];
    ("[a-d]", proptest::sample::select(ops.to_vec()), value)
        .prop_map(|(name, op, value)| matcher(&name, op, &value))
}

proptest! {
    #[test]
    fn selections_agree_with_asking_each_series(
        sets in proptest::collection::vec(arbitrary_labels(), 0..60),
        matchers in proptest::collection::vec(arbitrary_matcher(), 0..4),
    ) {
        check(&sets, &matchers);
    }
}
