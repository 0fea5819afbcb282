//! Our own parsers, run on the seeds of the fuzz targets, on changed seeds, and on any bytes. The targets in `fuzz` themselves
//! search longer and deeper; see CONTRIBUTING.md.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../../../fuzz/targets/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One change of bytes: at a place, up to this number of bytes are removed, and other bytes are inserted.
type Bend = (Index, usize, Vec<u8>);

fn bends() -> impl Strategy<Value = Vec<Bend>> {
    let more = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..4),
        proptest::sample::select(vec![
            "\r\n",
            "\n",
            "\r",
            "\r\n\r\n",
            "0",
            ":",
            ";",
            " ",
            "\t",
            "=",
            "\"",
            "/",
            "{",
            "content-length: 1\r\n",
            "transfer-encoding: chunked\r\n",
            "99999999999999999999",
            "-1",
            "ms",
            "[",
            "\0",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    proptest::collection::vec((any::<Index>(), 0_usize..4, more), 1..4)
}

fn bent(seed: &[u8], bends: &[Bend]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for (at, out, more) in bends {
        let at = at.index(bytes.len() + 1);
        let end = bytes.len().min(at + out);
        bytes.splice(at..end, more.iter().copied());
    }
    bytes
}

/// proptest prints the failing case and its seed.
fn hold(target: &str, cases: u32) {
    let (_, check) = checks::TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let seeds = seeds(target);
    assert!(!seeds.is_empty());
    seeds.iter().for_each(|seed| check(seed));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let some = (proptest::sample::select(seeds), bends()).prop_map(|(seed, bends)| bent(&seed, &bends));
    let any = proptest::collection::vec(any::<u8>(), 0..200);
    let done = runner.run(&prop_oneof![4 => some, 1 => any], |bytes| {
        check(&bytes);
        Ok(())
    });
    done.unwrap_or_else(|error| panic!("{target}: {error}"));
}

#[test]
fn any_configuration_is_read_or_reported() {
    hold("config", 400);
}

#[test]
fn any_time_is_read_or_refused() {
    hold("times", 4000);
}

#[test]
fn any_requests_are_told_apart_as_hyper_does_or_held_doubtful() {
    hold("framing", 4000);
}

#[test]
fn any_answer_is_read_or_ignored() {
    hold("answers", 4000);
}

#[test]
fn any_fault_is_read_or_explained() {
    hold("faults", 2000);
}
