//! The connection guard: no database connection is held while an external call waits.
//!
//! A pool of ten connections carries thousands of queries a second, as long as each is held for a millisecond. A
//! request that asks a slow partner in the middle of its transaction holds one for as long as the partner takes. Ten
//! such requests stop every query of the program, also those that have nothing to do with the partner.
//!
//! The obvious rule, "review the code for it", fails on the call three functions deeper. So the pool knows which task
//! holds a connection ([`crate::GuardedPool`]), every external call of this crate asks before it sends anything, and
//! both places in the code are named.
//!
//! # Which task holds a connection
//!
//! A connection belongs to the task that took it: tokio's task, or, where there is none (`block_on`, and so `main`
//! under `#[tokio::main]`), the thread that blocks. [`scope`] makes a part of a task count for itself. A connection
//! that is taken outside of a scope counts as held inside of it, too. One that is taken in a scope does not count as
//! held outside of it, nor in the scope beside it.
//!
//! # Limits
//!
//! - The branches of a `join!` or `select!` are one task, so a connection held in one branch counts against a call in
//!   another. Put each branch into a [`scope`] where that is wrong.
//! - A connection that is moved to another task counts for the task that took it, until it is given back.
//! - What runs on the pool itself, as `query.fetch_all(&*pool)` does, is not seen: it holds a connection only while it is
//!   awaited. That is not so for `fetch`, whose stream of rows holds one until it is dropped: acquire a connection for
//!   it.
//! - Where a future runs on an executor other than tokio's, outside of a scope, nothing is seen.

mod holder;
mod tally;
mod violation;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;

use holder::Holder;
pub use tally::{HeldPlace, HeldTotal, Snapshot, snapshot};
pub use violation::{ConnectionHeld, Place};

/// What happens when a task that holds a connection starts an external call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OnHeld {
    /// The call is made, and counted.
    Count,
    /// The call is made and counted, and a warning names both places in the code. It comes at most once a second for
    /// each pair.
    #[default]
    Warn,
    /// The call is refused before anything is sent.
    Deny,
}

/// Makes a future count for itself: a connection that is taken in it is not held outside of it.
///
/// For the branches of a `join!`, and for executors that have no tasks that tokio knows.
///
/// ```
/// # async fn left() {} async fn right() {}
/// # async fn both() {
/// tokio::join!(seawall::scope(left()), seawall::scope(right()));
/// # }
/// ```
pub fn scope<F: Future>(future: F) -> impl Future<Output = F::Output> {
    holder::scope(future)
}

/// One connection that is held.
#[derive(Debug)]
struct Held {
    on: OnHeld,
    acquired: Place,
    since: Instant,
    released: OnceLock<Instant>,
}

/// All connections that are held, by holder.
static REGISTER: LazyLock<Mutex<HashMap<Holder, Vec<Arc<Held>>>>> = LazyLock::new(Mutex::default);

/// The number of connections that are held, so that a call pays one load while there are none.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// The mark of a connection that is held; dropped when the connection is given back.
#[derive(Debug)]
#[cfg_attr(not(feature = "pool"), allow(dead_code, reason = "taken by the pool only"))]
pub(crate) struct Hold {
    held: Arc<Held>,
    holder: Option<Holder>,
}

#[cfg_attr(not(feature = "pool"), allow(dead_code, reason = "taken by the pool only"))]
impl Hold {
    /// The current task holds a connection from now on.
    pub(crate) fn take(on: OnHeld, acquired: Place) -> Hold {
        let held = Arc::new(Held { on, acquired, since: Instant::now(), released: OnceLock::new() });
        let holder = holder::current();
        if let Some(holder) = holder {
            REGISTER.lock().entry(holder).or_default().push(Arc::clone(&held));
            NUMBER.fetch_add(1, Ordering::Relaxed);
        }
        Hold { held, holder }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = self.held.released.set(Instant::now());
        let Some(holder) = self.holder else { return };
        let mut register = REGISTER.lock();
        if let Some(of_holder) = register.get_mut(&holder) {
            of_holder.retain(|held| !Arc::ptr_eq(held, &self.held));
            if of_holder.is_empty() {
                register.remove(&holder);
            }
        }
        NUMBER.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call that waits while its task holds connections; dropped at its end.
#[derive(Debug)]
#[must_use = "the time is counted when it is dropped"]
pub(crate) struct Waiting(Option<Box<Overlap>>);

#[derive(Debug)]
struct Overlap {
    dependency: Arc<str>,
    began: Instant,
    held: Vec<Arc<Held>>,
}

/// Asks the guard at the moment at which the current task starts a call.
///
/// # Errors
/// The task holds a connection of a pool that denies it. Nothing may be sent.
#[inline]
pub(crate) fn enter(dependency: &Arc<str>, called: Place) -> Result<Waiting, ConnectionHeld> {
    // A task takes a connection and makes a call one after the other, so it sees its own count.
    if NUMBER.load(Ordering::Relaxed) == 0 {
        return Ok(Waiting(None));
    }
    enter_holding(dependency, called)
}

/// Some task holds a connection, perhaps the current one.
#[cold]
fn enter_holding(dependency: &Arc<str>, called: Place) -> Result<Waiting, ConnectionHeld> {
    let held = held_now();
    // The strictest mode decides; of equal ones, that of the connection that is held for longest.
    let Some(worst) = held.iter().max_by_key(|held| (held.on, std::cmp::Reverse(held.since))) else {
        return Ok(Waiting(None));
    };
    let now = Instant::now();
    let violation = ConnectionHeld {
        dependency: Arc::clone(dependency),
        acquired: worst.acquired,
        called,
        held_for: now.saturating_duration_since(worst.since),
    };
    let denied = worst.on == OnHeld::Deny;
    let suppressed = tally::note(&violation, denied, now);
    match worst.on {
        OnHeld::Deny => return Err(violation),
        OnHeld::Warn => {
            if let Some(suppressed) = suppressed {
                warn(&violation, suppressed);
            }
        }
        OnHeld::Count => {}
    }
    Ok(Waiting(Some(Box::new(Overlap { dependency: Arc::clone(dependency), began: now, held }))))
}

fn held_now() -> Vec<Arc<Held>> {
    let holders = holder::all();
    let register = REGISTER.lock();
    holders.filter_map(|holder| register.get(&holder)).flatten().cloned().collect()
}

fn warn(violation: &ConnectionHeld, suppressed: u64) {
    let (acquired, called) = (violation.acquired.to_string(), violation.called.to_string());
    tracing::warn!(
        dependency = &*violation.dependency,
        acquired,
        called,
        held_ms = u64::try_from(violation.held_for.as_millis()).unwrap_or(u64::MAX),
        suppressed,
        "a database connection is held while an external call waits"
    );
}

impl Drop for Waiting {
    #[inline]
    fn drop(&mut self) {
        if let Some(overlap) = self.0.take() {
            waited(&overlap);
        }
    }
}

#[cold]
fn waited(overlap: &Overlap) {
    let now = Instant::now();
    let each = overlap.held.iter().map(|held| {
        let until = held.released.get().map_or(now, |released| now.min(*released));
        until.saturating_duration_since(overlap.began)
    });
    tally::waited(&overlap.dependency, each.sum());
}

#[cfg(test)]
mod tests;
