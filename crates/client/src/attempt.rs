//! Makes one attempt: gets a connection, sends the request, and waits for the head of the answer.
//!
//! If a pooled connection turns out to be dead before a byte of the request was written, nothing is lost: the request
//! goes out on a fresh connection immediately, within the same attempt. Once a byte may have left, the server may have
//! received the request, and the attempt does not send it again.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, RETRY_AFTER};
use http::{HeaderMap, Method, Response, StatusCode};
use seawall_policy::{Answer, Attempt, Effect, Ending, KnownBody, Lost, Reason, Rules, Time, Unsent};
use seawall_wire::{Asked, Limits, Misread};

use crate::answer::AnswerBody;
use crate::body::Source;
use crate::clock::Clock;
use crate::come_back::come_back;
use crate::connect::{AbsoluteForm, ConnectError};
use crate::endings;
use crate::line::{self, Answered, Broke, Line, LineFailure};
use crate::pool::{Channel, Pool};
use crate::reading;
use crate::request::{Address, Deadline, Template, remaining_millis};
use crate::tracks::{DEADLINE_PASSED, Tracks};
use crate::trunk::{Trunk, TrunkFailure, TrunkStream};
use crate::upload::Sized;
use crate::watch::{Lapse, Timer, Watch};

/// The maximum length, in bytes, of a body that is read to judge the answer by its fields. A longer body counts as
/// unread.
const JUDGED_BYTES: usize = 256 * 1024;

const TOO_LATE: &str = "the caller's deadline passed before a byte was sent";

/// One endpoint: its address, and the pool of its connections.
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    pub(crate) pool: Arc<Pool>,
}

/// The parts that all attempts of one call share.
pub(crate) struct Sending<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) template: &'a Template,
    pub(crate) source: &'a Source,
    pub(crate) deadline_header: Option<&'a HeaderName>,
    pub(crate) tracks: Option<&'a Arc<Tracks>>,
    pub(crate) clock: Clock,
}

/// How an attempt ended. If there is an answer, it is part of this value.
pub(crate) struct Tried {
    pub(crate) ending: Ending,
    pub(crate) answer: Option<Response<AnswerBody>>,
    /// What went wrong, in words for the log and for people. `None` if there is an answer. No decision depends on this
    /// text.
    pub(crate) detail: Option<String>,
    pub(crate) pooled: Pooled,
    /// The time at which the attempt ended; `None` if the clock was not read at that moment.
    pub(crate) at: Option<Time>,
}

/// What the attempt learned about the pooled connection that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooled {
    /// Nothing is wrong with the pooled connection, or the attempt took a fresh one.
    Fine,
    /// The connection broke, or the answer leaves open whether the request took effect. The next attempt takes a fresh
    /// connection.
    Broke,
    /// The connection broke before any byte of an answer came, probably because the server had closed it while it was
    /// idle.
    Stale,
}

impl Tried {
    fn ended(ending: Ending, detail: impl ToString) -> Tried {
        Tried { ending, answer: None, detail: Some(detail.to_string()), pooled: Pooled::Fine, at: None }
    }
}

/// The outcome of one exchange on one connection. `None` if the connection was dead before a byte was written; the same
/// attempt then uses another connection.
type Exchanged = Option<Tried>;

impl Sending<'_> {
    /// Makes one attempt, and returns how it ended. If an answer comes, the attempt ends as soon as the answer has been
    /// judged; the consumer reads the answer's body later. If `fresh` is set, no pooled connection is used.
    pub(crate) async fn attempt(
        &self,
        endpoint: &Endpoint,
        attempt: &Attempt,
        fresh: bool,
        now: Time,
    ) -> Tried {
        let mut idle = (!fresh).then_some(now);
        loop {
            let pooled = idle.and_then(|now| endpoint.pool.take_idle(self.rules.idempotency, now));
            let (channel, now) = match pooled {
                Some(channel) => (channel, now),
                // Most attempts find a pooled connection and never make the future of `connect`. It is boxed, so that
                // the attempt's own future stays small.
                None => match Box::pin(self.connect(endpoint, attempt)).await {
                    Ok(channel) => (channel, self.clock.now()),
                    Err(tried) => return tried,
                },
            };
            // The clock is read again directly before the first byte, because no byte may leave after the caller's
            // deadline.
            if attempt.callers_deadline
                && self.clock.now() >= attempt.end_by
                && !self.goes_on_without_caller(attempt)
            {
                return Tried::ended(Ending::CallerLeft { sent: false }, TOO_LATE);
            }
            let exchanged = match channel {
                Channel::Line(line) => self.on_line(endpoint, attempt, line, now).await,
                Channel::Trunk(trunk, stream) => {
                    Box::pin(self.on_trunk(endpoint, attempt, trunk, stream, now)).await
                }
            };
            match exchanged {
                Some(tried) => return tried,
                None => idle = None,
            }
        }
    }

    /// Makes a new connection, or returns how the attempt ended without one. If the caller's deadline passes while the
    /// connection is made, this does not count as a failure of the endpoint.
    async fn connect(&self, endpoint: &Endpoint, attempt: &Attempt) -> Result<Channel, Tried> {
        let mut connecting = pin!(endpoint.pool.connect(attempt.own_connect_by));
        if !attempt.callers_deadline || attempt.own_connect_by < attempt.end_by {
            return connecting.await.map_err(|error| unconnected(&error));
        }
        let callers = tokio::time::sleep_until(self.clock.instant(attempt.end_by));
        tokio::select! {
            biased;
            () = callers => {}
            connected = connecting.as_mut() => return connected.map_err(|error| unconnected(&error)),
        }
        if !self.goes_on_without_caller(attempt) {
            return Err(Tried::ended(Ending::CallerLeft { sent: false }, TOO_LATE));
        }
        connecting.await.map_err(|error| unconnected(&error))
    }

    /// Must be called when the caller's deadline has passed. Returns whether the attempt still goes on, only to learn
    /// whether the endpoint works (such an attempt is called a *witness*).
    fn goes_on_without_caller(&self, attempt: &Attempt) -> bool {
        attempt.end_by < attempt.own_end_by && self.tracks.is_some_and(|tracks| tracks.deadline_passed())
    }

    /// Returns the value that ends the exchange if the read timeout or the deadline passes. The exchange began at
    /// `now`. `seen` is the number of bytes that had passed through the connection at that time.
    fn watch(&self, attempt: &Attempt, now: Time, seen: u64) -> Watch {
        let watch = Watch::new(self.clock, attempt.read, attempt.end_by, now, seen);
        match self.tracks {
            Some(tracks) => watch.of_call(tracks, attempt.own_end_by),
            None => watch,
        }
    }

    async fn on_line(
        &self,
        endpoint: &Endpoint,
        attempt: &Attempt,
        mut line: Box<Line>,
        now: Time,
    ) -> Exchanged {
        if let Some(tracks) = self.tracks {
            tracks.sending(&line.meter);
        }
        let (reused, base, heard) = (line.used, line.meter.written(), line.meter.read());
        let idle = now.since(line.idle_since);
        let deadline = self.deadline(attempt, now);
        let body = self.source.attempt();
        let sized = Sized::of(&self.template.method, &body);
        let asked = if self.template.method == Method::HEAD { Asked::Head } else { Asked::Other };
        let head = |absolute: Option<&AbsoluteForm>, out: &mut Vec<u8>| {
            endpoint.address.write(out, self.template, sized, absolute, deadline);
        };
        let request = line::Request { head, body, sized, asked };
        let mut watch = self.watch(attempt, now, line.progress());
        let exchanged = match line.exchange(request, &mut watch).await {
            // An answer came before any byte of this request was sent. So it cannot be the answer to this request.
            Ok(_) if line.meter.written() == base => {
                Err(LineFailure::Broke(Broke::Misread(Misread::Unasked)))
            }
            exchanged => exchanged,
        };
        match exchanged {
            Ok(Answered { head, first }) => {
                if let Some(lifetime) = head.keep_alive.as_ref().and_then(reading::keep_alive) {
                    endpoint.pool.announce(lifetime);
                }
                let (pool, now) = (Arc::clone(&endpoint.pool), self.clock.now());
                let mut response =
                    Response::new(AnswerBody::on_line(line, first, watch, pool, self.clock, now));
                *response.status_mut() = head.status;
                *response.headers_mut() = head.fields;
                Some(self.judge(attempt, response, now).await)
            }
            Err(LineFailure::Lapsed(lapse)) if line.waits_for_caller() => {
                Some(stalled(lapse, attempt, line.meter.written() != base))
            }
            Err(LineFailure::Lapsed(lapse)) => Some(lapsed(lapse, attempt)),
            Err(LineFailure::Broke(broke)) => {
                let unsent = line.meter.written() == base;
                let pooled = match reused {
                    true if line.meter.read() == heard => Pooled::Stale,
                    true => Pooled::Broke,
                    false => Pooled::Fine,
                };
                let callers = self.source.broken() || matches!(broke, Broke::Body(_));
                if pooled == Pooled::Stale && !callers {
                    endpoint.pool.lost(idle);
                }
                let ending = endings::of_certificate(&line.meter).unwrap_or_else(|| endings::of_line(&broke));
                self.broke(ending, &broke, unsent, pooled, callers)
            }
        }
    }

    async fn on_trunk(
        &self,
        endpoint: &Endpoint,
        attempt: &Attempt,
        mut trunk: Trunk,
        stream: TrunkStream,
        now: Time,
    ) -> Exchanged {
        if let Some(tracks) = self.tracks {
            tracks.sending(&trunk.meter);
        }
        let reused = trunk.born < now;
        let deadline = self.deadline(attempt, now);
        let Some(request) = endpoint.address.request(self.template, self.source.attempt(), deadline) else {
            let why = "the path, behind the endpoint's own, is longer than 65534 bytes";
            return Some(Tried::ended(Ending::CallerLeft { sent: false }, why));
        };
        let mut timer = Timer::new(self.clock, Time::NEVER);
        let mut watch = self.watch(attempt, now, 0);
        match trunk.exchange(request, self.source, &mut timer, &mut watch).await {
            Ok(response) => {
                let (head, incoming) = response.into_parts();
                if let Some(why) = misread(&head.headers, endpoint.pool.limits()) {
                    return Some(Tried::ended(Ending::Lost(Lost::BadAnswer), Broke::Misread(why)));
                }
                let wordless = self.template.method == Method::HEAD
                    || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
                // An answer to HEAD and an answer with status 204 or 304 has no body. Anything that the server still
                // sends on this stream belongs to no request, so the stream is ended.
                let body = match wordless {
                    true => AnswerBody::whole(Bytes::new()),
                    false => AnswerBody::on_trunk(incoming, watch, timer, stream),
                };
                let mut response = Response::new(body);
                *response.status_mut() = head.status;
                *response.headers_mut() = head.headers;
                if head.status == StatusCode::NO_CONTENT {
                    // RFC 9110, section 8.6: an answer with status 204 must not have a `Content-Length`, so this field
                    // is removed.
                    response.headers_mut().remove(CONTENT_LENGTH);
                }
                let now = self.clock.now();
                Some(self.judge(attempt, response, now).await)
            }
            Err(TrunkFailure::Lapsed(lapse)) if self.source.waits_for_caller() => {
                Some(stalled(lapse, attempt, true))
            }
            Err(TrunkFailure::Lapsed(lapse)) => Some(lapsed(lapse, attempt)),
            Err(TrunkFailure::Broke { error, returned }) => {
                let pooled = match reused {
                    true if endings::left_out(&error) => Pooled::Stale,
                    true => Pooled::Broke,
                    false => Pooled::Fine,
                };
                let callers = self.source.broken();
                let ending = endings::of_certificate(&trunk.meter);
                let ending = ending.unwrap_or_else(|| endings::of_stream(&error));
                self.broke(ending, &chain(&error), returned.is_some(), pooled, callers)
            }
        }
    }

    fn deadline(&self, attempt: &Attempt, now: Time) -> Deadline<'_> {
        let name = self.deadline_header.filter(|_| attempt.end_by != Time::NEVER)?;
        Some((name, remaining_millis(attempt.end_by, now)))
    }

    /// Returns how an attempt ended if its exchange broke. Returns `None` if the attempt must go on with another
    /// connection: nothing was sent on a pooled connection, and the body can be sent again.
    ///
    /// - `unsent`: whether no byte of the request was sent.
    /// - `callers`: whether the exchange broke because the caller's body broke.
    fn broke(
        &self,
        ending: Ending,
        detail: &dyn fmt::Display,
        unsent: bool,
        pooled: Pooled,
        callers: bool,
    ) -> Exchanged {
        if callers {
            let ending = Ending::CallerLeft { sent: !unsent };
            return Some(Tried::ended(ending, "the caller's body broke"));
        }
        if unsent && pooled != Pooled::Fine && self.source.kept() {
            return None;
        }
        let ending = match ending {
            Ending::Unsent(_) => ending,
            _ if unsent => Ending::Unsent(Unsent::ConnectionLost),
            _ => ending,
        };
        Some(Tried { pooled, ..Tried::ended(ending, detail) })
    }

    /// Finds out what an answer means for the call, and returns how the attempt ended. The body is read only if the
    /// operation's declared answers depend on fields of the body.
    async fn judge(&self, attempt: &Attempt, mut response: Response<AnswerBody>, now: Time) -> Tried {
        let status = response.status().as_u16();
        let rules = self.rules;
        let mut at = Some(now);
        let declared = if self.template.method == Method::HEAD {
            rules.declared(status, &KnownBody::ABSENT)
        } else if !rules.answers.need_body(status) || is_coded(response.headers()) {
            // The body is not needed, or it cannot be judged: it is compressed although the request did not ask for
            // that. A compressed body counts as unread, like a body that is too long.
            rules.declared(status, &KnownBody::UNREAD)
        } else {
            at = None;
            match response.body_mut().peek_whole(JUDGED_BYTES).await {
                Ok(Some(bytes)) => rules.declared(status, &reading::known(&bytes)),
                // The body is longer than `JUDGED_BYTES`, so its fields stay unknown.
                Ok(None) => rules.declared(status, &KnownBody::UNREAD),
                Err(truncated) => return broken_judgement(truncated.reason(), attempt),
            }
        };
        let retry_after = match status >= 400 || response.headers().contains_key(RETRY_AFTER) {
            true => come_back(response.headers(), std::time::SystemTime::now()),
            false => None,
        };
        let ending = Ending::Answered(Answer { status, retry_after, declared });
        // If the effect is unknown, a repeat of the call must not use this connection again: bytes that still follow
        // this answer could be taken for the answer to the repeat.
        let pooled = if declared == Some(Effect::Unknown) { Pooled::Broke } else { Pooled::Fine };
        Tried { ending, answer: Some(response), detail: None, pooled, at }
    }
}

/// Returns whether the headers say that the body has a content coding, such as compression.
fn is_coded(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Returns what is wrong with the fields of an answer over HTTP/2; `None` if they are valid. This function looks only
/// for faults that hyper, which reads HTTP/2, does not refuse itself.
fn misread(fields: &HeaderMap, limits: Limits) -> Option<Misread> {
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    let one = lengths.next().is_none_or(|length| seawall_wire::decimal(length.as_bytes()).is_some());
    match () {
        () if !one || lengths.next().is_some() => Some(Misread::Length),
        () if fields.len() > limits.headers => Some(Misread::TooManyFields),
        () => None,
    }
}

/// Returns how an attempt ended if the read timeout or the deadline passed before the caller had delivered its whole
/// body. `sent` says whether a byte of the request may have left.
fn stalled(lapse: Lapse, attempt: &Attempt, sent: bool) -> Tried {
    let why = match lapse {
        Lapse::Read => format!("nothing came of the caller's body for {:?}", attempt.read),
        Lapse::End => "the caller's body had not come whole when the deadline passed".to_owned(),
    };
    Tried::ended(Ending::CallerStalled { sent }, why)
}

fn lapsed(lapse: Lapse, attempt: &Attempt) -> Tried {
    let ending = endings::of_lapse(lapse, attempt.callers_deadline);
    let detail = match lapse {
        Lapse::Read => format!("no progress for {:?}", attempt.read),
        Lapse::End => DEADLINE_PASSED.to_owned(),
    };
    Tried::ended(ending, detail)
}

fn unconnected(error: &ConnectError) -> Tried {
    Tried::ended(endings::of_connect(error), chain(error))
}

/// Returns how an attempt ended if the answer's head came, but the answer's body broke while it was read to judge what
/// the answer means.
fn broken_judgement(reason: Reason, attempt: &Attempt) -> Tried {
    let ending = match reason {
        Reason::ReadTimeout => Ending::Lost(Lost::ReadTimeout),
        Reason::TotalTimeout => endings::of_lapse(Lapse::End, attempt.callers_deadline),
        Reason::BadAnswer => Ending::Lost(Lost::BadAnswer),
        _ => Ending::Lost(Lost::ConnectionLost),
    };
    Tried::ended(ending, "the answer's body broke before it could be judged")
}

/// Returns the text of an error and of all its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
