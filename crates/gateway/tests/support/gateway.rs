//! One running gateway.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::sync::Notify;

use super::raw::{Caller, Heard};
use super::soon;

/// The section `[gateway]` for tests that have none of their own.
const SECTION: &str =
    "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 2\ndrain = \"5s\"\n";

const PROGRAM: &str = env!("CARGO_BIN_EXE_seawall");

/// A running `seawall serve`. Dropping it kills it.
pub struct Gateway {
    child: Child,
    log: Arc<Log>,
    folder: TempDir,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Lines>,
    changed: Notify,
}

#[derive(Default)]
struct Lines {
    said: Vec<String>,
    over: bool,
}

impl Gateway {
    /// Starts a gateway with these dependencies on a free port, and waits until it listens.
    pub async fn start(dependencies: &str) -> Gateway {
        Gateway::start_with(&format!("{SECTION}{dependencies}")).await
    }

    /// Starts a gateway with this whole file, and waits until it listens.
    pub async fn start_with(text: &str) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("seawall.toml"), text).unwrap();
        let gateway = Gateway::launch(folder);
        gateway.until_said("admin listening").await;
        gateway
    }

    /// Starts a gateway with this whole file, and waits until it listens. `limits` are its limits, as options of `ulimit`.
    pub async fn start_under(limits: &str, text: &str) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("seawall.toml"), text).unwrap();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("ulimit {limits} && exec \"$0\" \"$@\"")).arg(PROGRAM);
        let gateway = Gateway::run(folder, shell);
        gateway.until_said("admin listening").await;
        gateway
    }

    /// Starts a gateway with these dependencies, whose ledger ends the process or stops a task at the failpoints that
    /// `points` names. Waits until the gateway listens.
    pub async fn start_armed(points: &str, dependencies: &str) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("seawall.toml"), format!("{SECTION}{dependencies}")).unwrap();
        let mut command = Command::new(PROGRAM);
        command.env("SEAWALL_FAILPOINTS", points);
        let gateway = Gateway::run(folder, command);
        gateway.until_said("admin listening").await;
        gateway
    }

    /// Runs the program with the `seawall.toml` in a folder, without waiting for anything.
    pub fn launch(folder: TempDir) -> Gateway {
        Gateway::run(folder, Command::new(PROGRAM))
    }

    fn run(folder: TempDir, mut command: Command) -> Gateway {
        let mut child = command
            .args(["serve", "-c", "seawall.toml"])
            .current_dir(folder.path())
            .envs([("HOME", folder.path()), ("TMPDIR", folder.path()), ("XDG_RUNTIME_DIR", folder.path())])
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Log::default());
        let (stderr, kept) = (child.stderr.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                kept.change(|lines| lines.said.push(line));
            }
            kept.change(|lines| lines.over = true);
        });
        Gateway { child, log, folder }
    }

    /// The address that applications call.
    pub fn address(&self) -> SocketAddr {
        let said = self.said("listening");
        let line = said.iter().find(|line| !line.contains("dependency") && !line.contains("admin"));
        address_in(line.unwrap())
    }

    /// The address of a dependency's own port.
    pub fn own_address(&self, dependency: &str) -> SocketAddr {
        let said = self.said("listening");
        address_in(said.iter().find(|line| line.contains(dependency)).unwrap())
    }

    /// The address of the admin side.
    pub fn admin(&self) -> SocketAddr {
        address_in(&self.said("admin listening")[0])
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("seawall.toml")
    }

    pub async fn connect(&self) -> Caller {
        Caller::connect(self.address()).await
    }

    /// Sends one request on a connection of its own.
    pub async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Heard {
        self.connect().await.ask(method, target, headers, body).await
    }

    /// The lines of the log that contain `part`.
    pub fn said(&self, part: &str) -> Vec<String> {
        let lines = self.log.lines.lock().unwrap();
        lines.said.iter().filter(|line| line.contains(part)).cloned().collect()
    }

    /// Waits for a line of the log with this part, and returns the first one.
    pub async fn until_said(&self, part: &str) -> String {
        self.until_said_times(part, 1).await
    }

    /// Waits until the log has this number of lines with this part, and returns the last of these lines.
    pub async fn until_said_times(&self, part: &str, times: usize) -> String {
        let waited = soon(part, async {
            loop {
                let mut changed = std::pin::pin!(self.log.changed.notified());
                changed.as_mut().enable();
                if let Some(line) = self.said(part).into_iter().nth(times - 1) {
                    return line;
                }
                assert!(!self.log.lines.lock().unwrap().over, "it ended before it said `{part}`");
                changed.await;
            }
        });
        waited.await
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, for example `TERM`. After `STOP`, waits until all threads of the program stand still,
    /// since a thread that runs may go on for a moment.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(done.unwrap().success(), "kill -{name}");
        let end = std::time::Instant::now() + super::PATIENCE;
        while name == "STOP" && !self.stands_still() {
            assert!(std::time::Instant::now() < end, "the program does not stand still");
            std::thread::yield_now();
        }
    }

    /// Whether each thread of the program is stopped by a signal, which `/proc` tells by the letter T.
    fn stands_still(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        tasks.flatten().all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
        })
    }

    /// Waits until the program has ended by itself.
    pub async fn until_exit(&mut self) -> ExitStatus {
        soon("the end of the program", async {
            loop {
                let mut changed = std::pin::pin!(self.log.changed.notified());
                changed.as_mut().enable();
                if self.log.lines.lock().unwrap().over {
                    break;
                }
                changed.await;
            }
        })
        .await;
        // The program has closed its standard error, so it is about to end.
        self.child.wait().unwrap()
    }

    /// The most memory that the program has held so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// The memory that the program holds now, in bytes.
    pub fn memory_now(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The processor time that the program has used, in hundredths of a second.
    pub fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // The second field is in brackets and may contain any characters, so reading begins after it.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let lines = self.log.lines.lock().unwrap();
            let last = lines.said.len().saturating_sub(40);
            eprintln!("the gateway's last lines:\n{}", lines.said[last..].join("\n"));
        }
    }
}

impl Log {
    fn change(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.lines.lock().unwrap());
        self.changed.notify_waiters();
    }
}

/// The value of the field `address` in a log line. The line may be JSON or plain text.
fn address_in(line: &str) -> SocketAddr {
    let (_, rest) = line.split_once("address").unwrap_or_else(|| panic!("no address in {line}"));
    let rest = rest.trim_start_matches(['"', ':', '=', ' ']);
    let end = rest.find(['"', ' ', ',']).unwrap_or(rest.len());
    rest[..end].parse().unwrap_or_else(|error| panic!("{error} in {line}"))
}
