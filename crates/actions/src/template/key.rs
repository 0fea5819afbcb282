//! Where the key of an action comes from.
//!
//! Two requests under one key are one action. So a key must come from the caller's request. If it were a text without
//! holes, the second customer would get the answer to the charge of the first. If a value is missing or empty, there is
//! no key: requests without an order's number would otherwise all be one order.

use std::fmt;

use http::{HeaderMap, HeaderName};
use seawall_policy::Wrong;

use super::hole::{Hole, Purpose};
use super::raw::Raw;
use super::text::{Fill, Template, Unfilled};

/// The word that a declaration has in place of a template, if a new key is to be made for each request.
const GENERATE: &str = "generate";

/// Where the key of an action comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The key is a text whose holes are filled from the caller's request.
    Request(Template),
    /// A new key is made for each request. So each request is an action of its own, and a repeat by the caller is
    /// another action.
    Generated,
}

impl KeySource {
    /// Reads the word `generate`, or a text with holes such as `{request-header:idempotency-key}`,
    /// `{request:/reference_id}` or `{request:/shop}-{request:/order}`.
    ///
    /// # Errors
    /// If the text has no hole, if a hole is not filled from the caller's request, or if the text between the holes is
    /// not printable ASCII.
    pub fn parse(written: &str) -> Result<KeySource, Wrong> {
        if written == GENERATE {
            return Ok(KeySource::Generated);
        }
        let template = Template::parse(written, Purpose::Key)?;
        if template.holes().next().is_none() {
            return Err(Wrong::new("every request would have the same key").help(
                "take it from the request, as in \"{request-header:idempotency-key}\" or \"{request:/reference_id}\"; or write \"generate\"",
            ));
        }
        let printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        if !template.texts().flat_map(str::bytes).all(printable) {
            return Err(Wrong::new("a key consists of printable ASCII"));
        }
        Ok(KeySource::Request(template))
    }

    /// Returns the header whose value is the whole key. `None` if the key has other parts, or does not come from a
    /// header.
    #[must_use]
    pub fn header(&self) -> Option<&HeaderName> {
        match self {
            KeySource::Request(template) => match template.sole_hole()? {
                Hole::RequestHeader(name) => Some(name),
                _ => None,
            },
            KeySource::Generated => None,
        }
    }

    /// Returns the members of the JSON body that lead to the field whose value is the whole key. `None` if the key has other
    /// parts, or does not come from the body.
    #[must_use]
    pub fn field(&self) -> Option<Vec<String>> {
        match self {
            KeySource::Request(template) => match template.sole_hole()? {
                Hole::Request(pointer) => Some(pointer.members().collect()),
                _ => None,
            },
            KeySource::Generated => None,
        }
    }

    /// Returns the holes of the key's text, such as `{request:/order}`, in order. There are none if a new key is made
    /// for each request.
    pub fn holes(&self) -> impl Iterator<Item = &Hole> {
        let template = match self {
            KeySource::Request(template) => Some(template),
            KeySource::Generated => None,
        };
        template.into_iter().flat_map(Template::holes)
    }

    /// Returns the key of a request with these headers and this body, which is read as JSON. `Ok(None)` means that a
    /// new key must be made for this request. The key may be longer than the ledger allows, and may have characters
    /// that the ledger refuses.
    ///
    /// # Errors
    /// With the first hole that has no value. A field of the body is no value if it is missing, `null`, empty, a list
    /// or an object. A header is no value if it is missing, empty, given more than once or not ASCII text.
    pub fn of(&self, headers: &HeaderMap, body: &[u8]) -> Result<Option<String>, Unfilled> {
        match self {
            KeySource::Request(template) => {
                template.fill(&Asked { headers, body }, |value, out| out.push_str(value)).map(Some)
            }
            KeySource::Generated => Ok(None),
        }
    }
}

impl Default for KeySource {
    /// The header that most callers use: `idempotency-key`.
    fn default() -> KeySource {
        KeySource::parse("{request-header:idempotency-key}").expect("a hole that a key may have")
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::Request(template) => template.fmt(f),
            KeySource::Generated => f.write_str(GENERATE),
        }
    }
}

/// A caller's request. The holes of a key, such as `{request:/order}`, are filled from it.
struct Asked<'a> {
    headers: &'a HeaderMap,
    body: &'a [u8],
}

impl Fill for Asked<'_> {
    fn fill(&self, hole: &Hole) -> Option<Raw> {
        let raw = match hole {
            Hole::Request(pointer) => Raw::at(self.body, pointer)?,
            Hole::RequestHeader(name) => {
                let mut given = self.headers.get_all(name).iter();
                let value = given.next()?.to_str().ok()?;
                if given.next().is_some() {
                    return None;
                }
                Raw::string(value)
            }
            Hole::Key
            | Hole::CancelKey
            | Hole::Sent(_)
            | Hole::Confirm(_)
            | Hole::Answer(_)
            | Hole::From
            | Hole::To
            | Hole::Next => return None,
        };
        (raw.as_json() != "\"\"").then_some(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(written: &str, headers: &[(&'static str, &str)], body: &str) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        KeySource::parse(written).unwrap().of(&map, body.as_bytes()).ok().flatten()
    }

    #[test]
    fn keys_come_from_headers_and_from_fields_of_the_body() {
        let header = "{request-header:Idempotency-Key}";
        for (written, headers, body, expected) in [
            (header, &[("idempotency-key", "order-1")][..], "", Some("order-1")),
            (header, &[("idempotency-key", "a b\"c")], "", Some("a b\"c")),
            ("{request:/id}", &[], "{\"id\": 12345678901234567890}", Some("12345678901234567890")),
            ("{request:/id}", &[], "{\"id\": \"1.10\"}", Some("1.10")),
            (
                "s-{request-header:x-shop}/{request:/a/0}",
                &[("x-shop", "7")],
                "{\"a\":[\"b\"]}",
                Some("s-7/b"),
            ),
            (header, &[], "", None),
            (header, &[("idempotency-key", "")], "", None),
            (header, &[("idempotency-key", "a"), ("idempotency-key", "b")], "", None),
            ("{request:/id}", &[], "{\"id\": \"\"}", None),
            ("{request:/id}", &[], "{\"id\": null}", None),
            ("{request:/id}", &[], "{\"id\": [1]}", None),
            ("{request:/id}", &[], "id=1", None),
            ("{request:/id}-{request:/n}", &[], "{\"id\": 1}", None),
            ("generate", &[("idempotency-key", "a")], "{}", None),
        ] {
            assert_eq!(key(written, headers, body).as_deref(), expected, "{written} {body}");
        }
    }

    #[test]
    fn sole_header_is_the_keys_header() {
        let header = |written| KeySource::parse(written).unwrap().header().map(HeaderName::to_string);
        assert_eq!(header("{request-header:X-Order}").as_deref(), Some("x-order"));
        assert_eq!(KeySource::default().header().map(HeaderName::as_str), Some("idempotency-key"));
        for other in ["a{request-header:x-order}", "{request:/id}", "generate"] {
            assert_eq!(header(other), None, "{other}");
        }
    }

    #[test]
    fn key_that_is_the_same_for_all_requests_is_refused() {
        for (written, says) in [
            ("order", "every request would have the same key"),
            ("", "every request would have the same key"),
            ("generated", "every request would have the same key"),
            ("{key}", "a key cannot be filled with `{key}`"),
            ("{confirm:/id}", "a key cannot be filled with `{confirm}`"),
            ("{sent:%Y@UTC}", "a key cannot be filled with `{sent}`"),
            ("{request-header:authorization}", "`authorization` carries credentials"),
            ("{request-header}", "needs a name"),
            ("{request:id}", "does not begin with `/`"),
            ("{reqest:/id}", "is not a placeholder"),
            ("é{request:/id}", "printable ASCII"),
            ("\u{7f}{request:/id}", "printable ASCII"),
            ("{request:/id", "stands alone"),
        ] {
            let wrong = KeySource::parse(written).expect_err(written);
            assert!(wrong.to_string().contains(says), "{written}: {wrong}");
        }
    }
}
