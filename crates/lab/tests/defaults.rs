//! Tests what Seawall's own defaults promise. The buckets are full at the start, as in a fleet that has run for a long
//! time. The scenarios use more seeds: `seawall lab simulate metastable --callers 1000 -c …`.

use std::sync::Arc;
use std::time::Duration;

use seawall_lab::sim::chance::Spread;
use seawall_lab::sim::fleet::peer::PeerPolicy;
use seawall_lab::sim::fleet::{Policy, SeawallPolicy};
use seawall_lab::sim::scenarios::{Ask, Seawall, find};
use seawall_lab::sim::seeds::silent;
use seawall_lab::sim::world::record::Record;
use seawall_lab::sim::world::run::run;
use seawall_lab::sim::world::{Front, Station, World, Wrong};

const SEEDS: [u64; 2] = [1, 2];
/// The second in which the trouble ends.
const OVER: usize = 40;

fn storm(callers: u32, load: f64, policy: Policy) -> World {
    let slow = Wrong::Capacity(0.2);
    let station = Station::workers(10, Spread::Exponential(0.02)).troubled(30.0, OVER as f64, slow);
    World::new(callers, policy, load * 500.0, station, 170.0)
}

fn seawall(instances: u32) -> Policy {
    let mut settings = Seawall::default();
    settings.guards.instances = instances;
    Policy::Seawall(Arc::new(SeawallPolicy::new(&settings, 1, Duration::from_secs(1), true)))
}

fn bare() -> Policy {
    Policy::Peer(Arc::new(PeerPolicy::bare()))
}

fn seconds(record: &Record) -> f64 {
    record.recovery(OVER).unwrap_or(f64::INFINITY)
}

#[test]
fn callers_are_served_within_ten_seconds_of_the_end_of_a_storm() {
    for callers in [10, 100, 1000] {
        for load in [0.7, 0.9] {
            for seed in SEEDS {
                let record = run(storm(callers, load, seawall(callers)), seed);
                let found = seconds(&record);
                assert!(found <= 10.0, "{callers} callers, load {load}, seed {seed}: {found} s");
                let refused = record.refused(5, 30);
                assert!(refused < 0.001, "{callers} callers, load {load}, seed {seed}: {refused} in health");
                let peak = record.peak_amplification(5, 160);
                assert!(peak <= 1.2, "{callers} callers, load {load}, seed {seed}: {peak} attempts a call");
            }
        }
    }
}

#[test]
fn ten_thousand_callers_are_never_later_than_without_repeats() {
    for seed in SEEDS {
        let found = seconds(&run(storm(10_000, 0.7, seawall(10_000)), seed));
        assert!(found <= 20.0, "seed {seed}: {found} s at 70 %");
        let found = seconds(&run(storm(10_000, 0.9, seawall(10_000)), seed));
        let without = seconds(&run(storm(10_000, 0.9, bare()), seed));
        assert!(found <= without, "seed {seed}: {found} s at 90 %, {without} s without repeats");
    }
}

#[test]
fn quick_failures_whose_work_goes_on_do_not_hold_a_collapse() {
    // A proxy answers 503 after 90 ms. With a timeout of a second this is not a slow failure. The station behind the
    // proxy continues its work.
    let front = |callers, policy| {
        let mut world = storm(callers, 0.7, policy);
        world.providers[0].front = Some(Front { patience: Duration::from_millis(90), status: 503 });
        world
    };
    for callers in [10, 100, 1000] {
        let found = seconds(&run(front(callers, seawall(callers)), 1));
        let without = seconds(&run(front(callers, bare()), 1));
        assert!(found <= without + 3.0, "{callers} callers, seed 1: {found} s, {without} s without repeats");
    }
}

#[test]
fn partial_and_whole_outages_leave_what_can_be_left() {
    let ask = Ask { seeds: Some(2), ..Ask::default() };
    let found = find("partial-outage").expect("a scenario").run(&ask, &silent).expect("possible");
    let first = |name: &str| {
        let name = format!("partial_outage/{name}");
        let figure = found.figures.iter().find(|figure| figure.name == name).expect("a figure");
        figure.numbers()[0]
    };
    for (name, least) in [
        ("seawall / dep_fast", 0.89),
        ("seawall / dep_slow", 0.89),
        ("seawall / shard_fast", 0.89),
        ("seawall / shard_slow", 0.89),
        ("seawall / dep_random10", 0.98),
        ("seawall / dep_random20", 0.92),
    ] {
        assert!(first(name).mean >= least, "{name}, seeds 1 and 2: {:?}", first(name));
    }
    assert!(first("seawall / dep_outage60").worst <= 10.0, "{:?}", first("seawall / dep_outage60"));
    assert!(first("seawall / dep_refused_in_health").worst < 0.001);
}
