//! How each failure must end, one scenario a line: call after commit, on both stores. docs/ledger-scenarios.md lists
//! these scenarios, and those that are tested elsewhere.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use seawall::ledger::protocol::{AttemptKind, AttemptOutcome, AttemptRow};
use tokio::sync::Semaphore;

use crate::account::Account;
use crate::charges::QUIET;
use crate::shop::Called;
use crate::{Place, tell};

/// A scenario: its name, how the order, the action and the live effects must be in the end, and what must not happen.
struct Scenario {
    id: &'static str,
    order: &'static str,
    action: &'static str,
    effects: u64,
    must_not: fn(&Seen) -> Result<(), String>,
}

/// What the shop and the harbor have seen.
struct Seen {
    account: Account,
    attempts: Vec<AttemptRow>,
    /// The number of requests for the charge that the harbor has read.
    sent: u64,
    refunds: u64,
}

impl Seen {
    fn of(account: Account) -> Seen {
        let detail = &account.detail;
        let count = detail.books.by_key.get(&detail.key).copied().unwrap_or_default();
        let attempts = detail.log.as_ref().map(|log| log.attempts.clone()).unwrap_or_default();
        Seen { attempts, sent: count.requests, refunds: count.refunds, account }
    }

    fn kind(&self, kind: AttemptKind) -> impl Iterator<Item = &AttemptRow> {
        self.attempts.iter().filter(move |attempt| attempt.kind == kind)
    }

    fn outcomes(&self, kind: AttemptKind, outcome: AttemptOutcome) -> usize {
        self.kind(kind).filter(|attempt| attempt.outcome == outcome).count()
    }
}

fn never(happened: bool, what: &str) -> Result<(), String> {
    if happened { Err(format!("must not: {what}")) } else { Ok(()) }
}

fn sent_once(seen: &Seen) -> Result<(), String> {
    never(seen.sent != 1, "sent more or less than once")
}

const SCENARIOS: [Scenario; 13] = [
    Scenario {
        id: "crash-before-commit",
        order: "none",
        action: "none",
        effects: 0,
        must_not: |seen| never(seen.sent != 0 || seen.account.detail.log.is_some(), "a call, or a row"),
    },
    Scenario {
        id: "crash-after-commit-before-send",
        order: "paid",
        action: "done",
        effects: 1,
        must_not: sent_once,
    },
    Scenario {
        id: "crash-after-send-before-reply",
        order: "paid",
        action: "done",
        effects: 1,
        must_not: |seen| {
            sent_once(seen)?;
            never(seen.kind(AttemptKind::Confirm).next().is_none(), "believed without asking")
        },
    },
    Scenario {
        id: "reply-lost-then-our-db-fails",
        order: "paid",
        action: "done",
        effects: 1,
        must_not: sent_once,
    },
    Scenario {
        id: "business-rejects-after-success",
        order: "cancelled",
        action: "cancelled",
        effects: 0,
        must_not: |seen| {
            let known = seen.attempts.iter().position(|attempt| attempt.outcome == AttemptOutcome::Yes);
            let undone = seen.attempts.iter().position(|attempt| attempt.kind == AttemptKind::Cancel);
            let in_order = known.zip(undone).is_some_and(|(known, undone)| known < undone);
            never(!in_order, "a cancel before the outcome was known")?;
            never(seen.refunds != 1, "refunded more or less than once")
        },
    },
    Scenario { id: "timeout-but-succeeded", order: "paid", action: "done", effects: 1, must_not: sent_once },
    Scenario {
        id: "timeout-and-not-applied",
        order: "paid",
        action: "done",
        effects: 1,
        must_not: |seen| {
            never(seen.sent != 2, "sent other than twice under one key")?;
            never(seen.account.detail.books.bytes_mismatch != 0, "other bytes under the same key")?;
            let sends: Vec<_> = seen.kind(AttemptKind::Perform).collect();
            let early = sends[1].recorded_at < sends[0].send_by.saturating_add(QUIET);
            never(early, "sent again while \"not found\" was not to be believed")
        },
    },
    Scenario {
        id: "confirm-not-found-then-found",
        order: "paid",
        action: "done",
        effects: 1,
        must_not: |seen| {
            never(seen.kind(AttemptKind::Cancel).next().is_some(), "cancelled within the quiet time")?;
            sent_once(seen)
        },
    },
    Scenario {
        id: "connect-refused",
        order: "paid",
        action: "done",
        effects: 1,
        must_not: |seen| {
            let unsent = seen.outcomes(AttemptKind::Perform, AttemptOutcome::NotSent);
            never(unsent == 0, "a refused connection that counts as sent")?;
            never(seen.outcomes(AttemptKind::Perform, AttemptOutcome::Unknown) != 0, "doubt")?;
            sent_once(seen)
        },
    },
    Scenario { id: "reset-after-send", order: "paid", action: "done", effects: 1, must_not: sent_once },
    Scenario { id: "5xx-after-effect", order: "paid", action: "done", effects: 1, must_not: sent_once },
    Scenario {
        id: "cancel-before-action-arrives",
        order: "cancelled",
        action: "cancelled",
        effects: 0,
        must_not: |seen| never(seen.refunds != 1, "cancelled while the charge was still on its way"),
    },
    Scenario {
        id: "empty-compensation",
        order: "cancelled",
        action: "cancelled",
        effects: 0,
        must_not: |seen| {
            never(seen.sent != 0, "sent after it was taken back")?;
            never(seen.kind(AttemptKind::Cancel).next().is_some(), "a cancel of what was never sent")
        },
    },
];

async fn hold(place: fn() -> Place) {
    let turns = Arc::new(Semaphore::new(6));
    let tellings: Vec<_> = SCENARIOS
        .iter()
        .map(|scenario| {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move {
                let _turn = turns.acquire().await;
                // Making a database blocks the thread, and the harbors run on these threads.
                let place = tokio::task::spawn_blocking(place).await.unwrap();
                tell(&place.play(scenario.id, Called::After)).await
            })
        })
        .collect();
    for (scenario, telling) in SCENARIOS.iter().zip(tellings) {
        let account = telling.await.unwrap();
        let end = (account.order_state.as_str(), account.action_state, account.effects_there);
        let told = account.told();
        assert_eq!(end, (scenario.order, scenario.action, scenario.effects), "{told}");
        assert!(account.agree, "{told}");
        if let Err(why) = (scenario.must_not)(&Seen::of(account)) {
            panic!("{}: {why}\n{told}", scenario.id);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scenarios_end_as_they_must_on_sqlite() {
    hold(Place::sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scenarios_end_as_they_must_on_postgres() {
    hold(Place::postgres).await;
}

/// A line of the table.
struct Listed<'a> {
    name: &'a str,
    line: &'a str,
    /// The tests, each after its suite.
    tests: Vec<(&'a str, &'a str)>,
}

fn listed(page: &str) -> Vec<Listed<'_>> {
    let lines = page.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            assert_eq!(cells.len(), 4, "{line}");
            let tests = cells[3].split(", ").map(suite_and_test);
            Listed { name: cells[0], line, tests: tests.collect() }
        })
        .collect()
}

/// The parts of "SUITE `TEST`".
fn suite_and_test(text: &str) -> (&str, &str) {
    text.trim_end_matches('`').split_once(" `").unwrap_or_else(|| panic!("{text}: no suite and test"))
}

/// All source of a suite of tests.
fn source(suite: &str) -> String {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let places = [crates.join("ledger/tests").join(suite), crates.join("seawall/tests").join(suite)];
    let Some(folder) = places.iter().find(|place| place.is_dir()) else {
        return fs::read_to_string(crates.join("seawall/tests").join(format!("{suite}.rs"))).unwrap();
    };
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|kind| kind == "rs"))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect()
}

/// The number of stores on which a test runs; 0 if there is no such test.
fn stores(source: &str, name: &str) -> u32 {
    let is_test = |name: &str| {
        let at = source.find(&format!("async fn {name}()"));
        at.is_some_and(|at| {
            source[..at].trim_end().rsplit('\n').next().is_some_and(|line| line.starts_with("#[tokio::test"))
        })
    };
    // A function that is generic over the store. The suite's list names it, and runs it on both stores.
    let generic = source.contains(&format!("async fn {name}<"));
    let named =
        source.lines().any(|line| line.trim().trim_end_matches(',').rsplit("::").next() == Some(name));
    if generic && named {
        return 2;
    }
    u32::from(is_test(name))
        + ["sqlite", "postgres"].map(|on| u32::from(is_test(&format!("{name}_on_{on}")))).iter().sum::<u32>()
}

#[test]
fn every_scenario_has_its_tests() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ledger-scenarios.md");
    let page = fs::read_to_string(page).unwrap();
    let listed = listed(&page);
    assert_eq!(listed.len(), 32);
    for Listed { name, line, tests } in &listed {
        let on = tests.iter().map(|(suite, test)| {
            let on = stores(&source(suite), test);
            assert!(on > 0, "{name}: there is no test `{test}` in {suite}");
            on
        });
        let most = on.max().unwrap();
        assert!(most == 2 || line.contains(" alone"), "{name} is not tested on both stores");
        let told = tests.contains(&("stories", "scenarios_end_as_they_must"));
        assert_eq!(told, SCENARIOS.iter().any(|scenario| scenario.id == *name), "{name}");
    }
    for scenario in &SCENARIOS {
        assert!(listed.iter().any(|one| one.name == scenario.id), "{} is not listed", scenario.id);
    }
}
