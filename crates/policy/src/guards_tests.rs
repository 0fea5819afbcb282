use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::breaker::BreakerSettings;
use crate::ending::{Answer, Ending, Lost, Rules, Unsent};
use crate::idempotency::Idempotency;
use crate::limit::LimitSettings;

/// Functions with which the tests of the call machine examine a permit.
impl Permit {
    pub(crate) fn endpoint(&self) -> usize {
        self.at.endpoint as usize
    }

    pub(crate) fn hold(self) -> HeldPass {
        HeldPass { at: self.at, pass: self.pass }
    }
}

impl HeldPass {
    pub(crate) fn endpoint(&self) -> usize {
        self.at.endpoint as usize
    }
}

impl Ticket {
    pub(crate) fn endpoint(&self) -> usize {
        self.endpoint as usize
    }
}

const DRAW: Draw = Draw::new(0);

fn report(ending: Ending, slow: bool) -> Report {
    let verdict = Rules::of(Idempotency::None).judge(&ending);
    let took = if slow { 2 * TENTH } else { TENTH / 100 };
    Report::of(&ending, &verdict, took, TENTH)
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

/// Makes an attempt and asks the guards to pay for its repeat. Returns the reason if the repeat must not be made.
/// Afterwards the attempt's permit is settled.
fn pay(guards: &mut DependencyGuards, doubles: bool, at: Time) -> Result<(), Stopped> {
    let permit = guards.admit(0, &Keys::NONE, at).expect("admitted");
    let paid = guards.pay(&permit, doubles, at);
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
        (Ending::Unsent(Unsent::OutOfDescriptors), (0, 0), AttemptEnd::Nothing),
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

/// Makes one call that begins at `at` and ends after `took`, with this ending. If `ending` is `None`, the call's future
/// was dropped, so its ending is not known.
fn end_after(guards: &mut DependencyGuards, ending: Option<Ending>, took: Duration, at: Time) {
    let permit = guards.admit(0, &Keys::NONE, at).expect("admitted");
    let report = match ending {
        Some(ending) => Report::of(&ending, &Rules::of(Idempotency::None).judge(&ending), took, TENTH),
        None => Report::abandoned(took, TENTH),
    };
    let _ = guards.settle(permit, &report, After::Ends, at, || DRAW);
}

/// The read timeout, and a tenth of it.
const READ: Duration = Duration::from_secs(10);
const TENTH: Duration = Duration::from_secs(1);

/// The two ways in which a caller gives up. `None` means that its future is dropped. `Some` means that its own deadline
/// passes, and holds the ending.
const CUTS: [Option<Ending>; 2] = [None, Some(Ending::CallerDeadline)];

#[test]
fn calls_cut_from_outside_are_no_evidence_where_nothing_succeeds() {
    let at = Time::from_millis(1);
    for cut in CUTS {
        let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
        for _ in 0..1_000 {
            end_after(&mut guards, cut, Duration::from_secs(9), at);
        }
        assert_eq!(counts(&mut guards, at), (0, 0), "{cut:?}");
        assert_eq!(guards.endpoint(0).expect("it is there").limit().limit(), 1_000, "{cut:?}");
    }
}

#[test]
fn what_the_breaker_counts_of_a_call_that_was_cut_the_limit_hears_too() {
    let at = Time::from_millis(1);
    for cut in CUTS {
        let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
        for _ in 0..40 {
            end_after(&mut guards, Some(status(200)), Duration::from_millis(8), at);
        }
        for _ in 0..10 {
            end_after(&mut guards, cut, Duration::from_secs(2), at);
        }
        assert_eq!(counts(&mut guards, at), (40, 10), "{cut:?}");
        assert_eq!(guards.endpoint(0).expect("it is there").limit().limit(), 810, "{cut:?}");
    }
}

/// Begins an attempt whose caller leaves. Returns the attempt's permit, and its witness if the attempt goes on without
/// its caller (otherwise `None`).
fn leaves(guards: &mut DependencyGuards, began: Time) -> (Permit, Option<Witness>) {
    let permit = guards.admit(0, &Keys::NONE, began).expect("admitted");
    let witness = guards.follow(&permit.underway(began), READ);
    (permit, witness)
}

#[test]
fn two_attempts_are_followed_while_nothing_succeeds_and_none_after_a_success() {
    let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
    let (first, witness) = leaves(&mut guards, Time::from_millis(1));
    let (second, other) = leaves(&mut guards, Time::from_millis(2));
    assert!(witness.is_some() && other.is_some());
    assert!(leaves(&mut guards, Time::from_millis(3)).1.is_none(), "two are enough");
    guards.unfollow(witness.expect("followed"));
    let hung = Ending::Lost(Lost::ReadTimeout);
    let told = Report::of(&hung, &Rules::of(Idempotency::Safe).judge(&hung), Duration::from_secs(10), TENTH);
    let _ = guards.settle(first, &told, After::Ends, Time::from_millis(4), || DRAW);
    assert_eq!(
        counts(&mut guards, Time::from_millis(4)),
        (0, 1),
        "its real ending is evidence like any other"
    );
    let (_third, witness) = leaves(&mut guards, Time::from_millis(5));
    assert!(witness.is_some(), "a place came free");
    let fine = status(200);
    let told = Report::of(&fine, &Rules::of(Idempotency::Safe).judge(&fine), Duration::from_millis(9), TENTH);
    guards.unfollow(other.expect("followed"));
    let (early, _) = leaves(&mut guards, Time::from_millis(6));
    let _ = guards.settle(second, &told, After::Ends, Time::from_millis(7), || DRAW);
    assert!(
        guards.follow(&early.underway(Time::from_millis(6)), READ).is_none(),
        "somebody succeeded meanwhile"
    );
    guards.unfollow(witness.expect("followed"));
    assert!(
        leaves(&mut guards, Time::from_millis(107)).1.is_none(),
        "somebody has, shortly before this one began"
    );
    assert!(
        leaves(&mut guards, Time::from_millis(108)).1.is_some(),
        "nobody has for 100 ms before it, nor since"
    );
}

#[test]
fn a_witness_waits_as_long_as_the_slowest_success_teaches_and_never_longer_than_read() {
    let patience = |took: Option<u64>, at: u64| {
        let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
        if let Some(took) = took {
            let permit = guards.admit(0, &Keys::default(), Time::from_millis(1)).expect("admitted");
            let (fine, took) = (status(200), Duration::from_millis(took));
            let told = Report::of(&fine, &Rules::of(Idempotency::Safe).judge(&fine), took, TENTH);
            let _ = guards.settle(permit, &told, After::Ends, Time::from_millis(2), || DRAW);
        }
        let witness = leaves(&mut guards, Time::from_millis(at)).1.expect("followed");
        let patience = witness.patience();
        guards.unfollow(witness);
        patience
    };
    assert_eq!(patience(None, 1_000), READ, "nothing is known of it");
    assert_eq!(patience(Some(300), 1_000), Duration::from_secs(8));
    assert_eq!(patience(Some(4_500), 1_000), Duration::from_secs(9));
    assert_eq!(patience(Some(9_000), 1_000), READ);
}

#[test]
fn sixteen_are_followed_over_all_keys_and_a_probe_always_is() {
    let at = Time::from_millis(1);
    let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
    let mut kept = Vec::new();
    for key in 0..20 {
        let keys = Keys { breaker: Some(Arc::from(format!("tenant {}", key / 2))), limit: None };
        let permit = guards.admit(0, &keys, at).expect("admitted");
        kept.extend(guards.follow(&permit.underway(at), READ));
    }
    assert_eq!(kept.len(), 16);
    for _ in 0..2 {
        end(&mut guards, Ending::Lost(Lost::ReadTimeout), true, at);
    }
    let (_probe, witness) = leaves(&mut guards, Time::from_millis(6_000));
    kept.extend(witness);
    assert_eq!(kept.len(), 17, "the probe is followed past the bound");
    for witness in kept {
        guards.unfollow(witness);
    }
    assert_eq!(guards.witnesses, 0);
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
    let left = Report::abandoned(Duration::from_millis(10), TENTH);
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
    assert_eq!(pay(&mut guards, false, at), Ok(()), "a quick failure costs the provider little");
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
    endpoint
        .each_breaker(at, |key, breaker, _| states.push((key.map(ToString::to_string), breaker.state(at))));
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
    // The call is to be repeated at the same endpoint: nothing is in flight, and the breaker has not been told the
    // result.
    let remains = guards.settle(permit, &report(status(503), true), After::RepeatsHere, at, || DRAW);
    let held = remains.pass.expect("held back");
    end_under(&mut guards, &key("new"), Ending::Lost(Lost::ReadTimeout), true, at);
    guards.witness(held, &report(Ending::Lost(Lost::ReadTimeout), true), at, || DRAW);
    let permit = guards.admit(0, &key("new"), at).expect("one timeout of its own opens nothing");
    leave_off(&mut guards, permit, at);
}

#[test]
fn a_slot_that_comes_free_is_handed_to_the_call_that_waits_longest() {
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
    assert!(matches!(guards.take_turn(third, &none, at), QueueTurn::Waits(..)));
    // The caller leaves after its turn has come, so its slot goes to the next caller.
    guards.leave(second, at);
    assert_eq!(guards.take_called(), Some(third));
    assert!(guards.is_called(&third) && !guards.is_called(&second));
    let QueueTurn::Yours(permit) = guards.take_turn(third, &none, at) else { panic!("it is its turn") };
    assert_eq!(in_flight(&mut guards), 1);
    leave_off(&mut guards, permit, at);
    assert_eq!((in_flight(&mut guards), guards.take_called()), (0, None));
}

#[test]
fn the_slot_of_a_called_ticket_is_no_newcomers_though_nobody_waits_any_more() {
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
    // The caller still gets its slot if it comes late to collect it.
    let late = Time::from_millis(1_000);
    let QueueTurn::Yours(permit) = guards.take_turn(second, &none, late) else { panic!("it is its turn") };
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
    let QueueTurn::Refused(no) = guards.take_turn(late, &none, now) else { panic!("its time is over") };
    assert_eq!(no.reason, Reason::QueueTimeout);
    for permit in hung {
        let timeout = report(Ending::Lost(Lost::ReadTimeout), true);
        let _ = guards.settle(permit, &timeout, After::Ends, now, || DRAW);
    }
    assert_eq!(guards.take_called(), Some(last));
    let QueueTurn::Refused(no) = guards.take_turn(last, &none, now) else { panic!("the breaker opened") };
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

/// Makes one call that is answered 429. `named` is the time in seconds that the answer names, if any. Returns whether
/// the call's endpoint cools.
fn overload(
    guards: &mut DependencyGuards,
    endpoint: usize,
    keys: &Keys,
    named: Option<u64>,
    at: Time,
) -> bool {
    let permit = guards.admit(endpoint, keys, at).expect("admitted");
    let told = Overload { named: named.map(Duration::from_secs), too_many: true };
    let cools = guards.overloaded(&permit, told, at, || DRAW).is_some();
    let _ = guards.settle(permit, &report(status(429), false), After::Ends, at, || DRAW);
    cools
}

#[test]
fn while_an_endpoint_cools_nothing_is_sent_and_nothing_is_counted() {
    let at = Time::from_millis(1_000);
    let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
    assert!(overload(&mut guards, 0, &Keys::NONE, Some(8), at));
    for _ in 0..100 {
        let no = guards.admit(0, &Keys::NONE, at).expect_err("it cools");
        assert_eq!((no.reason, no.until), (Reason::CoolingDown, Some(Time::from_millis(9_000))));
        assert_eq!(no.come_back(at, Draw::new(1 << 63)), Some(Duration::from_secs(9)), "in the middle");
    }
    assert_eq!((counts(&mut guards, at), in_flight(&mut guards)), ((0, 0), 0));
    assert_eq!(guards.refuses(0, &Keys::NONE, at), Some(Stopped::Cooling));
    assert!(guards.admit(0, &Keys::NONE, Time::from_millis(9_000)).is_ok());
}

#[test]
fn the_first_answer_cools_only_where_another_endpoint_takes_calls() {
    let at = Time::from_millis(1_000);
    let mut guards = DependencyGuards::new(GuardSettings::default(), 2);
    end(&mut guards, status(200), false, at);
    assert!(overload(&mut guards, 0, &Keys::NONE, None, at), "the second is there");
    assert!(!overload(&mut guards, 1, &Keys::NONE, None, at), "the first cools");
    for open in 0..2 {
        let mut guards = DependencyGuards::new(GuardSettings::default(), 2);
        guards.force(open, Force::Open, at);
        assert!(!overload(&mut guards, 1 - open, &Keys::NONE, None, at), "endpoint {open} is open");
    }
}

#[test]
fn each_key_of_the_breakers_cools_for_itself() {
    let at = Time::from_millis(1_000);
    let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
    let [one, two] = ["one", "two"].map(|key| Keys { breaker: Some(Arc::from(key)), limit: None });
    assert!(overload(&mut guards, 0, &one, Some(5), at));
    assert_eq!(guards.admit(0, &one, at).expect_err("it cools").reason, Reason::CoolingDown);
    assert!(guards.admit(0, &two, at).is_ok() && guards.admit(0, &Keys::NONE, at).is_ok());
}

#[test]
fn of_an_open_breaker_and_a_cooling_the_one_that_ends_later_is_the_reason() {
    for (named, reason) in [(1, Reason::BreakerOpen), (30, Reason::CoolingDown)] {
        let at = Time::from_millis(1_000);
        let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
        let permits: Vec<Permit> =
            (0..3).map(|_| guards.admit(0, &Keys::NONE, at).expect("closed")).collect();
        let told = Overload { named: Some(Duration::from_secs(named)), too_many: false };
        let hung = report(Ending::Lost(Lost::ReadTimeout), true);
        assert!(guards.overloaded(&permits[0], told, at, || DRAW).is_some());
        for permit in permits {
            let _ = guards.settle(permit, &hung, After::Ends, at, || DRAW);
        }
        let no = guards.admit(0, &Keys::NONE, at).expect_err("both");
        assert_eq!(no.reason, reason);
        // At 3.6 s the open time of the breaker is over, so a probe may pass. A cooling of one second is over too. One
        // of 30 seconds is not, and holds the probe back.
        let between = Time::from_millis(1_000 + 2_600);
        assert_eq!(guards.admit(0, &Keys::NONE, between).is_ok(), named == 1);
    }
}

#[test]
fn the_normal_load_is_what_succeeds_and_neither_failures_nor_refusals_lower_it() {
    let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
    let at = |second: u64| Time::from_millis(second * 1000);
    let runs = |guards: &mut DependencyGuards, seconds: std::ops::Range<u64>, code: u16| {
        for second in seconds {
            (0..5).for_each(|_| end(guards, status(code), false, at(second)));
        }
    };
    runs(&mut guards, 0..200, 200);
    guards.force(0, Force::Open, at(200));
    assert!((200..900).all(|second| guards.admit(0, &Keys::NONE, at(second)).is_err()));
    guards.force(0, Force::Closed, at(900));
    runs(&mut guards, 900..901, 200);
    assert_eq!(guards.served_milli(), Some(5_000), "refused");
    runs(&mut guards, 901..1600, 500);
    runs(&mut guards, 1600..1601, 200);
    assert_eq!(guards.served_milli(), Some(5_000), "failed");
}
