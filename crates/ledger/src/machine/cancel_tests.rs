//! Tests of the answers to a cancel, and of a cancel that names what is left to undo.

use std::time::Duration;

use super::bench::{Bench, DAY, answer, at, keyed, lookup, void};
use super::{
    AttemptOutcome, CancelBy, CancelKind, CancelRules, Cancelling, ConfirmRules, End, Found, Goal, Known,
    Limits, NotApplied, Performed, Resolution, Rules, Step, Told, Undone, cancel, resolve, retry,
};
use crate::calendar::Lifetime;

fn cancels(change: impl FnOnce(CancelRules) -> CancelRules, rules: Rules) -> Rules {
    Rules { cancel: rules.cancel.map(change), ..rules }
}

/// Returns rules for a provider that must be asked, before each cancel, what is left to undo.
fn asks_first() -> Rules {
    cancels(|cancel| CancelRules { asks_first: true, ..cancel }, lookup())
}

// ---- the provider refuses a cancel ----

#[test]
fn a_refused_cancel_is_tried_again_under_a_new_key() {
    for rules in [lookup(), keyed(), cancels(|cancel| CancelRules { keyed: true, ..cancel }, lookup())] {
        let mut bench = Bench::to_undo(rules);
        for generation in 0..3 {
            let line = bench.cancels();
            assert_eq!(line.generation, generation);
            let Told::Write(write) = bench.undone(line, Undone::Refused) else { panic!("ours") };
            assert_eq!(write.attempt().expect("its line").outcome, AttemptOutcome::No);
            assert_eq!((bench.row.known, bench.row.end), (Known::Applied, None), "it counts as not undone");
            assert_eq!(bench.open_cancels(), 0);
            assert!(bench.row.next_at > bench.now, "not immediately");
            bench.until_due();
        }
    }
}

#[test]
fn a_cancel_that_is_always_refused_is_left_to_a_person() {
    let mut bench =
        Bench::to_undo(Rules { limits: Limits { cancel: Some(3), ..lookup().limits }, ..lookup() });
    for _ in 0..3 {
        let line = bench.cancels();
        bench.undone(line, Undone::Refused);
        bench.until_due();
    }
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!((bench.row.end, bench.row.known), (Some(End::Stuck), Known::Applied));
    assert_eq!(Cancelling::of(&bench.row), Cancelling::Ended(End::Stuck));
}

#[test]
fn a_refusal_does_not_speak_for_an_earlier_cancel_that_could_undo_once_more() {
    let keys = |cancel| CancelRules { keyed: true, ..cancel };
    let adds_up = cancels(keys, lookup()).remembered(Lifetime::For(DAY));
    let sets_a_state = cancels(|cancel| CancelRules { kind: CancelKind::State, ..cancel }, adds_up.clone());
    for (rules, generation) in [(adds_up, 0), (sets_a_state, 1)] {
        let mut bench = Bench::to_undo(rules);
        let line = bench.cancels();
        bench.undone(line, Undone::Unknown);
        bench.until_due();
        let line = bench.cancels();
        bench.undone(line, Undone::Refused);
        assert_eq!(bench.row.undo.generation, generation);
        assert_eq!(bench.open_cancels(), if generation == 0 { 2 } else { 0 });
    }
}

#[test]
fn after_such_a_refusal_the_provider_is_asked_once_the_key_protects_no_more() {
    let keys = |cancel| CancelRules { keyed: true, ..cancel };
    let mut bench =
        Bench::to_undo(cancels(keys, lookup()).remembered(Lifetime::For(Duration::from_secs(60))));
    let line = bench.cancels();
    bench.undone(line, Undone::Unknown);
    bench.until_due();
    let line = bench.cancels();
    bench.undone(line, Undone::Refused);
    bench.now = at(61);
    bench.claim_over();
    assert_eq!(bench.step(), Step::Leave, "nothing is sent, and the question waits for the quiet time");
    bench.until_due();
    let question = bench.asks();
    bench.found(question, Found::Applied(answer()));
    assert_eq!(bench.cancels().generation, 1);
}

#[test]
fn a_provider_that_saves_answers_gets_another_key_after_each_refusal() {
    // The provider saves its first answer to each key and repeats it. It refuses the first key, and says yes to the
    // second.
    let keys = |cancel| CancelRules { keyed: true, ..cancel };
    let mut bench = Bench::to_undo(cancels(keys, lookup()).remembered(Lifetime::For(DAY)));
    let mut saved = std::collections::BTreeMap::new();
    let mut answers = [Undone::Refused, Undone::Yes].into_iter();
    while bench.row.end.is_none() {
        let line = bench.cancels();
        let key = bench.row.cancel_key().expect("it has a key").to_owned();
        let how = *saved.entry(key).or_insert_with(|| answers.next().expect("two keys suffice"));
        bench.undone(line, how);
        if bench.row.end.is_none() {
            bench.until_due();
        }
    }
    assert_eq!((bench.row.end, saved.len()), (Some(End::Cancelled), 2));
}

// ---- the provider says that the effect can never be undone ----

#[test]
fn what_can_never_be_undone_is_left_to_a_person_immediately() {
    for rules in [lookup(), keyed(), asks_first()] {
        let mut bench = Bench::to_undo(rules);
        if let Step::Ask(question) = bench.plan() {
            bench.found(question, Found::Applied(answer()));
        }
        let line = bench.cancels();
        bench.undone(line, Undone::Never);
        assert_eq!((bench.row.end, bench.row.known), (Some(End::Stuck), Known::Applied));
        assert_eq!((bench.row.goal, bench.row.owner()), (Goal::Cancel, None));
        assert!(bench.row.why().is_some_and(|why| why.contains("cannot be undone")));
    }
}

// ---- a cancel that names what is left to undo ----

#[test]
fn what_is_left_to_undo_is_asked_for_before_the_first_cancel() {
    let mut bench = Bench::to_undo(asks_first());
    let question = bench.asks();
    bench.found(question, Found::Applied(Some(b"{\"left\":70}".to_vec())));
    assert_eq!(bench.row.answer(), Some(&b"{\"left\":70}"[..]));
    bench.cancels();
    let mut rash = Bench::to_undo(lookup());
    rash.cancels();
}

#[test]
fn what_is_left_to_undo_is_asked_for_again_after_each_cancel() {
    let state = cancels(|cancel| CancelRules { kind: CancelKind::State, ..cancel }, asks_first());
    for rules in [asks_first(), state] {
        for how in [Undone::Refused, Undone::NoSuch, Undone::NotSent, Undone::Unknown] {
            let mut bench = Bench::to_undo(rules.clone());
            for _ in 0..2 {
                let question = bench.asks();
                bench.found(question, Found::Applied(answer()));
                let line = bench.cancels();
                bench.undone(line, how);
                bench.until_due();
                if how == Undone::Unknown {
                    assert_eq!(
                        bench.step(),
                        Step::Leave,
                        "the question waits for the quiet time of the cancel"
                    );
                    bench.until_due();
                }
            }
            bench.asks();
        }
    }
}

#[test]
fn a_question_from_before_there_was_anything_to_undo_does_not_say_what_is_left() {
    let mut bench = Bench::new(asks_first());
    bench.lost_attempt();
    let question = bench.asks();
    bench.found(question, Found::Applied(answer()));
    assert_eq!(bench.row.end, Some(End::Done));
    bench.now = at(0).saturating_add(DAY * 30);
    bench.app_cancels();
    bench.claim();
    bench.asks();
}

#[test]
fn a_question_that_finds_it_undone_spares_the_cancel() {
    let mut bench = Bench::to_undo(asks_first());
    let question = bench.asks();
    bench.found(question, Found::Cancelled);
    assert_eq!(bench.row.known, Known::NotApplied(NotApplied::Cancelled));
    assert_eq!(bench.row.end, Some(End::Cancelled));
    let mut doubtful = Bench::to_undo(asks_first());
    let question = doubtful.asks();
    doubtful.found(question, Found::Absent);
    assert_eq!((doubtful.row.known, doubtful.row.end), (Known::Applied, None), "nothing was undone yet");
    doubtful.until_due();
    doubtful.asks();
}

#[test]
fn what_a_person_found_out_is_no_answer_that_names_what_is_left() {
    let mut bench =
        Bench::to_undo(Rules { limits: Limits { cancel: Some(1), ..lookup().limits }, ..asks_first() });
    let question = bench.asks();
    bench.found(question, Found::Applied(answer()));
    let line = bench.cancels();
    bench.undone(line, Undone::Refused);
    bench.until_due();
    let question = bench.asks();
    bench.found(question, Found::Applied(answer()));
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!(bench.row.end, Some(End::Stuck));
    let write =
        resolve(&bench.row, &bench.rules, bench.origin, Resolution::Applied, "it is there", bench.now);
    bench.take(write.expect("it is stuck"));
    bench.claim();
    bench.asks();
}

#[test]
fn what_is_left_to_undo_is_asked_for_again_after_a_person_started_it_again() {
    let mut bench =
        Bench::to_undo(Rules { limits: Limits { cancel: Some(0), ..lookup().limits }, ..asks_first() });
    let question = bench.asks();
    bench.found(question, Found::Applied(answer()));
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!(bench.row.end, Some(End::Stuck));
    bench.now = at(0).saturating_add(DAY * 3);
    bench.take(retry(&bench.row, bench.now).expect("it is stuck"));
    bench.claim();
    bench.asks();
}

#[test]
fn absences_count_only_one_after_the_other() {
    let confirm = lookup().confirm.map(|confirm| ConfirmRules { absences: 2, ..confirm });
    let mut bench = Bench::to_undo(Rules { confirm, ..lookup() });
    let line = bench.cancels();
    bench.undone(line, Undone::Unknown);
    bench.until_due();
    assert_eq!(bench.step(), Step::Leave);
    for found in [Found::Absent, Found::Applied(answer())] {
        bench.until_due();
        let question = bench.asks();
        bench.found(question, found);
    }
    let line = bench.cancels();
    bench.undone(line, Undone::Unknown);
    bench.until_due();
    assert_eq!(bench.step(), Step::Leave);
    bench.until_due();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!((bench.row.known, bench.row.end), (Known::Applied, None), "the first of two");
}

// ---- what became of a wish to cancel ----

#[test]
fn a_wish_to_cancel_is_told_what_became_of_it() {
    let mut unsent = Bench::new(keyed());
    assert_eq!(Cancelling::of(&unsent.row), Cancelling::UnderWay);
    unsent.app_cancels();
    assert_eq!(Cancelling::of(&unsent.row), Cancelling::Ended(End::Cancelled));
    let mut failed = Bench::new(keyed());
    let line = failed.performs();
    failed.refused(line, 402);
    assert_eq!(cancel(&failed.row, &failed.rules, CancelBy::Transaction, failed.now), Ok(None));
    assert_eq!(Cancelling::of(&failed.row), Cancelling::Ended(End::Failed));
    let mut done = Bench::new(Rules { cancel: Some(void()), ..keyed() });
    let line = done.performs();
    done.performed(line, Performed::Yes(answer()));
    done.app_cancels();
    assert_eq!(Cancelling::of(&done.row), Cancelling::UnderWay);
    done.claim();
    let line = done.cancels();
    done.undone(line, Undone::Yes);
    assert_eq!(Cancelling::of(&done.row), Cancelling::Ended(End::Cancelled));
}
