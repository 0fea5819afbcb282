//! Checks that every hole of a cancel request can be filled, in every case in which the cancel may be sent.
//!
//! There are three such cases:
//!
//! - The operation's own answer was read.
//! - That answer was lost, and the provider was asked and said that the operation took effect (a confirm).
//! - Nothing is known of the effect.
//!
//! The obvious check would look at the first case only. It would accept a hole such as `{answer:/id}`, which takes the
//! id from the operation's own answer. After a lost answer the id would be missing, and nobody could undo the
//! operation.

use std::collections::BTreeSet;

use seawall_policy::{Idempotency, Problem, Wrong};

use crate::declared::{Cancel, Declared};
use crate::template::{Body, Hole};

/// The names of the settings that decide whether a hole of a cancel, such as `{answer:/id}`, can always be filled. If
/// it cannot, the error that the user sees names these settings.
const WITH: &[&str] = &["confirm", "confirm.id", "cancel.tombstone", "idempotency", "key_lifetime"];

/// Checks the target, the headers and the body of the cancel. Adds a problem for each of them that has a hole which may
/// stay empty, such as `{answer:/id}` after a lost answer.
pub(crate) fn check(declared: &Declared<'_>, cancel: &Cancel, problems: &mut Vec<Problem>) {
    let answers = cancel.request.holes().filter_map(|hole| match hole {
        Hole::Answer(pointer) => Some(pointer.as_str()),
        _ => None,
    });
    let answers = answers.collect::<BTreeSet<_>>().len();
    let request = &cancel.request;
    let body = match request.body() {
        Some(Body::Json(_)) | None => "cancel.json",
        Some(Body::Form(_)) => "cancel.form",
    };
    let judge = |hole| judge(declared, cancel, hole, answers);
    let mut in_headers = request.headers().iter().flat_map(|header| header.value().holes());
    let places = [
        ("cancel.request", request.target().holes().find_map(judge)),
        ("cancel.headers", in_headers.find_map(judge)),
        (body, request.body().into_iter().flat_map(Body::holes).find_map(judge)),
    ];
    for (setting, wrong) in places {
        problems.extend(wrong.map(|wrong| Problem::error(setting, wrong).with(WITH)));
    }
}

/// Returns why a hole such as `{answer:/id}` may stay empty; `None` if it can always be filled. `answers` is the
/// number of different fields of the operation's own answer that the cancel uses. This number matters if that answer
/// was lost: `confirm.id` can then replace only one field.
fn judge(declared: &Declared<'_>, cancel: &Cancel, hole: &Hole, answers: usize) -> Option<Wrong> {
    match hole {
        Hole::Confirm(_) if declared.confirm.is_none() => Some(
            Wrong::new(format!("`{hole}` cannot be filled: there is no `confirm`"))
                .help("declare `confirm`, or use `{key}`"),
        ),
        Hole::Confirm(_) | Hole::Answer(_) if cancel.tombstone => {
            let why = "with `tombstone` a cancel is sent although nothing was found";
            Some(
                Wrong::new(format!("`{hole}` cannot be filled in every case: {why}"))
                    .help("use `{key}`, `{request:/ptr}`, `{request-header:NAME}` or `{sent:FORMAT@ZONE}`"),
            )
        }
        Hole::Answer(_) => when_lost(declared, answers)
            .map(|help| Wrong::new(format!("`{hole}` cannot be filled when the answer was lost")).help(help)),
        Hole::Confirm(_)
        | Hole::Key
        | Hole::CancelKey
        | Hole::Request(_)
        | Hole::RequestHeader(_)
        | Hole::Sent(_)
        | Hole::From
        | Hole::To
        | Hole::Next => None,
    }
}

/// Returns what a user must declare so that the cancel can be filled even if the operation's own answer was lost;
/// `None` if the declaration is already sufficient. The values of the holes then come from the answer to a confirm (the
/// question what became of the action), or from the answer to a repeat under the same key.
fn when_lost(declared: &Declared<'_>, answers: usize) -> Option<&'static str> {
    match (declared.confirm, declared.idempotency) {
        (Some(confirm), _) if confirm.id.is_none() => {
            Some("say where the confirm has it with `confirm.id`, or use `{confirm:/ptr}`")
        }
        (Some(_), _) if answers > 1 => {
            Some("`confirm.id` stands for one pointer only: use `{confirm:/ptr}` for the others")
        }
        (Some(_), _) => None,
        (None, Idempotency::Keyed) if declared.key_lifetime.is_some() || declared.durable.is_none() => None,
        (None, Idempotency::Keyed) => Some(
            "declare `key_lifetime`, so that a repeat under the key may learn it; or `confirm` with an `id`; or use `{key}`",
        ),
        (None, Idempotency::Safe | Idempotency::Idempotent | Idempotency::None) => {
            Some("declare `confirm` with an `id`, or use `{key}` or `{request:/ptr}`")
        }
    }
}
