//! Makes the answer to a request: the dependency's answer with headers that say what is known of the effect, or an
//! answer of our own.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use seawall_client::{Outcome, draw};
use seawall_policy::{Ending, Finish, Reason, Time};

use super::headers::{Kinds, strip_hop, strip_ours};
use super::reply_body::{ReplyBody, Underway};
use super::request_body::TooLarge;
use crate::problem::Problem;
use crate::problem::message::put_facts;
use crate::problem::reasons::status;
use crate::running::compiled::CompiledDependency;
use crate::running::router::Router;

/// Makes the answer to a request whose call has ended. `end_by` is the time by which the call had to be over.
/// `leaves_by` is the time by which a drain ends all calls; `None` if the gateway does not drain.
pub(crate) fn reply(
    router: &Router,
    compiled: &Arc<CompiledDependency>,
    outcome: Outcome,
    too_large: &TooLarge,
    (end_by, leaves_by): (Time, Option<Time>),
    underway: Underway,
) -> Response<ReplyBody> {
    let told = outcome.reason();
    let Outcome { finish, answer, ending, detail } = outcome;
    if let Some(answer) = answer {
        let (mut head, body) = answer.into_parts();
        let kinds = Kinds::of(&head.headers);
        strip_hop(&mut head.headers, kinds);
        if kinds.ours {
            strip_ours(&mut head.headers);
        }
        put_verdict(&mut head.headers, &finish);
        return Response::from_parts(head, ReplyBody::passed(body, underway));
    }
    let now = router.running.clock.now();
    let reason = reason(&Unanswered {
        told,
        ending,
        too_large: too_large.is_set(),
        past_its_end: now >= end_by,
        drain_ends_it: leaves_by == Some(end_by),
    });
    let refusal = finish.refusal;
    let problem = Problem {
        reason,
        effect: finish.effect,
        attempts: finish.attempts,
        endpoint: finish.endpoint,
        dependency: Some(compiled.settings.name.clone()),
        detail: detail.unwrap_or_else(|| refusal_detail(compiled, finish.endpoint, reason)),
        retry_after: refusal.and_then(|refusal| refusal.come_back(now, draw())),
        too_many: refusal.is_some_and(|refusal| refusal.too_many),
        stopped: finish.stopped,
        found_at: None,
    };
    router.running.refusals.note(&problem);
    let mut response = of_problem(problem);
    response.body_mut().ends(underway);
    response
}

/// Makes the answer that describes this problem to the caller.
pub(crate) fn of_problem(problem: Problem) -> Response<ReplyBody> {
    let status = if problem.too_many { StatusCode::TOO_MANY_REQUESTS } else { status(problem.reason) };
    let (headers, body) = problem.tell(status);
    let mut response = Response::new(ReplyBody::own(Bytes::from(body)));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

fn put_verdict(headers: &mut HeaderMap, finish: &Finish) {
    put_facts(headers, finish.effect, finish.attempts, finish.endpoint, finish.stopped);
}

/// What is known of a call that ended without an answer to pass on.
#[derive(Clone, Copy)]
struct Unanswered {
    /// Why the call was refused, or why its last attempt failed. `None` if the outcome names no reason.
    told: Option<Reason>,
    ending: Option<Ending>,
    /// Whether the request's body grew longer than `gateway.limits.body` while it was passed on.
    too_large: bool,
    /// Whether the time by which the call had to be over has passed.
    past_its_end: bool,
    /// Whether the time by which the call had to be over was set by the gateway's drain.
    drain_ends_it: bool,
}

/// Returns the reason that the gateway's answer gives to the caller.
fn reason(call: &Unanswered) -> Reason {
    let no_time_left = if call.drain_ends_it { Reason::Draining } else { Reason::NoTimeLeft };
    match (call.ending, call.told) {
        _ if call.too_large => Reason::BodyTooLarge,
        // The ending says that the caller left. But what ended the attempt was the call's own deadline, which passed
        // while a connection was being made, before a byte was sent.
        (Some(Ending::CallerLeft { sent: false }), _) if call.past_its_end => no_time_left,
        (Some(Ending::CallerLeft { .. }), _) => Reason::BadRequest,
        (_, Some(Reason::NoTimeLeft)) => no_time_left,
        (_, Some(reason)) => reason,
        (_, None) => Reason::ConnectionLost,
    }
}

/// Returns, in words, why a guard refused the call. The text is empty if the reason does not come from a guard.
fn refusal_detail(compiled: &CompiledDependency, endpoint: usize, reason: Reason) -> String {
    compiled.shared.with(|guards| {
        let Some(guards) = guards.endpoint(endpoint) else { return String::new() };
        let limit = guards.limit_seen();
        match reason {
            Reason::BreakerOpen => match guards.breaker().why().map(|why| why.failures) {
                Some(failures) => format!("endpoint {endpoint} is not called for now: {failures}"),
                None if guards.keys().0 > 0 => {
                    format!("endpoint {endpoint} is not called for this key for now")
                }
                None => format!("endpoint {endpoint} is not called for now: an operator opened its breaker"),
            },
            Reason::CoolingDown => "the provider asked to come back later, and it is not yet time".to_owned(),
            Reason::ConcurrencyLimit if guards.keys().1 > 0 => {
                "as many calls of this key are in flight as are allowed".to_owned()
            }
            Reason::ConcurrencyLimit => {
                format!("{} calls are in flight, the limit is {}", limit.in_flight, limit.limit)
            }
            Reason::QueueFull => format!("{} calls wait already, as many as are allowed", limit.queue),
            Reason::QueueTimeout => "no slot came free while the call waited".to_owned(),
            Reason::NoTimeLeft => "the caller's deadline has passed".to_owned(),
            Reason::Draining => "the gateway ends before the call could begin".to_owned(),
            _ => String::new(),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use seawall_policy::{Lost, Unsent};

    use super::*;

    #[test]
    fn a_refusal_carries_its_facts_three_times() {
        let mut problem = Problem::refused(Reason::BreakerOpen, Some("payments"), "31 timeouts");
        problem.retry_after = Some(Duration::from_millis(1_200));
        let response = of_problem(problem);
        assert_eq!(response.status(), 503);
        for (name, value) in [
            ("seawall-reason", "breaker-open"),
            ("seawall-origin", "seawall"),
            ("seawall-effect", "not-applied"),
            ("seawall-attempts", "0"),
            ("retry-after", "2"),
            ("proxy-status", "seawall; error=destination_unavailable"),
            ("content-type", "application/problem+json"),
        ] {
            assert_eq!(response.headers()[name], value, "{name}");
        }
    }

    #[test]
    fn the_reason_of_each_end_without_an_answer() {
        let left = |sent| Some(Ending::CallerLeft { sent });
        let lost = Some(Ending::Lost(Lost::ReadTimeout));
        let refused = Some(Ending::Unsent(Unsent::Refused));
        let (no_time, open) = (Some(Reason::NoTimeLeft), Some(Reason::BreakerOpen));
        let read = Some(Reason::ReadTimeout);
        // The columns, in their order:
        //
        // - the reason that the outcome names
        // - the ending of the last attempt
        // - whether the body grew too large
        // - whether the time by which the call had to be over has passed
        // - whether the drain set that time
        // - the reason that the caller gets
        for (told, ending, too_large, past_its_end, drain_ends_it, expected) in [
            (open, None, false, false, false, Reason::BreakerOpen),
            (open, refused, false, true, true, Reason::BreakerOpen),
            (read, lost, false, true, false, Reason::ReadTimeout),
            (read, lost, false, true, true, Reason::ReadTimeout),
            (None, None, false, false, false, Reason::ConnectionLost),
            (no_time, None, false, true, false, Reason::NoTimeLeft),
            (no_time, None, false, true, true, Reason::Draining),
            (no_time, lost, false, true, true, Reason::Draining),
            (None, left(false), false, false, false, Reason::BadRequest),
            (None, left(true), false, false, false, Reason::BadRequest),
            (None, left(true), false, true, true, Reason::BadRequest),
            (None, left(false), false, true, false, Reason::NoTimeLeft),
            (None, left(false), false, true, true, Reason::Draining),
            (open, left(true), false, false, false, Reason::BadRequest),
            (None, left(false), true, true, true, Reason::BodyTooLarge),
            (no_time, None, true, true, true, Reason::BodyTooLarge),
            (read, lost, true, false, false, Reason::BodyTooLarge),
        ] {
            let call = Unanswered { told, ending, too_large, past_its_end, drain_ends_it };
            assert_eq!(
                reason(&call),
                expected,
                "{told:?} {ending:?} {too_large} {past_its_end} {drain_ends_it}"
            );
        }
    }
}
