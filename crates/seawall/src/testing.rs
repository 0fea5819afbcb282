//! For the tests of programs that use the ledger: a database with a clock that the test moves, and a payment provider
//! that misbehaves.
//!
//! Many failures that the ledger survives take minutes: a lost answer is asked about after two seconds, and "not found"
//! is believed after two minutes. Nobody would run a test that waits for minutes. So a test itself moves the database's
//! clock on ([`Clock::advance`], [`Clock::pass_until`]). The requests to the provider are real ones, over real
//! connections.
//!
//! There is no store that exists only for tests, since it would behave in its own way. [`Database`] is an SQLite file
//! in a temporary folder, with the same code as in production.
//!
//! ```no_run
//! # use seawall::ledger::Sqlite;
//! # struct Shop;
//! # impl Shop {
//! #     async fn open(_: Sqlite, _: &str) -> Shop { Shop }
//! #     async fn order(&self, _: &str) {}
//! #     async fn state(&self, _: &str) -> String { String::new() }
//! # }
//! # async fn test() {
//! use seawall::secs;
//! use seawall::testing::{Database, Fault, Provider};
//!
//! let (database, provider) = (Database::new().await, Provider::start().await);
//! let shop = Shop::open(database.store(), provider.url()).await;      // the code that is tested
//!
//! provider.next("POST /v1/charges", Fault::AnswerLost);
//! let paid = database.clock().pass_until(secs(60), async || shop.state("order-1").await == "paid");
//! tokio::join!(shop.order("order-1"), paid);
//!
//! assert_eq!(provider.effects("order-1"), 1);
//! # }
//! ```
//!
//! `docs/ledger.md` has a whole test. Do not use `start_paused` of tokio in such a test: the connections to the
//! provider and their timeouts are real.

mod database;
mod provider;

pub use database::{Clock, Database};
pub use provider::{Fault, Provider};
