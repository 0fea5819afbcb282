//! Watches the streams of a caller's HTTP/2 connection, each of which has a deadline.
//!
//! Each stream is a task of its own. The worker looks at all connections four times a second, and ends the tasks of
//! *late* streams: their deadline has passed, or their caller does not read the answer. When the task ends, the
//! connection to the dependency, the place in the dependency's limit and the buffered bytes are given back. The caller
//! gets a reset.
//!
//! A deadline inside the future of the answer's body, which hyper asks for the next piece, would be simpler. But hyper
//! asks a body for nothing while the caller does not allow more bytes (the flow control of HTTP/2), so such a deadline
//! would never fire. In that way, one connection with twenty streams kept all twenty places of a dependency's limit for
//! as long as it liked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use seawall_policy::Time;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::patience::{LATE, UNREAD};

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The time by which the stream must be over, in nanoseconds of the clock. [`Time::NEVER`] until a deadline is set.
    end_by: AtomicU64,
    /// The number of pieces of the answer that were passed to hyper.
    pieces: AtomicU64,
    /// Whether the caller has not yet taken the last piece that was passed to hyper.
    owes: AtomicBool,
    /// Whether the stream is being ended because it is late.
    late: AtomicBool,
}

impl Stream {
    /// Sets the time by which the stream must be over.
    pub(super) fn ends_by(&self, end_by: Time) {
        self.end_by.store(end_by.as_nanos(), Relaxed);
    }

    /// Returns whether the stream was ended because it was late.
    pub(super) fn is_late(&self) -> bool {
        self.late.load(Relaxed)
    }

    /// Notes that the caller has taken all pieces of the answer that hyper has got so far. So the caller is not too
    /// slow.
    pub(crate) fn has_taken(&self) {
        self.owes.store(false, Relaxed);
    }

    /// Notes that a piece of the answer is passed to hyper.
    pub(crate) fn handed(&self) {
        self.pieces.store(self.pieces.load(Relaxed) + 1, Relaxed);
        self.owes.store(true, Relaxed);
    }
}

/// All streams of one connection.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// The stream whose task is about to be spawned.
    next: Mutex<Option<Arc<Stream>>>,
    all: Mutex<Vec<Watched>>,
    /// Whether a stream was ended because its caller was too slow, and bytes of the connection have been waiting to be
    /// written ever since.
    late: AtomicBool,
    leave: Notify,
}

/// A stream's task, as the worker's round checks it.
#[derive(Debug)]
struct Watched {
    task: AbortHandle,
    stream: Arc<Stream>,
    /// What the worker's last rounds saw of the answer:
    ///
    /// - `since`: the time of the last round in which the caller was not too slow. Either hyper had got a new piece
    ///   since the round before, or the caller had taken all pieces. [`Time::ZERO`] before the first round.
    /// - `seen`: the number of pieces that hyper had got at that time.
    seen: u64,
    since: Time,
}

/// If the list of a connection's streams is at least this long and would need more memory, the tasks that have ended
/// are removed from it first. A shorter list is cleaned by the worker's next round only.
const LONG: usize = 256;

impl Streams {
    /// Makes a new stream, whose task is about to be spawned.
    pub(super) fn next(&self) -> Arc<Stream> {
        let stream = Arc::new(Stream {
            end_by: AtomicU64::new(Time::NEVER.as_nanos()),
            pieces: AtomicU64::new(0),
            owes: AtomicBool::new(false),
            late: AtomicBool::new(false),
        });
        *self.next.lock() = Some(Arc::clone(&stream));
        stream
    }

    /// Watches `task` as the task of the stream that [`Streams::next`] made last. Does nothing if that stream has a
    /// task already.
    pub(super) fn watch(&self, task: AbortHandle) {
        let Some(stream) = self.next.lock().take() else { return };
        let mut all = self.all.lock();
        if all.len() >= LONG && all.len() == all.capacity() {
            all.retain(|watched| !watched.task.is_finished());
        }
        all.push(Watched { task, stream, seen: 0, since: Time::ZERO });
    }

    /// Ends the streams whose deadline has passed or whose caller does not read the answer. Returns whether any streams
    /// were in the list, including those that have ended since the last call of this function.
    pub(crate) fn look_after(&self, now: Time) -> bool {
        let mut all = self.all.lock();
        let any = !all.is_empty();
        all.retain_mut(|watched| {
            if watched.task.is_finished() {
                return false;
            }
            if watched.is_late(now) {
                watched.stream.late.store(true, Relaxed);
                self.late.store(true, Relaxed);
                watched.task.abort();
            }
            true
        });
        any
    }

    /// Notes that all bytes of the connection are written. [`Streams::waits_for_late`] then returns `false` until
    /// another stream is ended because its caller was too slow. Must be called whenever all bytes are written.
    /// Otherwise a slow caller that has read everything in the meantime would still count as one that does not read,
    /// and its connection could be ended.
    pub(crate) fn all_written(&self) {
        self.late.store(false, Relaxed);
    }

    /// Returns whether a stream was ended because its caller was too slow, and bytes may still wait to be written to
    /// that caller.
    pub(crate) fn waits_for_late(&self) -> bool {
        self.late.load(Relaxed)
    }

    /// Asks the connection to close when its streams are over.
    pub(crate) fn leave(&self) {
        self.leave.notify_one();
    }

    /// Waits until [`Streams::leave`] has asked the connection to close.
    pub(crate) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Watched {
    fn is_late(&mut self, now: Time) -> bool {
        let stream = &self.stream;
        if now > Time::from_nanos(stream.end_by.load(Relaxed)).saturating_add(LATE) {
            return true;
        }
        let pieces = stream.pieces.load(Relaxed);
        if pieces != self.seen || !stream.owes.load(Relaxed) || self.since == Time::ZERO {
            (self.seen, self.since) = (pieces, now);
        }
        now.since(self.since) > UNREAD
    }
}
