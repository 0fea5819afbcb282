//! Witnesses: attempts that are followed to their real ending although their callers left.
//!
//! A caller that leaves is no evidence by itself: the endpoint may hang, or the caller may be impatient. If a success
//! has ended at the endpoint since the attempt began, or within 100 ms before that, the endpoint does not hang. If
//! there was no such success, the attempt goes on without its caller until its own timeouts, and its real ending is the
//! evidence. So while calls succeed, few attempts go on without a caller.
//!
//! The obvious rule would be: if the window holds no success, every wait that a caller gave up is a failure. In
//! simulations this rule opened the breakers of healthy partners in 397 of 960 runs.

use std::time::Duration;

use super::DependencyGuards;
use super::permit::{Underway, Witness};

/// The maximum number of attempts of one dependency, over all its endpoints and keys, that go on at the same time after
/// their callers have left. Probes do not count.
const WITNESSES: u32 = 16;

impl DependencyGuards {
    /// Decides whether an attempt goes on to its real ending, after its caller left or the caller's deadline passed. If
    /// so, returns a witness, which must be given back in [`Self::unfollow`]. If the attempt must be cancelled instead,
    /// returns `None`. A probe always goes on. `read` is the attempt's read timeout.
    pub fn follow(&mut self, attempt: &Underway, read: Duration) -> Option<Witness> {
        let Underway { at, probe, began } = *attempt;
        let wards = &mut self.endpoints[at.endpoint as usize].wards;
        let ward = wards.at(at.breaker);
        let patience = ward.patience(read);
        if !probe {
            if self.witnesses >= WITNESSES || !ward.needs_witness(began) {
                return None;
            }
            ward.witness_begins();
            self.witnesses += 1;
        }
        // This counts the attempt as in flight for its key, so the guards of this key are kept until `unfollow` is
        // called.
        wards.took_off(at.breaker);
        Some(Witness { endpoint: at.endpoint, breaker: at.breaker, patience, counted: !probe })
    }

    /// Must be called when an attempt has ended or is not followed any more. Another attempt can then be followed.
    pub fn unfollow(&mut self, witness: Witness) {
        let wards = &mut self.endpoints[witness.endpoint as usize].wards;
        if witness.counted {
            wards.at(witness.breaker).witness_ends();
            self.witnesses = self.witnesses.saturating_sub(1);
        }
        wards.landed(witness.breaker);
    }
}
