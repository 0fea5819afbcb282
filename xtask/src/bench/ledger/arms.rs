//! The programs that the ledger's benchmark compares, called arms: the ledger, other engines, and plain SQL. All of
//! them perform actions, and the rate of each is compared with that of plain SQL.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::measure;
use crate::cluster::Cluster;
use crate::needs;
use crate::process::{Outcome, Server, cargo, output, root, run, target};

/// One of the compared programs, with the database that it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arm {
    /// Plain SQL with pgbench: one transaction inserts the intent, another one updates the outcome. No HTTP call is
    /// made.
    Pgbench,
    /// Plain SQL on SQLite, with the same two transactions as pgbench and `synchronous=FULL`, in one process.
    Sqlite,
    /// The ledger on PostgreSQL.
    SeawallPostgres,
    /// The ledger on SQLite, with `synchronous=FULL`.
    SeawallSqlite,
    /// durare on PostgreSQL.
    DurarePostgres,
    /// durare on SQLite, configured to use `synchronous=FULL`.
    DurareSqlite,
    /// DBOS on PostgreSQL.
    Dbos,
    /// Durable calls through the gateway, with the ledger on PostgreSQL.
    GatewayPostgres,
    /// Durable calls through the gateway, with the ledger on SQLite.
    GatewaySqlite,
    /// The same calls through the gateway to an operation that is not durable.
    GatewayPlain,
    /// The ledger of an earlier commit, on PostgreSQL.
    BeforePostgres,
    /// The ledger of an earlier commit, on SQLite.
    BeforeSqlite,
}

impl Arm {
    /// The arms that run by default.
    pub(super) const ALL: [Arm; 10] = [
        Arm::Pgbench,
        Arm::Sqlite,
        Arm::SeawallPostgres,
        Arm::SeawallSqlite,
        Arm::DurarePostgres,
        Arm::DurareSqlite,
        Arm::Dbos,
        Arm::GatewayPostgres,
        Arm::GatewaySqlite,
        Arm::GatewayPlain,
    ];

    /// The arms that compare the ledger with an earlier commit.
    pub(super) const CHANGED: [Arm; 4] =
        [Arm::SeawallPostgres, Arm::BeforePostgres, Arm::SeawallSqlite, Arm::BeforeSqlite];

    pub(super) fn name(self) -> &'static str {
        match self {
            Arm::Pgbench => "pgbench",
            Arm::Sqlite => "sqlite",
            Arm::SeawallPostgres => "seawall-postgres",
            Arm::SeawallSqlite => "seawall-sqlite",
            Arm::DurarePostgres => "durare-postgres",
            Arm::DurareSqlite => "durare-sqlite",
            Arm::Dbos => "dbos",
            Arm::GatewayPostgres => "gateway-postgres",
            Arm::GatewaySqlite => "gateway-sqlite",
            Arm::GatewayPlain => "gateway-plain",
            Arm::BeforePostgres => "before-postgres",
            Arm::BeforeSqlite => "before-sqlite",
        }
    }

    /// Returns the program with which this one is compared: plain SQL on the same kind of database. For plain SQL this
    /// is the program itself.
    pub(super) fn base(self) -> Arm {
        if self.on_sqlite() { Arm::Sqlite } else { Arm::Pgbench }
    }

    fn on_sqlite(self) -> bool {
        match self {
            Arm::Sqlite
            | Arm::SeawallSqlite
            | Arm::DurareSqlite
            | Arm::BeforeSqlite
            | Arm::GatewaySqlite
            | Arm::GatewayPlain => true,
            Arm::Pgbench
            | Arm::SeawallPostgres
            | Arm::DurarePostgres
            | Arm::Dbos
            | Arm::BeforePostgres
            | Arm::GatewayPostgres => false,
        }
    }

    /// Returns the arm with which this one is compared if `--before` is given: the ledger of the earlier commit, on the
    /// same kind of database. `None` if this arm is not the ledger of the present tree.
    pub(super) fn before(self) -> Option<Arm> {
        match self {
            Arm::SeawallPostgres => Some(Arm::BeforePostgres),
            Arm::SeawallSqlite => Some(Arm::BeforeSqlite),
            _ => None,
        }
    }

    /// Returns the program that runs this arm of the benchmark, and its first arguments. `before` is the program of the
    /// earlier commit.
    fn program(self, before: Option<&Path>) -> (PathBuf, Vec<String>) {
        match self {
            Arm::BeforePostgres | Arm::BeforeSqlite => {
                (before.unwrap_or(Path::new("no program of an earlier commit")).to_owned(), Vec::new())
            }
            Arm::SeawallPostgres | Arm::SeawallSqlite => (target().join("release/examples/load"), Vec::new()),
            Arm::Sqlite => (target().join("release/examples/load"), vec!["--raw".to_owned()]),
            Arm::DurarePostgres | Arm::DurareSqlite => {
                (target().join("peers/release/durare-load"), Vec::new())
            }
            Arm::Dbos => {
                (needs::python(), vec![root().join("xtask/peers/dbos_load.py").display().to_string()])
            }
            Arm::GatewayPostgres | Arm::GatewaySqlite => (itself(), vec!["durable".to_owned()]),
            Arm::GatewayPlain => (itself(), vec!["durable".to_owned(), "--plain".to_owned()]),
            Arm::Pgbench => (PathBuf::from("pgbench"), Vec::new()),
        }
    }
}

/// Returns this program.
fn itself() -> PathBuf {
    std::env::current_exe().unwrap_or_default()
}

/// The figures of one arm at one concurrency in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) actions: f64,
    pub(super) seconds: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) errors: f64,
    /// The CPU time of the worker process for each action, in µs; 0 for pgbench, where it is not measured.
    pub(super) worker_us: f64,
    /// The CPU time of the database server for each action, in µs; 0 if the database runs in the worker's process.
    pub(super) database_us: f64,
}

impl Seen {
    pub(super) fn rate(&self) -> f64 {
        self.actions / self.seconds
    }
}

/// The size of one measurement: the number of actions in flight, the seconds before counting starts, and the seconds in
/// which actions are counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) concurrency: usize,
    pub(super) warm_up: f64,
    pub(super) seconds: f64,
}

/// Makes release builds of the programs that these arms need.
pub(super) fn build(arms: &[Arm]) -> Outcome<()> {
    if arms.iter().any(|arm| arm.program(None).0.ends_with("load")) {
        eprintln!("building the ledger's load, release");
        let args = ["build", "--locked", "--release", "--package", "seawall-ledger", "--example", "load"];
        run(cargo().args(args))?;
    }
    if arms.iter().any(|arm| arm.name().starts_with("gateway")) {
        eprintln!("building the gateway, release");
        run(cargo().args(["build", "--locked", "--release", "--package", "seawall-gateway"]))?;
    }
    if arms.iter().any(|arm| arm.name().starts_with("durare")) {
        eprintln!("building durare's load, release");
        let manifest = root().join("xtask/peers/durare/Cargo.toml");
        let mut build = cargo();
        build.args(["build", "--release", "--quiet", "--target-dir"]).arg(target().join("peers"));
        run(build.arg("--manifest-path").arg(manifest))?;
    }
    Ok(())
}

/// Measures one arm once, with an empty database.
pub(super) fn cell(
    arm: Arm,
    size: Size,
    cluster: &Cluster,
    upstream: u16,
    before: Option<&Path>,
) -> Outcome<Seen> {
    let database = format!("{}_{}", arm.name().replace('-', "_"), size.concurrency);
    let url = match arm.on_sqlite() {
        true => fresh_file(&database),
        false => cluster.database(&database)?,
    };
    if arm == Arm::Pgbench {
        return pgbench(size, cluster, &database);
    }
    let (program, mut args) = arm.program(before);
    args.extend([
        format!("--url={url}"),
        format!("--upstream=127.0.0.1:{upstream}"),
        format!("--concurrency={}", size.concurrency),
        format!("--warm-up={}", size.warm_up),
        format!("--seconds={}", size.seconds),
    ]);
    let log = target().join("bench").join(format!("{}.log", arm.name()));
    let mut server = Server::start(arm.name(), None, &program, &args, &log, true)?;
    let group = server.group();
    let out = server.stdout().ok_or("the load has no output")?;
    let mut lines = BufReader::new(out).lines();
    let mut until = |wanted: fn(&str) -> bool| loop {
        match lines.next() {
            Some(Ok(line)) if wanted(&line) => return Ok(line),
            Some(Ok(_)) => {}
            Some(Err(e)) => return Err(format!("{}: {e}", arm.name())),
            None => return Err(format!("{} ended early; see {}", arm.name(), log.display())),
        }
    };
    until(|line| line == "begin")?;
    let begun = Instant::now();
    let at_begin = (measure::cpu_ns(group), measure::family_cpu_ns(cluster.group()));
    // The CPU time is read after 95 % of the measured time. At the end of that time the process ends, and its CPU time
    // can no longer be read.
    std::thread::sleep(Duration::from_secs_f64(size.seconds * 0.95));
    let after = (measure::cpu_ns(group), measure::family_cpu_ns(cluster.group()));
    let share = begun.elapsed().as_secs_f64() / size.seconds;
    let last = until(|line| line.starts_with('{'))?;
    let said: Value = serde_json::from_str(&last).map_err(|e| format!("{}: {e}: {last}", arm.name()))?;
    let figure = |name: &str| said[name].as_f64().unwrap_or(0.0);
    let actions = figure("actions");
    let each = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1000.0 / (actions * share).max(1.0);
    Ok(Seen {
        actions,
        seconds: figure("seconds"),
        p50_ms: figure("p50_us") / 1000.0,
        p99_ms: figure("p99_us") / 1000.0,
        errors: figure("errors"),
        worker_us: each(at_begin.0, after.0),
        database_us: if arm.on_sqlite() { 0.0 } else { each(at_begin.1, after.1) },
    })
}

/// Removes the SQLite database with this name, if there is one, and returns the URL of its file.
pub(super) fn fresh_file(name: &str) -> String {
    let file = target().join("bench").join(format!("{name}.db"));
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", file.display()));
    }
    format!("sqlite:{}", file.display())
}

const PGBENCH_TABLE: &str = "CREATE TABLE intents (id bigint PRIMARY KEY, key text NOT NULL UNIQUE, \
     state text NOT NULL, request bytea NOT NULL, answer bytea, created timestamptz NOT NULL DEFAULT now(), \
     ended timestamptz)";

/// The script that pgbench repeats. It has two transactions, and each of them is a single statement.
const PGBENCH_SCRIPT: &str = "\\set id random(1, 9000000000000000000)\n\
     INSERT INTO intents (id, key, state, request) VALUES (:id, 'order-' || :id, 'sent', \
     '{\"amount\":1200,\"currency\":\"EUR\",\"order\":\"0123456789\"}');\n\
     UPDATE intents SET state = 'done', ended = now() WHERE id = :id;\n";

fn pgbench(size: Size, cluster: &Cluster, database: &str) -> Outcome<Seen> {
    cluster.sql(database, PGBENCH_TABLE)?;
    let folder = target().join("bench");
    let script = folder.join("intents.sql");
    fs::write(&script, PGBENCH_SCRIPT).map_err(|e| format!("{}: {e}", script.display()))?;
    let prefix = folder.join(format!("pgbench-{}", std::process::id()));
    let program = needs::postgres_program("pgbench").ok_or("no `pgbench`")?;
    let clients = size.concurrency.to_string();
    let threads = size.concurrency.min(2).to_string();
    let seconds = (size.seconds.ceil() as u64).max(1).to_string();
    let port = cluster.port().to_string();
    let before = measure::family_cpu_ns(cluster.group());
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command.args(["-n", "-M", "prepared", "-c", &clients, "-j", &threads, "-T", &seconds]);
    command.args(["-h", "127.0.0.1", "-p", &port, "-U", "seawall", "--log"]);
    command.arg(format!("--log-prefix={}", prefix.display()));
    command.arg("-f").arg(&script).arg(database);
    let text = output(&mut command)?;
    let after = measure::family_cpu_ns(cluster.group());
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    let rate: f64 = rate.ok_or(format!("pgbench said no rate:\n{text}"))?;
    let mut took = latencies_us(&prefix);
    took.sort_unstable();
    let at =
        |share: f64| took.get((took.len() as f64 * share) as usize).or(took.last()).copied().unwrap_or(0);
    let actions = took.len() as f64;
    Ok(Seen {
        actions,
        seconds: actions / rate,
        p50_ms: at(0.5) as f64 / 1000.0,
        p99_ms: at(0.99) as f64 / 1000.0,
        errors: 0.0,
        worker_us: 0.0,
        database_us: after.saturating_sub(before) as f64 / 1000.0 / actions.max(1.0),
    })
}

/// Reads the log files of pgbench whose path begins with `prefix`, and removes them. Each line is about one run of the
/// script. Returns the third number of each line, which is the time that this run took, in µs.
fn latencies_us(prefix: &Path) -> Vec<u64> {
    let Some((folder, name)) = prefix.parent().zip(prefix.file_name()) else { return Vec::new() };
    let start = format!("{}.", name.to_string_lossy());
    let mut took = Vec::new();
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !file.file_name().to_string_lossy().starts_with(&start) {
            continue;
        }
        let text = fs::read_to_string(file.path()).unwrap_or_default();
        took.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()));
        let _ = fs::remove_file(file.path());
    }
    took
}
