//! For tests: what stands between a request's parsed head and its written answer.
//!
//! A caller's own clock shows the crowd before it, too, and its own turn to run. Here the worker's thread looks itself,
//! each time that a head was parsed and each time that it parks, at what its connections have written since. The time
//! in which it was ready and the processor was another's, as the thousand callers' of a test, is told apart.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::callers::caller::Caller;

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lap {
    /// From the parsed head until its answer was seen to be with the kernel.
    pub(crate) took: Duration,
    /// For so long of it the thread was ready to run and did not.
    pub(crate) displaced: Duration,
    /// So many other heads were parsed meanwhile.
    pub(crate) others: usize,
}

struct RunningLap {
    caller: Arc<Caller>,
    /// What its connection had written before.
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
    /// For how long this thread has been ready to run and did not, by the kernel's accounts; nothing where it keeps none.
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

/// A head was parsed.
pub(crate) fn head_parsed(caller: &Arc<Caller>) {
    look();
    LAPS.with_borrow_mut(|laps| {
        laps.running.iter_mut().for_each(|lap| lap.others += 1);
        let (caller, written, displaced) = (Arc::clone(caller), caller.written(), laps.displaced());
        laps.running.push(RunningLap { caller, written, began: Instant::now(), displaced, others: 0 });
    });
}

/// Notes what has been written.
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

/// What this thread has noted.
pub(crate) fn take_laps() -> Vec<Lap> {
    LAPS.take().over
}
