//! Calls whose request is made only after the guards have let them pass. If nothing is sent, nothing is held and nobody
//! learns anything from the call.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use seawall_client::{CallRequest, Dependency, Outcome};
use seawall_policy::{
    BreakerState, Effect, Force, GuardSettings, Idempotency, Keys, LimitSettings, Plan, QueueSettings,
    Reason, Rules, Wish,
};
use tokio::time::{advance, pause, resume};

use support::{Script, Upstream, dependency, drop_after, goes_on, held, keys, request};

const GOOD: Script = &[&["HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", "good"]];

const SECOND: Duration = Duration::from_secs(1);

fn plan(idempotency: Idempotency) -> Arc<Plan> {
    Arc::new(Plan { attempts: 1, ..Plan::new(Rules::of(idempotency), 1) })
}

/// One slot, and a queue of two calls before it.
fn narrow() -> GuardSettings {
    let queue = QueueSettings { length: 2, wait: Duration::from_secs(60) };
    GuardSettings { queue, limit: LimitSettings::fixed(1), ..GuardSettings::default() }
}

/// Makes a call without keys whose request is made by `prepare`.
async fn call(
    dependency: &Arc<Dependency>,
    prepare: impl Future<Output = Option<CallRequest>> + Send,
) -> Option<Outcome> {
    dependency.call_prepared(&plan(Idempotency::Keyed), Keys::NONE, Wish::default(), prepare).await
}

/// Makes a call that is answered with 200.
async fn good(dependency: &Arc<Dependency>) {
    let outcome = call(dependency, async { Some(request()) }).await.unwrap();
    assert_eq!((outcome.finish.effect, outcome.finish.attempts), (Effect::Applied, 1), "{outcome:?}");
}

/// The breaker's state, and the numbers of its good and bad calls.
fn breaker(dependency: &Dependency) -> (BreakerState, u32, u32) {
    let now = dependency.clock().now();
    dependency.shared().with(|guards| {
        let breaker = guards.endpoint(0).unwrap().breaker();
        let counts = breaker.counts(now);
        (breaker.state(now), counts.ok, counts.bad)
    })
}

fn force(dependency: &Dependency, force: Force) {
    let now = dependency.clock().now();
    dependency.shared().with(|guards| guards.force(0, force, now));
}

/// Waits until nothing is held.
async fn until_nothing_is_held(dependency: &Dependency) {
    let nothing = async {
        while held(dependency) != (0, 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(20 * SECOND, nothing).await.unwrap();
}

/// Begins a call for which nothing is sent, and ends it in one of three ways. Before the end, the clock is paused and
/// moved by three seconds.
async fn unused(dependency: &Arc<Dependency>, end: &str) {
    let late = async {
        pause();
        advance(3 * SECOND).await;
        match end {
            "dropped" => pending().await,
            "nothing" => None,
            _ => Some(request()),
        }
    };
    let wish = Wish { within: (end == "late").then_some(2 * SECOND), ..Wish::default() };
    let plan = plan(Idempotency::Keyed);
    let mut call = Box::pin(dependency.call_prepared(&plan, Keys::NONE, wish, late));
    match end {
        "dropped" => {
            for _ in 0..5 {
                assert!(goes_on(call.as_mut()));
                assert_eq!(held(dependency), (1, 0));
            }
            drop(call);
        }
        "nothing" => assert!(call.await.is_none()),
        _ => {
            let outcome = call.await.unwrap();
            assert_eq!(outcome.reason(), Some(Reason::NoTimeLeft));
            assert_eq!((outcome.finish.effect, outcome.finish.attempts), (Effect::NotApplied, 0));
        }
    }
    resume();
    assert_eq!(held(dependency), (0, 0), "{end}");
}

const UNUSED: [&str; 3] = ["dropped", "nothing", "late"];

#[tokio::test]
async fn a_refused_call_prepares_nothing() {
    let upstream = Upstream::open(GOOD).await;
    let dependency = Arc::new(dependency(upstream.address, GuardSettings::default()));
    force(&dependency, Force::Open);
    let outcome = call(&dependency, async { panic!("it is not polled") }).await.unwrap();
    assert_eq!((outcome.reason(), outcome.finish.attempts), (Some(Reason::BreakerOpen), 0));
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn a_permit_that_is_not_used_is_no_evidence() {
    for end in UNUSED {
        let upstream = Upstream::open(GOOD).await;
        let dependency = Arc::new(dependency(upstream.address, narrow()));
        good(&dependency).await;
        // A call that its caller gives up after three seconds would count as bad, since the success was much faster.
        unused(&dependency, end).await;
        assert_eq!(breaker(&dependency), (BreakerState::Closed, 1, 0), "{end}");
        assert_eq!(upstream.requests(), 1, "{end}");
        good(&dependency).await;
    }
}

#[tokio::test]
async fn a_probe_that_is_not_sent_leaves_its_place_to_the_next() {
    for end in UNUSED {
        let upstream = Upstream::open(GOOD).await;
        let mut settings = narrow();
        settings.breaker.open_for = Duration::from_secs(3600);
        let dependency = Arc::new(dependency(upstream.address, settings));
        force(&dependency, Force::Open);
        force(&dependency, Force::Auto);
        assert_eq!(breaker(&dependency).0, BreakerState::HalfOpen);
        let mut probe = Box::pin(call(&dependency, pending()));
        assert!(goes_on(probe.as_mut()));
        let refused = call(&dependency, pending()).await.unwrap();
        assert_eq!(refused.reason(), Some(Reason::BreakerOpen), "only one probe at a time");
        drop(probe);
        unused(&dependency, end).await;
        assert_eq!(breaker(&dependency).0, BreakerState::HalfOpen, "{end}");
        good(&dependency).await;
    }
}

#[tokio::test]
async fn a_slot_that_is_not_used_goes_to_the_call_that_waits() {
    let upstream = Upstream::open(GOOD).await;
    let dependency = Arc::new(dependency(upstream.address, narrow()));
    let mut first = Box::pin(call(&dependency, pending()));
    assert!(goes_on(first.as_mut()));
    let mut second = Box::pin(call(&dependency, async { panic!("its turn does not come") }));
    let mut third = Box::pin(call(&dependency, async { None }));
    assert!(goes_on(second.as_mut()) && goes_on(third.as_mut()));
    assert_eq!(held(&dependency), (1, 2));
    drop(second);
    assert_eq!(held(&dependency), (1, 1), "it leaves the queue");
    let mut fourth = Box::pin(good(&dependency));
    assert!(goes_on(fourth.as_mut()));
    assert_eq!(held(&dependency), (1, 2));
    drop(first);
    assert_eq!(held(&dependency), (1, 1), "the slot is the third's");
    assert!(third.await.is_none());
    assert_eq!(held(&dependency), (1, 0), "the slot is the fourth's");
    tokio::time::timeout(20 * SECOND, fourth).await.unwrap();
    until_nothing_is_held(&dependency).await;
}

#[tokio::test]
async fn timeouts_of_the_attempt_count_from_the_prepared_request() {
    let upstream = Upstream::open(GOOD).await;
    let dependency = Arc::new(dependency(upstream.address, GuardSettings::default()));
    // Longer than the connect timeout, the read timeout and `slow_call`, and shorter than the total timeout.
    let plan = Arc::new(Plan { slow_call: Some(5 * SECOND), ..(*plan(Idempotency::Keyed)).clone() });
    let prepare = async {
        pause();
        advance(20 * SECOND).await;
        resume();
        Some(request())
    };
    let outcome = dependency.call_prepared(&plan, Keys::NONE, Wish::default(), prepare).await.unwrap();
    assert_eq!((outcome.reason(), outcome.finish.effect), (None, Effect::Applied));
    drop(outcome);
    assert_eq!(breaker(&dependency), (BreakerState::Closed, 1, 0), "it was not slow");
}

#[tokio::test]
async fn a_call_dropped_at_any_poll_holds_nothing_or_is_followed() {
    let upstream = Upstream::open(GOOD).await;
    let followed = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&followed);
    let mut settings = GuardSettings::default();
    settings.breaker.enabled = false;
    let dependency =
        dependency(upstream.address, settings).on_followed(Arc::new(move |outcome: &Outcome| {
            assert_eq!(outcome.finish.effect, Effect::Applied);
            counted.fetch_add(1, Ordering::Relaxed);
        }));
    let dependency = Arc::new(dependency);
    for idempotency in [Idempotency::Safe, Idempotency::Keyed] {
        let (plan, mut over) = (plan(idempotency), 0);
        for polls in 0..1_000 {
            let prepare = async {
                tokio::time::sleep(Duration::from_millis(2)).await;
                Some(request())
            };
            let call = dependency.call_prepared(&plan, keys(), Wish::default(), prepare);
            over += u32::from(drop_after(polls % 30, call).await);
            match idempotency {
                Idempotency::Safe => assert_eq!(held(&dependency), (0, 0), "after {polls} polls"),
                _ => until_nothing_is_held(&dependency).await,
            }
            if over > 10 {
                break;
            }
        }
        assert!(over > 10, "no call ended");
        let followed = followed.load(Ordering::Relaxed);
        assert_eq!(followed > 0, idempotency == Idempotency::Keyed, "{followed} calls went on");
    }
}
