//! Tests how long questions and cancels are tried. A time limits this, and not a number of requests.

use super::bench::{Bench, answer, at, explicit, keyed, lookup};
use super::{End, Found, Goal, Known, Limits, Performed, Rules, Step, Undone, retry};

/// One day, in seconds: the default of `stuck_after`.
const DAY: i64 = 24 * 3600;

/// Moves the time to the second `seconds`, at which the row is due, and claims the row.
fn claimed_at(bench: &mut Bench, seconds: i64) {
    bench.now = at(seconds);
    bench.claim();
}

/// Makes the row of an action whose answer was lost at second 0. The provider is to be asked about it.
fn lost(rules: Rules) -> Bench {
    let mut bench = Bench::new(rules);
    bench.lost_attempt();
    bench
}

/// Asks and cancels without a result, as often as the row is due, until the time `end`. Returns the number of requests.
fn fails_until(bench: &mut Bench, end: i64) -> u32 {
    let mut requests = 0;
    while bench.now < at(end) && bench.row.end.is_none() {
        match bench.step() {
            Step::Ask(question) => drop(bench.found(question, Found::Other)),
            Step::Cancel(write) => drop(bench.undone(write.attempt.unwrap(), Undone::Unknown)),
            Step::Leave => {}
            other => panic!("{other:?}"),
        }
        requests += 1;
        if bench.row.end.is_none() {
            bench.until_due();
        }
    }
    requests
}

#[test]
fn no_number_of_failed_questions_makes_an_action_stuck_within_the_time() {
    let mut bench = lost(lookup());
    let first = bench.now;
    let asked = fails_until(&mut bench, DAY - 60);
    assert!(asked > 1000, "{asked}");
    assert_eq!(
        (bench.row.end, bench.row.failing_since()),
        (None, Some(at(0))),
        "the perform was not answered then"
    );
    fails_until(&mut bench, 2 * DAY);
    assert_eq!(bench.row.end, Some(End::Stuck));
    assert_eq!(bench.row.why(), Some("nothing was learned by asking for as long as declared"));
    let tried = bench.now.since(first).as_secs();
    assert!((86_400 - 2..86_400 + 120).contains(&tried), "{tried}");
}

#[test]
fn no_number_of_failed_cancels_makes_an_action_stuck_within_the_time() {
    let mut bench = Bench::to_undo(keyed());
    let tries = fails_until(&mut bench, DAY - 60);
    assert!(tries > 1000, "{tries}");
    assert_eq!((bench.row.end, bench.row.failing_since()), (None, Some(at(0))));
    fails_until(&mut bench, 2 * DAY);
    assert_eq!(bench.row.end, Some(End::Stuck));
    assert_eq!(bench.row.why(), Some("the cancel brought nothing for as long as declared"));
}

#[test]
fn a_question_that_finds_the_effect_still_there_does_not_restart_the_time_of_the_cancels() {
    let mut bench = Bench::to_undo(lookup());
    // No cancel is answered in this loop. The cancels have no key, so a second one could undo the effect twice. So the
    // provider is asked after each cancel, and says each time that the effect is still there.
    while bench.row.end.is_none() {
        match bench.step() {
            Step::Ask(question) => drop(bench.found(question, Found::Applied(answer()))),
            Step::Cancel(write) => drop(bench.undone(write.attempt.unwrap(), Undone::Unknown)),
            Step::Leave => {}
            other => panic!("{other:?}"),
        }
        if bench.row.end.is_none() {
            bench.until_due();
        }
    }
    assert_eq!(bench.row.end, Some(End::Stuck));
    assert!(bench.now < at(DAY + 600), "{:?}", bench.now);
}

#[test]
fn a_worker_that_dies_in_each_cancel_does_not_go_on_for_ever() {
    for rules in [keyed(), lookup()] {
        let mut bench = Bench::to_undo(rules);
        let mut cancels = 0;
        while bench.row.end.is_none() {
            match bench.step() {
                // The cancel is recorded, but its end is never reported to the machine.
                Step::Cancel(_) => cancels += 1,
                Step::Ask(question) => drop(bench.found(question, Found::Applied(answer()))),
                Step::Leave => {}
                other => panic!("{other:?}"),
            }
            if bench.row.end.is_none() {
                bench.until_due();
            }
        }
        assert_eq!(bench.row.end, Some(End::Stuck));
        assert!(cancels > 100 && bench.now < at(DAY + 1000), "{cancels}, {:?}", bench.now);
    }
}

#[test]
fn an_outage_that_outlasts_the_time_is_followed_by_one_more_request() {
    let mut bench = lost(lookup());
    let question = bench.asks();
    bench.found(question, Found::Other);
    claimed_at(&mut bench, 3 * DAY);
    let question = bench.asks();
    bench.found(question, Found::Applied(answer()));
    assert_eq!(bench.row.end, Some(End::Done));

    let mut bench = Bench::to_undo(keyed());
    let line = bench.cancels();
    bench.undone(line, Undone::Unknown);
    claimed_at(&mut bench, DAY - 100);
    let line = bench.cancels();
    bench.undone(line, Undone::Yes);
    assert_eq!(bench.row.end, Some(End::Cancelled));
}

#[test]
fn what_was_not_sent_costs_time_but_no_try() {
    let limits = Limits { confirm: Some(2), cancel: Some(2), ..lookup().limits };
    let mut bench = lost(Rules { limits, ..lookup() });
    for _ in 0..20 {
        let question = bench.asks();
        bench.found(question, Found::NotSent);
        bench.until_due();
    }
    claimed_at(&mut bench, DAY + 10);
    let question = bench.asks();
    bench.found(question, Found::NotSent);
    assert_eq!(bench.row.end, Some(End::Stuck));

    let mut bench = Bench::to_undo(Rules { limits, ..keyed() });
    for _ in 0..20 {
        let line = bench.cancels();
        bench.undone(line, Undone::NotSent);
        bench.until_due();
    }
    claimed_at(&mut bench, DAY + 10);
    let line = bench.cancels();
    bench.undone(line, Undone::NotSent);
    assert_eq!(bench.row.end, Some(End::Stuck));
}

#[test]
fn a_number_of_tries_binds_where_it_is_set() {
    let limits = Limits { confirm: Some(2), cancel: Some(3), ..lookup().limits };
    let mut bench = lost(Rules { limits, ..lookup() });
    assert_eq!(fails_until(&mut bench, DAY), 3, "two questions, and the step that ends the row");
    assert_eq!(bench.row.end, Some(End::Stuck));
    let mut bench = Bench::to_undo(Rules { limits, ..keyed() });
    assert_eq!(fails_until(&mut bench, DAY), 4, "three cancels, and the step that ends the row");
    assert_eq!(bench.row.end, Some(End::Stuck));
}

#[test]
fn a_wait_for_the_quiet_time_is_no_failure() {
    let mut bench = lost(lookup());
    let question = bench.asks();
    bench.found(question, Found::Other);
    bench.until_due();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!(
        (bench.row.failing_since(), bench.row.next_at),
        (None, at(150)),
        "it waits for the quiet time"
    );
}

#[test]
fn an_answer_that_decides_restarts_the_time() {
    let mut bench = lost(explicit(lookup()));
    let question = bench.asks();
    bench.found(question, Found::Other);
    claimed_at(&mut bench, DAY - 10);
    // The action was not settled in time, and the provider answers only now. So the action is to be undone.
    let question = bench.asks();
    bench.found(question, Found::Applied(answer()));
    assert_eq!(
        (bench.row.goal, bench.row.known, bench.row.failing_since()),
        (Goal::Cancel, Known::Applied, None)
    );
    bench.now = at(DAY + 10);
    let line = bench.cancels();
    bench.undone(line, Undone::Unknown);
    assert_eq!((bench.row.end, bench.row.failing_since()), (None, Some(at(DAY + 10))));
}

#[test]
fn a_person_who_starts_it_again_restarts_the_time() {
    let mut bench = Bench::to_undo(keyed());
    fails_until(&mut bench, 2 * DAY);
    assert_eq!((bench.row.end, bench.row.failing_since()), (Some(End::Stuck), None));
    bench.take(retry(&bench.row, bench.now).expect("it is stuck"));
    bench.claim();
    let again = bench.now;
    let line = bench.cancels();
    bench.undone(line, Undone::Unknown);
    assert_eq!((bench.row.end, bench.row.failing_since()), (None, Some(again)));
}

#[test]
fn attempts_that_are_not_sent_do_not_use_up_the_time_of_the_questions() {
    let mut bench = Bench::new(keyed());
    let line = bench.performs();
    bench.performed(line, Performed::NotSent);
    assert_eq!((bench.row.failing_since(), bench.row.attempts), (Some(at(0)), 0));
    bench.until_due();
    let line = bench.performs();
    bench.performed(line, Performed::Unknown);
    assert_eq!(bench.row.failing_since(), Some(bench.now), "the last perform");
    bench.until_due();
    let line = bench.performs();
    bench.performed(line, Performed::Yes(answer()));
    assert_eq!((bench.row.end, bench.row.failing_since()), (Some(End::Done), None));
}
