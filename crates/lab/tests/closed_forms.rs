//! Compares `seawall_lab::sim::closed_forms` with simulations over a grid. The test prints a table of both:
//! `cargo test -p seawall-lab --test closed_forms -- --nocapture`.

use std::sync::Arc;

use seawall_lab::sim::chance::Spread;
use seawall_lab::sim::closed_forms::{Overload, critical_load, largest_minimum_limit};
use seawall_lab::sim::fleet::Policy;
use seawall_lab::sim::fleet::peer::{AimdPolicy, Budget, PeerPolicy, Waits};
use seawall_lab::sim::seeds::{each, silent};
use seawall_lab::sim::world::run::run;
use seawall_lab::sim::world::{Station, World, Wrong};

const CAPACITY: f64 = 500.0;
const CALLERS: u32 = 100;
const FROM: f64 = 20.0;

fn world(callers: u32, overload: &Overload, policy: PeerPolicy, horizon: f64) -> World {
    let station = Station::workers(10, Spread::Exponential(0.02)).troubled(
        FROM,
        FROM + overload.lasts,
        Wrong::Capacity(overload.left),
    );
    World::new(callers, Policy::Peer(Arc::new(policy)), overload.load * CAPACITY, station, horizon)
}

fn tries(tries: u32) -> PeerPolicy {
    PeerPolicy::tries(tries, Waits::Full(0.1, 2.0))
}

/// The policies, each with its numbers in the closed form: the attempts for each call, and the tokens of each caller.
fn policies() -> [(&'static str, PeerPolicy, f64, f64); 4] {
    let success = Budget::PerSuccess { per: 0.1, cap: 10.0, initial: 10.0 };
    let request = |per| Budget::PerRequest { per, cap: 10.0, initial: 10.0 };
    [
        ("one try", tries(1), 1.0, 0.0),
        ("10 % of successes", tries(3).budget(success), 1.0, 10.0),
        ("10 % of requests", tries(3).budget(request(0.1)), 1.1, 10.0),
        ("20 % of requests", tries(3).budget(request(0.2)), 1.2, 10.0),
    ]
}

#[test]
fn recovery_takes_as_long_as_the_closed_form_says() {
    let mut cases = Vec::new();
    for load in [0.5, 0.6, 0.7, 0.8] {
        for (lasts, left) in [(6.0, 0.1), (10.0, 0.2), (20.0, 0.3)] {
            for (name, policy, attempts, tokens) in policies() {
                let stored = tokens * f64::from(CALLERS) / CAPACITY;
                let overload = Overload { load, lasts, left, attempts, stored, timeout: 1.0 };
                cases.push((name, policy, overload));
            }
        }
    }
    let first_seed = 1;
    let found = each(cases.len() * 2, 2, &silent, |index| {
        let (_, policy, overload) = &cases[index / 2];
        let known = overload.recovery().expect("below the critical load");
        let horizon = FROM + overload.lasts + known * 1.3 + 30.0;
        let record = run(world(CALLERS, overload, policy.clone(), horizon), first_seed + (index % 2) as u64);
        record.recovery((FROM + overload.lasts) as usize)
    });
    println!("load  trigger      callers             closed form  simulated  off");
    let mut wrong = Vec::new();
    for ((name, _, overload), pair) in cases.iter().zip(found.chunks(2)) {
        let known = overload.recovery().expect("below the critical load");
        let simulated = pair.iter().map(|one| one.unwrap_or(f64::NAN)).sum::<f64>() / 2.0;
        let off = simulated - known;
        let Overload { load, lasts, left, .. } = overload;
        let line = format!(
            "{load:.1}   {lasts:>4} s × {left}   {name:<18}  {known:>9.1} s  {simulated:>7.1} s  {off:+.1}"
        );
        println!("{line}");
        // A simulation is a random walk around the fluid limit. It deviates more if little capacity is left over.
        if off.is_nan() || off.abs() > (0.15 * known).max(3.0) {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "seeds {first_seed} and {}:\n{}", first_seed + 1, wrong.join("\n"));
}

#[test]
fn the_critical_load_divides_those_that_recover_from_those_that_never_do() {
    let request = |per| Budget::PerRequest { per, cap: 10.0, initial: 10.0 };
    for (attempts, policy) in [(2.0, tries(2)), (4.0, tries(4)), (1.3, tries(3).budget(request(0.3)))] {
        let critical = critical_load(attempts);
        for (off, recovers) in [(-0.06, true), (0.04, false)] {
            let load = critical + off;
            let overload = Overload { load, lasts: 20.0, left: 0.05, attempts, stored: 2.0, timeout: 1.0 };
            assert_eq!(overload.recovery().is_some(), recovers);
            let record = run(world(CALLERS, &overload, policy.clone(), 440.0), 1);
            let found = record.recovery(40).is_some();
            println!("{attempts} attempts, load {load:.3} of {critical:.3}: recovers {found}");
            assert_eq!(found, recovers, "{attempts} attempts at load {load}, seed 1");
        }
    }
}

#[test]
fn a_minimum_limit_saves_a_provider_only_where_all_of_them_fit_into_a_timeout() {
    let overload = Overload { load: 0.7, lasts: 10.0, left: 0.2, attempts: 3.0, stored: 0.0, timeout: 1.0 };
    let largest = largest_minimum_limit(f64::from(CALLERS), CAPACITY, overload.timeout);
    for (min, saves) in [(largest * 0.4, true), (largest * 2.0, false)] {
        let aimd = AimdPolicy { start: 50.0, min, max: 50.0, factor: 0.5 };
        let record = run(world(CALLERS, &overload, tries(3).limit(aimd), 150.0), 1);
        let found = record.recovery(30).is_some();
        println!("least limit {min} of at most {largest}: recovers {found}");
        assert_eq!(found, saves, "a least limit of {min}, seed 1");
    }
}
