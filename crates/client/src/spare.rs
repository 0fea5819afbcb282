//! Idle connections that are given up for want of descriptors.
//!
//! An idle connection saves a handshake that may never come; where no file descriptor is left, a request that is there
//! already has more use for it. So all pools of the process are known here, and the connection that has been idle for
//! longest goes first, whichever dependency it leads to.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::pool::Pool;

/// Pools that have had an idle connection, of all workers.
static POOLS: Mutex<Vec<Weak<Pool>>> = Mutex::new(Vec::new());

/// From now on the pool's idle connections may be given up for others. To be called once for each pool.
pub(crate) fn lend(pool: &Arc<Pool>) {
    let mut pools = POOLS.lock();
    pools.retain(|pool| pool.strong_count() > 0);
    pools.push(Arc::downgrade(pool));
}

/// Closes the connection of this process that has been idle for longest, so that its descriptor is free. Whether there was
/// one.
#[must_use]
pub fn give_up_idle() -> bool {
    // Not under the lock: the last one of a pool may end here, with all its connections.
    let pools: Vec<Arc<Pool>> = POOLS.lock().iter().filter_map(Weak::upgrade).collect();
    let longest = pools.iter().filter_map(|pool| Some((pool.longest_idle()?, pool)));
    longest.max_by_key(|(idle, _)| *idle).is_some_and(|(_, pool)| pool.give_up_oldest())
}
