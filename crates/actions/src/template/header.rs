//! A header whose value may have holes, such as `{key}`.

use http::{HeaderName, HeaderValue};
use seawall_policy::Wrong;

use super::hole::Purpose;
use super::text::{Fill, Template, Unfilled};

/// The name of a header, and its value with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderTemplate {
    name: HeaderName,
    value: Template,
}

impl HeaderTemplate {
    /// Reads the value of a header with the name `name`, and returns the header. The name itself can be read with
    /// [`super::stored_header`].
    ///
    /// # Errors
    /// If the value is not a valid template for this purpose, or if its text could never be sent in a header.
    pub fn parse(name: HeaderName, value: &str, purpose: Purpose) -> Result<HeaderTemplate, Wrong> {
        let value = Template::parse(value, purpose)?;
        if read(&value.with_holes(|_| "x")).is_none() {
            return Err(Wrong::new(format!("the value of `{name}` is not one that a header carries"))
                .help("printable ASCII, without spaces at the beginning and the end"));
        }
        Ok(HeaderTemplate { name, value })
    }

    /// The header's name.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The header's value.
    #[must_use]
    pub fn value(&self) -> &Template {
        &self.value
    }

    /// Fills all holes and returns the value. A header has no way to escape a character, so values are sent as they
    /// are or not at all.
    ///
    /// # Errors
    /// If a hole has no value, or if the result cannot be sent as a header's value.
    pub(super) fn fill(&self, with: &dyn Fill) -> Result<HeaderValue, Unfilled> {
        let filled = self.value.fill(with, |value, out| out.push_str(value))?;
        read(&filled).ok_or_else(|| Unfilled::Header(self.name.clone()))
    }
}

/// Returns the text as a header's value. It must be printable ASCII. Spaces at its ends are refused too, because they
/// do not belong to the value (RFC 9110, section 5.5), so the provider would read another text.
fn read(text: &str) -> Option<HeaderValue> {
    let value = HeaderValue::from_str(text).ok().filter(|value| value.to_str().is_ok())?;
    (text.trim_matches([' ', '\t']) == text).then_some(value)
}
