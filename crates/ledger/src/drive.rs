//! Works on one row: executes the machine's plan step by step, until nothing more is to be done now.
//!
//! Nothing is sent before the store has taken the write that records the request. No database connection is held during
//! a request to the provider. The provider's answer is stored nowhere else, so it is kept in memory until it is
//! written, however long the database cannot be reached. If the row has changed meanwhile, the machine decides what the
//! answer means for the changed row.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seawall_policy::Draw;

use crate::action::Action;
use crate::caught::{caught, message};
use crate::clock::DbClock;
use crate::error::{StoreError, Trouble};
use crate::failpoint::point;
use crate::inner::Inner;
use crate::machine::{
    self, CancelBy, End, Event, Found, NotSettled, Question, Report, Stamp, State, Step, Told, Undone, Write,
    cancel, completed, plan, told,
};
use crate::operation::Operation;
use crate::remote::Delivery;
use crate::store::{Boxed, Change, Changed, Follow, Store};
use crate::waiting::Tries;

/// The maximum age of the database's last answer that carried its time. If that answer is older, the database is asked
/// again, since its clock and the clock of this machine drift apart.
const CLOCK_AGE: Duration = Duration::from_secs(5);

/// What the store did with a write.
enum Taken {
    /// The store has taken the write. The value is the action after the write.
    Yes(Box<Action>),
    /// The store has not taken the write, since the row had changed. The value is the row as it is now; `None` if the
    /// row is gone.
    No(Option<Box<Action>>),
    /// The application's handler failed, so nothing was written. The fields are the write and the handler's error.
    HandlerFailed(Box<Write>, String),
    /// The write chooses the key under which the action is sent to the provider. Another action of the dependency is
    /// sent under this key already, so nothing was written.
    Clash,
    /// The database refused the write each time that it was offered. The row stays unchanged until its lease ends.
    Refused,
}

/// The number of times that a change is offered to the store again after the database refused it.
const OFFERS: u32 = 5;

impl<S: Store> Inner<S> {
    /// Returns the database's time. The database is asked only if its last answer is older than [`CLOCK_AGE`].
    pub(crate) async fn time(&self) -> Result<DbClock, StoreError> {
        // The two calls that ask the database are rare, so their futures are boxed. Otherwise the future of this
        // function, and every future that contains it, would have room for them, and copying a large future takes time.
        if self.compared.get().is_none() {
            Box::pin(self.compare_clocks()).await?;
        }
        let clock = self.store.clock();
        if clock.age() < CLOCK_AGE { Ok(clock) } else { Box::pin(self.store.ask_time()).await }
    }

    /// Works on a row that this process has claimed, until nothing more is to be done now, or until this process has
    /// lost its claim. Returns the row as it then is, or `None` if the row is gone or a write was refused.
    pub(crate) async fn drive(&self, mut action: Action) -> Option<Action> {
        // For a claimed row, the operation is always found, since a worker claims only rows of declared operations.
        let Ok(operation) = self.operations.of(&action).cloned() else { return Some(action) };
        let was_let_through = action.state.failing_since().is_some();
        let mut requests = 0;
        loop {
            action = self.complete(&operation, action).await?;
            if self.may_change(&action).is_err() {
                return Some(action);
            }
            let clock = self.patient_time().await;
            let step = plan(&action.state, &operation.rules, action.origin(), clock.moment(), self.owner);
            if matches!(step, Step::Perform(_) | Step::Cancel(_) | Step::Ask(_)) {
                // When the pace let this row through, it counted one request for it. It is told here of each further
                // request for this row.
                if was_let_through && requests > 0 {
                    self.paces.with(&action.dependency, |pace, now| pace.sends(1, now));
                }
                requests += 1;
            }
            action = match step {
                Step::Leave => return Some(action),
                // Each step is boxed. Otherwise the future that waits for the provider would have to hold the state of
                // all the other steps, too.
                Step::Change(write) => Box::pin(self.change(&operation, action, write)).await?,
                Step::Perform(write) => Box::pin(self.perform(&operation, action, write, clock)).await?,
                Step::Cancel(write) => Box::pin(self.undo(&operation, action, write, clock)).await?,
                Step::Ask(question) => Box::pin(self.ask(&operation, action, question, clock)).await?,
                Step::SettleScope => Box::pin(self.settle_scope(&operation, action)).await?,
            };
        }
    }

    /// Completes the row of an action that plain SQL recorded. Such a row lacks the key under which the action is sent,
    /// and the time by which it must have been settled. Returns the action as it then is, or `None` if the row is gone
    /// or a write was refused.
    pub(crate) async fn complete(&self, operation: &Arc<Operation<S>>, mut action: Action) -> Option<Action> {
        let mut salt = 0;
        while self.may_change(&action).is_ok() {
            let now = self.store.clock().now();
            let write = completed(&action.state, &operation.rules, action.origin(), salt, now);
            let Some(change) = write.map(|write| change_of(&action, write, None)) else { break };
            match self.offer(&action, change).await {
                Taken::Yes(taken) => action = *taken,
                Taken::No(found) => action = *found?,
                Taken::Clash => salt += 1,
                Taken::HandlerFailed(..) => break,
                Taken::Refused => return None,
            }
        }
        Some(action)
    }

    /// Returns the database's time as [`Inner::time`] does. If the database cannot be reached, this function waits
    /// until it can.
    pub(crate) async fn patient_time(&self) -> DbClock {
        let mut tries = Tries::begin();
        loop {
            match self.time().await {
                Ok(clock) => return clock,
                Err(e) => Box::pin(self.wait_out(&mut tries, &e)).await,
            }
        }
    }

    pub(crate) async fn wait_out(&self, tries: &mut Tries, e: &StoreError) {
        tries.wait_out(e, self.store.answers_within()).await;
    }

    /// Offers a change of `action` to the store, and returns what the store did with it. While the database cannot be
    /// reached, the change is offered again and again. If an earlier offer was written and its answer was lost, the
    /// store finds the row exactly as the change makes it, and the change counts as taken.
    async fn offer(&self, action: &Action, change: Arc<Change<S::Connection>>) -> Taken {
        let mut tries = Tries::begin();
        loop {
            match self.store.change(change.clone()).await {
                Ok(Changed::Taken) => {
                    // Usually the store has dropped its reference to the change by now. Then the action is moved out of
                    // the change; otherwise it is copied.
                    let action =
                        Arc::try_unwrap(change).map_or_else(|shared| shared.action.clone(), |own| own.action);
                    self.wakes.written(&action, self.store.clock().now());
                    self.changes.written(action.id);
                    return Taken::Yes(Box::new(action));
                }
                Ok(Changed::Stale(found)) => return Taken::No(found),
                Ok(Changed::Clash) => return Taken::Clash,
                Ok(Changed::HandlerFailed(why)) => {
                    let write =
                        Arc::try_unwrap(change).map_or_else(|shared| shared.write.clone(), |own| own.write);
                    return Taken::HandlerFailed(Box::new(write), why);
                }
                Err(e) => {
                    if !Box::pin(self.may_offer_again(&mut tries, action, &e)).await {
                        return Taken::Refused;
                    }
                }
            }
        }
    }

    /// Waits before a write is offered to the store again. Returns `false` if it is not to be offered again, because
    /// the store has refused it [`OFFERS`] times. While the database cannot be reached or is busy, the number of offers
    /// has no limit.
    async fn may_offer_again(&self, tries: &mut Tries, action: &Action, e: &StoreError) -> bool {
        match e.trouble() {
            Trouble::Refused | Trouble::Foreign if tries.failed() >= OFFERS => {
                tracing::error!(action = %action.id, error = %e, "a change was refused");
                return false;
            }
            Trouble::Refused | Trouble::Foreign | Trouble::Away | Trouble::Busy | Trouble::Again => {}
        }
        self.wait_out(tries, e).await;
        true
    }

    /// Returns the operation's handler if `action` is open or stuck and this write ends it as done, failed or
    /// cancelled. Returns `None` in all other cases, or if the operation has no handler.
    fn follow_of(
        &self,
        operation: &Operation<S>,
        action: &Action,
        write: &Write,
    ) -> Option<Follow<S::Connection>> {
        match (action.state.end(), write.to().end()) {
            (None | Some(End::Stuck), Some(End::Done | End::Failed | End::Cancelled)) => {
                operation.follow.clone()
            }
            (_, _) => None,
        }
    }

    /// Offers a write to the store. Returns the row as it is afterwards, or `None` if the row is gone or the write was
    /// refused.
    pub(crate) async fn change(
        &self,
        operation: &Arc<Operation<S>>,
        action: Action,
        write: Write,
    ) -> Option<Action> {
        let (follow, breaks_scope) = (self.follow_of(operation, &action, &write), write.breaks_scope());
        match self.offer(&action, change_of(&action, write, follow)).await {
            Taken::Yes(taken) => Some(self.taken(taken, breaks_scope).await),
            Taken::No(found) => found.map(|action| *action),
            Taken::HandlerFailed(write, why) => self.without_handler(operation, action, *write, &why).await,
            Taken::Clash => Some(action),
            Taken::Refused => None,
        }
    }

    async fn taken(&self, action: Box<Action>, breaks_scope: bool) -> Action {
        if breaks_scope && action.scope.is_some() {
            Box::pin(self.break_scope(&action)).await;
        }
        if action.state.end().is_some() {
            point("after-end").await;
        }
        *action
    }

    /// Handles a failure of the application's handler. Because of the failure, the transaction that would have ended
    /// the action was rolled back. Now the same change is written without the end of the action, and the end is tried
    /// again later. Returns the row after the write, or `None` if the row is gone or the write was refused.
    async fn without_handler(
        &self,
        operation: &Arc<Operation<S>>,
        action: Action,
        write: Write,
        why: &str,
    ) -> Option<Action> {
        let now = self.patient_time().await.now();
        let draw = Draw::new(fastrand::u64(..));
        let held = machine::handler_failed(write, &action.state, &operation.rules, why, now, draw);
        self.held(action, held).await
    }

    /// Offers a write that says in the row which error a handler returned. Returns the row as it is afterwards, or
    /// `None` if the row is gone or the write was refused.
    async fn held(&self, action: Action, write: Write) -> Option<Action> {
        let trouble = write.to().handler();
        tracing::error!(action = %action.id, tries = trouble.map(|trouble| trouble.tries),
            error = trouble.map(|trouble| trouble.error.as_str()), "a handler failed; it is tried again");
        match self.offer(&action, change_of(&action, write, None)).await {
            Taken::Yes(held) => Some(*held),
            Taken::No(found) => found.map(|action| *action),
            Taken::HandlerFailed(..) | Taken::Clash => Some(action),
            Taken::Refused => None,
        }
    }

    async fn undo(
        &self,
        operation: &Arc<Operation<S>>,
        action: Action,
        write: Write,
        clock: DbClock,
    ) -> Option<Action> {
        let line = write.attempt().cloned().expect("a cancel is recorded with its attempt");
        point("before-cancel-attempt").await;
        let (action, was_taken) = self.recorded(action, write).await?;
        if !was_taken {
            return Some(action);
        }
        point("after-cancel-attempt").await;
        let deadline = clock.instant_of(line.send_by);
        let delivery = Delivery { action: &action, number: line.number, deadline };
        let (how, report) = if delivery.may_send() {
            let sent = heard(&delivery, || operation.remote.cancel(delivery)).await;
            sent.unwrap_or_else(|report| (Undone::Unknown, report))
        } else {
            (Undone::NotSent, said("its deadline had passed before it could be sent"))
        };
        point("after-cancel-answer").await;
        self.tell(operation, action, Event::Cancelled(line, how, report)).await
    }

    pub(crate) async fn recorded(&self, action: Action, write: Write) -> Option<(Action, bool)> {
        let breaks_scope = write.breaks_scope();
        match self.offer(&action, change_of(&action, write, None)).await {
            Taken::Yes(taken) => Some((self.taken(taken, breaks_scope).await, true)),
            Taken::No(found) => found.map(|action| (*action, false)),
            Taken::HandlerFailed(..) | Taken::Clash => Some((action, false)),
            Taken::Refused => None,
        }
    }

    async fn ask(
        &self,
        operation: &Arc<Operation<S>>,
        action: Action,
        question: Question,
        clock: DbClock,
    ) -> Option<Action> {
        point("before-confirm").await;
        let until = question.asked_at.saturating_add(operation.rules.attempt);
        let deadline = clock.instant_of(until);
        let delivery = Delivery { action: &action, number: question.number, deadline };
        let answer = heard(&delivery, || operation.remote.confirm(delivery)).await;
        let (found, report) = answer.unwrap_or_else(|report| (Found::Other, report));
        let found = match found {
            Found::Applied(answer) => Found::Applied(self.kept(answer)),
            Found::Cancelled | Found::Absent | Found::Other | Found::NotSent => found,
        };
        point("after-confirm").await;
        self.tell(operation, action, Event::Confirmed(question, found, report)).await
    }

    /// Returns the answer if it is short enough to be kept. Nothing is kept of a longer answer, since a part of the
    /// answer could be read wrongly.
    pub(crate) fn kept(&self, answer: Option<Vec<u8>>) -> Option<Vec<u8>> {
        answer.filter(|answer| answer.len() <= self.sizes.answer)
    }

    /// Writes the change that follows from an event, such as the end of an attempt. If the row has changed meanwhile,
    /// the machine computes the change again for the changed row. Returns the row after the write, or `None` if the row
    /// is gone or the write was refused.
    pub(crate) async fn tell(
        &self,
        operation: &Arc<Operation<S>>,
        mut action: Action,
        event: Event,
    ) -> Option<Action> {
        self.heard(operation, &action, &event);
        let mut tries = Tries::begin();
        loop {
            if self.may_change(&action).is_err() {
                return Some(action);
            }
            let now = self.patient_time().await.moment();
            let draw = Draw::new(fastrand::u64(..));
            let rules = &operation.rules;
            let (change, breaks_scope) =
                match told(&action.state, rules, action.origin(), self.owner, event.clone(), now, draw) {
                    Told::Nothing => return Some(action),
                    Told::Late(line) => match Box::pin(self.store.evidence(action.id, line)).await {
                        Ok(()) => return Some(action),
                        Err(e) => {
                            if !Box::pin(self.may_offer_again(&mut tries, &action, &e)).await {
                                return None;
                            }
                            continue;
                        }
                    },
                    Told::Write(write) => {
                        let (follow, breaks_scope) =
                            (self.follow_of(operation, &action, &write), write.breaks_scope());
                        (change_of(&action, write, follow), breaks_scope)
                    }
                };
            match self.offer(&action, change).await {
                Taken::Yes(taken) => return Some(self.taken(taken, breaks_scope).await),
                Taken::No(found) => action = *found?,
                Taken::HandlerFailed(write, why) => {
                    return Box::pin(self.without_handler(operation, action, *write, &why)).await;
                }
                Taken::Clash => return Some(action),
                Taken::Refused => return None,
            }
        }
    }

    async fn settle_scope(&self, operation: &Arc<Operation<S>>, action: Action) -> Option<Action> {
        let Some(scope) = action.scope.clone() else { return Some(action) };
        let mut tries = Tries::begin();
        let settled = loop {
            match self.store.settle_scope(&action.dependency, scope.clone(), self.follow_any()).await {
                Ok(settled) => break settled,
                // The handler of a member failed, or the database refused.
                Err(e) if e.trouble() == Trouble::Refused => {
                    let now = self.patient_time().await.now();
                    let (rules, draw) = (&operation.rules, Draw::new(fastrand::u64(..)));
                    let why = e.to_string();
                    let held =
                        machine::scope_handler_failed(&action.state, self.owner, rules, &why, now, draw);
                    return match held {
                        Some(write) => self.held(action, write).await,
                        None => Some(action),
                    };
                }
                Err(e) => {
                    if !self.may_offer_again(&mut tries, &action, &e).await {
                        return None;
                    }
                }
            }
        };
        match settled {
            Ok(settled) => {
                settled.members.iter().for_each(|member| self.changes.written(member.id));
                settled.members.into_iter().find(|member| member.id == action.id)
            }
            Err(NotSettled::NotKnown | NotSettled::ScopeIncomplete | NotSettled::NeedsNewer) => {
                self.tell(operation, action, Event::ScopeWaits).await
            }
            Err(NotSettled::TooLate | NotSettled::Failed) => {
                self.tell(operation, action, Event::ScopeBroken).await
            }
        }
    }

    /// Returns a handler that calls, for each action, the handler of that action's operation. Returns `None` if no
    /// operation has a handler.
    fn follow_any(&self) -> Option<Follow<S::Connection>> {
        if !self.operations.any_follows() {
            return None;
        }
        let operations = self.operations.clone();
        Some(Arc::new(move |conn, action| {
            match operations.of(action).ok().and_then(|operation| operation.follow.clone()) {
                Some(follow) => Box::pin(async move { follow(conn, action).await }),
                None => Box::pin(async { Ok(()) }),
            }
        }))
    }

    /// Cancels the other members of a broken scope (actions that settle together, of which one failed or is cancelled).
    /// If a member is missed here, the worker that claims this member cancels it when the worker tries to settle the
    /// scope.
    async fn break_scope(&self, action: &Action) {
        let Some(scope) = &action.scope else { return };
        let members = match self.store.members(&scope.name).await {
            Ok(members) => members,
            Err(e) => {
                tracing::warn!(scope = %scope.name, error = %e, "a broken scope's members find out later");
                return;
            }
        };
        let now = self.store.clock().now();
        let others = members.into_iter().filter(|member| member.id != action.id);
        // Some members may be changed only by a newer version of the program, and they are left out here. A worker of
        // that version cancels them when it tries to settle the scope.
        for member in others.filter(|member| self.may_change(member).is_ok()) {
            let Ok(operation) = self.operations.of(&member) else { continue };
            let wish = cancel(&member.state, &operation.rules, CancelBy::Transaction, now);
            if let Ok(Some(write)) = wish {
                let follow = self.follow_of(operation, &member, &write);
                // If the member has changed meanwhile, `offer` changes nothing. Another worker is then working on the
                // member, and cancels it when that worker sees that the scope cannot settle.
                let _ = self.offer(&member, change_of(&member, write, follow)).await;
            }
        }
    }
}

/// Returns the change to offer to the store for the write `write` on `action`. `follow` is the handler that runs in the
/// same transaction; `None` if none does.
fn change_of<C>(action: &Action, write: Write, follow: Option<Follow<C>>) -> Arc<Change<C>> {
    let changed = action.in_state(write.to().clone());
    let changed = match write.names() {
        Some(key) => changed.named(key),
        None => changed,
    };
    Arc::new(Change { action: changed, write, mark: None, follow })
}

/// Calls the remote, and returns its outcome and its report. If the deadline passes or the remote panics, there is no
/// outcome. Then the error is a report that says which of the two happened.
pub(crate) async fn heard<'a, T>(
    delivery: &Delivery<'a>,
    call: impl FnOnce() -> Boxed<'a, (T, Report)>,
) -> Result<(T, Report), Report> {
    match tokio::time::timeout_at(delivery.deadline.into(), caught(call)).await {
        Ok(Ok((outcome, report))) => Ok((outcome, storable(report))),
        Ok(Err(panic)) => {
            tracing::error!(action = %delivery.action.id, error = %panic, "the remote of an action panicked");
            Err(said(&message(&format!("the remote failed: {panic}"))))
        }
        Err(_) => Err(said("no answer before its deadline")),
    }
}

/// Returns the report with its detail in a form that the databases can store: not too long, and without zero bytes.
pub(crate) fn storable(report: Report) -> Report {
    Report { detail: report.detail.map(|detail| message(&detail)), ..report }
}

pub(crate) fn said(detail: &str) -> Report {
    Report { status: None, detail: Some(detail.to_owned()), retry_after: None }
}

/// Returns whether this action has an outcome for its caller: an end, or an effect that the caller has to settle.
pub(crate) fn has_outcome(state: &State) -> bool {
    let applied = state.known() == machine::Known::Applied && state.goal() == machine::Goal::Perform;
    state.end().is_some() || (applied && state.settle_by().is_some())
}

/// Returns the time from now until the database's clock shows `stamp`; zero if that moment has passed. The result may
/// be too short, but never too long.
pub(crate) fn until(clock: &DbClock, stamp: Stamp) -> Duration {
    clock.instant_of(stamp).saturating_duration_since(Instant::now())
}
