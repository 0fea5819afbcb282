//! What a large table, a long transaction and idle time cost. `cargo xtask bench growth` runs it.
//!
//! Each command prints lines of JSON:
//!
//! - `fill --rows=N --most=STANDING`: creates the tables and fills them; prints nothing.
//! - `list --rows=N --page=N`: lists each standing; prints `{"list":"done of pay, deep","rows":N,"ms":M}` for each list.
//! - `idle --dependencies=N`: starts a worker for that many dependencies, prints `begin`, and leaves it idle.
//! - `work --rate=N`: performs an action that the application has to settle, and prints `held ID`. Then it records
//!   actions, which its worker performs, and performs others itself, and prints `begin`. At the end it prints
//!   `{"sent":N,"wait_p50_ms":M,"wait_p99_ms":M,"performed":N,"perform_p50_ms":M,"perform_p99_ms":M}`. The wait is from
//!   the record of an action to its call.
//! - `ended --rows=N`: beside N rows that have ended, claims an action that is due, and begins an action whose key is recorded
//!   already; prints `{"what":"claim","p50_ms":M,"p99_ms":M}`, and the same for `replay`.

mod fill;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use seawall_ledger::store::postgres::{Postgres, Settings};
use seawall_ledger::store::sqlite::Sqlite;
use seawall_ledger::store::{Boxed, Declared, Filter, Standing, Store};
use seawall_ledger::{
    Begun, CancelRules, Delivery, Found, Ledger, Lifetime, NewAction, Operation, Performed, Remote, Report,
    Rules, SettleBy, Undone, WorkerSettings,
};
use seawall_policy::Idempotency;

const REQUEST: &[u8] = br#"{"amount":1200,"currency":"EUR","order":"0123456789"}"#;

/// The number of actions that the program performs itself at the same time.
const CALLERS: usize = 8;

/// The number of times that each list is read. The median is printed.
const READS: usize = 15;

fn micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()
}

/// A provider that answers immediately. It notes how long each action waited, if the action's key begins with the time
/// of its record.
#[derive(Default)]
struct Provider {
    waits: Mutex<Vec<u128>>,
}

impl Remote for Provider {
    fn perform<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Performed, Report)> {
        Box::pin(async move {
            if !delivery.may_send() {
                return (Performed::NotSent, Report::default());
            }
            let recorded = delivery.action.key.split('-').next().and_then(|at| at.parse::<u128>().ok());
            if let Some(at) = recorded {
                let wait = micros().saturating_sub(at);
                self.waits.lock().unwrap_or_else(PoisonError::into_inner).push(wait);
            }
            (Performed::Yes(None), Report::default())
        })
    }

    fn confirm<'a>(&'a self, _: Delivery<'a>) -> Boxed<'a, (Found, Report)> {
        Box::pin(async { (Found::Other, Report::default()) })
    }

    fn cancel<'a>(&'a self, _: Delivery<'a>) -> Boxed<'a, (Undone, Report)> {
        Box::pin(async { (Undone::Yes, Report::default()) })
    }
}

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Returns the value of the option `--name=value`.
fn option(name: &str) -> Outcome<String> {
    let prefix = format!("--{name}=");
    let found = std::env::args().find_map(|arg| arg.strip_prefix(prefix.as_str()).map(str::to_owned));
    found.ok_or_else(|| format!("{prefix}… is missing").into())
}

fn seconds() -> Outcome<Duration> {
    Ok(Duration::from_secs_f64(option("seconds")?.parse()?))
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let url = option("url")?;
    match url.strip_prefix("sqlite:") {
        Some(file) => run(Sqlite::open(file).await?).await,
        None => run(Postgres::connect(&url, Settings::default()).await?).await,
    }
}

fn rows() -> Outcome<u64> {
    Ok(option("rows")?.parse()?)
}

async fn run<S: Store>(store: S) -> Outcome<()> {
    store.migrate().await?;
    match std::env::args().nth(1).as_deref() {
        Some("fill") => fill::fill(&option("url")?, rows()?, &option("most")?).await,
        Some("list") => list(&store).await,
        Some("idle") => idle(store).await,
        Some("work") => work(store).await,
        Some("ended") => ended(store, rows()?).await,
        _ => Err("the first argument is fill, list, idle, work or ended".into()),
    }
}

/// Reads a page of each list: of each standing, of one dependency and of all, from the first row on and from the middle
/// of the table on.
async fn list<S: Store>(store: &S) -> Outcome<()> {
    let page: u32 = option("page")?.parse()?;
    let middle = fill::middle(rows()?);
    let standings = Standing::ALL.into_iter().map(Some).chain([None]);
    for standing in standings {
        for dependency in [None, Some("pay"), Some("rare")] {
            for after in [None, Some(middle)] {
                let mut filter = Filter::first(page);
                filter.standing = standing;
                filter.dependency = dependency.map(str::to_owned);
                filter.after = after;
                let mut took = Vec::with_capacity(READS);
                let mut rows = 0;
                for _ in 0..READS {
                    let begin = Instant::now();
                    rows = store.list(&filter).await?.len();
                    took.push(begin.elapsed().as_micros());
                }
                let name = format!(
                    "{}{}{}",
                    standing.map_or("any standing", Standing::as_str),
                    dependency.map(|name| format!(" of {name}")).unwrap_or_default(),
                    if after.is_some() { ", deep" } else { "" }
                );
                println!("{{\"list\":\"{name}\",\"rows\":{rows},\"ms\":{}}}", at(&mut took, 0.5));
            }
        }
    }
    Ok(())
}

async fn idle<S: Store>(store: S) -> Outcome<()> {
    let dependencies: usize = option("dependencies")?.parse()?;
    let mut builder = Ledger::builder(store);
    for number in 0..dependencies {
        let rules = Rules::of(Idempotency::Keyed);
        let name = format!("dependency-{number}");
        builder = builder.operation(Operation::new(name, "charge", rules, Arc::new(Provider::default())));
    }
    let ledger = builder.build()?;
    let worker = ledger.worker(WorkerSettings::default());
    // What the worker does once at its start is not counted.
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("begin");
    tokio::time::sleep(seconds()?).await;
    worker.drain(Duration::from_secs(5)).await;
    Ok(())
}

async fn work<S: Store>(store: S) -> Outcome<()> {
    let rate: u32 = option("rate")?.parse()?;
    let provider = Arc::new(Provider::default());
    let rules = Rules::of(Idempotency::Keyed).remembered(Lifetime::For(Duration::from_secs(24 * 3600)));
    // The held action is due while an application's transaction still holds its row.
    let held = Rules {
        attempt: Duration::from_secs(1),
        settle: SettleBy::Explicit(Duration::from_secs(8)),
        cancel: Some(CancelRules { by_key: true, ..CancelRules::default() }),
        ..rules.clone()
    };
    let ledger = Ledger::builder(store)
        .operation(Operation::new("pay", "charge", rules, provider.clone()))
        .operation(Operation::new("pay", "hold", held, provider.clone()))
        .build()?;
    let worker = ledger.worker(WorkerSettings::default());
    let action =
        ledger.perform(&NewAction::new("pay", "hold", format!("held-{}", micros()), REQUEST)).await?;
    println!("held {}", action.id);
    let end = Instant::now() + seconds()?;
    println!("begin");
    let callers: Vec<_> =
        (0..CALLERS).map(|caller| tokio::spawn(perform(ledger.clone(), caller, end))).collect();
    let mut recorders = tokio::task::JoinSet::new();
    let mut number = 0_u64;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    while Instant::now() < end && rate > 0 {
        ticks.tick().await;
        let ledger = ledger.clone();
        number += 1;
        recorders.spawn(async move {
            let key = format!("{}-{number}", micros());
            ledger.record(&NewAction::new("pay", "charge", key, REQUEST)).await.map(|_| ())
        });
        while let Some(ended) = recorders.try_join_next() {
            ended??;
        }
    }
    tokio::time::sleep_until(end.into()).await;
    let mut performed = Vec::new();
    for caller in callers {
        performed.extend(caller.await??);
    }
    worker.drain(Duration::from_secs(10)).await;
    let mut waits = std::mem::take(&mut *provider.waits.lock().unwrap_or_else(PoisonError::into_inner));
    println!(
        "{{\"sent\":{},\"wait_p50_ms\":{},\"wait_p99_ms\":{},\"performed\":{},\"perform_p50_ms\":{},\"perform_p99_ms\":{}}}",
        waits.len(),
        at(&mut waits, 0.5),
        at(&mut waits, 0.99),
        performed.len(),
        at(&mut performed, 0.5),
        at(&mut performed, 0.99),
    );
    Ok(())
}

/// The number of times that a claim and a replay are measured.
const TIMES: u64 = 500;

/// Measures a claim of the one action that is due, and the beginning of an action whose key is recorded already, in a table
/// with this number of other rows.
async fn ended<S: Store>(store: S, rows: u64) -> Outcome<()> {
    let rules = Rules::of(Idempotency::Keyed).remembered(Lifetime::For(Duration::from_secs(24 * 3600)));
    let lease = rules.lease;
    let ledger = Ledger::builder(store.clone())
        .operation(Operation::new("pay", "charge", rules, Arc::new(Provider::default())))
        .build()?;
    let declared = Declared::new("pay", &["charge"]);
    let (mut claims, mut replays) = (Vec::new(), Vec::new());
    for number in 0..TIMES {
        ledger.record(&NewAction::new("pay", "charge", format!("due-{number}"), REQUEST)).await?;
        let begin = Instant::now();
        let claimed = store.claim(&declared, ledger.owner(), 1, lease).await?;
        claims.push(begin.elapsed().as_micros());
        if claimed.len() != 1 {
            return Err(format!("{} rows were claimed", claimed.len()).into());
        }
        // The keys are spread over the table. No row with such a number is open or failed, or of another dependency.
        let key = format!("key-{}", number * (rows / TIMES) / 20 * 20 + 17);
        let begin = Instant::now();
        let begun = ledger.start(&NewAction::new("pay", "charge", key, *b"{}")).await?;
        replays.push(begin.elapsed().as_micros());
        if !matches!(begun, Begun::Found(_)) {
            return Err("a replay has begun an action".into());
        }
    }
    for (what, mut took) in [("claim", claims), ("replay", replays)] {
        let (p50, p99) = (at(&mut took, 0.5), at(&mut took, 0.99));
        println!("{{\"what\":\"{what}\",\"p50_ms\":{p50},\"p99_ms\":{p99}}}");
    }
    Ok(())
}

/// Performs one action after the other until `end`, and returns how long each took, in µs.
async fn perform<S: Store>(ledger: Ledger<S>, caller: usize, end: Instant) -> Outcome<Vec<u128>> {
    let mut took = Vec::new();
    while Instant::now() < end {
        let begin = Instant::now();
        let key = format!("caller-{caller}-{}", micros());
        ledger.perform(&NewAction::new("pay", "charge", key, REQUEST)).await?;
        took.push(begin.elapsed().as_micros());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(took)
}

/// Returns the value in ms below which this share of the values in µs lies; 0 if there are none.
fn at(values: &mut [u128], share: f64) -> f64 {
    values.sort_unstable();
    let index = (values.len() as f64 * share) as usize;
    values.get(index).or(values.last()).map_or(0.0, |value| *value as f64 / 1000.0)
}
