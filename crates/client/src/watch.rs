//! The one sleep of an exchange: no progress for too long, or past the end.
//!
//! A timer that is set anew on each read costs more than the read. So the timer of a connection is left where it is
//! as long as it fires early enough, and the clock is trusted, not the timer: when it fires, the real deadline is
//! worked out, and the timer is moved there if that lies ahead.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use seawall_policy::Time;
use tokio::time::Sleep;

use crate::clock::Clock;
use crate::tracks::Tracks;

/// Which deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// No progress for the read timeout.
    Read,
    /// The end of everything.
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

/// Watches over one exchange.
pub(crate) struct Watch {
    clock: Clock,
    read: Duration,
    end_by: Time,
    /// A call that can go on without its caller, and the end that it has without the caller's own deadline.
    call: Option<(Arc<Tracks>, Time)>,
    last: Time,
    seen: u64,
}

impl Watch {
    /// Starts at `now`; `seen` is the progress counter's value.
    pub(crate) fn new(clock: Clock, read: Duration, end_by: Time, now: Time, seen: u64) -> Watch {
        Watch { clock, read, end_by, call: None, last: now, seen }
    }

    /// The exchange can go on without its caller. As a witness it goes on past the caller's own deadline, until `own_end_by`, and
    /// waits as long for progress as its guards said.
    pub(crate) fn of_call(mut self, tracks: &Arc<Tracks>, own_end_by: Time) -> Watch {
        self.call = Some((Arc::clone(tracks), own_end_by));
        self
    }

    /// The last byte of the request has left.
    pub(crate) fn sent_whole(&self) {
        if let Some((tracks, _)) = &self.call {
            tracks.sent_whole();
        }
    }

    /// Whether an exchange may go on past the caller's deadline, and so wants to be told [`Watch::sent_whole`].
    pub(crate) fn asks_what_was_sent(&self) -> bool {
        self.call.as_ref().is_some_and(|(_, own_end_by)| self.end_by < *own_end_by)
    }

    /// Progress that needs no clock, since it was made when the last was.
    pub(crate) fn has_seen(&mut self, seen: u64) {
        self.seen = seen;
    }

    /// Call when there is nothing to do but wait. `seen` is the progress counter's value now.
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
            // It fired for an earlier exchange, or a hair too early: move it on.
            timer.fires = due;
            timer.sleep.as_mut().reset(self.clock.instant(due));
        }
    }

    fn due(&self) -> Time {
        let read = self.call.as_ref().map_or(self.read, |(tracks, _)| tracks.patience(self.read));
        self.last.saturating_add(read).min(self.end_by)
    }

    /// The time spent outside, with nobody waiting for the other side, is not the other side's.
    pub(crate) fn resume(&mut self) {
        self.last = self.clock.now();
    }
}
