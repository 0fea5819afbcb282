//! `seawall serve`: start, signals, reload, drain.

use std::fmt;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use seawall_client::connect::{join_turns, send_turn};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::admin::{self, AdminToken};
use crate::config;
use crate::demo::Demo;
use crate::descriptors;
use crate::ebb::Ebb;
use crate::gate::read_tokens;
use crate::running::{Reload, Running};
use crate::worker::{Entrance, Worker};

/// What to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// No file: the built-in provider, and three commands to try.
    pub demo: bool,
}

/// Why it did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong: the report, ready to print.
    Config(String),
    /// The machine would not have it: a port in use, a file that cannot be written.
    Machine(String),
}

impl StartError {
    /// The exit code: 2 for the configuration, 1 for the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Config(_) => 2,
            StartError::Machine(_) => 1,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(report) => f.write_str(report),
            StartError::Machine(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StartError {}

/// How often the file is looked at. Its content is compared, so that a swapped link (as Kubernetes mounts do) counts. It
/// is taken when two looks in a row see the same, so that a file that is just being written is not.
const LOOK: Duration = Duration::from_millis(500);
/// Workers take a new configuration over at once; one that is busy for longer than this is not waited for.
const TAKE_OVER: Duration = Duration::from_secs(2);
/// A changed file must stay as it is for so long to be taken: whoever writes it may be in the middle.
const SETTLE: Duration = Duration::from_millis(100);
/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 1024;

/// Runs until SIGTERM or SIGINT, and then until accepted work is done.
///
/// # Errors
/// It could not start; nothing was served.
pub fn run(options: &Options) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::Machine(format!("no runtime: {error}")))?;
    runtime.block_on(start(options))
}

/// One worker with one listener, on the runtime of whoever calls, until `stop` says so: no signals, no admin side, no file.
/// For tests and fuzz targets that keep callers, gateway and dependencies on one thread.
///
/// # Errors
/// It could not start; nothing was served.
#[doc(hidden)]
pub async fn work_here(
    settings: config::Settings,
    listener: TcpListener,
    stop: watch::Receiver<bool>,
) -> Result<(), StartError> {
    let running = Arc::new(Running::new(settings, 1).map_err(StartError::Config)?);
    let worker = Worker::new(0, running).map_err(StartError::Config)?;
    let machine = |error: io::Error| StartError::Machine(error.to_string());
    let address = listener.local_addr().map_err(machine)?;
    let entrance = Entrance { listener, address, own: None, tokens: None };
    Arc::new(worker).serve(vec![entrance], stop).await.map_err(machine)
}

async fn start(options: &Options) -> Result<(), StartError> {
    // Before anything is announced, so that whoever reads of the start may send a signal at once; and the file before it
    // is read, so that no change goes unseen.
    let signals = Signals::install()?;
    let file = Watched::new((!options.demo).then_some(options.config.as_path()));
    let demo = if options.demo { Some(Demo::start().map_err(StartError::Machine)?) } else { None };
    let loaded = match &demo {
        Some(demo) => config::parse("demo", &demo.configuration(), &env),
        None => config::load(&options.config, &env),
    };
    let loaded = loaded.map_err(|report| StartError::Config(report.to_string()))?;
    for note in &loaded.notes {
        tracing::warn!("{note}");
    }
    let settings = loaded.settings;
    let workers = settings.gateway.workers.unwrap_or_else(cores).max(1);
    descriptors::divide(&settings, workers);
    let running = Arc::new(Running::new(settings, workers).map_err(StartError::Config)?);
    let entrances = open_doors(&running, workers)?;
    let admin = admin_listener(&running)?;
    let admin_address = admin.local_addr().map_err(|e| StartError::Machine(e.to_string()))?;
    let token =
        AdminToken::prepare(&running.compiled.load().settings, admin_address).map_err(StartError::Machine)?;

    let (stop, stopped) = watch::channel(false);
    let addresses: Vec<_> = entrances[0].iter().map(|e| (e.own.clone(), e.address)).collect();
    let mut threads = Vec::new();
    for (index, entrances) in entrances.into_iter().enumerate() {
        let worker = Worker::new(index, Arc::clone(&running)).map_err(StartError::Config)?;
        threads.push(spawn(worker, entrances, stopped.clone())?);
    }
    let admin_side = tokio::spawn(admin::serve(admin, Arc::clone(&running), token));
    for (own, address) in &addresses {
        tracing::info!(%address, dependency = own.as_deref(), "listening");
    }
    tracing::info!(address = %admin_address, workers, "admin listening");
    if let Some(demo) = &demo {
        demo.tell(addresses[0].1, admin_address);
    }
    until_told_to_stop(&running, signals, file).await;
    drain(&running, &stop, threads).await;
    admin_side.abort();
    Ok(())
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

type Thread = std::thread::JoinHandle<()>;

fn spawn(
    worker: Worker,
    entrances: Vec<Entrance>,
    stopped: watch::Receiver<bool>,
) -> Result<Thread, StartError> {
    let name = format!("seawall-{}", worker.index);
    let body = move || {
        join_turns();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(send_turn).build();
        let done = runtime.and_then(|runtime| runtime.block_on(Arc::new(worker).serve(entrances, stopped)));
        if let Err(error) = done {
            tracing::error!(%error, "a worker ended");
        }
    };
    std::thread::Builder::new()
        .name(name)
        .spawn(body)
        .map_err(|error| StartError::Machine(format!("a worker's thread could not be started: {error}")))
}

/// Every listener, once for each worker.
fn open_doors(running: &Running, workers: usize) -> Result<Vec<Vec<Entrance>>, StartError> {
    let compiled = running.compiled.load();
    let gateway = &compiled.settings.gateway;
    let tokens = match gateway.clients.as_ref().and_then(|clients| clients.tokens_file.as_ref()) {
        Some(file) => Some(read_tokens(file).map_err(StartError::Config)?),
        None => None,
    };
    let own = compiled.settings.dependencies.iter().filter_map(|d| Some((d.listen?, Some(d.name.clone()))));
    let wanted: Vec<(SocketAddr, Option<String>)> = [(gateway.listen, None)].into_iter().chain(own).collect();
    let mut doors: Vec<Vec<Entrance>> = (0..workers).map(|_| Vec::new()).collect();
    for (address, own) in wanted {
        probe(address)?;
        let mut address = address;
        for entrances in &mut doors {
            let listener = listen(address, true)?;
            // Port 0 becomes one port for all workers.
            address = listener.local_addr().map_err(|e| in_use(address, &e))?;
            entrances.push(Entrance { listener, address, own: own.clone(), tokens: tokens.clone() });
        }
    }
    Ok(doors)
}

/// With SO_REUSEPORT two gateways could share a port in silence, each with half of the calls; so it is asked first without.
fn probe(address: SocketAddr) -> Result<(), StartError> {
    if address.port() == 0 { Ok(()) } else { listen(address, false).map(drop) }
}

fn listen(address: SocketAddr, shared: bool) -> Result<TcpListener, StartError> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if shared {
            socket.set_reuse_port(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|error| in_use(address, &error))
}

fn in_use(address: SocketAddr, error: &io::Error) -> StartError {
    StartError::Machine(match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is in use: is another gateway running? Choose another address, or stop it")
        }
        _ => format!("{address} cannot be listened on: {error}"),
    })
}

fn admin_listener(running: &Running) -> Result<tokio::net::TcpListener, StartError> {
    let address = running.compiled.load().settings.gateway.admin;
    tokio::net::TcpListener::from_std(listen(address, false)?).map_err(|error| in_use(address, &error))
}

/// The signals that are listened to.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn install() -> Result<Signals, StartError> {
        let on = |kind| signal(kind).map_err(|error| StartError::Machine(format!("no signals: {error}")));
        Ok(Signals {
            term: on(SignalKind::terminate())?,
            int: on(SignalKind::interrupt())?,
            hup: on(SignalKind::hangup())?,
        })
    }
}

/// The configuration's file, and its content when it was last looked at.
struct Watched<'a> {
    file: Option<&'a Path>,
    seen: Option<Vec<u8>>,
}

impl<'a> Watched<'a> {
    fn new(file: Option<&'a Path>) -> Watched<'a> {
        Watched { file, seen: file.and_then(read) }
    }

    /// Whether there is another content than before. A file that is gone for a moment is about to be replaced, and one
    /// that still changes is about to be whole.
    async fn changed(&mut self) -> bool {
        let Some(content) = self.file.and_then(read).filter(|content| self.seen.as_ref() != Some(content))
        else {
            return false;
        };
        tokio::time::sleep(SETTLE).await;
        let whole = self.file.and_then(read).is_some_and(|again| again == content);
        if whole {
            self.seen = Some(content);
        }
        whole
    }

    /// What is there now is about to be taken.
    fn take(&mut self) {
        self.seen = self.file.and_then(read);
    }
}

/// Waits for the signal to stop; reloads on SIGHUP and when the file's content changes.
async fn until_told_to_stop(running: &Running, mut signals: Signals, mut watched: Watched<'_>) {
    let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK);
    let mut ebb = Ebb::default();
    loop {
        let wanted = tokio::select! {
            _ = signals.term.recv() => return,
            _ = signals.int.recv() => return,
            _ = signals.hup.recv() => {
                watched.take();
                true
            }
            _ = look.tick() => {
                if ebb.is_due(running.connections.load(Ordering::Relaxed)) {
                    seawall_heap::give_back();
                }
                watched.changed().await
            }
        };
        if let Some(file) = watched.file.filter(|_| wanted) {
            reload(running, file).await;
        }
    }
}

fn read(file: &Path) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(file).and_then(|mut f| f.read_to_end(&mut content)).ok()?;
    Some(content)
}

/// Takes the file whole, or refuses it whole.
async fn reload(running: &Running, file: &Path) {
    let loaded = config::load(file, &env).map_err(|report| report.to_string());
    let taken = loaded.and_then(|loaded| {
        let restart = needs_restart(running, &loaded.settings);
        running.replace(loaded.settings)?;
        Ok((restart, loaded.notes))
    });
    let refused = match taken {
        Ok((restart, notes)) => {
            for what in restart {
                tracing::warn!(what, "takes effect at the next start only");
            }
            for note in &notes {
                tracing::warn!("{note}");
            }
            let all = async {
                while !running.all_taken_over() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            if tokio::time::timeout(TAKE_OVER, all).await.is_err() {
                tracing::warn!("a worker is slow to take the new configuration over");
            }
            tracing::info!(file = %file.display(), "the configuration was reloaded");
            None
        }
        Err(report) => {
            tracing::error!("the new configuration was refused, and the old one stays in force:\n{report}");
            Some(report)
        }
    };
    *running.last_reload.lock() = Some(Reload { at: std::time::SystemTime::now(), refused });
}

/// What changed and is only read at the start.
fn needs_restart(running: &Running, new: &config::Settings) -> Vec<&'static str> {
    let compiled = running.compiled.load();
    let (old, new_gateway) = (&compiled.settings.gateway, &new.gateway);
    let listens = |settings: &config::Settings| -> Vec<_> {
        settings.dependencies.iter().filter_map(|d| Some((d.name.clone(), d.listen?))).collect()
    };
    let changes = [
        ("gateway.listen", old.listen != new_gateway.listen),
        ("gateway.admin", old.admin != new_gateway.admin),
        ("gateway.workers", old.workers != new_gateway.workers),
        ("gateway.hosts", old.hosts != new_gateway.hosts),
        ("gateway.clients", old.clients != new_gateway.clients),
        ("gateway.admin_token_file", old.admin_token_file != new_gateway.admin_token_file),
        ("dependency.*.listen", listens(&compiled.settings) != listens(new)),
    ];
    changes.into_iter().filter(|(_, changed)| *changed).map(|(what, _)| what).collect()
}

/// Lets accepted work finish, within the time that is set for it.
async fn drain(running: &Arc<Running>, stop: &watch::Sender<bool>, threads: Vec<Thread>) {
    let limit = running.compiled.load().settings.gateway.drain;
    running.drain(limit);
    tracing::info!(?limit, "draining");
    // Nobody listening means that the workers are gone already.
    let _ = stop.send(true);
    let done =
        tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
    if tokio::time::timeout(limit, done).await.is_err() {
        let left = running.connections.load(Ordering::Relaxed);
        tracing::warn!(connections = left, "the drain time is over with work left");
        std::process::exit(0);
    }
    tracing::info!("drained");
}
