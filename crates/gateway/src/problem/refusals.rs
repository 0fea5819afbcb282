//! Logs refusals: at most one line in a second for each class of refusal. A class is a dependency together with a
//! reason. Further refusals of the class are only counted. Otherwise an outage would fill the disk with the same line.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use seawall_policy::{Effect, Reason};

use super::Problem;

const EVERY: Duration = Duration::from_secs(1);

/// Logs and counts the refusals of each class.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    classes: Mutex<HashMap<(Option<String>, What), Class>>,
}

/// The kind of event that a line of the log reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    /// An answer of our own, made for this reason.
    Refused(Reason),
    /// An answer that could not be written to its caller.
    Undelivered,
    /// A connection that could not be accepted.
    NotAccepted,
}

#[derive(Debug)]
struct Class {
    said: Instant,
    suppressed: u64,
    last: Last,
}

/// The last refusal of a class, and the number of refusals of that class so far.
#[derive(Clone, Debug)]
pub(crate) struct Last {
    pub(crate) at: SystemTime,
    pub(crate) why: String,
    pub(crate) times: u64,
}

impl Refusals {
    /// Logs a problem. If its class (its dependency and its reason) was logged less than a second ago, the problem is
    /// only counted. The memory for the classes is bounded: their number is at most the number of dependencies times
    /// the number of reasons.
    pub(crate) fn note(&self, problem: &Problem) {
        let class = (problem.dependency.clone(), What::Refused(problem.reason));
        let Some(suppressed) = self.may_say(class, &problem.detail, Instant::now()) else { return };
        let Problem { reason, effect, attempts, endpoint, detail, .. } = problem;
        let dependency = problem.dependency.as_deref();
        let (reason, effect) = (reason.as_str(), effect.as_str());
        tracing::warn!(dependency, reason, effect, attempts, endpoint, suppressed, "{detail}");
    }

    /// Logs that a caller did not get an answer as a whole. If the same was logged for this dependency less than a
    /// second ago, it is only counted. The line names the effect, because what the call changed at the provider stays
    /// changed, and the caller may not learn of it.
    pub(crate) fn undelivered(&self, dependency: Option<&str>, effect: Option<Effect>, why: &str) {
        let class = (dependency.map(str::to_owned), What::Undelivered);
        let Some(suppressed) = self.may_say(class, why, Instant::now()) else { return };
        let effect = effect.map(Effect::as_str);
        tracing::warn!(
            dependency,
            effect,
            suppressed,
            "an answer was not written whole to its caller: {why}"
        );
    }

    /// Logs that a connection could not be accepted. `side` is `data` for a caller's connection, and `admin` for one to
    /// the admin side. If the same was logged for this side less than a second ago, it is only counted.
    pub(crate) fn not_accepted(&self, side: &'static str, error: &io::Error) {
        let class = (Some(side.to_owned()), What::NotAccepted);
        let Some(suppressed) = self.may_say(class, &error.to_string(), Instant::now()) else { return };
        tracing::warn!(side, %error, suppressed, "a connection could not be accepted");
    }

    /// Counts a refusal, and decides whether it may be logged now. If it may, returns the number of refusals of its
    /// class that were not logged since the last line. Otherwise returns `None`.
    fn may_say(&self, class: (Option<String>, What), why: &str, now: Instant) -> Option<u64> {
        let mut classes = self.classes.lock();
        let Some(class) = classes.get_mut(&class) else {
            let last = Last { at: SystemTime::now(), why: why.to_owned(), times: 1 };
            classes.insert(class, Class { said: now, suppressed: 0, last });
            return Some(0);
        };
        class.last.at = SystemTime::now();
        why.clone_into(&mut class.last.why);
        class.last.times += 1;
        if now.duration_since(class.said) < EVERY {
            class.suppressed += 1;
            return None;
        }
        class.said = now;
        Some(std::mem::take(&mut class.suppressed))
    }

    /// Returns the last refusal of this dependency for each reason.
    pub(crate) fn of(&self, dependency: &str) -> Vec<(Reason, Last)> {
        let classes = self.classes.lock();
        let its = classes.iter().filter(|((whose, _), _)| whose.as_deref() == Some(dependency));
        its.filter_map(|((_, what), class)| match what {
            What::Refused(reason) => Some((*reason, class.last.clone())),
            What::Undelivered | What::NotAccepted => None,
        })
        .collect()
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
            let class = (Some(dependency.into()), What::Refused(reason));
            refusals.may_say(class, "why", start + Duration::from_millis(millis))
        };
        assert_eq!(ask("a", Reason::BreakerOpen, 0), Some(0));
        assert_eq!(ask("a", Reason::BreakerOpen, 1), None);
        assert_eq!(ask("a", Reason::BreakerOpen, 999), None);
        assert_eq!(ask("a", Reason::ReadTimeout, 2), Some(0), "another reason");
        assert_eq!(ask("b", Reason::BreakerOpen, 2), Some(0), "another dependency");
        assert_eq!(ask("a", Reason::BreakerOpen, 1_000), Some(2));
        assert_eq!(refusals.of("b")[0].1.times, 1);
        let (_, last) =
            refusals.of("a").into_iter().find(|(reason, _)| *reason == Reason::BreakerOpen).unwrap();
        assert_eq!((last.times, last.why.as_str()), (4, "why"));
    }
}
