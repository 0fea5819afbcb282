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

mod json;
mod raw;

use std::fmt;

use http::{HeaderName, Method};

pub use json::JsonTemplate;
pub use raw::Raw;

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(String);

impl Wrong {
    fn new(what: impl Into<String>) -> Wrong {
        Wrong(what.into())
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

/// A JSON pointer (RFC 6901) that begins with `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pointer(String);

impl Pointer {
    /// Reads one.
    ///
    /// # Errors
    /// It does not begin with `/`, or has a `~` that stands for nothing.
    pub fn parse(written: &str) -> Result<Pointer, Wrong> {
        if !written.starts_with('/') {
            return Err(Wrong::new(format!(
                "the JSON pointer `{written}` does not begin with `/`, as in `/{written}`"
            )));
        }
        let escapes = written.split('~').skip(1);
        if escapes.into_iter().any(|rest| !rest.starts_with(['0', '1'])) {
            return Err(Wrong::new(format!(
                "in the JSON pointer `{written}` a `~` is followed by neither 0 nor 1"
            )));
        }
        Ok(Pointer(written.to_owned()))
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What fills a hole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hole {
    /// `{key}`: the action's key.
    Key,
    /// `{cancel_key}`: the key of this cancel and its generation.
    CancelKey,
    /// `{request:/ptr}`: a field of the JSON body that was recorded.
    Request(Pointer),
    /// `{request-header:NAME}`: a header that was recorded.
    RequestHeader(HeaderName),
    /// `{confirm:/ptr}`: a field of the confirm's JSON answer.
    Confirm(Pointer),
    /// `{answer:/ptr}`: a field of the operation's own JSON answer.
    Answer(Pointer),
    /// `{from}`: the beginning of the window that is reconciled.
    From,
    /// `{to}`: its end.
    To,
    /// `{next}`: the cursor of the next page.
    Next,
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hole::Key => f.write_str("{key}"),
            Hole::CancelKey => f.write_str("{cancel_key}"),
            Hole::Request(pointer) => write!(f, "{{request:{pointer}}}"),
            Hole::RequestHeader(name) => write!(f, "{{request-header:{name}}}"),
            Hole::Confirm(pointer) => write!(f, "{{confirm:{pointer}}}"),
            Hole::Answer(pointer) => write!(f, "{{answer:{pointer}}}"),
            Hole::From => f.write_str("{from}"),
            Hole::To => f.write_str("{to}"),
            Hole::Next => f.write_str("{next}"),
        }
    }
}

/// Where a template stands. It says which holes it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It does the thing.
    Perform,
    /// It asks whether the thing was done.
    Confirm,
    /// It undoes it.
    Cancel,
    /// It lists what was done.
    List,
}

impl Purpose {
    fn holes(self) -> &'static [&'static str] {
        match self {
            Purpose::Perform => &["key", "request:/ptr"],
            Purpose::Confirm => &["key", "request:/ptr", "request-header:NAME"],
            Purpose::Cancel => {
                &["key", "cancel_key", "request:/ptr", "request-header:NAME", "confirm:/ptr", "answer:/ptr"]
            }
            Purpose::List => &["from", "to", "next"],
        }
    }

    fn methods(self) -> &'static [&'static str] {
        match self {
            Purpose::Perform => &["POST", "PUT", "DELETE", "PATCH"],
            Purpose::Confirm | Purpose::List => &["GET", "HEAD", "POST"],
            Purpose::Cancel => &["POST", "PUT", "DELETE", "PATCH", "GET"],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Purpose::Perform => "an operation",
            Purpose::Confirm => "a confirm",
            Purpose::Cancel => "a cancel",
            Purpose::List => "a list",
        }
    }
}

/// Headers that carry credentials. They are never stored, so nothing can be filled from them.
pub const NOT_STORED: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "set-cookie"];

impl Hole {
    fn parse(written: &str, purpose: Purpose) -> Result<Hole, Wrong> {
        let (name, argument) = match written.split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (written, None),
        };
        let hole = match (name, argument) {
            ("key", None) => Hole::Key,
            ("cancel_key", None) => Hole::CancelKey,
            ("from", None) => Hole::From,
            ("to", None) => Hole::To,
            ("next", None) => Hole::Next,
            ("request", Some(pointer)) => Hole::Request(Pointer::parse(pointer)?),
            ("confirm", Some(pointer)) => Hole::Confirm(Pointer::parse(pointer)?),
            ("answer", Some(pointer)) => Hole::Answer(Pointer::parse(pointer)?),
            ("request-header", Some(header)) => Hole::RequestHeader(stored_header(header)?),
            _ => {
                return Err(Wrong::new(format!("`{{{written}}}` is not a placeholder; {}", valid(purpose))));
            }
        };
        let known = purpose.holes().iter().any(|hole| hole.split(':').next() == Some(name));
        if known {
            return Ok(hole);
        }
        let who = purpose.name();
        Err(Wrong::new(format!("{who} cannot be filled with `{{{name}}}`; {}", valid(purpose))))
    }
}

fn valid(purpose: Purpose) -> String {
    let all: Vec<String> = purpose.holes().iter().map(|hole| format!("`{{{hole}}}`")).collect();
    format!("valid here: {}", all.join(", "))
}

fn stored_header(written: &str) -> Result<HeaderName, Wrong> {
    let name: HeaderName =
        written.parse().map_err(|_| Wrong::new(format!("`{written}` is not a header's name")))?;
    if NOT_STORED.contains(&name.as_str()) {
        return Err(Wrong::new(format!("`{name}` carries credentials, which are never stored")));
    }
    Ok(name)
}

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
                return Err(Wrong::new(format!(
                    "a `{brace}` stands alone; `{{{{` and `}}}}` are braces themselves"
                )));
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
            Wrong::new(format!(
                "`{written}` is not a method and a path, as in \"GET /v1/charges?key={{key}}\""
            ))
        })?;
        if !purpose.methods().contains(&name) {
            let (who, methods) = (purpose.name(), purpose.methods().join(", "));
            return Err(Wrong::new(format!("{who} is not sent with {name}; it is one of {methods}")));
        }
        let method = name.parse().map_err(|_| Wrong::new(format!("`{name}` is not a method")))?;
        if !target.starts_with('/') {
            return Err(Wrong::new(format!("the path `{target}` does not begin with `/`")));
        }
        let target = Template::parse(target, purpose)?;
        let fine = |part: &Part| match part {
            Part::Text(text) => text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&b)),
            Part::Hole(_) => true,
        };
        if !target.parts.iter().all(fine) {
            return Err(Wrong::new(format!(
                "the path `{target}` has a character that no URL carries; percent-encode it"
            )));
        }
        Ok(RequestTemplate { method, target, body: None })
    }

    /// With a JSON body whose strings may have holes.
    ///
    /// # Errors
    /// A hole is wrong.
    pub fn json(mut self, body: &serde_json::Value, purpose: Purpose) -> Result<RequestTemplate, Wrong> {
        self.body = Some(JsonTemplate::parse(body, purpose)?);
        Ok(self)
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
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
