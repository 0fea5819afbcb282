//! Searches all worlds that can be reached, breadth first: worlds that fewer moves lead to come first. So if a run ends
//! badly, the search finds a shortest one.
//!
//! Once the moves of a world were followed, only its hash is kept. If two worlds had the same hash, one of them would
//! not be searched. With 64 bits and two million worlds, the probability of that is one in ten million.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use seawall_ledger_search::machine::End;

use crate::invariants;
use crate::moves::{Moves, Next};
use crate::obvious::Machine;
use crate::world::{Case, Order, World};

/// A hash function that multiplies, and joins the two halves of the product. It is five times as fast as the standard
/// library's, which also resists an attacker.
#[derive(Clone, Copy, Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        let mixed = u128::from(self.0 ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93_u128;
        (mixed >> 64) as u64 ^ mixed as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(eight));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = u128::from(self.0 ^ value ^ 0x2d35_8dcc_aa6c_78a5) * 0x8bb8_4b93_962e_acc9_u128;
        self.0 = (mixed >> 64) as u64 ^ (mixed as u64).rotate_left(23);
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

fn hash(world: &World) -> u64 {
    let mut mix = Mix::default();
    world.hash(&mut mix);
    mix.finish()
}

/// A run (a series of moves from a first world) that ends badly.
pub(crate) struct BadRun {
    pub(crate) what: &'static str,
    pub(crate) steps: usize,
    trace: Vec<String>,
}

impl fmt::Display for BadRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} after {} steps", self.what, self.steps)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// What a search has found.
pub(crate) struct Seen {
    pub(crate) worlds: usize,
    pub(crate) moves: usize,
    /// The number of worlds in which every row had ended, by end: done, failed, cancelled, stuck.
    pub(crate) ends: [usize; 4],
    pub(crate) bad: Option<BadRun>,
}

const NOWHERE: u32 = u32::MAX;

struct Search<'a> {
    case: &'a Case,
    machine: &'a Machine,
    known: HashMap<u64, u32, BuildHasherDefault<Mix>>,
    hashes: Vec<u64>,
    parents: Vec<u32>,
    /// For each world, the number of the world that follows if nothing more goes wrong; `NOWHERE` if none follows.
    lucky: Vec<u32>,
    ahead: VecDeque<World>,
    seen: Seen,
}

/// Searches all worlds that can be reached in this case, at most `most` of them. Returns the numbers of worlds and
/// moves, and the first run that ends badly, if there is one.
pub(crate) fn explore(case: &Case, machine: &Machine, most: usize) -> Seen {
    let mut search = Search {
        case,
        machine,
        known: HashMap::default(),
        hashes: Vec::new(),
        parents: Vec::new(),
        lucky: Vec::new(),
        ahead: VecDeque::new(),
        seen: Seen { worlds: 0, moves: 0, ends: [0; 4], bad: None },
    };
    for world in World::beginnings(case) {
        search.reach(world, NOWHERE);
    }
    let mut at = 0;
    while let Some(world) = search.ahead.pop_front() {
        if let Err(bad) = search.expand(&world, at) {
            let (what, last) = *bad;
            search.seen.bad = Some(search.bad_run(what, at, last));
            break;
        }
        at += 1;
        assert!(search.hashes.len() <= most, "{}: more than {most} worlds", case.name);
    }
    if search.seen.bad.is_none() {
        search.seen.bad = search.hangs();
    }
    search.seen.worlds = search.hashes.len();
    search.seen
}

impl Search<'_> {
    fn reach(&mut self, world: World, parent: u32) -> u32 {
        let next = u32::try_from(self.hashes.len()).expect("fewer worlds than that");
        let hash = hash(&world);
        let index = *self.known.entry(hash).or_insert(next);
        if index == next {
            self.hashes.push(hash);
            self.parents.push(parent);
            self.lucky.push(NOWHERE);
            self.ahead.push_back(world);
        }
        index
    }

    fn next(&self, world: &World) -> Vec<Next> {
        Moves { case: self.case, machine: self.machine, world, out: Vec::new() }.all()
    }

    fn expand(&mut self, world: &World, at: u32) -> Result<(), Box<(&'static str, Option<Next>)>> {
        invariants::check(self.case, world).map_err(|what| Box::new((what, None)))?;
        self.count_ends(world);
        let mut best = u8::MAX;
        for next in self.next(world) {
            self.seen.moves += 1;
            match next.after {
                Err(what) => return Err(Box::new((what, Some(next)))),
                Ok(after) => {
                    let index = self.reach(after, at);
                    if next.rank.is_some_and(|rank| rank < best) && !is_over(world) {
                        best = next.rank.unwrap_or(best);
                        self.lucky[at as usize] = index;
                    }
                }
            }
        }
        Ok(())
    }

    fn count_ends(&mut self, world: &World) {
        for place in &world.places {
            match place.row.ended {
                Some(End::Done) => self.seen.ends[0] += 1,
                Some(End::Failed) => self.seen.ends[1] += 1,
                Some(End::Cancelled) => self.seen.ends[2] += 1,
                Some(End::Stuck) => self.seen.ends[3] += 1,
                None => {}
            }
        }
    }

    /// Finds a world from which a run never ends, although nothing more goes wrong; `None` if there is none.
    fn hangs(&self) -> Option<BadRun> {
        // For each world, the number of the path that passed it; 0 if none has. A path follows `lucky` from one start,
        // and the paths are numbered from 1. If a path comes to a world that it has passed itself, it never ends.
        let mut walked = vec![0_u32; self.lucky.len()];
        for start in 0..self.lucky.len() {
            let walk = start as u32 + 1;
            let mut at = start;
            while walked[at] == 0 {
                walked[at] = walk;
                match self.lucky[at] {
                    NOWHERE => break,
                    next => at = next as usize,
                }
            }
            if walked[at] == walk && self.lucky[at] != NOWHERE {
                return Some(self.bad_run("for ever", at as u32, None));
            }
        }
        None
    }

    fn bad_run(&self, what: &'static str, at: u32, last: Option<Next>) -> BadRun {
        let mut path = vec![at];
        while let Some(parent) = path.last().map(|at| self.parents[*at as usize]).filter(|at| *at != NOWHERE)
        {
            path.push(parent);
        }
        path.reverse();
        let mut trace = Vec::new();
        let mut world =
            World::beginnings(self.case).into_iter().find(|w| hash(w) == self.hashes[path[0] as usize]);
        for step in &path[1..] {
            let before = world.take().expect("a path leads from a beginning to each world");
            let wanted = self.hashes[*step as usize];
            let found =
                self.next(&before).into_iter().find(|n| n.after.as_ref().is_ok_and(|w| hash(w) == wanted));
            let next = found.expect("each world on a path follows the one before");
            world = next.after.ok();
            trace.push(format!("{}: {}", next.who, next.word));
            trace.extend(world.as_ref().map(describe));
        }
        trace.extend(last.as_ref().map(|next| format!("{}: {}", next.who, next.word)));
        BadRun { what, steps: path.len() - 1 + usize::from(last.is_some()), trace }
    }
}

fn is_over(world: &World) -> bool {
    let order = match world.order {
        Order::New | Order::Paid | Order::Failed => true,
        Order::Confirming | Order::Heard | Order::HeardNo | Order::PaidEarly => false,
    };
    // If an action is stuck, its order and the other actions of its scope wait for a person, so they need not have
    // ended.
    let stuck = world.places.iter().any(|p| p.row.ended == Some(End::Stuck));
    if stuck && world.places.len() > 1 {
        return true;
    }
    world.is_quiet() && world.places.iter().all(|p| p.due_at().is_none()) && (order || stuck)
}

fn describe(world: &World) -> String {
    let rows = world.places.iter().map(|p| {
        let row = &p.row;
        format!(
            "[{:?} {:?} open {} gen {} {:?}; there: {} charged, {} refunded]",
            row.goal,
            row.effect,
            row.open_attempts,
            row.cancel_gen,
            row.ended,
            p.there.charges,
            p.there.refunds
        )
    });
    format!("      {}", rows.collect::<Vec<_>>().join(" "))
}
