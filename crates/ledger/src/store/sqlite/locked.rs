//! How long the ledger waits for the locks of the file when it starts, and what is said if it cannot get them.
//!
//! SQLite has one lock for all writers of a file. Whoever holds it may be another process of the ledger, or the
//! application with a long transaction. "database is locked" alone leaves the reader with the search for the file and for
//! the process.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{StoreError, Trouble};
use crate::store::Result;
use crate::store::lane::pause;

#[cfg(target_os = "linux")]
use super::holder::holder;

/// The longest time for which a process waits for the locks of the file when it opens the file or updates its tables. An
/// update of large tables by another process can take that long.
pub(super) const OPENING: Duration = Duration::from_secs(30);

/// Repeats `attempt` while another connection holds the lock that it needs, for at most about `within`. Errors name the
/// file.
pub(super) async fn patiently<T, F: Future<Output = Result<T>>>(
    file: &Path,
    within: Duration,
    attempt: impl Fn() -> F,
) -> Result<T> {
    let end = Instant::now() + within;
    let mut run = 1;
    loop {
        match attempt().await {
            Err(e) if e.trouble() != Trouble::Again => return Err(at(file, &e)),
            Err(e) if Instant::now() >= end => {
                let said = format!("{}, for {within:?}", at(file, &e).said());
                return Err(StoreError::new(Trouble::Busy, said));
            }
            Err(_) => tokio::time::sleep(pause(run)).await,
            Ok(done) => return Ok(done),
        }
        run += 1;
    }
}

/// Names the file in an error. If the error says that the file is locked, the message also says which process holds the
/// lock, as far as that can be found out.
pub(crate) fn at(file: &Path, e: &StoreError) -> StoreError {
    let holder = if e.trouble() == Trouble::Again { holder(file) } else { None };
    let holder = holder.map(|pid| format!(" by {}", name(pid)));
    StoreError::new(e.trouble(), format!("{}: {}{}", file.display(), e.said(), holder.unwrap_or_default()))
}

/// Returns the words for a process in a message.
fn name(pid: u32) -> String {
    if pid == std::process::id() {
        return "this process".to_owned();
    }
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim()),
        Err(_) => format!("process {pid}"),
    }
}

/// Returns the process that holds a lock of the file; `None`, since only Linux lists the locks.
#[cfg(not(target_os = "linux"))]
fn holder(_: &Path) -> Option<u32> {
    None
}
