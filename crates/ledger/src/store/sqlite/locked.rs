//! How long the ledger waits for the locks of the file when it starts, and what the error says if it cannot get them.
//!
//! SQLite has one lock for all writers of a file. Another process of the ledger may hold it, or the application with a
//! long transaction. SQLite's own message "database is locked" names neither the file nor the process, so this module
//! adds both.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{StoreError, Trouble};
use crate::store::Result;
use crate::store::lane::pause;

#[cfg(target_os = "linux")]
use super::holder::holder;

/// The longest time for which a process waits for the locks of the file when it opens the file or updates its tables.
/// If another process updates large tables, it can hold the lock for that long.
pub(super) const OPENING: Duration = Duration::from_secs(30);

/// Repeats `attempt` while another connection holds the lock that it needs, until `within` has passed. Returns the
/// result of the last attempt. If the lock is still held then, the error is [`Trouble::Busy`]. Each error names the
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

/// Returns the error `e` with the name of the file. If `e` says that the file is locked, the message also names the
/// process that holds the lock, if it can be found out.
pub(crate) fn at(file: &Path, e: &StoreError) -> StoreError {
    let holder = if e.trouble() == Trouble::Again { holder(file) } else { None };
    let holder = holder.map(|pid| format!(" by {}", name(pid)));
    let text = format!("{}: {}{}", file.display(), e.said(), holder.unwrap_or_default());
    let named = StoreError::new(e.trouble(), text);
    if e.in_doubt() { named.after_commit() } else { named }
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

/// Returns `None`, since only Linux tells which process holds a lock of a file.
#[cfg(not(target_os = "linux"))]
fn holder(_: &Path) -> Option<u32> {
    None
}
