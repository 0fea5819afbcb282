//! What an operation declares of its provider: the settings that the protocol depends on.
//!
//! The defaults are the cautious ones.

use std::time::Duration;

use seawall_policy::{Backoff, Idempotency};

/// What to do with an unknown effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnUnknown {
    /// Send it again, with the same key and the same bytes.
    Repeat,
    /// Ask the provider's status API.
    Confirm,
    /// Undo it, whether or not it took effect.
    Cancel,
    /// Leave it to a person.
    Hold,
}

/// How our side takes the outcome in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SettleBy {
    /// The answer itself settles the action.
    Reply,
    /// The application settles it within this time of the record. Otherwise the effect is cancelled.
    Explicit(Duration),
}

/// What asking means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConfirmRules {
    /// How long after the attempt's end to ask first. Default 2 s.
    pub after: Duration,
    /// How many answers "absent" after the quiet time, at least one quiet time apart, it takes to believe it. Default
    /// 1.
    pub absences: u32,
}

/// What a second cancel of one effect does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelKind {
    /// Nothing happens: it sets a state.
    State,
    /// It undoes once more: refunds add up. This is the default.
    Additive,
}

/// What undoing means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CancelRules {
    /// What a second cancel does.
    pub kind: CancelKind,
    /// Whether the provider honours a key on the cancel. Default no.
    pub keyed: bool,
    /// Whether a cancel of something unknown is remembered, so that a later perform is refused. Default no.
    pub tombstone: bool,
    /// Whether it can be addressed by our own key. Otherwise it needs an id from the answer or from confirm. Default
    /// no.
    pub by_key: bool,
    /// How long to wait before the first cancel. Default 0.
    pub after: Duration,
}

/// How often each thing is tried before a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The most perform attempts. Default 5.
    pub perform: u32,
    /// The most cancel attempts. Default 20.
    pub cancel: u32,
    /// The most questions. Default 50.
    pub confirm: u32,
}

/// Everything that the machine must know of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// What a second delivery does.
    pub idempotency: Idempotency,
    /// What to do with an unknown effect. Default: `repeat` for keyed and idempotent operations, else `confirm` where
    /// it is declared, else `hold`.
    pub on_unknown: OnUnknown,
    /// How the action is settled. Default: by the answer.
    pub settle: SettleBy,
    /// How long an attempt that was provably not sent is tried again. Default 10 min.
    pub give_up: Duration,
    /// How long after the last possible send it takes until "not found" is believed. Default 2 min.
    pub quiet: Duration,
    /// How long the provider remembers a key. Default 24 h.
    pub key_lifetime: Duration,
    /// How to ask, if asking is possible.
    pub confirm: Option<ConfirmRules>,
    /// How to undo, if undoing is possible.
    pub cancel: Option<CancelRules>,
    /// Statuses that prove that the key was looked up. A "no" with one of them, sent after the quiet time, speaks for
    /// earlier attempts.
    pub refusal_binds: Vec<u16>,
    /// Whether the provider saves refusals under the key. Default no.
    pub saves_refusals: bool,
    /// Whether what is absent may be sent again although the provider knows no keys. Default no.
    pub resend_absent: bool,
    /// How long after an end by absence it is asked once more. Default 24 h.
    pub audit_after: Duration,
    /// How often it is asked then.
    pub limits: Limits,
    /// D: the longest time that one attempt may take. Default 30 s.
    pub attempt: Duration,
    /// L: how long a claim lasts. It is longer than `attempt`. Default 2 min.
    pub lease: Duration,
    /// N: the longest time that a sent request may be on its way. Default 5 s.
    pub network: Duration,
    /// P: the longest pause between a check and the write behind it. Default 5 s.
    pub pause: Duration,
    /// The wait between tries of any kind. Default 1 s, doubling to 60 s.
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
