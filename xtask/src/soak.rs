//! `cargo xtask soak`: runs the ledger's soak test for longer than the ordinary tests run it.
//!
//! The soak itself is a test of `seawall-ledger` (`crates/ledger/tests/soak`), and a short run of it is part of every
//! test run. This command starts the same test with another duration and seed. So xtask itself needs no database
//! driver.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::needs;
use crate::process::{Outcome, cargo, run};

/// The options of `cargo xtask soak`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// For how many minutes faults are caused. After that, the run waits until nothing is to be done any more. Then it
    /// compares the provider's books with the ledger and with the application's tables.
    #[arg(long, default_value_t = 30)]
    minutes: u32,
    /// The seed from which all faults and their times are drawn [default: drawn from the time, and printed].
    #[arg(long)]
    seed: Option<u64>,
    /// The kind of database that the ledger uses in this run.
    #[arg(long, value_enum, default_value = "postgres")]
    store: Store,
    /// Parts of names of faults, such as `silent` or `deploy`. Faults whose name contains one of them are left out.
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// Keep the folder of the run even if nothing is wrong.
    #[arg(long)]
    keep: bool,
    /// Install missing tools; for root this is the default.
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Store {
    Sqlite,
    Postgres,
}

/// Builds and runs the soak. Fails if an effect was lost or doubled, if an action is stuck, if the provider's books
/// differ from the ledger or from the application's tables, or if a kind of fault never happened.
pub(crate) fn soak(options: &Options) -> Outcome<()> {
    let store = match options.store {
        Store::Sqlite => "sqlite",
        Store::Postgres => "postgres",
    };
    if options.store == Store::Postgres {
        needs::provide(&needs::for_bench(&["soak"]), options.yes)?;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = options.seed.unwrap_or(since.as_secs() % 1_000_000);
    let seconds = u64::from(options.minutes.max(1)) * 60;
    println!("cargo xtask soak --minutes {} --seed {seed} --store {store}", options.minutes.max(1));
    let mut test = cargo();
    test.args(["test", "--locked", "--quiet", "--package", "seawall-ledger", "--test", "soak", "--"]);
    test.arg(format!("nothing_is_lost_or_doubled_while_everything_fails_on_{store}"));
    test.args(["--exact", "--nocapture"]);
    test.env("SEAWALL_SOAK_SECONDS", seconds.to_string()).env("SEAWALL_SOAK_SEED", seed.to_string());
    test.env("SEAWALL_SOAK_WITHOUT", options.without.join(","));
    if options.keep {
        test.env("SEAWALL_SOAK_KEEP", "1");
    }
    run(&mut test)
}
