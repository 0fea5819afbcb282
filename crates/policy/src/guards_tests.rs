use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::{Answer, Ending, Idempotency, Lost, Rules, Unsent};

const DRAW: Draw = Draw::new(0);

fn report(ending: Ending, slow: bool) -> Report {
    let verdict = Rules::of(Idempotency::None).judge(&ending);
    Report::of(&ending, &verdict, slow, Duration::from_millis(10))
}

fn end(guards: &mut DependencyGuards, ending: Ending, slow: bool, at: Time) {
    end_under(guards, &Keys::NONE, ending, slow, at);
}

fn end_under(guards: &mut DependencyGuards, keys: &Keys, ending: Ending, slow: bool, at: Time) {
    let permit = guards.admit(0, keys, at).expect("admitted");
    let remains = guards.settle(permit, &report(ending, slow), After::Ends, at, || DRAW);
    assert!(remains.pass.is_none() && remains.slot.is_none(), "the call is over");
}

fn status(status: u16) -> Ending {
    Ending::Answered(Answer::of_status(status))
}

fn in_flight(guards: &mut DependencyGuards) -> u32 {
    guards.endpoint(0).expect("it is there").limit().in_flight()
}

/// Asks for a repeat of an attempt, which then is given up.
fn pay(guards: &mut DependencyGuards, slow: bool, at: Time) -> Result<(), Stopped> {
    let permit = guards.admit(0, &Keys::NONE, at).expect("admitted");
    let paid = guards.pay(&permit, slow, at);
    let _ = guards.settle(permit, &report(Ending::Unprocessed, false), After::Ends, at, || DRAW);
    paid
}

fn counts(guards: &mut DependencyGuards, at: Time) -> (u32, u32) {
    let counts = guards.endpoint(0).expect("it is there").breaker().counts(at);
    (counts.ok, counts.bad)
}

#[test]
fn each_guard_reads_an_ending_in_its_own_way() {
    let at = Time::from_millis(1);
    let rows: &[(Ending, (u32, u32), AttemptEnd)] = &[
        (status(200), (1, 0), AttemptEnd::Success),
        (status(404), (1, 0), AttemptEnd::Success),
        (status(429), (0, 0), AttemptEnd::Overload),
        (status(500), (0, 1), AttemptEnd::Other),
        (status(503), (0, 1), AttemptEnd::Overload),
        (status(504), (0, 1), AttemptEnd::Other),
        (Ending::Unsent(Unsent::Refused), (0, 1), AttemptEnd::Other),
        (Ending::Unprocessed, (0, 0), AttemptEnd::Nothing),
        (Ending::Lost(Lost::ReadTimeout), (0, 1), AttemptEnd::Overload),
        (Ending::Lost(Lost::ConnectionLost), (0, 1), AttemptEnd::Other),
        (Ending::CallerStalled { sent: true }, (0, 0), AttemptEnd::Nothing),
        (Ending::CallerLeft { sent: true }, (0, 0), AttemptEnd::Nothing),
        (Ending::CallerLeft { sent: false }, (0, 0), AttemptEnd::Nothing),
    ];
    for (ending, window, load) in rows {
        let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
        let permit = guards.admit(0, &Keys::NONE, at).expect("admitted");
        let flowing = Report { flowing: true, ..report(*ending, false) };
        let slot = guards.settle(permit, &flowing, After::Ends, at, || DRAW).slot.expect("its body flows");
        assert_eq!(slot.end, *load, "{ending:?}");
        guards.release(slot, || at);
        assert_eq!(counts(&mut guards, at), *window, "{ending:?}");
    }
}

/// One call that ended after so long; nobody was told how where its future was dropped.
fn end_after(guards: &mut DependencyGuards, ending: Option<Ending>, took: Duration, at: Time) {
    let permit = guards.admit(0, &Keys::NONE, at).expect("admitted");
    let report = match ending {
        Some(ending) => Report::of(&ending, &Rules::of(Idempotency::None).judge(&ending), false, took),
        None => Report::abandoned(took),
    };
    let _ = guards.settle(permit, &report, After::Ends, at, || DRAW);
}

/// A future that was dropped, and a caller's own deadline.
const CUTS: [Option<Ending>; 2] = [None, Some(Ending::CallerDeadline)];

#[test]
fn two_calls_cut_from_outside_open_what_swallows_them() {
    let at = Time::from_millis(1);
    for cut in CUTS {
        let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
        for _ in 0..2 {
            end_after(&mut guards, cut, Duration::from_millis(100), at);
        }
        let refusal = guards.admit(0, &Keys::NONE, at).expect_err("silence opened it");
        assert_eq!(refusal.reason, Reason::BreakerOpen, "{cut:?}");
    }
}

#[test]
fn one_callers_tiny_timeout_opens_it_for_nobody_while_the_window_holds_a_success() {
    let at = Time::from_millis(1);
    for cut in CUTS {
        let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
        end_after(&mut guards, Some(status(200)), Duration::from_millis(8), at);
        for _ in 0..1_000 {
            end_after(&mut guards, cut, Duration::from_millis(1), at);
        }
        assert_eq!(counts(&mut guards, at), (1, 0), "{cut:?}");
        assert_eq!(guards.endpoint(0).expect("it is there").limit().limit(), 1_000, "{cut:?}");
        end(&mut guards, status(200), false, at);
    }
}

#[test]
fn a_local_refusal_is_no_evidence_and_holds_nothing() {
    let at = Time::from_millis(1);
    let settings = GuardSettings { limit: LimitSettings::fixed(1), ..GuardSettings::default() };
    let mut guards = DependencyGuards::new(settings, 1);
    let held = guards.admit(0, &Keys::NONE, at).expect("the first");
    for _ in 0..100 {
        let refusal = guards.admit(0, &Keys::NONE, at).expect_err("the second");
        assert_eq!(refusal.reason, Reason::ConcurrencyLimit);
    }
    assert_eq!(counts(&mut guards, at), (0, 0));
    assert_eq!(in_flight(&mut guards), 1);
    let left = Report::abandoned(Duration::from_millis(10));
    let _ = guards.settle(held, &left, After::Ends, at, || DRAW);
    assert_eq!(in_flight(&mut guards), 0);
}

#[test]
fn slow_failures_are_repeated_only_while_rare() {
    let at = Time::from_millis(1);
    let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
    for _ in 0..80 {
        end(&mut guards, status(200), false, at);
    }
    assert_eq!(pay(&mut guards, true, at), Ok(()));
    for _ in 0..20 {
        end(&mut guards, status(503), false, at);
    }
    assert_eq!(pay(&mut guards, true, at), Err(Stopped::Slow), "21 of 101");
    assert_eq!(pay(&mut guards, false, at), Ok(()), "a quick failure costs the other side little");
}

#[test]
fn a_quiet_caller_repeats_the_first_slow_failure_and_no_storm() {
    let at = Time::from_millis(1);
    let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
    for _ in 0..8 {
        end(&mut guards, status(200), false, at);
    }
    assert_eq!(pay(&mut guards, true, at), Ok(()), "the first of nine");
    end(&mut guards, status(504), true, at);
    assert_eq!(pay(&mut guards, true, at), Ok(()), "the second of ten is a fifth");
    end(&mut guards, status(504), true, at);
    assert_eq!(pay(&mut guards, true, at), Err(Stopped::Slow), "the third of eleven is more");
}

#[test]
fn a_large_fleet_repeats_slow_failures_only_on_evidence() {
    let at = Time::from_millis(1);
    let settings = GuardSettings { instances: 101, ..GuardSettings::default() };
    let mut guards = DependencyGuards::new(settings, 1);
    assert_eq!(pay(&mut guards, true, at), Err(Stopped::Slow));
    assert_eq!(pay(&mut guards, false, at), Ok(()));
}

#[test]
fn an_open_breaker_refuses_and_says_until_when() {
    let at = Time::from_millis(1);
    let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
    let early = guards.admit(0, &Keys::NONE, at).expect("closed");
    end(&mut guards, Ending::Lost(Lost::ReadTimeout), true, at);
    end(&mut guards, Ending::Lost(Lost::ReadTimeout), true, at);
    let refusal = guards.admit(0, &Keys::NONE, at).expect_err("silence opened it");
    assert_eq!(refusal.reason, Reason::BreakerOpen);
    assert_eq!(refusal.until, Some(Time::from_millis(2_401)));
    assert_eq!(guards.pay(&early, true, at), Err(Stopped::Breaker));
}

fn key(name: &str) -> Keys {
    Keys { breaker: Some(Arc::from(name)), limit: Some(Arc::from(name)) }
}

fn trip(guards: &mut DependencyGuards, keys: &Keys, at: Time) {
    for _ in 0..2 {
        end_under(guards, keys, Ending::Lost(Lost::ReadTimeout), true, at);
    }
}

fn leave_off(guards: &mut DependencyGuards, permit: Permit, at: Time) {
    let remains = guards.settle(permit, &report(status(200), false), After::Ends, at, || DRAW);
    assert!(remains.slot.is_none());
}

#[test]
fn one_keys_trouble_is_its_own() {
    let at = Time::from_millis(1);
    let settings = GuardSettings { limit: LimitSettings::fixed(1), ..GuardSettings::default() };
    let mut guards = DependencyGuards::new(settings, 1);
    trip(&mut guards, &key("dead"), at);
    assert_eq!(guards.admit(0, &key("dead"), at).expect_err("open").reason, Reason::BreakerOpen);
    let held = guards.admit(0, &key("busy"), at).expect("its first");
    assert_eq!(guards.admit(0, &key("busy"), at).expect_err("full").reason, Reason::ConcurrencyLimit);
    for keys in [key("well"), Keys::NONE] {
        let permit = guards.admit(0, &keys, at).expect("nobody else's trouble");
        leave_off(&mut guards, permit, at);
    }
    leave_off(&mut guards, held, at);
    let mut states = Vec::new();
    let endpoint = guards.endpoint(0).expect("it is there");
    endpoint.each_breaker(|key, breaker| states.push((key.map(ToString::to_string), breaker.state(at))));
    let told = |name: &str, state| (Some(name.to_owned()), state);
    let closed = BreakerState::Closed;
    assert_eq!(states, [told("well", closed), told("busy", closed), told("dead", BreakerState::Open)]);
}

#[test]
fn an_operators_word_holds_for_the_keys_that_are_there_and_for_those_to_come() {
    let at = Time::from_millis(1);
    let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
    end_under(&mut guards, &key("a"), status(200), false, at);
    guards.force(0, Force::Open, at);
    for keys in [key("a"), key("later"), Keys::NONE] {
        assert!(guards.admit(0, &keys, at).is_err(), "{keys:?}");
    }
    guards.force(0, Force::Closed, at);
    trip(&mut guards, &key("a"), at);
    for keys in [key("a"), key("later"), key("newest"), Keys::NONE] {
        end_under(&mut guards, &keys, status(200), false, at);
    }
}

#[test]
fn a_forgotten_keys_late_result_says_nothing_of_the_one_that_has_its_place() {
    let at = Time::from_millis(1);
    let settings = GuardSettings { breaker_keys: 1, limit_keys: 1, ..GuardSettings::default() };
    let mut guards = DependencyGuards::new(settings, 1);
    let permit = guards.admit(0, &key("old"), at).expect("closed");
    // It repeats there: nothing is in flight, and its evidence is held back.
    let remains = guards.settle(permit, &report(status(503), true), After::RepeatsHere, at, || DRAW);
    let held = remains.pass.expect("held back");
    end_under(&mut guards, &key("new"), Ending::Lost(Lost::ReadTimeout), true, at);
    guards.witness(held, &report(Ending::Lost(Lost::ReadTimeout), true), at, || DRAW);
    let permit = guards.admit(0, &key("new"), at).expect("one timeout of its own opens nothing");
    leave_off(&mut guards, permit, at);
}

#[test]
fn a_place_that_comes_free_is_handed_to_whoever_waits_longest() {
    let at = Time::from_millis(1);
    let queue = QueueSettings { length: 3, wait: Duration::from_millis(100) };
    let settings = GuardSettings { limit: LimitSettings::fixed(1), queue, ..GuardSettings::default() };
    let mut guards = DependencyGuards::new(settings, 1);
    let none = Keys::NONE;
    let first = guards.admit(0, &none, at).expect("free");
    let (second, until) = guards.join(0, &none, at).expect("room");
    let (third, _) = guards.join(0, &none, at).expect("room");
    assert_eq!(until, Time::from_millis(101));
    leave_off(&mut guards, first, at);
    assert_eq!((guards.take_called(), guards.take_called()), (Some(second), None));
    assert!(guards.admit(0, &none, at).is_err(), "a newcomer passes nobody");
    assert!(matches!(guards.claim(third, &none, at), Claim::Waits(..)));
    // Its turn came, and it left: the place goes on.
    guards.leave(second, at);
    assert_eq!(guards.take_called(), Some(third));
    assert!(guards.is_called(&third) && !guards.is_called(&second));
    let Claim::Yours(permit) = guards.claim(third, &none, at) else { panic!("it is its turn") };
    assert_eq!(in_flight(&mut guards), 1);
    leave_off(&mut guards, permit, at);
    assert_eq!((in_flight(&mut guards), guards.take_called()), (0, None));
}

#[test]
fn the_place_of_whoever_was_called_is_no_newcomers_though_nobody_waits_any_more() {
    let at = Time::from_millis(1);
    let queue = QueueSettings { length: 3, wait: Duration::from_millis(100) };
    let settings = GuardSettings { limit: LimitSettings::fixed(1), queue, ..GuardSettings::default() };
    let mut guards = DependencyGuards::new(settings, 1);
    let none = Keys::NONE;
    let first = guards.admit(0, &none, at).expect("free");
    let (second, _) = guards.join(0, &none, at).expect("room");
    leave_off(&mut guards, first, at);
    assert_eq!(guards.take_called(), Some(second));
    assert_eq!(guards.admit(0, &none, at).expect_err("it is taken").reason, Reason::ConcurrencyLimit);
    let (third, _) = guards.join(0, &none, at).expect("room");
    assert_eq!(guards.take_called(), None, "the newcomer waits for the one before it");
    // However late it comes for it.
    let late = Time::from_millis(1_000);
    let Claim::Yours(permit) = guards.claim(second, &none, late) else { panic!("it is its turn") };
    assert_eq!(in_flight(&mut guards), 1);
    guards.leave(third, late);
    leave_off(&mut guards, permit, late);
    assert_eq!(in_flight(&mut guards), 0);
}

#[test]
fn who_waits_too_long_or_before_a_breaker_that_opened_is_refused_and_holds_nothing() {
    let at = Time::from_millis(1);
    let queue = QueueSettings { length: 2, wait: Duration::from_millis(100) };
    let settings = GuardSettings { limit: LimitSettings::fixed(2), queue, ..GuardSettings::default() };
    let mut guards = DependencyGuards::new(settings, 1);
    let none = Keys::NONE;
    let hung: Vec<Permit> = (0..2).map(|_| guards.admit(0, &none, at).expect("free")).collect();
    let (late, _) = guards.join(0, &none, at).expect("room");
    let (last, _) = guards.join(0, &none, Time::from_millis(90)).expect("room");
    assert!(guards.join(0, &none, at).is_err_and(|no| no.reason == Reason::QueueFull));
    let now = Time::from_millis(101);
    let Claim::Refused(no) = guards.claim(late, &none, now) else { panic!("its time is over") };
    assert_eq!(no.reason, Reason::QueueTimeout);
    for permit in hung {
        let timeout = report(Ending::Lost(Lost::ReadTimeout), true);
        let _ = guards.settle(permit, &timeout, After::Ends, now, || DRAW);
    }
    assert_eq!(guards.take_called(), Some(last));
    let Claim::Refused(no) = guards.claim(last, &none, now) else { panic!("the breaker opened") };
    assert_eq!((no.reason, in_flight(&mut guards)), (Reason::BreakerOpen, 0));
}

#[test]
fn only_a_success_that_ends_its_call_earns() {
    let at = Time::from_millis(1);
    for (after, ending, earned) in [
        (After::Ends, status(200), 200),
        (After::Ends, status(503), 0),
        (After::MovesOn, status(409), 0),
        (After::RepeatsHere, status(409), 0),
    ] {
        let mut guards = DependencyGuards::new(GuardSettings::default(), 2);
        let permit = guards.admit(0, &Keys::NONE, at).expect("closed");
        let _ = guards.settle(permit, &report(ending, false), after, at, || DRAW);
        assert_eq!(guards.tokens_milli(), 1_000 + earned, "{after:?} {ending:?}");
    }
}

#[test]
fn the_health_request_is_due_only_while_open_and_once_for_all_who_ask() {
    let at = Time::from_millis(1);
    let breaker = BreakerSettings { health: Some(Duration::from_millis(500)), ..BreakerSettings::default() };
    let mut guards = DependencyGuards::new(GuardSettings { breaker, ..GuardSettings::default() }, 1);
    assert!(!guards.health_due(0, Time::from_millis(600)), "closed");
    assert!(!guards.health_answered(0, at), "a good answer to nobody's question");
    trip(&mut guards, &Keys::NONE, at);
    let due = Time::from_millis(501);
    assert!(!guards.health_due(0, Time::from_millis(500)));
    assert!(guards.health_due(0, due) && !guards.health_due(0, due));
    assert!(guards.health_answered(0, due));
    let probe = guards.admit(0, &Keys::NONE, due).expect("it probes");
    assert!(guards.admit(0, &Keys::NONE, due).is_err(), "one at a time");
    leave_off(&mut guards, probe, due);
}
