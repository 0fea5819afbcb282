//! Whether a cancel can be filled in whenever it may be needed.
//!
//! A cancel is needed when an effect is known, and its own answer was read; when it is known from a confirm, and the answer
//! was lost; and when nothing is known. The obvious check looks at the first case alone. It accepts `{answer:/id}`, and the
//! first lost answer leaves a charge that nobody can undo.

use std::collections::BTreeSet;

use seawall_ledger::Rules;
use seawall_policy::Idempotency;

use super::confirm::{Asking, Undoing};
use crate::template::Hole;

pub(super) fn check(
    rules: &Rules,
    asking: Option<&Asking>,
    undoing: &Undoing,
    note: &mut impl FnMut(String),
) {
    let answers: BTreeSet<&str> = undoing
        .request
        .holes()
        .filter_map(|hole| match hole {
            Hole::Answer(pointer) => Some(pointer.as_str()),
            _ => None,
        })
        .collect();
    for hole in undoing.request.holes() {
        if let Some(why) = judge(rules, asking, hole, answers.len()) {
            note(format!("cancel: `{hole}` {why}"));
        }
    }
}

/// Why a hole may stay empty, if it may.
fn judge(rules: &Rules, asking: Option<&Asking>, hole: &Hole, answers: usize) -> Option<&'static str> {
    let tombstone = rules.cancel.is_some_and(|cancel| cancel.tombstone);
    match hole {
        Hole::Confirm(_) if asking.is_none() => {
            Some("cannot be filled: there is no `confirm`; declare one, or use `{key}`")
        }
        Hole::Confirm(_) | Hole::Answer(_) if tombstone => Some(
            "cannot be filled in every case: with a tombstone a cancel is sent although nothing was found; use `{key}` or \
             `{request:/ptr}`",
        ),
        Hole::Answer(_) => judge_answer(rules, asking, answers),
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
fn judge_answer(rules: &Rules, asking: Option<&Asking>, answers: usize) -> Option<&'static str> {
    match (asking, rules.idempotency) {
        (Some(asking), _) if asking.id.is_none() => Some(
            "cannot be filled when the answer was lost; say where the confirm has it with `id`, or use `{confirm:/ptr}`",
        ),
        (Some(_), _) if answers > 1 => Some(
            "cannot be filled when the answer was lost: the confirm's `id` stands for one pointer only; use `{confirm:/ptr}` \
             for the others",
        ),
        (Some(_), _) | (None, Idempotency::Keyed) => None,
        (None, Idempotency::Safe | Idempotency::Idempotent | Idempotency::None) => Some(
            "cannot be filled when the answer was lost; declare a `confirm` with an `id`, or use `{key}` or `{request:/ptr}`",
        ),
    }
}
