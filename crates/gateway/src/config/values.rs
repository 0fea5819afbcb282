//! Reads single values. Each function takes a TOML value and returns a plain value, or what is wrong with the TOML
//! value.
//!
//! Units are written out (`"20ms"`, `"64KiB"`). If bare numbers meant seconds in one place and milliseconds in another,
//! every operator would confuse the two once.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::{HeaderName, Uri};
use seawall_actions::nearest::advice;
use seawall_actions::shown::quoted;
use seawall_actions::template;
use seawall_client::connect::HttpVersion;
use seawall_ledger::{Lifetime, Window};
use seawall_policy::TIME_UNITS;
use toml::Spanned;
use toml::de::DeValue;

use crate::authority::Authority;

pub(super) use seawall_policy::{Wrong, show_time};

/// A value with its place.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// Returns the mistake for a value of the wrong kind. `expected` says which kind is expected, and the message also says
/// which kind was found.
pub(super) fn wrong_kind(expected: &str, found: &DeValue<'_>) -> Wrong {
    Wrong::new(format!("expected {expected}, found {}", kind_of(found)))
}

type Outcome<T> = Result<T, Wrong>;

/// Returns the kind of a value, in words.
fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

pub(super) fn text<'a>(value: &'a DeValue<'_>) -> Outcome<&'a str> {
    value.as_str().ok_or_else(|| wrong_kind("a string", value))
}

pub(super) fn flag(value: &DeValue<'_>) -> Outcome<bool> {
    value.as_bool().ok_or_else(|| wrong_kind("true or false", value))
}

pub(super) fn integer(value: &DeValue<'_>) -> Outcome<i64> {
    let DeValue::Integer(digits) = value else { return Err(wrong_kind("a whole number", value)) };
    i64::from_str_radix(digits.as_str(), digits.radix())
        .map_err(|_| Wrong::new("this number is too large").help("at most 63 bits"))
}

pub(super) fn whole(value: &DeValue<'_>) -> Outcome<u64> {
    u64::try_from(integer(value)?).map_err(|_| Wrong::new("this number must not be negative"))
}

/// Returns a whole number as a `u32`. A number above `u32::MAX` becomes `u32::MAX`. Any other value is a mistake.
pub(super) fn count_u32(value: &DeValue<'_>) -> Outcome<u32> {
    whole(value).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

pub(super) fn number(value: &DeValue<'_>) -> Outcome<f64> {
    let parsed = match value {
        DeValue::Integer(_) => integer(value)? as f64,
        DeValue::Float(digits) => digits.as_str().parse().map_err(|_| Wrong::new("this is not a number"))?,
        _ => return Err(wrong_kind("a number", value)),
    };
    if f64::is_finite(parsed) { Ok(parsed) } else { Err(Wrong::new("this is not a finite number")) }
}

/// Returns a number in thousandths, rounded: `1.5` gives 1500. Fails if the number that is written in the file is
/// negative or more than a million.
pub(super) fn thousandths(value: &DeValue<'_>) -> Outcome<u32> {
    let parsed = number(value)?;
    if !(0.0..=1e6).contains(&parsed) {
        return Err(Wrong::new("this number must lie between 0 and 1000000"));
    }
    Ok((parsed * 1e3).round() as u32)
}

/// Returns a ratio in parts per million, rounded. The ratio must be from 0 to 1.
pub(super) fn ratio_ppm(value: &DeValue<'_>) -> Outcome<u32> {
    let parsed = number(value)?;
    if !(0.0..=1.0).contains(&parsed) {
        return Err(Wrong::new("a ratio lies between 0 and 1").help("for 20 % write 0.2"));
    }
    Ok((parsed * 1e6).round() as u32)
}

/// The longest time that is accepted: ten years. Sums of such times are far from an overflow.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Returns a length of time, read from a number and a unit: `"20ms"`, `"1.5s"`, `"2m"`, `"1h"`, `"1d"`. Zero is
/// accepted; the settings that must be above zero are checked in `shape`. A text of another form is a mistake.
pub(super) fn time(value: &DeValue<'_>) -> Outcome<Duration> {
    let DeValue::String(written) = value else { return Err(not_a_time()) };
    time_of(written)
}

/// Returns a length of time, as the settings write it. The error says what is wrong with the text.
pub(crate) fn length_of_time(written: &str) -> Result<Duration, String> {
    time_of(written).map_err(|wrong| match wrong.help {
        Some(help) => format!("{}: {help}", wrong.message),
        None => wrong.message,
    })
}

fn time_of(written: &str) -> Outcome<Duration> {
    let (mantissa, decimals, unit) = split_quantity(written).ok_or_else(not_a_time)?;
    let nanos = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| {
        let names = TIME_UNITS.map(|(name, _)| name);
        Wrong::new("this length of time has no known unit").help(format!("units are {}", names.join(", ")))
    })?;
    let total = mantissa.checked_mul(u128::from(nanos.1)).ok_or_else(not_a_time)? / 10_u128.pow(decimals);
    match u64::try_from(total).map(Duration::from_nanos) {
        Ok(time) if time <= LONGEST => Ok(time),
        _ => Err(Wrong::new("this length of time is more than ten years")),
    }
}

fn not_a_time() -> Wrong {
    Wrong::new("this is not a length of time")
        .help("write a number and a unit: \"20ms\", \"1.5s\", \"2m\", \"1h\"")
}

/// Returns how long the provider remembers a key, read from a length of time such as `24h`, or from a time of day in a
/// zone, such as `midnight Asia/Seoul`. A text of another form is a mistake.
pub(super) fn lifetime(value: &DeValue<'_>) -> Outcome<Lifetime> {
    Lifetime::parse(text(value)?, time_of)
}

/// Returns for how long the provider can be asked or takes a cancel. It is read from a length of time such as `24h`, or
/// from the end of a day in a zone, such as `same-day Asia/Seoul`. A text of another form is a mistake.
pub(super) fn window(value: &DeValue<'_>) -> Outcome<Window> {
    Window::parse(text(value)?, time_of)
}

/// Reads a length of time; `"off"` reads as `None`.
pub(super) fn time_or_off(value: &DeValue<'_>) -> Outcome<Option<Duration>> {
    if is_off(value) { Ok(None) } else { time(value).map(Some) }
}

pub(super) fn is_off(value: &DeValue<'_>) -> bool {
    value.as_str() == Some("off")
}

const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Returns a number of bytes, read from `"64KiB"` (64 · 1024), `"1MB"` (1000 · 1000), or a bare whole number of bytes.
/// Any other value is a mistake.
pub(super) fn size(value: &DeValue<'_>) -> Outcome<u64> {
    let wrong = || Wrong::new("this is not a size").help("write a number and a unit: \"64KiB\", \"1MB\"");
    let written = match value {
        DeValue::Integer(_) => return whole(value),
        DeValue::String(written) => written,
        _ => return Err(wrong()),
    };
    let (mantissa, decimals, unit) = split_quantity(written).ok_or_else(wrong)?;
    let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| {
        let names = SIZE_UNITS.map(|(name, _)| name);
        Wrong::new("this size has no known unit").help(advice(unit, names))
    })?;
    let total = mantissa.checked_mul(u128::from(*bytes)).ok_or_else(wrong)? / 10_u128.pow(decimals);
    u64::try_from(total).map_err(|_| Wrong::new("this size is too large"))
}

/// Returns a size in bytes. For `"off"` returns `None`, which means no bound.
pub(super) fn size_or_off(value: &DeValue<'_>) -> Outcome<Option<u64>> {
    if is_off(value) { Ok(None) } else { size(value).map(Some) }
}

/// Splits `"1.5s"` into (15, 1, "s"): the digits without the point, the number of digits after the point, and the unit.
/// Returns `None` if there is no unit, or if the part before it is not a number.
fn split_quantity(written: &str) -> Option<(u128, u32, &str)> {
    let unit_at = written.find(|c: char| c.is_ascii_alphabetic())?;
    let (digits, unit) = written.split_at(unit_at);
    let (before, after) = digits.split_once('.').unwrap_or((digits, "0"));
    let fine = |part: &str| (1..=15).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if !fine(before) || !fine(after) {
        return None;
    }
    let mantissa = format!("{before}{after}").parse().ok()?;
    Some((mantissa, u32::try_from(after.len()).ok()?, unit))
}

/// Returns an IP address and a port, read from a text such as `127.0.0.1:8400`. Any other value is a mistake.
pub(super) fn socket(value: &DeValue<'_>) -> Outcome<SocketAddr> {
    text(value)?.parse().map_err(|_| {
        Wrong::new("this is not an address to listen on")
            .help("an IP address and a port: \"127.0.0.1:8400\", \"[::1]:8400\"")
    })
}

/// Returns an IP address, which is written without a port. For `"off"` returns `None`.
pub(super) fn ip_or_off(value: &DeValue<'_>) -> Outcome<Option<IpAddr>> {
    if is_off(value) {
        return Ok(None);
    }
    text(value)?.parse().map(Some).map_err(|_| {
        Wrong::new("this is not an IP address")
            .help("an address of this machine, without a port: \"10.0.0.7\"")
    })
}

/// Returns the URL of an endpoint: http or https, a host, and optionally a port and a base path. Any other text is a
/// mistake.
pub(super) fn endpoint_url(value: &DeValue<'_>) -> Outcome<Uri> {
    url(text(value)?, &["http", "https"])
}

/// Returns the URL of an outgoing proxy: http, a host, and optionally a port. For `"off"` returns `None`.
pub(super) fn proxy_url(value: &DeValue<'_>) -> Outcome<Option<Uri>> {
    if is_off(value) {
        return Ok(None);
    }
    let uri = url(text(value)?, &["http"])?;
    if uri.path() != "/" {
        return Err(Wrong::new("a proxy's URL has no path"));
    }
    Ok(Some(uri))
}

fn url(written: &str, schemes: &[&str]) -> Outcome<Uri> {
    let valid = schemes.join(":// or ");
    let Some((scheme, rest)) = written.split_once("://") else {
        return Err(Wrong::new("this URL has no scheme").help(format!("it begins with {valid}://")));
    };
    if !schemes.contains(&scheme) {
        let shown = quoted(scheme, [], "this");
        return Err(Wrong::new(format!("{shown} is not a scheme that is spoken here"))
            .help(format!("it begins with {valid}://")));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(Wrong::new("a URL carries no user and password")
            .help("send them as a header: headers = { authorization = \"Basic ${env:NAME}\" }"));
    }
    if rest.contains(['?', '#']) {
        return Err(Wrong::new("this URL has a query or a fragment")
            .help("a URL here is scheme, host, port and base path"));
    }
    let uri: Uri = written.parse().map_err(|_| Wrong::new("this is not a URL"))?;
    let host = uri.host().unwrap_or_default();
    let port_fine = match authority.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok_and(|port| port != 0),
        _ => true,
    };
    if host.is_empty() || Authority::parse(authority).is_none() || !port_fine {
        return Err(Wrong::new("this URL needs a host, and a port from 1 to 65535 if any"));
    }
    Ok(uri)
}

/// Returns the version of HTTP: `"auto"`, `"1.1"` or `"2"`. The bare numbers `1.1` and `2` are accepted too, since
/// people write them. Any other value is a mistake.
pub(super) fn http_version(value: &DeValue<'_>) -> Outcome<HttpVersion> {
    let wrong = || Wrong::new("this is not a version of HTTP").help("\"auto\", \"1.1\" or \"2\"");
    match value {
        DeValue::String(text) if text == "auto" => Ok(HttpVersion::Auto),
        DeValue::String(text) if text == "1.1" => Ok(HttpVersion::Http1),
        DeValue::String(text) if text == "2" => Ok(HttpVersion::Http2),
        DeValue::Integer(_) if integer(value) == Ok(2) => Ok(HttpVersion::Http2),
        DeValue::Float(digits) if digits.as_str() == "1.1" => Ok(HttpVersion::Http1),
        _ => Err(wrong()),
    }
}

/// Returns the name of a header field. Any other text is a mistake.
pub(super) fn header_name(value: &DeValue<'_>) -> Outcome<HeaderName> {
    template::header_name(text(value)?)
}

/// Reads an HTTP status from 100 to 599.
pub(super) fn status(value: &DeValue<'_>) -> Outcome<u16> {
    match u16::try_from(whole(value)?) {
        Ok(status) if (100..=599).contains(&status) => Ok(status),
        _ => Err(Wrong::new("an HTTP status lies between 100 and 599")),
    }
}

/// Reads the status of a failure, from 400 to 599.
pub(super) fn failure(value: &DeValue<'_>) -> Outcome<u16> {
    match status(value)? {
        status @ 400..=599 => Ok(status),
        other => Err(Wrong::new(format!(
            "{other} is no failure: the status of an overload lies between 400 and 599"
        ))),
    }
}

/// Reads a list of statuses of failures.
pub(super) fn failures(value: &DeValue<'_>) -> Outcome<Vec<u16>> {
    match value {
        DeValue::Array(items) => items.iter().map(|item| failure(item.get_ref())).collect(),
        _ => Err(wrong_kind("a list of statuses", value)),
    }
}

/// Returns the value if it is one of these words. Any other value is a mistake.
pub(super) fn choice<'a>(value: &'a DeValue<'_>, words: &[&'static str]) -> Outcome<&'a str> {
    let written = text(value)?;
    if words.contains(&written) {
        return Ok(written);
    }
    let shown = quoted(written, words.iter().copied(), "this word");
    Err(Wrong::new(format!("{shown} is not known here")).help(advice(written, words.iter().copied())))
}

/// Returns a size as text, in the form in which it would stand in the file.
pub(super) fn show_size(bytes: u64) -> String {
    let unit = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("MB", 1_000_000), ("KB", 1_000)]
        .into_iter()
        .find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    match unit {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(written: &str) -> DeValue<'_> {
        DeValue::String(written.into())
    }

    #[test]
    fn times_have_units() {
        for (written, micros) in [
            ("20ms", 20_000),
            ("1.5s", 1_500_000),
            ("2m", 120_000_000),
            ("1h", 3_600_000_000),
            ("0s", 0),
            ("7us", 7),
        ] {
            assert_eq!(time(&string(written)), Ok(Duration::from_micros(micros)), "{written}");
        }
        for bad in
            ["", "20", "ms", "-1s", "1.s", ".5s", "1 s", "1sec", "off", "1e3s", "99999999d", "1s2", "٣s"]
        {
            assert!(time(&string(bad)).is_err(), "{bad}");
        }
        assert_eq!(time_or_off(&string("off")), Ok(None));
    }

    #[test]
    fn sizes_have_units_or_are_bytes() {
        for (written, bytes) in [("64KiB", 65_536), ("1MB", 1_000_000), ("0.5KiB", 512), ("7B", 7)] {
            assert_eq!(size(&string(written)), Ok(bytes), "{written}");
        }
        for bad in ["64kib", "64", "1TB", "-1B"] {
            assert!(size(&string(bad)).is_err(), "{bad}");
        }
        assert_eq!(size(&string("64kib")).unwrap_err().help.unwrap(), "did you mean `KiB`?");
    }

    #[test]
    fn what_is_shown_can_be_read_back() {
        for micros in [0, 1, 20_000, 1_500_000, 1_000_000, 90_000_000, 120_000_000, 86_400_000_000, 1_234_567]
        {
            let given = Duration::from_micros(micros);
            assert_eq!(time(&string(&show_time(given))), Ok(given), "{}", show_time(given));
        }
        for bytes in [0, 1, 1000, 1024, 65_536, 1_000_000, 1 << 30, 1_234_567] {
            assert_eq!(size(&string(&show_size(bytes))), Ok(bytes));
        }
        assert_eq!(show_time(Duration::from_millis(1500)), "1.5s");
        assert_eq!(show_time(Duration::from_secs(90)), "90s");
    }

    #[test]
    fn urls_are_scheme_host_port_and_path() {
        for fine in
            ["https://api.pay.example", "http://127.0.0.1:8080/base", "http://[::1]:80", "http://[::1]"]
        {
            assert!(endpoint_url(&string(fine)).is_ok(), "{fine}");
        }
        for bad in [
            "api.pay.example",
            "ftp://a.example",
            "https://user:pw@a.example",
            "https://a.example?x=1",
            "https://a.example#x",
            "https://",
            "http://:80",
            "http://a.example:0",
            "http://a.example:99999",
            "http://a b.example",
            "http://a.example:",
            "http://a.example:80x",
            "http://[::1",
            "http://[zz]",
            "http://::1",
            "http://[::1]80",
        ] {
            assert!(endpoint_url(&string(bad)).is_err(), "{bad}");
        }
        assert!(!format!("{:?}", endpoint_url(&string("https://user:pw@a.example"))).contains("pw@"));
        assert!(proxy_url(&string("https://a.example")).is_err());
        assert_eq!(proxy_url(&string("off")), Ok(None));
    }
}
