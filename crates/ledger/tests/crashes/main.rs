//! Ends real processes at every step between the recording and the settling of an action, and checks what the next
//! process does with the rows they left.
//!
//! The last test can be run with ten thousand actions and eight workers. It then takes some minutes:
//!
//! ```sh
//! SEAWALL_ACTIONS=10000 SEAWALL_WORKERS=8 cargo test -p seawall-ledger --test crashes killed_workers -- --nocapture
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(dead_code, unreachable_pub, reason = "shared with other tests, each of which uses its part")]

mod books;
mod clocks;
mod database;
mod power;
mod process;
#[path = "../support/scratch.rs"]
mod scratch;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use seawall_ledger::store::{Filter, Standing};
use seawall_ledger::{AttemptOutcome, End};
use tokio::process::{Child, Command};

use books::Books;
use database::{Database, OnPostgres, OnSqlite, prepare};
use scratch::Server;

/// The longest time that a process or a wait may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// This is no test by itself: the other tests start this binary again, in a role, and it then plays the role here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process() {
    process::play().await;
}

/// A process that is to play a role.
struct Role(Command);

fn command(role: &str, db: &str, books: &str) -> Role {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "process", "--nocapture"]);
    command.env("CRASH_ROLE", role).env("CRASH_DB", db).env("CRASH_BOOKS", books);
    command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    Role(command)
}

impl Role {
    fn with(mut self, name: &str, value: &str) -> Role {
        self.0.env(name, value);
        self
    }

    /// Makes the process load `preload.c` before the C library. It is compiled into `folder`.
    fn preloaded(self, folder: &Path) -> Role {
        let (source, built) = (folder.join("preload.c"), folder.join("preload.so"));
        std::fs::write(&source, include_str!("preload.c")).unwrap();
        let mut compiler = std::process::Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&built).arg(&source).arg("-ldl");
        let compiled = compiler.status().expect("the C compiler that builds SQLite is there");
        assert!(compiled.success());
        self.with("LD_PRELOAD", built.to_str().unwrap())
    }
}

fn started(mut role: Role) -> Child {
    role.0.spawn().unwrap()
}

fn start(role: &str, db: &str, books: &str, failpoints: &str) -> Child {
    started(command(role, db, books).with("SEAWALL_FAILPOINTS", failpoints))
}

/// Waits until a request with this key has arrived.
async fn until_sent(books: &Books, key: &str) {
    let end = Instant::now() + PATIENCE;
    while books.of(key).performs == 0 {
        assert!(Instant::now() < end, "nothing is sent for {key}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until a process ends. Returns whether it ended well.
async fn wait(mut child: Child) -> bool {
    tokio::time::timeout(PATIENCE, child.wait()).await.expect("a process hangs").unwrap().success()
}

/// Crashes at one point of one order of call and commit, and recovers. After that, both sides must agree.
async fn crash<D: Database>(db: &str, order: &str, point: &str) {
    prepare::<D>(db).await;
    let books = Books::default();
    let address = books.open().await;
    let crashed = !wait(start(order, db, &address, &format!("{point}=abort"))).await;
    assert!(crashed, "{order} at {point}: it was not reached");
    assert!(wait(start("recover", db, &address, "")).await, "{order} at {point}: the recovery failed");

    let state = D::order(db, order).await;
    let there = books.of(order);
    let told = format!("{order} at {point}: order {state:?}, {there:?}");
    assert!(there.blind == 0 && there.performs <= 1 + u32::from(order == "after"), "{told}");
    match state.as_deref() {
        Some("paid") => assert_eq!(there.live, 1, "{told}"),
        None => assert_eq!(there.live, 0, "{told}"),
        Some(other) => panic!("{told}: {other}"),
    }
    let ledger = process::look::<_, D>(db).await;
    let rows = ledger.list(&Filter::first(10)).await.unwrap();
    for row in rows {
        let ends = [Some(End::Done), Some(End::Cancelled)];
        assert!(ends.contains(&row.state.end()), "{told}: {row:?}");
        assert_eq!(row.state.end() == Some(End::Done), state.is_some(), "{told}");
    }
}

const AFTER: [&str; 7] = [
    "before-record",
    "after-record",
    "before-attempt",
    "after-attempt",
    "after-answer",
    "after-end",
    "after-outcome",
];

const BEFORE: [&str; 8] = [
    "before-record",
    "after-record",
    "before-attempt",
    "after-attempt",
    "after-answer",
    "after-outcome",
    "before-settle",
    "after-settle",
];

async fn crash_everywhere<D: Database>(make: impl Fn(usize) -> String) {
    let all = AFTER.map(|point| ("after", point)).into_iter().chain(BEFORE.map(|point| ("before", point)));
    let mut under_way = tokio::task::JoinSet::new();
    for (number, (order, point)) in all.enumerate() {
        let db = make(number);
        under_way.spawn(async move { crash::<D>(&db, order, point).await });
        // A few run at the same time, since each of them mostly waits for a lease to end.
        while under_way.len() >= 5 {
            under_way.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(ended) = under_way.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_leaves_both_sides_agreed_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    crash_everywhere::<OnSqlite>(|number| format!("sqlite:{path}/{number}.db")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_leaves_both_sides_agreed_on_postgres() {
    crash_everywhere::<OnPostgres>(|_| Server::shared().database()).await;
}

/// Kills a worker while two hundred calls are in flight. Another worker must find out how they ended.
async fn kill_in_flight<D: Database>(db: &str, dependency: &str) {
    const MANY: u32 = 200;
    prepare::<D>(db).await;
    let books = Books::holding(dependency == "keyed");
    let address = books.open().await;
    process::record_many::<D>(db, dependency, "wide", 0..MANY as usize).await;
    let mut worker = start("work-wide", db, &address, "");
    let begun = Instant::now();
    while books.all().values().filter(|entry| entry.performs > 0).count() < MANY as usize {
        assert!(begun.elapsed() < process::WIDE.0, "not all are in flight before the first gives up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.kill().await.unwrap();
    let killed = Instant::now();
    books.let_go();
    assert!(wait(start("recover", db, &address, "")).await, "{dependency}: the recovery failed");
    let took = killed.elapsed();
    let again: u32 = books.all().values().map(|entry| entry.performs - 1).sum();
    println!("{dependency}: {MANY} killed in flight, resolved after {took:.1?}, {again} sent again");
    for (key, entry) in books.all() {
        let blind = if dependency == "keyed" { 0 } else { entry.blind };
        assert_eq!((entry.live, blind, entry.changed), (1, 0, 0), "{key}: {entry:?}");
    }
    let ledger = process::look::<_, D>(db).await;
    let rows = ledger.list(&Filter::first(1000)).await.unwrap();
    assert_eq!(rows.iter().filter(|row| row.state.end() == Some(End::Done)).count(), MANY as usize);
    // The goal is the lease, the quiet time and five seconds. A busy machine may need longer.
    assert!(took < process::WIDE.1 + Duration::from_secs(30), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_killed_in_flight_are_asked_about_or_sent_again_under_their_key_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    kill_in_flight::<OnSqlite>(&format!("sqlite:{path}/asked.db"), "asked").await;
    kill_in_flight::<OnSqlite>(&format!("sqlite:{path}/keyed.db"), "keyed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_killed_in_flight_are_asked_about_or_sent_again_under_their_key_on_postgres() {
    kill_in_flight::<OnPostgres>(&Server::shared().database(), "asked").await;
    kill_in_flight::<OnPostgres>(&Server::shared().database(), "keyed").await;
}

/// Stops a worker with a call in flight until its lease has ended. Another one takes over. Then the first one goes on,
/// and tries to write.
async fn stopped_past_its_lease<D: Database>(db: &str) {
    prepare::<D>(db).await;
    let books = Books::holding(false);
    let address = books.open().await;
    process::record_many::<D>(db, "pay", "after", 0..1).await;
    let stopped = start("work-one", db, &address, "");
    until_sent(&books, "k0").await;
    signal(&stopped, "-STOP").await;
    // The first worker's answer arrives while that worker is stopped.
    books.let_go();
    assert!(wait(start("recover", db, &address, "")).await, "nobody took over");
    let ledger = process::look::<_, D>(db).await;
    let id = ledger.find("pay", "k0").await.unwrap().id;
    let before = ledger.story(id).await.unwrap();
    assert_eq!((before.action.state.end(), before.action.state.fence()), (Some(End::Done), 2));
    assert_eq!(before.attempts[0].outcome, AttemptOutcome::Open);

    signal(&stopped, "-CONT").await;
    let woken = Instant::now();
    let after = loop {
        let story = ledger.story(id).await.unwrap();
        if story.attempts[0].outcome != AttemptOutcome::Open {
            break story;
        }
        assert!(woken.elapsed() < PATIENCE, "what it heard is not written down");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(after.action, before.action, "a stale write changed the row");
    assert_eq!(D::order(db, "k0").await.as_deref(), Some("paid"));
    let there = books.of("k0");
    assert_eq!((there.live, there.performs, there.blind), (1, 1, 0), "{there:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_that_was_stopped_past_its_lease_changes_no_row_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    stopped_past_its_lease::<OnSqlite>(&format!("sqlite:{}/zombie.db", folder.path().display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_that_was_stopped_past_its_lease_changes_no_row_on_postgres() {
    stopped_past_its_lease::<OnPostgres>(&Server::shared().database()).await;
}

/// The number in an environment variable, or `small` if the variable is not set.
fn size(name: &str, small: u32) -> u32 {
    std::env::var(name).map_or(small, |text| text.parse().unwrap())
}

/// Sends a signal to a process, by the signal's name.
async fn signal(child: &Child, name: &str) {
    let Some(id) = child.id() else { return };
    let sent = Command::new("kill").args([name, &id.to_string()]).status().await.unwrap();
    assert!(sent.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_workers_and_stopped_ones_leave_one_effect_for_each_key() {
    let many = size("SEAWALL_ACTIONS", 400);
    let workers = size("SEAWALL_WORKERS", 2);
    let seed = u64::from(size("SEAWALL_SEED", fastrand::u32(..)));
    println!("SEAWALL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let db = Server::shared().database();
    prepare::<OnPostgres>(&db).await;
    let books = Books::slow(200);
    let address = books.open().await;
    process::record_many::<OnPostgres>(&db, "pay", "after", 0..many as usize).await;

    let mut alive: Vec<Child> = (0..workers).map(|_| start("work", &db, &address, "")).collect();
    let ledger = process::look::<_, OnPostgres>(&db).await;
    let open = Filter::first(1).standing(Standing::Open);
    let begun = Instant::now();
    let (mut kills, mut stops) = (0, 0);
    while !ledger.list(&open).await.unwrap().is_empty() {
        assert!(
            begun.elapsed() < PATIENCE + Duration::from_millis(u64::from(many) * 30),
            "not all come to an end"
        );
        tokio::time::sleep(Duration::from_millis(random.u64(100..400))).await;
        let victim = random.usize(0..alive.len());
        // After a number of kills no more processes are killed, so that the work can be finished.
        if kills + stops >= 3 + many / 100 {
            continue;
        }
        if random.bool() {
            kills += 1;
            alive[victim].kill().await.unwrap();
            alive[victim] = start("work", &db, &address, "");
        } else {
            // The process is stopped until its lease has ended. Then it goes on.
            stops += 1;
            signal(&alive[victim], "-STOP").await;
            tokio::time::sleep(Duration::from_millis(2500)).await;
            signal(&alive[victim], "-CONT").await;
        }
    }
    drop(alive);
    let mut after = None;
    let mut seen = 0;
    loop {
        let mut page = Filter::first(1000);
        page.after = after;
        let rows = ledger.list(&page).await.unwrap();
        let Some(last) = rows.last() else { break };
        after = Some(last.id);
        seen += rows.len();
        assert!(rows.iter().all(|row| row.state.end() == Some(End::Done) && row.state.settled()));
    }
    assert_eq!(seen, usize::try_from(many).unwrap());
    let all = books.all();
    assert_eq!(all.len(), seen);
    for (key, entry) in &all {
        assert_eq!((entry.live, entry.blind), (1, 0), "{key}: {entry:?}");
    }
    let asked_again = all.values().filter(|entry| entry.performs > 1).count();
    println!(
        "{seen} actions, {workers} workers, {kills} kills, {stops} stops, {asked_again} sent again after asking"
    );
    assert!(kills + stops > 0, "nobody was hurt");
}
