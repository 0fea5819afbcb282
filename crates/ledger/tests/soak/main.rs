//! A soak: two programs and a provider at work, while everything around them fails.
//!
//! The programs are processes of their own: this test binary, started again in a role. They place, pay and take back
//! orders in all the ways in which an application can use the ledger, and both have a worker. The provider, and what
//! hurts them all, is in this process. What goes wrong is drawn from a seed. At the end the faults stop, the rows come to
//! rest, and the provider's books are compared with the ledger, with the application's tables, and with what the
//! programs were told.
//!
//! `cargo xtask soak --minutes 30 --seed 1` runs it for longer. It sets these variables:
//!
//! - `SEAWALL_SOAK_SECONDS`: how long things go wrong. If it is not set, the run is short.
//! - `SEAWALL_SOAK_SEED`: the seed.
//! - `SEAWALL_SOAK_WITHOUT`: parts of the names of faults that are left out, separated by commas.
//! - `SEAWALL_SOAK_KEEP`: if it is set, the run's folder is kept even if nothing is wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(dead_code, unreachable_pub, reason = "shared with other tests, each of which uses its part")]

mod books;
mod cluster;
mod course;
mod declared;
mod desk;
mod programs;
mod provider;
mod reached;
mod relay;
mod run;
mod schedule;
#[path = "../support/scratch.rs"]
mod scratch;
mod shop;
mod tables;
mod verdict;
mod writer;

use std::time::Duration;

use tables::{Database, Kind, OnPostgres, OnSqlite};

/// What is asked of a run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// How long things go wrong.
    pub(crate) span: Duration,
    pub(crate) store: Kind,
    /// Parts of the names of faults that are left out.
    pub(crate) without: Vec<String>,
}

/// How long things go wrong in a run that is part of the tests.
const SHORT: Duration = Duration::from_secs(14);

impl Options {
    fn read(store: Kind) -> Options {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
        let without = std::env::var("SEAWALL_SOAK_WITHOUT").unwrap_or_default();
        let without = without.split(',').map(str::trim).filter(|word| !word.is_empty());
        Options {
            seed: number("SEAWALL_SOAK_SEED").unwrap_or(1),
            span: number("SEAWALL_SOAK_SECONDS").map_or(SHORT, Duration::from_secs),
            store,
            without: without.map(str::to_owned).collect(),
        }
    }

    /// Whether the run is too short for every kind of fault.
    pub(crate) fn is_short(&self) -> bool {
        self.span < Duration::from_secs(120)
    }
}

/// This is no test by itself: the soak starts this binary again, in a role, and it then plays the role here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process() {
    shop::play().await;
}

async fn soak<D: Database>(store: Kind) {
    let options = Options::read(store);
    let folder = tempfile::Builder::new().prefix("seawall-soak-").tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    println!("{store:?}, seed {}, {:?}, in {}", options.seed, options.span, folder.path().display());
    let verdict = run::soak::<D>(&options, folder.path()).await;
    let is_good = verdict.as_ref().is_ok_and(verdict::Verdict::is_good);
    match verdict {
        Ok(verdict) => println!("{verdict}"),
        Err(e) => println!("the soak could not go on: {e}"),
    }
    if !is_good || std::env::var("SEAWALL_SOAK_KEEP").is_ok() {
        println!("kept: {}", folder.keep().display());
    }
    assert!(is_good, "seed {} of {store:?}: see above", options.seed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_everything_fails_on_sqlite() {
    soak::<OnSqlite>(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_everything_fails_on_postgres() {
    soak::<OnPostgres>(Kind::Postgres).await;
}

#[test]
fn one_seed_gives_one_schedule() {
    let options = |seed| Options { seed, ..Options::read(Kind::Postgres) };
    assert_eq!(schedule::draw(&options(7)), schedule::draw(&options(7)));
    assert_ne!(schedule::draw(&options(7)), schedule::draw(&options(8)));
}
