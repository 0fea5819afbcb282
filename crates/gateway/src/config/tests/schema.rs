//! Compares the JSON Schema with the parser: both must know the same keys, and accept the same values.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::keys::{Kind, ROOT, Spec};
use super::super::*;
use super::{CONTRACT, EVERYTHING, MISTAKES, env, name};

/// Adds to `out` each violation of `schema` by `value`. Only the part of draft-07 that our schema uses is known here.
/// An unknown rule is an error, so that no rule is skipped.
fn violations(schema: &Value, root: &Value, value: &Value, path: &str, out: &mut Vec<String>) {
    let Value::Object(rules) = schema else { panic!("a schema is an object: {schema}") };
    for (rule, given) in rules {
        let fine = match rule.as_str() {
            "$schema" | "title" | "description" | "definitions" | "required" => true,
            "$ref" => {
                let target = given.as_str().unwrap().trim_start_matches('#');
                violations(root.pointer(target).unwrap(), root, value, path, out);
                true
            }
            "type" => match given {
                Value::String(one) => is_type(value, one),
                many => many.as_array().unwrap().iter().any(|one| is_type(value, one.as_str().unwrap())),
            },
            "const" => value == given,
            "enum" => given.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|number| number >= given.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= given.as_f64().unwrap()),
            "exclusiveMinimum" => value.as_f64().is_none_or(|number| number > given.as_f64().unwrap()),
            "minLength" => {
                value.as_str().is_none_or(|text| text.chars().count() as u64 >= given.as_u64().unwrap())
            }
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= given.as_u64().unwrap()),
            "minProperties" => {
                value.as_object().is_none_or(|fields| fields.len() as u64 >= given.as_u64().unwrap())
            }
            "pattern" => value.as_str().is_none_or(|text| matches_pattern(given, text)),
            "anyOf" => given.as_array().unwrap().iter().any(|option| {
                let mut inner = Vec::new();
                violations(option, root, value, path, &mut inner);
                inner.is_empty()
            }),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    violations(given, root, item, &format!("{path}/{index}"), out);
                }
                true
            }
            "propertyNames" => value
                .as_object()
                .is_none_or(|fields| fields.keys().all(|key| matches_pattern(&given["pattern"], key))),
            "properties" | "additionalProperties" => true,
            other => panic!("unknown rule {other}"),
        };
        if !fine {
            out.push(format!("{path}: {rule} {given}"));
        }
    }
    let Some(fields) = value.as_object() else { return };
    for key in rules.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !fields.contains_key(key.as_str().unwrap()) {
            out.push(format!("{path}: lacks {key}"));
        }
    }
    for (key, inner) in fields {
        let path = format!("{path}/{key}");
        match (rules.get("properties").and_then(|known| known.get(key)), rules.get("additionalProperties")) {
            (Some(known), _) => violations(known, root, inner, &path, out),
            (None, Some(Value::Bool(false))) => out.push(format!("{path}: not known")),
            (None, Some(other)) => violations(other, root, inner, &path, out),
            (None, None) => {}
        }
    }
}

fn is_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("unknown type {other}"),
    }
}

fn matches_pattern(pattern: &Value, text: &str) -> bool {
    regex_lite::Regex::new(pattern.as_str().unwrap()).unwrap().is_match(text)
}

fn check(text: &str) -> Vec<String> {
    let value: Value = toml::from_str(text).unwrap();
    let schema = schema();
    let mut out = Vec::new();
    violations(&schema, &schema, &value, "", &mut out);
    out
}

#[test]
fn accepted_files_fulfil_the_schema() {
    assert_eq!(check(CONTRACT), Vec::<String>::new());
    assert_eq!(check(EVERYTHING), Vec::<String>::new());
    assert!(check(MISTAKES).len() >= 9, "{:?}", check(MISTAKES));
}

#[test]
fn times_and_sizes_are_judged_alike_by_schema_and_parser() {
    for (key, values) in [
        ("drain = ", ["'20ms'", "'1.5s'", "'2m'", "'off'", "30", "'30'", "'-1s'", "'1 s'", "'1.s'"]),
        ("limits.body = ", ["'64KiB'", "'1MB'", "'off'", "17", "-1", "'1kb'", "'x'", "true", "'1.5GiB'"]),
        ("limits.headers = ", ["1", "100", "0", "-1", "1.5", "'a'", "10001", "true", "[]"]),
    ] {
        for value in values {
            let text = format!("{}[gateway]\n{key}{value}\n", super::dependency(""));
            assert_eq!(check(&text).is_empty(), super::read(&text).is_ok(), "{text}{:?}", check(&text));
        }
    }
}

#[test]
fn limits_of_an_answers_head_are_judged_alike_by_schema_and_parser() {
    for (key, values) in [
        (
            "answer.header_bytes = ",
            ["1024", "1023", "1048576", "1048577", "'64KiB'", "'1mib'", "'off'", "true"],
        ),
        ("answer.headers = ", ["1", "0", "1000", "1001", "1.5", "'100'", "'off'", "true"]),
    ] {
        for value in values {
            let text = format!("{}[defaults]\n{key}{value}\n", super::dependency(""));
            assert_eq!(check(&text).is_empty(), super::read(&text).is_ok(), "{text}{:?}", check(&text));
        }
    }
}

#[test]
fn keys_windows_and_amounts_are_judged_alike_by_schema_and_parser() {
    let confirm = |until: &str| {
        format!("confirm = {{ request = 'GET /c', applied = {{ status = 200 }}, until = {until} }}")
    };
    let amount = |rest: &str| format!("durable = true\namount = {{ value = '/amount', {rest} }}");
    let lines = [
        "'24h'",
        "'midnight Asia/Seoul'",
        "'23:30 UTC'",
        "'midnight'",
        "'23:30'",
        "'24'",
        "24",
        "'noon UTC'",
    ]
    .map(|value| format!("key_lifetime = {value}"))
    .into_iter()
    .chain(["'1h'", "'same-day Asia/Seoul'", "'3-days UTC'", "'next-day'", "'day UTC'", "true"].map(confirm))
    .chain(
        ["currency = 'KRW'", "currency = '/c'", "currency = 'krw'", "currency = 'KRW', minor = 2"]
            .map(amount),
    )
    .chain(["currency = 'KRW', minor = 5", "currency = 7", "minor = 2"].map(amount));
    for line in lines {
        let text = super::operation(&line);
        assert_eq!(check(&text).is_empty(), super::read(&text).is_ok(), "{text}{:?}", check(&text));
    }
    for key in [
        "chars = 'A-Z0-9', max = 64",
        "min = 3",
        "max = 70000",
        "chars = '', max = 64",
        "chars = 'é', max = 64",
    ] {
        let text = super::dependency(&format!("key = {{ {key} }}"));
        assert_eq!(check(&text).is_empty(), super::read(&text).is_ok(), "{text}{:?}", check(&text));
    }
}

#[test]
fn what_otherwise_may_say_is_judged_alike_by_schema_and_parser() {
    for value in ["'applied'", "'unknown'", "'not_applied'", "'Unknown'", "''", "true", "[]"] {
        let text = super::operation(&format!("answers.otherwise = {value}"));
        assert_eq!(check(&text).is_empty(), super::read(&text).is_ok(), "{text}{:?}", check(&text));
    }
}

#[test]
fn what_is_taken_over_is_judged_alike_by_schema_and_parser() {
    let keys =
        ["'{request:/id}'", "'a-{request-header:x-b}-c'", "'generate'", "'order'", "'{key}'", "''", "7"];
    let lists = ["[]", "['accept', 'X-A']", "['a b']", "['']", "'accept'", "[7]"];
    let words = ["'none'", "'configured'", "'None'", "true"];
    let lines = keys.map(|value| format!("key = {value}")).into_iter();
    let lines = lines.chain(lists.map(|value| format!("keep_headers = {value}")));
    for line in lines.chain(words.map(|value| format!("credentials = {value}"))) {
        let text = super::operation(&line);
        assert_eq!(check(&text).is_empty(), super::read(&text).is_ok(), "{text}{:?}", check(&text));
    }
}

/// Every key of every table.
fn all_keys(spec: &'static Spec, out: &mut BTreeSet<(&'static str, &'static str)>) {
    for key in spec.keys() {
        out.insert((spec.name, key.name));
        if let Kind::Table(inner) | Kind::Tables(inner) | Kind::Named(inner) = key.kind {
            all_keys(inner, out);
        }
    }
}

/// Finds a key that stands in the table of keys, but that no code reads. Such a key would be accepted in a file, and
/// have no effect.
#[test]
fn the_reader_asks_for_every_key_of_the_table() {
    let document = toml::de::DeTable::parse(EVERYTHING).unwrap();
    let file = name();
    let book = Book {
        text: EVERYTHING,
        env: &env,
        base: std::path::Path::new(&file).parent().unwrap(),
        broken: false,
        mistakes: Default::default(),
        notes: Default::default(),
        files: Default::default(),
        asked: Default::default(),
    };
    // A configuration is read in two passes. The first pass asks for every key that the file has, so it would hide a
    // key that no code uses. The second pass (`read::settings`) asks for the keys that it uses. So only the second pass
    // runs here.
    read::settings(&Section::new(&book, &ROOT, document.get_ref(), 0..0));
    let mut known = BTreeSet::new();
    all_keys(&ROOT, &mut known);
    let asked = book.asked.borrow();
    assert_eq!(known.difference(&asked).collect::<Vec<_>>(), Vec::<&(&str, &str)>::new());
}

#[test]
fn names_of_tables_are_unique_and_keys_too() {
    fn walk(spec: &'static Spec, seen: &mut Vec<(&'static str, *const Spec)>) {
        let names: Vec<_> = spec.names().collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{}", spec.name);
        assert!(seen.iter().all(|(name, at)| *name != spec.name || std::ptr::eq(*at, spec)), "{}", spec.name);
        seen.push((spec.name, spec));
        for key in spec.keys() {
            if let Kind::Table(inner) | Kind::Tables(inner) | Kind::Named(inner) = key.kind {
                walk(inner, seen);
            }
        }
    }
    walk(&ROOT, &mut Vec::new());
}
