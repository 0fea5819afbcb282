//! What an operation declares of its provider, as far as the protocol depends on it.
//!
//! The defaults are cautious.

use std::time::Duration;

use seawall_policy::{Backoff, Idempotency};

/// What to do when it is not known whether an attempt took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnUnknown {
    /// Send it again, with the same key and the same bytes.
    Repeat,
    /// Ask the provider's status API.
    Confirm,
    /// Cancel it, whether or not it took effect.
    Cancel,
    /// Leave it to a person: the action becomes stuck.
    Hold,
}

/// How our side takes the outcome in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SettleBy {
    /// The answer itself settles the action.
    Reply,
    /// The application settles it within this time after it was recorded. Otherwise the effect is cancelled.
    Explicit(Duration),
}

/// How the provider is asked what became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConfirmRules {
    /// How long after an attempt has ended the provider is first asked. Default 2 s.
    pub after: Duration,
    /// The number of times that the provider must answer "absent" before it is believed. Default 1. Only questions that
    /// are asked after the quiet time count, and they must be at least one quiet time apart.
    pub absences: u32,
}

/// What a second cancel of one effect does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelKind {
    /// Nothing happens: it sets a state.
    State,
    /// It undoes once more, as a second refund does. This is the default.
    Additive,
}

/// How an effect is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CancelRules {
    /// What a second cancel does.
    pub kind: CancelKind,
    /// Whether the provider honours a key on the cancel. Default no.
    pub keyed: bool,
    /// Whether the provider remembers the cancel of an action that it does not know, and refuses a later perform.
    /// Default no.
    pub tombstone: bool,
    /// Whether a cancel can name the effect by our own key. Otherwise it needs an id from the answer or from confirm.
    /// Default no.
    pub by_key: bool,
    /// How long to wait before the first cancel. Default 0 s.
    pub after: Duration,
}

/// How often each kind of request is tried. After that the action is stuck, or fails if it cannot have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The most perform attempts. Default 5.
    pub perform: u32,
    /// The most cancel attempts. Default 20.
    pub cancel: u32,
    /// The most questions. Default 50. After the end of an action they do not stop, but become rare.
    pub confirm: u32,
}

/// Everything that the machine must know of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// What a second delivery of the same request does.
    pub idempotency: Idempotency,
    /// What to do with an unknown effect. [`Rules::of`] sets repeat for safe, idempotent and keyed operations, and hold
    /// for all others.
    pub on_unknown: OnUnknown,
    /// How the action is settled. Default: by the provider's answer.
    pub settle: SettleBy,
    /// As long as no attempt can have taken effect, the action is tried for this time after it was recorded, and then
    /// fails. Default 10 min.
    pub give_up: Duration,
    /// How long after the last possible send an attempt may still take effect. "Not found" is believed only after this
    /// time. Default 2 min.
    pub quiet: Duration,
    /// For how long the provider remembers a key. Default 24 h.
    pub key_lifetime: Duration,
    /// How the provider is asked; `None` if it cannot be asked.
    pub confirm: Option<ConfirmRules>,
    /// How an effect is undone; `None` if it cannot be undone.
    pub cancel: Option<CancelRules>,
    /// The statuses that prove that the provider has looked up the key. If an attempt that was recorded after the quiet
    /// time is refused with one of them, the refusal also holds for the earlier attempts.
    pub refusal_binds: Vec<u16>,
    /// Whether the provider saves a refusal under the key, so that it also holds for earlier attempts. Default no.
    pub saves_refusals: bool,
    /// Whether an action that is believed absent may be sent again although the provider knows no keys. Default no.
    pub resend_absent: bool,
    /// How long after an action was ended as absent the provider is asked about it once more. Default 24 h.
    pub audit_after: Duration,
    /// How often each kind of request is tried.
    pub limits: Limits,
    /// The longest time that one attempt may take. Default 30 s.
    pub attempt: Duration,
    /// How long a claim lasts. It must be longer than `attempt`. Default 2 min.
    pub lease: Duration,
    /// The longest time that a request may be on its way after it was sent. Default 5 s.
    pub network: Duration,
    /// The longest pause of a process between a check and the write that follows it. Default 5 s.
    pub pause: Duration,
    /// The wait between tries of any kind. Default 1 s, which doubles up to 60 s.
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
