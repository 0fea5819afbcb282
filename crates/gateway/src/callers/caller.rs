//! Watches one caller's connection from outside its task: what the caller does, since when, and how long it may take.
//!
//! Everything that a caller holds must be given back at a time that does not depend on the caller. So each worker looks
//! at its connections four times a second ([`Caller::look_after`]). A deadline inside the future of the answer's body,
//! which hyper polls, would be simpler, but it would never fire: hyper does not poll the body while the caller takes no
//! bytes, and does not look at the socket while an upload makes no progress.

pub(crate) mod io;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use seawall_client::connect::{Meter, Peek, Probe};
use seawall_policy::Time;
use tokio::task::AbortHandle;

use super::patience::{self, Patience};
use super::streams::Streams;
use super::unread;

/// The state of a caller's connection that can be read from outside the connection's task.
#[derive(Debug)]
pub(crate) struct Caller {
    meter: Arc<Meter>,
    probe: Probe,
    task: Task,
    phase: AtomicU8,
    /// A time in nanoseconds of the clock. Its meaning depends on the value of `phase`, which is one of the constants
    /// below:
    ///
    /// - `CALL` over HTTP/1: the time by which the call must be over.
    /// - `CALL` over HTTP/2: the last time at which [`Caller::look_after`] found a stream.
    /// - `LEAVING`: the last time at which [`Caller::look_after`] found a stream or bytes that waited to be written.
    /// - `FREED`: it has no meaning.
    /// - `HEAD` and `IDLE`: the time when the phase began.
    marked: AtomicU64,
    /// The number of requests that hyper has passed to the gateway so far.
    requests: AtomicU64,
    /// The number of the first doubtful request, counted from 1; `u64::MAX` if there is none. A request is doubtful if
    /// a proxy before us may have read its bytes in another way than hyper, for example as two requests. All later
    /// requests of the connection are doubtful too.
    doubtful_from: AtomicU64,
    /// Whether the first doubtful request (see `doubtful_from`) is doubtful only because its target has a `#`.
    fragment: AtomicBool,
    /// Whether the beginning of a head has come, but not its end.
    in_head: AtomicBool,
    /// The streams of an HTTP/2 connection. `None` on HTTP/1.
    streams: Option<Box<Streams>>,
    /// Whether the connection was closed because the caller sent too many control frames (frames of HTTP/2 that carry
    /// no part of a request, such as PING).
    flooded: AtomicBool,
    /// The status with which hyper refused a head that it could not read. Zero if it refused none.
    unread: AtomicU16,
    /// Whether the socket accepts no more bytes at the moment.
    blocked: AtomicBool,
    standstill: Mutex<Standstill>,
    /// Whether bytes could not be written.
    write_failed: AtomicBool,
    /// A number of bytes, counted from the beginning of the connection. hyper gets the bodies of answers piece by
    /// piece. When the socket has accepted this number of bytes, hyper holds nothing more of the piece that it got
    /// last.
    owed: AtomicU64,
    /// Whether the task that sends an answer's body waits until hyper has written the piece that it got last. The waker
    /// in `body` wakes this task.
    body_waits: AtomicBool,
    body: Mutex<Option<Waker>>,
}

/// The handle with which the task that serves a connection can be ended. It is set as soon as the task is spawned.
pub(crate) type Task = Arc<OnceLock<AbortHandle>>;

/// What the last run of [`Caller::look_after`] saw of the bytes that wait to be written.
///
/// - `moved`: the number of bytes that had been written since the beginning of the connection.
/// - `since`: the time of the last progress; `None` if no bytes wait.
#[derive(Debug, Default)]
struct Standstill {
    moved: u64,
    since: Option<Time>,
}

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const CALL: u8 = 2;
/// The state directly after a call. The time at which the call ended is not known yet. The next run of
/// [`Caller::look_after`] notes the time, and changes the state to `IDLE` or `HEAD`.
const FREED: u8 = 3;
/// The phase of an HTTP/2 connection that has been asked to close.
const LEAVING: u8 = 4;

impl Caller {
    fn new(meter: Arc<Meter>, probe: Probe, task: Task, now: Time, http2: bool) -> Caller {
        Caller {
            meter,
            probe,
            task,
            phase: AtomicU8::new(IDLE),
            marked: AtomicU64::new(now.as_nanos()),
            requests: AtomicU64::new(0),
            doubtful_from: AtomicU64::new(u64::MAX),
            fragment: AtomicBool::new(false),
            in_head: AtomicBool::new(false),
            streams: http2.then(Box::default),
            flooded: AtomicBool::new(false),
            unread: AtomicU16::new(0),
            blocked: AtomicBool::new(false),
            standstill: Mutex::default(),
            write_failed: AtomicBool::new(false),
            owed: AtomicU64::new(0),
            body_waits: AtomicBool::new(false),
            body: Mutex::default(),
        }
    }

    /// Notes that a request's head has been read, and that the call to the dependency must be over at `end_by`. If the
    /// request has a body, the time is set again when the body has come, and the new time replaces the old one. This is
    /// for HTTP/1 only.
    pub(crate) fn ends_by(&self, end_by: Time) {
        self.phase.store(CALL, Relaxed);
        self.marked.store(end_by.as_nanos(), Relaxed);
    }

    /// Notes that the call is over: hyper has got the whole answer, or the answer was dropped. The clock is not read
    /// here. The next run of [`Caller::look_after`] notes the time.
    pub(crate) fn call_over(&self) {
        self.phase.store(FREED, Relaxed);
    }

    /// Counts a request that hyper passes to the gateway. Returns whether the request is doubtful: a proxy before us
    /// may have read this request, or an earlier one of the connection, in another way than hyper. This is for HTTP/1
    /// only, where one task passes requests on in the order in which they were read.
    pub(crate) fn next_is_doubtful(&self) -> bool {
        let number = self.requests.load(Relaxed) + 1;
        self.requests.store(number, Relaxed);
        number >= self.doubtful_from.load(Relaxed)
    }

    /// Returns whether the first doubtful request is doubtful only because its target has a `#`.
    pub(crate) fn sent_fragment(&self) -> bool {
        self.fragment.load(Relaxed)
    }

    /// Makes the connection end with a reset, because the answer that was sent is incomplete.
    pub(crate) fn reset_at_the_end(&self) {
        self.meter.reset_on_drop(true);
    }

    /// Notes that hyper gets a piece of a body to write, so that [`Caller::owes`] can tell whether the piece is
    /// written. `bytes` is the length of the piece.
    pub(crate) fn owe(&self, bytes: usize) {
        self.owed.store(self.meter.accepted() + bytes as u64, Relaxed);
    }

    /// Returns whether hyper still holds bytes of the piece of a body that it got last, because the socket has not
    /// taken them yet.
    pub(crate) fn owes(&self) -> bool {
        self.meter.accepted() < self.owed.load(Relaxed)
    }

    /// Registers `task`, which is woken when the socket has taken more bytes or has failed.
    pub(crate) fn wake_when_taken(&self, task: &Waker) {
        *self.body.lock() = Some(task.clone());
        self.body_waits.store(true, Relaxed);
    }

    /// Wakes the task that waits to send more of an answer's body, if there is one. This is called when the socket has
    /// taken more bytes or has failed.
    fn has_taken(&self) {
        if self.body_waits.load(Relaxed) {
            self.body_waits.store(false, Relaxed);
            if let Some(task) = self.body.lock().take() {
                task.wake();
            }
        }
    }

    /// Returns whether some bytes of an answer were never written. This is called when the connection is over.
    pub(crate) fn lost_bytes(&self) -> bool {
        self.write_failed.load(Relaxed) || self.owes() || self.meter.unwritten() > 0
    }

    #[cfg(test)]
    pub(crate) fn written(&self) -> u64 {
        self.meter.written()
    }

    /// Returns the streams of an HTTP/2 connection. `None` on HTTP/1.
    pub(crate) fn streams(&self) -> Option<&Streams> {
        self.streams.as_deref()
    }

    /// Returns, in words, why hyper refused a head on this connection. `None` if it refused none.
    pub(crate) fn unread(&self) -> Option<&'static str> {
        let status = StatusCode::from_u16(self.unread.load(Relaxed)).ok()?;
        Some(unread::why(status))
    }

    /// Returns whether the connection was closed because of too many control frames.
    pub(crate) fn was_flooded(&self) -> bool {
        self.flooded.load(Relaxed)
    }

    /// Checks the connection from outside its task. The connection is ended in these cases:
    ///
    /// - A head takes too long.
    /// - A call is past its deadline because its caller does not read.
    /// - The caller has left, or has taken no bytes for too long.
    /// - The connection has been idle for too long.
    pub(crate) fn look_after(&self, now: Time, limits: &Patience) {
        let still = self.stands_still(now);
        if still.is_some_and(|still| still > patience::UNREAD) {
            return self.end();
        }
        if let Some(streams) = &self.streams {
            return self.look_after_streams(streams, still, now, limits);
        }
        let marked = Time::from_nanos(self.marked.load(Relaxed));
        match self.phase.load(Relaxed) {
            HEAD if now.since(marked) > limits.head => self.end(),
            CALL if self.probe.is_reset() => self.left(),
            CALL if now > marked.saturating_add(patience::GRACE) => self.end(),
            IDLE => {
                let tired = now.since(marked) > patience::IDLE;
                let leaving = limits.draining && now.since(marked) > patience::SETTLE;
                if (tired || leaving) && self.probe.peek() == Peek::Quiet {
                    self.probe.shut_down_reading();
                }
            }
            FREED => {
                let next = if self.in_head.load(Relaxed) { HEAD } else { IDLE };
                self.phase.store(next, Relaxed);
                self.marked.store(now.as_nanos(), Relaxed);
            }
            _ => {}
        }
    }

    fn look_after_streams(&self, streams: &Streams, still: Option<Duration>, now: Time, limits: &Patience) {
        if still.is_none() {
            streams.all_written();
        }
        let forlorn = still.is_some_and(|still| still > patience::GRACE) && streams.waits_for_late();
        let busy = streams.look_after(now);
        let (phase, marked) = (self.phase.load(Relaxed), Time::from_nanos(self.marked.load(Relaxed)));
        let since = now.since(marked);
        let turn = |phase| {
            self.phase.store(phase, Relaxed);
            self.marked.store(now.as_nanos(), Relaxed);
        };
        match phase {
            // No stream is left. But bytes wait, and their writing made no progress for longer than `GRACE`. They
            // belong to an answer whose stream was ended because its caller was too slow. So the connection is ended.
            _ if !busy && forlorn => self.end(),
            HEAD if self.in_head.load(Relaxed) => {
                if since > limits.head {
                    self.end();
                }
            }
            _ if self.in_head.load(Relaxed) => turn(HEAD),
            LEAVING if busy || still.is_some() => turn(LEAVING),
            LEAVING if since > patience::GRACE => self.probe.shut_down(),
            LEAVING => {}
            _ if busy => turn(CALL),
            IDLE => {
                if since > patience::IDLE || (limits.draining && since > patience::SETTLE) {
                    streams.leave();
                    turn(LEAVING);
                }
            }
            _ => turn(IDLE),
        }
    }

    /// Returns the time since the last progress in writing; `None` if no bytes wait to be written. While hyper holds a
    /// piece of a body, only a completely written piece counts as progress, so that a caller cannot hold the call for
    /// ever by taking single bytes. At other times each byte that the socket takes counts.
    fn stands_still(&self, now: Time) -> Option<Duration> {
        let owes = self.owes();
        if !owes && !self.blocked.load(Relaxed) && self.meter.unwritten() == 0 {
            self.standstill.lock().since = None;
            return None;
        }
        let moved = if owes { self.owed.load(Relaxed) } else { self.meter.written() };
        let mut seen = self.standstill.lock();
        if seen.moved != moved {
            *seen = Standstill { moved, since: None };
        }
        Some(now.since(*seen.since.get_or_insert(now)))
    }

    /// Ends the task of a caller that has left during its call. hyper would not notice that the caller has left, since
    /// it does not look at the socket while an upload makes no progress.
    fn left(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    fn end(&self) {
        self.meter.reset_on_drop(true);
        self.probe.shut_down();
    }
}
