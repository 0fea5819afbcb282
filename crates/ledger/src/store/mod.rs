//! The stores: the databases in which actions are kept.
//!
//! A store decides nothing. The machine computes the whole new row. The store writes this row only if the stored row
//! has not changed since the machine read it ([`Store::change`]), and returns whether the row was written. Correctness
//! depends only on that comparison and on unique keys; locks, leases and isolation levels only save work. So the same
//! tests (`tests/contract`) check every store, although the databases differ in their locks.
//!
//! Records and changes are gathered by [`lane`]: the writes that arrive during one commit are committed together by the
//! next commit. Otherwise each of many small writes would need a commit of its own, and a commit takes milliseconds,
//! whether it carries one row or a hundred.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod columns;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod declared;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod dialect;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod kept;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod lane;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod polled;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod select;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod stuck;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod telling;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod version;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod which;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod words;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::action::{Action, ActionId, Mark, Story};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crate::caught::caught;
use crate::clock::{DbClock, SharedClock};
use crate::error::StoreError;
use crate::machine::{AttemptRow, Back, Evidence, NotSettled, Owner, Scope, Stamp, Write};
use crate::pace::Class;
pub use crate::standing::Standing;
use crate::terms::Declaration;
pub use stuck::OperationCount;
use stuck::StuckStore;

/// The result of a store's methods.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A boxed future, as the methods of a trait object return it.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The result of a handler of the application.
type Followed = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A handler of the application. It runs in the transaction that settles or ends an action. If it returns an error or
/// panics, that transaction is rolled back.
pub type Follow<C> = Arc<dyn for<'a> Fn(&'a mut C, &'a Action) -> Boxed<'a, Followed> + Send + Sync>;

/// Runs a handler, and returns its result. If the handler panics, the result is an error with the panic's message.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) async fn followed<C>(follow: &Follow<C>, conn: &mut C, action: &Action) -> Followed {
    caught(|| follow(conn, action)).await.unwrap_or_else(|panic| Err(panic.into()))
}

/// A row to insert.
#[derive(Clone, Debug)]
pub struct Insert {
    /// The row of the action.
    pub action: Action,
    /// The first attempt, which is inserted with the row and sent directly afterwards; `None` if the row is inserted
    /// without an attempt.
    pub attempt: Option<AttemptRow>,
}

/// The result of an insert.
#[derive(Clone, Debug)]
pub enum Recorded {
    /// The row was inserted.
    New,
    /// The key is already recorded. The value is the existing row. The caller checks whether that row describes its
    /// action.
    Existing(Box<Action>),
    /// Another action of the dependency is sent under the same key, although the callers' keys differ. Choose the next
    /// salt, which gives another key, and insert again.
    Clash,
}

/// A change of one row. The store writes the change only if the row has not changed since the machine read it.
pub struct Change<C> {
    /// The action after the change; `action.state` is `write.to`.
    pub action: Action,
    /// What the machine decided.
    pub write: Write,
    /// The entry for the audit trail; `None` if the change is not made by hand.
    pub mark: Option<Mark>,
    /// The handler of the application, which runs in the transaction of the change; `None` if no handler is to run.
    pub follow: Option<Follow<C>>,
}

/// The result of a change.
#[derive(Clone, Debug)]
pub enum Changed {
    /// The change was written.
    Taken,
    /// The row had changed before, so nothing was written. The value is the row as it is now; `None` if it is gone.
    /// Call the machine again for this row.
    Stale(Option<Box<Action>>),
    /// The handler failed or panicked with this error, so nothing was written.
    HandlerFailed(String),
    /// Nothing was written, since another action of the dependency is sent under the key that the change chose. Choose
    /// the next salt, which gives another key.
    Clash,
}

/// The members of a scope after all of them were settled.
#[derive(Clone, Debug)]
pub struct ScopeSettled {
    /// The members, in the order of recording.
    pub members: Vec<Action>,
}

/// Returns the changes that settle all members of a scope, which is a group of actions that settle together. `knows` is
/// the level of this program: it may change a row only if the level that the row needs is not above that level.
///
/// # Errors
///
/// If a member cannot be settled, or if only a newer program may change it.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn settle_members(
    members: &[Action],
    size: u32,
    knows: u32,
    now: Stamp,
) -> std::result::Result<Vec<Write>, NotSettled> {
    if members.iter().any(|member| member.state.needs() > knows) {
        return Err(NotSettled::NeedsNewer);
    }
    let states: Vec<crate::machine::State> = members.iter().map(|member| member.state.clone()).collect();
    crate::machine::settle_scope(&states, size, now)
}

/// A filter for a list of actions. The default filter selects the actions of all dependencies, with any standing, from
/// the first action on. But its `most` is 0, so set that field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// Only actions of this dependency are returned; actions of all dependencies if `None`.
    pub dependency: Option<String>,
    /// Only actions with this standing are returned; actions with any standing if `None`.
    pub standing: Option<Standing>,
    /// Only actions that were recorded after this action are returned; the list begins with the first action if `None`.
    pub after: Option<ActionId>,
    /// The maximum number of actions that are returned. A value above 1000 means 1000; the default 0 returns none.
    pub most: u32,
}

impl Filter {
    /// Selects the first `most` actions. To go on after a page, set `after` to the id of the last action of the page.
    #[must_use]
    pub fn first(most: u32) -> Filter {
        Filter { most, ..Filter::default() }
    }

    /// Restricts the list to actions of this dependency.
    #[must_use]
    pub fn of(self, dependency: impl Into<String>) -> Filter {
        Filter { dependency: Some(dependency.into()), ..self }
    }

    /// Restricts the list to actions with this standing.
    #[must_use]
    pub fn standing(self, standing: Standing) -> Filter {
        Filter { standing: Some(standing), ..self }
    }
}

/// Which of the due rows a claim takes while the pace holds some classes back ([`crate::pace`]).
#[derive(Clone, Debug)]
pub enum Which {
    /// All rows, except the rows of the classes `held` whose last request failed. Two kinds of such rows are taken
    /// nevertheless, since nothing may be sent for them: rows whose deadline to settle has passed, and rows that were
    /// recorded longer than `give_up` ago and never sent.
    AllBut {
        /// The classes that the pace holds back.
        held: Vec<Class>,
        /// The longest [`Rules::give_up`](crate::machine::Rules::give_up) of the dependency's operations.
        give_up: Duration,
        /// Only rows that are due at this time or later are taken. Earlier claims have looked at the rows before it. So
        /// the rows that are held back are not read again by each claim.
        from: Stamp,
    },
    /// Only the rows of this class whose last request failed.
    Failing(Class),
}

/// The operations of one dependency that a process declares. The process claims only rows of these operations, since
/// it has no rules for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The name of the dependency.
    pub dependency: String,
    /// The names of the operations.
    pub operations: Vec<String>,
}

impl Declared {
    /// Makes the value from the names of a dependency and of its operations.
    #[must_use]
    pub fn new(dependency: &str, operations: &[&str]) -> Declared {
        let operations = operations.iter().map(|&name| name.to_owned()).collect();
        Declared { dependency: dependency.to_owned(), operations }
    }
}

/// Whether rows of the declared operations of one dependency are due now, and when the next row will be due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Whether a row is due.
    pub now: bool,
    /// The earliest due time that is still to come; `None` if there is none. Rows that are due already do not count
    /// here.
    pub next: Option<Stamp>,
}

/// How long the declarations of a process count after it last renewed them. After that, its operations count as
/// declared by no process, unless another process declares them.
pub const DECLARED_FOR: Duration = Duration::from_secs(600);

/// How long an operation is known to the SQL functions after a process last renewed its declaration. So applications
/// can record with plain SQL while all processes of the ledger are down. The text of the SQL functions contains the
/// same number.
pub const DECLARED_TO_SQL_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// The numbers of a dependency's open and stuck actions. At most [`COUNTED`] open and [`COUNTED`] stuck actions are
/// counted, since counting a long backlog costs much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The number of actions that have not ended. Those that `unknown` and `failing` count are included.
    pub open: u64,
    /// The number of open actions whose effect is unknown.
    pub unknown: u64,
    /// The number of open actions whose outcome is known, but whose handler in the application fails.
    pub failing: u64,
    /// The number of actions that a person must look at.
    pub stuck: u64,
    /// The number of actions that are due, but whose operation no process declares: neither this one, nor a worker of
    /// another process within the last ten minutes. No worker claims them. For each such operation, at most [`COUNTED`]
    /// actions are counted.
    pub undeclared: u64,
    /// When the oldest of the counted open or stuck actions was recorded; `None` if there is none.
    pub oldest: Option<Stamp>,
    /// Whether there may be more actions than were counted, because the limit was reached.
    pub more: bool,
}

/// The maximum number of open actions, and of stuck actions, that are counted for [`Counts`].
pub const COUNTED: u32 = 10_000;

/// The result of one step of the clean-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// The number of deleted rows.
    pub deleted: u64,
    /// The last row that this step of the clean-up looked at. The next step begins after this row. `None` if the step
    /// reached the end of the table.
    pub after: Option<ActionId>,
}

/// The time of a second clock, which is not the database's clock. A process that starts compares the two clocks. If
/// the difference between them has changed too much since an earlier process compared them, the database's clock has
/// jumped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnTime {
    /// The time that the clock shows, in microseconds. Each kind of clock counts from a moment of its own.
    pub micros: i64,
    /// Some clocks begin again at 0 when the computer is started. For such a clock, this text identifies the time since
    /// the last start. `None` for a clock that does not begin again.
    pub boot: Option<String>,
}

/// A pair of times of the database's clock and another clock, which a process keeps in the database. With it, a process
/// that starts later notices that the database's clock has jumped meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptClock {
    /// The time that the database's clock showed.
    pub database: Stamp,
    /// The time of the other clock at the same moment; `None` if there was no other clock.
    pub own: Option<OwnTime>,
    /// How far the database's clock had been set back when these two times were read.
    pub back: Back,
}

/// A database that keeps actions.
///
/// Each store's own module documents its statements, locks and time. Methods named `…_in` work on a connection of the
/// caller, inside the caller's transaction. If one of them returns an error, that transaction has to roll back.
pub trait Store: StuckStore + Clone + Send + Sync + 'static {
    /// The connection that a caller passes to the methods named `…_in`.
    type Connection: Send + 'static;

    /// Creates the tables, or updates them to this version of the program. Several processes may call this method at
    /// the same time.
    fn migrate(&self) -> impl Future<Output = Result<()>> + Send;

    /// Returns the level of this program. Each row has the level that a program needs to change it
    /// ([`State::needs`](crate::machine::State::needs)). Rows that need a higher level than this one are left to newer
    /// programs.
    fn knows(&self) -> u32;

    /// Returns the longest time that the database may take to answer. After this time, each method of the store has
    /// returned a result or an error. The write itself may still be tried in the background. Default 5 s.
    fn answers_within(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Returns the database's time without a question to the database. It is computed from the database's last answer
    /// that had the time, and from the time that has passed since then on the monotonic clock.
    fn clock(&self) -> DbClock;

    /// Returns what this process has learned of the database's clock. The store must call [`SharedClock::heard`] or
    /// [`SharedClock::set`] with every answer that carries the database's time.
    fn shared_clock(&self) -> &SharedClock;

    /// Returns the time of a clock that does not jump together with the database's clock; `None` if there is none.
    fn own_time(&self) -> Option<OwnTime>;

    /// Returns the times that a process has last stored with [`Store::keep_clock`]; `None` if none was stored.
    fn kept_clock(&self) -> impl Future<Output = Result<Option<KeptClock>>> + Send;

    /// Stores the times of the database's clock and of another clock, which were read at the same moment. They replace
    /// the stored ones.
    fn keep_clock(&self, kept: KeptClock) -> impl Future<Output = Result<()>> + Send;

    /// Returns the key of the fingerprints ([`Prints`](crate::Prints)). It was drawn when the tables were made, and
    /// never changes.
    fn print_key(&self) -> impl Future<Output = Result<[u8; 32]>> + Send;

    /// Returns a future that is ready when a test has moved the database's time. Otherwise it is never ready. A worker
    /// that sleeps until a row is due waits for this, too. A move after the call of this function is not missed, even
    /// if the future is polled later.
    fn clock_moved(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Asks the database for its time, and returns the answer.
    fn ask_time(&self) -> impl Future<Output = Result<DbClock>> + Send;

    /// Inserts a row, unless its key is already recorded. Returns whether the row was inserted, or else the existing
    /// row. The store may commit the row together with other rows.
    fn record(&self, insert: Insert) -> impl Future<Output = Result<Recorded>> + Send;

    /// Changes a row, unless it has changed since the machine read it. Returns whether the change was written, or else
    /// the row as it is now. The store may commit the change together with other changes.
    fn change(&self, change: Arc<Change<Self::Connection>>) -> impl Future<Output = Result<Changed>> + Send;

    /// Settles all members of a scope (actions that settle together) and returns them, or returns why none was settled.
    /// `dependency` is that of the member for which the scope is settled. The other members may have other
    /// dependencies.
    fn settle_scope(
        &self,
        dependency: &str,
        scope: Scope,
        follow: Option<Follow<Self::Connection>>,
    ) -> impl Future<Output = Result<std::result::Result<ScopeSettled, NotSettled>>> + Send;

    /// Stores in the attempt log how an attempt ended, without changing the row of the action.
    fn evidence(&self, id: ActionId, attempt: Evidence) -> impl Future<Output = Result<()>> + Send;

    /// Claims up to `most` due rows of the declared operations of one dependency for `owner`, for the time `lease`.
    /// Returns the claimed rows.
    fn claim(
        &self,
        declared: &Declared,
        owner: Owner,
        most: u32,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<Action>>> + Send;

    /// Claims up to `most` due rows as [`Store::claim`] does, but only those that `which` names.
    fn claim_which(
        &self,
        declared: &Declared,
        owner: Owner,
        most: u32,
        lease: Duration,
        which: Which,
    ) -> impl Future<Output = Result<Vec<Action>>> + Send;

    /// Claims this row if it is due. Returns `None` if it is not due, if another transaction holds it, or if there is
    /// no such row.
    fn claim_one(
        &self,
        id: ActionId,
        owner: Owner,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<Action>>> + Send;

    /// Returns for each of `declared`, in the same order, whether a row is due, and when the next row will be due. A
    /// row that will be due only after the time `within` does not count. This is one statement in one round trip,
    /// without a transaction; on PostgreSQL a few more statements follow while the index of due rows has many old
    /// entries. The answer also carries the database's time, which [`Store::clock`] returns from then on.
    fn due(&self, declared: &[Declared], within: Duration) -> impl Future<Output = Result<Vec<Due>>> + Send;

    /// Stores which operations the process `owner` declares now, in place of those that it declared before. A
    /// declaration of another process counts for ten minutes after it was last renewed. After the ten minutes it is
    /// deleted when this process declares the same operation, and otherwise after seven days ([`DECLARED_TO_SQL_FOR`]).
    fn declare(&self, owner: Owner, declared: &[Declaration]) -> impl Future<Output = Result<()>> + Send;

    /// Returns the operations that some process has declared within the last ten minutes.
    fn declared(&self) -> impl Future<Output = Result<Vec<Declared>>> + Send;

    /// Returns each operation that has due rows although nobody works on them, with the number of these rows. These are
    /// the operations that are not in `declared` and that no process has declared within the last ten minutes.
    fn undeclared(&self, declared: &[Declared]) -> impl Future<Output = Result<Vec<OperationCount>>> + Send;

    /// Returns the numbers of open rows of all operations that have such rows.
    fn open_counts(&self) -> impl Future<Output = Result<Vec<OperationCount>>> + Send;

    /// Returns the ids of open rows of an operation that have been due since `before` or longer: at most `most`, the
    /// oldest first.
    fn overdue(
        &self,
        dependency: &str,
        operation: &str,
        before: Stamp,
        most: u32,
    ) -> impl Future<Output = Result<Vec<ActionId>>> + Send;

    /// Returns the ids of rows of the declared operations that `owner` has claimed and whose leases end within the time
    /// `within`: at most `most`.
    fn held(
        &self,
        declared: &[Declared],
        owner: Owner,
        within: Duration,
        most: u32,
    ) -> impl Future<Output = Result<Vec<ActionId>>> + Send;

    /// Loads the row with this id; `None` if there is no such row.
    fn load(&self, id: ActionId) -> impl Future<Output = Result<Option<Action>>> + Send;

    /// Finds the row of this dependency with this key; `None` if there is no such row. The key may be the one that the
    /// caller gave the action, or the one under which the action is sent.
    fn find(&self, dependency: &str, key: &str) -> impl Future<Output = Result<Option<Action>>> + Send;

    /// Returns the recorded members of a scope (actions that settle together), in the order of recording. Fails if one
    /// of them cannot be read, since a scope can only be settled or cancelled as a whole.
    fn members(&self, scope: &str) -> impl Future<Output = Result<Vec<Action>>> + Send;

    /// Loads one row with its attempts and with the changes that people made by hand; `None` if there is no such row.
    fn story(&self, id: ActionId) -> impl Future<Output = Result<Option<Story>>> + Send;

    /// Returns the versions of the rows with these ids, in any order. A missing row is left out. This is one statement
    /// in one round trip, without a transaction, and it reads no other column.
    fn versions(&self, ids: &[ActionId]) -> impl Future<Output = Result<Vec<(ActionId, u64)>>> + Send;

    /// Returns the rows that match the filter, in the order of their recording, one page at a time. A row that cannot
    /// be read is left out and logged, and the next row takes its place in the page.
    fn list(&self, filter: &Filter) -> impl Future<Output = Result<Vec<Action>>> + Send;

    /// Returns the numbers of a dependency's open actions, of its stuck actions, and of the actions that are due
    /// although their operations are not declared.
    fn counts(&self, declared: &Declared) -> impl Future<Output = Result<Counts>> + Send;

    /// Looks at the next `most` rows after `after`. Deletes those that ended before `before`, unless the provider is to
    /// be asked about them again. Returns what was deleted, and where the next step begins.
    fn sweep(
        &self,
        before: Stamp,
        after: Option<ActionId>,
        most: u32,
    ) -> impl Future<Output = Result<Swept>> + Send;

    /// Inserts a row in the caller's transaction, unless its key is already recorded. Returns whether the row was
    /// inserted, or else the existing row.
    fn record_in(
        &self,
        conn: &mut Self::Connection,
        insert: &Insert,
    ) -> impl Future<Output = Result<Recorded>> + Send;

    /// Loads the row with this id in the caller's transaction, and the database's time. Returns `None` if there is no
    /// such row.
    fn load_in(
        &self,
        conn: &mut Self::Connection,
        id: ActionId,
    ) -> impl Future<Output = Result<Option<(Action, Stamp)>>> + Send;

    /// Changes a row in the caller's transaction. Returns true if the change was written, and false if the row has
    /// changed since the machine read it.
    fn change_in(
        &self,
        conn: &mut Self::Connection,
        id: ActionId,
        write: &Write,
        mark: Option<&Mark>,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Returns the recorded members of a scope (actions that settle together). They are read in the caller's
    /// transaction.
    fn members_in(
        &self,
        conn: &mut Self::Connection,
        scope: &str,
    ) -> impl Future<Output = Result<Vec<Action>>> + Send;
}
