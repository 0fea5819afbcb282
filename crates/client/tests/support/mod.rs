//! A server with scripted answers, and a dependency that calls it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use http::{HeaderMap, Method};
use seawall_client::connect::Settings;
use seawall_client::{
    AnswerLimits, CallRequest, Clock, Dependency, DependencySettings, EndpointSettings, PoolSettings,
    RequestBody, Shared,
};
use seawall_policy::{GuardSettings, Keys};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The answers that a server gives on each connection, in turn. Each answer is written in pieces, with a pause before
/// each piece.
pub(crate) type Script = &'static [&'static [&'static str]];

/// A server with scripted answers.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicU32>,
}

impl Upstream {
    pub(crate) async fn open(script: Script) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU32::new(0));
        let heard = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answers(stream, script, Arc::clone(&heard)));
            }
        });
        Upstream { address, requests }
    }

    /// Returns the number of requests that came.
    #[allow(dead_code, reason = "not every test file asks")]
    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn answers(mut stream: TcpStream, script: Script, heard: Arc<AtomicU32>) -> Option<()> {
    let mut piece = [0; 4096];
    for answer in script.iter().cycle() {
        if stream.read(&mut piece).await.ok()? == 0 {
            return None;
        }
        heard.fetch_add(1, Ordering::Relaxed);
        for step in *answer {
            tokio::time::sleep(Duration::from_millis(3)).await;
            stream.write_all(step.as_bytes()).await.ok()?;
        }
    }
    None
}

pub(crate) fn dependency(address: SocketAddr, guards: GuardSettings) -> Dependency {
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
    Dependency::new(settings, Shared::new(guards, 1), Clock::new()).unwrap()
}

pub(crate) fn keys() -> Keys {
    Keys { breaker: Some("b".into()), limit: Some("l".into()) }
}

pub(crate) fn request() -> CallRequest {
    CallRequest {
        method: Method::GET,
        path: "/x".parse().unwrap(),
        headers: HeaderMap::new(),
        via: None,
        body: RequestBody::Empty,
        keep: 0,
        keys: keys(),
    }
}

/// The number of calls in flight and of calls waiting, in the endpoint's own limit and in those of its keys together.
pub(crate) fn held(dependency: &Dependency) -> (u32, u32) {
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

/// Polls a call once. Returns whether the call still goes on.
#[allow(dead_code, reason = "not every test file polls by hand")]
pub(crate) fn goes_on(call: std::pin::Pin<&mut impl Future>) -> bool {
    call.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// Polls a call `polls` times and drops it. Returns whether the call had ended by then.
pub(crate) async fn drop_after(polls: u32, call: impl Future) -> bool {
    let mut call = pin!(call);
    for _ in 0..polls {
        if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    false
}
