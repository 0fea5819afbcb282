//! What the tower layer promises to the layer above it and to the service below it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::fmt;
use std::future::{Ready, pending, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use seawall::tower::{Each, Guard, Http};
use seawall::{Concurrency, Dependency, Effect, Idempotency, Reason, Stopped, Timeouts, secs};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

fn limited(max: u32) -> Dependency {
    Dependency::builder("below").concurrency(Concurrency::fixed(max)).build().unwrap()
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[derive(Debug, PartialEq)]
struct Broken(u32);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken: {}", self.0)
    }
}

impl std::error::Error for Broken {}

/// A service that answers with the number of its polls for readiness. A clone has not been polled. It panics if it is
/// called before it is ready.
#[derive(Debug, Default)]
struct Picky {
    ready: u32,
}

impl Clone for Picky {
    fn clone(&self) -> Self {
        Picky::default()
    }
}

impl Service<()> for Picky {
    type Response = u32;
    type Error = Broken;
    type Future = Ready<Result<u32, Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.ready += 1;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        assert!(self.ready > 0, "called without having said that it is ready");
        ready(Ok(std::mem::take(&mut self.ready)))
    }
}

#[tokio::test(start_paused = true)]
async fn the_instance_that_is_ready_is_the_one_that_is_called() {
    let mut guard = limited(10).layer(Each(Idempotency::Safe)).layer(Picky::default());
    for _ in 0..3 {
        guard.ready().await.unwrap();
    }
    assert_eq!(guard.call(()).await.unwrap(), 3);
    assert_eq!(guard.ready().await.unwrap().call(()).await.unwrap(), 1, "a fresh one, asked anew");
}

#[tokio::test(start_paused = true)]
async fn readiness_takes_no_place_and_a_call_takes_one() {
    let below = limited(1);
    let layer = below.layer(Each(Idempotency::None));
    let mut one = layer.layer(service_fn(|()| pending::<Result<(), Broken>>()));
    let mut two = one.clone();
    one.ready().await.unwrap();
    two.ready().await.unwrap();
    drop(two.clone());
    let mut first = Box::pin(one.call(()));
    assert!(poll_once(&mut first).is_pending());
    let refused = two.call(()).await.unwrap_err();
    assert_eq!((refused.reason(), refused.effect()), (Some(Reason::ConcurrencyLimit), Effect::NotApplied));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_gives_its_place_back_at_every_stage() {
    let below = limited(1);
    let guard = below.layer(Each(Idempotency::Safe)).layer(service_fn(|()| pending::<Result<(), Broken>>()));
    for polls in 0..3 {
        let mut call = Box::pin(guard.clone().call(()));
        for _ in 0..polls {
            assert!(poll_once(&mut call).is_pending());
        }
        drop(call);
    }
    below.call(Idempotency::Safe, |_| async { Ok::<_, Broken>(()) }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_error_below_is_kept() {
    let below = limited(1);
    let guard = below.layer(Each(Idempotency::None)).layer(service_fn(|()| ready(Err::<(), _>(Broken(7)))));
    let error = guard.oneshot(()).await.unwrap_err();
    assert_eq!(error.downcast_ref::<Broken>(), Some(&Broken(7)));
    assert_eq!((error.effect(), error.stopped()), (Effect::Unknown, Some(Stopped::NotRepeatable)));
    assert!(error.place().file().ends_with("tower_layer.rs"));
    assert_eq!(error.downcast::<Broken>().unwrap(), Broken(7));
    // The error is boxed already, as in most stacks. It is not boxed a second time.
    let boxed = service_fn(|()| ready(Err::<(), tower::BoxError>(Box::new(Broken(8)))));
    let error = below.layer(Each(Idempotency::None)).layer(boxed).oneshot(()).await.unwrap_err();
    assert_eq!(error.downcast_ref::<Broken>(), Some(&Broken(8)));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_is_kept_and_nothing_was_sent() {
    #[derive(Clone)]
    struct Dead;
    impl Service<()> for Dead {
        type Response = ();
        type Error = Broken;
        type Future = Ready<Result<(), Broken>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            Poll::Ready(Err(Broken(1)))
        }
        fn call(&mut self, (): ()) -> Self::Future {
            panic!("called although it is dead")
        }
    }
    let error = limited(1).layer(Each(Idempotency::None)).layer(Dead).oneshot(()).await.unwrap_err();
    assert_eq!((error.effect(), error.attempts()), (Effect::NotApplied, 0));
    assert_eq!(error.downcast::<Broken>().unwrap(), Broken(1));
}

#[tokio::test(start_paused = true)]
async fn a_repeat_waits_for_readiness_and_never_holds_two_places_below() {
    let made = Arc::new(AtomicU32::new(0));
    let counts = Arc::clone(&made);
    let once_broken = service_fn(move |()| {
        let number = counts.fetch_add(1, Ordering::SeqCst);
        ready(if number == 0 { Err(Broken(0)) } else { Ok(number) })
    });
    // The service below allows one request at a time. A repeat that still held the first attempt's slot would wait for
    // ever.
    let below = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1)).service(once_broken);
    let guard = limited(1).layer(Each(Idempotency::Safe)).layer(below);
    let answered =
        tokio::time::timeout(secs(5), guard.oneshot(())).await.expect("it does not wait for itself");
    assert_eq!((answered.unwrap(), made.load(Ordering::SeqCst)), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_lets_go_of_the_ready_instance() {
    let below = limited(1);
    let limit = ConcurrencyLimitLayer::new(1);
    let inner = limit.layer(service_fn(|()| ready(Ok::<_, Broken>(()))));
    let mut guard = below.layer(Each(Idempotency::Safe)).layer(inner.clone());
    let hold = below.call(Idempotency::Safe, |_| pending::<Result<(), Broken>>());
    let mut hold = pin!(hold);
    assert!(hold.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    guard.ready().await.unwrap();
    assert_eq!(guard.call(()).await.unwrap_err().reason(), Some(Reason::ConcurrencyLimit));
    let mut inner = inner;
    tokio::time::timeout(secs(1), inner.ready()).await.expect("its place below is free").unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_cut_at_its_deadline() {
    let timeouts = Timeouts::default().connect(secs(1)).read(secs(2)).total(secs(9));
    let below = Dependency::builder("below").timeout(timeouts).build().unwrap();
    let guard = below.layer(Each(Idempotency::None)).layer(service_fn(|()| pending::<Result<(), Broken>>()));
    let error = guard.oneshot(()).await.unwrap_err();
    assert_eq!((error.reason(), error.effect()), (Some(Reason::ReadTimeout), Effect::Unknown));
}

type Bodies = Response<&'static str>;

fn answers(
    head: impl Fn() -> http::response::Builder + Clone,
) -> Guard<impl Service<Request<u8>, Response = Bodies, Error = Broken, Future: Send> + Clone, Http> {
    let inner = service_fn(move |_: Request<u8>| ready(Ok::<_, Broken>(head().body("said").unwrap())));
    Dependency::builder("api").build().unwrap().layer(Http::new().keys()).layer(inner)
}

/// Each row: status, gRPC status, method and key, and the number of calls that they lead to.
#[tokio::test(start_paused = true)]
async fn http_answers_are_read_by_status_method_and_key() {
    for (status, grpc, method, key, calls) in [
        (200, None, "GET", false, 1),
        (503, None, "GET", false, 2),
        (503, None, "POST", false, 1),
        (503, None, "POST", true, 2),
        (404, None, "GET", false, 1),
        (200, Some("14"), "GET", false, 2),
        (200, Some("14"), "POST", false, 1),
        (200, Some("3"), "GET", false, 1),
        (200, Some("0"), "GET", false, 1),
    ] {
        let called = Arc::new(AtomicU32::new(0));
        let counts = Arc::clone(&called);
        let guard = answers(move || {
            counts.fetch_add(1, Ordering::SeqCst);
            let head = Response::builder().status(status);
            if let Some(code) = grpc { head.header("grpc-status", code) } else { head }
        });
        let request = Request::builder().method(method).uri("/");
        let request = if key { request.header("idempotency-key", "k") } else { request };
        let answer = guard.oneshot(request.body(1).unwrap()).await.unwrap();
        assert_eq!((answer.status().as_u16(), *answer.body()), (status, "said"), "an answer is passed on");
        assert_eq!(called.load(Ordering::SeqCst), calls, "{status} {grpc:?} {method} {key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_streams_is_not_sent_again() {
    struct NoClone;
    let called = Arc::new(AtomicU32::new(0));
    let counts = Arc::clone(&called);
    let inner = service_fn(move |_: Request<NoClone>| {
        counts.fetch_add(1, Ordering::SeqCst);
        ready(Ok::<_, Broken>(Response::builder().status(503).body(()).unwrap()))
    });
    let guard = Dependency::builder("api").build().unwrap().layer(Http::streaming()).layer(inner);
    let answer = guard.oneshot(Request::get("/").body(NoClone).unwrap()).await.unwrap();
    assert_eq!((answer.status().as_u16(), called.load(Ordering::SeqCst)), (503, 1));
}
