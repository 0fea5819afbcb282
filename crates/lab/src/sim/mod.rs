//! The simulator: Seawall's real machines in virtual time, up to a hundred thousand callers.
//!
//! It shows what a fleet does in a retry storm, which nobody can try out in production. The call machine, breaker,
//! limits and budget of `seawall-policy` take time and chance as arguments. So they run here unchanged, with a clock
//! that jumps from event to event. Small models of other products are there for comparison. A run depends on its seed
//! alone: the same seed gives the same events in the same order, on any number of threads.

pub mod agenda;
pub mod chance;
pub mod closed_forms;
pub mod figures;
pub mod fleet;
pub mod knobs;
pub mod report;
pub mod scenarios;
pub mod seeds;
pub mod world;
