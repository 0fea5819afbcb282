//! Actions over HTTP: everything that is declared of a durable operation, and how its provider is reached.
//!
//! The ledger knows no HTTP, and the client knows no actions. Between them stand requests with holes ([`template`]), what the
//! ledger keeps of requests and answers ([`stored`]), and what is [`declared`] of an operation, with its defaults and one
//! check that finds everything that is wrong. [`HttpRemote`] and [`ListRemote`] are the provider as the ledger reaches it.
//!
//! A program declares operations with the builders of the crate `seawall`, and the gateway reads them from its configuration.
//! Both end here, so that the same declaration has the same defaults and the same problems in both.

mod check;
pub mod declared;
mod exchange;
mod fillable;
mod filling;
mod listing;
pub mod nearest;
mod remote;
mod sent;
pub mod shown;
pub mod stored;
pub mod template;

pub use check::field_pointer;
pub use declared::{Cancel, Confirm, Declared};
pub use exchange::Connections;
pub use listing::{ListRemote, Listing, ReadAmount, recorded_amount};
pub use remote::HttpRemote;
pub use sent::Sent;
