//! Lets many callers wait for one action with one read.
//!
//! If each waiting caller read the row for itself, a thousand callers who wait for ten actions would ask the database
//! thousands of times in a second. Here all callers of one action share a reader. It reads the row when this process has
//! written it, and otherwise four times in a second, since another process may write it. A waiting caller holds no connection
//! to the database, and no place in the limit of its dependency.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use seawall_ledger::{Action, ActionId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::books::Books;

/// The time between two reads of a row that this process does not write.
const BETWEEN: Duration = Duration::from_millis(250);
/// The shortest time between two reads of one row. A write of another row can wake the reader, too.
const AT_LEAST: Duration = Duration::from_millis(20);

/// What the reader of an action has read last; `None` before the first read, and while the database is away.
type Read = Option<Arc<Action>>;

/// The callers that wait for actions.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    /// The number of callers that wait.
    callers: usize,
    readers: HashMap<ActionId, watch::Receiver<Read>>,
}

/// A caller that waits. Dropping it makes its place free.
struct Place(Arc<Mutex<Waiting>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().callers -= 1;
    }
}

impl Waiters {
    /// Waits until `enough` returns `true` for the action, or until `until`. Returns the action as it was read last, or
    /// `None` if it was not read. If `most` callers wait already, `None` is returned immediately.
    pub(crate) async fn wait(
        &self,
        books: &Books,
        id: ActionId,
        until: Instant,
        most: usize,
        enough: impl Fn(&Action) -> bool,
    ) -> Option<Arc<Action>> {
        let (_place, mut read) = self.join(books, id, most)?;
        let seen = read.wait_for(|read| read.as_ref().is_some_and(|action| enough(action)));
        match tokio::time::timeout_at(until, seen).await {
            Ok(Ok(read)) => read.clone(),
            Ok(Err(_)) | Err(_) => read.borrow().clone(),
        }
    }

    fn join(&self, books: &Books, id: ActionId, most: usize) -> Option<(Place, watch::Receiver<Read>)> {
        let mut waiting = self.waiting.lock();
        if waiting.callers >= most {
            return None;
        }
        waiting.callers += 1;
        let place = Place(Arc::clone(&self.waiting));
        if let Some(known) = waiting.readers.get(&id) {
            return Some((place, known.clone()));
        }
        let (tell, read) = watch::channel(None);
        // The map holds one receiver. The reader ends when no other one is left.
        waiting.readers.insert(id, read.clone());
        let all = Arc::clone(&self.waiting);
        let books = books.clone();
        tokio::spawn(async move { read_for_all(&books, id, &tell, &all).await });
        Some((place, read))
    }
}

/// Reads the row for all callers that wait for it, until nobody does.
async fn read_for_all(
    books: &Books,
    id: ActionId,
    tell: &watch::Sender<Read>,
    all: &Mutex<Waiting>,
) {
    loop {
        let began = Instant::now();
        let mut is_written = false;
        {
            // The reader listens for writes before it reads, so that it misses none.
            let mut written = pin!(books.written(id));
            let loaded = {
                let mut load = pin!(books.load(id));
                poll_fn(|cx| {
                    is_written = is_written || written.as_mut().poll(cx).is_ready();
                    load.as_mut().poll(cx)
                })
                .await
            };
            // While the database is away, the callers keep what was read last.
            if let Ok(action) = loaded {
                tell.send_replace(Some(Arc::new(action)));
            }
            if !is_written {
                let pause = tokio::time::sleep_until(began + BETWEEN);
                tokio::select! {
                    () = &mut written => {}
                    () = pause => {}
                }
            }
        }
        tokio::time::sleep_until(began + AT_LEAST).await;
        let mut waiting = all.lock();
        if tell.receiver_count() <= 1 {
            waiting.readers.remove(&id);
            return;
        }
    }
}
