//! What people order for actions: to retry, cancel or resolve one of them, or many that they have listed.
//!
//! The obvious order for many names a filter. But the rows that match it may not be the rows that the person has looked at. So
//! an order names each action with the version that was listed, and an action that has changed meanwhile is left alone. The
//! one who orders sends small groups, so the rate is in their hands, and what is not sent is not done. The same group can be
//! sent again: an action that was changed before has another version.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use seawall_ledger::{ActionId, Begins, By, Error, Order, Ordered, Resolution};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::body::{self, bad};
use super::super::desk::{Desk, Ends};
use super::super::door::Who;
use super::super::problem::AdminProblem;
use super::view::{OrderResult, OrderResults};
use super::{failed, id_of};
use crate::durable::books::Books;

/// The maximum number of actions in one request.
const MOST: usize = 100;
/// The number of actions that are changed at the same time. Each change is a commit of its own.
const TOGETHER: usize = 8;
/// The maximum length of a request's body, in bytes.
const MOST_BODY: usize = 64 << 10;
/// After this time, the actions of a request that are left are not tried. A caller waits for an answer.
const TIME: Duration = Duration::from_secs(8);

/// What the body of an order says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    reason: String,
    /// The name of the person. Without it, the name of the token is taken.
    #[serde(default)]
    who: Option<String>,
    /// Whether the effect exists, for `resolve`.
    #[serde(default)]
    effect: Option<Effect>,
    /// Whether `cancel` also cancels what the application has settled.
    #[serde(default)]
    settled: bool,
    /// The version that the person has seen, for one action.
    #[serde(default)]
    version: Option<u64>,
    /// The actions, for many.
    #[serde(default)]
    actions: Vec<One>,
    /// How many of the retried actions are due per second, for many. Without it, the ledger spreads them.
    #[serde(default)]
    per_second: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Effect {
    Applied,
    NotApplied,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    id: String,
    #[serde(default)]
    version: Option<u64>,
}

const SHAPE: &str = r#"{"reason":"why","who":"ana"}, with "effect":"applied|not-applied" for resolve, "version":7 for one action, "actions":[{"id":"…","version":7}] for many"#;

/// An order that was read and checked.
struct Checked {
    order: Order,
    by: By,
}

/// Carries out an order for one action.
pub(in crate::admin) async fn one(
    State(desk): State<Arc<Desk>>,
    Path((id, what)): Path<(String, String)>,
    Extension(ends): Extension<Ends>,
    Extension(token): Extension<Who>,
    body: Body,
) -> Result<Json<Value>, AdminProblem> {
    let id = id_of(&id)?;
    let asked: Asked = body::read(body, MOST_BODY, SHAPE).await?;
    if !asked.actions.is_empty() || asked.per_second.is_some() {
        return Err(bad("`actions` and `per_second` are for orders without an id in the path"));
    }
    let version = asked.version;
    let Checked { order, by } = check(&what, &asked, ends, &token)?;
    let books = desk.books().await?;
    let ordered = carry_out(&books, id, version, order, &by).await.map_err(|error| failed(&error))?;
    let result = OrderResult::of(&id.to_string(), &ordered);
    let row = desk.row(&books, &ordered.action).await;
    Ok(Json(json!({ "result": result.result, "was": result.was, "action": row })))
}

/// Carries out an order for many actions, a few at a time.
pub(in crate::admin) async fn many(
    State(desk): State<Arc<Desk>>,
    Path(what): Path<String>,
    Extension(ends): Extension<Ends>,
    Extension(token): Extension<Who>,
    body: Body,
) -> Result<Json<OrderResults>, AdminProblem> {
    let asked: Asked = body::read(body, MOST_BODY, SHAPE).await?;
    let Checked { order, by } = check(&what, &asked, ends, &token)?;
    if asked.actions.is_empty() || asked.actions.len() > MOST || asked.version.is_some() {
        return Err(bad(format!("`actions` has 1 to {MOST} actions, each with its own version")));
    }
    let ids: Vec<ActionId> = asked.actions.iter().map(|one| id_of(&one.id)).collect::<Result<_, _>>()?;
    let books = desk.books().await?;
    let begun = Instant::now();
    let mut results = Vec::with_capacity(ids.len());
    let mut is_over = false;
    let each: Vec<_> = ids.into_iter().zip(&asked.actions).enumerate().collect();
    for group in each.chunks(TOGETHER) {
        if is_over || begun.elapsed() > TIME {
            results.extend(group.iter().map(|(_, (_, one))| OrderResult::not_tried(&one.id)));
            continue;
        }
        let carried_out = group.iter().map(|(at, (id, one))| {
            let order = spread(order, asked.per_second, *at);
            let (books, by, id, version) = (books.clone(), by.clone(), *id, one.version);
            tokio::spawn(async move { carry_out(&books, id, version, order, &by).await })
        });
        // All of them are begun before the first is waited for.
        let carried_out: Vec<_> = carried_out.collect();
        for (task, (_, (_, one))) in carried_out.into_iter().zip(group) {
            results.push(match task.await {
                Ok(Ok(ordered)) => OrderResult::of(&one.id, &ordered),
                Ok(Err(error)) => {
                    is_over |= matches!(error, Error::Store(_));
                    OrderResult::not_done(&one.id, &error)
                }
                Err(_) => OrderResult::not_tried(&one.id),
            });
        }
    }
    Ok(Json(OrderResults { results }))
}

/// Returns the order for one of many actions: retried actions are due one after the other. `at` is the action's index.
fn spread(order: Order, per_second: Option<f64>, at: usize) -> Order {
    match (order, per_second) {
        (Order::Retry(_), Some(rate)) => {
            let after = Duration::try_from_secs_f64(at as f64 / rate).unwrap_or_default();
            Order::Retry(Begins::After(after))
        }
        (Order::Retry(_), None) => Order::Retry(Begins::AtPace),
        (other, _) => other,
    }
}

/// Checks an order. `what` is its word, from the path.
fn check(what: &str, asked: &Asked, ends: Ends, token: &Who) -> Result<Checked, AdminProblem> {
    let order = match (what, asked.effect) {
        ("retry", None) => Order::Retry(Begins::Now),
        ("cancel", None) => Order::Cancel { settled: asked.settled },
        ("resolve", Some(Effect::Applied)) => Order::Resolve(Resolution::Applied),
        ("resolve", Some(Effect::NotApplied)) => Order::Resolve(Resolution::NotApplied),
        ("resolve", None) => {
            return Err(bad(
                "`effect` is missing: \"applied\" if the effect exists at the provider, else \"not-applied\"",
            ));
        }
        ("retry" | "cancel", Some(_)) => return Err(bad("`effect` is for resolve only")),
        (other, _) => {
            let detail = format!("there is no order `{other}`; there is retry, cancel and resolve");
            return Err(AdminProblem::new(StatusCode::NOT_FOUND, detail));
        }
    };
    if asked.settled && what != "cancel" {
        return Err(bad("`settled` is for cancel only"));
    }
    if asked.per_second.is_some_and(|rate| !(rate > 0.0 && rate <= 10_000.0))
        || (asked.per_second.is_some() && what != "retry")
    {
        return Err(bad("`per_second` is for retry only, and above 0 and at most 10000"));
    }
    let reason = body::reason(&asked.reason, "the action")?;
    let who = body::name(asked.who.as_deref())?.unwrap_or_else(|| token.0.clone());
    let by = By::new(who, reason).via(format!("admin token `{}`, from {}", token.0, ends.peer.ip()));
    Ok(Checked { order, by })
}

/// Carries out an order, and logs what was changed.
async fn carry_out(
    books: &Books,
    id: ActionId,
    version: Option<u64>,
    order: Order,
    by: &By,
) -> Result<Ordered, Error> {
    let ordered = books.order(id, version, order, by.clone()).await?;
    if ordered.changed {
        tracing::warn!(
            action = %id, dependency = %ordered.action.dependency, operation = %ordered.action.operation,
            what = order.as_str(), who = %by.who, via = by.via.as_deref(), why = %by.why,
            was = ordered.was.as_str(), became = ordered.became.as_str(),
            "a person changed an action",
        );
    }
    Ok(ordered)
}
