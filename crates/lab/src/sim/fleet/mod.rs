//! The callers of a simulation. Each caller has its own guards (breakers, limits, budget). It runs either Seawall's
//! real machines or a model of another product.

pub mod peer;
mod peer_breakers;
mod peer_budgets;
mod peer_shares;
mod seawall;
mod step;

use std::sync::Arc;

use seawall_policy::{Call, Ending, Time, Witness};

use self::peer::{Peer, PeerCall, PeerPolicy};
use self::seawall::SeawallGuards;
pub use self::seawall::{Leaving, Seawall, SeawallPolicy};
pub use self::step::Next;
pub(super) use self::step::Seen;
use super::chance::Stream;

/// The policy that a caller runs.
#[derive(Clone, Debug)]
pub enum Policy {
    /// The real machines of `seawall-policy`.
    Seawall(Arc<SeawallPolicy>),
    /// A model of another product, for comparison.
    Peer(Arc<PeerPolicy>),
}

/// The state of one call.
pub(super) enum Machine {
    Seawall(Call),
    Peer(PeerCall),
}

/// One caller: its guards, and the index of its policy in the list of policies.
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

    /// Must be called when the caller gives up waiting for this call. Its guards may need the real ending of the
    /// attempt in flight, to judge the endpoint. Then they return a witness: the attempt goes on to its real ending,
    /// and nothing is sent after it. If the result is `None`, the call is over.
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

    /// Ends a witness, because its attempt has ended.
    pub(super) fn followed(&mut self, witness: Witness) {
        match &mut self.guards {
            Guarding::Seawall(guards) => guards.followed(witness),
            Guarding::Peer(_) => unreachable!("a peer follows nobody"),
        }
    }

    /// Returns the state of the caller's breakers and limits.
    pub(super) fn seen(&mut self, now: Time) -> Seen {
        match &mut self.guards {
            Guarding::Seawall(guards) => guards.seen(now),
            Guarding::Peer(peer) => peer.seen(now),
        }
    }
}
