//! Settings of actions: what is recorded, asked about, undone and compared.

use std::fmt;
use std::time::Duration;

use seawall_policy::Predicate;

use super::hidden::Secret;
use super::template::{JsonTemplate, Pointer, RequestTemplate};

/// `[ledger]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ledger {
    /// `sqlite:FILE` or `postgres://…`.
    pub url: Secret,
    /// How long a claim on an action holds.
    pub lease: Duration,
}

/// How often each kind of request of one action is tried before it is `stuck`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// Performs.
    pub perform: u32,
    /// Cancels.
    pub cancel: u32,
    /// Questions.
    pub confirm: u32,
}

/// Who says that an outcome was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// The answer to the caller does.
    Reply,
    /// The caller does, within this time, or the effect is cancelled.
    Explicit {
        /// Counted from the record.
        within: Duration,
    },
}

/// What to do when nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// Send the same again, with the same key.
    Repeat,
    /// Ask.
    Confirm,
    /// Undo.
    Cancel,
    /// Wait for a person.
    Hold,
}

impl OnUnknown {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            OnUnknown::Repeat => "repeat",
            OnUnknown::Confirm => "confirm",
            OnUnknown::Cancel => "cancel",
            OnUnknown::Hold => "hold",
        }
    }
}

impl fmt::Display for OnUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An operation that is recorded before it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Durable {
    /// Who says that the outcome was taken in.
    pub settle: Settle,
    /// How long what was provably not sent is tried.
    pub give_up: Duration,
    /// What to do when nobody knows.
    pub on_unknown: OnUnknown,
    /// How long after the last possible send "not found" is believed.
    pub quiet: Duration,
    /// How long the other side remembers a key.
    pub key_lifetime: Duration,
    /// Statuses of a refusal that prove that the key was looked up.
    pub refusal_binds: Vec<u16>,
    /// Whether the other side saves refusals under the key.
    pub saves_refusals: bool,
    /// Whether what is believed absent may be sent again although it has no key.
    pub resend_absent: bool,
    /// How long after its end what was closed by absence is asked about once more.
    pub audit_after: Duration,
    /// Bounds on tries.
    pub attempts: Attempts,
    /// How long the network may hold a request back.
    pub network: Duration,
    /// How long a process may stand still between check and send.
    pub pause: Duration,
}

/// The other side's status API.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirm {
    /// The question.
    pub request: RequestTemplate,
    /// Its body.
    pub json: Option<JsonTemplate>,
    /// When it is first asked.
    pub after: Duration,
    /// Answers that mean "it took effect"; any of them.
    pub applied: Vec<Predicate>,
    /// Answers that mean "it was undone there".
    pub cancelled: Vec<Predicate>,
    /// Answers that mean "not found".
    pub absent: Vec<Predicate>,
    /// Where the answer has the other side's own id.
    pub id: Option<Pointer>,
}

/// What a second cancel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelKind {
    /// It adds up: two refunds refund twice.
    Additive,
    /// It sets a state: cancelled stays cancelled.
    State,
}

/// How an operation is undone.
#[derive(Clone, Debug, PartialEq)]
pub struct Cancel {
    /// The request.
    pub request: RequestTemplate,
    /// Its body.
    pub json: Option<JsonTemplate>,
    /// What a second one does.
    pub kind: CancelKind,
    /// Wait so long before the first.
    pub after: Duration,
    /// Whether the other side honours a key on it.
    pub keyed: bool,
    /// Whether a cancel that comes first makes the other side refuse the operation later.
    pub tombstone: bool,
    /// Answers that mean "there is no such thing".
    pub not_found: Vec<Predicate>,
    /// Answers that mean "that is cancelled already".
    pub already: Vec<Predicate>,
}

/// `[dependency.NAME.reconcile]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconcile {
    /// How often.
    pub every: Duration,
    /// The partner's time zone, an IANA name.
    pub zone: String,
    /// The other side's list.
    pub list: RequestTemplate,
    /// Where a page has its items.
    pub items: Pointer,
    /// Where a page has the cursor of the next.
    pub next: Option<Pointer>,
    /// Where an item has our key.
    pub key: Pointer,
    /// Where an item has its amount.
    pub amount: Option<Pointer>,
    /// Where an item has its state, and what the states mean.
    pub state: ReconcileState,
}

/// States of the other side's list.
#[derive(Clone, Debug, PartialEq)]
pub struct ReconcileState {
    /// Where an item has it.
    pub pointer: Pointer,
    /// States that mean "it took effect".
    pub applied: Vec<String>,
    /// States that mean "it was undone".
    pub cancelled: Vec<String>,
}
