use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};

use seawall_policy::{Answer, Effect, GuardSettings, Idempotency, LimitSettings, Reason, Rules, Stopped};

use super::*;

fn site(idempotency: Idempotency, settings: GuardSettings) -> Site {
    let plan = Arc::new(Plan::new(Rules::of(idempotency), 1));
    Site { shared: Shared::new(settings, 1), clock: Clock::new(), plan }
}

/// A closure makes each attempt, and another judges it.
struct By<F, J>(F, J);

impl<F, Fut, J, T> Work for By<F, J>
where
    F: FnMut(Try) -> Fut,
    Fut: Future,
    J: FnMut(Fut::Output) -> Judged<T>,
{
    type Attempt = Fut;
    type Value = T;

    fn attempt(&mut self, attempt: Try) -> Fut {
        (self.0)(attempt)
    }

    fn judge(&mut self, output: Fut::Output) -> Judged<T> {
        (self.1)(output)
    }
}

fn judged(status: u16) -> Judged<u16> {
    Judged { ending: Ending::Answered(Answer::of_status(status)), again: true, value: status }
}

fn in_flight(site: &Site) -> u32 {
    site.shared.with(|guards| guards.endpoint(0).unwrap().limit().in_flight())
}

#[tokio::test(start_paused = true)]
async fn the_value_of_the_attempt_comes_through() {
    let site = site(Idempotency::None, GuardSettings::default());
    let done = AnyCall::new(&site, Wish::default(), By(|_| async { 200 }, judged)).await;
    assert_eq!((done.value, done.finish.effect, done.finish.attempts), (Some(200), Effect::Applied, 1));
    assert_eq!(in_flight(&site), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_read_is_made_again() {
    let site = site(Idempotency::Safe, GuardSettings::default());
    let make = |attempt: Try| async move { if attempt.number == 1 { 503 } else { 200 } };
    let done = AnyCall::new(&site, Wish::default(), By(make, judged)).await;
    assert_eq!((done.value, done.finish.attempts), (Some(200), 2));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_cut_at_the_read_timeout_and_its_effect_is_unknown() {
    let site = site(Idempotency::None, GuardSettings::default());
    let began = tokio::time::Instant::now();
    let done = AnyCall::new(&site, Wish::default(), By(|_| pending::<u16>(), judged)).await;
    assert_eq!(began.elapsed().as_secs(), 10);
    assert_eq!((done.value, done.finish.effect), (None, Effect::Unknown));
    assert_eq!(done.finish.stopped, Some(Stopped::NotRepeatable));
    assert_eq!(done.ending, Some(Ending::Lost(Lost::ReadTimeout)));
    assert_eq!(in_flight(&site), 0);
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_time_is_kept() {
    let site = site(Idempotency::Safe, GuardSettings::default());
    let began = tokio::time::Instant::now();
    let wish = Wish { within: Some(Duration::from_millis(70)), ..Wish::default() };
    let done = AnyCall::new(&site, wish, By(|_| pending::<u16>(), judged)).await;
    assert_eq!(began.elapsed().as_millis(), 70);
    assert_eq!((done.ending, done.finish.attempts), (Some(Ending::CallerDeadline), 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_any_wait_gives_its_place_back() {
    let settings = GuardSettings { limit: LimitSettings::fixed(1), ..GuardSettings::default() };
    let site = site(Idempotency::Safe, settings);
    let never_polled = AnyCall::new(&site, Wish::default(), By(|_| pending::<u16>(), judged));
    assert_eq!(in_flight(&site), 0, "not begun");
    drop(never_polled);
    let in_attempt = AnyCall::new(&site, Wish::default(), By(|_| pending::<u16>(), judged));
    assert!(tokio::time::timeout(Duration::from_millis(5), in_attempt).await.is_err());
    assert_eq!(in_flight(&site), 0);
    // The call is dropped while it waits to repeat.
    let retry_after = Some(Duration::from_secs(5));
    let later = |status: u16| Judged {
        ending: Ending::Answered(Answer { retry_after, ..Answer::of_status(status) }),
        ..judged(status)
    };
    let in_backoff = AnyCall::new(&site, Wish::default(), By(|_| async { 503 }, later));
    assert!(tokio::time::timeout(Duration::from_secs(1), in_backoff).await.is_err());
    assert_eq!(in_flight(&site), 0);
    let counts = site.shared.with(|g| g.endpoint(0).unwrap().breaker().counts(site.clock.now()));
    assert_eq!(counts.bad, 1, "the 503 whose repeat was dropped; the wait for nothing says nothing");
}

#[tokio::test(start_paused = true)]
async fn the_attempt_is_gone_before_its_place_is_given_back() {
    struct Busy<'a>(&'a AtomicU32, &'a Site);
    impl Drop for Busy<'_> {
        fn drop(&mut self) {
            self.0.store(in_flight(self.1), Ordering::SeqCst);
        }
    }
    let site = site(Idempotency::None, GuardSettings::default());
    let seen = AtomicU32::new(9);
    let make = |_| {
        let busy = Busy(&seen, &site);
        async move {
            let _busy = busy;
            pending::<u16>().await
        }
    };
    AnyCall::new(&site, Wish::default(), By(make, judged)).await;
    assert_eq!(seen.swap(9, Ordering::SeqCst), 1, "cut by its timeout");
    let dropped = AnyCall::new(&site, Wish::default(), By(make, judged));
    assert!(tokio::time::timeout(Duration::from_millis(5), dropped).await.is_err());
    assert_eq!(seen.load(Ordering::SeqCst), 1, "dropped");
}

#[tokio::test(start_paused = true)]
async fn a_full_limit_refuses_without_making_anything() {
    let settings = GuardSettings { limit: LimitSettings::fixed(1), ..GuardSettings::default() };
    let site = site(Idempotency::Safe, settings);
    let mut first = Box::pin(AnyCall::new(&site, Wish::default(), By(|_| pending::<u16>(), judged)));
    assert!(futures_poll(&mut first).is_pending());
    let make = |_| -> std::future::Pending<u16> { panic!("it was made") };
    let refused = AnyCall::new(&site, Wish::default(), By(make, judged)).await;
    assert_eq!(refused.finish.refusal.map(|no| no.reason), Some(Reason::ConcurrencyLimit));
    assert_eq!((refused.finish.attempts, refused.finish.effect), (0, Effect::NotApplied));
}

fn futures_poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(std::task::Waker::noop()))
}
