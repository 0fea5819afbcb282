//! The record of what a rogue saw. Every list in the record has a maximum length; the counts have no bound.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::load::Fingerprint;

/// The maximum number of different `x-id` values that have a [`Tally`] of their own. In the header `x-id`, a test gives
/// its requests names. Requests with further names are counted in the totals only.
pub const MOST_IDS: usize = 1_000_000;
/// The maximum number of [departures](Departure) that are kept, which are callers that left before the end of their
/// answer. Further departures are not recorded.
pub const MOST_DEPARTURES: usize = 100_000;

/// A request that was read. It was read whole or, if the builder's `at_head` was called, only its head.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The number of the request among all requests of this rogue, from 0.
    pub number: u64,
    /// The number of the request's connection among all connections of this rogue, from 0.
    pub connection: u64,
    /// The number of the request on its connection, from 0.
    pub on_connection: u64,
    /// The stream id of the request; `None` on HTTP/1.1.
    pub stream: Option<u32>,
    /// The method, as sent.
    pub method: String,
    /// The path and query, as sent.
    pub target: String,
    /// The header fields in the order in which they were sent: names in lower case, values unchanged.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body, up to the number of bytes that the rogue's `keep_body` sets.
    pub body: Bytes,
    /// The length of the whole body as far as it was read, in bytes.
    pub body_len: u64,
    /// The fingerprint of the whole body as far as it was read.
    pub body_print: Fingerprint,
    /// The trailer fields, in the same form as the headers.
    pub trailers: Vec<(String, String)>,
}

impl Heard {
    /// Returns the first value of the header with this name, which must be in lower case; `None` if there is no such
    /// header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Returns the value of the `x-id` header, by which requests are counted; `None` if the request has none.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.header("x-id")
    }
}

/// What became of the requests with one `x-id`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The number of times that a request with this id was received.
    pub received: u32,
    /// The number of requests with this id that may have had an effect. Requests are left out if the rogue told the
    /// caller that they were not processed ([`Act::Refuse`](super::Act::Refuse), [`Act::GoAway`](super::Act::GoAway)).
    pub processed: u32,
    /// The number of answers that were sent completely.
    pub answered: u32,
}

/// The record of a caller that left before its answer was sent completely.
#[derive(Clone, Debug)]
pub struct Departure {
    /// The number of the request among all requests of the rogue.
    pub number: u64,
    /// The `x-id` of the request, if it had one.
    pub id: Option<String>,
    /// The time from the moment when the request was read until the departure was noticed.
    pub after: Duration,
    /// The moment at which the rogue noticed the departure.
    pub at: Instant,
    /// How the caller left.
    pub how: Departed,
}

/// How a caller left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departed {
    /// The caller closed the connection, or only the direction in which the caller sends.
    Closed,
    /// The caller reset the connection or the stream.
    Reset,
}

/// What a rogue has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// The number of connections that were accepted.
    pub connections: u64,
    /// The number of connections that are open now.
    pub open: u64,
    /// The number of requests that were read.
    pub requests: u64,
    /// The number of requests that were read, by method. At most 64 different methods are counted.
    pub methods: BTreeMap<String, u64>,
    /// The number of requests that broke off before they were complete. On HTTP/1.1, malformed requests are counted
    /// too.
    pub broken: u64,
    /// The number of answers that were sent to their last byte.
    pub answers: u64,
    /// The number of body bytes that were received, including those of broken requests.
    pub body_bytes: u64,
    /// For each value of the `x-id` header: the tally of the requests with this value.
    pub ids: BTreeMap<String, Tally>,
    /// The callers that left early, in the order in which the rogue noticed their departure.
    pub departures: Vec<Departure>,
    /// The first requests; the builder's `keep_heard` sets how many are kept.
    pub heard: Vec<Heard>,
}

impl Counts {
    /// Returns the ids of the requests that were processed more than once.
    #[must_use]
    pub fn doubled(&self) -> Vec<&str> {
        self.ids.iter().filter(|(_, tally)| tally.processed > 1).map(|(id, _)| id.as_str()).collect()
    }
}

#[derive(Debug, Default)]
pub(super) struct Log {
    counts: Mutex<Counts>,
    changed: Notify,
}

impl Log {
    pub(super) fn read<R>(&self, look: impl FnOnce(&Counts) -> R) -> R {
        look(&self.counts.lock())
    }

    pub(super) fn write<R>(&self, change: impl FnOnce(&mut Counts) -> R) -> R {
        let result = change(&mut self.counts.lock());
        self.changed.notify_waiters();
        result
    }

    /// Waits until `reached` returns `true`. `reached` is called with the counts when the wait begins, and after every
    /// change of the counts.
    pub(super) async fn until(&self, mut reached: impl FnMut(&Counts) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.read(&mut reached) {
                return;
            }
            changed.await;
        }
    }

    /// Records a request and sets its number. The request itself is kept only while fewer than `keep` requests are
    /// kept.
    pub(super) fn hear(&self, heard: &mut Heard, keep: usize) {
        self.write(|counts| {
            heard.number = counts.requests;
            counts.requests += 1;
            // Callers choose the method names, so the number of different names needs a bound.
            let room = counts.methods.len() < 64;
            if let Some(count) = counts.methods.get_mut(&heard.method) {
                *count += 1;
            } else if room {
                counts.methods.insert(heard.method.clone(), 1);
            }
            let room = counts.ids.len() < MOST_IDS;
            if let Some(id) = heard.id() {
                if let Some(tally) = counts.ids.get_mut(id) {
                    tally.received += 1;
                    tally.processed += 1;
                } else if room {
                    counts.ids.insert(id.to_owned(), Tally { received: 1, processed: 1, answered: 0 });
                }
            }
            if counts.heard.len() < keep {
                counts.heard.push(heard.clone());
            }
        });
    }

    /// Corrects the tally of this `x-id`: one request was counted as processed and was not. With `None` it changes
    /// nothing, because a request without an `x-id` has no tally.
    pub(super) fn unprocess(&self, id: Option<&str>) {
        self.tally(id, |tally| tally.processed = tally.processed.saturating_sub(1));
    }

    pub(super) fn answered(&self, heard: &Heard) {
        self.write(|counts| counts.answers += 1);
        self.tally(heard.id(), |tally| tally.answered += 1);
    }

    fn tally(&self, id: Option<&str>, change: impl FnOnce(&mut Tally)) {
        let Some(id) = id else { return };
        self.write(|counts| counts.ids.get_mut(id).map(change));
    }

    pub(super) fn depart(&self, heard: &Heard, read_at: Instant, how: Departed) {
        let at = Instant::now();
        self.write(|counts| {
            if counts.departures.len() < MOST_DEPARTURES {
                let id = heard.id().map(str::to_owned);
                let after = at.saturating_duration_since(read_at);
                counts.departures.push(Departure { number: heard.number, id, after, at, how });
            }
        });
    }
}
