//! The part of an action's row that changes.

use super::Stamp;

/// What is wanted of the provider. The goal can change once, from perform to cancel, and never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Goal {
    /// The effect is to exist.
    Perform,
    /// The effect is not to exist. If something was sent, it is undone.
    Cancel,
}

/// What is known of the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Known {
    /// No attempt can still take effect: none was made, or each was proved unsent, or all are believed absent.
    Never,
    /// An attempt may have taken effect, or may still do so.
    Unknown,
    /// It took effect. Only a successful cancel changes this.
    Applied,
    /// It did not take effect and will not, or it was undone.
    NotApplied(NotApplied),
}

/// Why it is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotApplied {
    /// The provider said no, for every attempt.
    Refused,
    /// It was cancelled, or it was found to be cancelled.
    Cancelled,
    /// After the quiet time the provider did not know of it.
    Absent,
    /// A cancel was answered with "no such" after the quiet time.
    NoSuch,
    /// A person said so.
    Resolved,
}

/// How a row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// It is applied, and our side has taken that in.
    Done,
    /// It is not applied, and our side knows that.
    Failed,
    /// It was undone, or it was never done.
    Cancelled,
    /// No rule says how to go on, so a person must look at it.
    Stuck,
}

/// Several actions that settle together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The common name of the actions, such as the id of an order.
    pub name: String,
    /// The number of the actions. It is fixed when the first one is recorded.
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

/// The random id of a worker's process. A restarted process has another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u128);

/// The changing part of an action's row.
///
/// `version` counts every change, and the compare-and-set compares it. `fence` counts the claims. From `fence` and
/// `owner` together a worker knows whether the row is still its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The number of changes of this row.
    pub version: u64,
    /// What is wanted of the provider.
    pub goal: Goal,
    /// What is known of the effect.
    pub known: Known,
    /// The number of perform attempts that may still take effect.
    pub open_attempts: u32,
    /// The number of perform attempts that may have been sent since a person last started the action again.
    pub attempts: u32,
    /// The number of perform attempts that may ever have been sent. If an attempt is proved unsent, it is subtracted
    /// again.
    pub maybe_sent: u32,
    /// The number of lines in the attempt log, of every kind. The next line gets this number plus one. It never
    /// decreases.
    pub logged: u32,
    /// The number of the log line whose attempt the owner has under way. The ending of any other attempt is late.
    pub in_flight: Option<u32>,
    /// The number of questions asked since a person last started the action again, or since the last answer that
    /// helped. While the application's handler fails, the number of times that it was run.
    pub asks: u32,
    /// How often the provider answered "absent" after the quiet time, since the last attempt.
    pub absences: u32,
    /// Whether our side has taken the outcome in.
    pub settled: bool,
    /// How the row ended; `None` while something is still to be done.
    pub end: Option<End>,
    /// Why it is stuck, failed, cancelled or delayed, as a short phrase for people.
    pub why: Option<String>,
    /// The worker process that has claimed the row.
    pub owner: Option<Owner>,
    /// The number of claims so far.
    pub fence: u64,
    /// Until when the owner may work on it.
    pub lease_until: Stamp,
    /// Nothing is to be done before this time.
    pub next_at: Stamp,
    /// "Not found" is believed if the provider was asked at this time or later. It is the latest `send_by` of a perform
    /// attempt plus the quiet time.
    pub quiet_until: Option<Stamp>,
    /// When the first attempt may have been sent. The provider's memory of the key did not begin before this time.
    pub key_first_at: Option<Stamp>,
    /// The application must have settled the action by then. Otherwise the effect is cancelled.
    pub settle_by: Option<Stamp>,
    /// What the provider answered when the effect became known to be applied. `{answer:/…}` and `{confirm:/…}` are read
    /// from it.
    pub answer: Option<Vec<u8>>,
    /// The generation of the cancel key, from 0.
    pub cancel_gen: u32,
    /// Whether the current generation was first sent before the quiet time was over. If so, its "no such" is not
    /// believed.
    pub cancel_gen_early: bool,
    /// The number of cancels of this generation that may have been sent. At zero, its key was never used.
    pub cancel_open: u32,
    /// The number of cancel attempts since a person last started the action again.
    pub cancel_tries: u32,
    /// If the provider is asked at this time or later about a cancel without an answer, what it says is believed.
    pub cancel_quiet_until: Option<Stamp>,
    /// Whether the action ended because the provider did not know it. The provider is asked once more at `audit_at`.
    pub closed_by_absence: bool,
    /// When the provider is asked once more after the end.
    pub audit_at: Option<Stamp>,
}

impl State {
    /// When a worker should next work on the row; `None` if nothing is to be done. A store keeps this in an indexed
    /// column.
    #[must_use]
    pub fn due_at(&self) -> Option<Stamp> {
        match self.end {
            None => Some(self.next_at.max(self.lease_until)),
            Some(End::Failed | End::Cancelled) => self.audit_at.map(|at| at.max(self.lease_until)),
            Some(End::Done | End::Stuck) => None,
        }
    }
}
