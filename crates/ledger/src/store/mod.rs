//! Where actions are kept.
//!
//! A store decides nothing. It takes whole rows that the machine made, each only if the row it was made from still stands
//! ([`Store::change`]), and says so. Correctness rests on that comparison and on unique keys alone: locks, leases and
//! isolation levels only save work. So one contract suite runs on every store (`tests/contract`).
//!
//! Most calls are small and come many at a time, and a commit costs milliseconds whatever is in it. So records and changes
//! are gathered by [`lane`]: what arrives while one commit is under way goes into the next one together.

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

/// What a store's operations give.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A future that a trait object gives.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What an application does in the transaction that settles, or ends, an action. An error rolls the transaction back.
pub type Follow<C> = Arc<
    dyn for<'a> Fn(
            &'a mut C,
            &'a Action,
        ) -> Boxed<'a, std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Sync,
>;

/// A row to insert, with its first attempt where it is sent at once.
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
    /// The key was there: this is its row. Whether it is the same action, the caller compares.
    Existing(Box<Action>),
}

/// A change of one row: taken if the row still stands as the machine saw it.
pub struct Change<C> {
    /// Which row, as it will be; `action.state` is `write.to`.
    pub action: Action,
    /// What the machine said.
    pub write: Write,
    /// Who did it by hand, and why.
    pub mark: Option<Mark>,
    /// What is done in the same transaction, if the change is taken.
    pub follow: Option<Follow<C>>,
}

/// What became of a change.
#[derive(Clone, Debug)]
pub enum Changed {
    /// It was taken.
    Taken,
    /// The row had moved on: this is how it stands, `None` if it is gone. Ask the machine again.
    Stale(Option<Box<Action>>),
    /// The handler failed: nothing was changed.
    HandlerFailed(String),
}

/// The members of a scope, all settled.
#[derive(Clone, Debug)]
pub struct ScopeSettled {
    /// In the order of recording.
    pub members: Vec<Action>,
}

/// Which actions to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// Of this dependency only.
    pub dependency: Option<String>,
    /// In this state only.
    pub standing: Option<Standing>,
    /// After this one, in the order of recording.
    pub after: Option<ActionId>,
    /// The most that are given; never more than 1000.
    pub most: u32,
}

impl Filter {
    /// The first actions of all, at most this many. Those after a certain one have its id in `after`.
    #[must_use]
    pub fn first(most: u32) -> Filter {
        Filter { most, ..Filter::default() }
    }

    /// Of this dependency only.
    #[must_use]
    pub fn of(self, dependency: impl Into<String>) -> Filter {
        Filter { dependency: Some(dependency.into()), ..self }
    }

    /// In this state only.
    #[must_use]
    pub fn standing(self, standing: Standing) -> Filter {
        Filter { standing: Some(standing), ..self }
    }
}

/// How an action stands, in the words of lists and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Not at its end.
    Open,
    /// Not at its end, and nobody knows whether it took effect.
    Unknown,
    /// A person must look.
    Stuck,
    /// Applied and settled.
    Done,
    /// Not applied.
    Failed,
    /// Undone, or never done.
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

    /// How a row stands.
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

/// How many actions of a dependency stand how. Counted up to a bound, since counting a backlog costs what the backlog does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not at their end, those of `unknown` among them.
    pub open: u64,
    /// Of those, the ones whose effect is unknown.
    pub unknown: u64,
    /// Of the open ones, those whose outcome is known and whose handler fails: the application does not take it in.
    pub failing: u64,
    /// A person must look.
    pub stuck: u64,
    /// The oldest of those that were counted as open or stuck.
    pub oldest: Option<Stamp>,
    /// There are more than were counted.
    pub more: bool,
}

/// At most so many rows are looked at for [`Counts`].
pub const COUNTED: u32 = 10_000;

/// What a sweep did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Rows deleted.
    pub deleted: u64,
    /// Where to go on; `None` at the end.
    pub after: Option<ActionId>,
}

/// A place that keeps actions.
///
/// What is said of statements, locks and time is in the module's documentation. Methods named `…_in` work on a connection
/// of the caller, inside the caller's transaction; after an error of theirs the transaction is to be rolled back.
pub trait Store: Clone + Send + Sync + 'static {
    /// The caller's connection.
    type Connection: Send + 'static;

    /// Makes or updates the tables. Any number of processes may call it at once.
    fn migrate(&self) -> impl Future<Output = Result<()>> + Send;

    /// The last answer that carried the database's time.
    fn clock(&self) -> DbClock;

    /// Asks the database for its time.
    fn ask_time(&self) -> impl Future<Output = Result<DbClock>> + Send;

    /// Inserts a row, in a transaction with others.
    fn record(&self, insert: Insert) -> impl Future<Output = Result<Recorded>> + Send;

    /// Changes a row, in a transaction with others.
    fn change(&self, change: Arc<Change<Self::Connection>>) -> impl Future<Output = Result<Changed>> + Send;

    /// Settles all members of a scope, or none and the reason why.
    fn settle_scope(
        &self,
        scope: Scope,
        follow: Option<Follow<Self::Connection>>,
    ) -> impl Future<Output = Result<std::result::Result<ScopeSettled, NotSettled>>> + Send;

    /// Stores how an attempt ended without a word on its action.
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

    /// Deletes, of the next `most` rows after `after`, those that ended before `before` and have nothing to come.
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

    /// Changes a row: was it taken?
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
