use super::*;
use seawall_policy::{BreakerSettings, Draw, Evidence, FailureKind};

fn fail(breaker: &mut Breaker, kind: FailureKind, slow: bool, at: Time) {
    let pass = breaker.admit(at).expect("it flows, or probes");
    let _ = breaker.settle(at, pass, Evidence::Failure { kind, slow }, || Draw::new(0));
}

#[test]
fn the_reason_names_what_failed_and_how_often_it_was_tried_since() {
    let at = Time::from_millis(1_000);
    let mut breaker = Breaker::new(BreakerSettings::default());
    for call in 0..20 {
        let kind = if call < 4 { FailureKind::Status503 } else { FailureKind::Lost };
        fail(&mut breaker, kind, false, at);
    }
    assert_eq!(why(breaker.why().unwrap()), "16 connections lost, 4 × 503 in 20 calls");
    fail(&mut breaker, FailureKind::Timeout, true, Time::from_millis(8_000));
    assert_eq!(why(breaker.why().unwrap()), "16 connections lost, 4 × 503 in 20 calls; 1 probe failed since");

    let mut quiet = Breaker::new(BreakerSettings::default());
    fail(&mut quiet, FailureKind::Timeout, true, at);
    fail(&mut quiet, FailureKind::Timeout, true, at);
    assert_eq!(why(quiet.why().unwrap()), "2 timeouts, no good answer");
}

#[test]
fn what_comes_next_is_said() {
    let soon = Some(Duration::from_millis(11_500));
    assert_eq!(next(BreakerState::Open, soon, 3).unwrap(), "next probe in 12 s");
    assert_eq!(
        next(BreakerState::HalfOpen, None, 1).unwrap(),
        "the next call is a probe; 1 good answer closes it"
    );
    assert_eq!(next(BreakerState::Closed, None, 3), None);
}

#[test]
fn a_moment_maps_both_directions_of_time() {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let now = Moment { time: Time::from_millis(5_000), wall };
    assert_eq!(now.stamp(Time::from_millis(3_000)), "1970-01-01T00:16:38.000Z");
    assert_eq!(now.stamp(Time::from_millis(7_500)), "1970-01-01T00:16:42.500Z");
    assert_eq!(now.stamp(Time::NEVER).len(), 24, "a time far away does not panic");
}
