//! One shard of ten is down: does the breaker make the nine healthy shards unreachable, too?
//!
//! Twenty instances call a provider with ten shards. For 70 seconds, one shard fails immediately or hangs. If one
//! breaker for the whole provider opens at 10 % failures, it refuses calls to the nine healthy shards most of the time.
//! If it opens at 50 %, it never notices the failure.

use std::sync::Arc;
use std::time::Duration;

use super::arms::{note, play, recovery};
use super::scenario::{Findings, Scenario, Study};
use super::storm::{HYSTRIX, JITTER, peer, per_success};
use crate::sim::chance::Spread;
use crate::sim::figures::{Estimate, Figure, Value};
use crate::sim::fleet::peer::{Breaker, PeerPolicy};
use crate::sim::fleet::{Policy, SeawallPolicy};
use crate::sim::knobs::{Knob, Misuse, Takes};
use crate::sim::world::record::Record;
use crate::sim::world::{Station, Trouble, World, Wrong, at_second};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "partial-outage",
    question: "One shard of ten is down, or calls fail at random. What is left of the rest?",
    source: "M. Brooker, \"Will circuit breakers solve my problems?\"; defaults of Hystrix and Polly v8",
    seeds: 8,
    callers: Ok(()),
    knobs: &[
        Knob {
            name: "shards",
            default: "10",
            takes: Takes::Number(2.0, 1000.0),
            what: "shards of the provider",
        },
        Knob {
            name: "rate",
            default: "25",
            takes: Takes::Number(0.1, 10_000.0),
            what: "calls a second of each",
        },
        Knob {
            name: "timeout",
            default: "1",
            takes: Takes::Number(0.05, 60.0),
            what: "seconds for an attempt",
        },
    ],
    run,
};

const FROM: f64 = 30.0;
const TO: f64 = 100.0;

/// The way in which the provider fails.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Fast,
    Slow,
    Random(f64),
    /// No request is answered for a minute.
    Whole,
}

impl Kind {
    fn name(self) -> String {
        match self {
            Kind::Fast => "fast".into(),
            Kind::Slow => "slow".into(),
            Kind::Random(share) => format!("random{}", share * 100.0),
            Kind::Whole => "outage60".into(),
        }
    }
}

fn run(study: &Study<'_>) -> Result<Findings, Misuse> {
    let cases = cases(study);
    let worlds: Vec<World> =
        cases.iter().map(|(_, policy, kind)| world(study, policy.clone(), *kind)).collect();
    let columns = vec!["goodput", "success on healthy shards", "mean latency ms", "most in flight"];
    let mut findings = Findings { columns, ..Findings::default() };
    for (((name, _, kind), world), runs) in cases.iter().zip(&worlds).zip(play(study, &worlds)) {
        let full = format!("partial_outage/{name}_{}", kind.name());
        note(study, &mut findings, &full, world, &runs);
        findings.figures.push(match kind {
            Kind::Whole => Figure::new(full, recovery(&runs, (FROM + 60.0) as usize)),
            Kind::Fast | Kind::Slow | Kind::Random(_) => {
                Figure::columns(full, &runs.iter().map(row).collect::<Vec<_>>())
            }
        });
        if name.starts_with("seawall / dep") && *kind == Kind::Fast {
            let refused: Vec<f64> = runs.iter().map(|run| run.refused(5, FROM as usize)).collect();
            let name = "partial_outage/seawall / dep_refused_in_health";
            findings.figures.push(Figure::new(name, Value::Number(Estimate::of(&refused))));
        }
    }
    Ok(findings)
}

/// The number of seconds that a policy gets to notice the failure. The maximum number of attempts under way is measured
/// only after these seconds. Before that, it depends on the outage and not on the policy.
const SETTLES: usize = 5;

/// Returns four figures of one run. Goodput is the share of calls that ended well.
///
/// - the goodput of all calls;
/// - the goodput of the calls to healthy shards;
/// - the mean latency in ms;
/// - the maximum number of attempts under way at the same time, after the policy has had time to notice the failure.
fn row(run: &Record) -> Vec<f64> {
    let (from, to) = (FROM as usize, TO as usize);
    let spared = run.sum(from, to, |second| f64::from(second.spared));
    let spared_ok = run.sum(from, to, |second| f64::from(second.spared_ok));
    let (goodput, latency) = (run.goodput(from, to), run.mean_latency(from, to) * 1000.0);
    vec![goodput, spared_ok / spared.max(1.0), latency, f64::from(run.most_in_flight(from + SETTLES, to))]
}

fn cases(study: &Study<'_>) -> Vec<(&'static str, Policy, Kind)> {
    let bare = peer(PeerPolicy::bare());
    let hystrix = peer(PeerPolicy::bare().breaker(HYSTRIX));
    let polly = Breaker::Rate { share: 0.1, min_calls: 100, window: 30.0, open_for: 5.0 };
    let polly = peer(PeerPolicy::bare().breaker(polly));
    let bucket = PeerPolicy::tries(3, JITTER).budget(per_success(0.1, 10.0)).breaker(HYSTRIX);
    let sharded = peer(PeerPolicy { by_key: true, ..bucket });
    let own = SeawallPolicy::new(&study.seawall, 1, timeout(study), true);
    let keyed = Policy::Seawall(Arc::new(own.clone().by_key()));
    let own = Policy::Seawall(Arc::new(own));
    let both =
        |name, policy: &Policy| [(name, policy.clone(), Kind::Fast), (name, policy.clone(), Kind::Slow)];
    let random = |name, policy: &Policy, share| [(name, policy.clone(), Kind::Random(share))];
    let mut all = Vec::new();
    all.extend(both("no protection, 1 try", &bare));
    all.extend(both("Hystrix 50%,20/10s,5s / dep", &hystrix));
    all.extend(both("Polly v8 default 10%,100/30s,5s / dep", &polly));
    all.extend(both("50% / shard + 3 tries + bucket", &sharded));
    all.extend(random("50% / shard + 3 tries + bucket", &sharded, 0.1));
    all.extend(both("seawall / dep", &own));
    all.extend(random("seawall / dep", &own, 0.1));
    all.extend(random("seawall / dep", &own, 0.2));
    all.extend(both("seawall / shard", &keyed));
    all.extend([("seawall / dep", own, Kind::Whole)]);
    all
}

fn timeout(study: &Study<'_>) -> Duration {
    Duration::from_secs_f64(study.knobs.number("timeout"))
}

fn world(study: &Study<'_>, policy: Policy, kind: Kind) -> World {
    let callers = study.callers.unwrap_or(20);
    let per_second = study.knobs.number("rate") * f64::from(callers);
    let mut station = Station { fails: 0.001, ..Station::unbounded(Spread::Exponential(0.02)) };
    let (key, to, what) = match kind {
        Kind::Fast => (Some(3), TO, Wrong::Fails { share: 1.0, status: 500, after: 0.005 }),
        Kind::Slow => (Some(3), TO, Wrong::Swallowed),
        Kind::Random(share) => (None, TO, Wrong::FailsLate { share, status: 500 }),
        Kind::Whole => (None, FROM + 60.0, Wrong::Swallowed),
    };
    station.troubles.push(Trouble { from: at_second(FROM), to: at_second(to), key, what });
    let mut world = World::new(callers, policy, per_second, station, TO + 20.0);
    world.keys = study.knobs.number("shards") as u32;
    world.timeout = timeout(study);
    // Shard 3 fails, counted from 0. If there are only two or three shards, the first one fails.
    for trouble in &mut world.providers[0].troubles {
        trouble.key = trouble.key.map(|key| if key < world.keys { key } else { 0 });
    }
    world
}
