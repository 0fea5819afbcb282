//! What an operation declares of its provider: the settings that the protocol depends on.
//!
//! The defaults are the cautious ones.

use std::time::Duration;

use seawall_policy::{Backoff, Idempotency};

/// What to do with an unknown effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnUnknown {
    /// Send it again: same key, same bytes.
    Repeat,
    /// Ask the status API.
    Confirm,
    /// Undo it, whether or not it took effect.
    Cancel,
    /// Leave it to a person.
    Hold,
}

/// Who says that our side has taken the outcome in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SettleBy {
    /// The answer itself.
    Reply,
    /// The application, within this time of the record; else the effect is cancelled.
    Explicit(Duration),
}

/// What asking means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConfirmRules {
    /// How long after the attempt's end to ask first. Default 2 s.
    pub after: Duration,
    /// So many times "absent" after the quiet time, spaced by it, before it is believed. Default 1.
    pub absences: u32,
}

/// What a second cancel of one effect does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelKind {
    /// Nothing: it sets a state.
    State,
    /// It undoes once more: refunds add up. The default.
    Additive,
}

/// What undoing means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CancelRules {
    /// What a second one does.
    pub kind: CancelKind,
    /// The provider honours a key on the cancel. Default no.
    pub keyed: bool,
    /// A cancel of something unknown is remembered, and a later perform refused. Default no.
    pub tombstone: bool,
    /// It can be addressed by our own key; otherwise only by an id from the answer or from confirm. Default no.
    pub by_key: bool,
    /// How long to wait before the first. Default 0.
    pub after: Duration,
}

/// How often each thing is tried before a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Perform attempts. Default 5.
    pub perform: u32,
    /// Cancel attempts. Default 20.
    pub cancel: u32,
    /// Questions. Default 50.
    pub confirm: u32,
}

/// Everything that the machine must know of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// What a second delivery does.
    pub idempotency: Idempotency,
    /// What to do with a doubt. Default: `repeat` for keyed and idempotent, else `confirm` where declared, else `hold`.
    pub on_unknown: OnUnknown,
    /// Who settles. Default: the reply.
    pub settle: SettleBy,
    /// How long what was provably not sent is tried again. Default 10 min.
    pub give_up: Duration,
    /// After the last possible send: how long until "not found" is believed. Default 2 min.
    pub quiet: Duration,
    /// How long the provider remembers a key. Default 24 h.
    pub key_lifetime: Duration,
    /// How to ask, if one can.
    pub confirm: Option<ConfirmRules>,
    /// How to undo, if one can.
    pub cancel: Option<CancelRules>,
    /// Statuses that prove that the key was looked up: a "no" of them, sent after the quiet time, speaks for earlier attempts.
    pub refusal_binds: Vec<u16>,
    /// The provider saves refusals under the key. Default no.
    pub saves_refusals: bool,
    /// What is absent may be sent again although the provider knows no keys. Default no.
    pub resend_absent: bool,
    /// How long after an end by absence to ask once more. Default 24 h.
    pub audit_after: Duration,
    /// How often.
    pub limits: Limits,
    /// D: how long one attempt may take. Default 30 s.
    pub attempt: Duration,
    /// L: how long a claim lasts; longer than `attempt`. Default 2 min.
    pub lease: Duration,
    /// N: the longest that a sent request may be on its way. Default 5 s.
    pub network: Duration,
    /// P: the longest pause between a check and the write behind it. Default 5 s.
    pub pause: Duration,
    /// Between tries of any kind. Default 1 s doubling to 60 s.
    pub backoff: Backoff,
}

impl Rules {
    /// The cautious defaults for an idempotency.
    #[must_use]
    pub fn of(idempotency: Idempotency) -> Rules {
        let on_unknown = match idempotency {
            Idempotency::Safe | Idempotency::Idempotent | Idempotency::Keyed => OnUnknown::Repeat,
            Idempotency::None => OnUnknown::Hold,
        };
        Rules {
            idempotency,
            on_unknown,
            settle: SettleBy::Reply,
            give_up: Duration::from_secs(600),
            quiet: Duration::from_secs(120),
            key_lifetime: Duration::from_secs(24 * 3600),
            confirm: None,
            cancel: None,
            refusal_binds: Vec::new(),
            saves_refusals: false,
            resend_absent: false,
            audit_after: Duration::from_secs(24 * 3600),
            limits: Limits { perform: 5, cancel: 20, confirm: 50 },
            attempt: Duration::from_secs(30),
            lease: Duration::from_secs(120),
            network: Duration::from_secs(5),
            pause: Duration::from_secs(5),
            backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(60) },
        }
    }
}
