//! Faults by rate and time, for a whole run instead of one request.
//!
//! ```
//! use seawall_lab::harbor::Script;
//!
//! let script: Script = r#"
//!     seed = 7
//!
//!     [[fault]]
//!     match = "POST /v1/charges"
//!     fault = "status=503"
//!     rate  = 0.1
//!     from  = "5s"
//!     until = "60s"
//!     times = 100           # the most requests that it strikes; no bound by default
//! "#.parse()?;
//! # let _ = script;
//! # Ok::<(), seawall_lab::harbor::ScriptError>(())
//! ```
//!
//! Each rule has its own random generator and draws once for each request that it matches, even outside the rule's
//! time. So the n-th charge gets the same fault in each run with the same seed, whatever other requests came in
//! between. A rule that is added at the end of the script changes nothing for the rules before it. If several rules
//! strike a request, the first of them decides.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::Method;
use serde::Deserialize;

use super::fault::{Fault, duration};

/// The faults of a run. `parse` reads a script from TOML.
#[derive(Clone, Debug)]
pub struct Script {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    matches: Pattern,
    fault: Fault,
    rate: f64,
    from: Duration,
    until: Duration,
    /// The number of requests that this rule may still strike. At zero the rule strikes no more.
    left: u64,
    draws: fastrand::Rng,
}

impl Script {
    /// Adds the rules of another script behind those of this one.
    pub(super) fn append(&mut self, other: Script) {
        self.rules.extend(other.rules);
    }

    /// Returns the fault that strikes a request; `None` if no rule strikes it. `at` is the time from the start of the
    /// run to the request.
    pub(super) fn strike(&mut self, at: Duration, method: &Method, path: &str) -> Option<Fault> {
        let mut struck = None;
        for rule in self.rules.iter_mut().filter(|rule| rule.matches.covers(method, path)) {
            let drawn = rule.draws.f64() < rule.rate;
            if drawn && struck.is_none() && rule.left > 0 && (rule.from..rule.until).contains(&at) {
                rule.left -= 1;
                struck = Some(rule.fault.clone());
            }
        }
        struck
    }
}

/// The error of a script that could not be read. Its text says what is wrong, and at which line and column.
#[derive(Clone, Debug)]
pub struct ScriptError(String);

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.trim_end())
    }
}

impl std::error::Error for ScriptError {}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Script, ScriptError> {
        let file: File = toml::from_str(text).map_err(|e| ScriptError(e.to_string()))?;
        let mut rules = Vec::with_capacity(file.fault.len());
        for (rule, index) in file.fault.into_iter().zip(0_u64..) {
            rules.push(Rule {
                matches: rule.matches.unwrap_or_default(),
                fault: rule.fault.0,
                rate: rule.rate.map_or(1.0, |rate| rate.0),
                from: rule.from.map_or(Duration::ZERO, |time| time.0),
                until: rule.until.map_or(Duration::MAX, |time| time.0),
                left: rule.times.unwrap_or(u64::MAX),
                draws: fastrand::Rng::with_seed(
                    file.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(index),
                ),
            });
        }
        Ok(Script { rules })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "first_seed")]
    seed: u64,
    #[serde(default)]
    fault: Vec<FileRule>,
}

fn first_seed() -> u64 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    #[serde(rename = "match")]
    matches: Option<Pattern>,
    fault: FileFault,
    rate: Option<Rate>,
    from: Option<Time>,
    until: Option<Time>,
    times: Option<u64>,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct FileFault(Fault);

impl TryFrom<String> for FileFault {
    type Error = String;

    fn try_from(text: String) -> Result<FileFault, String> {
        let fault: Fault = text.parse().map_err(|e: super::FaultError| e.to_string())?;
        if fault.always {
            return Err("`;always` is for the header: a rule strikes by its rate".to_owned());
        }
        Ok(FileFault(fault))
    }
}

#[derive(Deserialize)]
#[serde(try_from = "f64")]
struct Rate(f64);

impl TryFrom<f64> for Rate {
    type Error = String;

    fn try_from(rate: f64) -> Result<Rate, String> {
        if (0.0..=1.0).contains(&rate) {
            Ok(Rate(rate))
        } else {
            Err(format!("a rate lies between 0 and 1, not {rate}"))
        }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Time(Duration);

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Time, String> {
        duration(&text).map(Time)
    }
}

/// Which requests a rule matches, by method and path: `POST /v1/charges`, `GET /v1/charges/{id}`, `* /v1/{*rest}`. A
/// rule without a pattern matches every request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
struct Pattern {
    method: Option<Method>,
    path: Option<Vec<String>>,
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Pattern, String> {
        let wrong =
            || format!("`{text}` is no method and path; write it as `POST /v1/charges` or `* /v1/{{*rest}}`");
        let (method, path) = text.split_once(' ').ok_or_else(wrong)?;
        let method = match method {
            "*" => None,
            name if name.bytes().all(|b| b.is_ascii_uppercase()) => Some(name.parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        };
        let path = path.trim().strip_prefix('/').ok_or_else(wrong)?;
        Ok(Pattern { method, path: Some(path.split('/').map(str::to_owned).collect()) })
    }
}

impl Pattern {
    fn covers(&self, method: &Method, path: &str) -> bool {
        if self.method.as_ref().is_some_and(|wanted| wanted != method) {
            return false;
        }
        let Some(wanted) = &self.path else { return true };
        let mut segments = path.trim_start_matches('/').split('/');
        for part in wanted {
            if part.starts_with("{*") {
                return true;
            }
            match segments.next() {
                Some(segment) if part.starts_with('{') || part == segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strikes(script: &mut Script, requests: usize, at: Duration) -> Vec<bool> {
        (0..requests).map(|_| script.strike(at, &Method::POST, "/v1/charges").is_some()).collect()
    }

    #[test]
    fn script_on_the_page_can_be_read() {
        let page = include_str!("../../../../docs/harbor.md");
        let (_, script) = page.split_once("```text\n").unwrap();
        let script: Script = script.split("```").next().unwrap().parse().unwrap();
        assert_eq!(script.rules.len(), 2);
    }

    #[test]
    fn rules_that_are_added_strike_after_the_others() {
        let rule =
            |fault: &str| format!("[[fault]]\nfault = '{fault}'\ntimes = 1").parse::<Script>().unwrap();
        let mut script = rule("reset");
        script.append(rule("close"));
        let mut next = || script.strike(Duration::ZERO, &Method::GET, "/v1/ping");
        assert_eq!(next(), Some("reset".parse().unwrap()));
        assert_eq!(next(), Some("close".parse().unwrap()));
        assert_eq!(next(), None);
    }

    #[test]
    fn rate_is_kept_and_the_seed_decides_who_is_struck() {
        let text = |seed: u64| {
            format!("seed = {seed}\n[[fault]]\nmatch = 'POST /v1/charges'\nfault = 'status=503'\nrate = 0.1")
        };
        let script = |seed| text(seed).parse::<Script>().unwrap();
        let first = strikes(&mut script(1), 10_000, Duration::ZERO);
        let struck = first.iter().filter(|s| **s).count();
        assert!((850..1150).contains(&struck), "{struck}");
        assert_eq!(first, strikes(&mut script(1), 10_000, Duration::ZERO));
        assert_ne!(first, strikes(&mut script(2), 10_000, Duration::ZERO));
    }

    #[test]
    fn rule_strikes_only_in_its_time_and_on_its_path() {
        let mut script: Script =
            "[[fault]]\nmatch = 'POST /v1/charges'\nfault = 'reset'\nfrom = '5s'\nuntil = '60s'"
                .parse()
                .unwrap();
        let mut at =
            |seconds, path: &str| script.strike(Duration::from_secs(seconds), &Method::POST, path).is_some();
        assert!(!at(4, "/v1/charges"));
        assert!(at(5, "/v1/charges"));
        assert!(at(59, "/v1/charges"));
        assert!(!at(60, "/v1/charges"));
        assert!(!at(10, "/v1/charges/ch_1"));
        assert!(!at(10, "/v1/refunds"));
    }

    #[test]
    fn rule_strikes_no_more_often_than_it_says() {
        let mut script: Script = "[[fault]]\nfault = 'reset'\ntimes = 2".parse().unwrap();
        assert_eq!(strikes(&mut script, 4, Duration::ZERO), [true, true, false, false]);
    }

    #[test]
    fn what_is_asked_between_does_not_move_the_draws() {
        let text = "[[fault]]\nmatch = 'POST /v1/charges'\nfault = 'reset'\nrate = 0.5";
        let mut alone: Script = text.parse().unwrap();
        let mut among: Script = text.parse().unwrap();
        for _ in 0..100 {
            among.strike(Duration::ZERO, &Method::GET, "/v1/ping");
            let fate = among.strike(Duration::ZERO, &Method::POST, "/v1/charges");
            assert_eq!(fate, alone.strike(Duration::ZERO, &Method::POST, "/v1/charges"));
        }
    }

    #[test]
    fn first_rule_that_strikes_decides() {
        let mut script: Script =
            "[[fault]]\nmatch = '* /v1/{*rest}'\nfault = 'reset'\nuntil = '1s'\n[[fault]]\nfault = 'close'"
                .parse()
                .unwrap();
        let mut at = |seconds| script.strike(Duration::from_secs(seconds), &Method::GET, "/v1/a/b");
        assert_eq!(at(0), Some("reset".parse().unwrap()));
        assert_eq!(at(2), Some("close".parse().unwrap()));
    }

    #[test]
    fn mistakes_are_named_with_line_and_column() {
        for (text, line, words) in [
            ("seed = 1\n[[fault]]\nfault = 'stauts=503'", 3, "status=503"),
            ("[[fault]]\nfault = 'reset'\nrate = 1.5", 3, "between 0 and 1"),
            ("[[fault]]\nfault = 'reset'\nrat = 0.5", 3, "rat"),
            ("[[fault]]\nfault = 'reset'\nfrom = '5'", 3, "no time"),
            ("[[fault]]\nmatch = '/v1/charges'\nfault = 'reset'", 2, "method and path"),
            ("[[fault]]\nfault = 'reset;always'", 2, "always"),
            ("[[fault]]\nrate = 0.5", 1, "fault"),
        ] {
            let said = text.parse::<Script>().unwrap_err().to_string();
            assert!(said.contains(&format!("line {line}, column")) && said.contains(words), "{text}\n{said}");
        }
    }
}
