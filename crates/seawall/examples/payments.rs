//! A plain program: timeouts, a read, a payment with a key, and a payment whose effect stays unknown at first.

use std::error::Error;

use seawall::{Dependency, Effect, Idempotency, Operation, Timeouts, When, secs};
use seawall_lab::harbor::Harbor;
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = match std::env::var("PAYMENTS_URL") {
        Ok(url) => url,
        Err(_) => provider()?,
    };
    let payments = Dependency::builder("payments")
        .endpoint(url)?
        .timeout(Timeouts::default().connect(secs(3)).read(secs(10)).total(secs(20)))
        .build()?;
    // This is declared once: what a second delivery does, and what the provider's result codes mean.
    let charges = payments
        .operation("charge")
        .idempotency(Idempotency::Keyed)
        .timeout(Timeouts { connect: secs(3), read: secs(60), total: secs(90) })
        .answers(Effect::Applied, When::status(200).field("/code", ["OK"]))
        .answers(Effect::NotApplied, When::status(200).field("/code", ["DECLINED", "LIMIT"]))
        .otherwise(Effect::Unknown)
        .build()?;

    // Seawall repeats a read by itself.
    let health = payments.http().get("/health").send().await?;
    println!("health: {} after {} attempt(s)", health.status(), health.attempts());

    // The reply is lost after the money has moved. The charge carries a key, so it is sent again, and still takes
    // effect only once.
    pay(&charges, "order-1", 1200, Some("close-after-effect")).await?;
    pay(&charges, "order-2", 402, None).await?;

    // The same without a key: a second delivery could charge twice, so the charge is not sent again.
    let charge = json!({"amount": 700, "currency": "EUR", "metadata": {"order": "order-3"}});
    let request = payments.http().post("/v1/charges").json(&charge);
    match request.header("harbor-fault", "close-after-effect").send().await {
        Ok(answer) => println!("order-3: {} ({})", answer.status(), answer.effect()),
        Err(error) if error.effect() == Effect::Unknown => {
            println!("order-3: {error}");
            println!("order-3: found by asking: {}", ask(&payments, "order-3").await?);
        }
        Err(error) => println!("order-3: not charged: {error}"),
    }
    Ok(())
}

/// Charges, and handles each of the three possible effects.
async fn pay(
    charges: &Operation,
    order: &str,
    amount: u32,
    fault: Option<&str>,
) -> Result<(), Box<dyn Error>> {
    let charge = json!({"amount": amount, "currency": "EUR"});
    let mut request = charges.http().post("/v1/charges").idempotency_key(order).json(&charge);
    if let Some(fault) = fault {
        request = request.header("harbor-fault", fault);
    }
    let (effect, words) = match request.send().await {
        Ok(answer) => {
            (answer.effect(), format!("{} after {} attempt(s)", answer.status(), answer.attempts()))
        }
        Err(error) => (error.effect(), error.to_string()),
    };
    match effect {
        Effect::Applied => println!("{order}: paid: {words}"),
        Effect::NotApplied => println!("{order}: not charged, the order is cancelled: {words}"),
        Effect::Unknown => println!("{order}: nobody knows, ask later: {words}"),
    }
    Ok(())
}

/// Looks the order up in the provider's own list, to learn whether it was charged.
async fn ask(payments: &Dependency, order: &str) -> Result<bool, Box<dyn Error>> {
    let list = payments.http().get("/v1/charges").query("from", "2020-01-01").send().await?;
    let list: Value = list.error_for_status()?.json().await?;
    let charges = list["data"].as_array().cloned().unwrap_or_default();
    Ok(charges.iter().any(|charge| charge["metadata"]["order"] == order))
}

/// A payment provider that misbehaves on request.
fn provider() -> Result<String, Box<dyn Error>> {
    let harbor = Harbor::bind(([127, 0, 0, 1], 0).into(), None)?;
    let url = format!("http://{}", harbor.address());
    tokio::spawn(harbor.run());
    Ok(url)
}
