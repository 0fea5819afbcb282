//! Tests that every scenario finds its known figures, with the same number of seeds as users get by default.
//!
//! `known/figures.toml` has the figures with their tolerances and public sources. Each test runs one whole scenario, as
//! `seawall lab simulate NAME` does, and compares every figure of its studies. `SEAWALL_SIM_SEED=N` begins with another
//! seed; `cargo xtask simulate` runs the scenarios over several seeds.

use seawall_lab::sim::figures::{Figure, Value};
use seawall_lab::sim::scenarios::{Ask, find};
use seawall_lab::sim::seeds::silent;
use serde::Deserialize;

#[derive(Deserialize)]
struct Known {
    figure: Vec<Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    name: String,
    is: Option<Vec<f64>>,
    within: Option<Vec<String>>,
    from: Option<f64>,
    to: Option<f64>,
    says: Option<String>,
    holds: Option<bool>,
    source: String,
}

fn known(studies: &[&str]) -> Vec<Expected> {
    let text = include_str!("known/figures.toml");
    let all: Known = toml::from_str(text).expect("the table of known figures");
    let of_study = |name: &str| studies.iter().any(|study| name.split('/').next() == Some(study));
    all.figure.into_iter().filter(|expected| of_study(&expected.name)).collect()
}

/// The tolerance for `value`: the largest of `rel SHARE` and `abs NUMBER`.
fn tolerance(text: &str, value: f64) -> f64 {
    let words: Vec<&str> = text.split(' ').collect();
    let each = words.chunks(2).map(|pair| match pair {
        ["rel", share] => share.parse::<f64>().expect("a share") * value.abs(),
        ["abs", number] => number.parse::<f64>().expect("a number"),
        other => panic!("no tolerance: {other:?}"),
    });
    each.fold(0.0, f64::max)
}

/// How a figure differs from what is expected, if it does.
fn differs(expected: &Expected, found: &Figure) -> Option<String> {
    let numbers: Vec<f64> = found.numbers().iter().map(|one| one.mean).collect();
    let right = match (&expected.is, &found.value) {
        (Some(values), Value::Number(_) | Value::List(_)) => {
            let within = expected.within.as_ref().expect("a tolerance for each number");
            numbers.len() == values.len()
                && numbers
                    .iter()
                    .zip(values)
                    .zip(within)
                    .all(|((found, value), text)| (found - value).abs() <= tolerance(text, *value))
        }
        (None, Value::Number(one)) => {
            let (from, to) = (expected.from.expect("a bound"), expected.to.expect("a bound"));
            (from..=to).contains(&one.mean)
        }
        (_, Value::Said(text)) => expected.says.as_ref() == Some(text),
        (_, Value::Holds(holds)) => expected.holds == Some(*holds),
        (None, Value::List(_)) => false,
    };
    (!right).then(|| {
        let wanted = (&expected.is, &expected.within, expected.from, expected.to, &expected.says);
        format!("{}: found {:?}, known {wanted:?} ({})", expected.name, found.value, expected.source)
    })
}

fn finds(scenario: &str, studies: &[&str]) {
    let seed = std::env::var("SEAWALL_SIM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let ask = Ask { seed, ..Ask::default() };
    let found = find(scenario).expect("a scenario").run(&ask, &silent).expect("possible");
    let expected = known(studies);
    assert!(!expected.is_empty());
    let mut places = Vec::new();
    let mut wrong = Vec::new();
    for expected in &expected {
        match found.figures.iter().position(|figure| figure.name == expected.name) {
            Some(place) => {
                places.push(place);
                wrong.extend(differs(expected, &found.figures[place]));
            }
            None => wrong.push(format!("{}: not found", expected.name)),
        }
    }
    assert!(wrong.is_empty(), "from seed {seed} on:\n{}", wrong.join("\n"));
    assert!(places.is_sorted(), "figures come in the order of the table");
}

#[test]
fn erlang_b_refuses_what_the_loss_formula_says() {
    finds("erlang-b", &["bulkhead_erlang_b", "bulkhead_mmck"]);
}

#[test]
fn jitter_halves_the_writes_of_plain_doubling() {
    finds("jitter", &["aws_jitter"]);
}

#[test]
fn retries_of_tiers_multiply() {
    finds("retry-amplification", &["retry_amp"]);
}

#[test]
fn storms_end_when_the_closed_form_says_or_never() {
    finds("metastable", &["metastable_recovery", "metastable_collapse", "metastable_mitigation"]);
}

#[test]
fn the_critical_load_is_one_over_the_attempts() {
    finds("critical-load", &["critical_load"]);
}

#[test]
fn savings_of_many_callers_add_up() {
    finds("client-count", &["client_count"]);
}

#[test]
fn a_dead_shard_costs_what_the_breaker_makes_of_it() {
    finds("partial-outage", &["partial_outage"]);
}

#[test]
fn the_slowest_leaf_decides_and_a_hedge_helps() {
    finds("tail", &["tail_at_scale"]);
}

#[test]
fn callers_who_leave_open_nothing_and_a_hang_is_noticed() {
    finds("witnesses", &["witnesses", "witnesses_keys", "witnesses_obvious", "witnesses_hang"]);
}

#[test]
fn who_was_told_to_come_back_later_does_and_not_all_together() {
    finds("cooling", &["cooling_return", "cooling_two", "cooling_one"]);
}
