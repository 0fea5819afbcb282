//! Reads predicates. A predicate is a condition on an answer, for example
//! `{ status = 200, json = { "/code" = ["DECLINED", "LIMIT"] } }`.

use seawall_actions::field_pointer;
use seawall_actions::nearest::advice;
use seawall_actions::shown::quoted;
use seawall_policy::{Field, Otherwise, Predicate, Scalar};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::values::{self, Wrong};

/// A mistake in a part of a predicate, with its place.
pub(super) type Misplaced = (std::ops::Range<usize>, Wrong);

const KEYS: [&str; 2] = ["status", "json"];

/// Reads one predicate or a list of predicates. An answer matches a list if it matches one of its predicates. Returns
/// the predicates, and all mistakes together.
pub(super) fn predicates(value: &Spanned<DeValue<'_>>) -> (Vec<Predicate>, Vec<Misplaced>) {
    let mut wrong = Vec::new();
    let found = match value.get_ref() {
        DeValue::Array(items) => items.iter().map(|item| predicate(item, &mut wrong)).collect(),
        _ => vec![predicate(value, &mut wrong)],
    };
    (found, wrong)
}

fn predicate(value: &Spanned<DeValue<'_>>, wrong: &mut Vec<Misplaced>) -> Predicate {
    let mut found = Predicate::default();
    let DeValue::Table(table) = value.get_ref() else {
        let help = "as in { status = 200, json = { \"/code\" = \"DECLINED\" } }";
        wrong
            .push((value.span(), values::wrong_kind("a condition on an answer", value.get_ref()).help(help)));
        return found;
    };
    for key in table.keys().filter(|key| !KEYS.contains(&key.get_ref().as_ref())) {
        let shown = quoted(key.get_ref(), KEYS, "this key");
        let message = format!("{shown} is not known in a condition on an answer");
        wrong.push((key.span(), Wrong::new(message).help(advice(key.get_ref(), KEYS))));
    }
    if table.is_empty() {
        wrong.push((
            value.span(),
            Wrong::new("an empty condition would match every answer").help("give `status`, `json`, or both"),
        ));
    }
    if let Some(status) = table.get("status") {
        found.statuses = statuses(status, wrong);
    }
    match table.get("json").map(|json| (json.span(), json.get_ref())) {
        None => {}
        Some((_, DeValue::Table(fields))) => found.fields = fields_of(fields, wrong),
        Some((span, other)) => {
            wrong.push((
                span,
                values::wrong_kind("a table of JSON pointers", other)
                    .help("as in { \"/code\" = \"DECLINED\" }"),
            ));
        }
    }
    found
}

/// Reads one status or a list of statuses.
pub(super) fn statuses(value: &Spanned<DeValue<'_>>, wrong: &mut Vec<Misplaced>) -> Vec<u16> {
    let items: Vec<&Spanned<DeValue<'_>>> = match value.get_ref() {
        DeValue::Array(items) => items.iter().collect(),
        _ => vec![value],
    };
    let mut found = Vec::with_capacity(items.len());
    for item in items {
        match values::status(item.get_ref()) {
            Ok(status) => found.push(status),
            Err(error) => wrong.push((item.span(), error)),
        }
    }
    found
}

/// Reads the setting `otherwise`: what a success means if it fits no declared answer. The only words are `unknown` and
/// `applied`. There is no `not_applied`, because no success proves that nothing was done. The error for any other word
/// lists both words, and does not suggest one of them.
pub(super) fn otherwise(value: &DeValue<'_>) -> Result<Otherwise, Wrong> {
    let both = [Otherwise::Unknown, Otherwise::Applied];
    let written = values::text(value)?;
    both.into_iter().find(|otherwise| otherwise.as_str() == written).ok_or_else(|| {
        let shown = quoted(written, [], "this");
        Wrong::new(format!("a 2xx that fits no declared answer cannot mean {shown}"))
            .help("\"unknown\" (safe: only what is declared counts as applied) or \"applied\"")
    })
}

fn fields_of(fields: &DeTable<'_>, wrong: &mut Vec<Misplaced>) -> Vec<Field> {
    let mut found = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        if let Err(error) = field_pointer(name.get_ref()) {
            wrong.push((name.span(), error));
        }
        let any_of = match value.get_ref() {
            DeValue::Array(items) if items.is_empty() => {
                wrong.push((value.span(), Wrong::new("an empty list matches nothing")));
                Vec::new()
            }
            DeValue::Array(items) => items.iter().filter_map(|item| scalar(item, wrong)).collect(),
            _ => scalar(value, wrong).into_iter().collect(),
        };
        found.push(Field { pointer: name.get_ref().to_string(), any_of });
    }
    found
}

fn scalar(value: &Spanned<DeValue<'_>>, wrong: &mut Vec<Misplaced>) -> Option<Scalar> {
    let found = match value.get_ref() {
        DeValue::String(text) => Ok(Scalar::Text(text.to_string())),
        DeValue::Boolean(flag) => Ok(Scalar::Bool(*flag)),
        DeValue::Integer(_) => values::integer(value.get_ref()).map(Scalar::Integer),
        DeValue::Float(_) => values::number(value.get_ref()).map(Scalar::Float),
        other => Err(values::wrong_kind("a string, a number, true or false", other)),
    };
    found.map_err(|error| wrong.push((value.span(), error))).ok()
}

/// Returns a predicate as it would be written in the file.
pub(super) fn show(predicate: &Predicate) -> String {
    let mut parts = Vec::new();
    if !predicate.statuses.is_empty() {
        let all: Vec<String> = predicate.statuses.iter().map(u16::to_string).collect();
        parts.push(format!("status {}", all.join(" or ")));
    }
    for field in &predicate.fields {
        let all: Vec<String> = field.any_of.iter().map(show_scalar).collect();
        parts.push(format!("{} = {}", field.pointer, all.join(" or ")));
    }
    parts.join(", ")
}

fn show_scalar(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Null => "null".to_owned(),
        Scalar::Bool(flag) => flag.to_string(),
        Scalar::Integer(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Text(text) => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(written: &str) -> (Vec<Predicate>, Vec<Misplaced>) {
        predicates(&DeValue::parse(written).unwrap())
    }

    #[test]
    fn a_predicate_has_statuses_and_fields() {
        let (found, wrong) =
            read(r#"{ status = [200, 201], json = { "/code" = ["NO", 7, true], "/a/b" = 1.5 } }"#);
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(found[0].statuses, [200, 201]);
        let code = found[0].fields.iter().find(|field| field.pointer == "/code").unwrap();
        assert_eq!(code.any_of, [Scalar::Text("NO".into()), Scalar::Integer(7), Scalar::Bool(true)]);
        assert_eq!(read("{ status = 404 }").0[0].statuses, [404]);
        assert_eq!(read("[{ status = 404 }, { status = 410 }]").0.len(), 2);
    }

    #[test]
    fn every_mistake_is_told_at_its_place() {
        let (_, wrong) =
            read(r#"{ staus = 1, status = [99, 200, "x"], json = { "code" = 1, "/b" = [], "/c" = {} } }"#);
        let mut at: Vec<usize> = wrong.iter().map(|(span, _)| span.start).collect();
        at.sort_unstable();
        assert_eq!(at.len(), 6, "{wrong:?}");
        assert_eq!(read("{}").1.len(), 1);
        assert_eq!(read("7").1.len(), 1);
    }
}
