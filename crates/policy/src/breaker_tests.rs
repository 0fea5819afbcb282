use proptest::prelude::*;

use super::*;
use crate::window::WindowSpan;

const MS: Duration = Duration::from_millis(1);
const MIDDLE: Draw = Draw::new(1 << 63);
const OK: Evidence = Evidence::Success { took: MS };
const BAD: Evidence = Evidence::Failure { kind: FailureKind::Status500, slow: false };
const HUNG: Evidence = Evidence::Failure { kind: FailureKind::Timeout, slow: true };

fn ms(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn defaults() -> BreakerSettings {
    BreakerSettings::default()
}

/// Makes one call that ends with `evidence`. Returns whether the breaker counted it as good, as bad or as nothing;
/// `None` if the breaker refused the call.
fn call(breaker: &mut Breaker, now: Time, evidence: Evidence) -> Option<Settled> {
    let pass = breaker.admit(now).ok()?;
    Some(breaker.settle(now, pass, evidence, || MIDDLE))
}

/// Makes `count` calls. Returns how many of them passed.
fn calls(breaker: &mut Breaker, now: Time, evidence: Evidence, count: usize) -> usize {
    (0..count).filter(|_| call(breaker, now, evidence).is_some()).count()
}

/// Returns a breaker that opened at time zero because of its failure rate, and that stays open until 3 s.
fn opened(settings: BreakerSettings) -> Breaker {
    let mut breaker = Breaker::new(settings);
    assert_eq!(calls(&mut breaker, Time::ZERO, BAD, 100), 20);
    assert_eq!(breaker.state(Time::ZERO), BreakerState::Open);
    breaker
}

#[test]
fn the_rate_opens_it_at_the_twentieth_call() {
    for (ok, bad, opens) in [(10, 10, true), (11, 9, false), (9, 10, false), (10, 9, false), (0, 20, true)] {
        let mut breaker = Breaker::new(defaults());
        calls(&mut breaker, ms(1), OK, ok);
        calls(&mut breaker, ms(2), BAD, bad);
        let expected = if opens { BreakerState::Open } else { BreakerState::Closed };
        assert_eq!(breaker.state(ms(3)), expected, "{ok} good, {bad} bad");
    }
}

#[test]
fn a_success_never_opens_it() {
    let mut breaker = Breaker::new(defaults());
    calls(&mut breaker, ms(1), BAD, 12);
    assert_eq!(calls(&mut breaker, ms(2), OK, 8), 8);
    assert!(breaker.is_closed());
    call(&mut breaker, ms(3), BAD);
    assert!(!breaker.is_closed(), "13 of 21");
}

#[test]
fn two_slow_failures_without_a_success_are_silence() {
    let mut breaker = Breaker::new(defaults());
    call(&mut breaker, ms(0), HUNG);
    assert!(breaker.is_closed());
    let settled = call(&mut breaker, ms(60_000), HUNG).expect("closed");
    assert_eq!(settled, Settled { counted: Counted::Bad, change: Some(BreakerState::Open) });
    let why = breaker.why().expect("open");
    assert_eq!((why.by, why.counts), (OpenedBy::Silence, Counts { ok: 0, bad: 1 }));
}

#[test]
fn what_breaks_a_silence() {
    for between in [BAD, Evidence::Neutral, OK] {
        let mut breaker = Breaker::new(defaults());
        for evidence in [HUNG, between, HUNG] {
            call(&mut breaker, ms(1), evidence);
        }
        assert!(breaker.is_closed(), "{between:?}");
    }
    let mut breaker = Breaker::new(defaults());
    for evidence in [HUNG, Evidence::Nothing, HUNG] {
        call(&mut breaker, ms(1), evidence);
    }
    assert!(!breaker.is_closed(), "what was never sent breaks nothing");
}

#[test]
fn a_success_in_the_window_is_no_silence() {
    let mut breaker = Breaker::new(defaults());
    call(&mut breaker, ms(0), OK);
    assert_eq!(calls(&mut breaker, ms(4_900), HUNG, 9), 9);
    assert!(breaker.is_closed());
    call(&mut breaker, ms(5_000), HUNG);
    assert!(!breaker.is_closed(), "the success has left the window");
}

#[test]
fn so_many_failures_in_a_row_open_it_where_asked() {
    let settings = BreakerSettings { consecutive: Some(3), ..defaults() };
    let mut breaker = Breaker::new(settings);
    for evidence in [OK, BAD, BAD, OK, BAD, BAD, Evidence::Neutral] {
        call(&mut breaker, ms(1), evidence);
    }
    assert!(breaker.is_closed());
    call(&mut breaker, ms(1), BAD);
    assert_eq!(breaker.why().expect("open").by, OpenedBy::Consecutive);
}

#[test]
fn a_window_of_fewer_calls_than_min_calls_still_opens() {
    let settings = BreakerSettings { window: WindowSpan::Calls(10), ..defaults() };
    let mut breaker = Breaker::new(settings);
    calls(&mut breaker, ms(1), OK, 10);
    assert_eq!(calls(&mut breaker, ms(1), BAD, 10), 5);
}

#[test]
fn a_hundred_thousand_successes_hide_no_outage() {
    let mut breaker = Breaker::new(defaults());
    for n in 0..100_000 {
        let _ = call(&mut breaker, ms(n / 20), OK).expect("closed");
    }
    // 20 calls per millisecond succeeded for 5 s, which is the length of the window. Then as many calls per millisecond
    // fail. After 2.5 s, half of the window is failures, so the breaker must be open.
    let opened_after = (0..=5_000_u64).find(|at| calls(&mut breaker, ms(5_000 + at), BAD, 20) < 20);
    assert!(opened_after.expect("opened") <= 2_500, "half a window of equal traffic is one half bad");

    let settings = BreakerSettings { window: WindowSpan::Calls(20), ..defaults() };
    let mut counted = Breaker::new(settings);
    assert_eq!(calls(&mut counted, ms(1), OK, 100_000), 100_000);
    assert_eq!(calls(&mut counted, ms(2), BAD, 100), 10, "within min_calls");
}

#[test]
fn after_a_pause_twenty_calls_are_enough() {
    let mut breaker = Breaker::new(defaults());
    assert_eq!(calls(&mut breaker, ms(1), OK, 100_000), 100_000);
    assert_eq!(calls(&mut breaker, ms(6_000), BAD, 100), 20);
}

#[test]
fn open_refuses_until_its_jittered_time_is_over() {
    for (bits, until) in [(0, 2_400), (1 << 63, 3_000)] {
        let mut breaker = Breaker::new(defaults());
        for _ in 0..20 {
            let pass = breaker.admit(Time::ZERO).expect("closed");
            let _ = breaker.settle(Time::ZERO, pass, BAD, || Draw::new(bits));
        }
        let refusal = BreakerRefusal { state: BreakerState::Open, until: Some(ms(until)) };
        assert_eq!(breaker.admit(ms(until - 1)), Err(refusal));
        assert_eq!(breaker.state_until(ms(until - 1)), Some(ms(until)));
        assert_eq!(breaker.state(ms(until)), BreakerState::HalfOpen);
        assert!(breaker.admit(ms(until)).expect("a probe").is_probe());
    }
    let most = defaults().open_time(0, Draw::new(u64::MAX));
    assert!(most > 3_599 * MS && most < 3_600 * MS);
}

#[test]
fn of_a_hundred_callers_in_half_open_one_passes() {
    let mut breaker = opened(defaults());
    let passes: Vec<Pass> = (0..100).filter_map(|_| breaker.admit(ms(3_000)).ok()).collect();
    assert_eq!(passes.len(), 1);
    let refusal = BreakerRefusal { state: BreakerState::HalfOpen, until: Some(ms(6_000)) };
    assert_eq!(breaker.admit(ms(3_001)), Err(refusal));
}

#[test]
fn three_successes_close_it_and_forget_the_outage() {
    let mut breaker = opened(defaults());
    for n in 0..3 {
        assert_eq!(breaker.state(ms(3_000 + n)), BreakerState::HalfOpen);
        let settled = call(&mut breaker, ms(3_000 + n), OK).expect("a probe");
        assert_eq!(settled.change, (n == 2).then_some(BreakerState::Closed));
    }
    assert_eq!(breaker.counts(ms(3_003)), Counts { ok: 0, bad: 0 });
    assert_eq!(breaker.why(), None);
    assert_eq!(calls(&mut breaker, ms(3_003), BAD, 100), 20, "no ramp, and the full count again");
}

#[test]
fn a_failed_probe_opens_it_again_for_the_same_time() {
    let mut breaker = opened(defaults());
    for round in 1..=5_u64 {
        let settled = call(&mut breaker, ms(3_000 * round), BAD).expect("a probe");
        assert_eq!(settled.change, Some(BreakerState::Open));
        assert_eq!(breaker.state_until(ms(3_000 * round)), Some(ms(3_000 * (round + 1))));
        let why = breaker.why().expect("open");
        assert_eq!(
            (why.reopened, why.at, why.failures.to_string().as_str()),
            (round as u32, ms(0), "20 × 500")
        );
    }
}

#[test]
fn the_open_time_doubles_up_to_open_max_where_set() {
    let settings = BreakerSettings { open_max: Some(Duration::from_secs(10)), ..defaults() };
    let mut breaker = opened(settings);
    let mut now = ms(3_000);
    for length in [6_000, 10_000, 10_000] {
        let _ = call(&mut breaker, now, BAD).expect("a probe");
        let until = breaker.state_until(now).expect("open");
        assert_eq!(until.since(now), Duration::from_millis(length));
        now = until;
    }
}

#[test]
fn a_lost_probe_blocks_the_next_for_open_for_only() {
    let mut breaker = opened(defaults());
    let lost = breaker.admit(ms(3_000)).expect("the first probe");
    assert!(breaker.admit(ms(5_999)).is_err());
    let newest = breaker.admit(ms(6_000)).expect("the second");
    assert_eq!(breaker.settle(ms(6_001), lost, HUNG, || MIDDLE).change, None, "an older one's failure");
    assert!(breaker.admit(ms(6_002)).is_err(), "the newest is still out");
    assert_eq!(breaker.settle(ms(6_003), newest, BAD, || MIDDLE).change, Some(BreakerState::Open));
}

#[test]
fn an_older_probes_success_counts() {
    let mut breaker = opened(BreakerSettings { probes: 2, ..defaults() });
    let older = breaker.admit(ms(3_000)).expect("the first probe");
    let newest = breaker.admit(ms(6_000)).expect("the second");
    assert_eq!(breaker.settle(ms(6_001), newest, OK, || MIDDLE).change, None);
    assert_eq!(breaker.settle(ms(6_002), older, OK, || MIDDLE).change, Some(BreakerState::Closed));
}

#[test]
fn a_probe_that_says_nothing_makes_room_for_the_next() {
    let mut breaker = opened(defaults());
    for evidence in [Evidence::Neutral, Evidence::Nothing, Evidence::Neutral] {
        assert_eq!(call(&mut breaker, ms(3_000), evidence).expect("a probe").change, None);
    }
    assert_eq!(breaker.state(ms(3_000)), BreakerState::HalfOpen);
}

#[test]
fn results_of_an_older_era_never_move_the_state() {
    let mut breaker = Breaker::new(defaults());
    let mut late: Vec<Pass> = (0..120).map(|_| breaker.admit(ms(0)).expect("closed")).collect();
    calls(&mut breaker, ms(0), BAD, 20);
    let nothing = Settled { counted: Counted::Nothing, change: None };
    let mut settle_late = |breaker: &mut Breaker, at: u64, evidence| {
        for pass in late.drain(..40) {
            assert_eq!(breaker.settle(ms(at), pass, evidence, || MIDDLE), nothing);
        }
    };
    settle_late(&mut breaker, 100, OK);
    assert_eq!(breaker.state(ms(101)), BreakerState::Open);
    let probe = breaker.admit(ms(3_000)).expect("a probe");
    settle_late(&mut breaker, 3_001, HUNG);
    assert_eq!(breaker.state(ms(3_001)), BreakerState::HalfOpen);
    let _ = breaker.settle(ms(3_002), probe, OK, || MIDDLE);
    calls(&mut breaker, ms(3_003), OK, 2);
    settle_late(&mut breaker, 3_004, HUNG);
    assert_eq!((breaker.state(ms(3_005)), breaker.counts(ms(3_005)).bad), (BreakerState::Closed, 0));
}

#[test]
fn an_endpoint_that_swallows_calls_trips_it_though_all_are_cut_from_outside() {
    let mut breaker = Breaker::new(defaults());
    calls(&mut breaker, ms(0), OK, 30);
    let cut = abandoned(500);
    let passed: usize = (1..=50).map(|n| calls(&mut breaker, ms(n * 100), cut, 1)).sum();
    assert!(passed < 50, "{passed}");
    assert!(breaker.why().expect("open").failures.get(FailureKind::Abandoned) > 0);
}

/// Returns the evidence of a call that its caller gave up after this number of milliseconds. The read timeout is one
/// second.
fn abandoned(millis: u32) -> Evidence {
    Evidence::Abandoned { waited: millis * MS, enough: 100 * MS }
}

#[test]
fn a_wait_that_was_given_up_counts_only_beside_a_success_and_when_it_was_long() {
    let mut breaker = Breaker::new(defaults());
    let mut counted = |evidence| call(&mut breaker, ms(1), evidence).expect("closed").counted;
    for _ in 0..1_000 {
        assert_eq!(counted(abandoned(900)), Counted::Nothing, "no success to compare it with");
    }
    assert_eq!(counted(Evidence::Success { took: 8 * MS }), Counted::Ok);
    assert_eq!(counted(abandoned(100)), Counted::Nothing, "a tenth of the read timeout");
    assert_eq!(counted(abandoned(101)), Counted::Bad);
    assert_eq!(counted(Evidence::Success { took: 80 * MS }), Counted::Ok);
    assert_eq!(counted(abandoned(160)), Counted::Nothing, "twice the slowest success");
    assert_eq!(counted(abandoned(161)), Counted::Bad);
}

#[test]
fn who_leaves_neither_makes_nor_breaks_a_run_of_silence() {
    let mut breaker = Breaker::new(defaults());
    let _ = call(&mut breaker, ms(1), HUNG);
    for _ in 0..100 {
        let _ = call(&mut breaker, ms(2), abandoned(900));
    }
    assert!(breaker.is_closed());
    let opened = call(&mut breaker, ms(3), HUNG).expect("closed");
    assert_eq!(opened.change, Some(BreakerState::Open), "two in a row, though callers left between them");
}

#[test]
fn a_probe_whose_caller_left_is_no_verdict_and_frees_the_next_probe() {
    let mut breaker = Breaker::new(defaults());
    calls(&mut breaker, ms(0), OK, 1);
    calls(&mut breaker, ms(0), BAD, 40);
    for n in 0..3 {
        let probe = breaker.admit(ms(3_000 + n)).expect("a probe");
        let settled = breaker.settle(ms(3_000 + n), probe, abandoned(900), || MIDDLE);
        assert_eq!((settled.counted, settled.change), (Counted::Nothing, None));
    }
    assert_eq!(breaker.state(ms(3_003)), BreakerState::HalfOpen);
}

#[test]
fn slow_call_bounds_successes_and_cuts() {
    let mut breaker = Breaker::new(BreakerSettings { slow_call: Some(100 * MS), ..defaults() });
    for (evidence, counted) in [
        (Evidence::Success { took: 100 * MS }, Counted::Ok),
        (Evidence::Success { took: 101 * MS }, Counted::Bad),
        (abandoned(100), Counted::Nothing),
        (abandoned(101), Counted::Bad),
    ] {
        assert_eq!(call(&mut breaker, ms(1), evidence).expect("closed").counted, counted, "{evidence:?}");
    }
    assert_eq!(breaker.failures(ms(1)).to_string(), "1 slow answer, 1 caller left");
}

#[test]
fn turned_off_it_keeps_its_window_and_never_opens() {
    let mut breaker = Breaker::new(BreakerSettings { enabled: false, ..defaults() });
    assert_eq!(calls(&mut breaker, ms(1), HUNG, 100), 100);
    assert!(breaker.is_closed());
    assert_eq!(breaker.counts(ms(1)), Counts { ok: 0, bad: 100 });
    breaker.force(ms(2), Force::Open);
    assert!(breaker.admit(ms(2)).is_err(), "an operator's word holds");
    assert_eq!(breaker.force(ms(3), Force::Auto), Some(BreakerState::Closed));
}

#[test]
fn forced_open_and_closed_hold_until_told_otherwise() {
    let mut breaker = Breaker::new(defaults());
    assert_eq!(breaker.force(ms(0), Force::Auto), None);
    assert_eq!(breaker.force(ms(0), Force::Closed), Some(BreakerState::ForcedClosed));
    assert_eq!(calls(&mut breaker, ms(1), HUNG, 100), 100);
    assert_eq!(breaker.counts(ms(1)).bad, 100);
    assert_eq!(breaker.force(ms(2), Force::Open), Some(BreakerState::ForcedOpen));
    assert_eq!(breaker.force(ms(2), Force::Open), None);
    let refusal = BreakerRefusal { state: BreakerState::ForcedOpen, until: None };
    assert_eq!(breaker.admit(ms(9_000_000)), Err(refusal));
    assert_eq!(breaker.health_answered(ms(9_000_000)), None);
    assert_eq!(breaker.force(ms(9_000_001), Force::Auto), Some(BreakerState::HalfOpen));
    let settled = call(&mut breaker, ms(9_000_001), BAD).expect("a probe");
    assert_eq!(settled.change, Some(BreakerState::Open));
    assert_eq!(breaker.why().expect("open").by, OpenedBy::Probe);
}

#[test]
fn a_good_health_answer_starts_probing_early_and_is_no_probe() {
    let settings = BreakerSettings { health: Some(Duration::from_secs(1)), ..defaults() };
    let mut breaker = Breaker::new(settings);
    assert!(!breaker.health_due(ms(0)), "closed");
    let mut breaker = opened(settings);
    assert!(!breaker.health_due(ms(999)));
    assert!(breaker.health_due(ms(1_000)) && !breaker.health_due(ms(1_000)), "once");
    assert_eq!(breaker.health_answered(ms(1_100)), Some(BreakerState::HalfOpen));
    assert_eq!(calls(&mut breaker, ms(1_100), OK, 2), 2);
    assert_eq!(breaker.state(ms(1_100)), BreakerState::HalfOpen, "two probes, and not three");
}

#[test]
fn a_ramp_admits_a_growing_share() {
    let mut breaker = opened(BreakerSettings { ramp: Some(Duration::from_secs(10)), ..defaults() });
    calls(&mut breaker, ms(3_000), OK, 3);
    assert!(breaker.is_closed());
    let mut passed = [0; 11];
    for tenth in 0..=10_u64 {
        passed[tenth as usize] = calls(&mut breaker, ms(3_000 + tenth * 1_000), OK, 1_000);
    }
    for (tenth, passed) in passed.into_iter().enumerate() {
        assert!(passed.abs_diff(tenth.max(1) * 100) <= 1, "{passed} in tenth {tenth}");
    }
}

#[test]
fn new_settings_keep_the_state() {
    let mut breaker = opened(defaults());
    breaker.adopt(ms(1), BreakerSettings { probes: 1, ..defaults() });
    assert_eq!(breaker.state(ms(1)), BreakerState::Open);
    assert_eq!(call(&mut breaker, ms(3_000), OK).expect("a probe").change, Some(BreakerState::Closed));
    let mut breaker = opened(defaults());
    breaker.adopt(ms(1), BreakerSettings { enabled: false, ..defaults() });
    assert!(breaker.is_closed());
}

/// The naive model of a breaker. It keeps every record of a call for ever, and every probe that was admitted since the
/// last change of state.
struct Model {
    settings: BreakerSettings,
    records: Vec<(u64, bool)>,
    run: u32,
    state: ModelState,
    era: u32,
}

#[derive(Clone, Debug, PartialEq)]
enum ModelState {
    Closed,
    Open { until: u64 },
    HalfOpen { successes: u32, probes: Vec<(u64, bool)> },
}

impl Model {
    fn enter(&mut self, state: ModelState) {
        self.state = state;
        self.era += 1;
    }

    fn counts(&self, now: u64) -> (u64, u64) {
        let WindowSpan::Time(span) = self.settings.window else { unreachable!("the model knows time only") };
        let width = span.as_nanos() as u64 / 10;
        let held = self.records.iter().filter(|r| now / width - r.0 / width < 10);
        held.fold((0, 0), |(ok, bad), r| if r.1 { (ok + 1, bad) } else { (ok, bad + 1) })
    }

    /// Admits a call. Returns the number of the current era (the number of changes of state so far), and the number of
    /// the probe (zero if the call is no probe). Returns `None` if the call is refused.
    fn admit(&mut self, now: u64) -> Option<(u32, usize)> {
        if matches!(self.state, ModelState::Open { until } if now >= until) {
            self.enter(ModelState::HalfOpen { successes: 0, probes: Vec::new() });
        }
        let open_for = self.settings.open_for.as_nanos() as u64;
        match &mut self.state {
            ModelState::Closed => Some((self.era, 0)),
            ModelState::Open { .. } => None,
            ModelState::HalfOpen { probes, .. } => {
                let blocked = probes.last().is_some_and(|(began, out)| *out && now - began < open_for);
                (!blocked).then(|| {
                    probes.push((now, true));
                    (self.era, probes.len())
                })
            }
        }
    }

    /// `good` is `None` for evidence that says nothing.
    fn settle(&mut self, now: u64, pass: (u32, usize), good: Option<bool>, slow: bool) {
        if pass.0 != self.era {
            return;
        }
        self.records.extend(good.map(|good| (now, good)));
        let (ok, bad) = self.counts(now);
        let again = ModelState::Open { until: now + self.settings.open_for.as_nanos() as u64 };
        match (&mut self.state, good) {
            (ModelState::Open { .. }, _) => unreachable!("no pass is of an open era"),
            (ModelState::Closed, Some(true)) => self.run = 0,
            (ModelState::Closed, Some(false)) => {
                self.run = if slow { self.run + 1 } else { 0 };
                if (ok + bad >= u64::from(self.settings.min_calls) && bad >= ok) || (self.run >= 2 && ok == 0)
                {
                    self.enter(again);
                }
            }
            (ModelState::Closed, None) => {}
            (ModelState::HalfOpen { successes, probes }, good) => {
                let newest = pass.1 == probes.len();
                probes[pass.1 - 1].1 = false;
                match good {
                    Some(true) => {
                        *successes += 1;
                        if *successes == self.settings.probes {
                            self.records.clear();
                            self.run = 0;
                            self.enter(ModelState::Closed);
                        }
                    }
                    Some(false) if newest => self.enter(again),
                    Some(false) | None => {}
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_a_model_that_keeps_every_record(
        min_calls in 2_u32..12,
        probes in 1_u32..4,
        sick in 0_u8..10,
        steps in prop::collection::vec((0_u64..100, 0_u8..10, 0_u8..10, 0_usize..32), 1..500),
    ) {
        let second = Duration::from_nanos(1_000);
        let settings = BreakerSettings {
            min_calls, probes, open_for: second, window: WindowSpan::Time(second), ..defaults()
        };
        let mut breaker = Breaker::new(settings);
        let mut model =
            Model { settings, records: Vec::new(), run: 0, state: ModelState::Closed, era: 0 };
        let mut out = Vec::new();
        let mut now = 0_u64;
        for (gap, what, luck, which) in steps {
            now += if gap > 95 { gap * 10 } else { gap / 2 };
            let at = Time::from_nanos(now);
            if what < 5 || out.is_empty() {
                let (pass, expected) = (breaker.admit(at).ok(), model.admit(now));
                prop_assert_eq!(pass.is_some(), expected.is_some(), "at {}", now);
                out.extend(pass.zip(expected).map(|(pass, expected)| (pass, expected, now)));
                let young = out.iter().filter(|(pass, _, began)| {
                    pass.era == breaker.era && pass.is_probe() && now - began < 1_000
                });
                prop_assert!(young.count() <= 1, "two probes out within open_for");
            } else {
                let (pass, expected, _) = out.swap_remove(which % out.len());
                let (evidence, good, slow) = match what {
                    9 => (Evidence::Nothing, None, false),
                    _ if luck >= sick => (OK, Some(true), false),
                    8 => (HUNG, Some(false), true),
                    _ => (BAD, Some(false), false),
                };
                let settled = breaker.settle(at, pass, evidence, || MIDDLE);
                let era = model.era;
                model.settle(now, expected, good, slow);
                prop_assert_eq!(settled.change.is_some(), model.era != era);
            }
            let state = match &model.state {
                ModelState::Closed => BreakerState::Closed,
                ModelState::Open { until } if now < *until => BreakerState::Open,
                ModelState::Open { .. } | ModelState::HalfOpen { .. } => BreakerState::HalfOpen,
            };
            prop_assert_eq!(breaker.state(at), state);
            let Counts { ok, bad } = breaker.counts(at);
            prop_assert_eq!((u64::from(ok), u64::from(bad)), model.counts(now));
        }
    }
}
