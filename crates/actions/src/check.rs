//! Checks whether the declaration of a durable operation is consistent.
//!
//! Everything that an action may need is checked when the program starts, and all problems are reported together.
//! Without this check, a cancel request that cannot be built would be noticed only when an action must be cancelled. If
//! only the first problem were reported, a person would need one start for each mistake.

use seawall_ledger::{CancelKind, Lifetime, OnUnknown, Rules, SettleBy};
use seawall_policy::{Gravity, Idempotency, Predicate, Problem, Wrong, show_time};

use crate::declared::{Cancel, Declared};
use crate::fillable;
use crate::meanings;
use crate::sent::KEY_HEADER;
use crate::template::Pointer;
use crate::windows;

impl Declared<'_> {
    /// Returns everything that is wrong with the declaration.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(rules) = self.durable {
            self.means(rules, &mut problems);
            self.times(rules, &mut problems);
            windows::check(self, rules, &mut problems);
        }
        self.answers(&mut problems);
        meanings::check(self, &mut problems);
        if let Some(cancel) = self.cancel {
            self.cancel_key(cancel, &mut problems);
            self.cancel_lifetime(cancel, &mut problems);
            fillable::check(self, cancel, &mut problems);
        }
        problems
    }

    /// Adds a problem for each rule that needs something which the declaration does not have. For example, a rule may
    /// say that the provider is asked, although no confirm is declared.
    fn means(&self, rules: &Rules, problems: &mut Vec<Problem>) {
        let mut error = |setting, with, wrong| problems.push(Problem::error(setting, wrong).with(with));
        match (rules.on_unknown, self.idempotency) {
            (_, Idempotency::Safe) => error(
                "durable",
                &["idempotency"],
                Wrong::new("a `safe` operation cannot be durable")
                    .help("it has no effect that could be lost or doubled"),
            ),
            (OnUnknown::Confirm, _) if self.confirm.is_none() => error(
                "on_unknown",
                &["confirm"],
                Wrong::new("to confirm needs `confirm`").help("say how to ask, and which answers mean what"),
            ),
            (OnUnknown::Cancel, _) if self.cancel.is_none() => error(
                "on_unknown",
                &["cancel"],
                Wrong::new("to cancel needs `cancel`").help("say how to undo it"),
            ),
            (OnUnknown::Repeat, Idempotency::None) if !self.repeats_in_doubt => error(
                "on_unknown",
                &["idempotency"],
                Wrong::new("a repeat of this operation could take effect twice").help(
                    "declare it keyed or idempotent if the provider honours that; else confirm, cancel or hold",
                ),
            ),
            (OnUnknown::Repeat, Idempotency::Keyed) if rules.key_lifetime.is_none() => {
                error("on_unknown", &["key_lifetime", "idempotency"], undated());
            }
            (OnUnknown::Repeat | OnUnknown::Confirm | OnUnknown::Cancel | OnUnknown::Hold, _) => {}
        }
        if matches!(rules.settle, SettleBy::Explicit(_)) && self.cancel.is_none() {
            let wrong = Wrong::new("an explicit settle needs `cancel`");
            error("settle", &["cancel"], wrong.help("what is not settled in time is cancelled"));
        }
        let limits = rules.limits;
        for (setting, most) in [
            ("attempts.perform", Some(limits.perform)),
            ("attempts.cancel", limits.cancel),
            ("attempts.confirm", limits.confirm),
        ] {
            if most == Some(0) {
                error(setting, &[], Wrong::new("this number must be at least 1"));
            }
        }
    }

    /// Adds a problem for times that contradict each other, for example a lease that is not longer than the total
    /// timeout. A missing total timeout is also a problem.
    fn times(&self, rules: &Rules, problems: &mut Vec<Problem>) {
        let mut error = |setting, with, wrong| problems.push(Problem::error(setting, wrong).with(with));
        let travel = rules.network.saturating_add(rules.pause);
        if rules.quiet < travel {
            let message = format!(
                "`quiet` {} is shorter than `network` and `pause` together ({})",
                show_time(rules.quiet),
                show_time(travel)
            );
            error(
                "quiet",
                &["network", "pause"],
                Wrong::new(message)
                    .help("\"not found\" would be believed while the request may still arrive"),
            );
        }
        if rules.stuck_after < rules.quiet {
            let message = format!(
                "`stuck_after` {} is shorter than `quiet` {}",
                show_time(rules.stuck_after),
                show_time(rules.quiet)
            );
            let help = "questions would be given up before \"not found\" can be believed";
            error("stuck_after", &["quiet"], Wrong::new(message).help(help));
        }
        let Some(total) = self.total else {
            let wrong = Wrong::new("a durable operation needs a total timeout");
            error("timeout.total", &[], wrong.help("its attempts must end before its lease does"));
            return;
        };
        if rules.lease <= total {
            let message = format!(
                "the lease {} is not longer than the total timeout {}",
                show_time(rules.lease),
                show_time(total)
            );
            let help = "no attempt could be begun: give the ledger a longer `lease`";
            error("lease", &["timeout.total"], Wrong::new(message).help(help));
        }
        let resend = total.saturating_add(travel);
        if let (Idempotency::Keyed, Some(lifetime)) = (self.idempotency, &rules.key_lifetime)
            // Only a lifetime of a fixed length, such as 24 hours, is checked here. A lifetime that ends at a time of
            // day, such as midnight, is always accepted, because most actions are sent long before that time and can
            // be repeated. An action that is sent shortly before that time is simply not repeated.
            && let Lifetime::For(_) = lifetime
            && lifetime.shortest() <= resend
        {
            let message = format!(
                "the key is forgotten after {}, before a repeat is sure to arrive ({})",
                show_time(lifetime.shortest()),
                show_time(resend)
            );
            error(
                "key_lifetime",
                &["timeout.total", "network", "pause", "idempotency"],
                Wrong::new(message).help("total timeout, `network` and `pause` must fit into `key_lifetime`"),
            );
        }
        if let SettleBy::Explicit(within) = rules.settle {
            let longest = total.saturating_add(rules.pause);
            if within < longest {
                let message = format!(
                    "`settle_within` {} is shorter than the total timeout and `pause` together ({})",
                    show_time(within),
                    show_time(longest)
                );
                let help = "an attempt would leave no time to settle, so none would be sent";
                error("settle_within", &["timeout.total", "pause"], Wrong::new(message).help(help));
            }
        }
    }

    /// Adds a problem if the cancel declares the header in which its key is sent. The request would have that header
    /// twice.
    fn cancel_key(&self, cancel: &Cancel, problems: &mut Vec<Problem>) {
        let name = self.key_header.cloned().unwrap_or(KEY_HEADER);
        if cancel.keyed && cancel.request.headers().iter().any(|header| *header.name() == name) {
            let message = format!("`{name}` is given twice: `keyed` sends the cancel's key in this header");
            let wrong = Wrong::new(message).help("leave one of the two out");
            problems.push(Problem::error("cancel.headers", wrong).with(&["cancel.keyed"]));
        }
    }

    /// Adds a note if a cancel has a key, but it is not declared how long the provider remembers the key. If the answer
    /// to such a cancel is lost, the cancel is not sent again: the provider may have forgotten the key, and would undo
    /// the action a second time. There is no note for a cancel that only sets a state, because it can be sent twice
    /// without harm.
    fn cancel_lifetime(&self, cancel: &Cancel, problems: &mut Vec<Problem>) {
        let Some(rules) = self.durable else { return };
        if !cancel.keyed || cancel.kind == CancelKind::State || rules.key_lifetime.is_some() {
            return;
        }
        let ends =
            if self.confirm.is_some() { "the provider is asked about it" } else { "it ends with a person" };
        let message = format!("a cancel whose answer is lost is not sent again: {ends}");
        let wrong = Wrong::new(message)
            .help("declare `key_lifetime`: nobody said how long the provider remembers the cancel's key");
        let with = &["key_lifetime", "cancel.kind", "confirm"];
        problems.push(Problem::note("cancel.keyed", wrong).with(with));
    }

    /// Adds the problems of what is declared about answers: a JSON pointer that is not valid, a confirm that can never
    /// find an effect, and a cancel that is not sent again if its answer is lost.
    fn answers(&self, problems: &mut Vec<Problem>) {
        let mut error = |setting, wrong| problems.push(Problem::error(setting, wrong));
        let mut fields = |setting, predicates: &[Predicate]| {
            for field in predicates.iter().flat_map(|predicate| &predicate.fields) {
                if let Err(wrong) = field_pointer(&field.pointer) {
                    error(setting, wrong);
                }
            }
        };
        if let Some(confirm) = self.confirm {
            meanings::of_confirm(confirm).iter().for_each(|(setting, _, list)| fields(setting, list));
        }
        if let Some(cancel) = self.cancel {
            meanings::of_cancel(cancel).iter().for_each(|(setting, _, list)| fields(setting, list));
        }
        if self.confirm.is_some_and(|confirm| confirm.absences == Some(0)) {
            error("confirm.absences", Wrong::new("this number must be at least 1"));
        }
        if self.confirm.is_some_and(|confirm| confirm.applied.is_empty()) {
            let wrong = Wrong::new("no answer would mean \"it took effect\"");
            error("confirm.applied", wrong.help("say which answers do"));
        }
        if let (Some(cancel), None) = (self.cancel, self.confirm)
            && self.durable.is_some()
            && cancel.kind == CancelKind::Additive
            && !cancel.keyed
        {
            let wrong = Wrong::new("a cancel whose answer is lost is not sent again: it ends with a person")
                .help("declare `confirm`, or that a cancel sets a state or honours a key");
            problems.push(Problem { gravity: Gravity::Note, ..Problem::error("cancel", wrong) }.with(&[
                "confirm",
                "cancel.kind",
                "cancel.keyed",
            ]));
        }
    }
}

/// Returns the error for a declaration that repeats requests under a key, but does not say how long the provider
/// remembers a key.
fn undated() -> Wrong {
    Wrong::new("a repeat could take effect twice: nobody said how long the provider remembers a key").help(
        "declare `key_lifetime`, such as \"24h\" or \"midnight Asia/Seoul\"; else confirm, cancel or hold",
    )
}

/// Checks that `written` is a valid JSON pointer to a field of a body. An empty text is valid and stands for the whole
/// body.
///
/// # Errors
/// If `written` is neither empty nor a valid JSON pointer.
pub fn field_pointer(written: &str) -> Result<(), Wrong> {
    if written.is_empty() { Ok(()) } else { Pointer::parse(written).map(drop) }
}
