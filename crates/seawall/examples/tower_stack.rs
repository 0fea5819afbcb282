//! The layer together with other layers, around a service of the program's own.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::{Request, Response};
use seawall::tower::Http;
use seawall::{Dependency, Effect, Timeouts, millis, secs};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let partner = Dependency::builder("partner")
        .timeout(Timeouts::default().connect(secs(1)).read(millis(200)).total(secs(2)))
        .build()?;
    let called = Arc::new(AtomicU32::new(0));
    let stack = ServiceBuilder::new()
        .map_request(|path: &'static str| Request::post(path).body("{}"))
        .map_request(|request: Result<Request<&'static str>, http::Error>| request.unwrap_or_default())
        .layer(partner.layer(Http::new().keys()))
        .service(service_fn({
            let called = Arc::clone(&called);
            move |request: Request<&'static str>| {
                called.fetch_add(1, Ordering::SeqCst);
                answer(request.uri().path().to_owned())
            }
        }));

    let answered = stack.clone().oneshot("/accepted").await?;
    println!("/accepted: {} {}", answered.status(), answered.body());
    match stack.clone().oneshot("/hang").await {
        Err(error) if error.effect() == Effect::Unknown => println!("/hang: nobody knows: {error}"),
        other => println!("/hang: {other:?}"),
    }
    match stack.oneshot("/broken").await {
        Ok(answer) => println!("/broken: {}", answer.status()),
        Err(error) => println!("/broken: {error}, from below: {:?}", error.downcast_ref::<std::io::Error>()),
    }
    println!("the service below was called {} times", called.load(Ordering::SeqCst));
    Ok(())
}

/// Plays the service that sends the request.
async fn answer(path: String) -> Result<Response<&'static str>, BoxError> {
    match path.as_str() {
        "/hang" => std::future::pending().await,
        "/broken" => Err(std::io::Error::other("the pipe burst").into()),
        _ => Ok(Response::new("done")),
    }
}
