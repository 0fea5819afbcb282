//! The ledger over either of its databases.
//!
//! All work of the ledger runs on the runtime of its own thread. Its connections to the database belong to that
//! runtime, so they stay open when a worker of the gateway ends. A worker that calls a method hands the work over to
//! that runtime, and waits for it. If the future of a method is dropped, the work that was handed over still goes on to
//! its end.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use seawall_ledger::store::postgres::{self, Postgres};
use seawall_ledger::store::sqlite::Sqlite;
use seawall_ledger::store::{Declared, OperationCount, Store};
use seawall_ledger::{
    Action, ActionId, By, Error, Ledger, LedgerBuilder, Misuse, NewAction, Observed, OnStuck, Operation,
    Order, Ordered, Page, Performed, Report, Search, Sizes, StoreError, Story, Trouble, Worker,
    WorkerSettings,
};
use tokio::runtime::Handle;

use super::health::Health;
use super::waiters::Source;
use crate::running::durable::DurableOperation;

/// The database in which the ledger keeps its actions.
#[derive(Clone)]
pub(crate) enum Database {
    Sqlite(Box<Sqlite>),
    Postgres(Postgres),
}

/// A ledger, and the runtime on which it works.
#[derive(Clone)]
pub(crate) struct Books {
    ledger: Either<Ledger<Sqlite>, Ledger<Postgres>>,
    runtime: Handle,
    health: Arc<Health>,
}

/// A value that has one type for SQLite and another type for PostgreSQL, such as the ledger itself.
#[derive(Clone)]
enum Either<L, P> {
    Sqlite(L),
    Postgres(P),
}

/// The result of [`Books::start`].
pub(crate) enum Begun {
    /// This process has recorded the action with its first attempt, and sends it now.
    Started(Started),
    /// The key is recorded with the same request already.
    Found(Box<Action>),
}

/// An action whose first attempt is recorded and not sent yet.
pub(crate) struct Started {
    attempt: Either<seawall_ledger::Started<Sqlite>, seawall_ledger::Started<Postgres>>,
    runtime: Handle,
    health: Arc<Health>,
}

/// Evaluates the expression `$do` with the value inside of an [`Either`] under the name `$it`. That value is, for
/// example, the ledger over SQLite or the ledger over PostgreSQL, which have different types.
macro_rules! either {
    ($either:expr, $it:ident => $do:expr) => {
        match $either {
            Either::Sqlite($it) => $do,
            Either::Postgres($it) => $do,
        }
    };
}

impl Database {
    /// Opens the database of this URL on the current runtime, and makes or updates its tables.
    ///
    /// # Errors
    /// If the database cannot be opened or reached, or if its tables are not of this version.
    pub(crate) async fn open(url: &str) -> Result<Database, StoreError> {
        if url.starts_with("sqlite:") {
            let store = Sqlite::connect(url).await?;
            store.migrate().await?;
            return Ok(Database::Sqlite(Box::new(store)));
        }
        let store = Postgres::connect(url, postgres::Settings::default()).await?;
        store.migrate().await?;
        Ok(Database::Postgres(store))
    }

    /// Makes a ledger with these operations, which tells `on_stuck` of stuck actions. The new ledger works on the
    /// current runtime. After a reload, `before` is the ledger of the old configuration. The new ledger becomes its
    /// successor, so it also knows which providers are down. At the start, `before` is `None`.
    ///
    /// # Errors
    /// If the declarations contradict each other.
    pub(crate) fn books<'d>(
        &self,
        operations: impl Iterator<Item = &'d DurableOperation>,
        sizes: Sizes,
        on_stuck: Option<OnStuck>,
        before: Option<&Books>,
        health: &Arc<Health>,
    ) -> Result<Books, Misuse> {
        let operations: Vec<_> = operations.collect();
        let ledger = match self {
            Database::Sqlite(store) => {
                let builder = builder(Sqlite::clone(store), &operations, sizes, on_stuck);
                let builder = match before.map(|before| &before.ledger) {
                    Some(Either::Sqlite(before)) => builder.succeeds(before),
                    Some(Either::Postgres(_)) | None => builder,
                };
                Either::Sqlite(builder.build()?)
            }
            Database::Postgres(store) => {
                let builder = builder(store.clone(), &operations, sizes, on_stuck);
                let builder = match before.map(|before| &before.ledger) {
                    Some(Either::Postgres(before)) => builder.succeeds(before),
                    Some(Either::Sqlite(_)) | None => builder,
                };
                Either::Postgres(builder.build()?)
            }
        };
        Ok(Books { ledger, runtime: Handle::current(), health: Arc::clone(health) })
    }

    /// Opens the database of this URL to look at it, and returns the numbers of the open actions of all operations. No
    /// table is made or changed. Returns `None` if there is no ledger there yet.
    ///
    /// # Errors
    /// If the database cannot be opened or read.
    pub(crate) async fn look(url: &str) -> Result<Option<Vec<OperationCount>>, StoreError> {
        let counted = if url.starts_with("sqlite:") {
            if !Sqlite::is_there(url)? {
                return Ok(None);
            }
            Sqlite::connect(url).await?.open_counts().await
        } else {
            Postgres::connect(url, postgres::Settings::default()).await?.open_counts().await
        };
        match counted {
            Err(error) if error.trouble() == Trouble::Foreign => Ok(None),
            counted => counted.map(Some),
        }
    }
}

fn builder<S: Store>(
    store: S,
    operations: &[&DurableOperation],
    sizes: Sizes,
    on_stuck: Option<OnStuck>,
) -> LedgerBuilder<S> {
    let builder = Ledger::builder(store).sizes(sizes);
    let builder = match on_stuck {
        Some(receiver) => builder.on_stuck(receiver),
        None => builder,
    };
    operations.iter().fold(builder, |builder, operation| {
        let remote = operation.remote.clone();
        let rules = operation.rules.clone();
        let declared = Operation::new(&*operation.dependency, &*operation.name, rules, remote);
        builder.operation(declared.sql(operation.sql.clone()))
    })
}

/// Runs `work` on the ledger's runtime, waits for it, and returns its result. Notes in `Health` whether the database
/// has answered. Fails if the ledger's runtime has ended.
async fn there<T: Send + 'static>(
    runtime: &Handle,
    health: &Health,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let gone = |_| StoreError::new(Trouble::Away, "the gateway's ledger has ended");
    let done = runtime.spawn(work).await.map_err(gone)?;
    health.note(done.as_ref().err());
    done
}

impl Books {
    /// Starts the worker, which goes on with all actions that are due. It must be called on the ledger's runtime.
    pub(crate) fn worker(&self, settings: WorkerSettings) -> Worker {
        either!(&self.ledger, ledger => ledger.worker(settings))
    }

    /// Gives up the claims that this process still has on rows, and returns the number of these rows. It must be called
    /// on the ledger's runtime.
    pub(crate) async fn give_back(&self) -> Result<usize, StoreError> {
        either!(&self.ledger, ledger => ledger.give_back().await)
    }

    /// Returns the numbers of the open actions of all operations.
    pub(crate) async fn open_counts(&self) -> Result<Vec<OperationCount>, Error> {
        either!(self.ledger.clone(), ledger => {
            self.there(async move { Ok(ledger.store().open_counts().await?) }).await
        })
    }

    /// Returns the operations that some process has declared within the last ten minutes. Each process renews its
    /// declarations while it runs, so an older declaration does not count.
    pub(crate) async fn declared(&self) -> Result<Vec<Declared>, Error> {
        either!(self.ledger.clone(), ledger => {
            self.there(async move { Ok(ledger.store().declared().await?) }).await
        })
    }

    /// Sends one short statement to the database. Fails if the database does not answer.
    pub(crate) async fn probe(&self) -> Result<(), Error> {
        Source::versions(self, vec![ActionId::from_u128(0)]).await.map(drop)
    }

    /// Runs `work` on the ledger's runtime, waits for it, and returns its result.
    async fn there<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        there(&self.runtime, &self.health, work).await
    }

    /// Records an action with its first attempt, which the code that calls this method must then send. If the key is
    /// recorded with this request already, returns the existing action.
    pub(crate) async fn start(&self, new: NewAction) -> Result<Begun, Error> {
        let started = |attempt| {
            let (runtime, health) = (self.runtime.clone(), Arc::clone(&self.health));
            Begun::Started(Started { attempt, runtime, health })
        };
        Ok(match self.ledger.clone() {
            Either::Sqlite(ledger) => match self.there(async move { ledger.start(&new).await }).await? {
                seawall_ledger::Begun::Started(attempt) => started(Either::Sqlite(attempt)),
                seawall_ledger::Begun::Found(action) => Begun::Found(action),
            },
            Either::Postgres(ledger) => match self.there(async move { ledger.start(&new).await }).await? {
                seawall_ledger::Begun::Started(attempt) => started(Either::Postgres(attempt)),
                seawall_ledger::Begun::Found(action) => Begun::Found(action),
            },
        })
    }

    /// Records an action, which the worker then sends.
    pub(crate) async fn record(&self, new: NewAction) -> Result<Action, Error> {
        either!(self.ledger.clone(), ledger => {
            self.there(async move { ledger.record(&new).await }).await
        })
    }

    /// Returns the action that is recorded under the key of `new` with the same request; `None` if there is none.
    pub(crate) async fn recorded(&self, new: NewAction) -> Result<Option<Action>, Error> {
        either!(self.ledger.clone(), ledger => {
            self.there(async move { ledger.recorded(&new).await }).await
        })
    }

    /// Finds the action of this dependency with this key.
    pub(crate) async fn find(&self, dependency: &str, key: &str) -> Result<Action, Error> {
        let (dependency, key) = (dependency.to_owned(), key.to_owned());
        either!(self.ledger.clone(), ledger => {
            self.there(async move { ledger.find(&dependency, &key).await }).await
        })
    }

    /// Loads the action with this id, its attempts, and what people did with it.
    pub(crate) async fn story(&self, id: ActionId) -> Result<Story, Error> {
        either!(self.ledger.clone(), ledger => {
            self.there(async move { ledger.story(id).await }).await
        })
    }

    /// Returns at most `most` actions that the search selects, beginning after the action `after`.
    pub(crate) async fn search(
        &self,
        search: Search,
        after: Option<ActionId>,
        most: u32,
    ) -> Result<Page, Error> {
        either!(self.ledger.clone(), ledger => {
            self.there(async move { ledger.search(&search, after, most).await }).await
        })
    }

    /// Returns the numbers of the stuck actions of all operations.
    pub(crate) async fn stuck_counts(&self) -> Result<Vec<OperationCount>, Error> {
        either!(self.ledger.clone(), ledger => {
            self.there(async move { ledger.stuck_counts().await }).await
        })
    }

    /// Does what a person orders for an action.
    pub(crate) async fn order(
        &self,
        id: ActionId,
        version: Option<u64>,
        order: Order,
        by: By,
    ) -> Result<Ordered, Error> {
        either!(self.ledger.clone(), ledger => {
            self.there(async move { ledger.order(id, version, order, &by).await }).await
        })
    }

    /// Settles the action.
    pub(crate) async fn settle(&self, id: ActionId) -> Result<Action, Error> {
        either!(self.ledger.clone(), ledger => {
            self.there(async move { ledger.settle(id).await }).await
        })
    }

    /// Cancels the action, unless it is settled.
    pub(crate) async fn cancel(&self, id: ActionId) -> Result<Action, Error> {
        either!(self.ledger.clone(), ledger => {
            self.there(async move { ledger.cancel(id).await }).await
        })
    }

    /// Records what a webhook has reported about the action.
    pub(crate) async fn observe(&self, id: ActionId, what: Observed, by: By) -> Result<Action, Error> {
        either!(self.ledger.clone(), ledger => {
            self.there(async move { ledger.observe(id, what, &by).await }).await
        })
    }
}

impl Source for Books {
    async fn story(&self, id: ActionId) -> Result<Story, Error> {
        Books::story(self, id).await
    }

    async fn versions(&self, ids: Vec<ActionId>) -> Result<Vec<(ActionId, u64)>, Error> {
        either!(self.ledger.clone(), ledger => {
            self.there(async move { ledger.versions(&ids).await }).await
        })
    }

    async fn written(&self, id: ActionId) {
        either!(&self.ledger, ledger => ledger.written(id).await);
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }
}

impl Started {
    pub(crate) fn action(&self) -> &Action {
        either!(&self.attempt, attempt => attempt.action())
    }

    /// Returns the moment by which the first byte of the request must have left. After that moment, nothing may be
    /// sent.
    pub(crate) fn deadline(&self) -> Instant {
        either!(&self.attempt, attempt => attempt.deadline())
    }

    /// Writes how the attempt ended, and returns the action as it then is. If the database cannot be reached for too
    /// long, an error is returned, and the outcome is written when the database is back.
    pub(crate) async fn ended(self, how: Performed, report: Report) -> Result<Action, Error> {
        let (runtime, health) = (self.runtime, self.health);
        either!(self.attempt, attempt => there(&runtime, &health, attempt.ended(how, report)).await)
    }
}
