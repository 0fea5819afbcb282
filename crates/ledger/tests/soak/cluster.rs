//! A PostgreSQL server of this run only, which can be killed and paused. It listens on a socket in the run's folder, so
//! no other program can take its address while it is down.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::programs::signal;
use crate::scratch::program;
use crate::tables::{Database, OnPostgres, Trouble};

/// The longest time that the server may take to start, with the recovery after a kill.
const START: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    folder: PathBuf,
    server: Child,
}

impl Cluster {
    /// Makes a new cluster in `folder`, and starts its server.
    pub(crate) async fn create(folder: &Path) -> Result<Cluster, Trouble> {
        let folder = folder.join("postgres");
        fs::create_dir_all(&folder)?;
        if is_root().await {
            ran(Command::new("chown").arg("postgres:postgres").arg(&folder)).await?;
        }
        let mut init = as_owner("initdb").await;
        init.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]);
        ran(init.arg(folder.join("data"))).await?;
        let server = launch(&folder).await?;
        Ok(Cluster { folder, server })
    }

    /// Returns the URL of a database, over the server's own socket.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.folder.display())
    }

    /// Returns the path of the server's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// Kills the server with SIGKILL and starts it again.
    pub(crate) async fn kill(&mut self, down: Duration) -> Result<(), Trouble> {
        self.server.kill().await?;
        tokio::time::sleep(down).await;
        self.server = launch(&self.folder).await?;
        Ok(())
    }

    /// Stops all processes of the server for this time, and longer until somebody waits for it, at most for ten seconds.
    pub(crate) async fn pause(&self, lasts: Duration, is_awaited: impl Fn() -> bool) {
        let Some(first) = self.server.id() else { return };
        signal(first, "-STOP").await;
        let children = children(first);
        for child in &children {
            signal(*child, "-STOP").await;
        }
        tokio::time::sleep(lasts).await;
        let end = Instant::now() + Duration::from_secs(10);
        while !is_awaited() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for process in children.into_iter().chain([first]) {
            signal(process, "-CONT").await;
        }
    }
}

/// Starts the server and waits until it answers. After a kill, the processes of the last server may still run for a
/// moment, and then the new one refuses to start.
async fn launch(folder: &Path) -> Result<Child, Trouble> {
    let end = Instant::now() + START;
    let url = format!("postgres://postgres@localhost/postgres?host={}", folder.display());
    loop {
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
        let mut command = as_owner("postgres").await;
        command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder);
        command.args(["-c", "listen_addresses=", "-c", "max_connections=100", "-c", "max_wal_size=2GB"]);
        // Only processes are killed here, and never the machine. So nothing is lost without `fsync`, and with it, the
        // server would write its whole folder to the disk at each start after a kill.
        command.args(["-c", "fsync=off"]);
        let mut server = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        while server.try_wait()?.is_none() {
            let answer = tokio::time::timeout(Duration::from_secs(2), OnPostgres::connect(&url)).await;
            if matches!(answer, Ok(Ok(_))) {
                return Ok(server);
            }
            if Instant::now() > end {
                return Err(format!("PostgreSQL does not answer; see {}", folder.display()).into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if Instant::now() > end {
            return Err(format!("PostgreSQL does not start; see {}", folder.display()).into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Returns the processes whose parent is `parent`.
fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The name of the process stands in parentheses, and may contain spaces.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().nth(1).and_then(|field| field.parse().ok()) == Some(parent)
    };
    ids.filter(is_child).collect()
}

async fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().await;
    id.is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}

/// A command that runs a program of PostgreSQL, as the user `postgres` if this user is root, since the server refuses
/// to run as root. The process ends when this one does.
async fn as_owner(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if is_root().await {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg("--").arg(program(name)).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn ran(command: &mut Command) -> Result<(), Trouble> {
    let out = command.stdin(Stdio::null()).output().await?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr)).into())
}
