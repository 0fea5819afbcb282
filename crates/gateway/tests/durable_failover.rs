//! A ledger on a primary with a synchronous standby. The primary is killed under load and the standby is promoted: the calls
//! go on by themselves, and nothing is lost or doubled.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use seawall_lab::harbor::Books;
use support::charges::{FINE, Place, all, booked, charge_within, ended, send};
use support::scratch::Server;
use support::{Gateway, harbor, soon};

/// The number of callers, each of which sends one charge after the other.
const CALLERS: usize = 8;

/// A primary, its standby that confirms each commit, and a URL that names both, the standby first.
struct Cluster {
    primary: Server,
    standby: Server,
    url: String,
}

impl Cluster {
    fn new() -> Cluster {
        let primary = Server::alone();
        primary.sql("postgres", "CREATE DATABASE ledger");
        let standby = primary.standby();
        // The standby has copied the settings before, so it waits for nobody when it is promoted.
        primary.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (*)'");
        primary.sql("postgres", "SELECT pg_reload_conf()");
        let end = Instant::now() + Duration::from_secs(20);
        while primary.sql("postgres", "SELECT sync_state FROM pg_stat_replication").trim() != "sync" {
            assert!(Instant::now() < end, "the standby does not follow");
            std::thread::sleep(Duration::from_millis(20));
        }
        let folder = |server: &Server| server.folder().unwrap().display().to_string();
        let hosts = format!("{},{}", folder(&standby), folder(&primary));
        let url = format!("postgres://postgres:S3CRET@localhost/ledger?host={hosts}");
        Cluster { primary, standby, url }
    }
}

/// What callers were told of one key until it was applied.
#[derive(Debug, Default)]
struct Told {
    applied: usize,
    others: Vec<String>,
}

/// Sends one charge after the other until `enough`. Each is repeated under its key until it has taken effect, as a caller
/// would do. Returns what was told of each key.
async fn calls(
    gateway: &Gateway,
    caller: usize,
    done: &AtomicUsize,
    enough: &AtomicBool,
) -> BTreeMap<String, Told> {
    let mut all = BTreeMap::new();
    for number in 0.. {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("order-{caller}-{number}");
        let mut told = Told::default();
        soon("a charge", async {
            while told.applied == 0 {
                let heard = send(gateway, &key, FINE).await;
                let (status, effect, _, reason) = heard.verdict();
                match (status, effect) {
                    (200, "applied") => told.applied += 1,
                    _ => {
                        assert!([409, 503, 504].contains(&status), "{heard:?}");
                        told.others.push(format!("{status} {effect} {reason}"));
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
        })
        .await;
        done.fetch_add(1, Ordering::Relaxed);
        all.insert(key, told);
    }
    all
}

async fn until_done(done: &AtomicUsize, number: usize) {
    soon("charges", async {
        while done.load(Ordering::Relaxed) < number {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Checks that the provider has each effect once, and that the ledger on `server` has each action as done.
async fn is_booked_once(gateway: &Gateway, server: &Server, books: &Books, told: &BTreeMap<String, Told>) {
    for key in told.keys() {
        let (_, effects) = booked(books, key);
        assert_eq!(effects, 1, "{key}: {told:?}");
        let shown = ended(gateway, key).await;
        assert_eq!((&shown["state"], &shown["effect"]), (&"done".into(), &"applied".into()), "{shown}");
    }
    assert_eq!(books.snapshot().by_key.len(), told.len(), "the provider has heard of no other key");
    let rows =
        server.sql("ledger", "SELECT count(*), count(*) FILTER (WHERE ended = 'done') FROM seawall.action");
    assert_eq!(rows.trim(), format!("{0}|{0}", told.len()), "no row is missing, and none is left");
}

#[tokio::test]
async fn promoted_standby_is_used_without_a_person_and_nothing_is_lost_or_doubled() {
    let cluster = Arc::new(Cluster::new());
    let (address, books) = harbor();
    let place = Place::at(cluster.url.clone());
    let charge = charge_within(address, "{ read = \"2s\", total = \"3s\" }", "");
    let gateway = Gateway::start(&(place.section() + &charge)).await;
    gateway.until_said("the ledger is open").await;

    let (done, enough) = (AtomicUsize::new(0), AtomicBool::new(false));
    let course = async {
        until_done(&done, 40).await;
        let killed = Instant::now();
        let failing = Arc::clone(&cluster);
        let fails_over = tokio::task::spawn_blocking(move || {
            failing.primary.kill();
            failing.standby.promote();
        });
        fails_over.await.unwrap();
        let promoted = killed.elapsed();
        let before = done.load(Ordering::Relaxed);
        until_done(&done, before + 2 * CALLERS).await;
        println!(
            "promoted {promoted:?} after the loss; {before} charges before, works {:?} after",
            killed.elapsed()
        );
        until_done(&done, before + 60).await;
        enough.store(true, Ordering::Relaxed);
    };
    let callers = all((0..CALLERS).map(|caller| calls(&gateway, caller, &done, &enough)));
    let (told, ()) = tokio::join!(callers, course);
    let told: BTreeMap<String, Told> = told.into_iter().flatten().collect();
    let others: Vec<&String> = told.values().flat_map(|told| &told.others).collect();
    println!("{} charges; besides their answers, callers were told {others:?}", told.len());

    is_booked_once(&gateway, &cluster.standby, &books, &told).await;
    let said = gateway.until_said("the ledger goes on with another server of its database").await;
    let (from, to) = (cluster.primary.folder().unwrap(), cluster.standby.folder().unwrap());
    assert!(said.contains(from.to_str().unwrap()) && said.contains(to.to_str().unwrap()), "{said}");
    assert_eq!(gateway.said("S3CRET"), [""; 0], "the password is in no line of the log");
}
