//! The gateway's state, in the form in which its API shows it. `seawall status` reads the same structures.
//!
//! Programs read the figures. A person asks "why?" and "what next?": the fields `why` and `next` hold the answers in
//! words.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use seawall_policy::{
    Breaker, BreakerState, CoolingSeen, EndpointGuards, LimitSeen, OpenedBy, Opening, Reason, Time, Timeouts,
};
use serde::{Deserialize, Serialize};

use super::actions::view::StuckView;
use super::changes::{Change, stamp};
use super::desk::Desk;
use super::words::in_words;
use crate::config;
use crate::problem::refusals::Last;
use crate::running::compiled::CompiledDependency;
use crate::running::counters::tally;
use crate::running::process::Reload;

/// The whole gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// Whether the gateway is shutting down.
    pub draining: bool,
    /// The number of configurations that have come into force since the start, the first one included.
    pub generation: u64,
    /// The number of callers' connections.
    pub connections: u64,
    /// The number of panics in Seawall's own code since the start. Each of them ended one connection or task.
    #[serde(default)]
    pub panics: u64,
    /// The result of the last reload. Absent before the first reload.
    #[serde(default)]
    pub last_reload: Option<ReloadView>,
    /// The state of each dependency, in the order of their names.
    pub dependencies: Vec<DependencyView>,
    /// The numbers of stuck actions in the ledger, also of dependencies that this gateway does not have. `null` if
    /// there is no ledger, or if it could not be asked.
    #[serde(default)]
    pub stuck: Option<Vec<StuckView>>,
}

/// What became of a reload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReloadView {
    /// When the reload happened, in the form of RFC 3339.
    pub at: String,
    /// Why the new configuration was refused. In that case the old configuration is still in force. `null` if the new
    /// configuration came into force.
    #[serde(default)]
    pub refused: Option<String>,
    /// The settings that the reload changed, one line for each, without their values.
    #[serde(default)]
    pub changed: Vec<String>,
}

/// One dependency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DependencyView {
    /// The dependency's name.
    pub name: String,
    /// The worst state among the breakers of the dependency's endpoints and keys. From worst to best: `open`,
    /// `forced-open`, `half-open`, `forced-closed`, `closed`.
    pub state: String,
    /// The endpoints, in order of preference.
    pub endpoints: Vec<EndpointView>,
    /// The number of tokens in the budget for repeats. A repeat costs one token.
    pub retry_tokens: f64,
    /// The number of calls, by what is known of their effect.
    pub calls: CallsView,
    /// The number of calls that ended without an answer of the dependency, by reason. A reason that never occurred is
    /// absent.
    pub reasons: BTreeMap<String, u64>,
    /// The refusals that callers got, one entry for each reason, the newest first.
    #[serde(default)]
    pub last_refusals: Vec<RefusalView>,
    /// The number of attempts since the start, or since the dependency's settings changed.
    pub attempts: u64,
    /// The number of answers whose body broke off after their head had been sent to the caller. It counts from the
    /// start, or from the last change of the dependency's settings.
    pub truncated: u64,
    /// The operations, in the order of the file. The last one, `other`, is for requests that match none of the file's
    /// operations.
    pub operations: Vec<OperationView>,
}

/// The number of calls since the start, or since the dependency's settings changed. The calls are counted by what is
/// known of their effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CallsView {
    /// Calls that took effect.
    pub applied: u64,
    /// Calls that took no effect.
    pub not_applied: u64,
    /// The number of calls of which nobody knows whether they took effect.
    pub unknown: u64,
    /// Calls under way.
    pub in_flight: u64,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointView {
    /// The endpoint's number, from 0.
    pub endpoint: usize,
    /// The endpoint's URL.
    pub url: String,
    /// The endpoint's breaker, which decides whether calls to the endpoint may be made.
    pub breaker: BreakerView,
    /// The calls in the window of the endpoint's breaker.
    pub window: WindowView,
    /// The number of seconds until the endpoint is called again, if the provider asked callers to come back later.
    /// Absent if the endpoint is not held back in this way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooling_seconds: Option<f64>,
    /// The endpoint's limit on the attempts in flight.
    pub limit: LimitView,
    /// The breakers of single keys, at most 100. Those that hold calls back come first. The others follow, the most
    /// recently used first. Absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breaker_keys: Vec<BreakerKeyView>,
    /// The limits of single keys, at most 100, the most recently used first. Absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limit_keys: Vec<LimitKeyView>,
    /// The number of keys that have a breaker or a limit of their own. It may be larger than the number of keys that
    /// are listed.
    #[serde(default)]
    pub keys: usize,
}

/// The breaker of one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakerKeyView {
    /// The key. `null` stands for all keys that got no breaker of their own because `max_keys` keys had one already.
    /// They share this breaker.
    pub key: Option<String>,
    /// The breaker, which decides whether calls with this key may be made.
    pub breaker: BreakerView,
    /// The calls in the window of this breaker.
    pub window: WindowView,
    /// The number of seconds until calls with this key are made again, if the provider asked callers to come back
    /// later. Absent if these calls are not held back in this way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooling_seconds: Option<f64>,
}

/// The limit of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitKeyView {
    /// The key. `null` stands for all keys that got no limit of their own because `max_keys` keys had one already. They
    /// share this limit.
    pub key: Option<String>,
    /// The limit on the attempts with this key that are in flight.
    pub limit: LimitView,
}

/// A breaker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakerView {
    /// The breaker's state: `closed` (flowing), `open` (refusing), `half-open` (probing), `forced-open` or
    /// `forced-closed`.
    pub state: String,
    /// Whether the results of calls may open the breaker.
    pub enabled: bool,
    /// When the state began, in the form of RFC 3339.
    pub since: String,
    /// The number of seconds since the state began.
    pub for_seconds: f64,
    /// When the breaker left the state `closed` because of failures, in the form of RFC 3339. Absent if the breaker is
    /// closed or forced. Also absent if an operator forced the breaker open and then set it to `auto`, as long as it
    /// probes.
    #[serde(default)]
    pub opened_at: Option<String>,
    /// The number of seconds since the time `opened_at`. It is longer than `for_seconds` if probes have failed since
    /// then. Absent if `opened_at` is absent.
    #[serde(default)]
    pub opened_seconds: Option<f64>,
    /// Why the breaker is not closed. Absent while it is closed.
    #[serde(default)]
    pub why: Option<String>,
    /// When the next probe may be sent, in the form of RFC 3339. While a probe is under way, this is the time from
    /// which a second probe may be sent. Absent if the breaker is closed or forced, or if a probe may be sent
    /// immediately.
    #[serde(default)]
    pub until: Option<String>,
    /// The number of seconds until the next probe may be sent. Absent if `until` is absent.
    #[serde(default)]
    pub until_seconds: Option<f64>,
    /// What happens next, in words. Absent while the breaker is closed.
    #[serde(default)]
    pub next: Option<String>,
    /// The operator's change that forced the breaker into its state. Absent if the breaker is not forced.
    #[serde(default)]
    pub forced: Option<Change>,
}

/// The calls in a breaker's window, by result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowView {
    /// The number of good calls: those that showed that the endpoint works.
    pub ok: u32,
    /// The number of bad calls: those that showed that the endpoint does not work, or that it is too slow.
    pub bad: u32,
    /// The bad calls by kind, for example `31 timeouts, 4 × 503`. Absent if there are none.
    #[serde(default)]
    pub failures: Option<String>,
}

/// A concurrency limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitView {
    /// Whether calls are refused or have to wait while the limit is reached. If this is `false`, the limit holds no
    /// call back.
    pub enabled: bool,
    /// The limit now.
    pub limit: u32,
    /// The maximum value of the limit.
    pub max: u32,
    /// The number of attempts in flight.
    pub in_flight: u32,
    /// The number of calls that wait for a slot.
    #[serde(default)]
    pub waiting: u32,
    /// The maximum number of calls that may wait.
    #[serde(default)]
    pub queue: u32,
}

/// The refusals that callers got for one reason, instead of an answer of the dependency: their number, and the time and
/// the cause of the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalView {
    /// The reason, as in the header `seawall-reason`.
    pub reason: String,
    /// When the last of these refusals was sent, in the form of RFC 3339.
    pub at: String,
    /// The explanation in the last of these refusals.
    pub why: String,
    /// The number of times that callers got this refusal since the start.
    pub times: u64,
}

/// The most important settings of one operation. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationView {
    /// The operation's name.
    pub name: String,
    /// The method and the path of the requests that belong to the operation; absent for `other`.
    #[serde(default, rename = "match")]
    pub pattern: Option<String>,
    /// The idempotency: `safe`, `idempotent`, `keyed` or `none`. Absent for `other`, since its calls take the
    /// idempotency of their method.
    #[serde(default)]
    pub idempotency: Option<String>,
    /// The maximum number of attempts of a call.
    pub attempts: u32,
    /// The maximum time to make a connection, in milliseconds.
    pub connect_ms: u64,
    /// The maximum time without progress in sending the request or reading the answer, in milliseconds.
    pub read_ms: u64,
    /// The maximum time of the whole call, in milliseconds. `null` means that there is no bound.
    #[serde(default)]
    pub total_ms: Option<u64>,
}

/// The present time by two clocks that are read together. `time` is the time of the clock that the guards use, and
/// `wall` is the time of the wall clock.
#[derive(Clone, Copy)]
struct Moment {
    time: Time,
    wall: SystemTime,
}

impl Moment {
    fn stamp(&self, time: Time) -> String {
        let wall = if time > self.time {
            self.wall.checked_add(time.since(self.time))
        } else {
            self.wall.checked_sub(self.time.since(time))
        };
        stamp(wall.unwrap_or(self.wall))
    }
}

impl Desk {
    pub(super) fn overview(&self) -> Overview {
        let compiled = self.running.compiled.load();
        let mut dependencies: Vec<_> =
            compiled.dependencies.iter().map(|found| self.dependency(found)).collect();
        dependencies.sort_by(|a, b| a.name.cmp(&b.name));
        Overview {
            draining: self.running.is_draining(),
            generation: compiled.generation,
            connections: self.running.connections.load(std::sync::atomic::Ordering::Relaxed),
            panics: crate::panics::seen(),
            last_reload: self.running.last_reload.lock().as_ref().map(reload),
            dependencies,
            stuck: None,
        }
    }

    pub(super) fn dependency(&self, found: &CompiledDependency) -> DependencyView {
        let name = &found.settings.name;
        let now = Moment { time: self.running.clock.now(), wall: SystemTime::now() };
        let (seen, tokens_milli) = found.shared.with(|guards| {
            let seen: Vec<_> = (0..guards.len())
                .filter_map(|at| guards.endpoint(at).map(|one| SeenEndpoint::of(one, now.time)))
                .collect();
            (seen, guards.tokens_milli())
        });
        let worst = seen.iter().flat_map(SeenEndpoint::states).max_by_key(|state| badness(*state));
        let urls = found.settings.endpoints.iter().map(|endpoint| endpoint.url.to_string());
        let endpoints = urls.zip(seen).enumerate();
        let tally = tally(&found.counters);
        let reasons = Reason::ALL.iter().zip(tally.reasons).filter(|(_, count)| *count > 0);
        let [applied, not_applied, unknown] = tally.effects;
        DependencyView {
            name: name.clone(),
            state: worst.unwrap_or(BreakerState::Closed).as_str().to_owned(),
            endpoints: endpoints
                .map(|(at, (url, seen))| {
                    let word = if seen.own.is_forced() { self.changes.last_word(name, at) } else { None };
                    seen.tell(at, url, word, now)
                })
                .collect(),
            retry_tokens: f64::from(tokens_milli) / 1000.0,
            calls: CallsView { applied, not_applied, unknown, in_flight: tally.in_flight },
            reasons: reasons.map(|(reason, count)| (reason.as_str().to_owned(), count)).collect(),
            last_refusals: self.last_refusals(name),
            attempts: tally.attempts,
            truncated: tally.truncated,
            operations: operations(&found.settings),
        }
    }
}

impl Desk {
    fn last_refusals(&self, dependency: &str) -> Vec<RefusalView> {
        let mut said = self.running.refusals.of(dependency);
        said.sort_by_key(|(_, last)| std::cmp::Reverse(last.at));
        let tell = |(reason, last): (Reason, Last)| RefusalView {
            reason: reason.as_str().to_owned(),
            at: stamp(last.at),
            why: last.why,
            times: last.times,
        };
        said.into_iter().map(tell).collect()
    }
}

fn reload(reload: &Reload) -> ReloadView {
    ReloadView { at: stamp(reload.at), refused: reload.refused.clone(), changed: reload.changed.clone() }
}

fn operations(settings: &config::Dependency) -> Vec<OperationView> {
    let named = settings.operations.iter().map(|operation| OperationView {
        name: operation.name.clone(),
        pattern: Some(operation.pattern.to_string()),
        idempotency: Some(operation.idempotency.as_str().to_owned()),
        ..brief(&operation.timeout, &operation.retry)
    });
    let other = brief(&settings.fallback.timeout, &settings.fallback.retry);
    named.chain([other]).collect()
}

/// Returns what the API shows of the operation `other`, if it has these settings. For an operation of the file,
/// `operations` replaces the name, the pattern and the idempotency.
fn brief(timeout: &Timeouts, retry: &config::Retry) -> OperationView {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    OperationView {
        name: "other".to_owned(),
        pattern: None,
        idempotency: None,
        attempts: retry.attempts_in_force(),
        connect_ms: millis(timeout.connect),
        read_ms: millis(timeout.read),
        total_ms: timeout.total.map(millis),
    }
}

/// The maximum number of keys that are listed for each endpoint.
const MOST_KEYS: usize = 100;

/// What was read of one endpoint's guards while their lock was held. The texts for people are made from this value
/// after the lock is released, so that calls do not wait for them.
struct SeenEndpoint {
    own: SeenBreaker,
    cooling: Option<CoolingSeen>,
    limit: LimitSeen,
    breakers: Vec<(Option<Arc<str>>, SeenBreaker, Option<CoolingSeen>)>,
    limits: Vec<(Option<Arc<str>>, LimitSeen)>,
    keys: usize,
}

impl SeenEndpoint {
    fn of(guards: &mut EndpointGuards, now: Time) -> SeenEndpoint {
        // Every call waits while this lock is held. So at most `MOST_KEYS` keys of each kind are copied. Breakers that
        // hold calls back go into the list `breakers`, and all others into `flowing`, which is appended afterwards.
        let (mut breakers, mut flowing) = (Vec::new(), Vec::new());
        guards.each_breaker(now, |key, breaker, cooling| {
            let flows = breaker.is_closed() && cooling.is_none();
            let list = if flows { &mut flowing } else { &mut breakers };
            if list.len() < MOST_KEYS {
                list.push((key.cloned(), SeenBreaker::of(breaker, now), cooling));
            }
        });
        let room = MOST_KEYS - breakers.len();
        breakers.extend(flowing.into_iter().take(room));
        let mut limits = Vec::new();
        guards.each_limit(|key, limit| {
            if limits.len() < MOST_KEYS {
                limits.push((key.cloned(), limit));
            }
        });
        let keys = guards.keys();
        SeenEndpoint {
            own: SeenBreaker::of(guards.breaker(), now),
            cooling: guards.cooling(now),
            limit: guards.limit_seen(),
            breakers,
            limits,
            keys: keys.0.max(keys.1),
        }
    }

    fn states(&self) -> impl Iterator<Item = BreakerState> {
        self.breakers.iter().map(|(_, seen, _)| seen.state).chain([self.own.state])
    }

    fn tell(self, endpoint: usize, url: String, forced: Option<Change>, now: Moment) -> EndpointView {
        let name = |key: Option<Arc<str>>| key.map(|key| key.to_string());
        let left = |cooling: Option<CoolingSeen>| cooling.map(|seen| seen.back.since(now.time).as_secs_f64());
        let breaker_keys = self.breakers.into_iter().map(|(key, seen, cooling)| {
            let (breaker, window) = seen.tell(forced.clone(), now);
            BreakerKeyView { key: name(key), breaker, window, cooling_seconds: left(cooling) }
        });
        let breaker_keys = breaker_keys.collect();
        let limit_keys = self.limits.into_iter();
        let limit_keys = limit_keys.map(|(key, seen)| LimitKeyView { key: name(key), limit: limit(seen) });
        let limit_keys = limit_keys.collect();
        let (breaker, window) = self.own.tell(forced, now);
        let (limit, cooling_seconds) = (limit(self.limit), left(self.cooling));
        let keys = self.keys;
        EndpointView {
            endpoint,
            url,
            breaker,
            window,
            cooling_seconds,
            limit,
            breaker_keys,
            limit_keys,
            keys,
        }
    }
}

fn limit(seen: LimitSeen) -> LimitView {
    let LimitSeen { enabled, limit, max, in_flight, waiting, queue } = seen;
    LimitView { enabled, limit, max, in_flight, waiting, queue }
}

/// What was read of one breaker.
struct SeenBreaker {
    state: BreakerState,
    enabled: bool,
    since: Time,
    until: Option<Time>,
    opening: Option<Opening>,
    probes: u32,
    window: WindowView,
}

impl SeenBreaker {
    fn of(breaker: &mut Breaker, now: Time) -> SeenBreaker {
        let (counts, failures) = (breaker.counts(now), breaker.failures(now));
        SeenBreaker {
            state: breaker.state(now),
            enabled: breaker.settings().enabled,
            since: breaker.state_since(now),
            until: breaker.state_until(now),
            opening: breaker.why().copied(),
            probes: breaker.settings().probes.max(1),
            window: WindowView {
                ok: counts.ok,
                bad: counts.bad,
                failures: (counts.bad > 0).then(|| failures.to_string()),
            },
        }
    }

    fn is_forced(&self) -> bool {
        match self.state {
            BreakerState::ForcedOpen | BreakerState::ForcedClosed => true,
            BreakerState::Closed | BreakerState::Open | BreakerState::HalfOpen => false,
        }
    }

    fn tell(self, forced: Option<Change>, now: Moment) -> (BreakerView, WindowView) {
        let why = match &forced {
            Some(word) => Some(format!("{}: {}", word.who, word.reason)),
            None if self.is_forced() => Some("by an operator".to_owned()),
            None => self.opening.as_ref().map(why),
        };
        let left = self.until.map(|until| until.since(now.time));
        let breaker = BreakerView {
            state: self.state.as_str().to_owned(),
            enabled: self.enabled,
            since: now.stamp(self.since),
            for_seconds: now.time.since(self.since).as_secs_f64(),
            opened_at: self.opening.map(|opening| now.stamp(opening.at)),
            opened_seconds: self.opening.map(|opening| now.time.since(opening.at).as_secs_f64()),
            why,
            until: self.until.map(|until| now.stamp(until)),
            until_seconds: left.map(|left| left.as_secs_f64()),
            next: next(self.state, left, self.probes),
            forced,
        };
        (breaker, self.window)
    }
}

/// Returns how bad a state is for the callers; a dependency is shown with the worst state of its breakers. A higher
/// number is worse. A breaker that was forced open counts as less bad than one that opened by itself, because in the
/// first case an operator knows about it.
fn badness(state: BreakerState) -> u8 {
    match state {
        BreakerState::Open => 4,
        BreakerState::ForcedOpen => 3,
        BreakerState::HalfOpen => 2,
        BreakerState::ForcedClosed => 1,
        BreakerState::Closed => 0,
    }
}

/// Returns why a breaker left the state `closed`, in words.
fn why(opening: &Opening) -> String {
    let failures = &opening.failures;
    let mut words = match opening.by {
        OpenedBy::Rate => format!("{failures} in {} calls", opening.counts.total()),
        OpenedBy::Silence => format!("{failures}, no good answer"),
        OpenedBy::Consecutive => format!("{failures}, too many in a row"),
        OpenedBy::Probe => "a probe failed".to_owned(),
    };
    match opening.reopened {
        0 => {}
        1 => words.push_str("; 1 probe failed since"),
        more => words.push_str(&format!("; {more} probes failed since")),
    }
    words
}

/// Returns what a breaker does next, in words. `None` if the breaker is closed. `left` is the time until the next probe
/// may be sent, and `probes` is the number of good answers that close the breaker.
fn next(state: BreakerState, left: Option<Duration>, probes: u32) -> Option<String> {
    let good = if probes == 1 {
        "1 good answer closes it".to_owned()
    } else {
        format!("{probes} good answers close it")
    };
    match (state, left) {
        (BreakerState::Closed, _) => None,
        (BreakerState::Open, Some(left)) => Some(format!("next probe in {}", in_words(left))),
        (BreakerState::Open, None) => Some("the next call is a probe".to_owned()),
        (BreakerState::HalfOpen, Some(_)) => Some(format!("a probe is out; {good}")),
        (BreakerState::HalfOpen, None) => Some(format!("the next call is a probe; {good}")),
        (BreakerState::ForcedOpen | BreakerState::ForcedClosed, _) => {
            Some("stays so until set to auto".to_owned())
        }
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
