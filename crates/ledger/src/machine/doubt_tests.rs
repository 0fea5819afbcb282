//! Tests of a database clock that has jumped: what waits for the end of the doubt, and what goes on.

use std::time::Duration;

use seawall_policy::Idempotency;

use super::bench::{Bench, DAY, at, explicit, keyed, lookup, void};
use super::{
    AttemptKind, Back, CancelKind, CancelRules, ConfirmRules, End, Found, Goal, Known, NotApplied, Performed,
    Rules, Step, Undone,
};
use crate::calendar::{Lifetime, Window};

/// How long the doubt lasts with the default rules: a quiet time of 120 s and an attempt of 30 s.
const DOUBT: Duration = Duration::from_secs(150);

/// By how much the clock jumps.
const JUMP: Duration = Duration::from_secs(600);

impl Bench {
    /// Sets the clock ahead. After that, the row cannot tell how much time has really passed.
    fn jumps_ahead(&mut self) {
        self.now = self.now.saturating_add(JUMP);
        self.doubt = Some(DOUBT);
    }

    /// Sets the clock back.
    fn jumps_back(&mut self) {
        self.back = self.back.jumped(-600_000_000, self.now);
        self.now = self.now.saturating_sub(JUMP);
        self.doubt = Some(DOUBT);
    }

    /// Lets time pass until the time can be relied on again, and claims the row.
    fn doubt_passes(&mut self) {
        self.now = self.now.saturating_add(DOUBT);
        self.doubt = None;
        self.claim_over();
    }

    /// Checks that the row rests until the time can be relied on again, without any other change.
    fn rests_until_the_doubt_is_over(&mut self) {
        let before = (self.row.goal, self.row.known, self.row.end);
        assert_eq!(self.step(), Step::Leave);
        assert_eq!((self.row.goal, self.row.known, self.row.end), before);
        assert_eq!(self.row.due_at(), Some(self.now.saturating_add(DOUBT)));
    }
}

/// Makes a row whose only attempt got no answer. After that, the clock has jumped ahead.
fn lost(rules: Rules) -> Bench {
    let mut bench = Bench::new(rules);
    let line = bench.performs();
    bench.performed(line, Performed::Unknown);
    bench.jumps_ahead();
    bench.claim_over();
    bench
}

#[test]
fn not_found_is_not_believed_until_the_doubt_is_over() {
    let mut bench = lost(lookup());
    // By the clock, which has jumped ahead, the quiet time of 120 s is over.
    assert!(bench.row.quiet_until().unwrap() < bench.now);
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!((bench.row.known, bench.row.end), (Known::Unknown, None));
    assert_eq!(bench.row.due_at(), Some(bench.now.saturating_add(DOUBT)));
    // A question that was asked while the time was in doubt proves nothing, even if its answer comes later.
    bench.claim_over();
    let question = bench.asks();
    bench.doubt = None;
    bench.found(question, Found::Absent);
    assert_eq!(bench.row.known, Known::Unknown);
    bench.doubt_passes();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!(bench.row.known, Known::NotApplied(NotApplied::Absent));
}

#[test]
fn a_question_that_was_asked_before_the_jump_proves_nothing_while_the_doubt_lasts() {
    let mut bench = Bench::new(lookup());
    let line = bench.performs();
    bench.performed(line, Performed::Unknown);
    bench.now = at(200);
    bench.claim_over();
    let question = bench.asks();
    assert!(question.sure);
    bench.jumps_back();
    bench.found(question, Found::Absent);
    assert_eq!(bench.row.known, Known::Unknown);
}

#[test]
fn what_was_found_is_believed_immediately() {
    let mut bench = lost(lookup());
    let question = bench.asks();
    bench.found(question, Found::Applied(None));
    assert_eq!(bench.row.end, Some(End::Done));
}

#[test]
fn no_deadline_to_settle_passes_in_doubt() {
    let mut bench = Bench::new(explicit(keyed()));
    let line = bench.performs();
    bench.jumps_ahead();
    bench.performed(line, Performed::Yes(None));
    bench.rests_until_the_doubt_is_over();
    assert_eq!(bench.row.goal, Goal::Perform);
    bench.doubt_passes();
    assert!(matches!(bench.step(), Step::Cancel(_)), "the deadline has passed on the new clock");
}

#[test]
fn nothing_is_given_up_in_doubt_and_what_was_never_sent_is_sent() {
    let mut bench = Bench::new(keyed());
    bench.jumps_ahead();
    assert!(matches!(bench.step(), Step::Perform(_)));
    // This action has a deadline to settle, which seems to have passed since the clock jumped. While the time is in
    // doubt, nobody knows whether it has passed. So the action is not cancelled, and it is not sent either. It rests.
    let mut bench = Bench::new(explicit(keyed()));
    bench.jumps_ahead();
    bench.rests_until_the_doubt_is_over();
}

#[test]
fn nothing_is_sent_again_under_a_key_in_doubt() {
    let mut bench = lost(keyed());
    bench.rests_until_the_doubt_is_over();
    bench.doubt_passes();
    assert!(matches!(bench.step(), Step::Perform(_)));
    // An action that was believed absent before the jump is not sent again either, until the doubt is over.
    let mut bench = Bench::new(Rules { confirm: Some(ConfirmRules::default()), ..keyed() });
    let line = bench.performs();
    bench.performed(line, Performed::Unknown);
    bench.now = at(200);
    bench.claim_over();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!(bench.row.known, Known::Never);
    bench.jumps_ahead();
    bench.rests_until_the_doubt_is_over();
}

#[test]
fn an_idempotent_request_without_a_key_is_sent_again_in_doubt() {
    let mut bench = lost(Rules::of(Idempotency::Idempotent));
    let again = bench.performs();
    // It is not certain that the quiet time is over, so the first attempt may still arrive. So if the second attempt is
    // refused, the refusal does not prove that the first one took no effect.
    assert!(!again.after_quiet);
}

#[test]
fn a_key_lives_shorter_after_a_jump_back() {
    let rules = Rules { key_lifetime: Some(Lifetime::For(Duration::from_secs(3600))), ..keyed() };
    let mut bench = Bench::new(rules);
    let line = bench.performs();
    bench.performed(line, Performed::Unknown);
    bench.now = at(3000);
    bench.jumps_back();
    bench.doubt_passes();
    // The clock was set back by 600 s and shows 2550 s. By this clock, a key that lives for 3600 s would live for 1050
    // s more. But 3150 s have really passed since the first send, so it lives for only 450 s more.
    let mut later = Bench { now: at(2960), ..bench };
    let mut soon = Bench { row: later.row.clone(), rules: later.rules.clone(), ..Bench::new(keyed()) };
    (soon.now, soon.back) = (at(2950), later.back);
    assert!(matches!(soon.step(), Step::Perform(_)), "2950 + 600 + 40 < 3600");
    assert_eq!(later.step(), Step::Leave);
    assert_eq!(later.row.end, Some(End::Stuck), "2960 + 600 + 40 = 3600");
}

#[test]
fn the_window_for_questions_ends_earlier_after_a_jump_back() {
    let window = Some(Window::For(Duration::from_secs(3600)));
    let confirm = Some(ConfirmRules { until: window, ..ConfirmRules::default() });
    let mut bench = Bench::new(Rules { confirm, ..lookup() });
    let line = bench.performs();
    bench.performed(line, Performed::Unknown);
    bench.now = at(3200);
    bench.jumps_back();
    bench.claim_over();
    assert!(matches!(bench.plan(), Step::Ask(_)));
    bench.now = at(3000);
    bench.rests_until_the_doubt_is_over();
    bench.doubt_passes();
    assert_eq!(bench.step(), Step::Leave);
    assert_eq!(bench.row.end, Some(End::Stuck));
}

#[test]
fn no_cancel_that_adds_up_is_repeated_in_doubt() {
    let cancel = CancelRules { kind: CancelKind::Additive, keyed: true, ..void() };
    for rules in [
        Rules { cancel: Some(cancel.clone()), ..keyed() },
        Rules { cancel: Some(CancelRules { keyed: false, ..cancel }), ..lookup() },
    ] {
        let mut bench = Bench::to_undo(rules);
        let line = bench.cancels();
        assert_eq!(line.kind, AttemptKind::Cancel);
        bench.undone(line, Undone::Unknown);
        bench.jumps_ahead();
        bench.claim_over();
        bench.rests_until_the_doubt_is_over();
    }
}

#[test]
fn no_such_charge_is_not_believed_in_doubt() {
    let mut bench = Bench::new(Rules { cancel: Some(void()), ..Rules::of(Idempotency::None) });
    let line = bench.performs();
    bench.app_cancels();
    bench.performed(line, Performed::Unknown);
    bench.jumps_ahead();
    bench.claim_over();
    let cancel = bench.cancels();
    assert!(!cancel.after_quiet);
    bench.undone(cancel, Undone::NoSuch);
    assert_eq!((bench.row.known, bench.row.end), (Known::Unknown, None));
    assert_eq!(bench.row.due_at(), Some(bench.now.saturating_add(DOUBT)));
    bench.doubt_passes();
    let cancel = bench.cancels();
    bench.undone(cancel, Undone::NoSuch);
    assert_eq!(bench.row.end, Some(End::Cancelled));
}

#[test]
fn a_question_after_the_end_is_asked_again_after_the_doubt() {
    let mut bench = Bench::new(lookup());
    bench.lost_attempt();
    bench.now = at(200);
    bench.claim_over();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!(bench.row.end, Some(End::Failed));
    bench.now = bench.now.saturating_add(DAY);
    bench.doubt = Some(DOUBT);
    bench.row.claim = None;
    bench.claim();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!(bench.row.audit_at, Some(bench.now.saturating_add(DOUBT)));
}

#[test]
fn a_second_jump_adds_to_the_first() {
    let first = Back::default().jumped(-600_000_000, at(1000));
    assert_eq!(first.jumped(-1_000_000, at(2000)).before, at(2000));
}

#[test]
fn what_was_written_before_the_clock_was_set_back_does_not_sleep_until_the_old_time() {
    const AHEAD: i64 = 500;
    let mut bench = Bench::new(lookup());
    bench.now = at(AHEAD);
    bench.lost_attempt();
    bench.now = at(10);
    let set_back = |bench: &Bench| super::set_back(&bench.row, &bench.rules, bench.time());
    assert_eq!(set_back(&bench), None, "no jump was seen");
    bench.back = Back::default().jumped(-490_000_000, at(AHEAD));
    bench.doubt = Some(Duration::from_secs(1));
    assert_eq!(set_back(&bench), None, "the time is in doubt");
    bench.doubt = None;
    // The row has a claim that was made before the clock was set back. The correction lets it end one lease from now.
    bench.lease_until(at(AHEAD + 100));
    let write = set_back(&bench).expect("its times are too late");
    bench.take(write);
    assert_eq!((bench.row.next_at, bench.row.leased_until()), (at(10), Some(at(10 + 120))));
    assert_eq!(bench.row.quiet_until(), Some(at(10 + 30 + 120)));
    assert_eq!(set_back(&bench), None, "once is enough");
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!((bench.row.known, bench.row.next_at), (Known::Unknown, at(160)));
    bench.until_due();
    let question = bench.asks();
    bench.found(question, Found::Absent);
    assert_eq!(bench.row.end, Some(End::Failed));
}

#[test]
fn a_clock_that_was_set_back_moves_no_deadline_and_no_key() {
    let mut bench = Bench::new(explicit(keyed()));
    bench.lost_attempt();
    bench.now = at(10);
    bench.back = Back::default().jumped(-3_600_000_000, at(3700));
    bench.row.next_at = at(3600);
    let before = bench.row.clone();
    let write = super::set_back(&bench.row, &bench.rules, bench.time()).expect("it rests for too long");
    bench.take(write);
    let fixed = |row: &super::State| {
        let row = row.row();
        (row.settle_by, row.first_sent_at, row.key_ends_at, row.open_attempts, row.effect, row.fence)
    };
    assert_eq!(fixed(&bench.row), fixed(&before));
}
