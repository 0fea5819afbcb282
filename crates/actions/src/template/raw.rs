//! A JSON value as it was written.
//!
//! If the id `12345678901234567890` is parsed into a float, it becomes another number. So a value that is copied from
//! one message into another keeps its characters.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Pointer;

/// A JSON value with the characters in which it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw(String);

impl Raw {
    /// A string.
    #[must_use]
    pub fn string(text: &str) -> Raw {
        Raw(serde_json::Value::from(text).to_string())
    }

    /// The value at a pointer of a JSON text; `None` if there is no value or it is `null`, or if the text is not JSON.
    #[must_use]
    pub fn at(json: &[u8], pointer: &Pointer) -> Option<Raw> {
        let mut here: &RawValue = serde_json::from_slice(seawall_client::without_mark(json)).ok()?;
        for step in pointer.as_str().strip_prefix('/')?.split('/') {
            let step = step.replace("~1", "/").replace("~0", "~");
            here = match here.get().as_bytes().first()? {
                b'{' => {
                    let fields: HashMap<Name<'_>, &RawValue> = serde_json::from_str(here.get()).ok()?;
                    fields.get(step.as_str()).copied()?
                }
                b'[' => {
                    let items: Vec<&RawValue> = serde_json::from_str(here.get()).ok()?;
                    items.get(step.parse::<usize>().ok()?).copied()?
                }
                _ => return None,
            };
        }
        (here.get() != "null").then(|| Raw(here.get().to_owned()))
    }

    /// The value as JSON.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The value as text: a string's content, a number's digits, `true` or `false`; `None` for a list or an object.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self.0.as_bytes().first()? {
            b'"' => serde_json::from_str(&self.0).ok(),
            b'{' | b'[' | b'n' => None,
            _ => Some(self.0.clone()),
        }
    }
}

/// A field's name; borrowed, except where it has escapes.
#[derive(Deserialize, PartialEq, Eq, Hash)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::borrow::Borrow<str> for Name<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}
