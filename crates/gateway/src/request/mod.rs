//! One request, from its head to its answer. It begins in [`handle`].

pub(crate) mod handle;
pub mod headers;
pub(crate) mod reply;
pub(crate) mod reply_body;
pub(crate) mod request_body;
