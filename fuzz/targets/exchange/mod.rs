//! A whole exchange, from a caller's bytes to the answer that the caller reads, compared with a model of what may be
//! answered.
//!
//! The bytes that a fuzzer makes are decoded into a [`scenario`]: what a caller asks, what a dependency answers, and at
//! which bytes and for how long both pause. The scenario is played on a [`stage`] with the real gateway. The [`model`]
//! then decides whether the caller may have received what it received. A complete answer must arrive unchanged. For a
//! broken answer, the caller must see that it is broken. No part of one answer may arrive in another. A request that
//! must not be delivered twice is delivered at most once. Some answer must always come.

mod ask;
mod caller;
mod dependency;
mod frames;
mod lines;
mod model;
mod reader;
mod request;
mod scenario;
mod stage;

pub use model::Finding;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use scenario::Scenario;
use stage::Stage;

thread_local! {
    static STAGE: Stage = Stage::build();
}

/// Plays the scenario of these bytes, and returns everything that must not happen but did.
pub fn play(bytes: &[u8]) -> Vec<Finding> {
    let scenario = Arc::new(Scenario::decode(bytes));
    STAGE.with(|stage| model::judge(&scenario, &stage.play(&scenario)))
}

/// The scenario in words.
pub fn show(bytes: &[u8]) -> String {
    Scenario::decode(bytes).to_string()
}

/// The scenario's class, for counting: the two protocols, and the kind of the first request.
pub fn class(bytes: &[u8]) -> String {
    let scenario = Scenario::decode(bytes);
    let first = &scenario.exchanges[0];
    let (caller, dependency) = (scenario.caller, first.dependency);
    format!("{caller:?} caller, {dependency:?} dependency, {:?}", first.ask.kind)
}

/// The pauses in milliseconds before a scenario is played again; a finding counts only if it is seen after each pause.
/// Repeats are needed, because a machine under load can delay TCP segments, and one that is short of memory for TCP
/// drops them. The virtual clock does not advance while any party has something to do, but it does not know what the
/// kernel still has to do.
const AGAIN: [u64; 3] = [1, 3, 5];
/// Further pauses, for a finding that a late segment could have caused.
const AGAIN_IF_LATE: [u64; 3] = [50, 300, 1000];

/// The findings that are found again in each repeat.
pub fn found(bytes: &[u8]) -> Vec<Finding> {
    let mut findings = play(bytes);
    findings.retain(|finding| finding.kind.contains(ONLY.as_str()));
    for (pause, late) in
        AGAIN.map(|pause| (pause, false)).into_iter().chain(AGAIN_IF_LATE.map(|pause| (pause, true)))
    {
        if findings.is_empty() || (late && !findings.iter().any(Finding::may_be_late)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(pause));
        let again = play(bytes);
        findings.retain(|finding| again.iter().any(|other| other.kind == finding.kind));
    }
    findings
}

/// Used to measure how long one kind of finding takes to be found. If `EXCHANGE_ONLY` is set, findings whose kind does
/// not contain its text are ignored.
static ONLY: LazyLock<String> = LazyLock::new(|| std::env::var("EXCHANGE_ONLY").unwrap_or_default());

/// Panics if anything happens that must not happen.
pub fn exchange(bytes: &[u8]) {
    if let Some(finding) = found(bytes).first() {
        panic!("{}\n{}\n{}", finding.kind, show(bytes), finding.seen);
    }
}
