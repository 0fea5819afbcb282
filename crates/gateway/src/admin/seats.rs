//! Bounds the number of the admin side's connections. When all seats are taken and a new connection comes, the
//! connection that has sent no request for the longest time is closed. So monitoring never waits until a caller gives
//! its connection up.
//!
//! A bound alone would not be enough. If one caller opened all the connections and sent no request, everybody else
//! would wait in the backlog until an idle connection is closed, after thirty seconds. With 300 idle connections,
//! `/livez` took that long, and an orchestrator restarts a program that takes thirty seconds to answer.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinSet};

/// The time when a connection last sent a request. If it has sent none, this is the time when the connection was made.
#[derive(Clone, Debug)]
pub(super) struct Asked(Arc<Mutex<Instant>>);

impl Asked {
    /// Records that the connection sends a request now.
    pub(super) fn now(&self) {
        *self.0.lock() = Instant::now();
    }
}

/// All connections of the admin side.
pub(super) struct Seats {
    most: usize,
    tasks: JoinSet<()>,
    taken: Vec<(AbortHandle, Asked)>,
}

impl Seats {
    pub(super) fn new(most: usize) -> Seats {
        Seats { most, tasks: JoinSet::new(), taken: Vec::new() }
    }

    /// Gives a new connection a seat and begins to serve it. If no seat is free, the connection that has sent no
    /// request for the longest time is closed.
    pub(super) async fn seat<F>(&mut self, attend: impl FnOnce(Asked) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        while self.tasks.try_join_next().is_some() {}
        self.taken.retain(|(task, _)| !task.is_finished());
        if self.taken.len() >= self.most {
            let longest = self.taken.iter().enumerate().min_by_key(|(_, (_, asked))| *asked.0.lock());
            if let Some((at, _)) = longest {
                self.taken.swap_remove(at).0.abort();
                // The socket of the connection that lost its seat is closed before the next connection is accepted.
                let _ = self.tasks.join_next().await;
            }
        }
        let asked = Asked(Arc::new(Mutex::new(Instant::now())));
        let task = self.tasks.spawn(attend(asked.clone()));
        self.taken.push((task, asked));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_asked_longest_ago_goes() {
        let (mut seats, mut all) = (Seats::new(3), Vec::new());
        for number in 0..3 {
            seats
                .seat(|asked| {
                    all.push((number, asked));
                    std::future::pending()
                })
                .await;
        }
        all[0].1.now();
        let second = seats.taken[1].0.clone();
        seats.seat(|_| std::future::pending()).await;
        assert!(second.is_finished());
        assert_eq!(seats.taken.len(), 3);
        assert_eq!(seats.tasks.len(), 3);
    }
}
