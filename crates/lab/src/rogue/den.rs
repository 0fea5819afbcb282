//! The state that the connections of one rogue share: the plan that decides each act, and the record of what was seen.

use std::sync::Arc;

use fastrand::Rng;
use parking_lot::Mutex;

use super::act::{Act, Idle};
use super::log::{Heard, Log};

pub(super) type Each = Box<dyn FnMut(&Heard, &mut Rng) -> Act + Send>;
pub(super) type Rest = Box<dyn FnMut(&mut Rng) -> Idle + Send>;

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) keep_body: usize,
    pub(super) keep_heard: usize,
    pub(super) at_head: bool,
}

/// The state that the connections of a rogue share.
pub(super) struct Den {
    pub(super) log: Arc<Log>,
    pub(super) plan: Mutex<Plan>,
    pub(super) settings: Settings,
}

pub(super) struct Plan {
    pub(super) each: Each,
    pub(super) idle: Rest,
    pub(super) welcome: Rest,
    pub(super) draw: Rng,
}

impl Den {
    /// Records a request and returns the act that the plan chooses for it. Both happen in one step, so that the plan is
    /// called in the order of the record.
    pub(super) fn hear(&self, heard: &mut Heard) -> Act {
        let plan = &mut *self.plan.lock();
        self.log.hear(heard, self.settings.keep_heard);
        (plan.each)(heard, &mut plan.draw)
    }

    pub(super) fn idle(&self) -> Idle {
        let plan = &mut *self.plan.lock();
        (plan.idle)(&mut plan.draw)
    }

    pub(super) fn welcome(&self) -> Idle {
        let plan = &mut *self.plan.lock();
        (plan.welcome)(&mut plan.draw)
    }
}
