//! For tests: measures the time from the moment when a request's head was parsed until its answer was written.
//!
//! The worker's own thread measures. Directly before it handles a parsed head, and before it sleeps, it looks at the
//! number of bytes that its connections have written. The time in which the thread is ready to run, but the processor
//! runs something else, is counted separately, because in a test a thousand callers may use the processor then. A
//! caller's own clock would not be good enough: it would also count the time for the callers before this one, and the
//! time in which the caller itself waited for the processor.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::callers::caller::Caller;

/// The measured times of one request that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lap {
    /// The time from the parsed head until the thread saw that the kernel had the answer.
    pub(crate) took: Duration,
    /// The part of `took` in which the thread was ready to run, but the processor ran something else.
    pub(crate) displaced: Duration,
    /// The number of other heads that were parsed by this thread during `took`.
    pub(crate) others: usize,
}

struct RunningLap {
    caller: Arc<Caller>,
    /// The number of bytes that the caller's connection had written before the head was parsed.
    written: u64,
    began: Instant,
    displaced: Duration,
    others: usize,
}

#[derive(Default)]
struct Laps {
    running: Vec<RunningLap>,
    over: Vec<Lap>,
    schedule: Option<File>,
}

impl Laps {
    /// Returns the total time in which this thread was ready to run while the processor ran something else. The kernel
    /// counts this time. Zero if the kernel does not count it.
    fn displaced(&mut self) -> Duration {
        let mut told = || {
            let file = match &self.schedule {
                Some(file) => file,
                None => self.schedule.insert(File::open("/proc/thread-self/schedstat").ok()?),
            };
            let mut text = [0; 64];
            let length = file.read_at(&mut text, 0).ok()?;
            std::str::from_utf8(&text[..length]).ok()?.split(' ').nth(1)?.parse().ok()
        };
        Duration::from_nanos(told().unwrap_or(0))
    }
}

thread_local! {
    static LAPS: RefCell<Laps> = RefCell::default();
}

/// Notes that a head was parsed.
pub(crate) fn head_parsed(caller: &Arc<Caller>) {
    look();
    LAPS.with_borrow_mut(|laps| {
        laps.running.iter_mut().for_each(|lap| lap.others += 1);
        let (caller, written, displaced) = (Arc::clone(caller), caller.written(), laps.displaced());
        laps.running.push(RunningLap { caller, written, began: Instant::now(), displaced, others: 0 });
    });
}

/// Finds the requests that have been answered: those whose connection has written bytes since the request's head was
/// parsed. Notes how long each of them took.
pub(crate) fn look() {
    LAPS.with_borrow_mut(|laps| {
        let (now, displaced) = (Instant::now(), laps.displaced());
        let Laps { running, over, .. } = laps;
        running.retain(|lap| {
            let waits = lap.caller.written() == lap.written;
            if !waits {
                let displaced = displaced.saturating_sub(lap.displaced);
                over.push(Lap { took: now - lap.began, displaced, others: lap.others });
            }
            waits
        });
    });
}

/// Returns the measured times of the requests that this thread has answered. Forgets all requests, also those that have
/// no answer yet.
pub(crate) fn take_laps() -> Vec<Lap> {
    LAPS.take().over
}
