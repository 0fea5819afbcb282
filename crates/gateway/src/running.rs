//! The configuration as it runs: compiled once, shared by all workers, replaced whole at a reload.

mod replace;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, Method};
use matchit::{Params, Router};
use parking_lot::Mutex;
use seawall_client::connect::{self, ConfigError};
use seawall_client::{Clock, DependencySettings, EndpointSettings, HealthRequest, PoolSettings, Shared};
use seawall_policy::{
    BreakerSettings, CoolingSettings, GuardSettings, Idempotency, Keys, LimitSettings, Plan, QueueSettings,
    Rules, Time, WindowSpan,
};

use tokio::sync::watch;

use crate::config;
use crate::counters::Counters;
use crate::parked::Parked;
use crate::refusals::Refusals;
use crate::tokens::{Kind, TokenFile};
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
    operations: Vec<CompiledOperation>,
    routers: Vec<(Method, Router<usize>)>,
    /// For requests that no operation matches, by idempotency in the order of [`Idempotency::ALL`].
    fallback: [CompiledOperation; 4],
}

impl std::fmt::Debug for CompiledDependency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledDependency").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

/// One operation, ready to call.
#[derive(Clone, Debug)]
pub struct CompiledOperation {
    /// The label; `other` for requests that no operation matches.
    pub name: Arc<str>,
    /// What its calls have in common.
    pub plan: Arc<Plan>,
    /// Bytes of a request's body that are kept for a repeat.
    pub keep: usize,
    /// What its breaker and its limit are kept for.
    filed: [Filed; 2],
}

/// What a guard is kept for, for one operation.
#[derive(Clone, Debug)]
enum Filed {
    /// The endpoint alone.
    Endpoint,
    /// This operation.
    Operation,
    /// What this header says.
    Header(HeaderName),
    /// This part of the path.
    Path(String),
}

/// Bytes of a key; a longer one counts as none. It is kept for each guard, and shown.
const MOST_KEY: usize = 128;

/// An operation, and the parts of the path that its pattern names.
pub struct Found<'a, 'p> {
    /// The operation.
    pub operation: &'a CompiledOperation,
    parts: Option<Params<'a, 'p>>,
}

impl std::fmt::Debug for Found<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found").field("operation", &self.operation.name).finish_non_exhaustive()
    }
}

impl Found<'_, '_> {
    /// Under which keys the guards of this request are kept.
    #[must_use]
    pub fn keys(&self, headers: &HeaderMap) -> Keys {
        let [breaker, limit] = &self.operation.filed;
        Keys { breaker: self.key(breaker, headers), limit: self.key(limit, headers) }
    }

    /// None where the request has no such thing: then it is the endpoint's own guard.
    fn key(&self, filed: &Filed, headers: &HeaderMap) -> Option<Arc<str>> {
        let text = match filed {
            Filed::Endpoint => return None,
            Filed::Operation => return Some(Arc::clone(&self.operation.name)),
            Filed::Header(name) => headers.get(name)?.to_str().ok()?,
            Filed::Path(name) => self.parts.as_ref()?.get(name)?,
        };
        (!text.is_empty() && text.len() <= MOST_KEY).then(|| Arc::from(text))
    }
}

impl Filed {
    fn of(key: &config::GuardKey) -> Filed {
        match key {
            config::GuardKey::Endpoint => Filed::Endpoint,
            config::GuardKey::Operation => Filed::Operation,
            config::GuardKey::Header(name) => Filed::Header(name.clone()),
            config::GuardKey::Path(name) => Filed::Path(name.clone()),
        }
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

        let filed = [Filed::of(&settings.breaker.key), Filed::of(&settings.concurrency.key)];
        let operations: Vec<CompiledOperation> = settings
            .operations
            .iter()
            .map(|operation| CompiledOperation {
                name: operation.name.as_str().into(),
                plan: Arc::new(operation_plan(settings, operation)),
                keep: keep(&operation.retry),
                filed: filed.clone(),
            })
            .collect();
        let mut routers: Vec<(Method, Router<usize>)> = Vec::new();
        for (index, operation) in settings.operations.iter().enumerate() {
            let method = &operation.pattern.method;
            let found = routers.iter().position(|(m, _)| m == method).unwrap_or_else(|| {
                routers.push((method.clone(), Router::new()));
                routers.len() - 1
            });
            routers[found]
                .1
                .insert(operation.pattern.path(), index)
                .map_err(|error| ConfigError::new("operation.match", error.to_string()))?;
        }
        let other: Arc<str> = "other".into();
        let fallback = Idempotency::ALL.map(|idempotency| CompiledOperation {
            name: Arc::clone(&other),
            plan: Arc::new(fallback_plan(settings, idempotency)),
            keep: keep(&settings.fallback.retry),
            filed: filed.clone(),
        });
        Ok(CompiledDependency {
            settings: settings.clone(),
            shared,
            counters: match before {
                Some(before) => Arc::clone(&before.counters),
                None => (0..workers).map(|_| Counters::default()).collect(),
            },
            client,
            operations,
            routers,
            fallback,
        })
    }

    /// The operation that a request belongs to. `keyed`: it carries an `Idempotency-Key`.
    #[must_use]
    pub fn operation<'a, 'p>(&'a self, method: &Method, path: &'p str, keyed: bool) -> Found<'a, 'p> {
        let router = self.routers.iter().find(|(m, _)| m == method);
        if let Some(found) = router.and_then(|(_, router)| router.at(path).ok()) {
            return Found { operation: &self.operations[*found.value], parts: Some(found.params) };
        }
        let mut idempotency = Idempotency::of_method(method.as_str());
        let may_be_keyed = *method == Method::POST || *method == Method::PATCH;
        if keyed && may_be_keyed && self.settings.keys {
            idempotency = Idempotency::Keyed;
        }
        let index = Idempotency::ALL.iter().position(|i| *i == idempotency).expect("it is one of all");
        Found { operation: &self.fallback[index], parts: None }
    }
}

fn keep(retry: &config::Retry) -> usize {
    usize::try_from(retry.buffer).unwrap_or(usize::MAX)
}

fn operation_plan(dependency: &config::Dependency, operation: &config::Operation) -> Plan {
    let rules = Rules {
        idempotency: in_force(dependency, operation.idempotency),
        confirm: operation.confirm.is_some(),
        refuses: operation.refuses.clone(),
        overload: dependency.overload.clone(),
        answers: operation.answers.clone(),
    };
    Plan {
        rules,
        timeouts: operation.timeout,
        attempts: operation.retry.attempts_in_force(),
        backoff: operation.retry.backoff,
        endpoints: dependency.endpoints.len(),
        slow_call: operation.slow_call,
        after_max: operation.retry.after_max,
    }
}

fn fallback_plan(dependency: &config::Dependency, idempotency: Idempotency) -> Plan {
    let fallback = &dependency.fallback;
    Plan {
        rules: Rules {
            overload: dependency.overload.clone(),
            ..Rules::of(in_force(dependency, idempotency))
        },
        timeouts: fallback.timeout,
        attempts: fallback.retry.attempts_in_force(),
        backoff: fallback.retry.backoff,
        endpoints: dependency.endpoints.len(),
        slow_call: fallback.slow_call,
        after_max: fallback.retry.after_max,
    }
}

/// `dangerous.retry_none` treats what may be doubled as if it could not be.
fn in_force(dependency: &config::Dependency, idempotency: Idempotency) -> Idempotency {
    match idempotency {
        Idempotency::None if dependency.dangerous.retry_none => Idempotency::Idempotent,
        other => other,
    }
}

pub(crate) fn guard_settings(settings: &config::Dependency, instances: u32) -> GuardSettings {
    let from = &settings.breaker;
    let mut breaker = BreakerSettings::default();
    breaker.enabled = from.enabled;
    breaker.failure_rate_ppm = from.failure_rate_ppm;
    breaker.min_calls = from.min_calls;
    breaker.window = match from.window {
        config::Window::Time(span) => WindowSpan::Time(span),
        config::Window::Calls(calls) => WindowSpan::Calls(calls),
    };
    breaker.open_for = from.open_for;
    breaker.probes = from.probes;
    breaker.consecutive = from.consecutive;
    // Every plan carries the one in force, so that an operation can turn it off.
    breaker.slow_call = None;
    breaker.health = settings.health.as_ref().map(|_| health_interval(from.open_for));
    breaker.open_max = from.open_max;
    breaker.ramp = from.ramp;
    let mut limit = LimitSettings::default();
    limit.enabled = settings.concurrency.enabled;
    limit.max = settings.concurrency.max;
    limit.adaptive = settings.concurrency.adaptive;
    let mut cooling = CoolingSettings::default();
    cooling.enabled = settings.cooldown;
    cooling.after_max = settings.fallback.retry.after_max;
    let concurrency = &settings.concurrency;
    GuardSettings {
        breaker,
        cooling,
        limit,
        queue: QueueSettings { length: concurrency.queue, wait: concurrency.queue_wait },
        breaker_keys: from.max_keys,
        limit_keys: concurrency.max_keys,
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
    let mut connect = connect::Settings::default();
    connect.proxy = settings.proxy.as_ref().map(|uri| uri.to_string().parse()).transpose()?;
    connect.bind = settings.bind;
    connect.tls.ca_file = settings.tls.ca_file.clone();
    connect.tls.client_cert = settings.tls.client.as_ref().map(|c| c.cert.clone());
    connect.tls.client_key = settings.tls.client.as_ref().map(|c| c.key.clone());
    // Read once, so that all workers have the same.
    connect.tls.files = Some(connect.tls.read()?);
    connect.http = match settings.http {
        config::HttpVersion::Auto => connect::HttpVersion::Auto,
        config::HttpVersion::Http1 => connect::HttpVersion::Http1,
        config::HttpVersion::Http2 => connect::HttpVersion::Http2,
    };
    connect.dns.refresh = settings.dns.refresh;
    connect.dns.stale = settings.dns.stale;
    let endpoints = settings.endpoints.iter().map(|endpoint| {
        let headers: HeaderMap = endpoint.headers.iter().cloned().collect();
        EndpointSettings { url: endpoint.url.clone(), headers }
    });
    Ok(DependencySettings {
        name: settings.name.clone(),
        endpoints: endpoints.collect(),
        connect,
        pool: PoolSettings {
            settle: settings.pool.settle,
            idle: settings.pool.idle,
            max_idle: settings.pool.max_idle,
            max_age: settings.pool.max_age,
        },
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
