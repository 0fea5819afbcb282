//! One log line for each class of refusal and second; the rest is counted. An outage would otherwise fill the disk with
//! the same sentence.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use seawall_policy::Reason;

use crate::reply::Problem;

const EVERY: Duration = Duration::from_secs(1);

/// What was said when.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    classes: Mutex<HashMap<(Option<String>, Reason), Class>>,
}

#[derive(Debug)]
struct Class {
    said: Instant,
    suppressed: u64,
}

impl Refusals {
    /// Says it, or counts it. Bounded by the configuration: dependencies times reasons.
    pub(crate) fn note(&self, problem: &Problem) {
        let Some(suppressed) = self.may_say(problem.dependency.clone(), problem.reason, Instant::now())
        else {
            return;
        };
        let Problem { reason, effect, attempts, endpoint, detail, .. } = problem;
        let dependency = problem.dependency.as_deref();
        let (reason, effect) = (reason.as_str(), effect.as_str());
        tracing::warn!(dependency, reason, effect, attempts, endpoint, suppressed, "{detail}");
    }

    /// How many were suppressed before this one, if it may be said.
    fn may_say(&self, dependency: Option<String>, reason: Reason, now: Instant) -> Option<u64> {
        let mut classes = self.classes.lock();
        match classes.get_mut(&(dependency.clone(), reason)) {
            Some(class) if now.duration_since(class.said) < EVERY => {
                class.suppressed += 1;
                None
            }
            Some(class) => {
                class.said = now;
                Some(std::mem::take(&mut class.suppressed))
            }
            None => {
                classes.insert((dependency, reason), Class { said: now, suppressed: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_speaks_once_a_second_and_says_what_it_kept_back() {
        let refusals = Refusals::default();
        let start = Instant::now();
        let ask = |dependency: &str, reason, millis| {
            refusals.may_say(Some(dependency.into()), reason, start + Duration::from_millis(millis))
        };
        assert_eq!(ask("a", Reason::BreakerOpen, 0), Some(0));
        assert_eq!(ask("a", Reason::BreakerOpen, 1), None);
        assert_eq!(ask("a", Reason::BreakerOpen, 999), None);
        assert_eq!(ask("a", Reason::ReadTimeout, 2), Some(0), "another reason");
        assert_eq!(ask("b", Reason::BreakerOpen, 2), Some(0), "another dependency");
        assert_eq!(ask("a", Reason::BreakerOpen, 1_000), Some(2));
    }
}
