//! Tests of asking, of undoing, and of what comes after the end: the second half of the table in
//! docs/life-of-an-action.md.

use super::bench::{Bench, DAY, answer, at, explicit, keyed, lookup, net_cancel, void};
use super::{
    CancelBy, CancelRules, ConfirmRules, End, Event, Found, Goal, Known, Limits, NotApplied, NotCancelled,
    NotSettled, Observed, Performed, Resolution, Rules, Step, Told, Undone, cancel, observe, resolve, retry,
    settle, settle_scope,
};
use crate::calendar::Lifetime;

// ---- the application ----

#[test]
fn settling_is_refused_and_not_answered_false() {
    let mut bench = Bench::new(explicit(keyed()));
    assert_eq!(settle(&bench.row, bench.now), Err(NotSettled::NotKnown));
    let line = bench.performs();
    assert_eq!(settle(&bench.row, bench.now), Err(NotSettled::NotKnown));
    bench.performed(line, Performed::Yes(None));
    let write = settle(&bench.row, bench.now).expect("applied").expect("not yet settled");
    bench.take(write);
    assert_eq!((bench.row.end, bench.row.settled()), (Some(End::Done), true));
    assert_eq!(settle(&bench.row, bench.now), Ok(None), "twice is as good");
    bench.app_cancels();
    assert_eq!(settle(&bench.row, bench.now), Err(NotSettled::TooLate));
    let mut failed = Bench::new(explicit(keyed()));
    let line = failed.performs();
    failed.refused(line, 402);
    assert_eq!(settle(&failed.row, failed.now), Err(NotSettled::Failed));
}

#[test]
fn a_scope_settles_whole_or_not_at_all() {
    let mut first = Bench::new(explicit(keyed()));
    let second = Bench::new(explicit(keyed()));
    let line = first.performs();
    first.performed(line, Performed::Yes(None));
    let rows = [first.row.clone(), second.row];
    assert_eq!(settle_scope(&rows, 2, first.now), Err(NotSettled::NotKnown));
    assert_eq!(settle_scope(&rows[..1], 2, first.now), Err(NotSettled::ScopeIncomplete));
    let mut failed = Bench::new(explicit(keyed()));
    let line = failed.performs();
    failed.refused(line, 402);
    let hopeless = [rows[1].clone(), failed.row];
    assert_eq!(settle_scope(&hopeless, 2, first.now), Err(NotSettled::Failed), "not: not yet");
    let both = [first.row.clone(), first.row];
    assert_eq!(settle_scope(&both, 2, first.now).expect("both are applied").len(), 2);
}

#[test]
fn a_member_waits_for_its_scope_and_turns_when_that_is_broken() {
    let mut bench = Bench::new(keyed());
    bench.origin.scoped = true;
    let line = bench.performs();
    bench.performed(line, Performed::Yes(answer()));
    assert_eq!((bench.row.end, bench.step()), (None, Step::SettleScope));
    bench.tell(Event::ScopeWaits);
    assert_eq!((bench.row.owner(), bench.row.due_at()), (None, Some(at(60))));
    bench.until_due();
    assert_eq!(bench.step(), Step::SettleScope);
    bench.tell(Event::ScopeBroken);
    assert!(matches!(bench.step(), Step::Cancel(_)));
}

#[test]
fn cancelling_what_was_never_sent_ends_it_and_what_is_over_needs_nothing() {
    let mut bench = Bench::new(keyed());
    bench.app_cancels();
    assert_eq!(bench.row.end, Some(End::Cancelled));
    assert_eq!(cancel(&bench.row, &bench.rules, CancelBy::Transaction, bench.now), Ok(None));
    let mut failed = Bench::new(keyed());
    let line = failed.performs();
    failed.refused(line, 402);
    assert_eq!(cancel(&failed.row, &failed.rules, CancelBy::Transaction, failed.now), Ok(None));
}

#[test]
fn cancelling_leaves_lease_fence_and_what_is_known_as_they_are() {
    let mut bench = Bench::new(keyed());
    bench.performs();
    let before = bench.row.clone();
    bench.app_cancels();
    assert_eq!((bench.row.goal, bench.row.end), (Goal::Cancel, None));
    assert_eq!(
        (bench.row.owner(), bench.row.fence(), bench.row.in_flight()),
        (before.owner(), before.fence(), before.in_flight())
    );
    assert_eq!((bench.row.known, bench.row.open_attempts()), (Known::Unknown, 1));
}

#[test]
fn only_who_takes_the_business_back_may_cancel_what_is_settled() {
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    bench.performed(line, Performed::Yes(answer()));
    let caller = cancel(&bench.row, &bench.rules, CancelBy::Caller, bench.now);
    assert_eq!(caller, Err(NotCancelled::Settled));
    bench.app_cancels();
    assert_eq!((bench.row.settled(), bench.row.end), (false, None));
}

// ---- asking ----

#[test]
fn found_applied_is_applied() {
    let mut bench = Bench::new(lookup());
    bench.lost_attempt();
    let question = bench.asks();
    bench.found(question, Found::Applied(answer()));
    assert_eq!((bench.row.end, bench.row.open_attempts()), (Some(End::Done), 0));
}

#[test]
fn found_cancelled_is_not_applied() {
    let mut bench = Bench::new(lookup());
    bench.lost_attempt();
    let question = bench.asks();
    bench.found(question, Found::Cancelled);
    assert_eq!(bench.row.known, Known::NotApplied(NotApplied::Cancelled));
    assert_eq!(bench.row.end, Some(End::Failed));
}

#[test]
fn absence_is_believed_by_when_it_was_asked_and_not_by_when_it_was_heard() {
    let mut bench = Bench::new(lookup());
    bench.lost_attempt();
    let question = bench.asks();
    bench.now = at(1000);
    bench.found(question, Found::Absent);
    assert_eq!((bench.row.end, bench.row.next_at), (None, at(150)));
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!((bench.row.end, bench.row.known), (Some(End::Failed), Known::NotApplied(NotApplied::Absent)));
    assert_eq!(bench.row.audit_at, Some(at(1000 + 24 * 3600)));
}

#[test]
fn the_question_after_the_end_is_asked_until_it_is_answered() {
    let limits = Limits { confirm: Some(3), ..lookup().limits };
    let mut bench = Bench::new(Rules { limits, ..lookup() });
    bench.lost_attempt();
    bench.now = at(150);
    bench.claim_over();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!(bench.row.end, Some(End::Failed));
    // After more questions than the bound allows, the provider is asked less often. The row is not given up and does
    // not become stuck.
    for tries in 1..8 {
        bench.until_due();
        let question = bench.asks();
        bench.found(question, Found::Other);
        assert_eq!(bench.row.end, Some(End::Failed));
        let wait = bench.row.audit_at.unwrap().as_micros() - bench.now.as_micros();
        assert_eq!(wait == 24 * 3600 * 1_000_000, tries >= 3, "{tries}: {wait}");
    }
    bench.until_due();
    let question = bench.asks();
    bench.found(question, Found::Applied(answer()));
    assert_eq!((bench.row.end, bench.row.goal), (None, Goal::Cancel));
}

#[test]
fn absence_lets_only_what_may_be_repeated_be_sent_again() {
    let keys = Rules { confirm: lookup().confirm, ..keyed() };
    for (rules, again) in [(lookup(), false), (keys, true), (Rules { resend_absent: true, ..lookup() }, true)]
    {
        let mut bench = Bench::new(rules);
        bench.lost_attempt();
        bench.now = at(150);
        bench.claim_over();
        let question = bench.asks();
        bench.found(question, Found::Absent);
        assert_eq!(matches!(bench.step(), Step::Perform(_)), again);
        assert_eq!(bench.row.first_sent_at(), Some(at(0)), "the key's clock goes on");
    }
}

#[test]
fn several_absences_are_spaced_by_the_quiet_time() {
    let confirm = lookup().confirm.map(|confirm| ConfirmRules { absences: 2, ..confirm });
    let mut bench = Bench::new(Rules { confirm, ..lookup() });
    bench.lost_attempt();
    bench.now = at(150);
    bench.claim_over();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!((bench.row.end, bench.row.next_at), (None, at(270)));
}

#[test]
fn an_answer_to_a_question_before_another_attempt_is_worth_nothing() {
    let mut bench = Bench::new(Rules { confirm: lookup().confirm, ..keyed() });
    bench.lost_attempt();
    let question = bench.asks();
    bench.row.logged += 1;
    assert_eq!(bench.found(question, Found::Absent), Told::Nothing);
}

#[test]
fn questions_without_an_answer_back_off_and_then_a_person_looks() {
    let limits = Limits { confirm: Some(3), ..lookup().limits };
    let mut bench = Bench::new(Rules { limits, ..lookup() });
    bench.lost_attempt();
    for _ in 0..3 {
        let question = bench.asks();
        bench.found(question, Found::Other);
        assert!(bench.row.next_at > bench.now);
        bench.until_due();
    }
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!(bench.row.end, Some(End::Stuck));
}

#[test]
fn a_no_does_not_take_back_what_a_webhook_has_told() {
    let mut bench = Bench::new(explicit(keyed()));
    let line = bench.performs();
    let write = observe(&bench.row, &bench.rules, bench.origin, Observed::Applied(None), bench.now);
    bench.take(write.expect("unknown"));
    bench.refused(line, 402);
    assert_eq!((bench.row.known, bench.row.end), (Known::Applied, None));
    let mut bench = Bench::new(explicit(lookup()));
    bench.lost_attempt();
    let question = super::Question { asked_at: at(200), ..bench.asks() };
    let write = observe(&bench.row, &bench.rules, bench.origin, Observed::Applied(None), bench.now);
    bench.take(write.expect("unknown"));
    bench.found(question, Found::Absent);
    assert_eq!((bench.row.known, bench.row.end), (Known::Applied, None));
}

// ---- undoing ----

#[test]
fn a_tombstone_is_laid_at_once_without_asking() {
    let cancel = Some(CancelRules { tombstone: true, ..void() });
    let mut bench = Bench::new(Rules { cancel, ..lookup() });
    bench.lost_attempt();
    bench.app_cancels();
    let line = bench.cancels();
    bench.undone(line, Undone::Yes);
    assert_eq!(bench.row.end, Some(End::Cancelled));
}

#[test]
fn what_is_unknown_and_unwanted_is_asked_about_or_learned_under_its_key() {
    let mut bench = Bench::new(lookup());
    bench.lost_attempt();
    bench.app_cancels();
    assert!(matches!(bench.step(), Step::Ask(_)));
    let mut bench = Bench::new(explicit(keyed()));
    bench.lost_attempt();
    bench.now = at(70);
    bench.app_cancels();
    let line = bench.performs();
    bench.performed(line, Performed::Yes(answer()));
    assert!(matches!(bench.step(), Step::Cancel(_)));
}

#[test]
fn an_early_no_such_moves_to_the_next_key_and_waits_for_the_quiet_time() {
    let mut bench = Bench::new(net_cancel());
    let line = bench.performs();
    bench.performed(line, Performed::Unknown);
    let early = bench.cancels();
    bench.undone(early, Undone::NoSuch);
    assert_eq!((bench.row.end, bench.row.undo.generation, bench.row.next_at), (None, 1, at(150)));
    assert_eq!(bench.row.undo.tries, 0);
    bench.until_due();
    let line = bench.cancels();
    assert_eq!(line.generation, 1);
    bench.undone(line, Undone::NoSuch);
    assert_eq!(bench.row.known, Known::NotApplied(NotApplied::NoSuch));
    assert_eq!(bench.row.end, Some(End::Cancelled));
}

#[test]
fn a_key_that_was_first_used_early_stays_early() {
    let mut bench = Bench::new(net_cancel());
    let line = bench.performs();
    bench.performed(line, Performed::Unknown);
    let early = bench.cancels();
    bench.undone(early, Undone::Unknown);
    bench.now = at(150);
    bench.claim();
    let again = bench.cancels();
    assert_eq!(again.generation, 0, "unanswered: the same key");
    bench.undone(again, Undone::NoSuch);
    assert_eq!((bench.row.end, bench.row.undo.generation), (None, 1));
}

#[test]
fn a_cancel_that_was_not_sent_leaves_its_key_unused() {
    let mut bench = Bench::new(net_cancel());
    let line = bench.performs();
    bench.performed(line, Performed::Unknown);
    let early = bench.cancels();
    bench.undone(early, Undone::NotSent);
    assert_eq!((bench.open_cancels(), bench.row.undo.tries), (0, 0), "what was not sent costs no try");
    bench.now = at(150);
    bench.claim();
    bench.cancels();
    assert!(!bench.row.undo.open.expect("a cancel is recorded").early);
}

#[test]
fn a_refund_that_adds_up_is_not_sent_again_before_asking() {
    let mut bench = Bench::to_undo(lookup());
    let line = bench.cancels();
    let quiet = line.send_by.saturating_add(bench.rules.quiet);
    bench.undone(line, Undone::Unknown);
    bench.until_due();
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!(bench.row.next_at, quiet);
    bench.until_due();
    let question = bench.asks();
    let mut refunded = Bench { row: bench.row.clone(), rules: lookup(), ..bench };
    refunded.found(question, Found::Cancelled);
    assert_eq!(refunded.row.end, Some(End::Cancelled));
    bench.found(question, Found::Applied(None));
    assert_eq!((bench.row.undo.generation, bench.open_cancels()), (1, 0));
    assert!(matches!(bench.step(), Step::Cancel(_)));
    let mut blind = Bench::to_undo(Rules { confirm: None, ..lookup() });
    let line = blind.cancels();
    blind.undone(line, Undone::Unknown);
    blind.until_due();
    assert_eq!(blind.step(), Step::Leave);
    assert_eq!(blind.row.end, Some(End::Stuck));
}

#[test]
fn an_unanswered_cancel_with_a_key_is_sent_again_and_then_asked_about() {
    let cancel = lookup().cancel.map(|cancel| CancelRules { keyed: true, ..cancel });
    let rules = Rules { cancel, ..lookup() }.remembered(Lifetime::For(DAY));
    let mut bench = Bench::to_undo(rules);
    for _ in 0..3 {
        let line = bench.cancels();
        assert_eq!(line.generation, 0);
        bench.undone(line, Undone::Unknown);
        bench.until_due();
    }
    assert_eq!(bench.step(), Step::Leave);
    bench.until_due();
    let question = bench.asks();
    bench.found(question, Found::Applied(None));
    assert_eq!(bench.cancels().generation, 1, "a failure was saved under the first");
}

#[test]
fn no_such_of_what_is_known_to_be_there_is_tried_again_until_a_person_looks() {
    let limits = Limits { cancel: Some(2), ..keyed().limits };
    let mut bench = Bench::to_undo(Rules { limits, ..keyed() });
    for generation in 0..2 {
        let line = bench.cancels();
        assert_eq!(line.generation, generation);
        bench.undone(line, Undone::NoSuch);
        bench.until_due();
    }
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!((bench.row.end, bench.row.known), (Some(End::Stuck), Known::Applied));
}

#[test]
fn a_cancel_by_an_id_that_was_lost_is_not_sent() {
    let rules = Rules { confirm: None, ..lookup() };
    let mut bench = Bench::new(Rules { on_unknown: super::OnUnknown::Cancel, ..rules });
    let line = bench.performs();
    bench.performed(line, Performed::Unknown);
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!(bench.row.end, Some(End::Stuck));
}

#[test]
fn without_a_key_nothing_is_undone_while_another_attempt_may_arrive() {
    let cancel = Some(void());
    let mut bench = Bench::new(Rules { cancel, ..Rules::of(seawall_policy::Idempotency::Idempotent) });
    bench.lost_attempt();
    let line = bench.performs();
    bench.app_cancels();
    bench.performed(line, Performed::Yes(answer()));
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!(Some(bench.row.next_at), bench.row.quiet_until());
}

// ---- after the end ----

#[test]
fn an_end_by_absence_is_asked_about_once_more_and_reopens_if_it_is_there() {
    let mut bench = Bench::new(lookup());
    bench.lost_attempt();
    bench.now = at(150);
    bench.claim_over();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    let mut gone = Bench { row: bench.row.clone(), rules: lookup(), ..bench };
    gone.until_due();
    let question = gone.asks();
    gone.found(question, Found::Absent);
    assert_eq!((gone.row.end, gone.row.due_at()), (Some(End::Failed), None));
    bench.until_due();
    let question = bench.asks();
    bench.found(question, Found::Applied(answer()));
    assert_eq!((bench.row.end, bench.row.goal, bench.row.undo.generation), (None, Goal::Cancel, 1));
    assert!(matches!(bench.step(), Step::Cancel(_)));
}

fn stuck_cancel() -> Bench {
    let mut bench = Bench::to_undo(Rules { confirm: None, ..lookup() });
    let line = bench.cancels();
    bench.undone(line, Undone::Unknown);
    bench.until_due();
    bench.step();
    bench
}

#[test]
fn a_persons_retry_keeps_the_goal() {
    let mut bench = stuck_cancel();
    bench.take(retry(&bench.row, bench.now).expect("stuck"));
    assert_eq!((bench.row.goal, bench.row.end, bench.row.undo.tries), (Goal::Cancel, None, 0));
    assert!(retry(&bench.row, bench.now).is_none());
}

#[test]
fn a_person_may_cancel_what_is_stuck() {
    let mut bench = Bench::new(Rules { on_unknown: super::OnUnknown::Hold, ..net_cancel() });
    let line = bench.performs();
    bench.performed(line, Performed::Unknown);
    bench.step();
    let write = cancel(&bench.row, &bench.rules, CancelBy::Person, bench.now);
    bench.take(write.expect("it may").expect("stuck"));
    bench.until_due();
    bench.cancels();
}

#[test]
fn a_persons_word_ends_what_is_stuck_by_its_goal() {
    let bench = stuck_cancel();
    let say =
        |what| resolve(&bench.row, &bench.rules, bench.origin, what, "their support said so", bench.now);
    let gone = say(Resolution::NotApplied).expect("stuck").to;
    assert_eq!((gone.end, gone.why.as_deref()), (Some(End::Cancelled), Some("their support said so")));
    let there = say(Resolution::Applied).expect("stuck").to;
    assert_eq!(
        (there.end, there.undo.generation, there.undo.open),
        (None, 1, None),
        "undone under a new key"
    );
    let mut held = Bench::new(Rules { on_unknown: super::OnUnknown::Hold, ..net_cancel() });
    let line = held.performs();
    held.performed(line, Performed::Unknown);
    held.step();
    for (what, end) in [(Resolution::Applied, End::Done), (Resolution::NotApplied, End::Failed)] {
        let write = resolve(&held.row, &held.rules, held.origin, what, "looked", held.now).expect("stuck");
        assert_eq!((write.to.end, write.to.settled()), (Some(end), end == End::Done));
    }
}

#[test]
fn a_webhooks_yes_is_a_fact_and_anything_else_a_reason_to_ask() {
    let mut bench = Bench::new(lookup());
    let line = bench.performs();
    bench.performed(line, Performed::Unknown);
    let say = |bench: &Bench, what| observe(&bench.row, &bench.rules, bench.origin, what, bench.now);
    let sooner = say(&bench, Observed::Otherwise).expect("unknown").to;
    assert_eq!((sooner.known, sooner.next_at), (Known::Unknown, at(0)));
    let done = say(&bench, Observed::Applied(answer())).expect("unknown").to;
    assert_eq!((done.end, done.settled()), (Some(End::Done), true));
}

#[test]
fn a_no_such_is_believed_as_often_as_declared() {
    let cancel = CancelRules { absences: 2, ..void() };
    let mut bench = Bench::new(Rules { cancel: Some(cancel), ..net_cancel() });
    bench.lost_attempt();
    for (generation, end) in [(0, None), (1, Some(End::Cancelled))] {
        bench.now = bench.now.saturating_add(DAY);
        bench.claim_over();
        let line = bench.cancels();
        assert_eq!(line.generation, generation, "a provider that saves answers would repeat its own");
        let asked = bench.now;
        bench.undone(line, Undone::NoSuch);
        assert_eq!(bench.row.end, end);
        assert!(end.is_some() || bench.row.next_at >= asked.saturating_add(bench.rules.quiet));
    }
    assert_eq!(bench.row.known, Known::NotApplied(NotApplied::NoSuch));
}
