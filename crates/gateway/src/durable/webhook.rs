//! The webhook that is told of stuck actions (`[ledger] on_stuck`).
//!
//! The ledger's worker says when to tell and what, and remembers what was taken. Here the message is written, signed and sent.
//! A message has no request and no answer of an action, and no secrets.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, InvalidHeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use seawall_client::{
    CallRequest, Clock, Dependency, DependencySettings, EndpointSettings, RequestBody, Shared,
};
use seawall_ledger::{Goal, OnStuck, StuckAction, StuckNews};
use seawall_policy::{GuardSettings, Idempotency, Keys, Plan, Rules, Timeouts, Wish};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::shown::time;
use crate::config;
use crate::files;
use crate::signature::SigningKey;

/// How long the receiver may take for a message.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    read: Duration::from_secs(10),
    total: Some(Duration::from_secs(15)),
};

/// Returns the receiver of the news.
///
/// # Errors
/// If the secret cannot be read.
pub(crate) fn receiver(settings: &config::OnStuck, clock: Clock) -> Result<OnStuck, String> {
    let text = files::read(&settings.secret_file);
    let key = text.and_then(|text| SigningKey::read(&text));
    let key = key.map_err(|why| format!("{}: {why}", settings.secret_file.display()))?;
    let url = settings.url.clone();
    let told = move |news: StuckNews| {
        let (url, key) = (url.clone(), key.clone());
        async move { send(&url, &key, clock, &news).await.map_err(Into::into) }
    };
    Ok(OnStuck::new(told).within(Duration::from_secs(20)))
}

/// Sends one message. The receiver takes it by an answer with a status from 200 to 299.
async fn send(url: &Uri, key: &SigningKey, clock: Clock, news: &StuckNews) -> Result<(), String> {
    let wrong = |error: &dyn std::fmt::Display| format!("the webhook's settings: {error}");
    let body = message(news, SystemTime::now()).to_string().into_bytes();
    let headers = headers(key, &id(news), SystemTime::now(), &body).map_err(|e| wrong(&e))?;
    let mut parts = url.clone().into_parts();
    let path = parts.path_and_query.replace(PathAndQuery::from_static("/"));
    let origin = Uri::from_parts(parts).map_err(|e| wrong(&e))?;
    // Messages are rare, so no connection is kept for the next one.
    let settings = DependencySettings {
        name: "on_stuck".to_owned(),
        endpoints: vec![EndpointSettings { url: origin, headers: HeaderMap::new() }],
        connect: Default::default(),
        pool: Default::default(),
        deadline_header: None,
        health: None,
        answer: Default::default(),
    };
    let shared = Shared::new(GuardSettings::default(), 1);
    let client = Arc::new(Dependency::new(settings, shared, clock).map_err(|e| wrong(&e))?);
    let rules = Rules::of(Idempotency::None);
    let plan = Arc::new(Plan { attempts: 1, timeouts: TIMEOUTS, ..Plan::new(rules, 1) });
    let request = CallRequest {
        method: Method::POST,
        path: path.unwrap_or(PathAndQuery::from_static("/")),
        headers,
        via: None,
        body: RequestBody::Full(body.into()),
        keep: 0,
        keys: Keys::NONE,
    };
    let outcome = client.call(&plan, request, Wish::default()).await;
    match (&outcome.answer, outcome.reason()) {
        (Some(answer), _) if answer.status().is_success() => Ok(()),
        (Some(answer), _) => Err(format!("the webhook answered {}", answer.status().as_u16())),
        (None, reason) => {
            let reason = reason.map_or("no answer", |reason| reason.as_str());
            Err(format!(
                "the webhook: {reason}{}",
                outcome.detail.map(|why| format!(": {why}")).unwrap_or_default()
            ))
        }
    }
}

fn headers(
    key: &SigningKey,
    id: &str,
    now: SystemTime,
    body: &[u8],
) -> Result<HeaderMap, InvalidHeaderValue> {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(HeaderName::from_static("webhook-id"), id.parse()?);
    headers.insert(HeaderName::from_static("webhook-timestamp"), seconds.into());
    headers.insert(HeaderName::from_static("webhook-signature"), key.sign(id, seconds, body).parse()?);
    Ok(headers)
}

/// Returns the id of a message. News of the same stuck actions have the same id, so a receiver can leave out what it has taken
/// before.
fn id(news: &StuckNews) -> String {
    let mut hash = Sha256::new();
    for action in &news.actions {
        hash.update(action.id.as_u128().to_be_bytes());
        hash.update(action.stuck_at.as_micros().to_be_bytes());
    }
    let bytes = hash.finalize();
    let hex: String = bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("stuck_{hex}")
}

fn message(news: &StuckNews, now: SystemTime) -> Value {
    let now = jiff::Timestamp::try_from(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    json!({
        "type": "seawall.actions.stuck",
        "timestamp": format!("{now:.3}"),
        "data": {
            "stuck": news.stuck,
            "actions": news.actions.iter().map(action).collect::<Vec<_>>(),
        },
    })
}

fn action(action: &StuckAction) -> Value {
    json!({
        "id": action.id.to_string(),
        "dependency": action.dependency,
        "operation": action.operation,
        "key": action.key,
        "client": action.client,
        "goal": match action.goal {
            Goal::Perform => "perform",
            Goal::Cancel => "cancel",
        },
        // As everywhere else, nothing that has not ended is shown as not applied.
        "effect": if action.effect == "applied" { "applied" } else { "unknown" },
        "cause": action.reason().map(|reason| reason.as_str()),
        "why": action.why,
        "created_at": time(action.created_at),
        "stuck_at": time(action.stuck_at),
    })
}
