//! Decides which headers are passed on, and reads the headers that are meant for Seawall.

use std::time::Duration;

use http::header::{self, Entry, HeaderName};
use http::{HeaderMap, HeaderValue};

const TIMEOUT: HeaderName = HeaderName::from_static("seawall-timeout");
const RETRY: HeaderName = HeaderName::from_static("seawall-retry");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Says which kinds of headers a head has. Most heads have few fields, so it costs less to look at each name once than
/// to search for every header that might be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds {
    /// Whether there is a `Connection`.
    pub(crate) connection: bool,
    /// Whether there are fields other than `Connection` that are meant for one connection only, such as `Upgrade` or
    /// `TE`.
    pub(crate) one_hop: bool,
    /// Whether there are fields that are meant for Seawall: `grpc-timeout`, or names that begin with `seawall-`.
    pub(crate) ours: bool,
    /// Whether there is an `Idempotency-Key`.
    pub(crate) key: bool,
    /// Whether there is a `Content-Length` or an `Expect`.
    pub(crate) body: bool,
    /// Whether there is a `Cookie`.
    pub(crate) cookie: bool,
    /// Whether there is a `Via`.
    pub(crate) via: bool,
}

impl Kinds {
    pub(crate) fn of(headers: &HeaderMap) -> Kinds {
        let mut kinds = Kinds::default();
        for name in headers.keys() {
            match name.as_str() {
                "idempotency-key" => kinds.key = true,
                "connection" => kinds.connection = true,
                "cookie" => kinds.cookie = true,
                "via" => kinds.via = true,
                "content-length" | "expect" => kinds.body = true,
                "grpc-timeout" => kinds.ours = true,
                name if name.starts_with("seawall-") => kinds.ours = true,
                name if is_one_hop(name) => kinds.one_hop = true,
                _ => {}
            }
        }
        kinds
    }
}

/// Returns whether headers of this name are not passed on, because they belong to one connection only (RFC 9110,
/// section 7.6.1). If the next connection needs such a header, Seawall writes it anew.
fn is_one_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Removes the headers that are meant for one connection only, and those that the `Connection` header names. `TE:
/// trailers` stays, so that the next receiver knows that it may send trailers. `kinds` says which kinds of headers are
/// in `headers`. Headers of a kind that `kinds` does not name are not looked for.
pub(crate) fn strip_hop(headers: &mut HeaderMap, kinds: Kinds) {
    if kinds.connection {
        strip_named(headers);
    }
    if !kinds.one_hop {
        return;
    }
    let trailers = headers.get(header::TE).is_some_and(welcomes_trailers);
    let one_hop: Vec<HeaderName> = headers.keys().filter(|name| is_one_hop(name.as_str())).cloned().collect();
    for name in one_hop {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes `Connection`, and the fields that it names.
fn strip_named(headers: &mut HeaderMap) {
    let Entry::Occupied(connection) = headers.entry(header::CONNECTION) else { return };
    let is_plain = |value: &HeaderValue| matches!(value.as_bytes(), b"keep-alive" | b"close" | b"Keep-Alive");
    if connection.iter().all(is_plain) {
        connection.remove_entry_mult();
        return;
    }
    let (_, values) = connection.remove_entry_mult();
    let named: Vec<HeaderName> = values
        .filter_map(|value| value.to_str().map(str::to_owned).ok())
        .flat_map(|text| text.split(',').filter_map(|n| n.trim().parse().ok()).collect::<Vec<_>>())
        .collect();
    // `Host` is kept, because every request needs it. `TE` is left to `strip_hop`, which keeps the value `trailers`.
    for name in named.into_iter().filter(|n| *n != header::HOST && *n != header::TE) {
        headers.remove(name);
    }
}

/// Joins the lines of `Cookie` to one. HTTP/2 allows a caller to send each cookie in a line of its own, but servers of
/// HTTP/1.1 read only the first line (RFC 9113, section 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let Entry::Occupied(mut cookies) = headers.entry(header::COOKIE) else { return };
    let mut lines = cookies.iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return };
    let (mut joined, secret) = (first.as_bytes().to_vec(), first.is_sensitive());
    for line in std::iter::once(second).chain(lines) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    // This does not fail: valid values, joined by characters that are allowed in a value, are again a valid value.
    if let Ok(mut joined) = HeaderValue::from_bytes(&joined) {
        joined.set_sensitive(secret);
        cookies.insert(joined);
    }
}

/// Removes these fields from the trailers of a message:
///
/// - Fields that are meant for one connection only.
/// - Fields whose names begin with `seawall-`.
/// - Fields about framing, routing, credentials, or how to read the body. Seawall checks such fields in the head only.
///   But a receiver could take a trailer of this name for the field of the head (RFC 9110, section 6.5.1).
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    let refused = |name: &&HeaderName| {
        let name = name.as_str();
        is_one_hop(name) || name.starts_with("seawall-") || NOT_IN_TRAILERS.contains(&name)
    };
    let refused: Vec<HeaderName> = trailers.keys().filter(refused).cloned().collect();
    for name in refused {
        trailers.remove(name);
    }
}

const NOT_IN_TRAILERS: [&str; 24] = [
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "host",
    "idempotency-key",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "trailer",
    "vary",
    "warning",
    "www-authenticate",
];

/// Returns whether the request carries an idempotency key. An empty value does not count.
///
/// # Errors
/// If there are two different keys, since the server may use either of them.
pub(crate) fn has_key(headers: &HeaderMap) -> Result<bool, &'static str> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(first) = values.next() else { return Ok(false) };
    match values.all(|other| other == first) {
        true => Ok(!first.as_bytes().trim_ascii().is_empty()),
        false => Err("there are two different `Idempotency-Key` lines, and nobody can say which one counts"),
    }
}

fn welcomes_trailers(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| text.split(',').any(|part| part.trim().eq_ignore_ascii_case("trailers")))
}

/// What the caller said in the headers that are meant for Seawall.
///
/// - `within`: the time that the call may take; `None` if the caller named none.
/// - `no_repeats`: whether Seawall must not repeat the call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) within: Option<Duration>,
    pub(crate) no_repeats: bool,
}

/// Returns what the caller said in `seawall-timeout`, `grpc-timeout` and `seawall-retry`. Removes all headers whose
/// names begin with `seawall-`, and `grpc-timeout`. If there are two timeouts, the shorter one counts.
///
/// # Errors
/// If one of the three values cannot be read. The error says which one, in words.
pub(crate) fn take_said(headers: &mut HeaderMap) -> Result<Said, String> {
    let mut said = Said::default();
    if let Some(value) = headers.remove(TIMEOUT) {
        let read = value.to_str().ok().and_then(duration);
        let read = read.ok_or_else(|| {
            format!("seawall-timeout: {value:?} is not a time; write it as 1500ms, 2s or 1m")
        })?;
        said.within = Some(read);
    }
    if let Some(value) = headers.remove(GRPC_TIMEOUT) {
        let read = value.to_str().ok().and_then(grpc_timeout);
        let read = read.ok_or_else(|| format!("grpc-timeout: {value:?} is not a time, as in 100m"))?;
        said.within = Some(said.within.map_or(read, |within| within.min(read)));
    }
    if let Some(value) = headers.remove(RETRY) {
        said.no_repeats = match value.as_bytes() {
            b"off" => true,
            b"on" => false,
            _ => return Err(format!("seawall-retry: {value:?} is neither off nor on")),
        };
    }
    strip_ours(headers);
    Ok(said)
}

/// Removes all headers whose names begin with `seawall-`, since only Seawall may write or read them. Otherwise a
/// dependency could answer with statements in Seawall's name, and it would get the caller's `seawall-token`.
pub(crate) fn strip_ours(headers: &mut HeaderMap) {
    let is_ours = |name: &&HeaderName| name.as_str().starts_with("seawall-");
    while let Some(name) = headers.keys().find(is_ours).cloned() {
        headers.remove(name);
    }
}

/// Reads a time such as `1500ms`, `1.5s`, `2m`, `1h`, `0s`. Returns `None` if the text is not a time.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let number = number.trim_end();
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let value: f64 = number.parse().ok().filter(|_| plain)?;
    let seconds = match unit {
        "us" => value / 1e6,
        "ms" => value / 1e3,
        "s" => value,
        "m" => value * 60.0,
        "h" => value * 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// Reads a timeout in the form of gRPC: at most eight digits and a unit (gRPC over HTTP/2, "Timeout"). Returns `None`
/// if the text does not have this form.
#[must_use]
pub fn grpc_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let digits = text.get(..text.len() - unit.len_utf8())?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(value * 3600),
        'M' => Duration::from_secs(value * 60),
        'S' => Duration::from_secs(value),
        'm' => Duration::from_millis(value),
        'u' => Duration::from_micros(value),
        'n' => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let name = |n: &str| n.parse::<HeaderName>().unwrap();
        pairs.iter().map(|(n, v)| (name(n), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn one_hop_headers_stay_here() {
        let mut headers = map(&[
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("te", "gzip, trailers"),
            ("upgrade", "websocket"),
            ("x-kept", "1"),
            ("keep-alive", "timeout=5"),
        ]);
        strip(&mut headers);
        assert_eq!(headers, map(&[("x-kept", "1"), ("te", "trailers")]));
        let mut headers = map(&[("connection", "te"), ("te", "gzip")]);
        strip(&mut headers);
        assert!(headers.is_empty());
        for plain in ["keep-alive", "close"] {
            let mut headers = map(&[("connection", plain), ("x-kept", "1")]);
            strip(&mut headers);
            assert_eq!(headers, map(&[("x-kept", "1")]));
        }
    }

    fn strip(headers: &mut HeaderMap) {
        let kinds = Kinds::of(headers);
        strip_hop(headers, kinds);
    }

    #[test]
    fn trailers_say_nothing_that_belongs_in_a_head() {
        let mut trailers = map(&[
            ("seawall-effect", "applied"),
            ("seawall-token", "secret"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Bearer x"),
            ("connection", "x-sum"),
            ("host", "elsewhere"),
            ("grpc-status", "0"),
            ("x-sum", "42"),
        ]);
        strip_trailers(&mut trailers);
        assert_eq!(trailers, map(&[("grpc-status", "0"), ("x-sum", "42")]));
    }

    #[test]
    fn one_key_is_a_key() {
        let key = "idempotency-key";
        assert_eq!(has_key(&map(&[])), Ok(false));
        assert_eq!(has_key(&map(&[(key, "a")])), Ok(true));
        assert_eq!(has_key(&map(&[(key, "a"), (key, "a")])), Ok(true));
        assert_eq!(has_key(&map(&[(key, "")])), Ok(false));
        assert_eq!(has_key(&map(&[(key, " ")])), Ok(false));
        assert!(has_key(&map(&[(key, "a"), (key, "b")])).is_err());
        assert!(has_key(&map(&[(key, "a"), (key, "")])).is_err());
    }

    #[test]
    fn times_are_read() {
        let table = [
            ("1500ms", Some(1_500_000)),
            ("1.5s", Some(1_500_000)),
            (" 2 s", Some(2_000_000)),
            ("1m", Some(60_000_000)),
            ("0s", Some(0)),
            ("250us", Some(250)),
            ("5", None),
            ("-1s", None),
            ("1e3s", None),
            ("s", None),
            ("infs", None),
            ("", None),
        ];
        for (text, micros) in table {
            assert_eq!(duration(text), micros.map(Duration::from_micros), "{text:?}");
        }
        assert_eq!(grpc_timeout("100m"), Some(Duration::from_millis(100)));
        assert_eq!(grpc_timeout("2S"), Some(Duration::from_secs(2)));
        for wrong in ["", "S", "123456789S", "1s", "1.5S", "é"] {
            assert_eq!(grpc_timeout(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn our_own_headers_are_taken_out() {
        let mut headers = map(&[
            ("seawall-timeout", "2s"),
            ("grpc-timeout", "1S"),
            ("seawall-retry", "off"),
            ("seawall-token", "secret"),
            ("seawall-effect", "applied"),
        ]);
        let said = take_said(&mut headers).unwrap();
        assert_eq!(said, Said { within: Some(Duration::from_secs(1)), no_repeats: true });
        assert!(headers.is_empty());
        assert!(take_said(&mut map(&[("seawall-timeout", "soon")])).is_err());
        assert!(take_said(&mut map(&[("seawall-retry", "maybe")])).is_err());
    }

    proptest::proptest! {
        #[test]
        fn lines_of_one_name_keep_their_order(
            names in proptest::collection::vec(0..NAMES.len(), 0..40),
            dropped in proptest::collection::vec(4..NAMES.len(), 0..4),
        ) {
            let mut headers = HeaderMap::new();
            for (number, at) in names.iter().enumerate() {
                headers.append(NAMES[*at], HeaderValue::from(number));
            }
            let values = |headers: &HeaderMap, name: &str| {
                headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
            };
            let before: Vec<Vec<String>> = NAMES.iter().map(|name| values(&headers, name)).collect();
            let named: Vec<&str> = dropped.iter().map(|at| NAMES[*at]).collect();
            headers.append("connection", HeaderValue::from_str(&named.join(", ")).unwrap());
            strip(&mut headers);
            join_cookies(&mut headers);
            for (at, name) in NAMES.iter().enumerate().skip(4) {
                let left = if dropped.contains(&at) { Vec::new() } else { before[at].clone() };
                proptest::prop_assert_eq!(values(&headers, name), left, "{}", name);
            }
            let cookies = before[3].join("; ");
            proptest::prop_assert_eq!(values(&headers, "cookie").join("|"), cookies);
        }
    }

    const NAMES: [&str; 9] = ["keep-alive", "upgrade", "te", "cookie", "x-a", "x-b", "x-c", "accept", "via"];
}
