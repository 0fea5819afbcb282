//! The named scenarios, one file for each. A scenario is a question that was asked in public before, and the
//! simulation's answer.

mod adaptive_limit;
mod amplification;
mod arms;
mod client_count;
mod cooling;
mod critical_load;
mod erlang_b;
mod jitter;
mod metastable;
mod partial_outage;
pub mod question;
mod scenario;
mod storm;
mod tail;
mod witnesses;

use super::knobs::{Misuse, unknown};

pub use self::scenario::{Ask, Findings, Scenario};
pub use super::fleet::Seawall;

/// The scenarios, in the order in which they are listed.
pub const ALL: &[&Scenario] = &[
    &erlang_b::SCENARIO,
    &jitter::SCENARIO,
    &amplification::SCENARIO,
    &metastable::SCENARIO,
    &critical_load::SCENARIO,
    &client_count::SCENARIO,
    &partial_outage::SCENARIO,
    &tail::SCENARIO,
    &adaptive_limit::SCENARIO,
    &witnesses::SCENARIO,
    &cooling::SCENARIO,
];

/// Returns the scenario with this name.
///
/// # Errors
/// If there is no scenario with this name. The error contains the most similar name.
pub fn find(name: &str) -> Result<&'static Scenario, Misuse> {
    let names: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
    ALL.iter()
        .find(|scenario| scenario.name == name)
        .copied()
        .ok_or_else(|| unknown("scenario", name, &names))
}
