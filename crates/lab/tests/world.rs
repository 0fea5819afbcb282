//! Tests of the simulator's world: callers that leave, callers that come back at the time that they were told, and
//! overloaded providers.

use std::sync::Arc;
use std::time::Duration;

use seawall_lab::sim::chance::Spread;
use seawall_lab::sim::fleet::peer::PeerPolicy;
use seawall_lab::sim::fleet::{Policy, SeawallPolicy};
use seawall_lab::sim::scenarios::Seawall;
use seawall_lab::sim::world::record::Record;
use seawall_lab::sim::world::run::run;
use seawall_lab::sim::world::{Leavers, Named, Quota, Station, World, Wrong, at_second};

fn peer(policy: PeerPolicy) -> Policy {
    Policy::Peer(Arc::new(policy))
}

fn seawall() -> Policy {
    Policy::Seawall(Arc::new(SeawallPolicy::new(&Seawall::default(), 1, Duration::from_secs(1), true)))
}

/// One caller that makes a hundred calls a second to a provider that takes half a second for each.
fn world(policy: Policy) -> World {
    World::new(1, policy, 100.0, Station::unbounded(Spread::Fixed(0.5)), 30.0)
}

fn all(record: &Record, of: impl Fn(&seawall_lab::sim::world::record::Second) -> u32) -> f64 {
    record.sum(0, record.seconds.len(), |second| f64::from(of(second)))
}

fn leaving(share: f64, patience: f64, policy: Policy) -> Record {
    let mut world = world(policy);
    world.leavers = Some(Leavers { share, patience: Spread::Fixed(patience) });
    world.watch = true;
    run(world, 1)
}

#[test]
fn who_leaves_gets_no_answer_and_the_work_is_done_all_the_same() {
    for policy in [peer(PeerPolicy::bare()), seawall()] {
        let record = leaving(1.0, 0.1, policy);
        assert_eq!(all(&record, |second| second.ok), 0.0);
        assert_eq!(all(&record, |second| second.load), all(&record, |second| second.begun), "nobody repeats");
        assert_eq!(all(&record, |second| second.patient), 0.0);
        let left = all(&record, |second| second.left) / all(&record, |second| second.begun);
        assert!(left > 0.99, "{left}");
    }
    let record = leaving(1.0, 0.6, seawall());
    assert_eq!(all(&record, |second| second.left), 0.0, "the answer is there before that");
    assert!(record.goodput(0, 29) > 0.99);
    assert_eq!(record.followed, 0);
}

#[test]
fn two_attempts_are_followed_where_nobody_waits() {
    // Each attempt is followed for 0.4 s, and two are followed at the same time. For 0.1 s after a success none is
    // followed.
    let record = leaving(1.0, 0.1, seawall());
    assert!((80..=120).contains(&record.followed), "{}", record.followed);
    let record = leaving(0.5, 0.1, seawall());
    assert!(record.followed < 10, "patient callers succeed, and nobody asks: {}", record.followed);
}

#[test]
fn who_was_told_a_time_comes_back_at_it_and_not_for_ever() {
    let until = at_second(20.0);
    let names = Named::Until(until);
    for (returns, back) in [(0, 0.0), (1, 1.0), (3, 1.0)] {
        let mut world = world(peer(PeerPolicy { obeys: true, ..PeerPolicy::bare() }));
        let what = Wrong::Busy { share: 1.0, status: 429, names };
        world.providers[0] = world.providers[0].clone().troubled(10.0, 12.0, what);
        world.returns = returns;
        let record = run(world, 1);
        let told: f64 = record.sum(10, 20, |second| f64::from(second.begun));
        let returned = record.sum(20, 21, |second| f64::from(second.returned));
        assert_eq!(returned, told * back, "{returns} returns");
        assert_eq!(all(&record, |second| second.returned), returned, "and succeed, so that none comes again");
        let reached: u32 = record.providers[0].turned_away.iter().sum();
        assert_eq!(reached, 1, "the first 429 is obeyed");
        let first = f64::from(record.providers[0].tenths[200]);
        assert!(first >= returned && first < returned + 30.0, "{first} come in the first tenth of a second");
    }
}

#[test]
fn a_time_that_never_comes_is_not_waited_for_without_end() {
    let mut world = world(peer(PeerPolicy::bare()));
    let what = Wrong::Busy { share: 1.0, status: 503, names: Named::After(1.0) };
    world.providers[0] = world.providers[0].clone().troubled(0.0, 30.0, what);
    world.returns = 2;
    let record = run(world, 1);
    let begun = all(&record, |second| second.begun) - all(&record, |second| second.returned);
    let times = all(&record, |second| second.load) / begun;
    assert!((2.8..=3.0).contains(&times), "each call is made three times: {times}");
}

#[test]
fn a_quota_takes_what_it_says() {
    let mut world = world(peer(PeerPolicy::bare()));
    world.providers[0].quota = Some(Quota { per_second: 60.0, burst: 10.0, names: Named::Nothing });
    let record = run(world, 1);
    let taken =
        all(&record, |second| second.load) - f64::from(record.providers[0].turned_away.iter().sum::<u32>());
    assert!((1790.0..=1810.0).contains(&taken), "{taken} in 30 s");
}
