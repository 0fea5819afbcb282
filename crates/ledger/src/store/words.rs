//! The words in which the tables store states. They are words and not numbers, since people read the tables.

use crate::error::{StoreError, Trouble};
use crate::machine::{AttemptKind, AttemptOutcome, End, Goal, Known, NotApplied};

use super::Result;

pub(crate) fn goal(goal: Goal) -> &'static str {
    match goal {
        Goal::Perform => "perform",
        Goal::Cancel => "cancel",
    }
}

pub(crate) fn read_goal(word: &str) -> Result<Goal> {
    match word {
        "perform" => Ok(Goal::Perform),
        "cancel" => Ok(Goal::Cancel),
        _ => Err(foreign("goal", word)),
    }
}

/// Returns the word for what is known of the effect. If the effect does not exist, also returns the word for the
/// reason; otherwise the second value is `None`.
pub(crate) fn known(known: Known) -> (&'static str, Option<&'static str>) {
    match known {
        Known::Never => ("never", None),
        Known::Unknown => ("unknown", None),
        Known::Applied => ("applied", None),
        Known::NotApplied(why) => ("not-applied", Some(not_applied(why))),
    }
}

fn not_applied(why: NotApplied) -> &'static str {
    match why {
        NotApplied::Refused => "refused",
        NotApplied::Cancelled => "cancelled",
        NotApplied::Absent => "absent",
        NotApplied::NoSuch => "no-such",
        NotApplied::Resolved => "resolved",
    }
}

pub(crate) fn read_known(effect: &str, reason: Option<&str>) -> Result<Known> {
    match (effect, reason) {
        ("never", None) => Ok(Known::Never),
        ("unknown", None) => Ok(Known::Unknown),
        ("applied", None) => Ok(Known::Applied),
        ("not-applied", Some("refused")) => Ok(Known::NotApplied(NotApplied::Refused)),
        ("not-applied", Some("cancelled")) => Ok(Known::NotApplied(NotApplied::Cancelled)),
        ("not-applied", Some("absent")) => Ok(Known::NotApplied(NotApplied::Absent)),
        ("not-applied", Some("no-such")) => Ok(Known::NotApplied(NotApplied::NoSuch)),
        ("not-applied", Some("resolved")) => Ok(Known::NotApplied(NotApplied::Resolved)),
        _ => Err(foreign("effect", effect)),
    }
}

pub(crate) fn end(end: End) -> &'static str {
    match end {
        End::Done => "done",
        End::Failed => "failed",
        End::Cancelled => "cancelled",
        End::Stuck => "stuck",
    }
}

pub(crate) fn read_end(word: &str) -> Result<End> {
    match word {
        "done" => Ok(End::Done),
        "failed" => Ok(End::Failed),
        "cancelled" => Ok(End::Cancelled),
        "stuck" => Ok(End::Stuck),
        _ => Err(foreign("end", word)),
    }
}

pub(crate) fn kind(kind: AttemptKind) -> &'static str {
    match kind {
        AttemptKind::Perform => "perform",
        AttemptKind::Confirm => "confirm",
        AttemptKind::Cancel => "cancel",
    }
}

pub(crate) fn read_kind(word: &str) -> Result<AttemptKind> {
    match word {
        "perform" => Ok(AttemptKind::Perform),
        "confirm" => Ok(AttemptKind::Confirm),
        "cancel" => Ok(AttemptKind::Cancel),
        _ => Err(foreign("kind", word)),
    }
}

pub(crate) fn outcome(outcome: AttemptOutcome) -> &'static str {
    match outcome {
        AttemptOutcome::Open => "open",
        AttemptOutcome::NotSent => "not-sent",
        AttemptOutcome::Yes => "yes",
        AttemptOutcome::No => "no",
        AttemptOutcome::Unknown => "unknown",
    }
}

pub(crate) fn read_outcome(word: &str) -> Result<AttemptOutcome> {
    match word {
        "open" => Ok(AttemptOutcome::Open),
        "not-sent" => Ok(AttemptOutcome::NotSent),
        "yes" => Ok(AttemptOutcome::Yes),
        "no" => Ok(AttemptOutcome::No),
        "unknown" => Ok(AttemptOutcome::Unknown),
        _ => Err(foreign("outcome", word)),
    }
}

pub(crate) fn foreign(what: &str, found: &str) -> StoreError {
    StoreError::new(Trouble::Foreign, format!("`{found}` is no {what} that this version knows"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back() {
        for value in [Goal::Perform, Goal::Cancel] {
            assert_eq!(read_goal(goal(value)).unwrap(), value);
        }
        let reasons = [
            NotApplied::Refused,
            NotApplied::Cancelled,
            NotApplied::Absent,
            NotApplied::NoSuch,
            NotApplied::Resolved,
        ];
        let all = [Known::Never, Known::Unknown, Known::Applied];
        for value in all.into_iter().chain(reasons.map(Known::NotApplied)) {
            let (effect, reason) = known(value);
            assert_eq!(read_known(effect, reason).unwrap(), value);
        }
        for value in [End::Done, End::Failed, End::Cancelled, End::Stuck] {
            assert_eq!(read_end(end(value)).unwrap(), value);
        }
        for value in [AttemptKind::Perform, AttemptKind::Confirm, AttemptKind::Cancel] {
            assert_eq!(read_kind(kind(value)).unwrap(), value);
        }
        let outcomes = [
            AttemptOutcome::Open,
            AttemptOutcome::NotSent,
            AttemptOutcome::Yes,
            AttemptOutcome::No,
            AttemptOutcome::Unknown,
        ];
        for value in outcomes {
            assert_eq!(read_outcome(outcome(value)).unwrap(), value);
        }
    }

    #[test]
    fn a_word_of_another_version_is_an_error_and_no_guess() {
        assert_eq!(read_goal("redo").unwrap_err().trouble(), Trouble::Foreign);
        assert!(read_known("applied", Some("refused")).is_err());
        assert!(read_known("not-applied", None).is_err());
    }
}
