//! An axum service with two dependencies. One of them hangs, and calls to the other work as usual.
//!
//! `cargo run -p seawall --example bulkheads` starts both dependencies and the service in this process, calls the
//! service as its users would, prints what they got, and ends. With `LISTEN=127.0.0.1:3000` the service keeps running.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use seawall::{Concurrency, Dependency, Effect, Origin, Timeouts, millis, secs};
use seawall_lab::harbor::Harbor;
use serde_json::{Value, json};

/// What the handlers share: one `Dependency` for each system that belongs to somebody else.
struct Shop {
    payments: Dependency,
    shipping: Dependency,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shop = Arc::new(Shop {
        payments: Dependency::builder("payments").endpoint(provider()?)?.build()?,
        // Shipping has ten slots of its own and short timeouts. Calls that hang here take no slot from payments.
        shipping: Dependency::builder("shipping")
            .endpoint(provider()?)?
            .timeout(Timeouts::default().connect(secs(1)).read(millis(800)).total(secs(2)))
            .concurrency(Concurrency::fixed(10))
            .build()?,
    });
    let app =
        Router::new().route("/payments", get(payments)).route("/shipping", get(shipping)).with_state(shop);
    let listen = std::env::var("LISTEN");
    let address = listen.as_deref().unwrap_or("127.0.0.1:0");
    let listener = tokio::net::TcpListener::bind(address).await?;
    let at = listener.local_addr()?;
    println!("serving on http://{at}");
    let served = tokio::spawn(async move { axum::serve(listener, app).await });
    if listen.is_ok() {
        return Ok(served.await??);
    }
    visit(&format!("http://{at}")).await
}

async fn payments(State(shop): State<Arc<Shop>>) -> Result<Json<Value>, Failed> {
    let answer = shop.payments.http().get("/v1/ping").send().await?;
    Ok(Json(json!({"payments": answer.status().as_u16()})))
}

async fn shipping(State(shop): State<Arc<Shop>>) -> Result<Json<Value>, Failed> {
    let answer = shop.shipping.http().get("/v1/ping").header("harbor-fault", "hang;always").send().await?;
    Ok(Json(json!({"shipping": answer.status().as_u16()})))
}

/// What our own callers get.
struct Failed(seawall::Error);

impl From<seawall::Error> for Failed {
    fn from(error: seawall::Error) -> Failed {
        Failed(error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = match (self.0.origin(), self.0.effect()) {
            (Origin::Seawall, _) => StatusCode::SERVICE_UNAVAILABLE,
            (Origin::Caller, _) => StatusCode::INTERNAL_SERVER_ERROR,
            (Origin::Dependency, Effect::Unknown) => StatusCode::GATEWAY_TIMEOUT,
            (Origin::Dependency, _) => StatusCode::BAD_GATEWAY,
        };
        let reason = self.0.reason().map(seawall::Reason::as_str);
        (status, Json(json!({"reason": reason, "effect": self.0.effect().as_str()}))).into_response()
    }
}

/// Forty users ask about shipping while forty others pay.
async fn visit(at: &str) -> Result<(), Box<dyn Error>> {
    // The visitor's own guards are switched off, so that only the service's guards have an effect.
    let visitor = Dependency::builder("service")
        .endpoint(at)?
        .breaker(seawall::Breaker::off())
        .retry(seawall::Retry::off())
        .build()?;
    let ask = |path: &'static str| {
        let request = visitor.http().get(path);
        tokio::spawn(async move {
            let began = Instant::now();
            let answer = request.send().await?;
            let status = answer.status().as_u16();
            Ok::<_, seawall::Error>((status, answer.json::<Value>().await?, began.elapsed()))
        })
    };
    let shipping: Vec<_> = (0..40).map(|_| ask("/shipping")).collect();
    let payments: Vec<_> = (0..40).map(|_| ask("/payments")).collect();
    let mut reasons = std::collections::BTreeMap::new();
    for answer in shipping {
        let (status, body, _) = answer.await??;
        *reasons
            .entry(format!("{status} {}", body["reason"].as_str().unwrap_or("no reason")))
            .or_insert(0) += 1;
    }
    let mut paid = 0;
    for answer in payments {
        let (status, _, _) = answer.await??;
        paid += u32::from(status == 200);
    }
    println!("shipping hangs: {reasons:?}");
    println!("payments: {paid} of 40 served");
    Ok(())
}

fn provider() -> Result<String, Box<dyn Error>> {
    let harbor = Harbor::bind(([127, 0, 0, 1], 0).into(), None)?;
    let url = format!("http://{}", harbor.address());
    tokio::spawn(harbor.run());
    Ok(url)
}
