//! A call under way over shared guards: the machine, its guards and its waits, in one value that can be dropped
//! anywhere.
//!
//! The machine says what to do next ([`Step`]). The owner of the walk does it. It sends the attempt and tells the walk
//! how that ended ([`Walk::ended`]), or it waits ([`Walk::wait`], [`Walk::queue`]). A walk that is dropped before its
//! end gives back what it holds: a permit (as abandoned), a place in a queue, or a slot of a limit.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use seawall_policy::{Call, Effect, Ended, Keys, Plan, Step, Time, Underway, Wish};

use crate::clock::Clock;
use crate::shared::{CallGuards, Shared, Slot, draw};

/// A call under way.
pub(crate) struct Walk<'a> {
    call: Call,
    guards: CallGuards<'a>,
    plan: &'a Plan,
    clock: Clock,
    over: bool,
}

impl<'a> Walk<'a> {
    /// Begins a call and returns its first step. `now` is a parameter because the caller needs the same time for the
    /// first attempt.
    pub(crate) fn begin(
        shared: &'a Arc<Shared>,
        keys: &'a Keys,
        plan: &'a Plan,
        wish: Wish,
        clock: Clock,
        now: Time,
    ) -> (Walk<'a>, Step) {
        let mut guards = CallGuards::new(shared, keys, clock);
        let (call, step) = Call::begin(plan, wish, &mut guards, now);
        let over = matches!(step, Step::Finish(_));
        (Walk { call, guards, plan, clock, over }, step)
    }

    /// Is called when the attempt that [`Step::Send`] asked for has ended at `now`. Returns the next step.
    pub(crate) fn ended(&mut self, ended: Ended, now: Time) -> Step {
        let step = self.call.ended(self.plan, &mut self.guards, ended, draw, now);
        self.told(step)
    }

    /// Waits as [`Step::Wait`] asks. Returns the next step and the current time.
    pub(crate) async fn wait(&mut self, until: Time) -> (Step, Time) {
        tokio::time::sleep_until(self.clock.instant(until)).await;
        let now = self.clock.now().max(until);
        let step = self.call.waited(self.plan, &mut self.guards, now);
        (self.told(step), now)
    }

    /// Waits in the queue as [`Step::Queue`] asks. Returns the next step and the current time.
    pub(crate) async fn queue(&mut self, until: Time) -> (Step, Time) {
        if let Some(ticket) = self.call.ticket() {
            let mut over = pin!(tokio::time::sleep_until(self.clock.instant(until)));
            poll_fn(|cx| match self.guards.poll_turn(ticket, cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => over.as_mut().poll(cx),
            })
            .await;
        }
        let now = self.clock.now();
        let step = self.call.turn(self.plan, &mut self.guards, now);
        (self.told(step), now)
    }

    /// The attempt in flight, as code outside of this call sees it.
    pub(crate) fn underway(&self) -> Option<Underway> {
        self.call.underway()
    }

    /// What is known of the effect of the attempts that have ended.
    pub(crate) fn effect(&self) -> Effect {
        self.call.effect()
    }

    /// Is called when the caller has left: the attempt in flight may end, but nothing is sent after it.
    pub(crate) fn caller_left(&mut self) {
        self.call.caller_left();
    }

    /// Whether the last attempt that ended was a success and not a probe.
    pub(crate) fn proved_well(&self) -> bool {
        self.guards.proved_well()
    }

    /// Takes the slot of the answered attempt, for the answer's body to hold.
    pub(crate) fn take_slot(&mut self) -> Option<Slot> {
        self.guards.take_slot()
    }

    /// Gives the slot back, because the answered attempt's body is not passed on.
    pub(crate) fn free_slot(&mut self) {
        self.guards.free_slot();
    }

    fn told(&mut self, step: Step) -> Step {
        self.over = matches!(step, Step::Finish(_));
        step
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.call.abandon(self.plan, &mut self.guards, self.clock.now());
        }
    }
}
