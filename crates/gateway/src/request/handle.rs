//! Handles one request of a caller, from its head to its answer. The functions are in the order in which they are
//! called.

use std::convert::Infallible;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use seawall_client::CallRequest;
use seawall_policy::{Keys, Reason, Time, Wish};

use crate::callers::door::Door;
use crate::callers::exchange::Exchange;
use crate::callers::gate::Kept;
use crate::paths::Readings;
use crate::problem::Problem;
use crate::problem::message::REASON;
use crate::problem::reasons::status;
use crate::request::asked::wanted::Wanted;
use crate::request::asked::{Asking, Who};
use crate::request::durable::DurableRequest;
use crate::request::headers::{Kinds, Said, has_key, join_cookies, strip_hop, take_said};
use crate::request::reply::{of_problem, reply};
use crate::request::reply_body::{ReplyBody, Underway};
use crate::request::request_body::{self, Pace, TakenBody};
use crate::request::site::Site;
use crate::running::compiled::CompiledDependency;
use crate::running::durable::DurableOperation;
use crate::running::operations::FoundOperation;
use crate::running::router::{Router, Routes};

/// Handles one request that came through `door`, and returns the answer for its caller. This is the dependency's
/// answer, or an answer that the gateway makes itself, for example one that describes a problem. Also decides whether
/// the caller's HTTP/1 connection closes after the answer. Never fails.
pub(crate) async fn handle(
    site: Arc<Site>,
    door: Arc<Door>,
    exchange: Exchange,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Infallible> {
    let router = &site.router;
    #[cfg(test)]
    crate::callers::stopwatch::head_parsed(exchange.caller());
    let http1 = request.version() < Version::HTTP_2;
    let asks_head = request.method() == Method::HEAD;
    let (mut response, unfinished) = match answer(&site, &door, &exchange, request).await {
        Ok(response) => {
            let stalled = says(&response, Reason::CallerStalled);
            (response, stalled)
        }
        Err(problem) => {
            router.running.refusals.note(&problem);
            exchange.refused(|| router.running.clock.now());
            let unfinished = matches!(problem.reason, Reason::BadRequest | Reason::CallerStalled);
            (of_problem(problem), unfinished)
        }
    };
    if let Some(stream) = exchange.stream() {
        response.body_mut().goes_out_on(stream);
    }
    if asks_head {
        // The answer to a HEAD request must have no body. hyper leaves the body out over HTTP/1, but would send the
        // body over HTTP/2.
        without_body(&mut response);
    }
    // If the request is malformed or unfinished, the bytes that follow may be a part of it and not a new request. So
    // the connection is closed. It is also closed during a drain.
    if http1 && (unfinished || router.running.is_draining()) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Returns whether this answer was made by the gateway itself for this reason.
fn says(response: &Response<ReplyBody>, reason: Reason) -> bool {
    response.status() == status(reason)
        && response.headers().get(REASON).is_some_and(|said| said.as_bytes() == reason.as_str().as_bytes())
}

/// Turns an answer that the gateway made itself into the answer to a HEAD request: removes the body, and writes the
/// body's length into `Content-Length`. An answer of the dependency is not changed.
fn without_body(response: &mut Response<ReplyBody>) {
    if let Some(length) = response.body_mut().take_own() {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

async fn answer(
    site: &Site,
    door: &Door,
    exchange: &Exchange,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Problem> {
    let router = &site.router;
    let (mut head, body) = request.into_parts();
    let caller = may_pass(door, exchange, &head)?;
    let routes = router.routes();
    if let Some(wanted) = head.uri.path_and_query().and_then(|target| Wanted::of(&head.method, target)) {
        let who = if door.gate.names_callers() { Who::Caller(caller) } else { Who::Anyone };
        let asking = Asking { site, exchange, compiled: &routes.compiled, own: door.own(), who };
        return asking.answer(wanted, head, body).await;
    }
    let (index, path) = door.route(&routes.compiled, head.uri.path_and_query())?;
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
    // From here on, `head.headers` has the headers that the dependency gets. These headers decide whether the call is
    // keyed, and to which operation it belongs. The headers that the caller sent do not count any more.
    pass_on(&mut head.headers, kinds, head.version);
    let keyed = kinds.key && has_key(&head.headers).map_err(refused)?;
    let operation = compiled.operations.find(&head.method, &readings, keyed, &head.headers);

    // Near the end of a drain a new call is refused, because the end of the drain would probably abort it.
    let leaving = router.running.leaving();
    if leaving.is_some_and(|leaving| router.running.clock.now() >= leaving.begin_by) {
        let why = "the gateway is about to end, and takes no new calls";
        return Err(in_words(compiled, Reason::Draining, why));
    }
    let by = leaving.map(|leaving| leaving.end_by);
    let repeat_by = operation.repeat_by(router.running.clock);
    let wish = Wish { within: said.within, by, no_repeats: said.no_repeats, repeat_by };
    let end_by = latest_end(router, &operation.plan, &wish);
    exchange.ends_by(end_by);
    if let Some(durable) = operation.durable {
        let FoundOperation { plan, keys, is_doubtful, .. } = operation;
        let came = Came { caller, head, path, body, plan: &plan, keys, wish, end_by, leaves_by: by };
        return durable_call(site, exchange, (index, &routes), durable, is_doubtful, came).await;
    }
    let has_body = !body.is_end_stream();
    let limits = &routes.compiled.settings.gateway.limits;
    let pace = Pace::new(router.running.clock, limits.header_time, end_by);
    let limit = limits.body;
    let taken = request_body::take(head.version, &head.headers, body, operation.keep, limit, pace).await;
    let (body, too_large) = match taken {
        TakenBody::Body(body, too_large) => (body, too_large),
        other => return Err(not_taken(compiled, other, "gateway.limits.body", limit.unwrap_or(u64::MAX))),
    };

    // The time limit of the call begins now. So the time for which the gateway waited for the body does not count.
    let end_by = if has_body {
        let later = latest_end(router, &operation.plan, &wish);
        exchange.ends_by(later);
        later
    } else {
        end_by
    };
    let mut underway = Underway::new(compiled, router, exchange);
    let FoundOperation { plan, keep, keys, .. } = operation;
    let via = Some(compiled.via.entry(head.version));
    let call = CallRequest { method: head.method, path, headers: head.headers, via, body, keep, keys };
    let outcome = routes.dependencies[index].call(&plan, call, wish).await;
    compiled.counters[router.index].ended(outcome.finish.effect, outcome.reason(), outcome.finish.attempts);
    underway.ended(outcome.finish.effect);
    #[cfg(test)]
    crate::panics::demanded(&compiled.settings.name, "call");
    Ok(reply(router, compiled, outcome, &too_large, (end_by, by), underway))
}

/// A request whose head was read, and whose body was not.
struct Came<'a> {
    caller: Option<Arc<str>>,
    plan: &'a seawall_policy::Plan,
    head: Parts,
    path: PathAndQuery,
    body: Incoming,
    keys: Keys,
    wish: Wish,
    end_by: Time,
    leaves_by: Option<Time>,
}

/// Answers a request for a durable operation. Its body is read whole before anything is recorded. `is_doubtful` says
/// whether some servers may read the request's path as another path. Then the request is refused, because its record
/// would rely on this operation's idempotency, and another one may hold for the other path.
async fn durable_call(
    site: &Site,
    exchange: &Exchange,
    (index, routes): (usize, &Routes),
    operation: &Arc<DurableOperation>,
    is_doubtful: bool,
    came: Came<'_>,
) -> Result<Response<ReplyBody>, Problem> {
    let (router, compiled) = (&site.router, &routes.compiled.dependencies[index]);
    let Came { caller, plan, head, path, body, keys, wish, end_by, leaves_by } = came;
    if is_doubtful {
        let why = "the path can be read in two ways, and only one of them leads to this durable operation";
        return Err(in_words(compiled, Reason::BadRequest, why));
    }
    let settings = &routes.compiled.settings;
    let own = settings.ledger.request_max as u64;
    let (limit, setting) = match settings.gateway.limits.body {
        Some(limit) if limit < own => (limit, "gateway.limits.body"),
        Some(_) | None => (own, "ledger.request_max"),
    };
    let pace = Pace::new(router.running.clock, settings.gateway.limits.header_time, end_by);
    let has_body = !body.is_end_stream();
    let taken = request_body::take_whole(head.version, &head.headers, body, limit, pace).await;
    let body = taken.map_err(|taken| not_taken(compiled, taken, setting, limit))?;
    let end_by = if has_body {
        let later = latest_end(router, plan, &wish);
        exchange.ends_by(later);
        later
    } else {
        end_by
    };
    let wish = Wish { by: Some(end_by), ..wish };
    let underway = Underway::new(compiled, router, exchange);
    let client = Arc::clone(&routes.dependencies[index]);
    let via = Some(compiled.via.entry(head.version));
    let request = DurableRequest {
        router,
        room: &site.room,
        compiled,
        client,
        operation,
        caller,
        head,
        path,
        body,
        via,
        keys,
        wish,
        end_by,
        leaves_by,
    };
    request.answer(underway).await
}

/// Returns the problem of a request whose body was not taken. `limit` is the maximum length of a body in bytes, and
/// `setting` is the name of the setting that has this limit.
fn not_taken(compiled: &CompiledDependency, taken: TakenBody, setting: &str, limit: u64) -> Problem {
    let (reason, why) = taken.refusal(&format!("`{setting}` allows, {limit} bytes"));
    in_words(compiled, reason, why)
}

/// Returns the caller's name, or a problem if the request must be refused because of its head. The name is `None` if no
/// token is wanted, or if the caller's token has no name. A request is refused in these cases:
///
/// - Over HTTP/1, a proxy before the gateway may have read the request in another way (for example as two requests), or
///   the request's target has a `#`.
/// - Its method is `CONNECT` or `TRACE`.
/// - It has more than [`MOST_FIELDS`] header fields.
/// - The gate of this door does not accept it: its host, its origin or its token is wrong.
fn may_pass(door: &Door, exchange: &Exchange, head: &Parts) -> Result<Option<Arc<str>>, Problem> {
    let caller = exchange.caller();
    if head.version < Version::HTTP_2 && caller.next_is_doubtful() {
        return Err(bad_request(match caller.sent_fragment() {
            true => "the target has a fragment (`#`), which is never sent; in a path it is written %23",
            false => "the end of the request can be read in two ways, or in none",
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

/// The maximum number of header fields in a request, even if `gateway.limits` allows more. A header map has a maximum
/// size, and the gateway must still be able to add fields of its own.
const MOST_FIELDS: usize = 10_000;

/// Changes the caller's headers into those that the dependency gets. Removes the fields that are meant only for the
/// gateway or for the caller's connection, and joins the cookie lines of HTTP/2 into one. `kinds` says which fields the
/// caller sent.
fn pass_on(headers: &mut HeaderMap, kinds: Kinds, version: Version) {
    strip_hop(headers, kinds);
    if kinds.cookie && version >= Version::HTTP_2 {
        join_cookies(headers);
    }
    if kinds.body {
        headers.remove(CONTENT_LENGTH);
        // The gateway answers `Expect: 100-continue` itself: when the gateway begins to read the body, the caller is
        // asked to send it.
        headers.remove(EXPECT);
    }
}

/// Returns the time by which a call that begins now must be over, or [`Time::NEVER`] if nothing bounds it. Three things
/// can bound it, and the earliest one counts:
///
/// - the plan's `total` time,
/// - the time that the caller allows,
/// - the end of a drain.
fn latest_end(router: &Router, plan: &seawall_policy::Plan, wish: &Wish) -> Time {
    let total = match (plan.timeouts.total, wish.within) {
        (Some(total), Some(within)) => Some(total.min(within)),
        (total, within) => total.or(within),
    };
    let end_by = total.map_or(Time::NEVER, |total| router.running.clock.now().saturating_add(total));
    end_by.min(wish.by.unwrap_or(Time::NEVER))
}

fn bad_request(why: &str) -> Problem {
    Problem::refused(Reason::BadRequest, None, why)
}

fn in_words(compiled: &CompiledDependency, reason: Reason, why: impl Into<String>) -> Problem {
    Problem::refused(reason, Some(&compiled.settings.name), why)
}
