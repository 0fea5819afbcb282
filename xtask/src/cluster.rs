//! Runs a private PostgreSQL for the benchmark and the stories: a new cluster on a free port of loopback. Its settings are the defaults
//! of the installed package, so `fsync` is on. Only the settings for addresses, memory, the number of connections and
//! the size of the write-ahead log are changed. The server ends when [`Cluster`] is dropped.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::needs;
use crate::process::{Outcome, Server, free_port, on_path, output, run};

/// A running PostgreSQL cluster. When it is dropped, its server ends and its folder is removed.
pub(crate) struct Cluster {
    server: Server,
    port: u16,
    folder: PathBuf,
}

impl Cluster {
    /// Creates a cluster in `folder`, starts its server, waits until the server answers, and returns the cluster.
    /// `folder` is emptied first. `extra` has further settings of the server, each as `name=value`.
    pub(crate) fn start(folder: &Path, extra: &[&str]) -> Outcome<Cluster> {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let root = needs::is_root();
        if root {
            // The server refuses to run as root, so it runs as the user `postgres`, who must own the folder.
            run(Command::new("chown").arg("postgres").arg(folder))?;
        }
        let data = folder.join("data");
        let program = |name: &str| needs::postgres_program(name).ok_or(format!("no `{name}` of PostgreSQL"));
        let mut init = as_owner(root, &program("initdb")?);
        init.args(["--auth=trust", "--username=seawall", "--encoding=UTF8", "--locale=C", "-D"]).arg(&data);
        output(&mut init)?;
        let port = free_port()?;
        let command = as_owner(root, &program("postgres")?);
        let mut args: Vec<String> =
            command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        args.extend(["-D".to_owned(), data.display().to_string()]);
        let settings = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", folder.display()),
            "shared_buffers=256MB".to_owned(),
            "max_connections=200".to_owned(),
            // With a smaller `max_wal_size`, a checkpoint could happen during one measurement and not during another.
            // The figures of the two could then not be compared.
            "max_wal_size=4GB".to_owned(),
        ];
        for setting in settings.into_iter().chain(extra.iter().map(|setting| (*setting).to_owned())) {
            args.extend(["-c".to_owned(), setting]);
        }
        let log = folder.join("server.log");
        let program = PathBuf::from(command.get_program());
        let server = Server::start("postgres", None, &program, &args, &log, false)?;
        let cluster = Cluster { server, port, folder: folder.to_path_buf() };
        answers("PostgreSQL", || cluster.sql("postgres", "SELECT 1"))?;
        Ok(cluster)
    }

    /// Creates an empty database with this name, and returns its URL. If the database exists already, it is dropped
    /// first.
    pub(crate) fn database(&self, name: &str) -> Outcome<String> {
        self.sql("postgres", &format!("DROP DATABASE IF EXISTS {name}"))?;
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        // Data of the previous measurement may still have to be written to disk. It is written now, so that the next
        // measurement does not include this work.
        self.sql("postgres", "CHECKPOINT")?;
        Ok(self.url(name))
    }

    /// Returns the URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://seawall@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs a statement in this database, and returns what `psql` printed.
    pub(crate) fn sql(&self, database: &str, text: &str) -> Outcome<String> {
        psql(&self.url(database), text)
    }

    /// Returns the id of the server's process group, which is the id of its first process.
    pub(crate) fn group(&self) -> u32 {
        self.server.group()
    }

    /// Starts pgbouncer in front of a database, for one user without a password, and waits until it answers. `lines` are
    /// further lines of its configuration. Returns the pooler and its port.
    pub(crate) fn pooler(&self, database: &str, user: &str, lines: &str) -> Outcome<(Server, u16)> {
        let port = free_port()?;
        let (file, users) = (self.folder.join("pgbouncer.ini"), self.folder.join("users"));
        let text = format!(
            "[databases]\n{database} = host=127.0.0.1 port={} dbname={database}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
             default_pool_size = 2\n{lines}\n",
            self.port,
            users.display()
        );
        let written = fs::write(&file, text).and_then(|()| fs::write(&users, format!("\"{user}\" \"\"\n")));
        written.map_err(|e| format!("{}: {e}", file.display()))?;
        let program = on_path("pgbouncer").ok_or("no `pgbouncer`")?;
        let command = as_owner(needs::is_root(), &program);
        let args: Vec<OsString> =
            command.get_args().map(OsString::from).chain([file.into_os_string()]).collect();
        let log = self.folder.join("pgbouncer.log");
        let server = Server::start("pgbouncer", None, Path::new(command.get_program()), &args, &log, false)?;
        let url = format!("postgres://{user}@127.0.0.1:{port}/{database}");
        answers("pgbouncer", || psql(&url, "SELECT 1"))?;
        Ok((server, port))
    }

    /// Returns the loopback port of the server.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // If the folder cannot be removed, this is ignored: nobody needs the data any more. The server itself ends
        // directly after this, when the field `server` is dropped.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Runs a statement, and returns what `psql` printed.
fn psql(url: &str, text: &str) -> Outcome<String> {
    let program = needs::postgres_program("psql").ok_or("no `psql`")?;
    output(Command::new(program).args([
        "-X",
        "-q",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        url,
        "-c",
        text,
    ]))
}

/// Waits until a server answers a question.
fn answers(server: &str, ask: impl Fn() -> Outcome<String>) -> Outcome<()> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match ask() {
            Ok(_) => return Ok(()),
            Err(e) if Instant::now() > end => return Err(format!("{server} did not start: {e}")),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Returns a command that runs `program`. If `root` is set, it runs as the user `postgres`, since PostgreSQL refuses to
/// run as root.
fn as_owner(root: bool, program: &Path) -> Command {
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}
