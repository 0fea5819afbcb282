//! Metastable failure: a short trigger causes an outage that lasts longer, because the callers' repeats keep it alive.

use super::scenario::{Findings, Scenario, Study};
use super::storm::{self, BASE, Storm, peer};
use crate::sim::fleet::Policy;
use crate::sim::fleet::peer::{PeerPolicy, PidPolicy, Waits};
use crate::sim::knobs::Misuse;
use crate::sim::world::{Discipline, World};

use super::arms::{Arm, Measure, measure};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "metastable",
    question: "A provider is slow for ten seconds. When are its callers served again?",
    source: "N. Bronson et al., HotOS 2021; L. Huang et al., OSDI 2022; M. Brooker, \"Fixing retries with token buckets\"",
    seeds: 8,
    callers: Ok(()),
    knobs: &[storm::LOAD, storm::TRIGGER, storm::LEFT, storm::TRIES, storm::TIMEOUT],
    run,
};

fn run(study: &Study<'_>) -> Result<Findings, Misuse> {
    let storm = Storm::of(&study.knobs, study.callers.unwrap_or(BASE.callers));
    measure(study, &arms(study, storm))
}

/// Returns the arms with the policies that are compared.
pub(super) fn arms(study: &Study<'_>, storm: Storm) -> Vec<Arm> {
    let tries = study.knobs.number("tries") as u32;
    let jittered = || PeerPolicy::tries(tries, storm::JITTER);
    let rho = format!("rho{}", storm.load);
    let over = storm.over();
    let arm = |kind: &str, name: &str, world: World, measure: Measure| Arm {
        name: format!("metastable_{kind}/{name}_{rho}"),
        world,
        measure,
    };
    let recovery = |name: &str, policy: PeerPolicy| {
        arm("recovery", name, storm.world(peer(policy)), Measure::Recovery(over))
    };
    let mitigation = |name: &str, policy: PeerPolicy| {
        arm("mitigation", name, storm.world(peer(policy)), Measure::Recovery(over))
    };
    let late = Measure::Goodput(over + 90, over + 118);
    let mut all = vec![recovery("none", PeerPolicy::bare())];
    if !study.knobs.is_set("load") {
        let heavy = Storm { load: 0.9, ..storm };
        all.push(Arm {
            name: "metastable_recovery/none_rho0.9".into(),
            world: heavy.world(peer(PeerPolicy::bare())),
            measure: Measure::Recovery(over),
        });
    }
    let full = storm::per_success(0.1, 10.0);
    all.extend([
        recovery("budget-succ10%-cap10", jittered().budget(full)),
        recovery("grpc-A6-10/0.1", jittered().budget(storm::GRPC)),
        recovery("aws-500/10", jittered().budget(storm::AWS)),
        recovery("budget-req10%-cap10", jittered().budget(storm::per_request(0.1))),
        recovery("budget-req20% (Finagle ratio, no min)", jittered().budget(storm::per_request(0.2))),
    ]);
    let immediate = PeerPolicy::tries(tries, Waits::Immediate);
    all.push(arm("collapse", "fixed3-immediate", storm.world(peer(immediate)), late));
    all.push(arm("collapse", "fixed3-fulljitter", storm.world(peer(jittered())), late));
    let throttled = PeerPolicy { throttle: Some(storm::THROTTLE), ..jittered() };
    all.extend([
        mitigation("breaker50%/10s/open5s", jittered().breaker(storm::HYSTRIX)),
        mitigation("aimd-perclient", jittered().limit(storm::AIMD)),
        mitigation("budget+aimd", jittered().budget(full).limit(storm::AIMD)),
        mitigation("budget+breaker", jittered().budget(full).breaker(storm::HYSTRIX)),
        mitigation("throttleK2-10s", throttled),
    ]);
    let server = |name: &str, policy: PeerPolicy, change: &dyn Fn(&mut World), measure: Measure| {
        let mut world = storm.world(peer(policy));
        change(&mut world);
        arm("mitigation", name, world, measure)
    };
    let lifo = |world: &mut World| {
        world.providers[0].order = Discipline::Lifo;
        world.providers[0].drops_expired = true;
    };
    let bounded = |world: &mut World| world.providers[0].bound = Some((storm.capacity() / 2.0) as u32);
    let drops = |world: &mut World| world.providers[0].drops_expired = true;
    all.extend([
        server("server lifo-drop-expired", jittered(), &lifo, Measure::Recovery(over)),
        server("server bounded queue 250 (0.5s)", jittered(), &bounded, Measure::Recovery(over)),
        server("budget+fifo-drop-expired", jittered().budget(full), &drops, Measure::Recovery(over)),
        server("fifo_drop_expired_alone", jittered(), &drops, late),
    ]);
    let pid = PidPolicy { ideal: 0.05, gains: (1.0, 0.2, 0.0), window: 10.0 };
    all.push(mitigation("pid", PeerPolicy { pid: Some(pid), ..jittered() }));
    all.extend(seawall(study, storm));
    all
}

/// Returns the simulations in which the callers run Seawall: one with the storm's load and, unless the user has set the
/// load, one with a load of 90 %.
fn seawall(study: &Study<'_>, storm: Storm) -> Vec<Arm> {
    let loads = if study.knobs.is_set("load") { vec![storm.load] } else { vec![storm.load, 0.9] };
    let arm = |load: f64| {
        let storm = Storm { load, ..storm };
        let policy: Policy = storm.seawall_fleet(&study.seawall);
        Arm {
            name: format!("metastable_seawall/recovery_rho{load}"),
            world: storm.world(policy),
            measure: Measure::Seawall(storm.over()),
        }
    };
    loads.into_iter().map(arm).collect()
}
