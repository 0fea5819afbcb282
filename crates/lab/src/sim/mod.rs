//! The simulator: Seawall's real machines in virtual time, up to a hundred thousand callers.
//!
//! Nobody can try a retry storm of a fleet in production. The call machine, breaker, limits and budget of
//! `seawall-policy` take time and chance as arguments, so here they run unchanged under a clock that jumps from event
//! to event. Beside them stand small models of what others ship, for comparison. A run depends on its seed alone: the
//! same seed gives the same events in the same order, on any number of threads.

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
