//! Lets a call go on after its caller has left. A separate task drives each of these calls to its end.
//!
//! A caller leaves in one of two ways: it drops the future, or its own deadline passes. In the second case the caller
//! is told immediately that its deadline has passed, while the attempt goes on.
//!
//! An attempt goes on for one of two reasons:
//!
//! - An attempt that is not safe goes on so that its effect becomes known. This needs three facts: the future was
//!   dropped, the caller has delivered the whole body, and a byte of the request was sent.
//! - Any other attempt goes on only as a witness ([`seawall_policy::DependencyGuards::follow`]), to learn whether the
//!   endpoint hangs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use seawall_policy::{Ending, Reason};
use tokio::sync::watch;

use crate::outcome::Outcome;
use crate::tracks::{Cut, DEADLINE_PASSED, Following, Stays, Tracks};

/// A function that is called with the outcome of a call that ended after its caller had left.
pub type OnFollowed = Arc<dyn Fn(&Outcome) + Send + Sync>;

/// What the calls of one dependency share that go on after their callers have left: whom to tell how they ended, and
/// whether they must end.
pub(crate) struct Followers {
    /// The dependency's name, for logs.
    pub(crate) name: String,
    tell: Option<OnFollowed>,
    /// `true` means that witnesses must end. A witness is an attempt that goes on without its caller only to learn
    /// whether an endpoint works.
    end: watch::Sender<bool>,
}

impl Followers {
    pub(crate) fn new(name: String, tell: Option<OnFollowed>) -> Arc<Followers> {
        Arc::new(Followers { name, tell, end: watch::Sender::new(false) })
    }

    /// Ends all attempts that go on only to learn whether an endpoint works. From then on, each new one is ended
    /// immediately.
    pub(crate) fn end_witnesses(&self) {
        self.end.send_replace(true);
    }
}

type Drive = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A call that can go on without its caller.
pub(crate) struct Followed {
    drive: Option<Drive>,
    tracks: Arc<Tracks>,
    followers: Arc<Followers>,
}

impl Followed {
    pub(crate) fn new(drive: Drive, tracks: Arc<Tracks>, followers: Arc<Followers>) -> Followed {
        Followed { drive: Some(drive), tracks, followers }
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
        let Some(Cut { finish, following }) = self.tracks.take_cut() else {
            return Poll::Pending;
        };
        if let Some(drive) = self.drive.take() {
            spawn_witness(drive, following, &self.followers);
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
            Some(Stays::ForItsEffect) => spawn_followed(drive, &self.followers),
            Some(Stays::AsWitness(following)) => spawn_witness(drive, following, &self.followers),
            None => {}
        }
    }
}

fn spawn_followed(drive: Drive, followers: &Arc<Followers>) {
    let followers = Arc::clone(followers);
    tokio::spawn(async move {
        let outcome = drive.await;
        let dependency = followers.name.as_str();
        if let Some(tell) = &followers.tell {
            tell(&outcome);
        }
        let (effect, reason) = (outcome.finish.effect, outcome.reason().map(Reason::as_str));
        tracing::info!(dependency, %effect, reason, "a call was followed to its end after its caller left");
    });
}

/// Lets an attempt go on in a separate task, only to learn whether the endpoint works. The task ends with the attempt,
/// or earlier if the program or the dependency is about to end.
fn spawn_witness(drive: Drive, following: Following, followers: &Arc<Followers>) {
    let (name, mut ends) = (followers.name.clone(), followers.end.subscribe());
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
