//! Tables that are merged key by key: deadlines, repeats, guards, connections.

use std::net::IpAddr;
use std::time::Duration;

use http::Uri;
use seawall_actions::nearest::nearest;
use seawall_client::AnswerLimits;
use seawall_policy::{Backoff, BudgetSettings, Timeouts};
use toml::de::DeValue;

use super::super::defaults;
use super::super::section::{Found, Layers, Picked, Section};
use super::super::settings::{Breaker, Concurrency, Dns, GuardKey, HttpVersion, Pool, Retry, Window};
use super::super::shape;
use super::super::values::{self, Wrong, show_time};
use super::gateway::count_u32;

/// Tells a mistake between two merged values at the one that was said last.
fn conflict<A, B>(layers: &Layers<'_>, a: &Picked<A>, b: &Picked<B>, wrong: Wrong) {
    if !a.sound || !b.sound {
        return;
    }
    let at = if a.layer >= b.layer { &a.at } else { &b.at };
    layers.book().wrong(at.clone(), wrong);
}

pub(super) fn timeout(layers: &Layers<'_>) -> Timeouts {
    let layers = layers.child("timeout");
    let silent = Timeouts::default();
    let connect = layers.pick("connect", values::time, silent.connect);
    let read = layers.pick("read", values::time, silent.read);
    let total = layers.pick("total", values::time_or_off, silent.total);
    let mut in_force = Timeouts { connect: connect.value, read: read.value, total: total.value };
    let Some(bound) = total.value else { return in_force };
    if read.value >= bound {
        let whence = if read.layer == 0 { " (the default)" } else { "" };
        let message =
            format!("read {}{whence} is not below total {}", show_time(read.value), show_time(bound));
        let help = "no attempt could end by its read timeout: give a shorter `read`, or a longer `total`";
        conflict(&layers, &read, &total, Wrong::new(message).help(help));
    }
    if connect.value > bound {
        // A total that was said in a more particular place cuts a general connect timeout short: nobody wrote both.
        if connect.layer >= total.layer {
            let message =
                format!("connect {} is longer than total {}", show_time(connect.value), show_time(bound));
            conflict(&layers, &connect, &total, Wrong::new(message));
        }
        in_force.connect = bound;
    }
    in_force
}

pub(super) fn retry(layers: &Layers<'_>) -> Retry {
    let layers = layers.child("retry");
    let silent = defaults::retry();
    let base = layers.pick("base", values::time, silent.backoff.base);
    let cap = layers.pick("cap", values::time, silent.backoff.cap);
    if base.value > cap.value {
        let message = format!("base {} is longer than cap {}", show_time(base.value), show_time(cap.value));
        conflict(&layers, &base, &cap, Wrong::new(message));
    }
    Retry {
        enabled: layers.pick("enabled", values::flag, silent.enabled).value,
        attempts: layers.pick("attempts", count_u32, silent.attempts).value,
        backoff: Backoff { base: base.value, cap: cap.value },
        after_max: layers.pick("after_max", values::time, silent.after_max).value,
        buffer: layers.pick("buffer", values::size, silent.buffer).value,
    }
}

pub(super) fn budget(layers: &Layers<'_>) -> BudgetSettings {
    let layers = layers.child("budget");
    let silent = BudgetSettings::default();
    let burst = layers.pick("burst", values::thousandths, silent.burst_milli);
    let initial = layers.pick("initial", values::thousandths, silent.initial_milli);
    if initial.value > burst.value {
        conflict(&layers, &initial, &burst, Wrong::new("`initial` is more than `burst` can hold"));
    }
    BudgetSettings {
        per_success_milli: layers.pick("per_success", values::thousandths, silent.per_success_milli).value,
        burst_milli: burst.value,
        initial_milli: initial.value,
    }
}

pub(super) fn concurrency(layers: &Layers<'_>, paths: &[&str]) -> Concurrency {
    let layers = layers.child("concurrency");
    let silent = defaults::concurrency();
    let queue = layers.pick("queue", count_u32, silent.queue);
    let wait = layers.pick("queue_wait", values::time, silent.queue_wait);
    if queue.value > 0 && wait.value.is_zero() && queue.sound && wait.sound {
        layers.book().note(queue.at.clone(), "`queue` has no effect: `queue_wait` is 0s, so nobody waits");
    }
    Concurrency {
        enabled: layers.pick("enabled", values::flag, silent.enabled).value,
        max: layers.pick("max", count_u32, silent.max).value,
        adaptive: layers.pick("adaptive", values::flag, silent.adaptive).value,
        queue: queue.value,
        queue_wait: wait.value,
        key: guard_key(&layers, paths),
        max_keys: layers.pick("max_keys", count_u32, silent.max_keys).value,
    }
}

pub(super) fn breaker(layers: &Layers<'_>, paths: &[&str]) -> Breaker {
    let layers = layers.child("breaker");
    let silent = defaults::breaker();
    let min_calls = layers.pick("min_calls", count_u32, silent.min_calls);
    let open_for = layers.pick("open_for", values::time, silent.open_for);
    let open_max = layers.pick("open_max", values::time_or_off, silent.open_max);
    if open_max.value.is_some_and(|max| max < open_for.value) {
        conflict(&layers, &open_max, &open_for, Wrong::new("`open_max` is shorter than `open_for`"));
    }
    Breaker {
        enabled: layers.pick("enabled", values::flag, silent.enabled).value,
        failure_rate_ppm: layers.pick("failure_rate", values::ratio_ppm, silent.failure_rate_ppm).value,
        min_calls: min_calls.value,
        window: window(&layers, &min_calls, silent.window),
        open_for: open_for.value,
        probes: layers.pick("probes", count_u32, silent.probes).value,
        slow_call: layers.pick("slow_call", values::time_or_off, silent.slow_call).value,
        consecutive: layers.pick("consecutive", |value| count_u32(value).map(Some), silent.consecutive).value,
        open_max: open_max.value,
        ramp: layers.pick("ramp", values::time_or_off, silent.ramp).value,
        key: guard_key(&layers, paths),
        max_keys: layers.pick("max_keys", count_u32, silent.max_keys).value,
    }
}

/// By time or by calls: the more particular table decides, and one table says only one of them.
fn window(layers: &Layers<'_>, min_calls: &Picked<u32>, silent: Window) -> Window {
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
    match (by_time.value, by_calls.value) {
        (_, Some(calls)) if by_calls.layer > by_time.layer => {
            if min_calls.value > calls {
                let message =
                    format!("min_calls {} is more than the window of {calls} calls holds", min_calls.value);
                conflict(layers, &by_calls, min_calls, Wrong::new(message).help("it would never open"));
            }
            Window::Calls(calls)
        }
        (Some(time), _) => Window::Time(time),
        (None, Some(calls)) => Window::Calls(calls),
        (None, None) => silent,
    }
}

/// What a guard is kept for; a part of the path must be named by some operation.
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

pub(super) fn pool(layers: &Layers<'_>) -> Pool {
    let layers = layers.child("pool");
    let silent = defaults::POOL;
    let settle = layers.pick("settle", values::time, silent.settle);
    let idle = layers.pick("idle", values::time, silent.idle);
    if settle.value >= idle.value && settle.sound && idle.sound {
        let at = if settle.layer >= idle.layer { settle.at.clone() } else { idle.at.clone() };
        layers.book().note(
            at,
            "`settle` is not below `idle`: what must not be doubled takes a fresh connection every time",
        );
    }
    let max_idle = |value: &DeValue<'_>| values::whole(value).map(as_count);
    Pool {
        settle: settle.value,
        idle: idle.value,
        max_idle: layers.pick("max_idle", max_idle, silent.max_idle).value,
        max_age: layers.pick("max_age", values::time, silent.max_age).value,
    }
}

pub(super) fn answer(layers: &Layers<'_>) -> AnswerLimits {
    let layers = layers.child("answer");
    let silent = defaults::answer();
    let count = |value: &DeValue<'_>| values::whole(value).map(as_count);
    AnswerLimits {
        header_bytes: layers
            .pick("header_bytes", |value| values::size(value).map(as_count), silent.header_bytes)
            .value,
        headers: layers.pick("headers", count, silent.headers).value,
    }
}

fn as_count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(super) fn dns(layers: &Layers<'_>) -> Dns {
    let layers = layers.child("dns");
    let silent = defaults::DNS;
    Dns {
        refresh: layers.pick("refresh", values::time, silent.refresh).value,
        stale: layers.pick("stale", values::time, silent.stale).value,
    }
}

pub(super) fn http(layers: &Layers<'_>) -> HttpVersion {
    layers.pick("http", shape::http_version, defaults::HTTP).value
}

pub(super) fn proxy(layers: &Layers<'_>) -> Option<Uri> {
    layers.pick("proxy", values::proxy_url, None).value
}

pub(super) fn bind(layers: &Layers<'_>) -> Option<IpAddr> {
    layers.pick("bind", values::ip_or_off, None).value
}

/// `slow_call` of an operation, over that of the breaker.
pub(super) fn slow_call(operation: Option<&Section<'_>>, breaker: &Breaker) -> Option<Duration> {
    match operation.map_or(Found::Absent, |section| section.get("slow_call", values::time_or_off)) {
        Found::Value(value, _) => value,
        Found::Absent | Found::Broken => breaker.slow_call,
    }
}
