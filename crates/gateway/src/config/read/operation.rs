//! `[[dependency.NAME.operation]]`.

use http::Method;
use seawall_policy::{Answers, Idempotency, Otherwise};

use super::super::pattern::Pattern;
use super::super::predicate;
use super::super::section::{Found, Section};
use super::super::settings::Operation;
use super::super::values;
use super::readers::{Inherited, predicates, statuses, word};
use super::{action, policies, taken};

pub(super) fn pattern(section: &Section<'_>) -> Option<Pattern> {
    section.opt("match", |value| Pattern::parse(values::text(value)?))
}

/// Reads an operation and returns it. If its name or its pattern cannot be read, a placeholder is used instead, so that
/// the other settings are still checked.
pub(super) fn operation<'a>(
    name: &str,
    pattern: Option<Pattern>,
    section: &Section<'a>,
    inherited: &Inherited<'a, '_>,
) -> Operation {
    let layers = inherited.layers.with(section.clone());
    let answers = section.child("answers");
    let idempotency = idempotency(section, pattern.as_ref());
    let confirm = action::confirm(&section.child("confirm"));
    let cancel = action::cancel(&section.child("cancel"));
    let mut operation = Operation {
        name: name.to_owned(),
        idempotency,
        timeout: policies::timeout(&layers),
        retry: policies::retry(&layers),
        slow_call: policies::slow_call(Some(section), inherited.breaker),
        refuses: statuses(section, "refuses"),
        answers: Answers {
            duplicate: predicates(section, "duplicate"),
            applied: predicates(&answers, "applied"),
            not_applied: predicates(&answers, "not_applied"),
            unknown: predicates(&answers, "unknown"),
            otherwise: answers.opt("otherwise", predicate::otherwise),
        },
        key_lifetime: section.opt("key_lifetime", values::lifetime),
        amount: action::amount(&section.child("amount")),
        durable: None,
        taken: taken::taken(section, idempotency, confirm.as_ref(), cancel.as_ref(), inherited),
        confirm,
        cancel,
        pattern: pattern.unwrap_or(Pattern { method: Method::POST, segments: Vec::new(), slash: false }),
    };
    nothing_is_applied(&answers, &operation);
    action::note_idle_lifetime(section, &operation);
    operation.durable = action::durable(section, &operation, inherited);
    if operation.durable.is_some() {
        taken::check(section, &operation, inherited);
    }
    operation
}

/// Adds a note if `otherwise` is `unknown` and no answers are declared as applied. Then no call can ever count as
/// applied. This is not a mistake, because the provider may be asked after every call what became of it.
fn nothing_is_applied(answers: &Section<'_>, operation: &Operation) {
    if operation.answers.otherwise == Some(Otherwise::Unknown) && answers.lacks("applied") {
        let says =
            "`otherwise` is unknown and no answer is declared as applied: no call will ever count as applied";
        answers.book.note(answers.key_span("otherwise"), says);
    }
}

/// Returns the declared idempotency. If none is declared, returns the idempotency of the pattern's method. If the
/// declared word or the pattern cannot be read, returns `keyed`: it permits more of the other settings than any other
/// word, so the one mistake does not lead to further reports.
fn idempotency(section: &Section<'_>, pattern: Option<&Pattern>) -> Idempotency {
    let words = Idempotency::ALL.map(|it| (it.as_str(), it));
    match section.get("idempotency", |value| word(&words, value)) {
        Found::Value(declared, _) => declared,
        Found::Broken => Idempotency::Keyed,
        Found::Absent => pattern.map_or(Idempotency::Keyed, |it| Idempotency::of_method(it.method.as_str())),
    }
}
