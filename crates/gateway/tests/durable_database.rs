//! A ledger whose database stops, stands still, is slow, is full, or loses an answer: what callers are told, what the
//! provider's books say, and that everything goes on by itself afterwards.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use seawall_lab::harbor::Books;
use support::charges::{
    BODY, FINE, Place, all, booked, charge, charge_within, ended, headers, opened, send, until_in_flight,
};
use support::relay::{Relay, Then};
use support::scratch::Server;
use support::{Gateway, Heard, harbor, soon};

/// How long a caller waits at most until it is told that the ledger cannot be reached.
const TOLD: Duration = Duration::from_secs(6);

/// Sends a charge, and returns the answer with the time that it took.
async fn timed(gateway: &Gateway, key: &str) -> (Heard, Duration) {
    let begun = Instant::now();
    let heard = send(gateway, key, FINE).await;
    (heard, begun.elapsed())
}

/// Checks that this number of durable calls is refused in time, that nothing of them is sent, and that a call that is not
/// durable goes on. Returns the longest time that a caller waited. `name` is the beginning of the keys.
async fn refused(gateway: &Gateway, books: &Books, name: &str, number: usize) -> Duration {
    let keys: Vec<String> = (0..number).map(|number| format!("{name}-{number}")).collect();
    let pings = async {
        for _ in 0..5 {
            let begun = Instant::now();
            let fine = gateway.ask("GET", "/pay/v1/ping", &[], "").await;
            assert_eq!(fine.status, Some(200), "{fine:?}");
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        }
    };
    let (heard, ()) = tokio::join!(all(keys.iter().map(|key| timed(gateway, key))), pings);
    for (heard, took) in &heard {
        assert_eq!(heard.verdict(), (503, "not-applied", "0", "ledger-unavailable"), "{heard:?}");
        let detail = heard.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("An earlier call with this key may have taken effect"), "{detail}");
        assert!(*took < TOLD, "{took:?}: {heard:?}");
    }
    for key in &keys {
        assert_eq!(booked(books, key), (0, 0), "{key}");
    }
    heard.iter().map(|(_, took)| *took).max().unwrap()
}

/// Sends a charge again and again until the ledger works, and returns how long that took.
async fn works(gateway: &Gateway, books: &Books, key: &str) -> Duration {
    let begun = Instant::now();
    soon("a charge", async {
        loop {
            let heard = send(gateway, key, FINE).await;
            if heard.status == Some(200) {
                assert_eq!(heard.header("seawall-effect"), Some("applied"), "{heard:?}");
                break;
            }
            assert_eq!(heard.header("seawall-reason"), Some("ledger-unavailable"), "{heard:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(booked(books, key), (1, 1), "{key}");
    begun.elapsed()
}

/// A server that stands still until this is dropped.
struct Paused<'s>(&'s Server);

impl<'s> Paused<'s> {
    fn new(server: &'s Server) -> Paused<'s> {
        server.signal("STOP");
        Paused(server)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.signal("CONT");
    }
}

/// A gateway whose durable calls may take longer than the database has for an answer. Its leases outlive the trouble.
async fn patient(place: &Place, address: std::net::SocketAddr) -> Gateway {
    let charge = charge_within(address, "{ read = \"6s\", total = \"8s\" }", "");
    let gateway = Gateway::start(&(place.section().replace("4s", "60s") + &charge)).await;
    gateway.until_said("the ledger is open").await;
    gateway
}

#[tokio::test]
async fn paused_database_stops_durable_calls_only() {
    let server = Server::alone();
    let (address, books) = harbor();
    let place = Place::at(server.database());
    let gateway = patient(&place, address).await;
    assert_eq!(send(&gateway, "before", FINE).await.status, Some(200));
    let mut underway = gateway.connect().await;
    underway.send("POST", "/pay/v1/charges", &headers("underway", "delay=500ms"), BODY).await;
    until_in_flight(&books, 1).await;

    let paused = Paused::new(&server);
    let since = Instant::now();
    let longest = refused(&gateway, &books, "paused", 20).await;
    // The provider has answered, but what it said could not be written.
    let heard = underway.hear().await;
    assert_eq!(heard.verdict(), (504, "unknown", "1", "outcome-not-recorded"), "{heard:?}");
    let location = heard.header("location").unwrap().to_owned();
    let (replay, _) = timed(&gateway, "before").await;
    assert_eq!(replay.header("seawall-reason"), Some("ledger-unavailable"), "{replay:?}");
    let asked = Instant::now();
    let unread = gateway.ask("GET", &location, &[], "").await;
    assert_eq!((unread.status, unread.header("seawall-reason")), (Some(503), Some("ledger-unavailable")));
    assert!(asked.elapsed() < TOLD, "{:?}", asked.elapsed());
    refused(&gateway, &books, "later", 5).await;
    tokio::time::sleep_until((since + Duration::from_secs(20)).into()).await;
    drop(paused);

    let back = works(&gateway, &books, "after").await;
    println!("refused after {longest:?} at most; a charge took {back:?} after the pause");
    assert!(back < Duration::from_secs(5), "{back:?}");
    let shown = ended(&gateway, "underway").await;
    assert_eq!((&shown["state"], &shown["effect"]), (&"done".into(), &"applied".into()), "{shown}");
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 1, "the kept answer was written: {shown}");
    assert_eq!(booked(&books, "underway"), (1, 1));
    works(&gateway, &books, "paused-0").await;
}

#[tokio::test]
async fn stopped_database_stops_durable_calls_only() {
    let server = Server::alone();
    let (address, books) = harbor();
    let place = Place::at(server.database());
    let gateway = opened(&place, &charge(address, "")).await;
    let mut underway = gateway.connect().await;
    underway.send("POST", "/pay/v1/charges", &headers("underway", "delay=800ms"), BODY).await;
    until_in_flight(&books, 1).await;
    server.stop();
    let longest = refused(&gateway, &books, "stopped", 20).await;
    let heard = underway.hear().await;
    assert_eq!(heard.verdict(), (504, "unknown", "1", "outcome-not-recorded"), "{heard:?}");
    server.start();
    let back = works(&gateway, &books, "after").await;
    println!("refused after {longest:?} at most; a charge took {back:?} after the start");
    let shown = ended(&gateway, "underway").await;
    assert_eq!((&shown["state"], &shown["effect"]), (&"done".into(), &"applied".into()), "{shown}");
    assert_eq!(booked(&books, "underway"), (1, 1));
    // The gateway starts while the database is away, and opens the ledger as soon as it is back.
    server.stop();
    let late = Gateway::start(&(place.section() + &charge(address, ""))).await;
    late.until_said("the ledger cannot be opened").await;
    refused(&late, &books, "early", 3).await;
    server.start();
    works(&late, &books, "late").await;
}

/// A process that holds the write lock of an SQLite file until this is dropped.
struct Holder(std::process::Child);

impl Holder {
    fn of(file: &str) -> Holder {
        const HOLD: &str = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], 10, isolation_level=None)\n\
             c.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\nsys.stdin.read()";
        let mut python = std::process::Command::new("python3");
        python.args(["-c", HOLD, file]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Holder(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn locked_file_stops_durable_calls_only() {
    let (address, books) = harbor();
    let place = Place::sqlite();
    let gateway = patient(&place, address).await;
    assert_eq!(send(&gateway, "before", FINE).await.status, Some(200));
    let mut underway = gateway.connect().await;
    underway.send("POST", "/pay/v1/charges", &headers("underway", "delay=500ms"), BODY).await;
    until_in_flight(&books, 1).await;
    let holder = Holder::of(place.url.strip_prefix("sqlite:").unwrap());
    let longest = refused(&gateway, &books, "locked", 20).await;
    let heard = underway.hear().await;
    assert_eq!(heard.verdict(), (504, "unknown", "1", "outcome-not-recorded"), "{heard:?}");
    // Who only reads does not need the lock.
    let shown = gateway.ask("GET", heard.header("location").unwrap(), &[], "").await;
    assert_eq!(shown.verdict(), (200, "unknown", "1", ""), "{shown:?}");
    drop(holder);
    let back = works(&gateway, &books, "after").await;
    println!("refused after {longest:?} at most; a charge took {back:?} after the end of the lock");
    let shown = ended(&gateway, "underway").await;
    assert_eq!((&shown["state"], &shown["effect"]), (&"done".into(), &"applied".into()), "{shown}");
    assert_eq!(booked(&books, "underway"), (1, 1));
    works(&gateway, &books, "locked-0").await;
}

#[tokio::test]
async fn slow_database_is_refused_in_time_and_used_again() {
    let server = Server::shared();
    let (address, books) = harbor();
    let relay = Relay::before(server, &server.database()).await;
    let gateway = patient(&Place::at(relay.url.clone()), address).await;
    assert_eq!(send(&gateway, "before", FINE).await.status, Some(200));
    relay.delay(Duration::from_secs(3));
    let longest = refused(&gateway, &books, "slow", 20).await;
    relay.delay(Duration::ZERO);
    let back = works(&gateway, &books, "after").await;
    println!("refused after {longest:?} at most; a charge took {back:?} after that");
    works(&gateway, &books, "slow-0").await;

    // A database that is slow, but not too slow, only costs time.
    relay.delay(Duration::from_millis(300));
    let (heard, took) = timed(&gateway, "unhurried").await;
    assert_eq!(heard.verdict(), (200, "applied", "1", ""), "{heard:?}");
    println!("a charge took {took:?} with 300 ms for each statement");
}

#[tokio::test]
async fn lost_answer_to_the_commit_of_the_record_costs_only_time() {
    let server = Server::shared();
    let (address, books) = harbor();
    let relay = Relay::before(server, &server.database()).await;
    let gateway = opened(&Place::at(relay.url.clone()), &charge(address, "")).await;
    relay.trap(&["order-1", "COMMIT"], Then::Cut);
    let heard = send(&gateway, "order-1", FINE).await;
    relay.until_caught(1).await;
    assert_eq!(heard.verdict(), (200, "applied", "1", ""), "{heard:?}");
    assert_eq!(booked(&books, "order-1"), (1, 1));
}

#[tokio::test]
async fn server_that_goes_away_in_the_commit_of_the_record_leaves_an_unknown_effect_that_is_resolved() {
    let server = Server::shared();
    let (address, books) = harbor();
    let relay = Relay::before(server, &server.database()).await;
    let gateway = patient(&Place::at(relay.url.clone()), address).await;
    relay.trap(&["order-1", "COMMIT"], Then::Down);
    let (heard, took) = timed(&gateway, "order-1").await;
    assert_eq!(heard.verdict(), (503, "unknown", "0", "ledger-unavailable"), "{heard:?}");
    assert_eq!(heard.header("location"), Some("/-/actions?dependency=pay&key=order%2D1"));
    assert!(took < TOLD, "{took:?}");
    relay.release();
    let shown = ended(&gateway, "order-1").await;
    assert_eq!((&shown["state"], &shown["effect"]), (&"failed".into(), &"not-applied".into()), "{shown}");
    assert_eq!(booked(&books, "order-1"), (0, 0));
    let again = send(&gateway, "order-1", FINE).await;
    assert_eq!((again.status, again.header("seawall-effect")), (Some(200), Some("applied")), "{again:?}");
    assert_eq!(booked(&books, "order-1"), (1, 1));
}

#[tokio::test]
async fn lost_answer_to_the_commit_of_the_outcome_costs_only_time() {
    let server = Server::shared();
    let (address, books) = harbor();
    let relay = Relay::before(server, &server.database()).await;
    let gateway = opened(&Place::at(relay.url.clone()), &charge(address, "")).await;
    let mut caller = gateway.connect().await;
    caller.send("POST", "/pay/v1/charges", &headers("order-1", "delay=500ms"), BODY).await;
    until_in_flight(&books, 1).await;
    // The answer's body has the word `succeeded`.
    relay.trap(&["succeeded", "COMMIT"], Then::Cut);
    let heard = caller.hear().await;
    relay.until_caught(1).await;
    assert_eq!(heard.verdict(), (200, "applied", "1", ""), "{heard:?}");
    let again = send(&gateway, "order-1", "delay=500ms").await;
    assert_eq!((again.status, again.header("seawall-replayed")), (Some(200), Some("true")), "{again:?}");
    assert_eq!(again.json(), heard.json());
    assert_eq!(booked(&books, "order-1"), (1, 1));
}

/// Makes the database refuse each of these changes of an action, as a server does whose disk is full.
fn fill_disk(server: &Server, url: &str, change: &str) {
    let name = url.split('?').next().unwrap().rsplit('/').next().unwrap();
    server.sql(
        name,
        &format!(
            "CREATE OR REPLACE FUNCTION public.full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
            END $$;
            CREATE TRIGGER full_disk BEFORE {change} ON seawall.action EXECUTE FUNCTION public.full()"
        ),
    );
}

fn empty_disk(server: &Server, url: &str) {
    let name = url.split('?').next().unwrap().rsplit('/').next().unwrap();
    server.sql(name, "DROP TRIGGER full_disk ON seawall.action");
}

#[tokio::test]
async fn full_disk_of_postgres_is_said_in_words_and_used_again() {
    let server = Server::shared();
    let (address, books) = harbor();
    let place = Place::postgres();
    let gateway = opened(&place, &charge(address, "")).await;
    let mut underway = gateway.connect().await;
    underway.send("POST", "/pay/v1/charges", &headers("underway", "delay=800ms"), BODY).await;
    until_in_flight(&books, 1).await;
    fill_disk(server, &place.url, "INSERT OR UPDATE");
    let (heard, _) = timed(&gateway, "full").await;
    assert_eq!(heard.verdict(), (503, "not-applied", "0", "ledger-unavailable"), "{heard:?}");
    assert!(heard.text().contains("No space left"), "{heard:?}");
    refused(&gateway, &books, "full", 10).await;
    let heard = underway.hear().await;
    assert_eq!(heard.verdict(), (504, "unknown", "1", "outcome-not-recorded"), "{heard:?}");
    empty_disk(server, &place.url);
    works(&gateway, &books, "after").await;
    let shown = ended(&gateway, "underway").await;
    assert_eq!((&shown["state"], &shown["effect"]), (&"done".into(), &"applied".into()), "{shown}");
    assert_eq!(booked(&books, "underway"), (1, 1));
}

#[tokio::test]
async fn full_disk_of_sqlite_is_said_in_words_and_used_again() {
    let (address, books) = harbor();
    let text = "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 2\n[ledger]\nlease = \"4s\"\n";
    // No file may grow beyond 1 MiB, and a process that tries is told so instead of ended.
    let limits = "-S -f 2048 && trap '' XFSZ";
    let gateway = Gateway::start_under(limits, &(text.to_owned() + &charge(address, ""))).await;
    gateway.until_said("the ledger is open").await;
    let large = format!("{}{}", BODY, " ".repeat(100 << 10));
    let mut applied = 0;
    let refused_at = soon("a full disk", async {
        for number in 0.. {
            let key = format!("large-{number}");
            let heard = gateway.ask("POST", "/pay/v1/charges", &headers(&key, FINE), &large).await;
            if heard.status != Some(200) {
                return heard;
            }
            applied += 1;
        }
        unreachable!("the disk is never full")
    })
    .await;
    // The disk is full either when the call is recorded, or when its outcome is.
    let reason = refused_at.header("seawall-reason").unwrap();
    assert!(["ledger-unavailable", "outcome-not-recorded"].contains(&reason), "{refused_at:?}");
    println!("full after {applied} charges: {}", refused_at.text());
    let fine = gateway.ask("GET", "/pay/v1/ping", &[], "").await;
    assert_eq!(fine.status, Some(200), "{fine:?}");
    let pid = gateway.pid().to_string();
    let freed = std::process::Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:"]).status();
    assert!(freed.unwrap().success());
    works(&gateway, &books, "after").await;
    let last = format!("large-{applied}");
    let again = gateway.ask("POST", "/pay/v1/charges", &headers(&last, FINE), &large).await;
    assert_eq!(again.header("seawall-effect"), Some("applied"), "{again:?}");
    for number in 0..=applied {
        assert_eq!(booked(&books, &format!("large-{number}")), (1, 1), "{number}");
    }
}
