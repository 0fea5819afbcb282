//! One request, from its head to its answer, top to bottom.

use std::convert::Infallible;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use hyper::body::Incoming;
use seawall_client::{CallRequest, Outcome, draw};
use seawall_policy::{Ending, Reason, Time, Wish};

use crate::gate::Kept;
use crate::headers::{Kinds, Said, has_key, join_cookies, strip_hop, strip_ours, take_said};
use crate::inbound::{self, Pace, Taken, TooLarge};
use crate::operations::Found;
use crate::outbound::{ReplyBody, Ticket};
use crate::paths::Readings;
use crate::reply::{Problem, REASON, put_verdict, status};
use crate::running::CompiledDependency;
use crate::streams::Exchange;
use crate::worker::{Door, Worker};

/// Answers one request.
pub(crate) async fn handle(
    worker: Arc<Worker>,
    door: Arc<Door>,
    exchange: Exchange,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Infallible> {
    #[cfg(test)]
    crate::stopwatch::head_parsed(exchange.caller());
    let http1 = request.version() < Version::HTTP_2;
    let asks_head = request.method() == Method::HEAD;
    let (mut response, unfinished) = match answer(&worker, &door, &exchange, request).await {
        Ok(response) => {
            let stalled = says(&response, Reason::CallerStalled);
            (response, stalled)
        }
        Err(problem) => {
            worker.running.refusals.note(&problem);
            exchange.refused(|| worker.running.clock.now());
            let unfinished = matches!(problem.reason, Reason::BadRequest | Reason::CallerStalled);
            (problem.into_response(), unfinished)
        }
    };
    if let Some(stream) = exchange.stream() {
        response.body_mut().goes_out_on(stream);
    }
    if asks_head {
        // hyper leaves it out on HTTP/1 and would send it on HTTP/2.
        without_body(&mut response);
    }
    // What follows a malformed or unfinished request may be part of it.
    if http1 && (unfinished || worker.running.is_draining()) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Whether it is an answer of our own with this reason.
fn says(response: &Response<ReplyBody>, reason: Reason) -> bool {
    response.status() == status(reason)
        && response.headers().get(REASON).is_some_and(|said| said.as_bytes() == reason.as_str().as_bytes())
}

/// The answer to a HEAD: it tells the length of the body, and has none.
fn without_body(response: &mut Response<ReplyBody>) {
    if let Some(length) = response.body_mut().take_own() {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

async fn answer(
    worker: &Arc<Worker>,
    door: &Door,
    exchange: &Exchange,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Problem> {
    let (mut head, body) = request.into_parts();
    may_pass(door, exchange, &head)?;
    let routes = worker.routes();
    let (index, path) = door.route(&routes, head.uri.path_and_query())?;
    let compiled = &routes.compiled.dependencies[index];
    #[cfg(test)]
    crate::panics::demanded(&compiled.settings.name, "head");
    let refused = |why: &'static str| in_words(compiled, Reason::BadRequest, why);
    let readings = Readings::of(path.path());
    if readings.climb_out() {
        return Err(refused("the path could be read as one that leads above its beginning (`..`)"));
    }
    let kinds = Kinds::of(&head.headers);
    if kinds.via && compiled.via.is_in(&head.headers) {
        return Err(refused(
            "a loop: this request passed here before, on its way to the same dependency (Via)",
        ));
    }
    let said = match kinds.ours {
        true => take_said(&mut head.headers).map_err(|why| in_words(compiled, Reason::BadRequest, why))?,
        false => Said::default(),
    };
    // What follows is decided on what goes out, not on what came in.
    pass_on(&mut head.headers, kinds, head.version);
    let keyed = kinds.key && has_key(&head.headers).map_err(refused)?;
    let operation = compiled.operations.find(&head.method, &readings, keyed, &head.headers);

    // Answers that come too late to be heard are no use to anybody.
    let leaving = worker.running.leaving();
    if leaving.is_some_and(|leaving| worker.running.clock.now() >= leaving.begin_by) {
        let why = "the gateway is about to end, and takes no new calls";
        return Err(in_words(compiled, Reason::Draining, why));
    }
    let by = leaving.map(|leaving| leaving.end_by);
    let wish = Wish { within: said.within, by, no_repeats: said.no_repeats };
    let end_by = end_of(worker, &operation.plan, &wish);
    exchange.call_begins(end_by);
    let limits = &routes.compiled.settings.gateway.limits;
    let pace = Pace::new(worker.running.clock, limits.header_time, end_by);
    let limit = limits.body;
    let taken = inbound::take(head.version, &head.headers, body, operation.keep, limit, pace).await;
    let (body, too_large) = match taken {
        Taken::Body(body, too_large) => (body, too_large),
        Taken::TooLarge => {
            let limit = limit.unwrap_or(u64::MAX);
            let why = format!("the body is longer than `gateway.limits.body` allows, {limit} bytes");
            return Err(in_words(compiled, Reason::BodyTooLarge, why));
        }
        Taken::Stalled(why) => return Err(in_words(compiled, Reason::CallerStalled, why)),
        Taken::Broken => return Err(in_words(compiled, Reason::BadRequest, "the body broke off")),
    };

    // The call's own time begins now: what the body took to come is none of it.
    let end_by = if kinds.body { end_of(worker, &operation.plan, &wish) } else { end_by };
    exchange.call_begins(end_by);
    let mut ticket = Ticket::new(compiled, worker, exchange);
    let Found { plan, keep, keys } = operation;
    let via = Some(compiled.via.entry(head.version));
    let call = CallRequest { method: head.method, path, headers: head.headers, via, body, keep, keys };
    let outcome = routes.dependencies[index].call(&plan, call, wish).await;
    compiled.counters[worker.index].ended(outcome.finish.effect, outcome.reason(), outcome.finish.attempts);
    ticket.ended(outcome.finish.effect);
    #[cfg(test)]
    crate::panics::demanded(&compiled.settings.name, "call");
    Ok(reply(worker, compiled, outcome, &too_large, (end_by, by), ticket))
}

/// Whether the head has one reading, asks for something that is passed on, and may come in by this door.
fn may_pass(door: &Door, exchange: &Exchange, head: &Parts) -> Result<(), Problem> {
    let caller = exchange.caller();
    if head.version < Version::HTTP_2 && caller.next_is_doubtful() {
        return Err(bad_request(match caller.sent_fragment() {
            true => "the target has a fragment (`#`), which is never sent; in a path it is written %23",
            false => "where the request ends can be read in two ways, or in none",
        }));
    }
    if head.method == Method::CONNECT {
        return Err(bad_request("CONNECT is not passed on: this is no forward proxy"));
    }
    if head.method == Method::TRACE {
        return Err(bad_request(
            "TRACE is not passed on: its answer would show the credentials that are added here",
        ));
    }
    if head.headers.len() > MOST_FIELDS {
        return Err(bad_request("the head has more fields than are taken"));
    }
    door.gate.admit(head.version, &head.uri, &head.headers).map_err(|kept| match kept {
        Kept::Malformed(why) => bad_request(why),
        Kept::Outside(why) => Problem::refused(Reason::CallerRefused, None, why),
    })
}

/// The most fields of a head that are taken, whatever `gateway.limits` allows: a map of headers that is full refuses ours.
const MOST_FIELDS: usize = 10_000;

/// The caller's headers as the dependency gets them.
fn pass_on(headers: &mut HeaderMap, kinds: Kinds, version: Version) {
    strip_hop(headers, kinds);
    if kinds.cookie && version >= Version::HTTP_2 {
        join_cookies(headers);
    }
    if kinds.body {
        headers.remove(CONTENT_LENGTH);
        // Answered here: the caller's body is asked for when it is needed.
        headers.remove(EXPECT);
    }
}

fn reply(
    worker: &Worker,
    compiled: &Arc<CompiledDependency>,
    outcome: Outcome,
    too_large: &TooLarge,
    (end_by, leaves_by): (Time, Option<Time>),
    ticket: Ticket,
) -> Response<ReplyBody> {
    let reason = outcome.reason();
    let Outcome { finish, answer, ending, detail } = outcome;
    if let Some(answer) = answer {
        let (mut head, body) = answer.into_parts();
        let kinds = Kinds::of(&head.headers);
        strip_hop(&mut head.headers, kinds);
        if kinds.ours {
            strip_ours(&mut head.headers);
        }
        put_verdict(&mut head.headers, &finish);
        return Response::from_parts(head, ReplyBody::passed(body, ticket));
    }
    let callers = matches!(ending, Some(Ending::CallerLeft { .. }));
    // Its own deadline passed while a connection was made, before a byte was sent.
    let late =
        matches!(ending, Some(Ending::CallerLeft { sent: false })) && worker.running.clock.now() >= end_by;
    let reason = match reason {
        _ if too_large.is_set() => Reason::BodyTooLarge,
        _ if late => Reason::NoTimeLeft,
        _ if callers => Reason::BadRequest,
        Some(reason) => reason,
        None => Reason::ConnectionLost,
    };
    let reason = match reason {
        Reason::NoTimeLeft if leaves_by == Some(end_by) => Reason::Draining,
        reason => reason,
    };
    let refusal = finish.refusal;
    let now = worker.running.clock.now();
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
    };
    worker.running.refusals.note(&problem);
    let mut response = problem.into_response();
    response.body_mut().ends(ticket);
    response
}

/// A guard's "no", in words.
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
                None => format!("endpoint {endpoint} is not called for now: an operator said so"),
            },
            Reason::CoolingDown => "the provider asked to come back later, and it is not yet time".to_owned(),
            Reason::ConcurrencyLimit if guards.keys().1 > 0 => {
                "as many calls of this key are in flight as may be".to_owned()
            }
            Reason::ConcurrencyLimit => {
                format!("{} calls are in flight, the limit is {}", limit.in_flight, limit.limit)
            }
            Reason::QueueFull => format!("{} calls wait already, as many as may", limit.queue),
            Reason::QueueTimeout => "no place came free while it waited".to_owned(),
            Reason::NoTimeLeft => "the caller's deadline has passed".to_owned(),
            Reason::Draining => "the gateway ends before the call could begin".to_owned(),
            _ => String::new(),
        }
    })
}

/// When a call must be over at the latest, for whoever looks after the connection.
fn end_of(worker: &Worker, plan: &seawall_policy::Plan, wish: &Wish) -> Time {
    let total = match (plan.timeouts.total, wish.within) {
        (Some(total), Some(within)) => Some(total.min(within)),
        (total, within) => total.or(within),
    };
    let end_by = total.map_or(Time::NEVER, |total| worker.running.clock.now().saturating_add(total));
    end_by.min(wish.by.unwrap_or(Time::NEVER))
}

fn bad_request(why: &str) -> Problem {
    Problem::refused(Reason::BadRequest, None, why)
}

fn in_words(compiled: &CompiledDependency, reason: Reason, why: impl Into<String>) -> Problem {
    Problem::refused(reason, Some(&compiled.settings.name), why)
}

/// The part of a path behind its first segment, and that segment.
pub(crate) fn split_prefix(path: &PathAndQuery) -> Option<(&str, PathAndQuery)> {
    let text = path.as_str().strip_prefix('/')?;
    let end = text.find(['/', '?']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = match rest.as_bytes().first() {
        Some(b'/') => PathAndQuery::try_from(rest),
        _ => PathAndQuery::try_from(format!("/{rest}")),
    };
    Some((name, rest.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_segment_names_the_dependency() {
        for (path, name, rest) in [
            ("/pay/v1/charges?x=1", "pay", "/v1/charges?x=1"),
            ("/pay", "pay", "/"),
            ("/pay/", "pay", "/"),
            ("/pay?x=1", "pay", "/?x=1"),
            ("/pay//a", "pay", "//a"),
            ("/", "", "/"),
        ] {
            let path = PathAndQuery::from_static(path);
            let (found, behind) = split_prefix(&path).unwrap();
            assert_eq!((found, behind.as_str()), (name, rest));
        }
    }
}
