//! The values that a worker needs to answer any request.

use std::sync::Arc;

use crate::durable::Room;
use crate::running::router::Router;

/// The values that a worker needs to answer any request.
pub(crate) struct Site {
    pub(crate) router: Arc<Router>,
    /// What all workers share of the ledger.
    pub(crate) room: Arc<Room>,
}
