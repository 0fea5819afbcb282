//! What a rogue saw. Every list in it has a bound; the counts have none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::load::Fingerprint;

/// How many different ids are kept. Further requests are still counted in the totals.
pub const MOST_IDS: usize = 1_000_000;
/// How many departures are kept. The first ones are kept.
pub const MOST_DEPARTURES: usize = 100_000;

/// A request that was read: whole or, with `at_head`, only its head.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Its number among all requests of this rogue, from 0.
    pub number: u64,
    /// The number of its connection among all connections, from 0.
    pub connection: u64,
    /// Its number on its connection, from 0.
    pub on_connection: u64,
    /// Its stream id; `None` on HTTP/1.1.
    pub stream: Option<u32>,
    /// As sent.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// The header fields in the order in which they were sent: names in lower case, values unchanged.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body, up to the rogue's `keep_body`.
    pub body: Bytes,
    /// Length of the whole body, in bytes.
    pub body_len: u64,
    /// Fingerprint of the whole body.
    pub body_print: Fingerprint,
    /// The trailer fields, in the same form as the headers.
    pub trailers: Vec<(String, String)>,
}

impl Heard {
    /// The first value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The `x-id` header, by which requests are counted.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.header("x-id")
    }
}

/// What became of the requests with one `x-id`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often a request with this id was received.
    pub received: u32,
    /// How often the request may have had an effect. Requests that were refused as unprocessed do not count.
    pub processed: u32,
    /// How often an answer was sent completely.
    pub answered: u32,
}

/// Says that a caller left before its answer was sent completely.
#[derive(Clone, Debug)]
pub struct Departure {
    /// The request's number.
    pub number: u64,
    /// Its `x-id`.
    pub id: Option<String>,
    /// How long after the request was read.
    pub after: Duration,
    /// The moment at which the rogue noticed it.
    pub at: Instant,
    /// How the caller left.
    pub how: Departed,
}

/// How a caller left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departed {
    /// It closed the connection, or its half of it.
    Closed,
    /// It reset the connection, or the stream.
    Reset,
}

/// What a rogue has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// The number of these connections that are open now.
    pub open: u64,
    /// Requests read.
    pub requests: u64,
    /// Requests read, by method.
    pub methods: BTreeMap<String, u64>,
    /// The number of requests that broke off before they were complete.
    pub broken: u64,
    /// Answers sent to their last byte.
    pub answers: u64,
    /// The number of body bytes received, including those of broken requests.
    pub body_bytes: u64,
    /// The requests by their `x-id` header.
    pub ids: BTreeMap<String, Tally>,
    /// Callers that left early.
    pub departures: Vec<Departure>,
    /// The first requests; `keep_heard` says how many.
    pub heard: Vec<Heard>,
}

impl Counts {
    /// The ids that were processed more than once.
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

    /// Waits until `reached` holds.
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

    /// Records a request and gives it its number.
    pub(super) fn hear(&self, heard: &mut Heard, keep: usize) {
        self.write(|counts| {
            heard.number = counts.requests;
            counts.requests += 1;
            // Callers choose the method names, so the number of different ones has a bound as well.
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

    /// Records that a request was not processed after all.
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
