//! Transactions of PostgreSQL that write a single change or settle a scope. They may hold a connection for a long
//! time, while they wait for a row that another transaction holds or for a handler of the application. So the number
//! of such transactions at the same time is limited: each of them first takes one of the
//! [`Places`](super::places::Places).

use std::future::Future;
use std::time::Instant;

use sqlx::postgres::PgConnection;

use crate::action::{Action, ActionId};
use crate::caught::message;
use crate::error::{StoreError, Trouble};
use crate::machine::{NotSettled, Scope};
use crate::store::lane::{RUNS, pause};
use crate::store::{Change, Changed, Follow, Result, ScopeSettled, Store as _, followed, settle_members};

use super::deadline::{Begin, Tx};
use super::{Postgres, lanes};

/// What is stored if a handler returns success although a statement of it has failed.
const SWALLOWED: &str = "a statement of the handler failed, and the handler returned no error; PostgreSQL has rolled the \
                         transaction back";

impl Postgres {
    /// Writes one change and runs its handler, in a transaction of its own. Returns what became of the change.
    pub(super) async fn change_alone(&self, change: &Change<PgConnection>) -> Result<Changed> {
        if change.follow.is_none() {
            // Usually no other transaction holds the row. So the change is first made in a transaction that waits only
            // for a short time. Such a transaction needs no place (`places`).
            match run_again(|| self.try_change(change, Begin::Batch)).await {
                Err(e) if e.trouble() == Trouble::Busy => {}
                ended => return ended,
            }
        }
        let _place = self.places.take(&change.action.dependency).await?;
        let begin = if change.follow.is_some() { Begin::Handler } else { Begin::Alone };
        run_again(|| self.try_change(change, begin)).await
    }

    async fn try_change(&self, change: &Change<PgConnection>, begin: Begin) -> Result<Changed> {
        let until = self.link.until();
        let mut tx = match self.link.bounded(until, self.write_alone(change, begin, until)).await? {
            Ok(tx) => tx,
            Err(not_taken) => return Ok(not_taken),
        };
        let Some(follow) = &change.follow else {
            self.link.bounded(until, tx.commit()).await?;
            return Ok(Changed::Taken);
        };
        tx.has_until(Instant::now() + self.handler_within);
        let handled =
            tokio::time::timeout(self.handler_within, followed(follow, &mut tx, &change.action)).await;
        // The handler may have taken long, so the end of the transaction has a deadline of its own.
        let until = self.link.until();
        match handled {
            Ok(Ok(())) => {
                tx.has_until(until);
                match self.link.bounded(until, tx.check()).await {
                    Ok(()) => self.link.bounded(until, tx.commit()).await.map(|()| Changed::Taken),
                    Err(e) if e.trouble() == Trouble::Away => Err(e),
                    Err(_) => Ok(Changed::HandlerFailed(SWALLOWED.to_owned())),
                }
            }
            Ok(Err(e)) => {
                tx.has_until(until);
                self.link.bounded(until, tx.rollback()).await?;
                let e = handler_failed(e);
                if e.trouble() == Trouble::Again { Err(e) } else { Ok(Changed::HandlerFailed(e.said())) }
            }
            Err(_) => Ok(Changed::HandlerFailed(self.too_slow())),
        }
    }

    /// Writes a change in a new transaction, and returns the transaction, which is still open. If the change was not
    /// written, the inner error is the result for the caller.
    async fn write_alone(
        &self,
        change: &Change<PgConnection>,
        begin: Begin,
        until: Instant,
    ) -> Result<std::result::Result<Tx, Changed>> {
        let mut tx = self.link.begin(begin, until).await?;
        let id = change.action.id;
        let (taken, clock) = self.session(&mut tx).change(&[(id, &change.write)]).await?;
        self.clock.set(clock);
        if taken.is_empty() {
            let found = self.session(&mut tx).load(id).await?;
            tx.commit().await?;
            return Ok(Err(lanes::stale(found, &change.write)));
        }
        if let Some(mark) = &change.mark {
            self.session(&mut tx).mark(id, mark).await?;
        }
        if let Some(key) = change.write.names()
            && !self.session(&mut tx).name(id, key).await?
        {
            tx.rollback().await?;
            return Ok(Err(Changed::Clash));
        }
        Ok(Ok(tx))
    }

    /// Returns the message that is stored if a handler takes longer than it may.
    fn too_slow(&self) -> String {
        format!("it did not end within {:?}", self.handler_within)
    }

    /// Settles a scope (a group of actions that settle together), and runs the handlers of its members, in a
    /// transaction of its own. If the database refuses the transaction in favour of another one, it is run again. The
    /// inner error says why the scope was not settled.
    pub(super) async fn scope_alone(
        &self,
        dependency: &str,
        scope: &Scope,
        follow: Option<&Follow<PgConnection>>,
    ) -> Result<std::result::Result<ScopeSettled, NotSettled>> {
        let _place = self.places.take(dependency).await?;
        run_again(|| self.try_settle_scope(scope, follow)).await
    }

    async fn try_settle_scope(
        &self,
        scope: &Scope,
        follow: Option<&Follow<PgConnection>>,
    ) -> Result<std::result::Result<ScopeSettled, NotSettled>> {
        let begin = if follow.is_some() { Begin::Handler } else { Begin::Alone };
        let until = self.link.until();
        let writing = self.link.bounded(until, self.write_scope(scope, begin, until));
        let (mut tx, members, settled) = match writing.await? {
            Ok(written) => written,
            Err(why) => return Ok(Err(why)),
        };
        if let Some(follow) = follow {
            tx.has_until(Instant::now() + self.handler_within);
            let handling = async {
                // The handler runs only for the members that this transaction has settled. For the others it ran when
                // they were settled. There are such members if the answer of an earlier commit was lost, and the scope
                // is settled once more.
                for member in members.iter().filter(|member| settled.contains(&member.id)) {
                    followed(follow, &mut tx, member).await?;
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
            };
            match tokio::time::timeout(self.handler_within, handling).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => return Err(handler_failed(e)),
                Err(_) => return Err(StoreError::new(Trouble::Refused, self.too_slow())),
            }
        }
        let until = self.link.until();
        tx.has_until(until);
        if follow.is_some() {
            let checked = self.link.bounded(until, tx.check()).await;
            let swallowed = |e: StoreError| match e.trouble() {
                Trouble::Away => e,
                _ => StoreError::new(Trouble::Refused, SWALLOWED),
            };
            checked.map_err(swallowed)?;
        }
        self.link.bounded(until, tx.commit()).await?;
        Ok(Ok(ScopeSettled { members }))
    }

    /// Settles the members of a scope in a new transaction. Returns the transaction, which is still open, with all
    /// members and the ids of the members that it has settled. The inner error says why the scope cannot be settled.
    async fn write_scope(
        &self,
        scope: &Scope,
        begin: Begin,
        until: Instant,
    ) -> Result<std::result::Result<(Tx, Vec<Action>, Vec<ActionId>), NotSettled>> {
        let mut tx = self.link.begin(begin, until).await?;
        let clock = self.session(&mut tx).time().await?;
        self.clock.set(clock);
        let mut members = self.session(&mut tx).members(&scope.name).await?;
        let writes = match settle_members(&members, scope.size, self.knows(), clock.now()) {
            Ok(writes) => writes,
            Err(why) => return Ok(Err(why)),
        };
        let unsettled = members.iter_mut().filter(|member| !member.state.settled());
        let mut pairs = Vec::with_capacity(writes.len());
        for (member, write) in unsettled.zip(&writes) {
            pairs.push((member.id, write));
            member.state = write.to().clone();
        }
        if !pairs.is_empty() {
            let (taken, _) = self.session(&mut tx).change(&pairs).await?;
            if taken.len() != pairs.len() {
                tx.rollback().await?;
                return Err(StoreError::new(Trouble::Again, "a member of the scope moved meanwhile"));
            }
        }
        let settled = pairs.into_iter().map(|(id, _)| id).collect();
        Ok(Ok((tx, members, settled)))
    }
}

/// Turns the error of a handler into a [`StoreError`]. If the database refused a statement of the handler in favour of
/// another transaction, the error is [`Trouble::Again`], so that the transaction is run again.
fn handler_failed(e: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    let lost = e.downcast_ref::<sqlx::Error>().is_some_and(lanes::lost_against_another);
    StoreError::new(if lost { Trouble::Again } else { Trouble::Refused }, message(&e))
}

/// Runs a transaction again while the database refuses it in favour of another one, at most [`RUNS`] times in all.
/// Returns the result of the last run.
async fn run_again<T, F: Future<Output = Result<T>>>(transaction: impl Fn() -> F) -> Result<T> {
    let mut run = 1;
    loop {
        match transaction().await {
            Err(e) if e.trouble() == Trouble::Again && run < RUNS => {
                tokio::time::sleep(pause(run)).await;
                run += 1;
            }
            ended => return ended,
        }
    }
}
