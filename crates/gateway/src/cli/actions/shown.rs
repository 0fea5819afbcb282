//! How actions are written for people.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::admin::{ActionRow, OrderResult, in_words};

/// Returns one line for each action, in aligned columns with a head; an empty text if there are no actions.
pub(super) fn table(rows: &[ActionRow], now: SystemTime, colour: bool) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head = ["id", "state", "age", "dependency", "operation", "key", "effect", "why or what next"];
    let cells = rows.iter().map(|row| {
        let why = row.why.clone().filter(|_| row.state == "stuck").unwrap_or_else(|| row.next.what.clone());
        let cells = [
            row.id.clone(),
            row.state.clone(),
            age(&row.created_at, now),
            row.dependency.clone(),
            row.operation.clone(),
            row.key.clone(),
            row.effect.clone(),
            why,
        ];
        cells.map(|cell| plain(&cell))
    });
    let lines: Vec<[String; 8]> = std::iter::once(head.map(str::to_owned)).chain(cells).collect();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            let padded = format!("{cell:width$}");
            match (at, cell.as_str()) {
                (1, "stuck") if colour && number > 0 => format!("\u{1b}[31m{padded}\u{1b}[0m"),
                (1, "unknown") if colour && number > 0 => format!("\u{1b}[33m{padded}\u{1b}[0m"),
                _ => padded,
            }
        });
        let text = cells.collect::<Vec<_>>().join("  ");
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

/// Returns everything about one action, and what a person can do now.
pub(super) fn story(story: &Value, now: SystemTime) -> String {
    let text = |name: &str| plain(story[name].as_str().unwrap_or_default());
    let mut lines = Vec::new();
    let mut say = |label: &str, what: String| lines.push(format!("{label:<10}{what}"));
    let (id, state) = (text("id"), text("state"));
    say("action", id.clone());
    let cause = story["cause"].as_str().map(|cause| format!(" ({cause})")).unwrap_or_default();
    let why = story["why"].as_str().map(|why| format!(": {}", plain(why))).unwrap_or_default();
    say("state", format!("{state}{why}{cause}"));
    let at = story["next"]["at"].as_str().map(|at| format!(", at {at}")).unwrap_or_default();
    say("next", format!("{}{at}", plain(story["next"]["what"].as_str().unwrap_or_default())));
    say("of", format!("{} {}, key {}", text("dependency"), text("operation"), text("key")));
    if story["sent_key"] != story["key"] {
        say("sent as", text("sent_key"));
    }
    if story["client"].is_string() {
        say("client", text("client"));
    }
    if story["amount"].is_string() {
        say("amount", text("amount"));
    }
    say("wanted", format!("{}; what is known of the effect: {}", text("goal"), text("effect")));
    say("recorded", format!("{} ({} ago)", text("created_at"), age(&text("created_at"), now)));
    lines.push(String::new());
    lines.push("attempts".to_owned());
    lines.extend(all(&story["attempts"]).map(attempt));
    if all(&story["attempts"]).next().is_none() {
        lines.push("  none: nothing was sent".to_owned());
    }
    if all(&story["marks"]).next().is_some() {
        lines.push(String::new());
        lines.push("by hand".to_owned());
        lines.extend(all(&story["marks"]).map(mark));
    }
    if state == "stuck" {
        lines.push(String::new());
        lines.push("what you can do".to_owned());
        lines.extend(choices(&id, &text("goal")));
    }
    lines.join("\n") + "\n"
}

fn all(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn attempt(attempt: &Value) -> String {
    let text = |name: &str| plain(attempt[name].as_str().unwrap_or_default());
    let status = attempt["status"].as_u64().map(|status| format!(" {status}")).unwrap_or_default();
    let detail = attempt["detail"].as_str().map(|detail| format!(": {}", plain(detail))).unwrap_or_default();
    format!(
        "  {:>2}  {}  {}  {}{status}{detail}",
        attempt["number"],
        text("recorded_at"),
        text("kind"),
        text("outcome")
    )
}

fn mark(mark: &Value) -> String {
    let text = |name: &str| plain(mark[name].as_str().unwrap_or_default());
    let via = mark["via"].as_str().map(|via| format!(" ({})", plain(via))).unwrap_or_default();
    let changed = match (mark["was"].as_str(), mark["became"].as_str()) {
        (Some(was), Some(became)) => format!(", {was} to {became}"),
        _ => String::new(),
    };
    format!("  {}  {}{via}: {}{changed}: {}", text("at"), text("who"), text("what"), text("why"))
}

/// Returns the commands for a stuck action. `goal` is what is wanted of it.
fn choices(id: &str, goal: &str) -> Vec<String> {
    let (exists, not) = match goal {
        "cancel" => (
            "the effect still exists at the provider: it is cancelled again",
            "it does not exist: it ends as cancelled",
        ),
        _ => (
            "the effect exists at the provider: it ends as done, or waits to be settled",
            "it does not exist: it ends as failed",
        ),
    };
    let line =
        |command: &str, means: &str| format!("  seawall actions {command} --reason \"…\"\n      {means}");
    let mut lines = vec![
        line(&format!("retry {id}"), "the trouble is over: try again what was tried"),
        line(&format!("resolve {id} --effect applied"), exists),
        line(&format!("resolve {id} --effect not-applied"), not),
    ];
    if goal != "cancel" {
        lines.push(line(&format!("cancel {id}"), "it is not wanted any more: undo what may exist"));
    }
    lines
}

/// Returns what became of orders: one line for each action that was not changed, and a summary.
pub(super) fn outcomes(what: &str, matched: usize, results: &[OrderResult]) -> String {
    let mut out = String::new();
    let mut states: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    let mut done = 0;
    for result in results {
        if result.result == "done" {
            done += 1;
            *states.entry(result.state.as_deref().unwrap_or("?")).or_default() += 1;
        } else {
            let detail = result.detail.as_deref().unwrap_or("there was nothing to do");
            out.push_str(&format!("{}  {}: {}\n", result.id, result.result, plain(detail)));
        }
    }
    let states: Vec<String> = states.iter().map(|(state, number)| format!("{number} {state}")).collect();
    let now = if states.is_empty() { String::new() } else { format!("; now {}", states.join(", ")) };
    out.push_str(&format!("{what}: {done} of {matched} done{now}\n"));
    out
}

/// Returns how long ago a time was, in words.
fn age(at: &str, now: SystemTime) -> String {
    let Ok(at) = at.parse::<jiff::Timestamp>() else { return "?".to_owned() };
    let age = now.duration_since(SystemTime::from(at)).unwrap_or(Duration::ZERO);
    in_words(age)
}

/// Returns the text without control characters, which could change what a terminal shows.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::NextView;

    fn row(state: &str, why: Option<&str>) -> ActionRow {
        ActionRow {
            id: "0197".into(),
            version: 3,
            dependency: "pay".into(),
            operation: "charge".into(),
            key: "order-\u{1b}1".into(),
            client: None,
            state: state.into(),
            goal: "perform".into(),
            effect: "unknown".into(),
            cause: None,
            why: why.map(str::to_owned),
            amount: None,
            created_at: "2026-01-01T00:00:00.000Z".into(),
            next: NextView { what: "the provider is asked".into(), at: None },
        }
    }

    #[test]
    fn a_table_says_why_or_what_next_and_no_control_character() {
        let now = SystemTime::from("2026-01-01T03:00:00Z".parse::<jiff::Timestamp>().unwrap());
        let table = table(&[row("stuck", Some("no answer")), row("unknown", None)], now, false);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines[1],
            "0197  stuck    3 h  pay         charge     order-\u{fffd}1  unknown  no answer"
        );
        assert!(lines[2].ends_with("the provider is asked"), "{table}");
        assert!(lines[0].starts_with("id    state"), "{table}");
    }

    #[test]
    fn outcomes_name_what_was_left_alone() {
        let result = |id: &str, result: &str, state: Option<&str>| OrderResult {
            id: id.into(),
            result: result.into(),
            was: None,
            state: state.map(str::to_owned),
            detail: None,
        };
        let told = outcomes(
            "retry",
            3,
            &[
                result("a", "done", Some("unknown")),
                result("b", "changed", None),
                result("c", "done", Some("unknown")),
            ],
        );
        assert_eq!(told, "b  changed: there was nothing to do\nretry: 2 of 3 done; now 2 unknown\n");
    }
}
