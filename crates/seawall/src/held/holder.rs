//! Finds the holder of a connection: a scope, a task, or a thread that blocks on a future.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};

use tokio::runtime::Handle;
use tokio::task;

/// Identifies what holds a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    Scope(u64),
    Task(task::Id),
    /// A thread that blocks on a future with `block_on`, where there is no task. The future never leaves the thread, so
    /// the thread is the holder.
    Thread(ThreadId),
}

/// A scope. `outer` is the scope around it; `None` if there is no scope around it.
struct Scope {
    id: u64,
    outer: Option<Arc<Scope>>,
}

tokio::task_local! {
    static SCOPE: Arc<Scope>;
}

static SCOPES: AtomicU64 = AtomicU64::new(0);

pub(super) async fn scope<F: Future>(future: F) -> F::Output {
    let id = SCOPES.fetch_add(1, Ordering::Relaxed);
    let outer = SCOPE.try_with(Arc::clone).ok();
    SCOPE.scope(Arc::new(Scope { id, outer }), future).await
}

/// Returns the holder of a connection that is taken now: the innermost scope, else the task, else the thread. Returns
/// `None` if the code runs neither in a scope nor in a tokio runtime.
pub(super) fn current() -> Option<Holder> {
    SCOPE.try_with(|scope| Holder::Scope(scope.id)).ok().or_else(outermost)
}

/// Returns all holders whose connections count as held by the code that runs now: the scopes around that code, and its
/// task or thread.
pub(super) fn all() -> impl Iterator<Item = Holder> {
    let innermost = SCOPE.try_with(Arc::clone).ok();
    let scopes = std::iter::successors(innermost, |scope| scope.outer.clone());
    scopes.map(|scope| Holder::Scope(scope.id)).chain(outermost())
}

fn outermost() -> Option<Holder> {
    match task::try_id() {
        Some(id) => Some(Holder::Task(id)),
        None => Handle::try_current().ok().map(|_| Holder::Thread(thread::current().id())),
    }
}
