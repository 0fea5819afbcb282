//! One program of the shop: shoppers that place, pay and take back orders, and a worker.
//!
//! The soak starts it as a process of its own. It works until its standard input is closed, and then drains.

use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seawall_ledger::store::Store;
use seawall_ledger::{Action, Cancelling, Goal, Known, Ledger, NewAction, WorkerSettings};

use crate::declared;
use crate::desk::Desk;
use crate::tables::{Database, INSERT_ORDER, INSERT_OUTCOME, Kind, OUTCOME_ONCE, OnPostgres, OnSqlite};
use crate::tables::{SET_STATE, Trouble};

/// The number of orders that are placed at the same time.
const SHOPPERS: u64 = 6;

/// The longest time of one order. After it the shopper gives up waiting, as an impatient caller does.
const PATIENCE: Duration = Duration::from_secs(8);

type Conn<D> = <<D as Database>::Store as Store>::Connection;

/// What the environment tells a program.
struct Told {
    folder: PathBuf,
    database: String,
    provider: String,
    /// The name of the program and the number of its start, such as `A3`.
    name: String,
    version: u32,
    seed: u64,
}

impl Told {
    fn read() -> Told {
        let text = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
        Told {
            folder: text("SOAK_FOLDER").into(),
            database: text("SOAK_DATABASE"),
            provider: text("SOAK_PROVIDER"),
            name: text("SOAK_NAME"),
            version: text("SOAK_VERSION").parse().unwrap(),
            seed: text("SOAK_SEED").parse().unwrap(),
        }
    }
}

/// Plays the role that the environment names. Returns `false` if it names none.
pub(crate) async fn play() -> bool {
    let Ok(role) = std::env::var("SOAK_ROLE") else { return false };
    let told = Told::read();
    match (role.as_str(), Kind::of(&told.database)) {
        ("writer", _) => crate::writer::play(&told.database).await,
        (_, Kind::Sqlite) => sell::<OnSqlite>(told).await,
        (_, Kind::Postgres) => sell::<OnPostgres>(told).await,
    }
    true
}

async fn sell<D: Database>(told: Told) {
    let desk = Desk::open(&told.folder, &told.name).unwrap();
    let (closed, mut is_closed) = tokio::sync::watch::channel(false);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = closed.send(true);
    });
    let store = loop {
        match opened::<D>(&told.database).await {
            Ok(store) => break store,
            Err(e) => desk.line(&format!("start: {e}")),
        }
        if *is_closed.borrow() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let ledger = declared::ledger::<D>(store, told.version, &desk, &told.provider).unwrap();
    let mut settings = WorkerSettings::default();
    settings.scan = Duration::from_millis(100);
    let worker = ledger.worker(settings);
    desk.line("up");
    let shop = Shop::<D> { ledger, desk: desk.clone(), told: Arc::new(told), idle: Arc::default() };
    let shoppers: Vec<_> = (0..SHOPPERS)
        .map(|number| {
            let shop = shop.clone();
            tokio::spawn(async move { shop.serve(number).await })
        })
        .collect();
    let all = async {
        for shopper in shoppers {
            shopper.await.unwrap();
        }
        desk.line("idle");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = all => {}
        _ = is_closed.changed() => {}
    }
    let aborted = worker.drain(Duration::from_secs(1)).await;
    desk.line(&format!("drained, {aborted} aborted"));
}

async fn opened<D: Database>(url: &str) -> Result<D::Store, Trouble> {
    let store = D::open(url).await?;
    store.migrate().await?;
    Ok(store)
}

struct Shop<D: Database> {
    ledger: Ledger<D::Store>,
    desk: Desk,
    told: Arc<Told>,
    /// Connections of the application's own that are free.
    idle: Arc<Mutex<Vec<Conn<D>>>>,
}

impl<D: Database> Clone for Shop<D> {
    fn clone(&self) -> Self {
        let (ledger, desk) = (self.ledger.clone(), self.desk.clone());
        Shop { ledger, desk, told: self.told.clone(), idle: self.idle.clone() }
    }
}

fn new(dependency: &str, operation: &str, key: &str, amount: u64) -> NewAction {
    NewAction::new(dependency, operation, key, format!("{{\"order\":\"{key}\",\"amount\":{amount}}}"))
}

impl<D: Database> Shop<D> {
    async fn serve(self, shopper: u64) {
        let start = self.told.name.bytes().fold(self.told.seed, |hash, byte| hash * 31 + u64::from(byte));
        let mut random = fastrand::Rng::with_seed(start.wrapping_add(shopper));
        let mut number = 0;
        while !self.desk.is_closed() {
            number += 1;
            let key = format!("{}-{shopper}-{number}", self.told.name);
            let order = self.order(&key, &mut random);
            match tokio::time::timeout(PATIENCE, order).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => self.desk.line(&format!("trouble {key}: {e}")),
                Err(_) => self.desk.line(&format!("trouble {key}: nothing heard for {PATIENCE:?}")),
            }
            tokio::time::sleep(Duration::from_millis(random.u64(50..350))).await;
        }
    }

    /// Places one order, in one of the ways in which an application can use the ledger.
    async fn order(&self, key: &str, random: &mut fastrand::Rng) -> Result<(), Trouble> {
        let amount = random.u64(100..10_000);
        match random.u32(..100) {
            0..30 => self.placed("pay", "charge", key, amount, random).await,
            30..50 => self.held(key, amount, random).await,
            50..62 => self.performed(&new("points", "grant", key, amount)).await,
            62..69 => self.performed(&new("hotel", "book", key, amount)).await,
            69..79 => self.basket(key, amount, random).await,
            79..89 => self.placed("bank", "transfer", key, amount, random).await,
            89..95 => self.placed("strict", "charge", key, amount, random).await,
            _ if self.told.version > 1 => self.placed("pay", "gift", key, amount, random).await,
            _ => self.placed("pay", "charge", key, amount, random).await,
        }
    }

    /// Call after commit: the order and the intent are one transaction.
    async fn placed(
        &self,
        dependency: &str,
        operation: &str,
        key: &str,
        amount: u64,
        random: &mut fastrand::Rng,
    ) -> Result<(), Trouble> {
        let new = new(dependency, operation, key, amount);
        let is_run = random.bool();
        let flow = format!("{dependency}/{operation}");
        let mut conn = self.begin().await?;
        D::put(&mut conn, INSERT_ORDER, &[key, &flow, &amount.to_string(), "placed"]).await?;
        let action = match is_run {
            true => self.ledger.reserve_in(&mut conn, &new).await?,
            false => self.ledger.record_in(&mut conn, &new).await?,
        };
        self.commit(conn).await?;
        self.desk.line(&format!("recorded {dependency} {key}"));
        if is_run {
            self.ledger.run(action.id).await?;
        }
        if dependency != "strict" && random.u32(..100) < 40 {
            tokio::time::sleep(Duration::from_millis(random.u64(..1500))).await;
            self.withdraw(key, &[action]).await?;
        }
        Ok(())
    }

    /// An order of two actions that settle together.
    async fn basket(&self, key: &str, amount: u64, random: &mut fastrand::Rng) -> Result<(), Trouble> {
        let points = format!("{key}-points");
        let mut conn = self.begin().await?;
        D::put(&mut conn, INSERT_ORDER, &[key, "basket", &amount.to_string(), "placed"]).await?;
        let first = new("pay", "charge", key, amount).in_scope(key, 2);
        let second = new("points", "grant", &points, amount).in_scope(key, 2);
        let first = self.ledger.record_in(&mut conn, &first).await?;
        let second = self.ledger.record_in(&mut conn, &second).await?;
        self.commit(conn).await?;
        self.desk.line(&format!("recorded pay {key}"));
        self.desk.line(&format!("recorded points {points}"));
        if random.u32(..100) < 40 {
            tokio::time::sleep(Duration::from_millis(random.u64(..1500))).await;
            self.withdraw(key, &[first, second]).await?;
        }
        Ok(())
    }

    /// Takes an order back, in one transaction with the cancel of its actions.
    async fn withdraw(&self, key: &str, actions: &[Action]) -> Result<(), Trouble> {
        let mut conn = self.begin().await?;
        D::put(&mut conn, SET_STATE, &[key, "withdrawn"]).await?;
        for action in actions {
            let became = self.ledger.cancel_in(&mut conn, action.id).await?;
            // Where nothing was to be undone, no handler runs. Otherwise a handler may have written the row before.
            if let Cancelling::Ended(end) = became {
                D::put(&mut conn, OUTCOME_ONCE, &[&action.key, declared::word(Some(end))]).await?;
            }
        }
        self.commit(conn).await?;
        actions.iter().for_each(|action| {
            self.desk.line(&format!("withdrawn {} {}", action.dependency, action.key));
        });
        Ok(())
    }

    /// Call before commit: the order is written only if the call succeeded.
    async fn held(&self, key: &str, amount: u64, random: &mut fastrand::Rng) -> Result<(), Trouble> {
        let action = self.ledger.reserve(&new("pay", "hold", key, amount)).await?;
        self.desk.line(&format!("recorded pay {key}"));
        let action = self.ledger.run(action.id).await?;
        let is_applied = action.state.known() == Known::Applied && action.state.goal() == Goal::Perform;
        match random.u32(..100) {
            // The shopper goes away.
            0..12 => Ok(()),
            12..27 => {
                self.ledger.cancel(action.id).await?;
                self.desk.line(&format!("withdrawn pay {key}"));
                Ok(())
            }
            _ if is_applied => {
                let mut conn = self.begin().await?;
                D::put(&mut conn, INSERT_ORDER, &[key, "pay/hold", &amount.to_string(), "paid"]).await?;
                D::put(&mut conn, INSERT_OUTCOME, &[key, "done"]).await?;
                self.ledger.settle_in(&mut conn, action.id).await?;
                self.commit(conn).await?;
                self.desk.line(&format!("done pay {key}"));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Records and calls in one step.
    async fn performed(&self, new: &NewAction) -> Result<(), Trouble> {
        let action = self.ledger.perform(new).await?;
        let word = if action.state.settled() { "done" } else { "recorded" };
        self.desk.line(&format!("{word} {} {}", new.dependency, new.key));
        Ok(())
    }

    /// Takes a free connection, or opens one, and begins a transaction. A connection whose transaction fails is closed.
    async fn begin(&self) -> Result<Conn<D>, Trouble> {
        let free = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut conn = match free {
            Some(conn) => conn,
            None => D::connect(&self.told.database).await?,
        };
        let begun = std::time::Instant::now();
        let ended = D::execute(&mut conn, D::BEGIN).await;
        let is_sqlite = Kind::of(&self.told.database) == Kind::Sqlite;
        if is_sqlite && begun.elapsed() > Duration::from_millis(500) {
            self.desk.reached("database: write lock held");
        }
        ended.map(|()| conn)
    }

    async fn commit(&self, mut conn: Conn<D>) -> Result<(), Trouble> {
        D::execute(&mut conn, "COMMIT").await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        Ok(())
    }
}
