//! What the index promises.

use std::collections::BTreeMap;
use std::path::Path;

use platform::{Rng, SimClock, SimCrash, SimFs, SimRng};
use proptest::prelude::*;

use super::slot::SLOT_BYTES;
use super::*;

const WINDOW: Duration = Duration::from_secs(600);

fn open(clock: &Arc<SimClock>) -> Deduplication {
    let config = DeduplicationConfig { table_keys_max: 4, ..DeduplicationConfig::new(WINDOW) };
    let clock: Arc<dyn Clock> = Arc::new(Arc::clone(clock));
    Deduplication::open(SimFs::new(), Path::new("/d"), config, clock, Offset(0)).expect("open")
}

fn clock() -> Arc<SimClock> {
    SimClock::new(Timestamp::from_millis(1_700_000_000_000))
}

fn reserve(keys: &mut Deduplication, key: u128, offset: u64) {
    let at = keys.now();
    keys.reserve(&KeyEntry {
        key: EventKey(key),
        fingerprint: 1,
        offset: Offset(offset),
        at,
        id: "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
    });
}

fn check(keys: &Deduplication, key: u128) -> Check {
    keys.check(EventKey(key), 1, keys.now()).expect("checked")
}

fn at(offset: u64) -> Known {
    let id = Uuid::try_parse("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b").expect("uuid");
    Known { offset: Offset(offset), id: KnownId::Uuid(id), same_content: true }
}

#[test]
fn a_key_is_pending_until_it_is_confirmed_and_new_when_it_is_forgotten() {
    let mut keys = open(&clock());
    assert_eq!(check(&keys, 7), Check::New);
    reserve(&mut keys, 7, 1);
    reserve(&mut keys, 8, 2);
    reserve(&mut keys, 9, 5);
    assert_eq!(check(&keys, 7), Check::Pending(at(1)));
    keys.confirm(Offset(1));
    assert_eq!(check(&keys, 7), Check::Known(at(1)));
    assert_eq!(check(&keys, 8), Check::Pending(at(2)));
    keys.forget(Offset(2)..=Offset(4));
    assert_eq!(check(&keys, 8), Check::New);
    assert_eq!(check(&keys, 9), Check::Pending(at(5)));
}

#[test]
fn another_fingerprint_is_other_content() {
    let mut keys = open(&clock());
    reserve(&mut keys, 7, 1);
    let other = |keys: &Deduplication| keys.check(EventKey(7), 2, keys.now()).expect("checked");
    assert_eq!(other(&keys), Check::Pending(Known { same_content: false, ..at(1) }));
    keys.confirm(Offset(1));
    assert_eq!(other(&keys), Check::Known(Known { same_content: false, ..at(1) }));
}

#[test]
fn a_key_is_new_again_once_the_window_is_over_and_not_before() {
    let clock = clock();
    let mut keys = open(&clock);
    reserve(&mut keys, 7, 1);
    keys.confirm(Offset(1));
    clock.advance(WINDOW - Duration::from_millis(1));
    assert_eq!(check(&keys, 7), Check::Known(at(1)));
    clock.advance(Duration::from_millis(1));
    assert_eq!(check(&keys, 7), Check::New);
    reserve(&mut keys, 7, 2);
    keys.forget(Offset(2)..=Offset(2));
    assert_eq!(check(&keys, 7), Check::New, "what is over stays over");
}

#[test]
fn steps_of_the_wall_clock_make_no_key_older_or_younger() {
    for step in [-86_400_000, 86_400_000] {
        let clock = clock();
        let mut keys = open(&clock);
        reserve(&mut keys, 7, 1);
        keys.confirm(Offset(1));
        clock.set_now(Clock::now(&clock).saturating_add_millis(step));
        clock.advance(WINDOW - Duration::from_millis(1));
        assert_eq!(check(&keys, 7), Check::Known(at(1)), "{step}");
        clock.advance(Duration::from_millis(1));
        assert_eq!(check(&keys, 7), Check::New, "{step}");
    }
}

#[test]
fn new_keys_are_refused_while_all_tables_are_full_and_known_ones_are_not() {
    let mut keys = open(&clock());
    let most = 4 * (FROZEN_MAX as u64 + 1);
    for offset in 1..=most {
        assert_eq!(check(&keys, offset.into()), Check::New);
        reserve(&mut keys, offset.into(), offset);
        if offset % 3 == 0 {
            keys.confirm(Offset(offset));
        }
    }
    assert_eq!(check(&keys, 99), Check::Full);
    keys.confirm(Offset(most));
    assert_eq!((keys.room(), keys.keys()), (0, most));
    assert_eq!(check(&keys, 99), Check::Full);
    assert_eq!(check(&keys, 1), Check::Known(at(1)));
    assert_eq!(check(&keys, most.into()), Check::Known(at(most)));
}

#[test]
fn what_is_over_makes_room() {
    let clock = clock();
    let mut keys = open(&clock);
    for offset in 1..=1_000 {
        reserve(&mut keys, offset.into(), offset);
        keys.confirm(Offset(offset));
        clock.advance(WINDOW / 2);
    }
    assert!(keys.keys() <= 4, "{}", keys.keys());
    assert_eq!(keys.room(), 4 * (FROZEN_MAX + 1) - usize::try_from(keys.keys()).expect("few"));
}

const DIR: &str = "/data/deduplication";

/// An event of the log that a [`World`] stands for.
#[derive(Clone, Debug)]
struct Event {
    key: u128,
    fingerprint: u64,
    at: Timestamp,
    id: &'static str,
}

/// A log, as simple as can be, and the index beside it.
struct World {
    fs: Arc<SimFs>,
    clock: Arc<SimClock>,
    index: Deduplication,
    log: BTreeMap<u64, Event>,
    /// The last durable offset; what is behind it is pending.
    durable: u64,
    last: u64,
    table_keys_max: usize,
    /// What the files held at the last start.
    covered: Offset,
}

const IDS: [&str; 2] = ["0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", "order-4711"];

impl World {
    fn new(table_keys_max: usize) -> Self {
        let (fs, clock) = (SimFs::new(), clock());
        let index = Self::open(&fs, &clock, table_keys_max, 0).expect("open");
        Self {
            fs,
            clock,
            index,
            log: BTreeMap::new(),
            durable: 0,
            last: 0,
            table_keys_max,
            covered: Offset(0),
        }
    }

    fn open(
        fs: &Arc<SimFs>,
        clock: &Arc<SimClock>,
        table_keys_max: usize,
        durable: u64,
    ) -> Result<Deduplication, DeduplicationError> {
        let config = DeduplicationConfig { window: WINDOW, table_keys_max };
        let clock: Arc<dyn Clock> = Arc::new(Arc::clone(clock));
        let fs: Arc<dyn Fs> = Arc::<SimFs>::clone(fs);
        Deduplication::open(fs, Path::new(DIR), config, clock, Offset(durable + 1))
    }

    /// Appends an event if its key is new, after `gap` offsets that are not used.
    fn append(&mut self, key: u128, fingerprint: u64, gap: u64) -> Result<(), DeduplicationError> {
        let now = self.index.now();
        if self.index.check(EventKey(key), fingerprint, now)? != Check::New {
            return Ok(());
        }
        self.last += 1 + gap;
        let id = IDS[usize::try_from(fingerprint).expect("small") % 2];
        let event = Event { key, fingerprint, at: now, id };
        self.index.reserve(&entry(self.last, &event));
        self.log.insert(self.last, event);
        Ok(())
    }

    fn pending(&self) -> Vec<u64> {
        self.log.range(self.durable + 1..).map(|(offset, _)| *offset).collect()
    }

    /// Lets the first `count` pending events become durable in the log.
    fn commit(&mut self, count: usize) {
        self.durable = self.pending().into_iter().take(count).next_back().unwrap_or(self.durable);
    }

    fn confirm(&mut self, count: usize) {
        self.commit(count);
        self.index.confirm(Offset(self.durable));
    }

    fn forget(&mut self) {
        self.index.forget(Offset(self.durable + 1)..=Offset(self.last));
        self.log.split_off(&(self.durable + 1));
    }

    /// Does the next step on disk; returns whether there was one that succeeded.
    fn task(&mut self) -> bool {
        let Some(task) = self.index.next_task() else { return false };
        assert!(self.index.next_task().is_none(), "one at a time");
        let finished = task.run();
        self.index.finish(finished).is_ok()
    }

    /// Does what is done at the end of the program.
    fn write_all(&mut self) {
        while let Some(task) = self.index.next_write() {
            self.index.finish(task.run()).expect("written");
        }
    }

    fn settle(&mut self) {
        while self.task() {}
    }

    /// Stops the machine when `count` pending events are durable, and starts it again.
    fn restart(&mut self, crash: &SimCrash, count: usize) {
        self.commit(count);
        self.log.split_off(&(self.durable + 1));
        self.last = self.durable;
        self.fs.restart(crash);
        self.reopen();
    }

    fn reopen(&mut self) {
        self.index =
            Self::open(&self.fs, &self.clock, self.table_keys_max, self.durable).expect("open");
        self.covered = self.index.covered();
        for (offset, event) in self.log.range(self.covered.0 + 1..) {
            self.index.replay(&entry(*offset, event)).expect("replayed");
        }
    }

    /// Asks the log itself.
    fn expected(&self, key: u128, fingerprint: u64) -> Check {
        let last = self.log.iter().rev().find(|(_, event)| event.key == key);
        let Some((offset, event)) = last else { return self.new_or_full() };
        let id = match event.id {
            id if id == IDS[0] => KnownId::Uuid(Uuid::try_parse(id).expect("uuid")),
            _ => KnownId::InLog,
        };
        let same_content = event.fingerprint == fingerprint;
        let known = Known { offset: Offset(*offset), id, same_content };
        if *offset > self.durable {
            return Check::Pending(known);
        }
        let age = self.index.now().millis_since(event.at);
        if age < millis(WINDOW) { Check::Known(known) } else { self.new_or_full() }
    }

    fn new_or_full(&self) -> Check {
        if self.index.room() == 0 { Check::Full } else { Check::New }
    }

    /// Compares the index with the log.
    fn verify(&self, keys: impl IntoIterator<Item = u128>) {
        for key in keys {
            for fingerprint in 0..2 {
                let now = self.index.now();
                let found = self.index.check(EventKey(key), fingerprint, now).expect("checked");
                assert_eq!(found, self.expected(key, fingerprint), "key {key:x}");
            }
        }
        let most = (FROZEN_MAX + 1) * self.table_keys_max;
        let files: u64 = self.index.files.iter().map(|file| file.keys).sum();
        assert!(self.index.keys() <= files + most as u64);
    }

    fn files(&self) -> Vec<String> {
        let entries = self.fs.list(Path::new(DIR)).expect("listed");
        entries.into_iter().map(|entry| entry.name).collect()
    }
}

fn entry(offset: u64, event: &Event) -> KeyEntry<'static> {
    let Event { key, fingerprint, at, id } = *event;
    KeyEntry { key: EventKey(key), fingerprint, offset: Offset(offset), at, id }
}

/// A key that looks like a hash.
fn hashed(number: u64) -> u128 {
    let rng = SimRng::new(number);
    u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())
}

/// What is done to a [`World`].
#[derive(Clone, Debug)]
enum Step {
    Append { key: u64, fingerprint: u64, gap: u64 },
    Confirm(usize),
    Forget,
    Advance(u64),
    Task,
    WriteAll,
    Restart { crash: u8, seed: u64, durable: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (0..40_u64, 0..2_u64, 0..3_u64).prop_map(|(key, fingerprint, gap)| Step::Append {
        key,
        fingerprint,
        gap,
    });
    let restart = (0..3_u8, any::<u64>(), 0..4_usize)
        .prop_map(|(crash, seed, durable)| Step::Restart { crash, seed, durable });
    let step = prop_oneof![
        20 => append,
        6 => (0..6_usize).prop_map(Step::Confirm),
        1 => Just(Step::Forget),
        3 => (0..WINDOW.as_secs() / 4).prop_map(Step::Advance),
        6 => Just(Step::Task),
        1 => Just(Step::WriteAll),
        1 => restart,
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_index_says_what_the_log_says(steps in steps()) {
        let mut world = World::new(3);
        let keys: Vec<u128> = (0..40).map(hashed).collect();
        for step in steps {
            match step {
                Step::Append { key, fingerprint, gap } => world.append(hashed(key), fingerprint, gap).expect("checked"),
                Step::Confirm(count) => world.confirm(count),
                Step::Forget => world.forget(),
                Step::Advance(seconds) => world.clock.advance(Duration::from_secs(seconds)),
                Step::Task => _ = world.task(),
                Step::WriteAll => world.write_all(),
                Step::Restart { crash: 0, durable, .. } => world.restart(&SimCrash::Kill, durable),
                Step::Restart { crash: 1, durable, .. } => world.restart(&SimCrash::PowerLoss, durable),
                Step::Restart { seed, durable, .. } => {
                    world.restart(&SimCrash::PowerLossTorn(SimRng::new(seed)), durable);
                }
            }
            world.verify(keys.iter().copied());
        }
    }
}

/// Appends, commits, freezes, writes, merges, forgets and expires, one key after the other from `first` on; stops when
/// the disk fails.
fn play(world: &mut World, keys: RangeInclusive<u64>) -> Result<(), u64> {
    for number in keys {
        world.append(hashed(number), number % 2, number % 2).map_err(|_| number)?;
        // A repetition, and another event with the key of an earlier one.
        world.append(hashed(number.saturating_sub(7)), number % 2, 0).map_err(|_| number)?;
        if number % 3 == 0 {
            world.confirm(usize::MAX);
        }
        if number % 11 == 0 {
            world.forget();
        }
        world.clock.advance(WINDOW / 64);
        if let Some(task) = world.index.next_task() {
            world.index.finish(task.run()).map_err(|_| number)?;
        }
    }
    Ok(())
}

#[test]
fn a_crash_at_any_file_operation_loses_no_key_and_invents_none() {
    const KEYS: u64 = 50;
    let operations = {
        let mut world = World::new(2);
        play(&mut world, 1..=KEYS).expect("no failure");
        assert!(world.index.covered() > Offset(0));
        world.fs.operations()
    };
    assert!(operations > 150, "{operations}");
    for operation in 2..operations {
        for crash in
            [SimCrash::Kill, SimCrash::PowerLoss, SimCrash::PowerLossTorn(SimRng::new(operation))]
        {
            let mut world = World::new(2);
            world.fs.crash_at(operation, Some(SimRng::new(operation)));
            let stopped = play(&mut world, 1..=KEYS).expect_err("the machine stopped");
            world.restart(&crash, usize::from(operation % 2 == 0));
            world.clock.advance(WINDOW / 64 * u32::from(operation % 4 == 3));
            world.verify((1..=stopped).map(hashed));
        }
    }
}

#[test]
fn a_failed_file_operation_is_done_again_and_changes_no_answer() {
    const KEYS: u64 = 50;
    let mut world = World::new(2);
    play(&mut world, 1..=KEYS).expect("no failure");
    let operations = world.fs.operations();
    for operation in 2..operations {
        let mut world = World::new(2);
        world.fs.fail_at(operation, std::io::ErrorKind::StorageFull);
        let mut next = 1;
        while let Err(failed) = play(&mut world, next..=KEYS) {
            world.verify((1..=failed).map(hashed));
            next = failed + 1;
        }
        world.settle();
        world.verify((1..=KEYS).map(hashed));
        world.restart(&SimCrash::PowerLoss, 1);
        world.verify((1..=KEYS).map(hashed));
        let leftovers = world.files().into_iter().filter(|name| file::offsets_of(name).is_some());
        assert_eq!(leftovers.count(), world.index.files.len());
    }
}

/// A world whose keys are in files but for the last ones.
fn with_files() -> World {
    let mut world = World::new(5);
    for number in 1..=33 {
        world.append(hashed(number), number % 2, 0).expect("checked");
        world.confirm(1);
        world.settle();
    }
    assert_eq!((world.index.files.len(), world.index.covered()), (6, Offset(30)));
    world
}

#[test]
fn a_start_reads_from_the_log_what_no_file_holds() {
    let mut world = with_files();
    world.restart(&SimCrash::PowerLoss, 0);
    assert_eq!((world.index.files.len(), world.covered), (6, Offset(30)));
    world.verify((1..=34).map(hashed));
    world.write_all();
    world.restart(&SimCrash::PowerLoss, 0);
    assert_eq!((world.index.files.len(), world.covered), (7, Offset(33)));
    world.verify((1..=34).map(hashed));
}

#[test]
fn a_damaged_or_missing_file_is_read_from_the_log_instead() {
    for number in 0..6_usize {
        for damage in 0..3 {
            let mut world = with_files();
            let path = world.index.files[number].path().to_owned();
            let len = world.fs.read(&path, 1 << 20).expect("read").len();
            match damage {
                0 => world.fs.remove_file(&path).expect("removed"),
                1 => world.fs.corrupt(&path, len - 1, 1),
                _ => world.fs.corrupt(&path, 4096, 1),
            }
            world.restart(&SimCrash::Kill, 0);
            assert_eq!(world.covered, Offset(number as u64 * 5));
            world.verify((1..=34).map(hashed));
            assert_eq!(world.files().contains(&"damaged".to_owned()), damage > 0);
            // What was written again is as good as the first time.
            world.settle();
            world.restart(&SimCrash::PowerLoss, 0);
            assert_eq!(world.covered, Offset(30));
            world.verify((1..=34).map(hashed));
        }
    }
}

#[test]
fn without_its_list_of_files_everything_is_read_from_the_log() {
    for damage in [true, false] {
        let mut world = with_files();
        let path = Path::new(DIR).join("manifest");
        if damage {
            world.fs.corrupt(&path, 20, 1);
        } else {
            world.fs.remove_file(&path).expect("removed");
        }
        world.restart(&SimCrash::Kill, 0);
        assert_eq!(world.covered, Offset(0));
        world.verify((1..=34).map(hashed));
    }
}

#[test]
fn keys_of_events_that_the_log_has_lost_are_new() {
    for kept in [0, 1, 9, 10, 29, 30, 33] {
        let mut world = with_files();
        world.log.split_off(&(kept + 1));
        (world.durable, world.last) = (kept, kept);
        world.restart(&SimCrash::Kill, 0);
        assert_eq!(world.covered, Offset((kept / 5 * 5).min(30)));
        world.verify((1..=34).map(hashed));
        world.restart(&SimCrash::PowerLoss, 0);
        world.verify((1..=34).map(hashed));
    }
}

#[test]
fn a_file_that_cannot_be_read_while_running_is_an_error_for_its_keys_only() {
    let world = with_files();
    let path = world.index.files[2].path().to_owned();
    world.fs.corrupt(&path, 8, 1);
    for number in 1..=33 {
        let checked = world.index.check(EventKey(hashed(number)), 0, world.index.now());
        assert_eq!(checked.is_err(), (11..=15).contains(&number), "{number}");
    }
}

#[test]
fn the_number_of_files_is_bounded_and_what_is_over_is_removed() {
    let mut world = World::new(4);
    let most = (MERGED_PER_WINDOW as usize + 1) * 8 + 8;
    for number in 1..=4_000 {
        world.append(hashed(number), 0, 0).expect("checked");
        world.confirm(1);
        world.clock.advance(WINDOW / 2_000);
        world.settle();
        assert!(world.index.files.len() <= most, "{} files", world.index.files.len());
    }
    assert!(world.index.keys() < 2_000 * 5 / 4 + 4 + 4 * 64, "{} keys", world.index.keys());
    world.verify((1_990..=2_010).chain(3_990..=4_001).map(hashed));
    world.clock.advance(WINDOW);
    world.settle();
    assert_eq!(world.index.files.len(), 0);
    world.restart(&SimCrash::PowerLoss, 0);
    assert!(world.index.covered() > Offset(3_990));
}

#[test]
fn times_in_files_are_corrected_by_what_the_clock_was_off() {
    for step in [-7_200_000, 7_200_000] {
        let mut world = with_files();
        world.clock.set_now(Clock::now(&world.clock).saturating_add_millis(step));
        world.settle();
        world.restart(&SimCrash::PowerLoss, 0);
        world.clock.advance(WINDOW - Duration::from_millis(1));
        let is_known = |world: &World| {
            let checked = world.index.check(EventKey(hashed(1)), 1, world.index.now());
            matches!(checked.expect("checked"), Check::Known(_))
        };
        assert!(is_known(&world), "{step}");
        world.clock.advance(Duration::from_millis(1));
        assert!(!is_known(&world), "{step}");
    }
}

#[test]
fn a_clock_that_is_set_back_before_a_start_forgets_nothing_early() {
    let mut world = with_files();
    world.clock.set_now(Clock::now(&world.clock).saturating_add_millis(-3_600_000));
    world.restart(&SimCrash::Kill, 0);
    world.clock.advance(WINDOW);
    for number in 1..=33 {
        let checked = world.index.check(EventKey(hashed(number)), 0, world.index.now());
        assert!(matches!(checked.expect("checked"), Check::Known(_)), "{number}");
    }
}

#[test]
fn memory_is_as_documented() {
    const KEYS: u64 = 2 * TABLE_KEYS_MAX as u64;
    let mut world = World::new(TABLE_KEYS_MAX);
    for number in 1..=KEYS {
        let event =
            Event { key: hashed(number), fingerprint: 0, at: world.index.now(), id: IDS[0] };
        world.index.reserve(&entry(number, &event));
        world.index.confirm(Offset(number));
        world.settle();
    }
    let table_bytes = world.index.memory_bytes();
    world.write_all();
    let files: u64 = (world.index.files.iter())
        .map(|file| (file.keys * 16).div_ceil(256) * 32 + file.keys.div_ceil(73) * 16)
        .sum();
    let file_bytes = world.index.memory_bytes();
    let rest = file_bytes - files;
    assert!(rest < 4_096, "{rest} bytes besides {files}");
    assert!((2_200_000..2_250_000).contains(&(file_bytes * 1_000_000 / KEYS)), "{file_bytes}");
    let table = (1 << 18) * (SLOT_BYTES as u64 + 1);
    assert!((table..table + 256).contains(&(table_bytes - file_bytes / 2)), "{table_bytes}");
}
