//! Calls to systems that the application does not own.
//!
//! A call to a payment provider ends in one of three ways: it took effect, it did not, or nobody knows. This crate has
//! a value for the third way: [`Effect::Unknown`]. Other rules follow from it: for example, a call whose effect is
//! unknown may be repeated only if a second delivery does no harm.
//!
//! ```no_run
//! # async fn fetch_rate(by: std::time::Instant) -> Result<f64, std::io::Error> { Ok(1.0) }
//! # fn roll_back() {} fn ask_later() {}
//! # async fn front_page(key: String, charge: Vec<u32>) -> Result<(), Box<dyn std::error::Error>> {
//! use seawall::{Dependency, Effect, Idempotency, Timeouts, secs};
//!
//! let payments = Dependency::builder("payments").endpoint("https://api.pay.example")?
//!     .timeout(Timeouts { connect: secs(3), read: secs(60), total: secs(90) }).build()?;
//!
//! // any future: the closure says what each ending means
//! let rate = payments.call(Idempotency::Safe, |attempt| fetch_rate(attempt.deadline())).await?;
//!
//! // HTTP: knows what was sent
//! let answer = payments.http().post("/v1/charges").idempotency_key(&key).json(&charge).send().await;
//! if let Err(e) = &answer {
//!     match e.effect() {
//!         Effect::NotApplied => roll_back(),      // it did not happen, and will not
//!         Effect::Unknown => ask_later(),         // it may have happened
//!         Effect::Applied => {}                   // it happened; only the rest of the answer is missing
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A program holds a [`Dependency`] for each system. [`Dependency::call`] makes calls around any future, `http` makes
//! HTTP calls and knows what was sent, and `layer` (feature `tower`) puts the same guards around tower services.
//! [`Operation`] declares once what an API's answers mean. [`Error`] says what is known of the effect.
//! `docs/library.md` describes all of this.

mod builder;
mod call;
mod call_site;
mod dependency;
mod entry;
mod error;
mod fault;
pub mod held;
#[cfg(feature = "http")]
pub mod http;
mod judge;
#[cfg(feature = "ledger")]
pub mod ledger;
mod misuse;
mod operation;
#[cfg(feature = "pool")]
mod pool;
mod settings;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tower")]
pub mod tower;

pub use builder::{DependencyBuilder, Endpoint};
pub use call::{Attempt, Call};
pub use dependency::Dependency;
pub use error::Error;
pub use fault::{Fault, Meaning};
pub use held::{ConnectionHeld, OnHeld, scope};
pub use judge::{ByClosure, Judge, Plain};
pub use operation::{Operation, OperationBuilder, Value, When};
#[cfg(feature = "pool")]
pub use pool::{GuardedConnection, GuardedPool, GuardedTransaction};
pub use settings::{AnswerHead, Breaker, Budget, Concurrency, Dns, Pool, Retry, Tls, millis, secs};

pub use seawall_client::connect::HttpVersion;
pub use seawall_policy::{Effect, Idempotency, Misuse, Origin, Reason, Stopped, Timeouts};
/// The crate that reads and writes JSON, in the version that this crate uses. Its `json!` makes the bodies that the
/// declarations of the ledger take, for example in `Cancel::json`.
#[cfg(feature = "http")]
pub use serde_json;
/// The crate of the database connections, in the version that this crate uses. A program can use it from here, so that
/// it cannot get another version by mistake.
#[cfg(feature = "pool")]
pub use sqlx;
