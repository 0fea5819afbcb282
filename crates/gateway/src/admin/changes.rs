//! Keeps what operators changed: who, when, what and why. Only the last changes are kept here; older ones are in the
//! log.

use std::collections::VecDeque;
use std::time::SystemTime;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// The maximum number of changes that are kept.
pub const MOST_CHANGES: usize = 256;

/// One change by an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When the change was made, in the form of RFC 3339.
    pub at: String,
    /// The name of the token that the operator's request carried.
    pub who: String,
    /// The address and port that the request came from.
    pub peer: String,
    /// The dependency whose breaker was changed.
    pub dependency: String,
    /// The number of the endpoint whose breaker was changed. If it is absent, the breakers of all endpoints were
    /// changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<usize>,
    /// The state to which the breaker was set: `open`, `closed`, or `auto`. With `auto` the breaker is no longer forced
    /// and follows the results of calls again.
    pub state: String,
    /// The reason for the change, in the operator's words.
    pub reason: String,
}

/// The last changes.
#[derive(Debug, Default)]
pub(super) struct OperatorChanges {
    list: Mutex<VecDeque<Change>>,
}

impl OperatorChanges {
    pub(super) fn record(&self, change: Change) {
        let mut list = self.list.lock();
        if list.len() >= MOST_CHANGES {
            list.pop_front();
        }
        list.push_back(change);
    }

    pub(super) fn newest_first(&self) -> Vec<Change> {
        self.list.lock().iter().rev().cloned().collect()
    }

    /// Returns the last change that concerns this endpoint's breaker; `None` if no such change is kept.
    pub(super) fn last_word(&self, dependency: &str, endpoint: usize) -> Option<Change> {
        let list = self.list.lock();
        let about = |change: &&Change| {
            change.dependency == dependency && change.endpoint.is_none_or(|which| which == endpoint)
        };
        list.iter().rev().find(about).cloned()
    }
}

/// Returns a time of the wall clock in the form of RFC 3339, with milliseconds.
pub(super) fn stamp(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let stamp = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    format!("{stamp:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn change(dependency: &str, endpoint: Option<usize>, reason: &str) -> Change {
        Change {
            at: stamp(SystemTime::UNIX_EPOCH),
            who: "admin".into(),
            peer: "127.0.0.1:1".into(),
            dependency: dependency.into(),
            endpoint,
            state: "open".into(),
            reason: reason.into(),
        }
    }

    #[test]
    fn the_oldest_goes_when_it_is_full() {
        let changes = OperatorChanges::default();
        (0..MOST_CHANGES + 3).for_each(|n| changes.record(change("pay", None, &n.to_string())));
        let kept = changes.newest_first();
        assert_eq!(kept.len(), MOST_CHANGES);
        assert_eq!((kept[0].reason.as_str(), kept[MOST_CHANGES - 1].reason.as_str()), ("258", "3"));
    }

    #[test]
    fn the_last_word_is_about_this_endpoint_or_all() {
        let changes = OperatorChanges::default();
        changes.record(change("pay", None, "all"));
        changes.record(change("pay", Some(1), "one"));
        changes.record(change("mail", None, "mail"));
        let last = |endpoint| changes.last_word("pay", endpoint).unwrap().reason;
        assert_eq!((last(0), last(1)), ("all".to_owned(), "one".to_owned()));
        assert_eq!(changes.last_word("sms", 0), None);
    }

    #[test]
    fn stamps_are_rfc_3339() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_120);
        assert_eq!(stamp(at), "2023-11-14T22:13:20.120Z");
    }
}
