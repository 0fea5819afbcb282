//! Actions over HTTP: everything that is declared of a durable operation, and how its provider is reached.
//!
//! The ledger knows no HTTP, and the client knows no actions. Between them stand requests with holes ([`template`]) and what
//! the ledger keeps of requests and answers ([`stored`]).

pub mod stored;
pub mod template;
