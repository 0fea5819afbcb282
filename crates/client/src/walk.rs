//! A call under way. One value holds the call machine, which decides the next step, and the guards that the machine
//! asks. The value can be dropped at any time.
//!
//! The machine says what to do next ([`Step`]), and the owner of the walk does it: it sends the attempt and reports how
//! the attempt ended ([`Walk::ended`]), or it waits ([`Walk::wait`], [`Walk::queue`]). A walk that is dropped before
//! its end gives back what it holds, such as its place in a queue or in a limit.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use seawall_policy::{Call, Effect, Ended, Keys, Plan, Step, Time, Underway, Wish};

use crate::clock::Clock;
use crate::shared::{CallGuards, Shared, Slot, draw};

/// A call under way, from its first step to its last, at any number of endpoints: the call machine, and the guards that
/// the machine asks.
pub(crate) struct Walk<'a> {
    call: Call,
    guards: CallGuards<'a>,
    plan: &'a Plan,
    clock: Clock,
    over: bool,
}

impl<'a> Walk<'a> {
    /// Begins a call, and returns the walk and its first step. `now` is a parameter because the code that drives the
    /// call needs the same time for the first attempt.
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

    /// Goes on with a call that is about to send an attempt. `call` comes from [`Walk::into_call`] of a walk with the
    /// same guards, keys and plan.
    pub(crate) fn resume(
        call: Call,
        shared: &'a Arc<Shared>,
        keys: &'a Keys,
        plan: &'a Plan,
        clock: Clock,
    ) -> Walk<'a> {
        Walk { call, guards: CallGuards::new(shared, keys, clock), plan, clock, over: false }
    }

    /// Returns the call machine, which holds the permit of the attempt that is about to be sent. It must be given to
    /// [`Walk::resume`], since a call machine that is merely dropped does not give its permit back.
    pub(crate) fn into_call(mut self) -> Call {
        self.over = true;
        let empty = Call::new(self.plan, Wish::default(), Time::ZERO);
        std::mem::replace(&mut self.call, empty)
    }

    /// Waits for `prepare`, which makes the request of the attempt that [`Step::Send`] asks for. Returns the request,
    /// the next step and the current time. The next step is another [`Step::Send`] whose deadlines count from now, or
    /// the finish if the call's time is over.
    ///
    /// Returns `None` if `prepare` gives no request. In that case the permit is given back as unused, and the call is
    /// over. The same happens if the returned future is dropped.
    pub(crate) async fn prepare<T>(
        &mut self,
        prepare: impl Future<Output = Option<T>>,
    ) -> Option<(T, Step, Time)> {
        let unprepared = Unprepared(Some(self));
        let request = prepare.await?;
        let walk = unprepared.goes_on();
        let now = walk.clock.now();
        let step = walk.call.prepared(walk.plan, &mut walk.guards, now);
        Some((request, walk.told(step), now))
    }

    /// Must be called when the attempt of [`Step::Send`] has ended at `now`. Returns the next step.
    pub(crate) fn ended(&mut self, ended: Ended, now: Time) -> Step {
        let step = self.call.ended(self.plan, &mut self.guards, ended, draw, now);
        self.told(step)
    }

    /// Waits until `until`, the time of [`Step::Wait`]. Returns the next step and the current time.
    pub(crate) async fn wait(&mut self, until: Time) -> (Step, Time) {
        tokio::time::sleep_until(self.clock.instant(until)).await;
        let now = self.clock.now().max(until);
        let step = self.call.waited(self.plan, &mut self.guards, now);
        (self.told(step), now)
    }

    /// Waits in the queue until the call's turn has come, or until `until`, the time of [`Step::Queue`]. Returns the
    /// next step and the current time.
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

    /// Returns the endpoint and the start of the attempt in flight, and whether it is a probe. The code that lets an
    /// attempt go on without its caller needs these facts. `None` if no attempt is in flight.
    pub(crate) fn underway(&self) -> Option<Underway> {
        self.call.underway()
    }

    /// Returns what is known of the effect of the attempts that have ended.
    pub(crate) fn effect(&self) -> Effect {
        self.call.effect()
    }

    /// Must be called when the caller has left. The attempt in flight may still end, but nothing is sent after it.
    pub(crate) fn caller_left(&mut self) {
        self.call.caller_left();
    }

    /// Returns whether the last attempt that ended proves that the endpoint works: it was a success and not a probe,
    /// and its breaker is not one that is kept for a key.
    pub(crate) fn proved_well(&self) -> bool {
        self.guards.proved_well()
    }

    /// Takes the answered attempt's place in the limit out of this value, so that the answer's body can hold it. `None`
    /// if no attempt was answered, or if the place was taken out already.
    pub(crate) fn take_slot(&mut self) -> Option<Slot> {
        self.guards.take_slot()
    }

    /// Gives the answered attempt's place in the limit back, because nobody will read the answer's body.
    pub(crate) fn free_slot(&mut self) {
        self.guards.free_slot();
    }

    fn told(&mut self, step: Step) -> Step {
        self.over = matches!(step, Step::Finish(_));
        step
    }
}

/// A call that may send an attempt, but has no request yet. If this value is dropped, the permit is given back as
/// unused, and the call is over. The `Option` is `None` only after [`Unprepared::goes_on`]; then the drop does nothing.
struct Unprepared<'w, 'a>(Option<&'w mut Walk<'a>>);

impl<'w, 'a> Unprepared<'w, 'a> {
    fn goes_on(mut self) -> &'w mut Walk<'a> {
        self.0.take().expect("it is taken only here, and this takes the value itself")
    }
}

impl Drop for Unprepared<'_, '_> {
    fn drop(&mut self) {
        if let Some(walk) = self.0.take() {
            walk.over = true;
            walk.call.unused(&mut walk.guards, walk.clock.now());
        }
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.call.abandon(self.plan, &mut self.guards, self.clock.now());
        }
    }
}
