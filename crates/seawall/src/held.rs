//! The connection guard: it finds tasks that hold a database connection while they wait for an external call.
//!
//! A pool of ten connections carries thousands of queries a second if each connection is held for a millisecond. A
//! request that calls a slow partner in the middle of its transaction holds a connection for as long as the partner
//! takes. Ten such requests hold the whole pool, and every other query of the program waits, even those that have
//! nothing to do with the partner.
//!
//! The obvious way is to find such calls in code review. But a review misses the call that is three functions deeper.
//! So the pool knows which task holds a connection ([`crate::GuardedPool`]), and every external call of this crate asks
//! the guard before anything is sent. If the task holds a connection, the guard names two places in the code: where the
//! connection was taken, and where the call is made.
//!
//! # Which task holds a connection
//!
//! A connection belongs to the task that took it: tokio's task, or the thread if no task runs on it (in `block_on`, and
//! so in `main` under `#[tokio::main]`). [`scope`] makes a part of a task a holder of its own. A connection that is
//! taken outside of a scope also counts as held inside of it. A connection that is taken inside of a scope does not
//! count as held outside of it, nor in a scope beside it.
//!
//! # Limits
//!
//! - The branches of a `join!` or `select!` are one task, so a connection held in one branch counts against a call in
//!   another. To count them separately, put each branch into a [`scope`].
//! - A connection that is moved to another task still counts for the task that took it, until it is given back.
//! - A query that runs on the pool itself, such as `query.fetch_all(&*pool)`, is not seen. This is harmless, because
//!   the query holds a connection only while it is awaited. But the stream of rows that `fetch` returns holds a
//!   connection until the stream is dropped. So that the guard sees this connection, take it with `acquire`, and pass
//!   it to `fetch`.
//! - If a future runs on an executor other than tokio's and outside of a scope, its connections are not seen.

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

/// Says what happens when a task that holds a connection starts an external call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OnHeld {
    /// The call is made, and [`snapshot`] counts it.
    Count,
    /// The call is made and counted, and a warning names two places in the code: where the connection was taken, and
    /// where the call is made. There is at most one warning a second for the same two places.
    #[default]
    Warn,
    /// The call is refused before anything is sent, and the refusal is counted.
    Deny,
}

/// Makes a future a holder of its own. A connection that is taken inside of the future does not count as held outside
/// of it.
///
/// Use it for the branches of a `join!`, and for futures on an executor other than tokio's.
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

/// One database connection that is held.
#[derive(Debug)]
struct Held {
    on: OnHeld,
    acquired: Place,
    since: Instant,
    released: OnceLock<Instant>,
}

/// All connections that are held now and whose holder is known: for each holder, the list of its connections.
static REGISTER: LazyLock<Mutex<HashMap<Holder, Vec<Arc<Held>>>>> = LazyLock::new(Mutex::default);

/// The number of connections in `REGISTER`. While it is zero, the check before an external call costs only one atomic
/// load.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// Marks a connection as held. Dropping this value ends the mark; the pool drops it when the connection is given back.
#[derive(Debug)]
#[cfg_attr(not(feature = "pool"), allow(dead_code, reason = "taken by the pool only"))]
pub(crate) struct Hold {
    held: Arc<Held>,
    holder: Option<Holder>,
}

#[cfg_attr(not(feature = "pool"), allow(dead_code, reason = "taken by the pool only"))]
impl Hold {
    /// Marks a connection as held by the current task. The mark ends when the returned value is dropped.
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

/// Measures how long connections are held during a call. When the call ends, this value is dropped, and the time is
/// added to the tally of the dependency.
#[derive(Debug)]
#[must_use = "the time is counted when it is dropped"]
pub(crate) struct Waiting(Option<Box<Overlap>>);

#[derive(Debug)]
struct Overlap {
    dependency: Arc<str>,
    began: Instant,
    held: Vec<Arc<Held>>,
}

/// Checks whether the current task may start a call now. The returned value must be kept until the call ends.
///
/// # Errors
/// If the task holds a connection of a pool that denies external calls. The caller of this function must not send
/// anything then.
#[inline]
pub(crate) fn enter(dependency: &Arc<str>, called: Place) -> Result<Waiting, ConnectionHeld> {
    // A relaxed load is enough: a task always sees the connections that it took itself.
    if NUMBER.load(Ordering::Relaxed) == 0 {
        return Ok(Waiting(None));
    }
    enter_holding(dependency, called)
}

/// Does the work of [`enter`], with the same result and the same error. It is called if at least one task of the
/// program holds a connection, which need not be the current task.
#[cold]
fn enter_holding(dependency: &Arc<str>, called: Place) -> Result<Waiting, ConnectionHeld> {
    let held = held_now();
    // The task may hold several connections. The strictest of their settings decides: `Deny` before `Warn` before
    // `Count`. Among the connections with this setting, the error or the warning names the one that has been held for
    // the longest time.
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
