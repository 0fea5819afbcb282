//! Measures what a call costs in one process: with each guard, with the whole stack, and with other libraries.
//!
//! Every case calls an async function that does nothing, so only the cost of the library is measured. Cases are
//! interleaved: each round runs all cases one after the other, in an order that rotates. The figure of a case is the
//! median of its rounds. With two threads, both threads share one instance, and the figure is how long one thread waits
//! for one call.

mod cases;

use std::sync::{Arc, Barrier};
use std::time::Duration;

use cases::Case;

/// The numbers of threads. Two threads share one instance.
const THREADS: [usize; 2] = [1, 2];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let only = arguments.iter().find(|argument| !argument.starts_with("--")).cloned().unwrap_or_default();
    let (rounds, batch) =
        if quick { (5, Duration::from_millis(20)) } else { (25, Duration::from_millis(60)) };
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| case.name.contains(&only)).collect();
    let figures = measure(&cases, rounds, batch);
    print(&cases, &figures, rounds, batch);
}

/// The nanoseconds for a call, by case and number of threads.
fn measure(cases: &[Case], rounds: usize, batch: Duration) -> Vec<[f64; 2]> {
    let mut samples = vec![[const { Vec::new() }; 2]; cases.len()];
    let calls: Vec<u64> = cases.iter().map(|case| calls_in(case, batch)).collect();
    for round in 0..rounds {
        for turn in 0..cases.len() {
            let at = (turn + round * 7) % cases.len();
            for (place, threads) in THREADS.into_iter().enumerate() {
                samples[at][place].push(run(&cases[at], threads, calls[at]));
            }
        }
    }
    samples.into_iter().map(|both| both.map(median)).collect()
}

/// Returns the number of calls that take as long as a batch.
fn calls_in(case: &Case, batch: Duration) -> u64 {
    let mut calls = 1_000;
    loop {
        let nanos = run(case, 1, calls);
        let took = nanos * calls as f64;
        if took > batch.as_nanos() as f64 / 10.0 {
            return ((batch.as_nanos() as f64 / nanos) as u64).max(100);
        }
        calls *= 4;
    }
}

fn run(case: &Case, threads: usize, calls: u64) -> f64 {
    let shared = (case.make)();
    if threads == 1 {
        return shared(calls).as_nanos() as f64 / calls as f64;
    }
    let barrier = Arc::new(Barrier::new(threads));
    let running: Vec<_> = (0..threads)
        .map(|_| {
            let (shared, barrier) = (Arc::clone(&shared), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                shared(calls)
            })
        })
        .collect();
    let slowest = running.into_iter().map(|one| one.join().expect("a case ends")).max();
    slowest.expect("there are threads").as_nanos() as f64 / calls as f64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn print(cases: &[Case], figures: &[[f64; 2]], rounds: usize, batch: Duration) {
    let whole = cases.iter().position(|case| case.name == cases::WHOLE);
    println!(
        "ns per call, median of {rounds} interleaved rounds of {batch:?}; × is against `{}`",
        cases::WHOLE
    );
    println!("{:<52} {:>9} {:>7} {:>9} {:>7}", "", "1 thread", "×", "2 threads", "×");
    let mut group = "";
    for (case, [one, two]) in cases.iter().zip(figures) {
        if case.group != group {
            group = case.group;
            println!("{group}");
        }
        let ratio = |place: usize, value: f64| whole.map_or(f64::NAN, |at| value / figures[at][place]);
        let (first, second) = (ratio(0, *one), ratio(1, *two));
        println!("  {:<50} {one:>9.1} {first:>7.2} {two:>9.1} {second:>7.2}", case.name);
    }
}
