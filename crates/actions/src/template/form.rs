//! A body of `application/x-www-form-urlencoded` whose values may have holes, such as `{key}`.

use std::fmt;

use seawall_policy::Wrong;

use super::hole::{Hole, Purpose};
use super::text::{Fill, Template, Unfilled};

/// The fields of a form, in the order in which they are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormTemplate {
    fields: Vec<(String, Template)>,
}

impl FormTemplate {
    /// Reads the fields of a form, and returns its template. The values may have holes, the names may not.
    ///
    /// # Errors
    /// If a name is empty, or if a value is not a valid template for this purpose.
    pub fn parse<N: AsRef<str>, V: AsRef<str>>(
        fields: impl IntoIterator<Item = (N, V)>,
        purpose: Purpose,
    ) -> Result<FormTemplate, Wrong> {
        let mut form = FormTemplate::default();
        for (name, value) in fields {
            form.push(name.as_ref(), Template::parse(value.as_ref(), purpose)?)?;
        }
        Ok(form)
    }

    /// Adds a field after all others.
    ///
    /// # Errors
    /// If the name is empty.
    pub fn push(&mut self, name: &str, value: Template) -> Result<(), Wrong> {
        if name.is_empty() {
            return Err(Wrong::new("a field of a form has no name"));
        }
        self.fields.push((name.to_owned(), value));
        Ok(())
    }

    /// All holes, in order.
    pub fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.fields.iter().flat_map(|(_, value)| value.holes())
    }

    /// Fills all holes and returns the body. In names and values every byte except letters, digits and `-._~` is
    /// percent-encoded. A space becomes `%20` and not `+`, because every reader of forms reads `%20` as a space, while
    /// readers of plain percent-encoding leave a `+` as it is.
    ///
    /// # Errors
    /// If a hole has no value, or its value is a list or an object.
    pub fn fill(&self, with: &dyn Fill) -> Result<String, Unfilled> {
        let mut filled = String::new();
        for (name, value) in &self.fields {
            filled.push_str(if filled.is_empty() { "" } else { "&" });
            seawall_client::percent_encode(name, &mut filled);
            filled.push('=');
            let value = value.fill(with, |value, out| out.push_str(value))?;
            seawall_client::percent_encode(&value, &mut filled);
        }
        Ok(filled)
    }
}

impl fmt::Display for FormTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        f.write_str(&shown.join("&"))
    }
}
