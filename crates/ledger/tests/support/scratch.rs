//! A PostgreSQL that only tests use.
//!
//! If tests were skipped when no server runs, they would pass without testing anything. So this module starts a server:
//! a private cluster in a temporary folder, with a socket in the folder and a database for each test. Every process
//! that uses it holds a shared lock. A watcher ends the cluster some seconds after the last lock is gone, and deletes
//! the folder. `SEAWALL_TEST_POSTGRES` may name an existing server instead, as a URL without a database.
//!
//! `fsync` stays on, since the tests are also about the cost of commits.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The folder with the programs of all server versions, besides those on PATH. The newest version is used.
const FOLDERS: &str = "/usr/lib/postgresql";

/// For how many seconds the cluster keeps running without a user.
const LINGER_SECONDS: u32 = 10;

/// The longest time that a server may take to answer.
const START: Duration = Duration::from_secs(60);

/// A PostgreSQL server for tests.
#[derive(Debug)]
pub struct Server {
    /// A URL with the word `DATABASE` in place of the database's name.
    template: String,
    /// The folder with the server's socket; `None` if the server is not our own.
    folder: Option<PathBuf>,
    /// The lock that this process holds as long as it uses the server.
    _use: Option<File>,
}

impl Server {
    /// The server of this run. The first caller starts it.
    ///
    /// # Panics
    ///
    /// If there is no PostgreSQL, or if it does not start. A test that needs a database then fails.
    pub fn shared() -> &'static Server {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| match std::env::var("SEAWALL_TEST_POSTGRES") {
            Ok(url) => Server { template: with_database(&url), folder: None, _use: None },
            Err(_) => start().unwrap_or_else(|why| panic!("no PostgreSQL for the tests: {why}")),
        })
    }

    /// Starts a server that only this caller uses, so that it can be restarted. It ends some seconds after the process.
    ///
    /// # Panics
    ///
    /// If there is no PostgreSQL, or if it does not start.
    #[must_use]
    pub fn alone() -> Server {
        Server::alone_with(initialise)
    }

    /// Starts a standby of this server, which gets all changes from it. It is `Server::alone` in all other respects.
    ///
    /// # Panics
    ///
    /// If this server is not our own, or if the standby does not start.
    #[allow(dead_code, reason = "not all tests need it")]
    #[must_use]
    pub fn standby(&self) -> Server {
        let primary = self.folder().expect("only a server of our own is copied");
        Server::alone_with(|data| {
            let mut copy = as_server(&program("pg_basebackup"));
            copy.args(["-U", "postgres", "-R", "-c", "fast", "--no-sync", "-h"])
                .arg(primary)
                .arg("-D")
                .arg(data);
            ran(&mut copy)
        })
    }

    fn alone_with(fill: impl FnOnce(&Path) -> Result<(), String>) -> Server {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("seawall-alone-{}-{number}", std::process::id()));
        let started = take_part(&folder).and_then(|in_use| {
            launch(&folder, fill)?;
            Ok(Server { template: template(&folder), folder: Some(folder.clone()), _use: Some(in_use) })
        });
        started.unwrap_or_else(|why| panic!("no PostgreSQL for the test: {why}"))
    }

    /// Makes a standby take writes. Returns when it does.
    ///
    /// # Panics
    ///
    /// If this is no standby.
    #[allow(dead_code, reason = "not all tests need it")]
    pub fn promote(&self) {
        self.control("promote", &[]);
    }

    /// Kills all processes of the server immediately, as the loss of its machine would.
    ///
    /// # Panics
    ///
    /// If the server is not our own.
    #[allow(dead_code, reason = "not all tests need it")]
    pub fn kill(&self) {
        // While they stand still, no process starts another one.
        self.signal("STOP");
        let killed = Command::new("kill").arg("-KILL").args(self.processes()).status();
        assert!(killed.is_ok_and(|killed| killed.success()), "kill -KILL");
    }

    /// Stops the server, which ends all connections, and starts it again. Returns when it answers.
    ///
    /// # Panics
    ///
    /// If the server is not our own, or if it does not start again.
    pub fn restart(&self) {
        self.control("restart", &["-m", "fast"]);
    }

    /// Stops the server as if its machine had failed: connections end without a word. [`Server::start`] starts it again.
    ///
    /// # Panics
    ///
    /// If the server is not our own, or if it does not stop.
    #[allow(dead_code, reason = "not all tests need it")]
    pub fn stop(&self) {
        self.control("stop", &["-m", "immediate"]);
    }

    /// Starts the server that [`Server::stop`] has stopped. Returns when it answers.
    ///
    /// # Panics
    ///
    /// If the server is not our own, or if it does not start again.
    #[allow(dead_code, reason = "not all tests need it")]
    pub fn start(&self) {
        let folder = self.folder().expect("only a server of our own is started");
        self.control("start", &["-o", &options(folder)]);
    }

    /// Sends a signal to all processes of the server: `STOP` lets them stand still, and `CONT` lets them go on.
    ///
    /// # Panics
    ///
    /// If the server is not our own, or if the signal cannot be sent.
    #[allow(dead_code, reason = "not all tests need it")]
    pub fn signal(&self, name: &str) {
        // The first process starts all others. While it stands still, no new ones come. The others may have ended meanwhile.
        for pid in self.processes() {
            let _ = Command::new("kill").args([&format!("-{name}"), &pid]).stderr(Stdio::null()).status();
        }
        for pid in self.processes().into_iter().skip(1) {
            let _ = Command::new("kill").args([&format!("-{name}"), &pid]).stderr(Stdio::null()).status();
        }
    }

    /// The numbers of the server's processes. The first one has started all others.
    fn processes(&self) -> Vec<String> {
        let folder = self.folder().expect("only a server of our own is signalled");
        let file = fs::read_to_string(folder.join("data/postmaster.pid")).expect("it runs");
        let mut all = vec![file.lines().next().expect("its number").to_owned()];
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
            if parent == Some(&*all[0]) {
                all.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        all
    }

    fn control(&self, what: &str, arguments: &[&str]) {
        let folder = self.folder().expect("only a server of our own is stopped and started");
        let mut ctl = as_server(&program("pg_ctl"));
        ctl.arg("-D").arg(folder.join("data")).arg("-l").arg(folder.join("log"));
        ctl.args(["-w", "-t", "60"]).args(arguments).arg(what);
        ctl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(ctl.status().is_ok_and(|status| status.success()), "pg_ctl {what}");
    }

    /// Makes a database with a name of its own, and returns its URL.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    #[must_use]
    pub fn database(&self) -> String {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        // On a server that keeps its databases, an earlier process with the same number may have left one. So the name
        // also has the time.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("test_{}_{:x}_{number}", std::process::id(), since.as_nanos());
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.template.replace("DATABASE", database)
    }

    /// Makes `serializable` the default isolation of the transactions in a database of this server.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub fn make_serializable(&self, url: &str) {
        let front = url.split('?').next().unwrap_or_default();
        let name = front.rsplit('/').next().unwrap_or_default();
        let set = format!("ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'");
        self.sql("postgres", &set);
    }

    /// The folder with the server's socket; `None` if the server is not our own.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Runs statements with `psql`.
    ///
    /// # Panics
    ///
    /// If a statement fails.
    pub fn sql(&self, database: &str, text: &str) -> String {
        let mut psql = Command::new(program("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database), "-c", text]);
        let out = psql.output().expect("psql is beside the server");
        assert!(out.status.success(), "{text}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
}

fn with_database(url: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    let base = base.trim_end_matches('/');
    match query {
        Some(query) => format!("{base}/DATABASE?{query}"),
        None => format!("{base}/DATABASE"),
    }
}

/// Counts the statements that PostgreSQL executes in one database of the shared server, those that only control
/// transactions included.
#[derive(Debug)]
pub struct StatementCounter {
    /// The database that has the view with the counts. It is not the counted one, so that counting is not counted.
    from: String,
    counted: String,
}

impl StatementCounter {
    /// Counts in the database of this URL.
    pub fn of(url: &str) -> StatementCounter {
        let name = |url: &str| url.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
        let from = name(&Server::shared().database());
        Server::shared().sql(&from, "CREATE EXTENSION pg_stat_statements");
        StatementCounter { from, counted: name(url) }
    }

    /// The number of statements so far.
    pub fn calls(&self) -> u64 {
        let text = format!(
            "SELECT coalesce(sum(s.calls), 0)::bigint FROM pg_stat_statements(false) s \
             JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = '{}'",
            self.counted
        );
        Server::shared().sql(&self.from, &text).trim().parse().unwrap()
    }

    /// Waits until the work of a start is over: until a moment passes without a statement, or until it is clear that no
    /// such moment comes.
    pub async fn rests(&self) {
        let end = Instant::now() + Duration::from_secs(3);
        let mut before = self.calls();
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(400)).await;
            let now = self.calls();
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// The number of statements in each second of this time, which begins now.
    pub async fn per_second(&self, span: Duration) -> f64 {
        let (start, before) = (Instant::now(), self.calls());
        tokio::time::sleep(span).await;
        let counted = self.calls() - before;
        f64::from(u32::try_from(counted).unwrap()) / start.elapsed().as_secs_f64()
    }
}

/// The path of a program of PostgreSQL. It is on PATH, or where Debian installs it.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    let mut versions: Vec<PathBuf> =
        fs::read_dir(FOLDERS).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    versions.sort();
    let debian =
        versions.into_iter().rev().map(|folder| folder.join("bin").join(name)).find(|file| file.is_file());
    in_path.or(debian).unwrap_or_else(|| PathBuf::from(name))
}

/// A command that runs `program` as the user of the server, since PostgreSQL refuses to run as root. The server lives
/// longer than this process. So it must not keep what this process has inherited, such as a lock on the build or a pipe
/// that another program reads to its end.
fn as_server(program: &Path) -> Command {
    const ALONE: &str = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec \"$@\"";
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0");
    let mut command = Command::new(if root { "setpriv" } else { "sh" });
    if root {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh"]);
    }
    command.args(["-c", ALONE, "sh"]).arg(program);
    command
}

fn start() -> Result<Server, String> {
    // Each checkout has one cluster, since the tests of its packages run in many processes.
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("/"));
    let mark = tree.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let user = Command::new("id").arg("-u").output().map_err(|e| e.to_string())?;
    let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
    let folder = std::env::temp_dir().join(format!("seawall-postgres-{user}-{mark:016x}"));
    let in_use = take_part(&folder)?;
    let starting = open(&folder, "starting").map_err(|e| e.to_string())?;
    starting.lock().map_err(|e| e.to_string())?;
    in_use.set_modified(SystemTime::now()).map_err(|e| e.to_string())?;
    let server = Server { template: template(&folder), folder: Some(folder.clone()), _use: Some(in_use) };
    let end = Instant::now() + START;
    while !is_ready(&folder) {
        // On a busy machine a server may be too slow to answer. Starting another one would then delete the data of the
        // first.
        if !is_alive(&folder) {
            launch(&folder, initialise)?;
            break;
        }
        if Instant::now() > end {
            return Err("the server does not answer".to_owned());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(starting);
    Ok(server)
}

fn template(folder: &Path) -> String {
    format!("postgres://postgres@localhost/DATABASE?host={}", folder.display())
}

fn open(folder: &Path, name: &str) -> std::io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(false).open(folder.join(name))
}

/// Takes the lock that keeps the cluster alive. If the watcher deletes the folder meanwhile, this begins again.
pub(crate) fn take_part(folder: &Path) -> Result<File, String> {
    let end = Instant::now() + START;
    loop {
        let attempt = || -> std::io::Result<Option<File>> {
            fs::create_dir_all(folder)?;
            let file = open(folder, "in-use")?;
            file.lock_shared()?;
            let is_there = fs::metadata(folder.join("in-use"))?.ino() == file.metadata()?.ino();
            Ok(is_there.then_some(file))
        };
        match attempt() {
            Ok(Some(file)) => return Ok(file),
            Ok(None) | Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(50)),
            Ok(None) => return Err("the folder comes and goes".to_owned()),
            Err(e) => return Err(format!("{}: {e}", folder.display())),
        }
    }
}

fn is_ready(folder: &Path) -> bool {
    let mut ask = Command::new(program("pg_isready"));
    ask.args(["-q", "-h"]).arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
    ask.status().is_ok_and(|status| status.success())
}

/// Whether the process of the last server that was started still exists.
fn is_alive(folder: &Path) -> bool {
    let file = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
    let pid = file.lines().next().unwrap_or_default();
    // The number alone is not enough, since another program may have it by now.
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    !pid.is_empty() && name.trim() == "postgres"
}

/// Makes the files of a new server in this folder.
fn initialise(data: &Path) -> Result<(), String> {
    let mut initdb = as_server(&program("initdb"));
    initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]).arg(data);
    ran(&mut initdb)
}

/// Starts a server in this folder. `fill` makes its files.
fn launch(folder: &Path, fill: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), String> {
    let data = folder.join("data");
    let _ = fs::remove_dir_all(&data);
    fs::create_dir_all(&data).map_err(|e| e.to_string())?;
    hand_over(folder)?;
    let mut chmod = Command::new("chmod");
    ran(chmod.arg("700").arg(&data))?;
    fill(&data)?;
    let log = folder.join("log");
    let options = options(folder);
    let mut ctl = as_server(&program("pg_ctl"));
    ctl.arg("-D").arg(&data).arg("-l").arg(&log).args(["-w", "-t", "60", "-o", &options, "start"]);
    ctl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !ctl.status().map_err(|e| e.to_string())?.success() {
        return Err(format!("it does not start: {}", fs::read_to_string(&log).unwrap_or_default()));
    }
    watch(folder, &data)?;
    let end = Instant::now() + START;
    while !is_ready(folder) {
        if Instant::now() > end {
            return Err("it started, and does not answer".to_owned());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Returns the settings of the server in this folder.
fn options(folder: &Path) -> String {
    format!(
        "-c listen_addresses='' -c unix_socket_directories='{}' -c max_connections=300 -c shared_buffers=128MB \
         -c log_min_messages=warning -c autovacuum_naptime=20s -c max_wal_size=2GB \
         -c shared_preload_libraries=pg_stat_statements",
        folder.display()
    )
}

/// Starts a server of its own in this folder, with a socket in the folder, and with these variables in its
/// environment. The
/// returned process is the server; the caller ends it. It may take a moment until the server answers.
#[allow(dead_code, reason = "not all tests need one")]
pub(crate) fn private(folder: &Path, environment: &[(&str, PathBuf)]) -> std::process::Child {
    let data = folder.join("data");
    fs::create_dir_all(&data).unwrap();
    hand_over(folder).unwrap();
    initialise(&data).unwrap();
    // The variables are set for the server alone, and not for the program that changes the user: a preloaded library would
    // make files that the server may not open.
    let mut server = as_server(Path::new("env"));
    server.args(environment.iter().map(|(name, value)| format!("{name}={}", value.display())));
    let socket = format!("unix_socket_directories={}", folder.display());
    server.arg(program("postgres")).arg("-D").arg(&data).args(["-c", "listen_addresses=", "-c", &socket]);
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    server.spawn().unwrap()
}

/// Gives the folder to the user that runs the server.
fn hand_over(folder: &Path) -> Result<(), String> {
    let mut chown = Command::new("chown");
    chown.args(["-R", "postgres:postgres"]).arg(folder);
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0");
    if root { ran(&mut chown) } else { Ok(()) }
}

fn ran(command: &mut Command) -> Result<(), String> {
    let out = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr)))
}

/// A command that renames the folder under its lock (descriptor 9), and then deletes it without the lock. Deleting many
/// databases may take a minute. If the folder kept its name during that time, a new user would find a part of it, or
/// would wait too long for the lock.
pub(crate) fn removal(folder: &Path) -> String {
    format!("mv '{0}' '{0}'.gone.$$ && exec 9>&- && rm -rf '{0}'.gone.$$", folder.display())
}

/// Starts a watcher, which ends the cluster when nobody has used it for a while. It is a process of its own, so that it
/// lives longer than every test.
fn watch(folder: &Path, data: &Path) -> Result<(), String> {
    let script = format!(
        r#"
        while sleep 2; do
            idle=$(( $(date +%s) - $(stat -c %Y '{folder}/in-use') ))
            if [ "$idle" -ge {LINGER_SECONDS} ]; then
                exec 9<>'{folder}/in-use' || exit
                if flock -n -x 9; then
                    '{ctl}' -D '{data}' -m immediate -w stop
                    {remove}
                    exit
                fi
                exec 9>&-
            fi
        done"#,
        folder = folder.display(),
        data = data.display(),
        ctl = program("pg_ctl").display(),
        remove = removal(folder),
    );
    let mut watcher = as_server(Path::new("setsid"));
    watcher.args(["sh", "-c", &script]);
    watcher.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    watcher.spawn().map(|_| ()).map_err(|e| format!("the watcher: {e}"))
}
