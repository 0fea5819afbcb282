//! The rules of an operation: what the application declares about the provider, as far as the protocol depends on it.
//! The defaults are cautious.

use std::time::Duration;

use seawall_policy::{Backoff, Idempotency};

use super::Stamp;
use super::state::{OpenCancels, Sent};
use crate::calendar::{Lifetime, Window};
use crate::keys::KeyRules;

/// What to do if it is not known whether an attempt took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnUnknown {
    /// Send the request again, with its key and its bytes unchanged.
    Repeat,
    /// Ask the provider's status API.
    Confirm,
    /// Cancel the action, whether or not it took effect.
    Cancel,
    /// Leave it to a person: the action becomes stuck.
    Hold,
}

/// How an action is settled: by the provider's answer alone, or by the application, which takes the outcome into its
/// own data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SettleBy {
    /// The provider's answer settles the action; the application need not do anything.
    Reply,
    /// The application settles the action within this time after its recording. Otherwise the effect is cancelled.
    Explicit(Duration),
}

/// The rules for asking the provider what became of an action.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConfirmRules {
    /// The wait between the end of an attempt and the first question. Default 2 s.
    pub after: Duration,
    /// The number of answers "absent" after which the provider is believed. Default 1. Only questions that are asked
    /// after the quiet time ([`Rules::quiet`]) count, and they must be at least one quiet time apart.
    pub absences: u32,
    /// Until when the provider can be asked about an action, counted from the first send. Nothing is asked later, since
    /// the answer "not found" would say nothing. `None` (the default) if the provider can be asked for ever.
    pub until: Option<Window>,
}

impl Default for ConfirmRules {
    fn default() -> ConfirmRules {
        ConfirmRules { after: Duration::from_secs(2), absences: 1, until: None }
    }
}

/// What a second cancel of one effect does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelKind {
    /// A second cancel changes nothing, because a cancel only sets a state.
    State,
    /// A second cancel undoes the effect once more, as a second refund does. This is the default.
    Additive,
}

/// The rules for undoing an effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CancelRules {
    /// What a second cancel of one effect does. Default [`CancelKind::Additive`].
    pub kind: CancelKind,
    /// Whether the provider honours a key on the cancel, so that a repeat with the same key undoes nothing again.
    /// Default no.
    pub keyed: bool,
    /// Whether the provider remembers the cancel of an action that it does not know, and refuses that action if it
    /// arrives later. Default no.
    pub tombstone: bool,
    /// Whether a cancel can name the effect by the key under which the action was sent. If not, the cancel needs an id
    /// from the provider's answer, or from the answer to a question. Default no.
    pub by_key: bool,
    /// The wait before the first cancel. It begins when the goal changes to cancel, and begins again if the provider
    /// then says that the effect exists. Default 0 s.
    pub after: Duration,
    /// The number of answers "no such" to a cancel after which it is believed that the effect does not exist. The
    /// default is 1. Only cancels that were first sent after the quiet time ([`Rules::quiet`]) count, and they must be
    /// at least one quiet time apart.
    pub absences: u32,
    /// Until when the provider takes a cancel of an action, counted from the first send of the action. `None` (the
    /// default) if it always takes one.
    pub until: Option<Window>,
    /// Whether the provider must be asked directly before each cancel, because the cancel names what is left to undo.
    /// Default no.
    pub asks_first: bool,
}

impl Default for CancelRules {
    fn default() -> CancelRules {
        CancelRules {
            kind: CancelKind::Additive,
            keyed: false,
            tombstone: false,
            by_key: false,
            after: Duration::ZERO,
            absences: 1,
            until: None,
            asks_first: false,
        }
    }
}

/// The maximum number of requests of each kind that are sent for one action. After that number the action is stuck, or
/// fails if it cannot have taken effect. A request that was provably not sent does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The maximum number of perform attempts. Default 5.
    pub perform: u32,
    /// The maximum number of cancel attempts. `None` (the default) if only [`Rules::stuck_after`] bounds them. In an
    /// outage, the number of failed cancels says nothing about the action.
    pub cancel: Option<u32>,
    /// The maximum number of questions. `None` (the default) if only [`Rules::stuck_after`] bounds them. Questions that
    /// are asked after the end of an action do not stop at this number, but become rare.
    pub confirm: Option<u32>,
}

/// The rules of one operation: everything that the machine must know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// What a second delivery of the same request does.
    pub idempotency: Idempotency,
    /// What to do with an unknown effect. [`Rules::of`] chooses [`OnUnknown::Repeat`] for safe and idempotent
    /// operations, and [`OnUnknown::Hold`] for all others. [`Rules::remembered`] chooses [`OnUnknown::Repeat`] for a
    /// keyed operation.
    pub on_unknown: OnUnknown,
    /// How the action is settled. Default: by the provider's answer.
    pub settle: SettleBy,
    /// How long an action is tried while no attempt can have taken effect, counted from its recording. After that time
    /// it fails. If an attempt may have taken effect, this time is not used, and `on_unknown` decides what is done.
    /// Default 10 min.
    pub give_up: Duration,
    /// How long after the last possible send an attempt may still take effect. The answer "not found" is believed only
    /// after this time. Default 2 min.
    pub quiet: Duration,
    /// For how long the provider remembers a key, counted from the first attempt. An attempt that could arrive later is
    /// not sent. `None` (the default) if nobody declared it. Then nothing is sent a second time under a key, and a
    /// cancel with a key is not sent a second time either.
    pub key_lifetime: Option<Lifetime>,
    /// Which keys the provider takes. The caller's key is sent as it is if it fits, and mapped to one that fits
    /// otherwise. By default, each key that a header can carry fits.
    pub keys: KeyRules,
    /// How the provider is asked; `None` if it cannot be asked.
    pub confirm: Option<ConfirmRules>,
    /// How an effect is undone; `None` if it cannot be undone.
    pub cancel: Option<CancelRules>,
    /// The statuses with which the provider refuses only after it has looked up the key. A refusal with such a status
    /// can also prove that the earlier attempts took no effect. It does so if the refused attempt was recorded after
    /// the quiet time of the earlier attempts, when none of them could still arrive.
    pub refusal_binds: Vec<u16>,
    /// Whether the provider saves a refusal under the key. If so, the refusal holds for earlier attempts with this key,
    /// too. Default no.
    pub saves_refusals: bool,
    /// Whether an action that is believed absent may be sent again although the provider knows no keys. Default no.
    pub resend_absent: bool,
    /// If an action ends because the provider did not know it, the provider is asked once more after this time. Default
    /// 24 h.
    pub audit_after: Duration,
    /// The maximum number of requests of each kind that are sent for one action.
    pub limits: Limits,
    /// For how long questions and cancels are tried without a result. The time begins with the first question or cancel
    /// that brings no result. It begins anew after each result. Once it is over, the next question or cancel without a
    /// result makes the action stuck. So even after an outage that is longer than this time, a request is sent before
    /// the action is stuck. Default 24 h. The windows of the provider ([`ConfirmRules::until`], [`CancelRules::until`])
    /// may end earlier. Questions that are asked after the end of an action do not stop after this time, but become
    /// rare.
    pub stuck_after: Duration,
    /// The longest time that one attempt may take. Default 30 s.
    pub attempt: Duration,
    /// The time for which a claim lasts. It must be longer than `attempt`. Default 2 min.
    pub lease: Duration,
    /// The longest time that a request may travel to the provider after it was sent. Default 5 s.
    pub network: Duration,
    /// The longest time for which the process may stand still between its last check and the sending of a request.
    /// Default 5 s. Together with `attempt` and `network` it says how late an attempt may arrive, and whether the
    /// provider still remembers the key then.
    pub pause: Duration,
    /// The wait after a failed request or a failed handler, before the next one. The wait is random, below a bound. By
    /// default the bound is 1 s after the first failure, and doubles with each further one up to 60 s.
    pub backoff: Backoff,
}

impl Rules {
    /// Returns the cautious default rules for an operation with this idempotency.
    #[must_use]
    pub fn of(idempotency: Idempotency) -> Rules {
        let on_unknown = match idempotency {
            Idempotency::Safe | Idempotency::Idempotent => OnUnknown::Repeat,
            // Without a key, a repeat could take effect twice. With a key, a repeat is safe only while the provider
            // remembers the key, and these default rules do not know how long that is. So in both cases a person
            // decides.
            Idempotency::Keyed | Idempotency::None => OnUnknown::Hold,
        };
        Rules {
            idempotency,
            on_unknown,
            settle: SettleBy::Reply,
            give_up: Duration::from_secs(600),
            quiet: Duration::from_secs(120),
            key_lifetime: None,
            keys: KeyRules::default(),
            confirm: None,
            cancel: None,
            refusal_binds: Vec::new(),
            saves_refusals: false,
            resend_absent: false,
            audit_after: Duration::from_secs(24 * 3600),
            limits: Limits { perform: 5, cancel: None, confirm: None },
            stuck_after: Duration::from_secs(24 * 3600),
            attempt: Duration::from_secs(30),
            lease: Duration::from_secs(120),
            network: Duration::from_secs(5),
            pause: Duration::from_secs(5),
            backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(60) },
        }
    }

    /// Returns these rules with the time for which the provider remembers a key. If the operation is keyed and
    /// `on_unknown` is [`OnUnknown::Hold`], `on_unknown` becomes [`OnUnknown::Repeat`]: a request with an unknown
    /// effect is sent again under the same key.
    #[must_use]
    pub fn remembered(self, lifetime: Lifetime) -> Rules {
        let on_unknown = match (self.idempotency, self.on_unknown) {
            (Idempotency::Keyed, OnUnknown::Hold) => OnUnknown::Repeat,
            (_, declared) => declared,
        };
        Rules { key_lifetime: Some(lifetime), on_unknown, ..self }
    }

    /// Returns whether a second delivery of a request under its key does no harm, as long as the provider remembers the
    /// key.
    pub(super) fn honours_keys(&self) -> bool {
        self.idempotency == Idempotency::Keyed && self.key_lifetime.is_some()
    }

    /// Returns the longest time between the record of a request and its arrival at the provider.
    pub(super) fn flight(&self) -> Duration {
        self.attempt.saturating_add(self.network).saturating_add(self.pause)
    }

    /// Returns when the provider forgets the key of an action; `None` if nobody declared it. The row keeps the end that
    /// was declared at the first send. If the declared lifetime has changed since then, the earlier end is returned.
    pub(super) fn key_ends(&self, sent: &Sent) -> Option<Stamp> {
        let declared = self.key_lifetime.as_ref().map(|lifetime| lifetime.end(sent.first_at))?;
        Some(sent.key_ends.map_or(declared, |stored| stored.min(declared)))
    }

    /// Returns the end of the quiet time, after which no perform attempt can still arrive. Only a question that is
    /// asked at this time or later can prove that the effect does not exist. Returns `None` if nothing may have been
    /// sent. If the declared quiet time has changed since the attempts were recorded, the later end is returned.
    pub(super) fn quiet_until(&self, sent: Option<&Sent>) -> Option<Stamp> {
        sent.map(|sent| self.quiet_end(sent.quiet_until, sent.send_by))
    }

    /// Returns the end of the quiet time of these cancels, as [`Rules::quiet_until`] does for perform attempts.
    pub(super) fn cancel_quiet_until(&self, open: &OpenCancels) -> Stamp {
        self.quiet_end(open.quiet_until, open.send_by)
    }

    fn quiet_end(&self, stored: Stamp, send_by: Option<Stamp>) -> Stamp {
        send_by.map_or(stored, |by| stored.max(by.saturating_add(self.quiet)))
    }

    /// Returns when the provider forgets the key of these cancels; `None` if it does not honour keys on cancels, or if
    /// nobody declared for how long. If the declared lifetime has changed since the first of these cancels, the earlier
    /// end is returned.
    pub(super) fn cancel_key_ends(&self, open: &OpenCancels) -> Option<Stamp> {
        let keyed = self.cancel.as_ref().is_some_and(|cancel| cancel.keyed);
        let declared = self.key_lifetime.as_ref().filter(|_| keyed)?.end(open.first_at);
        Some(open.key_ends.map_or(declared, |stored| stored.min(declared)))
    }

    /// Returns the time from which on the provider is not asked any more about an action. It is the end of the window
    /// for questions, minus `attempt` and `pause`, so that the answer still comes before the window ends. Returns
    /// `None` if no such window is declared, or if nothing was sent.
    pub(super) fn ask_by(&self, sent: Option<&Sent>) -> Option<Stamp> {
        Some(self.asked_until(sent)?.saturating_sub(self.attempt.saturating_add(self.pause)))
    }

    /// Returns the end of the window in which the provider can be asked about an action. An answer that comes later
    /// proves nothing. Returns `None` if no such window is declared, or if nothing was sent.
    pub(super) fn asked_until(&self, sent: Option<&Sent>) -> Option<Stamp> {
        let window = self.confirm.as_ref()?.until.as_ref()?;
        Some(window.end(sent?.first_at))
    }

    /// Returns whether cancels have been tried for as long as declared. `since` is the time from which on they have
    /// failed, and `open` are the cancels that may have been sent. The result is true if the last of them was recorded
    /// at least [`Rules::stuck_after`] after `since`. The end of a cancel does not count, because a worker that dies
    /// does not report it.
    pub(super) fn was_cancelled_for_too_long(
        &self,
        since: Option<Stamp>,
        open: Option<&OpenCancels>,
    ) -> bool {
        let (Some(since), Some(open)) = (since, open) else { return false };
        let last = open.quiet_until.saturating_sub(self.quiet.saturating_add(self.attempt));
        last >= since.saturating_add(self.stuck_after)
    }

    /// Returns the time from which on no cancel of an action is sent any more. It is the end of the window for
    /// cancels, minus the longest time that a cancel takes to arrive. Returns `None` if no such window is declared, or
    /// if nothing was sent.
    pub(super) fn cancel_by(&self, sent: Option<&Sent>) -> Option<Stamp> {
        let window = self.cancel.as_ref()?.until.as_ref()?;
        Some(window.end(sent?.first_at).saturating_sub(self.flight()))
    }
}
