//! Handles one request, from its head to its answer. The handling begins in [`handle`].

pub(crate) mod asked;
pub(crate) mod durable;
pub(crate) mod handle;
pub mod headers;
pub(crate) mod reply;
pub(crate) mod reply_body;
pub(crate) mod request_body;
pub(crate) mod site;
