use std::time::Duration;

use super::*;
use crate::{Answer, Ending, Idempotency, Lost, Rules, Unsent};

const DRAW: Draw = Draw::new(0);

fn report(ending: Ending, slow: bool) -> Report {
    let verdict = Rules::of(Idempotency::None).judge(&ending);
    let took = Duration::from_millis(10);
    Report { outcome: Some((ending, verdict)), slow, took, slow_call: None, flowing: false }
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
    let left = Report {
        outcome: Some((Ending::Unprocessed, Rules::of(Idempotency::None).judge(&Ending::Unprocessed))),
        ..report(status(200), false)
    };
    let _ = guards.settle(permit, &left, After::Ends, at, || DRAW);
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
    let left = Report { outcome: None, ..report(status(200), false) };
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
