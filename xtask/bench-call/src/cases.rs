//! What is measured.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seawall::{Breaker, Budget, Concurrency, Dependency, Idempotency, Retry};
use seawall_policy as policy;

/// A function that makes a number of calls on this thread, and returns how long they took together.
pub(crate) type Calls = Arc<dyn Fn(u64) -> Duration + Send + Sync>;

/// One row of the table.
pub(crate) struct Case {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    /// Makes a fresh instance of what is measured, and returns the function that calls it. All threads of a measurement
    /// share this instance.
    pub(crate) make: Box<dyn Fn() -> Calls>,
}

/// The row to which all others are compared.
pub(crate) const WHOLE: &str = "seawall: deadline, retry, budget, limit, breaker";

pub(crate) fn all() -> Vec<Case> {
    let mut all = floor();
    all.extend(guards());
    all.extend(calls());
    all.extend(peers());
    all
}

fn case(group: &'static str, name: &'static str, make: impl Fn() -> Calls + 'static) -> Case {
    Case { group, name, make: Box::new(make) }
}

/// Times `calls` calls.
fn timed(calls: u64, mut call: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        call();
    }
    start.elapsed()
}

/// Awaits the future that `$call` makes, `$calls` times, in a runtime on this thread. Each time, `$call` is evaluated
/// again and makes a new future. The value of the macro is the [`Duration`] of all calls together.
macro_rules! awaited {
    ($calls:expr, $call:expr) => {{
        let calls: u64 = $calls;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("it starts");
        runtime.block_on(async move {
            let start = Instant::now();
            for _ in 0..calls {
                let _done = black_box($call.await);
            }
            start.elapsed()
        })
    }};
}

async fn nothing() -> Result<u64, Infallible> {
    Ok(black_box(1))
}

fn floor() -> Vec<Case> {
    const GROUP: &str = "the floor";
    vec![
        case(GROUP, "async function that does nothing", || Arc::new(|calls| awaited!(calls, nothing()))),
        case(GROUP, "std Instant::now", || {
            Arc::new(|n| {
                timed(n, || {
                    black_box(Instant::now());
                })
            })
        }),
        case(GROUP, "tokio Instant::now", || {
            Arc::new(|n| {
                timed(n, || {
                    black_box(tokio::time::Instant::now());
                })
            })
        }),
        case(GROUP, "fastant Instant::now", || {
            Arc::new(|n| {
                timed(n, || {
                    black_box(fastant::Instant::now());
                })
            })
        }),
        case(GROUP, "quanta Instant::now", || {
            Arc::new(|n| {
                timed(n, || {
                    black_box(quanta::Instant::now());
                })
            })
        }),
        case(GROUP, "fetch_add", || {
            let count = AtomicU64::new(0);
            Arc::new(move |n| {
                timed(n, || {
                    black_box(count.fetch_add(1, Ordering::Relaxed));
                })
            })
        }),
        case(GROUP, "parking_lot lock", || {
            let lock = parking_lot::Mutex::new(0_u64);
            Arc::new(move |n| timed(n, || *black_box(&lock).lock() += 1))
        }),
    ]
}

/// Returns the cases that call the breaker, the limit or the budget of the policy crate directly. Each is behind a
/// lock, as it is in the client.
fn guards() -> Vec<Case> {
    const GROUP: &str = "each machine, behind a lock, told the time";
    let at = policy::Time::from_millis(1_000);
    vec![
        case(GROUP, "breaker: admit, settle a success", move || {
            let breaker = parking_lot::Mutex::new(policy::Breaker::new(policy::BreakerSettings::default()));
            Arc::new(move |n| {
                timed(n, || {
                    let pass = breaker.lock().admit(at).expect("closed");
                    let evidence = policy::Evidence::Success { took: Duration::from_micros(5) };
                    let _settled =
                        black_box(breaker.lock().settle(at, pass, evidence, || policy::Draw::new(0)));
                })
            })
        }),
        case(GROUP, "limit: admit, release a success", || {
            let limit = parking_lot::Mutex::new(policy::Limit::new(policy::LimitSettings::default()));
            Arc::new(move |n| {
                timed(n, || {
                    let slot = limit.lock().admit(false).expect("free");
                    limit.lock().release(slot, policy::AttemptEnd::Success);
                })
            })
        }),
        case(GROUP, "budget: earn", || {
            let budget = parking_lot::Mutex::new(policy::Budget::new(policy::BudgetSettings::default()));
            Arc::new(move |n| timed(n, || budget.lock().earn()))
        }),
    ]
}

fn seawall(
    settings: impl Fn(seawall::DependencyBuilder) -> seawall::DependencyBuilder + 'static,
) -> impl Fn() -> Calls {
    move || {
        let dependency = settings(Dependency::builder("bench")).build().expect("good settings");
        Arc::new(move |calls| {
            let dependency = dependency.clone();
            awaited!(calls, dependency.call(Idempotency::Safe, |_| nothing()))
        })
    }
}

fn calls() -> Vec<Case> {
    const GROUP: &str = "a call";
    vec![
        case(GROUP, "seawall: deadline, statistics; all guards off", {
            seawall(|b| b.breaker(Breaker::off()).concurrency(Concurrency::off()).retry(Retry::off()))
        }),
        case(GROUP, "seawall: deadline, breaker", {
            seawall(|b| b.concurrency(Concurrency::off()).retry(Retry::off()))
        }),
        case(GROUP, "seawall: deadline, limit", {
            seawall(|b| b.breaker(Breaker::off()).retry(Retry::off()))
        }),
        case(GROUP, "seawall: deadline, retry, budget", {
            seawall(|b| b.breaker(Breaker::off()).concurrency(Concurrency::off()).budget(Budget::default()))
        }),
        case(GROUP, WHOLE, seawall(|b| b)),
    ]
}

fn peers() -> Vec<Case> {
    use failsafe::futures::CircuitBreaker as _;
    use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

    const GROUP: &str = "others";
    vec![
        case(GROUP, "recloser 1.4: breaker (sync)", || {
            let recloser = recloser::Recloser::default();
            Arc::new(move |n| timed(n, || drop(black_box(recloser.call(|| Ok::<_, ()>(black_box(1)))))))
        }),
        case(GROUP, "recloser 1.4: breaker", || {
            let recloser = recloser::AsyncRecloser::from(recloser::Recloser::default());
            Arc::new(move |calls| {
                let recloser = recloser.clone();
                awaited!(calls, recloser.call(nothing()))
            })
        }),
        case(GROUP, "failsafe 1.3: breaker", || {
            let breaker = failsafe::Config::new().build();
            Arc::new(move |calls| {
                let breaker = breaker.clone();
                awaited!(calls, breaker.call(nothing()))
            })
        }),
        case(GROUP, "tower 0.5: Timeout, ConcurrencyLimit, Retry, budget", || {
            let policy = Policy(Arc::new(tower::retry::budget::TpsBudget::default()));
            let layers = ServiceBuilder::new()
                .retry(policy)
                .concurrency_limit(1000)
                .timeout(Duration::from_secs(10))
                .service(service_fn(|()| nothing()));
            Arc::new(move |calls| {
                let mut stack = layers.clone();
                awaited!(calls, async { stack.ready().await.expect("it is ready").call(()).await })
            })
        }),
        case(GROUP, "tower-resilience 0.13: breaker", || {
            let breaker = tower_resilience_circuitbreaker::CircuitBreakerLayer::builder();
            let breaker = breaker.build().expect("good settings");
            let layers = ServiceBuilder::new().layer(breaker).service(service_fn(|()| nothing()));
            Arc::new(move |calls| {
                let mut stack = layers.clone();
                awaited!(calls, async { stack.ready().await.expect("it is ready").call(()).await })
            })
        }),
        case(GROUP, "tower-resilience 0.13: limit, breaker, retry, timeout", || {
            let limit = tower_resilience_bulkhead::BulkheadLayer::builder().max_concurrent_calls(1000);
            let breaker = tower_resilience_circuitbreaker::CircuitBreakerLayer::builder();
            let time = tower_resilience_timelimiter::TimeLimiterLayer::builder();
            let retry = tower_resilience_retry::RetryLayer::<(), u64, Infallible>::builder().max_attempts(2);
            let layers = ServiceBuilder::new()
                .map_err(|_| "failed")
                .layer(limit.reject_when_full().build().expect("good settings"))
                .layer(breaker.build().expect("good settings"))
                .layer(time.timeout_duration(Duration::from_secs(10)).build())
                .layer(retry.build())
                .service(service_fn(|()| nothing()));
            Arc::new(move |calls| {
                let mut stack = layers.clone();
                awaited!(calls, async { stack.ready().await.expect("it is ready").call(()).await })
            })
        }),
    ]
}

/// A policy for tower's retry layer. It repeats a call that ended in an error as long as tower's budget has a token for
/// the repeat. Each success adds to the budget.
#[derive(Clone, Debug)]
struct Policy(Arc<tower::retry::budget::TpsBudget>);

impl<E> tower::retry::Policy<(), u64, E> for Policy {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut (), result: &mut Result<u64, E>) -> Option<Self::Future> {
        use tower::retry::budget::Budget as _;
        match result {
            Ok(_) => {
                self.0.deposit();
                None
            }
            Err(_) => self.0.withdraw().then(|| std::future::ready(())),
        }
    }

    fn clone_request(&mut self, (): &()) -> Option<()> {
        Some(())
    }
}
