//! The harbor's own books: which requests came, which changes they made, and with which idempotency key.
//!
//! The provider itself keeps the books, so a test can compare what a caller believes with what was really done. An
//! **effect** is a change: a charge made, a refund made, a charge deleted, a customer written with a content that
//! differs from the previous one. There is no effect if a request is declined, or if a second request with the same key
//! gets the saved answer of the first. Whether an answer is lost on its way makes no difference to the books.
//!
//! A request is counted when it has been read whole. Three kinds of requests are not counted: those to `/books`, those
//! whose `harbor-fault` header is wrong, and those that come while the books are full. A request whose body broke off
//! or was too large is counted under `broken` only.
//!
//! Everything that is kept has a bound. When [`MOST_ENTRIES`] entries or [`MOST_BYTES`] bytes of bodies are kept, the
//! harbor answers 507 until its books are cleared.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Map, Value};

use super::asked::{Asked, Reply};
use super::journal::{Journal, Line};

/// The maximum number of entries in each list of the books: idempotency keys, values of `harbor-id`, charges, refunds
/// and customers. This is enough for a long benchmark, and takes about 200 MB at worst.
pub const MOST_ENTRIES: usize = 200_000;
/// The maximum total size of the metadata, customers and saved answers that are kept, in bytes (256 MiB).
pub const MOST_BYTES: usize = 256 << 20;

/// A handle to the books of one harbor. All clones of a handle give access to the same books.
#[derive(Clone, Debug, Default)]
pub struct Books {
    pages: Arc<Mutex<Pages>>,
}

/// The content of the books at one moment. The answer to `GET /books` is a snapshot as JSON.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// The number of changes made.
    pub effects: u64,
    /// The number of requests that were read whole. Requests to `/books`, requests with a wrong `harbor-fault` header,
    /// and requests that came while the books were full are not counted.
    pub requests: u64,
    /// The number of the `requests` that only read (GET, HEAD, OPTIONS).
    pub reads: u64,
    /// The number of requests whose body broke off or was too large.
    pub broken: u64,
    /// The number of refunds made. They are also counted as effects.
    pub refunds: u64,
    /// What happened under each `Idempotency-Key`, by the key.
    pub by_key: BTreeMap<String, KeyCount>,
    /// In the header `harbor-id`, a caller can name a request that has no `Idempotency-Key`. For each such name: the
    /// number of requests with this name and without a key.
    pub by_id: BTreeMap<String, u64>,
    /// The number of writing requests without an idempotency key, and the number of changes that they made.
    pub unkeyed: Count,
    /// Every charge that was not deleted, the oldest first.
    pub charges: Vec<Charge>,
    /// The number of requests that are being worked on or answered now.
    pub in_flight: u64,
    /// The maximum number of requests that were in flight at the same time.
    pub max_in_flight: u64,
    /// The number of writing requests whose method, path or bytes differ from those of the first request with the same
    /// key.
    pub bytes_mismatch: u64,
}

/// What happened under one `Idempotency-Key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeyCount {
    /// The number of requests that carried the key.
    pub requests: u64,
    /// The number of changes that the requests with this key made.
    pub effects: u64,
    /// The number of refunds of the charge that was made with this key. The refunds themselves may have had other keys.
    pub refunds: u64,
}

/// What the requests without an `Idempotency-Key` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The number of writing requests without a key.
    pub requests: u64,
    /// The number of changes that these requests made.
    pub effects: u64,
}

/// A charge in the books.
#[derive(Clone, Debug, Serialize)]
pub struct Charge {
    /// The id of the charge. It begins with `ch_`.
    pub id: String,
    /// The amount in the smallest unit of the currency. It is above zero.
    pub amount: u64,
    /// How much of the amount was refunded, in the smallest unit of the currency. Zero if there was no refund.
    pub amount_refunded: u64,
    /// The currency that the request gave; `usd` if it gave none.
    pub currency: String,
    /// The state of the charge.
    pub status: Status,
    /// `OK` for a charge that was made, `DECLINED` for one that was declined.
    pub code: &'static str,
    /// The time at which the charge was made. It is written as in RFC 3339.
    pub(super) created: Timestamp,
    /// The key of the request that made the charge; `None` if the request had no key.
    pub key: Option<String>,
    /// The metadata that the request gave. The field `key` in it holds the request's key.
    pub metadata: Map<String, Value>,
}

/// The state of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The money was taken.
    Succeeded,
    /// The whole amount was refunded.
    Refunded,
    /// Declined: no money moved.
    Failed,
}

/// A refund in the books.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Refund {
    pub(super) id: String,
    pub(super) charge: String,
    pub(super) amount: u64,
    pub(super) status: Status,
    pub(super) code: &'static str,
    pub(super) created: Timestamp,
}

/// The content of the books. [`Books`] holds it behind a lock.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) counts: Snapshot,
    keys: HashMap<String, KeyPage>,
    /// All charges in the order in which they were made. A deleted charge stays in the list, because `charge_by_id` and
    /// `charge_by_key` hold positions in this list.
    pub(super) charges: Vec<Entry>,
    pub(super) charge_by_id: HashMap<String, usize>,
    pub(super) charge_by_key: HashMap<String, usize>,
    pub(super) refunds: Vec<Refund>,
    pub(super) customers: HashMap<String, Value>,
    /// The total size of the metadata, customers and saved answers that are kept, in bytes. At [`MOST_BYTES`] the
    /// harbor answers 507.
    pub(super) kept: usize,
    /// A random number that is a part of every id, so that two harbors do not make the same ids.
    pub(super) start: u32,
    pub(super) made: u64,
    /// The file in which the books are kept too; `None` if they are only in memory.
    pub(super) journal: Option<Journal>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) charge: Charge,
    pub(super) deleted: bool,
}

#[derive(Debug, Default)]
struct KeyPage {
    /// The hash (`Asked::fingerprint`) of the first writing request with this key; `None` if there was none yet.
    first: Option<u64>,
    stand: Stand,
}

/// The state of the work under a key.
#[derive(Debug, Default)]
enum Stand {
    #[default]
    Free,
    Working(u64),
    Saved(u64, Reply),
}

/// The decision whether a keyed request may be worked on.
pub(super) enum Admission {
    /// The work may be done.
    Fresh,
    /// An earlier request with the same key and the same content was done. The reply is the answer that was saved then.
    Replay(Reply),
    /// The key belongs to a request with another fingerprint.
    Conflict,
    /// An earlier request with the same key and the same content is being worked on.
    InProgress,
}

impl Books {
    /// Opens books that are kept in a file too. A harbor that opens the file again finds what was done, even after
    /// `kill -9`. The file is created if it does not exist, and is locked for as long as the books live.
    ///
    /// # Errors
    /// If another process has the file open ([`io::ErrorKind::WouldBlock`]), if the file holds something other than
    /// books ([`io::ErrorKind::InvalidData`]), or if the file cannot be read or written.
    pub fn kept_in(file: impl AsRef<Path>) -> io::Result<Books> {
        let (mut journal, lines) = Journal::open(file.as_ref())?;
        let mut pages = Pages::default();
        if lines.is_empty() {
            journal.begin(pages.start, pages.made)?;
        }
        lines.into_iter().for_each(|line| pages.work_off(line));
        pages.journal = Some(journal);
        Ok(Books { pages: Arc::new(Mutex::new(pages)) })
    }

    /// Returns a copy of the books as they are now, without the deleted charges.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let pages = self.pages.lock();
        let charges = pages.charges.iter().filter(|e| !e.deleted).map(|e| e.charge.clone()).collect();
        Snapshot { charges, ..pages.counts.clone() }
    }

    /// Clears the books and their file. Only the number of requests in flight is kept.
    pub fn clear(&self) {
        let mut pages = self.pages.lock();
        let in_flight = pages.counts.in_flight;
        let made = pages.made;
        let mut journal = pages.journal.take();
        if let Some(Err(error)) = journal.as_mut().map(|journal| journal.begin(pages.start, made)) {
            tracing::error!(%error, "harbor: the file of the books could not be cleared");
        }
        *pages = Pages { made, start: pages.start, journal, ..Pages::default() };
        pages.counts.in_flight = in_flight;
        pages.counts.max_in_flight = in_flight;
    }

    pub(super) fn open<R>(&self, work: impl FnOnce(&mut Pages) -> R) -> R {
        work(&mut self.pages.lock())
    }

    /// Counts a request as in flight until the returned value is dropped.
    pub(super) fn arrive(&self) -> Presence {
        let mut pages = self.pages.lock();
        pages.counts.in_flight += 1;
        pages.counts.max_in_flight = pages.counts.max_in_flight.max(pages.counts.in_flight);
        Presence(self.clone())
    }
}

/// One request in flight. Dropping the value ends its count as in flight.
#[derive(Debug)]
pub(super) struct Presence(Books);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.open(|pages| pages.counts.in_flight = pages.counts.in_flight.saturating_sub(1));
    }
}

impl Default for Pages {
    fn default() -> Pages {
        Pages {
            counts: Snapshot::default(),
            keys: HashMap::new(),
            charges: Vec::new(),
            charge_by_id: HashMap::new(),
            charge_by_key: HashMap::new(),
            refunds: Vec::new(),
            customers: HashMap::new(),
            kept: 0,
            start: fastrand::u32(..),
            made: 0,
            journal: None,
        }
    }
}

impl Pages {
    /// Counts a request that was read whole. Returns whether it is the first one with its idempotency key. A request
    /// without a key is compared by its `harbor-id` instead, and one that has neither always counts as the first.
    ///
    /// The result decides about the fault that the `harbor-fault` header of a request asks for. If the header ends with
    /// `;always`, the fault is carried out each time. If not, it is carried out only if the result is `true`.
    pub(super) fn note(&mut self, asked: &Asked) -> bool {
        if let Err(error) = self.keep(Line::Seen { asked: asked.clone() }) {
            tracing::error!(%error, "harbor: a request could not be entered in the file of the books");
        }
        self.counts.requests += 1;
        if !asked.writes() {
            self.counts.reads += 1;
        } else if asked.key.is_none() {
            self.counts.unkeyed.requests += 1;
        }
        if let Some(key) = &asked.key {
            let count = self.counts.by_key.entry(key.clone()).or_default();
            count.requests += 1;
            let first = count.requests == 1;
            if asked.writes() {
                let page = self.keys.entry(key.clone()).or_default();
                let known = *page.first.get_or_insert(asked.fingerprint);
                self.counts.bytes_mismatch += u64::from(known != asked.fingerprint);
            }
            first
        } else if let Some(id) = &asked.id {
            let count = self.counts.by_id.entry(id.clone()).or_default();
            *count += 1;
            *count == 1
        } else {
            true
        }
    }

    /// Returns whether one more entry may be made: every list has fewer than [`MOST_ENTRIES`] entries, and the kept
    /// bodies have fewer than [`MOST_BYTES`] bytes in total.
    pub(super) fn has_room(&self) -> bool {
        let counts = &self.counts;
        let largest = [
            counts.by_key.len(),
            counts.by_id.len(),
            self.charges.len(),
            self.refunds.len(),
            self.customers.len(),
        ];
        largest.iter().all(|len| *len < MOST_ENTRIES) && self.kept < MOST_BYTES
    }

    /// Returns whether the work of a request may be done.
    ///
    /// [`Admission::Fresh`] means that it may. This is the result if the request only reads, or if it has no key. It is
    /// also the result if no request with the same key is being worked on or has a saved answer. The key is then marked
    /// as being worked on.
    ///
    /// Every other [`Admission`] means that it may not: an earlier writing request with the same key is being worked
    /// on, or has a saved answer.
    pub(super) fn admit(&mut self, asked: &Asked) -> Admission {
        let Some(key) = asked.key.as_ref().filter(|_| asked.writes()) else { return Admission::Fresh };
        let page = self.keys.entry(key.clone()).or_default();
        match &page.stand {
            Stand::Free => {
                page.stand = Stand::Working(asked.fingerprint);
                Admission::Fresh
            }
            Stand::Working(print) | Stand::Saved(print, _) if *print != asked.fingerprint => {
                Admission::Conflict
            }
            Stand::Working(_) => Admission::InProgress,
            Stand::Saved(_, reply) => Admission::Replay(reply.clone()),
        }
    }

    /// Ends the work of a writing request that has a key. If the answer is a success, it is saved, and later requests
    /// with this key get it. If it is not, the key is free again, and the work of the next request with this key is
    /// done. For every other request, this does nothing.
    pub(super) fn settle(&mut self, asked: &Asked, reply: &Reply) {
        let Some(key) = asked.key.as_ref().filter(|_| asked.writes()) else { return };
        // The books may have been cleared during the work.
        let Some(page) = self.keys.get_mut(key) else { return };
        page.stand = if reply.status.is_success() {
            self.kept += reply.body.len();
            Stand::Saved(asked.fingerprint, reply.clone())
        } else {
            Stand::Free
        };
    }

    /// Does the work of an admitted request, and returns the reply. From then on, the request's key no longer counts as
    /// being worked on ([`Self::settle`]).
    ///
    /// If the books are kept in a file, a writing request is written to this file first. If that fails, the work is not
    /// done, and the reply is a 507.
    pub(super) fn work(&mut self, asked: &Asked) -> Reply {
        let at = Timestamp::now();
        let kept = if asked.writes() { self.keep(Line::Done { at, asked: asked.clone() }) } else { Ok(()) };
        let reply = match kept {
            Ok(()) => self.perform(asked, at),
            Err(error) => Reply::refusal(StatusCode::INSUFFICIENT_STORAGE, &format!("the books: {error}")),
        };
        self.settle(asked, &reply);
        reply
    }

    /// Applies one line of the journal to the books. When the file is opened again, this is called for each of its
    /// lines.
    fn work_off(&mut self, line: Line) {
        match line {
            Line::Begun { start, made } => (self.start, self.made) = (start, made),
            Line::Seen { asked } => {
                self.note(&asked);
            }
            Line::Done { at, asked } => {
                let reply = self.perform(&asked, at);
                self.settle(&asked, &reply);
            }
        }
    }

    fn keep(&mut self, line: Line) -> io::Result<()> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.write(&line))
    }

    /// Counts one change in the total. Also counts it under the key of the request or, if the request has no key, among
    /// the changes without a key.
    pub(super) fn enter(&mut self, asked: &Asked) {
        self.counts.effects += 1;
        match &asked.key {
            Some(key) => self.counts.by_key.entry(key.clone()).or_default().effects += 1,
            None => self.counts.unkeyed.effects += 1,
        }
    }

    pub(super) fn next_id(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}_{:08x}{:08x}", self.start, self.made)
    }
}
