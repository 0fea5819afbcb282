//! Actions: external effects that must not be lost or doubled, recorded in the program's own database.
//!
//! Two examples are a payment whose answer was lost, and an order that was rolled back after its charge was made.
//! Declare the operation *durable*, and both are resolved. The action is recorded before it is sent. A worker goes on
//! with it until the application and the provider agree, even if programs crash in between. `docs/ledger.md` describes
//! the whole protocol, and what it assumes.
//!
//! ```no_run
//! # #[cfg(feature = "ledger-sqlite")]
//! # async fn shop(key: String) -> Result<(), Box<dyn std::error::Error>> {
//! use seawall::ledger::{Cancel, Confirm, Ledger, Sqlite, Store, WorkerSettings};
//! use seawall::{Dependency, Effect, Idempotency, When, secs};
//!
//! let payments = Dependency::builder("payments").endpoint("https://api.pay.example")?.build()?;
//! let charge = payments.operation("charge").idempotency(Idempotency::Keyed).build()?
//!     .durable("POST /v1/charges")
//!     .confirm(Confirm::by("GET /v1/charges?key={key}")
//!         .applied(When::status(200).field("/status", ["succeeded"]))
//!         .cancelled(When::status(200).field("/status", ["refunded"]))
//!         .absent(When::status(404).field("/code", ["NO_CHARGE"])))
//!     .cancel(Cancel::by("POST /v1/refunds")
//!         .json(serde_json::json!({ "charge": "{confirm:/id}" })).sets_a_state())
//!     .build()?;
//!
//! let store = Sqlite::open("shop.db").await?;
//! store.migrate().await?;
//! let ledger = Ledger::builder(store).operation(&charge).build()?;
//! let worker = ledger.worker(WorkerSettings::default());
//! let charges = charge.actions(&ledger)?;
//!
//! // Call after commit: the intent is written with the business row.
//! let pool = sqlx::SqlitePool::connect("sqlite:shop.db").await?;
//! let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
//! sqlx::query("INSERT INTO orders (key) VALUES (?)").bind(&key).execute(&mut *tx).await?;
//! let action = charges.record(&mut tx, &key, &serde_json::json!({ "amount": 1000 })).await?;
//! tx.commit().await?;
//! let outcome = charges.run(action).await?;      // no connection held
//! match outcome.effect() {
//!     Effect::Applied => println!("paid"),
//!     Effect::NotApplied => println!("declined"),
//!     Effect::Unknown => println!("not known yet; the worker goes on"),
//! }
//! # worker.drain(secs(30)).await;
//! # Ok(())
//! # }
//! ```
//!
//! The other order is call before commit. It uses [`Actions::reserve`], then [`Actions::run`], then [`Actions::settle`]
//! in the transaction that writes the business row. If that transaction is never committed, the effect is undone at the
//! provider.

mod actions;
mod confirm;
mod declare;
mod draft;
mod error;
mod listing;
mod outcome;

pub use actions::Actions;
pub use confirm::{Cancel, Confirm};
pub use declare::{Durable, DurableBuilder};
pub use error::ActionError;
pub use listing::Listing;
pub use outcome::Outcome;

pub use seawall_actions::{ReadAmount, recorded_amount, stored};
pub use seawall_ledger::reconcile;
#[cfg(feature = "ledger-postgres")]
pub use seawall_ledger::store::postgres::{Postgres, Settings as PostgresSettings};
#[cfg(feature = "ledger-sqlite")]
pub use seawall_ledger::store::sqlite::Sqlite;
pub use seawall_ledger::store::{Counts, Filter, Standing, Store};
pub use seawall_ledger::{
    Action, ActionId, By, Cancelling, ClockJump, ClockStanding, End, Error, Ledger, LedgerBuilder, Lifetime,
    Misuse, Money, NewAction, Observed, OnUnknown, Refusal, Resolution, Retried, RetryFilter, Scope, Sizes,
    StoreError, Story, StuckReason, Trouble, Window, Worker, WorkerSettings,
};

/// The contents of an action's row, and the trait for a provider that does not speak HTTP. This module is for programs
/// that read these rows, or that have a [`Remote`](protocol::Remote) of their own.
pub mod protocol {
    pub use seawall_ledger::calendar::{TimeOfDay, UnknownZone};
    pub use seawall_ledger::store::Boxed;
    pub use seawall_ledger::{
        AttemptKind, AttemptOutcome, AttemptRow, Begun, CancelKind, CancelRules, ConfirmRules, Delivery,
        Found, Goal, HandlerTrouble, KeyRules, Known, Limits, Mark, Naming, NotApplied, Operation, Origin,
        Owner, Performed, Prints, Remote, Report, Rules, Same, SettleBy, Stamp, Started, State, Undone,
    };
    pub use seawall_policy::{Backoff, Gravity, Problem, Wrong};
}

/// The arguments and results of a [`Store`]. A program needs this module only if it calls a store directly.
pub mod store {
    pub use seawall_ledger::machine::{Effect, Evidence, Impossible, Row};
    pub use seawall_ledger::store::{
        COUNTED, Change, Changed, Follow, Insert, KeptClock, OwnTime, Recorded, Result, ScopeSettled, Swept,
    };
    pub use seawall_ledger::{Back, DbClock, NotSettled, Now, SharedClock, Write};
}

#[cfg(test)]
mod tests;
