//! Calls whose request is made after the guards have let them pass.

use super::tests::Diary;
use super::*;
use crate::ending::Rules;
use crate::idempotency::Idempotency;

const NOW: Time = Time::from_millis(1_000);
const LATER: Time = Time::from_millis(1_500);

/// Begins a call at the time `NOW`. Its plan gives it a total timeout of 2 s. `within` is the caller's own, shorter
/// limit; `None` if the caller has set none.
fn begun(within: Option<Duration>) -> (Plan, Diary, Call, Step) {
    let mut plan = Plan::new(Rules::of(Idempotency::Keyed), 2);
    plan.timeouts.total = Some(Duration::from_secs(2));
    plan.timeouts.connect = Duration::from_secs(1);
    let mut guards = Diary::new();
    let (call, step) = Call::begin(&plan, Wish { within, ..Wish::default() }, &mut guards, NOW);
    (plan, guards, call, step)
}

#[test]
fn connect_counts_from_the_prepared_request_and_the_total_from_the_beginning() {
    for (within, end_by, connect_by) in [(None, 3_000, 2_500), (Some(1_200), 2_200, 2_200)] {
        let (plan, mut guards, mut call, step) = begun(within.map(Duration::from_millis));
        let Step::Send(first) = step else { panic!("{step:?}") };
        let step = call.prepared(&plan, &mut guards, LATER);
        let Step::Send(then) = step else { panic!("{step:?}") };
        let (end_by, connect_by) = (Time::from_millis(end_by), Time::from_millis(connect_by));
        assert_eq!((first.end_by, then.end_by, then.connect_by), (end_by, end_by, connect_by));
        assert_eq!(then, Attempt { connect_by, own_connect_by: Time::from_millis(2_500), ..first });
        // The time of the attempt, which tells the breaker how slow it was, also counts from `LATER`, when the request
        // was ready.
        call.abandon(&plan, &mut guards, LATER);
        assert_eq!(guards.waited, [Duration::ZERO]);
    }
}

#[test]
fn nothing_is_sent_if_the_time_is_over_when_the_request_is_ready() {
    for within in [None, Some(Duration::from_millis(500))] {
        let (plan, mut guards, mut call, _) = begun(within);
        let step = call.prepared(&plan, &mut guards, call.end_by());
        let Step::Finish(finish) = step else { panic!("{step:?}") };
        assert_eq!(finish.refusal.map(|no| no.reason), Some(Reason::NoTimeLeft));
        assert_eq!((finish.effect, finish.attempts, finish.endpoint), (Effect::NotApplied, 0, 0));
        assert_eq!((guards.out, &guards.evidence[..]), (0, &[(0, None)][..]));
        assert_eq!(guards.asked, ["admit"], "the budget neither earns nor pays");
    }
}

#[test]
fn an_unused_permit_is_given_back_once() {
    let (plan, mut guards, mut call, _) = begun(None);
    call.unused(&mut guards, LATER);
    call.unused(&mut guards, LATER);
    call.abandon(&plan, &mut guards, LATER);
    assert_eq!((guards.out, &guards.evidence[..], guards.waited.len()), (0, &[(0, None)][..], 0));
}
