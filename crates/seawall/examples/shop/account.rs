//! What the provider and the shop report at the end of a story.

use std::fmt::Write;

use seawall::ledger::protocol::{Goal, Known};
use seawall::ledger::{End, Story as Log};
use seawall_lab::harbor::{Charge, Snapshot, Status};
use serde::Serialize;

use super::shop::Called;
use super::stories::Story;

/// The end of a story. The fields up to `agree` are printed as JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Account {
    pub(crate) story: String,
    pub(crate) order: Called,
    /// The number of charges for this order in the harbor's books that were not given back.
    pub(crate) effects_there: u64,
    /// `paid`, `cancelled`, `failed`, `confirming`, or `none`.
    pub(crate) order_state: String,
    /// `done`, `cancelled`, `failed`, `stuck`, `open`, or `none`.
    pub(crate) action_state: &'static str,
    pub(crate) agree: bool,
    /// Everything else, for people and tests.
    #[serde(skip)]
    pub(crate) detail: Detail,
}

/// How the story came to its end.
#[derive(Clone, Debug)]
pub(crate) struct Detail {
    pub(crate) about: String,
    pub(crate) key: String,
    /// What happened in this run; empty if the story had been told to its end before.
    pub(crate) events: Vec<String>,
    /// The ledger's log of the action, if there is a row for it.
    pub(crate) log: Option<Log>,
    pub(crate) books: Snapshot,
}

impl Account {
    pub(crate) fn of(
        story: &Story,
        order: Called,
        key: String,
        order_state: Option<String>,
        log: Option<Log>,
        books: Snapshot,
        events: Vec<String>,
    ) -> Account {
        let order_state = order_state.unwrap_or_else(|| "none".to_owned());
        let action_state = match log.as_ref().map(|log| log.action.state.end()) {
            None => "none",
            Some(None) => "open",
            Some(Some(End::Done)) => "done",
            Some(Some(End::Failed)) => "failed",
            Some(Some(End::Cancelled)) => "cancelled",
            Some(Some(End::Stuck)) => "stuck",
        };
        let effects_there = live(&books, &key).count() as u64;
        let agree = match action_state {
            "done" => order_state == "paid" && effects_there == 1,
            "failed" | "cancelled" | "none" => {
                matches!(order_state.as_str(), "none" | "failed" | "cancelled") && effects_there == 0
            }
            _ => false,
        };
        Account {
            story: story.name.clone(),
            order,
            effects_there,
            order_state,
            action_state,
            agree,
            detail: Detail { about: story.about.clone(), key, events, log, books },
        }
    }

    /// The account in words.
    pub(crate) fn told(&self) -> String {
        let mut text =
            format!("{} (call {} commit): {}\n", self.story, self.order.as_str(), self.detail.about);
        let detail = &self.detail;
        if detail.events.is_empty() {
            text.push_str("\nThis story had been told before; nothing was done.\n");
        } else {
            text.push_str("\nWhat happened\n");
            detail.events.iter().for_each(|event| {
                let _ = writeln!(text, "  {event}");
            });
        }
        text.push_str("\nOver there: the harbor's books\n");
        let count = detail.books.by_key.get(&detail.key).copied().unwrap_or_default();
        let _ =
            writeln!(text, "  {} request(s) for this charge, {} refund(s)", count.requests, count.refunds);
        for charge in charges(&detail.books, &detail.key) {
            let _ = writeln!(text, "  charge {} of {}: {:?}", charge.id, charge.amount, charge.status);
        }
        let _ = writeln!(text, "  live effects: {}", self.effects_there);
        text.push_str("\nHere: the shop's database\n");
        let _ = writeln!(text, "  order {}: {}", detail.key, self.order_state);
        match &detail.log {
            None => text.push_str("  no action was recorded\n"),
            Some(log) => write_log(&mut text, log),
        }
        let verdict = if self.agree { "The two sides agree." } else { "THE TWO SIDES DO NOT AGREE." };
        let _ = writeln!(text, "\n{verdict}");
        text
    }
}

fn write_log(text: &mut String, log: &Log) {
    let state = &log.action.state;
    let goal = match state.goal() {
        Goal::Perform => "perform",
        Goal::Cancel => "cancel",
    };
    let known = match state.known() {
        Known::Never => "never sent",
        Known::Unknown => "unknown",
        Known::Applied => "applied",
        Known::NotApplied(_) => "not applied",
    };
    let end = state.end().map_or("open".to_owned(), |end| format!("{end:?}").to_lowercase());
    let why = state.why().map(|why| format!(" ({why})")).unwrap_or_default();
    let _ = writeln!(text, "  action: {end}{why}; goal {goal}, effect {known}");
    for attempt in &log.attempts {
        let status = attempt.status.map(|status| format!(" {status}")).unwrap_or_default();
        let detail = attempt.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
        let (kind, outcome) = (format!("{:?}", attempt.kind), format!("{:?}", attempt.outcome));
        let _ = writeln!(
            text,
            "    {}. {}: {}{status}{detail}",
            attempt.number,
            kind.to_lowercase(),
            outcome.to_lowercase()
        );
    }
}

fn charges<'a>(books: &'a Snapshot, key: &'a str) -> impl Iterator<Item = &'a Charge> {
    books.charges.iter().filter(move |charge| charge.key.as_deref() == Some(key))
}

/// What the harbor has taken and not given back.
pub(crate) fn live<'a>(books: &'a Snapshot, key: &'a str) -> impl Iterator<Item = &'a Charge> {
    charges(books, key).filter(|charge| charge.status == Status::Succeeded)
}
