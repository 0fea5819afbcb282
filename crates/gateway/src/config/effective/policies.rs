//! Shows each merged table on one line.

use seawall_policy::WindowSpan;

use super::super::keys;
use super::super::rows;
use super::super::settings::{Breaker, Concurrency, GuardKey, Retry};
use super::super::values::show_time;

pub(super) fn show_concurrency(concurrency: &Concurrency) -> String {
    let Concurrency { limit, queue, key, max_keys } = concurrency;
    if limit.enabled {
        let adaptive = if limit.adaptive { "adaptive" } else { "fixed" };
        let queue = match queue.length {
            0 => "no queue".to_owned(),
            length => format!("queue {length} for {}", show_time(queue.wait)),
        };
        format!("max {}, {adaptive}, {queue}, per {}", limit.max, show_key(key, *max_keys))
    } else {
        "off".to_owned()
    }
}

/// The settings that [`show_breaker`] puts into words. Every other setting of a breaker is added as its name and value,
/// or left out if it is off.
const TOLD: [&str; 6] = ["enabled", "failure_rate", "min_calls", "open_for", "probes", "max_keys"];

pub(super) fn show_breaker(breaker: &Breaker) -> String {
    let settings = &breaker.settings;
    if !settings.enabled {
        return "off".to_owned();
    }
    let window = match settings.window {
        WindowSpan::Time(time) => show_time(time),
        WindowSpan::Calls(calls) => format!("{calls} calls"),
    };
    let mut text = format!(
        "failure_rate {} of at least {} calls in {window}, open_for {}, probes {}, per {}",
        f64::from(settings.failure_rate_ppm) / 1e6,
        settings.min_calls,
        show_time(settings.open_for),
        settings.probes,
        show_key(&breaker.key, breaker.max_keys)
    );
    let more = rows::show(keys::BREAKER, &TOLD, breaker);
    if !more.is_empty() {
        text.push_str(", ");
        text.push_str(&more);
    }
    text
}

/// Returns in words which calls share one guard (a breaker or a limit) and, if the guards have keys, the maximum number
/// of keys.
fn show_key(key: &GuardKey, most: u32) -> String {
    match key {
        GuardKey::Endpoint => key.to_string(),
        GuardKey::Operation | GuardKey::Header(_) | GuardKey::Path(_) => format!("{key}, up to {most}"),
    }
}

pub(super) fn show_retry(retry: &Retry) -> String {
    if retry.enabled { rows::show(keys::RETRY, &["enabled"], retry) } else { "off".to_owned() }
}
