//! Callers: each has guards of its own, and runs either Seawall's real machines or a model of what others ship.

pub mod peer;
mod peer_breakers;
mod peer_budgets;
mod peer_shares;
mod seawall;

use std::sync::Arc;

use seawall_policy::{BreakerState, Call, Ending, Time, Witness};

use self::peer::{Peer, PeerCall, PeerPolicy};
use self::seawall::SeawallGuards;
pub use self::seawall::{Leaving, SeawallPolicy};
use super::chance::Stream;

/// What a caller runs.
#[derive(Clone, Debug)]
pub enum Policy {
    /// The real machines of `seawall-policy`.
    Seawall(Arc<SeawallPolicy>),
    /// A model of others, for comparison.
    Peer(Arc<PeerPolicy>),
}

/// What a caller does next with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// It sends an attempt.
    Send {
        /// Where to.
        endpoint: usize,
        /// When it gives the attempt up.
        until: Time,
        /// That moment is the total deadline.
        total: bool,
    },
    /// It waits, and then repeats.
    Wait(Time),
    /// The call is over.
    Over {
        /// It ended well.
        ok: bool,
        /// It was refused here before anything was sent.
        refused: bool,
        /// When its caller was told to come back.
        told: Option<Time>,
    },
}

/// A caller's guards, as they are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// The state of its breakers: the first that is not closed.
    state: Option<BreakerState>,
    /// Its limits together.
    pub(super) limit: Option<u32>,
    /// The smallest of its limits.
    pub(super) least_limit: Option<u32>,
}

impl Seen {
    /// Whether one of its breakers is not closed.
    pub(super) fn is_open(&self) -> bool {
        self.state.is_some_and(|state| state != BreakerState::Closed)
    }
}

/// A call's own state.
pub(super) enum Machine {
    Seawall(Call),
    Peer(PeerCall),
}

/// One caller.
pub(super) struct Caller {
    pub(super) policy: usize,
    guards: Guarding,
}

enum Guarding {
    Seawall(Box<SeawallGuards>),
    Peer(Box<Peer>),
}

impl Caller {
    pub(super) fn new(policy: &Policy, index: usize, keys: u32, stream: Stream) -> Caller {
        let guards = match policy {
            Policy::Seawall(own) => Guarding::Seawall(Box::new(SeawallGuards::new(own, keys, stream))),
            Policy::Peer(own) => Guarding::Peer(Box::new(Peer::new(own, keys, stream))),
        };
        Caller { policy: index, guards }
    }

    pub(super) fn begin(&mut self, policy: &Policy, key: u32, now: Time) -> (Machine, Next) {
        match (&mut self.guards, policy) {
            (Guarding::Seawall(guards), Policy::Seawall(own)) => {
                let (call, next) = guards.begin(own, key, now);
                (Machine::Seawall(call), next)
            }
            (Guarding::Peer(peer), Policy::Peer(own)) => {
                let (call, next) = peer.begin(own, key, now);
                (Machine::Peer(call), next)
            }
            (Guarding::Seawall(_), Policy::Peer(_)) | (Guarding::Peer(_), Policy::Seawall(_)) => {
                unreachable!("a caller's guards are made of its policy")
            }
        }
    }

    pub(super) fn ended(
        &mut self,
        policy: &Policy,
        machine: &mut Machine,
        key: u32,
        ending: Ending,
        now: Time,
    ) -> Next {
        match (&mut self.guards, machine, policy) {
            (Guarding::Seawall(guards), Machine::Seawall(call), Policy::Seawall(own)) => {
                guards.ended(own, call, key, ending, now)
            }
            (Guarding::Peer(peer), Machine::Peer(call), Policy::Peer(own)) => {
                peer.ended(own, call, key, ending, now)
            }
            (Guarding::Seawall(_) | Guarding::Peer(_), _, _) => {
                unreachable!("a caller's calls are made of its policy")
            }
        }
    }

    pub(super) fn waited(&mut self, policy: &Policy, machine: &mut Machine, key: u32, now: Time) -> Next {
        match (&mut self.guards, machine, policy) {
            (Guarding::Seawall(guards), Machine::Seawall(call), Policy::Seawall(own)) => {
                guards.waited(own, call, key, now)
            }
            (Guarding::Peer(peer), Machine::Peer(call), Policy::Peer(own)) => {
                peer.waited(own, call, key, now)
            }
            (Guarding::Seawall(_) | Guarding::Peer(_), _, _) => {
                unreachable!("a caller's calls are made of its policy")
            }
        }
    }

    /// Who made the call gives up waiting for it. With a witness, the attempt in flight goes on to its real ending and nothing is
    /// sent after it; without one, the call is over.
    pub(super) fn leaves(
        &mut self,
        policy: &Policy,
        machine: &mut Machine,
        key: u32,
        now: Time,
    ) -> Option<Witness> {
        match (&mut self.guards, machine, policy) {
            (Guarding::Seawall(guards), Machine::Seawall(call), Policy::Seawall(own)) => {
                guards.leaves(own, call, key, now)
            }
            (Guarding::Peer(peer), Machine::Peer(call), Policy::Peer(_)) => {
                peer.leaves(call);
                None
            }
            (Guarding::Seawall(_) | Guarding::Peer(_), _, _) => {
                unreachable!("a caller's calls are made of its policy")
            }
        }
    }

    /// The attempt of a witness has ended.
    pub(super) fn followed(&mut self, witness: Witness) {
        match &mut self.guards {
            Guarding::Seawall(guards) => guards.followed(witness),
            Guarding::Peer(_) => unreachable!("a peer follows nobody"),
        }
    }

    /// Its breakers and its limits.
    pub(super) fn seen(&mut self, now: Time) -> Seen {
        match &mut self.guards {
            Guarding::Seawall(guards) => guards.seen(now),
            Guarding::Peer(peer) => peer.seen(now),
        }
    }
}

/// When an answer says to come back.
fn told(ending: Ending, now: Time) -> Option<Time> {
    let Ending::Answered(answer) = ending else { return None };
    answer.retry_after.map(|rest| now.saturating_add(rest))
}
