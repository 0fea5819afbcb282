//! An action as JSON, for the caller who asks what became of it.
//!
//! The recorded request is not shown: the caller knows it, and it may be long. The provider's answer is shown if the
//! ledger has kept it. It is the caller's own data, so it goes to the caller only, and never into a log.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use seawall_actions::stored::{AnswerOf, StoredAnswer};
use seawall_ledger::{
    Action, AttemptKind, AttemptOutcome, AttemptRow, End, Goal, Known, Mark, OnUnknown, Rules, SettleBy,
    Stamp, State, Story,
};
use serde_json::{Map, Value, json};

use super::call::effect_of;

/// The longest body of an answer that is shown as a JSON value. A longer one is shown as text.
const JSON_MAX: usize = 64 << 10;

/// What is needed to show an action, besides the action itself.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// The key that the caller gave, without the caller's name.
    pub(crate) key: &'a str,
    /// The rules of the action's operation; `None` if the configuration of this gateway does not declare the operation
    /// as durable any longer.
    pub(crate) rules: Option<&'a Rules>,
    /// Whether no other process declares the action's operation either, so that nobody works on the action.
    pub(crate) undeclared: bool,
}

/// Returns the action as JSON, without its attempts and marks.
pub(crate) fn action(action: &Action, view: View<'_>) -> Value {
    let state = &action.state;
    json!({
        "id": action.id.to_string(),
        "dependency": action.dependency,
        "operation": action.operation,
        "key": view.key,
        "sent_key": action.sent_key(),
        "goal": match state.goal() {
            Goal::Perform => "perform",
            Goal::Cancel => "cancel",
        },
        "effect": effect_of(state).as_str(),
        "settled": state.settled(),
        "state": standing(state, view.undeclared),
        "end": state.end().map(end),
        "why": state.why(),
        "created_at": time(action.created_at),
        "settle_by": state.settle_by().map(time),
        "next": next(action, view.rules, view.undeclared),
        "answer": state.answer().and_then(StoredAnswer::decode).map(|kept| answer(&kept)),
    })
}

/// Returns the action as JSON, with its attempts in the order of their recording, and with its marks: what people and
/// webhooks have reported or changed.
pub(crate) fn story(story: &Story, view: View<'_>) -> Value {
    let mut shown = action(&story.action, view);
    shown["attempts"] = story.attempts.iter().map(attempt).collect();
    shown["marks"] = story.marks.iter().map(mark).collect();
    shown
}

/// Returns the word for the state of an action, such as `done` or `stuck`.
fn standing(state: &State, undeclared: bool) -> &'static str {
    match (state.end(), state.known()) {
        (Some(how), _) => end(how),
        (None, _) if undeclared => "undeclared",
        (None, Known::Unknown) => "unknown",
        (None, Known::Never | Known::Applied | Known::NotApplied(_)) => "open",
    }
}

fn end(end: End) -> &'static str {
    match end {
        End::Done => "done",
        End::Failed => "failed",
        End::Cancelled => "cancelled",
        End::Stuck => "stuck",
    }
}

/// Returns what happens next with an action, and when. The time is `null` if nothing happens by itself.
fn next(action: &Action, rules: Option<&Rules>, undeclared: bool) -> Value {
    let state = &action.state;
    let (what, at) = match (state.end(), rules) {
        (Some(End::Done), _) => ("nothing: it has ended", None),
        (Some(End::Stuck), _) => ("a person must look at it", None),
        (Some(End::Failed | End::Cancelled), _) => match state.audit_at() {
            Some(at) => ("it has ended, and the provider is asked once more", Some(at)),
            None => ("nothing: it has ended", None),
        },
        (None, None) if undeclared => ("nothing, until its operation is declared again", None),
        (None, None) => ("a gateway that declares its operation goes on", None),
        (None, Some(_)) if state.in_flight().is_some() => {
            ("a request is under way; if its gateway has ended, another one goes on", state.leased_until())
        }
        (None, Some(rules)) => match state.goal() {
            Goal::Perform => next_of_perform(action, rules),
            Goal::Cancel => (next_of_cancel(state, rules), Some(state.next_at())),
        },
    };
    json!({ "what": what, "at": at.map(time) })
}

fn next_of_perform(action: &Action, rules: &Rules) -> (&'static str, Option<Stamp>) {
    let state = &action.state;
    let what = match state.known() {
        Known::Never if state.logged() == 0 => "it is sent",
        Known::Never => "it is sent again",
        Known::Unknown => match rules.on_unknown {
            OnUnknown::Hold => "a person must find out what became of it",
            OnUnknown::Cancel => "it is cancelled",
            OnUnknown::Repeat | OnUnknown::Confirm if rules.confirm.is_some() => "the provider is asked",
            OnUnknown::Repeat => "it is sent again",
            OnUnknown::Confirm => "a person must find out what became of it",
        },
        Known::Applied => match rules.settle {
            SettleBy::Explicit(_) => {
                return ("it waits to be settled, and is cancelled after that time", state.settle_by());
            }
            SettleBy::Reply if action.scope.is_some() => "it is settled with the other actions of its scope",
            SettleBy::Reply => "it is settled",
        },
        Known::NotApplied(_) => "it ends as failed",
    };
    (what, Some(state.next_at()))
}

fn next_of_cancel(state: &State, rules: &Rules) -> &'static str {
    let asks = rules.confirm.is_some();
    match (state.known(), &rules.cancel) {
        (Known::Never | Known::NotApplied(_), _) => "it ends as cancelled",
        (Known::Unknown, Some(cancel)) if cancel.tombstone => "the cancel is sent",
        (Known::Unknown, _) if asks => "the provider is asked what there is to cancel",
        (Known::Unknown | Known::Applied, Some(_)) => "the cancel is sent",
        (Known::Unknown | Known::Applied, None) => "a person must undo it, since no cancel is declared",
    }
}

fn attempt(row: &AttemptRow) -> Value {
    json!({
        "number": row.number,
        "kind": match row.kind {
            AttemptKind::Perform => "perform",
            AttemptKind::Confirm => "confirm",
            AttemptKind::Cancel => "cancel",
        },
        "recorded_at": time(row.recorded_at),
        "ended_at": row.ended_at.map(time),
        "outcome": match row.outcome {
            AttemptOutcome::Open => "open",
            AttemptOutcome::NotSent => "not-sent",
            AttemptOutcome::Yes => "yes",
            AttemptOutcome::No => "no",
            AttemptOutcome::Unknown => "unknown",
        },
        "status": row.status,
        "detail": row.detail,
    })
}

fn mark(mark: &Mark) -> Value {
    json!({ "at": time(mark.at), "who": mark.who, "what": mark.what, "why": mark.why })
}

/// Returns an answer of the provider as JSON. Its field `of` says which request was answered: `perform` or `confirm`.
fn answer(kept: &StoredAnswer) -> Value {
    json!({
        "of": match kept.of {
            AnswerOf::Reply | AnswerOf::Refusal => "perform",
            AnswerOf::Confirm => "confirm",
        },
        "status": kept.status,
        "headers": headers(&kept.headers),
        "body": body(kept),
    })
}

/// Returns the headers as an object. A header that occurs several times has a list of its values.
fn headers(headers: &HeaderMap) -> Value {
    let mut shown = Map::new();
    for name in headers.keys() {
        let values =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into());
        let mut values: Vec<Value> = values.collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        shown.insert(name.as_str().to_owned(), value);
    }
    Value::Object(shown)
}

/// Returns a body as a JSON value if it is JSON, is not longer than [`JSON_MAX`], and loses no digit of its numbers.
/// Returns any other body as text. The result is `null` if the body is empty or is not text.
fn body(kept: &StoredAnswer) -> Value {
    let Ok(text) = std::str::from_utf8(&kept.body) else { return Value::Null };
    if text.is_empty() {
        return Value::Null;
    }
    let is_json = kept.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        media == "application/json" || media.ends_with("+json")
    });
    if is_json
        && text.len() <= JSON_MAX
        && let Ok(value) = serde_json::from_str::<Value>(text)
        && is_exact(&value, text)
    {
        return value;
    }
    text.into()
}

/// Returns whether the numbers of `value` are exactly those of the text from which it was read. A number with a
/// fraction or of more than 64 bits is kept as a floating-point number, which may be another number.
fn is_exact(value: &Value, text: &str) -> bool {
    match value {
        Value::Number(number) => !number.is_f64() || text.contains(&number.to_string()),
        Value::Array(values) => values.iter().all(|value| is_exact(value, text)),
        Value::Object(fields) => fields.values().all(|value| is_exact(value, text)),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// Returns a time of the database's clock in the form of RFC 3339, in UTC, with milliseconds.
pub(crate) fn time(at: Stamp) -> String {
    let bound = |micros: i64| {
        let end = if micros < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        jiff::Timestamp::from_microsecond(micros).unwrap_or(end)
    };
    format!("{:.3}", bound(at.as_micros()))
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;
