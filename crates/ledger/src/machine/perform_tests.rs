//! Tests of performing. Each line of the table in docs/life-of-an-action.md is a rule, and these tests are for the
//! first half of the table. Each test is named for the behaviour that its rule demands.

use std::time::Duration;

use super::bench::{Bench, ME, OTHER, answer, at, explicit, keyed, lookup, net_cancel, origin};
use super::{
    AttemptOutcome, End, Event, Found, Goal, Known, NotApplied, Now, OnUnknown, Performed, Report,
    Resolution, Rules, Step, StuckReason, Told, claim, give_back, plan, recorded, reserved, resolve, retry,
    sent, undeclared,
};
use crate::calendar::Lifetime;

#[test]
fn what_is_recorded_is_due_at_once_and_free() {
    let row = recorded(&keyed(), at(0));
    assert_eq!((row.goal, row.known, row.owner()), (Goal::Perform, Known::Never, None));
    assert_eq!(row.due_at(), Some(at(0)));
    assert_eq!(row.settle_by(), None);
}

#[test]
fn what_is_reserved_is_leased_to_its_caller_and_must_be_settled_in_time() {
    let row = reserved(&explicit(keyed()), ME, at(0));
    assert_eq!((row.owner(), row.settle_by()), (Some(ME), Some(at(60))));
    assert!(claim(&row, keyed().lease, OTHER, at(119)).is_none(), "leased");
    assert!(claim(&row, keyed().lease, OTHER, at(120)).is_some());
}

#[test]
fn an_attempt_can_be_recorded_with_its_row() {
    let (row, line) = sent(&keyed(), ME, at(0)).expect("there is time");
    assert_eq!((row.version, row.known, row.open_attempts()), (1, Known::Unknown, 1));
    assert_eq!((line.number, line.fence, line.send_by), (1, 1, at(30)));
    let hurried = Rules { settle: super::SettleBy::Explicit(Duration::from_secs(10)), ..keyed() };
    assert!(sent(&hurried, ME, at(0)).is_none(), "it could end after the deadline to settle");
}

#[test]
fn a_claim_takes_what_is_due_and_free_and_makes_older_claims_stale() {
    let rules = keyed();
    let mut row = recorded(&rules, at(0));
    assert!(claim(&row, keyed().lease, ME, at(-1)).is_none());
    row = claim(&row, keyed().lease, ME, at(0)).expect("due").to;
    assert_eq!((row.fence(), row.leased_until()), (1, Some(at(120))));
    assert_eq!(plan(&row, &rules, origin(), Now::sure(at(0)), OTHER), Step::Leave);
    row = claim(&row, keyed().lease, OTHER, at(121)).expect("the lease ran out").to;
    assert_eq!((row.fence(), row.owner()), (2, Some(OTHER)));
}

#[test]
fn a_row_that_is_given_back_is_due_and_its_attempt_may_have_been_sent() {
    let mut bench = Bench::new(keyed());
    assert!(give_back(&bench.row, OTHER, bench.now).is_none());
    let freed = give_back(&bench.row, ME, bench.now).expect("ours").to;
    assert_eq!((freed.due_at(), freed.known()), (Some(at(0)), Known::Never));
    let line = bench.performs();
    bench.now = at(5);
    let freed = give_back(&bench.row, ME, bench.now).expect("ours").to;
    assert_eq!((freed.due_at(), freed.owner()), (Some(at(0)), None));
    assert_eq!((freed.known(), freed.open_attempts(), freed.in_flight()), (Known::Unknown, 1, None));
    assert_eq!(freed.quiet_until(), bench.row.quiet_until());
    // If the worker that gave the row back gets the provider's answer after that, its report does not change the row.
    bench.row = claim(&freed, keyed().lease, OTHER, at(6)).expect("due").to;
    let before = bench.row.clone();
    bench.performed(line, Performed::Yes(answer()));
    assert_eq!(bench.row, before);
}

#[test]
fn what_nobody_declares_is_stuck_after_its_time_and_goes_on_after_a_retry() {
    let after = Duration::from_secs(100);
    let mut bench = Bench::new(keyed());
    bench.performs();
    // The lease of the process that died ends after two minutes.
    assert!(undeclared(&bench.row, after, Now::sure(at(219))).is_none());
    let doubt = Now { doubt: Some(Duration::from_secs(1)), ..Now::sure(at(221)) };
    assert!(undeclared(&bench.row, after, doubt).is_none());
    let stuck = undeclared(&bench.row, after, Now::sure(at(221))).expect("overdue").to;
    assert_eq!((stuck.end(), stuck.known()), (Some(End::Stuck), Known::Unknown));
    assert_eq!(stuck.why().and_then(StuckReason::of), Some(StuckReason::Undeclared));
    assert_eq!(stuck.due_at(), None);
    assert!(undeclared(&stuck, after, Now::sure(at(999))).is_none());
    let again = retry(&stuck, at(300)).expect("stuck").to;
    assert_eq!((again.end(), again.known(), again.due_at()), (None, Known::Unknown, Some(at(300))));
}

#[test]
fn the_deadline_to_settle_covers_what_was_never_sent_without_a_call() {
    let mut bench = Bench::new(explicit(keyed()));
    bench.now = at(60);
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!((bench.row.goal, bench.row.end), (Goal::Cancel, Some(End::Cancelled)));
}

#[test]
fn the_deadline_to_settle_turns_what_is_unknown_and_what_is_applied() {
    for how in [Performed::Unknown, Performed::Yes(answer())] {
        let mut bench = Bench::new(explicit(Rules { attempt: Duration::from_secs(1), ..lookup() }));
        let line = bench.performs();
        bench.performed(line, how.clone());
        bench.now = at(60);
        bench.until_due();
        let step = bench.step();
        assert_eq!((bench.row.goal, bench.row.end), (Goal::Cancel, None), "{how:?}: {step:?}");
    }
}

#[test]
fn an_attempt_is_recorded_before_it_may_be_sent() {
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    assert_eq!(
        (bench.row.known, bench.row.open_attempts(), bench.row.in_flight()),
        (Known::Unknown, 1, Some(1))
    );
    assert_eq!((line.send_by, line.outcome), (at(30), AttemptOutcome::Open));
    assert_eq!(bench.row.quiet_until(), Some(at(150)), "counted from the last moment at which it may leave");
    assert_eq!(bench.row.first_sent_at(), Some(at(0)));
    assert_eq!(bench.plan(), Step::Leave, "one at a time");
}

#[test]
fn no_attempt_that_could_end_after_the_deadline_to_settle() {
    let mut bench = Bench::new(explicit(keyed()));
    bench.now = at(31);
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!((bench.row.attempts, bench.row.next_at, bench.row.owner()), (0, at(60), None));
}

#[test]
fn what_could_not_be_sent_is_given_up() {
    let mut bench = Bench::new(keyed());
    while bench.row.end.is_none() {
        let line = match bench.step() {
            Step::Perform(write) => write.attempt.expect("recorded"),
            Step::Leave => break,
            other => panic!("{other:?}"),
        };
        bench.performed(line, Performed::NotSent);
        bench.until_due();
    }
    assert_eq!((bench.row.end, bench.row.known), (Some(End::Failed), Known::Never));
    assert!(bench.now >= at(600) && bench.row.logged > 5, "by time, not by the number of tries");
}

#[test]
fn unknown_is_asked_about_where_that_is_possible_even_with_a_key() {
    for rules in [lookup(), Rules { confirm: lookup().confirm, ..keyed() }] {
        let mut bench = Bench::new(rules);
        bench.lost_attempt();
        assert_eq!(bench.now, at(2), "not immediately");
        assert_eq!(bench.asks().asked_at, at(2));
    }
}

#[test]
fn unknown_is_sent_again_under_the_key_and_the_last_time_after_the_quiet_time() {
    let mut bench = Bench::new(keyed());
    for _ in 0..4 {
        bench.lost_attempt();
    }
    assert_eq!((bench.row.attempts, bench.row.open_attempts()), (4, 4));
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!(Some(bench.row.next_at), bench.row.quiet_until());
    bench.until_due();
    assert!(bench.performs().after_quiet);
    bench.performed_unknown_last();
    assert_eq!(bench.row.end, Some(End::Stuck));
}

impl Bench {
    fn performed_unknown_last(&mut self) {
        let line = super::AttemptRow { number: self.row.logged, ..self.line() };
        self.performed(line, Performed::Unknown);
        self.until_due();
        assert_eq!(self.step(), Step::Leave);
    }

    fn line(&self) -> super::AttemptRow {
        super::AttemptRow {
            kind: super::AttemptKind::Perform,
            number: 1,
            generation: 0,
            fence: self.row.fence(),
            recorded_at: self.now,
            send_by: self.now,
            after_quiet: true,
            ended_at: None,
            outcome: AttemptOutcome::Open,
            status: None,
            detail: None,
            answer: None,
        }
    }
}

#[test]
fn a_key_is_not_used_when_it_may_be_forgotten_before_arrival() {
    let mut bench =
        Bench::new(Rules { key_lifetime: Some(Lifetime::For(Duration::from_secs(100))), ..keyed() });
    bench.lost_attempt();
    bench.now = at(59);
    assert!(matches!(bench.plan(), Step::Perform(_)), "59 + 30 + 5 + 5 < 100");
    bench.now = at(60);
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!(bench.row.end, Some(End::Stuck));
}

#[test]
fn a_net_cancel_turns_the_goal_and_hold_waits_for_a_person() {
    let mut bench = Bench::new(net_cancel());
    let line = bench.performs();
    bench.performed(line, Performed::Unknown);
    let cancel = bench.cancels();
    assert_eq!((bench.row.goal, cancel.generation), (Goal::Cancel, 0));
    let mut bench = Bench::new(Rules { on_unknown: OnUnknown::Hold, ..net_cancel() });
    let line = bench.performs();
    bench.performed(line, Performed::Unknown);
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!(bench.row.end, Some(End::Stuck));
}

#[test]
fn an_answer_settles_in_the_same_write_and_lets_go() {
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    bench.performed(line, Performed::Yes(answer()));
    assert!(bench.row.settled());
    assert_eq!((bench.row.end, bench.row.owner(), bench.row.due_at()), (Some(End::Done), None, None));
    assert_eq!(bench.row.answer, answer());
}

#[test]
fn what_the_application_settles_rests_until_the_deadline() {
    let mut bench = Bench::new(explicit(keyed()));
    let line = bench.performs();
    bench.performed(line, Performed::Yes(None));
    assert_eq!((bench.row.end, bench.row.settled(), bench.row.due_at()), (None, false, Some(at(60))));
}

#[test]
fn a_refusal_of_the_only_attempt_fails_the_action() {
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    let Told::Write(write) = bench.refused(line, 402) else { panic!("ours") };
    assert_eq!(bench.row.known, Known::NotApplied(NotApplied::Refused));
    assert_eq!(bench.row.end, Some(End::Failed));
    assert!(write.breaks_scope);
}

#[test]
fn what_was_not_sent_leaves_no_trace_in_the_clocks() {
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    bench.performed(line.clone(), Performed::NotSent);
    let row = &bench.row;
    assert_eq!((row.known, row.open_attempts(), row.attempts), (Known::Never, 0, 0));
    assert_eq!((row.quiet_until(), row.first_sent_at()), (None, None));
    assert!(row.next_at > bench.now);
    assert!(matches!(bench.performed(line, Performed::NotSent), Told::Late(_)), "said twice, counted once");
}

#[test]
fn not_sent_says_nothing_of_an_earlier_attempt() {
    let mut bench = Bench::new(keyed());
    bench.lost_attempt();
    let line = bench.performs();
    bench.performed(line, Performed::NotSent);
    assert_eq!((bench.row.known, bench.row.open_attempts()), (Known::Unknown, 1));
    assert_eq!(bench.row.first_sent_at(), Some(at(0)));
}

#[test]
fn yes_is_written_whatever_the_goal_and_settles_only_what_is_still_wanted() {
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    bench.app_cancels();
    bench.performed(line, Performed::Yes(answer()));
    assert_eq!((bench.row.known, bench.row.end, bench.row.settled()), (Known::Applied, None, false));
    assert!(matches!(bench.step(), Step::Cancel(_)));
}

#[test]
fn a_refusal_of_a_repeat_leaves_the_first_attempt_unknown() {
    for (code, open) in [(402, 1), (404, 1), (401, 2), (403, 2), (422, 2)] {
        let mut bench = Bench::new(keyed());
        bench.lost_attempt();
        let line = bench.performs();
        bench.refused(line, code);
        assert_eq!((bench.row.known, bench.row.open_attempts()), (Known::Unknown, open), "{code}");
    }
}

#[test]
fn a_refusal_binds_where_it_proves_that_the_key_was_looked_up_after_the_quiet_time() {
    for (code, later, binds) in [(402, true, true), (402, false, false), (404, true, false)] {
        let mut bench = Bench::new(Rules { refusal_binds: vec![402], ..keyed() });
        bench.lost_attempt();
        if later {
            bench.now = at(150);
            bench.lease_until(at(300));
        }
        let line = bench.performs();
        bench.refused(line, code);
        assert_eq!(bench.row.end == Some(End::Failed), binds, "{code} {later}");
    }
    let mut bench = Bench::new(Rules { saves_refusals: true, ..keyed() });
    bench.lost_attempt();
    let line = bench.performs();
    bench.refused(line, 402);
    assert_eq!(bench.row.end, Some(End::Failed), "the first would be answered the same");
}

#[test]
fn unknown_leaves_the_attempt_open_and_backs_off() {
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    let event = Event::Performed(
        line,
        Performed::Unknown,
        Report { status: Some(503), detail: None, retry_after: Some(Duration::from_secs(9)) },
    );
    bench.tell(event);
    assert_eq!((bench.row.known, bench.row.open_attempts()), (Known::Unknown, 1));
    let next = bench.row.next_at;
    assert!(
        next >= at(9) && next <= at(12),
        "the time that was named, and a draw of up to a quarter: {next:?}"
    );
    assert_eq!(bench.row.owner(), None, "nobody waits holding it");
}

#[test]
fn a_zombies_answer_changes_its_own_line_and_nothing_else() {
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    bench.now = at(121);
    bench.claim();
    let before = bench.row.clone();
    let Told::Late(late) = bench.performed(line, Performed::Yes(answer())) else { panic!("stale") };
    assert_eq!((late.line().outcome, late.line().ended_at), (AttemptOutcome::Yes, Some(at(121))));
    assert_eq!(bench.row, before);
}

#[test]
fn a_late_yes_to_what_was_closed_is_asked_about_once_the_status_must_show_it() {
    let mut bench = Bench::new(lookup());
    let line = bench.performs();
    bench.now = at(200);
    bench.claim();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!(bench.row.end, Some(End::Failed));
    bench.performed(line, Performed::Yes(answer()));
    assert_eq!((bench.row.end, bench.row.due_at()), (Some(End::Failed), Some(at(320))));
    bench.until_due();
    let question = bench.asks();
    bench.found(question, Found::Applied(answer()));
    assert_eq!((bench.row.goal, bench.row.known, bench.row.end), (Goal::Cancel, Known::Applied, None));
}

#[test]
fn a_person_may_say_that_what_nobody_declares_was_undone() {
    let mut bench = Bench::new(explicit(keyed()));
    let line = bench.performs();
    bench.performed(line, Performed::Yes(answer()));
    let stuck = undeclared(&bench.row, Duration::ZERO, Now::sure(at(60))).expect("due").to;
    let write = resolve(&stuck, &bench.rules, origin(), Resolution::NotApplied, "undone", at(70));
    let told = write.expect("stuck").to;
    assert_eq!((told.goal, told.end()), (Goal::Cancel, Some(End::Cancelled)));
}
