//! Reads from an answer when the caller may come back.
//!
//! The standard has one field with two forms: `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3).
//! Providers have more:
//!
//! - `retry-after-ms`, in milliseconds.
//! - The time at which a limit is reset, in `x-ratelimit-reset…`, `ratelimit-reset` and `anthropic-ratelimit-…-reset`.
//!   It is written in seconds, as a span such as `6m0s` or `12ms`, as a Unix time in seconds or milliseconds, or as a
//!   date of RFC 3339.
//!
//! All of them are read as a time from now. If an answer has several of these fields, the first in this list that can
//! be read is used:
//!
//! - `retry-after-ms`
//! - `Retry-After`
//! - The longest reset of a limit that is used up. An answer lists every limit of an account, and a limit that is not
//!   used up did not cause the answer. A limit counts as used up if no field says what is left of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, header};

const MILLISECONDS: &str = "retry-after-ms";
/// How the fields of a limit are named. Two fields belong to a limit: one says when the limit is reset, and one says
/// what is left of it. For example, `anthropic-ratelimit-tokens-reset` and `anthropic-ratelimit-tokens-remaining`
/// belong to the limit `tokens`. Each entry has three texts:
///
/// - The beginning of the reset field's name, such as `anthropic-ratelimit-`.
/// - The end of the reset field's name, such as `-reset`. The limit's name stands between the two.
/// - The beginning of the other field's name. The limit's name follows it, and then `-remaining` if the second text is
///   not empty.
const RESETS: [(&str, &str, &str); 4] = [
    ("x-ratelimit-reset", "", "x-ratelimit-remaining"),
    ("x-rate-limit-reset", "", "x-rate-limit-remaining"),
    ("ratelimit-reset", "", "ratelimit-remaining"),
    ("anthropic-ratelimit-", "-reset", "anthropic-ratelimit-"),
];
/// The smallest number that is read as a Unix time in seconds (it is a time in the year 2001). Smaller numbers are read
/// as a span in seconds.
const UNIX_SECONDS: f64 = 1e9;
/// The smallest number that is read as a Unix time in milliseconds. A Unix time below this number is in seconds.
const UNIX_MILLISECONDS: f64 = 1e12;
/// The maximum span that is returned, in seconds.
const MOST_SECONDS: f64 = u32::MAX as f64;

/// Returns how long after `now` an answer says to come back. If the answer names a time in the past, the result is
/// zero. The result is `None` if no field of the answer names a time in a form that can be read.
pub fn come_back(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let exact = headers.get(MILLISECONDS).and_then(number).and_then(|millis| span(millis / 1e3));
    let standard = || headers.get(header::RETRY_AFTER).and_then(|value| moment(value, now));
    exact.or_else(standard).or_else(|| reset(headers, now))
}

/// Returns the longest time until the reset of a limit that is used up. The result is `None` if no limit is used up, or
/// if none of these resets can be read.
fn reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let resets = headers.iter().filter_map(|(name, value)| {
        let left = left_of(name.as_str())?;
        // If no field says what is left, the limit counts as used up.
        let used_up = headers.get(left.as_str()).and_then(number).is_none_or(|left| left <= 0.0);
        if used_up { moment(value, now) } else { None }
    });
    resets.max()
}

/// If `name` is the field with the time at which a limit is reset, returns the name of the field that says what is left
/// of that limit. Otherwise returns `None`.
fn left_of(name: &str) -> Option<String> {
    RESETS.iter().find_map(|(before, behind, left)| {
        let limit = name.strip_prefix(before)?.strip_suffix(behind)?;
        Some(match behind.is_empty() {
            true => format!("{left}{limit}"),
            false => format!("{left}{limit}-remaining"),
        })
    })
}

fn moment(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Some(seconds) = decimal(text) {
        return match seconds {
            _ if seconds >= UNIX_MILLISECONDS => since(seconds / 1e3, now),
            _ if seconds >= UNIX_SECONDS => since(seconds, now),
            _ => span(seconds),
        };
    }
    if let Some(seconds) = spelled(text) {
        return span(seconds);
    }
    let at = match httpdate::parse_http_date(text) {
        Ok(at) => at,
        Err(_) => SystemTime::from(text.parse::<jiff::Timestamp>().ok()?),
    };
    Some(at.duration_since(now).unwrap_or(Duration::ZERO))
}

fn number(value: &HeaderValue) -> Option<f64> {
    decimal(value.to_str().ok()?.trim())
}

/// Reads a number that consists of digits, perhaps with a decimal point between them. Returns `None` for any other
/// text. A number with a sign or an exponent is not read, because one provider sends -1 for "not known".
fn decimal(text: &str) -> Option<f64> {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    (!whole.is_empty() && !fraction.is_empty() && digits(whole) && digits(fraction))
        .then(|| text.parse().ok())
        .flatten()
}

/// Reads a span with units, such as `1h2m3s`, `6m0s`, `1.5s` or `12ms`, and returns it in seconds. The largest unit
/// must come first, and each unit may come only once. The result is `None` for any other text.
fn spelled(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 5] = [("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0), ("ms", 1e-3)];
    let (mut rest, mut seconds, mut smallest) = (text, 0.0, f64::INFINITY);
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (amount, behind) = rest.split_at(unit);
        let end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        if *size >= smallest {
            return None;
        }
        (seconds, smallest, rest) = (seconds + decimal(amount)? * size, *size, behind);
    }
    (smallest < f64::INFINITY).then_some(seconds)
}

fn since(unix: f64, now: SystemTime) -> Option<Duration> {
    let at = UNIX_EPOCH.checked_add(span(unix)?)?;
    Some(at.duration_since(now).unwrap_or(Duration::ZERO))
}

/// Returns this number of seconds as a duration; `None` if the number is negative. A number above the maximum gives the
/// maximum.
fn span(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds.min(MOST_SECONDS)).ok()
}

#[cfg(test)]
#[path = "come_back_tests.rs"]
mod tests;
