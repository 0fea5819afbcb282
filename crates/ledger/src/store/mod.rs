//! Where actions are kept.
//!
//! A store decides nothing. The machine makes whole rows. The store takes each of them only if the row that it was made
//! from still stands ([`Store::change`]), and says whether it did. Correctness rests on that comparison and on unique
//! keys alone; locks, leases and isolation levels only save work. So one contract suite runs on every store
//! (`tests/contract`).
//!
//! Most calls are small and many come at the same time, and a commit costs milliseconds whatever is in it. So records
//! and changes are gathered by [`lane`]: what arrives while one commit is under way is committed together by the next
//! one.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod columns;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod lane;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod words;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::action::{Action, ActionId, Mark, Story};
use crate::clock::DbClock;
use crate::error::StoreError;
use crate::machine::{AttemptRow, Known, NotSettled, Owner, Scope, Stamp, State, Write};

/// The result of a store's operations.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A future as a trait object returns it.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What an application does in the transaction that settles or ends an action. An error rolls the transaction back.
pub type Follow<C> = Arc<
    dyn for<'a> Fn(
            &'a mut C,
            &'a Action,
        ) -> Boxed<'a, std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Sync,
>;

/// A row to insert, with its first attempt if that is sent directly afterwards.
#[derive(Clone, Debug)]
pub struct Insert {
    /// The row.
    pub action: Action,
    /// The attempt that is recorded with it.
    pub attempt: Option<AttemptRow>,
}

/// What became of an insert.
#[derive(Clone, Debug)]
pub enum Recorded {
    /// It was inserted.
    New,
    /// The key was recorded before, and this is its row. The caller compares whether it is the same action.
    Existing(Box<Action>),
}

/// A change of one row. It is taken if the row still stands as the machine saw it.
pub struct Change<C> {
    /// The action as it will be; `action.state` is `write.to`.
    pub action: Action,
    /// What the machine decided.
    pub write: Write,
    /// The person who did it by hand, and the reason.
    pub mark: Option<Mark>,
    /// What is done in the same transaction if the change is taken.
    pub follow: Option<Follow<C>>,
}

/// What became of a change.
#[derive(Clone, Debug)]
pub enum Changed {
    /// It was taken.
    Taken,
    /// The row had moved on. This is how it stands; `None` if it is gone. Ask the machine again.
    Stale(Option<Box<Action>>),
    /// The handler failed: nothing was changed.
    HandlerFailed(String),
}

/// The members of a scope, all settled.
#[derive(Clone, Debug)]
pub struct ScopeSettled {
    /// They are in the order of recording.
    pub members: Vec<Action>,
}

/// Which actions to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// Only actions of this dependency.
    pub dependency: Option<String>,
    /// Only actions with this standing.
    pub standing: Option<Standing>,
    /// Only actions after this one, in the order of recording.
    pub after: Option<ActionId>,
    /// The most actions that are returned, up to 1000.
    pub most: u32,
}

impl Filter {
    /// The first actions, at most this many. To go on after a page, set `after` to the id of its last action.
    #[must_use]
    pub fn first(most: u32) -> Filter {
        Filter { most, ..Filter::default() }
    }

    /// Only actions of this dependency.
    #[must_use]
    pub fn of(self, dependency: impl Into<String>) -> Filter {
        Filter { dependency: Some(dependency.into()), ..self }
    }

    /// Only actions with this standing.
    #[must_use]
    pub fn standing(self, standing: Standing) -> Filter {
        Filter { standing: Some(standing), ..self }
    }
}

/// How an action stands, in the words that lists and counts use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It is not at its end.
    Open,
    /// It is not at its end, and it is not known whether it took effect.
    Unknown,
    /// A person must look at it.
    Stuck,
    /// It is applied and settled.
    Done,
    /// It is not applied.
    Failed,
    /// It was undone, or never done.
    Cancelled,
}

impl Standing {
    /// All of them.
    pub const ALL: [Standing; 6] = [
        Standing::Open,
        Standing::Unknown,
        Standing::Stuck,
        Standing::Done,
        Standing::Failed,
        Standing::Cancelled,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::Open => "open",
            Standing::Unknown => "unknown",
            Standing::Stuck => "stuck",
            Standing::Done => "done",
            Standing::Failed => "failed",
            Standing::Cancelled => "cancelled",
        }
    }

    /// The standing of a row.
    #[must_use]
    pub fn of(state: &State) -> Standing {
        use crate::machine::End;
        match state.end {
            None if state.known == Known::Unknown => Standing::Unknown,
            None => Standing::Open,
            Some(End::Stuck) => Standing::Stuck,
            Some(End::Done) => Standing::Done,
            Some(End::Failed) => Standing::Failed,
            Some(End::Cancelled) => Standing::Cancelled,
        }
    }
}

/// The number of actions of a dependency in each standing. Counting stops at a bound, since it costs more the longer
/// the backlog is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Actions that are not at their end, those of `unknown` among them.
    pub open: u64,
    /// Of those, the ones whose effect is unknown.
    pub unknown: u64,
    /// Of the open ones, those whose outcome is known and whose handler fails, so that the application does not take it
    /// in.
    pub failing: u64,
    /// Actions that a person must look at.
    pub stuck: u64,
    /// When the oldest of the counted open or stuck actions was recorded.
    pub oldest: Option<Stamp>,
    /// Whether there are more than were counted.
    pub more: bool,
}

/// The most rows that are looked at for [`Counts`].
pub const COUNTED: u32 = 10_000;

/// What one step of the clean-up did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// The number of deleted rows.
    pub deleted: u64,
    /// Where the next step goes on; `None` at the end.
    pub after: Option<ActionId>,
}

/// A place that keeps actions.
///
/// The module's documentation says what holds for statements, locks and time. Methods named `…_in` work on a connection
/// of the caller, inside the caller's transaction. After an error of theirs that transaction has to roll back.
pub trait Store: Clone + Send + Sync + 'static {
    /// The caller's connection.
    type Connection: Send + 'static;

    /// Makes or updates the tables. Any number of processes may call it at the same time.
    fn migrate(&self) -> impl Future<Output = Result<()>> + Send;

    /// The last answer that carried the database's time.
    fn clock(&self) -> DbClock;

    /// Asks the database for its time.
    fn ask_time(&self) -> impl Future<Output = Result<DbClock>> + Send;

    /// Inserts a row, in one transaction with others.
    fn record(&self, insert: Insert) -> impl Future<Output = Result<Recorded>> + Send;

    /// Changes a row, in one transaction with others.
    fn change(&self, change: Arc<Change<Self::Connection>>) -> impl Future<Output = Result<Changed>> + Send;

    /// Settles all members of a scope, or none, and then says why not.
    fn settle_scope(
        &self,
        scope: Scope,
        follow: Option<Follow<Self::Connection>>,
    ) -> impl Future<Output = Result<std::result::Result<ScopeSettled, NotSettled>>> + Send;

    /// Stores how an attempt ended, without changing its action.
    fn evidence(&self, id: ActionId, attempt: AttemptRow) -> impl Future<Output = Result<()>> + Send;

    /// Takes up to `most` due rows of a dependency for `owner`, for the time of a lease.
    fn claim(
        &self,
        dependency: &str,
        owner: Owner,
        most: u32,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<Action>>> + Send;

    /// Takes this row, if it is due.
    fn claim_one(
        &self,
        id: ActionId,
        owner: Owner,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<Action>>> + Send;

    /// When the next row of a dependency is due.
    fn next_due(&self, dependency: &str) -> impl Future<Output = Result<Option<Stamp>>> + Send;

    /// One row.
    fn load(&self, id: ActionId) -> impl Future<Output = Result<Option<Action>>> + Send;

    /// The row with this key.
    fn find(&self, dependency: &str, key: &str) -> impl Future<Output = Result<Option<Action>>> + Send;

    /// The members of a scope, in the order of recording.
    fn members(&self, scope: &str) -> impl Future<Output = Result<Vec<Action>>> + Send;

    /// One row with its attempts and marks.
    fn story(&self, id: ActionId) -> impl Future<Output = Result<Option<Story>>> + Send;

    /// Rows in the order of their recording, a page at a time.
    fn list(&self, filter: &Filter) -> impl Future<Output = Result<Vec<Action>>> + Send;

    /// How many stand how.
    fn counts(&self, dependency: &str) -> impl Future<Output = Result<Counts>> + Send;

    /// Looks at the next `most` rows after `after`. Deletes those that ended before `before` and have nothing more to
    /// do.
    fn sweep(
        &self,
        before: Stamp,
        after: Option<ActionId>,
        most: u32,
    ) -> impl Future<Output = Result<Swept>> + Send;

    /// Inserts a row.
    fn record_in(
        &self,
        conn: &mut Self::Connection,
        insert: &Insert,
    ) -> impl Future<Output = Result<Recorded>> + Send;

    /// One row, with the database's time.
    fn load_in(
        &self,
        conn: &mut Self::Connection,
        id: ActionId,
    ) -> impl Future<Output = Result<Option<(Action, Stamp)>>> + Send;

    /// Changes a row, and says whether the change was taken.
    fn change_in(
        &self,
        conn: &mut Self::Connection,
        id: ActionId,
        write: &Write,
        mark: Option<&Mark>,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// The members of a scope.
    fn members_in(
        &self,
        conn: &mut Self::Connection,
        scope: &str,
    ) -> impl Future<Output = Result<Vec<Action>>> + Send;
}
