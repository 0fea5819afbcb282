//! Finds the *readings* of a request's path: the paths that different servers may take it for. For example, many
//! servers take `/v1/./charges` for `/v1/charges`.
//!
//! A path is sent on byte for byte, since a signature may cover it. But an operation is looked for under every reading
//! that is common among servers. If a path leads above its beginning in any reading, as `/a/../../b` does, it is
//! refused.
//!
//! To most servers `/v1/./charges`, `/v1//charges`, `/v1/%63harges` and `/v1/charges` are the same. The obvious rule,
//! to match operations on the bytes alone, would let the first three pass without the answers and timeouts that the
//! configuration declares for the fourth.
//!
//! There are three readings. Each of them decodes what needs no encoding, and writes the digits of all other encodings
//! in upper case:
//!
//! 1. Empty segments and `.` are left out, and `..` removes the segment before it: `/a//../b` becomes `/b`.
//! 2. The same, but `..` may also remove an empty segment, as RFC 3986, section 5.2.4, says: `/a//../b` becomes
//!    `/a/b`.
//! 3. Like the first, but `%2F`, `\` and `%5C` are slashes too, and what follows a `;` in a segment is not part of it
//!    (servers written in Java): `/a%2Fb;c` becomes `/a/b`.
//!
//! A character that is encoded twice (`%252e`) is decoded once, as HTTP says. A slash at the end is never left out or
//! added.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// The readings of one path.
#[derive(Debug)]
pub(crate) struct Readings<'p> {
    /// The path as it was sent.
    pub(crate) sent: &'p str,
    /// The paths that servers may take the sent path for, the most common first. The list is empty if all servers take
    /// the path as it was sent.
    pub(crate) others: Vec<String>,
}

impl<'p> Readings<'p> {
    /// Returns the paths that servers may take `sent` for. `sent` must not include the query. Most paths mean the same
    /// to all servers. For these, `others` is empty, and each byte of the path was looked at only once.
    pub(crate) fn of(sent: &'p str) -> Readings<'p> {
        let mut others = Vec::new();
        if !is_plain(sent) {
            for style in [Style::Merged, Style::Rfc3986, Style::Loose] {
                let read = read(sent, style);
                if !others.contains(&read) {
                    others.push(read);
                }
            }
        }
        Readings { sent, others }
    }

    /// Returns whether some server could take this path for one that leads above its beginning, as `/a/../../b` does.
    ///
    /// Servers differ in what a segment means: some cut it at encoded slashes and backslashes, and some ignore its
    /// parameters (what follows a `;`). Of all meanings of a segment, the one that leads furthest up counts. An empty
    /// segment does not lead down.
    ///
    /// So two segments may be judged by the habits of two different servers. The result may then be `true` although no
    /// single server takes the path above its beginning. That does no harm: such a path has encoded slashes, parameters
    /// or empty segments beside its `..`, and ordinary clients do not write that.
    pub(crate) fn climb_out(&self) -> bool {
        !self.others.is_empty() && climbs_out(self.sent)
    }
}

/// Returns whether every server reads this path as it is written.
fn is_plain(path: &str) -> bool {
    let mut before = b'.';
    for byte in path.bytes() {
        let plain = match byte {
            // A slash or a dot directly after a slash makes the path ambiguous. A second slash makes an empty segment,
            // and a dot begins a segment that may be `.` or `..`.
            b'/' | b'.' => before != b'/',
            b';' => false,
            byte => is_literal(byte),
        };
        if !plain {
            return false;
        }
        before = byte;
    }
    true
}

/// The characters other than letters and digits that need no encoding in a path: `pchar` of RFC 3986.
const MARKS: &[u8] = b"-._~!$&'()*+,;=:@";

/// All characters that need an encoding in a path.
const ENCODED: &AsciiSet = &{
    let (mut set, mut at) = (NON_ALPHANUMERIC.remove(MARKS[0]), 1);
    while at < MARKS.len() {
        set = set.remove(MARKS[at]);
        at += 1;
    }
    set
};

/// Returns whether this byte needs no encoding in a path.
fn is_literal(byte: u8) -> bool {
    const LITERAL: [bool; 256] = {
        let mut table = [false; 256];
        let mut at = 0;
        while at < MARKS.len() {
            table[MARKS[at] as usize] = true;
            at += 1;
        }
        let mut byte = 0;
        while byte < 128 {
            table[byte] |= (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        table
    };
    LITERAL[usize::from(byte)]
}

/// How a server reads a path that can be read in several ways.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Empty segments are left out before `.` and `..` are applied.
    Merged,
    /// Empty segments are left out after `.` and `..` are applied.
    Rfc3986,
    /// An encoded slash and an encoded backslash separate segments, as a slash does. In each segment, the first `;` and
    /// everything after it are left out.
    Loose,
}

fn read(path: &str, style: Style) -> String {
    let mut kept: Vec<Cow<'_, str>> = Vec::new();
    let mut ends_open = false;
    for segment in split(path, style) {
        ends_open = false;
        match segment.as_ref() {
            "." => ends_open = true,
            ".." => {
                kept.pop();
                ends_open = true;
            }
            "" if style != Style::Rfc3986 => ends_open = true,
            "" => {
                kept.push(segment);
                ends_open = true;
            }
            _ => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len() + 8);
    for segment in kept.iter().filter(|segment| !segment.is_empty()) {
        out.push('/');
        out.push_str(segment);
    }
    if ends_open || out.is_empty() {
        out.push('/');
    }
    out
}

/// Returns the segments after the first slash, each in its normal form.
fn split(path: &str, style: Style) -> impl Iterator<Item = Cow<'_, str>> {
    let behind = path.strip_prefix('/').unwrap_or(path);
    behind.split('/').flat_map(move |raw| {
        let segment = segment(raw);
        if style != Style::Loose {
            return vec![segment];
        }
        let parts = segment.split("%2F").flat_map(|part| part.split("%5C"));
        parts.map(|part| Cow::Owned(part.split(';').next().unwrap_or_default().to_owned())).collect()
    })
}

/// Returns a segment in its normal form: what needs no encoding is decoded, and everything else is encoded with digits
/// in upper case. A percent sign that does not begin an encoding is kept as a character of the segment.
pub(crate) fn segment(raw: &str) -> Cow<'_, str> {
    if raw.bytes().all(is_literal) {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(percent_encode(&Cow::from(percent_decode_str(raw)), ENCODED).to_string())
}

fn climbs_out(path: &str) -> bool {
    let mut depth = 0_i64;
    for raw in path.strip_prefix('/').unwrap_or(path).split('/') {
        let segment = segment(raw);
        let whole = step(&segment);
        let (mut inside, mut lowest) = (0, 0);
        for part in segment.split("%2F").flat_map(|part| part.split("%5C")) {
            inside += step(part);
            lowest = lowest.min(inside);
        }
        if depth + lowest.min(whole) < 0 {
            return true;
        }
        depth += inside.min(whole);
    }
    false
}

/// Returns 1 if a segment leads one level down, -1 if it leads one level up (`..`), and 0 if it does neither. What
/// follows a `;` in the segment is ignored.
fn step(segment: &str) -> i64 {
    let bare = segment.split(';').next().unwrap_or_default();
    match bare {
        ".." => -1,
        "" | "." => 0,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn others(path: &str) -> Vec<String> {
        Readings::of(path).others
    }

    #[test]
    fn what_has_one_reading_costs_none() {
        for path in ["/", "/v1/charges", "/v1/charges/", "/a.b/c..d/e.", "/a:b@c/~d,e", "/v1/%20"] {
            let others = others(path);
            assert!(others.iter().all(|other| other == path), "{path}: {others:?}");
        }
        assert!(others("/v1/charges").is_empty());
    }

    #[test]
    fn the_most_common_reading_comes_first() {
        for (path, first) in [
            ("/v1/./charges", "/v1/charges"),
            ("/v1/x/../charges", "/v1/charges"),
            ("/v1/%2e/charges", "/v1/charges"),
            ("/v1/x/%2E%2e/charges", "/v1/charges"),
            ("/v1//charges", "/v1/charges"),
            ("//v1/charges", "/v1/charges"),
            ("/v1/%63harges", "/v1/charges"),
            ("/v1/charges/.", "/v1/charges/"),
            ("/v1/charges/x/..", "/v1/charges/"),
            ("/v1/charges//", "/v1/charges/"),
            ("/a%2fb", "/a%2Fb"),
            ("/a|b", "/a%7Cb"),
            ("/a%zz", "/a%25zz"),
            ("/a%", "/a%25"),
            ("/é", "/%C3%A9"),
            ("/a%3Ab", "/a:b"),
            ("/a//../b", "/b"),
            ("/..", "/"),
        ] {
            assert_eq!(others(path)[0], first, "{path}");
        }
        for (path, reading) in [
            ("/a//../b", "/a/b"),
            ("/v1%2Fcharges", "/v1/charges"),
            ("/v1\\charges", "/v1/charges"),
            ("/v1/charges;x=1", "/v1/charges"),
            ("/v1;a/charges;b", "/v1/charges"),
            ("/v1/x/..;/charges", "/v1/charges"),
        ] {
            assert!(others(path).iter().any(|other| other == reading), "{path}: {:?}", others(path));
        }
        assert_eq!(others("/%252e%252e/x")[0], "/%252e%252e/x", "it is decoded once");
    }

    #[test]
    fn what_leads_up_is_seen() {
        for path in [
            "/..",
            "/../x",
            "/a/../../x",
            "/./../x",
            "/%2e%2e/x",
            "/%2E./x",
            "/a//../../x",
            "/..%2fx",
            "/..%2Fx",
            "/a/..%2f..%2fx",
            "/..%5cx",
            "/..\\x",
            "/..;/x",
            "/..;a=b/x",
            "/a;/..;/..;/x",
            "/;/../x",
            "/a%2F../../x",
            "/%2F../x",
        ] {
            assert!(climbs_out(path), "{path}");
        }
        for path in [
            "/",
            "/a/..",
            "/a/b/../../c",
            "/...",
            "/..a/b",
            "/a..",
            "/.hidden",
            "/a/..b",
            "/group%2Fproject/x",
            "/x/a%2F..%2F..%2Fb",
            "/%252e%252e/x",
            "/a;x=../b",
        ] {
            assert!(!climbs_out(path), "{path}");
        }
    }

    /// Returns whether this path leads above its beginning for a server with these habits. `slashes`: encoded slashes
    /// and backslashes separate segments. `parameters`: what follows a `;` in a segment is left out. `merges`: empty
    /// segments do not count.
    fn naive(path: &str, slashes: bool, parameters: bool, merges: bool) -> bool {
        let mut depth = 0_i64;
        let text = segments(path, slashes);
        for part in text.split('/').skip(1) {
            let part = if parameters { part.split(';').next().unwrap_or_default() } else { part };
            depth += match part {
                ".." => -1,
                "." => 0,
                "" if merges => 0,
                _ => 1,
            };
            if depth < 0 {
                return true;
            }
        }
        false
    }

    fn segments(path: &str, slashes: bool) -> String {
        let decoded = path.split('/').map(|part| segment(part).into_owned()).collect::<Vec<_>>().join("/");
        if slashes { decoded.replace("%2F", "/").replace("%5C", "/") } else { decoded }
    }

    proptest! {
        #[test]
        fn a_path_that_passes_leads_out_in_no_reading(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("/"), Just(".."), Just("."), Just("%2e"), Just("a"), Just("%2f"), Just("\\"), Just(";"), Just("%5C")
                ],
                0..12
            )
        ) {
            let path = format!("/{}", parts.concat());
            if !climbs_out(&path) {
                for bits in 0..8 {
                    let [slashes, parameters, merges] = [bits & 1 > 0, bits & 2 > 0, bits & 4 > 0];
                    prop_assert!(!naive(&path, slashes, parameters, merges), "{} {}", path, bits);
                }
            }
        }

        #[test]
        fn a_reading_is_read_as_itself(path in "/[a%2eF./;\\\\|é]{0,14}") {
            for other in others(&path).into_iter().take(2) {
                prop_assert_eq!(&read(&other, Style::Merged), &other, "{}", path);
            }
        }
    }
}
