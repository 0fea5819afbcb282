//! What is declared of a durable operation, and its defaults. [`Declared::check`] says whether it holds together.

use std::time::Duration;

use seawall_ledger::{CancelKind, CancelRules, ConfirmRules, OnUnknown, Rules, SettleBy};
use seawall_policy::{Idempotency, Predicate};

use crate::template::{Hole, Pointer, RequestTemplate};

/// How to ask the provider, through its status API, what became of an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirm {
    /// The request that asks.
    pub request: RequestTemplate,
    /// How long after the end of an attempt the provider is first asked. Default 2 s.
    pub after: Duration,
    /// The number of times that the provider must answer "absent" before it is believed. Only answers after the quiet
    /// time count, and they must be at least one quiet time apart. Default 1.
    pub absences: u32,
    /// Answers that mean "it took effect". One that matches is enough.
    pub applied: Vec<Predicate>,
    /// Answers that mean "it was undone at the provider". They are tried before `applied`.
    pub cancelled: Vec<Predicate>,
    /// Answers that mean "there is no such thing". One that matches is enough.
    pub absent: Vec<Predicate>,
    /// Where the answer holds the provider's own id.
    pub id: Option<Pointer>,
}

impl Confirm {
    /// A confirm with the defaults. The provider is first asked after 2 s, because when an answer is lost, the work has
    /// usually been done quickly.
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
    /// The request that undoes it.
    pub request: RequestTemplate,
    /// What a second cancel does.
    pub kind: CancelKind,
    /// How long to wait before the first cancel. Default: no wait.
    pub after: Duration,
    /// Whether the provider honours an idempotency key on the cancel. Default `false`.
    pub keyed: bool,
    /// Whether a cancel that arrives before the operation makes the provider refuse the operation. Default `false`.
    pub tombstone: bool,
    /// Answers that mean "there is no such thing to undo". One that matches is enough.
    pub not_found: Vec<Predicate>,
    /// Answers that mean "it is undone already". One that matches is enough.
    pub already: Vec<Predicate>,
}

impl Cancel {
    /// A cancel with the defaults: it is sent without a wait and without a key, and a second cancel would undo a second
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

    /// Whether the cancel can be addressed without anything from an answer.
    fn by_key(&self) -> bool {
        !self.needs_confirm() && !self.needs_answer()
    }

    /// Whether the cancel is filled from the confirm's answer.
    pub(crate) fn needs_confirm(&self) -> bool {
        self.request.holes().any(|hole| matches!(hole, Hole::Confirm(_)))
    }

    /// Whether the cancel is filled from the answer with which the provider applied the action.
    pub(crate) fn needs_answer(&self) -> bool {
        self.request.holes().any(|hole| matches!(hole, Hole::Answer(_)))
    }
}

/// Everything that is declared of one operation and matters to the ledger.
#[derive(Clone, Copy, Debug)]
pub struct Declared<'a> {
    /// What a second delivery of the operation does.
    pub idempotency: Idempotency,
    /// The operation's total timeout, which is the longest time of one attempt. With `None` that time has no bound.
    pub total: Option<Duration>,
    /// Whether the declaration asks to repeat an attempt whose effect is unknown, although the repeat may take effect a
    /// second time.
    pub repeats_in_doubt: bool,
    /// How to ask the provider what became of an action.
    pub confirm: Option<&'a Confirm>,
    /// How to undo an action.
    pub cancel: Option<&'a Cancel>,
    /// The rules in force, if the operation is durable.
    pub durable: Option<&'a Rules>,
}

/// How long after its total timeout an action must be settled, unless the declaration names a time. The time is enough
/// for a commit. It is short enough that a customer is not charged for long for an order that does not exist.
const SETTLE_AFTER_TOTAL: Duration = Duration::from_secs(30);

impl Declared<'_> {
    /// The rules of a durable operation that declares no rules: the ledger's defaults, and what follows from the rest
    /// of the declaration. If an effect is unknown, the action is repeated if that is harmless. Otherwise the provider
    /// is asked if there is a confirm, and the decision is left to a person if there is none.
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

    /// The application settles the action, within this time after it was recorded. Default: the total timeout plus 30
    /// s.
    #[must_use]
    pub fn explicit(&self, within: Option<Duration>) -> SettleBy {
        let by_default = self.total.unwrap_or_default().saturating_add(SETTLE_AFTER_TOTAL);
        SettleBy::Explicit(within.unwrap_or(by_default))
    }
}
