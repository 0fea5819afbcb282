//! A request with holes.

use std::fmt;

use http::Method;
use seawall_policy::Wrong;

use super::hole::{Hole, Purpose};
use super::json::JsonTemplate;
use super::text::{Fill, Template, Unfilled};
use crate::nearest::advice;
use crate::shown::quoted;

/// A method and a target with holes, and optionally a JSON body with holes.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestTemplate {
    method: Method,
    target: Template,
    body: Option<JsonTemplate>,
}

/// A request whose holes have been filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The JSON body, if there is one.
    pub body: Option<Vec<u8>>,
}

impl RequestTemplate {
    /// Reads a method and a target from a text such as `"GET /v1/charges?key={key}"`. Values that fill the holes of the
    /// target are percent-encoded.
    ///
    /// # Errors
    /// If `written` is not a method and a path, or if the method or a hole is not allowed for this purpose.
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
        let fine = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte);
        if !target.texts().flat_map(str::bytes).all(fine) {
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

    /// Returns all holes: first those of the target, and after them those of the body.
    pub fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.target.holes().chain(self.body.iter().flat_map(JsonTemplate::holes))
    }

    /// Fills all holes and returns the request.
    ///
    /// # Errors
    /// If a hole has no value.
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
