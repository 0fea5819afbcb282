//! The stories: what goes wrong, and what the customer does meanwhile.
//!
//! Two stories are often handled wrongly in code written by hand. In `rolled-back-…` the shop takes the order back, but
//! the charge was made. In `database-failed-…` the charge was made, but the shop's database does not record it. Each of
//! the two is told with every trouble.

use std::time::Duration;

use seawall::{millis, secs};

/// One story.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) name: String,
    /// What happens, for people.
    pub(crate) about: String,
    /// What the harbor does: a script of faults.
    pub(crate) script: &'static str,
    /// For how long the harbor's port is closed.
    pub(crate) closed: Duration,
    /// Whether the database becomes unavailable once the charge is made.
    pub(crate) away: bool,
    /// Whether the database refuses to record that an order is paid, until some time after the charge was made.
    pub(crate) refuses: bool,
    /// Where the shop's process is killed.
    pub(crate) crash: Option<Crash>,
    /// How long the customer waits for an answer.
    pub(crate) patience: Duration,
    /// Whether the customer asks again if the shop has died.
    pub(crate) repeats: bool,
    /// Whether the order is taken back: by the shop's own transaction (call before commit), or afterwards (call after
    /// commit).
    pub(crate) taken_back: bool,
}

/// Where the shop dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// When the ledger's code gets to this point for the first time.
    At(&'static str),
    /// By SIGKILL, when the charge is in the harbor's books and its answer is on its way.
    InFlight,
}

/// All points of the ledger's code at which the shop can die, from the recording of an action to its settling.
pub(crate) const POINTS: [&str; 15] = [
    "before-record",
    "after-record",
    "before-attempt",
    "after-attempt",
    "after-answer",
    "after-outcome",
    "after-end",
    "claimed",
    "before-confirm",
    "after-confirm",
    "before-settle",
    "after-settle",
    "before-cancel-attempt",
    "after-cancel-attempt",
    "after-cancel-answer",
];

const LOST: &str = "[[fault]]\nmatch = 'POST /v1/charges'\nfault = 'close-after-effect'\ntimes = 1";
const DROPPED: &str = "[[fault]]\nmatch = 'POST /v1/charges'\nfault = 'close'\ntimes = 1";
const RESET: &str = "[[fault]]\nmatch = 'POST /v1/charges'\nfault = 'reset-after-effect'\ntimes = 1";
const BROKEN: &str = "[[fault]]\nmatch = 'POST /v1/charges'\nfault = 'status-after-effect=500'\ntimes = 1";
const SLOW: &str = "[[fault]]\nmatch = 'POST /v1/charges'\nfault = 'delay-after-effect=500ms'\ntimes = 1";
const TOO_SLOW: &str = "[[fault]]\nmatch = 'POST /v1/charges'\nfault = 'delay-after-effect=900ms'\ntimes = 1";
const STUCK_FOR_A_WHILE: &str =
    "[[fault]]\nmatch = 'POST /v1/charges'\nfault = 'delay-after-effect=5s'\ntimes = 1";
const LATE: &str = "[[fault]]\nmatch = 'POST /v1/charges'\nfault = 'delay=1500ms'\ntimes = 1";
const NO_REFUNDS: &str = "[[fault]]\nmatch = 'POST /v1/refunds'\nfault = 'status=500'\ntimes = 3";
const LOST_AND_NOT_FOUND: &str = "
    [[fault]]\nmatch = 'POST /v1/charges'\nfault = 'close-after-effect'\ntimes = 1
    [[fault]]\nmatch = 'GET /v1/charges'\nfault = 'status=404'\ntimes = 1";

/// The story in which the provider declines the charge, as it does for an amount of 402.
pub(crate) const DECLINED: &str = "declined";

/// All stories.
pub(crate) fn all() -> Vec<Story> {
    let mut all = plain();
    for failure in ["rolled-back", "database-failed"] {
        for (trouble, told) in troubles() {
            let ours = match failure {
                "rolled-back" => "the order is taken back here while the charge is there",
                _ => "the charge is there while the database here does not take it in",
            };
            all.push(Story {
                name: format!("{failure}-{trouble}"),
                about: format!("{}; {ours}", told.about),
                taken_back: failure == "rolled-back",
                refuses: failure == "database-failed",
                ..told
            });
        }
    }
    all
}

/// The story with this name.
pub(crate) fn named(name: &str) -> Option<Story> {
    all().into_iter().find(|story| story.name == name)
}

/// The name of a story that is most similar to `name`.
pub(crate) fn nearest(name: &str) -> String {
    let near = |known: &Story| strsim::jaro_winkler(name, &known.name);
    let best = all().into_iter().max_by(|one, other| near(one).total_cmp(&near(other)));
    best.map(|story| story.name).unwrap_or_default()
}

fn story(name: &str, about: &str) -> Story {
    Story {
        name: name.to_owned(),
        about: about.to_owned(),
        script: "",
        closed: Duration::ZERO,
        away: false,
        refuses: false,
        crash: None,
        patience: secs(8),
        repeats: true,
        taken_back: false,
    }
}

fn at(point: &'static str) -> Option<Crash> {
    Some(Crash::At(point))
}

fn plain() -> Vec<Story> {
    let lost = "the charge is made and its answer is lost";
    vec![
        story("all-is-well", "nothing goes wrong"),
        story(DECLINED, "the provider says no"),
        Story {
            crash: at("after-record"),
            repeats: false,
            ..story(
                "crash-before-commit",
                "the shop dies between the record and its commit, and nobody asks again",
            )
        },
        Story {
            crash: at("before-attempt"),
            ..story("crash-after-commit-before-send", "the shop dies before the request leaves")
        },
        Story {
            script: STUCK_FOR_A_WHILE,
            crash: Some(Crash::InFlight),
            ..story("crash-after-send-before-reply", "the shop is killed while it waits for the answer")
        },
        Story {
            script: SLOW,
            away: true,
            ..story("reply-lost-then-our-db-fails", "the database is gone when the answer comes")
        },
        Story {
            taken_back: true,
            ..story("business-rejects-after-success", "the order is taken back once it is paid")
        },
        Story {
            script: TOO_SLOW,
            ..story("timeout-but-succeeded", "the answer comes too late; the charge is made")
        },
        Story {
            script: DROPPED,
            ..story("timeout-and-not-applied", "the request is read and dropped; no charge is made")
        },
        Story {
            script: LOST_AND_NOT_FOUND,
            ..story(
                "confirm-not-found-then-found",
                "an answer is lost, and the status API does not know of the charge at first",
            )
        },
        Story {
            closed: secs(2),
            ..story("connect-refused", "the provider's port is closed for two seconds")
        },
        Story {
            script: RESET,
            ..story("reset-after-send", "the connection is reset after the charge is made")
        },
        Story { script: BROKEN, ..story("5xx-after-effect", "the charge is made, and the answer says 500") },
        Story { script: LOST, ..story("lost-reply", lost) },
        Story {
            script: LATE,
            patience: millis(900),
            taken_back: true,
            repeats: false,
            ..story(
                "cancel-before-action-arrives",
                "the order is taken back while the request for the charge is still on its way",
            )
        },
        Story {
            closed: secs(20),
            patience: millis(400),
            taken_back: true,
            repeats: false,
            ..story("empty-compensation", "the order is taken back before anything was sent")
        },
        Story {
            script: NO_REFUNDS,
            taken_back: true,
            ..story("cancel-api-failing", "the refunds fail three times, then work again")
        },
    ]
}

/// Every trouble that can come together with a failure.
fn troubles() -> Vec<(String, Story)> {
    let mut all = vec![
        ("lost-reply", Story { script: LOST, ..story("", "the answer is lost") }),
        (
            "5xx-after-effect",
            Story { script: BROKEN, ..story("", "the answer says 500 after the charge was made") },
        ),
        (
            "refused-connection",
            Story { closed: secs(2), ..story("", "connections are refused for two seconds") },
        ),
        (
            "database-down",
            Story { script: SLOW, away: true, ..story("", "the database is gone when the answer comes") },
        ),
        ("cancel-failing", Story { script: NO_REFUNDS, ..story("", "refunds fail three times") }),
        (
            "status-not-found-then-found",
            Story {
                script: LOST_AND_NOT_FOUND,
                ..story("", "the answer is lost, and the status API says \"not found\" at first")
            },
        ),
        (
            "crash-in-flight",
            Story {
                script: STUCK_FOR_A_WHILE,
                crash: Some(Crash::InFlight),
                ..story("", "the shop is killed while it waits")
            },
        ),
    ]
    .into_iter()
    .map(|(name, story)| (name.to_owned(), story))
    .collect::<Vec<_>>();
    all.extend(POINTS.into_iter().map(|point| {
        // A question is sent only if the answer was lost.
        let script = if point.ends_with("confirm") || point == "claimed" { LOST } else { "" };
        (
            format!("crash-{point}"),
            Story { script, crash: at(point), ..story("", &format!("the shop dies at `{point}`")) },
        )
    }));
    all
}
