//! The type [`Draft`]: a declaration while its builder's methods are called.

use seawall_actions::template::{
    Body, FormTemplate, HeaderTemplate, JsonTemplate, Purpose, RequestTemplate, stored_header,
};
use seawall_policy::{Problem, Wrong};
use serde_json::Value;

/// A declaration that is being built, together with the problems of the settings that could not be read.
#[derive(Clone, Debug)]
pub(super) struct Draft<T> {
    /// The declaration; `None` if its request could not be read.
    pub(super) read: Option<T>,
    pub(super) unread: Vec<Problem>,
}

impl<T> Draft<T> {
    pub(super) fn by(
        request: Result<RequestTemplate, Wrong>,
        setting: &'static str,
        new: fn(RequestTemplate) -> T,
    ) -> Draft<T> {
        match request {
            Ok(request) => Draft { read: Some(new(request)), unread: Vec::new() },
            Err(wrong) => Draft { read: None, unread: vec![Problem::error(setting, wrong)] },
        }
    }

    /// Changes the declaration with `change`, which gets the value of the setting. If the value could not be read, the
    /// declaration is not changed, and the problem is kept in `unread`.
    pub(super) fn set<V>(
        &mut self,
        setting: &'static str,
        value: Result<V, Wrong>,
        change: impl FnOnce(&mut T, V),
    ) {
        match (value, &mut self.read) {
            (Ok(value), Some(read)) => change(read, value),
            (Ok(_), None) => {}
            (Err(wrong), _) => self.unread.push(Problem::error(setting, wrong)),
        }
    }

    /// Changes the request of the declaration with `change`, which gets the value of the setting. If the value could
    /// not be read, or if `change` returns an error, the request is not changed, and the problem is kept in `unread`.
    pub(super) fn put<V>(
        &mut self,
        setting: &'static str,
        value: Result<V, Wrong>,
        request: impl FnOnce(&mut T) -> &mut RequestTemplate,
        change: impl FnOnce(&mut RequestTemplate, V) -> Result<(), Wrong>,
    ) {
        let put = value.and_then(|value| match &mut self.read {
            Some(read) => change(request(read), value),
            None => Ok(()),
        });
        self.unread.extend(put.err().map(|wrong| Problem::error(setting, wrong)));
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut T)) -> Draft<T> {
        self.read = self.read.map(|mut read| {
            change(&mut read);
            read
        });
        self
    }
}

/// Reads a header of a request.
pub(super) fn header(name: &str, value: &str, purpose: Purpose) -> Result<HeaderTemplate, Wrong> {
    HeaderTemplate::parse(stored_header(name)?, value, purpose)
}

/// Reads a JSON body of a request.
pub(super) fn json(body: &Value, purpose: Purpose) -> Result<Body, Wrong> {
    JsonTemplate::parse(body, purpose).map(Body::Json)
}

/// Returns the body of a request that has these fields of a form. Fails if a hole in a value cannot be read.
pub(super) fn form<N: AsRef<str>, V: AsRef<str>>(
    fields: impl IntoIterator<Item = (N, V)>,
    purpose: Purpose,
) -> Result<Body, Wrong> {
    FormTemplate::parse(fields, purpose).map(Body::Form)
}
