//! The configuration as it runs: compiled once, shared by all workers, replaced whole at a reload.

mod replace;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderMap;
use parking_lot::Mutex;
use seawall_client::connect::{self, ConfigError, TlsSettings};
use seawall_client::{Clock, DependencySettings, EndpointSettings, HealthRequest, Shared};
use seawall_policy::{BreakerSettings, CoolingSettings, GuardSettings, Time};

use tokio::sync::watch;

use crate::config;
use crate::counters::Counters;
use crate::operations::Operations;
use crate::parked::Parked;
use crate::refusals::Refusals;
use crate::tokens::{Kind, TokenFile};
use crate::via::Via;
use replace::Before;

/// One gateway process, as its workers and its admin side see it.
#[derive(Debug)]
pub struct Running {
    /// What is in force.
    pub compiled: ArcSwap<Compiled>,
    /// The clock of all guards.
    pub clock: Clock,
    /// How many workers there are.
    pub workers: usize,
    /// Shutting down: no longer ready, and every answer says that its connection ends.
    draining: AtomicBool,
    /// When the drain is over, in nanoseconds of the clock; before `draining` is set it says nothing.
    drained_by: AtomicU64,
    /// What became of the last reload.
    pub last_reload: Mutex<Option<Reload>>,
    /// Connections of callers, over all workers.
    pub connections: AtomicU64,
    /// What was answered instead of a dependency's answer, for the log and for people.
    pub(crate) refusals: Refusals,
    /// The generation of what is in force, for workers to wait for.
    newest: watch::Sender<u64>,
    /// The generation that each worker routes by.
    taken: Vec<AtomicU64>,
    /// Tokens of callers, from the file that was named at the start.
    clients_tokens: Option<TokenFile>,
    /// Tokens of operators, likewise.
    admin_tokens: Option<TokenFile>,
    /// What is left of dependencies that a reload removed.
    parked: Mutex<Parked<Arc<CompiledDependency>>>,
}

/// What became of a reload.
#[derive(Clone, Debug)]
pub struct Reload {
    /// When, by the wall clock.
    pub at: std::time::SystemTime,
    /// Why it was refused; `None` where it was taken.
    pub refused: Option<String>,
    /// What it changed, one line each.
    pub changed: Vec<String>,
}

/// The last moments of a drain, in which no call begins any more: most would be cut by its end. Of a short drain, the
/// second half.
const LAST_CALLS: Duration = Duration::from_secs(1);
/// An answer that is made so long before the end of a drain still reaches its caller.
const LAST_WORD: Duration = Duration::from_millis(100);

const CLIENTS_TOKENS: &str = "gateway.clients.tokens_file";
const ADMIN_TOKENS: &str = "gateway.admin_token_file";

/// What holds for calls that begin while the gateway shuts down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving {
    /// Later ones are refused.
    pub(crate) begin_by: Time,
    /// So that their callers are told what became of them, instead of being cut off.
    pub(crate) end_by: Time,
}

/// A configuration, ready to route by.
#[derive(Debug)]
pub struct Compiled {
    /// Counts up with each reload.
    pub generation: u64,
    /// The settings that it was made of.
    pub settings: config::Settings,
    /// In the order of the settings.
    pub dependencies: Vec<Arc<CompiledDependency>>,
    /// Names with their indices, sorted: a few string comparisons beat a hash.
    by_name: Vec<(String, usize)>,
}

/// One dependency, ready to call.
pub struct CompiledDependency {
    /// The settings that it was made of.
    pub settings: config::Dependency,
    /// Breakers, limits and budget.
    pub shared: Arc<Shared>,
    /// One for each worker.
    pub counters: Arc<[Counters]>,
    /// How to reach it.
    pub client: DependencySettings,
    /// What can be asked of it.
    pub(crate) operations: Operations,
    /// How it is told that a request passed here.
    pub(crate) via: Via,
}

impl std::fmt::Debug for CompiledDependency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledDependency").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

impl Running {
    /// Starts with `settings`.
    ///
    /// # Errors
    /// A setting that could never work, as a certificate that cannot be read; named as dependency and setting.
    pub fn new(settings: config::Settings, workers: usize) -> Result<Running, String> {
        let clock = Clock::new();
        let open = |key: &str, path: Option<&PathBuf>, kind| match path {
            Some(path) => TokenFile::open(path, kind).map(Some).map_err(|why| format!("{key}: {why}")),
            None => Ok(None),
        };
        let gateway = &settings.gateway;
        let clients = gateway.clients.as_ref().and_then(|clients| clients.tokens_file.as_ref());
        let clients_tokens = open(CLIENTS_TOKENS, clients, Kind::Plain)?;
        let admin_tokens = open(ADMIN_TOKENS, gateway.admin_token_file.as_ref(), Kind::Named)?;
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
            drained_by: AtomicU64::new(0),
            last_reload: Mutex::new(None),
            connections: AtomicU64::new(0),
            refusals: Refusals::default(),
        })
    }

    /// Tells when there is something new to route by.
    pub(crate) fn replaced(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// A worker routes by this generation from now on.
    pub(crate) fn taken_over(&self, worker: usize, generation: u64) {
        self.taken[worker].store(generation, Ordering::Release);
    }

    /// Whether every worker routes by what is in force.
    #[must_use]
    pub fn all_taken_over(&self) -> bool {
        let newest = self.compiled.load().generation;
        self.taken.iter().all(|taken| taken.load(Ordering::Acquire) >= newest)
    }

    /// Whether the gateway is shutting down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The gateway shuts down, and is gone after this long at the latest.
    pub fn drain(&self, limit: Duration) {
        self.drained_by.store(self.clock.now().saturating_add(limit).as_nanos(), Ordering::Relaxed);
        self.draining.store(true, Ordering::Release);
    }

    /// What holds for calls that begin while it shuts down; `None` while it does not.
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

impl Compiled {
    fn new(
        settings: config::Settings,
        workers: usize,
        before: &Before<'_>,
        clock: Clock,
    ) -> Result<Compiled, String> {
        let old = before.old();
        let instances = settings.gateway.instances;
        let same_instances = old.is_some_and(|old| old.settings.gateway.instances == instances);
        let mut dependencies = Vec::with_capacity(settings.dependencies.len());
        for dependency in &settings.dependencies {
            let wrong = |wrong: ConfigError| format!("dependency.{}: {wrong}", dependency.name);
            let client = client_settings(dependency).map_err(wrong)?;
            let compiled = match before.dependency(&dependency.name) {
                // What its files hold is part of the client's settings.
                Some(same)
                    if same.settings == *dependency
                        && same.client.connect.tls == client.connect.tls
                        && same_instances =>
                {
                    Arc::clone(same)
                }
                changed => {
                    let before = changed.map(Arc::as_ref);
                    let made = CompiledDependency::new(dependency, client, instances, workers, before, clock);
                    Arc::new(made.map_err(wrong)?)
                }
            };
            dependencies.push(compiled);
        }
        let names = settings.dependencies.iter().enumerate();
        let mut by_name: Vec<_> = names.map(|(index, dependency)| (dependency.name.clone(), index)).collect();
        by_name.sort();
        let generation = old.map_or(1, |old| old.generation + 1);
        Ok(Compiled { generation, settings, dependencies, by_name })
    }

    /// The dependency of this name, with its index.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<(usize, &Arc<CompiledDependency>)> {
        let at = self.by_name.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        let index = self.by_name[at].1;
        Some((index, &self.dependencies[index]))
    }
}

impl CompiledDependency {
    fn new(
        settings: &config::Dependency,
        client: DependencySettings,
        instances: u32,
        workers: usize,
        before: Option<&CompiledDependency>,
        clock: Clock,
    ) -> Result<CompiledDependency, ConfigError> {
        let endpoints = settings.endpoints.len();
        let guards = guard_settings(settings, instances);
        // What was learned of the same endpoints stays, whatever credentials they are given; the new settings come into it
        // when all has compiled.
        let urls = |of: &config::Dependency| of.endpoints.iter().map(|it| it.url.clone()).collect::<Vec<_>>();
        let kept = before.filter(|before| urls(&before.settings) == urls(settings));
        let shared = match kept {
            Some(before) => Arc::clone(&before.shared),
            None => Shared::new(guards, endpoints),
        };
        // Made once here, so that what could never work is found before anything is replaced.
        seawall_client::Dependency::new(client.clone(), Arc::clone(&shared), clock)?;

        let operations =
            Operations::new(settings).map_err(|error| ConfigError::new("operation.match", error))?;
        Ok(CompiledDependency {
            settings: settings.clone(),
            shared,
            counters: match before {
                Some(before) => Arc::clone(&before.counters),
                None => (0..workers).map(|_| Counters::default()).collect(),
            },
            client,
            operations,
            via: Via::new(&settings.name),
        })
    }
}

pub(crate) fn guard_settings(settings: &config::Dependency, instances: u32) -> GuardSettings {
    let config::Concurrency { limit, queue, max_keys, .. } = settings.concurrency;
    let from = settings.breaker.settings;
    GuardSettings {
        breaker: BreakerSettings {
            // Every plan carries the one in force, so that an operation can turn it off.
            slow_call: None,
            health: settings.health.as_ref().map(|_| health_interval(from.open_for)),
            ..from
        },
        cooling: CoolingSettings { enabled: settings.cooldown, after_max: settings.fallback.retry.after_max },
        limit,
        queue,
        breaker_keys: settings.breaker.max_keys,
        limit_keys: max_keys,
        budget: settings.budget,
        instances,
    }
}

/// Asked about three times in an open time, so that a good answer can shorten it; never in a hurry, and at least every two
/// seconds, or a long open time would be waited out for nothing.
fn health_interval(open_for: Duration) -> Duration {
    (open_for / 4).clamp(Duration::from_millis(200), Duration::from_secs(2))
}

fn client_settings(settings: &config::Dependency) -> Result<DependencySettings, ConfigError> {
    let connect = connect::Settings {
        proxy: settings.proxy.as_ref().map(|uri| uri.to_string().parse()).transpose()?,
        bind: settings.bind,
        // Read once, so that all workers have the same.
        tls: TlsSettings { files: Some(settings.tls.read()?), ..settings.tls.clone() },
        http: settings.http,
        dns: settings.dns,
    };
    let endpoints = settings.endpoints.iter().map(|endpoint| {
        let headers: HeaderMap = endpoint.headers.iter().cloned().collect();
        EndpointSettings { url: endpoint.url.clone(), headers }
    });
    Ok(DependencySettings {
        name: settings.name.clone(),
        endpoints: endpoints.collect(),
        connect,
        pool: settings.pool,
        deadline_header: settings.deadline_header.clone(),
        answer: settings.answer,
        health: settings.health.as_ref().map(health).transpose()?,
    })
}

fn health(asked: &config::Health) -> Result<HealthRequest, ConfigError> {
    let path = asked.target.parse().map_err(|_| ConfigError::new("health", "this is no path"))?;
    Ok(HealthRequest { method: asked.method.clone(), path })
}

#[cfg(test)]
#[path = "running_tests.rs"]
mod tests;
