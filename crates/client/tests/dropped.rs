//! A call that is dropped at any of its waits gives back what it holds: its slot of the limit, its place in a queue,
//! its permit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use http::{HeaderMap, Method};
use seawall_client::connect::Settings;
use seawall_client::{
    AnswerLimits, CallRequest, Clock, Dependency, DependencySettings, EndpointSettings, PoolSettings,
    RequestBody, Shared,
};
use seawall_policy::{
    BudgetSettings, GuardSettings, Idempotency, Keys, LimitSettings, Plan, QueueSettings, Rules, Wish,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that answers 503, then 200 with a body that comes after its head, and so on. It pauses before each step.
async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answers(stream));
        }
    });
    address
}

async fn answers(mut stream: TcpStream) -> Option<()> {
    const STEPS: [&str; 3] = [
        "HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n",
        "good",
    ];
    let mut piece = [0; 4096];
    loop {
        for (at, step) in STEPS.into_iter().enumerate() {
            if at < 2 && stream.read(&mut piece).await.ok()? == 0 {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
            stream.write_all(step.as_bytes()).await.ok()?;
        }
    }
}

fn dependency(address: SocketAddr, guards: GuardSettings) -> Arc<Dependency> {
    let url = format!("http://{address}").parse().unwrap();
    let settings = DependencySettings {
        name: "up".into(),
        endpoints: vec![EndpointSettings { url, headers: HeaderMap::new() }],
        connect: Settings::default(),
        pool: PoolSettings {
            settle: Duration::from_millis(20),
            idle: Duration::from_secs(60),
            max_idle: 8,
            max_age: Duration::from_secs(60),
        },
        deadline_header: None,
        health: None,
        answer: AnswerLimits::default(),
    };
    Arc::new(Dependency::new(settings, Shared::new(guards, 1), Clock::new()).unwrap())
}

fn request() -> CallRequest {
    CallRequest {
        method: Method::GET,
        path: "/x".parse().unwrap(),
        headers: HeaderMap::new(),
        via: None,
        body: RequestBody::Empty,
        keep: 0,
        keys: Keys { breaker: Some("b".into()), limit: Some("l".into()) },
    }
}

/// The number of calls in flight and of calls waiting, in the endpoint's own limit and in those of its keys together.
fn held(dependency: &Dependency) -> (u32, u32) {
    dependency.shared().with(|guards| {
        let endpoint = guards.endpoint(0).unwrap();
        let own = endpoint.limit_seen();
        let (mut in_flight, mut waiting) = (own.in_flight, own.waiting);
        endpoint.each_limit(|_, seen| {
            in_flight += seen.in_flight;
            waiting += seen.waiting;
        });
        (in_flight, waiting)
    })
}

/// Polls a call `polls` times and drops it. Returns whether the call had ended by then.
async fn drop_after(polls: u32, call: impl Future) -> bool {
    let mut call = pin!(call);
    for _ in 0..polls {
        if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    false
}

#[tokio::test]
async fn a_call_dropped_at_any_poll_holds_nothing() {
    let address = upstream().await;
    let mut plan = Plan::new(Rules::of(Idempotency::Safe), 1);
    plan.backoff.base = Duration::from_millis(5);
    let plan = Arc::new(plan);
    let budget =
        BudgetSettings { initial_milli: 9_000_000, burst_milli: 9_000_000, ..BudgetSettings::default() };
    let mut settings = GuardSettings { budget, ..GuardSettings::default() };
    settings.breaker.enabled = false;
    let dependency = dependency(address, settings);
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
    let address = upstream().await;
    let queue = QueueSettings { length: 2, wait: Duration::from_secs(60) };
    let mut settings = GuardSettings { queue, limit: LimitSettings::fixed(1), ..GuardSettings::default() };
    settings.breaker.enabled = false;
    let dependency = dependency(address, settings);
    let plan = Arc::new(Plan { attempts: 1, ..Plan::new(Rules::of(Idempotency::Safe), 1) });
    let mut cx = Context::from_waker(Waker::noop());
    let mut first = Box::pin(dependency.call(&plan, request(), Wish::default()));
    assert!(first.as_mut().poll(&mut cx).is_pending());
    let mut second = Box::pin(dependency.call(&plan, request(), Wish::default()));
    let mut third = Box::pin(dependency.call(&plan, request(), Wish::default()));
    assert!(second.as_mut().poll(&mut cx).is_pending() && third.as_mut().poll(&mut cx).is_pending());
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
