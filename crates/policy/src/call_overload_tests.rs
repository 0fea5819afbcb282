//! What a call does after an answer that says "come back later", if no other endpoint takes it.

use super::tests::{Diary, MS, run, status};
use super::*;
use crate::budget::{Budget, BudgetSettings};
use crate::ending::Rules;
use crate::idempotency::Idempotency;

fn too_many(named: Option<u64>) -> Ending {
    let retry_after = named.map(Duration::from_secs);
    Ending::Answered(Answer { retry_after, ..Answer::of_status(429) })
}

#[test]
fn every_overload_answer_is_told_whatever_comes_of_its_call() {
    for (idempotency, declared) in
        [(Idempotency::Safe, None), (Idempotency::None, None), (Idempotency::None, Some(Effect::NotApplied))]
    {
        let mut guards = Diary::new();
        let answer = Answer { declared, ..Answer::of_status(429) };
        let plan = Plan { attempts: 1, ..Plan::new(Rules::of(idempotency), 1) };
        run(&plan, &mut guards, &[Ending::Answered(answer)], MS);
        assert_eq!(guards.overloaded, [(0, Overload { named: None, too_many: true })]);
    }
    let mut guards = Diary::new();
    let rules = Rules { overload: vec![529], ..Rules::of(Idempotency::Safe) };
    run(&Plan { attempts: 1, ..Plan::new(rules, 1) }, &mut guards, &[too_many(Some(1))], MS);
    assert_eq!(guards.overloaded, [], "only what the dependency calls an overload");
}

#[test]
fn to_leave_an_endpoint_that_cools_costs_nothing_and_to_leave_another_costs_a_token() {
    for (cools, refuses, paid) in
        [(Some(Duration::from_secs(5)), vec![], false), (None, vec![429], false), (None, vec![], true)]
    {
        let mut guards = Diary { cools, ..Diary::new() };
        let plan = Plan::new(Rules { refuses, ..Rules::of(Idempotency::Keyed) }, 2);
        let (finish, at, sent) = run(&plan, &mut guards, &[too_many(Some(5)), status(200)], MS);
        assert_eq!((finish.attempts, sent[1].endpoint), (2, 1));
        assert_eq!(at, Time::from_millis(1_002), "nobody waits to move on");
        assert_eq!(guards.asked.contains(&"pay"), paid);
    }
}

#[test]
fn a_repeat_waits_until_its_endpoint_takes_calls_again() {
    let mut guards = Diary { cools: Some(Duration::from_secs(7)), ..Diary::new() };
    let plan = Plan::new(Rules::of(Idempotency::Safe), 1);
    let (finish, at, _) = run(&plan, &mut guards, &[too_many(Some(5)), status(200)], MS);
    assert_eq!(finish.attempts, 2);
    let since = at.since(Time::from_millis(1_000));
    assert!(since > Duration::from_secs(8) && since < Duration::from_millis(8_300), "{since:?}");
}

#[test]
fn without_a_total_an_hour_is_not_waited_for() {
    let mut plan = Plan::new(Rules::of(Idempotency::Safe), 1);
    plan.timeouts.total = None;
    let (finish, ..) = run(&plan, &mut Diary::new(), &[too_many(Some(3_600))], MS);
    assert_eq!((finish.attempts, finish.stopped), (1, Some(Stopped::Cooling)));
    let (finish, ..) = run(&plan, &mut Diary::new(), &[too_many(Some(50)), status(200)], MS);
    assert_eq!((finish.attempts, finish.stopped), (2, None));
}

#[test]
fn where_the_next_endpoint_would_have_refused_that_is_why_it_was_not_tried() {
    for (reason, stopped) in
        [(Reason::BreakerOpen, Stopped::Breaker), (Reason::ConcurrencyLimit, Stopped::Limit)]
    {
        let mut guards = Diary { refuse: vec![(1, reason)], ..Diary::new() };
        guards.budget = Budget::new(BudgetSettings { initial_milli: 0, ..BudgetSettings::default() });
        let plan = Plan::new(Rules::of(Idempotency::Keyed), 2);
        let (finish, ..) = run(&plan, &mut guards, &[status(500)], MS);
        assert_eq!(finish.stopped, Some(stopped));
    }
}

#[test]
fn where_no_other_endpoint_takes_it_a_repeat_waits_and_pays_as_one_at_the_same_endpoint() {
    for (ending, refuses) in
        [(too_many(Some(5)), vec![]), (too_many(Some(5)), vec![429]), (status(500), vec![])]
    {
        let mut guards = Diary { refuse: vec![(1, Reason::BreakerOpen)], ..Diary::new() };
        let plan = Plan::new(Rules { refuses, ..Rules::of(Idempotency::Keyed) }, 2);
        let (finish, at, sent) = run(&plan, &mut guards, &[ending, status(200)], MS);
        assert_eq!((finish.attempts, sent[1].endpoint), (2, 0));
        assert!(guards.asked.contains(&"pay"));
        let named = ending != status(500);
        assert!(at > Time::from_millis(if named { 6_000 } else { 1_040 }), "it waited: {at:?}");
    }
}

#[test]
fn a_promise_that_nothing_leaves_later_bounds_what_goes_on_without_the_caller() {
    let plan = Plan::new(Rules::of(Idempotency::Safe), 1);
    let begun = Time::from_millis(1_000);
    let by = begun.saturating_add(MS * 50);
    for (wish, own) in [
        (Wish { within: Some(MS * 50), ..Wish::default() }, 31_000),
        (Wish { by: Some(by), ..Wish::default() }, 1_050),
        (Wish { within: Some(MS * 20), by: Some(by), ..Wish::default() }, 1_050),
    ] {
        let (_, step) = Call::begin(&plan, wish, &mut Diary::new(), begun);
        let Step::Send(attempt) = step else { panic!("{step:?}") };
        assert_eq!(attempt.own_end_by, Time::from_millis(own), "{wish:?}");
    }
}
