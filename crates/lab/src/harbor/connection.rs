//! One connection, and the life of one request on it.
//!
//! hyper speaks the protocol, but it does not do everything that a fault asks for: it does not reset a connection,
//! write garbage, or end a body too early. For such a fault on HTTP/1.1, the request's handler sends an [`Order`] to
//! its connection. The connection takes the socket back from hyper and carries the order out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::asked::{Asked, Reply};
use super::books::{Admission, Presence};
use super::fault::{Ending, Fault};
use super::pier::{MOST_BODY, Pier};
use super::reply_body::{Pace, ReplyBody};
use crate::wire::{self, Rewound, Speech};

/// What a handler can order its connection to do.
enum Order {
    Reset,
    Close,
    /// Writes these bytes and then closes the connection. The first `slow` bytes are written one by one, with a wait of
    /// `interval` after each of them.
    Say {
        bytes: Bytes,
        slow: usize,
        interval: Duration,
    },
}

/// How the handler of a request can end its exchange without a proper answer. On HTTP/1.1 it sends an order, such as
/// `Order::Reset`, to the task of its connection. On HTTP/2 it returns an error, which resets the stream.
#[derive(Clone)]
enum Link {
    Http1(mpsc::Sender<Order>),
    Http2,
}

pub(super) async fn serve(mut stream: TcpStream, pier: Arc<Pier>) {
    let Ok(Some((speech, ahead))) = wire::listen_in(&mut stream).await else { return };
    let io = TokioIo::new(Rewound::new(ahead, stream));
    match speech {
        Speech::Http1 => serve_http1(io, pier).await,
        Speech::Http2 => {
            let service = service_fn(move |request| answer(request, Arc::clone(&pier), Link::Http2));
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .serve_connection(io, service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "harbor: connection ended");
            }
        }
    }
}

async fn serve_http1(io: TokioIo<Rewound<TcpStream>>, pier: Arc<Pier>) {
    let (orders, mut ordered) = mpsc::channel(1);
    let line = Link::Http1(orders);
    let service = service_fn(move |request| answer(request, Arc::clone(&pier), line.clone()));
    let mut connection = http1::Builder::new().serve_connection(io, service);
    let order = tokio::select! {
        ended = &mut connection => {
            if let Err(error) = ended {
                tracing::debug!(%error, "harbor: connection ended");
            }
            return;
        }
        Some(order) = ordered.recv() => order,
    };
    let mut stream = connection.into_parts().io.into_inner().into_stream();
    match order {
        Order::Reset => wire::reset(stream),
        Order::Close => drop(stream),
        Order::Say { bytes, slow, interval } => {
            // If the caller leaves while the bytes are written, nobody needs the remaining bytes, so the error is
            // ignored.
            let _ = say(&mut stream, &bytes, slow, interval).await;
        }
    }
}

async fn say(stream: &mut TcpStream, bytes: &[u8], slow: usize, interval: Duration) -> io::Result<()> {
    let (slowly, rest) = bytes.split_at(slow.min(bytes.len()));
    for byte in slowly {
        stream.write_all(std::slice::from_ref(byte)).await?;
        tokio::time::sleep(interval).await;
    }
    stream.write_all(rest).await?;
    stream.shutdown().await
}

/// Answers one request: reads it, counts it, finds the fault that strikes it, does its work and returns the answer.
/// Requests to `/books` are not counted, and no fault strikes them.
///
/// Fails only on HTTP/2, and only if the fault asks for a reset. The error makes hyper reset the stream.
async fn answer(
    request: Request<Incoming>,
    pier: Arc<Pier>,
    line: Link,
) -> Result<Response<ReplyBody>, h2::Error> {
    if request.uri().path() == "/books" {
        return Ok(respond(&show_books(request.method(), &pier), None, Pace::Whole, None));
    }
    let presence = pier.books.arrive();
    let (asked, fault) = match read(request, &pier).await {
        Ok(read) => read,
        Err(refusal) => return Ok(respond(&refusal, None, Pace::Whole, Some(presence))),
    };
    let first = pier.books.open(|pages| pages.note(&asked));
    let fault = pier.fault_of(&asked, fault, first);
    let (reply, replayed) = if !fault.effect {
        tokio::time::sleep(fault.before).await;
        (Reply::refusal(StatusCode::SERVICE_UNAVAILABLE, "struck before the effect"), false)
    } else if fault.before.is_zero() {
        work(&pier, &asked, Duration::ZERO).await
    } else {
        let (pier, asked, before) = (Arc::clone(&pier), asked.clone(), fault.before);
        // The work runs in a task of its own, so it is finished even if the caller leaves.
        let work = tokio::spawn(async move { work(&pier, &asked, before).await });
        work.await.expect("the work neither panics nor is aborted")
    };
    if !fault.after.is_zero() {
        tokio::time::sleep(fault.after).await;
    }
    end(reply, replayed, &fault, &line, presence).await
}

fn show_books(method: &Method, pier: &Pier) -> Reply {
    match *method {
        Method::GET => Reply::json(StatusCode::OK, &pier.books.snapshot()),
        Method::DELETE => {
            pier.books.clear();
            Reply { status: StatusCode::NO_CONTENT, body: Bytes::new(), allow: None }
        }
        _ => Reply::refusal(StatusCode::METHOD_NOT_ALLOWED, "the books are read or cleared"),
    }
}

/// Reads the whole request. Returns it with the fault that its `harbor-fault` header asks for; the fault is `None` if
/// there is no such header. Fails if the request cannot be read or accepted. The error is then the answer for the
/// caller.
async fn read(request: Request<Incoming>, pier: &Pier) -> Result<(Asked, Option<Fault>), Reply> {
    let (head, body) = request.into_parts();
    let broken = |status, why: &str| {
        pier.books.open(|pages| pages.counts.broken += 1);
        Reply::refusal(status, why)
    };
    // If the announced length is too large, the request is refused before its body is read. To begin to read would ask
    // a caller that sent `Expect: 100-continue` to send the whole body, only to be refused.
    if body.size_hint().lower() > MOST_BODY as u64 {
        return Err(broken(StatusCode::PAYLOAD_TOO_LARGE, "a request body is at most 1 MiB"));
    }
    let body = match Limited::new(body, MOST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(broken(StatusCode::PAYLOAD_TOO_LARGE, "a request body is at most 1 MiB"));
        }
        Err(error) => return Err(broken(StatusCode::BAD_REQUEST, &error.to_string())),
    };
    if !pier.books.open(|pages| pages.has_room()) {
        return Err(Reply::refusal(
            StatusCode::INSUFFICIENT_STORAGE,
            "the books are full; DELETE /books clears them",
        ));
    }
    let target = (head.method, head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
    let identity = (text(&head.headers, "idempotency-key"), text(&head.headers, "harbor-id"));
    let fault = match text(&head.headers, "harbor-fault").map(|spec| spec.parse()) {
        None => None,
        Some(Ok(fault)) => Some(fault),
        Some(Err(why)) => {
            return Err(Reply::refusal(StatusCode::BAD_REQUEST, &format!("harbor-fault: {why}")));
        }
    };
    Ok((Asked::new(target, identity, body), fault))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

impl Pier {
    /// Returns the fault that strikes this request: the one in its `harbor-fault` header, or else the script's, or else
    /// no fault. `first` says whether this is the first request with its idempotency key or its `harbor-id`. If it is
    /// not, the fault in its header strikes only if the header ends with `;always`.
    fn fault_of(&self, asked: &Asked, carried: Option<Fault>, first: bool) -> Fault {
        // The script draws for every request, even if a fault in the header takes precedence over the script. So a
        // request with such a header does not change what the script draws for later requests.
        let scripted = self.faults.strike(self.started.elapsed(), asked);
        carried.filter(|fault| first || fault.always).or(scripted).unwrap_or_default()
    }
}

/// Waits for the time `before`, and then does the work of the request. The work is not done if an earlier request with
/// the same idempotency key is being worked on or was done. Returns the reply, and whether it is the saved answer of
/// that earlier request.
///
/// The key is checked before the wait. During the wait, the key counts as being worked on.
async fn work(pier: &Pier, asked: &Asked, before: Duration) -> (Reply, bool) {
    let admission = pier.books.open(|pages| pages.admit(asked));
    if !before.is_zero() {
        tokio::time::sleep(before).await;
    }
    match admission {
        Admission::Fresh => (pier.books.open(|pages| pages.work(asked)), false),
        Admission::Replay(reply) => (reply, true),
        Admission::Conflict => (
            Reply::refusal(StatusCode::UNPROCESSABLE_ENTITY, "this key came with another request before"),
            false,
        ),
        Admission::InProgress => {
            (Reply::refusal(StatusCode::CONFLICT, "a request with this key is being worked on"), false)
        }
    }
}

/// Ends the request as its fault says. There are four ways:
///
/// - It returns a response.
/// - It orders the connection to end in a way that hyper does not offer (HTTP/1.1).
/// - It returns an error, which resets the stream (HTTP/2).
/// - It never returns, so the caller gets no answer.
async fn end(
    reply: Reply,
    replayed: bool,
    fault: &Fault,
    line: &Link,
    presence: Presence,
) -> Result<Response<ReplyBody>, h2::Error> {
    let plain = |reply: &Reply, pace, presence: Option<Presence>| {
        let mut response = respond(reply, fault.retry_after, pace, presence);
        if replayed {
            response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
        response
    };
    let (reason, order) = match fault.ending {
        Ending::Answer => return Ok(plain(&reply, Pace::Whole, Some(presence))),
        Ending::Status(status) => {
            return Ok(plain(&Reply::refusal(status, "struck on request"), Pace::Whole, Some(presence)));
        }
        Ending::Drip(interval) => return Ok(plain(&reply, Pace::drip(interval), Some(presence))),
        Ending::Hang => std::future::pending().await,
        Ending::Reset => (h2::Reason::INTERNAL_ERROR, Order::Reset),
        Ending::Close => (h2::Reason::CANCEL, Order::Close),
        Ending::Garbage => {
            let bytes = Bytes::from_static(b"\x15\x03\x03\x00\x02\x02\x28 this is not HTTP\r\n\r\n");
            (h2::Reason::PROTOCOL_ERROR, Order::Say { bytes, slow: 0, interval: Duration::ZERO })
        }
        Ending::Truncate => match line {
            Link::Http2 => return Ok(plain(&reply, Pace::Half(None), Some(presence))),
            Link::Http1(_) => {
                let (mut bytes, _) = written(&plain(&reply, Pace::Whole, None), reply.body.len());
                bytes.extend_from_slice(&reply.body[..reply.body.len() / 2]);
                (h2::Reason::CANCEL, Order::Say { bytes: bytes.freeze(), slow: 0, interval: Duration::ZERO })
            }
        },
        Ending::SlowHead(interval) => match line {
            Link::Http2 => {
                tokio::time::sleep(interval).await;
                return Ok(plain(&reply, Pace::Whole, Some(presence)));
            }
            Link::Http1(_) => {
                let (mut bytes, slow) = written(&plain(&reply, Pace::Whole, None), reply.body.len());
                bytes.extend_from_slice(&reply.body);
                (h2::Reason::CANCEL, Order::Say { bytes: bytes.freeze(), slow, interval })
            }
        },
    };
    match line {
        Link::Http2 => Err(reason.into()),
        Link::Http1(orders) => {
            // When the task of the connection receives this order, it takes the socket and drops the future of this
            // function. So the function waits forever here. If the order cannot be sent, the connection has ended
            // already, and nobody waits for this function.
            let _ = orders.send(order).await;
            std::future::pending().await
        }
    }
}

fn respond(
    reply: &Reply,
    retry_after: Option<Duration>,
    pace: Pace,
    presence: Option<Presence>,
) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::new(reply.body.clone(), pace, presence));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    if !reply.body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(allow) = reply.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(wait) = retry_after {
        // The value is in whole seconds, since `Retry-After` has no smaller unit. It is rounded up, so that callers do
        // not come back before the time that the fault names.
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1000) as u64));
    }
    response
}

/// Returns the head of an answer as bytes of HTTP/1.1, and the length of this head in bytes. The argument `length` is
/// the length of the body in bytes, which the head announces.
fn written(response: &Response<ReplyBody>, length: usize) -> (BytesMut, usize) {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = BytesMut::from(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
    for (name, value) in response.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(format!("content-length: {length}\r\nconnection: close\r\n\r\n").as_bytes());
    let length = head.len();
    (head, length)
}
