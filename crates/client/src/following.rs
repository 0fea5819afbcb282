//! A call that goes on without its caller.
//!
//! There are two causes. An attempt that may have an effect, and that was sent whole, goes on so that its effect is known. Any
//! other goes on only as a witness ([`seawall_policy::DependencyGuards::follow`]): where the question is open if the endpoint
//! hangs, its real ending is the answer. Both are driven to their end by a task of their own. A caller goes in one of two
//! ways: it drops the future, or its own deadline passes, and then it is answered while the attempt goes on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use seawall_policy::{Effect, Ending, Finish, Idempotency, Plan, Reason, Underway, Witness};
use tokio::sync::watch;

use crate::body::Source;
use crate::connect::Meter;
use crate::shared::Shared;
use crate::{Dependency, Outcome};

/// What a caller reads whose deadline passed before an answer came.
pub(crate) const DEADLINE_PASSED: &str = "the deadline passed before an answer came";

/// What is known of a call from outside its future: whether it can be left alone to finish.
pub(crate) struct Tracks {
    shared: Arc<Shared>,
    /// A second delivery, and one that nobody waits for, has no effect.
    safe: bool,
    left: AtomicBool,
    /// In nanoseconds: how long a witness waits for progress. [`u64::MAX`] while it is none.
    patience: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    flight: Option<Flight>,
    cut: Option<Cut>,
    /// It goes on as a witness: its caller has left, or was answered, or is about to be.
    is_witness: bool,
}

/// The attempt in flight.
struct Flight {
    underway: Underway,
    read: Duration,
    /// How the call would end if its caller's deadline passed now.
    finish: Finish,
    source: Source,
    /// The connection's meter, and what it showed before the request.
    sent: Option<(Arc<Meter>, u64)>,
    /// The last byte of the request has left. Not known over HTTP/2.
    sent_whole: bool,
}

/// The caller's deadline passed, and its attempt goes on.
struct Cut {
    finish: Finish,
    following: Following,
}

/// A witness's place; given back when dropped.
struct Following {
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

/// Why a call goes on whose future was dropped.
enum Stays {
    /// Its effect is to be known.
    ForItsEffect,
    /// It tells whether the endpoint hangs.
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

    /// An attempt begins, with this read timeout. `finish` tells how the call ends if its caller's deadline passes before the attempt ended.
    pub(crate) fn begins(&self, underway: Underway, read: Duration, finish: Finish, source: &Source) {
        let source = source.clone();
        let flight = Flight { underway, read, finish, source, sent: None, sent_whole: false };
        self.state.lock().flight = Some(flight);
    }

    /// The attempt has this connection, and begins to write to it.
    pub(crate) fn sending(&self, meter: &Arc<Meter>) {
        if let Some(flight) = &mut self.state.lock().flight {
            flight.sent = Some((Arc::clone(meter), meter.written()));
        }
    }

    /// The last byte of the request has left.
    pub(crate) fn sent_whole(&self) {
        if let Some(flight) = &mut self.state.lock().flight {
            flight.sent_whole = true;
        }
    }

    /// The attempt is over.
    pub(crate) fn over(&self) {
        self.state.lock().flight = None;
    }

    /// How long the attempt waits for progress, whose read timeout is `read`.
    #[inline]
    pub(crate) fn patience(&self, read: Duration) -> Duration {
        read.min(Duration::from_nanos(self.patience.load(Ordering::Relaxed)))
    }

    /// Whether the caller went away: nothing is sent after the attempt in flight.
    pub(crate) fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// The caller's own deadline passed. Whether the attempt goes on as a witness; else it is to be cancelled. One that is not
    /// safe goes on only where nothing of it is left to be sent: no byte of it leaves after the deadline.
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

    /// The future is dropped.
    fn leaves(&self) -> Option<Stays> {
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

    /// Whether an attempt needs nothing more of its caller. One that is not safe must have been sent.
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

type Drive = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A call that can go on without its caller.
pub(crate) struct Followed {
    drive: Option<Drive>,
    tracks: Arc<Tracks>,
    dependency: Arc<Dependency>,
}

impl Followed {
    pub(crate) fn new(drive: Drive, tracks: Arc<Tracks>, dependency: Arc<Dependency>) -> Followed {
        Followed { drive: Some(drive), tracks, dependency }
    }
}

impl Future for Followed {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let drive = self.drive.as_mut().expect("not polled after its end");
        if let Poll::Ready(outcome) = drive.as_mut().poll(cx) {
            self.drive = None;
            return Poll::Ready(outcome);
        }
        if !self.tracks.has_left() {
            return Poll::Pending;
        }
        let Some(Cut { finish, following }) = self.tracks.state.lock().cut.take() else {
            return Poll::Pending;
        };
        if let Some(drive) = self.drive.take() {
            spawn_witness(drive, following, &self.dependency);
        }
        let detail = Some(DEADLINE_PASSED.to_owned());
        Poll::Ready(Outcome { finish, answer: None, ending: Some(Ending::CallerDeadline), detail })
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let Some(drive) = self.drive.take() else { return };
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        match self.tracks.leaves() {
            Some(Stays::ForItsEffect) => spawn_followed(drive, &self.dependency),
            Some(Stays::AsWitness(following)) => spawn_witness(drive, following, &self.dependency),
            None => {}
        }
    }
}

fn spawn_followed(drive: Drive, dependency: &Arc<Dependency>) {
    let followed = Arc::clone(dependency);
    tokio::spawn(async move {
        let outcome = drive.await;
        let dependency = followed.name.as_str();
        if let Some(tell) = &followed.followed {
            tell(&outcome);
        }
        let (effect, reason) = (outcome.finish.effect, outcome.reason().map(Reason::as_str));
        tracing::info!(dependency, %effect, reason, "a call was followed to its end after its caller left");
    });
}

/// A witness holds up nobody: not the end of the program, and not that of its dependency.
fn spawn_witness(drive: Drive, following: Following, dependency: &Arc<Dependency>) {
    let (name, mut ends) = (dependency.name.clone(), dependency.witnesses.subscribe());
    tokio::spawn(async move {
        let dependency = name.as_str();
        tokio::select! {
            biased;
            _ = ends.wait_for(|ends| *ends) => {}
            outcome = drive => {
                let reason = outcome.reason().map(Reason::as_str);
                tracing::debug!(dependency, reason, "an attempt was followed after its caller left: does it hang?");
            }
        }
        drop(following);
    });
}

/// Says to the witnesses of a dependency that they are to end.
pub(crate) struct Witnesses(watch::Sender<bool>);

impl Witnesses {
    pub(crate) fn new() -> Witnesses {
        Witnesses(watch::Sender::new(false))
    }

    fn subscribe(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }

    pub(crate) fn end(&self) {
        self.0.send_replace(true);
    }
}

/// How a call ends whose caller's deadline cuts the attempt in flight: as if the attempt had ended so.
pub(crate) fn cut_now(plan: &Plan, effect: Effect, attempts: u32, endpoint: usize) -> Finish {
    let effect = effect.and(plan.rules.judge(&Ending::CallerDeadline).effect);
    Finish { effect, attempts, endpoint, refusal: None, stopped: None }
}
