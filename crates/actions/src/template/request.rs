//! A request with holes, such as `GET /v1/charges?key={key}`.

use std::fmt;

use http::{HeaderMap, HeaderValue, Method, header};
use seawall_policy::Wrong;

use super::form::FormTemplate;
use super::header::HeaderTemplate;
use super::hole::{Hole, Purpose};
use super::json::JsonTemplate;
use super::text::{Fill, Template, Unfilled};
use crate::nearest::advice;
use crate::shown::quoted;

/// A method and a target with holes, and optionally headers and a body with holes.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestTemplate {
    method: Method,
    target: Template,
    headers: Vec<HeaderTemplate>,
    body: Option<Body>,
}

/// A body with holes.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A JSON value.
    Json(JsonTemplate),
    /// The fields of a form, as `application/x-www-form-urlencoded`.
    Form(FormTemplate),
}

impl Body {
    /// All holes, in order.
    pub fn holes(&self) -> Box<dyn Iterator<Item = &Hole> + '_> {
        match self {
            Body::Json(json) => json.holes(),
            Body::Form(form) => Box::new(form.holes()),
        }
    }

    /// Returns the `Content-Type` for this body. It is sent unless the request declares another one.
    fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Body::Json(_) => "application/json",
            Body::Form(_) => "application/x-www-form-urlencoded",
        })
    }

    fn fill(&self, with: &dyn Fill) -> Result<String, Unfilled> {
        match self {
            Body::Json(json) => json.fill(with),
            Body::Form(form) => form.fill(with),
        }
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Json(json) => json.fmt(f),
            Body::Form(form) => form.fmt(f),
        }
    }
}

/// A request whose holes have been filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The declared headers, and the `Content-Type` of the body.
    pub headers: HeaderMap,
    /// The body, if there is one.
    pub body: Option<Vec<u8>>,
}

impl RequestTemplate {
    /// Reads a method and a target from a text such as `"GET /v1/charges?key={key}"`, and returns the template of a
    /// request. Values that fill the holes of the target are percent-encoded.
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
        Ok(RequestTemplate { method, target, headers: Vec::new(), body: None })
    }

    /// Adds a header to the template of a request.
    ///
    /// # Errors
    /// If the template already has a header of this name.
    pub fn add_header(&mut self, header: HeaderTemplate) -> Result<(), Wrong> {
        if self.headers.iter().any(|other| other.name() == header.name()) {
            return Err(Wrong::new(format!("the header `{}` is given twice", header.name())));
        }
        self.headers.push(header);
        Ok(())
    }

    /// Sets the body of the template of a request. A body of the same kind (JSON or form) is replaced.
    ///
    /// # Errors
    /// If the template already has a body of the other kind.
    pub fn set_body(&mut self, body: Body) -> Result<(), Wrong> {
        if let (Some(Body::Json(_)), Body::Form(_)) | (Some(Body::Form(_)), Body::Json(_)) =
            (&self.body, &body)
        {
            return Err(Wrong::new("`json` and `form` are both given, but a request has one body")
                .help("write `json` or `form`"));
        }
        self.body = Some(body);
        Ok(())
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

    /// The headers, in the order in which they were declared.
    #[must_use]
    pub fn headers(&self) -> &[HeaderTemplate] {
        &self.headers
    }

    /// The body, if it has one.
    #[must_use]
    pub fn body(&self) -> Option<&Body> {
        self.body.as_ref()
    }

    /// Returns all holes: first those of the target, then those of the headers, and after them those of the body.
    pub fn holes(&self) -> impl Iterator<Item = &Hole> {
        let headers = self.headers.iter().flat_map(|header| header.value().holes());
        self.target.holes().chain(headers).chain(self.body.iter().flat_map(Body::holes))
    }

    /// Fills all holes and returns the request. A declared `Content-Type` replaces the one of the body.
    ///
    /// # Errors
    /// If a hole has no value, or if its value cannot be sent in its place.
    pub fn fill(&self, with: &dyn Fill) -> Result<Filled, Unfilled> {
        let target = self.filled_target(with)?;
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 1);
        if let Some(body) = &self.body {
            headers.insert(header::CONTENT_TYPE, body.content_type());
        }
        for header in &self.headers {
            headers.insert(header.name().clone(), header.fill(with)?);
        }
        let body = self.body.as_ref().map(|body| body.fill(with)).transpose()?;
        Ok(Filled { method: self.method.clone(), target, headers, body: body.map(String::into_bytes) })
    }

    /// Fills the target and returns it. Values are percent-encoded. A segment that becomes empty, `.` or `..` is
    /// refused, because percent-encoding does not make such a segment harmless. Servers read `/v1/charges/..` as `/v1`.
    /// And `/v1/charges/` is often the list of all charges, whose 200 would be taken for an answer about the one
    /// charge.
    fn filled_target(&self, with: &dyn Fill) -> Result<String, Unfilled> {
        let target = self.target.fill(with, seawall_client::percent_encode)?;
        // The cursor of a list's first page is an empty text, so the hole of the cursor (`Hole::Next`) may leave a
        // segment empty.
        let declared = self.target.with_holes(|hole| if *hole == Hole::Next { "" } else { "x" });
        let path = |target: &str| target.split('?').next().unwrap_or_default().to_owned();
        let (path, declared) = (path(&target), path(&declared));
        // An encoded value has no `/`. So the filled path and the declared path have the same number of segments.
        let mut segments = path.split('/').zip(declared.split('/'));
        if segments.any(|(filled, declared)| filled != declared && matches!(filled, "" | "." | "..")) {
            return Err(Unfilled::Path);
        }
        Ok(target)
    }
}

impl fmt::Display for RequestTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)
    }
}
