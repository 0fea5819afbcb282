//! What only PostgreSQL has: functions for other languages, a server that is away for a while, and rows that other
//! transactions hold.

use std::time::{Duration, Instant};

use seawall_ledger::{
    ActionId, End, Known, Ledger, NewAction, Operation, Refusal, Rules, SettleBy, SqlTerms,
};
use seawall_policy::Idempotency;

use crate::provider::{Fate, Provider};
use crate::scratch::Server;
use crate::suite::{PATIENCE, asking, charge, ended, soon, until};
use crate::world::{PostgresWorld, World, ledger, quick};

/// The database's name in a URL.
fn name(url: &str) -> &str {
    url.split('?').next().and_then(|front| front.rsplit('/').next()).unwrap()
}

/// Runs `psql`, which sends the statements as a program in any other language would. Returns what it printed, or the
/// error.
fn psql(database: &str, text: &str) -> Result<String, String> {
    let mut command = std::process::Command::new(crate::scratch::program("psql"));
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]);
    let out = command.arg("-d").arg(Server::shared().url(database)).args(["-c", text]).output().unwrap();
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_languages_record_and_settle_in_their_own_transactions() {
    let world = PostgresWorld::new().await;
    let database = name(&world.url).to_owned();
    let provider = Provider::new();
    let rules = Rules { settle: SettleBy::Explicit(Duration::from_secs(60)), ..asking(Idempotency::Keyed) };
    let ledger = ledger(world.open().await, rules, &provider);
    let worker = ledger.worker(soon());
    world.declare_charge().await;

    let record = "SELECT seawall.record('pay', 'charge', 'k', '{\"amount\": 5}')";
    let lost = psql(&database, &format!("BEGIN; INSERT INTO orders VALUES ('k', 'new'); {record}; ROLLBACK"));
    lost.unwrap();
    assert_eq!(ledger.find("pay", "k").await.unwrap_err().refusal(), Some(Refusal::NotFound));
    let text = format!("BEGIN; INSERT INTO orders VALUES ('k', 'confirming'); {record}; COMMIT");
    let id = ActionId::parse(&psql(&database, &text).unwrap()).unwrap();
    assert_eq!(psql(&database, record).unwrap(), id.to_string(), "the same key and request");
    let other = psql(&database, "SELECT seawall.record('pay', 'charge', 'k', '{\"amount\": 6}'::jsonb)");
    assert!(other.as_ref().is_err_and(|e| e.contains("key-conflict") && e.contains("SW001")), "{other:?}");
    let long = psql(&database, "SELECT seawall.record('pay', 'charge', repeat('k', 256), '{}')");
    assert!(long.is_err());

    let action = until(&ledger, id, |action| action.state.known() == Known::Applied).await;
    assert!(action.state.settle_by().is_some(), "the operation's time to settle holds for it, too");
    assert_eq!((action.request.as_slice(), action.state.end()), (&b"{\"amount\": 5}"[..], None));
    let rolled_back = format!("BEGIN; SELECT seawall.settle('{id}'); ROLLBACK");
    psql(&database, &rolled_back).unwrap();
    assert_eq!(ledger.load(id).await.unwrap().state.end(), None);
    let paid = format!("BEGIN; UPDATE orders SET state = 'paid'; SELECT seawall.settle('{id}'); COMMIT");
    psql(&database, &paid).unwrap();
    psql(&database, &format!("SELECT seawall.settle('{id}')")).unwrap();
    let done = ledger.load(id).await.unwrap();
    assert_eq!((done.state.end(), done.state.settled()), (Some(End::Done), true));

    psql(&database, &format!("SELECT seawall.cancel('{id}')")).unwrap();
    assert_eq!(ended(&ledger, id).await.state.end(), Some(End::Cancelled));
    assert_eq!((provider.effects("k"), provider.performs("k")), (0, 1));
    let late = psql(&database, &format!("SELECT seawall.settle('{id}')"));
    assert!(late.as_ref().is_err_and(|e| e.contains("too-late")), "{late:?}");
    let unknown = psql(&database, "SELECT seawall.settle('00000000-0000-7000-8000-000000000000')");
    assert!(unknown.is_err_and(|e| e.contains("not-found")));
    drop(worker);
}

/// The Python with psycopg that `cargo xtask test` installs.
pub(crate) fn python() -> std::path::PathBuf {
    let program = std::env::current_exe().unwrap();
    let target = program.ancestors().nth(3).unwrap();
    let python = target.join("test-env/python/bin/python3");
    assert!(python.is_file(), "no {}: `cargo xtask test` installs it, with psycopg", python.display());
    python
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_program_records_settles_and_cancels_in_its_own_transactions() {
    let world = PostgresWorld::new().await;
    let provider = Provider::new().script(&[Fate::Yes, Fate::No]);
    let rules = Rules { settle: SettleBy::Explicit(Duration::from_secs(60)), ..asking(Idempotency::Keyed) };
    let ledger = ledger(world.open().await, rules, &provider);
    let worker = ledger.worker(soon());
    let nobody = ("nobody", "charge", SqlTerms::default());
    world.declare(7, &[("pay", "charge", SqlTerms::default()), nobody]).await;
    let mut command = tokio::process::Command::new(python());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contract/other_language.py");
    let ran = command.args([script, &world.url]).kill_on_drop(true).output();
    let out = tokio::time::timeout(PATIENCE * 2, ran).await.expect("it hangs").unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!((provider.effects("k"), provider.performs("k"), provider.cancels("k")), (0, 1, 1));
    assert_eq!(provider.performs("declined"), 1);
    let mut conn = world.connect().await;
    let orders = "SELECT count(*) FROM orders WHERE id = 'k' AND state = 'cancelled'";
    assert_eq!(PostgresWorld::number(&mut conn, orders).await, 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_refuse_as_the_machine_does() {
    let world = PostgresWorld::new().await;
    let database = name(&world.url).to_owned();
    let provider = Provider::new().script(&[Fate::No]);
    let ledger = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    world.declare_charge().await;
    let failed = ledger.perform(&charge("failed")).await.unwrap();
    let told = psql(&database, &format!("SELECT seawall.settle('{}')", failed.id));
    assert!(told.as_ref().is_err_and(|e| e.contains("failed") && e.contains("SW004")), "{told:?}");
    let open = ledger.record(&charge("open")).await.unwrap();
    let told = psql(&database, &format!("SELECT seawall.settle('{}')", open.id));
    assert!(told.as_ref().is_err_and(|e| e.contains("not-known")), "{told:?}");
    psql(&database, &format!("SELECT seawall.cancel('{}')", open.id)).unwrap();
    let cancelled = ledger.load(open.id).await.unwrap();
    assert_eq!((cancelled.state.end(), cancelled.state.due_at()), (Some(End::Cancelled), None));
    let due = format!("SELECT due_at IS NULL FROM seawall.action WHERE id = '{}'", open.id);
    assert_eq!(psql(&database, &due).unwrap(), "t");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_outlives_a_database_that_is_away() {
    let world = PostgresWorld::new().await;
    let database = name(&world.url).to_owned();
    let provider = Provider::new().script(&[Fate::Held]);
    let patient = Duration::from_secs(60);
    let rules = Rules { attempt: patient, lease: patient * 2, ..asking(Idempotency::None) };
    let ledger = ledger(world.open().await, rules, &provider);
    let performing = {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.perform(&charge("k")).await })
    };
    let end = Instant::now() + PATIENCE;
    while provider.performs("k") == 0 {
        assert!(Instant::now() < end, "it is not sent");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let server = Server::shared();
    let away = format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false");
    server.sql("postgres", &away);
    let ends = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
    server.sql("postgres", &ends);
    provider.release();
    let refused = ledger.perform(&charge("other")).await.unwrap_err();
    assert_eq!(refused.trouble(), Some(seawall_ledger::Trouble::Away));
    assert_eq!(provider.performs("other"), 0, "no intent, no effect");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!performing.is_finished(), "it is told before it is written");
    server.sql("postgres", &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"));
    let done = performing.await.unwrap().unwrap();
    assert_eq!((done.state.end(), done.state.known()), (Some(End::Done), Known::Applied));
    assert_eq!((provider.performs("k"), provider.confirms("k")), (1, 0), "it knew, and had not to ask");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_somebody_holds_delays_no_other() {
    let world = PostgresWorld::new().await;
    let provider = Provider::new().script(&[Fate::Held]);
    let patient = Duration::from_secs(60);
    let rules = Rules { attempt: patient, lease: patient * 2, ..quick(Idempotency::Keyed) };
    let ledger = ledger(world.open().await, rules, &provider);
    let held = {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.perform(&charge("held")).await.unwrap() })
    };
    let end = Instant::now() + PATIENCE;
    while provider.performs("held") == 0 {
        assert!(Instant::now() < end, "it is not sent");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut conn = world.connect().await;
    PostgresWorld::execute(&mut conn, "BEGIN").await;
    PostgresWorld::execute(&mut conn, "SELECT * FROM seawall.action WHERE key = 'held' FOR UPDATE").await;
    provider.release();
    // These are more than one batch, and the outcome waits for its row meanwhile.
    for number in 0..10 {
        let new = NewAction { key: format!("k{number}"), ..charge("") };
        let done =
            tokio::time::timeout(Duration::from_secs(10), ledger.perform(&new)).await.unwrap().unwrap();
        assert_eq!(done.state.end(), Some(End::Done));
    }
    assert!(!held.is_finished());
    PostgresWorld::execute(&mut conn, "COMMIT").await;
    assert_eq!(held.await.unwrap().state.end(), Some(End::Done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_swallows_the_error_of_a_statement_has_failed() {
    let world = PostgresWorld::new().await;
    let provider = Provider::new();
    let remote = std::sync::Arc::new(provider.clone());
    let runs = std::sync::atomic::AtomicU32::new(0);
    // PostgreSQL answers the COMMIT of such a transaction with success, although it rolls back.
    let charging =
        Operation::new("pay", "charge", quick(Idempotency::Keyed), remote).on_settled(move |conn, action| {
            let first = runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            Box::pin(async move {
                if first {
                    let _ = sqlx::raw_sql("SELECT 1 / 0").execute(&mut *conn).await;
                    return Ok(());
                }
                PostgresWorld::write_order(conn, &action.key, "paid").await
            })
        });
    let ledger = Ledger::builder(world.open().await).operation(charging).build().unwrap();
    let action = ledger.perform(&charge("k")).await.unwrap();
    let trouble = action.state.handler().expect("nothing was committed, so it is not told as settled");
    assert!(trouble.error.contains("the handler returned no error"), "{}", trouble.error);
    assert_eq!((action.state.end(), action.state.known()), (None, Known::Applied));
    let worker = ledger.worker(soon());
    until(&ledger, action.id, |action| action.state.end() == Some(End::Done)).await;
    worker.drain(PATIENCE).await;
}
