//! Starts the gateway: reads the configuration, opens the listeners, and gives each worker a thread of its own.

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use seawall_client::connect::{join_turns, send_turn};
use tokio::sync::watch;

use super::demo::Demo;
use super::drain::drain;
use super::error::StartError;
use super::listeners::{admin_listener, open_doors};
use super::reload::{Reloader, environment};
use super::signals::{Signals, until_told_to_stop};
use super::worker::Worker;
use crate::admin::{self, AdminToken};
use crate::callers::descriptors;
use crate::callers::door::Entrance;
use crate::config;
use crate::durable::{Room, side};
use crate::running::process::Running;
use crate::running::router::Router;

/// What to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Whether to run the demo: the built-in provider and commands to try, without a configuration file.
    pub demo: bool,
}

/// Runs the gateway until SIGTERM or SIGINT comes, and then until accepted work is finished. If work is left after the
/// time `gateway.drain`, the process exits without waiting for it.
///
/// # Errors
/// If the gateway could not start. In that case nothing was served.
pub fn run(options: &Options) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::Machine(format!("no runtime: {error}")))?;
    runtime.block_on(start(options))
}

/// Runs one worker with one listener on the runtime of the calling task, until `stop` becomes true. It does not handle
/// signals, has no admin side, and reads no configuration file. This is for tests and fuzz targets that keep callers,
/// gateway and dependencies on one thread.
///
/// # Errors
/// If the worker could not start. In that case nothing was served.
#[doc(hidden)]
pub async fn work_here(
    settings: config::Settings,
    listener: TcpListener,
    stop: watch::Receiver<bool>,
) -> Result<(), StartError> {
    let running = Arc::new(Running::new(settings, 1).map_err(StartError::Config)?);
    let worker = Worker::new(0, running, Room::new()).map_err(StartError::Config)?;
    let machine = |error: io::Error| StartError::Machine(error.to_string());
    let address = listener.local_addr().map_err(machine)?;
    let entrance = Entrance { listener, address, own: None, tokens: None };
    Arc::new(worker).serve(vec![entrance], stop).await.map_err(machine)
}

async fn start(options: &Options) -> Result<(), StartError> {
    // The signals are installed before the start is logged, since a program that reads the log may send a signal
    // immediately.
    let signals = Signals::install()?;
    let demo = if options.demo { Some(Demo::start().map_err(StartError::Machine)?) } else { None };
    let (name, text) = match &demo {
        Some(demo) => ("demo".to_owned(), Ok(demo.configuration())),
        None => (options.config.display().to_string(), config::text(&options.config)),
    };
    let refused = |report: config::Report| StartError::Config(report.to_string());
    let text = text.map_err(refused)?;
    let loaded = config::parse(&name, &text, &environment).map_err(refused)?;
    if demo.is_none() {
        for note in &loaded.notes {
            tracing::warn!("{note}");
        }
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
    let room = Room::new();
    let ledger = LedgerThread::start(&running, workers, &room)?;
    let mut threads = Vec::new();
    for (index, entrances) in entrances.into_iter().enumerate() {
        let worker =
            Worker::new(index, Arc::clone(&running), Arc::clone(&room)).map_err(StartError::Config)?;
        threads.push(spawn(worker, entrances, stopped.clone())?);
    }
    let admin_side =
        tokio::spawn(admin::serve_with(admin, Arc::clone(&running), Arc::clone(&room.side), token));
    for (own, address) in &addresses {
        tracing::info!(%address, dependency = own.as_deref(), "listening");
    }
    tracing::info!(address = %admin_address, workers, "admin listening");
    if let Some(demo) = &demo {
        demo.tell(addresses[0].1, admin_address);
    }
    until_told_to_stop(&running, signals, reloader).await;
    let whole = drain(&running, &stop, threads).await;
    // The ledger ends only after the workers, since it has to write the outcomes of their calls.
    let whole = ledger.end().await && whole;
    admin_side.abort();
    // Dropping these values removes files. The `exit` below would not drop them, so this is done here.
    drop((made, demo));
    if !whole {
        // Workers or the ledger still have work, and the tasks in which `drain` and `LedgerThread::end` wait for their
        // threads (`spawn_blocking`) still run. Dropping the runtime would wait for these tasks. So the process exits
        // here without dropping the runtime.
        std::process::exit(0);
    }
    Ok(())
}

/// The thread on which the ledger works.
struct LedgerThread {
    thread: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl LedgerThread {
    /// Starts the thread. `workers` is the number of workers, whose routers have the numbers from 0 on. The ledger has
    /// a router, too, and this router has the next number.
    fn start(running: &Arc<Running>, workers: usize, room: &Arc<Room>) -> Result<LedgerThread, StartError> {
        let router = Router::new(workers, Arc::clone(running)).map_err(StartError::Config)?;
        let (router, side) = (Arc::new(router), Arc::clone(&room.side));
        let (stop, stopped) = watch::channel(false);
        let body = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(side::keep(side, router, stopped)),
                Err(error) => tracing::error!(%error, "the ledger's thread ended"),
            }
        };
        let spawned = thread::Builder::new().name("seawall-ledger".to_owned()).spawn(body);
        let failed =
            |error| StartError::Machine(format!("the ledger's thread could not be started: {error}"));
        Ok(LedgerThread { thread: spawned.map_err(failed)?, stop })
    }

    /// Lets the ledger finish its work under way. Returns whether the thread has ended within [`side::LAST_WORK`].
    async fn end(self) -> bool {
        // An error means that the thread has ended already.
        let _ = self.stop.send(true);
        let ended = tokio::task::spawn_blocking(move || drop(self.thread.join()));
        tokio::time::timeout(side::LAST_WORK, ended).await.is_ok()
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn spawn(
    worker: Worker,
    entrances: Vec<Entrance>,
    stopped: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, StartError> {
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
    thread::Builder::new()
        .name(name)
        .spawn(body)
        .map_err(|error| StartError::Machine(format!("a worker's thread could not be started: {error}")))
}
