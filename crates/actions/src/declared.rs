//! What is declared of a durable operation, its defaults, and whether it holds together.
//!
//! A cancel that cannot be filled in is found out in the night in which it is needed. So what may be needed is judged when the
//! program starts, and all of it: a person who repairs one mistake at each start repairs the last one at the tenth.

use std::time::Duration;

use seawall_ledger::{CancelKind, CancelRules, ConfirmRules, OnUnknown, Rules, SettleBy};
use seawall_policy::{Idempotency, Predicate};

use crate::fillable;
use crate::template::{Hole, Pointer, RequestTemplate};
use seawall_policy::show_time;
use seawall_policy::{Gravity, Problem, Wrong};

/// How the provider is asked what became of an action: its status API.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirm {
    /// The question.
    pub request: RequestTemplate,
    /// How long after an attempt's end it is first asked.
    pub after: Duration,
    /// How many times "absent" must be answered after the quiet time, each a quiet time after the last, to be believed.
    pub absences: u32,
    /// Answers that mean "it took effect"; any of them.
    pub applied: Vec<Predicate>,
    /// Answers that mean "it was undone there". Looked for before `applied`.
    pub cancelled: Vec<Predicate>,
    /// Answers that mean "there is no such thing".
    pub absent: Vec<Predicate>,
    /// Where the answer has the provider's own id.
    pub id: Option<Pointer>,
}

impl Confirm {
    /// A question with the defaults. It is first asked after 2 s: most answers are lost although the work was done quickly.
    #[must_use]
    pub fn new(request: RequestTemplate) -> Confirm {
        Confirm {
            request,
            after: Duration::from_secs(2),
            absences: 1,
            applied: Vec::new(),
            cancelled: Vec::new(),
            absent: Vec::new(),
            id: None,
        }
    }
}

/// How an action is undone at the provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Cancel {
    /// The request.
    pub request: RequestTemplate,
    /// What a second one does.
    pub kind: CancelKind,
    /// How long to wait before the first.
    pub after: Duration,
    /// Whether the provider honours a key on it.
    pub keyed: bool,
    /// Whether a cancel that comes first makes the provider refuse the operation later.
    pub tombstone: bool,
    /// Answers that mean "there is no such thing to undo"; any of them.
    pub not_found: Vec<Predicate>,
    /// Answers that mean "that is undone already".
    pub already: Vec<Predicate>,
}

impl Cancel {
    /// A cancel with the defaults: sent without a wait, without a key, and a second one would undo a second time.
    #[must_use]
    pub fn new(request: RequestTemplate) -> Cancel {
        Cancel {
            request,
            kind: CancelKind::Additive,
            after: Duration::ZERO,
            keyed: false,
            tombstone: false,
            not_found: Vec::new(),
            already: Vec::new(),
        }
    }

    /// Whether it can be addressed without anything that an answer had.
    fn by_key(&self) -> bool {
        !self.needs_confirm() && !self.needs_answer()
    }

    /// Whether it is filled from the confirm's answer.
    pub(crate) fn needs_confirm(&self) -> bool {
        self.request.holes().any(|hole| matches!(hole, Hole::Confirm(_)))
    }

    /// Whether it is filled from what the provider said when the action was applied.
    pub(crate) fn needs_answer(&self) -> bool {
        self.request.holes().any(|hole| matches!(hole, Hole::Answer(_)))
    }
}

/// All that is declared of one operation and matters to the ledger.
#[derive(Clone, Copy, Debug)]
pub struct Declared<'a> {
    /// What a second delivery does.
    pub idempotency: Idempotency,
    /// The operation's total timeout, which is the longest time of one attempt. None: it has no end.
    pub total: Option<Duration>,
    /// Whether repeating what may have taken effect was asked for, although it may take effect twice.
    pub repeats_in_doubt: bool,
    /// How to ask what became of it.
    pub confirm: Option<&'a Confirm>,
    /// How to undo it.
    pub cancel: Option<&'a Cancel>,
    /// The rules in force where it is durable.
    pub durable: Option<&'a Rules>,
}

/// How long after its total timeout an operation has to be settled, where it does not say: enough for a commit, and short
/// enough that a customer is not charged for long for an order that nobody has.
const SETTLE_AFTER_TOTAL: Duration = Duration::from_secs(30);

impl Declared<'_> {
    /// The rules of a durable operation that says nothing more: the ledger's defaults, and those that follow from the rest of
    /// the declaration. What is unknown is repeated where that is harmless, asked about where that is possible, and left to a
    /// person otherwise.
    #[must_use]
    pub fn default_rules(&self) -> Rules {
        let silent = Rules::of(self.idempotency);
        let asks = silent.on_unknown == OnUnknown::Hold && self.confirm.is_some();
        Rules {
            on_unknown: if asks { OnUnknown::Confirm } else { silent.on_unknown },
            attempt: self.total.unwrap_or(Duration::MAX),
            confirm: self
                .confirm
                .map(|confirm| ConfirmRules { after: confirm.after, absences: confirm.absences.max(1) }),
            cancel: self.cancel.map(|cancel| CancelRules {
                kind: cancel.kind,
                keyed: cancel.keyed,
                tombstone: cancel.tombstone,
                by_key: cancel.by_key(),
                after: cancel.after,
            }),
            ..silent
        }
    }

    /// Settled by the application, within this time of the record. Default: the total timeout and 30 s.
    #[must_use]
    pub fn explicit(&self, within: Option<Duration>) -> SettleBy {
        let by_default = self.total.unwrap_or_default().saturating_add(SETTLE_AFTER_TOTAL);
        SettleBy::Explicit(within.unwrap_or(by_default))
    }

    /// Everything that is wrong with it, in the order of the settings' names here.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(rules) = self.durable {
            self.means(rules, &mut problems);
            self.times(rules, &mut problems);
        }
        self.answers(&mut problems);
        if let Some(cancel) = self.cancel {
            fillable::check(self, cancel, &mut problems);
        }
        problems
    }

    /// What an action may come to need must be declared.
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
            (OnUnknown::Repeat | OnUnknown::Confirm | OnUnknown::Cancel | OnUnknown::Hold, _) => {}
        }
        if matches!(rules.settle, SettleBy::Explicit(_)) && self.cancel.is_none() {
            let wrong = Wrong::new("an explicit settle needs `cancel`");
            error("settle", &["cancel"], wrong.help("what is not settled in time is cancelled"));
        }
        let limits = rules.limits;
        for (setting, most) in [
            ("attempts.perform", limits.perform),
            ("attempts.cancel", limits.cancel),
            ("attempts.confirm", limits.confirm),
        ] {
            if most == 0 {
                error(setting, &[], Wrong::new("this number must be at least 1"));
            }
        }
    }

    /// Times that must fit into each other.
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
        if self.idempotency == Idempotency::Keyed && rules.key_lifetime <= resend {
            let message = format!(
                "the key is forgotten after {}, before a repeat is sure to arrive ({})",
                show_time(rules.key_lifetime),
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

    /// Answers that are looked for.
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
            fields("confirm.applied", &confirm.applied);
            fields("confirm.cancelled", &confirm.cancelled);
            fields("confirm.absent", &confirm.absent);
        }
        if let Some(cancel) = self.cancel {
            fields("cancel.not_found", &cancel.not_found);
            fields("cancel.already", &cancel.already);
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

/// Checks where in a JSON body a field is looked for: nowhere deeper than the whole body where the pointer is empty.
///
/// # Errors
/// It is no JSON pointer.
pub fn field_pointer(written: &str) -> Result<(), Wrong> {
    if written.is_empty() { Ok(()) } else { Pointer::parse(written).map(drop) }
}
