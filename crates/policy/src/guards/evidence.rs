//! What one ending says to each guard.

use crate::{AttemptEnd, Ending, Evidence, FailureKind, Health, Lost, Report};

/// What a report says of the endpoint's health.
#[inline]
pub(super) fn of_health(report: &Report) -> Evidence {
    let Some((ending, verdict)) = &report.outcome else {
        return Evidence::Abandoned { waited: report.took };
    };
    match ending {
        Ending::CallerDeadline => return Evidence::Abandoned { waited: report.took },
        // Its body broke or stood still: it was not the endpoint that anybody waited for.
        Ending::CallerLeft { .. } => return Evidence::Neutral,
        Ending::Unsent(_) | Ending::Unprocessed | Ending::Answered(_) | Ending::Lost(_) => {}
    }
    match verdict.health {
        Health::Success => Evidence::Success { took: report.took },
        Health::Failure => Evidence::Failure { kind: kind(ending), slow: report.slow },
        Health::Busy | Health::Silent => Evidence::Neutral,
    }
}

/// What it says of the load.
#[inline]
pub(super) fn of_load(report: &Report) -> AttemptEnd {
    match &report.outcome {
        None => AttemptEnd::Nothing,
        Some((_, verdict)) if verdict.overload => AttemptEnd::Overload,
        Some((_, verdict)) => match verdict.health {
            Health::Success => AttemptEnd::Success,
            Health::Failure => AttemptEnd::Other,
            Health::Busy => AttemptEnd::Overload,
            Health::Silent => AttemptEnd::Nothing,
        },
    }
}

fn kind(ending: &Ending) -> FailureKind {
    match ending {
        Ending::Unsent(_) | Ending::Unprocessed => FailureKind::Unreachable,
        Ending::Answered(answer) => FailureKind::of_status(answer.status),
        Ending::Lost(Lost::ReadTimeout | Lost::TotalTimeout) => FailureKind::Timeout,
        Ending::Lost(Lost::ConnectionLost) => FailureKind::Lost,
        Ending::Lost(Lost::BadAnswer) => FailureKind::BadAnswer,
        Ending::CallerDeadline | Ending::CallerLeft { .. } => FailureKind::Abandoned,
    }
}
