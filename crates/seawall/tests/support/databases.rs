//! Databases for tests: a SQLite file, and a PostgreSQL server of the test's own on a socket in a temporary folder.

#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{PgPool, SqlitePool};

const SCHEMA: &str =
    "CREATE TABLE orders (id BIGINT NOT NULL PRIMARY KEY, state TEXT NOT NULL DEFAULT 'new')";

/// A pool on a file of its own; the file goes with the process' temporary folder.
pub(crate) async fn sqlite(name: &str, connections: u32) -> SqlitePool {
    let folder = tempfile::Builder::new().prefix("seawall-test-").tempdir().unwrap().keep();
    let options = SqliteConnectOptions::new()
        .filename(folder.join(format!("{name}.db")))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(20));
    let pool = PoolOptions::new().max_connections(connections).connect_with(options).await.unwrap();
    sqlx::raw_sql(SCHEMA).execute(&pool).await.unwrap();
    pool
}

/// A running server; stopped when dropped.
pub(crate) struct Postgres {
    server: Child,
    folder: tempfile::TempDir,
}

impl Postgres {
    /// Makes a cluster and starts it.
    pub(crate) fn start() -> Postgres {
        let folder = tempfile::Builder::new().prefix("seawall-pg-").tempdir().unwrap();
        let path = folder.path();
        // The server may run as another user than the test.
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
        let data = path.join("data");
        let made = command("initdb", path)
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let server = command("postgres", path)
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(path)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=50"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres runs");
        Postgres { server, folder }
    }

    fn options(&self) -> PgConnectOptions {
        PgConnectOptions::from_str("postgres://postgres@localhost/postgres")
            .unwrap()
            .socket(self.folder.path())
    }

    /// A pool, once the server takes connections; with a table of orders.
    pub(crate) async fn pool(&self, connections: u32) -> PgPool {
        let began = Instant::now();
        loop {
            let options = PoolOptions::new().max_connections(connections);
            match options.connect_with(self.options()).await {
                Ok(pool) => {
                    sqlx::raw_sql(SCHEMA).execute(&pool).await.unwrap();
                    return pool;
                }
                Err(error) => {
                    assert!(
                        began.elapsed() < Duration::from_secs(60),
                        "the server does not come up: {error}"
                    );
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT: at once, without a checkpoint, its children with it.
        let pid = self.server.id().to_string();
        let _ = Command::new("kill").args(["-QUIT", &pid]).status();
        let _ = self.server.wait();
    }
}

/// A program of the newest server that is installed, as a user who may run it: the server refuses root.
fn command(name: &str, folder: &Path) -> Command {
    let program = program(name);
    let mut command = match is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
            command
        }
        false => Command::new(program),
    };
    command.current_dir(folder).env("LC_ALL", "C.UTF-8");
    command
}

fn is_root() -> bool {
    let said = Command::new("id").arg("-u").output().expect("id runs");
    said.stdout.trim_ascii() == b"0"
}

fn program(name: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}
