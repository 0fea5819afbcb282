//! The question that users have: with *my* settings and *this* trouble, what happens to my callers, when is it over,
//! and what would another setting do?
//!
//! The user's real provider is not known, so a provider is modelled. It has enough workers for the load that the user
//! names, and serves first come, first served. By default it goes on with work whose caller has given up, which is the
//! worse case for its callers.

use std::sync::Arc;
use std::time::Duration;

use super::arms::{note, play};
use super::scenario::{Ask, Findings, Scenario, Study};
use super::storm::peer;
use crate::sim::chance::Spread;
use crate::sim::figures::Figure;
use crate::sim::fleet::Seawall;
use crate::sim::fleet::peer::{PeerPolicy, Waits};
use crate::sim::fleet::{Policy, SeawallPolicy};
use crate::sim::knobs::{Knob, Misuse, Takes, unknown};
use crate::sim::seeds::Progress;
use crate::sim::world::record::Record;
use crate::sim::world::{Arrivals, Station, World, Wrong};

/// The question as a scenario. It is run with [`ask`].
pub const SCENARIO: Scenario = Scenario {
    name: "what",
    question: "These settings, this trouble: what happens to callers, and when is it over?",
    source: "your own configuration; docs/simulator/what.md says how the provider is modelled",
    seeds: 5,
    callers: Ok(()),
    knobs: &[
        Knob {
            name: "rate",
            default: "20",
            takes: Takes::Number(0.01, 10_000.0),
            what: "calls a second of each caller",
        },
        Knob {
            name: "latency",
            default: "100",
            takes: Takes::Number(0.1, 60_000.0),
            what: "mean answer time in ms",
        },
        Knob {
            name: "load",
            default: "0.7",
            takes: Takes::Number(0.01, 0.99),
            what: "calls offered, of its capacity",
        },
        Knob {
            name: "cancels",
            default: "unheard",
            takes: Takes::Word(&["unheard", "heard"]),
            what: "whether it drops waiting work whose caller gave up",
        },
        Knob {
            name: "after",
            default: "120",
            takes: Takes::Number(10.0, 3600.0),
            what: "seconds to watch afterwards",
        },
    ],
    run: |_| Err(Misuse::new("ask it with --what and --dependency")),
};

/// The trouble that the user asks about: what goes wrong, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct What {
    /// The kind of trouble.
    pub wrong: Wrong,
    /// The length of the trouble in seconds.
    pub lasts: f64,
}

impl std::str::FromStr for What {
    type Err = Misuse;

    /// Returns the trouble that a text such as `hang 30s`, `slow 10x 60s`, `errors 20% 60s` or `refuse 30s` describes.
    fn from_str(text: &str) -> Result<What, Misuse> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (wrong, lasts) = match words.as_slice() {
            ["hang", lasts] => (Wrong::Capacity(0.0), lasts),
            ["refuse", lasts] => (Wrong::Refused, lasts),
            ["slow", times, lasts] => {
                let times =
                    number(times.strip_suffix('x'), times, "times as slow, as in `10x`", 1.0, 10_000.0)?;
                (Wrong::Capacity(1.0 / times), lasts)
            }
            ["errors", share, lasts] => {
                let share =
                    number(share.strip_suffix('%'), share, "a share, as in `20%`", 0.0, 100.0)? / 100.0;
                (Wrong::FailsLate { share, status: 500 }, lasts)
            }
            [known @ ("hang" | "slow" | "errors" | "refuse"), ..] => {
                let form = match *known {
                    "slow" => "slow 10x 60s",
                    "errors" => "errors 20% 60s",
                    "hang" => "hang 30s",
                    _ => "refuse 30s",
                };
                return Err(Misuse::new(format!(
                    "--what \"{text}\" is incomplete; the nearest is \"{form}\""
                )));
            }
            [other, ..] => return Err(unknown("trouble", other, &["hang", "slow", "errors", "refuse"])),
            [] => return Err(Misuse::new("--what is empty; the nearest is \"hang 30s\"")),
        };
        Ok(What { wrong, lasts: span(lasts)? })
    }
}

fn number(digits: Option<&str>, word: &str, takes: &str, low: f64, high: f64) -> Result<f64, Misuse> {
    let number = digits.and_then(|digits| digits.parse::<f64>().ok());
    let number = number.ok_or_else(|| Misuse::new(format!("`{word}` is not {takes}")))?;
    if (low..=high).contains(&number) {
        return Ok(number);
    }
    Err(Misuse::new(format!("`{word}` is impossible: {takes}, {low} to {high}")))
}

/// Returns the number of seconds in a time such as `30s`, `2m` or `500ms`. Fails if the text has another form, or if
/// the time is shorter than a second or longer than an hour.
fn span(word: &str) -> Result<f64, Misuse> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0)];
    let unit = units.into_iter().find_map(|(unit, seconds)| Some((word.strip_suffix(unit)?, seconds)));
    let (digits, seconds) =
        unit.ok_or_else(|| Misuse::new(format!("`{word}` is no time; the nearest is `30s` (ms, s, m)")))?;
    Ok(number(Some(digits), word, "a time", 0.0, 1e9)? * seconds).and_then(|lasts| match lasts {
        1.0..=3600.0 => Ok(lasts),
        _ => Err(Misuse::new(format!("`{word}` is impossible: 1s to 60m"))),
    })
}

/// A dependency, as far as the simulation needs it.
#[derive(Clone, Debug)]
pub struct Dependency {
    /// The name of the dependency.
    pub name: String,
    /// The settings of the dependency.
    pub seawall: Seawall,
    /// The read timeout: how long an attempt waits for progress before it ends.
    pub read: Duration,
}

/// The meaning of each number in a figure's list.
const COLUMNS: [&str; 6] = [
    "% ok in the trouble",
    "% ok in the minute after",
    "p99 s in the trouble",
    "% refused in it",
    "most in flight",
    "whole again after s (-1: not seen)",
];

/// One policy that is compared, with its read timeout.
struct Variant {
    name: String,
    policy: Policy,
    read: Duration,
}

/// The number of seconds before anything goes wrong.
const FROM: f64 = 30.0;

/// Answers the question: plays the trouble with the user's settings and with other settings, and returns the figures of
/// each.
///
/// # Errors
/// If the number of callers, the number of seeds or a setting is not valid.
pub fn ask(
    dependency: &Dependency,
    what: What,
    ask: &Ask,
    progress: Progress<'_>,
) -> Result<Findings, Misuse> {
    let study = SCENARIO.study(ask, progress)?;
    let arms = arms(dependency);
    let worlds: Vec<World> = arms.iter().map(|arm| world(&study, dependency, what, arm)).collect();
    let mut findings = Findings { columns: COLUMNS.to_vec(), ..Findings::default() };
    for ((arm, world), runs) in arms.iter().zip(&worlds).zip(play(&study, &worlds)) {
        note(&study, &mut findings, &arm.name, world, &runs);
        let rows: Vec<Vec<f64>> = runs.iter().map(|run| row(run, what.lasts)).collect();
        findings.figures.push(Figure::columns(format!("{}/{}", dependency.name, arm.name), &rows));
    }
    Ok(findings)
}

/// Returns what is compared: the user's settings, other settings of Seawall, and callers without Seawall. Settings that
/// are already in the list are not added again.
fn arms(dependency: &Dependency) -> Vec<Variant> {
    let own = dependency.seawall;
    let read = dependency.read;
    let mut all: Vec<(String, Seawall, Duration)> = vec![("as set".into(), own, read)];
    let mut also = |name: &str, other: Seawall, read: Duration| {
        if all.iter().all(|(_, known, wait)| *known != other || *wait != read) {
            all.push((name.to_owned(), other, read));
        }
    };
    let mut off = own;
    off.guards.breaker.enabled = false;
    let standard = Seawall { guards: seawall_policy::GuardSettings::default(), ..Seawall::default() };
    let shorter = (read / 4).max(Duration::from_millis(250)).min(read);
    also("without repeats", Seawall { attempts: 1, ..own }, read);
    also("without the breaker", off, read);
    also(&format!("read timeout {} s", shorter.as_secs_f64()), own, shorter);
    also("seawall's defaults", standard, Duration::from_secs(10));
    let seawall = |(name, settings, read): (String, Seawall, Duration)| Variant {
        policy: Policy::Seawall(Arc::new(SeawallPolicy::new(&settings, 1, read, true))),
        name,
        read,
    };
    let bare = |name: &str, tries: u32, waits: Waits| Variant {
        name: name.into(),
        policy: peer(PeerPolicy::tries(tries, waits)),
        read,
    };
    let mut arms: Vec<Variant> = all.into_iter().map(seawall).collect();
    arms.push(bare("no seawall, 1 try", 1, Waits::Immediate));
    arms.push(bare("no seawall, 3 tries", 3, Waits::Full(0.1, 2.0)));
    arms
}

fn world(study: &Study<'_>, dependency: &Dependency, what: What, arm: &Variant) -> World {
    let knobs = &study.knobs;
    let callers = study.callers.unwrap_or(dependency.seawall.guards.instances.max(1));
    let per_second = knobs.number("rate") * f64::from(callers);
    let capacity = per_second / knobs.number("load");
    let workers = (capacity * knobs.number("latency") / 1000.0).ceil().max(1.0);
    let station = Station::workers(workers as u32, Spread::Exponential(workers / capacity));
    let station = Station { hears_cancels: knobs.word("cancels") == "heard", ..station };
    let station = station.troubled(FROM, FROM + what.lasts, what.wrong);
    // The total deadline is added to the length of the run, so that even calls that begin late have ended.
    let longest = dependency.seawall.total.unwrap_or(arm.read * 3).as_secs_f64().min(600.0);
    let horizon = FROM + what.lasts + knobs.number("after") + longest;
    let mut world = World::new(callers, arm.policy.clone(), per_second, station, horizon);
    world.arrivals = Arrivals::Open(per_second);
    world.timeout = arm.read;
    world.watch = true;
    world
}

fn row(run: &Record, lasts: f64) -> Vec<f64> {
    let (from, over) = (FROM as usize, (FROM + lasts).ceil() as usize);
    let slowest = run.latency_quantile(FROM as f32, over as f32, 0.99).unwrap_or(0.0);
    vec![
        run.goodput(from, over) * 100.0,
        run.goodput(over, over + 60) * 100.0,
        slowest,
        run.refused(from, over) * 100.0,
        f64::from(run.most_in_flight(from, over + 60)),
        run.recovery(over).unwrap_or(-1.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_are_read_as_they_are_said() {
        let read = |text: &str| text.parse::<What>().map_err(|wrong| wrong.to_string());
        assert_eq!(read("hang 30s"), Ok(What { wrong: Wrong::Capacity(0.0), lasts: 30.0 }));
        assert_eq!(read("slow 10x 2m"), Ok(What { wrong: Wrong::Capacity(0.1), lasts: 120.0 }));
        assert_eq!(
            read("errors 20% 60s"),
            Ok(What { wrong: Wrong::FailsLate { share: 0.2, status: 500 }, lasts: 60.0 })
        );
        for (text, word) in [
            ("hnag 30s", "the nearest is `hang`"),
            ("slow 60s", "slow 10x 60s"),
            ("slow 10 60s", "times as slow"),
            ("errors 120% 60s", "impossible"),
            ("hang 30", "the nearest is `30s`"),
            ("hang 0s", "1s to 60m"),
            ("", "empty"),
        ] {
            let wrong = read(text).expect_err(text);
            assert!(wrong.contains(word), "{text}: {wrong}");
        }
    }
}
