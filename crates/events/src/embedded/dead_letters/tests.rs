//! Dead letters on a simulated disk that crashes, fills up and fails.

use std::io;

use model::Timestamp;
use platform::{FsErrorKind, FsOperation, SimClock, SimCrash, SimFs, SimRng};

use super::*;

const DIR: &str = "/data/dead-letters";

struct Machine {
    fs: Arc<SimFs>,
    clock: Arc<SimClock>,
    config: DeadLettersConfig,
}

impl Machine {
    fn new() -> Self {
        let config = DeadLettersConfig { segment_bytes_max: 400, ..DeadLettersConfig::default() };
        Self { fs: SimFs::new(), clock: SimClock::new(Timestamp::from_millis(1_000_000)), config }
    }

    fn try_open(&self) -> Result<Letters, JournalError> {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let opened = Letters::open(self.fs.clone(), Path::new(DIR), clock, self.config.clone());
        opened.map(|(letters, opening)| {
            assert_eq!(opening.damage, Vec::<String>::new());
            letters
        })
    }

    fn open(&self) -> Letters {
        self.try_open().expect("open")
    }
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).expect("a name")
}

fn letter(owner: &str, bytes: usize) -> NewDeadLetter {
    NewDeadLetter {
        tenant: tenant(owner),
        consumer: "sink".to_owned(),
        subject: "events.shop.screen.view".to_owned(),
        headers: BTreeMap::new(),
        offset: Some(crate::Offset(7)),
        bytes: vec![1; bytes].into(),
        error: "broken".to_owned(),
        attempts: 1,
    }
}

fn all(letters: &Letters, owner: &str) -> Vec<DeadLetter> {
    let tenant = tenant(owner);
    let query = DeadLetterQuery { tenant, consumer: None, before: None, limit: 1_000 };
    let page = letters.list(query).expect("list");
    assert!(!page.more);
    page.letters
}

fn numbers(letters: &[DeadLetter]) -> Vec<u64> {
    letters.iter().map(|letter| letter.id.0).collect()
}

/// What was done to letters, as far as it was acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    letters: BTreeMap<DeadLetterId, (u32, bool)>,
    /// The letter that is being changed: it may be as before or as after, or there or not.
    open: Option<DeadLetterId>,
    put: u32,
}

/// Puts, replays, gives back, discards and compacts; stops at the first error.
fn script(machine: &Machine, told: &mut Told) -> Result<(), LogError> {
    let letters = machine.try_open().map_err(unavailable)?;
    let owner = tenant("shop");
    for round in 0..10_u64 {
        for _ in 0..3 {
            told.put += 1;
            let id = letters.put(letter("shop", 40))?;
            told.letters.insert(id, (1, false));
        }
        let ids: Vec<DeadLetterId> = told.letters.keys().copied().collect();
        let pick = |index: usize| ids[(index * 7 + 3) % ids.len()];
        let (first, second) = (pick(round as usize), pick(round as usize + 1));
        told.open = Some(first);
        letters.replay(&owner, first)?;
        told.letters.insert(first, (told.letters[&first].0, true));
        if round % 2 == 0 {
            letters.give_back(first, "again".to_owned())?;
            told.letters.insert(first, (told.letters[&first].0 + 1, false));
        }
        for id in [second, ids[0], ids[ids.len() / 2]] {
            told.open = Some(id);
            letters.discard(&owner, id)?;
            told.letters.remove(&id);
        }
        told.open = None;
        letters.maintain()?;
    }
    letters.journal.close();
    Ok(())
}

fn check_after_crash(crash: &SimCrash, torn: Option<Arc<SimRng>>, at: u64) -> bool {
    let machine = Machine::new();
    let mut told = Told::default();
    machine.fs.crash_at(at, torn);
    let finished = script(&machine, &mut told).is_ok();
    machine.fs.restart(crash);

    let letters = machine.open();
    let found: BTreeMap<DeadLetterId, (u32, bool)> = all(&letters, "shop")
        .into_iter()
        .map(|DeadLetter { id, state, letter, .. }| {
            assert_eq!(letter.bytes.len(), 40, "crash at {at}");
            (id, (letter.attempts, state == DeadLetterState::Replaying))
        })
        .collect();
    for (id, state) in &told.letters {
        if told.open != Some(*id) {
            assert_eq!(found.get(id), Some(state), "crash at {at}: letter {}", id.0);
        }
    }
    let unknown =
        found.keys().filter(|id| !told.letters.contains_key(id) && told.open != Some(**id));
    assert!(unknown.count() <= 1, "crash at {at}: at most the one that was being put");
    let new = letters.put(letter("shop", 40)).expect("put");
    assert!(found.keys().all(|id| *id < new), "crash at {at}");
    assert_eq!(all(&machine_again(&machine, letters), "shop").len(), found.len() + 1);
    finished
}

fn machine_again(machine: &Machine, letters: Letters) -> Letters {
    letters.journal.close();
    drop(letters);
    machine.open()
}

#[test]
fn what_was_acknowledged_holds_after_a_crash_at_any_operation() {
    let mut at = 0;
    while !check_after_crash(&SimCrash::Kill, None, at) {
        check_after_crash(&SimCrash::PowerLoss, None, at);
        for seed in 0..2 {
            let rng = SimRng::new(seed << 32 | at);
            check_after_crash(&SimCrash::PowerLossTorn(rng.clone()), Some(rng), at);
        }
        at += 1;
    }
    assert!(at > 150, "the script has more operations than {at}");
}

#[test]
fn the_room_of_what_went_is_given_back_and_the_rest_stays_readable() {
    let machine = Machine::new();
    let letters = machine.open();
    let owner = tenant("shop");
    let ids: Vec<_> = (0..60).map(|_| letters.put(letter("shop", 40)).expect("put")).collect();
    assert!(letters.replay(&owner, ids[0]).expect("replay"));
    let whole = letters.journal.bytes();
    for id in ids.iter().filter(|id| id.0 % 10 != 1) {
        assert!(letters.discard(&owner, *id).expect("discard"));
    }
    let removed: u64 =
        (0..20).map(|_| letters.maintain().expect("maintain").segments_removed).sum();
    let stats = letters.stats();
    assert!(
        removed > 10 && stats.bytes <= 2 * stats.letter_bytes + 2 * 400,
        "{stats:?} of {whole}"
    );
    for letters in [letters, machine.open()] {
        let kept = all(&letters, "shop");
        assert_eq!(numbers(&kept), [51, 41, 31, 21, 11, 1]);
        assert_eq!(kept[5].state, DeadLetterState::Replaying);
        letters.journal.close();
    }
}

#[test]
fn letters_go_once_they_are_too_old_but_not_because_the_clock_jumped() {
    let machine = Machine::new();
    let letters = machine.open();
    letters.put(letter("shop", 1)).expect("put");
    let day = Duration::from_hours(24);
    machine.clock.advance(29 * day);
    letters.put(letter("shop", 1)).expect("put");
    assert_eq!(letters.maintain().expect("maintain").expired, 0);
    machine.clock.set_now(Timestamp::from_millis(i64::MAX / 2));
    assert_eq!(letters.maintain().expect("maintain").expired, 0, "the clock is doubted");
    machine.clock.set_now(Timestamp::from_millis(1_000_000 + 29 * 86_400_000));
    assert_eq!(letters.maintain().expect("maintain").expired, 0);
    machine.clock.advance(day + Duration::from_millis(1));
    assert_eq!(letters.maintain().expect("maintain").expired, 1);
    assert_eq!(numbers(&all(&letters, "shop")), [2]);
    assert_eq!(letters.stats().expired, 1);
    assert_eq!(numbers(&all(&machine_again(&machine, letters), "shop")), [2]);
}

#[test]
fn when_there_are_too_many_the_oldest_of_the_tenant_with_the_most_goes() {
    let mut machine = Machine::new();
    machine.config.letters_max = 5;
    let letters = machine.open();
    for owner in ["small", "large", "large", "large", "small"] {
        letters.put(letter(owner, 10)).expect("put");
    }
    assert_eq!(letters.stats().displaced, BTreeMap::new());
    letters.put(letter("third", 10)).expect("put");
    letters.put(letter("large", 10)).expect("put");
    assert_eq!(numbers(&all(&letters, "small")), [5, 1]);
    assert_eq!(numbers(&all(&letters, "third")), [6]);
    assert_eq!(all(&letters, "large").len(), 2);
    assert_eq!(letters.stats().displaced, BTreeMap::from([(tenant("large"), 2)]));
    letters.put(letter("third", 10)).expect("put");
    let letters = machine_again(&machine, letters);
    assert_eq!(letters.stats().letters, 5, "what went stays away");
}

#[test]
fn when_they_are_too_large_the_oldest_of_the_tenant_with_the_most_bytes_goes() {
    let mut machine = Machine::new();
    machine.config.bytes_max = 2_000;
    let letters = machine.open();
    letters.put(letter("large", 900)).expect("put");
    for _ in 0..5 {
        letters.put(letter("small", 10)).expect("put");
    }
    letters.put(letter("large", 800)).expect("put");
    assert_eq!(letters.stats().displaced, BTreeMap::from([(tenant("large"), 1)]));
    assert_eq!(numbers(&all(&letters, "large")), [7]);
    assert_eq!(all(&letters, "small").len(), 5);
}

#[test]
fn a_full_disk_refuses_a_letter_and_takes_the_next_when_there_is_room() {
    let machine = Machine::new();
    let letters = machine.open();
    letters.put(letter("shop", 40)).expect("put");
    machine.fs.set_space(Some(0));
    let refused = letters.put(letter("shop", 200));
    assert!(matches!(refused, Err(LogError::Unavailable { .. })), "{refused:?}");
    let refused = letters.discard(&tenant("shop"), DeadLetterId(1));
    assert!(matches!(refused, Err(LogError::Unavailable { .. })), "{refused:?}");
    assert_eq!(numbers(&all(&letters, "shop")), [1], "what was refused is not there");
    machine.fs.set_space(None);
    let id = letters.put(letter("shop", 200)).expect("there is room");
    let letters = machine_again(&machine, letters);
    assert_eq!(numbers(&all(&letters, "shop")), [id.0, 1]);
}

#[test]
fn a_disk_that_fails_refuses_letters_until_it_works_again() {
    let machine = Machine::new();
    let letters = machine.open();
    letters.put(letter("shop", 40)).expect("put");
    machine.fs.fail_next(FsOperation::SyncData, io::ErrorKind::Other);
    for _ in 0..2 {
        let refused = letters.put(letter("shop", 40));
        assert!(matches!(refused, Err(LogError::Unavailable { .. })), "{refused:?}");
    }
    assert!(letters.maintain().is_err(), "not at once");
    machine.clock.advance(Duration::from_secs(5));
    assert!(letters.maintain().expect("maintain").resumed);
    let id = letters.put(letter("shop", 40)).expect("put");
    assert_eq!(numbers(&all(&machine_again(&machine, letters), "shop")), [id.0, 1]);
}

#[test]
fn a_letter_that_is_too_long_is_refused_and_a_reason_that_is_too_long_is_cut() {
    let machine = Machine::new();
    let letters = machine.open();
    let refused = letters.put(letter("shop", LETTER_BYTES_MAX));
    assert!(matches!(refused, Err(LogError::TooLarge { .. })), "{refused:?}");
    let error = format!("a{}", "\u{e4}".repeat(ERROR_BYTES_MAX));
    letters.put(NewDeadLetter { error, ..letter("shop", 1) }).expect("put");
    assert_eq!(all(&letters, "shop")[0].letter.error.len(), ERROR_BYTES_MAX - 1);
}

#[test]
fn a_page_ends_once_it_has_its_bytes() {
    let machine = Machine::new();
    let letters = machine.open();
    for _ in 0..5 {
        letters.put(letter("shop", 4 << 20)).expect("put");
    }
    let query = |before| DeadLetterQuery {
        tenant: tenant("shop"),
        consumer: None,
        before,
        limit: usize::MAX,
    };
    let page = letters.list(query(None)).expect("list");
    assert_eq!((numbers(&page.letters), page.more), (vec![5, 4, 3, 2], true));
    let page = letters.list(query(Some(DeadLetterId(2)))).expect("list");
    assert_eq!((numbers(&page.letters), page.more), (vec![1], false));
}

#[test]
fn a_folder_is_open_once_at_a_time() {
    let machine = Machine::new();
    let open = || {
        let clock: Arc<dyn Clock> = Arc::new(machine.clock.clone());
        EmbeddedDeadLetters::open(machine.fs.clone(), Path::new(DIR), clock, machine.config.clone())
    };
    let first = open().expect("open");
    assert!(matches!(open(), Err(OpenError::Fs(error)) if error.kind == FsErrorKind::Locked));
    drop(first);
    open().expect("open");
}
