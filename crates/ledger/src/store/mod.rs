//! Where actions are kept.
//!
//! A store decides nothing. The machine makes whole rows. The store takes a row only if the row that it was made from
//! has not changed ([`Store::change`]), and says whether it did. Correctness depends on that comparison and on unique
//! keys alone; locks, leases and isolation levels only save work. So one contract suite runs on every store
//! (`tests/contract`).
//!
//! Most calls are small and many come at the same time, but each commit takes milliseconds, whether it carries one row
//! or a hundred. So records and changes are gathered by [`lane`]: what arrives during one commit is committed together
//! by the next one.

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

/// A boxed future, as the methods of a trait object return it.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What an application does in the transaction that settles or ends an action. If it returns an error, the transaction
/// is rolled back.
pub type Follow<C> = Arc<
    dyn for<'a> Fn(
            &'a mut C,
            &'a Action,
        ) -> Boxed<'a, std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Sync,
>;

/// A row to insert. If its first attempt is sent directly afterwards, the attempt is inserted with it.
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
    /// The key was recorded before, and this is the existing row. The caller checks whether it is the same action.
    Existing(Box<Action>),
}

/// A change of one row. It is taken if the row has not changed since the machine saw it.
pub struct Change<C> {
    /// The action as it will be; `action.state` is `write.to`.
    pub action: Action,
    /// What the machine decided.
    pub write: Write,
    /// The entry for the audit trail, if a person makes the change by hand.
    pub mark: Option<Mark>,
    /// What the application does in the same transaction, if the change is taken.
    pub follow: Option<Follow<C>>,
}

/// What became of a change.
#[derive(Clone, Debug)]
pub enum Changed {
    /// It was taken.
    Taken,
    /// The row had changed before. This is the row as it is now; `None` if it is gone. Ask the machine again.
    Stale(Option<Box<Action>>),
    /// The handler failed, for this reason. Nothing was changed.
    HandlerFailed(String),
}

/// The members of a scope after all of them were settled.
#[derive(Clone, Debug)]
pub struct ScopeSettled {
    /// The members, in the order of recording.
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
    /// It has not ended.
    Open,
    /// It has not ended, and it is not known whether it took effect.
    Unknown,
    /// No rule says how to go on, so a person must look at it.
    Stuck,
    /// It is applied, and our side has taken that in.
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

    /// The word for this standing.
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

/// The number of actions of a dependency in each standing. At most [`COUNTED`] rows are counted, since counting a long
/// backlog costs much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Actions that have not ended, including those of `unknown`.
    pub open: u64,
    /// Open actions whose effect is unknown.
    pub unknown: u64,
    /// Open actions whose outcome is known, but whose handler in the application fails.
    pub failing: u64,
    /// Actions that a person must look at.
    pub stuck: u64,
    /// When the oldest of the counted open or stuck actions was recorded.
    pub oldest: Option<Stamp>,
    /// Whether there are more actions than were counted.
    pub more: bool,
}

/// The most rows that are counted for [`Counts`].
pub const COUNTED: u32 = 10_000;

/// What one step of the clean-up did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// The number of deleted rows.
    pub deleted: u64,
    /// The last row that was looked at. The next step begins after it; `None` if this step reached the end of the
    /// table.
    pub after: Option<ActionId>,
}

/// A database that keeps actions.
///
/// The module's documentation says what holds for statements, locks and time. Methods named `…_in` work on a connection
/// of the caller, inside the caller's transaction. If one of them returns an error, that transaction has to roll back.
pub trait Store: Clone + Send + Sync + 'static {
    /// The connection that a caller passes to the methods named `…_in`.
    type Connection: Send + 'static;

    /// Makes the tables, or updates them. Any number of processes may call it at the same time.
    fn migrate(&self) -> impl Future<Output = Result<()>> + Send;

    /// The database's time, without asking the database: it is carried forward from the last answer that held it.
    fn clock(&self) -> DbClock;

    /// Asks the database for its time.
    fn ask_time(&self) -> impl Future<Output = Result<DbClock>> + Send;

    /// Inserts a row. The store may commit it together with other rows.
    fn record(&self, insert: Insert) -> impl Future<Output = Result<Recorded>> + Send;

    /// Changes a row. The store may commit it together with other rows.
    fn change(&self, change: Arc<Change<Self::Connection>>) -> impl Future<Output = Result<Changed>> + Send;

    /// Settles all members of a scope, or returns why none was settled.
    fn settle_scope(
        &self,
        scope: Scope,
        follow: Option<Follow<Self::Connection>>,
    ) -> impl Future<Output = Result<std::result::Result<ScopeSettled, NotSettled>>> + Send;

    /// Stores how an attempt ended, without changing its action.
    fn evidence(&self, id: ActionId, attempt: AttemptRow) -> impl Future<Output = Result<()>> + Send;

    /// Claims up to `most` due rows of a dependency for `owner`, for the time of a lease.
    fn claim(
        &self,
        dependency: &str,
        owner: Owner,
        most: u32,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<Action>>> + Send;

    /// Claims this row, if it is due; `None` otherwise.
    fn claim_one(
        &self,
        id: ActionId,
        owner: Owner,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<Action>>> + Send;

    /// When the next row of a dependency is due.
    fn next_due(&self, dependency: &str) -> impl Future<Output = Result<Option<Stamp>>> + Send;

    /// The row with this id.
    fn load(&self, id: ActionId) -> impl Future<Output = Result<Option<Action>>> + Send;

    /// The row of this dependency with this key.
    fn find(&self, dependency: &str, key: &str) -> impl Future<Output = Result<Option<Action>>> + Send;

    /// The members of a scope, in the order of recording.
    fn members(&self, scope: &str) -> impl Future<Output = Result<Vec<Action>>> + Send;

    /// One row with its attempts and marks.
    fn story(&self, id: ActionId) -> impl Future<Output = Result<Option<Story>>> + Send;

    /// Rows in the order of their recording, one page at a time.
    fn list(&self, filter: &Filter) -> impl Future<Output = Result<Vec<Action>>> + Send;

    /// The number of actions of a dependency in each standing.
    fn counts(&self, dependency: &str) -> impl Future<Output = Result<Counts>> + Send;

    /// Looks at the next `most` rows after `after`. Deletes those that ended before `before` and about which the
    /// provider is not to be asked again.
    fn sweep(
        &self,
        before: Stamp,
        after: Option<ActionId>,
        most: u32,
    ) -> impl Future<Output = Result<Swept>> + Send;

    /// Inserts a row, in the caller's transaction.
    fn record_in(
        &self,
        conn: &mut Self::Connection,
        insert: &Insert,
    ) -> impl Future<Output = Result<Recorded>> + Send;

    /// The row with this id, and the database's time, in the caller's transaction.
    fn load_in(
        &self,
        conn: &mut Self::Connection,
        id: ActionId,
    ) -> impl Future<Output = Result<Option<(Action, Stamp)>>> + Send;

    /// Changes a row in the caller's transaction. Returns whether the change was taken.
    fn change_in(
        &self,
        conn: &mut Self::Connection,
        id: ActionId,
        write: &Write,
        mark: Option<&Mark>,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// The members of a scope, in the caller's transaction.
    fn members_in(
        &self,
        conn: &mut Self::Connection,
        scope: &str,
    ) -> impl Future<Output = Result<Vec<Action>>> + Send;
}
