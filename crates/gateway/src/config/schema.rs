//! The JSON Schema (draft-07) of the file, for editors. It is made from the table of keys, so it accepts the same keys
//! as the parser.

use serde_json::{Map, Value, json};

use super::keys::{Kind, ROOT, Spec};
use super::pattern::METHODS;

/// Returns the schema of the configuration.
#[must_use]
pub fn schema() -> Value {
    let mut root = table(&ROOT);
    let top = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Seawall",
        "definitions": {
            "predicate": predicate(),
            "scalar": { "type": ["string", "number", "boolean"] },
        },
    });
    if let (Value::Object(root), Value::Object(top)) = (&mut root, top) {
        root.extend(top);
    }
    root
}

fn table(spec: &'static Spec) -> Value {
    let mut properties = Map::new();
    for key in spec.keys() {
        let mut property = of_kind(&key.kind);
        if let Value::Object(property) = &mut property {
            property.insert("description".to_owned(), key.doc.into());
        }
        properties.insert(key.name.to_owned(), property);
    }
    let required: Vec<&str> = spec.keys().filter(|key| key.required).map(|key| key.name).collect();
    let mut table = json!({
        "type": "object",
        "description": spec.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if let (false, Value::Object(table)) = (required.is_empty(), &mut table) {
        table.insert("required".to_owned(), required.into());
    }
    table
}

const TIME: &str = r"^[0-9]+(\.[0-9]+)?(us|ms|s|m|h|d)$";
const SIZE: &str = r"^[0-9]+(\.[0-9]+)?(B|KB|MB|GB|KiB|MiB|GiB)$";

fn of_kind(kind: &Kind) -> Value {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let or_off = |schema: Value| json!({ "anyOf": [schema, { "const": "off" }] });
    let size = || json!({ "anyOf": [text(SIZE), { "type": "integer", "minimum": 0 }] });
    match kind {
        Kind::Table(spec) => table(spec),
        Kind::Tables(spec) => json!({ "type": "array", "items": table(spec) }),
        Kind::Named(spec) => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[a-z0-9_][a-z0-9_-]{0,63}$" },
            "additionalProperties": table(spec),
        }),
        Kind::Headers | Kind::HeaderTemplates(_) => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" },
            "additionalProperties": { "type": "string" },
        }),
        Kind::Json(_) => json!({}),
        Kind::Form(_) => json!({
            "type": "object",
            "propertyNames": { "pattern": "." },
            "additionalProperties": { "type": ["string", "integer", "boolean"] },
        }),
        Kind::Predicates => json!({
            "anyOf": [
                { "$ref": "#/definitions/predicate" },
                { "type": "array", "items": { "$ref": "#/definitions/predicate" } },
            ],
        }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Whole { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Tokens => json!({ "type": "number", "minimum": 0, "maximum": 1_000_000 }),
        Kind::Ratio { zero: true } => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        Kind::Ratio { zero: false } => json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 }),
        Kind::Time { .. } => text(TIME),
        Kind::TimeOrOff => or_off(text(TIME)),
        Kind::Size => size(),
        Kind::SizeWithin { min, max } => {
            json!({ "anyOf": [text(SIZE), { "type": "integer", "minimum": min, "maximum": max }] })
        }
        Kind::SizeOrOff => or_off(size()),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Otherwise => json!({ "enum": ["applied", "unknown"] }),
        Kind::HttpVersion => json!({ "enum": ["auto", "1.1", "2", 1.1, 2] }),
        Kind::Socket => text("^.+:[0-9]{1,5}$"),
        Kind::IpOrOff => json!({ "type": "string", "minLength": 2 }),
        Kind::EndpointUrl => text("^https?://[^/?#@]+[^?#]*$"),
        Kind::ProxyUrl => or_off(text("^http://[^/?#@]+/?$")),
        Kind::LedgerUrl => text(r"^(sqlite:|postgres://|postgresql://|\$\{).+$"),
        Kind::HeaderName => text("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"),
        Kind::HostNames => json!({ "type": "array", "items": text("^[A-Za-z0-9._-]+$") }),
        Kind::Statuses => status_or_statuses(),
        Kind::Failures => {
            json!({ "type": "array", "items": { "type": "integer", "minimum": 400, "maximum": 599 } })
        }
        Kind::File => json!({ "type": "string", "minLength": 1 }),
        Kind::Pattern | Kind::Request(_) => text(&format!("^({}) /", METHODS.join("|"))),
        Kind::Pointer => text("^/"),
        Kind::GuardKey => text(r"^(endpoint|operation|header:.+|path:\{.+\})$"),
        Kind::Lifetime => {
            text(&format!("({TIME})|(^\\s*(midnight|[0-2][0-9]:[0-5][0-9])\\s+[A-Za-z]\\S*\\s*$)"))
        }
        Kind::Window => {
            text(&format!("({TIME})|(^\\s*(same-day|next-day|[0-9]+-days)\\s+[A-Za-z]\\S*\\s*$)"))
        }
        Kind::KeyChars => text("^[!-~]{2,}$"),
        Kind::KeySource => text(r"^(generate|[ -~]*\{request(:/|-header:).*\}[ -~]*)$"),
        Kind::StoredHeaders => {
            json!({ "type": "array", "items": text("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") })
        }
        Kind::Currency => text("^([A-Z]{3}|/.*)$"),
        Kind::Zone => text("^[A-Z][A-Za-z0-9_+/-]*$"),
        Kind::Name => text("^[A-Za-z0-9._-]{1,64}$"),
        Kind::SqlRoles => json!({
            "anyOf": [
                { "type": "array", "items": text("^.{1,63}$") },
                {
                    "type": "object",
                    "propertyNames": { "pattern": "^.{1,63}$" },
                    "additionalProperties": text("^[A-Za-z0-9._-]{1,64}$"),
                },
            ],
        }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string", "minLength": 1 } }),
    }
}

fn status_or_statuses() -> Value {
    let status = json!({ "type": "integer", "minimum": 100, "maximum": 599 });
    json!({ "anyOf": [status, { "type": "array", "items": status }] })
}

fn predicate() -> Value {
    json!({
        "type": "object",
        "description": "A condition on an answer: one of the statuses, and every field of the JSON body.",
        "minProperties": 1,
        "additionalProperties": false,
        "properties": {
            "status": status_or_statuses(),
            "json": {
                "type": "object",
                "description": "JSON pointers, and the values that match.",
                "propertyNames": { "pattern": "^/" },
                "additionalProperties": {
                    "anyOf": [
                        { "$ref": "#/definitions/scalar" },
                        { "type": "array", "minItems": 1, "items": { "$ref": "#/definitions/scalar" } },
                    ],
                },
            },
        },
    })
}
