//! A call that panics gives back what it holds, and is not polled again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::{Body, Frame};
use seawall_client::connect::Settings;
use seawall_client::{
    AnswerLimits, BodyError, CallRequest, Clock, Dependency, DependencySettings, EndpointSettings,
    PoolSettings, RequestBody, Shared,
};
use seawall_policy::{GuardSettings, Idempotency, Keys, Plan, Rules, Wish};
use tokio::net::TcpListener;

/// A body that gives one piece, and panics when it is asked for the next.
struct Trap {
    asked: Arc<AtomicUsize>,
}

impl Body for Trap {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let before = self.asked.fetch_add(1, Ordering::Relaxed);
        assert_eq!(before, 0, "as the test wants it");
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"piece")))))
    }
}

#[tokio::test]
async fn a_body_that_panics_leaves_no_place_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let pool = PoolSettings {
        settle: Duration::from_millis(20),
        idle: Duration::from_secs(60),
        max_idle: 8,
        max_age: Duration::from_secs(60),
    };
    let settings = DependencySettings {
        name: "up".into(),
        endpoints: vec![EndpointSettings { url, headers: HeaderMap::new() }],
        connect: Settings::default(),
        pool,
        deadline_header: None,
        health: None,
        answer: AnswerLimits::default(),
    };
    let mut guards = GuardSettings::default();
    // Each panic counts as a call that its caller has left. The breaker is off, so that these calls do not open it.
    guards.breaker.enabled = false;
    let shared = Shared::new(guards, 1);
    let dependency = Arc::new(Dependency::new(settings, Arc::clone(&shared), Clock::new()).unwrap());
    for idempotency in [Idempotency::Safe, Idempotency::None] {
        for number in 0..20 {
            let asked = Arc::new(AtomicUsize::new(0));
            let request = CallRequest {
                method: Method::POST,
                path: "/x".parse().unwrap(),
                headers: HeaderMap::new(),
                via: None,
                body: RequestBody::Stream(Box::pin(Trap { asked: Arc::clone(&asked) })),
                keep: 0,
                keys: Keys::default(),
            };
            let plan = Arc::new(Plan::new(Rules::of(idempotency), 1));
            let called = Arc::clone(&dependency);
            let call = tokio::spawn(async move { called.call(&plan, request, Wish::default()).await.finish });
            let ended = tokio::time::timeout(Duration::from_secs(10), call).await.unwrap();
            assert!(ended.unwrap_err().is_panic(), "{idempotency} {number}");
            let in_flight = shared.with(|guards| guards.endpoint(0).unwrap().limit_seen().in_flight);
            assert_eq!(in_flight, 0, "{idempotency} {number}");
            assert_eq!(asked.load(Ordering::Relaxed), 2, "it is not asked again");
        }
    }
}
