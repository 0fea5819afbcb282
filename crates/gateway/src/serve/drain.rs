//! Drains the gateway: accepted work is finished, and no new work is accepted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::running::process::Running;

/// Tells the workers to stop, and waits until accepted work is finished, but at most for the configured time
/// (`gateway.drain`). Returns `true` if all work was finished, and `false` if work was left when that time was over.
pub(super) async fn drain(
    running: &Arc<Running>,
    stop: &watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
) -> bool {
    let limit = running.compiled.load().settings.gateway.drain;
    running.drain(limit);
    tracing::info!(?limit, "draining");
    // This fails only if all workers have ended already. Then there is nobody to tell.
    let _ = stop.send(true);
    let done =
        tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
    if tokio::time::timeout(limit, done).await.is_err() {
        let left = running.connections.load(Ordering::Relaxed);
        tracing::warn!(connections = left, "the drain time is over with work left");
        return false;
    }
    tracing::info!("drained");
    true
}
