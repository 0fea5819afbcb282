//! The simulator is deterministic, and can be used on the command line.

use seawall_lab::sim::scenarios::{ALL, Ask, Findings, find};
use seawall_lab::sim::seeds::silent;

fn run(name: &str, ask: &Ask) -> Findings {
    find(name).expect("a scenario").run(ask, &silent).expect("possible")
}

fn few(seeds: u32, threads: usize, set: &[(&str, &str)]) -> Ask {
    let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Ask { seeds: Some(seeds), threads, set, ..Ask::default() }
}

#[test]
fn one_seed_makes_one_run_on_any_number_of_threads() {
    let cases: [(&str, &[(&str, &str)]); 2] =
        [("erlang-b", &[("calls", "2000")]), ("metastable", &[("trigger", "2"), ("load", "0.3")])];
    for (name, set) in cases {
        let one = run(name, &few(2, 1, set));
        let many = run(name, &few(2, 7, set));
        assert_eq!(one.hash, many.hash, "{name}, seeds 1 and 2");
        assert_eq!(one.figures, many.figures, "{name}, seeds 1 and 2");
        let other = run(name, &Ask { seed: 5, ..few(2, 1, set) });
        assert_ne!(one.hash, other.hash, "{name}, seeds 5 and 6");
    }
}

#[test]
fn names_of_scenarios_are_told_apart_and_found() {
    for (index, scenario) in ALL.iter().enumerate() {
        assert!(ALL[..index].iter().all(|before| before.name != scenario.name));
        assert_eq!(find(scenario.name).expect("listed").name, scenario.name);
    }
    let wrong = find("metastabel").map(|found| found.name).expect_err("misspelt").to_string();
    assert!(wrong.contains("the nearest is `metastable`"), "{wrong}");
}

#[test]
fn impossible_wishes_are_refused_before_anything_runs() {
    let ask =
        |ask: Ask| find("metastable").expect("a scenario").run(&ask, &silent).map(|_| ()).expect_err("no");
    assert!(ask(Ask { callers: Some(0), ..Ask::default() }).to_string().contains("nearest is 1"));
    assert!(ask(few(0, 1, &[])).to_string().contains("--seeds 0"));
    assert!(ask(few(1, 1, &[("load", "3")])).to_string().contains("nearest is 0.99"));
    let erlang = find("erlang-b").expect("a scenario");
    let wrong = erlang.run(&Ask { callers: Some(3), ..Ask::default() }, &silent).map(|_| ());
    assert!(wrong.expect_err("none").to_string().contains("--set load"));
}
