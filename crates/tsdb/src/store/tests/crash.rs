//! The store on a machine that stops at any moment.

use platform::SimCrash;

use super::*;

/// What a run of the script has attempted: batches in order, and how many of them were acknowledged.
#[derive(Default)]
struct Attempts {
    batches: Vec<Vec<(&'static str, i64, f64)>>,
    acknowledged: usize,
    done: Maintenance,
}

fn config() -> StoreConfig {
    // Small enough that each maintenance cuts the head, and compaction has something to merge.
    StoreConfig { journal_bytes_max: 1, ..unlimited() }
}

/// Writes batches, each acknowledged before the next, with cuts, flushes and a restart between them.
/// Stops where the machine stops.
fn run(fs: &Arc<SimFs>, attempts: &mut Attempts) -> Option<()> {
    let clock = SimClock::new(Timestamp::from_millis(NOW));
    let mut store = open(fs, &clock, &config()).ok()?.0;
    for round in 0..12 {
        let time = NOW + round * 1_000;
        let value = round as f64;
        let mut batch = vec![("a", time, value), ("b,job=x", time + 1, -value)];
        match round {
            2 => batch.push(("a", NOW, 100.0)),
            4 => batch.push(("c", time - 40_000_000_000, 7.0)),
            7 => batch.push(("b,job=x", time - 1_500, 8.0)),
            _ => {}
        }
        attempts.batches.push(batch.clone());
        append_to(&store, &batch, AppendMode::AllOrNothing).ok()?;
        store.commit().ok()?;
        attempts.acknowledged += 1;
        if round % 3 != 2 {
            let done = store.maintain().ok()?;
            attempts.done.blocks_written += done.blocks_written;
            attempts.done.blocks_compacted += done.blocks_compacted;
        }
        if round == 8 {
            store.close();
            drop(store);
            store = open(fs, &clock, &config()).ok()?.0;
        }
    }
    store.close();
    Some(())
}

fn contents_after(batches: &[Vec<(&'static str, i64, f64)>]) -> Contents {
    let mut contents = Contents::new();
    for (series, time, value) in batches.iter().flatten() {
        let samples = contents.entry(labels_of(series).to_string()).or_default();
        samples.insert(*time, value.to_bits());
    }
    contents
}

/// Stops the machine at one operation after another, starts it again, and looks for everything acknowledged.
fn check(crash: impl Fn(u64) -> SimCrash, torn: impl Fn(u64) -> Option<Arc<SimRng>>) {
    let fs = SimFs::new();
    let mut attempts = Attempts::default();
    run(&fs, &mut attempts).expect("the whole script without a crash");
    assert_eq!(attempts.acknowledged, 12);
    let done = attempts.done;
    assert!(done.blocks_written > 4 && done.blocks_compacted >= 4, "{done:?}");
    let operations = fs.operations();
    assert!(operations > 60, "{operations} operations");
    for operation in 0..operations {
        let fs = SimFs::new();
        fs.crash_at(operation, torn(operation));
        let mut attempts = Attempts::default();
        // Closing is the last thing that is done, and tells nobody when it cannot.
        let finished = run(&fs, &mut attempts).is_some();
        assert!(!finished || attempts.acknowledged == 12, "no stop at operation {operation}");
        fs.restart(&crash(operation));
        let rig = Rig::on(fs, config());
        let found = rig.contents();
        // The one batch that was not acknowledged is there as a whole or not at all.
        let allowed: Vec<Contents> = (attempts.acknowledged..=attempts.batches.len())
            .map(|count| contents_after(&attempts.batches[..count]))
            .collect();
        assert!(
            allowed.contains(&found),
            "operation {operation}: {} of {} batches acknowledged, found {found:?}",
            attempts.acknowledged,
            attempts.batches.len(),
        );
        let samples: usize = found.values().map(BTreeMap::len).sum();
        rig.store.maintain().expect("maintained");
        rig.flush();
        assert_eq!(rig.contents(), found, "operation {operation}");
        // Each round may rewrite a few samples; nothing is counted twice for ever.
        let counted = usize::try_from(rig.store.stats().samples).expect("few");
        assert!(counted <= samples + 2, "operation {operation}: {counted} of {samples} samples");
        assert_eq!(rig.reopened().contents(), found, "operation {operation}");
    }
}

#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    check(|_| SimCrash::Kill, |_| None);
}

#[test]
fn a_write_torn_by_a_kill_loses_nothing_acknowledged() {
    check(|_| SimCrash::Kill, |operation| Some(SimRng::new(operation)));
}

#[test]
fn a_power_loss_loses_nothing_acknowledged() {
    check(|_| SimCrash::PowerLoss, |_| None);
}

#[test]
fn a_power_loss_that_keeps_any_part_loses_nothing_acknowledged() {
    for seed in [0, 1_000_000] {
        let crash = |operation| SimCrash::PowerLossTorn(SimRng::new(seed + operation));
        check(crash, |operation| Some(SimRng::new(seed + operation)));
    }
}

/// What a run with failures has attempted, in order, and whether each batch was acknowledged.
type Outcomes = Vec<(Vec<(&'static str, i64, f64)>, bool)>;

/// Writes batches whatever fails, with maintenance after each and a restart between them.
fn run_on(fs: &Arc<SimFs>, outcomes: &mut Outcomes) {
    let clock = SimClock::new(Timestamp::from_millis(NOW));
    let reopen = || open(fs, &clock, &config()).or_else(|_| open(fs, &clock, &config()));
    let mut store = reopen().expect("a store that opens at the second attempt").0;
    for round in 0..12 {
        let time = NOW + round * 1_000;
        let mut batch = vec![("a", time, round as f64), ("b,job=x", time + 1, 0.5)];
        if round == 2 {
            batch.push(("a", NOW, 100.0));
        }
        let sequence = append_to(&store, &batch, AppendMode::AllOrNothing).map(|r| r.sequence);
        drop(store.commit());
        let durable = sequence.is_ok_and(|sequence| now(store.durable(sequence)) == Some(Ok(())));
        outcomes.push((batch, durable));
        drop(store.maintain());
        if round == 8 {
            store.close();
            drop(store);
            store = reopen().expect("a store that opens at the second attempt").0;
        }
    }
    store.close();
}

/// Lets one operation after another fail, then the power, and looks for everything acknowledged.
fn check_failures(kind: std::io::ErrorKind) {
    let fs = SimFs::new();
    run_on(&fs, &mut Outcomes::new());
    for operation in 0..fs.operations() {
        let fs = SimFs::new();
        fs.fail_at(operation, kind);
        let mut outcomes = Outcomes::new();
        run_on(&fs, &mut outcomes);
        fs.restart(&SimCrash::PowerLoss);
        let rig = Rig::on(fs, config());
        let found = rig.contents();
        let mut allowed = BTreeMap::<(String, i64), Vec<u64>>::new();
        let mut required = std::collections::BTreeSet::new();
        for (batch, durable) in &outcomes {
            for (series, time, value) in batch {
                let key = (labels_of(series).to_string(), *time);
                let values = allowed.entry(key.clone()).or_default();
                if *durable {
                    values.clear();
                    required.insert(key);
                }
                values.push(value.to_bits());
            }
        }
        for (labels, samples) in &found {
            for (time, bits) in samples {
                let values = allowed.get(&(labels.clone(), *time)).cloned().unwrap_or_default();
                assert!(values.contains(bits), "operation {operation}: {labels} at {time}");
                required.remove(&(labels.clone(), *time));
            }
        }
        assert!(required.is_empty(), "operation {operation}: lost {required:?}");
        let rig = rig.reopened();
        assert_eq!(rig.contents(), found, "operation {operation}");
        rig.append(&[("c", NOW, 1.0)]);
        rig.store.commit().expect("the failure is over");
    }
}

#[test]
fn an_operation_that_fails_loses_nothing_acknowledged() {
    check_failures(std::io::ErrorKind::Other);
    check_failures(std::io::ErrorKind::StorageFull);
}
