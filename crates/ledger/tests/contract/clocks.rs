//! Databases whose clocks jump: an SQLite store on a clock that the test moves, and a real PostgreSQL under libfaketime,
//! whose monotonic clock is left alone.

use std::future::Future;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use seawall_ledger::store::Store;
use seawall_ledger::store::postgres::{Postgres, Settings};
use seawall_ledger::store::sqlite::Sqlite;
use seawall_ledger::testing::TestClock;
use seawall_ledger::{
    Action, ActionId, End, Known, Ledger, Lifetime, Limits, OnUnknown, Owner, Rules, SettleBy,
};
use seawall_policy::Idempotency;
use sqlx::ConnectOptions;

use crate::provider::{Fate, Provider};
use crate::scratch;
use crate::suite::{PATIENCE, SECOND, asking, charge, soon};
use crate::world::{ledger, quick};

const JUMP: i64 = 600;

/// A database with the ledger's tables, whose clock a test moves.
trait Moving: Sized {
    type Store: Store;

    fn new() -> impl Future<Output = Self>;

    /// Opens the store, as another process would.
    fn open(&self) -> impl Future<Output = Self::Store>;

    /// Makes the clock show this number of seconds more than it would by itself.
    fn is_ahead(&self, seconds: i64);
}

struct MovingSqlite {
    folder: tempfile::TempDir,
    clock: TestClock,
    ahead: std::cell::Cell<i64>,
}

impl Moving for MovingSqlite {
    type Store = Sqlite;

    async fn new() -> MovingSqlite {
        let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
        let moving = MovingSqlite { folder, clock, ahead: std::cell::Cell::new(0) };
        moving.open().await.migrate().await.unwrap();
        moving
    }

    async fn open(&self) -> Sqlite {
        Sqlite::open_with(self.folder.path().join("ledger.db"), &self.clock).await.unwrap()
    }

    fn is_ahead(&self, seconds: i64) {
        let by = seconds - self.ahead.replace(seconds);
        let span = SECOND * u32::try_from(by.unsigned_abs()).unwrap();
        if by < 0 { self.clock.jump_back(span) } else { self.clock.jump_ahead(span) }
    }
}

/// A PostgreSQL of its own, which reads how far its clock is ahead from a file.
struct MovingPostgres {
    folder: tempfile::TempDir,
    server: Child,
}

/// The library that makes a program see another time.
fn library() -> PathBuf {
    let found = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let mut libraries = found.map(|folder| folder.join("faketime/libfaketime.so.1"));
    libraries.find(|file| file.is_file()).expect("Debian's package libfaketime is installed")
}

impl Moving for MovingPostgres {
    type Store = Postgres;

    async fn new() -> MovingPostgres {
        let folder = tempfile::tempdir().unwrap();
        let clock = folder.path().join("clock");
        std::fs::write(&clock, "+0").unwrap();
        let environment = [
            ("LD_PRELOAD", library()),
            ("FAKETIME_TIMESTAMP_FILE", clock),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ];
        let mut server = scratch::private(folder.path(), &environment);
        let moving = loop {
            assert!(server.try_wait().unwrap().is_none(), "the server has ended");
            let options: sqlx::postgres::PgConnectOptions = url(&folder).parse().unwrap();
            if options.connect().await.is_ok() {
                break MovingPostgres { folder, server };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        moving.open().await.migrate().await.unwrap();
        moving
    }

    async fn open(&self) -> Postgres {
        Postgres::connect(&url(&self.folder), Settings::default()).await.unwrap()
    }

    fn is_ahead(&self, seconds: i64) {
        // A file that is renamed is never read half written.
        let (new, clock) = (self.folder.path().join("new"), self.folder.path().join("clock"));
        std::fs::write(&new, format!("{seconds:+}")).unwrap();
        std::fs::rename(new, clock).unwrap();
    }
}

fn url(folder: &tempfile::TempDir) -> String {
    format!("postgres://postgres@localhost/postgres?host={}", folder.path().display())
}

impl Drop for MovingPostgres {
    fn drop(&mut self) {
        // SIGQUIT ends the server and all its processes immediately.
        let _ = Command::new("kill").args(["-QUIT", &self.server.id().to_string()]).status();
        let _ = self.server.wait();
    }
}

/// Rules with which the time is in doubt for 5.5 s after a jump.
fn doubting(rules: Rules) -> Rules {
    Rules { quiet: SECOND * 5, attempt: SECOND / 2, ..rules }
}

async fn until<S: Store>(
    ledger: &Ledger<S>,
    id: ActionId,
    what: &str,
    holds: impl Fn(&Action) -> bool,
) -> Action {
    let end = Instant::now() + PATIENCE;
    loop {
        let action = ledger.load(id).await.unwrap();
        if holds(&action) {
            return action;
        }
        assert!(Instant::now() < end, "waited in vain: {what}: {action:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_true(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_unknown(action: &Action) -> bool {
    action.state.known() == Known::Unknown && action.state.end().is_none()
}

/// A charge exists, the provider's look-up lags behind, and the clock jumps ahead over the quiet time.
async fn a_jump_ahead_ends_no_live_charge<M: Moving>() {
    let moving = M::new().await;
    let provider = Provider::new().script(&[Fate::DoneUnanswered, Fate::LostUnanswered]);
    provider.is_away(true);
    let ledger = ledger(moving.open().await, doubting(asking(Idempotency::None)), &provider);
    let worker = ledger.worker(soon());
    let live = ledger.record(&charge("live")).await.unwrap();
    until(&ledger, live.id, "it is unknown", is_unknown).await;
    assert_eq!(ledger.clock_standing().jumps, 0);

    moving.is_ahead(JUMP);
    until_true("the jump is seen", || ledger.clock_standing().jumps == 1).await;
    provider.is_blind(u32::MAX);
    provider.is_away(false);
    let asked = provider.confirms("live");
    until_true("it is asked about", || provider.confirms("live") > asked).await;
    let written = |action: &Action| action.state.owner().is_none();
    let action = until(&ledger, live.id, "the answer is written", written).await;
    assert!(ledger.clock_standing().doubt.is_some(), "the machine is too slow for this test");
    assert!(is_unknown(&action), "not found was believed: {action:?}");
    // What is new is sent meanwhile.
    provider.is_blind(0);
    let lost = ledger.record(&charge("lost")).await.unwrap();
    until_true("a new action is sent", || provider.performs("lost") == 1).await;

    let done = until(&ledger, live.id, "it heals", |action| action.state.end().is_some()).await;
    assert_eq!(
        (done.state.end(), provider.effects("live"), provider.cancels("live")),
        (Some(End::Done), 1, 0)
    );
    let failed =
        until(&ledger, lost.id, "absence is believed again", |action| action.state.end().is_some()).await;
    assert_eq!((failed.state.end(), provider.effects("lost")), (Some(End::Failed), 0));
    let standing = ledger.clock_standing();
    assert_eq!((standing.doubt, standing.jumps), (None, 1));
    let by = standing.last_jump.unwrap().by_micros;
    assert!((by - JUMP * 1_000_000).abs() < 1_000_000, "{by}");
    drop(worker);
}

/// The provider forgets a key while the clock is back.
async fn a_jump_back_sends_nothing_under_a_key_that_may_be_forgotten<M: Moving>() {
    let moving = M::new().await;
    let provider = Provider::new().script(&[Fate::LostUnanswered; 90]);
    let life = SECOND * 5;
    let rules = Rules {
        quiet: SECOND,
        attempt: SECOND / 2,
        key_lifetime: Some(Lifetime::For(life)),
        limits: Limits { perform: 90, ..quick(Idempotency::Keyed).limits },
        on_unknown: OnUnknown::Repeat,
        backoff: seawall_policy::Backoff { base: SECOND * 2, cap: SECOND * 2 },
        ..quick(Idempotency::Keyed)
    };
    let ledger = ledger(moving.open().await, rules, &provider);
    let worker = ledger.worker(soon());
    let action = ledger.record(&charge("k")).await.unwrap();
    until(&ledger, action.id, "it is unknown", |action| provider.performs("k") > 0 && is_unknown(action))
        .await;
    moving.is_ahead(-8);
    // On the new clock, the key seems to be 8 s younger than it is. It may be used again before the jump is seen.
    let stuck = until(&ledger, action.id, "it ends", |action| action.state.end().is_some()).await;
    assert!(stuck.state.why().unwrap().contains("the provider may have forgotten the key"), "{stuck:?}");
    let sent = provider.sent_at("k");
    let ages: Vec<_> = sent.iter().map(|at| at.duration_since(sent[0])).collect();
    assert!(ages.iter().all(|age| *age < life), "sent when the key was {ages:?} old");
    assert_eq!(ledger.clock_standing().jumps, 1);
    drop(worker);
}

/// The clock is an hour ahead while an action is recorded and sent, and is then set right.
async fn what_was_written_while_the_clock_was_ahead_does_not_sleep<M: Moving>() {
    let moving = M::new().await;
    moving.is_ahead(3600);
    let provider = Provider::new().script(&[Fate::LostUnanswered]);
    provider.is_away(true);
    let rules = Rules { quiet: SECOND, attempt: SECOND / 2, ..asking(Idempotency::None) };
    let ledger = ledger(moving.open().await, rules, &provider);
    let worker = ledger.worker(soon());
    let lost = ledger.record(&charge("lost")).await.unwrap();
    until(&ledger, lost.id, "it is unknown", is_unknown).await;
    moving.is_ahead(0);
    until_true("the jump is seen", || ledger.clock_standing().jumps == 1).await;
    provider.is_away(false);
    let failed = until(&ledger, lost.id, "absence is believed", |action| action.state.end().is_some()).await;
    assert_eq!((failed.state.end(), provider.performs("lost")), (Some(End::Failed), 1));
    drop(worker);
}

/// The clock jumps while no process runs.
async fn a_process_that_starts_after_a_jump_begins_in_doubt<M: Moving>() {
    let moving = M::new().await;
    let provider = Provider::new().script(&[Fate::DoneUnanswered]);
    provider.is_away(true);
    let rules = doubting(asking(Idempotency::None));
    let first = ledger(moving.open().await, rules.clone(), &provider);
    let worker = first.worker(soon());
    let live = first.record(&charge("live")).await.unwrap();
    until(&first, live.id, "it is unknown", is_unknown).await;
    let end = Instant::now() + PATIENCE;
    while first.store().kept_clock().await.unwrap().is_none() {
        assert!(Instant::now() < end, "the clock is not kept");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    worker.drain(PATIENCE).await;

    // A process that starts without a jump begins as usual.
    let second = ledger(moving.open().await, rules.clone(), &provider);
    second.run_within(live.id, Duration::ZERO).await.unwrap();
    assert_eq!(second.clock_standing().jumps, 0);
    drop((first, second));
    moving.is_ahead(JUMP);
    provider.is_blind(u32::MAX);
    provider.is_away(false);
    let third = ledger(moving.open().await, rules, &provider);
    let asked = provider.confirms("live");
    let action = third.run_within(live.id, Duration::ZERO).await.unwrap();
    assert!(provider.confirms("live") > asked && is_unknown(&action), "{action:?}");
    let standing = third.clock_standing();
    assert!(standing.doubt.is_some() && standing.jumps == 1, "{standing:?}");
    provider.is_blind(0);
    let done = third.run_within(live.id, PATIENCE).await.unwrap();
    assert_eq!((done.state.end(), provider.effects("live")), (Some(End::Done), 1));
}

macro_rules! on_both {
    ($($name:ident)*) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name::<super::MovingSqlite>().await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name::<super::MovingPostgres>().await;
                }
            )*
        }
    };
}

on_both! {
    a_jump_ahead_ends_no_live_charge
    a_jump_back_sends_nothing_under_a_key_that_may_be_forgotten
    a_process_that_starts_after_a_jump_begins_in_doubt
    what_was_written_while_the_clock_was_ahead_does_not_sleep
}

#[tokio::test]
async fn a_store_takes_its_time_from_the_clock_that_it_was_opened_with() {
    let moving = MovingSqlite::new().await;
    let store = moving.open().await;
    let ledger: Ledger<Sqlite> = ledger(store.clone(), quick(Idempotency::Keyed), &Provider::new());
    let reserved = ledger.reserve(&charge("k")).await.unwrap();
    let claim = || store.claim_one(reserved.id, Owner(5), SECOND);
    assert!(claim().await.unwrap().is_none(), "its lease of 4 s has not ended");
    moving.clock.advance(SECOND * 3600);
    let claimed = claim().await.unwrap().expect("an hour has passed");
    let hour_later = reserved.state.begun_at().saturating_add(SECOND * 3600);
    assert!(claimed.state.leased_until().unwrap() >= hour_later);
    assert_eq!(ledger.clock_standing().jumps, 0, "time that passes is no jump");
    moving.clock.jump_back(SECOND * 7200);
    let shown = store.ask_time().await.unwrap().now();
    assert!(shown < reserved.state.begun_at(), "{shown:?}");
    assert_eq!(ledger.clock_standing().jumps, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_jump_begins_the_doubt_again_and_slow_drift_none() {
    let moving = MovingSqlite::new().await;
    let provider = Provider::new().script(&[Fate::DoneUnanswered]);
    provider.is_away(true);
    // Each attempt has a minute, so the time is in doubt for five minutes.
    let rules = Rules {
        quiet: SECOND * 240,
        attempt: SECOND * 60,
        lease: SECOND * 70,
        pause: SECOND * 5,
        ..asking(Idempotency::None)
    };
    let store = moving.open().await;
    let ledger = ledger(store.clone(), rules, &provider);
    // A time server slews a clock by at most 30 ms in a minute.
    for _ in 0..24 {
        for _ in 0..60 {
            moving.clock.advance(SECOND * 60);
            moving.clock.jump_ahead(Duration::from_millis(30));
            store.ask_time().await.unwrap();
        }
    }
    assert_eq!(ledger.clock_standing().jumps, 0);
    let live = ledger.record(&charge("live")).await.unwrap();
    ledger.run_within(live.id, Duration::ZERO).await.unwrap();
    provider.is_blind(u32::MAX);
    provider.is_away(false);
    let ask = async |doubt: u64| {
        let asked = provider.confirms("live");
        store.ask_time().await.unwrap();
        let left = ledger.clock_standing().doubt.expect("it is in doubt").as_secs();
        assert!((doubt - 30..=doubt).contains(&left), "{left} s of {doubt} s");
        let action = ledger.run_within(live.id, Duration::ZERO).await.unwrap();
        assert!(is_unknown(&action), "{action:?}");
        provider.confirms("live") - asked
    };
    moving.clock.jump_ahead(SECOND * 600);
    assert_eq!(ask(300).await, 1);
    moving.clock.advance(SECOND * 200);
    assert_eq!(ask(100).await, 0, "it rests until the doubt is over");
    moving.clock.jump_ahead(SECOND * 600);
    assert_eq!(ask(300).await, 1);
    assert_eq!(ledger.clock_standing().jumps, 2);
    moving.clock.advance(SECOND * 301);
    let action = ledger.run_within(live.id, Duration::ZERO).await.unwrap();
    assert_eq!(action.state.end(), Some(End::Failed), "a look-up that lags for longer than declared");
    assert_eq!(ledger.clock_standing().doubt, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_can_settle_although_the_clock_has_jumped_over_its_deadline() {
    let moving = MovingSqlite::new().await;
    let provider = Provider::new();
    let rules = Rules { settle: SettleBy::Explicit(SECOND * 300), ..doubting(asking(Idempotency::None)) };
    let ledger = ledger(moving.open().await, rules, &provider);
    let worker = ledger.worker(soon());
    let applied = ledger.perform(&charge("k")).await.unwrap();
    assert_eq!(applied.state.known(), Known::Applied);
    moving.is_ahead(JUMP);
    until(&ledger, applied.id, "the worker looks at it", |action| action.state.fence() > 1).await;
    let action = until(&ledger, applied.id, "it rests", |action| action.state.owner().is_none()).await;
    assert_eq!(action.state.goal(), seawall_ledger::Goal::Perform, "{action:?}");
    ledger.settle(applied.id).await.unwrap();
    assert_eq!((provider.effects("k"), provider.cancels("k")), (1, 0));
    drop(worker);
}
