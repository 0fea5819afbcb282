//! `seawall serve`: start, signals, drain.

mod demo;
mod ebb;
mod reload;
pub(crate) mod worker;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use seawall_client::connect::{join_turns, send_turn};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::admin::{self, AdminToken};
use crate::callers::descriptors;
use crate::callers::door::Entrance;
use crate::config;
use crate::running::process::Running;
use demo::Demo;
use ebb::Ebb;
use reload::{LOOK, Reloader, environment};
use worker::Worker;

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
    // Before anything is announced, so that a program that reads of the start may send a signal immediately.
    let signals = Signals::install()?;
    let demo = if options.demo { Some(Demo::start().map_err(StartError::Machine)?) } else { None };
    let (name, text) = match &demo {
        Some(demo) => ("demo".to_owned(), Ok(demo.configuration())),
        None => (options.config.display().to_string(), config::text(&options.config)),
    };
    let refused = |report: config::Report| StartError::Config(report.to_string());
    let text = text.map_err(refused)?;
    let loaded = config::parse(&name, &text, &environment).map_err(refused)?;
    for note in &loaded.notes {
        tracing::warn!("{note}");
    }
    let workers = loaded.settings.gateway.workers.unwrap_or_else(cores).max(1);
    descriptors::divide(&loaded.settings, workers);
    let running = Arc::new(Running::new(loaded.settings.clone(), workers).map_err(StartError::Config)?);
    let reloader = (!options.demo).then(|| Reloader::new(&options.config, text, &loaded, &running));
    let entrances = open_doors(&running, workers)?;
    let admin = admin_listener(&running)?;
    let admin_address = admin.local_addr().map_err(|e| StartError::Machine(e.to_string()))?;
    let (token, made) = AdminToken::prepare(&running, admin_address).map_err(StartError::Machine)?;

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
    until_told_to_stop(&running, signals, reloader).await;
    let whole = drain(&running, &stop, threads).await;
    admin_side.abort();
    drop(made);
    if !whole {
        // Workers still have work, and their threads would be waited for.
        std::process::exit(0);
    }
    Ok(())
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
    let name = format!("seawall-{}", worker.router.index);
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
    let tokens = running.clients_tokens();
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

/// Waits for the signal to stop; reloads on SIGHUP and when a file's content changes.
async fn until_told_to_stop(running: &Running, mut signals: Signals, mut reloader: Option<Reloader>) {
    let mut look = tokio::time::interval(LOOK);
    look.reset();
    let mut ebb = Ebb::default();
    loop {
        let hurry = reloader.as_ref().and_then(Reloader::hurry);
        let asked = tokio::select! {
            _ = signals.term.recv() => return,
            _ = signals.int.recv() => return,
            _ = signals.hup.recv() => true,
            () = tokio::time::sleep(hurry.unwrap_or(LOOK)), if hurry.is_some() => false,
            _ = look.tick() => {
                if ebb.is_due(running.connections.load(Ordering::Relaxed)) {
                    seawall_heap::give_back();
                }
                false
            }
        };
        match &mut reloader {
            Some(reloader) if asked => reloader.take_now(running).await,
            Some(reloader) => reloader.look(running).await,
            None => {}
        }
    }
}

/// Lets accepted work finish, within the time that is set for it. Whether all of it did.
async fn drain(running: &Arc<Running>, stop: &watch::Sender<bool>, threads: Vec<Thread>) -> bool {
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
        return false;
    }
    tracing::info!("drained");
    true
}
