//! Calls to systems one does not own.
//!
//! A call to a payment provider ends in one of three ways: it took effect, it did not, or nobody knows. Here the third
//! is a value ([`Effect::Unknown`]), and everything else follows from it: what may be repeated, and what may not.
//!
//! ```no_run
//! use seawall::{Dependency, Idempotency, Timeouts, secs};
//! # async fn fetch_rate(by: std::time::Instant) -> Result<f64, std::io::Error> { Ok(1.0) }
//! # async fn front_page() -> Result<(), Box<dyn std::error::Error>> {
//! let payments = Dependency::builder("payments").endpoint("https://api.pay.example")?
//!     .timeout(Timeouts { connect: secs(3), read: secs(60), total: secs(90) }).build()?;
//!
//! // any future: the closure says what each ending means
//! let rate = payments.call(Idempotency::Safe, |attempt| fetch_rate(attempt.deadline())).await?;
//! # Ok(())
//! # }
//! ```

mod builder;
mod call;
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
#[cfg(feature = "ledger")]
pub mod stored;
#[cfg(feature = "ledger")]
pub mod template;
#[cfg(feature = "tower")]
pub mod tower;

pub use builder::{Builder, Endpoint};
pub use call::{Attempt, Call};
pub use dependency::Dependency;
pub use error::Error;
pub use fault::{Fault, Meaning};
pub use held::{ConnectionHeld, OnHeld, scope};
pub use judge::{ByClosure, Judge, Plain};
pub use misuse::Misuse;
pub use operation::{Operation, OperationBuilder, Value, When};
#[cfg(feature = "pool")]
pub use pool::{GuardedConnection, GuardedPool, GuardedTransaction};
pub use settings::{
    Breaker, Budget, Concurrency, Dns, HttpVersion, Pool, Retry, Timeouts, Tls, millis, secs,
};

pub use seawall_policy::{Effect, Idempotency, Origin, Reason, Stopped};
