//! Limits the number of transactions that can take a long time.
//!
//! Most transactions of the ledger are over in milliseconds. Two kinds of them can wait for longer:
//!
//! - a transaction in which a handler of the application runs, since the handler may wait for the application's own
//!   locks;
//! - a transaction that waits for a row of the ledger that another transaction holds.
//!
//! Each of them holds a connection for that time. Without a limit, eight handlers that wait for one lock take all eight
//! connections of the pool. Then no action of any dependency can be claimed, read or counted, although the database has
//! nothing to do.
//!
//! So each of these transactions needs a place before it takes a connection. There are
//! [`Settings::handlers`](super::Settings::handlers) places. One dependency gets at most all but one of them, so that
//! its handlers never block the handlers of all other dependencies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::{StoreError, Trouble};
use crate::store::Result;

/// The number of connections that are kept free for claims and reads.
pub(super) const SPARE: u32 = 2;

/// The places of one store. A clone shares them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    number: u32,
    /// The longest wait for a place.
    wait: Duration,
    all: Arc<Semaphore>,
    /// The places for the transactions of each dependency. Only dependencies of declared operations have an entry, so
    /// there are few entries.
    of_each: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
}

/// The right to run one transaction that may wait for long. Dropping this value frees the place.
#[derive(Debug)]
pub(super) struct Place {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Places {
    /// Makes the places for a pool. Of the pool's connections, each lane needs one, and [`SPARE`] (2) are kept free for
    /// claims and reads. The rest are places, at most `handlers` and at least one. With `lanes` + 2 connections there
    /// is one place, and only one connection is kept free. A transaction waits for a place for at most half of
    /// `within`, the time that the database has for an answer.
    ///
    /// # Errors
    ///
    /// [`Trouble::Refused`] if the pool has fewer than `lanes` + 2 connections.
    pub(super) fn of(pool: &PgPool, lanes: u32, handlers: u32, within: Duration) -> Result<Places> {
        let (connections, lanes) = (pool.options().get_max_connections(), lanes.max(1));
        let Some(free) = connections.checked_sub(lanes).filter(|free| *free >= 2) else {
            let said = format!(
                "the pool has at most {connections} connections; {lanes} are for the lanes (`lanes`), so at least {} are \
                 needed",
                lanes + 2
            );
            return Err(StoreError::new(Trouble::Refused, said));
        };
        let number = handlers.clamp(1, free.saturating_sub(SPARE).max(1));
        Ok(Places::new(number, within / 2))
    }

    fn new(number: u32, wait: Duration) -> Places {
        Places { number, wait, all: Arc::new(Semaphore::new(number as usize)), of_each: Arc::default() }
    }

    /// Waits for a place for a transaction of this dependency, and returns it.
    ///
    /// # Errors
    ///
    /// [`Trouble::Busy`] if no place became free in time.
    pub(super) async fn take(&self, dependency: &str) -> Result<Place> {
        let (own, all) = (self.of_dependency(dependency), self.all.clone());
        let taken = timeout(self.wait, async {
            // `ok()` is never `None` here, since the semaphores are never closed.
            Some(Place { _own: own.acquire_owned().await.ok()?, _of_all: all.acquire_owned().await.ok()? })
        });
        taken.await.ok().flatten().ok_or_else(|| {
            let said = format!(
                "no place for a transaction that may wait became free within {:?}; the {} places (`handlers`) are taken by \
                 handlers and by changes of locked rows, of `{dependency}` or of others",
                self.wait, self.number
            );
            StoreError::new(Trouble::Busy, said)
        })
    }

    fn of_dependency(&self, dependency: &str) -> Arc<Semaphore> {
        // Each entry is inserted whole, so the map is valid even if another thread panicked while it held the lock.
        let mut of_each = self.of_each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = of_each.get(dependency) {
            return own.clone();
        }
        let own = Arc::new(Semaphore::new((self.number as usize - 1).max(1)));
        of_each.insert(dependency.to_owned(), own.clone());
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dependency_leaves_a_place_for_the_others() {
        let places = Places::new(3, Duration::from_millis(20));
        let first = places.take("slow").await.expect("it is free");
        let _second = places.take("slow").await.expect("it is free");
        let refused = places.take("slow").await.expect_err("two of three are taken");
        assert_eq!(refused.trouble(), Trouble::Busy);
        assert!(refused.to_string().contains("the ledger's database is busy: no place"), "{refused}");
        let other = places.take("other").await.expect("the third one is free");
        places.take("third").await.expect_err("all are taken");
        drop(first);
        places.take("third").await.expect("one is free again");
        drop(other);
        places.take("slow").await.expect("one is free again");
    }

    #[tokio::test]
    async fn one_place_is_for_everybody() {
        let places = Places::new(1, Duration::from_millis(20));
        let only = places.take("one").await.expect("it is free");
        places.take("two").await.expect_err("it is taken");
        drop(only);
        places.take("two").await.expect("it is free again");
    }
}
