//! Tests of a key that is used anew, of an action that fails while its caller waits, and of what a worker adds to an
//! action that plain SQL recorded.

use std::time::Duration;

use super::bench::{Bench, ME, OTHER, answer, at, explicit, keyed, lookup, net_cancel, origin};
use super::{
    Birth, End, Event, Found, Goal, KNOWS, Known, Naming, Observed, Origin, Performed, Report, Rules,
    SettleBy, Step, Told, cancel, claim, close_unsent, completed, note, observe, recorded, used_anew,
};

/// Makes a row that has failed: its only attempt could not be sent, and the time for sending is over.
fn given_up(rules: Rules) -> Bench {
    let mut bench = Bench::new(rules);
    let line = bench.performs();
    bench.performed(line, Performed::NotSent);
    bench.now = at(600);
    bench.claim_over();
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!((bench.row.end, bench.row.known), (Some(End::Failed), Known::Never));
    bench
}

// ---- a key that is used anew ----

#[test]
fn a_key_that_never_left_is_used_anew_in_each_of_three_ways() {
    for birth in [Birth::Recorded, Birth::Reserved(ME), Birth::Sent(ME)] {
        let mut bench = given_up(keyed());
        let before = bench.row.clone();
        bench.now = at(1000);
        let write = used_anew(&bench.row, &bench.rules, birth, bench.now).expect("nothing was sent");
        let attempt = write.attempt().cloned();
        bench.take(write);
        let row = &bench.row;
        assert_eq!((row.end, row.why(), row.attempts), (None, None, u32::from(birth == Birth::Sent(ME))));
        assert_eq!(row.begun_at(), at(1000), "the time for sending counts from now");
        match birth {
            Birth::Recorded => {
                assert_eq!((row.owner(), row.due_at()), (None, Some(at(1000))));
                assert_eq!((row.fence, row.logged), (before.fence, before.logged));
            }
            Birth::Reserved(_) => {
                assert_eq!((row.owner(), row.in_flight()), (Some(ME), None));
                assert_eq!((row.fence, row.logged), (before.fence + 1, before.logged));
            }
            Birth::Sent(_) => {
                let line = attempt.as_ref().expect("it is recorded with its attempt");
                assert_eq!((line.number, line.fence), (before.logged + 1, before.fence + 1));
                assert_eq!((row.logged, row.in_flight()), (line.number, Some(line.number)));
            }
        }
        assert_eq!(attempt.is_some(), birth == Birth::Sent(ME));
        if birth == Birth::Recorded {
            bench.claim();
        }
        let line = attempt.unwrap_or_else(|| bench.performs());
        bench.performed(line, Performed::Yes(answer()));
        assert_eq!(bench.row.end, Some(End::Done));
    }
}

#[test]
fn a_late_report_to_the_earlier_try_does_not_reach_the_new_one() {
    let mut bench = Bench::new(keyed());
    let old = bench.performs();
    bench.performed(old.clone(), Performed::NotSent);
    bench.now = at(600);
    bench.claim_over();
    bench.step();
    let write = used_anew(&bench.row, &bench.rules, Birth::Sent(ME), bench.now).expect("nothing was sent");
    bench.take(write);
    let before = bench.row.clone();
    assert!(matches!(bench.performed(old, Performed::Yes(answer())), Told::Late(_)));
    assert_eq!(bench.row, before);
}

#[test]
fn a_key_is_not_used_anew_if_anything_may_have_left_or_the_row_has_another_end() {
    let anew = |bench: &Bench| used_anew(&bench.row, &bench.rules, Birth::Recorded, bench.now);
    let mut refused = Bench::new(keyed());
    let line = refused.performs();
    refused.refused(line, 402);
    assert_eq!(anew(&refused), None, "it was sent, and refused");

    let mut absent = Bench::new(lookup());
    absent.lost_attempt();
    absent.now = at(150);
    absent.claim_over();
    let question = absent.asks();
    absent.found(question, Found::Absent);
    assert_eq!((absent.row.end, anew(&absent)), (Some(End::Failed), None), "believed absent");

    let mut given_up_absent = Bench::new(Rules { resend_absent: true, ..lookup() });
    given_up_absent.lost_attempt();
    given_up_absent.now = at(700);
    given_up_absent.claim_over();
    let question = given_up_absent.asks();
    given_up_absent.found(question, Found::Absent);
    given_up_absent.step();
    let row = &given_up_absent.row;
    assert_eq!((row.end, row.known), (Some(End::Failed), Known::Never));
    assert_eq!(anew(&given_up_absent), None, "never, but only as far as the provider said");

    let mut cancelled = Bench::new(keyed());
    cancelled.app_cancels();
    assert_eq!((cancelled.row.end, anew(&cancelled)), (Some(End::Cancelled), None));
    let mut done = Bench::new(keyed());
    let line = done.performs();
    done.performed(line, Performed::Yes(answer()));
    assert_eq!(anew(&done), None);
    let mut stuck = Bench::new(Rules { key_lifetime: None, ..keyed() });
    stuck.lost_attempt();
    stuck.step();
    assert_eq!((stuck.row.end, anew(&stuck)), (Some(End::Stuck), None));
    assert_eq!(anew(&Bench::new(keyed())), None, "it has not ended");
}

#[test]
fn a_key_is_not_used_anew_while_a_report_says_that_its_effect_exists() {
    let mut bench = given_up(lookup());
    let write = observe(&bench.row, &bench.rules, bench.origin, Observed::Applied(answer()), bench.now);
    bench.take(write.expect("a contradiction"));
    assert_eq!(used_anew(&bench.row, &bench.rules, Birth::Recorded, bench.now), None);
    bench.until_due();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert!(
        used_anew(&bench.row, &bench.rules, Birth::Recorded, bench.now).is_some(),
        "the report was wrong"
    );
}

#[test]
fn a_key_that_is_used_anew_without_time_before_its_deadline_has_no_attempt() {
    let hurried = Rules { settle: SettleBy::Explicit(Duration::from_secs(10)), ..keyed() };
    let mut bench = Bench::new(hurried);
    let write = close_unsent(&bench.row, ME, "not sent", bench.now).expect("nothing was sent");
    bench.take(write);
    let write = used_anew(&bench.row, &bench.rules, Birth::Sent(ME), bench.now).expect("nothing was sent");
    assert_eq!((write.attempt(), write.to().owner()), (None, Some(ME)));
    assert_eq!(write.to().version(), write.from() + 1);
}

#[test]
fn a_row_that_needs_newer_programs_goes_on_to_need_them() {
    let mut bench = given_up(keyed());
    bench.row.needs = KNOWS + 1;
    let write = used_anew(&bench.row, &bench.rules, Birth::Recorded, bench.now).expect("nothing was sent");
    assert_eq!(write.to().needs(), KNOWS + 1);
    bench.row.needs = 0;
    let write = used_anew(&bench.row, &bench.rules, Birth::Recorded, bench.now).expect("nothing was sent");
    assert_eq!(write.to().needs(), KNOWS);
}

#[test]
fn a_row_that_needs_newer_programs_is_not_claimed() {
    let mut row = recorded(&keyed(), at(0));
    assert_eq!(row.needs(), KNOWS);
    row.needs = KNOWS + 1;
    assert_eq!(claim(&row, keyed().lease, ME, at(0)), None);
}

// ---- an end for a caller that waits ----

#[test]
fn an_action_of_which_nothing_was_sent_is_closed_for_its_caller() {
    let mut bench = Bench::new(keyed());
    assert_eq!(close_unsent(&bench.row, OTHER, "not sent", bench.now), None, "only its owner may");
    let write = close_unsent(&bench.row, ME, "not sent", bench.now).expect("nothing was sent");
    assert!(write.breaks_scope());
    bench.take(write);
    assert_eq!(
        (bench.row.end, bench.row.why(), bench.row.owner()),
        (Some(End::Failed), Some("not sent"), None)
    );
    assert_eq!(close_unsent(&bench.row, ME, "not sent", bench.now), None, "it has ended");
}

#[test]
fn an_action_that_may_have_been_sent_or_is_being_cancelled_is_not_closed() {
    let mut bench = Bench::new(keyed());
    bench.performs();
    assert_eq!(close_unsent(&bench.row, ME, "not sent", bench.now), None, "an attempt is under way");
    let mut bench = Bench::new(keyed());
    bench.lost_attempt();
    assert_eq!(close_unsent(&bench.row, ME, "not sent", bench.now), None, "an attempt may take effect");
    let mut bench = Bench::to_undo(keyed());
    bench.claim_over();
    assert_eq!(close_unsent(&bench.row, ME, "not sent", bench.now), None, "it is being undone");
    let mut bench = Bench::new(explicit(keyed()));
    let line = bench.performs();
    bench.performed(line, Performed::Yes(None));
    bench.claim_over();
    assert_eq!(close_unsent(&bench.row, ME, "not sent", bench.now), None, "it is applied");
}

#[test]
fn an_attempt_that_was_not_sent_closes_the_action_of_a_caller_that_waits() {
    let unsent = |bench: &mut Bench, line| bench.tell(Event::Unsent(line, Report::default()));
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    let Told::Write(write) = unsent(&mut bench, line.clone()) else { panic!("ours") };
    assert!(write.breaks_scope());
    assert_eq!((bench.row.end, bench.row.known), (Some(End::Failed), Known::Never));
    assert_eq!((bench.row.sent, bench.row.owner()), (None, None));
    assert!(used_anew(&bench.row, &bench.rules, Birth::Sent(ME), bench.now).is_some());
    assert!(matches!(unsent(&mut bench, line), Told::Late(_)), "told twice, counted once");
}

#[test]
fn an_earlier_attempt_that_may_take_effect_keeps_the_action_open() {
    let mut bench = Bench::new(keyed());
    bench.lost_attempt();
    let line = bench.performs();
    bench.tell(Event::Unsent(line, Report::default()));
    assert_eq!((bench.row.end, bench.row.known, bench.row.open_attempts()), (None, Known::Unknown, 1));
}

#[test]
fn only_the_owner_reports_that_nothing_was_sent() {
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    bench.now = at(121);
    bench.claim();
    let before = bench.row.clone();
    assert!(matches!(bench.tell(Event::Unsent(line, Report::default())), Told::Late(_)));
    assert_eq!(bench.row, before);
}

#[test]
fn an_attempt_that_was_not_sent_ends_what_was_cancelled_meanwhile() {
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    bench.app_cancels();
    bench.tell(Event::Unsent(line, Report::default()));
    assert_eq!((bench.row.goal, bench.row.end), (Goal::Cancel, Some(End::Cancelled)));
}

// ---- what plain SQL does not know ----

#[test]
fn what_plain_sql_recorded_is_completed_once() {
    let mut bench = Bench::new(explicit(keyed()));
    bench.row.settle_by = None;
    bench.now = at(20);
    let open = Origin { naming: Naming::Open, ..origin() };
    let write = completed(&bench.row, &bench.rules, open, 3, bench.now).expect("all is missing");
    assert_eq!(write.names().expect("its key is decided").salt, 3);
    assert_eq!((write.to().owner(), write.to().known()), (Some(ME), Known::Never), "the claim goes on");
    bench.take(write);
    assert_eq!((bench.row.begun_at, bench.row.settle_by), (at(0), Some(at(60))), "from the record");
    assert_eq!(completed(&bench.row, &bench.rules, origin(), 0, bench.now), None, "nothing is missing");
}

#[test]
fn only_what_is_missing_is_completed() {
    let bench = Bench::new(keyed());
    for naming in [Naming::FirstRelease, Naming::Salted(0)] {
        let named = Origin { naming, ..origin() };
        assert_eq!(completed(&bench.row, &bench.rules, named, 0, bench.now), None);
    }
    let mut bench = Bench::new(explicit(keyed()));
    bench.row.settle_by = Some(at(7));
    let open = Origin { naming: Naming::Open, ..origin() };
    let write = completed(&bench.row, &bench.rules, open, 0, bench.now).expect("its key is missing");
    assert_eq!(write.to().settle_by(), Some(at(7)));
    bench.row.settle_by = None;
    let write = completed(&bench.row, &bench.rules, origin(), 0, bench.now).expect("its deadline is missing");
    assert_eq!((write.to().settle_by(), write.names()), (Some(at(60)), None), "its key was decided before");
}

#[test]
fn there_is_no_deadline_to_settle_what_is_cancelled_or_has_ended() {
    let mut cancelled = Bench::new(explicit(keyed()));
    cancelled.performs();
    let by = super::CancelBy::Transaction;
    let wish = cancel(&cancelled.row, &cancelled.rules, by, cancelled.now).expect("it may");
    cancelled.take(wish.expect("it changes something"));
    let mut failed =
        given_up(explicit(Rules { attempt: Duration::from_secs(1), ..net_cancel() }).within(9000));
    for bench in [&mut cancelled, &mut failed] {
        bench.row.settle_by = None;
        assert_eq!(completed(&bench.row, &bench.rules, origin(), 0, bench.now), None);
    }
}

impl Rules {
    fn within(self, seconds: u64) -> Rules {
        Rules { settle: SettleBy::Explicit(Duration::from_secs(seconds)), ..self }
    }
}

#[test]
fn a_note_changes_nothing_but_the_version() {
    let mut bench = Bench::new(lookup());
    bench.performs();
    let write = note(&bench.row, at(50));
    let to = super::State { version: bench.row.version, ..write.to().clone() };
    assert_eq!((to, write.to().version()), (bench.row.clone(), bench.row.version + 1));
    assert_eq!((write.attempt(), write.breaks_scope(), write.names()), (None, false, None));
}
