//! Tests of keys: how long the provider remembers a key, and what follows if the provider says that it has the key
//! already.

use std::time::Duration;

use super::bench::{Bench, DAY, answer, at, keyed, lookup, status, void};
use super::{
    CancelRules, End, Event, Found, Goal, Known, NotApplied, OnUnknown, Performed, Rules, Step, Told, Undone,
};
use crate::calendar::Lifetime;
use seawall_policy::Idempotency;

fn lives(seconds: u64) -> Option<Lifetime> {
    Some(Lifetime::For(Duration::from_secs(seconds)))
}

/// Rules for a provider that honours keys and can be asked.
fn keyed_and_asked() -> Rules {
    Rules { confirm: lookup().confirm, ..keyed() }
}

// ---- without a declared lifetime ----

#[test]
fn without_a_lifetime_nothing_is_sent_again_under_a_key() {
    for on_unknown in [OnUnknown::Repeat, OnUnknown::Confirm, OnUnknown::Hold] {
        let mut bench = Bench::new(Rules { on_unknown, ..Rules::of(Idempotency::Keyed) });
        let line = bench.performs();
        bench.performed(line, Performed::Unknown);
        if bench.row.owner().is_none() {
            bench.until_due();
        }
        assert_eq!(bench.step(), Step::Leave);
        assert_eq!(bench.row.end, Some(End::Stuck), "{on_unknown:?}");
    }
}

#[test]
fn the_default_without_a_lifetime_is_to_hold_and_with_one_to_repeat() {
    let rules = Rules::of(Idempotency::Keyed);
    assert_eq!(rules.on_unknown, OnUnknown::Hold);
    assert_eq!(rules.clone().remembered(Lifetime::For(DAY)).on_unknown, OnUnknown::Repeat);
    let declared = Rules { on_unknown: OnUnknown::Cancel, ..rules };
    assert_eq!(declared.remembered(Lifetime::For(DAY)).on_unknown, OnUnknown::Cancel);
    assert_eq!(Rules::of(Idempotency::None).remembered(Lifetime::For(DAY)).on_unknown, OnUnknown::Hold);
}

#[test]
fn without_a_lifetime_what_is_believed_absent_is_not_sent_again() {
    for resend_absent in [false, true] {
        let rules = Rules { key_lifetime: None, resend_absent, ..keyed_and_asked() };
        let mut bench = Bench::new(rules);
        bench.lost_attempt();
        bench.now = at(150);
        bench.claim_over();
        let question = bench.asks();
        bench.found(question, Found::Absent);
        assert_eq!(bench.step(), Step::Leave);
        assert_eq!(bench.row.end, Some(End::Failed), "resend_absent = {resend_absent}");
    }
}

#[test]
fn without_a_lifetime_the_effect_is_not_learned_by_sending_again() {
    let rules = Rules { key_lifetime: None, cancel: lookup().cancel, ..keyed() };
    let mut bench = Bench::new(rules);
    let line = bench.performs();
    bench.app_cancels();
    bench.performed(line, Performed::Unknown);
    bench.until_due();
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!((bench.row.end, bench.row.goal), (Some(End::Stuck), Goal::Cancel));
}

#[test]
fn a_keyed_cancel_that_adds_up_is_sent_twice_only_within_the_life_of_its_key() {
    let cancel = lookup().cancel.map(|cancel| CancelRules { keyed: true, ..cancel });
    // The first cancel is sent at second 0, and a second one is due within a second and arrives at most 40 s later. So
    // a key that lives for 40 s could be forgotten by then, and a key that lives for 60 s could not.
    for (key_lifetime, again) in [(None, false), (lives(40), false), (lives(60), true)] {
        let rules = Rules { cancel: cancel.clone(), key_lifetime: key_lifetime.clone(), ..lookup() };
        let mut bench = Bench::to_undo(rules);
        let line = bench.cancels();
        bench.undone(line, Undone::Unknown);
        bench.until_due();
        let step = bench.step();
        assert_eq!(matches!(step, Step::Cancel(_)), again, "{key_lifetime:?}: {step:?}");
        if !again {
            bench.until_due();
            bench.asks();
        }
    }
    // A cancel that only sets a state needs no key.
    let rules = Rules { cancel: Some(void()), ..lookup() };
    let mut bench = Bench::to_undo(rules);
    let line = bench.cancels();
    bench.undone(line, Undone::Unknown);
    bench.until_due();
    assert!(matches!(bench.step(), Step::Cancel(_)));
}

// ---- the end of a key's life ----

#[test]
fn nothing_is_sent_again_that_could_arrive_after_the_end_of_its_key() {
    // The columns are: the lifetime in seconds, the second of the next attempt, and whether it is sent. An attempt may
    // take 30 s, the network 5 s and a pause of the process 5 s, so it arrives at most 40 s later.
    let table = [(100, 59, true), (100, 60, false), (200, 159, true), (200, 160, false)];
    for (lifetime, second, again) in table {
        let mut bench = Bench::new(Rules { key_lifetime: lives(lifetime), ..keyed() });
        bench.lost_attempt();
        bench.now = at(second);
        bench.claim_over();
        assert_eq!(matches!(bench.step(), Step::Perform(_)), again, "{lifetime} s, at second {second}");
        assert_eq!(bench.row.end, (!again).then_some(End::Stuck));
    }
}

#[test]
fn if_the_declared_lifetime_changes_the_earlier_end_counts() {
    let table = [
        (lives(100), lives(1000), false),
        (lives(1000), lives(100), false),
        (lives(1000), lives(1000), true),
        (None, lives(1000), true),
        (None, lives(100), false),
        (lives(1000), None, false),
    ];
    for (at_first, later, again) in table {
        let mut bench = Bench::new(Rules { key_lifetime: at_first.clone(), ..keyed() });
        bench.lost_attempt();
        bench.rules.key_lifetime.clone_from(&later);
        bench.now = at(70);
        bench.claim_over();
        assert_eq!(matches!(bench.step(), Step::Perform(_)), again, "{at_first:?}, then {later:?}");
    }
}

#[test]
fn if_the_declared_lifetime_changes_the_earlier_end_counts_for_cancels() {
    let cancel = lookup().cancel.map(|cancel| CancelRules { keyed: true, ..cancel });
    for (at_first, later, again) in
        [(lives(100), lives(1000), false), (lives(1000), lives(100), false), (lives(1000), lives(1000), true)]
    {
        let mut bench =
            Bench::to_undo(Rules { cancel: cancel.clone(), key_lifetime: at_first.clone(), ..lookup() });
        let line = bench.cancels();
        bench.undone(line, Undone::Unknown);
        bench.rules.key_lifetime.clone_from(&later);
        bench.now = at(70);
        bench.claim_over();
        assert_eq!(matches!(bench.step(), Step::Cancel(_)), again, "{at_first:?}, then {later:?}");
    }
}

#[test]
fn if_the_declared_quiet_time_changes_the_later_end_counts() {
    let quiet = |seconds: u64| Duration::from_secs(seconds);
    // The attempt that is lost may be sent until second 30. The quiet time counts from there.
    for (at_first, later, ends) in [(120, 120, 150), (120, 300, 330), (300, 120, 330)] {
        let mut bench = Bench::new(Rules { quiet: quiet(at_first), ..lookup() });
        bench.lost_attempt();
        bench.rules.quiet = quiet(later);
        for (second, believed) in [(ends - 1, false), (ends, true)] {
            bench.now = at(second);
            bench.claim_over();
            let question = bench.asks();
            bench.found(question, Found::Absent);
            assert_eq!(bench.row.known != Known::Unknown, believed, "{at_first}, then {later}, at {second}");
        }
    }
}

#[test]
fn a_longer_quiet_time_counts_from_the_last_attempt() {
    let mut bench = Bench::new(Rules { quiet: Duration::from_secs(120), ..keyed_and_asked() });
    bench.lost_attempt();
    bench.now = at(200);
    bench.claim_over();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    bench.lost_attempt();
    bench.rules.quiet = Duration::from_secs(300);
    for (second, believed) in [(529, false), (530, true)] {
        bench.now = at(second);
        bench.claim_over();
        let question = bench.asks();
        bench.found(question, Found::Absent);
        assert_eq!(bench.row.known != Known::Unknown, believed, "at {second}");
    }
}

#[test]
fn if_the_declared_quiet_time_changes_the_later_end_counts_for_cancels() {
    for (at_first, later, ends) in [(120, 120, 150), (120, 300, 330), (300, 120, 330)] {
        let quiet = |seconds: u64| Duration::from_secs(seconds);
        let mut bench = Bench::to_undo(Rules { quiet: quiet(at_first), ..lookup() });
        let line = bench.cancels();
        bench.undone(line, Undone::Unknown);
        bench.rules.quiet = quiet(later);
        bench.now = at(ends - 1);
        bench.claim_over();
        assert_eq!(bench.step(), Step::Leave, "a question would not say what became of the cancel");
        bench.now = at(ends);
        bench.claim();
        bench.asks();
    }
}

#[test]
fn what_is_believed_absent_is_sent_again_only_within_the_life_of_its_key() {
    for (lifetime, again) in [(190, false), (191, true)] {
        let mut bench = Bench::new(Rules { key_lifetime: lives(lifetime), ..keyed_and_asked() });
        bench.lost_attempt();
        bench.now = at(150);
        bench.claim_over();
        let question = bench.asks();
        bench.found(question, Found::Absent);
        assert_eq!(bench.row.known, Known::Never);
        assert_eq!(matches!(bench.step(), Step::Perform(_)), again, "{lifetime}");
        assert_eq!(bench.row.end, (!again).then_some(End::Failed));
    }
}

#[test]
fn an_operation_without_a_key_is_not_bound_by_a_lifetime() {
    let mut bench = Bench::new(Rules { key_lifetime: lives(1), ..Rules::of(Idempotency::Idempotent) });
    bench.lost_attempt();
    bench.performs();
}

// ---- the provider has the key already ----

#[test]
fn a_duplicate_is_asked_about() {
    let mut bench = Bench::new(keyed_and_asked());
    let line = bench.performs();
    let Told::Write(write) = bench.performed(line, Performed::Duplicate) else { panic!("ours") };
    assert_eq!(write.attempt().expect("its line").outcome, super::AttemptOutcome::Unknown);
    assert_eq!((bench.row.known, bench.row.open_attempts(), bench.row.next_at), (Known::Unknown, 1, at(2)));
    bench.until_due();
    let question = bench.asks();
    bench.found(question, Found::Applied(answer()));
    assert_eq!(bench.row.end, Some(End::Done));
}

#[test]
fn a_duplicate_without_a_way_to_ask_is_left_to_a_person() {
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    bench.performed(line, Performed::Duplicate);
    bench.until_due();
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!((bench.row.end, bench.row.known), (Some(End::Stuck), Known::Unknown));
    // A second delivery of an idempotent operation does no harm. So the request is sent again, although the provider
    // said that it has the key.
    let mut bench = Bench::new(Rules::of(Idempotency::Idempotent));
    let line = bench.performs();
    bench.performed(line, Performed::Duplicate);
    bench.until_due();
    bench.performs();
}

#[test]
fn after_a_duplicate_no_absence_is_believed() {
    let mut bench = Bench::new(keyed_and_asked());
    let line = bench.performs();
    bench.performed(line, Performed::Duplicate);
    bench.now = at(500);
    bench.claim_over();
    let over = bench.now.saturating_add(bench.rules.stuck_after);
    while bench.now < over {
        assert_eq!((bench.row.known, bench.row.end), (Known::Unknown, None));
        let question = bench.asks();
        bench.found(question, Found::Absent);
        bench.now = at(bench.now.as_micros() / 1_000_000 - 1000 + 3600);
        if bench.row.end.is_none() {
            bench.claim();
        }
    }
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!(bench.row.end, Some(End::Stuck));
}

#[test]
fn after_a_duplicate_no_such_is_not_believed_either() {
    let mut bench = Bench::new(Rules { on_unknown: OnUnknown::Cancel, ..keyed() });
    let line = bench.performs();
    bench.performed(line, Performed::Duplicate);
    bench.now = at(150);
    let cancel = bench.cancels();
    bench.undone(cancel, Undone::NoSuch);
    assert_eq!((bench.row.known, bench.row.end, bench.row.undo.generation), (Known::Unknown, None, 1));
}

/// Makes a row that was closed because the provider said that it does not know the action. Also returns the attempt's
/// line of the log. How the attempt ended was not reported yet: a test can report that afterwards.
fn closed_as_absent(rules: Rules) -> (Bench, super::AttemptRow) {
    let mut bench = Bench::new(rules);
    let line = bench.performs();
    bench.now = at(150);
    bench.claim_over();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!(bench.row.known, Known::NotApplied(NotApplied::Absent));
    (bench, line)
}

#[test]
fn a_late_duplicate_disputes_an_end_by_absence_and_is_asked_about() {
    let (mut bench, line) = closed_as_absent(Rules { key_lifetime: None, ..keyed_and_asked() });
    bench.now = at(200);
    let told = bench.tell(Event::Performed(line, Performed::Duplicate, status(409)));
    assert!(matches!(told, Told::Write(_)));
    assert_eq!((bench.row.end, bench.row.disputed_at), (Some(End::Failed), Some(at(200))));
    assert_eq!(bench.row.due_at(), Some(at(320)), "one quiet time later");
    bench.until_due();
    let question = bench.asks();
    bench.found(question, Found::Applied(answer()));
    assert_eq!((bench.row.end, bench.row.goal, bench.row.known), (None, Goal::Cancel, Known::Applied));
}

#[test]
fn after_a_late_duplicate_the_question_after_the_end_believes_no_absence() {
    let (mut bench, line) = closed_as_absent(Rules { key_lifetime: None, ..keyed_and_asked() });
    bench.tell(Event::Performed(line, Performed::Duplicate, status(409)));
    for _ in 0..3 {
        bench.until_due();
        let question = bench.asks();
        bench.found(question, Found::Absent);
        assert_eq!(bench.row.disputed_at, Some(at(150)), "the mark stays");
        assert!(bench.row.due_at() > Some(bench.now), "and the provider is asked again");
    }
    bench.until_due();
    let question = bench.asks();
    bench.found(question, Found::Cancelled);
    assert_eq!((bench.row.disputed_at, bench.row.due_at()), (None, None));
}

#[test]
fn a_late_duplicate_without_a_way_to_ask_is_only_a_mark() {
    let rules = Rules { on_unknown: OnUnknown::Cancel, key_lifetime: None, ..keyed() };
    let mut bench = Bench::new(rules);
    let line = bench.performs();
    bench.now = at(150);
    bench.claim_over();
    let cancel = bench.cancels();
    bench.undone(cancel, Undone::NoSuch);
    assert_eq!(bench.row.end, Some(End::Cancelled));
    bench.tell(Event::Performed(line, Performed::Duplicate, status(409)));
    assert_eq!((bench.row.end, bench.row.due_at()), (Some(End::Cancelled), None));
    assert_eq!(bench.row.disputed_at, Some(at(150)));
}
