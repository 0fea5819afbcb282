//! `seawall status`: prints one line for each dependency, the worst first. A line says what state the dependency is in,
//! for how long, why, and what comes next.

use std::time::Duration;

use super::failure::Failure;
use super::remote::{Remote, RemoteGateway};
use super::terminal;
use crate::admin::{DependencyView, EndpointView, Overview, StuckView, in_words};

pub(super) fn run(gateway: &RemoteGateway, json: bool) -> Result<(), Failure> {
    let answer = Remote::new(gateway)?.get("/api/dependencies")?;
    if json {
        return terminal::print(&format!("{}\n", answer.trim_end()));
    }
    let overview: Overview = serde_json::from_str(&answer).map_err(|error| {
        Failure::failed(format!("{}: the answer is not that of a gateway: {error}", gateway.admin))
    })?;
    for word in banner(&overview) {
        terminal::complain(&word);
    }
    let stuck = overview.stuck.unwrap_or_default();
    terminal::print(&table(overview.dependencies, &stuck, terminal::colour_on_output()))
}

/// Returns the lines about the gateway itself, such as that it is draining.
fn banner(overview: &Overview) -> Vec<String> {
    let mut words = Vec::new();
    if overview.draining {
        words.push("the gateway is shutting down".to_owned());
    }
    if let Some(reload) = &overview.last_reload
        && let Some(why) = &reload.refused
    {
        words.push(format!(
            "the reload at {} was refused, and the settings before it are still in force: {why}",
            reload.at
        ));
    }
    if overview.panics > 0 {
        let times = overview.panics;
        words.push(format!(
            "faults of Seawall's own ended a connection or a task {times} times: the log says where"
        ));
    }
    if overview.dependencies.is_empty() {
        words.push("no dependency is configured".to_owned());
    }
    let elsewhere = overview.stuck.iter().flatten();
    let elsewhere: Vec<_> =
        elsewhere.filter(|of| overview.dependencies.iter().all(|it| it.name != of.dependency)).collect();
    for of in elsewhere {
        words.push(format!(
            "{} actions of `{} {}` are stuck, and no such dependency is configured here: see `seawall actions list`",
            of.number, of.dependency, of.operation
        ));
    }
    words
}

/// Returns one line for each dependency, the worst first, in aligned columns.
/// `stuck` has the numbers of stuck actions.
pub(super) fn table(mut dependencies: Vec<DependencyView>, stuck: &[StuckView], colour: bool) -> String {
    dependencies.sort_by(|a, b| {
        let key =
            |d: &DependencyView| worst(d).map_or((0, 0), |e| (badness(&e.breaker.state), bad_share_ppm(e)));
        key(b)
            .cmp(&key(a))
            .then_with(|| b.calls.unknown.cmp(&a.calls.unknown))
            .then_with(|| a.name.cmp(&b.name))
    });
    let name_width = dependencies.iter().map(|d| d.name.chars().count()).max().unwrap_or(0);
    let state_width = dependencies.iter().map(|d| d.state.chars().count()).max().unwrap_or(0);
    let lines = dependencies.iter().map(|dependency| {
        let state = format!("{:state_width$}", dependency.state);
        let state = if colour { painted(&state, &dependency.state) } else { state };
        let number: u64 =
            stuck.iter().filter(|of| of.dependency == dependency.name).map(|of| of.number).sum();
        format!("{:name_width$}  {state}  {}\n", dependency.name, facts(dependency, number))
    });
    lines.collect()
}

/// Returns the worst endpoint, which the dependency's line is about. If two endpoints are equally bad, returns the
/// first of them. `None` if there are no endpoints.
fn worst(dependency: &DependencyView) -> Option<&EndpointView> {
    dependency
        .endpoints
        .iter()
        .rev()
        .max_by_key(|e| (badness(&e.breaker.state), e.cooling_seconds.is_some(), bad_share_ppm(e)))
}

fn badness(state: &str) -> u8 {
    match state {
        "open" => 5,
        "forced-open" => 4,
        "half-open" => 3,
        "forced-closed" => 1,
        "closed" => 0,
        // This program does not know this state, so the gateway is newer than the program.
        _ => 2,
    }
}

fn bad_share_ppm(endpoint: &EndpointView) -> u64 {
    let (ok, bad) = (u64::from(endpoint.window.ok), u64::from(endpoint.window.bad));
    (bad * 1_000_000).checked_div(ok + bad).unwrap_or(0)
}

/// Returns what there is to say about a dependency. `stuck` is the number of its stuck actions.
fn facts(dependency: &DependencyView, stuck: u64) -> String {
    let mut facts = Vec::new();
    if stuck > 0 {
        facts.push(format!("{stuck} actions stuck"));
    }
    if let Some(endpoint) = worst(dependency) {
        let breaker = &endpoint.breaker;
        // The state `open` begins anew with each failed probe. But a person wants to know for how long the endpoint has
        // not been working, with all failed probes included.
        let span = breaker.opened_seconds.unwrap_or(breaker.for_seconds);
        let span = Duration::try_from_secs_f64(span).unwrap_or_default();
        let of = dependency.endpoints.len();
        let which = if of > 1 { format!("endpoint {} of {of}: ", endpoint.endpoint) } else { String::new() };
        facts.push(format!("{which}for {}", in_words(span)));
        facts.extend(breaker.why.clone());
        facts.extend(breaker.next.clone());
        if let Some(left) = endpoint.cooling_seconds {
            let left = Duration::try_from_secs_f64(left).unwrap_or_default();
            facts.push(format!("cooling: the provider asked to come back later, {} left", in_words(left)));
        }
        if breaker.opened_at.is_none() {
            facts.push(lately(endpoint));
        }
        if endpoint.limit.enabled && endpoint.limit.limit < endpoint.limit.max {
            facts.push(format!("limit {} of {}", endpoint.limit.limit, endpoint.limit.max));
        }
        if endpoint.limit.waiting > 0 {
            facts.push(format!("{} waiting", endpoint.limit.waiting));
        }
        facts.extend(keys(endpoint));
    }
    facts.push(format!("{:.1} retry tokens", dependency.retry_tokens));
    if dependency.calls.unknown > 0 {
        facts.push(format!("{} ended unknown", dependency.calls.unknown));
    }
    facts.join("; ")
}

/// Returns a text about the keys whose breakers hold calls back: the first such key, its state, and the number of the
/// others. `None` if there are none.
fn keys(endpoint: &EndpointView) -> Option<String> {
    let away: Vec<_> = endpoint.breaker_keys.iter().filter(|of| badness(&of.breaker.state) > 1).collect();
    let first = away.first()?;
    let name = first.key.as_deref().unwrap_or("(the keys beyond `max_keys`)");
    let why = first.breaker.why.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
    let more = if away.len() > 1 { format!(" and {} more", away.len() - 1) } else { String::new() };
    Some(format!("key {name} {}{why}{more} of {}", first.breaker.state, endpoint.keys))
}

/// Returns how many calls in the breaker's window were good, in words.
fn lately(endpoint: &EndpointView) -> String {
    let window = &endpoint.window;
    let total = u64::from(window.ok) + u64::from(window.bad);
    match &window.failures {
        _ if total == 0 => "no calls lately".to_owned(),
        None => format!("{total} of {total} calls good"),
        Some(failures) => format!("{} of {total} calls good ({failures})", window.ok),
    }
}

/// Returns the text in the colour of a state. The word for the state is always shown as well.
fn painted(text: &str, state: &str) -> String {
    let colour = match badness(state) {
        0 => "32",
        1..=3 => "33",
        _ => "31",
    };
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{BreakerView, CallsView, LimitView, ReloadView, WindowView};

    fn endpoint(number: usize, state: &str, ok: u32, bad: u32) -> EndpointView {
        EndpointView {
            endpoint: number,
            url: "http://x".into(),
            breaker: BreakerView {
                state: state.into(),
                enabled: true,
                since: String::new(),
                for_seconds: 12.0,
                opened_at: (state == "open").then(String::new),
                opened_seconds: (state == "open").then_some(600.0),
                why: (state == "open").then(|| "31 timeouts in 40 calls".to_owned()),
                until: None,
                until_seconds: None,
                next: (state == "open").then(|| "next probe in 2 s".to_owned()),
                forced: None,
            },
            window: WindowView { ok, bad, failures: (bad > 0).then(|| format!("{bad} timeouts")) },
            cooling_seconds: None,
            limit: LimitView { enabled: true, limit: 10, max: 10, in_flight: 0, waiting: 0, queue: 0 },
            breaker_keys: vec![],
            limit_keys: vec![],
            keys: 0,
        }
    }

    fn dependency(name: &str, endpoints: Vec<EndpointView>) -> DependencyView {
        DependencyView {
            name: name.into(),
            state: endpoints.iter().map(|e| e.breaker.state.clone()).max_by_key(|s| badness(s)).unwrap(),
            endpoints,
            retry_tokens: 1.25,
            calls: CallsView::default(),
            reasons: Default::default(),
            last_refusals: vec![],
            attempts: 0,
            truncated: 0,
            operations: Vec::new(),
        }
    }

    #[test]
    fn the_worst_comes_first_and_says_why_and_what_next() {
        let all = vec![
            dependency("well", vec![endpoint(0, "closed", 9, 0)]),
            dependency("ailing", vec![endpoint(0, "closed", 9, 1)]),
            dependency("pay", vec![endpoint(0, "closed", 9, 0), endpoint(1, "open", 9, 31)]),
            dependency("mail", vec![endpoint(0, "half-open", 0, 0)]),
        ];
        let stuck = StuckView { dependency: "well".into(), operation: "charge".into(), number: 2 };
        let table = table(all, &[stuck], false);
        let lines: Vec<&str> = table.lines().collect();
        let names: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(names, ["pay", "mail", "ailing", "well"]);
        assert_eq!(
            lines[0],
            "pay     open       endpoint 1 of 2: for 10 min; 31 timeouts in 40 calls; next probe in 2 s; \
             1.2 retry tokens"
        );
        assert_eq!(
            lines[2],
            "ailing  closed     for 12 s; 9 of 10 calls good (1 timeouts); 1.2 retry tokens"
        );
        assert_eq!(
            lines[3],
            "well    closed     2 actions stuck; for 12 s; 9 of 9 calls good; 1.2 retry tokens"
        );
    }

    #[test]
    fn colour_is_beside_the_word() {
        let one = || vec![dependency("pay", vec![endpoint(0, "open", 0, 1)])];
        assert!(table(one(), &[], true).contains("\u{1b}[31mopen\u{1b}[0m"));
        assert!(!table(one(), &[], false).contains('\u{1b}'));
    }

    #[test]
    fn a_refused_reload_is_said() {
        let mut overview = Overview {
            draining: false,
            generation: 1,
            connections: 0,
            panics: 0,
            last_reload: Some(ReloadView { at: "T".into(), refused: Some("line 3".into()), changed: vec![] }),
            dependencies: vec![dependency("pay", vec![endpoint(0, "closed", 0, 0)])],
            stuck: None,
        };
        assert!(banner(&overview)[0].ends_with("are still in force: line 3"));
        overview.last_reload = None;
        assert_eq!(banner(&overview), Vec::<String>::new());
        overview.panics = 3;
        assert!(banner(&overview)[0].contains("a connection or a task 3 times"));
    }
}
