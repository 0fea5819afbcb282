//! Whether a cancel can be filled in whenever it may be needed.
//!
//! A cancel is needed when an effect is known, and its own answer was read; when it is known from a confirm, and the
//! answer was lost; and when nothing is known. The obvious check looks at the first case alone. It accepts
//! `{answer:/id}`, and the first lost answer leaves a charge that nobody can undo.

use std::collections::BTreeSet;

use seawall_policy::Idempotency;

use super::super::section::Section;
use super::super::settings::Operation;
use super::super::template::Hole;
use super::super::values::Wrong;

pub(super) fn check(section: &Section<'_>, operation: &Operation) {
    let Some(cancel) = &operation.cancel else { return };
    let in_target = cancel.request.target.holes().map(|hole| ("request", hole));
    let in_body = cancel.json.iter().flat_map(|json| json.holes()).map(|hole| ("json", hole));
    let holes: Vec<(&str, &Hole)> = in_target.chain(in_body).collect();
    let answers: BTreeSet<&str> = holes
        .iter()
        .filter_map(|(_, hole)| match hole {
            Hole::Answer(pointer) => Some(pointer.as_str()),
            _ => None,
        })
        .collect();
    let table = section.child("cancel");
    for place in ["request", "json"] {
        let here = holes.iter().filter(|(key, _)| *key == place);
        let first = here.filter_map(|(_, hole)| judge(section, operation, hole, answers.len())).next();
        if let Some(wrong) = first {
            table.wrong(place, wrong);
        }
    }
}

/// Why a hole may stay empty, if it may.
fn judge(section: &Section<'_>, operation: &Operation, hole: &Hole, answers: usize) -> Option<Wrong> {
    let tombstone = operation.cancel.as_ref().is_some_and(|cancel| cancel.tombstone);
    let no_confirm = section.lacks("confirm");
    match hole {
        Hole::Confirm(_) if no_confirm => {
            Some(Wrong::new(format!("`{hole}` cannot be filled: there is no `confirm`")).help("declare `confirm`, or use `{key}`"))
        }
        Hole::Confirm(_) | Hole::Answer(_) if tombstone => Some(
            Wrong::new(format!("`{hole}` cannot be filled in every case: with `tombstone` a cancel is sent although nothing was found"))
                .help("use `{key}`, `{request:/ptr}` or `{request-header:NAME}`"),
        ),
        Hole::Answer(_) => judge_answer(section, operation, hole, answers),
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

/// An answer may be lost. Then the id comes from a confirm, or from a repeat under the same key.
fn judge_answer(section: &Section<'_>, operation: &Operation, hole: &Hole, answers: usize) -> Option<Wrong> {
    let lost = format!("`{hole}` cannot be filled when the answer was lost");
    let id = section.child("confirm");
    if !section.lacks("confirm") {
        return match (id.lacks("id"), answers) {
            (true, _) => Some(
                Wrong::new(lost)
                    .help("say where the confirm has it: confirm.id = \"/id\"; or use `{confirm:/ptr}`"),
            ),
            (false, 1) => None,
            (false, _) => Some(
                Wrong::new(lost)
                    .help("`confirm.id` stands for one pointer only: use `{confirm:/ptr}` for the others"),
            ),
        };
    }
    match operation.idempotency {
        Idempotency::Keyed => None,
        Idempotency::Safe | Idempotency::Idempotent | Idempotency::None => {
            Some(Wrong::new(lost).help("declare `confirm` with an `id`, or use `{key}` or `{request:/ptr}`"))
        }
    }
}
