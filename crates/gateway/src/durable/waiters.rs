//! Lets many callers wait for one action with one read.
//!
//! If each waiting caller read the row for itself, a thousand callers who wait for ten actions would ask the database
//! thousands of times in a second. So all callers of one action share a *reader*. It reads the action once, and again
//! when the action may have changed. It learns of a change in two ways:
//!
//! - The ledger of this process tells it that the row was written.
//! - Another process may write the row, too. So the *watch* asks four times in a second for the versions of all rows
//!   that are waited for. This is one short statement, whatever the number of rows and callers is.
//!
//! A waiting caller holds no connection to the database, and no place in the limit of its dependency.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use seawall_ledger::{Action, ActionId, Error, Story, Trouble};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The time between two questions of the watch.
const BETWEEN: Duration = Duration::from_millis(250);
/// The shortest time between the beginnings of two reads of one action. The ledger wakes a reader also for writes of
/// some other rows, so a busy ledger would make it read without a pause.
const AT_LEAST: Duration = Duration::from_millis(20);

/// The ledger from which the actions are read that callers wait for. Tests use a model of it.
pub(crate) trait Source: Clone + Send + Sync + 'static {
    /// Reads an action with its attempts and marks.
    fn story(&self, id: ActionId) -> impl Future<Output = Result<Story, Error>> + Send;

    /// Returns the versions of these actions, without those that do not exist.
    fn versions(
        &self,
        ids: Vec<ActionId>,
    ) -> impl Future<Output = Result<Vec<(ActionId, u64)>, Error>> + Send;

    /// Returns a future that resolves when this process has written the action. Writes before the future is polled for
    /// the first time are missed.
    fn written(&self, id: ActionId) -> impl Future<Output = ()> + Send;

    /// Runs a task that ends by itself, on a runtime that lives as long as the ledger.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
}

/// What the reader of an action has read last.
#[derive(Clone, Default)]
pub(crate) enum Read {
    /// Nothing has been read yet.
    #[default]
    Nothing,
    /// The action was read. This is its latest version that is known.
    Found(Arc<Story>),
    /// Reading failed with this error. But if an earlier read succeeded and only the database is away now, this value
    /// stays [`Read::Found`] with what was read earlier.
    Failed(Arc<Error>),
}

impl Read {
    /// Returns the version of the action that was read; `None` if it was not read.
    fn version(&self) -> Option<u64> {
        match self {
            Read::Found(story) => Some(story.action.state.version()),
            Read::Nothing | Read::Failed(_) => None,
        }
    }

    /// Returns whether the action certainly cannot be read, now or later. Then it is useless that its callers wait
    /// longer.
    fn is_final(&self) -> bool {
        let Read::Failed(error) = self else { return false };
        match &**error {
            Error::Store(error) => matches!(error.trouble(), Trouble::Refused | Trouble::Foreign),
            _ => true,
        }
    }
}

/// The callers that wait for actions.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    /// The number of callers that wait for any action.
    callers: usize,
    /// The reader of each action that callers wait for.
    readers: HashMap<ActionId, Reader>,
    /// Whether the watch runs.
    is_watched: bool,
}

/// The handles through which callers and the watch reach a *reader*. A reader is the task that reads an action for all
/// callers that wait for this action.
struct Reader {
    /// Sends what was read last. Each caller that waits for the action holds a receiver. The reader ends when there is
    /// no receiver.
    tell: Arc<watch::Sender<Read>>,
    /// Woken when the action has changed.
    changed: Arc<Notify>,
}

/// A place among the waiting callers, whose number is limited. Dropping this value frees the place.
struct Place(Arc<Mutex<Waiting>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().callers -= 1;
    }
}

impl Waiters {
    /// Waits until `enough` returns `true` for the action, until it is certain that the action cannot be read, or until
    /// `stop` resolves. Returns what was read last. If `most` callers wait already, [`Read::Nothing`] is returned
    /// immediately.
    pub(crate) async fn wait(
        &self,
        source: &impl Source,
        id: ActionId,
        stop: impl Future<Output = ()>,
        most: usize,
        enough: impl Fn(&Action) -> bool,
    ) -> Read {
        let Some((_place, mut told)) = self.join(source, id, most) else { return Read::Nothing };
        let is_over = |read: &Read| match read {
            Read::Found(story) => enough(&story.action),
            Read::Nothing | Read::Failed(_) => read.is_final(),
        };
        tokio::select! {
            // `wait_for` fails if the reader has ended, which happens only if the ledger's runtime has ended. The
            // caller then gets what was read last.
            _ = told.wait_for(is_over) => {}
            () = stop => {}
        }
        told.borrow().clone()
    }

    /// Takes a place among the waiting callers. Returns the place, and a receiver of what the reader reads of the
    /// action. Returns `None` if `most` callers wait already.
    fn join<S: Source>(
        &self,
        source: &S,
        id: ActionId,
        most: usize,
    ) -> Option<(Place, watch::Receiver<Read>)> {
        let mut waiting = self.waiting.lock();
        if waiting.callers >= most {
            return None;
        }
        waiting.callers += 1;
        let place = Place(Arc::clone(&self.waiting));
        // A reader ends only while it holds this lock, and only if it has no receiver. So if a reader is found here, it
        // gets a receiver, and therefore goes on.
        if let Some(known) = waiting.readers.get(&id) {
            return Some((place, known.tell.subscribe()));
        }
        let (tell, told) = watch::channel(Read::Nothing);
        let (tell, changed) = (Arc::new(tell), Arc::new(Notify::new()));
        let reader = Reader { tell: Arc::clone(&tell), changed: Arc::clone(&changed) };
        waiting.readers.insert(id, reader);
        let starts_watch = !std::mem::replace(&mut waiting.is_watched, true);
        // The lock is given up before `spawn`. If the runtime has ended, `spawn` drops the tasks immediately, and
        // dropping a task takes this lock. If the lock were still held, this thread would wait for itself.
        drop(waiting);
        let (reading, its) = (Reading { all: Arc::clone(&self.waiting), id, tell }, source.clone());
        source.spawn(async move { reading.read_for_all(&its, &changed).await });
        if starts_watch {
            let watching = Watching { all: Arc::clone(&self.waiting), is_over: false };
            let its = source.clone();
            source.spawn(async move { watching.watch(&its).await });
        }
        Some((place, told))
    }
}

/// The task that reads one action for all callers that wait for it. Dropping this value takes the reader out of
/// [`Waiting::readers`], so that the next caller starts another one. That also happens if the task panics, or if its
/// runtime ends.
struct Reading {
    all: Arc<Mutex<Waiting>>,
    id: ActionId,
    tell: Arc<watch::Sender<Read>>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut waiting = self.all.lock();
        if waiting.readers.get(&self.id).is_some_and(|reader| Arc::ptr_eq(&reader.tell, &self.tell)) {
            waiting.readers.remove(&self.id);
        }
    }
}

impl Reading {
    /// Reads the action for all callers that wait for it, again after each change. Ends when no caller waits any more.
    async fn read_for_all(&self, source: &impl Source, changed: &Notify) {
        loop {
            let began = Instant::now();
            // The reader listens for writes before it reads, so that it misses none.
            let mut written = pin!(source.written(self.id));
            let is_written = is_ready(written.as_mut()).await;
            let read = source.story(self.id).await;
            self.take(read);
            if !is_written {
                tokio::select! {
                    () = written => {}
                    () = changed.notified() => {}
                    () = self.tell.closed() => {}
                }
            }
            if self.is_over() {
                return;
            }
            tokio::time::sleep_until(began + AT_LEAST).await;
        }
    }

    /// Tells the callers what was read. If the database is away, nothing is told, so that they keep what was read
    /// before.
    fn take(&self, read: Result<Story, Error>) {
        self.tell.send_if_modified(|told| {
            *told = match (read, &*told) {
                (Ok(story), _) => Read::Found(Arc::new(story)),
                (Err(Error::Store(error)), Read::Found(_)) if error.trouble() != Trouble::Foreign => {
                    return false;
                }
                (Err(error), _) => Read::Failed(Arc::new(error)),
            };
            true
        });
    }

    /// Returns whether no caller waits. If so, this function also takes the reader out of [`Waiting::readers`], so that
    /// no caller can join it any more.
    fn is_over(&self) -> bool {
        let mut waiting = self.all.lock();
        let is_over = self.tell.receiver_count() == 0;
        if is_over {
            waiting.readers.remove(&self.id);
        }
        is_over
    }
}

/// Polls a future once, and returns whether it is ready.
async fn is_ready(mut future: Pin<&mut impl Future<Output = ()>>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}

/// The task that asks the database which of the actions that are waited for have changed, and wakes their readers (the
/// *watch*). If it is dropped before its end, the next caller starts another one.
struct Watching {
    all: Arc<Mutex<Waiting>>,
    /// Whether the watch has ended because no action was waited for, and has noted that in [`Waiting::is_watched`].
    is_over: bool,
}

impl Drop for Watching {
    fn drop(&mut self) {
        if !self.is_over {
            self.all.lock().is_watched = false;
        }
    }
}

impl Watching {
    /// Asks for the versions of all actions that are waited for, and wakes the readers of those that have changed,
    /// until none is waited for.
    async fn watch(mut self, source: &impl Source) {
        loop {
            let began = Instant::now();
            tokio::time::sleep_until(began + BETWEEN).await;
            let ids: Vec<ActionId> = {
                let mut waiting = self.all.lock();
                if waiting.readers.is_empty() {
                    // A caller that comes later finds no watch, and starts one.
                    waiting.is_watched = false;
                    self.is_over = true;
                    return;
                }
                waiting.readers.keys().copied().collect()
            };
            // While the database is away, no reader is woken, since it could not read either.
            let Ok(versions) = source.versions(ids.clone()).await else { continue };
            let versions: HashMap<ActionId, u64> = versions.into_iter().collect();
            let waiting = self.all.lock();
            for id in ids {
                let Some(reader) = waiting.readers.get(&id) else { continue };
                // The version is `None` for an action that the reader has not found, or that does not exist. So a
                // reader is also woken when the action that it looked for exists now.
                if reader.tell.borrow().version() != versions.get(&id).copied() {
                    reader.changed.notify_one();
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "waiters_tests.rs"]
mod tests;
