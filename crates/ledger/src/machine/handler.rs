//! What is written if the application's handler fails. The handler has to run in the transaction that ends the row.

use std::time::Duration;

use seawall_policy::Draw;

use super::transition::Draft;
use super::{HandlerTrouble, Owner, Rules, Stamp, State, Write};

/// The shortest wait before a handler that failed is run again.
const PAUSE: Duration = Duration::from_millis(100);

/// Returns what is written instead of `write`, whose handler failed. `before` is the row before the change. What was
/// learned is kept, such as the provider's answer, but the row does not end. The end is tried again later, as often as
/// necessary.
///
/// If the row had already ended in the same way before the change, `write` is returned unchanged. The handler has run
/// for that end before. If the row were opened again, the action could be sent a second time.
///
/// The row does not become `stuck`, because the mistake is in the application. Once the program is corrected, usually
/// all such rows can end, and no person has to look at each of them.
pub fn handler_failed(
    write: Write,
    before: &State,
    rules: &Rules,
    error: &str,
    now: Stamp,
    draw: Draw,
) -> Write {
    if before.end.is_some() && before.end == write.to.end {
        return write;
    }
    let tries = before.handler.as_ref().map_or(0, |trouble| trouble.tries).saturating_add(1);
    let wait = rules.backoff.wait(tries, None, draw).max(PAUSE);
    let to = State {
        end: None,
        handler: Some(HandlerTrouble { tries, error: error.to_owned() }),
        claim: None,
        next_at: now.saturating_add(wait),
        ..write.to
    };
    Write { to, breaks_scope: false, ..write }
}

/// Returns what is written if a handler failed when the actions of a scope were to be settled together. That
/// transaction has written nothing, so this write only records that the handler failed. Returns `None` if `owner` does
/// not have the row.
#[must_use]
pub fn scope_handler_failed(
    state: &State,
    owner: Owner,
    rules: &Rules,
    error: &str,
    now: Stamp,
    draw: Draw,
) -> Option<Write> {
    let nothing = Draft::of(state, now).renewed();
    state.is_of(owner).then(|| handler_failed(nothing, state, rules, error, now, draw))
}
