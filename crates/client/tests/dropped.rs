//! A call that is dropped at any of its waits gives back what it holds: its slot of the limit, its place in a queue,
//! its permit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use seawall_policy::{
    BudgetSettings, GuardSettings, Idempotency, LimitSettings, Plan, QueueSettings, Rules, Wish,
};

use support::{Script, Upstream, dependency, drop_after, goes_on, held, request};

const REFUSED_THEN_GOOD: Script = &[
    &["HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno"],
    &["HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", "good"],
];

#[tokio::test]
async fn a_call_dropped_at_any_poll_holds_nothing() {
    let upstream = Upstream::open(REFUSED_THEN_GOOD).await;
    let mut plan = Plan::new(Rules::of(Idempotency::Safe), 1);
    plan.backoff.base = Duration::from_millis(5);
    let plan = Arc::new(plan);
    let budget =
        BudgetSettings { initial_milli: 9_000_000, burst_milli: 9_000_000, ..BudgetSettings::default() };
    let mut settings = GuardSettings { budget, ..GuardSettings::default() };
    settings.breaker.enabled = false;
    let dependency = Arc::new(dependency(upstream.address, settings));
    let mut over = 0;
    for polls in 0..2_000 {
        over += u32::from(drop_after(polls % 100, dependency.call(&plan, request(), Wish::default())).await);
        assert_eq!(held(&dependency), (0, 0), "after {polls} polls");
        if over > 20 {
            return;
        }
    }
    panic!("no call ended");
}

#[tokio::test]
async fn who_is_dropped_in_the_queue_makes_room_and_its_turn_goes_on() {
    let upstream = Upstream::open(REFUSED_THEN_GOOD).await;
    let queue = QueueSettings { length: 2, wait: Duration::from_secs(60) };
    let mut settings = GuardSettings { queue, limit: LimitSettings::fixed(1), ..GuardSettings::default() };
    settings.breaker.enabled = false;
    let dependency = Arc::new(dependency(upstream.address, settings));
    let plan = Arc::new(Plan { attempts: 1, ..Plan::new(Rules::of(Idempotency::Safe), 1) });
    let mut first = Box::pin(dependency.call(&plan, request(), Wish::default()));
    assert!(goes_on(first.as_mut()));
    let mut second = Box::pin(dependency.call(&plan, request(), Wish::default()));
    let mut third = Box::pin(dependency.call(&plan, request(), Wish::default()));
    assert!(goes_on(second.as_mut()) && goes_on(third.as_mut()));
    assert_eq!(held(&dependency), (1, 2));
    // The first call leaves, so the second call's turn comes. The second call leaves before it takes its turn.
    drop(first);
    assert_eq!(held(&dependency), (1, 1));
    drop(second);
    assert_eq!(held(&dependency), (1, 0), "the place is the third's");
    let outcome = tokio::time::timeout(Duration::from_secs(20), third).await.unwrap();
    assert_eq!(outcome.finish.attempts, 1);
    drop(outcome);
    assert_eq!(held(&dependency), (0, 0));
}
