//! Records an action, or finds the one that is recorded under its key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seawall_policy::Misuse;

use crate::action::{Action, NewAction};
use crate::clock::DbClock;
use crate::error::{Error, Refusal, StoreError, Trouble};
use crate::failpoint::point;
use crate::inner::{Inner, LOOKS};
use crate::machine::{self, AttemptRow, Birth, Naming, Rules, Stamp, State, used_anew};
use crate::operation::Operation;
use crate::prints::Prints;
use crate::store::{Change, Changed, Insert, Recorded, Store};

/// How long to wait before a key is recorded again, if another transaction was just recording the same key.
const BETWEEN: Duration = Duration::from_millis(20);

impl<S: Store> Inner<S> {
    pub(crate) fn checked(&self, new: &NewAction) -> Result<&Arc<Operation<S>>, Misuse> {
        self.sizes.check(new)?;
        self.operations.get(&new.dependency, &new.operation)
    }

    /// Records an action. If the key is already recorded with this request, the existing action is returned. There is
    /// one exception: if the existing action has failed and provably no request of it was ever sent, the action begins
    /// again under the same key.
    pub(crate) async fn begin(
        &self,
        mut place: Place<'_, S::Connection>,
        new: &NewAction,
        birth: Birth,
    ) -> Result<Entry<S>, NotBegun<S>> {
        let operation = self.checked(new)?.clone();
        let rules = &operation.rules;
        let prints = self.prints(new).await?;
        let mut salt = 0;
        for _ in 0..LOOKS {
            let clock = self.time().await?;
            let now = clock.now();
            let (state, attempt) = born(rules, birth, now);
            let action = Action {
                naming: Naming::Salted(salt),
                mapped_key: rules.keys.sent(&new.dependency, &new.key, salt),
                prints,
                ..Action::of(new, state, now)
            };
            point("before-record").await;
            let insert = || Insert { action: action.clone(), attempt: attempt.clone() };
            let recorded = match &mut place {
                Place::Own => match self.record_patiently(insert).await {
                    Ok(recorded) => recorded,
                    Err(e) => return Err(NotBegun::lost(e, action, attempt, operation, clock)),
                },
                Place::In(conn) => {
                    let insert = insert();
                    Box::pin(self.store.record_in(conn, &insert)).await?
                }
            };
            point("after-record").await;
            let found = match recorded {
                Recorded::New => return Ok(Entry { action, attempt, operation, clock, began: true }),
                Recorded::Clash => {
                    salt += 1;
                    continue;
                }
                Recorded::Existing(found) if found.is_of(new, prints.as_ref()) => *found,
                Recorded::Existing(_) => return Err(Refusal::KeyConflict.into()),
            };
            // An action that plain SQL recorded has no key for the provider yet. That key must be chosen before the
            // first attempt is recorded. So the action begins again without an attempt, and the key is chosen
            // afterwards.
            let birth = match birth {
                Birth::Sent(owner) if found.naming == Naming::Open => Birth::Reserved(owner),
                birth => birth,
            };
            let Some(write) = used_anew(&found.state, rules, birth, now) else {
                return Ok(Entry { action: found, attempt: None, operation, clock, began: false });
            };
            self.may_change(&found)?;
            let attempt = write.attempt().cloned();
            let action = found.in_state(write.to().clone());
            let taken = match &mut place {
                Place::Own => {
                    let change = Change { action: action.clone(), write, mark: None, follow: None };
                    match Box::pin(self.store.change(Arc::new(change))).await {
                        Ok(changed) => matches!(changed, Changed::Taken),
                        Err(e) => return Err(NotBegun::lost(e, action, attempt, operation, clock)),
                    }
                }
                Place::In(conn) => Box::pin(self.store.change_in(conn, found.id, &write, None)).await?,
            };
            if taken {
                self.changes.written(action.id);
                return Ok(Entry { action, attempt, operation, clock, began: true });
            }
        }
        Err(Refusal::InProgress.into())
    }

    /// Records an action. If another process is about to record the same key and its commit is slow, this waits for
    /// that commit, for at most half of the time that the database has for an answer.
    async fn record_patiently(&self, insert: impl Fn() -> Insert) -> Result<Recorded, StoreError> {
        let until = Instant::now() + self.store.answers_within() / 2;
        loop {
            match self.store.record(insert()).await {
                Err(e) if e.trouble() == Trouble::Busy && Instant::now() < until => {
                    tokio::time::sleep(BETWEEN).await;
                }
                ended => return ended,
            }
        }
    }

    /// Returns the action that is recorded under the key of `new` with the same request. Returns `None` in two cases:
    /// there is no such action, or it failed before anything was sent. In both cases `new` can be recorded; in the
    /// second, the action begins again.
    pub(crate) async fn already_recorded(&self, new: &NewAction) -> Result<Option<Action>, Error> {
        let rules = &self.checked(new)?.clone().rules;
        let prints = self.prints(new).await?;
        let Some(found) = self.store.find(&new.dependency, &new.key).await? else { return Ok(None) };
        if found.key != new.key {
            // `find` compares with mapped keys, too. The caller of this action gave it another key, and only its mapped
            // key is the key of `new`. So no action is recorded under the key of `new`.
            return Ok(None);
        }
        if !found.is_of(new, prints.as_ref()) {
            return Err(Refusal::KeyConflict.into());
        }
        let now = self.time().await?.now();
        let is_free = used_anew(&found.state, rules, Birth::Recorded, now).is_some();
        Ok((!is_free).then_some(found))
    }

    /// Returns the fingerprints of a request; `None` if requests are compared byte by byte. The secret key of the
    /// fingerprints is read from the database once.
    async fn prints(&self, new: &NewAction) -> Result<Option<Prints>, StoreError> {
        let Some(same) = &new.same else { return Ok(None) };
        let key = match self.print_key.get() {
            Some(key) => key,
            None => {
                let read = Box::pin(self.store.print_key()).await?;
                self.print_key.get_or_init(|| read)
            }
        };
        Ok(Some(Prints::of(key, &same.head, new.body())))
    }
}

/// The transaction in which an action is recorded.
pub(crate) enum Place<'c, C> {
    /// A transaction of the ledger's own.
    Own,
    /// The caller's transaction, on this connection.
    In(&'c mut C),
}

/// An action that was recorded, or that exists already.
pub(crate) struct Entry<S: Store> {
    pub(crate) action: Action,
    /// The first attempt, which is to be sent; `None` if no attempt was recorded.
    pub(crate) attempt: Option<AttemptRow>,
    pub(crate) operation: Arc<Operation<S>>,
    /// What the database answered when it was asked for its time. The times of the action were computed from this
    /// answer.
    pub(crate) clock: DbClock,
    /// Whether this call began the action. If not, the action existed already.
    pub(crate) began: bool,
}

/// Why no action began.
pub(crate) struct NotBegun<S: Store> {
    pub(crate) error: Error,
    /// The action, if the database did not answer the write that records it. Then it is not known whether the action is
    /// recorded. Nothing of its first attempt was sent. `None` if certainly nothing was recorded, or if no attempt was
    /// to be recorded with the action.
    pub(crate) lost: Option<Box<Entry<S>>>,
}

impl<S: Store> NotBegun<S> {
    /// Makes the error of a write that failed. If the action was to be recorded with an attempt and the database could
    /// not be reached, the action goes into the field `lost`.
    fn lost(
        e: StoreError,
        action: Action,
        attempt: Option<AttemptRow>,
        operation: Arc<Operation<S>>,
        clock: DbClock,
    ) -> NotBegun<S> {
        let perhaps = attempt.is_some() && e.trouble() == Trouble::Away;
        let entry = || Box::new(Entry { action, attempt, operation, clock, began: true });
        NotBegun { lost: perhaps.then(entry), error: e.into() }
    }
}

macro_rules! from {
    ($($error:ty),*) => {$(
        impl<S: Store> From<$error> for NotBegun<S> {
            fn from(e: $error) -> NotBegun<S> {
                NotBegun { error: e.into(), lost: None }
            }
        }
    )*};
}

from!(Misuse, Refusal, StoreError);

impl<S: Store> From<NotBegun<S>> for Error {
    fn from(not: NotBegun<S>) -> Error {
        not.error
    }
}

/// Returns the first state of an action, and its first attempt if one is recorded together with it.
fn born(rules: &Rules, birth: Birth, now: Stamp) -> (State, Option<AttemptRow>) {
    match birth {
        Birth::Recorded => (machine::recorded(rules, now), None),
        Birth::Reserved(owner) => (machine::reserved(rules, owner, now), None),
        Birth::Sent(owner) => match machine::sent(rules, owner, now) {
            Some((state, attempt)) => (state, Some(attempt)),
            None => (machine::reserved(rules, owner, now), None),
        },
    }
}
