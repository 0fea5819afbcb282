//! Makes many runs in parallel, each on one thread. The results are in the order of the runs.
//!
//! A single run is never split over threads. So the number of threads changes how long all runs take, and nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A function that is called with the number of finished runs and the number of all runs.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// A progress function that reports nothing.
pub fn silent(_: usize, _: usize) {}

/// Calls `run(0)` to `run(runs - 1)` on up to `threads` threads, and returns the results in the order of these numbers.
/// `progress` is called after each run.
pub fn each<T: Send>(
    runs: usize,
    threads: usize,
    progress: Progress<'_>,
    run: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut mine = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= runs {
                return mine;
            }
            mine.push((index, run(index)));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, runs);
        }
    };
    let mut all: Vec<(usize, T)> = thread::scope(|scope| {
        let hands: Vec<_> = (0..threads.clamp(1, runs.max(1))).map(|_| scope.spawn(work)).collect();
        hands.into_iter().flat_map(|hand| hand.join().expect("a run does not panic")).collect()
    });
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_runs_on_any_number_of_threads() {
        for threads in [1, 3, 16] {
            assert_eq!(each(7, threads, &silent, |run| run * run), [0, 1, 4, 9, 16, 25, 36]);
        }
        assert_eq!(each(0, 4, &silent, |run| run), [0_usize; 0]);
    }
}
