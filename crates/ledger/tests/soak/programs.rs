//! The two programs of the shop, as processes of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::desk::journal;
use crate::tables::Trouble;

/// The longest time that a program may take to start, or to drain, on a busy machine and with a database that fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all programs of a run are told.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) folder: PathBuf,
    pub(crate) database: String,
    pub(crate) provider: String,
    pub(crate) seed: u64,
}

impl Setup {
    /// Returns a command that starts this test binary again, in a role. The process ends when this one does.
    pub(crate) fn command(&self, role: &str, name: &str) -> std::io::Result<Command> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(std::env::current_exe()?);
        command.args(["--exact", "process", "--nocapture"]);
        command.env("SOAK_ROLE", role).env("SOAK_NAME", name).env("SOAK_FOLDER", &self.folder);
        command.env("SOAK_DATABASE", &self.database).env("SOAK_PROVIDER", &self.provider);
        command.env("SOAK_SEED", self.seed.to_string()).env("SOAK_VERSION", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }
}

/// One of the two programs.
pub(crate) struct Program {
    setup: Setup,
    letter: char,
    /// The number of starts so far.
    starts: u32,
    pub(crate) version: u32,
    child: Option<Child>,
}

impl Program {
    pub(crate) fn new(setup: Setup, letter: char) -> Program {
        Program { setup, letter, starts: 0, version: 1, child: None }
    }

    /// Returns the name of the process that runs now, such as `A3`.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", self.letter, self.starts)
    }

    fn log(&self) -> PathBuf {
        self.setup.folder.join(format!("{}.log", self.name()))
    }

    /// Starts the program, and returns immediately. `failpoints` says where the process ends.
    pub(crate) fn start(&mut self, failpoints: &str) -> Result<(), Trouble> {
        self.starts += 1;
        let mut command = self.setup.command("shop", &self.name())?;
        command.env("SOAK_VERSION", self.version.to_string()).env("SEAWALL_FAILPOINTS", failpoints);
        command.stderr(fs::File::create(self.log())?);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Waits until the program has started its worker.
    pub(crate) async fn is_up(&mut self) -> Result<(), Trouble> {
        let end = Instant::now() + PATIENCE;
        while !said(&self.setup.folder, &self.name(), "up") {
            if self.has_ended()? || Instant::now() > end {
                return Err(format!("{} does not start; see {}", self.name(), self.log().display()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until the program has placed its last order.
    pub(crate) async fn is_idle(&mut self) -> Result<(), Trouble> {
        let end = Instant::now() + PATIENCE;
        while !said(&self.setup.folder, &self.name(), "idle") {
            if self.has_ended()? || Instant::now() > end {
                return Err(format!("{} does not come to rest", self.name()).into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Returns whether the process has ended.
    pub(crate) fn has_ended(&mut self) -> std::io::Result<bool> {
        self.child.as_mut().map_or(Ok(true), |child| Ok(child.try_wait()?.is_some()))
    }

    /// Kills the process with SIGKILL.
    pub(crate) async fn kill(&mut self) -> std::io::Result<()> {
        match self.child.take() {
            Some(mut child) => child.kill().await,
            None => Ok(()),
        }
    }

    /// Waits until the process ends at its fail point. Returns the name of the point; `None` if it does not end in time.
    pub(crate) async fn ends_at(&mut self, within: Duration) -> std::io::Result<Option<String>> {
        let end = Instant::now() + within;
        // `Child::wait` would close the program's standard input, and the program would drain.
        while !self.has_ended()? {
            if Instant::now() > end {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let log = fs::read_to_string(self.log())?;
        Ok(log.lines().find_map(|line| line.strip_prefix("failpoint ")).map(str::to_owned))
    }

    /// Lets the program drain. Returns whether it ended well.
    pub(crate) async fn drain(&mut self) -> std::io::Result<bool> {
        let Some(mut child) = self.child.take() else { return Ok(true) };
        drop(child.stdin.take());
        match tokio::time::timeout(PATIENCE / 4, child.wait()).await {
            Ok(status) => Ok(status?.success()),
            Err(_) => {
                child.kill().await?;
                Ok(false)
            }
        }
    }

    /// Stops the process for this time.
    pub(crate) async fn stop(&self, lasts: Duration) {
        let Some(id) = self.child.as_ref().and_then(Child::id) else { return };
        signal(id, "-STOP").await;
        tokio::time::sleep(lasts).await;
        signal(id, "-CONT").await;
    }
}

/// Returns whether the journal of a program has this line.
fn said(folder: &Path, program: &str, line: &str) -> bool {
    let text = fs::read_to_string(journal(folder, program)).unwrap_or_default();
    text.lines().any(|known| known == line)
}

/// Sends a signal to a process. A process that has ended meanwhile is no error.
pub(crate) async fn signal(id: u32, name: &str) {
    let mut kill = Command::new("kill");
    let _ = kill.args([name, &id.to_string()]).stderr(Stdio::null()).status().await;
}
