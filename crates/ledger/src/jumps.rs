//! Decides whether the database's clock has jumped, and how long its time is in doubt after that.
//!
//! A process cannot see whether the database's clock is right. But it can see whether that clock runs evenly. Each
//! answer of the database that carries its time is compared with the process's monotonic clock. The difference between
//! the two clocks is the *offset*, and it hardly changes.
//!
//! The obvious rule compares the offset of the last answer with the one before. That fails in two ways. An answer can
//! be slow, so its offset is only known to lie between two bounds. And a clock that is set wrong by many small steps
//! would never seem to jump. So the accepted offset is kept as a span with two bounds, which each answer makes
//! narrower. The span may move with the answers, but no faster than [`DRIFT`], which is more than a time server moves a
//! clock. The clock has jumped if the offset of an answer lies outside that span by more than the declared bound. It
//! does not matter in how many steps the clock got there.
//!
//! This module has no clock of its own. Times of the monotonic clock are durations since a moment that the caller
//! chooses.

use std::time::Duration;

use crate::machine::{Back, Stamp};

/// The fastest drift between the database's clock and the monotonic clock that is not a jump: one part in 1000, which
/// is 1 ms per second. Time servers slew clocks by at most 500 µs per second (the kernel's limit for `adjtimex`).
const DRIFT: i64 = 1000;

/// The smallest bound for a jump. A change of the offset between the database's clock and the monotonic clock is a jump
/// if it is above the bound. A smaller declared bound is raised to this one, because a smaller change could be noise.
const LEAST: Duration = Duration::from_millis(100);

/// A jump of the database's clock, as a process saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockJump {
    /// By how many microseconds the clock moved. Negative if it was set back.
    pub by_micros: i64,
    /// The time that the clock showed after the jump, when the process saw it.
    pub at: Stamp,
}

/// An answer of the database that carried its time, and the times of the monotonic clock before the question and after
/// the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) stamp: Stamp,
    pub(crate) asked: Duration,
    pub(crate) heard: Duration,
}

/// The bounds between which the offset lies, in microseconds. The offset is the database's time minus the time of the
/// monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offset {
    low: i64,
    high: i64,
}

impl Offset {
    fn of(reading: Reading) -> Offset {
        let at = reading.stamp.as_micros();
        Offset {
            low: at.saturating_sub(micros(reading.heard)),
            high: at.saturating_sub(micros(reading.asked)),
        }
    }

    fn widened(self, by: i64) -> Offset {
        Offset { low: self.low.saturating_sub(by), high: self.high.saturating_add(by) }
    }

    /// Returns how far `other` lies outside of this span, in microseconds. The result is positive if `other` lies
    /// above this span, negative if `other` lies below it, and zero if the two spans overlap.
    fn to(self, other: Offset) -> i64 {
        if other.low > self.high {
            other.low.saturating_sub(self.high)
        } else if other.high < self.low {
            other.high.saturating_sub(self.low)
        } else {
            0
        }
    }

    /// Returns the part of this span that is nearest to `other`.
    fn nearest(self, other: Offset) -> Offset {
        let within = |at: i64| at.clamp(self.low, self.high);
        Offset { low: within(other.low), high: within(other.high) }
    }
}

/// Compares the database's clock with a monotonic clock.
#[derive(Debug)]
pub(crate) struct Guard {
    /// A change of the offset between the two clocks by more than this is a jump. `None` if no bound was declared.
    bound: Option<Duration>,
    /// How long the time is in doubt after a jump.
    wait: Duration,
    accepted: Option<Offset>,
    /// The field `accepted` is made wider as time passes, since the two clocks may drift apart. This is the moment, on
    /// the monotonic clock, up to which that has been done.
    followed: Duration,
    /// When the doubt ends, on the monotonic clock; `None` if there is no doubt.
    until: Option<Duration>,
    back: Back,
    jumps: u64,
    last: Option<ClockJump>,
    /// The offset before the last jump, and the moment, on the monotonic clock, at which the answer arrived that showed
    /// the jump.
    before: Option<(Offset, Duration)>,
}

impl Guard {
    pub(crate) fn new() -> Guard {
        Guard {
            bound: None,
            wait: Duration::ZERO,
            accepted: None,
            followed: Duration::ZERO,
            until: None,
            back: Back::default(),
            jumps: 0,
            last: None,
            before: None,
        }
    }

    /// Declares what a jump is: a change of the offset between the two clocks by more than `bound`. After a jump, the
    /// time is in doubt for `wait`. If this function is called several times, the smallest bound and the longest doubt
    /// hold. Before the first call, no jump is noticed.
    pub(crate) fn cover(&mut self, bound: Duration, wait: Duration) {
        let bound = bound.max(LEAST);
        self.bound = Some(self.bound.map_or(bound, |before| before.min(bound)));
        self.wait = self.wait.max(wait);
    }

    /// Returns the bound above which a change of the offset between the two clocks is a jump; `None` if none was
    /// declared.
    pub(crate) fn bound(&self) -> Option<Duration> {
        self.bound
    }

    /// Takes an answer of the database, which has the database's time. The difference between that time and the
    /// monotonic clock is the new offset. It is compared with the span in which the offset was last known to lie.
    /// Returns the jump if the clock has jumped, and otherwise `None`. If the database gave an answer before the last
    /// jump and this function gets that answer only after the jump, it shows no new jump.
    pub(crate) fn hear(&mut self, reading: Reading) -> Option<ClockJump> {
        let found = Offset::of(reading);
        let (Some(accepted), Some(bound)) = (self.accepted, self.bound) else {
            self.accepted = Some(found);
            self.followed = reading.heard;
            return None;
        };
        let bound = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        // Two answers can be under way at the same time, and this function can get the later one first. If that one
        // shows a jump, the earlier one still fits the offset before the jump. It is no second jump.
        if let Some((before, shown)) = self.before
            && reading.asked < shown
            && before.to(found).unsigned_abs() <= bound
        {
            return None;
        }
        let drift = micros(reading.heard.saturating_sub(self.followed)) / DRIFT;
        self.followed += Duration::from_micros(u64::try_from(drift * DRIFT).unwrap_or(0));
        let near = accepted.widened(drift);
        let distance = near.to(found);
        if distance.unsigned_abs() <= bound {
            self.accepted = Some(near.nearest(found));
            return None;
        }
        self.before = Some((near, reading.heard));
        self.accepted = Some(found);
        self.followed = reading.heard.max(self.followed);
        // An answer takes time, so an offset is known only as a span: `near` before the jump, and `found` after it. So
        // it is not known exactly how far the clock was set back. The greatest possible distance is taken, which is
        // from the upper end of `near` to the lower end of `found`.
        let most = found.low.saturating_sub(near.high).min(distance);
        let by_micros = if distance < 0 { most } else { distance };
        Some(self.jumped(by_micros, reading.stamp, reading.heard))
    }

    /// Notes a jump by `by_micros`, and returns it. The time is in doubt from now on. `at` is the time that the
    /// database's clock shows after the jump, and `now` is the time of the monotonic clock.
    pub(crate) fn jumped(&mut self, by_micros: i64, at: Stamp, now: Duration) -> ClockJump {
        let before = Stamp::from_micros(at.as_micros().saturating_sub(by_micros));
        self.back = self.back.jumped(by_micros, before);
        self.until = Some(now.saturating_add(self.wait));
        self.jumps = self.jumps.saturating_add(1);
        let jump = ClockJump { by_micros, at };
        self.last = Some(jump);
        jump
    }

    /// Notes how far the clock was set back before this process began. The times in the rows that were written before
    /// the clock was set back are then corrected by this distance, too.
    pub(crate) fn remember(&mut self, back: Back) {
        let by = self.back.by.saturating_add(back.by);
        self.back = Back { by, before: self.back.before.max(back.before) };
    }

    /// Returns for how long the time is still in doubt; `None` if it is not in doubt.
    pub(crate) fn doubt(&self, now: Duration) -> Option<Duration> {
        self.until.map(|until| until.saturating_sub(now)).filter(|left| !left.is_zero())
    }

    /// Ends the doubt if its time is over. Returns true if this call has ended it.
    pub(crate) fn ends(&mut self, now: Duration) -> bool {
        self.until.take_if(|until| *until <= now).is_some()
    }

    pub(crate) fn back(&self) -> Back {
        self.back
    }

    /// Returns the number of jumps, and the last one.
    pub(crate) fn seen(&self) -> (u64, Option<ClockJump>) {
        (self.jumps, self.last)
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);
    const WAIT: Duration = Duration::from_secs(150);

    fn seconds(seconds: f64) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "a test's numbers are small")]
        let micros = (seconds * 1e6) as i64;
        micros
    }

    /// Returns the answer of a database to a question at the second `at`. The database's clock is `ahead` seconds ahead
    /// of the monotonic clock, and the answer takes `trip` seconds.
    fn reading(at: f64, ahead: f64, trip: f64) -> Reading {
        Reading {
            stamp: Stamp::from_micros(seconds(1e6 + at + trip / 2.0 + ahead)),
            asked: Duration::from_secs_f64(at),
            heard: Duration::from_secs_f64(at + trip),
        }
    }

    fn guard() -> Guard {
        let mut guard = Guard::new();
        guard.cover(PAUSE, WAIT);
        assert_eq!(guard.hear(reading(0.0, 0.0, 0.01)), None);
        guard
    }

    #[test]
    fn a_clock_that_runs_evenly_does_not_jump_however_slow_its_answers_are() {
        let mut guard = guard();
        for trip in [0.001, 30.0, 0.0, 600.0, 0.001] {
            assert_eq!(guard.hear(reading(1000.0, 0.0, trip)), None, "{trip}");
        }
        assert_eq!(guard.doubt(Duration::from_secs(1601)), None);
    }

    #[test]
    fn a_jump_puts_the_time_in_doubt_until_the_wait_is_over() {
        for by in [600.0, 6.0, -6.0, -600.0] {
            let mut guard = guard();
            let jump = guard.hear(reading(10.0, by, 0.01)).expect("it has jumped");
            assert!((jump.by_micros - seconds(by)).abs() <= 20_000, "{jump:?}");
            let now = Duration::from_secs_f64(10.01);
            assert_eq!(guard.doubt(now), Some(WAIT));
            // The next answers agree with the new offset.
            assert_eq!(guard.hear(reading(11.0, by, 0.01)), None);
            assert_eq!(guard.doubt(now + WAIT / 2), Some(WAIT / 2));
            assert!(!guard.ends(now + WAIT / 2));
            assert_eq!(guard.doubt(now + WAIT), None);
            assert!(guard.ends(now + WAIT) && !guard.ends(now + WAIT));
            assert_eq!(guard.hear(reading(400.0, by, 0.01)), None);
            assert_eq!(guard.seen(), (1, Some(jump)));
            let back = guard.back();
            assert_eq!(back.by.is_zero(), by > 0.0);
            assert!(by > 0.0 || back.by >= Duration::from_secs_f64(-by), "{back:?}");
        }
    }

    #[test]
    fn a_second_jump_begins_the_doubt_again() {
        let mut guard = guard();
        assert!(guard.hear(reading(10.0, 600.0, 0.0)).is_some());
        // The clock jumps back by the same distance.
        assert!(guard.hear(reading(100.0, 0.0, 0.0)).is_some());
        assert_eq!(guard.doubt(Duration::from_secs(160)), Some(Duration::from_secs(90)));
        assert_eq!(guard.seen().0, 2);
    }

    #[test]
    fn an_answer_from_before_a_jump_that_is_taken_after_it_is_no_jump() {
        for by in [600.0, -600.0] {
            let mut guard = guard();
            // One connection asked before the jump, and another one after it. The answer to the first question is taken
            // second.
            let early = reading(9.9, 0.0, 0.2);
            assert!(guard.hear(reading(10.0, by, 0.01)).is_some());
            assert_eq!(guard.hear(early), None);
            assert_eq!(guard.hear(reading(10.2, by, 0.01)), None);
            assert_eq!(guard.seen().0, 1);
            // The answer to a question that was asked later shows that the clock has jumped back.
            assert!(guard.hear(reading(10.3, 0.0, 0.01)).is_some());
        }
    }

    #[test]
    fn slow_drift_is_no_jump_and_many_small_steps_are_one() {
        // The clock drifts by 500 µs per second, for a day. That is 43 s in all.
        let mut guard = guard();
        for minute in 1..1440 {
            let at = f64::from(minute) * 60.0;
            assert_eq!(guard.hear(reading(at, at * 0.0005, 0.002)), None);
        }
        // The answers are 0.7 ms apart, and the drift in that time is less than a microsecond. It must not be lost by
        // rounding.
        let mut guard = self::guard();
        for step in 1..200_000_u32 {
            let at = f64::from(step) * 0.000_7;
            assert_eq!(guard.hear(reading(at, at * 0.0005, 0.0)), None);
        }
        assert!(guard.accepted.unwrap().high > seconds(1e6 + 0.06), "{guard:?}");
        // The clock is set ahead by 1 s every ten seconds.
        let mut guard = self::guard();
        let first = (1..20).find(|step| {
            let at = f64::from(*step) * 10.0;
            guard.hear(reading(at, f64::from(*step), 0.0)).is_some()
        });
        assert_eq!(first, Some(6), "more than 5 s in all");
    }

    #[test]
    fn an_answer_that_took_long_shows_only_what_it_proves() {
        let mut guard = guard();
        // The answer to the first question took 20 s. The database read its clock at an unknown moment within these 20
        // s. So its time fits a clock that jumped by 10 s, and also one that did not jump. The next answer took no
        // time, and proves the jump.
        assert_eq!(guard.hear(reading(10.0, 10.0, 20.0)), None);
        assert!(guard.hear(reading(31.0, 10.0, 0.0)).is_some());
    }

    #[test]
    fn the_strictest_declaration_holds() {
        let mut guard = Guard::new();
        assert_eq!(guard.bound(), None);
        guard.hear(reading(0.0, 0.0, 0.0));
        assert_eq!(guard.hear(reading(1.0, 600.0, 0.0)), None, "nothing is declared");
        guard.cover(PAUSE, Duration::from_secs(1));
        guard.cover(Duration::ZERO, WAIT);
        guard.cover(PAUSE, Duration::from_secs(1));
        assert_eq!((guard.bound(), guard.wait), (Some(LEAST), WAIT));
    }
}
