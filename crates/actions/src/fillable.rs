//! Whether a cancel can be filled in whenever it may be needed.
//!
//! A cancel is needed in three cases. The operation's own answer was read; or that answer was lost, and a confirm said
//! that the operation took effect; or nothing is known. The obvious check looks at the first case alone. It accepts
//! `{answer:/id}`, and the first lost answer leaves a charge that nobody can undo.

use std::collections::BTreeSet;

use seawall_policy::{Idempotency, Problem, Wrong};

use crate::declared::{Cancel, Declared};
use crate::template::Hole;

/// The settings that decide whether a hole stays empty.
const WITH: &[&str] = &["confirm", "confirm.id", "cancel.tombstone", "idempotency"];

/// Adds a problem for the target, and one for the body, if one of its holes may stay empty.
pub(crate) fn check(declared: &Declared<'_>, cancel: &Cancel, problems: &mut Vec<Problem>) {
    let answers = cancel.request.holes().filter_map(|hole| match hole {
        Hole::Answer(pointer) => Some(pointer.as_str()),
        _ => None,
    });
    let answers = answers.collect::<BTreeSet<_>>().len();
    let in_body = cancel.request.body().into_iter().flat_map(|body| body.holes());
    let in_target = cancel.request.target().holes().find_map(|hole| judge(declared, cancel, hole, answers));
    let in_body = in_body.into_iter().find_map(|hole| judge(declared, cancel, hole, answers));
    for (setting, wrong) in [("cancel.request", in_target), ("cancel.json", in_body)] {
        problems.extend(wrong.map(|wrong| Problem::error(setting, wrong).with(WITH)));
    }
}

/// Why a hole may stay empty; `None` if it is always filled.
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
                    .help("use `{key}`, `{request:/ptr}` or `{request-header:NAME}`"),
            )
        }
        Hole::Answer(_) => when_lost(declared, answers)
            .map(|help| Wrong::new(format!("`{hole}` cannot be filled when the answer was lost")).help(help)),
        Hole::Confirm(_)
        | Hole::Key
        | Hole::CancelKey
        | Hole::Request(_)
        | Hole::RequestHeader(_)
        | Hole::From
        | Hole::To
        | Hole::Next => None,
    }
}

/// What helps if the operation's own answer is lost. `None` if nothing is needed, because the id then comes from a
/// confirm, or from a repeat under the same key.
fn when_lost(declared: &Declared<'_>, answers: usize) -> Option<&'static str> {
    match (declared.confirm, declared.idempotency) {
        (Some(confirm), _) if confirm.id.is_none() => {
            Some("say where the confirm has it with `confirm.id`, or use `{confirm:/ptr}`")
        }
        (Some(_), _) if answers > 1 => {
            Some("`confirm.id` stands for one pointer only: use `{confirm:/ptr}` for the others")
        }
        (Some(_), _) | (None, Idempotency::Keyed) => None,
        (None, Idempotency::Safe | Idempotency::Idempotent | Idempotency::None) => {
            Some("declare `confirm` with an `id`, or use `{key}` or `{request:/ptr}`")
        }
    }
}
