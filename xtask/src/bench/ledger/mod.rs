//! `cargo xtask bench ledger`: measures what an action costs, compared with plain SQL and other durable engines in one
//! interleaved run.
//!
//! One action is an intent, one HTTP call to a fast upstream on loopback, and an outcome. The tables show two ratios
//! for each arm, which is one of the compared programs:
//!
//! - The ratio to pgbench, which runs plain SQL on PostgreSQL: two transactions that write the same rows as an action,
//!   without the HTTP call. An engine on PostgreSQL that commits each of its writes separately cannot be faster.
//! - The ratio to plain SQL on the arm's own kind of database. On SQLite, plain SQL makes the same two transactions,
//!   one after the other.
//!
//! Every round runs all arms one after the other at each concurrency, in an order that rotates from round to round. A
//! ratio is taken between two figures of the same round and concurrency, and the median of these ratios over the rounds
//! is shown. No process is pinned to a core: worker, database and upstream share the cores.

mod arms;
pub(crate) mod growth;

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use self::arms::{Arm, Seen, Size};
use super::report::{aligned, median};
use crate::cluster::Cluster;
use crate::needs;
use crate::process::{Outcome, Server, free_port, target};

/// The options of `cargo xtask bench ledger`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only one round, at concurrency 32, with three seconds for each program.
    #[arg(long)]
    quick: bool,
    /// The programs to measure, in this order. Known names are pgbench, sqlite, seawall-postgres, seawall-sqlite,
    /// durare-postgres, durare-sqlite, dbos, gateway-postgres, gateway-sqlite, gateway-plain [default: all].
    #[arg(long, value_delimiter = ',')]
    arms: Vec<String>,
    /// The program `load` of an earlier commit. The ledger is then compared with that commit's ledger, in the same
    /// rounds, on PostgreSQL and on SQLite. The ratios and their geometric mean are printed. Build the program in a
    /// worktree of that commit with `cargo build --release --package seawall-ledger --example load`.
    #[arg(long, value_name = "PROGRAM")]
    before: Option<PathBuf>,
    /// The numbers of actions in flight at the same time; each program is measured with each number [default:
    /// 1,8,32,128].
    #[arg(long, value_delimiter = ',')]
    concurrency: Vec<usize>,
    /// The number of seconds in which actions are counted, for each program at each concurrency [default: 5].
    #[arg(long)]
    seconds: Option<f64>,
    /// The number of rounds [default: 3].
    #[arg(long)]
    rounds: Option<usize>,
    /// Install missing tools; for root this is the default.
    #[arg(long)]
    yes: bool,
}

struct Cell {
    round: usize,
    concurrency: usize,
    arm: Arm,
    seen: Seen,
}

/// Builds the programs, measures all of them, and prints the tables.
pub(crate) fn ledger(options: &Options) -> Outcome<()> {
    let arms = match &options.before {
        Some(_) if options.arms.is_empty() => Arm::CHANGED.to_vec(),
        Some(_) | None => chosen(&options.arms)?,
    };
    let wanted: Vec<&str> = arms.iter().map(|arm| arm.name()).chain(["bench-ledger"]).collect();
    needs::provide(&needs::for_bench(&wanted), options.yes)?;
    arms::build(&arms)?;
    let (rounds, seconds, all): (usize, f64, &[usize]) =
        if options.quick { (1, 3.0, &[32]) } else { (3, 5.0, &[1, 8, 32, 128]) };
    let rounds = options.rounds.unwrap_or(rounds).max(1);
    let seconds = options.seconds.unwrap_or(seconds).max(1.0);
    let sizes = if options.concurrency.is_empty() { all.to_vec() } else { options.concurrency.clone() };

    let folder = target().join("bench");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let cluster =
        Cluster::start(&std::env::temp_dir().join(format!("seawall-bench-{}", std::process::id())), &[])?;
    let up = free_port()?;
    let port = up.to_string();
    let itself = std::env::current_exe().map_err(|e| format!("this program: {e}"))?;
    let log = folder.join("upstream.log");
    let mut upstream = Server::start("upstream", None, &itself, &["upstream", "--port", &port], &log, false)?;
    upstream.ready(up, "/100", Duration::from_secs(10))?;

    let mut cells = Vec::new();
    for round in 0..rounds {
        for &concurrency in &sizes {
            for turn in 0..arms.len() {
                let arm = arms[(turn + round) % arms.len()];
                let size = Size { concurrency, warm_up: (seconds / 4.0).clamp(0.5, 2.0), seconds };
                let seen = arms::cell(arm, size, &cluster, up, options.before.as_deref())?;
                eprintln!(
                    "round {} of {rounds}: {concurrency} in flight: {}: {:.0} actions/s, {} errors",
                    round + 1,
                    arm.name(),
                    seen.rate(),
                    seen.errors
                );
                cells.push(Cell { round, concurrency, arm, seen });
            }
        }
    }
    println!("command: cargo xtask {}", std::env::args().skip(1).collect::<Vec<_>>().join(" "));
    println!("rounds: {rounds}, seconds a cell: {seconds}");
    print!("{}", tables(&sizes, &arms, &cells));
    if options.before.is_some() {
        print!("{}", changes(&sizes, &arms, &cells));
    }
    Ok(())
}

fn chosen(names: &[String]) -> Outcome<Vec<Arm>> {
    if names.is_empty() {
        return Ok(Arm::ALL.to_vec());
    }
    let known = || Arm::ALL.map(Arm::name).join(", ");
    let arm = |name: &String| {
        let found = Arm::ALL.into_iter().find(|arm| arm.name() == name);
        found.ok_or_else(|| format!("no arm `{name}`; there are: {}", known()))
    };
    names.iter().map(arm).collect()
}

fn tables(sizes: &[usize], arms: &[Arm], cells: &[Cell]) -> String {
    let mut text = String::new();
    for &size in sizes {
        let heading = [
            "",
            "actions/s",
            "x pgbench",
            "x plain SQL",
            "p50 ms",
            "p99 ms",
            "worker CPU-µs",
            "database CPU-µs",
            "errors",
        ];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(arms.iter().map(|arm| row(size, *arm, cells)));
        let _ = write!(text, "\n{size} in flight\n{}", aligned(&rows));
    }
    text
}

/// Returns the actions per second of `arm`, divided by those of `to` in the same round, as the median over the rounds.
/// Returns `None` if no round has both programs.
fn ratio(size: usize, arm: Arm, to: Arm, cells: &[Cell]) -> Option<f64> {
    let of = |cell: &&Cell| cell.concurrency == size && cell.arm == arm;
    median(cells.iter().filter(of).filter_map(|cell| {
        let beside = |other: &&Cell| other.round == cell.round && other.concurrency == size;
        let base = cells.iter().filter(beside).find(|other| other.arm == to)?;
        Some(cell.seen.rate() / base.seen.rate())
    }))
}

/// Returns a text with one ratio for each arm and concurrency: the actions per second of the present ledger, divided by
/// those of the ledger of the earlier commit. The last line is the geometric mean of the ratios.
fn changes(sizes: &[usize], arms: &[Arm], cells: &[Cell]) -> String {
    let mut text = String::from("\nactions/s, now / before\n");
    let mut logs = Vec::new();
    for arm in arms {
        let Some(before) = arm.before() else { continue };
        for &size in sizes {
            let Some(ratio) = ratio(size, *arm, before, cells) else { continue };
            logs.push(ratio.ln());
            let _ = writeln!(text, "{} at {size}: {ratio:.3}", arm.name());
        }
    }
    let mean = (logs.iter().sum::<f64>() / logs.len().max(1) as f64).exp();
    let _ = writeln!(text, "geometric mean: {mean:.3}");
    text
}

fn row(size: usize, arm: Arm, cells: &[Cell]) -> Vec<String> {
    let of = |cell: &&Cell| cell.concurrency == size && cell.arm == arm;
    let figure = |field: fn(&Seen) -> f64, digits: usize| {
        let value = median(cells.iter().filter(of).map(|cell| field(&cell.seen)));
        value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let ratio = |to: Arm| ratio(size, arm, to, cells).map_or("-".to_owned(), |value| format!("{value:.2}"));
    vec![
        arm.name().to_owned(),
        figure(Seen::rate, 0),
        ratio(Arm::Pgbench),
        ratio(arm.base()),
        figure(|seen| seen.p50_ms, 1),
        figure(|seen| seen.p99_ms, 1),
        figure(|seen| seen.worker_us, 0),
        figure(|seen| seen.database_us, 0),
        figure(|seen| seen.errors, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(round: usize, arm: Arm, actions: f64) -> Cell {
        let seen = Seen {
            actions,
            seconds: 1.0,
            p50_ms: 1.0,
            p99_ms: 2.0,
            errors: 0.0,
            worker_us: 90.0,
            database_us: 200.0,
        };
        Cell { round, concurrency: 8, arm, seen }
    }

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        let cells = [
            cell(0, Arm::Pgbench, 1000.0),
            cell(0, Arm::Dbos, 500.0),
            cell(1, Arm::Pgbench, 100.0),
            cell(1, Arm::Dbos, 50.0),
        ];
        assert_eq!(row(8, Arm::Dbos, &cells)[2], "0.50");
    }

    #[test]
    fn an_earlier_commit_is_compared_within_its_round() {
        let cells = [
            cell(0, Arm::SeawallPostgres, 100.0),
            cell(0, Arm::BeforePostgres, 50.0),
            cell(0, Arm::SeawallSqlite, 40.0),
            cell(0, Arm::BeforeSqlite, 80.0),
        ];
        let text = changes(&[8], &Arm::CHANGED, &cells);
        assert!(text.contains("seawall-postgres at 8: 2.000"), "{text}");
        assert!(text.contains("geometric mean: 1.000"), "{text}");
    }

    #[test]
    fn an_unknown_arm_is_told_with_the_known_ones() {
        let refused = chosen(&["dboss".to_owned()]).unwrap_err();
        assert!(refused.contains("dboss") && refused.contains("durare-sqlite"), "{refused}");
    }
}
