//! Actions, in the form in which the API shows them to people. `seawall actions` reads the same structures.
//!
//! Requests and answers are never shown here, since they are the business of the application and its provider. A person sees
//! what is needed to find an action and to decide about it.

use seawall_ledger::store::{OperationCount, Standing};
use seawall_ledger::{Action, Error, Mark, Ordered, Refusal, Story, StuckReason};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::durable::shown;

/// One action in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionRow {
    /// The id in the ledger.
    pub id: String,
    /// The version, which grows with each change. An order for the action can name it.
    pub version: u64,
    /// The dependency's name.
    pub dependency: String,
    /// The operation's name.
    pub operation: String,
    /// The key that the caller gave.
    pub key: String,
    /// The name of the caller that recorded the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Where it stands: `stuck`, `unknown`, `open`, `undeclared`, `done`, `failed` or `cancelled`.
    pub state: String,
    /// What is wanted: `perform` or `cancel`.
    pub goal: String,
    /// What is known of the effect: `applied`, `not-applied` or `unknown`.
    pub effect: String,
    /// The kind of the reason for which it is stuck, such as `unanswered`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Why it is stuck, or how it ended, in words.
    #[serde(default)]
    pub why: Option<String>,
    /// The amount of money with its currency, if it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// When it was recorded, in the form of RFC 3339.
    pub created_at: String,
    /// What happens next with it.
    pub next: NextView,
}

/// What happens next with an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NextView {
    /// What happens, in words.
    pub what: String,
    /// When; `null` if nothing happens by itself.
    pub at: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionPage {
    /// The actions.
    pub actions: Vec<ActionRow>,
    /// Where the list goes on: send it back as `after`. `null` at the end. A page may be short, or even empty, and the list
    /// still go on.
    pub next: Option<String>,
}

/// The number of stuck actions of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckView {
    /// The dependency's name.
    pub dependency: String,
    /// The operation's name.
    pub operation: String,
    /// The number of its stuck actions. At most 10 000 are counted in all.
    pub number: u64,
}

/// What became of an order for one action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderResult {
    /// The action's id.
    pub id: String,
    /// `done`; `unchanged` if there was nothing to do; `changed` if the action had changed since it was listed, so that it was
    /// left alone; `refused`; `failed`; or `not-tried` after the ledger failed or the time was over.
    pub result: String,
    /// Where the action stood before, if it was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// Where it stands now, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Why it was not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What became of an order for many actions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderResults {
    /// One result for each action, in the order of the request.
    pub results: Vec<OrderResult>,
}

impl ActionRow {
    pub(crate) fn of(action: &Action, view: shown::View<'_>) -> ActionRow {
        let shown = shown::action(action, view);
        let text = |name: &str| shown[name].as_str().unwrap_or_default().to_owned();
        ActionRow {
            id: text("id"),
            version: action.state.version(),
            dependency: action.dependency.clone(),
            operation: action.operation.clone(),
            key: view.key.to_owned(),
            client: action.client.clone(),
            state: text("state"),
            goal: text("goal"),
            effect: text("effect"),
            cause: cause(action).map(|cause| cause.as_str().to_owned()),
            why: action.state.why().map(str::to_owned),
            amount: action.amount.as_ref().map(|money| format!("{} {}", money.amount, money.currency)),
            created_at: text("created_at"),
            next: NextView {
                what: shown["next"]["what"].as_str().unwrap_or_default().to_owned(),
                at: shown["next"]["at"].as_str().map(str::to_owned),
            },
        }
    }
}

fn cause(action: &Action) -> Option<StuckReason> {
    let is_stuck = Standing::of(&action.state) == Standing::Stuck;
    action.state.why().filter(|_| is_stuck).and_then(StuckReason::of)
}

/// Returns an action with its attempts and with what people did with it. Of the provider's answer, only the status is shown.
pub(super) fn story(story: &Story, view: shown::View<'_>) -> Value {
    let mut whole = shown::story(story, view);
    let row = ActionRow::of(&story.action, view);
    let answer = &whole["answer"];
    whole["answer"] = match answer {
        Value::Null => Value::Null,
        answer => json!({ "of": answer["of"], "status": answer["status"] }),
    };
    whole["version"] = row.version.into();
    whole["client"] = row.client.into();
    whole["cause"] = row.cause.into();
    whole["amount"] = row.amount.into();
    whole["marks"] = story.marks.iter().map(mark).collect();
    whole
}

fn mark(mark: &Mark) -> Value {
    json!({
        "at": shown::time(mark.at),
        "who": mark.who,
        "via": mark.via,
        "what": mark.what,
        "why": mark.why,
        "was": mark.was.map(Standing::as_str),
        "became": mark.became.map(Standing::as_str),
    })
}

impl StuckView {
    pub(super) fn of(count: OperationCount) -> StuckView {
        StuckView { dependency: count.dependency, operation: count.operation, number: count.number }
    }
}

impl OrderResult {
    pub(super) fn of(id: &str, ordered: &Ordered) -> OrderResult {
        OrderResult {
            id: id.to_owned(),
            result: if ordered.changed { "done" } else { "unchanged" }.to_owned(),
            was: Some(ordered.was.as_str().to_owned()),
            state: Some(ordered.became.as_str().to_owned()),
            detail: None,
        }
    }

    /// Returns the result of an order that was not carried out.
    pub(super) fn not_done(id: &str, error: &Error) -> OrderResult {
        let result = match error {
            Error::Refused(Refusal::Changed | Refusal::InProgress) => "changed",
            Error::Refused(_) | Error::Misused(_) => "refused",
            _ => "failed",
        };
        let detail = Some(in_words(error));
        OrderResult { id: id.to_owned(), result: result.to_owned(), was: None, state: None, detail }
    }

    pub(super) fn not_tried(id: &str) -> OrderResult {
        OrderResult {
            id: id.to_owned(),
            result: "not-tried".to_owned(),
            was: None,
            state: None,
            detail: Some("the ledger failed before, or the time was over".to_owned()),
        }
    }
}

/// Returns why an order was not carried out, in words.
pub(super) fn in_words(error: &Error) -> String {
    let words = match error {
        Error::Refused(Refusal::Changed) => "it has changed since it was listed, so it was left alone",
        Error::Refused(Refusal::InProgress) => "others change it at the same time, so it was left alone",
        Error::Refused(Refusal::NotStuck) => {
            "it is not stuck, and only stuck actions are retried or resolved"
        }
        Error::Refused(Refusal::NotFound) => "there is no such action",
        Error::Refused(Refusal::Settled) => {
            "the application has settled it: cancel it there, or with `settled` if the application is corrected by hand"
        }
        Error::Refused(Refusal::NeedsNewer) => "only a newer version of the gateway can change it",
        Error::Misused(misuse) => {
            return format!("{misuse}: this gateway does not have the rules of its operation");
        }
        other => return other.to_string(),
    };
    words.to_owned()
}
