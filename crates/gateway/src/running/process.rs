//! The gateway's process: what its workers and its admin side share.

mod replace;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use seawall_client::Clock;
use seawall_policy::Time;
use tokio::sync::watch;

use super::compiled::{Before, Compiled, CompiledDependency};
use super::parked::Parked;
use super::tokens::{Fresh, TokenFile, TokenKind};
use crate::config::{self, KeyScope};
use crate::problem::refusals::Refusals;

/// What the workers and the admin side of the gateway's process share.
#[derive(Debug)]
pub struct Running {
    /// The configuration in force.
    pub compiled: ArcSwap<Compiled>,
    /// The clock that all guards use.
    pub clock: Clock,
    /// The number of workers.
    pub workers: usize,
    /// Whether the gateway is shutting down. During that time the gateway is not ready, and every answer announces that
    /// its connection ends.
    draining: AtomicBool,
    /// Becomes `true` when the gateway begins to shut down. `until_draining` waits for this.
    drain_begins: watch::Sender<bool>,
    /// When the drain is over, in nanoseconds of the clock. It has no meaning before `draining` is set.
    drained_by: AtomicU64,
    /// The result of the last reload. `None` if there was none.
    pub last_reload: Mutex<Option<Reload>>,
    /// The number of callers' connections, over all workers.
    pub connections: AtomicU64,
    /// The refusals that callers got instead of a dependency's answer, for the log and for the admin side.
    pub(crate) refusals: Refusals,
    /// The generation of the configuration in force: a number that grows with each new configuration. Workers wait for
    /// it to change.
    newest: watch::Sender<u64>,
    /// The generation of the configuration that each worker uses for routing.
    taken: Vec<AtomicU64>,
    /// The tokens of callers, from the file that was named at the start. `None` if no file was named.
    clients_tokens: Option<TokenFile>,
    /// The tokens of operators, from the file that was named at the start. `None` if no file was named.
    admin_tokens: Option<TokenFile>,
    /// The dependencies that a reload removed, each kept for ten minutes.
    parked: Mutex<Parked<Arc<CompiledDependency>>>,
}

/// The result of a reload.
#[derive(Clone, Debug)]
pub struct Reload {
    /// When the reload happened, by the wall clock.
    pub at: std::time::SystemTime,
    /// Why the configuration was refused. `None` if it came into force.
    pub refused: Option<String>,
    /// What the reload changed, one line each.
    pub changed: Vec<String>,
}

/// The length of the last part of a drain, in which no call may begin, because the end of the drain would abort most
/// such calls. If the configured drain is shorter than two seconds, the last part is half of the drain.
const LAST_CALLS: Duration = Duration::from_secs(1);
/// The time for which a drain goes on after it has ended the remaining calls, so that the answers to these calls still
/// reach their callers. If a tenth of the configured drain is shorter than this, that tenth is used instead, so that a
/// short drain leaves time for calls.
const LAST_WORD: Duration = Duration::from_millis(100);

const CLIENTS_TOKENS: &str = "gateway.clients.tokens_file";
const ADMIN_TOKENS: &str = "gateway.admin_token_file";

/// The time limits of calls that begin while the gateway shuts down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving {
    /// Calls that would begin later than this time are refused.
    pub(crate) begin_by: Time,
    /// The time by which the remaining calls are ended. Their callers still get an answer that says what is known of
    /// the effect, and are not simply disconnected.
    pub(crate) end_by: Time,
}

impl Running {
    /// Compiles these settings, reads the token files that they name, and returns the state of a gateway that is about
    /// to start.
    ///
    /// # Errors
    /// If a setting could never work, for example because a certificate cannot be read, or because a caller has no name
    /// where a durable operation needs one. The error names the dependency and the setting.
    pub fn new(settings: config::Settings, workers: usize) -> Result<Running, String> {
        let clock = Clock::new();
        let read = |key: &str, path: Option<&PathBuf>, kind| match path {
            Some(path) => TokenFile::read(path, kind).map(Some).map_err(|why| format!("{key}: {why}")),
            None => Ok(None),
        };
        let gateway = &settings.gateway;
        let clients = gateway.clients.as_ref().and_then(|clients| clients.tokens_file.as_ref());
        let clients = read(CLIENTS_TOKENS, clients, TokenKind::Callers)?;
        check_names(&settings, clients.as_ref())?;
        let admins = read(ADMIN_TOKENS, gateway.admin_token_file.as_ref(), TokenKind::Operators)?;
        let [clients_tokens, admin_tokens] = [clients, admins].map(|fresh| Some(fresh?.take().0));
        let compiled = Compiled::new(settings, workers, &Before::Nothing, clock)?;
        let generation = compiled.generation;
        Ok(Running {
            clients_tokens,
            admin_tokens,
            parked: Mutex::default(),
            newest: watch::Sender::new(generation),
            taken: (0..workers).map(|_| AtomicU64::new(generation)).collect(),
            compiled: ArcSwap::from_pointee(compiled),
            clock,
            workers,
            draining: AtomicBool::new(false),
            drain_begins: watch::Sender::new(false),
            drained_by: AtomicU64::new(0),
            last_reload: Mutex::new(None),
            connections: AtomicU64::new(0),
            refusals: Refusals::default(),
        })
    }

    /// Returns a channel with the generation of the configuration in force. Its value changes whenever a new
    /// configuration comes into force.
    pub(crate) fn replaced(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Notes that a worker uses the configuration of this generation from now on.
    pub(crate) fn taken_over(&self, worker: usize, generation: u64) {
        // `taken` has one entry for each worker. The ledger's router calls this function, too, but has no entry: nobody
        // waits until the ledger uses a new configuration.
        if let Some(taken) = self.taken.get(worker) {
            taken.store(generation, Ordering::Release);
        }
    }

    /// Returns whether every worker uses the configuration in force.
    #[must_use]
    pub fn all_taken_over(&self) -> bool {
        let newest = self.compiled.load().generation;
        self.taken.iter().all(|taken| taken.load(Ordering::Acquire) >= newest)
    }

    /// Returns whether the gateway is shutting down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Begins to shut the gateway down. The drain is over after `limit` at the latest.
    pub fn drain(&self, limit: Duration) {
        self.drained_by.store(self.clock.now().saturating_add(limit).as_nanos(), Ordering::Relaxed);
        self.draining.store(true, Ordering::Release);
        self.drain_begins.send_replace(true);
    }

    /// Waits until the gateway begins to shut down.
    pub(crate) async fn until_draining(&self) {
        // This cannot fail, since `self` holds the sender.
        let _ = self.drain_begins.subscribe().wait_for(|begins| *begins).await;
    }

    /// Returns the time limits of calls that begin while the gateway shuts down. `None` if it does not shut down.
    pub(crate) fn leaving(&self) -> Option<Leaving> {
        if !self.draining.load(Ordering::Acquire) {
            return None;
        }
        let limit = self.compiled.load().settings.gateway.drain;
        let over = Time::from_nanos(self.drained_by.load(Ordering::Relaxed));
        let before =
            |span: Duration| Time::from_nanos(over.as_nanos().saturating_sub(span.as_nanos() as u64));
        Some(Leaving {
            begin_by: before(LAST_CALLS.min(limit / 2)),
            end_by: before(LAST_WORD.min(limit / 10)),
        })
    }
}

/// Checks that every caller has a name, if a dependency with durable operations has `key_scope = "client"`. The name is
/// then put before each key of the caller, so that two callers can use the same key. `clients` are the callers' tokens
/// that will be in force with these settings; `None` if callers need no token.
///
/// # Errors
/// If a caller has no name. The error says so in words.
fn check_names(settings: &config::Settings, clients: Option<&Fresh>) -> Result<(), String> {
    let parts = |it: &&config::Dependency| {
        it.key_scope == KeyScope::Client && it.operations.iter().any(|operation| operation.durable.is_some())
    };
    let Some(dependency) = settings.dependencies.iter().find(parts) else { return Ok(()) };
    match clients {
        Some(fresh) => fresh.check_names().map_err(|why| format!("{CLIENTS_TOKENS}: {why}")),
        None => Err(format!(
            "dependency.{}: `key_scope` is client, but callers have no names before the next start, when `gateway.clients` takes effect",
            dependency.name
        )),
    }
}
