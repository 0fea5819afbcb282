//! Holds the configuration in the form in which it runs. The configuration is compiled once, shared by all workers, and
//! replaced as a whole by a reload.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use seawall_client::connect::{self, ConfigError, TlsSettings};
use seawall_client::{Clock, DependencySettings, EndpointSettings, HealthRequest, Shared};
use seawall_policy::{BreakerSettings, CoolingSettings, GuardSettings, Time};

use super::counters::Counters;
use super::operations::Operations;
use super::parked::Parked;
use super::via::Via;
use crate::config;

/// A compiled configuration, by which requests are routed.
#[derive(Debug)]
pub struct Compiled {
    /// A number that grows by one with each reload.
    pub generation: u64,
    /// The settings that this configuration was compiled from.
    pub settings: config::Settings,
    /// The dependencies, in the order of the settings.
    pub dependencies: Vec<Arc<CompiledDependency>>,
    /// The names of the dependencies with their indices in `dependencies`, sorted by name. Comparing a few strings is
    /// faster than computing a hash.
    by_name: Vec<(String, usize)>,
}

/// One compiled dependency, which can be called.
pub struct CompiledDependency {
    /// The settings that this dependency was compiled from.
    pub settings: config::Dependency,
    /// The breakers, the limits and the budget, which all workers share.
    pub shared: Arc<Shared>,
    /// The counters: one set for each worker, and one for the ledger.
    pub counters: Arc<[Counters]>,
    /// How to reach the dependency.
    pub client: DependencySettings,
    /// The operations of the dependency.
    pub(crate) operations: Operations,
    /// How requests to the dependency show that they passed this gateway (`Via`).
    pub(crate) via: Via,
}

impl std::fmt::Debug for CompiledDependency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledDependency").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

/// What was in force before a new configuration.
pub(crate) enum Before<'a> {
    /// Nothing was in force: the new configuration is the first one.
    Nothing,
    /// A configuration is in force: `old`. `parked` holds the dependencies that a reload removed not long ago, and
    /// `now` is the time of the present reload.
    Ran { old: &'a Compiled, parked: &'a Parked<Arc<CompiledDependency>>, now: Time },
}

impl<'a> Before<'a> {
    pub(crate) fn old(&self) -> Option<&'a Compiled> {
        match self {
            Before::Nothing => None,
            Before::Ran { old, .. } => Some(old),
        }
    }

    /// Returns the dependency of this name from the configuration in force or, if a reload removed it, from those that
    /// are still kept. `None` if there is no such dependency.
    pub(crate) fn dependency(&self, name: &str) -> Option<&'a Arc<CompiledDependency>> {
        let Before::Ran { old, parked, now } = self else { return None };
        old.by_name(name).map(|(_, found)| found).or_else(|| parked.get(name, *now))
    }
}

impl Compiled {
    pub(crate) fn new(
        settings: config::Settings,
        workers: usize,
        before: &Before<'_>,
        clock: Clock,
    ) -> Result<Compiled, String> {
        let old = before.old();
        let instances = settings.gateway.instances;
        let bounds = |ledger: &config::Ledger| (ledger.answer_max, ledger.request_max);
        let same_for_all = old.is_some_and(|old| {
            let old = &old.settings;
            old.gateway.instances == instances && bounds(&old.ledger) == bounds(&settings.ledger)
        });
        let mut dependencies = Vec::with_capacity(settings.dependencies.len());
        for dependency in &settings.dependencies {
            let wrong = |wrong: ConfigError| format!("dependency.{}: {wrong}", dependency.name);
            let client = client_settings(dependency).map_err(wrong)?;
            let compiled = match before.dependency(&dependency.name) {
                // The client's settings (`connect.tls`) include the content of the files with certificates and keys. So
                // a file with new content counts as a change.
                Some(same)
                    if same.settings == *dependency
                        && same.client.connect.tls == client.connect.tls
                        && same_for_all =>
                {
                    Arc::clone(same)
                }
                changed => {
                    let before = changed.map(Arc::as_ref);
                    let whole = Whole { instances, workers, ledger: &settings.ledger };
                    let made = CompiledDependency::new(dependency, client, whole, before, clock);
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

    /// Applies the new settings to the guards that the new configuration takes over from the one before.
    pub(crate) fn adopt_guards(&self, before: &Before<'_>) {
        let Before::Ran { now, .. } = before else { return };
        let instances = self.settings.gateway.instances;
        for new in &self.dependencies {
            let changed =
                before.dependency(&new.settings.name).is_some_and(|before| !Arc::ptr_eq(before, new));
            if changed {
                new.shared.with(|state| state.adopt(guard_settings(&new.settings, instances), *now));
            }
        }
    }

    /// Returns, in words, the dependencies whose files of certificates or keys have another content than in `old`,
    /// although their `tls` settings are equal.
    pub(crate) fn other_tls_files(&self, old: &Compiled) -> Vec<String> {
        let differs = |new: &&Arc<CompiledDependency>| {
            old.by_name(&new.settings.name).is_some_and(|(_, before)| {
                before.settings.tls == new.settings.tls
                    && before.client.connect.tls.files != new.client.connect.tls.files
            })
        };
        let found = self.dependencies.iter().filter(differs);
        found.map(|new| format!("dependency `{}`: the content of its tls files", new.settings.name)).collect()
    }

    /// Returns the index of the dependency of this name, and the dependency. `None` if there is no such dependency.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<(usize, &Arc<CompiledDependency>)> {
        let at = self.by_name.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        let index = self.by_name[at].1;
        Some((index, &self.dependencies[index]))
    }
}

/// What a dependency needs to know of the whole gateway.
#[derive(Clone, Copy)]
struct Whole<'c> {
    /// The number of copies of this gateway that run.
    instances: u32,
    workers: usize,
    ledger: &'c config::Ledger,
}

impl CompiledDependency {
    fn new(
        settings: &config::Dependency,
        client: DependencySettings,
        whole: Whole<'_>,
        before: Option<&CompiledDependency>,
        clock: Clock,
    ) -> Result<CompiledDependency, ConfigError> {
        let Whole { instances, workers, ledger } = whole;
        let endpoints = settings.endpoints.len();
        let guards = guard_settings(settings, instances);
        // The breakers, the limits and the budget are kept if the endpoints' URLs are the same, even if the credentials
        // change. `adopt_guards` gives them the new settings, after every dependency has compiled: a configuration that
        // is refused must change nothing.
        let urls = |of: &config::Dependency| of.endpoints.iter().map(|it| it.url.clone()).collect::<Vec<_>>();
        let kept = before.filter(|before| urls(&before.settings) == urls(settings));
        let shared = match kept {
            Some(before) => Arc::clone(&before.shared),
            None => Shared::new(guards, endpoints),
        };
        // A client is made here only as a check, so that settings that could never work are found before anything is
        // replaced.
        seawall_client::Dependency::new(client.clone(), Arc::clone(&shared), clock)?;

        let operations =
            Operations::new(settings, ledger).map_err(|error| ConfigError::new("operation.match", error))?;
        Ok(CompiledDependency {
            settings: settings.clone(),
            shared,
            counters: match before {
                Some(before) => Arc::clone(&before.counters),
                None => (0..=workers).map(|_| Counters::default()).collect(),
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
            // `slow_call` is unset here, because the plan of each call carries the value that applies to it. So an
            // operation can turn the rule for slow calls off.
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

/// Returns the time between two checks of an endpoint's health while its breaker is open. It is a quarter of the open
/// time, so that a good answer can shorten the open time. It is at most two seconds, since otherwise much of a long
/// open time would pass without a check, and at least a fifth of a second.
fn health_interval(open_for: Duration) -> Duration {
    (open_for / 4).clamp(Duration::from_millis(200), Duration::from_secs(2))
}

fn client_settings(settings: &config::Dependency) -> Result<DependencySettings, ConfigError> {
    let connect = connect::Settings {
        proxy: settings.proxy.as_ref().map(|uri| uri.to_string().parse()).transpose()?,
        bind: settings.bind,
        // The files with certificates and keys are read once, so that all workers have the same content.
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
