//! A text with holes.

use std::fmt;

use http::HeaderName;
use seawall_policy::Wrong;

use super::hole::{Hole, Purpose};
use super::raw::Raw;

/// A source of the values that fill holes.
pub trait Fill {
    /// Returns the value for a hole; `None` if there is none.
    fn fill(&self, hole: &Hole) -> Option<Raw>;
}

/// Why a request cannot be filled. The message never repeats a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfilled {
    /// There is no value for this hole.
    NoValue(Hole),
    /// The filled value of this header cannot be sent: it has a character that no header can carry, or it begins or
    /// ends with a space.
    Header(HeaderName),
    /// A segment of the filled path would be empty, `.` or `..`. Such a path leads to another resource than the
    /// declared one.
    Path,
}

impl fmt::Display for Unfilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfilled::NoValue(hole) => write!(f, "there is nothing to fill `{hole}` with"),
            Unfilled::Header(name) => {
                write!(f, "the header `{name}` would be filled with what no header carries")
            }
            Unfilled::Path => f.write_str("a segment of the path would be filled with nothing, `.` or `..`"),
        }
    }
}

impl std::error::Error for Unfilled {}

/// A text with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole(Hole),
}

impl Template {
    /// Reads a text with holes, and returns its template. A hole is written in braces. `{{` and `}}` stand for the
    /// braces themselves.
    ///
    /// # Errors
    /// If a brace has no partner, or if a hole is unknown or is not allowed for this purpose.
    pub fn parse(written: &str, purpose: Purpose) -> Result<Template, Wrong> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = written;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let close = rest.find(['{', '}']).filter(|close| brace == "{" && rest[*close..].starts_with('}'));
            let Some(close) = close else {
                return Err(Wrong::new(format!("a `{brace}` stands alone"))
                    .help("write `{{` and `}}` for braces themselves"));
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Hole(Hole::parse(&rest[..close], purpose)?));
            rest = &rest[close + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Template { parts })
    }

    /// The holes, in order.
    pub fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Hole(hole) => Some(hole),
        })
    }

    /// Returns the parts of the text that are not holes.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Hole(_) => None,
        })
    }

    /// Returns the hole if the text is one hole and nothing else; otherwise `None`.
    pub(super) fn sole_hole(&self) -> Option<&Hole> {
        match self.parts.as_slice() {
            [Part::Hole(hole)] => Some(hole),
            _ => None,
        }
    }

    /// Returns the text with other text in the place of each hole.
    pub(super) fn with_holes(&self, instead: impl Fn(&Hole) -> &'static str) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Hole(hole) => instead(hole),
        });
        parts.collect()
    }

    /// Fills all holes and returns the text. `encode` receives the text of each value, and appends it in encoded form
    /// to the string. Fails with the first hole that has no value.
    pub(super) fn fill(
        &self,
        with: &dyn Fill,
        encode: impl Fn(&str, &mut String),
    ) -> Result<String, Unfilled> {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Hole(hole) => {
                    let value = with.fill(hole).and_then(|raw| raw.text());
                    let value = value.ok_or_else(|| Unfilled::NoValue(hole.clone()))?;
                    encode(&value, &mut filled);
                }
            }
        }
        Ok(filled)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Part::Hole(hole) => write!(f, "{hole}"),
        })
    }
}
