//! Handles the requests with which an operator opens or closes a breaker by hand, or lets the results of calls decide
//! again.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use seawall_policy::{DependencyGuards, Force, Time};
use serde::{Deserialize, Serialize};

use super::body::{self, bad};
use super::changes::{Change, stamp};
use super::desk::{Desk, Ends};
use super::door::Who;
use super::problem::AdminProblem;
use super::view::DependencyView;

/// The maximum length of a request's body, in bytes.
const MOST_BODY: usize = 16 << 10;

/// The change that an operator asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    state: Word,
    /// The endpoint's number, from 0. If it is absent, the breakers of all endpoints are changed.
    #[serde(default)]
    endpoint: Option<usize>,
    reason: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Open,
    Closed,
    Auto,
}

impl Word {
    fn force(self) -> Force {
        match self {
            Word::Open => Force::Open,
            Word::Closed => Force::Closed,
            Word::Auto => Force::Auto,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Word::Open => "open",
            Word::Closed => "closed",
            Word::Auto => "auto",
        }
    }
}

/// The answer to an operator's change: what was changed, and the state of the dependency after the change.
#[derive(Debug, Serialize)]
pub(super) struct BreakerAnswer {
    change: Change,
    /// One text for each endpoint that was changed. It says the new state of the endpoint's breaker, and what that
    /// state means for calls.
    results: Vec<String>,
    dependency: DependencyView,
}

pub(super) async fn force(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
    Extension(ends): Extension<Ends>,
    Extension(Who(who)): Extension<Who>,
    body: Body,
) -> Result<Json<BreakerAnswer>, AdminProblem> {
    if desk.running.compiled.load().by_name(&name).is_none() {
        return Err(desk.no_dependency(&name));
    }
    let order = read(body).await?;
    // The dependency is looked up again, since a reload may have replaced the configuration while the request's body
    // was read.
    let compiled = desk.running.compiled.load_full();
    let Some((_, found)) = compiled.by_name(&name) else { return Err(desk.no_dependency(&name)) };
    let endpoints = found.settings.endpoints.len();
    if let Some(no) = order.endpoint.filter(|endpoint| *endpoint >= endpoints) {
        let last = endpoints.saturating_sub(1);
        return Err(bad(format!(
            "`endpoint` is {no}, but the endpoints of `{name}` are numbered from 0 to {last}"
        )));
    }
    let change = Change {
        at: stamp(SystemTime::now()),
        who,
        peer: ends.peer.to_string(),
        dependency: name,
        endpoint: order.endpoint,
        state: order.state.as_str().to_owned(),
        reason: order.reason,
    };
    found.shared.with(|guards| apply(guards, order.state.force(), order.endpoint, desk.running.clock.now()));
    tracing::warn!(
        who = %change.who, peer = %change.peer, dependency = %change.dependency,
        endpoint = change.endpoint, state = %change.state, why = %change.reason,
        "an operator set a breaker",
    );
    desk.changes.record(change.clone());
    let dependency = desk.dependency(found);
    let touched = dependency.endpoints.iter().filter(|it| order.endpoint.is_none_or(|no| no == it.endpoint));
    let enabled = found.settings.breaker.settings.enabled;
    let results = touched.map(|it| result(it.endpoint, &it.breaker.state, enabled)).collect();
    Ok(Json(BreakerAnswer { change, results, dependency }))
}

/// Returns what a breaker's new state means for calls, in words. This text is shown to the operator who has just set
/// the state. `enabled` says whether the results of calls may open the breaker.
fn result(endpoint: usize, state: &str, enabled: bool) -> String {
    let means = match state {
        "forced-open" => "every call is refused, until it is set to auto or closed",
        "forced-closed" => "every call passes, however many fail, until it is set to auto or open",
        "half-open" => {
            "evidence decides again; it was held open, so single calls are let through as probes, and their good answers close it"
        }
        "open" => "evidence decides, and too many calls have failed: calls are refused until the next probe",
        "closed" if !enabled => "every call passes: the breaker is turned off by `breaker.enabled = false`",
        "closed" => "evidence decides: calls pass, and the breaker opens when too many fail",
        _ => "see `seawall status`",
    };
    format!("endpoint {endpoint} is {state}: {means}")
}

async fn read(body: Body) -> Result<Order, AdminProblem> {
    let shape = r#"{"state":"open|closed|auto","endpoint":0,"reason":"why"} (without `endpoint` all endpoints are meant)"#;
    let mut order: Order = body::read(body, MOST_BODY, shape).await?;
    order.reason = body::reason(&order.reason, "the breaker")?;
    Ok(order)
}

/// Sets the breaker of one endpoint, or the breakers of all endpoints if `endpoint` is `None`.
fn apply(guards: &mut DependencyGuards, force: Force, endpoint: Option<usize>, now: Time) {
    let all = 0..guards.len();
    for at in all.filter(|at| endpoint.is_none_or(|which| which == *at)) {
        guards.force(at, force, now);
    }
}
