//! A database behind a relay, and what the tests ask of calls.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seawall_ledger::store::Store;
use seawall_ledger::store::postgres::{Postgres, Settings};
use seawall_ledger::{
    Action, ActionId, ConfirmRules, End, Error, Ledger, Lifetime, NewAction, OnUnknown, Operation, Rules,
    Trouble, WorkerSettings,
};
use seawall_policy::{Backoff, Idempotency};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::task::JoinHandle;

use crate::provider::Provider;
use crate::relay::Relay;
use crate::scratch::Server;

/// The longest time that anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The time that the database has for an answer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(1);
/// The longest time that a call may take.
const BOUND: Duration = Duration::from_secs(2);

/// The statements are not prepared, so that their text passes through the relay each time.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.answer_within = DEADLINE;
    settings.handler_within = DEADLINE;
    settings.prepared = false;
    settings
}

/// A new database with the application's table `orders (id, state)`.
pub(crate) struct World {
    pub(crate) url: String,
}

impl World {
    pub(crate) async fn new() -> World {
        let world = World { url: Server::shared().database() };
        world.open().await.migrate().await.unwrap();
        let mut conn = world.connect().await;
        let orders = "CREATE TABLE orders (id TEXT PRIMARY KEY, state TEXT NOT NULL)";
        sqlx::raw_sql(orders).execute(&mut conn).await.unwrap();
        world
    }

    /// Opens the store without a relay.
    pub(crate) async fn open(&self) -> Postgres {
        Postgres::connect(&self.url, Settings::default()).await.unwrap()
    }

    /// Opens a connection without a relay.
    pub(crate) async fn connect(&self) -> PgConnection {
        self.url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
    }
}

/// Reads one number.
pub(crate) async fn number(conn: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(conn).await.unwrap()
}

/// Makes a world, with a relay before its server and a store that uses the relay.
pub(crate) async fn relayed() -> (World, Relay, Postgres) {
    let world = World::new().await;
    let relay = Relay::before(&world.url).await;
    let store = Postgres::connect(&relay.url, settings()).await.unwrap();
    (world, relay, store)
}

pub(crate) fn charge(key: &str) -> NewAction {
    NewAction::new("pay", "charge", key, b"{\"amount\":5}".to_vec())
}

/// Rules of a provider with keys that can be asked, with times so short that a test can wait for them.
pub(crate) fn keyed() -> Rules {
    Rules {
        on_unknown: OnUnknown::Confirm,
        confirm: Some(ConfirmRules { after: Duration::from_millis(20), ..ConfirmRules::default() }),
        quiet: Duration::from_millis(300),
        attempt: Duration::from_secs(3),
        lease: Duration::from_secs(4),
        network: Duration::from_millis(50),
        pause: Duration::from_millis(50),
        backoff: Backoff { base: Duration::from_millis(20), cap: Duration::from_millis(200) },
        ..Rules::of(Idempotency::Keyed).remembered(Lifetime::For(Duration::from_secs(24 * 3600)))
    }
}

/// A ledger on a store, with one operation `pay charge`.
pub(crate) fn ledger(store: Postgres, rules: Rules, provider: &Provider) -> Ledger<Postgres> {
    let remote = Arc::new(provider.clone());
    Ledger::builder(store).operation(Operation::new("pay", "charge", rules, remote)).build().unwrap()
}

pub(crate) fn soon() -> WorkerSettings {
    let mut settings = WorkerSettings::default();
    settings.scan = Duration::from_millis(50);
    settings
}

/// Waits until an action has ended. Asks again if the database is away meanwhile.
pub(crate) async fn ended(ledger: &Ledger<Postgres>, id: ActionId) -> Action {
    let mut last = None;
    until_true("it does not end", async || {
        last = ledger.load(id).await.ok();
        last.as_ref().is_some_and(|action| action.state.end().is_some())
    })
    .await;
    last.unwrap()
}

/// Waits for a call, which must end in time.
pub(crate) async fn in_time<T>(what: &str, call: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let ended = tokio::time::timeout(PATIENCE, call).await;
    let took = begun.elapsed();
    assert!(took < BOUND, "{what} took {took:?}");
    ended.unwrap()
}

/// Checks that a call fails in time because the database is away, and says where and for how long.
pub(crate) async fn is_away<T: std::fmt::Debug, E: Into<Error>>(
    relay: &Relay,
    what: &str,
    call: impl Future<Output = Result<T, E>>,
) {
    let error: Error = in_time(what, call).await.unwrap_err().into();
    assert_eq!(error.trouble(), Some(Trouble::Away), "{what}: {error}");
    let said = error.to_string();
    let at = format!("127.0.0.1:{}: no ", relay.port);
    assert!(said.contains(&at) && said.contains("within 1s"), "{what}: {said}");
}

/// Opens several connections, which are then idle in the pool.
pub(crate) async fn fill_pool(ledger: &Ledger<Postgres>) {
    let reading: Vec<_> = (0..16)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.counts("pay").await.unwrap() })
        })
        .collect();
    for one in reading {
        one.await.unwrap();
    }
}

/// Performs an action in a task of its own.
pub(crate) fn performing(ledger: &Ledger<Postgres>, key: &'static str) -> JoinHandle<Result<Action, Error>> {
    let ledger = ledger.clone();
    tokio::spawn(async move { ledger.perform(&charge(key)).await })
}

/// Waits until the provider has got the first request under this key.
pub(crate) async fn is_sent(provider: &Provider, key: &str) {
    until_true("it is not sent", async || provider.performs(key) > 0).await;
}

pub(crate) async fn until_true(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is().await {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Checks that an action is done, and was sent once, although the caller may have been told that the database is away.
pub(crate) async fn done_once(world: &World, provider: &Provider, key: &str) -> Action {
    let direct = ledger(world.open().await, keyed(), provider);
    let found = direct.find("pay", key).await.unwrap();
    let done = ended(&direct, found.id).await;
    assert_eq!(done.state.end(), Some(End::Done));
    assert_eq!((provider.performs(key), provider.effects(key)), (1, 1));
    done
}
