use super::*;

const BACKOFF: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(60) };

struct Bench {
    pace: Pace,
    now: Time,
}

impl Bench {
    /// A process that has already claimed all failing rows that other processes left behind, so that all classes flow.
    fn new() -> Bench {
        let mut pace = Pace::new(["charge", "email"].into_iter());
        let now = Time::from_millis(1_000_000);
        while let Some((class, count)) = pace.next(32, now) {
            pace.took(&class, count, 0, now);
        }
        assert_eq!(pace.held(), []);
        Bench { pace, now }
    }

    fn heard(&mut self, kind: AttemptKind, answered: bool) {
        let effect = if kind == AttemptKind::Perform { Effect::Never } else { Effect::Applied };
        let goal = if kind == AttemptKind::Perform { Goal::Perform } else { Goal::Cancel };
        let heard = Heard { operation: "charge", goal, effect, kind, answered, retry_after: None };
        self.pace.heard(heard, &BACKOFF, || Some(20_000), self.now);
    }

    fn waits(&mut self, millis: u64) {
        self.now = self.now.saturating_add(Duration::from_millis(millis));
    }

    /// Claims all actions that the pace offers now, as if enough actions waited. Returns their number.
    fn takes(&mut self) -> u32 {
        let mut taken = 0;
        while let Some((class, count)) = self.pace.next(32, self.now) {
            self.pace.took(&class, count, count, self.now);
            taken += count;
        }
        taken
    }

    /// For some seconds, claims all actions that the pace offers, and tells the pace how the cancel of each ends.
    /// Returns the number of actions.
    fn runs(&mut self, seconds: u64, answered: bool) -> u32 {
        let mut taken = 0;
        for _ in 0..seconds * 50 {
            self.waits(20);
            for _ in 0..self.takes() {
                self.heard(AttemptKind::Cancel, answered);
                taken += 1;
            }
        }
        taken
    }

    fn fails(&mut self) {
        (0..FAILURES).for_each(|_| self.heard(AttemptKind::Cancel, false));
    }
}

#[test]
fn a_few_failures_hold_nothing_back() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        (1..FAILURES).for_each(|_| bench.heard(AttemptKind::Cancel, false));
        bench.heard(AttemptKind::Cancel, true);
    }
    assert_eq!(bench.pace.held(), []);
}

#[test]
fn a_lane_that_fails_is_probed_at_growing_intervals() {
    let mut bench = Bench::new();
    bench.fails();
    assert_eq!(bench.pace.held().len(), 1, "the performs of the same operation flow");
    assert_eq!(bench.takes(), 0, "the first probe waits, too");
    let mut probes = Vec::new();
    for millis in (0..60_000).step_by(100) {
        if bench.takes() > 0 {
            probes.push(millis / 1000);
            bench.heard(AttemptKind::Cancel, false);
        }
        bench.waits(100);
    }
    assert_eq!(probes, [1, 2, 4, 8, 16, 26, 36, 46, 56]);
}

#[test]
fn a_lane_is_probed_no_sooner_than_the_provider_wants() {
    let mut bench = Bench::new();
    bench.fails();
    let heard = Heard {
        operation: "charge",
        goal: Goal::Cancel,
        effect: Effect::Applied,
        kind: AttemptKind::Cancel,
        answered: false,
        retry_after: Some(Duration::from_secs(30)),
    };
    bench.pace.heard(heard, &BACKOFF, || None, bench.now);
    bench.waits(29_900);
    assert_eq!(bench.takes(), 0);
    bench.waits(100);
    assert_eq!(bench.takes(), 1);
}

#[test]
fn questions_that_are_answered_do_not_hide_that_cancels_fail() {
    let mut bench = Bench::new();
    for _ in 0..FAILURES {
        bench.heard(AttemptKind::Cancel, false);
        bench.heard(AttemptKind::Confirm, true);
    }
    assert_eq!(bench.pace.held().len(), 1);
    bench.heard(AttemptKind::Confirm, true);
    bench.waits(1000);
    assert_eq!(bench.takes(), 1, "it still probes");
}

#[test]
fn after_an_answer_the_rate_grows_to_less_than_half_of_the_normal_load() {
    let mut bench = Bench::new();
    bench.fails();
    bench.waits(30_000);
    bench.heard(AttemptKind::Cancel, true);
    let first = bench.runs(1, true);
    assert!((4..=7).contains(&first), "{first} in the first second");
    bench.runs(30, true);
    let settled = bench.runs(10, true);
    assert!((88..=91).contains(&settled), "{settled} in ten seconds");
}

#[test]
fn a_lane_flows_once_nothing_waits() {
    let mut bench = Bench::new();
    bench.fails();
    bench.heard(AttemptKind::Cancel, true);
    let (class, count) = bench.pace.next(32, bench.now).unwrap();
    bench.pace.took(&class, count, 0, bench.now);
    assert_eq!((bench.pace.held(), bench.pace.next_at()), (vec![], None));
}

#[test]
fn a_lane_that_fails_again_while_it_returns_is_probed_again() {
    let mut bench = Bench::new();
    bench.fails();
    bench.heard(AttemptKind::Cancel, true);
    bench.runs(20, true);
    let taken = bench.runs(60, false);
    assert!(taken <= FAILURES + 10, "{taken}");
}

#[test]
fn without_knowledge_of_the_load_the_rate_grows_as_long_as_answers_come() {
    let mut bench = Bench::new();
    let heard = |bench: &mut Bench, answered| {
        let (goal, effect) = (Goal::Perform, Effect::Unknown);
        let kind = AttemptKind::Confirm;
        let heard = Heard { operation: "charge", goal, effect, kind, answered, retry_after: None };
        bench.pace.heard(heard, &BACKOFF, || None, bench.now);
    };
    (0..FAILURES).for_each(|_| heard(&mut bench, false));
    heard(&mut bench, true);
    let mut rates = Vec::new();
    for _ in 0..4 {
        let mut taken = 0;
        for _ in 0..500 {
            bench.waits(20);
            for _ in 0..bench.takes() {
                heard(&mut bench, true);
                taken += 1;
            }
        }
        rates.push(taken);
    }
    assert!(rates.is_sorted() && rates[0] < 120 && rates[3] > 1000, "{rates:?}");
}

#[test]
fn a_process_that_begins_lets_through_slowly_what_others_left() {
    let mut pace = Pace::new(["charge"].into_iter());
    let now = Time::from_millis(1_000_000);
    let mut taken = 0;
    while let Some((class, count)) = pace.next(32, now) {
        pace.took(&class, count, count, now);
        taken += count;
    }
    assert_eq!((taken, pace.held().len()), (2, 4));
    assert!(pace.next_at().unwrap() > now);
}

#[test]
fn a_reload_keeps_the_course_of_what_stays_declared() {
    let mut bench = Bench::new();
    bench.fails();
    let held = bench.pace.held();
    bench.pace.declare(&["charge", "refund"]);
    let refund = |class: &Class| class.operation == "refund";
    let (new, kept): (Vec<_>, Vec<_>) = bench.pace.held().into_iter().partition(refund);
    assert_eq!(kept, held, "the cancels of charges are probed, as before");
    assert_eq!(new.len(), 4, "rows of a new operation may wait already");
    bench.pace.declare(&["refund"]);
    assert!(bench.pace.held().iter().all(refund));
}
