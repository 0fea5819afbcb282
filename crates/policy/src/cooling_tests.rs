use super::*;

const LOW: Draw = Draw::new(0);
const HIGH: Draw = Draw::new(u64::MAX);

fn ms(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn named(seconds: u64) -> Overload {
    Overload { named: Some(Duration::from_secs(seconds)), too_many: true }
}

const UNTIMED: Overload = Overload { named: None, too_many: false };

/// Gives a new cooling one overload answer, while no call succeeds and there is no other endpoint. Returns the cooling,
/// and the time from which the first call passes again; `None` if the endpoint does not begin to cool.
fn cooled(told: Overload, draw: Draw) -> (Cooling, Option<Time>) {
    let mut cooling = Cooling::new(CoolingSettings::default());
    let back = cooling.overloaded(ms(1_000), told, false, true, || draw);
    (cooling, back)
}

#[test]
fn it_comes_back_after_the_named_time_and_never_before() {
    for (seconds, over) in [(1, 1_000), (8, 2_000), (60, 15_000), (3_600, 15_000)] {
        let end = 1_000 + seconds.min(60) * 1_000;
        let (mut cooling, back) = cooled(named(seconds), LOW);
        assert_eq!(back, Some(ms(end)), "{seconds} s");
        let no = cooling.admit(ms(end - 1)).expect_err("the provider's word");
        assert_eq!((no.until, no.spread, no.too_many), (ms(end), Duration::from_millis(over), true));
        assert!(cooling.admit(ms(end)).is_ok(), "{seconds} s");
        let (mut late, back) = cooled(named(seconds), HIGH);
        assert!(back.is_some_and(|back| back > ms(end + over - 1) && back <= ms(end + over)));
        assert!(late.admit(ms(end + over - 1)).is_err());
        let again = late.admit(ms(end + 10)).expect_err("not yet");
        assert_eq!(Some(again.until), back, "who came too early is not sent away twice");
    }
}

#[test]
fn a_named_zero_is_a_tenth_of_a_second() {
    assert_eq!(cooled(named(0), LOW).1, Some(ms(1_100)));
}

#[test]
fn one_call_passes_first_and_then_a_growing_share() {
    let (mut cooling, back) = cooled(named(8), LOW);
    let back = back.expect("it cools");
    assert!(cooling.admit(back).is_ok());
    assert!(cooling.admit(back).is_err(), "one at first");
    let passed = |cooling: &mut Cooling, from: u64| {
        let at = back.saturating_add(Duration::from_millis(from));
        (0..100).filter(|_| cooling.admit(at).is_ok()).count()
    };
    assert_eq!(passed(&mut cooling, 1), 10, "a tenth");
    let half = passed(&mut cooling, 1_000);
    assert!((49..=51).contains(&half), "half of the way, half of the calls: {half}");
    assert_eq!(passed(&mut cooling, 2_000), 100);
    assert!(matches!(cooling.state, CoolingState::Calm));
}

#[test]
fn one_customers_limit_silences_nobody() {
    let mut cooling = Cooling::new(CoolingSettings::default());
    for call in 0..200 {
        if call % 5 == 0 {
            let back = cooling.overloaded(ms(1_000 + call), named(5), false, false, || LOW);
            assert_eq!(back, None, "a fifth is answered so, and others succeed");
        } else {
            cooling.answered(true);
        }
        assert!(cooling.admit(ms(1_000 + call)).is_ok());
    }
}

#[test]
fn twelve_answers_in_a_row_are_about_all() {
    let mut cooling = Cooling::new(CoolingSettings::default());
    let backs: Vec<bool> =
        (0..12).map(|_| cooling.overloaded(ms(1_000), named(5), false, false, || LOW).is_some()).collect();
    assert_eq!(backs.iter().position(|cools| *cools), Some(11));
    let mut mixed = Cooling::new(CoolingSettings::default());
    for call in 0..100 {
        assert_eq!(mixed.overloaded(ms(1_000), named(5), false, false, || LOW), None);
        if call % 11 == 10 {
            mixed.answered(false);
        }
    }
}

#[test]
fn with_another_endpoint_the_first_answer_cools_and_one_without_a_time_longer_and_longer() {
    let mut cooling = Cooling::new(CoolingSettings::default());
    let mut now = ms(1_000);
    let mut times = Vec::new();
    for _ in 0..7 {
        let back = cooling.overloaded(now, UNTIMED, true, false, || LOW).expect("another takes the calls");
        times.push(back.since(now).as_secs());
        assert!(cooling.admit(back).is_ok());
        now = back;
    }
    assert_eq!(times, [1, 2, 4, 8, 16, 30, 30]);
    cooling.answered(true);
    let back = cooling.overloaded(now, UNTIMED, true, false, || LOW).expect("it cools");
    assert_eq!(back.since(now).as_secs(), 1, "forgotten at a success");
}

#[test]
fn without_a_time_and_without_another_endpoint_nothing_cools() {
    let mut cooling = Cooling::new(CoolingSettings::default());
    for _ in 0..100 {
        assert_eq!(cooling.overloaded(ms(1_000), UNTIMED, false, true, || LOW), None);
    }
}

#[test]
fn a_later_answer_lengthens_and_never_shortens_and_nothing_is_drawn_anew() {
    let (mut cooling, back) = cooled(named(8), LOW);
    let panics = || -> Draw { panic!("drawn once") };
    for shorter in [named(1), UNTIMED] {
        assert_eq!(cooling.overloaded(ms(1_500), shorter, true, true, panics), back);
    }
    let longer = cooling.overloaded(ms(2_000), named(20), false, true, panics);
    assert_eq!(longer, Some(ms(22_000)));
}

#[test]
fn an_overload_answer_while_it_comes_back_cools_again() {
    let (mut cooling, back) = cooled(named(8), LOW);
    let back = back.expect("it cools");
    assert!(cooling.admit(back).is_ok());
    (0..16).for_each(|_| cooling.answered(true));
    let again = cooling.overloaded(back, named(4), false, false, || LOW);
    assert_eq!(again, Some(back.saturating_add(Duration::from_secs(4))), "though others succeed");
}

#[test]
fn turned_off_it_never_refuses_and_turning_it_off_lets_all_pass() {
    let off = CoolingSettings { enabled: false, ..CoolingSettings::default() };
    let mut cooling = Cooling::new(off);
    assert_eq!(cooling.overloaded(ms(1_000), named(5), true, true, || LOW), None);
    assert!(cooling.admit(ms(1_001)).is_ok());
    let (mut cooling, _) = cooled(named(8), LOW);
    cooling.adopt(off);
    assert!(cooling.admit(ms(1_001)).is_ok());
}

#[test]
fn a_cooling_that_is_over_is_over_though_nobody_asked_since() {
    let (mut cooling, back) = cooled(named(8), LOW);
    let later = back.expect("it cools").saturating_add(Duration::from_secs(100));
    cooling.answered(true);
    assert_eq!(cooling.overloaded(later, UNTIMED, false, false, || LOW), None, "a late answer");
    let again = cooling.overloaded(later, UNTIMED, true, false, || LOW);
    assert_eq!(again, Some(later.saturating_add(Duration::from_secs(1))));
}
