//! Keeps facts about a call that are still needed after its future was dropped. They decide whether the call goes on
//! without its caller. A safe call goes on only as a *witness*: to show whether the endpoint works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use seawall_policy::{Effect, Ending, Finish, Idempotency, Plan, Underway, Witness};

use crate::body::Source;
use crate::connect::Meter;
use crate::shared::Shared;

/// The text that is reported if the deadline passed before an answer came.
pub(crate) const DEADLINE_PASSED: &str = "the deadline passed before an answer came";

/// What code outside of a call's future knows of the call.
pub(crate) struct Tracks {
    shared: Arc<Shared>,
    /// Whether the call is safe. A safe call changes nothing at the provider, so it may be cancelled when nobody waits
    /// for it.
    safe: bool,
    left: AtomicBool,
    /// The maximum time, in nanoseconds, that the attempt may go on without progress if it goes on only to learn
    /// whether the endpoint works. For every other attempt it is [`u64::MAX`].
    patience: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    flight: Option<Flight>,
    cut: Option<Cut>,
    /// Whether the call goes on only to learn whether the endpoint works. In that case the caller has left, or is told
    /// that its deadline has passed.
    is_witness: bool,
}

/// The attempt in flight.
struct Flight {
    underway: Underway,
    read: Duration,
    /// How the call would end if its caller's deadline passed now.
    finish: Finish,
    source: Source,
    /// The counter of the connection's bytes, and the number that it showed before the request was sent. `None` while
    /// the attempt has no connection.
    sent: Option<(Arc<Meter>, u64)>,
    /// Whether the last byte of the request is known to have left. Over HTTP/2 this is not known, and the value stays
    /// `false`.
    sent_whole: bool,
}

/// The result for a caller whose deadline has passed. The attempt goes on without the caller, only to learn whether the
/// endpoint works.
pub(crate) struct Cut {
    pub(crate) finish: Finish,
    pub(crate) following: Following,
}

/// The right of a call to go on without its caller, to learn whether the endpoint works. The number of such calls is
/// bounded. The right is given back when this value is dropped.
pub(crate) struct Following {
    shared: Arc<Shared>,
    witness: Option<Witness>,
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(witness) = self.witness.take() {
            self.shared.with(|guards| guards.unfollow(witness));
        }
    }
}

/// Why a call goes on although its future was dropped.
pub(crate) enum Stays {
    /// The call goes on so that its effect becomes known.
    ForItsEffect,
    /// The call goes on only to learn whether the endpoint hangs.
    AsWitness(Following),
}

impl Tracks {
    pub(crate) fn new(shared: &Arc<Shared>, idempotency: Idempotency) -> Arc<Tracks> {
        Arc::new(Tracks {
            shared: Arc::clone(shared),
            safe: idempotency == Idempotency::Safe,
            left: AtomicBool::new(false),
            patience: AtomicU64::new(u64::MAX),
            state: Mutex::default(),
        })
    }

    /// Keeps what is needed to let an attempt go on without its caller. Must be called when the attempt begins.
    /// `underway` holds its endpoint, its start, and whether it is a probe. `read` is its read timeout. `finish` is how
    /// the call ends if its caller's deadline passes during this attempt. `source` is the request's body.
    pub(crate) fn begins(&self, underway: Underway, read: Duration, finish: Finish, source: &Source) {
        let source = source.clone();
        let flight = Flight { underway, read, finish, source, sent: None, sent_whole: false };
        self.state.lock().flight = Some(flight);
    }

    /// Must be called when the attempt has got a connection and begins to write to it. `meter` counts the connection's
    /// bytes.
    pub(crate) fn sending(&self, meter: &Arc<Meter>) {
        if let Some(flight) = &mut self.state.lock().flight {
            flight.sent = Some((Arc::clone(meter), meter.written()));
        }
    }

    /// Must be called when the last byte of the request has left.
    pub(crate) fn sent_whole(&self) {
        if let Some(flight) = &mut self.state.lock().flight {
            flight.sent_whole = true;
        }
    }

    /// Must be called when the attempt has ended.
    pub(crate) fn over(&self) {
        self.state.lock().flight = None;
    }

    /// Returns the maximum time that the attempt may go on without progress. This is its read timeout (`read`). A
    /// shorter time may hold for an attempt that goes on only to learn whether the endpoint works.
    #[inline]
    pub(crate) fn patience(&self, read: Duration) -> Duration {
        read.min(Duration::from_nanos(self.patience.load(Ordering::Relaxed)))
    }

    /// Returns whether the caller has left. If so, no attempt is sent after the one that is in flight.
    pub(crate) fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// Must be called when the caller's own deadline has passed. Returns whether the attempt goes on without the
    /// caller, to learn whether the endpoint works. If the result is `false`, the code that called this function must
    /// cancel the attempt.
    ///
    /// An attempt never goes on if the caller has not delivered the whole body. If the call is safe, the attempt may go
    /// on even if a part of the request is still to be sent. If the call is not safe, no byte of the request may leave
    /// after the deadline, so the attempt goes on only if the whole request was sent before.
    pub(crate) fn deadline_passed(&self) -> bool {
        let mut state = self.state.lock();
        if state.is_witness {
            return true;
        }
        let can_go_on = |flight: &&Flight| flight.source.complete() && (self.safe || flight.sent_whole);
        let Some(flight) = state.flight.as_ref().filter(can_go_on) else { return false };
        let Some(following) = self.witness(flight) else { return false };
        state.cut = Some(Cut { finish: flight.finish, following });
        state.is_witness = true;
        self.left.store(true, Ordering::Relaxed);
        true
    }

    /// Returns the result for a caller whose deadline has passed while the attempt goes on. Returns `None` if there is
    /// no such result, or if it was taken already.
    pub(crate) fn take_cut(&self) -> Option<Cut> {
        self.state.lock().cut.take()
    }

    /// Must be called when the call's future is dropped. Returns why the call goes on without its caller; `None` if the
    /// call does not go on.
    pub(crate) fn leaves(&self) -> Option<Stays> {
        let mut state = self.state.lock();
        let flight = state.flight.as_ref().filter(|flight| self.can_go_on(flight))?;
        let stays = match self.safe {
            true => Stays::AsWitness(self.witness(flight)?),
            false => Stays::ForItsEffect,
        };
        state.is_witness = self.safe;
        self.left.store(true, Ordering::Relaxed);
        Some(stays)
    }

    /// Returns whether an attempt can go on without its caller. For this, the caller must have delivered the whole
    /// body. In addition, one of two facts is needed: the call is safe, or a byte of the attempt's request was sent, so
    /// that the request may take effect.
    fn can_go_on(&self, flight: &Flight) -> bool {
        let sent = flight.sent.as_ref().is_some_and(|(meter, base)| meter.written() > *base);
        flight.source.complete() && (self.safe || sent)
    }

    fn witness(&self, flight: &Flight) -> Option<Following> {
        let witness = self.shared.with(|guards| guards.follow(&flight.underway, flight.read))?;
        let patience = u64::try_from(witness.patience().as_nanos()).unwrap_or(u64::MAX);
        self.patience.store(patience, Ordering::Relaxed);
        Some(Following { shared: Arc::clone(&self.shared), witness: Some(witness) })
    }
}

/// Returns how a call ends if its caller's deadline passes while an attempt is in flight. `effect` is the effect of the
/// attempts before it. The attempt in flight counts as ended by the deadline.
pub(crate) fn cut_now(plan: &Plan, effect: Effect, attempts: u32, endpoint: usize) -> Finish {
    let effect = effect.and(plan.rules.judge(&Ending::CallerDeadline).effect);
    Finish { effect, attempts, endpoint, refusal: None, stopped: None }
}
