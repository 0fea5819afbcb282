//! An action whose first attempt is sent by the caller of the ledger, and not by the ledger.
//!
//! A program may pass a request of its own caller on, as a proxy does. It then receives the provider's answer itself,
//! and the ledger must not lose this answer. So the program records the action with [`Ledger::start`], sends the
//! attempt over its own connection, and reports with [`Started::ended`] how the attempt ended. It passes the answer on
//! to its caller only after that report is written.
//!
//! If the program stops in between, the row says that an attempt is under way. A worker takes the row when its lease
//! ends, as it does with the row of every process that crashed.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::action::{Action, NewAction};
use crate::attempt::{Attempt, Attempted, IfUnsent};
use crate::drive::storable;
use crate::error::{Error, Refusal, StoreError, Trouble};
use crate::inner::Inner;
use crate::ledger::Ledger;
use crate::machine::{Performed, Report};
use crate::store::Store;
use crate::waiting::in_task;

/// What [`Ledger::start`] did.
pub enum Begun<S: Store> {
    /// The action and its first attempt are recorded. The caller sends the attempt.
    Started(Started<S>),
    /// This caller sends nothing. There are two cases. Either the key was recorded before with this request. Or the
    /// time in which the action must be settled is too short to send an attempt first. In the second case, the action
    /// has failed. The value is the action as it is recorded now.
    Found(Box<Action>),
}

/// An attempt that is recorded and that the caller sends.
///
/// If this value is dropped, the attempt counts as one that was perhaps sent: when the lease of the row ends, a worker
/// finds out what became of it.
#[must_use = "the attempt counts as sent until its end is told"]
pub struct Started<S: Store> {
    inner: Arc<Inner<S>>,
    attempt: Box<Attempt<S>>,
}

impl<S: Store> fmt::Debug for Begun<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Begun::Started(started) => started.fmt(f),
            Begun::Found(action) => f.debug_tuple("Found").field(action).finish(),
        }
    }
}

impl<S: Store> fmt::Debug for Started<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").field("action", self.action()).finish_non_exhaustive()
    }
}

impl<S: Store> Ledger<S> {
    /// Records an action together with its first attempt in one commit, for a caller that sends the attempt itself.
    ///
    /// If the key is already recorded with this request, the existing action is returned, and the caller sends
    /// nothing. Only an action that failed without ever being sent begins again.
    ///
    /// The caller reports the end of the attempt with [`Started::ended`]. If it reports that nothing was sent, the
    /// action fails, and no worker sends it later.
    ///
    /// # Errors
    ///
    /// As [`Ledger::record_in`]. After [`Trouble::Away`], it is not known whether the action was recorded. The caller
    /// must not send it. A task searches for the action until the database answers, and ends it as failed if it was
    /// recorded.
    pub async fn start(&self, new: &NewAction) -> Result<Begun<S>, Error> {
        let entry = self.inner.begin_sent(new, IfUnsent::Close).await?;
        if !entry.began {
            return Ok(Begun::Found(Box::new(entry.action)));
        }
        let id = entry.action.id;
        let attempted = if entry.attempt.is_some() {
            self.inner.first_attempt(entry, IfUnsent::Close).await
        } else {
            let inner = self.inner.clone();
            in_task(Box::pin(async move { inner.first_attempt(entry, IfUnsent::Close).await })).await?
        };
        match attempted {
            Some(Attempted::Yes(attempt)) => {
                Ok(Begun::Started(Started { inner: self.inner.clone(), attempt }))
            }
            Some(Attempted::No(action)) => Ok(Begun::Found(action)),
            None => self.load(id).await.map(|action| Begun::Found(Box::new(action))),
        }
    }
}

impl<S: Store> Started<S> {
    /// Returns the action as it was recorded with the attempt. [`Action::sent_key`] is the key under which it is sent.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.attempt.action
    }

    /// Returns the moment after which nothing of the attempt may be sent.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.attempt.deadline
    }

    /// Writes how the attempt ended, and returns the action as it then is. If a worker has taken the row meanwhile,
    /// since its lease had ended, only the line of the attempt log may be completed, and the action is returned as that
    /// worker left it.
    ///
    /// The write is made by a task of its own, so dropping the future does not stop it. What follows from the outcome,
    /// such as a question to the provider or a cancel, is done in the background after this function has returned.
    ///
    /// # Errors
    ///
    /// [`Trouble::Away`] or [`Trouble::Busy`] if the outcome could not be written in the time that the database has for
    /// an answer. The task then goes on until the outcome is written. [`Trouble::Refused`] if the database refuses the
    /// outcome, and [`Refusal::NotFound`] if the row is gone.
    pub async fn ended(self, how: Performed, report: Report) -> Result<Action, Error> {
        let Started { inner, attempt } = self;
        let (id, driver) = (attempt.action.id, inner.clone());
        let writing = Box::pin(async move {
            let action = driver.ended(*attempt, how, storable(report)).await?;
            if action.state.end().is_none() {
                let open = action.clone();
                tokio::spawn(async move { driver.drive(open).await });
            }
            Some(action)
        });
        // Usually the task itself reports in time that it cannot write. Sometimes one write takes longer, for example
        // if SQLite waits for another program's transaction. So this function waits a quarter longer than the database
        // has for an answer, and then returns an error.
        let within = inner.store.answers_within().mul_f64(1.25);
        let Ok(written) = tokio::time::timeout(within, in_task(writing)).await else {
            let late = format!("the outcome was not written within {within:?}");
            return Err(StoreError::new(Trouble::Away, late).into());
        };
        if let Some(action) = written? {
            return Ok(action);
        }
        inner.store.load(id).await?.ok_or(Refusal::NotFound)?;
        Err(StoreError::new(Trouble::Refused, "the outcome of the attempt could not be written").into())
    }
}
