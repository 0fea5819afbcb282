//! Whole exchanges from a seeded generator, compared with the model in `fuzz/targets/exchange`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(unreachable_pub, reason = "shared with the fuzz target")]

#[path = "../../../fuzz/targets/exchange/mod.rs"]
mod exchange;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// `EXCHANGE_SECONDS` says how long to play (default 60). `EXCHANGE_SEED` is the seed to begin with. Its default is 1, so that
/// a new failure comes from a change of the program and not from another seed; `random` draws a seed. `EXCHANGE_BYTES` plays
/// one scenario. `EXCHANGE_GO_ON` collects the failures, one of each kind, instead of stopping at the first.
#[test]
fn any_exchange_is_answered_as_the_model_allows() {
    if let Some(bytes) = setting("EXCHANGE_BYTES").map(|text| unhex(&text)) {
        println!("{}", exchange::show(&bytes));
        return exchange::exchange(&bytes);
    }
    let seconds = setting("EXCHANGE_SECONDS").map_or(60, |text| text.parse().unwrap());
    let seed: u64 = match setting("EXCHANGE_SEED").as_deref() {
        None => 1,
        Some("random") => fastrand::u64(..),
        Some(text) => text.parse().unwrap(),
    };
    let go_on = setting("EXCHANGE_GO_ON").is_some();
    println!("EXCHANGE_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (began, mut played) = (Instant::now(), 0_u64);
    let (mut classes, mut found) = (BTreeMap::new(), BTreeMap::new());
    while began.elapsed() < Duration::from_secs(seconds) {
        let length = random.usize(4..48);
        let bytes: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        played += 1;
        *classes.entry(exchange::class(&bytes)).or_insert(0_u64) += 1;
        for finding in exchange::found(&bytes) {
            let at = (began.elapsed(), played);
            let first =
                found.entry(finding.kind.clone()).or_insert_with(|| (at, 0_u64, bytes.clone(), finding.seen));
            first.1 += 1;
        }
        if !found.is_empty() && !go_on {
            break;
        }
    }
    for (class, count) in &classes {
        println!("{count:>7} {class}");
    }
    println!("{played} scenarios in {:.1?}, beginning with seed {seed}", began.elapsed());
    let mut report = String::new();
    for (kind, ((after, number), count, bytes, seen)) in &found {
        println!("{count:>7} times, first after {after:.1?} and {number} scenarios: {kind}");
        report += &format!("\n{kind}\nEXCHANGE_BYTES={}\n{}\n{seen}\n", hex(bytes), exchange::show(bytes));
    }
    assert!(found.is_empty(), "{report}");
}
