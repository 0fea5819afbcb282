//! A shop's database, a ledger in it, and a harbor, as the stories need them. It works on both stores.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::future::Future;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use seawall::ledger::protocol::Operation;
use seawall::ledger::{
    Action, Actions, Cancel, Confirm, Durable, DurableBuilder, End, Ledger, Outcome, Postgres,
    PostgresSettings, Sqlite, Store, Worker, WorkerSettings,
};
use seawall::{Dependency, Effect, Idempotency, Timeouts, When, millis, secs};
use seawall_lab::harbor::{Books, Faults, Harbor, Script};
use sqlx::{PgPool, SqlitePool, Transaction};
use tokio::task::JoinHandle;

use super::databases;

/// How long a test waits for something before it fails. A test that passes never waits this long.
const PATIENCE: Duration = Duration::from_secs(90);

/// The time of one attempt.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Long enough for one attempt, and short enough for a test to wait for it.
pub(crate) const SHORT_SETTLE: Duration = Duration::from_secs(6);

type Followed<'a> =
    std::pin::Pin<Box<dyn Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send + 'a>>;

/// The business data: a table of orders in the same database as the ledger.
#[allow(async_fn_in_trait, reason = "of tests alone")]
pub(crate) trait Orders<S: Store> {
    type Tx;
    async fn begin(&self) -> Self::Tx;
    async fn insert(&self, tx: &mut Self::Tx, key: &str);
    fn connection<'a>(&self, tx: &'a mut Self::Tx) -> &'a mut S::Connection;
    async fn commit(&self, tx: Self::Tx);
    async fn rollback(&self, tx: Self::Tx);
    async fn state(&self, key: &str) -> String;
    /// What the business writes in the transaction in which the ledger writes an end.
    fn follow<'a>(conn: &'a mut S::Connection, action: &'a Action) -> Followed<'a>;
}

macro_rules! orders {
    ($name:ident, $pool:ty, $db:ty, $store:ty, $connection:ty, $begin:literal) => {
        pub(crate) struct $name($pool);

        impl Orders<$store> for $name {
            type Tx = Transaction<'static, $db>;

            async fn begin(&self) -> Self::Tx {
                self.0.begin_with($begin).await.unwrap()
            }

            async fn insert(&self, tx: &mut Self::Tx, key: &str) {
                let insert = "INSERT INTO shop (key, state) VALUES ($1, 'new')";
                sqlx::query(insert).bind(key).execute(&mut **tx).await.unwrap();
            }

            fn connection<'a>(&self, tx: &'a mut Self::Tx) -> &'a mut $connection {
                tx
            }

            async fn commit(&self, tx: Self::Tx) {
                tx.commit().await.unwrap();
            }

            async fn rollback(&self, tx: Self::Tx) {
                tx.rollback().await.unwrap();
            }

            async fn state(&self, key: &str) -> String {
                let state = "SELECT state FROM shop WHERE key = $1";
                sqlx::query_scalar(state).bind(key).fetch_one(&self.0).await.unwrap()
            }

            fn follow<'a>(conn: &'a mut $connection, action: &'a Action) -> Followed<'a> {
                let state = match action.state.end() {
                    Some(End::Done) => "paid",
                    Some(End::Failed | End::Cancelled | End::Stuck) | None => "failed",
                };
                Box::pin(async move {
                    let update = "UPDATE shop SET state = $1 WHERE key = $2";
                    sqlx::query(update).bind(state).bind(&action.key).execute(conn).await?;
                    Ok(())
                })
            }
        }
    };
}

orders!(SqliteOrders, SqlitePool, sqlx::Sqlite, Sqlite, sqlx::SqliteConnection, "BEGIN IMMEDIATE");
orders!(PostgresOrders, PgPool, sqlx::Postgres, Postgres, sqlx::PgConnection, "BEGIN");

/// Everything that one story needs.
pub(crate) struct Stage<S: Store, D> {
    store: S,
    pub(crate) orders: D,
    pub(crate) books: Books,
    faults: Faults,
    address: SocketAddr,
    harbor: Running,
    /// It is dropped last.
    _file: Option<databases::File>,
}

/// A harbor, which is stopped when this is dropped.
pub(crate) struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A running ledger, and the handle to its one operation.
pub(crate) struct Rig<S: Store> {
    pub(crate) charges: Actions<S>,
    worker: Worker,
    _store: PhantomData<S>,
}

impl<S: Store> Rig<S> {
    pub(crate) async fn stop(self) {
        self.worker.drain(secs(20)).await;
    }
}

const SHOP: &str = "CREATE TABLE shop (key TEXT NOT NULL PRIMARY KEY, state TEXT NOT NULL)";

pub(crate) async fn sqlite() -> Stage<Sqlite, SqliteOrders> {
    let file = databases::File::new();
    let pool = file.pool(4).await;
    sqlx::query(SHOP).execute(&pool).await.unwrap();
    let store = Sqlite::open(file.path()).await.unwrap();
    set(store, SqliteOrders(pool), Some(file)).await
}

pub(crate) async fn postgres() -> Stage<Postgres, PostgresOrders> {
    let url = databases::postgres();
    let pool = databases::postgres_pool(&url, 4).await;
    sqlx::query(SHOP).execute(&pool).await.unwrap();
    let store = Postgres::connect(&url, PostgresSettings::default()).await.unwrap();
    set(store, PostgresOrders(pool), None).await
}

async fn set<S: Store, D>(store: S, orders: D, file: Option<databases::File>) -> Stage<S, D> {
    store.migrate().await.unwrap();
    let harbor = Harbor::bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
    let (address, books, faults) = (harbor.address(), harbor.books(), harbor.faults());
    let harbor = run(harbor);
    Stage { store, orders, books, faults, address, harbor, _file: file }
}

fn run(harbor: Harbor) -> Running {
    Running(tokio::spawn(async move { harbor.run().await.unwrap() }))
}

/// Waits that suit a test.
fn quick(charge: DurableBuilder) -> DurableBuilder {
    charge
        .network(millis(200))
        .pause(millis(200))
        .quiet(secs(1))
        .lease(secs(10))
        .backoff(millis(20), millis(200))
        .key_lifetime(secs(24 * 3600))
}

impl<S: Store, D: Orders<S>> Stage<S, D> {
    /// From now on the harbor follows this script of faults.
    pub(crate) fn faults(&self, script: &str) {
        self.faults.set(Some(script.parse::<Script>().unwrap()));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        self.faults.set(None);
    }

    /// Another harbor, at this address.
    pub(crate) fn open_at(&self, address: SocketAddr) -> Running {
        let began = Instant::now();
        loop {
            match Harbor::bind(address, None) {
                Ok(harbor) => return run(harbor),
                Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
            }
        }
    }

    fn operation(&self, at: SocketAddr) -> seawall::Operation {
        let payments = Dependency::builder("payments").endpoint(format!("http://{at}").as_str()).unwrap();
        let payments = payments.header("authorization", "Bearer secret").unwrap().build().unwrap();
        payments
            .operation("charge")
            .idempotency(Idempotency::Keyed)
            .timeout(Timeouts::default().connect(secs(2)).read(secs(4)).total(Some(ATTEMPT)))
            .answers(Effect::NotApplied, When::status(200).field("/code", ["DECLINED"]))
            .build()
            .unwrap()
    }

    fn charge(&self, at: SocketAddr, with: impl FnOnce(DurableBuilder) -> DurableBuilder) -> Durable {
        let confirm = Confirm::by("GET /v1/charges?key={key}")
            .after(millis(20))
            .applied(When::status(200).field("/status", ["succeeded"]))
            .cancelled(When::status(200).field("/status", ["refunded"]))
            .absent(When::status(404).field("/error/code", [404]));
        let cancel = Cancel::by("POST /v1/refunds")
            .json(serde_json::json!({ "charge": "{confirm:/id}" }))
            .sets_a_state()
            .not_found(When::status(404));
        let charge = self.operation(at).durable("POST /v1/charges").confirm(confirm).cancel(cancel);
        with(quick(charge)).build().unwrap()
    }

    /// A ledger whose provider has no status API.
    pub(crate) fn rig_unasked(&self, with: impl FnOnce(DurableBuilder) -> DurableBuilder) -> Rig<S> {
        let cancel = Cancel::by("POST /v1/refunds")
            .json(serde_json::json!({ "charge": "{answer:/id}" }))
            .sets_a_state()
            .not_found(When::status(404));
        let charge = self.operation(self.address).durable("POST /v1/charges").cancel(cancel);
        let charge = with(quick(charge)).build().unwrap();
        self.started(&charge, &charge)
    }

    /// A ledger with the charge, changed by `with`, and its worker.
    pub(crate) fn rig(&self, with: impl FnOnce(DurableBuilder) -> DurableBuilder) -> Rig<S> {
        self.rig_at(self.address, with)
    }

    /// The same as `rig`, with the provider at another address.
    pub(crate) fn rig_at(
        &self,
        at: SocketAddr,
        with: impl FnOnce(DurableBuilder) -> DurableBuilder,
    ) -> Rig<S> {
        let charge = self.charge(at, with);
        self.started(&charge, &charge)
    }

    /// The same as `rig`, with a handler that writes in the transaction of an end.
    pub(crate) fn rig_following(&self, with: impl FnOnce(DurableBuilder) -> DurableBuilder) -> Rig<S>
    where
        D: 'static,
    {
        let charge = self.charge(self.address, with);
        self.started(&charge, charge.declare::<S>().on_settled(|conn, action| D::follow(conn, action)))
    }

    fn started(&self, charge: &Durable, operation: impl Into<Operation<S>>) -> Rig<S> {
        let ledger = Ledger::builder(self.store.clone()).operation(operation).build().unwrap();
        let mut settings = WorkerSettings::default();
        settings.scan = millis(50);
        let worker = ledger.worker(settings);
        Rig { charges: charge.actions(&ledger).unwrap(), worker, _store: PhantomData }
    }

    /// Waits for what must come.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        while !holds().await {
            assert!(began.elapsed() < PATIENCE, "in vain: {what}; books: {:?}", self.books.snapshot());
            tokio::time::sleep(millis(20)).await;
        }
        assert!(!self.harbor.0.is_finished(), "the harbor runs");
    }

    /// Waits until the action has ended by the worker's own work, and returns it.
    pub(crate) async fn resolved(&self, rig: &Rig<S>, outcome: Outcome) -> Outcome {
        self.at(rig, outcome, |end| end.is_some()).await
    }

    /// The action once it is cancelled.
    pub(crate) async fn cancelled(&self, rig: &Rig<S>, outcome: Outcome) -> Outcome {
        self.at(rig, outcome, |end| end == Some(End::Cancelled)).await
    }

    async fn at(&self, rig: &Rig<S>, outcome: Outcome, there: impl Fn(Option<End>) -> bool) -> Outcome {
        let began = Instant::now();
        loop {
            let now = rig.charges.load(outcome.id()).await.unwrap();
            if there(now.end()) {
                return now;
            }
            if began.elapsed() > PATIENCE {
                let story = rig.charges.ledger().story(outcome.id()).await.unwrap();
                panic!("it does not come to its end: {story:#?}");
            }
            tokio::time::sleep(millis(20)).await;
        }
    }
}
