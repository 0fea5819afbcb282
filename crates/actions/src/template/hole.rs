//! The kinds of holes that a template may have, such as `{key}`, and what fills each of them.

use std::fmt;

use http::HeaderName;
use seawall_policy::Wrong;

use super::date::DateFormat;
use crate::nearest::nearest;
use crate::shown::{quoted, tellable};

/// A JSON pointer (RFC 6901) that begins with `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pointer(String);

impl Pointer {
    /// Reads a JSON pointer.
    ///
    /// # Errors
    /// If `written` does not begin with `/`, or has a `~` that is not part of `~0` or `~1`.
    pub fn parse(written: &str) -> Result<Pointer, Wrong> {
        if !written.starts_with('/') {
            let message = format!("the JSON pointer {} does not begin with `/`", quoted(written, [], "here"));
            let example = if tellable(written, []) { written } else { "id" };
            return Err(Wrong::new(message).help(format!("as in `/{example}`")));
        }
        if written.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
            return Err(
                Wrong::new("in a JSON pointer `~` is followed by 0 or 1").help("~0 is `~`, ~1 is `/`")
            );
        }
        Ok(Pointer(written.to_owned()))
    }

    /// The names of the members that lead to the value, the outermost first.
    pub(super) fn members(&self) -> impl Iterator<Item = String> {
        self.0.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~"))
    }

    /// The pointer as written.
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

/// A hole of a template, such as `{key}`. Its kind says which value fills it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hole {
    /// `{key}`: the key under which the action is sent.
    Key,
    /// `{cancel_key}`: the key of the cancel. It is computed from the action's key and the cancel's generation, a
    /// number that grows when the action is cancelled under a new key.
    CancelKey,
    /// `{request:/ptr}`: a field of the recorded request's JSON body.
    Request(Pointer),
    /// `{request-header:NAME}`: a header of the recorded request.
    RequestHeader(HeaderName),
    /// `{sent:FORMAT@ZONE}`: when the operation's request was first sent, as a date and time of this zone.
    Sent(DateFormat),
    /// `{confirm:/ptr}`: a field of the provider's JSON answer to a confirm, which asks what became of the action.
    Confirm(Pointer),
    /// `{answer:/ptr}`: a field of the JSON answer to the operation itself. Such an answer exists only if the operation
    /// took effect and its answer arrived. If the answer was lost, its place is taken by the answer to a confirm. Then
    /// `/ptr` is not used: the hole is filled with the field of that answer at which the setting `confirm.id` points.
    Answer(Pointer),
    /// `{from}`: the beginning of the time span that is reconciled.
    From,
    /// `{to}`: the end of the time span that is reconciled.
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
            Hole::Sent(format) => write!(f, "{{sent:{format}}}"),
            Hole::Confirm(pointer) => write!(f, "{{confirm:{pointer}}}"),
            Hole::Answer(pointer) => write!(f, "{{answer:{pointer}}}"),
            Hole::From => f.write_str("{from}"),
            Hole::To => f.write_str("{to}"),
            Hole::Next => f.write_str("{next}"),
        }
    }
}

/// What a template is for. The purpose decides which holes and methods the template may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The key of an action, which is filled from the caller's request.
    Key,
    /// A request that performs the operation.
    Perform,
    /// A request that asks what became of the operation.
    Confirm,
    /// A request that undoes the operation.
    Cancel,
    /// A request that lists what was done.
    List,
    /// A request that asks whether an endpoint works.
    Health,
}

impl Purpose {
    /// Returns the holes that a template for this purpose may have. They are written as in a template, but without
    /// braces.
    fn holes(self) -> &'static [&'static str] {
        match self {
            Purpose::Key => &["request-header:NAME", "request:/ptr"],
            Purpose::Perform => &["key", "request:/ptr"],
            Purpose::Confirm => &["key", "request:/ptr", "request-header:NAME", "sent:FORMAT@ZONE"],
            Purpose::Cancel => &[
                "key",
                "cancel_key",
                "request:/ptr",
                "request-header:NAME",
                "sent:FORMAT@ZONE",
                "confirm:/ptr",
                "answer:/ptr",
            ],
            Purpose::List => &["from", "to", "next"],
            Purpose::Health => &[],
        }
    }

    /// Returns the names of the holes that `holes` returns, without a colon and what follows it: `request`, not
    /// `request:/ptr`.
    fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        self.holes().iter().map(|hole| hole.split(':').next().unwrap_or(hole))
    }

    /// Returns the methods that a request for this purpose may have.
    pub(super) fn methods(self) -> &'static [&'static str] {
        match self {
            Purpose::Perform => &["POST", "PUT", "DELETE", "PATCH"],
            Purpose::Confirm | Purpose::List => &["GET", "HEAD", "POST"],
            Purpose::Cancel => &["POST", "PUT", "DELETE", "PATCH", "GET"],
            Purpose::Health => &["GET", "HEAD", "OPTIONS"],
            // A key is no request.
            Purpose::Key => &[],
        }
    }

    /// Returns the name of this purpose in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Purpose::Key => "a key",
            Purpose::Perform => "an operation",
            Purpose::Confirm => "a confirm",
            Purpose::Cancel => "a cancel",
            Purpose::List => "a list",
            Purpose::Health => "a health request",
        }
    }

    fn list_of_holes(self) -> String {
        if self.holes().is_empty() {
            return format!("{} has no placeholders", self.name());
        }
        let all: Vec<String> = self.holes().iter().map(|hole| format!("`{{{hole}}}`")).collect();
        format!("valid here: {}", all.join(", "))
    }
}

/// Headers that carry credentials. They are never stored, so no hole can be filled from them.
const NOT_STORED: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "set-cookie"];

/// Reads the name of a header that is recorded with a request, or that a confirm, a cancel or a list sets. Returns it.
///
/// # Errors
/// If `written` is not a valid header name, if the header carries credentials, or if it is set by Seawall or belongs to
/// the connection.
pub fn stored_header(written: &str) -> Result<HeaderName, Wrong> {
    let name = header_name(written)?;
    if NOT_STORED.contains(&name.as_str()) {
        return Err(Wrong::new(format!("`{name}` carries credentials, which are never stored"))
            .help("credentials come from the endpoint's headers at send time"));
    }
    Ok(name)
}

/// Headers that belong to one connection or to the framing of a message, or that Seawall sets itself. A declaration
/// must not set them.
const RESERVED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "proxy-status",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Reads the name of a header that a declaration sets, and returns it.
///
/// # Errors
/// If `written` is not a valid header name, or if the header is set by Seawall or belongs to the connection.
pub fn header_name(written: &str) -> Result<HeaderName, Wrong> {
    let name: HeaderName = written.parse().map_err(|_| {
        Wrong::new("this is not a header name").help("letters, digits and -, as in `x-api-version`")
    })?;
    if RESERVED.contains(&name.as_str()) || name.as_str().starts_with("seawall-") {
        return Err(Wrong::new(format!("the header `{name}` is set by Seawall or by the connection itself")));
    }
    Ok(name)
}

impl Hole {
    pub(super) fn parse(written: &str, purpose: Purpose) -> Result<Hole, Wrong> {
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
            ("sent", Some(format)) => Hole::Sent(DateFormat::parse(format)?),
            ("request" | "confirm" | "answer", None) => {
                return Err(Wrong::new(format!("`{{{name}}}` needs a JSON pointer"))
                    .help(format!("as in `{{{name}:/id}}`")));
            }
            ("request-header", None) => {
                return Err(
                    Wrong::new("`{request-header}` needs a name").help("as in `{request-header:x-order}`")
                );
            }
            ("sent", None) => {
                return Err(Wrong::new("`{sent}` needs a format and a time zone")
                    .help("as in `{sent:%Y%m%d@Asia/Seoul}`"));
            }
            ("key" | "cancel_key" | "from" | "to" | "next", Some(_)) => {
                return Err(Wrong::new(format!("`{{{name}}}` takes no argument")));
            }
            _ => return Err(unknown(written, name, purpose)),
        };
        if purpose.names().any(|known| known == name) {
            return Ok(hole);
        }
        let message = format!("{} cannot be filled with `{{{name}}}`", purpose.name());
        Err(Wrong::new(message).help(purpose.list_of_holes()))
    }
}

/// Returns the error for a hole that does not exist.
fn unknown(written: &str, name: &str, purpose: Purpose) -> Wrong {
    let shown =
        if tellable(written, purpose.names()) { format!("`{{{written}}}`") } else { "this".to_owned() };
    let near = nearest(name, purpose.names());
    let found = purpose.holes().iter().find(|hole| near.is_some() && hole.split(':').next() == near);
    Wrong::new(format!("{shown} is not a placeholder")).help(match found {
        Some(hole) => format!("did you mean `{{{hole}}}`?"),
        None => purpose.list_of_holes(),
    })
}
