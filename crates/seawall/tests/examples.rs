//! The examples do what they say. They are run as a reader would run them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::PathBuf;
use std::process::Command;

/// Runs an example. It was built together with the tests, except if only some tests were asked for.
fn run(example: &str) -> String {
    let here = std::env::current_exe().unwrap();
    let folder: PathBuf = here.ancestors().nth(2).unwrap().join("examples");
    let program = folder.join(example);
    assert!(
        program.is_file(),
        "{} is not built; `cargo test -p seawall` builds all examples",
        program.display()
    );
    let output = Command::new(program).env_remove("LISTEN").output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{example}: {said}{complained}");
    said.into_owned()
}

#[track_caller]
fn says(example: &str, lines: &[&str]) {
    let said = run(example);
    for line in lines {
        assert!(said.lines().any(|found| found.contains(line)), "{example} does not say `{line}`:\n{said}");
    }
}

#[test]
fn payments_knows_what_happened_to_each_charge() {
    says(
        "payments",
        &[
            "health: 200 OK after 1 attempt",
            "order-1: paid: 200 OK after 2 attempt",
            "order-2: not charged",
            "order-3: payments: connection-lost (effect unknown, not repeated: not-repeatable)",
            "order-3: found by asking: true",
        ],
    );
}

#[test]
fn bulkheads_keeps_a_hanging_dependency_to_itself() {
    says("bulkheads", &["503 concurrency-limit", "payments: 40 of 40 served"]);
}

#[test]
fn tower_stack_keeps_the_error_below_and_repeats_no_plain_post() {
    says(
        "tower_stack",
        &[
            "/accepted: 200 OK done",
            "/hang: nobody knows: partner: read-timeout (effect unknown",
            "/broken: partner: the pipe burst (effect unknown",
            "called 3 times",
        ],
    );
}
