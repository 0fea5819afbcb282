//! Tests of trouble with the application's handler, of the answers that are kept, and of
//! reports that contradict the end of a row.

use std::time::Duration;

use seawall_policy::Draw;

use super::bench::{Bench, ME, OTHER, answer, at, explicit, keyed, lookup, net_cancel, status};
use super::{
    AttemptOutcome, End, Event, Found, Goal, HandlerTrouble, Known, NotApplied, Observed, OnUnknown,
    Performed, Report, Rules, Step, Told, Undone, handler_failed, observe, scope_handler_failed, settle,
};

const DRAWS: [Draw; 2] = [Draw::new(0), Draw::new(u64::MAX)];

impl Bench {
    /// Plans the next step, which must be a change of the row. The application's handler runs with this change. The
    /// machine is told that the handler failed, and returns another change, which is written into the row.
    fn handler_fails(&mut self, draw: Draw) {
        let Step::Change(write) = self.plan() else { panic!("{:?}", self.plan()) };
        let held = handler_failed(write, &self.row, &self.rules, "no such table", self.now, draw);
        self.take(held);
    }

    fn trouble(&self) -> Option<(u32, &str)> {
        self.row.handler().map(|trouble| (trouble.tries, trouble.error.as_str()))
    }
}

// ---- trouble with the handler ----

/// Makes a row of an action that the provider performed, and whose handler failed once.
fn troubled(rules: Rules, draw: Draw) -> Bench {
    let mut bench = Bench::new(rules);
    let line = bench.performs();
    let event = Event::Performed(line, Performed::Yes(answer()), Report::default());
    let told = super::told(&bench.row, &bench.rules, bench.origin, ME, event, bench.time(), draw);
    let Told::Write(write) = told else { panic!("ours") };
    assert_eq!(write.to().end(), Some(End::Done));
    let held = handler_failed(write, &bench.row, &bench.rules, "no such column", bench.now, draw);
    assert!(!held.breaks_scope());
    assert_eq!(held.attempt().expect("its line").outcome, AttemptOutcome::Yes, "the line is completed");
    bench.take(held);
    bench
}

#[test]
fn a_handler_that_failed_is_tried_again_and_what_was_learned_is_kept() {
    let mut bench = troubled(keyed(), DRAWS[0]);
    assert_eq!(bench.trouble(), Some((1, "no such column")));
    assert_eq!((bench.row.known, bench.row.end, bench.row.answer.clone()), (Known::Applied, None, answer()));
    assert_eq!((bench.row.owner(), bench.row.in_flight()), (None, None), "nobody waits holding the row");
    for tries in 2..5 {
        bench.until_due();
        bench.handler_fails(DRAWS[0]);
        assert_eq!(bench.trouble(), Some((tries, "no such table")));
    }
    bench.until_due();
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!((bench.row.end, bench.trouble()), (Some(End::Done), None), "the end clears the trouble");
}

#[test]
fn the_wait_for_a_handler_has_bounds_and_no_end() {
    for draw in DRAWS {
        let mut bench = troubled(keyed(), draw);
        for _ in 0..100 {
            let wait = bench.row.next_at.since(bench.now);
            assert!(wait >= Duration::from_millis(100) && wait <= bench.rules.backoff.cap, "{wait:?}");
            bench.until_due();
            bench.handler_fails(draw);
        }
        assert_eq!((bench.row.end, bench.trouble()), (None, Some((101, "no such table"))));
    }
}

#[test]
fn the_trouble_ends_when_the_goal_turns() {
    let mut bench = troubled(keyed(), DRAWS[0]);
    bench.app_cancels();
    assert_eq!((bench.row.goal, bench.trouble()), (Goal::Cancel, None));
    bench.claim();
    bench.cancels();
}

#[test]
fn the_application_can_settle_in_spite_of_the_trouble() {
    let mut bench = troubled(keyed(), DRAWS[0]);
    let write = settle(&bench.row, bench.now).expect("it is applied").expect("it is not settled");
    bench.take(write);
    assert_eq!((bench.row.end, bench.trouble()), (Some(End::Done), None));
}

#[test]
fn a_handler_that_failed_once_more_does_not_open_a_row_that_had_ended() {
    let mut bench = Bench::new(Rules { resend_absent: true, ..lookup() });
    bench.lost_attempt();
    bench.now = at(700);
    bench.claim_over();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    bench.step();
    assert_eq!((bench.row.end, bench.row.known), (Some(End::Failed), Known::Never));
    bench.until_due();
    let question = bench.asks();
    let event = Event::Confirmed(question, Found::Absent, Report::default());
    let told = super::told(&bench.row, &bench.rules, bench.origin, ME, event, bench.time(), DRAWS[0]);
    let Told::Write(write) = told else { panic!("ours") };
    let held = handler_failed(write.clone(), &bench.row, &bench.rules, "no", bench.now, DRAWS[0]);
    assert_eq!(held, write);
}

#[test]
fn a_failed_handler_of_a_scope_is_counted_on_the_row_of_its_worker() {
    let mut bench = Bench::new(keyed());
    bench.origin.scoped = true;
    let line = bench.performs();
    bench.performed(line, Performed::Yes(answer()));
    assert_eq!(bench.step(), Step::SettleScope);
    let fails = |bench: &Bench, owner| {
        scope_handler_failed(&bench.row, owner, &bench.rules, "no", bench.now, DRAWS[0])
    };
    assert_eq!(fails(&bench, OTHER), None);
    for tries in 1..3 {
        let write = fails(&bench, ME).expect("ours");
        assert_eq!(write.attempt(), None);
        bench.take(write);
        assert_eq!((bench.trouble(), bench.row.owner()), (Some((tries, "no")), None));
        bench.until_due();
        assert_eq!(bench.step(), Step::SettleScope);
    }
    bench.tell(Event::ScopeBroken);
    assert_eq!((bench.row.goal, bench.trouble()), (Goal::Cancel, None));
}

#[test]
fn a_failed_handler_of_a_refusal_keeps_the_refusal() {
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    let event = Event::Performed(line, Performed::No(Some(b"declined".to_vec())), status(402));
    let told = super::told(&bench.row, &bench.rules, bench.origin, ME, event, bench.time(), DRAWS[0]);
    let Told::Write(write) = told else { panic!("ours") };
    bench.take(handler_failed(write, &bench.row, &bench.rules, "no", bench.now, DRAWS[0]));
    assert_eq!((bench.row.known, bench.row.end), (Known::NotApplied(NotApplied::Refused), None));
    bench.until_due();
    let Step::Change(write) = bench.plan() else { panic!("the end is tried again") };
    assert!(write.breaks_scope(), "what the failed try held back");
    bench.take(write);
    assert_eq!((bench.row.end, bench.row.answer()), (Some(End::Failed), Some(&b"declined"[..])));
    assert_eq!(bench.row.handler, None::<HandlerTrouble>);
}

// ---- the answers that are kept ----

#[test]
fn the_body_of_a_refusal_is_kept_in_the_row_and_in_its_line() {
    let body = || Some(b"card declined".to_vec());
    for rules in [keyed(), lookup(), net_cancel()] {
        let mut bench = Bench::new(rules);
        let line = bench.performs();
        let told = bench.tell(Event::Performed(line, Performed::No(body()), status(402)));
        let Told::Write(write) = told else { panic!("ours") };
        assert_eq!(write.attempt().expect("its line").answer, body());
        assert_eq!((bench.row.end, bench.row.answer.clone()), (Some(End::Failed), body()));
    }
}

#[test]
fn the_body_of_a_refusal_that_does_not_close_the_action_is_kept_in_its_line() {
    for (code, outcome) in [(402, AttemptOutcome::No), (401, AttemptOutcome::Unknown)] {
        let mut bench = Bench::new(keyed());
        bench.lost_attempt();
        let line = bench.performs();
        let refused = Performed::No(Some(b"no".to_vec()));
        let Told::Write(write) = bench.tell(Event::Performed(line, refused, status(code))) else {
            panic!("ours")
        };
        let line = write.attempt().expect("its line");
        assert_eq!((line.outcome, line.answer.as_deref()), (outcome, Some(&b"no"[..])));
        assert_eq!((bench.row.end, bench.row.answer()), (None, None));
    }
}

#[test]
fn the_body_of_a_late_refusal_is_kept_in_its_line() {
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    bench.now = at(121);
    bench.claim();
    let refused = Performed::No(Some(b"no".to_vec()));
    let Told::Late(late) = bench.tell(Event::Performed(line, refused, status(402))) else { panic!("late") };
    assert_eq!(late.line().answer.as_deref(), Some(&b"no"[..]));
}

#[test]
fn a_refusal_does_not_replace_the_answer_that_names_the_effect() {
    let mut bench = Bench::new(explicit(keyed()));
    let line = bench.performs();
    let write = observe(&bench.row, &bench.rules, bench.origin, Observed::Applied(answer()), bench.now);
    bench.take(write.expect("it is unknown"));
    bench.tell(Event::Performed(line, Performed::No(Some(b"no".to_vec())), status(402)));
    assert_eq!((bench.row.known, bench.row.answer.clone()), (Known::Applied, answer()));
}

#[test]
fn a_cancel_does_not_read_the_id_of_the_effect_from_a_refusal() {
    let rules = Rules { on_unknown: OnUnknown::Hold, confirm: None, ..lookup() };
    let mut bench = Bench::new(rules);
    let line = bench.performs();
    bench.tell(Event::Performed(line, Performed::No(Some(b"{\"id\":\"error-7\"}".to_vec())), status(402)));
    let write = observe(&bench.row, &bench.rules, bench.origin, Observed::Applied(None), bench.now);
    bench.take(write.expect("a contradiction"));
    assert_eq!((bench.row.known, bench.row.answer()), (Known::Applied, None));
    bench.claim();
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!(bench.row.end, Some(End::Stuck));
    // The effect was believed absent and was then found. The earlier answer, which names the effect, is still in the
    // row.
    let mut bench = Bench::to_undo(lookup());
    let line = bench.cancels();
    bench.undone(line, Undone::Unknown);
    bench.now = at(300);
    bench.claim_over();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!(bench.row.end, Some(End::Cancelled));
    bench.until_due();
    let question = bench.asks();
    bench.found(question, Found::Applied(None));
    assert_eq!((bench.row.known, bench.row.answer.clone()), (Known::Applied, answer()));
}

// ---- reports that contradict the end ----

#[test]
fn a_report_that_contradicts_the_end_leaves_a_mark_and_never_changes_the_end() {
    let mut done = Bench::new(lookup());
    let line = done.performs();
    done.performed(line, Performed::Yes(answer()));
    let mut failed = Bench::new(lookup());
    let line = failed.performs();
    failed.refused(line, 402);
    let mut undone = Bench::to_undo(lookup());
    let line = undone.cancels();
    undone.undone(line, Undone::Yes);
    let applied = || Observed::Applied(answer());
    // The columns are: the row, the report, whether the report marks the row as disputed, and when the provider is
    // asked again.
    let table = [
        (&done, Observed::Otherwise, true, None),
        (&done, applied(), false, None),
        (&failed, Observed::Otherwise, false, None),
        (&failed, applied(), true, Some(at(220))),
        (&undone, Observed::Otherwise, false, None),
        (&undone, applied(), true, Some(at(220))),
    ];
    for (bench, what, marks, asked) in table {
        let write = observe(&bench.row, &bench.rules, bench.origin, what.clone(), at(100));
        assert_eq!(write.is_some(), marks, "{:?}, {what:?}", bench.row.end);
        let Some(write) = write else { continue };
        let to = write.to();
        assert_eq!((to.end(), to.known(), to.goal()), (bench.row.end, bench.row.known, bench.row.goal));
        assert_eq!((to.disputed_at(), to.due_at()), (Some(at(100)), asked), "{:?}, {what:?}", bench.row.end);
    }
}

#[test]
fn a_report_of_the_effect_ends_what_a_person_would_have_to_end() {
    let mut stuck = Bench::new(Rules { on_unknown: OnUnknown::Hold, ..net_cancel() });
    stuck.lost_attempt();
    stuck.step();
    assert_eq!(stuck.row.end, Some(End::Stuck));
    let write = observe(&stuck.row, &stuck.rules, stuck.origin, Observed::Applied(answer()), stuck.now);
    stuck.take(write.expect("the effect is a fact"));
    assert_eq!((stuck.row.end, stuck.row.known), (Some(End::Done), Known::Applied));
    assert_eq!(stuck.row.why, None);

    // Nobody can have seen an effect of an action that was never sent, so such a report is ignored.
    let fresh = Bench::new(lookup());
    let said = Observed::Applied(answer());
    assert_eq!(observe(&fresh.row, &fresh.rules, fresh.origin, said, fresh.now), None);
}

#[test]
fn a_report_is_believed_if_the_provider_cannot_be_asked() {
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    bench.refused(line, 402);
    let write = observe(&bench.row, &bench.rules, bench.origin, Observed::Applied(answer()), bench.now);
    bench.take(write.expect("a contradiction"));
    assert_eq!((bench.row.end, bench.row.goal, bench.row.known), (None, Goal::Cancel, Known::Applied));
    assert_eq!(bench.row.disputed_at, Some(bench.now));
}

#[test]
fn a_question_that_confirms_the_end_ends_the_dispute() {
    let mut bench = Bench::new(lookup());
    let line = bench.performs();
    bench.refused(line, 402);
    let write = observe(&bench.row, &bench.rules, bench.origin, Observed::Applied(answer()), bench.now);
    bench.take(write.expect("a contradiction"));
    bench.until_due();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!((bench.row.end, bench.row.disputed_at, bench.row.due_at()), (Some(End::Failed), None, None));
}

#[test]
fn a_report_during_the_question_after_the_end_is_asked_about_later() {
    let mut bench = Bench::new(lookup());
    bench.lost_attempt();
    bench.now = at(150);
    bench.claim_over();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    bench.until_due();
    let question = bench.asks();
    let write = observe(&bench.row, &bench.rules, bench.origin, Observed::Applied(answer()), bench.now);
    bench.take(write.expect("a contradiction"));
    bench.found(question, Found::Absent);
    assert_eq!(bench.row.disputed_at, Some(bench.now), "that question was asked before the report");
    assert!(bench.row.due_at() > Some(bench.now));
}
