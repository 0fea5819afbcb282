//! Tests of windows: until when the provider can be asked about an action, and until when it takes a cancel.

use std::time::Duration;

use super::bench::{Bench, DAY, answer, at, keyed, lookup, net_cancel, void};
use super::{
    CancelBy, CancelRules, ConfirmRules, End, Event, Found, Goal, Known, NotApplied, Observed, Performed,
    Report, Rules, Step, Undone, cancel, observe, retry,
};
use crate::calendar::Window;

fn asked_until(seconds: u64) -> Rules {
    let until = Some(Window::For(Duration::from_secs(seconds)));
    Rules { confirm: lookup().confirm.map(|confirm| ConfirmRules { until, ..confirm }), ..lookup() }
}

fn cancelled_until(seconds: u64) -> Rules {
    Rules {
        cancel: Some(CancelRules { until: Some(Window::For(Duration::from_secs(seconds))), ..void() }),
        ..keyed()
    }
}

#[test]
fn a_question_that_could_be_answered_after_the_window_makes_the_row_stuck() {
    // The window ends at second 100. A question may begin 5 s after it was planned and take 30 s, so it must be planned
    // before second 65.
    for (second, asks) in [(64, true), (65, false), (100, false)] {
        let mut bench = Bench::new(asked_until(100));
        bench.lost_attempt();
        bench.now = at(second);
        bench.claim_over();
        let step = bench.step();
        assert_eq!(matches!(step, Step::Ask(_)), asks, "at second {second}");
        assert_eq!(bench.row.end, (!asks).then_some(End::Stuck));
        assert_eq!(bench.row.known, Known::Unknown, "nothing is believed");
    }
    let mut bench = Bench::new(asked_until(100));
    bench.lost_attempt();
    bench.now = at(65);
    bench.claim_over();
    bench.step();
    assert!(bench.row.why().expect("a reason").contains("window"));
}

#[test]
fn an_absence_counts_only_if_it_was_asked_inside_the_window() {
    // The columns are: the second at which the worker planned the question, the second of its answer, and whether the
    // answer is believed. The window ends at second 700. An attempt with its pause may take 35 s, so a question that
    // is planned from second 665 on is too late. If the worker stood still after it had planned the question, it may
    // have asked after the end of the window. So an answer at second 700 is too late, too.
    for (second, answered, believed) in [(664, 699, true), (665, 699, false), (664, 700, false)] {
        let mut bench = Bench::new(asked_until(700));
        bench.lost_attempt();
        let question = super::Question { asked_at: at(second), ..bench.asks() };
        bench.now = at(answered);
        bench.found(question, Found::Absent);
        let known = if believed { Known::NotApplied(NotApplied::Absent) } else { Known::Unknown };
        assert_eq!(bench.row.known, known, "asked at second {second}, answered at {answered}");
    }
}

#[test]
fn a_persons_retry_after_the_window_is_stuck_again_and_believes_nothing() {
    let mut bench = Bench::new(asked_until(300));
    bench.lost_attempt();
    for day in 1..4 {
        bench.now = at(0).saturating_add(DAY * day);
        if bench.row.end.is_some() {
            bench.take(retry(&bench.row, bench.now).expect("it is stuck"));
            bench.claim();
        } else {
            bench.claim_over();
        }
        assert_eq!(bench.step(), Step::Leave);
        assert_eq!((bench.row.end, bench.row.known), (Some(End::Stuck), Known::Unknown));
    }
}

#[test]
fn the_question_after_the_end_is_planned_before_the_end_of_the_window_or_not_at_all() {
    let day = 24 * 3600;
    // The columns are: the window in seconds, the second of the answer that ends the row, and the second of the
    // question after that end. The question is planned so early that two things fit in before the window ends. One is
    // the question itself, which takes up to 35 s (an attempt of 30 s and a pause of 5 s). The other is a lease of 120
    // s: if the worker dies, another one then takes over the row and asks. If there is no time for both, the question
    // is asked immediately.
    let table = [
        (10 * day, 200, Some(200 + day)),
        (3600, 200, Some(3600 - 35 - 120)),
        (300, 150, Some(150)),
        (300, 264, Some(264)),
        (300, 265, None),
    ];
    for (window, answered, audit) in table {
        let mut bench = Bench::new(asked_until(u64::try_from(window).expect("positive")));
        bench.lost_attempt();
        bench.now = at(150);
        bench.claim_over();
        let question = bench.asks();
        bench.now = at(answered);
        bench.found(question, Found::Absent);
        assert_eq!(bench.row.end, Some(End::Failed));
        assert_eq!(bench.row.audit_at, audit.map(at), "window of {window} s, answered at second {answered}");
    }
}

#[test]
fn a_question_after_the_end_that_comes_too_late_is_not_asked() {
    let mut bench = Bench::new(asked_until(3600));
    bench.lost_attempt();
    bench.now = at(150);
    bench.claim_over();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    bench.now = at(3565);
    bench.claim();
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!((bench.row.end, bench.row.due_at()), (Some(End::Failed), None));
    assert_eq!(bench.row.known, Known::NotApplied(NotApplied::Absent));
    assert!(bench.row.why().expect("a reason").contains("window"));
}

#[test]
fn a_dispute_after_the_window_stays_for_a_person() {
    let mut bench = Bench::new(asked_until(3600));
    bench.lost_attempt();
    bench.now = at(150);
    bench.claim_over();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    bench.now = at(5000);
    let write = observe(&bench.row, &bench.rules, bench.origin, Observed::Applied(answer()), bench.now);
    bench.take(write.expect("a contradiction"));
    bench.until_due();
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!((bench.row.disputed_at, bench.row.due_at()), (Some(at(5000)), None));
}

#[test]
fn a_cancel_that_could_arrive_after_its_window_makes_the_row_stuck() {
    for (second, sends) in [(59, true), (60, false)] {
        let mut bench = Bench::to_undo(cancelled_until(100));
        bench.now = at(second);
        bench.claim_over();
        let step = bench.step();
        assert_eq!(matches!(step, Step::Cancel(_)), sends, "at second {second}");
        assert_eq!(bench.row.end, (!sends).then_some(End::Stuck));
        assert_eq!(bench.row.known, Known::Applied);
    }
}

#[test]
fn a_persons_retry_of_a_cancel_after_its_window_is_stuck_again() {
    let mut bench = Bench::to_undo(cancelled_until(100));
    bench.now = at(200);
    bench.claim_over();
    assert_eq!(bench.step(), Step::Leave);
    let write = cancel(&bench.row, &bench.rules, CancelBy::Person, bench.now);
    bench.take(write.expect("it may").expect("it is stuck"));
    bench.claim();
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!((bench.row.end, bench.row.undo.tries), (Some(End::Stuck), 0));
}

#[test]
fn a_net_cancel_after_its_window_is_not_sent() {
    let mut bench = Bench::new(Rules { cancel: cancelled_until(60).cancel, ..net_cancel() });
    let line = bench.performs();
    bench.now = at(29);
    bench.performed(line, Performed::Unknown);
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!((bench.row.end, bench.row.goal), (Some(End::Stuck), Goal::Cancel));
}

#[test]
fn a_second_cancel_waits_for_no_question_that_comes_too_late() {
    let mut bench = Bench::to_undo(asked_until(160));
    let line = bench.cancels();
    bench.tell(Event::Cancelled(line, Undone::Unknown, Report::default()));
    bench.until_due();
    assert_eq!(bench.step(), Step::Leave, "it waits for the quiet time of the cancel");
    bench.until_due();
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!((bench.row.end, bench.row.known), (Some(End::Stuck), Known::Applied));
}
