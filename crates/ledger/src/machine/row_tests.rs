//! Tests of [`State::of_row`]: a row that the machine could not have written is refused. If such a row is read all the
//! same, the machine goes on with it without a panic.

use proptest::prelude::*;

use super::bench::{Bench, answer, at, keyed, lookup, origin};
use super::invariants::consistent;
use super::property_tests::{moves, rules, starts};
use super::row::Effect;
use super::walk::World;
use super::{End, Found, Goal, Impossible, NotApplied, Origin, Owner, Performed, Row, Stamp, State, Undone};

const STAMPS: [Option<Stamp>; 4] =
    [None, Some(Stamp::from_micros(i64::MIN)), Some(Stamp::from_micros(i64::MAX)), Some(at(40))];
const NUMBERS: [u32; 4] = [0, 1, 3, u32::MAX];
const REASONS: [Option<NotApplied>; 4] =
    [None, Some(NotApplied::Refused), Some(NotApplied::Cancelled), Some(NotApplied::Absent)];
const ENDS: [Option<End>; 5] =
    [None, Some(End::Done), Some(End::Failed), Some(End::Cancelled), Some(End::Stuck)];

/// The number of columns that are read: all but `due_at`.
const COLUMNS: usize = 37;

/// Writes one of several values into one column of the row.
fn corrupt(row: &mut Row, column: usize, value: usize) {
    let number = NUMBERS[value % NUMBERS.len()];
    let stamp = STAMPS[value % STAMPS.len()];
    let flag = value.is_multiple_of(2);
    let text = [None, Some(String::new()), Some("x".to_owned())][value % 3].clone();
    match column {
        0 => row.version = [1, 7, u64::MAX][value % 3],
        1 => row.needs = number,
        2 => row.goal = if flag { Goal::Perform } else { Goal::Cancel },
        3 => {
            let all = [Effect::Never, Effect::Unknown, Effect::Applied, Effect::NotApplied];
            row.effect = all[value % all.len()];
        }
        4 => row.reason = REASONS[value % REASONS.len()],
        5 => row.open_attempts = number,
        6 => row.attempts = number,
        7 => row.maybe_sent = number,
        8 => row.first_sent_at = stamp,
        9 => row.quiet_until = stamp,
        10 => row.key_ends_at = stamp,
        11 => row.seen = flag,
        12 => row.logged = number,
        13 => row.in_flight = [None, Some(1), Some(u32::MAX)][value % 3],
        14 => row.asks = number,
        15 => row.absences = number,
        16 => row.ended = ENDS[value % ENDS.len()],
        17 => row.why = text,
        18 => row.owner = [None, Some(Owner(1)), Some(Owner(3))][value % 3],
        19 => row.fence = [0, 2, u64::MAX][value % 3],
        20 => row.leased_until = stamp,
        21 => row.next_at = stamp.unwrap_or(at(0)),
        22 => row.begun_at = stamp.unwrap_or(at(0)),
        23 => row.settle_by = stamp,
        24 => row.answer = text.map(String::into_bytes),
        25 => row.cancel_gen = number,
        26 => row.cancel_tries = number,
        27 => row.cancel_asked = flag,
        28 => row.cancel_open = number,
        29 => row.cancel_gen_early = flag,
        30 => row.cancel_first_at = stamp,
        31 => row.cancel_quiet_until = stamp,
        32 => row.cancel_key = text,
        33 => row.handler_tries = number,
        34 => row.handler_error = text,
        35 => row.audit_at = stamp,
        _ => row.disputed_at = stamp,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// One column of a reachable row is changed by hand. Then one of two things must happen. Either the row is refused,
    /// or its columns agree with each other, and the machine goes on with this row without a panic.
    #[test]
    fn a_corrupt_row_is_refused_or_does_no_harm(
        rules in rules(), start in starts(), scoped: bool, before in moves(), after in moves(),
        column in 0..COLUMNS, value in 0_usize..20,
    ) {
        let mut world = World::new(rules, Origin { scoped, ..origin() }, start);
        for (what, detail, wait) in before {
            world.happens(what, detail, wait);
        }
        let mut row = world.row.row();
        corrupt(&mut row, column, value);
        let Ok(state) = State::of_row(row.clone()) else { return Ok(()) };
        consistent(&state);
        let read_back = state.row();
        prop_assert_eq!(Row { due_at: row.due_at, ..read_back }, row);
        world.row = state;
        world.checks = false;
        for (what, detail, wait) in after {
            world.happens(what, detail, wait);
            prop_assert_eq!(State::of_row(world.row.row()), Ok(world.row.clone()));
        }
    }
}

/// Reachable rows of several kinds, each with a name.
fn rows() -> Vec<(&'static str, Row)> {
    let unsent = Bench::new(keyed());
    let mut under_way = Bench::new(keyed());
    let line = under_way.performs();
    let mut unknown = Bench::new(lookup());
    unknown.lost_attempt();
    let mut done = Bench { row: under_way.row.clone(), rules: keyed(), ..under_way };
    done.performed(line.clone(), Performed::Yes(answer()));
    let mut failed = Bench { row: under_way.row.clone(), rules: keyed(), ..under_way };
    failed.refused(line, 402);
    let mut undoing = Bench::to_undo(lookup());
    undoing.cancels();
    let mut undone = Bench { row: undoing.row.clone(), rules: lookup(), ..undoing };
    let line = super::AttemptRow { kind: super::AttemptKind::Cancel, number: 2, ..undone.question_line() };
    undone.undone(line, Undone::Yes);
    let mut absent = Bench::new(lookup());
    absent.lost_attempt();
    absent.now = at(150);
    absent.claim_over();
    let question = absent.asks();
    absent.found(question, Found::Absent);
    let all = [
        ("unsent", unsent),
        ("under way", under_way),
        ("unknown", unknown),
        ("done", done),
        ("failed", failed),
        ("undoing", undoing),
        ("undone", undone),
        ("absent", absent),
    ];
    all.map(|(name, bench)| (name, bench.row.row())).into()
}

impl Bench {
    fn question_line(&self) -> super::AttemptRow {
        super::AttemptRow {
            kind: super::AttemptKind::Confirm,
            number: 1,
            generation: 0,
            fence: self.row.fence,
            recorded_at: self.now,
            send_by: self.now,
            after_quiet: true,
            ended_at: None,
            outcome: super::AttemptOutcome::Open,
            status: None,
            detail: None,
            answer: None,
        }
    }
}

#[test]
fn a_row_whose_columns_contradict_each_other_is_refused() {
    type Change = fn(&mut Row);
    let table: [(&str, &str, Change); 30] = [
        ("unsent", "a reason without its effect", |row| row.reason = Some(NotApplied::Refused)),
        ("failed", "an effect without its reason", |row| row.reason = None),
        ("failed", "never, with a reason", |row| row.effect = Effect::Never),
        ("unsent", "an open attempt that nobody sent", |row| row.open_attempts = 1),
        ("unsent", "an attempt without its times", |row| row.maybe_sent = 1),
        ("unsent", "a quiet time without an attempt", |row| row.quiet_until = Some(at(1))),
        ("unsent", "a key's end without an attempt", |row| row.key_ends_at = Some(at(1))),
        ("unsent", "a key that was seen without an attempt", |row| row.seen = true),
        ("unknown", "more open attempts than were sent", |row| row.open_attempts = 2),
        ("unknown", "unknown without an open attempt", |row| row.open_attempts = 0),
        ("unknown", "an attempt without its first time", |row| row.first_sent_at = None),
        ("unknown", "an attempt without its quiet time", |row| row.quiet_until = None),
        ("unknown", "open attempts that were never sent", |row| row.maybe_sent = 0),
        ("unknown", "never, with an open attempt", |row| row.effect = Effect::Never),
        ("failed", "not applied, with an open attempt", |row| row.open_attempts = 1),
        ("unsent", "a lease without an owner", |row| row.owner = None),
        ("unsent", "an owner without a lease", |row| row.leased_until = None),
        ("done", "an attempt under way without an owner", |row| row.in_flight = Some(1)),
        ("unknown", "done and unknown", |row| row.ended = Some(End::Done)),
        ("unknown", "failed and unknown", |row| row.ended = Some(End::Failed)),
        ("done", "failed and applied", |row| row.ended = Some(End::Failed)),
        ("done", "done, although it is to be cancelled", |row| row.goal = Goal::Cancel),
        ("undone", "cancelled, although it is wanted", |row| row.goal = Goal::Perform),
        ("undoing", "cancelled and applied", |row| row.ended = Some(End::Cancelled)),
        ("undoing", "cancels without their first time", |row| row.cancel_first_at = None),
        ("undoing", "cancels without their quiet time", |row| row.cancel_quiet_until = None),
        ("undoing", "a key of no cancel", |row| row.cancel_open = 0),
        ("unsent", "an early cancel that was not sent", |row| row.cancel_gen_early = true),
        ("unsent", "a failed handler without its error", |row| row.handler_tries = 1),
        ("unsent", "an error of no handler", |row| row.handler_error = Some("no".to_owned())),
    ];
    let rows = rows();
    for (name, what, change) in table {
        let (_, row) = rows.iter().find(|(kind, _)| *kind == name).expect("a row of that kind");
        assert!(State::of_row(row.clone()).is_ok());
        let mut row = row.clone();
        change(&mut row);
        let read: Result<State, Impossible> = State::of_row(row);
        assert!(read.is_err(), "{name}: {what}");
    }
    let (_, mut row) = rows.into_iter().find(|(kind, _)| *kind == "done").expect("a row that is done");
    row.handler_tries = 1;
    row.handler_error = Some("no".to_owned());
    assert!(State::of_row(row).is_err(), "a failed handler of a row that has ended");
}

#[test]
fn when_a_row_is_due_follows_from_its_other_columns() {
    for (name, row) in rows() {
        let due = row.due_at;
        let read = State::of_row(Row { due_at: Some(at(77)), ..row }).expect("it is reachable");
        assert_eq!(read.due_at(), due, "{name}");
    }
}
