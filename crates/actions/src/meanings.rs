//! Checks what is declared of the meanings of answers.
//!
//! Two kinds of problems are found here. A predicate that can never decide is an error, because its author believes
//! that it decides something. If nothing is declared about an answer, a default decides what the answer means. If this
//! default can be wrong for a real provider, the author gets a note.

use seawall_ledger::{OnUnknown, Rules};
use seawall_policy::{Predicate, Problem, Wrong, show_time};

use crate::declared::{Cancel, Confirm, Declared};

/// A list of predicates: the name of its setting, the meaning that it gives to an answer, and the predicates.
type List<'a> = (&'static str, &'static str, &'a [Predicate]);

/// The settings that say what an answer of the operation itself means.
const OF_ANSWERS: &[&str] = &["answers", "duplicate", "refuses", "refusal_binds", "saves_refusals"];

/// The names of the settings that hold predicates, in the order in which these are tried. If a predicate matches every
/// answer that a predicate of a later setting matches, the later one can never decide.
const IN_ANSWERS: &[&str] = &["duplicate", "answers.applied", "answers.not_applied", "answers.unknown"];
const IN_CONFIRM: &[&str] = &["confirm.cancelled", "confirm.partly", "confirm.applied", "confirm.absent"];
const IN_CANCEL: &[&str] =
    &["cancel.done", "cancel.already", "cancel.not_found", "cancel.refused", "cancel.never"];

/// Adds the problems of what is declared of answers.
pub(crate) fn check(declared: &Declared<'_>, problems: &mut Vec<Problem>) {
    let Declared { confirm, cancel, answers, .. } = *declared;
    unreachable(
        &[
            ("duplicate", "duplicate", &answers.duplicate),
            ("answers.applied", "applied", &answers.applied),
            ("answers.not_applied", "not applied", &answers.not_applied),
            ("answers.unknown", "unknown", &answers.unknown),
        ],
        IN_ANSWERS,
        problems,
    );
    if let Some(confirm) = confirm {
        unreachable(&of_confirm(confirm), IN_CONFIRM, problems);
    }
    if let Some(cancel) = cancel {
        unreachable(&of_cancel(cancel), IN_CANCEL, problems);
    }
    let Some(rules) = declared.durable else { return };
    duplicate(declared, rules, problems);
    trusted_refusals(declared, rules, problems);
    if let Some(confirm) = confirm {
        bare_absence(confirm, rules, problems);
    }
    if cancel.is_some_and(|cancel| !cancel.declares_done()) {
        let wrong =
            Wrong::new("every 2xx answer to the cancel that fits no declared answer means \"undone\"")
                .help("a provider may refuse inside a 200: declare `done` or `refused`");
        problems.push(Problem::note("cancel", wrong).with(&["cancel.done", "cancel.refused"]));
    }
}

/// Returns the lists of predicates that say what an answer to a confirm means, in the order in which they are tried.
pub(crate) fn of_confirm(confirm: &Confirm) -> [List<'_>; 4] {
    [
        ("confirm.cancelled", "cancelled", &confirm.cancelled),
        ("confirm.partly", "partly cancelled", &confirm.partly),
        ("confirm.applied", "applied", &confirm.applied),
        ("confirm.absent", "absent", &confirm.absent),
    ]
}

/// Returns the lists of predicates that say what an answer to a cancel means, in the order in which they are tried.
pub(crate) fn of_cancel(cancel: &Cancel) -> [List<'_>; 5] {
    [
        ("cancel.done", "undone", &cancel.done),
        ("cancel.already", "undone", &cancel.already),
        ("cancel.not_found", "not found", &cancel.not_found),
        ("cancel.refused", "refused", &cancel.refused),
        ("cancel.never", "never", &cancel.never),
    ]
}

/// Adds a problem for each list that has a predicate which can never decide. A predicate can never decide if an earlier
/// list has a predicate that matches all the same answers and gives them another meaning. `with` has the names of all
/// lists, and each problem shows these names.
fn unreachable(lists: &[List<'_>], with: &'static [&'static str], problems: &mut Vec<Problem>) {
    for (index, (setting, meaning, predicates)) in lists.iter().enumerate() {
        let earlier = lists[..index].iter().filter(|(_, other, _)| other != meaning);
        let hides = |(_, _, before): &&List<'_>| {
            before.iter().any(|before| predicates.iter().any(|later| covers(before, later)))
        };
        if let Some((before, _, _)) = earlier.into_iter().find(hides) {
            let message =
                format!("an answer that it names is always taken by `{before}`, which is tried first");
            let help = "name a field of the body in the earlier condition, or another status";
            problems.push(Problem::error(setting, Wrong::new(message).help(help)).with(with));
        }
    }
}

/// Returns whether `before` matches every answer that `later` matches. The result is `false` if `before` looks at the
/// body, since an answer with another body would reach `later`.
fn covers(before: &Predicate, later: &Predicate) -> bool {
    let all = before.statuses.is_empty();
    let some = !later.statuses.is_empty() && later.statuses.iter().all(|it| before.statuses.contains(it));
    before.fields.is_empty() && (all || some)
}

/// Adds a note if an answer that means "I have this key already" leaves the action to a person. That is so if no
/// confirm is declared, and an unknown effect is not cancelled either.
fn duplicate(declared: &Declared<'_>, rules: &Rules, problems: &mut Vec<Problem>) {
    let asks = declared.confirm.is_some() || rules.on_unknown == OnUnknown::Cancel;
    if !declared.answers.duplicate.is_empty() && !asks {
        let wrong = Wrong::new("after such an answer a person decides, since the provider cannot be asked")
            .help("declare `confirm`");
        problems.push(Problem::note("duplicate", wrong).with(&["confirm", "on_unknown"]));
    }
}

/// Adds a note if nothing is declared about answers with a 4xx. Most of them then mean "not done", although a provider
/// may send one of them when it does not know the effect.
fn trusted_refusals(declared: &Declared<'_>, rules: &Rules, problems: &mut Vec<Problem>) {
    let is_4xx = |status: &u16| (400..500).contains(status);
    let names_one = |it: &Predicate| it.statuses.is_empty() || it.statuses.iter().any(is_4xx);
    let answers = declared.answers;
    let mut lists =
        [&answers.duplicate, &answers.applied, &answers.not_applied, &answers.unknown].into_iter();
    if lists.any(|predicates| predicates.iter().any(names_one))
        || declared.refuses.iter().any(is_4xx)
        || !rules.refusal_binds.is_empty()
        || rules.saves_refusals
    {
        return;
    }
    let wrong = Wrong::new("every 4xx means \"not done\", except 408, 409, 425 and 429, which are unknown")
        .help("a provider may use one in doubt: say which with `answers` or `duplicate`");
    problems.push(Problem::note("answers", wrong).with(OF_ANSWERS));
}

/// Adds a note if a status alone can mean "absent", because a server in front of the provider can answer with that
/// status.
fn bare_absence(confirm: &Confirm, rules: &Rules, problems: &mut Vec<Problem>) {
    if !confirm.has_bare_absent() {
        return;
    }
    let quiet = show_time(rules.quiet);
    let message = match confirm.absences {
        None => format!(
            "a status alone means \"not found\", so it is believed only after two answers, {quiet} apart"
        ),
        Some(1) => "a status alone means \"not found\", and one such answer is believed".to_owned(),
        Some(_) => return,
    };
    let help = "the page of a load balancer may have this status: name a field of the body";
    problems.push(
        Problem::note("confirm.absent", Wrong::new(message).help(help)).with(&["confirm.absences", "quiet"]),
    );
}
