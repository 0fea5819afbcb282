//! The window counts the good and bad calls of the recent past, in constant time and memory.
//!
//! There are two kinds of window, and both are rings. A window of time has ten buckets. A bucket is dropped as a whole,
//! so the window covers between nine and ten tenths of its span. A window of calls keeps one byte for each of the last
//! N calls and is exact. The obvious window is a list of records that is scanned at each call. It grows with the
//! traffic, and so does the price of a call, most of all in a storm. The next obvious window, two counters that only
//! grow, never forgets: after a hundred thousand successes, half of the calls are bad only after a hundred thousand
//! failures.
//!
//! ```
//! use std::time::Duration;
//! use seawall_policy::{FailureKind, Time, Window, WindowSpan};
//!
//! let mut window = Window::new(WindowSpan::Time(Duration::from_secs(5)));
//! window.success(Time::from_millis(10), Duration::from_millis(8));
//! window.failure(Time::from_millis(4_000), FailureKind::Timeout);
//! assert_eq!((window.counts(Time::from_millis(4_000)).ok, window.counts(Time::from_millis(4_000)).bad), (1, 1));
//! assert_eq!(window.counts(Time::from_millis(5_100)).ok, 0);
//! ```

use std::time::Duration;

use crate::failures::{FailureKind, Failures};
use crate::time::Time;

/// The number of buckets of a window of time. A window of calls keeps its latencies in the same number of blocks.
const BUCKETS: usize = 10;

/// The maximum number of calls in a window of calls. One byte is kept for each call.
pub const MAX_WINDOW_CALLS: u32 = 100_000;

/// How far back a window reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowSpan {
    /// The calls of the last period of this length, in ten buckets. A length below ten nanoseconds counts as ten.
    Time(Duration),
    /// The last N calls, where N is this number. It is from 1 to [`MAX_WINDOW_CALLS`].
    Calls(u32),
}

impl Default for WindowSpan {
    /// Returns a window of five seconds. This is long enough for a caller with little traffic to make twenty calls, and
    /// short enough to notice an outage soon.
    fn default() -> Self {
        WindowSpan::Time(Duration::from_secs(5))
    }
}

/// The numbers of good and bad calls in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The number of calls whose health was success.
    pub ok: u32,
    /// The number of calls whose health was failure.
    pub bad: u32,
}

impl Counts {
    /// Returns the number of good and bad calls together.
    #[must_use]
    pub const fn total(self) -> u32 {
        self.ok.saturating_add(self.bad)
    }
}

/// Counts of good and bad calls and the latencies of the good ones, over a span of time or a number of calls.
///
/// Two callers on two cores may read their clocks in one order and call this window in the other order. So if the
/// argument `now` is earlier than in the call before, the later time is used.
#[derive(Clone, Debug)]
pub struct Window {
    /// The sum of all entries in the ring.
    total: Tally,
    ring: Ring,
}

impl Window {
    /// Returns an empty window. All its memory is allocated here.
    #[must_use]
    pub fn new(span: WindowSpan) -> Window {
        let ring = match span {
            WindowSpan::Time(span) => Ring::Time(TimeRing::new(span)),
            WindowSpan::Calls(calls) => Ring::Calls(CallRing::new(calls)),
        };
        Window { total: Tally::default(), ring }
    }

    /// Counts a good call that ended now and took `took`.
    #[inline]
    pub fn success(&mut self, now: Time, took: Duration) {
        self.record(now, Sample::Ok { nanos: u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) });
    }

    /// Counts a bad call of this kind that ended now.
    #[inline]
    pub fn failure(&mut self, now: Time, kind: FailureKind) {
        self.record(now, Sample::Bad(kind));
    }

    #[inline]
    fn record(&mut self, now: Time, sample: Sample) {
        match &mut self.ring {
            Ring::Time(ring) => ring.record(now, sample, &mut self.total),
            Ring::Calls(ring) => ring.record(sample, &mut self.total),
        }
    }

    /// Returns the numbers of good and bad calls in the window.
    #[inline]
    pub fn counts(&mut self, now: Time) -> Counts {
        self.advance(now);
        Counts { ok: self.total.ok, bad: self.total.bad }
    }

    /// Returns the bad calls in the window by kind.
    pub fn failures(&mut self, now: Time) -> Failures {
        self.advance(now);
        self.total.kinds
    }

    /// Returns how long the slowest good call took; `None` if there was none. In a window of calls, latencies are kept
    /// by blocks of a tenth of the window. So the result can be that of a call that has just left the window.
    pub fn slowest_success(&mut self, now: Time) -> Option<Duration> {
        self.latencies(now).map(|latencies| Duration::from_nanos(latencies.slowest))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.total = Tally::default();
        match &mut self.ring {
            Ring::Time(ring) => ring.clear(),
            Ring::Calls(ring) => ring.clear(),
        }
    }

    #[inline]
    fn advance(&mut self, now: Time) {
        match &mut self.ring {
            Ring::Time(ring) => ring.advance(now, &mut self.total),
            Ring::Calls(_) => {}
        }
    }

    fn latencies(&mut self, now: Time) -> Option<Latencies> {
        self.advance(now);
        if self.total.ok == 0 {
            return None;
        }
        Some(match &self.ring {
            Ring::Time(ring) => ring.buckets.iter().fold(ring.latencies, |all, b| all.join(b.latencies)),
            Ring::Calls(ring) => ring.blocks.iter().fold(ring.leaving, |all, block| all.join(*block)),
        })
    }
}

#[derive(Clone, Copy)]
enum Sample {
    Ok { nanos: u64 },
    Bad(FailureKind),
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    ok: u32,
    /// The sum of `kinds`.
    bad: u32,
    kinds: Failures,
}

impl Tally {
    #[inline]
    fn add(&mut self, sample: Sample) {
        match sample {
            Sample::Ok { .. } => self.ok += 1,
            Sample::Bad(kind) => {
                self.bad += 1;
                self.kinds.add(kind);
            }
        }
    }

    fn remove(&mut self, gone: &Tally) {
        self.ok -= gone.ok;
        self.bad -= gone.bad;
        self.kinds.remove(&gone.kinds);
    }

    /// Returns whether the counters have reached their maximum. Further calls are then not counted until an old bucket
    /// is dropped.
    #[inline]
    fn is_full(&self) -> bool {
        self.ok.saturating_add(self.bad) == u32::MAX
    }
}

/// The time of the slowest good call, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Latencies {
    slowest: u64,
}

impl Latencies {
    const NONE: Latencies = Latencies { slowest: 0 };

    #[inline]
    fn add(&mut self, sample: Sample) {
        match sample {
            Sample::Ok { nanos } => {
                // The field is written only if it changes, because a write costs more than a comparison: if two cores
                // write to one cache line, that line moves from one core to the other each time.
                if nanos > self.slowest {
                    self.slowest = nanos;
                }
            }
            Sample::Bad(_) => {}
        }
    }

    #[inline]
    fn join(self, other: Latencies) -> Latencies {
        Latencies { slowest: self.slowest.max(other.slowest) }
    }
}

#[derive(Clone, Debug)]
enum Ring {
    Time(TimeRing),
    Calls(CallRing),
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tally: Tally,
    latencies: Latencies,
}

impl Default for Bucket {
    fn default() -> Self {
        Bucket { tally: Tally::default(), latencies: Latencies::NONE }
    }
}

/// The ring of a window of time, with ten buckets. Time is cut into slots: slot `n` begins at the time `n · width`,
/// lasts for `width`, and is counted in bucket `n mod 10`.
///
/// A call writes to one counter only, that of the total. The count of the current slot is the total now minus the total
/// when the slot began. When the slot is over, this count is stored in its bucket. The reason is that writes cost more
/// than arithmetic: if two cores write to one cache line, that line moves from one core to the other each time.
#[derive(Clone, Debug)]
struct TimeRing {
    /// When the current slot ends, in nanoseconds of [`Time`]. While the time stays within this slot, no division is
    /// needed.
    ends_nanos: u64,
    /// The latencies of the current slot.
    latencies: Latencies,
    slot: u64,
    width_nanos: u64,
    /// The total when the current slot began.
    before: Tally,
    /// The buckets of the slots that are over. The bucket of the current slot is empty.
    buckets: Box<[Bucket; BUCKETS]>,
}

impl TimeRing {
    fn new(span: Duration) -> TimeRing {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let width_nanos = (nanos / BUCKETS as u64).max(1);
        TimeRing {
            ends_nanos: width_nanos,
            latencies: Latencies::NONE,
            slot: 0,
            width_nanos,
            before: Tally::default(),
            buckets: Box::new([Bucket::default(); BUCKETS]),
        }
    }

    #[inline]
    fn record(&mut self, now: Time, sample: Sample, total: &mut Tally) {
        self.advance(now, total);
        if total.is_full() {
            return;
        }
        self.latencies.add(sample);
        total.add(sample);
    }

    #[inline]
    fn advance(&mut self, now: Time, total: &mut Tally) {
        if now.as_nanos() >= self.ends_nanos {
            self.turn(now, total);
        }
    }

    /// Ends the current slot, begins that of `now`, and drops the buckets whose time has passed.
    #[cold]
    fn turn(&mut self, now: Time, total: &mut Tally) {
        let mut tally = *total;
        tally.remove(&self.before);
        let latencies = std::mem::replace(&mut self.latencies, Latencies::NONE);
        self.buckets[(self.slot % BUCKETS as u64) as usize] = Bucket { tally, latencies };
        let slot = now.as_nanos() / self.width_nanos;
        let passed = slot.saturating_sub(self.slot).min(BUCKETS as u64);
        for step in 0..passed {
            let bucket = &mut self.buckets[((slot - step) % BUCKETS as u64) as usize];
            total.remove(&bucket.tally);
            *bucket = Bucket::default();
        }
        self.before = *total;
        self.slot = slot;
        self.ends_nanos = slot.saturating_add(1).saturating_mul(self.width_nanos);
    }

    fn clear(&mut self) {
        self.buckets.fill(Bucket::default());
        self.latencies = Latencies::NONE;
        self.before = Tally::default();
    }
}

/// The values of an entry in the ring of calls. This one means that there was no call yet.
const EMPTY: u8 = 0;
/// A good call.
const GOOD: u8 = 1;
/// A bad call has this value plus the number of its kind.
const BAD: u8 = 2;

/// A ring with one byte for each of the last N calls. Their latencies are kept in ten blocks.
#[derive(Clone, Debug)]
struct CallRing {
    entries: Box<[u8]>,
    next: usize,
    blocks: [Latencies; BUCKETS],
    block_len: usize,
    /// The number of the block in which the position `next` lies.
    block: usize,
    /// The first position after that block.
    block_end: usize,
    /// The latencies that the current block had before new calls began to overwrite it. They are kept, because the old
    /// calls that are not overwritten yet are still in the window.
    leaving: Latencies,
}

impl CallRing {
    fn new(calls: u32) -> CallRing {
        let len = calls.clamp(1, MAX_WINDOW_CALLS) as usize;
        let block_len = len.div_ceil(BUCKETS);
        CallRing {
            entries: vec![EMPTY; len].into_boxed_slice(),
            next: 0,
            blocks: [Latencies::NONE; BUCKETS],
            block_len,
            block: 0,
            block_end: block_len,
            leaving: Latencies::NONE,
        }
    }

    #[inline]
    fn record(&mut self, sample: Sample, total: &mut Tally) {
        let entry = match sample {
            Sample::Ok { .. } => GOOD,
            Sample::Bad(kind) => BAD + kind as u8,
        };
        match std::mem::replace(&mut self.entries[self.next], entry) {
            EMPTY => {}
            GOOD => total.ok -= 1,
            bad => {
                total.bad -= 1;
                total.kinds.remove_one(usize::from(bad - BAD));
            }
        }
        total.add(sample);
        self.blocks[self.block].add(sample);
        self.next += 1;
        if self.next == self.entries.len() {
            self.next = 0;
            self.enter(0);
        } else if self.next == self.block_end {
            self.enter(self.block + 1);
        }
    }

    fn enter(&mut self, block: usize) {
        self.block = block;
        self.block_end = (block + 1) * self.block_len;
        self.leaving = std::mem::replace(&mut self.blocks[block], Latencies::NONE);
    }

    fn clear(&mut self) {
        self.entries.fill(EMPTY);
        self.blocks.fill(Latencies::NONE);
        self.leaving = Latencies::NONE;
        self.next = 0;
        self.block = 0;
        self.block_end = self.block_len;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPAN: WindowSpan = WindowSpan::Time(Duration::from_secs(5));
    const MS: Duration = Duration::from_millis(1);

    fn ms(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn counts(window: &mut Window, now: Time) -> (u32, u32) {
        let counts = window.counts(now);
        (counts.ok, counts.bad)
    }

    #[test]
    fn a_bucket_is_dropped_once_its_time_is_past() {
        let mut window = Window::new(SPAN);
        window.success(ms(0), MS);
        window.failure(ms(499), FailureKind::Lost);
        window.failure(ms(500), FailureKind::Timeout);
        assert_eq!(counts(&mut window, ms(4_999)), (1, 2));
        assert_eq!(counts(&mut window, ms(5_000)), (0, 1));
        assert_eq!(counts(&mut window, ms(5_499)), (0, 1));
        assert_eq!(counts(&mut window, ms(5_500)), (0, 0));
        assert_eq!(window.slowest_success(ms(5_500)), None);
    }

    #[test]
    fn a_long_pause_empties_it() {
        let mut window = Window::new(SPAN);
        for at in 0..50 {
            window.success(ms(at * 100), MS);
        }
        assert_eq!(counts(&mut window, ms(u64::MAX / 2_000_000)), (0, 0));
        assert_eq!(counts(&mut window, Time::NEVER), (0, 0));
    }

    #[test]
    fn an_earlier_time_counts_as_the_latest() {
        let mut window = Window::new(SPAN);
        window.success(ms(7_000), MS);
        window.failure(ms(1_000), FailureKind::Timeout);
        assert_eq!(counts(&mut window, ms(0)), (1, 1));
        assert_eq!(counts(&mut window, ms(11_999)), (1, 1));
        assert_eq!(counts(&mut window, ms(12_000)), (0, 0));
    }

    #[test]
    fn a_hundred_thousand_successes_never_hide_a_fresh_failure() {
        for span in [SPAN, WindowSpan::Calls(100)] {
            let mut window = Window::new(span);
            for call in 0..100_000 {
                window.success(ms(call / 100), MS);
            }
            for call in 0..100 {
                window.failure(ms(6_000 + call), FailureKind::Status503);
            }
            assert_eq!(counts(&mut window, ms(6_100)), (0, 100), "{span:?}");
        }
    }

    #[test]
    fn latencies_leave_with_their_calls() {
        let mut window = Window::new(SPAN);
        window.success(ms(0), 30 * MS);
        window.success(ms(1_000), 10 * MS);
        window.success(ms(2_000), 20 * MS);
        assert_eq!(window.slowest_success(ms(2_000)), Some(30 * MS));
        assert_eq!(window.slowest_success(ms(5_000)), Some(20 * MS));
    }

    #[test]
    fn failures_are_told_by_kind() {
        let mut window = Window::new(SPAN);
        assert_eq!(window.failures(ms(0)).to_string(), "no failures");
        for _ in 0..31 {
            window.failure(ms(0), FailureKind::Timeout);
        }
        for _ in 0..4 {
            window.failure(ms(10), FailureKind::of_status(503));
        }
        window.failure(ms(10), FailureKind::of_status(599));
        assert_eq!(window.failures(ms(10)).to_string(), "31 timeouts, 4 × 503, 1 × other status");
    }

    /// The model keeps every record ever made.
    #[derive(Default)]
    struct Model(Vec<(u64, Option<u64>, FailureKind)>);

    impl Model {
        fn check(&self, span: WindowSpan, now: u64, window: &mut Window) -> Result<(), TestCaseError> {
            let held: Vec<_> = match span {
                WindowSpan::Time(span) => {
                    let width = (span.as_nanos() / 10) as u64;
                    self.0.iter().filter(|r| now / width - r.0 / width < 10).collect()
                }
                WindowSpan::Calls(calls) => self.0.iter().rev().take(calls as usize).collect(),
            };
            let at = Time::from_nanos(now);
            let ok = held.iter().filter(|r| r.1.is_some()).count() as u32;
            prop_assert_eq!(counts(window, at), (ok, held.len() as u32 - ok));
            let failures = window.failures(at);
            for kind in FailureKind::ALL {
                let of_kind = held.iter().filter(|r| r.1.is_none() && r.2 == kind).count() as u32;
                prop_assert_eq!(failures.get(kind), of_kind);
            }
            let slowest = held.iter().filter_map(|r| r.1).max().map(Duration::from_nanos);
            let seen = window.slowest_success(at);
            match span {
                WindowSpan::Time(_) => prop_assert_eq!(seen, slowest),
                WindowSpan::Calls(calls) => {
                    let reach = calls + calls.div_ceil(10);
                    let further = self.0.iter().rev().take(reach as usize).filter_map(|r| r.1).max();
                    prop_assert!(seen >= slowest && seen <= further.map(Duration::from_nanos));
                    prop_assert_eq!(seen.is_some(), slowest.is_some());
                }
            }
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_list_of_every_record(
            span in prop_oneof![
                (10_u64..5_000).prop_map(|n| WindowSpan::Time(Duration::from_nanos(n))),
                (1_u32..64).prop_map(WindowSpan::Calls),
            ],
            steps in prop::collection::vec((0_u64..900, prop::option::of(0_u64..1_000), 0_usize..11, 0_u8..40), 1..300),
        ) {
            let (mut window, mut model, mut now) = (Window::new(span), Model::default(), 0);
            for (gap, took, kind, clear) in steps {
                now += if gap > 880 { gap * 20 } else { gap / 8 };
                if clear == 0 {
                    window.clear();
                    model.0.clear();
                }
                model.0.push((now, took, FailureKind::ALL[kind]));
                match took {
                    Some(nanos) => window.success(Time::from_nanos(now), Duration::from_nanos(nanos)),
                    None => window.failure(Time::from_nanos(now), FailureKind::ALL[kind]),
                }
                model.check(span, now, &mut window)?;
            }
        }
    }
}
