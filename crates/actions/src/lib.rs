//! Actions over HTTP: how a durable operation is declared, and how the ledger reaches its provider.
//!
//! The ledger knows nothing of HTTP, and the client knows nothing of actions. This crate connects the two. It contains:
//!
//! - [`template`]: requests with holes, which are filled for each action.
//! - [`stored`]: the parts of requests and answers that the ledger stores.
//! - [`declared`]: what a user declares about an operation, its defaults, and a check that finds every mistake in it.
//! - [`HttpRemote`] and [`ListRemote`]: the code through which the ledger sends requests to the provider.
//!
//! A program declares operations with the builders of the crate `seawall`, and the gateway reads them from its
//! configuration. Both use this crate, so the same declaration has the same defaults and the same problems in both.

mod amount;
mod answer;
mod check;
pub mod declared;
mod exchange;
mod fillable;
mod filling;
mod listing;
mod meanings;
pub mod nearest;
mod remote;
mod sent;
pub mod shown;
pub mod stored;
pub mod template;
mod windows;

pub use amount::{AmountAt, CurrencyAt};
pub use answer::LiveAnswer;
pub use check::field_pointer;
pub use declared::{Cancel, Confirm, Declared};
pub use exchange::Connections;
pub use listing::{ListRemote, Listing, ReadAmount, recorded_amount};
pub use remote::{HttpRemote, Judged};
pub use sent::Sent;
pub use template::KeySource;
