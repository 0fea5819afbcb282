//! Requests with holes: `GET /v1/charges?key={key}`, and the JSON bodies beside them.
//!
//! A hole that cannot be filled at three in the morning is a cancel that is never sent. So every hole is known when the
//! template is read: what it takes, and where it may stand. What fills it is copied digit by digit; a number that went through
//! a float on its way could be another one's id.
//!
//! ```
//! use seawall_actions::template::{Purpose, RequestTemplate};
//!
//! let ask = RequestTemplate::parse("GET /v1/charges?key={key}", Purpose::Confirm).unwrap();
//! assert_eq!(ask.holes().count(), 1);
//! assert!(RequestTemplate::parse("GET /v1/charges/{answer:/id}", Purpose::Confirm).is_err());
//! ```

mod hole;
mod json;
mod raw;

use std::fmt;

use http::Method;

use crate::nearest::advice;
use crate::shown::quoted;
use seawall_policy::Wrong;

pub(crate) use hole::stored_header;
pub use hole::{Hole, Pointer, Purpose, header_name};
pub use json::JsonTemplate;
pub use raw::Raw;

/// What holes are filled with, as far as it is there.
pub trait Fill {
    /// The value for a hole; `None` where there is none.
    fn fill(&self, hole: &Hole) -> Option<Raw>;
}

/// A hole for which there was nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfilled(pub Hole);

impl fmt::Display for Unfilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is nothing to fill `{}` with", self.0)
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
    /// Reads one. `{{` and `}}` stand for the braces themselves.
    ///
    /// # Errors
    /// A brace stands alone, or a hole is none, or not one for this purpose.
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

    /// The one hole that it is, and nothing else.
    fn sole_hole(&self) -> Option<&Hole> {
        match self.parts.as_slice() {
            [Part::Hole(hole)] => Some(hole),
            _ => None,
        }
    }

    /// Fills it in; `encode` writes the text of each value.
    fn fill(&self, with: &dyn Fill, encode: impl Fn(&str, &mut String)) -> Result<String, Unfilled> {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Hole(hole) => {
                    let value = with.fill(hole).and_then(|raw| raw.text());
                    let value = value.ok_or_else(|| Unfilled(hole.clone()))?;
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

/// A method and a target with holes, and perhaps a JSON body.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestTemplate {
    method: Method,
    target: Template,
    body: Option<JsonTemplate>,
}

/// A request that was filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The body, JSON.
    pub body: Option<Vec<u8>>,
}

impl RequestTemplate {
    /// Reads `"GET /v1/charges?key={key}"`. What fills a hole there is percent-encoded.
    ///
    /// # Errors
    /// It is not a method and a path, the method does not fit, or a hole is wrong.
    pub fn parse(written: &str, purpose: Purpose) -> Result<RequestTemplate, Wrong> {
        let (name, target) = written.split_once(' ').ok_or_else(|| {
            Wrong::new("a request is a method and a path").help("as in \"GET /v1/charges?key={key}\"")
        })?;
        let methods = purpose.methods().iter().copied();
        let method = name.parse().ok().filter(|_| purpose.methods().contains(&name)).ok_or_else(|| {
            let shown = quoted(name, methods.clone(), "this method");
            Wrong::new(format!("{} is not sent with {shown}", purpose.name())).help(advice(name, methods))
        })?;
        if !target.starts_with('/') {
            return Err(Wrong::new("the path of a request begins with `/`"));
        }
        let target = Template::parse(target, purpose)?;
        let fine = |part: &Part| match part {
            Part::Text(text) => text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&b)),
            Part::Hole(_) => true,
        };
        if !target.parts.iter().all(fine) {
            return Err(Wrong::new("this path has a character that no URL carries")
                .help("percent-encode it, as in %20"));
        }
        Ok(RequestTemplate { method, target, body: None })
    }

    /// Gives it a JSON body.
    pub fn set_body(&mut self, body: JsonTemplate) {
        self.body = Some(body);
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &Template {
        &self.target
    }

    /// The body, if it has one.
    #[must_use]
    pub fn body(&self) -> Option<&JsonTemplate> {
        self.body.as_ref()
    }

    /// All holes, those of the body last.
    pub fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.target.holes().chain(self.body.iter().flat_map(JsonTemplate::holes))
    }

    /// Fills it in.
    ///
    /// # Errors
    /// There is nothing for one of the holes.
    pub fn fill(&self, with: &dyn Fill) -> Result<Filled, Unfilled> {
        let target = self.target.fill(with, seawall_client::percent_encode)?;
        let body = self.body.as_ref().map(|body| body.fill(with)).transpose()?;
        Ok(Filled { method: self.method.clone(), target, body: body.map(String::into_bytes) })
    }
}

impl fmt::Display for RequestTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)
    }
}

#[cfg(test)]
mod tests;
