//! Runs pgbouncer in transaction mode, until the test ends.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::scratch::program;

/// A running pgbouncer.
pub(crate) struct Pooler {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Pooler {
    /// Starts a pooler in front of a database. Returns it with the URL that leads through it.
    pub(crate) fn before(url: &str) -> (Pooler, String) {
        let (front, socket) = url.split_once("?host=").expect("the tests' server has a socket");
        let database = front.rsplit('/').next().unwrap();
        let folder = tempfile::Builder::new().prefix("pooler").tempdir_in("/tmp").unwrap();
        let at = folder.path();
        fs::write(at.join("users"), "\"postgres\" \"\"\n").unwrap();
        // Many clients share two server sessions, so that the transactions of one client run in both of them.
        let text = format!(
            "[databases]\n{database} = host={socket} dbname={database} user=postgres\n[pgbouncer]\n\
             listen_addr =\nlisten_port = 6432\nunix_socket_dir = {at}\nauth_type = trust\nauth_file = {at}/users\n\
             pool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 200\nlogfile = {at}/log\n",
            at = at.display()
        );
        fs::write(at.join("ini"), text).unwrap();
        let root = Command::new("id").arg("-u").output().unwrap().stdout.trim_ascii() == b"0";
        let mut command = if root {
            // Like PostgreSQL, it refuses to run as root.
            let owned = Command::new("chown").args(["-R", "postgres:postgres"]).arg(at).status().unwrap();
            assert!(owned.success());
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=KILL"]);
            command.arg(pgbouncer());
            command
        } else {
            Command::new(pgbouncer())
        };
        command.arg(at.join("ini")).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("pgbouncer is installed: cargo xtask test says how");
        let pooler = Pooler { child, _folder: folder };
        let socket = pooler._folder.path();
        let end = Instant::now() + Duration::from_secs(20);
        // The file is there a moment before connections are accepted.
        while UnixStream::connect(socket.join(".s.PGSQL.6432")).is_err() {
            assert!(Instant::now() < end, "pgbouncer does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        let url = format!("postgres://postgres@localhost:6432/{database}?host={}", socket.display());
        (pooler, url)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pgbouncer() -> PathBuf {
    let found = program("pgbouncer");
    let debian = PathBuf::from("/usr/sbin/pgbouncer");
    if found.is_file() || !debian.is_file() { found } else { debian }
}
