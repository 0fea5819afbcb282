//! Two kinds of callers: those that leave before the end of their calls, and those that make a call again at the time
//! that an answer or a refusal named.

use std::time::Duration;

use seawall_policy::Time;

use super::{Happens, Play, Return};
use crate::sim::world::slab::Handle;

impl Play {
    /// Returns how long the caller of the next call waits before it leaves; `None` if it waits until the call has
    /// ended.
    pub(super) fn patience(&mut self) -> Option<Duration> {
        let leavers = self.world.leavers?;
        let impatient = self.leavers.chance(leavers.share);
        impatient.then(|| leavers.patience.draw(&mut self.leavers))
    }

    /// Lets the caller of a call leave. If the caller's guards want to know how the attempt in flight really ends, the
    /// attempt is followed. Otherwise the call is removed. The station may still work on its attempt.
    pub(super) fn leaves(&mut self, handle: Handle, now: Time) {
        let Some(call) = self.calls.get(handle) else { return };
        let (caller, began, flight) = (call.caller, call.began, call.flight);
        let own = &mut self.callers[caller as usize];
        call.witness = own.leaves(&self.policies[own.policy], &mut call.machine, call.key, now);
        let second = self.record.second(began);
        second.left += 1;
        second.took += now.since(began).as_secs_f64();
        if let Some(witness) = &call.witness {
            self.record.followed += 1;
            let sooner = self.world.timeout.saturating_sub(witness.patience());
            self.waits_less(flight, sooner);
        } else {
            self.calls.remove(handle);
            if let Some(attempt) = flight {
                self.not_awaited(attempt);
            }
        }
        self.looks_at(caller, now);
        self.thinks(caller);
    }

    /// Lets an attempt that is followed time out earlier by `sooner`, since it may take less time than an attempt whose
    /// caller waits. Does nothing if there is no attempt, or if the attempt would time out at the call's total
    /// deadline.
    fn waits_less(&mut self, flight: Option<Handle>, sooner: Duration) {
        let Some(handle) = flight else { return };
        let Some(attempt) = self.attempts.get(handle).filter(|attempt| !attempt.total) else { return };
        let until = Time::ZERO.saturating_add(attempt.until.since(Time::ZERO.saturating_add(sooner)));
        self.agenda.timer(until, Happens::TimesOut(handle));
    }

    /// Makes a call again, at the time at which an answer or a refusal said that the caller may come back.
    pub(super) fn returns(&mut self, call: Return, now: Time) {
        self.record.second(now).returned += 1;
        self.begins_for(call.caller, None, call.key, call.times, now);
    }
}
