//! "Come back later": which policies obey, and what happens at the named time.
//!
//! A provider that has too much to do answers 429 and names a time. Callers that do not obey lengthen the overload.
//! Callers that obey to the millisecond all come back at the same moment, when the provider has hardly recovered.
//!
//! A 429 is often about one tenant only. A caller that then sends nothing at all to the provider turns the quota of one
//! tenant into an outage for all tenants.
//!
//! There are three studies:
//!
//! - The return: the provider answers 429 to every attempt for a second. What happens when the callers come back?
//! - A second endpoint: the first endpoint answers 429 for a minute. Do the calls go to the second one?
//! - One tenant of several: the provider answers 429 to one tenant for a minute. What happens to the other tenants?

use std::sync::Arc;
use std::time::Duration;

use super::arms::{note, play};
use super::scenario::{Findings, Scenario, Study};
use super::storm::{JITTER, peer};
use crate::sim::chance::Spread;
use crate::sim::figures::{Figure, Value};
use crate::sim::fleet::peer::PeerPolicy;
use crate::sim::fleet::{Policy, SeawallPolicy};
use crate::sim::knobs::{Knob, Misuse, Takes};
use crate::sim::world::record::{Provider, Record};
use crate::sim::world::{Named, Quota, Station, Trouble, World, Wrong, at_second};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "cooling",
    question: "A provider answers 429 and names a time. Who obeys, and what comes when it is over?",
    source: "an independent simulation of the return; no published figures are known",
    seeds: 8,
    callers: Ok(()),
    knobs: &[
        Knob {
            name: "rate",
            default: "350",
            takes: Takes::Number(1.0, 10_000.0),
            what: "calls a second of all callers, in the study of the return",
        },
        Knob {
            name: "capacity",
            default: "500",
            takes: Takes::Number(10.0, 10_000.0),
            what: "attempts a second that the provider takes, there",
        },
        Knob {
            name: "burst",
            default: "1",
            takes: Takes::Number(0.01, 60.0),
            what: "seconds of its capacity that it takes at one moment; it answers 429 to what is above",
        },
        Knob {
            name: "named",
            default: "5",
            takes: Takes::Number(1.0, 60.0),
            what: "seconds that its answers name",
        },
    ],
    run,
};

/// How long a caller waits for the answer to an attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The second in which the trouble begins.
const FROM: usize = 30;
/// For how many seconds the provider answers 429 in the first study, in which all callers come back at the same time.
const LASTS: usize = 1;
/// For how many seconds the provider answers 429 in the second and the third study.
const LONG: usize = 60;
/// For how many seconds after the end of the trouble the goodput is measured in the third study, in which the provider
/// refuses one tenant of several.
const AFTER: usize = 15;
/// The maximum number of times that a call is made again after an answer or a refusal that names a time.
const RETURNS: u8 = 3;
/// The tenant whose quota is used up.
const TENANT: u32 = 1;

fn run(study: &Study<'_>) -> Result<Findings, Misuse> {
    let mut findings = Findings::default();
    let named = study.knobs.number("named");
    let over = FROM + named.ceil() as usize;
    let keyed = seawall(study, 1);
    let own = Policy::Seawall(Arc::new(keyed.clone()));
    let mut once = keyed.clone();
    once.plan.attempts = 1;
    let exact = PeerPolicy { obeys: true, ..PeerPolicy::bare() };
    let arms = [
        ("seawall", own.clone(), RETURNS, false),
        ("seawall, told whole seconds", own, RETURNS, true),
        ("seawall, one attempt", Policy::Seawall(Arc::new(once)), RETURNS, false),
        ("exact obedience", peer(exact), RETURNS, false),
        ("no obedience, 3 tries", peer(PeerPolicy::tries(3, JITTER)), 0, false),
    ];
    for (name, policy, returns, whole_seconds) in arms {
        let world = returning(study, policy, returns, over);
        let world = World { whole_seconds, ..world };
        measure(study, &mut findings, format!("cooling_return/{name}"), world, |run| came_back(run, over));
    }
    promises(study, &mut findings);
    for (name, names) in [("with a time", Named::After(named)), ("without a time", Named::Nothing)] {
        let world = two_endpoints(study, names);
        measure(study, &mut findings, format!("cooling_two/{name}"), world, moved_on);
    }
    for (name, tenants, key, by_key) in [
        ("one tenant of five", 5, Some(TENANT), false),
        ("one tenant of two", 2, Some(TENANT), false),
        ("one tenant of two, breakers and limits by tenant", 2, Some(TENANT), true),
        ("all", 5, None, false),
    ] {
        let mut world = one_endpoint(study, Named::After(named), tenants, key);
        if by_key {
            world.fleet[0].policy = Policy::Seawall(Arc::new(keyed.clone().by_key()));
        }
        measure(study, &mut findings, format!("cooling_one/{name}"), world, others);
    }
    Ok(findings)
}

/// Adds two figures, which say whether Seawall keeps its two promises in the study of the return, in which all callers
/// come back. All numbers are means over the seeds:
///
/// - The provider's answers name a time. From that time on, the provider gets at most twice its capacity in any tenth
///   of a second.
/// - Calls are lost in two ways: a caller refuses them, or the provider answers them 429. The number of these losses is
///   at most half of that for callers that come back exactly at the named time.
fn promises(study: &Study<'_>, findings: &mut Findings) {
    let mean = |name: &str, column: usize| {
        let figure = findings.figures.iter().find(|figure| figure.name == format!("cooling_return/{name}"));
        figure.map_or(f64::NAN, |figure| figure.numbers()[column].mean)
    };
    let twice = study.knobs.number("capacity") / 10.0 * 2.0;
    let holds = [
        ("at most twice the capacity at the return", mean("seawall", 0) <= twice),
        ("at most half of the refusals", mean("seawall", 1) <= mean("exact obedience", 1) / 2.0),
    ];
    for (name, holds) in holds {
        findings.figures.push(Figure::new(format!("cooling_return/{name}"), Value::Holds(holds)));
    }
}

fn measure(
    study: &Study<'_>,
    findings: &mut Findings,
    name: String,
    world: World,
    row: impl Fn(&Record) -> Vec<f64>,
) {
    let worlds = [world];
    let runs = play(study, &worlds).remove(0);
    note(study, findings, &name, &worlds[0], &runs);
    findings.figures.push(Figure::columns(name, &runs.iter().map(row).collect::<Vec<_>>()));
}

fn seawall(study: &Study<'_>, endpoints: usize) -> SeawallPolicy {
    SeawallPolicy::new(&study.seawall, endpoints, TIMEOUT, true)
}

/// Returns the world for the study of the return, in which all callers come back. For one second, the provider answers
/// every attempt with a 429 that names a time: the second `over`. After that one second, the provider serves attempts
/// in their order, as fast as it can. Attempts above its quota are answered with a 429 that tells the caller to wait
/// for one second. `returns` is the value of [`World::returns`].
fn returning(study: &Study<'_>, policy: Policy, returns: u8, over: usize) -> World {
    let callers = study.callers.unwrap_or(1000);
    let capacity = study.knobs.number("capacity");
    let burst = capacity * study.knobs.number("burst");
    let quota = Quota { per_second: capacity, burst, names: Named::After(1.0) };
    let names = Named::Until(at_second(over as f64));
    let what = Wrong::Busy { share: 1.0, status: 429, names };
    let station = Station::workers((capacity * 0.02).ceil() as u32, Spread::Fixed(0.02));
    let station = Station { quota: Some(quota), ..station };
    let station = station.troubled(FROM as f64, (FROM + LASTS) as f64, what);
    let mut world = World::new(callers, policy, study.knobs.number("rate"), station, (over + 40) as f64);
    world.timeout = TIMEOUT;
    world.returns = returns;
    world
}

/// Returns five figures of one run. `over` is the second that the provider's answers named, and from which callers come
/// back.
///
/// 1. the maximum number of attempts that reached the provider in a tenth of a second, from `over` on
/// 2. the sum of figures 3 and 4
/// 3. the number of calls that callers refused, from the beginning of the trouble on
/// 4. the number of attempts that the provider answered 429, from the beginning of the trouble on
/// 5. the number of attempts that reached the provider after its trouble and before `over`
fn came_back(run: &Record, over: usize) -> Vec<f64> {
    let end = run.seconds.len();
    let provider = &run.providers[0];
    let peak = f64::from(run.peak(0, over * 10, end * 10));
    let refused = run.sum(FROM, end, |second| f64::from(second.refused));
    let turned_away = sum(&provider.turned_away, FROM, end);
    let early = run.sum(FROM + LASTS, over, |second| f64::from(second.load));
    vec![peak, refused + turned_away, refused, turned_away, early]
}

fn sum(seconds: &[u32], from: usize, to: usize) -> f64 {
    seconds[from.min(to)..to.min(seconds.len())].iter().copied().map(f64::from).sum()
}

/// Returns the world of a few callers that make many calls. A run has three parts: half a minute without trouble, the
/// trouble, and half a minute after the trouble.
fn fleet(study: &Study<'_>, endpoints: usize, station: Station) -> World {
    let policy = Policy::Seawall(Arc::new(seawall(study, endpoints)));
    let callers = study.callers.unwrap_or(20);
    let per_second = 5.0 * f64::from(callers);
    let mut world = World::new(callers, policy, per_second, station, (FROM + LONG + 30) as f64);
    world.timeout = TIMEOUT;
    world.watch = true;
    world
}

fn busy(names: Named, key: Option<u32>) -> Station {
    let (from, to) = (at_second(FROM as f64), at_second((FROM + LONG) as f64));
    let what = Wrong::Busy { share: 1.0, status: 429, names };
    let mut station = Station::unbounded(Spread::Exponential(0.02));
    station.troubles.push(Trouble { from, to, key, what });
    station
}

fn two_endpoints(study: &Study<'_>, names: Named) -> World {
    let mut world = fleet(study, 2, busy(names, None));
    world.providers.push(Station::unbounded(Spread::Exponential(0.02)));
    world
}

fn one_endpoint(study: &Study<'_>, names: Named, tenants: u32, key: Option<u32>) -> World {
    let mut world = fleet(study, 1, busy(names, key));
    world.keys = tenants;
    world
}

/// Returns four figures of one run. The first three are for the calls during the trouble:
///
/// - the share that ended well;
/// - the share that the second endpoint served;
/// - the number of attempts at the first endpoint for each call;
/// - the smallest limit in the whole run.
fn moved_on(run: &Record) -> Vec<f64> {
    let (from, to) = (FROM, FROM + LONG);
    let begun = run.sum(from, to, |second| f64::from(second.begun)).max(1.0);
    let first: &Provider = &run.providers[0];
    let at_first: f64 = first.tenths[from * 10..to * 10].iter().copied().map(f64::from).sum();
    let second = sum(&run.providers[1].served, from, to);
    let limit = f64::from(run.least_limit.unwrap_or(0));
    vec![run.goodput(from, to), second / begun, at_first / begun, limit]
}

/// Returns six figures of one run. The other tenants are those for whom nothing goes wrong:
///
/// - of the other tenants' calls during the trouble, the share that ended well;
/// - of the other tenants' calls during the trouble, the share that was refused;
/// - of all calls during the trouble, the share that was refused;
/// - the number of attempts for each call during the trouble;
/// - the smallest limit in the whole run;
/// - the share of calls that ended well in the seconds after the trouble.
fn others(run: &Record) -> Vec<f64> {
    let (from, to) = (FROM, FROM + LONG);
    let spared = run.sum(from, to, |second| f64::from(second.spared)).max(1.0);
    let ok = run.sum(from, to, |second| f64::from(second.spared_ok));
    let refused = run.sum(from, to, |second| f64::from(second.spared_refused));
    let begun = run.sum(from, to, |second| f64::from(second.begun)).max(1.0);
    let load = run.sum(from, to, |second| f64::from(second.load));
    let limit = f64::from(run.least_limit.unwrap_or(0));
    let after = run.goodput(to, to + AFTER);
    vec![ok / spared, refused / spared, run.refused(from, to), load / begun, limit, after]
}
