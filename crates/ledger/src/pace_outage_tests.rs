//! An outage of half an hour, in virtual time: the refunds of a provider fail, while everything else works. The machine
//! and the pace are the real ones; the worker's loop, the table and the provider are small models in this file.

use seawall_policy::{Draw, Idempotency, Served};

use super::*;
use crate::calendar::Lifetime;
use crate::machine::{
    self, AttemptRow, CancelBy, CancelRules, ConfirmRules, End, Event, Found, Naming, Now, Origin, Owner,
    Performed, Question, Report, Rules, Stamp, State, Step, Told, Undone,
};

const ME: Owner = Owner(7);
const TICK_MILLIS: u64 = 10;
/// The time from a request to its answer.
const LATENCY_MILLIS: u64 = 50;
const CONCURRENCY: usize = 32;
/// The calls per second that the provider also gets from programs without a ledger.
const OTHERS: u64 = 19;
const OUTAGE: std::ops::Range<u64> = 600_000..2_400_000;

enum Request {
    Cancel(AttemptRow),
    Question(Question),
}

struct World {
    rules: Rules,
    rows: Vec<State>,
    /// For each row, the number of its requests since it was claimed.
    requests: Vec<u32>,
    /// Requests under way: the time of the answer in milliseconds, the index of the row, and the request.
    under_way: Vec<(u64, usize, Request)>,
    pace: Option<Pace>,
    served: Served,
    draws: fastrand::Rng,
    /// The times at which requests arrived at the provider, both those of the ledger and the other calls.
    arrivals: Vec<u64>,
    of_ledger: Vec<u64>,
    wakes_at: u64,
    millis: u64,
}

fn origin() -> Origin<'static> {
    Origin { scoped: false, dependency: "pay", key: "order-1", naming: Naming::Salted(0) }
}

fn stamp(millis: u64) -> Stamp {
    Stamp::from_micros(1_000_000_000 + i64::try_from(millis * 1000).unwrap())
}

impl World {
    fn new(is_paced: bool) -> World {
        let day = Lifetime::For(Duration::from_secs(24 * 3600));
        let rules = Rules {
            confirm: Some(ConfirmRules::default()),
            cancel: Some(CancelRules { keyed: true, ..CancelRules::default() }),
            ..Rules::of(Idempotency::Keyed).remembered(day)
        };
        World {
            rules,
            rows: Vec::new(),
            requests: Vec::new(),
            under_way: Vec::new(),
            pace: is_paced.then(|| Pace::new(["charge"].into_iter())),
            served: Served::default(),
            draws: fastrand::Rng::with_seed(1),
            arrivals: Vec::new(),
            of_ledger: Vec::new(),
            wakes_at: 0,
            millis: 0,
        }
    }

    fn time(&self) -> Time {
        Time::from_millis(1_000_000 + self.millis)
    }

    /// Adds an action that is done, and that the application now cancels.
    fn refund_is_wanted(&mut self) {
        let now = stamp(self.millis);
        let (state, line) = machine::sent(&self.rules, ME, now).unwrap();
        let done = Event::Performed(line, Performed::Yes(Some(b"{}".to_vec())), Report::default());
        let state = self.told(&state, done);
        let wish = machine::cancel(&state, &self.rules, CancelBy::Transaction, now);
        self.rows.push(wish.unwrap().unwrap().to().clone());
        self.requests.push(0);
        self.wakes_at = self.millis;
    }

    fn told(&mut self, state: &State, event: Event) -> State {
        let (now, draw) = (Now::sure(stamp(self.millis)), Draw::new(self.draws.u64(..)));
        match machine::told(state, &self.rules, origin(), ME, event, now, draw) {
            Told::Write(write) => write.to().clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Claims due rows as the stores do. With `only`, these are the failing rows of that class. Without it, these are
    /// all rows except the failing rows of the classes in `held`.
    fn claim(&mut self, only: Option<&Class>, held: &[Class], most: u32) -> u32 {
        let now = stamp(self.millis);
        let class = |state: &State| Class {
            operation: "charge".to_owned(),
            goal: state.goal(),
            effect: state.row().effect,
        };
        let wanted = |state: &State| match only {
            Some(only) => state.failing_since().is_some() && class(state) == *only,
            None => state.failing_since().is_none() || !held.contains(&class(state)),
        };
        let mut due: Vec<usize> = (0..self.rows.len())
            .filter(|at| self.rows[*at].due_at().is_some_and(|due| due <= now) && wanted(&self.rows[*at]))
            .collect();
        due.sort_by_key(|at| self.rows[*at].due_at());
        due.truncate(usize::try_from(most).unwrap());
        for at in &due {
            self.rows[*at] = machine::claim(&self.rows[*at], self.rules.lease, ME, now).unwrap().to().clone();
            self.requests[*at] = 0;
            self.drive(*at);
        }
        u32::try_from(due.len()).unwrap()
    }

    /// Claims as a worker does: first the rows that are not held back, then the number of failing rows that the pace
    /// lets through.
    fn round(&mut self) {
        let free = |world: &World| u32::try_from(CONCURRENCY - world.under_way.len()).unwrap();
        let held = self.pace.as_ref().map(Pace::held).unwrap_or_default();
        let most = free(self);
        let was_full = most > 0 && self.claim(None, &held, most) == most;
        while let Some((class, count)) = self.next(free(self)) {
            let taken = self.claim(Some(&class), &[], count);
            let now = self.time();
            self.pace.as_mut().unwrap().took(&class, count, taken, now);
        }
        let next = self.pace.as_ref().and_then(Pace::next_at);
        let next = next.map_or(u64::MAX, |at| at.as_nanos().div_ceil(1_000_000) - 1_000_000);
        let scan = self.millis + if was_full { TICK_MILLIS } else { 1000 };
        self.wakes_at = scan.min(next.max(self.millis + TICK_MILLIS));
    }

    fn next(&mut self, most: u32) -> Option<(Class, u32)> {
        let now = self.time();
        self.pace.as_mut()?.next(most, now)
    }

    /// Executes the machine's plan for a row, until a request is under way or nothing is to be done now.
    fn drive(&mut self, at: usize) {
        loop {
            let request =
                match machine::plan(&self.rows[at], &self.rules, origin(), Now::sure(stamp(self.millis)), ME)
                {
                    Step::Leave => return,
                    Step::Change(write) => {
                        self.rows[at] = write.to().clone();
                        continue;
                    }
                    Step::Cancel(write) => {
                        self.rows[at] = write.to().clone();
                        Request::Cancel(write.attempt().unwrap().clone())
                    }
                    Step::Ask(question) => Request::Question(question),
                    other => panic!("{other:?}"),
                };
            self.requests[at] += 1;
            let now = self.time();
            if let Some(pace) = &mut self.pace
                && self.requests[at] > 1
                && self.rows[at].failing_since().is_some()
            {
                pace.sends(1, now);
            }
            self.arrivals.push(self.millis);
            self.of_ledger.push(self.millis);
            self.under_way.push((self.millis + LATENCY_MILLIS, at, request));
            return;
        }
    }

    fn answers(&mut self, at: usize, request: Request) {
        let is_down = OUTAGE.contains(&self.millis);
        let before = self.rows[at].row();
        let (event, kind, answered) = match request {
            Request::Cancel(line) if is_down => {
                let report = Report { status: Some(500), ..Report::default() };
                (Event::Cancelled(line, Undone::Unknown, report), AttemptKind::Cancel, false)
            }
            Request::Cancel(line) => {
                (Event::Cancelled(line, Undone::Yes, Report::default()), AttemptKind::Cancel, true)
            }
            Request::Question(question) => (
                Event::Confirmed(question, Found::Applied(None), Report::default()),
                AttemptKind::Confirm,
                true,
            ),
        };
        let now = self.time();
        self.served.ended(answered, now);
        let (goal, effect) = (before.goal, before.effect);
        let heard = Heard { operation: "charge", goal, effect, kind, answered, retry_after: None };
        let served = self.served.per_second_milli();
        if let Some(pace) = &mut self.pace {
            pace.heard(heard, &self.rules.backoff, || served, now);
        }
        let state = self.rows[at].clone();
        self.rows[at] = self.told(&state, event);
        self.drive(at);
    }

    fn runs_until(&mut self, end: u64) {
        while self.millis < end {
            let mut answered = Vec::new();
            let millis = self.millis;
            self.under_way.retain_mut(|(when, at, request)| {
                let is_over = *when <= millis;
                if is_over {
                    let none =
                        Request::Question(Question { fence: 0, number: 0, asked_at: stamp(0), sure: true });
                    answered.push((*at, std::mem::replace(request, none)));
                }
                !is_over
            });
            answered.into_iter().for_each(|(at, request)| self.answers(at, request));
            if millis.is_multiple_of(1000) {
                self.refund_is_wanted();
            }
            // The other calls are spread over each second.
            let others = |millis: u64| millis * OTHERS / 1000;
            for _ in others(millis)..others(millis + TICK_MILLIS) {
                self.arrivals.push(millis);
                self.served.ended(true, Time::from_millis(1_000_000 + millis));
            }
            if self.wakes_at <= self.millis {
                self.round();
            }
            self.millis += TICK_MILLIS;
        }
    }

    fn waiting(&self) -> usize {
        self.rows.iter().filter(|row| row.failing_since().is_some()).count()
    }
}

/// Returns the largest number of calls in any span of `millis` milliseconds that begins with a call in `when`.
fn most_in(calls: &[u64], millis: u64, when: std::ops::Range<u64>) -> usize {
    let begins = calls.iter().enumerate().filter(|(_, at)| when.contains(at));
    let counts = begins.map(|(index, at)| calls[index..].iter().take_while(|c| **c < at + millis).count());
    counts.max().unwrap_or(0)
}

#[test]
fn an_outage_of_half_an_hour_heals_in_four_minutes_without_a_wave() {
    let mut world = World::new(true);
    world.runs_until(OUTAGE.start);
    let normal = most_in(&world.arrivals, 5000, 60_000..OUTAGE.start - 5000);
    assert!((95..=105).contains(&normal), "{normal} calls in five seconds");
    world.runs_until(OUTAGE.end);
    assert!(world.waiting() >= 1790, "{} refunds wait", world.waiting());
    let tries = most_in(&world.of_ledger, 10_000, OUTAGE.start + 60_000..OUTAGE.end);
    assert!(tries <= 15, "{tries} requests in ten seconds of the outage");

    let mut healed = None;
    while world.millis < OUTAGE.end + 600_000 {
        world.runs_until(world.millis + 1000);
        if healed.is_none() && world.waiting() == 0 {
            healed = Some((world.millis - OUTAGE.end) / 1000);
        }
    }
    let most = most_in(&world.arrivals, 5000, OUTAGE.end..world.millis - 5000);
    println!("healed after {healed:?} s; at most {most} calls in five seconds, {normal} in normal times");
    assert!(healed.is_some_and(|seconds| seconds <= 240), "{healed:?}");
    assert!(most <= 150, "{most} calls in five seconds");
    let ended = |end: End| world.rows.iter().filter(|row| row.end() == Some(end)).count();
    assert_eq!((ended(End::Stuck), ended(End::Done), ended(End::Failed)), (0, 0, 0));
    assert!(ended(End::Cancelled) + 2 >= world.rows.len());
}

#[test]
fn with_the_wait_of_each_action_alone_an_outage_is_one_long_wave() {
    let mut world = World::new(false);
    world.runs_until(OUTAGE.end + 60_000);
    let tries = most_in(&world.of_ledger, 10_000, OUTAGE.end - 60_000..OUTAGE.end);
    let most = most_in(&world.arrivals, 5000, OUTAGE.end..world.millis - 5000);
    println!("{tries} requests in ten seconds of the outage, {most} calls in five seconds after it");
    assert!(tries > 300 && most > 200, "{tries}, {most}");
}
