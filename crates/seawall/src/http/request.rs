//! One HTTP request, from its building to its answer.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http_body::Body;
use http_body_util::BodyExt;
use seawall_client::{CallRequest, RequestBody, percent_encode};
use seawall_policy::{Idempotency, Keys, Wish};
use serde::Serialize;

use super::answer::Answer;
use super::whom::Whom;
use crate::call_site::CallSite;
use crate::entry;
use crate::error::Error;
use crate::fault::BoxError;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The headers that a caller cannot set on a request, because Seawall makes them itself for each attempt.
const OURS: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
];

/// A request that is being built. If a part of the request is wrong, [`Request::send`] returns an error that says so.
#[derive(Debug)]
#[must_use = "`send` sends it"]
pub struct Request {
    whom: Whom,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: RequestBody,
    idempotency: Option<Idempotency>,
    wish: Wish,
    keys: Keys,
    mistake: Option<String>,
}

impl Request {
    pub(crate) fn new(whom: Whom, method: Method, path: &str) -> Request {
        Request {
            whom,
            method,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: RequestBody::Empty,
            idempotency: None,
            wish: Wish::default(),
            keys: Keys::NONE,
            mistake: None,
        }
    }

    /// Adds a header. The headers that frame a message (such as `Host` and `Content-Length`) cannot be added, because
    /// Seawall makes them.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Request {
        let (name, value) = (name.as_ref(), value.as_ref());
        match (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            (Ok(name), _) if OURS.contains(&name) => {
                self.mistaken(format!("the header `{name}` is made by Seawall"))
            }
            (Ok(name), Ok(value)) => {
                self.headers.append(name, value);
            }
            (Err(_), _) => self.mistaken(format!("`{name}` is not a header's name")),
            (_, Err(_)) => {
                self.mistaken(format!("the value of `{name}` holds a character that a header may not"));
            }
        }
        self
    }

    /// Adds a name and a value to the query. Both are percent-encoded.
    pub fn query(mut self, name: &str, value: impl AsRef<str>) -> Request {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        percent_encode(name, &mut self.path);
        self.path.push('=');
        percent_encode(value.as_ref(), &mut self.path);
        self
    }

    /// Sends this key in the header `Idempotency-Key`, for APIs that do the work only once for each key. A POST or
    /// PATCH with a key is repeated even if an attempt may have taken effect. The repeat has the same key and the same
    /// bytes. Do not set a key for an API that ignores it, since the work could be done twice.
    pub fn idempotency_key(mut self, key: impl AsRef<str>) -> Request {
        if matches!(self.method, Method::POST | Method::PATCH) && self.idempotency.is_none() {
            self.idempotency = Some(Idempotency::Keyed);
        }
        match HeaderValue::from_str(key.as_ref()) {
            Ok(value) if !value.is_empty() => {
                self.headers.insert(IDEMPOTENCY_KEY, value);
            }
            Ok(_) => self.mistaken("the idempotency key is empty"),
            Err(_) => self.mistaken("the idempotency key holds a character that a header may not"),
        }
        self
    }

    /// Says whether a second delivery of this request could have a second effect. This replaces the value that follows
    /// from the request's method or from its operation.
    pub fn idempotency(mut self, idempotency: Idempotency) -> Request {
        self.idempotency = Some(idempotency);
        self
    }

    /// Sets a JSON body, and its content type.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Request {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.body = RequestBody::Full(bytes.into()),
            Err(wrong) => self.mistaken(format!("the body is not JSON: {wrong}")),
        }
        self.headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        self
    }

    /// Sets a body whose bytes are all in memory. A repeat sends the same bytes again.
    pub fn body(mut self, bytes: impl Into<Bytes>) -> Request {
        self.body = RequestBody::Full(bytes.into());
        self
    }

    /// Sets a body that streams. The bytes that were sent are kept for a repeat. If they are more than
    /// [`crate::Retry::buffer`] bytes, they are not kept, and the request is not repeated.
    pub fn stream<B>(mut self, body: B) -> Request
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.body = RequestBody::Stream(Box::pin(body.map_err(Into::into)));
        self
    }

    /// Limits the time of this request to `time`, such as the time for which the program's own caller still waits. A
    /// `time` that is longer than the total timeout has no effect.
    pub fn within(mut self, time: Duration) -> Request {
        self.wish.within = Some(time);
        self
    }

    /// Sets the key of this call, such as a tenant or a shard. Each key has a breaker and a limit of its own. Unlike an
    /// idempotency key, this key is not sent to the provider.
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Request {
        let key = key.into();
        self.keys = Keys { breaker: Some(Arc::clone(&key)), limit: Some(key) };
        self
    }

    /// Limits this request to one attempt. Use it if the program's own caller repeats what has failed; if both
    /// repeated, the number of attempts would multiply.
    pub fn once(mut self) -> Request {
        self.wish.no_repeats = true;
        self
    }

    /// Sends the request, and waits for the head of the answer. Every answer of the dependency is returned as `Ok`,
    /// whatever its status; [`Answer::error_for_status`] turns a bad status into an error.
    ///
    /// If the future is dropped, what happens depends on the request:
    ///
    /// - A request that only reads is aborted. A few of them go on, to show the breaker whether the endpoint hangs.
    /// - A request of which nothing was sent is aborted, and so is one whose streaming body was not sent whole.
    /// - Any other request goes on to its end in the background, so that the breaker and the limit learn how it ended.
    #[track_caller]
    pub fn send(self) -> Sending {
        let place = Location::caller();
        Sending(Box::pin(self.exchange(place)))
    }

    async fn exchange(self, place: &'static Location<'static>) -> Result<Answer, Error> {
        let Request { whom, method, path, headers, body, idempotency, wish, keys, mistake } = self;
        let name = Arc::clone(whom.name());
        let site = CallSite { dependency: &name, place };
        if let Some(mistake) = mistake {
            return Err(Error::mistaken(site, mistake));
        }
        if !path.starts_with('/') {
            let what = format!("the path `{path}` does not begin with `/`; the endpoint names the host");
            return Err(Error::mistaken(site, what));
        }
        let path = match PathAndQuery::try_from(path) {
            Ok(path) => path,
            Err(wrong) => return Err(Error::mistaken(site, format!("the path is none: {wrong}"))),
        };
        let Some(lines) = whom.lines() else {
            let what = "no endpoint was given to its builder, so there is nowhere to send this";
            return Err(Error::mistaken(site, what));
        };
        let Some(client) = lines.here() else {
            return Err(Error::mistaken(site, "HTTP calls need a tokio runtime around them"));
        };
        let (plan, keep) = (whom.plan(idempotency, &method), whom.keep());
        let entered = entry::check(site)?;
        let outcome = client
            .call(&plan, CallRequest { method, path, headers, via: None, body, keep, keys }, wish)
            .await;
        drop(entered);
        Answer::of(outcome, whom, place, client.clock())
    }

    fn mistaken(&mut self, what: impl Into<String>) {
        self.mistake.get_or_insert(what.into());
    }
}

/// A request that is being sent. Await it to get the head of the answer.
#[must_use = "a request is not sent unless it is awaited"]
pub struct Sending(Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>);

impl Future for Sending {
    type Output = Result<Answer, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}
