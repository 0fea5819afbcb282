//! Retries, cancels and resolves one action or many.
//!
//! First the actions are listed, each with its version. The person sees how many there are, and agrees. Then the orders go out
//! in small groups, at the wanted rate. An action that has changed since it was listed is left alone, and that is told. If
//! the command is ended in the middle, what was not sent is not done, and the same command goes on with the rest.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::time::{Duration, Instant, SystemTime};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::remote::{Remote, RemoteGateway, segment};
use super::super::terminal;
use super::listed::{Filter, fetch, parsed};
use super::shown;
use crate::admin::{ActionRow, OrderResult, OrderResults};

/// The most actions in one request.
const GROUP: usize = 50;

/// Whether the effect of an action exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Effect {
    /// It exists at the provider
    Applied,
    /// It does not exist at the provider
    NotApplied,
}

/// Which actions are changed, by whom, and why.
#[derive(Debug, Args)]
pub(in crate::cli) struct Change {
    /// The ids of the actions. Instead, filters or --all can select them
    #[arg(conflicts_with_all = ["dependency", "operation", "cause", "older", "newer", "all"])]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// All actions, without a filter
    #[arg(long)]
    all: bool,
    /// Why; the text is kept with each action, and logged
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who does it; the default is the login name. It is kept beside the name of the token
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// The most actions to change
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// How many actions to change per second, such as 5/s, 100/m or 0.5/s. Without it, all are changed as fast as the
    /// gateway can, and a retry lets the ledger spread the requests to the provider
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Option<f64>,
    /// Only say which actions would be changed
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before more than one action is changed
    #[arg(long)]
    yes: bool,
    /// Print JSON: {"matched": 3, "done": 2, "results": […]}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: RemoteGateway,
}

/// Reads a rate. Returns the number per second.
fn rate(text: &str) -> Result<f64, String> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let seconds = match unit {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err("write a number per s, m or h, such as 5/s".to_owned()),
    };
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number / seconds <= 10_000.0 => Ok(number / seconds),
        _ => Err("write a number above 0, such as 5/s; at most 10000/s".to_owned()),
    }
}

/// Carries out the order `what`. `state` is where the actions stand that a filter selects, and `more` has further fields of the
/// order.
pub(super) fn run(what: &str, change: &Change, state: &str, more: &Value) -> Result<(), Failure> {
    if change.ids.is_empty() && change.filter.is_empty() && !change.all {
        return Err(Failure::misuse(format!(
            "name the actions to {what} by their ids or by filters, or say --all; `seawall actions list` shows them"
        )));
    }
    let remote = Remote::new(&change.gateway)?;
    if !change.dry_run {
        remote.need_token()?;
    }
    let (rows, more_match) = match change.ids.as_slice() {
        [] => fetch(&remote, &change.gateway, &change.filter.query(Some(state.to_owned())), change.limit)?,
        ids => (ids.iter().map(|id| look(&remote, change, id)).collect::<Result<_, _>>()?, false),
    };
    if change.dry_run {
        return told_only(what, change, &rows, more_match);
    }
    if rows.is_empty() {
        if change.json {
            return terminal::print(&format!("{}\n", json!({ "matched": 0, "done": 0, "results": [] })));
        }
        terminal::complain("no such action: nothing was changed");
        return Ok(());
    }
    if rows.len() > 1 && !change.yes {
        agreed(what, &rows)?;
    }
    let mut order = more.clone();
    order["reason"] = change.reason.as_str().into();
    order["who"] = change.who.clone().or_else(login).into();
    let sent = send(&remote, change, what, &order, &rows);
    tell(what, change, &rows, sent, more_match)
}

/// Looks at one action, to learn its version.
fn look(remote: &Remote, change: &Change, id: &str) -> Result<ActionRow, Failure> {
    let answer = remote.get(&format!("/api/actions/{}", segment(id)))?;
    parsed(&change.gateway, &answer)
}

fn login() -> Option<String> {
    ["LOGNAME", "USER"].into_iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()))
}

fn told_only(what: &str, change: &Change, rows: &[ActionRow], more_match: bool) -> Result<(), Failure> {
    if change.json {
        let whole = json!({ "dry_run": true, "matched": rows.len(), "actions": rows, "more": more_match });
        return terminal::print(&format!("{whole}\n"));
    }
    terminal::print(&shown::table(rows, SystemTime::now(), terminal::colour_on_output()))?;
    let more = if more_match { " of more: raise --limit for the others" } else { "" };
    terminal::complain(&format!("dry run: would {what} {}{more}; nothing was changed", many(rows.len())));
    Ok(())
}

fn many(number: usize) -> String {
    if number == 1 { "1 action".to_owned() } else { format!("{number} actions") }
}

/// Asks the person whether all these actions are meant.
fn agreed(what: &str, rows: &[ActionRow]) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::misuse(format!(
            "this would {what} {}, and there is no terminal to ask: look with --dry-run, then say --yes",
            many(rows.len())
        )));
    }
    let mut kinds: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for row in rows {
        let why = row.why.as_deref().unwrap_or(&row.state);
        *kinds.entry((&row.dependency, &row.operation, why)).or_default() += 1;
    }
    for ((dependency, operation, why), number) in kinds {
        terminal::complain(&format!("{number:>6}  {dependency} {operation}: {why}"));
    }
    let mut error = std::io::stderr().lock();
    let _ = write!(error, "{what} {}? [y/N] ", many(rows.len())).and_then(|()| error.flush());
    let mut line = String::new();
    let _ = std::io::stdin().lock().read_line(&mut line);
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::failed("nothing was changed")),
    }
}

/// The results so far, and why the command stopped early.
struct Sent {
    results: Vec<OrderResult>,
    stopped: Option<Failure>,
}

/// Sends the orders in groups, at the wanted rate.
fn send(remote: &Remote, change: &Change, what: &str, order: &Value, rows: &[ActionRow]) -> Sent {
    let group = change.rate.map_or(GROUP, |rate| (rate.ceil() as usize).clamp(1, GROUP));
    let mut sent = Sent { results: Vec::with_capacity(rows.len()), stopped: None };
    let begun = Instant::now();
    for rows in rows.chunks(group) {
        if let Some(rate) = change.rate {
            let due = Duration::try_from_secs_f64(sent.results.len() as f64 / rate).unwrap_or_default();
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        let mut body = order.clone();
        body["actions"] = rows.iter().map(|row| json!({ "id": row.id, "version": row.version })).collect();
        if let (Some(rate), "retry") = (change.rate, what) {
            body["per_second"] = rate.into();
        }
        let answer = remote.post(&format!("/api/actions/{what}"), &body);
        match answer.and_then(|answer| parsed::<OrderResults>(&change.gateway, &answer)) {
            Ok(OrderResults { results }) => sent.results.extend(results),
            Err(failure) => {
                sent.stopped = Some(failure);
                break;
            }
        }
        if sent.results.last().is_some_and(|last| ["failed", "not-tried"].contains(&last.result.as_str())) {
            sent.stopped = Some(Failure::failed("the gateway's ledger failed"));
            break;
        }
    }
    sent
}

/// Says what became of the orders. Fails if an action was not changed that should have been.
fn tell(
    what: &str,
    change: &Change,
    rows: &[ActionRow],
    sent: Sent,
    more_match: bool,
) -> Result<(), Failure> {
    let Sent { results, stopped } = sent;
    let done = results.iter().filter(|it| it.result == "done").count();
    let fine = results.iter().filter(|it| ["done", "unchanged"].contains(&it.result.as_str())).count();
    let left = rows.len() - fine;
    if change.json {
        let whole = json!({ "matched": rows.len(), "done": done, "results": results, "more": more_match });
        terminal::print(&format!("{whole}\n"))?;
    } else {
        terminal::print(&shown::outcomes(what, rows.len(), &results))?;
        if more_match {
            terminal::complain(&format!(
                "more than {} match: run the command again for the others",
                rows.len()
            ));
        }
    }
    match stopped {
        Some(failure) => Err(Failure {
            code: failure.code.max(1),
            message: format!(
                "stopped after {} of {}: {}; run the command again to go on with the rest",
                results.len(),
                rows.len(),
                failure.message
            ),
        }),
        None if left > 0 => {
            Err(Failure::failed(format!("{} left alone; list them, and decide again", many_were(left))))
        }
        None => Ok(()),
    }
}

fn many_were(number: usize) -> String {
    if number == 1 { "1 action was".to_owned() } else { format!("{number} actions were") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        for (text, per_second) in [("5/s", 5.0), ("5", 5.0), ("60/m", 1.0), ("0.5/s", 0.5), ("3600/h", 1.0)] {
            assert_eq!(rate(text), Ok(per_second), "{text}");
        }
        for wrong in ["", "0/s", "-1/s", "5/day", "x/s", "NaN", "inf", "20000/s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
