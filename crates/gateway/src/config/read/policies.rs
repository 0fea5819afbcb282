//! Reads the tables for deadlines, repeats, guards and connections. Such a table may be written at several levels of
//! the file. A key at a more specific level replaces the same key of the more general one.
//!
//! The types in `seawall_policy` and `seawall_client` define what each setting means, its default, and which values
//! could never work. This module reads the values, and reports each mistake at its line of the file.

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::Duration;

use http::Uri;
use seawall_actions::nearest::nearest;
use seawall_client::connect::{DnsSettings, HttpVersion};
use seawall_client::{AnswerLimits, PoolSettings};
use seawall_policy::{BudgetSettings, Gravity, Problem, Timeouts, WindowSpan};
use toml::de::DeValue;

use super::super::keys;
use super::super::rows::Row;
use super::super::section::{Found, Layers, Picked, Section};
use super::super::settings::{Breaker, Concurrency, GuardKey, Retry};
use super::super::shape;
use super::super::values::{self, Wrong, count_u32, show_time};

/// A merged table, with the place in the file from which each of its values comes.
struct Merged<'a, S> {
    layers: Layers<'a>,
    settings: S,
    picked: Vec<(&'static str, Picked<()>)>,
}

impl<'a, S> Merged<'a, S> {
    fn read(layers: &Layers<'a>, name: &str, rows: &[Row<S>], silent: S) -> Merged<'a, S> {
        let layers = layers.child(name);
        let settings = RefCell::new(silent);
        let mut picked = Vec::new();
        for row in rows {
            if let Some(field) = row.field {
                let read = |value: &DeValue<'_>| field.read(value, &mut settings.borrow_mut());
                picked.push((row.key.name, layers.pick(row.key.name, read, ())));
            }
        }
        Merged { layers, settings: settings.into_inner(), picked }
    }

    fn picked(&self, name: &str) -> &Picked<()> {
        let found = self.picked.iter().find(|(known, _)| *known == name);
        &found.expect("the types name their settings as the file does").1
    }

    /// Reports each problem, and returns the settings. A problem concerns one or more values, and is reported at the
    /// value that comes from the most specific table.
    ///
    /// A problem is left out if it only follows from another mistake: a more specific table has a value that cannot be
    /// read, and so the value of a more general table was used. The value that cannot be read is reported as a mistake
    /// of its own.
    fn checked(self, problems: Vec<Problem>) -> S {
        for Problem { setting, wrong, gravity, with } in problems {
            let said: Vec<_> = with.iter().chain([&setting]).map(|name| self.picked(name)).collect();
            let Some(last) = said.iter().max_by_key(|picked| picked.layer) else { continue };
            if said.iter().any(|picked| !picked.sound) {
                continue;
            }
            let silent = self.picked(setting).layer == 0;
            let silent = if silent { format!("; `{setting}` has its default") } else { String::new() };
            let (at, message) = (last.at.clone(), wrong.message + &silent);
            match gravity {
                Gravity::Error => self.layers.book().wrong(at, Wrong { message, ..wrong }),
                Gravity::Note => self.layers.book().note(at, message),
            }
        }
        self.settings
    }
}

pub(super) fn timeout(layers: &Layers<'_>) -> Timeouts {
    let mut read = Merged::read(layers, "timeout", keys::TIMEOUT, Timeouts::default());
    let Timeouts { connect, total, .. } = read.settings;
    if let Some(bound) = total.filter(|bound| connect > *bound) {
        let (said, bounded) = (read.picked("connect"), read.picked("total"));
        // The connect timeout may stand in a general table, and a shorter total timeout in a more specific one. That is
        // no mistake, because the general table also serves calls with a longer total timeout.
        if said.layer >= bounded.layer && said.sound && bounded.sound {
            let message = format!("connect {} is longer than total {}", show_time(connect), show_time(bound));
            read.layers.book().wrong(said.at.clone(), Wrong::new(message));
        }
        read.settings.connect = bound;
    }
    let problems = read.settings.problems();
    read.checked(problems)
}

pub(super) fn retry(layers: &Layers<'_>) -> Retry {
    let read = Merged::read(layers, "retry", keys::RETRY, Retry::default());
    let problems = read.settings.backoff.problems();
    read.checked(problems)
}

pub(super) fn budget(layers: &Layers<'_>) -> BudgetSettings {
    let read = Merged::read(layers, "budget", keys::BUDGET, BudgetSettings::default());
    let problems = read.settings.problems();
    read.checked(problems)
}

pub(super) fn concurrency(layers: &Layers<'_>, paths: &[&str]) -> Concurrency {
    let mut read = Merged::read(layers, "concurrency", keys::CONCURRENCY, Concurrency::default());
    read.settings.key = guard_key(&read.layers, paths);
    let mut problems = read.settings.limit.problems();
    problems.extend(read.settings.queue.problems());
    read.checked(problems)
}

pub(super) fn breaker(layers: &Layers<'_>, paths: &[&str]) -> Breaker {
    let mut read = Merged::read(layers, "breaker", keys::BREAKER, Breaker::default());
    window(&mut read);
    read.settings.key = guard_key(&read.layers, paths);
    let problems = read.settings.settings.problems();
    read.checked(problems)
}

/// Reads the breaker's window, which is a time (`window`) or a number of calls (`window_calls`). If one table has
/// `window` and another has `window_calls`, the more specific table decides. A single table that has both is reported
/// as a mistake.
fn window(breaker: &mut Merged<'_, Breaker>) {
    let layers = &breaker.layers;
    for section in &layers.0 {
        if section.has("window") && section.has("window_calls") {
            section.wrong(
                "window_calls",
                Wrong::new("`window` and `window_calls` are both given")
                    .help("a window is a time or a number of calls"),
            );
        }
    }
    let by_time = layers.pick("window", |value| values::time(value).map(Some), None);
    let by_calls = layers.pick("window_calls", |value| count_u32(value).map(Some), None);
    let in_force = match (by_time.value, by_calls.value) {
        (_, Some(calls)) if by_calls.layer > by_time.layer => Some(WindowSpan::Calls(calls)),
        (Some(time), _) => Some(WindowSpan::Time(time)),
        (None, Some(calls)) => Some(WindowSpan::Calls(calls)),
        (None, None) => None,
    };
    breaker.settings.settings.window = in_force.unwrap_or(breaker.settings.settings.window);
    breaker.picked.push(("window", by_time.without_value()));
    breaker.picked.push(("window_calls", by_calls.without_value()));
}

/// Reads the setting `key`, and returns which calls share one guard (a breaker or a limit). With `path:{name}`, the
/// calls with the same value of that part of the path share a guard. If no operation's pattern has such a part, this is
/// reported as a mistake. `paths` are the names of the parts that the patterns have.
fn guard_key(layers: &Layers<'_>, paths: &[&str]) -> GuardKey {
    let read = |value: &DeValue<'_>| values::text(value).and_then(shape::guard_key);
    let picked = layers.pick("key", read, GuardKey::Endpoint);
    if let GuardKey::Path(name) = &picked.value
        && !paths.contains(&name.as_str())
    {
        let help = match nearest(name, paths.iter().copied()) {
            Some(near) => format!("did you mean `path:{{{near}}}`?"),
            None => "give an operation a `match` with that part".to_owned(),
        };
        layers.book().wrong(
            picked.at.clone(),
            Wrong::new(format!("no operation's path has a part `{{{name}}}`")).help(help),
        );
    }
    picked.value
}

pub(super) fn pool(layers: &Layers<'_>) -> PoolSettings {
    let read = Merged::read(layers, "pool", keys::POOL, PoolSettings::default());
    let problems = read.settings.problems();
    read.checked(problems)
}

pub(super) fn answer(layers: &Layers<'_>) -> AnswerLimits {
    Merged::read(layers, "answer", keys::ANSWER, AnswerLimits::default()).settings
}

pub(super) fn dns(layers: &Layers<'_>) -> DnsSettings {
    let read = Merged::read(layers, "dns", keys::DNS, DnsSettings::default());
    let problems = read.settings.problems();
    read.checked(problems)
}

pub(super) fn http(layers: &Layers<'_>) -> HttpVersion {
    layers.pick("http", values::http_version, HttpVersion::default()).value
}

pub(super) fn proxy(layers: &Layers<'_>) -> Option<Uri> {
    layers.pick("proxy", values::proxy_url, None).value
}

pub(super) fn bind(layers: &Layers<'_>) -> Option<IpAddr> {
    layers.pick("bind", values::ip_or_off, None).value
}

/// Returns the `slow_call` of an operation, or the breaker's `slow_call` if the operation names none. `None` if the
/// setting that is used is `"off"`.
pub(super) fn slow_call(operation: Option<&Section<'_>>, breaker: &Breaker) -> Option<Duration> {
    match operation.map_or(Found::Absent, |section| section.get("slow_call", values::time_or_off)) {
        Found::Value(value, _) => value,
        Found::Absent | Found::Broken => breaker.settings.slow_call,
    }
}
