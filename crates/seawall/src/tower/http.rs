//! The protocol of the layer for services that take requests and return responses of the crate `http`.

use http::header::{HeaderMap, RETRY_AFTER};
use http::{Method, Request, Response};
use seawall_policy::Idempotency;

use super::Protocol;
use crate::fault::Meaning;

/// The protocol of tower services that use the requests and responses of the crate `http`.
///
/// - The request's method says what a second delivery does.
/// - The HTTP status says what an answer means, together with the gRPC status if there is one.
/// - A request whose service returns an error may have taken effect.
#[derive(Clone, Copy, Debug)]
pub struct Http<C = Cloned> {
    keys: bool,
    always: Option<Idempotency>,
    copies: C,
}

/// Says how the body of a request is copied for a repeat.
pub trait BodyCopy<B> {
    /// Returns a copy of the body, or `None` if the body cannot be copied.
    fn copy(&self, body: &B) -> Option<B>;
}

/// Copies bodies by `clone`.
#[derive(Clone, Copy, Debug)]
pub struct Cloned;

impl<B: Clone> BodyCopy<B> for Cloned {
    fn copy(&self, body: &B) -> Option<B> {
        Some(body.clone())
    }
}

/// Copies no body, for bodies that stream. Without a copy, every call is made with one attempt only.
#[derive(Clone, Copy, Debug)]
pub struct Never;

impl<B> BodyCopy<B> for Never {
    fn copy(&self, _: &B) -> Option<B> {
        None
    }
}

impl Http<Cloned> {
    /// Makes the protocol for requests whose bodies can be cloned.
    #[must_use]
    pub fn new() -> Http<Cloned> {
        Http { keys: false, always: None, copies: Cloned }
    }
}

impl Default for Http<Cloned> {
    fn default() -> Self {
        Http::new()
    }
}

impl Http<Never> {
    /// Makes the protocol for requests whose bodies stream, such as those of tonic. Every call is made with one attempt
    /// only.
    #[must_use]
    pub fn streaming() -> Http<Never> {
        Http { keys: false, always: None, copies: Never }
    }
}

impl<C> Http<C> {
    /// Says that the server honours the header `Idempotency-Key`. Then a POST or PATCH with this header is repeated
    /// even if an attempt may have taken effect.
    #[must_use]
    pub fn keys(mut self) -> Http<C> {
        self.keys = true;
        self
    }

    /// Gives all requests this idempotency, whatever their method says. Use it for gRPC, where all requests are POST.
    #[must_use]
    pub fn always(mut self, idempotency: Idempotency) -> Http<C> {
        self.always = Some(idempotency);
        self
    }
}

impl<C: BodyCopy<B>, B, R, E> Protocol<Request<B>, Response<R>, E> for Http<C> {
    fn idempotency(&self, request: &Request<B>) -> Idempotency {
        self.always.unwrap_or_else(|| of_request(request.method(), request.headers(), self.keys))
    }

    fn copy(&self, request: &Request<B>) -> Option<Request<B>> {
        let mut copy = Request::new(self.copies.copy(request.body())?);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        *copy.extensions_mut() = request.extensions().clone();
        Some(copy)
    }

    fn meaning(&self, result: &Result<Response<R>, E>) -> Meaning {
        match result {
            Ok(answer) => of_head(answer.status().as_u16(), answer.headers()),
            Err(_) => Meaning::unknown(),
        }
    }
}

/// Returns what a second delivery of a request does, from the request's method and its `Idempotency-Key`. `keys` says
/// whether the server honours keys.
pub(super) fn of_request(method: &Method, headers: &HeaderMap, keys: bool) -> Idempotency {
    let keyed =
        keys && matches!(*method, Method::POST | Method::PATCH) && headers.contains_key("idempotency-key");
    if keyed { Idempotency::Keyed } else { Idempotency::of_method(method.as_str()) }
}

/// Says what an answer means, from its head.
pub(super) fn of_head(status: u16, headers: &HeaderMap) -> Meaning {
    let grpc = headers.get("grpc-status").filter(|_| status == 200);
    let status = grpc.and_then(|code| code.to_str().ok()).map_or(status, of_grpc);
    let meaning = Meaning::of_status(status);
    if !headers.contains_key(RETRY_AFTER) {
        return meaning;
    }
    match seawall_client::come_back(headers, std::time::SystemTime::now()) {
        Some(wait) => meaning.retry_after(wait),
        None => meaning,
    }
}

/// Returns the HTTP status that says the same of the effect as this gRPC code.
///
/// `UNAVAILABLE` becomes 503, which leaves the effect unknown. It does not prove that nothing was done: a server sends
/// it before it begins the work, but a proxy also sends it when it has lost the answer of a server that did the work.
fn of_grpc(code: &str) -> u16 {
    match code {
        "0" => 200,
        // INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION, OUT_OF_RANGE,
        // UNIMPLEMENTED and UNAUTHENTICATED are a definite "no": the call took no effect.
        "3" | "5" | "6" | "7" | "9" | "11" | "12" | "16" => 400,
        // RESOURCE_EXHAUSTED
        "8" => 429,
        // ABORTED: this request conflicted with another one, and it is not known which of the two took effect.
        "10" => 409,
        // UNAVAILABLE
        "14" => 503,
        // DEADLINE_EXCEEDED
        "4" => 504,
        // CANCELLED, UNKNOWN, INTERNAL, DATA_LOSS, and codes of later versions.
        _ => 500,
    }
}
