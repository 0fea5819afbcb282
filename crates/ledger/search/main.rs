//! Looks at everything that can happen to an action, in a world that is small enough for that.
//!
//! The world has two workers that crash, lag and go on after their lease has ended (zombies); requests and answers that
//! are late or lost; and a status index that lags. Its application commits, rolls back, cancels or stops at any step.
//! There are providers of every kind that can be declared. In all of it the machine must leave no charge without an
//! order and no order without a charge, and nothing may hang.
//!
//! The second half of the tests replaces one rule of the machine at a time by an obvious but wrong one. The search must
//! then find a run that ends badly. If it found none, the machine's rule would be superfluous, or the world would be
//! too small to test it.
//!
//! `SEAWALL_SEARCH=traces cargo test -p seawall-ledger-search obvious -- --nocapture` prints those runs.
//! `SEAWALL_SEARCH_CASE=words` restricts the first half to the cases with these words in their names.
//! `SEAWALL_SEARCH=big cargo test --release -p seawall-ledger-search no_run -- --nocapture` looks at the larger world.

mod bent;
mod cases;
mod explore;
mod invariants;
mod moves;
mod normal;
mod obvious;
mod partners;
mod people;
mod provider;
mod world;
mod writes;

use explore::explore;
use obvious::{Machine, Obvious};
use world::Case;

/// The maximum number of worlds of one search. It is only for safety: every case has fewer.
const MOST_WORLDS: usize = 60_000_000;

fn size() -> String {
    std::env::var("SEAWALL_SEARCH").unwrap_or_default()
}

fn nothing_ends_badly(cases: Vec<Case>) {
    let mut cases = if size() == "big" { cases::larger(cases) } else { cases };
    if let Ok(words) = std::env::var("SEAWALL_SEARCH_CASE") {
        cases.retain(|case| case.name.contains(&words));
    }
    let mut bad = Vec::new();
    let (mut worlds, mut moves) = (0, 0);
    for case in cases {
        let seen = explore(&case, &Machine::default(), MOST_WORLDS);
        worlds += seen.worlds;
        moves += seen.moves;
        let [done, failed, cancelled, stuck] = seen.ends;
        println!("{:>9} worlds, {:>10} moves: {}", seen.worlds, seen.moves, case.name);
        println!("          ended {done} done, {failed} failed, {cancelled} cancelled, {stuck} stuck");
        if let Some(run) = seen.bad {
            println!("{run}");
            bad.push(format!("{}: {}", case.name, run.what));
        }
    }
    println!("{worlds:>9} worlds, {moves:>10} moves in all");
    assert!(bad.is_empty(), "{bad:#?}");
}

// The search is split into several tests, so that they run at the same time.

#[test]
fn no_run_with_keys_ends_badly() {
    nothing_ends_badly(cases::with_keys());
}

#[test]
fn no_run_without_keys_ends_badly() {
    nothing_ends_badly(cases::without_keys());
}

#[test]
fn no_run_settled_by_the_application_ends_badly() {
    nothing_ends_badly(cases::settled_by_us());
}

#[test]
fn no_run_with_scopes_people_or_slow_networks_ends_badly() {
    nothing_ends_badly(cases::scopes_people_and_slow_networks());
}

#[test]
fn no_run_with_keys_that_end_ends_badly() {
    nothing_ends_badly(partners::keys_that_end());
}

#[test]
fn no_run_with_windows_or_refused_cancels_ends_badly() {
    nothing_ends_badly(partners::windows_and_cancels());
}

#[test]
fn no_run_with_callers_handlers_or_sql_ends_badly() {
    nothing_ends_badly(partners::callers_handlers_and_sql());
}

#[test]
fn each_obvious_rule_has_a_bad_run() {
    each_has_a_bad_run(cases::mistakes());
}

#[test]
fn each_obvious_rule_about_partners_has_a_bad_run() {
    each_has_a_bad_run(partners::mistakes());
}

fn each_has_a_bad_run(mistakes: Vec<(Option<Obvious>, Case, &'static str)>) {
    let mut wrong = Vec::new();
    for (obvious, case, expected) in mistakes {
        let rule = obvious.map_or(case.name.to_owned(), |obvious| format!("{obvious:?}"));
        match explore(&case, &Machine { obvious }, MOST_WORLDS).bad {
            Some(run) => {
                println!("{:>3} steps: {rule}: {}", run.steps, run.what);
                if size() == "traces" {
                    println!("{run}");
                }
                if run.what != expected {
                    wrong.push(format!("{rule}: {} instead of {expected}", run.what));
                }
            }
            None => wrong.push(format!("{rule}: passes")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
