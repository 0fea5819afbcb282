//! Merged tables, each on one line.

use std::time::Duration;

use seawall_policy::{BudgetSettings, Timeouts};

use super::super::in_force::pending;
use super::super::settings::{Breaker, Concurrency, GuardKey, Retry, Window};
use super::super::values::{show_size, show_time};

pub(super) fn show_budget(budget: &BudgetSettings) -> String {
    let tokens = |milli: u32| f64::from(milli) / 1e3;
    format!(
        "per_success {}, burst {}, initial {}",
        tokens(budget.per_success_milli),
        tokens(budget.burst_milli),
        tokens(budget.initial_milli)
    )
}

pub(super) fn show_concurrency(limit: &Concurrency) -> String {
    let text = if limit.enabled {
        let adaptive = if limit.adaptive { "adaptive" } else { "fixed" };
        let queue = match limit.queue {
            0 => "no queue".to_owned(),
            queue => format!("queue {queue} for {}", show_time(limit.queue_wait)),
        };
        format!("max {}, {adaptive}, {queue}, per {}", limit.max, show_key(&limit.key, limit.max_keys))
    } else {
        "off".to_owned()
    };
    let fleet = limit.fleet.as_ref().map(|fleet| {
        let per = fleet.per.map(|per| format!(" per {}", show_time(per))).unwrap_or_default();
        format!(", fleet max {}{per}{}", fleet.max, pending("fleet"))
    });
    text + &fleet.unwrap_or_default()
}

pub(super) fn show_breaker(breaker: &Breaker) -> String {
    if !breaker.enabled {
        return "off".to_owned();
    }
    let window = match breaker.window {
        Window::Time(time) => show_time(time),
        Window::Calls(calls) => format!("{calls} calls"),
    };
    let mut text = format!(
        "failure_rate {} of at least {} calls in {window}, open_for {}, probes {}, per {}",
        f64::from(breaker.failure_rate_ppm) / 1e6,
        breaker.min_calls,
        show_time(breaker.open_for),
        breaker.probes,
        show_key(&breaker.key, breaker.max_keys)
    );
    let more = [
        ("consecutive", breaker.consecutive.map(|count| count.to_string())),
        ("slow_call", breaker.slow_call.map(show_time)),
        ("open_max", breaker.open_max.map(show_time)),
        ("ramp", breaker.ramp.map(show_time)),
    ];
    for (name, value) in more {
        if let Some(value) = value {
            text.push_str(&format!(", {name} {value}"));
        }
    }
    text
}

/// What a guard is kept for, and for how many.
fn show_key(key: &GuardKey, most: u32) -> String {
    match key {
        GuardKey::Endpoint => key.to_string(),
        GuardKey::Operation | GuardKey::Header(_) | GuardKey::Path(_) => format!("{key}, up to {most}"),
    }
}

pub(super) fn show_timeout(timeout: &Timeouts) -> String {
    format!(
        "connect {}, read {}, total {}",
        show_time(timeout.connect),
        show_time(timeout.read),
        off_or(timeout.total)
    )
}

pub(super) fn show_retry(retry: &Retry) -> String {
    if !retry.enabled {
        return "off".to_owned();
    }
    let backoff = &retry.backoff;
    format!(
        "attempts {}, base {}, cap {}, after_max {}, buffer {}",
        retry.attempts,
        show_time(backoff.base),
        show_time(backoff.cap),
        show_time(retry.after_max),
        show_size(retry.buffer)
    )
}

fn off_or(time: Option<Duration>) -> String {
    time.map_or_else(|| "off".to_owned(), show_time)
}
