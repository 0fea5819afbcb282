//! Says in whole sentences what follows from the settings.

use seawall_ledger::{Lifetime, OnUnknown, Rules, SettleBy};
use seawall_policy::{Answers, Idempotency, Otherwise};

use super::super::settings::{Operation, Retry};
use super::super::values::show_time;

/// Returns a sentence that says how many times a call is sent at most, and what a failure or an unknown effect then
/// means for the caller.
pub(super) fn repeats(idempotency: Idempotency, retry: &Retry, retry_none: bool) -> String {
    let attempts = retry.attempts_in_force();
    if attempts == 1 {
        return match idempotency {
            Idempotency::Safe => "sent once; a failure leaves no effect".to_owned(),
            Idempotency::Idempotent | Idempotency::Keyed | Idempotency::None => {
                "sent once; unknown goes back to the caller as such".to_owned()
            }
        };
    }
    match idempotency {
        Idempotency::Safe => format!("sent up to {attempts} times; a failure leaves no effect"),
        Idempotency::Idempotent => {
            format!("sent up to {attempts} times; unknown only if every attempt ends so")
        }
        Idempotency::Keyed => format!("sent up to {attempts} times, with the same key and bytes"),
        Idempotency::None if retry_none => {
            format!("sent up to {attempts} times although it may take effect twice (dangerous.retry_none)")
        }
        Idempotency::None => {
            "sent once, again only if nothing was sent; unknown goes back to the caller as such".to_owned()
        }
    }
}

/// Returns a sentence that says what a success means if it fits none of the declared answers. `None` if no answers are
/// declared.
pub(super) fn otherwise(answers: &Answers) -> Option<&'static str> {
    match answers.otherwise {
        Some(Otherwise::Unknown) => Some("unknown (safe: only what is declared counts as applied)"),
        Some(Otherwise::Applied) => Some("applied, for every 2xx whose body was read, even if it is no JSON"),
        None if answers.read_bodies() => Some(
            "as the status says; a 2xx whose body should decide and is no JSON is unknown (safer: otherwise = \"unknown\")",
        ),
        None if *answers == Answers::default() => None,
        None => Some("as the status says"),
    }
}

/// Returns the sentences that say in words what the rules of a durable operation do: what happens if an effect is
/// unknown, and what settles the action.
pub(super) fn durable_follows(operation: &Operation, durable: &Rules) -> Vec<String> {
    let mut all = Vec::new();
    let quiet = show_time(durable.quiet);
    all.push(match durable.on_unknown {
        // If the provider can be asked, nothing is sent again before it was asked.
        OnUnknown::Repeat | OnUnknown::Confirm if durable.confirm.is_some() => format!(
            "unknown: the provider is asked; \"not found\" is believed {quiet} after the last possible send{}{}",
            several_absences(durable),
            then_again(operation.idempotency, durable)
        ),
        OnUnknown::Repeat => format!("unknown: the same request is sent again{}", for_how_long(operation.idempotency, durable)),
        OnUnknown::Confirm => "unknown: it waits for a person".to_owned(),
        OnUnknown::Cancel => format!("unknown: cancelled now, and once more after {quiet}"),
        OnUnknown::Hold => "unknown: it waits for a person".to_owned(),
    });
    match durable.settle {
        SettleBy::Reply => all.push("the answer settles it".to_owned()),
        SettleBy::Explicit(within) => {
            all.push(format!("cancelled unless the caller settles it within {}", show_time(within)))
        }
    }
    if durable.confirm.is_some() || durable.cancel.is_some() {
        all.push(format!(
            "stuck: once questions and cancels have brought nothing for {}, a person must look at it",
            show_time(durable.stuck_after)
        ));
    }
    all.extend(answers_follow(operation));
    if operation.cancel.is_none() {
        all.push("it cannot be undone: a cancel ends with a person".to_owned());
    }
    if !durable.resend_absent && operation.idempotency == Idempotency::None {
        all.push(
            "an action that is believed absent has failed: without a key it is not sent again".to_owned(),
        );
    }
    all
}

/// Returns the words that say until when a request is sent again under its key. Returns the empty text if there is no
/// such bound.
fn for_how_long(idempotency: Idempotency, durable: &Rules) -> String {
    match durable.key_lifetime.as_ref().filter(|_| idempotency == Idempotency::Keyed) {
        Some(Lifetime::For(time)) => format!(", for at most {}", show_time(*time)),
        Some(lifetime @ Lifetime::Daily(_)) => format!(", as long as it arrives before {lifetime}"),
        None => String::new(),
    }
}

/// Returns the words that say that the request is sent again once the provider's "not found" is believed. Returns the
/// empty text if the request is not sent again then.
fn then_again(idempotency: Idempotency, durable: &Rules) -> String {
    let is_sent_again = match idempotency {
        Idempotency::Safe | Idempotency::Idempotent => true,
        Idempotency::Keyed => durable.key_lifetime.is_some() || durable.resend_absent,
        Idempotency::None => durable.resend_absent,
    };
    match is_sent_again {
        true => format!("; then the same request is sent again{}", for_how_long(idempotency, durable)),
        false => String::new(),
    }
}

/// Returns the words that end the sentence about the answer "not found". They say how many such answers are needed to
/// believe that there was no effect. Returns the empty text if one answer is enough.
fn several_absences(durable: &Rules) -> String {
    match durable.confirm.as_ref().map_or(1, |confirm| confirm.absences) {
        0 | 1 => String::new(),
        2 => ", and only if it is said again one quiet time later".to_owned(),
        times => format!(", and only if it is said {times} times, one quiet time apart"),
    }
}

/// Returns the sentences that say what follows from certain answers of the provider. There is one sentence for each of
/// these that the operation declares: an answer that means "duplicate", an answer to `confirm` that says that the
/// action was partly cancelled, and the answers to a cancel.
fn answers_follow(operation: &Operation) -> Vec<String> {
    let mut all = Vec::new();
    if !operation.answers.duplicate.is_empty() {
        let then =
            if operation.confirm.is_some() { "the provider is asked" } else { "it waits for a person" };
        all.push(format!(
            "\"duplicate\" proves that an earlier request arrived: {then}, and it is never a \"no\""
        ));
    }
    if operation.confirm.as_ref().is_some_and(|confirm| !confirm.partly.is_empty()) {
        all.push("partly cancelled counts as applied: a cancel undoes the rest".to_owned());
    }
    if let Some(cancel) = &operation.cancel {
        all.push(match cancel.declares_done() {
            true => "a cancel is done only by an answer that is declared so; any other leaves it unknown"
                .to_owned(),
            false => {
                "every 2xx answer to a cancel means \"undone\", unless it is declared otherwise".to_owned()
            }
        });
    }
    all
}
