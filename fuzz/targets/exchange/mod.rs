//! A whole exchange, from a caller's bytes to the answer that the caller reads, compared with a model of what may be
//! answered.
//!
//! The bytes that a fuzzer makes are decoded into a [`scenario`]: what a caller asks, what a dependency answers, and
//! how both are cut in time. The scenario is played on a [`stage`] with the real gateway. The [`model`] then says
//! whether the caller may have received what it received. A whole answer must arrive exactly, and a broken one visibly
//! broken. No broken answer may arrive complete, and no part of one answer in another. Nothing may be delivered twice
//! that must not be, and some answer must always come.

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

/// Plays the scenario of these bytes, and returns what must not have happened.
pub fn play(bytes: &[u8]) -> Vec<Finding> {
    let scenario = Arc::new(Scenario::decode(bytes));
    STAGE.with(|stage| model::judge(&scenario, &stage.play(&scenario)))
}

/// The scenario in words.
pub fn show(bytes: &[u8]) -> String {
    Scenario::decode(bytes).to_string()
}

/// The scenario's kind, for counting: the two protocols, and the number of exchanges.
pub fn class(bytes: &[u8]) -> String {
    let scenario = Scenario::decode(bytes);
    let first = &scenario.exchanges[0];
    let (caller, dependency) = (scenario.caller, first.dependency);
    format!("{caller:?} caller, {dependency:?} dependency, {:?}", first.ask.kind)
}

/// The waits in milliseconds after each of which a finding must be seen again. A machine under load holds segments back
/// for a while, and a machine that is short of memory for TCP drops them. The clock of a scenario stands still while
/// any party has something to do, but the kernel does not.
const AGAIN: [u64; 3] = [1, 3, 5];
/// The wait for a finding that a late segment could have brought about.
const AGAIN_IF_LATE: [u64; 3] = [50, 300, 1000];

/// What was found, and is found again each time.
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

/// Measures how long one kind takes to be found: with `EXCHANGE_ONLY`, findings whose kind does not contain this text
/// are ignored.
static ONLY: LazyLock<String> = LazyLock::new(|| std::env::var("EXCHANGE_ONLY").unwrap_or_default());

/// Panics where something happens that must not happen.
pub fn exchange(bytes: &[u8]) {
    if let Some(finding) = found(bytes).first() {
        panic!("{}\n{}\n{}", finding.kind, show(bytes), finding.seen);
    }
}
