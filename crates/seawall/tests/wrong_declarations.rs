//! Wrong declarations of durable operations. The gateway's configuration is tested with the same table.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::time::Duration;

use seawall::ledger::{Cancel, Confirm, DurableBuilder, OnUnknown};
use seawall::{Dependency, Effect, Idempotency, Timeouts, When, millis};
use serde::Deserialize;
use toml::{Table, Value};

#[derive(Deserialize)]
struct Declarations {
    wrong: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    lines: String,
    #[serde(default)]
    ledger: String,
    #[serde(default)]
    dependency: String,
    /// `gateway` for a row that is about the gateway's configuration alone; otherwise empty.
    #[serde(default)]
    only: String,
    /// The expected problems: for each the setting, and some words of its message.
    problems: Vec<(String, String)>,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn is_time(value: &Value) -> bool {
    let text = text(value);
    text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with(['s', 'm', 'h'])
}

/// Declares the same amount as this table.
fn amount(builder: DurableBuilder, table: &Value) -> DurableBuilder {
    let (value, currency) = (text(&table["value"]), text(&table["currency"]));
    match table.get("minor") {
        Some(places) => {
            let places = places.as_integer().unwrap().try_into().unwrap();
            builder.amount_in_minor_units(value, currency, places)
        }
        None => builder.amount(value, currency),
    }
}

/// Declares the same keys as this table.
fn key(builder: DurableBuilder, table: &Value) -> DurableBuilder {
    let length = |key: &str| usize::try_from(table[key].as_integer().unwrap()).unwrap();
    builder.key(text(&table["chars"]), length("min")..=length("max"))
}

fn time(value: &Value) -> Duration {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000)];
    let (number, unit) =
        units.iter().find_map(|(unit, each)| Some((text(value).strip_suffix(unit)?, each))).unwrap();
    millis(number.parse::<u64>().unwrap() * unit)
}

fn when(value: &Value) -> When {
    let status = u16::try_from(value["status"].as_integer().unwrap()).unwrap();
    let fields = value.get("json").and_then(Value::as_table).into_iter().flatten();
    fields.fold(When::status(status), |when, (pointer, value)| when.field(pointer, [text(value)]))
}

fn json(value: &Value) -> serde_json::Value {
    serde_json::to_value(value).unwrap()
}

/// The entries of a table of texts.
fn entries(value: &Value) -> impl Iterator<Item = (&str, &str)> {
    value.as_table().unwrap().iter().map(|(name, value)| (name.as_str(), text(value)))
}

fn confirm(table: &Value) -> Confirm {
    let mut confirm = Confirm::by(text(&table["request"]));
    for (key, value) in table.as_table().unwrap() {
        confirm = match key.as_str() {
            "request" => confirm,
            "applied" if value.is_array() => confirm,
            "applied" => confirm.applied(when(value)),
            "partly" => confirm.partly(when(value)),
            "absent" => confirm.absent(when(value)),
            "absences" => confirm.absences(u32::try_from(value.as_integer().unwrap()).unwrap()),
            "id" => confirm.id(text(value)),
            "until" if is_time(value) => confirm.until(time(value)),
            "until" => confirm.until_day(text(value)),
            "headers" => entries(value).fold(confirm, |confirm, (name, value)| confirm.header(name, value)),
            "json" => confirm.json(json(value)),
            "form" => confirm.form(entries(value)),
            other => panic!("no method for `confirm.{other}`"),
        };
    }
    confirm
}

fn cancel(table: &Value) -> Cancel {
    let mut cancel = Cancel::by(text(&table["request"]));
    for (key, value) in table.as_table().unwrap() {
        cancel = match (key.as_str(), value.as_str()) {
            ("request", _) => cancel,
            ("headers", _) => entries(value).fold(cancel, |cancel, (name, value)| cancel.header(name, value)),
            ("json", _) => cancel.json(json(value)),
            ("form", _) => cancel.form(entries(value)),
            ("keyed", _) => cancel.keyed(),
            ("after", _) => cancel.after(time(value)),
            ("until", _) if is_time(value) => cancel.until(time(value)),
            ("until", _) => cancel.until_day(text(value)),
            ("kind", Some("state")) => cancel.sets_a_state(),
            ("tombstone", _) => cancel.leaves_a_tombstone(),
            ("done", _) => cancel.done(when(value)),
            ("already", _) => cancel.already(when(value)),
            ("not_found", _) => cancel.not_found(when(value)),
            ("refused", _) => cancel.refused(when(value)),
            ("never", _) => cancel.never(when(value)),
            (other, _) => panic!("no method for `cancel.{other}`"),
        };
    }
    cancel
}

/// The builder with the same settings as these lines.
fn builder(row: &Row) -> DurableBuilder {
    let [lines, ledger, dependency] =
        [&row.lines, &row.ledger, &row.dependency].map(|lines| toml::from_str::<Table>(lines).unwrap());
    let idempotency = match lines.get("idempotency").map_or("keyed", text) {
        "safe" => Idempotency::Safe,
        "keyed" => Idempotency::Keyed,
        "none" => Idempotency::None,
        other => panic!("no idempotency `{other}`"),
    };
    let total = lines.get("timeout").map(|timeout| match text(&timeout["total"]) {
        "off" => None,
        _ => Some(time(&timeout["total"])),
    });
    let timeouts = total.map_or_else(Timeouts::default, |total| Timeouts::default().total(total));
    let pay = Dependency::builder("pay").endpoint("https://pay.example").unwrap().build().unwrap();
    let charge = pay.operation("charge").idempotency(idempotency).timeout(timeouts);
    let charge = lines.get("duplicate").into_iter().fold(charge, |charge, it| charge.duplicate(when(it)));
    let answers = lines.get("answers").and_then(|answers| answers.get("not_applied"));
    let charge = answers.into_iter().fold(charge, |charge, it| charge.answers(Effect::NotApplied, when(it)));
    let charge = charge.build().unwrap();
    let mut builder = charge.durable("POST /v1/charges");
    for (name, value) in lines.iter().chain(&ledger).chain(&dependency) {
        builder = match (name.as_str(), value.as_str()) {
            ("idempotency" | "timeout" | "durable" | "duplicate" | "answers", _) => builder,
            ("on_unknown", Some("repeat")) => builder.on_unknown(OnUnknown::Repeat),
            ("on_unknown", Some("confirm")) => builder.on_unknown(OnUnknown::Confirm),
            ("on_unknown", Some("cancel")) => builder.on_unknown(OnUnknown::Cancel),
            ("settle", Some("explicit")) => builder.settled_by_application(),
            ("settle_within", _) => builder.settle_within(time(value)),
            ("quiet", _) => builder.quiet(time(value)),
            ("stuck_after", _) => builder.stuck_after(time(value)),
            ("key_lifetime", _) if is_time(value) => builder.key_lifetime(time(value)),
            ("key_lifetime", Some(text)) => builder.keys_forgotten_at(text),
            ("key", _) => key(builder, value),
            ("amount", _) => amount(builder, value),
            ("lease", _) => builder.lease(time(value)),
            ("network", _) => builder.network(time(value)),
            ("pause", _) => builder.pause(time(value)),
            ("confirm", _) => builder.confirm(confirm(value)),
            ("cancel", _) => builder.cancel(cancel(value)),
            (other, _) => panic!("no method for `{other}`"),
        };
    }
    builder
}

#[test]
fn the_builders_find_the_problems_of_the_table() {
    let table = include_str!("../../actions/tests/wrong_declarations.toml");
    let table: Declarations = toml::from_str(table).unwrap();
    assert!(table.wrong.len() > 20, "{}", table.wrong.len());
    for row in table.wrong.into_iter().filter(|row| row.only.is_empty()) {
        let told = builder(&row).build().map(|_| ()).expect_err(&row.lines);
        let told: Vec<&str> = told.problems().collect();
        assert_eq!(told.len(), row.problems.len(), "{}\n{told:#?}", row.lines);
        for (setting, says) in &row.problems {
            let begins = format!("operation charge: {setting}: ");
            let found = told.iter().any(|told| told.starts_with(&begins) && told.contains(says.as_str()));
            assert!(found, "{setting}: {says}\n{}\n{told:#?}", row.lines);
        }
    }
}
