//! A JSON value as it was written.
//!
//! If the id `12345678901234567890` is parsed into a float, it becomes another number. So a value that is copied from
//! one message into another keeps its characters.

use seawall_ledger::reconcile;

use super::Pointer;

/// A JSON value with exactly the characters in which it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw(String);

impl Raw {
    /// A string.
    #[must_use]
    pub fn string(text: &str) -> Raw {
        Raw(serde_json::Value::from(text).to_string())
    }

    /// Returns the value at a pointer of a JSON text; `None` if there is no value or it is `null`, or if the text is
    /// not JSON.
    #[must_use]
    pub fn at(json: &[u8], pointer: &Pointer) -> Option<Raw> {
        let here = reconcile::find(reconcile::whole(json)?, pointer.as_str())?;
        (here.get() != "null").then(|| Raw(here.get().to_owned()))
    }

    /// The value as JSON.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Returns the value as text: a string's content, a number's digits, `true` or `false`; `None` for a list or an
    /// object.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        serde_json::from_str(&self.0).ok().and_then(reconcile::text)
    }
}
