//! A perform attempt: how it is recorded, sent, and ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::action::{Action, NewAction};
use crate::begin::{Entry, Place};
use crate::clock::DbClock;
use crate::drive::{heard, said};
use crate::error::Error;
use crate::failpoint::point;
use crate::inner::Inner;
use crate::machine::{AttemptRow, Birth, Event, Performed, Report, Step, Write, close_unsent, plan};
use crate::operation::Operation;
use crate::remote::Delivery;
use crate::store::Store;
use crate::waiting::Tries;

/// How long a task waits between two searches for a row. A row is searched for if the database did not answer the write
/// that records it.
const LOOK: Duration = Duration::from_millis(500);

/// The maximum number of rows that are searched for at the same time. A row is searched for if the database did not
/// answer the write that records it.
pub(crate) const LOST: usize = 1024;

/// What becomes of an action whose attempt was provably not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfUnsent {
    /// The action is tried again later.
    TryAgain,
    /// The action fails, in the commit that writes the end of the attempt. It is not tried again later, since its
    /// caller waits for the outcome. There are two exceptions, in which the action does not fail: an earlier attempt
    /// may have taken effect, or the goal is no longer to perform.
    Close,
}

/// A perform attempt that is recorded and has not ended.
pub(crate) struct Attempt<S: Store> {
    pub(crate) operation: Arc<Operation<S>>,
    /// The action, as it was recorded with the attempt.
    pub(crate) action: Action,
    /// The line of the attempt log, as it was recorded.
    line: AttemptRow,
    /// The moment after which nothing of the attempt is sent.
    pub(crate) deadline: Instant,
    /// What becomes of the action if the attempt is not sent.
    unsent: IfUnsent,
}

impl<S: Store> Attempt<S> {
    /// Makes the attempt, and computes its deadline from the time `line.send_by`, after which nothing of it may be
    /// sent. `clock` is what the database answered when it was asked for its time. It must be the answer from which
    /// `line.send_by` was computed, too: with a later answer, the deadline would be wrong if the database's clock has
    /// jumped meanwhile.
    fn new(
        operation: &Arc<Operation<S>>,
        action: Action,
        line: AttemptRow,
        clock: &DbClock,
        unsent: IfUnsent,
    ) -> Attempt<S> {
        let deadline = clock.instant_of(line.send_by);
        Attempt { operation: operation.clone(), action, line, deadline, unsent }
    }
}

/// Whether an attempt was recorded.
pub(crate) enum Attempted<S: Store> {
    /// The attempt was recorded. It is to be sent now.
    Yes(Box<Attempt<S>>),
    /// No attempt was recorded. The value is the action as it is now.
    No(Box<Action>),
}

impl<S: Store> Inner<S> {
    /// Returns the first attempt of an action that this process has just begun. If the attempt was not recorded with
    /// the action, it is recorded now. `unsent` says what becomes of the action if the attempt is later not sent. If
    /// there is no time left for an attempt, the action fails, and [`Attempted::No`] is returned. Returns `None` if
    /// the row is gone or a write was refused.
    pub(crate) async fn first_attempt(&self, entry: Entry<S>, unsent: IfUnsent) -> Option<Attempted<S>> {
        let Entry { action, attempt, operation, clock, .. } = entry;
        if let Some(line) = attempt {
            point("after-attempt").await;
            return Some(Attempted::Yes(Box::new(Attempt::new(&operation, action, line, &clock, unsent))));
        }
        let action = self.complete(&operation, action).await?;
        let clock = self.patient_time().await;
        match plan(&action.state, &operation.rules, action.origin(), clock.moment(), self.owner) {
            Step::Perform(write) => {
                Box::pin(self.record_attempt(&operation, action, write, clock, unsent)).await
            }
            Step::Leave | Step::Change(_) | Step::Cancel(_) | Step::Ask(_) | Step::SettleScope => {
                let why = "it could not be sent in time to be settled";
                let action = match close_unsent(&action.state, self.owner, why, clock.now()) {
                    Some(write) => Box::pin(self.change(&operation, action, write)).await?,
                    None => action,
                };
                Some(Attempted::No(Box::new(action)))
            }
        }
    }

    /// Records a perform attempt, sends it, and writes how it ended. Returns the row after that, or `None` if the row
    /// is gone or a write was refused.
    pub(crate) async fn perform(
        &self,
        operation: &Arc<Operation<S>>,
        action: Action,
        write: Write,
        clock: DbClock,
    ) -> Option<Action> {
        match self.record_attempt(operation, action, write, clock, IfUnsent::TryAgain).await? {
            Attempted::Yes(attempt) => self.send(*attempt).await,
            Attempted::No(action) => Some(*action),
        }
    }

    /// Writes the change that records a perform attempt. Returns [`Attempted::Yes`] with the attempt. If another writer
    /// had changed the row before, nothing is written, and [`Attempted::No`] is returned with the row as it is now.
    /// Returns `None` if the row is gone or the write was refused.
    async fn record_attempt(
        &self,
        operation: &Arc<Operation<S>>,
        action: Action,
        write: Write,
        clock: DbClock,
        unsent: IfUnsent,
    ) -> Option<Attempted<S>> {
        let line = write.attempt().cloned().expect("a perform is recorded with its attempt");
        point("before-attempt").await;
        let (action, was_taken) = self.recorded(action, write).await?;
        if !was_taken {
            return Some(Attempted::No(Box::new(action)));
        }
        point("after-attempt").await;
        Some(Attempted::Yes(Box::new(Attempt::new(operation, action, line, &clock, unsent))))
    }

    /// Sends an attempt, and writes how it ended. If its deadline has passed, nothing is sent. Returns the row after
    /// that write, or `None` if the row is gone or the write was refused.
    pub(crate) async fn send(&self, attempt: Attempt<S>) -> Option<Action> {
        let Attempt { operation, action, line, deadline, .. } = &attempt;
        let delivery = Delivery { action, number: line.number, deadline: *deadline };
        let (how, report) = if delivery.may_send() {
            let sent = heard(&delivery, || operation.remote.perform(delivery)).await;
            sent.unwrap_or_else(|report| (Performed::Unknown, report))
        } else {
            (Performed::NotSent, said("its deadline had passed before it could be sent"))
        };
        self.ended(attempt, how, report).await
    }

    /// Records an action with its first attempt, for a caller that waits for the outcome.
    ///
    /// # Errors
    ///
    /// As [`Inner::begin`]. An error does not prove that nothing was recorded, because the database's answer may have
    /// been lost. But nothing of the request was sent to the provider. With [`IfUnsent::Close`], the caller makes no
    /// other attempt, so the action must not be sent later either. A task then searches for the row, and ends the
    /// action if it finds the row.
    pub(crate) async fn begin_sent(
        self: &Arc<Self>,
        new: &NewAction,
        unsent: IfUnsent,
    ) -> Result<Entry<S>, Error> {
        let not = match self.begin(Place::Own, new, Birth::Sent(self.owner)).await {
            Ok(entry) => return Ok(entry),
            Err(not) => not,
        };
        if let (Some(entry), IfUnsent::Close) = (not.lost, unsent) {
            match self.lost.clone().try_acquire_owned() {
                Ok(permit) => {
                    let inner = self.clone();
                    tokio::spawn(async move {
                        inner.close_lost(*entry).await;
                        drop(permit);
                    });
                }
                Err(_) => tracing::warn!(action = %entry.action.id,
                    "too many records went without an answer; a worker will ask about this one if it was made"),
            }
        }
        Err(not.error)
    }

    /// Searches for a row after the database did not answer the write that records it. If the row is found, writes that
    /// its attempt was not sent, which ends the action.
    async fn close_lost(&self, entry: Entry<S>) {
        let Entry { mut action, attempt, operation, clock, .. } = entry;
        let Some(line) = attempt else { return };
        // The request is not needed here. It may be large, and the database may be unreachable for long.
        action.request = Vec::new();
        let mut tries = Tries::begin();
        // The database ends a transaction at the latest one second after this program has stopped waiting for its
        // answer. The search goes on for twice the time that the program waits for an answer. That is more than one
        // second longer, so a row that is missing after that was not recorded.
        let settled = Instant::now() + self.store.answers_within() * 2;
        loop {
            match self.store.load(action.id).await {
                Ok(Some(found)) if found.state == action.state => {
                    let attempt = Attempt::new(&operation, found, line, &clock, IfUnsent::Close);
                    let report =
                        said("it was not sent, since the database did not answer when it was recorded");
                    self.ended(attempt, Performed::NotSent, report).await;
                    return;
                }
                Ok(Some(found)) if found.state.version() >= action.state.version() => return,
                Ok(_) if Instant::now() >= settled => return,
                Ok(_) => tokio::time::sleep(LOOK).await,
                Err(e) => self.wait_out(&mut tries, &e).await,
            }
        }
    }

    /// Writes how an attempt ended. Returns the row after that write, or `None` if the row is gone or the write was
    /// refused.
    pub(crate) async fn ended(&self, attempt: Attempt<S>, how: Performed, report: Report) -> Option<Action> {
        let Attempt { operation, action, line, unsent, .. } = attempt;
        point("after-answer").await;
        let event = match (how, unsent) {
            (Performed::NotSent, IfUnsent::Close) => Event::Unsent(line, report),
            (Performed::Yes(answer), _) => Event::Performed(line, Performed::Yes(self.kept(answer)), report),
            (Performed::No(refusal), _) => Event::Performed(line, Performed::No(self.kept(refusal)), report),
            (how @ (Performed::NotSent | Performed::Duplicate | Performed::Unknown), _) => {
                Event::Performed(line, how, report)
            }
        };
        let action = self.tell(&operation, action, event).await;
        point("after-outcome").await;
        action
    }
}
