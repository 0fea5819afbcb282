//! `cargo xtask test`: runs a list of steps. A change is accepted only if all steps pass.
//!
//! If a step fails, the later steps still run. At the end, a list says how each step ended and how long it took.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::needs::{self, DENY, MACHETE, STORIES, TESTS};
use crate::process::{Outcome, cargo, metadata, output, root, run};
use crate::{house, outside, stories};

/// The options of `cargo xtask test`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Run the steps only for this crate, given as `policy` or `seawall-policy`; steps for the whole tree are left out.
    #[arg(long, value_name = "CRATE")]
    only: Option<String>,
    /// Install missing tools; for root this is the default.
    #[arg(long)]
    yes: bool,
    /// Print the steps that would run and the tools that they need, and stop.
    #[arg(long)]
    list: bool,
}

/// The crates that the steps check: all crates of the workspace, or one.
#[derive(Clone, Debug)]
enum Scope {
    Workspace,
    Package(String),
}

impl Scope {
    fn of(only: Option<&str>) -> Outcome<Scope> {
        let Some(only) = only else { return Ok(Scope::Workspace) };
        let known = packages()?;
        let full = format!("seawall-{only}");
        let found =
            known.iter().find(|name| **name == only).or_else(|| known.iter().find(|name| **name == full));
        match found {
            Some(name) => Ok(Scope::Package(name.clone())),
            None => Err(format!("no crate `{only}`; there are: {}", known.join(", "))),
        }
    }

    fn args(&self) -> Vec<&str> {
        match self {
            Scope::Workspace => vec!["--workspace"],
            Scope::Package(name) => vec!["--package", name],
        }
    }
}

/// The features of the library that the step `features` turns on, one at a time.
const FEATURES: [&str; 3] = ["ledger", "ledger-sqlite", "ledger-postgres"];

fn packages() -> Outcome<Vec<String>> {
    let all = metadata()?["packages"].as_array().cloned().unwrap_or_default();
    Ok(all.iter().filter_map(|p| p["name"].as_str().map(str::to_owned)).collect())
}

/// One step, which passes or fails.
struct Step {
    name: &'static str,
    /// Whether the step also runs for a single crate (`--only`). If not, it runs only for the whole workspace.
    per_crate: bool,
    run: fn(&Scope) -> Outcome<()>,
}

const STEPS: [Step; 11] = [
    Step { name: "format", per_crate: true, run: format },
    Step { name: "house", per_crate: false, run: house_rules },
    Step { name: "clippy", per_crate: true, run: clippy },
    Step { name: "features", per_crate: false, run: features },
    Step { name: TESTS, per_crate: true, run: tests },
    Step { name: "doc-tests", per_crate: true, run: doc_tests },
    Step { name: "docs", per_crate: true, run: docs },
    Step { name: "loom", per_crate: false, run: loom },
    Step { name: DENY, per_crate: false, run: deny },
    Step { name: MACHETE, per_crate: false, run: machete },
    Step { name: STORIES, per_crate: false, run: |_| stories::run_all() },
];

/// Runs the steps, or with `--list` only prints them. If a step fails, the later steps still run, and the result is an
/// error.
pub(crate) fn test(options: &Options) -> Outcome<()> {
    let scope = Scope::of(options.only.as_deref())?;
    let whole = matches!(scope, Scope::Workspace);
    let steps: Vec<&Step> = STEPS.iter().filter(|step| whole || step.per_crate).collect();
    let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
    let needed = needs::for_steps(&names);
    println!("steps: {}", names.join(", "));
    if !whole {
        let left: Vec<&str> = STEPS.iter().filter(|step| !step.per_crate).map(|step| step.name).collect();
        println!("left out, since they look at the whole tree: {}", left.join(", "));
    }
    if options.list {
        print!("needs:\n{}", needs::listed(&needed));
        return Ok(());
    }
    let start = Instant::now();
    needs::provide(&needed, options.yes)?;

    let mut done: Vec<(&str, Duration, Outcome<()>)> = vec![("needs", start.elapsed(), Ok(()))];
    for step in steps {
        println!("\n== {} ==", step.name);
        let start = Instant::now();
        let ended = (step.run)(&scope);
        if let Err(e) = &ended {
            println!("{}: {e}", step.name);
        }
        done.push((step.name, start.elapsed(), ended));
    }
    close(&done)
}

/// Prints how each step ended, and the numbers of passed and failed steps. Returns an error if any step failed.
fn close(done: &[(&str, Duration, Outcome<()>)]) -> Outcome<()> {
    println!();
    for (name, time, ended) in done {
        let word = if ended.is_ok() { "ok" } else { "FAILED" };
        println!("{word:<6}  {:>6.1} s  {name}", time.as_secs_f64());
    }
    let failed = done.iter().filter(|(_, _, ended)| ended.is_err()).count();
    println!("\n{} passed, {failed} failed", done.len() - failed);
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {} steps failed", done.len())) }
}

fn format(scope: &Scope) -> Outcome<()> {
    let mut command = cargo();
    command.arg("fmt");
    match scope {
        Scope::Workspace => command.arg("--all"),
        Scope::Package(name) => command.args(["--package", name]),
    };
    run(command.arg("--check"))
}

fn house_rules(_: &Scope) -> Outcome<()> {
    let found = house::findings()?;
    for line in &found {
        println!("{line}");
    }
    if found.is_empty() { Ok(()) } else { Err(format!("{} findings", found.len())) }
}

fn clippy(scope: &Scope) -> Outcome<()> {
    run(cargo()
        .args(["clippy", "--locked", "--all-targets", "--all-features"])
        .args(scope.args())
        .args(["--", "-D", "warnings"]))
}

/// Checks the library with each of [`FEATURES`] alone, since most programs build it with only some features. With one
/// feature alone, some code may be unused, or a name that it uses may be missing. The step `clippy` cannot find that,
/// because it turns all features on. Also checks the program of `docs/ledger.md` in a package of its own.
fn features(_: &Scope) -> Outcome<()> {
    for features in FEATURES {
        println!("features: {features}");
        run(cargo()
            .args(["clippy", "--locked", "--package", "seawall", "--lib", "--no-default-features"])
            .args(["--features", features, "--", "-D", "warnings"]))?;
    }
    println!("features: the program of docs/ledger.md");
    outside::check()
}

fn tests(scope: &Scope) -> Outcome<()> {
    let mut nextest = needs::with_tools(cargo());
    let there = output(needs::with_tools(cargo()).args(["nextest", "--version"])).is_ok();
    if !there {
        println!("cargo-nextest could not be had; `cargo test` stands in");
        return run(cargo().args(["test", "--locked", "--all-targets", "--all-features"]).args(scope.args()));
    }
    nextest.args(["nextest", "run", "--locked", "--all-features", "--no-fail-fast"]).args(scope.args());
    if let Scope::Package(_) = scope {
        // A single crate may have no tests, but the workspace must have some.
        nextest.arg("--no-tests=warn");
    }
    run(&mut nextest)
}

/// Compares every scenario of the simulator with the figures in `crates/lab/tests/known/figures.toml`, `seeds` times.
/// Each comparison uses several successive seeds. The first of them is 1 in the first comparison, 1001 in the second,
/// 2001 in the third, and so on. The first comparison that fails is an error and ends the run.
pub(crate) fn known_figures(seeds: u64) -> Outcome<()> {
    for round in 0..seeds {
        let seed = 1 + round * 1000;
        println!("first seed {seed}");
        let mut tests = cargo();
        tests.args(["test", "--locked", "--package", "seawall-lab", "--test", "known_figures"]);
        run(tests.env("SEAWALL_SIM_SEED", seed.to_string()))?;
    }
    Ok(())
}

fn doc_tests(scope: &Scope) -> Outcome<()> {
    let all = metadata()?["packages"].as_array().cloned().unwrap_or_default();
    let without: Vec<&str> =
        all.iter().filter(|package| !has_doc_tests(package)).filter_map(|p| p["name"].as_str()).collect();
    let mut command = cargo();
    command.args(["test", "--locked", "--doc", "--all-features"]).args(scope.args());
    match scope {
        Scope::Package(name) if without.contains(&name.as_str()) => {
            println!("{name} has no doc tests");
            return Ok(());
        }
        Scope::Package(_) => {}
        // Cargo's `--doc` runs the doc tests even of a library whose manifest says `doctest = false`, so these
        // libraries are excluded here.
        Scope::Workspace => {
            command.args(without.iter().flat_map(|name| ["--exclude", name]));
        }
    }
    run(&mut command)
}

/// Returns whether a package, as `cargo metadata` describes it, has a library with doc tests.
fn has_doc_tests(package: &serde_json::Value) -> bool {
    let is_tested = |target: &serde_json::Value| {
        let is_library = target["kind"].as_array().is_some_and(|kinds| kinds.contains(&"lib".into()));
        is_library && target["doctest"] == true
    };
    package["targets"].as_array().is_some_and(|targets| targets.iter().any(is_tested))
}

fn docs(scope: &Scope) -> Outcome<()> {
    let mut command = cargo();
    command.env("RUSTDOCFLAGS", "-D warnings");
    run(command
        .args(["doc", "--locked", "--all-features", "--no-deps", "--document-private-items"])
        .args(scope.args()))
}

/// Tests the client's shared state with loom, which tries every order in which threads can run. These tests are a
/// package with its own target folder, because the compiler flag `--cfg loom` would otherwise cause everything to be
/// built again.
fn loom(_: &Scope) -> Outcome<()> {
    let manifest = root().join("crates/client/loom/Cargo.toml");
    let mut command = cargo();
    command.env("RUSTFLAGS", "--cfg loom").args(["test", "--manifest-path"]).arg(manifest);
    run(&mut command)
}

fn deny(_: &Scope) -> Outcome<()> {
    run(needs::with_tools(cargo()).args(["deny", "--locked", "check", "bans", "licenses", "sources"]))
}

fn machete(_: &Scope) -> Outcome<()> {
    let mut command: Command = needs::with_tools(cargo());
    // cargo-machete expects the subcommand's name, `machete`, as its first argument, but not if `CARGO_PKG_NAME` is
    // set. `cargo run` sets this variable, so it is removed.
    run(command.args(["machete", "--with-metadata"]).env_remove("CARGO_PKG_NAME"))
}
