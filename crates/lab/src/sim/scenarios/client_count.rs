//! The effect of the number of callers, while their total load stays the same. Each caller starts with a budget of its
//! own, and these budgets add up.
//!
//! Ten tokens at the start do no harm with one caller. With a hundred thousand callers they pay for a million repeats,
//! which is a second outage. `N` callers that start with `c0` tokens each are safe only while `N · c0 ≤ (1 − ρ) · µ ·
//! s`. Here `µ` is the number of attempts that the provider can serve in a second, `ρ` is its load, and `s` is the
//! number of seconds by which the repeats may lengthen the recovery. A budget that allows every caller a fixed number
//! of repeats per second is worse, because it is never used up.

use super::arms::{Arm, Measure, measure};
use super::scenario::{Findings, Scenario, Study};
use super::storm::{self, FINAGLE, JITTER, Storm, peer, per_success};
use crate::sim::fleet::peer::PeerPolicy;
use crate::sim::knobs::Misuse;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "client-count",
    question: "The same load, from a thousand or a hundred thousand callers: who recovers?",
    source: "M. Brooker, \"Fixing retries with token buckets and circuit breakers\"; Finagle RetryBudget",
    seeds: 3,
    callers: Ok(()),
    knobs: &[storm::LOAD, storm::TRIGGER, storm::LEFT, storm::TRIES, storm::TIMEOUT],
    run,
};

fn run(study: &Study<'_>) -> Result<Findings, Misuse> {
    let counts = study.callers.map_or(vec![1000, 100_000], |callers| vec![callers]);
    let arms: Vec<Arm> = counts.into_iter().flat_map(|callers| arms(study, callers)).collect();
    measure(study, &arms)
}

fn arms(study: &Study<'_>, callers: u32) -> Vec<Arm> {
    let storm = Storm { horizon: 130.0, ..Storm::of(&study.knobs, callers) };
    let tries = || PeerPolicy::tries(study.knobs.number("tries") as u32, JITTER);
    let arm = |name: &str, policy| Arm {
        name: format!("client_count/n{callers}_{name}"),
        world: storm.world(policy),
        measure: Measure::Recovery(storm.over()),
    };
    let budget = |initial: f64| peer(tries().budget(per_success(0.1, initial)));
    vec![
        arm("budget succ10% cap10 init10", budget(10.0)),
        arm("budget succ10% cap10 init1", budget(1.0)),
        arm("budget succ10% cap10 init0", budget(0.0)),
        arm("finagle 20%+10/s ttl10", peer(tries().budget(FINAGLE))),
        arm("no retries", peer(PeerPolicy::bare())),
        arm("seawall", storm.seawall_fleet(&study.seawall)),
    ]
}
