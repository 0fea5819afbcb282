//! A perform attempt: how it is recorded, sent, and ended.

use std::sync::Arc;
use std::time::Instant;

use crate::action::Action;
use crate::begin::Entry;
use crate::clock::DbClock;
use crate::drive::{heard, said};
use crate::failpoint::point;
use crate::inner::Inner;
use crate::machine::{AttemptRow, Event, Performed, Report, Step, Write, close_unsent, plan};
use crate::operation::Operation;
use crate::remote::Delivery;
use crate::store::Store;

/// What becomes of an action whose attempt was provably not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfUnsent {
    /// It is tried again later.
    TryAgain,
    /// The action fails in the commit that ends the attempt, since its caller waits for the outcome and makes no other
    /// attempt.
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
    /// `clock` is the answer of the database from which the attempt's deadline was computed. By a later answer, the
    /// deadline would move with the database's clock if that has jumped meanwhile.
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
    /// It was. It is to be sent now.
    Yes(Box<Attempt<S>>),
    /// It was not. The value is the action as it is now.
    No(Box<Action>),
}

impl<S: Store> Inner<S> {
    /// Returns the first attempt of an action that this process has just begun. If the attempt was not recorded with
    /// the action, it is recorded now. If it cannot be sent in time, the action fails. Returns `None` if the row is
    /// gone or a write was refused.
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

    /// Writes the change that records a perform attempt. Returns the attempt, or the row if that had changed before.
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
