//! A JSON body whose strings may have holes, such as `{key}`.

use std::fmt;

use seawall_policy::Wrong;
use serde_json::Value;

use super::hole::{Hole, Purpose};
use super::text::{Fill, Template, Unfilled};

/// A JSON body with holes in its strings.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonTemplate {
    /// A string. If the string is one hole and nothing else, the value that fills it keeps its type: a number stays a
    /// number.
    Text(Template),
    /// `null`, a number, `true` or `false`.
    Plain(Value),
    /// A list.
    List(Vec<JsonTemplate>),
    /// An object. Its names have no holes.
    Object(Vec<(String, JsonTemplate)>),
}

impl JsonTemplate {
    /// Reads a JSON value whose strings may have holes.
    ///
    /// # Errors
    /// If a string is not a valid template for this purpose.
    pub fn parse(value: &Value, purpose: Purpose) -> Result<JsonTemplate, Wrong> {
        Ok(match value {
            Value::String(text) => JsonTemplate::Text(Template::parse(text, purpose)?),
            Value::Null | Value::Bool(_) | Value::Number(_) => JsonTemplate::Plain(value.clone()),
            Value::Array(items) => {
                let items = items.iter().map(|item| JsonTemplate::parse(item, purpose));
                JsonTemplate::List(items.collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), JsonTemplate::parse(value, purpose)?)));
                JsonTemplate::Object(fields.collect::<Result<_, _>>()?)
            }
        })
    }

    /// All holes, in order.
    pub fn holes(&self) -> Box<dyn Iterator<Item = &Hole> + '_> {
        match self {
            JsonTemplate::Text(template) => Box::new(template.holes()),
            JsonTemplate::Plain(_) => Box::new(std::iter::empty()),
            JsonTemplate::List(items) => Box::new(items.iter().flat_map(JsonTemplate::holes)),
            JsonTemplate::Object(fields) => Box::new(fields.iter().flat_map(|(_, value)| value.holes())),
        }
    }

    /// Fills all holes and returns the body.
    ///
    /// # Errors
    /// If a hole has no value.
    pub fn fill(&self, with: &dyn Fill) -> Result<String, Unfilled> {
        let mut filled = String::new();
        self.write(with, &mut filled)?;
        Ok(filled)
    }

    fn write(&self, with: &dyn Fill, out: &mut String) -> Result<(), Unfilled> {
        match self {
            JsonTemplate::Text(template) => match template.sole_hole() {
                Some(hole) => {
                    let raw = with.fill(hole).ok_or_else(|| Unfilled::NoValue(hole.clone()))?;
                    out.push_str(raw.as_json());
                }
                None => {
                    let text = template.fill(with, |value, out| out.push_str(value))?;
                    out.push_str(&quoted(&text));
                }
            },
            JsonTemplate::Plain(value) => out.push_str(&value.to_string()),
            JsonTemplate::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    item.write(with, out)?;
                }
                out.push(']');
            }
            JsonTemplate::Object(fields) => {
                out.push('{');
                for (at, (name, value)) in fields.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    out.push_str(&quoted(name));
                    out.push(':');
                    value.write(with, out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

impl fmt::Display for JsonTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JsonTemplate::Text(template) => f.write_str(&quoted(&template.to_string())),
            JsonTemplate::Plain(value) => write!(f, "{value}"),
            JsonTemplate::List(items) => {
                let shown: Vec<String> = items.iter().map(JsonTemplate::to_string).collect();
                write!(f, "[{}]", shown.join(", "))
            }
            JsonTemplate::Object(fields) => {
                let shown: Vec<String> =
                    fields.iter().map(|(name, value)| format!("{}: {value}", quoted(name))).collect();
                write!(f, "{{{}}}", shown.join(", "))
            }
        }
    }
}
