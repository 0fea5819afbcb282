//! Requests that Seawall makes itself: `GET /v1/charges?key={key}` and the bodies beside them.
//!
//! A hole that cannot be filled at three in the morning is a cancel that is never sent. So every hole is known when
//! the file is read: what it takes, and where it may stand.

use std::fmt;

use http::{HeaderName, Method};

use super::nearest::advice;
use super::pattern::method;
use super::shown::{quoted, tellable};
use super::values::{Wrong, header_named};

/// A JSON pointer (RFC 6901) that begins with `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pointer(String);

impl Pointer {
    pub(super) fn parse(written: &str) -> Result<Pointer, Wrong> {
        if !written.starts_with('/') {
            let wrong = Wrong::new(format!(
                "the JSON pointer {} does not begin with `/`",
                quoted(written, [], "here")
            ));
            let example = if tellable(written, []) { written } else { "id" };
            return Err(wrong.help(format!("as in `/{example}`")));
        }
        let mut rest = written;
        while let Some(tilde) = rest.find('~') {
            rest = &rest[tilde + 1..];
            if !rest.starts_with(['0', '1']) {
                return Err(
                    Wrong::new("in a JSON pointer `~` is followed by 0 or 1").help("~0 is `~`, ~1 is `/`")
                );
            }
        }
        Ok(Pointer(written.to_owned()))
    }

    /// The pointer as written, fit for `serde_json::Value::pointer`.
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

/// What fills a hole of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hole {
    /// `{key}`: the action's key.
    Key,
    /// `{cancel_key}`: the key of this cancel and its generation.
    CancelKey,
    /// `{request:/ptr}`: a field of the JSON body that was sent.
    Request(Pointer),
    /// `{request-header:NAME}`: a header field that was sent.
    RequestHeader(HeaderName),
    /// `{confirm:/ptr}`: a field of the confirm's JSON answer.
    Confirm(Pointer),
    /// `{answer:/ptr}`: a field of the operation's own JSON answer; there is one only where it took effect and the
    /// answer arrived.
    Answer(Pointer),
    /// `{from}`: the beginning of the window that is reconciled.
    From,
    /// `{to}`: its end.
    To,
    /// `{next}`: the cursor of the next page.
    Next,
}

/// Where a template stands. It says which holes it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Health,
    Confirm,
    Cancel,
    List,
}

impl Purpose {
    /// The holes that may stand here, as they are written.
    fn holes(self) -> &'static [&'static str] {
        match self {
            Purpose::Health => &[],
            Purpose::Confirm => &["key", "request:/ptr", "request-header:NAME"],
            Purpose::Cancel => {
                &["key", "cancel_key", "request:/ptr", "request-header:NAME", "confirm:/ptr", "answer:/ptr"]
            }
            Purpose::List => &["from", "to", "next"],
        }
    }

    /// Methods that such a request may have.
    fn methods(self) -> &'static [&'static str] {
        match self {
            Purpose::Health => &["GET", "HEAD", "OPTIONS"],
            Purpose::Confirm | Purpose::List => &["GET", "HEAD", "POST"],
            Purpose::Cancel => &["POST", "PUT", "DELETE", "PATCH", "GET"],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Purpose::Health => "a health request",
            Purpose::Confirm => "a confirm",
            Purpose::Cancel => "a cancel",
            Purpose::List => "a list",
        }
    }
}

/// Header fields that carry credentials. They are never stored, so no later request can be filled from them.
const NOT_STORED: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "set-cookie"];

impl Hole {
    fn parse(written: &str, purpose: Purpose) -> Result<Hole, Wrong> {
        let (name, argument) = match written.split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (written, None),
        };
        let names = purpose.holes().iter().map(|hole| hole.split(':').next().unwrap_or(hole));
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
            ("request" | "confirm" | "answer", None) => {
                return Err(Wrong::new(format!("`{{{name}}}` needs a JSON pointer"))
                    .help(format!("as in `{{{name}:/id}}`")));
            }
            ("request-header", None) => {
                return Err(
                    Wrong::new("`{request-header}` needs a name").help("as in `{request-header:x-order}`")
                );
            }
            ("key" | "cancel_key" | "from" | "to" | "next", Some(_)) => {
                return Err(Wrong::new(format!("`{{{name}}}` takes no argument")));
            }
            _ => {
                let shown = match tellable(written, names.clone()) {
                    true => format!("`{{{written}}}`"),
                    false => "this".to_owned(),
                };
                let message = format!("{shown} is not a placeholder");
                return Err(match purpose {
                    Purpose::Health => Wrong::new(message).help("a health request has none"),
                    Purpose::Confirm | Purpose::Cancel | Purpose::List => {
                        let near = super::nearest::nearest(name, names);
                        let found = purpose
                            .holes()
                            .iter()
                            .find(|hole| near.is_some_and(|near| hole.split(':').next() == Some(near)));
                        Wrong::new(message).help(match found {
                            Some(hole) => format!("did you mean `{{{hole}}}`?"),
                            None => list_of_holes(purpose),
                        })
                    }
                });
            }
        };
        if names.clone().any(|known| known == name) {
            return Ok(hole);
        }
        let message = format!("{} cannot be filled with `{{{name}}}`", purpose.name());
        Err(Wrong::new(message).help(list_of_holes(purpose)))
    }
}

fn list_of_holes(purpose: Purpose) -> String {
    if purpose.holes().is_empty() {
        return "it has no placeholders".to_owned();
    }
    let all: Vec<String> = purpose.holes().iter().map(|hole| format!("`{{{hole}}}`")).collect();
    format!("valid here: {}", all.join(", "))
}

fn stored_header(written: &str) -> Result<HeaderName, Wrong> {
    let name = header_named(written)?;
    if NOT_STORED.contains(&name.as_str()) {
        return Err(Wrong::new(format!("`{name}` carries credentials, which are never stored"))
            .help("credentials come from `headers` of the dependency at send time"));
    }
    Ok(name)
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

/// A text with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Text and holes in order.
    pub parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Goes out as it is.
    Text(String),
    /// Filled when the request is made.
    Hole(Hole),
}

impl Template {
    /// `{{` and `}}` stand for the braces themselves.
    pub(super) fn parse(written: &str, purpose: Purpose) -> Result<Template, Wrong> {
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
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Part::Hole(hole) => write!(f, "{hole}"),
        })
    }
}

/// A method and a target with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTemplate {
    /// The method.
    pub method: Method,
    /// Path and query. Begins with `/`. What fills a hole here is percent-encoded.
    pub target: Template,
}

impl RequestTemplate {
    pub(super) fn parse(written: &str, purpose: Purpose) -> Result<RequestTemplate, Wrong> {
        let (name, target) = written.split_once(' ').ok_or_else(|| {
            Wrong::new("a request is a method and a path").help("as in \"GET /v1/charges?key={key}\"")
        })?;
        let method = method(name)?;
        if !purpose.methods().contains(&name) {
            return Err(Wrong::new(format!("{} is not sent with {name}", purpose.name()))
                .help(advice(name, purpose.methods().iter().copied())));
        }
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
        Ok(RequestTemplate { method, target })
    }
}

impl fmt::Display for RequestTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)
    }
}

/// A JSON body whose strings may have holes.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonTemplate {
    /// A string. Where it is one hole and nothing else, the value goes in with its own type: a number stays one.
    Text(Template),
    /// A number, `true` or `false`.
    Plain(serde_json::Value),
    /// A list.
    List(Vec<JsonTemplate>),
    /// An object.
    Object(Vec<(String, JsonTemplate)>),
}

impl JsonTemplate {
    /// All holes, in order.
    #[must_use]
    pub fn holes(&self) -> Vec<&Hole> {
        match self {
            JsonTemplate::Text(template) => template.holes().collect(),
            JsonTemplate::Plain(_) => Vec::new(),
            JsonTemplate::List(items) => items.iter().flat_map(JsonTemplate::holes).collect(),
            JsonTemplate::Object(fields) => fields.iter().flat_map(|(_, value)| value.holes()).collect(),
        }
    }
}

impl fmt::Display for JsonTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JsonTemplate::Text(template) => write!(f, "{}", serde_json::Value::from(template.to_string())),
            JsonTemplate::Plain(value) => write!(f, "{value}"),
            JsonTemplate::List(items) => {
                let shown: Vec<String> = items.iter().map(JsonTemplate::to_string).collect();
                write!(f, "[{}]", shown.join(", "))
            }
            JsonTemplate::Object(fields) => {
                let shown: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{}: {value}", serde_json::Value::from(name.as_str())))
                    .collect();
                write!(f, "{{{}}}", shown.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_parsed_and_shown_as_written() {
        let written = "/v1/{key}/x?a={request:/a~1b/0}&b={request-header:x-order}&c={{}}";
        let template = Template::parse(written, Purpose::Confirm).unwrap();
        assert_eq!(template.to_string(), written);
        assert_eq!(template.holes().count(), 3);
        assert_eq!(Template::parse("plain", Purpose::Health).unwrap().parts, [Part::Text("plain".into())]);
    }

    #[test]
    fn unknown_holes_name_the_nearest() {
        let help = |written, purpose| Template::parse(written, purpose).unwrap_err().help.unwrap();
        assert_eq!(help("{kye}", Purpose::Confirm), "did you mean `{key}`?");
        assert_eq!(help("{confrim:/id}", Purpose::Cancel), "did you mean `{confirm:/ptr}`?");
        assert_eq!(help("{zebra}", Purpose::List), "valid here: `{from}`, `{to}`, `{next}`");
    }

    #[test]
    fn wrong_templates_are_refused() {
        for bad in [
            "{",
            "}",
            "{key",
            "{k{ey}}",
            "{key:/x}",
            "{confirm}",
            "{confirm:id}",
            "{request:/a~2}",
            "{request-header:a b}",
            "{request-header:Authorization}",
            "{}",
            "{from}",
            "{Key}",
        ] {
            assert!(Template::parse(bad, Purpose::Cancel).is_err(), "{bad}");
        }
        assert!(
            Template::parse("{answer:/id}", Purpose::Confirm).is_err(),
            "a confirm is asked when there is no answer"
        );
        assert!(Template::parse("{cancel_key}", Purpose::Confirm).is_err());
    }

    #[test]
    fn requests_have_a_fitting_method_and_a_path() {
        for bad in ["/v1", "GET v1", "PUT /v1/{key}", "GET /a b", "GTE /x", "GET /a#b"] {
            assert!(RequestTemplate::parse(bad, Purpose::Confirm).is_err(), "{bad}");
        }
        let fine = RequestTemplate::parse("GET /v1/charges?key={key}", Purpose::Confirm).unwrap();
        assert_eq!(fine.to_string(), "GET /v1/charges?key={key}");
    }
}
