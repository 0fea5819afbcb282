//! Runs other programs, either until they end or as servers.
//!
//! Each server leads its own process group. When the server's parent is gone, the kernel signals the server to end
//! (`setpriv --pdeathsig`). When [`Server`] is dropped, its whole group is ended. No other process is ever signalled.
//!
//! The obvious rule would be to kill only the child when its [`Server`] is dropped. This would leave grandchildren
//! behind, because nginx's workers outlive a killed master. And if this process itself were killed, all servers would
//! continue to run.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A result whose error is a text that is shown to the person at the terminal.
pub(crate) type Outcome<T> = Result<T, String>;

/// How long the processes of a server may take to end after SIGTERM. If some still run after this time, they get
/// SIGKILL, and then the same time again.
const GRACE: Duration = Duration::from_secs(2);

/// Returns the repository's root, which is the parent of this package's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root").to_path_buf()
}

/// Returns cargo's target folder: `CARGO_TARGET_DIR` if it is set, otherwise `target`. If the path is relative, it is
/// taken to be below the repository's root.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// Returns a command that runs, in the repository's root, the same `cargo` that started this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Returns what `cargo metadata` says about the packages of the workspace. All other packages are left out.
pub(crate) fn metadata() -> Outcome<serde_json::Value> {
    let text = output(cargo().args(["metadata", "--format-version", "1", "--no-deps", "--quiet"]))?;
    serde_json::from_str(&text).map_err(|e| format!("cargo metadata: {e}"))
}

/// Runs a command to its end. Its output goes to this terminal. Fails if the command does not exit with 0.
pub(crate) fn run(command: &mut Command) -> Outcome<()> {
    let said = said(command);
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{said}` ended with {status}")),
        Err(e) => Err(format!("`{said}` could not be started: {e}")),
    }
}

/// Runs a command to its end and returns what it printed: standard output, then standard error. Fails if the command
/// does not exit with 0; the error contains what it printed.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let said = said(command);
    let out =
        command.stdin(Stdio::null()).output().map_err(|e| format!("`{said}` could not be started: {e}"))?;
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if out.status.success() { Ok(text) } else { Err(format!("`{said}` ended with {}: {text}", out.status)) }
}

/// Returns the command as a person would type it.
pub(crate) fn said(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Returns the path of the first program with this name on PATH or in the sbin folders; `None` if there is none.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian installs servers in sbin folders, which are not on the PATH of an ordinary user.
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Returns a loopback port that was free when this was called, and that this process has not returned before. Another
/// program can take the port before it is used.
pub(crate) fn free_port() -> Outcome<u16> {
    // The kernel may give a port a second time when the listener that had it is closed.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let failed = |e: std::io::Error| format!("no free port: {e}");
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return Ok(port);
        }
    }
}

/// A running server. When this value is dropped, the server's whole process group is ended.
pub(crate) struct Server {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `program`, and pins it to `cpus` (in the syntax of `taskset`); with `None` it is not pinned. Its standard
    /// error goes to `log`. If `piped`, its standard output goes to a pipe (see [`Server::stdout`]), otherwise to `log`
    /// as well.
    pub(crate) fn start<A: AsRef<OsStr>>(
        name: &str,
        cpus: Option<&str>,
        program: &Path,
        args: &[A],
        log: &Path,
        piped: bool,
    ) -> Outcome<Server> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]);
        if let Some(cpus) = cpus {
            command.args(["taskset", "-c", cpus]);
        }
        command.arg(program).args(args);
        Server::spawn(name, &mut command, log, piped)
    }

    fn spawn(name: &str, command: &mut Command, log: &Path, piped: bool) -> Outcome<Server> {
        let file = File::create(log).map_err(|e| format!("{}: {e}", log.display()))?;
        let copy = file.try_clone().map_err(|e| format!("{}: {e}", log.display()))?;
        let child = command
            .current_dir(root())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(if piped { Stdio::piped() } else { Stdio::from(copy) })
            .stderr(Stdio::from(file))
            .spawn()
            .map_err(|e| format!("{name}: `{}` could not be started: {e}", said(command)))?;
        Ok(Server { name: name.to_owned(), child, log: log.to_path_buf() })
    }

    /// Returns the id of the server's process group, which is the id of its first process.
    pub(crate) fn group(&self) -> u32 {
        self.child.id()
    }

    /// Returns the pipe from the server's standard output. It is `None` if the server was started without a pipe, or if
    /// an earlier call has returned the pipe.
    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits until `GET path` on this loopback port is answered with 200. Fails if the server ends before that, or is
    /// not ready after `patience`. The error contains the end of the server's log.
    pub(crate) fn ready(&mut self, port: u16, path: &str, patience: Duration) -> Outcome<()> {
        let end = Instant::now() + patience;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("{} ended at start with {status}:\n{}", self.name, self.log_end()));
            }
            if get_status(port, path) == Some(200) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!(
                    "{} did not answer {path} on port {port} with 200 within {patience:?}:\n{}",
                    self.name,
                    self.log_end()
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server's processes by SIGKILL, as a crash does.
    pub(crate) fn crash(self) {
        self.signal("KILL");
    }

    fn log_end(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    fn signal(&self, signal: &str) {
        let line = format!("kill -s {signal} -- -{} 2>/dev/null", self.group());
        let _ = Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).status();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The first process is reaped (`wait`) only after this loop. Until then, the kernel gives its id, which is also
        // the id of the group, to no other process. So the signals reach no other group.
        for signal in ["TERM", "KILL"] {
            self.signal(signal);
            let end = Instant::now() + GRACE;
            while !members(self.group()).is_empty() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            if members(self.group()).is_empty() {
                break;
            }
        }
        let _ = self.child.wait();
    }
}

/// Returns the ids of the live processes of a process group. Zombie processes are left out.
pub(crate) fn members(group: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        live_in_group(&stat) == Some(group)
    })
    .collect()
}

/// Returns the process group from the text of `/proc/PID/stat`; `None` if the process is a zombie or the text cannot be
/// read as such a line.
fn live_in_group(stat: &str) -> Option<u32> {
    // The second field is the name of the process in parentheses. The name itself may contain spaces and parentheses,
    // so the text is read from the last closing parenthesis on.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    (state != "Z" && state != "X").then_some(group)
}

/// Returns the status of the answer to `GET path` on a loopback port. The connect and each read may take one second; if
/// one takes longer or fails, this is `None`.
pub(crate) fn get_status(port: u16, path: &str) -> Option<u16> {
    let limit = Duration::from_secs(1);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n").ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head[9..]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_is_read_behind_a_name_with_parentheses() {
        assert_eq!(live_in_group("12 (a) b) S 1 77 77 0 -1"), Some(77));
        assert_eq!(live_in_group("12 (a) Z 1 77 77 0 -1"), None);
        assert_eq!(live_in_group(""), None);
    }

    #[test]
    fn dropped_server_takes_its_children_along() {
        let log = std::env::temp_dir().join(format!("xtask-drop-{}.log", std::process::id()));
        let script = "trap '' TERM; sleep 60 & echo up; wait";
        let mut server = Server::start("shell", None, Path::new("sh"), &["-c", script], &log, true).unwrap();
        let mut said = [0; 3];
        server.stdout().unwrap().read_exact(&mut said).unwrap();
        let group = server.group();
        assert_eq!(members(group).len(), 2);
        drop(server);
        assert_eq!(members(group), Vec::<u32>::new());
        fs::remove_file(log).unwrap();
    }
}
