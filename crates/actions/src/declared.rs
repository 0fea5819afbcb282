//! The declaration of a durable operation, and its defaults. [`Declared::check`] finds what is inconsistent in it.

use std::time::Duration;

use http::HeaderName;
use seawall_ledger::{CancelKind, CancelRules, ConfirmRules, Lifetime, OnUnknown, Rules, SettleBy, Window};
use seawall_policy::{Answers, Idempotency, Predicate};

use crate::template::{Hole, Pointer, RequestTemplate};

/// How the provider is asked, through its status API, what became of an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirm {
    /// The request that asks the provider.
    pub request: RequestTemplate,
    /// The time between the end of an attempt and the first question to the provider. Default 2 s.
    pub after: Duration,
    /// The number of times that the provider must answer "absent" before the ledger believes it. Answers to questions
    /// that were asked before the end of the quiet time do not count: until then, a request that was sent earlier may
    /// still arrive. The counted answers must be at least one quiet time apart. `None` (the default) means 1 if every
    /// predicate of `absent` looks at the body, and 2 otherwise. See [`Confirm::absences_wanted`].
    pub absences: Option<u32>,
    /// Predicates of answers that mean "the action took effect". One matching predicate is enough.
    pub applied: Vec<Predicate>,
    /// Predicates of answers that mean "the action was undone at the provider". These predicates are tried first.
    pub cancelled: Vec<Predicate>,
    /// Predicates of answers that mean "a part of the action was undone at the provider". So the effect exists, and the
    /// answer may say how much of it is left. These predicates are tried after `cancelled` and before `applied`.
    pub partly: Vec<Predicate>,
    /// Predicates of answers that mean "the provider knows no such action". One matching predicate is enough.
    pub absent: Vec<Predicate>,
    /// The pointer to the provider's own id of the action, in the JSON answer to a confirm (the question what became of
    /// the action). `None` (the default) if this is not declared.
    pub id: Option<Pointer>,
    /// Until when the provider can be asked about an action, counted from the first send of the action. `None` (the
    /// default) if it can be asked for ever.
    pub until: Option<Window>,
}

impl Confirm {
    /// Returns a confirm with the defaults. The provider is first asked 2 s after the attempt. By then it has usually
    /// done the work, even if its answer was lost.
    #[must_use]
    pub fn new(request: RequestTemplate) -> Confirm {
        Confirm {
            request,
            after: Duration::from_secs(2),
            absences: None,
            applied: Vec::new(),
            cancelled: Vec::new(),
            partly: Vec::new(),
            absent: Vec::new(),
            id: None,
            until: None,
        }
    }

    /// Returns the number of times that the provider must answer "absent". If no number is declared, it is 1 if every
    /// predicate of `absent` looks at the body, and 2 otherwise. A status alone may come from a server in front of the
    /// provider, such as the 404 of a load balancer while the provider is being deployed. One quiet time later, such an
    /// answer has usually stopped.
    #[must_use]
    pub fn absences_wanted(&self) -> u32 {
        self.absences.unwrap_or(if self.has_bare_absent() { 2 } else { 1 })
    }

    /// Returns whether a status alone can mean "absent".
    pub(crate) fn has_bare_absent(&self) -> bool {
        self.absent.iter().any(|predicate| predicate.fields.is_empty())
    }
}

/// How an action is undone at the provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Cancel {
    /// The request that undoes an action.
    pub request: RequestTemplate,
    /// What a second cancel of the same action does at the provider. Default: it undoes the action a second time.
    pub kind: CancelKind,
    /// The wait before the first cancel. Default: no wait.
    pub after: Duration,
    /// Whether the provider honours an idempotency key on the cancel. Default `false`.
    pub keyed: bool,
    /// Whether the provider refuses to perform an action if the request to perform it arrives after the request to
    /// cancel it. Default `false`.
    pub tombstone: bool,
    /// Predicates of answers that mean "it is undone now". These predicates are tried first. The other lists follow in
    /// the order in which they stand here. If `done` or `refused` is declared, an answer that matches no predicate of
    /// any list says nothing: it is then unknown whether the action was undone. If neither is declared, the status of
    /// such an answer decides: a 2xx then means "done".
    pub done: Vec<Predicate>,
    /// Predicates of answers that mean "it is undone already". One matching predicate is enough.
    pub already: Vec<Predicate>,
    /// Predicates of answers that mean "there is no such thing to undo". One matching predicate is enough.
    pub not_found: Vec<Predicate>,
    /// Predicates of answers that mean "not undone now, but perhaps later". The cancel is then sent again, under a new
    /// key.
    pub refused: Vec<Predicate>,
    /// Predicates of answers that mean "this cannot be undone". The action is then left to a person.
    pub never: Vec<Predicate>,
    /// Until when the provider takes a cancel of an action, counted from the first send of the action. `None` (the
    /// default) if it always takes one.
    pub until: Option<Window>,
}

impl Cancel {
    /// Returns a cancel with the defaults: it is sent without a wait and without a key, and a second cancel would undo
    /// a second time.
    #[must_use]
    pub fn new(request: RequestTemplate) -> Cancel {
        Cancel {
            request,
            kind: CancelKind::Additive,
            after: Duration::ZERO,
            keyed: false,
            tombstone: false,
            done: Vec::new(),
            already: Vec::new(),
            not_found: Vec::new(),
            refused: Vec::new(),
            never: Vec::new(),
            until: None,
        }
    }

    /// Returns whether only the declared predicates decide that a cancel is done. This is so if `done` or `refused` is
    /// declared. Otherwise an answer with a 2xx that matches no predicate also means that the cancel is done.
    #[must_use]
    pub fn declares_done(&self) -> bool {
        !self.done.is_empty() || !self.refused.is_empty()
    }

    /// Returns the number of answers "there is no such thing" after which it is believed that there is nothing to undo.
    /// It is 1 if every predicate of `not_found` looks at the body, and 2 otherwise, as for
    /// [`Confirm::absences_wanted`]. This number matters only while it is not known whether the action took effect. If
    /// the effect is known to exist, such an answer is never believed.
    #[must_use]
    pub fn absences_wanted(&self) -> u32 {
        if self.not_found.iter().any(|predicate| predicate.fields.is_empty()) { 2 } else { 1 }
    }

    /// Returns whether every hole of the cancel's request, such as `{key}`, can be filled without any answer of the
    /// provider.
    fn by_key(&self) -> bool {
        !self.needs_confirm() && !self.needs_answer()
    }

    /// Returns whether the cancel's request has a hole such as `{confirm:/id}`, which is filled from the answer to a
    /// confirm.
    pub(crate) fn needs_confirm(&self) -> bool {
        self.request.holes().any(|hole| matches!(hole, Hole::Confirm(_)))
    }

    /// Returns whether the cancel's request has a hole that is filled from the provider's answer to the operation
    /// itself (`{answer:…}`).
    pub(crate) fn needs_answer(&self) -> bool {
        self.request.holes().any(|hole| matches!(hole, Hole::Answer(_)))
    }
}

/// Everything that is declared of one operation and that matters to the ledger.
#[derive(Clone, Copy, Debug)]
pub struct Declared<'a> {
    /// What happens at the provider if the operation is delivered a second time.
    pub idempotency: Idempotency,
    /// The total timeout of a call of this operation. The ledger makes one such call for each attempt of an action, so
    /// this is the longest time of one attempt. With `None`, that time has no bound; a durable operation must have one.
    pub total: Option<Duration>,
    /// What is declared of the operation's answers.
    pub answers: &'a Answers,
    /// The statuses that are declared to mean "not processed".
    pub refuses: &'a [u16],
    /// Whether the declaration asks to repeat an attempt whose effect is unknown, although the repeat may take effect a
    /// second time.
    pub repeats_in_doubt: bool,
    /// The header in which the action's key is sent. `None` if no header is declared, or if the key is not sent. With
    /// `None`, the key of a cancel that is `keyed` is sent in `Idempotency-Key`.
    pub key_header: Option<&'a HeaderName>,
    /// How long the provider remembers a key. `None` if this is not declared.
    pub key_lifetime: Option<&'a Lifetime>,
    /// How the provider is asked what became of an action. `None` if nothing is declared.
    pub confirm: Option<&'a Confirm>,
    /// How an action is undone at the provider. `None` if nothing is declared.
    pub cancel: Option<&'a Cancel>,
    /// The ledger's rules for actions of this operation. `None` if the operation is not durable.
    pub durable: Option<&'a Rules>,
}

/// By default, an application must settle an action within the total timeout plus this time. This time is long enough
/// for the application's commit. It is short enough that a customer is not charged for long for an order that was never
/// committed.
const SETTLE_AFTER_TOTAL: Duration = Duration::from_secs(30);

impl Declared<'_> {
    /// Returns the rules of a durable operation that declares no rules: the ledger's defaults, adapted to the rest of
    /// the declaration. If an effect is unknown, the first of these that applies decides:
    ///
    /// - If a repeat is harmless, the action is repeated ([`OnUnknown::Repeat`]). That is so for an idempotent
    ///   operation. It is also so for a keyed operation, if it is declared how long the provider remembers a key.
    /// - If there is a confirm, the provider is asked ([`OnUnknown::Confirm`]).
    /// - Otherwise a person decides ([`OnUnknown::Hold`]).
    #[must_use]
    pub fn default_rules(&self) -> Rules {
        let silent = Rules::of(self.idempotency);
        let silent = match self.key_lifetime {
            Some(lifetime) => silent.remembered(lifetime.clone()),
            None => silent,
        };
        let asks = silent.on_unknown == OnUnknown::Hold && self.confirm.is_some();
        Rules {
            on_unknown: if asks { OnUnknown::Confirm } else { silent.on_unknown },
            attempt: self.total.unwrap_or(Duration::MAX),
            confirm: self.confirm.map(|confirm| ConfirmRules {
                after: confirm.after,
                absences: confirm.absences_wanted().max(1),
                until: confirm.until.clone(),
            }),
            cancel: self.cancel.map(|cancel| CancelRules {
                kind: cancel.kind,
                keyed: cancel.keyed,
                tombstone: cancel.tombstone,
                by_key: cancel.by_key(),
                after: cancel.after,
                absences: cancel.absences_wanted(),
                until: cancel.until.clone(),
                asks_first: cancel.needs_confirm(),
            }),
            ..silent
        }
    }

    /// Returns the rule that the application itself settles each action: it takes the outcome into its own data and
    /// tells the ledger so. It must do so within the time `within` after the action was recorded. With `None`, this
    /// time is the total timeout plus 30 s.
    #[must_use]
    pub fn explicit(&self, within: Option<Duration>) -> SettleBy {
        let by_default = self.total.unwrap_or_default().saturating_add(SETTLE_AFTER_TOTAL);
        SettleBy::Explicit(within.unwrap_or(by_default))
    }
}
