//! `cargo xtask bench growth`: measures how a large table and a long transaction slow the ledger down, and what the
//! ledger costs while it has nothing to do.
//!
//! It runs the example `growth` of the ledger, and asks PostgreSQL how long the statements of that program took. If the
//! program of an earlier commit is given, each part is run with it, too.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{ChildStdout, Command};
use std::time::Duration;

use serde_json::Value;

use crate::bench::report::aligned;
use crate::cluster::Cluster;
use crate::needs;
use crate::process::{Outcome, Server, cargo, output, run, target};

/// The options of `cargo xtask bench growth`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The parts to run [default: all]: lists (how long it takes to list actions), ended (in a table with many ended
    /// actions, how long it takes to claim an action, and to answer a repeated key from the ledger), idle (the number
    /// of statements while there is nothing to do), beside (how long claims take while a long transaction is open),
    /// settle (how fast actions are performed while another transaction has settled one of them and stays open).
    #[arg(long, value_delimiter = ',')]
    parts: Vec<String>,
    /// The number of rows in the table that is listed.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// The number of rows in a page of a list.
    #[arg(long, default_value_t = 100)]
    page: u32,
    /// The duration in seconds of the long transaction of the part `beside`. Claims are measured when it has been open
    /// for that time.
    #[arg(long, default_value_t = 45)]
    held: u64,
    /// The number of actions that are recorded per second, for the worker to send.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// The program `growth` of an earlier commit. Copy the folder `crates/ledger/examples/growth` and its entry in
    /// `crates/ledger/Cargo.toml` into a worktree of that commit, and build it there with
    /// `cargo build --release --package seawall-ledger --example growth`.
    #[arg(long, value_name = "PROGRAM")]
    before: Option<PathBuf>,
    /// Install missing tools; for root this is the default.
    #[arg(long)]
    yes: bool,
}

/// One of the compared programs.
struct Program {
    name: &'static str,
    path: PathBuf,
}

/// The figures of one part: for each row of its table, the row's name and the value that is shown.
type Rows = Vec<(String, Vec<String>)>;

/// Builds the program, measures all parts, and prints a table for each.
pub(crate) fn growth(options: &Options) -> Outcome<()> {
    needs::provide(&needs::for_bench(&["bench-ledger"]), options.yes)?;
    let args = ["build", "--locked", "--release", "--package", "seawall-ledger", "--example", "growth"];
    run(cargo().args(args))?;
    let mut programs = vec![Program { name: "now", path: target().join("release/examples/growth") }];
    programs.extend(options.before.iter().map(|path| Program { name: "before", path: path.clone() }));

    let folder = target().join("bench");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let data = std::env::temp_dir().join(format!("seawall-growth-{}", std::process::id()));
    let cluster = Cluster::start(&data, &["shared_preload_libraries=pg_stat_statements"])?;
    cluster.sql("postgres", "CREATE EXTENSION pg_stat_statements")?;
    println!("command: cargo xtask {}", std::env::args().skip(1).collect::<Vec<_>>().join(" "));
    type Part = (&'static str, fn(&Options, &Cluster, &Program) -> Outcome<Rows>);
    let parts: [Part; 5] =
        [("lists", lists), ("ended", ended), ("idle", idle), ("beside", beside), ("settle", settle)];
    for (name, part) in parts {
        if !options.parts.is_empty() && !options.parts.iter().any(|wanted| wanted == name) {
            continue;
        }
        let seen =
            programs.iter().map(|program| part(options, &cluster, program)).collect::<Outcome<Vec<_>>>()?;
        println!("\n{}", table(name, &programs, &seen));
    }
    Ok(())
}

fn table(name: &str, programs: &[Program], seen: &[Rows]) -> String {
    let mut rows = vec![vec![name.to_owned()]];
    rows[0].extend(programs.iter().map(|program| program.name.to_owned()));
    for (index, (what, _)) in seen.first().into_iter().flatten().enumerate() {
        let mut row = vec![what.clone()];
        row.extend(seen.iter().flat_map(|of| of.get(index)).flat_map(|(_, values)| values.clone()));
        rows.push(row);
    }
    aligned(&rows)
}

/// Starts the program with these arguments. Returns the process and the lines that it prints.
fn start(program: &Program, args: &[String]) -> Outcome<(Server, Lines<BufReader<ChildStdout>>)> {
    let log = target().join("bench").join(format!("growth-{}.log", program.name));
    let mut server = Server::start("growth", None, &program.path, args, &log, true)?;
    let out = server.stdout().ok_or("the program has no output")?;
    Ok((server, BufReader::new(out).lines()))
}

/// Returns the next line that begins with `word`, and skips the lines before it. Fails if the program ends before it
/// prints such a line.
fn line(lines: &mut Lines<BufReader<ChildStdout>>, word: &str) -> Outcome<String> {
    loop {
        match lines.next() {
            Some(Ok(line)) if line.starts_with(word) => return Ok(line),
            Some(Ok(_)) => {}
            Some(Err(e)) => return Err(e.to_string()),
            None => return Err(format!("the program ended before it printed `{word}`")),
        }
    }
}

/// Measures how long lists of actions take, on PostgreSQL and on SQLite. One table has almost only actions that are
/// done, and the other almost only open ones. For each state of actions that is listed, such as `done`, returns the
/// time of the slowest list, in milliseconds.
fn lists(options: &Options, cluster: &Cluster, program: &Program) -> Outcome<Rows> {
    let mut rows = Rows::new();
    for (store, most) in [("postgres", "done"), ("postgres", "open"), ("sqlite", "done"), ("sqlite", "open")]
    {
        let name = format!("growth_{most}");
        let url = match store {
            "sqlite" => super::arms::fresh_file(&name),
            _ => cluster.database(&name)?,
        };
        let url = format!("--url={url}");
        let size = format!("--rows={}", options.rows);
        let args = ["fill", url.as_str(), size.as_str(), &format!("--most={most}")];
        output(Command::new(&program.path).args(args))?;
        let args = ["list", url.as_str(), size.as_str(), &format!("--page={}", options.page)];
        let text = output(Command::new(&program.path).args(args))?;
        rows.extend(slowest(store, most, &text)?);
    }
    Ok(rows)
}

/// The number of rows in the small table with which a large one is compared.
const FEW: u64 = 1000;

/// Measures, on PostgreSQL and on SQLite, how long a claim takes, and how long it takes to answer a repeated key from
/// the ledger (a replay). The table has few rows that have ended in one measurement, and many in the next. Returns the
/// median and the 99th percentile of each, in milliseconds.
fn ended(options: &Options, cluster: &Cluster, program: &Program) -> Outcome<Rows> {
    let mut rows = Rows::new();
    for store in ["postgres", "sqlite"] {
        for size in [FEW, options.rows] {
            let name = format!("growth_ended_{}_{size}", program.name);
            let url = match store {
                "sqlite" => super::arms::fresh_file(&name),
                _ => cluster.database(&name)?,
            };
            let (url, rows_of) = (format!("--url={url}"), format!("--rows={size}"));
            output(Command::new(&program.path).args(["fill", &url, &rows_of, "--most=done"]))?;
            let text = output(Command::new(&program.path).args(["ended", &url, &rows_of]))?;
            for line in text.lines() {
                let said: Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
                let what = said["what"].as_str().unwrap_or_default();
                let ms = |name: &str| said[name].as_f64().unwrap_or(0.0);
                let shown = format!("{:.2} · {:.2}", ms("p50_ms"), ms("p99_ms"));
                rows.push((format!("{store}: {what} beside {size} rows, p50 · p99 ms"), vec![shown]));
            }
        }
    }
    Ok(rows)
}

fn slowest(store: &str, most: &str, text: &str) -> Outcome<Rows> {
    let mut slowest: Vec<(String, f64, String)> = Vec::new();
    for line in text.lines() {
        let said: Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
        let name = said["list"].as_str().unwrap_or_default();
        let ms = said["ms"].as_f64().unwrap_or(0.0);
        let standing = name.split([' ', ',']).next().unwrap_or_default().to_owned();
        match slowest.iter_mut().find(|(of, ..)| *of == standing) {
            Some(of) if of.1 >= ms => {}
            Some(of) => *of = (standing, ms, name.to_owned()),
            None => slowest.push((standing, ms, name.to_owned())),
        }
    }
    let row = |(standing, ms, name): (String, f64, String)| {
        (format!("{store}, almost all {most}: {standing}, ms"), vec![format!("{ms:.1} ({name})")])
    };
    Ok(slowest.into_iter().map(row).collect())
}

/// Returns the number of statements per second while the ledger has nothing to do, with 1 and with 10 dependencies.
/// Statements such as BEGIN and SET are counted, too.
fn idle(_: &Options, cluster: &Cluster, program: &Program) -> Outcome<Rows> {
    const SECONDS: u64 = 20;
    let mut rows = Rows::new();
    for dependencies in [1, 10] {
        let database = format!("growth_idle_{}_{dependencies}", program.name);
        let url = cluster.database(&database)?;
        let args = [
            "idle".to_owned(),
            format!("--url={url}"),
            format!("--dependencies={dependencies}"),
            format!("--seconds={}", SECONDS + 5),
        ];
        let (_server, mut lines) = start(program, &args)?;
        line(&mut lines, "begin")?;
        reset(cluster)?;
        std::thread::sleep(Duration::from_secs(SECONDS));
        let calls = number(cluster, &database, "coalesce(sum(calls), 0)", "true")?;
        let name = format!("statements in an idle second, {dependencies} dependencies");
        rows.push((name, vec![format!("{:.2}", calls / SECONDS as f64)]));
    }
    Ok(rows)
}

fn reset(cluster: &Cluster) -> Outcome<()> {
    cluster.sql("postgres", "SELECT pg_stat_statements_reset()").map(|_| ())
}

/// Returns one figure about the statements that this database has executed. `figure` is the SQL expression of the
/// figure, and `which` is the SQL condition that selects the statements.
fn number(cluster: &Cluster, database: &str, figure: &str, which: &str) -> Outcome<f64> {
    let text = format!(
        "SELECT {figure} FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid \
         WHERE d.datname = '{database}' AND {which}"
    );
    let said = cluster.sql("postgres", &text)?;
    said.trim().parse().map_err(|e| format!("{e}: {said}"))
}

/// The SQL condition that selects the claims in `pg_stat_statements`.
const CLAIMS: &str = "s.query LIKE 'UPDATE seawall.action a SET version = version + 1, fence%'";

/// The SQL condition that selects in `pg_stat_statements` the polls, which are the statements that ask for rows that
/// are due.
const POLLS: &str =
    "s.query LIKE '%SELECT%due_at%' AND s.query NOT LIKE 'UPDATE%' AND s.query NOT LIKE 'WITH taken%'";

/// Measures statements for four seconds. Returns, in milliseconds, the mean and the longest time of a claim, then the
/// mean and the longest time of a poll, which asks for rows that are due.
fn statements(cluster: &Cluster, database: &str) -> Outcome<[f64; 4]> {
    reset(cluster)?;
    std::thread::sleep(Duration::from_secs(4));
    let mean = "coalesce(sum(total_exec_time) / nullif(sum(calls), 0), 0)";
    let longest = "coalesce(max(max_exec_time), 0)";
    let of = |figure, which| number(cluster, database, figure, which);
    Ok([of(mean, CLAIMS)?, of(longest, CLAIMS)?, of(mean, POLLS)?, of(longest, POLLS)?])
}

fn work(
    program: &Program,
    url: &str,
    rate: u32,
    seconds: u64,
) -> Outcome<(Server, Lines<BufReader<ChildStdout>>, String)> {
    let args =
        ["work".to_owned(), format!("--url={url}"), format!("--rate={rate}"), format!("--seconds={seconds}")];
    let (server, mut lines) = start(program, &args)?;
    let held = line(&mut lines, "held ")?.split_off("held ".len());
    line(&mut lines, "begin")?;
    Ok((server, lines, held))
}

/// Starts `psql`, which runs this SQL in a session of its own. The session ends when the returned value is dropped.
fn session(cluster: &Cluster, database: &str, text: &str) -> Outcome<Server> {
    let psql = needs::postgres_program("psql").ok_or("no `psql`")?;
    let log = target().join("bench").join("growth-session.log");
    let args = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &cluster.url(database), "-c", text];
    Server::start("psql", None, &psql, &args, &log, false)
}

/// Measures claims and polls, first without a long transaction and then while one is open. Also returns the share of
/// updates that are HOT, which means that they change no index.
fn beside(options: &Options, cluster: &Cluster, program: &Program) -> Outcome<Rows> {
    let database = format!("growth_beside_{}", program.name);
    // The database sessions of the program that was measured before may still be ending, so each program has a database
    // of its own.
    let url = cluster.database(&database)?;
    let (_server, mut lines, _) = work(program, &url, options.rate, options.held + 20)?;
    std::thread::sleep(Duration::from_secs(4));
    let without = statements(cluster, &database)?;
    let text = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM seawall.schema; SELECT pg_sleep({}); ROLLBACK",
        options.held + 60
    );
    let _long = session(cluster, &database, &text)?;
    std::thread::sleep(Duration::from_secs(options.held));
    let beside = statements(cluster, &database)?;
    let last = line(&mut lines, "{")?;
    let hot = "SELECT round(100.0 * sum(n_tup_hot_upd) / greatest(sum(n_tup_upd), 1), 1) FROM pg_stat_user_tables WHERE relname";
    let share = |table: &str| cluster.sql(&database, &format!("{hot} = '{table}'"));
    let (action, attempt) = (share("action")?, share("attempt")?);
    let pair = |[mean, longest]: [f64; 2]| vec![format!("{mean:.2} · {longest:.1}")];
    let old = format!("beside a transaction of {} s", options.held);
    Ok(vec![
        ("claim, mean · longest ms".to_owned(), pair([without[0], without[1]])),
        (format!("claim {old}"), pair([beside[0], beside[1]])),
        ("question what is due, mean · longest ms".to_owned(), pair([without[2], without[3]])),
        (format!("question {old}"), pair([beside[2], beside[3]])),
        (
            "wait for the worker, p50 · p99 ms".to_owned(),
            vec![figures(&last, ["wait_p50_ms", "wait_p99_ms"])?],
        ),
        (
            "HOT updates of actions · attempts, %".to_owned(),
            vec![format!("{} · {}", action.trim(), attempt.trim())],
        ),
    ])
}

fn figures(line: &str, names: [&str; 2]) -> Outcome<String> {
    let said: Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
    let [one, other] = names.map(|name| said[name].as_f64().unwrap_or(0.0));
    Ok(format!("{one:.1} · {other:.1}"))
}

/// Measures how fast other actions are performed while an application's transaction has settled one action and stays
/// open. For comparison, the same is measured without that transaction.
fn settle(options: &Options, cluster: &Cluster, program: &Program) -> Outcome<Rows> {
    const SECONDS: u64 = 30;
    let mut rows = Rows::new();
    for held in [false, true] {
        // The database sessions of the previous measurement may still be ending, so each measurement has a database of
        // its own.
        let database = format!("growth_settle_{}_{held}", program.name);
        let url = cluster.database(&database)?;
        let (_server, mut lines, id) = work(program, &url, options.rate, SECONDS)?;
        let text = format!("BEGIN; SELECT seawall.settle('{id}'); SELECT pg_sleep({SECONDS}); COMMIT");
        let _settling = if held { Some(session(cluster, &database, &text)?) } else { None };
        reset(cluster)?;
        let last = line(&mut lines, "{")?;
        let of = |figure| number(cluster, &database, figure, CLAIMS);
        let (claims, mean) =
            (of("coalesce(sum(calls), 0)")?, of("coalesce(sum(total_exec_time) / sum(calls), 0)")?);
        let beside = if held { "beside a settle that stays open" } else { "alone" };
        let mut row = |what: &str, value: String| rows.push((format!("{what}, {beside}"), vec![value]));
        row("claims in a second · mean ms", format!("{:.0} · {mean:.2}", claims / SECONDS as f64));
        row("wait for the worker, p50 · p99 ms", figures(&last, ["wait_p50_ms", "wait_p99_ms"])?);
        row("perform, p50 · p99 ms", figures(&last, ["perform_p50_ms", "perform_p99_ms"])?);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_list_of_each_standing_is_shown() {
        let text = "{\"list\":\"open\",\"rows\":1,\"ms\":1.0}\n{\"list\":\"open of pay, deep\",\"rows\":1,\"ms\":3.0}\n\
             {\"list\":\"done, deep\",\"rows\":1,\"ms\":2.0}\n";
        let rows = slowest("sqlite", "done", text).unwrap();
        let values: Vec<&str> = rows.iter().flat_map(|(_, values)| values).map(String::as_str).collect();
        assert_eq!(values, ["3.0 (open of pay, deep)", "2.0 (done, deep)"]);
    }
}
