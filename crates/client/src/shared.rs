//! The one place where calls share state: each dependency's guards behind one lock.
//!
//! A lock and not atomics: breaker, limit, window and budget change together, and one uncontended lock costs less than
//! the five atomics it replaces. It is held for a few field updates, never across a wait.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use seawall_policy::{
    DependencyGuards, Draw, GuardSettings, Guards, LimitSlot, Pass, Refusal, Report, Stopped, Time,
};

/// The guards of one dependency, shared by every worker's [`crate::Dependency`].
pub struct Shared {
    guards: Mutex<DependencyGuards>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// Closed breakers, open limits, a fresh budget.
    #[must_use]
    pub fn new(settings: GuardSettings, endpoints: usize) -> Arc<Shared> {
        Arc::new(Shared { guards: Mutex::new(DependencyGuards::new(settings, endpoints)) })
    }

    /// Looks at the guards, or lets an operator change them. Keep it short: every call waits.
    pub fn with<R>(&self, look: impl FnOnce(&mut DependencyGuards) -> R) -> R {
        look(&mut self.guards.lock())
    }
}

fn draw() -> Draw {
    Draw::new(fastrand::u64(..))
}

/// A place in an endpoint's limit; given back when dropped.
pub(crate) struct Slot {
    shared: Arc<Shared>,
    endpoint: usize,
    slot: Option<LimitSlot>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.shared.guards.lock().release(self.endpoint, slot);
        }
    }
}

/// One call's view of the guards.
pub(crate) struct CallGuards {
    shared: Arc<Shared>,
    /// The place of an answered attempt, held until its body is over.
    answered: Option<(usize, LimitSlot)>,
}

impl CallGuards {
    pub(crate) fn new(shared: &Arc<Shared>) -> CallGuards {
        CallGuards { shared: Arc::clone(shared), answered: None }
    }

    /// The place of the answered attempt, to be held by its body.
    pub(crate) fn take_slot(&mut self) -> Option<Slot> {
        let (endpoint, slot) = self.answered.take()?;
        Some(Slot { shared: Arc::clone(&self.shared), endpoint, slot: Some(slot) })
    }

    /// The answered attempt's body is not passed on.
    pub(crate) fn free_slot(&mut self) {
        if let Some((endpoint, slot)) = self.answered.take() {
            self.shared.guards.lock().release(endpoint, slot);
        }
    }
}

impl Drop for CallGuards {
    fn drop(&mut self) {
        self.free_slot();
    }
}

impl Guards for CallGuards {
    type Permit = (Pass, LimitSlot);
    type Pass = Option<Pass>;

    fn admit(&mut self, endpoint: usize, now: Time) -> Result<Self::Permit, Refusal> {
        self.shared.guards.lock().admit(endpoint, now, draw())
    }

    fn settle(
        &mut self,
        endpoint: usize,
        (pass, mut slot): Self::Permit,
        report: Report,
        last: bool,
        now: Time,
    ) -> Self::Pass {
        let mut guards = self.shared.guards.lock();
        guards.mark(&mut slot, &report);
        let mut kept = Some(pass);
        if last && let Some(pass) = kept.take() {
            let settled = guards.witness(endpoint, pass, &report, now, draw());
            guards.weigh_abandoned(&mut slot, &settled, &report);
        }
        let answered = matches!(report.outcome, Some((seawall_policy::Ending::Answered(_), _)));
        if answered {
            self.answered = Some((endpoint, slot));
        } else {
            guards.release(endpoint, slot);
        }
        kept
    }

    fn witness(&mut self, endpoint: usize, pass: Self::Pass, report: Report, now: Time) {
        if let Some(pass) = pass {
            let _ = self.shared.guards.lock().witness(endpoint, pass, &report, now, draw());
        }
    }

    fn pay(&mut self, endpoint: usize, slow: bool, now: Time) -> Result<(), Stopped> {
        self.shared.guards.lock().pay(endpoint, slow, now)
    }

    fn earn(&mut self) {
        self.shared.guards.lock().earn();
    }
}
