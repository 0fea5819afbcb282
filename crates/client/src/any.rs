//! Makes calls with retries, timeouts and a breaker around any future.
//!
//! [`crate::Dependency`] sends requests over connections. In this module, the caller's closure makes each attempt, and
//! the caller says what the attempt's ending means. In both cases the same code (`seawall_policy::Call`) decides what
//! to do next. Only the timeouts differ: a future does not show whether it makes progress, so the read timeout bounds
//! the whole attempt, and there is no connect timeout.
//!
//! The attempt's future is polled first. A timer is made only if that future is pending. So a call that never waits
//! costs next to nothing.
//!
//! A caller abandons the call by dropping its future. Then nobody learns how the attempt would have ended, because the
//! attempt's future belongs to the caller and cannot be polled further. So an abandoned attempt alone does not count as
//! a failure of the endpoint. The breaker only compares the time that was waited with the times of successful calls
//! ([`seawall_policy::Evidence::Abandoned`]). If all callers of a program give up earlier than the read timeout, the
//! breaker never learns that an endpoint hangs. Such a program must set a shorter read timeout.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use seawall_policy::{Attempt, Call, Ended, Ending, Finish, Keys, Lost, Plan, Step, Time, Wish};
use tokio::time::Sleep;

use crate::clock::Clock;
use crate::shared::{CallGuards, Shared, draw};

/// What all calls of one operation share: the guards (breaker, limit and budget), the clock, and the plan (timeouts and
/// number of attempts).
#[derive(Debug)]
pub struct Site {
    /// The breaker, the limit and the budget of the dependency.
    pub shared: Arc<Shared>,
    /// The clock that gives the guards their time.
    pub clock: Clock,
    /// The plan for all calls of the operation.
    pub plan: Arc<Plan>,
}

/// Describes one attempt to the closure that makes the attempt.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    /// The number of the attempt; 1 for the first.
    pub number: u32,
    /// The index of the endpoint, from 0, in order of preference.
    pub endpoint: usize,
    /// The time at which the attempt is aborted; [`Time::NEVER`] if it has no deadline.
    pub by: Time,
    /// The clock that `by` refers to.
    pub clock: Clock,
}

/// The result of an attempt, and what the result means.
#[derive(Debug)]
pub struct Judged<T> {
    /// How the attempt ended, as the guards see it.
    pub ending: Ending,
    /// Whether a further attempt could send the same request, for example because its body was kept.
    pub again: bool,
    /// The value that the caller gets if no further attempt follows.
    pub value: T,
}

/// How a call ended.
#[derive(Debug)]
pub struct Concluded<T> {
    /// The end of the call, as the machine reports it.
    pub finish: Finish,
    /// How the last attempt ended; `None` if there was no attempt.
    pub ending: Option<Ending>,
    /// What the last attempt returned to the caller; `None` if it was aborted or if there was no attempt.
    pub value: Option<T>,
    /// The time at which the call ended.
    pub at: Time,
}

/// Makes attempts, and says what their results mean.
pub trait Work {
    /// The future of one attempt.
    type Attempt: Future;
    /// What the caller gets from an attempt.
    type Value;

    /// Makes an attempt.
    fn attempt(&mut self, attempt: Try) -> Self::Attempt;

    /// Says what the output of an attempt's future means.
    fn judge(&mut self, output: <Self::Attempt as Future>::Output) -> Judged<Self::Value>;

    /// Returns whether a further attempt could send the same request after an attempt that was aborted. By default this
    /// is `true`.
    fn can_repeat(&self) -> bool {
        true
    }
}

pin_project! {
    /// One call as a future, which ends with a [`Concluded`].
    #[must_use = "a call does nothing unless it is awaited"]
    pub struct AnyCall<S, W>
    where
        S: Deref<Target = Site>,
        W: Work,
    {
        // The fields are dropped in their order. So the attempt's future is dropped first. Only then is the field `run`
        // dropped, which gives the call's place in the limit back.
        #[pin]
        state: State<W::Attempt>,
        run: Run<S>,
        wish: Wish,
        work: W,
        timer: Option<CallTimer>,
        last: Option<(Ending, Option<W::Value>)>,
    }
}

pin_project! {
    #[project = Stage]
    enum State<Fut> {
        New,
        Attempting { #[pin] future: Fut, attempt: Attempt, by: Time },
        Waiting { until: Time },
        Queueing { until: Time },
        Over,
    }
}

impl<S: Deref<Target = Site>, W: Work> AnyCall<S, W> {
    /// Makes a call that begins when it is first polled.
    pub fn new(site: S, wish: Wish, work: W) -> AnyCall<S, W> {
        let run = Run { site, keys: Keys::NONE, call: None };
        AnyCall { state: State::New, run, wish, work, timer: None, last: None }
    }

    /// Returns a new call with the same settings and keys. `change` makes the new call's work from the work of this
    /// call.
    pub fn with<V: Work>(self, change: impl FnOnce(W) -> V) -> AnyCall<S, V>
    where
        S: Clone,
    {
        let mut call = AnyCall::new(self.run.site.clone(), self.wish, change(self.work));
        call.run.keys = self.run.keys.clone();
        call
    }

    /// Returns the keys that decide which breaker and which limit the call uses. A change has an effect only before the
    /// first poll.
    pub fn keys(&mut self) -> &mut Keys {
        &mut self.run.keys
    }

    /// Returns what the caller wants for this call, such as its own deadline. A change has an effect only before the
    /// first poll.
    pub fn wish(&mut self) -> &mut Wish {
        &mut self.wish
    }
}

impl<S: Deref<Target = Site>, W: Work> Future for AnyCall<S, W> {
    type Output = Concluded<W::Value>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let (step, now) = match this.state.as_mut().project() {
                Stage::New => this.run.begin(*this.wish),
                Stage::Attempting { future, attempt, by } => {
                    let (ended, value, now) = match future.poll(cx) {
                        Poll::Ready(output) => {
                            let Judged { ending, again, value } = this.work.judge(output);
                            let ended = Ended { body_kept: again, ..Ended::of(ending) };
                            (ended, Some(value), this.run.site.clock.now())
                        }
                        Poll::Pending => {
                            let clock = this.run.site.clock;
                            let now = std::task::ready!(poll_until(this.timer, clock, *by, cx));
                            let body_kept = this.work.can_repeat();
                            let ended = Ended { body_kept, ..Ended::of(cut(attempt, now)) };
                            (ended, None, now)
                        }
                    };
                    this.state.set(State::Over);
                    let step = this.run.ended(ended, now);
                    if let Step::Finish(finish) = step {
                        // Most calls end here. The `Step::Finish` arm below would return the same result, but there the
                        // ending and the value would first be stored in `last` and then be taken out again.
                        let ending = Some(ended.ending);
                        return Poll::Ready(Concluded { finish, ending, value, at: now });
                    }
                    *this.last = Some((ended.ending, value));
                    (step, now)
                }
                Stage::Waiting { until } => {
                    let clock = this.run.site.clock;
                    let now = std::task::ready!(poll_until(this.timer, clock, *until, cx));
                    (this.run.waited(now), now)
                }
                Stage::Queueing { until } => {
                    let clock = this.run.site.clock;
                    let now = match this.run.poll_turn(cx) {
                        Poll::Ready(()) => clock.now(),
                        Poll::Pending => std::task::ready!(poll_until(this.timer, clock, *until, cx)),
                    };
                    (this.run.turn(now), now)
                }
                Stage::Over => panic!("a call was polled after its end"),
            };
            match step {
                Step::Send(attempt) => {
                    let by = now.saturating_add(attempt.read).min(attempt.end_by);
                    *this.last = None;
                    let clock = this.run.site.clock;
                    let (number, endpoint) = (attempt.number, attempt.endpoint);
                    let future = this.work.attempt(Try { number, endpoint, by, clock });
                    this.state.set(State::Attempting { future, attempt, by });
                }
                Step::Wait(until) => this.state.set(State::Waiting { until }),
                Step::Queue(until) => this.state.set(State::Queueing { until }),
                Step::Finish(finish) => {
                    this.state.set(State::Over);
                    let (ending, value) = match this.last.take() {
                        Some((ending, value)) => (Some(ending), value),
                        None => (None, None),
                    };
                    return Poll::Ready(Concluded { finish, ending, value, at: now });
                }
            }
        }
    }
}

/// Returns how an attempt ended that was aborted at `now`: by its deadline (the caller's own, or the total timeout) if
/// that has passed, and otherwise by its read timeout.
fn cut(attempt: &Attempt, now: Time) -> Ending {
    match (now >= attempt.end_by, attempt.callers_deadline) {
        (true, true) => Ending::CallerDeadline,
        (true, false) => Ending::Lost(Lost::TotalTimeout),
        (false, _) => Ending::Lost(Lost::ReadTimeout),
    }
}

/// The timer of a call, and the time for which it is set. A call never has more than one timer.
struct CallTimer {
    until: Time,
    sleep: Pin<Box<Sleep>>,
}

/// Becomes ready when the clock has reached `until`, and returns the current time. If the timer fires before that time,
/// it is set again. With [`Time::NEVER`] the result is always pending, and no timer is made.
fn poll_until(timer: &mut Option<CallTimer>, clock: Clock, until: Time, cx: &mut Context<'_>) -> Poll<Time> {
    if until == Time::NEVER {
        return Poll::Pending;
    }
    let timer = timer.get_or_insert_with(|| {
        let sleep = Box::pin(tokio::time::sleep_until(clock.instant(until)));
        CallTimer { until, sleep }
    });
    if timer.until != until {
        timer.until = until;
        timer.sleep.as_mut().reset(clock.instant(until));
    }
    loop {
        std::task::ready!(timer.sleep.as_mut().poll(cx));
        let now = clock.now();
        if now >= until {
            return Poll::Ready(now);
        }
        timer.sleep.as_mut().reset(clock.instant(until) + Duration::from_millis(1));
    }
}

/// A call under way, together with its settings and keys. If this value is dropped before the call has ended, the
/// guards are told that the caller has left, and the call's place in the limit is given back.
struct Run<S: Deref<Target = Site>> {
    site: S,
    keys: Keys,
    /// `None` before the call's start and after its end.
    call: Option<Call>,
}

impl Site {
    #[inline]
    fn guards<'a>(&'a self, keys: &'a Keys) -> CallGuards<'a> {
        CallGuards::new(&self.shared, keys, self.clock)
    }
}

impl<S: Deref<Target = Site>> Run<S> {
    #[inline(always)]
    fn begin(&mut self, wish: Wish) -> (Step, Time) {
        let now = self.site.clock.now();
        let call = self.call.insert(Call::new(&self.site.plan, wish, now));
        let step = call.start(&self.site.plan, &mut self.site.guards(&self.keys), now);
        (self.over(step), now)
    }

    #[inline(always)]
    fn ended(&mut self, ended: Ended, now: Time) -> Step {
        let call = self.call.as_mut().expect("an attempt belongs to a call");
        let step = call.ended(&self.site.plan, &mut self.site.guards(&self.keys), ended, draw, now);
        self.over(step)
    }

    fn waited(&mut self, now: Time) -> Step {
        let call = self.call.as_mut().expect("a wait belongs to a call");
        let step = call.waited(&self.site.plan, &mut self.site.guards(&self.keys), now);
        self.over(step)
    }

    fn turn(&mut self, now: Time) -> Step {
        let call = self.call.as_mut().expect("a wait belongs to a call");
        let step = call.turn(&self.site.plan, &mut self.site.guards(&self.keys), now);
        self.over(step)
    }

    /// Becomes ready when the call's turn in the queue has come.
    fn poll_turn(&self, cx: &mut Context<'_>) -> Poll<()> {
        let ticket = self.call.as_ref().and_then(Call::ticket).expect("who queues has a ticket");
        self.site.guards(&self.keys).poll_turn(ticket, cx)
    }

    #[inline]
    fn over(&mut self, step: Step) -> Step {
        if matches!(step, Step::Finish(_)) {
            self.call = None;
        }
        step
    }
}

impl<S: Deref<Target = Site>> Drop for Run<S> {
    fn drop(&mut self) {
        if let Some(call) = &mut self.call {
            let mut guards = self.site.guards(&self.keys);
            call.abandon(&self.site.plan, &mut guards, self.site.clock.now());
        }
    }
}

#[cfg(test)]
#[path = "any_tests.rs"]
mod tests;
