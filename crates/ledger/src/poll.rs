//! The poll: one question to the database for all dependencies of a process together.
//!
//! The obvious design lets each dependency ask for itself. Each look for due rows is then a claim in a transaction and
//! a question for the next due time. So a process with twenty dependencies sends about 140 statements a second while it
//! has nothing to do. Instead, the process asks once in each poll interval, in one statement, which dependencies have
//! rows that are due. It sends claims only for these dependencies. The answer also says when the next row will be due,
//! and the process asks again at that time.
//!
//! The process need not ask about rows that it has written itself. A row that it has just recorded wakes the claims
//! directly. If the process writes a row that will be due before the next poll, it polls at that time. Each poll sees
//! all committed rows, so the process remembers only what it wrote after the last poll, and of that only the earliest
//! due time.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::inner::{Inner, Stopped};
use crate::store::{Declared, Store};

/// The shortest time between two polls. Rows that become due one after the other within this time are claimed together.
const SPACING: Duration = Duration::from_millis(10);

pub(crate) struct Poll<S: Store> {
    inner: Arc<Inner<S>>,
    /// The longest time between two polls.
    every: Duration,
    declared: Vec<Declared>,
    /// Whether the last poll failed.
    failing: bool,
}

impl<S: Store> Poll<S> {
    pub(crate) fn new(inner: Arc<Inner<S>>, every: Duration) -> Poll<S> {
        let declared = inner.operations.dependencies().map(|of| inner.operations.declared(of)).collect();
        Poll { inner, every, declared, failing: false }
    }

    /// Polls until the worker is stopped or dropped.
    pub(crate) async fn run(mut self, mut stopped: Stopped) {
        if self.declared.is_empty() {
            return;
        }
        let inner = self.inner.clone();
        loop {
            let asked = Instant::now();
            let mut moved = pin!(inner.store.clock_moved());
            let next = tokio::select! {
                next = self.ask() => next,
                _ = stopped.changed() => return,
            };
            // The time of the next regular poll is random, so that not all processes ask the database at the same time.
            let regular = asked + self.every.mul_f64(0.8 + fastrand::f64() / 5.0);
            loop {
                let written = inner.wakes.earliest().map(|stamp| inner.store.clock().instant_of(stamp));
                let at = [Some(regular), next, written].into_iter().flatten().min().unwrap_or(regular);
                tokio::select! {
                    () = tokio::time::sleep_until(at.max(asked + SPACING).into()) => break,
                    () = &mut moved => break,
                    () = inner.wakes.earlier() => {}
                    _ = stopped.changed() => return,
                }
            }
        }
    }

    /// Asks the database which dependencies have due rows, and wakes their claims. Returns when the next row will be
    /// due. Returns `None` if no row will be due later, or if the database does not answer.
    async fn ask(&mut self) -> Option<Instant> {
        // The process remembers the earliest due time of the rows that it has written. It can forget that time now:
        // these rows are committed, so the poll, which begins only now, finds them.
        self.inner.wakes.forget();
        let found = match self.inner.store.due(&self.declared, self.every).await {
            Ok(found) => found,
            Err(e) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(error = %e, "the ledger cannot look for rows that are due");
                }
                return None;
            }
        };
        self.failing = false;
        for (declared, _) in self.declared.iter().zip(&found).filter(|(_, due)| due.now) {
            self.inner.wakes.claim(&declared.dependency);
        }
        let clock = self.inner.store.clock();
        found.iter().filter_map(|due| due.next).min().map(|next| clock.instant_of(next))
    }
}
