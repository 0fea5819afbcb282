//! What the killed processes do. They are the same test binary, started again in one of these roles.

use std::sync::Arc;
use std::time::Duration;

use seawall_ledger::store::{Filter, Standing, Store};
use seawall_ledger::{
    CancelKind, CancelRules, ConfirmRules, End, Ledger, Lifetime, NewAction, OnUnknown, Operation, Rules,
    SettleBy, WorkerSettings,
};
use seawall_policy::{Backoff, Idempotency};

use crate::books::Wire;
use crate::database::{Database, Db};

/// The rules of all operations here. The provider knows no keys, can be asked, and can undo an effect by our key.
pub(crate) fn rules(settle: SettleBy) -> Rules {
    Rules {
        on_unknown: OnUnknown::Confirm,
        settle,
        quiet: Duration::from_millis(300),
        confirm: Some(ConfirmRules { after: Duration::from_millis(50), ..ConfirmRules::default() }),
        cancel: Some(CancelRules { kind: CancelKind::State, by_key: true, ..CancelRules::default() }),
        resend_absent: true,
        attempt: Duration::from_millis(1500),
        lease: Duration::from_millis(2000),
        network: Duration::from_millis(50),
        pause: Duration::from_millis(50),
        backoff: Backoff { base: Duration::from_millis(20), cap: Duration::from_millis(200) },
        ..Rules::of(Idempotency::None)
    }
}

/// The longest time of an attempt, and the length of a lease, for tests with many calls in flight at the same time.
pub(crate) const WIDE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(12));

/// The rules for those tests. Without keys the provider is asked; with keys the attempt is sent again.
fn wide(idempotency: Idempotency) -> Rules {
    let (attempt, lease) = WIDE;
    let base = Rules { attempt, lease, ..rules(SettleBy::Reply) };
    match idempotency {
        Idempotency::Keyed => {
            let keyed =
                Rules { idempotency, on_unknown: OnUnknown::Repeat, confirm: None, cancel: None, ..base };
            keyed.remembered(Lifetime::For(Duration::from_secs(24 * 3600)))
        }
        Idempotency::Safe | Idempotency::Idempotent | Idempotency::None => base,
    }
}

/// The time to settle in the order "call before commit". After it the charge is undone.
const SETTLE: Duration = Duration::from_secs(4);

pub(crate) fn ledger<D: Database>(store: D::Store, books: &str) -> Ledger<D::Store> {
    let wire = Arc::new(Wire(books.to_owned()));
    let after = Operation::new("pay", "after", rules(SettleBy::Reply), wire.clone())
        .on_settled(|conn, action| D::set_order(conn, &action.key, state(action.state.end())));
    let before = Operation::new("pay", "before", rules(SettleBy::Explicit(SETTLE)), wire.clone());
    // Each has a dependency of its own, since the lease of a claim is the longest one of its dependency.
    let asked = Operation::new("asked", "wide", wide(Idempotency::None), wire.clone());
    let keyed = Operation::new("keyed", "wide", wide(Idempotency::Keyed), wire);
    let all = [after, before, asked, keyed];
    all.into_iter().fold(Ledger::builder(store), |builder, one| builder.operation(one)).build().unwrap()
}

fn state(end: Option<End>) -> &'static str {
    match end {
        Some(End::Done) => "paid",
        Some(End::Failed | End::Cancelled | End::Stuck) | None => "failed",
    }
}

/// Plays the role that the environment names. Returns `false` if it names none.
pub(crate) async fn play() -> bool {
    let Ok(role) = std::env::var("CRASH_ROLE") else { return false };
    let (db, books) = (std::env::var("CRASH_DB").unwrap(), std::env::var("CRASH_BOOKS").unwrap());
    match Db::of(&db) {
        Db::Sqlite if role.starts_with("power-") => crate::power::play(&role, &db, &books).await,
        Db::Sqlite => play_on::<crate::database::OnSqlite>(&role, &db, &books).await,
        Db::Postgres => play_on::<crate::database::OnPostgres>(&role, &db, &books).await,
    }
    true
}

async fn play_on<D: Database>(role: &str, db: &str, books: &str) {
    let ledger = ledger::<D>(D::open(db).await, books);
    match role {
        "after" => {
            let mut conn = D::connect(db).await;
            D::execute(&mut conn, D::BEGIN).await;
            D::set_order(&mut conn, "after", "new").await.unwrap();
            let new = NewAction::new("pay", "after", "after", "{}");
            let action = ledger.reserve_in(&mut conn, &new).await.unwrap();
            D::execute(&mut conn, "COMMIT").await;
            ledger.run(action.id).await.unwrap();
        }
        "before" => {
            let action = ledger.reserve(&NewAction::new("pay", "before", "before", "{}")).await.unwrap();
            ledger.run(action.id).await.unwrap();
            let mut conn = D::connect(db).await;
            D::execute(&mut conn, D::BEGIN).await;
            D::set_order(&mut conn, "before", "paid").await.unwrap();
            ledger.settle_in(&mut conn, action.id).await.unwrap();
            D::execute(&mut conn, "COMMIT").await;
        }
        // Works until no action is left.
        "recover" => {
            let worker = ledger.worker(fast(8));
            let open = Filter::first(1).standing(Standing::Open);
            while !ledger.list(&open).await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            worker.drain(Duration::from_secs(5)).await;
        }
        // Works until it is killed.
        "work" => {
            let _worker = ledger.worker(fast(8));
            std::future::pending::<()>().await;
        }
        // Only one call may be under way, so while it is, the process does nothing else.
        "work-one" => {
            let _worker = ledger.worker(fast(1));
            std::future::pending::<()>().await;
        }
        "work-skewed" => {
            assert!(crate::clocks::is_skewed(ledger.store()).await, "its clock is right");
            let _worker = ledger.worker(fast(256));
            std::future::pending::<()>().await;
        }
        "work-wide" => {
            let _worker = ledger.worker(fast(256));
            std::future::pending::<()>().await;
        }
        other => panic!("no role `{other}`"),
    }
}

/// The settings of a fast worker with at most `wide` actions under way.
fn fast(wide: u32) -> WorkerSettings {
    let mut settings = WorkerSettings::default();
    settings.scan = Duration::from_millis(50);
    (settings.claim, settings.concurrency) = (wide, wide as usize);
    settings
}

/// Records many actions, which workers then perform.
pub(crate) async fn record_many<D: Database>(
    db: &str,
    dependency: &str,
    operation: &str,
    numbers: std::ops::Range<usize>,
) {
    let ledger = ledger::<D>(D::open(db).await, "127.0.0.1:1");
    let mut tasks = Vec::new();
    for number in numbers {
        let ledger = ledger.clone();
        let new = NewAction::new(dependency, operation, format!("k{number}"), format!("{{\"n\":{number}}}"));
        tasks.push(tokio::spawn(async move {
            ledger.record(&new).await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// Opens a ledger that is only read.
pub(crate) async fn look<S, D: Database<Store = S>>(db: &str) -> Ledger<S>
where
    S: Store,
{
    ledger::<D>(D::open(db).await, "127.0.0.1:1")
}
