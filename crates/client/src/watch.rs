//! Watches over an exchange with one timer. The timer fires if there was no progress for too long, or if the exchange's
//! deadline has passed.
//!
//! The timer of a connection is not set again at each read, because that would cost more than the read. It may fire too
//! early, but never too late. When it fires, the clock is read and the real deadline is computed. If that deadline is
//! later, the timer is set to it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use seawall_policy::Time;
use tokio::time::Sleep;

use crate::clock::Clock;
use crate::tracks::Tracks;

/// Why an exchange must end now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// There was no progress for the time of the read timeout.
    Read,
    /// The time by which the exchange must end has passed.
    End,
}

/// A timer that is kept between exchanges.
#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
    fires: Time,
}

impl Timer {
    pub(crate) fn new(clock: Clock, fires: Time) -> Timer {
        Timer { sleep: Box::pin(tokio::time::sleep_until(clock.instant(fires))), fires }
    }
}

/// Watches over one exchange, and finds out when the read timeout or the deadline has passed.
pub(crate) struct Watch {
    clock: Clock,
    read: Duration,
    end_by: Time,
    /// The call, and the time by which the exchange must end if it goes on without its caller (after the caller has
    /// left, or after the caller's deadline). `None` if the exchange cannot go on without its caller.
    call: Option<(Arc<Tracks>, Time)>,
    last: Time,
    seen: u64,
}

impl Watch {
    /// Makes a watch that starts at `now`. `seen` is the number of bytes or frames that had passed by then. While this
    /// number grows, there is progress.
    pub(crate) fn new(clock: Clock, read: Duration, end_by: Time, now: Time, seen: u64) -> Watch {
        Watch { clock, read, end_by, call: None, last: now, seen }
    }

    /// Allows the exchange to go on after its caller has left, or after the caller's deadline has passed, to learn
    /// whether the endpoint works (as a *witness*).
    ///
    /// `own_end_by` is the time by which the exchange would have to end if the caller had set no deadline. A witness
    /// ends by that time at the latest. It ends earlier if there is no progress during the read timeout, or during a
    /// shorter time that the guards allow.
    pub(crate) fn of_call(mut self, tracks: &Arc<Tracks>, own_end_by: Time) -> Watch {
        self.call = Some((Arc::clone(tracks), own_end_by));
        self
    }

    /// Must be called when the last byte of the request has left.
    pub(crate) fn sent_whole(&self) {
        if let Some((tracks, _)) = &self.call {
            tracks.sent_whole();
        }
    }

    /// Returns whether the exchange may go on after the caller's deadline. For some calls, this is allowed only if the
    /// whole request was sent by then. So if the result is `true`, the owner of this watch must call
    /// [`Watch::sent_whole`] when the last byte of the request has left.
    pub(crate) fn asks_what_was_sent(&self) -> bool {
        self.call.as_ref().is_some_and(|(_, own_end_by)| self.end_by < *own_end_by)
    }

    /// Records that `seen` bytes or frames have passed by now. The clock is not read for this, so they count as if they
    /// had passed when the clock was last read.
    pub(crate) fn has_seen(&mut self, seen: u64) {
        self.seen = seen;
    }

    /// Becomes ready when the read timeout or the deadline has passed, and returns which of them. Must be called when
    /// there is nothing to do but wait. `seen` is a number that grows while there is progress. If it has changed since
    /// the last call, the read timeout starts anew.
    pub(crate) fn poll(&mut self, timer: &mut Timer, seen: u64, cx: &mut Context<'_>) -> Poll<Lapse> {
        if seen != self.seen {
            self.seen = seen;
            self.last = self.clock.now();
        }
        loop {
            let due = self.due();
            if timer.fires > due {
                timer.fires = due;
                timer.sleep.as_mut().reset(self.clock.instant(due));
            }
            std::task::ready!(timer.sleep.as_mut().poll(cx));
            let now = self.clock.now();
            if now >= self.end_by {
                match &self.call {
                    Some((tracks, own)) if now < *own && tracks.deadline_passed() => self.end_by = *own,
                    Some(_) | None => return Poll::Ready(Lapse::End),
                }
            }
            let due = self.due();
            if now >= due {
                return Poll::Ready(Lapse::Read);
            }
            // The timer was set for an earlier exchange, or fired slightly too early. It is moved to the deadline.
            timer.fires = due;
            timer.sleep.as_mut().reset(self.clock.instant(due));
        }
    }

    fn due(&self) -> Time {
        let read = self.call.as_ref().map_or(self.read, |(tracks, _)| tracks.patience(self.read));
        self.last.saturating_add(read).min(self.end_by)
    }

    /// Begins the read timeout anew. The time before this call was not spent waiting for the server, so it does not
    /// count for the timeout.
    pub(crate) fn resume(&mut self) {
        self.last = self.clock.now();
    }
}
