//! What is declared of a durable operation, and its defaults. [`Declared::check`] says whether it holds together.

use std::time::Duration;

use seawall_ledger::{CancelKind, CancelRules, ConfirmRules, OnUnknown, Rules, SettleBy};
use seawall_policy::{Idempotency, Predicate};

use crate::template::{Hole, Pointer, RequestTemplate};

/// How the provider is asked what became of an action: its status API.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirm {
    /// The question.
    pub request: RequestTemplate,
    /// How long after an attempt's end the provider is first asked.
    pub after: Duration,
    /// How many times "absent" must be answered to be believed: first after the quiet time, then each a quiet time
    /// after the last.
    pub absences: u32,
    /// Answers that mean "it took effect"; any of them.
    pub applied: Vec<Predicate>,
    /// Answers that mean "it was undone there". They are looked for before `applied`.
    pub cancelled: Vec<Predicate>,
    /// Answers that mean "there is no such thing".
    pub absent: Vec<Predicate>,
    /// Where the answer has the provider's own id.
    pub id: Option<Pointer>,
}

impl Confirm {
    /// A question with the defaults. The provider is first asked after 2 s: most answers are lost although the work was
    /// done quickly.
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
    /// What a second cancel does.
    pub kind: CancelKind,
    /// How long to wait before the first cancel.
    pub after: Duration,
    /// Whether the provider honours a key on the cancel.
    pub keyed: bool,
    /// Whether a cancel that comes first makes the provider refuse the operation later.
    pub tombstone: bool,
    /// Answers that mean "there is no such thing to undo"; any of them.
    pub not_found: Vec<Predicate>,
    /// Answers that mean "that is undone already".
    pub already: Vec<Predicate>,
}

impl Cancel {
    /// A cancel with the defaults: it is sent without a wait and without a key, and a second one would undo a second
    /// time.
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

    /// Whether it can be addressed without anything from an answer.
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
    /// The operation's total timeout, which is the longest time of one attempt. `None`: it has no end.
    pub total: Option<Duration>,
    /// Whether a repeat of what may have taken effect was asked for, although it may take effect twice.
    pub repeats_in_doubt: bool,
    /// How to ask the provider what became of it.
    pub confirm: Option<&'a Confirm>,
    /// How to undo it.
    pub cancel: Option<&'a Cancel>,
    /// The rules in force, if the operation is durable.
    pub durable: Option<&'a Rules>,
}

/// How long after its total timeout an operation must be settled, where it does not say. The time is enough for a
/// commit, and short enough that a customer is not charged for long for an order that does not exist.
const SETTLE_AFTER_TOTAL: Duration = Duration::from_secs(30);

impl Declared<'_> {
    /// The rules of a durable operation that says nothing more: the ledger's defaults, and those that follow from the
    /// rest of the declaration. What is unknown is repeated where that is harmless, asked about where that is possible,
    /// and left to a person otherwise.
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
}
