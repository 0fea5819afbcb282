//! Checks that no decision about a row depends on the time while the time is in doubt. The random tests of the machine
//! use these checks.

use std::time::Duration;

use seawall_policy::{Draw, Idempotency};

use super::walk::World;
use super::{
    AttemptKind, CancelKind, End, Event, Goal, Known, Now, Owner, Question, Stamp, State, Step, Told, plan,
    told,
};

/// By how many seconds the clock may have jumped.
const JUMPS: [i64; 7] = [-1_000_000, -90_000, -600, 0, 600, 90_000, 1_000_000];

fn shifted(at: Stamp, seconds: i64) -> Stamp {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { at.saturating_sub(by) } else { at.saturating_add(by) }
}

/// Returns whether the row is due if the clock shows `at`. If it is not due, the plan only lets the row rest.
fn is_looked_at(row: &State, at: Stamp) -> bool {
    match row.end {
        None => at >= row.next_at,
        Some(_) => row.audit_at.is_some_and(|audit| at >= audit),
    }
}

/// The parts of a state that must not be decided by a time that may be wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Decided {
    goal: Goal,
    end: Option<End>,
    known: Known,
    audited: bool,
}

impl Decided {
    fn of(state: &State) -> Decided {
        let State { goal, end, known, .. } = *state;
        Decided { goal, end, known, audited: state.audit_at.is_some() }
    }
}

/// Checks that the plan of a row does not depend on a time that may be wrong. The plan is made for several times that
/// the clock may show after a jump. All these plans must decide the same. None of them may repeat a request under a
/// key.
pub(super) fn plans_without_the_time(world: &World, owner: Owner) {
    let (row, rules) = (&world.row, &world.rules);
    let mut decided = Vec::new();
    for jump in JUMPS {
        let now = Now { at: shifted(world.now, jump), ..world.time() };
        if !is_looked_at(row, now.at) {
            continue;
        }
        match plan(row, rules, world.origin, now, owner) {
            Step::Leave | Step::SettleScope => {}
            Step::Ask(question) => assert!(!question.sure),
            Step::Change(write) => decided.push((jump, Decided::of(&write.to))),
            Step::Perform(write) | Step::Cancel(write) => {
                let line = write.attempt.as_ref().expect("a request is recorded");
                assert!(!line.after_quiet || row.sent.is_none(), "the quiet time may not be over");
                let keyed = rules.idempotency == Idempotency::Keyed;
                let twice = rules
                    .cancel
                    .as_ref()
                    .is_some_and(|cancel| cancel.keyed || cancel.kind == CancelKind::Additive);
                match line.kind {
                    AttemptKind::Perform => assert!(!keyed || row.sent.is_none(), "sent again under a key"),
                    AttemptKind::Cancel => assert!(!twice || row.undo.open.is_none(), "a cancel is repeated"),
                    AttemptKind::Confirm => panic!("a question has no line before its end"),
                }
            }
        }
    }
    // Plans that leave all these parts of the state unchanged are left out.
    let changes: Vec<_> = decided.into_iter().filter(|(_, to)| *to != Decided::of(row)).collect();
    assert!(changes.windows(2).all(|two| two[0].1 == two[1].1), "the time decided: {changes:?} of {row:?}");
    if let [(jump, to), ..] = changes[..] {
        let all = JUMPS.iter().filter(|jump| is_looked_at(row, shifted(world.now, **jump))).count();
        assert_eq!(changes.len(), all, "the time decided at {jump}: {to:?} of {row:?}");
    }
}

/// Checks that the change which an event makes does not depend on a time that may be wrong. The machine is told the
/// event at several times that the clock may show after a jump. Each time the row must change in the same way. If the
/// event is the answer to a question, the time of that question is moved by the same jump.
pub(super) fn tells_without_the_time(world: &World, owner: Owner, event: &Event) {
    let mut decided = None;
    for jump in JUMPS {
        let now = Now { at: shifted(world.now, jump), ..world.time() };
        let event = match event.clone() {
            Event::Confirmed(question, found, report) => {
                let asked_at = shifted(question.asked_at, jump);
                Event::Confirmed(Question { asked_at, ..question }, found, report)
            }
            other => other,
        };
        let told = told(&world.row, &world.rules, world.origin, owner, event, now, Draw::new(1 << 63));
        let Told::Write(write) = told else { continue };
        let to = &write.to;
        let now = (to.goal, to.end, to.known, to.undo.generation, to.sent.map(|sent| sent.open));
        assert_eq!(*decided.get_or_insert(now), now, "the time decided of {:?}", world.row);
    }
}
