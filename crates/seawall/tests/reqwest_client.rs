//! reqwest's client under the layer.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use reqwest::{Client, Method, Request};
use seawall::tower::Reqwest;
use seawall::{Dependency, Effect, Stopped};
use seawall_lab::dead_end::Refused;
use seawall_lab::harbor::Harbor;
use tower::{Layer, ServiceExt};

#[tokio::test]
async fn what_reqwest_proves_decides_about_repeats() {
    let harbor = Harbor::bind(([127, 0, 0, 1], 0).into(), None).unwrap();
    let (at, books) = (harbor.address(), harbor.books());
    tokio::spawn(harbor.run());
    let payments = Dependency::builder("payments").build().unwrap();
    let guard = payments.layer(Reqwest::new().keys()).layer(Client::new());
    let charge = |to: std::net::SocketAddr, key: Option<&str>| {
        let mut request = Request::new(Method::POST, format!("http://{to}/v1/charges").parse().unwrap());
        *request.body_mut() = Some(r#"{"amount": 5, "currency": "EUR"}"#.into());
        let headers = request.headers_mut();
        headers.insert("harbor-fault", "close-after-effect".parse().unwrap());
        if let Some(key) = key {
            headers.insert("idempotency-key", key.parse().unwrap());
        }
        request
    };
    let keyed = guard.clone().oneshot(charge(at, Some("k"))).await.unwrap();
    assert_eq!(keyed.status().as_u16(), 200);
    assert_eq!(books.snapshot().effects, 1);

    let plain = guard.clone().oneshot(charge(at, None)).await.unwrap_err();
    assert_eq!((plain.effect(), plain.attempts()), (Effect::Unknown, 1));
    assert!(plain.downcast_ref::<reqwest::Error>().is_some());
    assert_eq!(books.snapshot().effects, 2);

    let nobody = Refused::open().unwrap();
    let refused = guard.oneshot(charge(nobody.address(), None)).await.unwrap_err();
    // A call of any idempotency may be repeated in this case, but the first repeat has taken the only token.
    assert_eq!((refused.effect(), refused.stopped()), (Effect::NotApplied, Some(Stopped::Budget)));
}
