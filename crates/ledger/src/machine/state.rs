//! The part of an action's row that changes.

use super::Stamp;

/// What the application wants of the provider. The goal can change once, from perform to cancel, and never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Goal {
    /// The effect is to exist.
    Perform,
    /// The effect is not to exist. If something was sent, it is undone.
    Cancel,
}

/// What is known of the effect at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Known {
    /// No attempt can still take effect: none was made, or each was proved unsent, or the provider said that it knows
    /// none and is believed.
    Never,
    /// An attempt may have taken effect, or may still take effect.
    Unknown,
    /// The effect exists. Only a successful cancel changes this.
    Applied,
    /// The effect does not exist and never will, or it was undone. The value is the reason.
    NotApplied(NotApplied),
}

/// The reason why an action is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotApplied {
    /// The provider refused the action, and the refusal holds for every attempt.
    Refused,
    /// The action was cancelled, or the provider reported it as cancelled.
    Cancelled,
    /// The provider said, after the quiet time, that it does not know the action.
    Absent,
    /// The provider answered a cancel, after the quiet time, that there is no such effect.
    NoSuch,
    /// A person decided that the effect does not exist.
    Resolved,
}

/// The way in which a row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The action is applied, and our side has taken that in.
    Done,
    /// The action is not applied, and our side knows that.
    Failed,
    /// The action was undone, or it was never done.
    Cancelled,
    /// No rule says how to go on, so a person must look at it.
    Stuck,
}

/// A group of actions that settle together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The common name of the actions, such as the id of an order.
    pub name: String,
    /// The number of actions in the scope. It is fixed when the first of them is recorded.
    pub size: u32,
}

/// The part of a row that never changes, as far as the machine needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// When the action was recorded.
    pub created: Stamp,
    /// Whether the action settles together with others.
    pub scoped: bool,
}

/// The random id of a worker's process. A process that is started again has another id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u128);

/// The changing part of an action's row.
///
/// `version` counts the changes, and the compare-and-set compares it. `fence` counts the claims. From `fence` and
/// `owner` together a worker knows whether the row is still its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The version of this row: 1 when it is recorded, and one more with each change.
    pub version: u64,
    /// What the application wants of the provider.
    pub goal: Goal,
    /// What is known of the effect at the provider.
    pub known: Known,
    /// The number of perform attempts that may still take effect.
    pub open_attempts: u32,
    /// The number of perform attempts that may have been sent since a person last started the action again.
    pub attempts: u32,
    /// The number of perform attempts that may ever have been sent. An attempt that is proved unsent no longer counts.
    pub maybe_sent: u32,
    /// The number of the last line in the attempt log, of any kind; 0 before the first line. The next line gets this
    /// number plus one. It never decreases.
    pub logged: u32,
    /// The number of the log line whose attempt is under way; `None` if no attempt is. If another attempt reports its
    /// end, that report is late.
    pub in_flight: Option<u32>,
    /// The number of questions since the last time that a person started the action again, that the goal changed, or
    /// that an answer decided whether the effect exists. While the application's handler fails, this field counts the
    /// failed runs of the handler instead.
    pub asks: u32,
    /// The number of answers "absent" after the quiet time, since the last attempt.
    pub absences: u32,
    /// Whether our side has taken the outcome in.
    pub settled: bool,
    /// How the row ended; `None` while it has not ended.
    pub end: Option<End>,
    /// Why the row is stuck, failed, cancelled or delayed, as a short phrase for people. `None` if there is nothing to
    /// explain.
    pub why: Option<String>,
    /// The worker process that has claimed the row; `None` if no process has.
    pub owner: Option<Owner>,
    /// The number of claims so far.
    pub fence: u64,
    /// The time until which the owner may work on the row.
    pub lease_until: Stamp,
    /// The time before which nothing is to be done with the row.
    pub next_at: Stamp,
    /// The end of the quiet time: the latest `send_by` of a perform attempt plus the declared quiet time. The answer
    /// "not found" is believed only if the question was asked at this time or later. `None` if no attempt may have been
    /// sent.
    pub quiet_until: Option<Stamp>,
    /// The earliest time at which the first attempt may have been sent. Before this time the provider cannot have known
    /// the key. `None` if no attempt may have been sent.
    pub key_first_at: Option<Stamp>,
    /// The time by which the application must have settled the action. Otherwise the effect is cancelled. `None` if the
    /// provider's answer settles the action, or while no worker has seen an action that plain SQL recorded.
    pub settle_by: Option<Stamp>,
    /// The provider's answer from which the effect became known to be applied. The values for the holes `{answer:/…}`
    /// and `{confirm:/…}` of a declared request are read from this answer. `None` if there is no answer, or if it was
    /// too long to be kept.
    pub answer: Option<Vec<u8>>,
    /// The generation of the cancel key, from 0.
    pub cancel_gen: u32,
    /// Whether the first cancel of the current generation was sent before the quiet time was over. If so, an answer "no
    /// such" to this generation is not believed.
    pub cancel_gen_early: bool,
    /// The number of cancels of the current generation that may have been sent. If this number is zero, the key of this
    /// generation was never used.
    pub cancel_open: u32,
    /// The number of cancel attempts since a person last started the action again.
    pub cancel_tries: u32,
    /// The end of the quiet time of the current generation's cancels. If a question is asked at this time or
    /// later, its answer "applied" proves that these cancels had no effect, and its answer "not found" is believed.
    /// `None` if no cancel of this generation may have been sent.
    pub cancel_quiet_until: Option<Stamp>,
    /// Whether the action ended because the provider did not know it. The provider is asked once more at `audit_at`.
    pub closed_by_absence: bool,
    /// When the provider is asked once more after the end of the row; `None` if it is not asked any more.
    pub audit_at: Option<Stamp>,
}

impl State {
    /// Returns when a worker should next work on the row; `None` if nothing is to be done. A store keeps this time in
    /// an indexed column.
    #[must_use]
    pub fn due_at(&self) -> Option<Stamp> {
        match self.end {
            None => Some(self.next_at.max(self.lease_until)),
            Some(End::Failed | End::Cancelled) => self.audit_at.map(|at| at.max(self.lease_until)),
            Some(End::Done | End::Stuck) => None,
        }
    }
}
