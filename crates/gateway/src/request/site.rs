//! What a worker has in its hands when it answers a request.

use std::sync::Arc;

use crate::durable::Room;
use crate::running::router::Router;

/// What a worker answers requests with.
pub(crate) struct Site {
    pub(crate) router: Arc<Router>,
    /// What all workers share of the ledger.
    pub(crate) room: Arc<Room>,
}
