//! What must hold for every state and every change of a row, however the provider, the network and the application
//! behave. docs/life-of-an-action.md explains the rules.

use seawall_policy::Idempotency;

use super::{
    AttemptKind, AttemptRow, CancelKind, End, Event, Found, Goal, Known, NotApplied, Owner, Performed, Rules,
    Stamp, State, StuckReason, Undone, Write,
};

/// Panics if two parts of the state contradict each other, for example if the effect is unknown although no attempt can
/// take effect. [`State::of_row`] accepts no row with such a contradiction.
pub(super) fn consistent(state: &State) {
    match state.known {
        Known::Unknown => {
            assert!(state.open_attempts() > 0, "unknown, but nothing may take effect: {state:?}")
        }
        Known::Never | Known::NotApplied(_) => {
            assert_eq!(state.open_attempts(), 0, "an attempt is open of what is not applied");
        }
        Known::Applied => {}
    }
    match state.end {
        Some(End::Done) => assert_eq!((state.goal, state.known), (Goal::Perform, Known::Applied)),
        Some(End::Failed) => assert_eq!(state.goal, Goal::Perform),
        Some(End::Cancelled) => assert_eq!(state.goal, Goal::Cancel),
        Some(End::Stuck) => {}
        None => assert!(state.due_at().is_some(), "nothing rests without a time"),
    }
    if matches!(state.end, Some(End::Failed | End::Cancelled)) {
        assert!(matches!(state.known, Known::Never | Known::NotApplied(_)));
    }
    if state.end.is_some() {
        assert!(state.handler.is_none(), "no trouble with a handler after the end");
    }
    if let Some(sent) = state.sent {
        assert!(sent.attempts >= 1 && sent.open <= sent.attempts);
    }
}

/// Panics if two parts of the state contradict each other. These are the checks of [`consistent`], and further ones
/// that hold only for rows that the machine wrote.
pub(super) fn holds(state: &State) {
    consistent(state);
    assert!(state.end.is_none() || state.in_flight().is_none(), "nothing is under way at an end");
    assert!(!matches!(state.end, Some(End::Done | End::Stuck)) || state.failing_since.is_none());
    if state.end == Some(End::Stuck) {
        let why = state.why.as_deref().and_then(StuckReason::of);
        assert!(why.is_some(), "no reason: {:?}", state.why);
    }
    assert!(state.in_flight().is_none_or(|number| number <= state.logged));
    assert!(state.sent.is_none_or(|sent| sent.first_at <= sent.quiet_until));
    assert!(state.attempts <= state.sent.map_or(0, |sent| sent.attempts));
}

/// Checks one change.
pub(super) fn check(rules: &Rules, from: &State, write: &Write, now: Stamp) {
    let to = &write.to;
    holds(to);
    assert_eq!((write.from, to.version), (from.version, from.version + 1), "the version goes up by one");
    assert!(to.fence >= from.fence && to.logged >= from.logged && to.needs >= from.needs);
    assert!(to.undo.generation >= from.undo.generation, "no cancel key is used again");
    let counts = |state: &State| state.undo.open.as_ref().map_or(0, |open| open.count);
    if to.undo.generation > from.undo.generation {
        assert_eq!(counts(to), 0, "a new key was never used");
    }
    assert!(to.goal == from.goal || to.goal == Goal::Cancel, "the goal never goes back");
    if from.known == Known::Applied && to.known != Known::Applied {
        assert_eq!(to.goal, Goal::Cancel, "applied is overwritten only by a cancel");
    }
    if from.end == Some(End::Done) && to.end != from.end {
        assert_eq!(to.goal, Goal::Cancel, "what is done is only taken back");
    }
    let believed = matches!(to.known, Known::NotApplied(NotApplied::Absent | NotApplied::NoSuch));
    if believed && to.known != from.known {
        let can_ask = rules.confirm.is_some() && rules.ask_by(to.sent.as_ref()).is_none_or(|by| now < by);
        assert_eq!(to.audit_at.is_some(), can_ask, "asked once more, where that is possible");
    }
    if from.sent.is_some() && to.sent.is_none() {
        assert_eq!(from.sent.map(|sent| sent.attempts), Some(1), "what may have left is never forgotten");
    }
    if let (Some(before), Some(after)) = (from.sent, to.sent) {
        assert!(after.seen || !before.seen, "an arrival is never forgotten");
        assert!(after.first_at == before.first_at && after.key_ends == before.key_ends);
        assert!(after.quiet_until >= before.quiet_until && after.send_by >= before.send_by);
    }
    if let Some(line) = write.attempt.as_ref().filter(|line| line.ended_at.is_none()) {
        sends(rules, from, write, line, now);
    }
}

/// Checks a change that allows a worker to send something.
fn sends(rules: &Rules, from: &State, write: &Write, line: &AttemptRow, now: Stamp) {
    let to = &write.to;
    let claim = to.claim.expect("only who has the row sends");
    assert_eq!((line.number, Some(line.number)), (from.logged + 1, to.in_flight()), "a number of its own");
    assert_eq!((line.fence, line.recorded_at), (to.fence, now));
    assert!(line.send_by <= claim.until, "the lease lasts longer than the attempt");
    assert!(from.in_flight().is_none(), "one at a time");
    let arrives = line.send_by.saturating_add(rules.network).saturating_add(rules.pause);
    match line.kind {
        AttemptKind::Perform => {
            assert!(rules.confirm.is_none() || from.open_attempts() == 0, "asked before it is sent again");
            assert!(to.quiet_until() >= Some(line.send_by.saturating_add(rules.quiet)));
            assert!(to.sent.is_some_and(|sent| sent.send_by >= Some(line.send_by)));
            assert!(from.goal == Goal::Perform || from.known == Known::Unknown);
            assert!(to.goal == Goal::Cancel || to.settle_by.is_none_or(|by| line.send_by <= by));
            if from.open_attempts() > 0 {
                assert_ne!(rules.idempotency, Idempotency::None, "a second delivery may be a second effect");
            }
            if let (Some(sent), Idempotency::Keyed) = (from.sent, rules.idempotency) {
                let ends = rules.key_ends(&sent).expect("sent again, and nobody knows how long keys live");
                assert!(arrives < ends, "sent again after the key's life");
                assert!(!sent.seen, "sent again although it has arrived");
            }
        }
        AttemptKind::Cancel => {
            let rules_of_cancel = rules.cancel.as_ref().expect("only what is declared");
            assert_eq!((from.goal, line.generation), (Goal::Cancel, from.undo.generation));
            assert!(!rules_of_cancel.asks_first || from.undo.asked, "asked directly before each cancel");
            let by = rules.cancel_by(from.sent.as_ref());
            assert!(by.is_none_or(|by| now < by), "cancelled after the window");
            if let (Some(open), CancelKind::Additive) = (&from.undo.open, rules_of_cancel.kind) {
                let ends = rules.cancel_key_ends(open).expect("a second cancel could undo twice");
                assert!(arrives < ends, "a second cancel after its key's life");
            }
        }
        AttemptKind::Confirm => panic!("a question has no line before its end"),
    }
}

/// Checks that this event may change the row in this way.
pub(super) fn is_allowed(
    rules: &Rules,
    from: &State,
    owner: Owner,
    event: &Event,
    write: &Write,
    now: Stamp,
) {
    let to = &write.to;
    let mine = |fence| from.owner() == Some(owner) && from.fence == fence;
    let is_closed = matches!(from.end, Some(End::Failed | End::Cancelled));
    let quiet = rules.quiet_until(from.sent.as_ref());
    match event {
        Event::Performed(line, how, _) => {
            let contradicts = is_closed && matches!(how, Performed::Yes(_) | Performed::Duplicate);
            assert!((mine(line.fence) && from.in_flight() == Some(line.number)) || contradicts);
            if matches!(how, Performed::Duplicate | Performed::Unknown) {
                assert_eq!(to.known, from.known, "nothing is known of the effect");
            }
        }
        Event::Unsent(line, _) => {
            assert!(mine(line.fence) && from.in_flight() == Some(line.number));
            let failed = to.end == Some(End::Failed);
            assert_eq!(failed, to.known == Known::Never && to.goal == Goal::Perform);
        }
        Event::Confirmed(question, found, _) => {
            assert!(mine(question.fence) && question.number == from.logged + 1);
            fails_from_the_first(rules, from, to, now);
            if to.known != from.known && *found == Found::Absent {
                let cancel_quiet = from.undo.open.as_ref().map(|open| rules.cancel_quiet_until(open));
                let after = if from.known == Known::Applied { cancel_quiet.max(quiet) } else { quiet };
                let after = after.expect("something was sent, or a cancel was");
                assert!(question.asked_at >= after, "believed before the quiet time");
                assert!(question.sure, "believed although nobody knew when it was asked");
                let by = rules.ask_by(from.sent.as_ref());
                assert!(by.is_none_or(|by| question.asked_at < by), "believed after the window");
                let seen = from.sent.is_some_and(|sent| sent.seen);
                assert!(!seen || from.known == Known::Applied, "believed although it has arrived");
            }
        }
        Event::Cancelled(line, how, _) => {
            assert!(mine(line.fence) && from.in_flight() == Some(line.number));
            let never = *how == Undone::Never;
            fails_from_the_first(rules, from, &State { end: to.end.filter(|_| !never), ..to.clone() }, now);
            if to.known != from.known {
                let open = from.undo.open.as_ref().expect("a cancel was sent");
                let no_such = *how == Undone::NoSuch && !open.early && from.known == Known::Unknown;
                assert!(*how == Undone::Yes || no_such, "{how:?} says nothing of the effect");
                assert!(*how == Undone::Yes || !from.sent.is_some_and(|sent| sent.seen));
            }
        }
        Event::ScopeWaits | Event::ScopeBroken => assert_eq!(from.known, Known::Applied),
    }
}

/// Checks [`Rules::stuck_after`]. That time begins with the first question or cancel that had no result, and does not
/// begin again with each further one. The row becomes stuck only when the time is over.
fn fails_from_the_first(rules: &Rules, from: &State, to: &State, now: Stamp) {
    let since = from.failing_since.unwrap_or(now);
    assert!(to.failing_since.is_none_or(|to| to == since), "the time restarts only with progress");
    if to.end == Some(End::Stuck) {
        assert!(now >= since.saturating_add(rules.stuck_after), "stuck before the time is over");
    }
}
