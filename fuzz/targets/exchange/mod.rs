//! A whole exchange, from a caller's bytes to the answer that the caller reads, held against a model of what may be answered.
//!
//! The bytes that a fuzzer makes are decoded into a [`scenario`]: what a caller asks, what a dependency answers, and how both
//! are cut in time. It is played on a [`stage`] with the real gateway, and the [`model`] says whether what was heard may be:
//! a whole answer exactly, or a broken one visibly broken; nothing complete that was broken, nothing of one answer in another,
//! nothing delivered twice that must not be, and never silence.

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

/// Plays the scenario of these bytes, and gives what must not have happened.
pub fn play(bytes: &[u8]) -> Vec<Finding> {
    let scenario = Arc::new(Scenario::decode(bytes));
    STAGE.with(|stage| model::judge(&scenario, &stage.play(&scenario)))
}

/// The scenario in words.
pub fn show(bytes: &[u8]) -> String {
    Scenario::decode(bytes).to_string()
}

/// The scenario's kind, for counting: who speaks what to whom, in how many exchanges.
pub fn class(bytes: &[u8]) -> String {
    let scenario = Scenario::decode(bytes);
    let first = &scenario.exchanges[0];
    let (caller, dependency) = (scenario.caller, first.dependency);
    format!("{caller:?} caller, {dependency:?} dependency, {:?}", first.ask.kind)
}

/// After how many milliseconds each a finding must be seen again. A machine under load holds segments back for a while, and one
/// that is short of memory for TCP drops them; the clock, which stands still while anybody has something to do, does not stand
/// still for the kernel.
const AGAIN: [u64; 3] = [1, 3, 5];
/// As long must stand what a segment that comes late could bring about.
const AGAIN_IF_LATE: [u64; 3] = [50, 300, 1000];

/// What was found and is found again each time.
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

/// To measure how long one kind takes to be found: with `EXCHANGE_ONLY`, findings of other kinds than contain this are
/// passed over.
static ONLY: LazyLock<String> = LazyLock::new(|| std::env::var("EXCHANGE_ONLY").unwrap_or_default());

/// Panics where something happens that must not.
pub fn exchange(bytes: &[u8]) {
    if let Some(finding) = found(bytes).first() {
        panic!("{}\n{}\n{}", finding.kind, show(bytes), finding.seen);
    }
}
