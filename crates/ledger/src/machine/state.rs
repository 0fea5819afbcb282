//! What a row says: everything of an action that changes.

use super::Stamp;

/// What is wanted of the provider. It goes from perform to cancel once, and never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Goal {
    /// The effect is to exist.
    Perform,
    /// The effect is not to exist, whatever has been sent.
    Cancel,
}

/// What is known of the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Known {
    /// No attempt may still take effect: none was made, or each was proved unsent, or all are believed absent.
    Never,
    /// An attempt may have taken effect, or may still do so.
    Unknown,
    /// It took effect. Only a cancel that succeeded overwrites this.
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

/// Where a row has come to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// It is applied, and our side has taken that in.
    Done,
    /// It is not applied, and our side has been told.
    Failed,
    /// It was undone, or it was never done.
    Cancelled,
    /// No rule can go on, so a person must look at it.
    Stuck,
}

/// Several actions that settle together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Their common name, such as the id of an order.
    pub name: String,
    /// How many there are. The number is fixed when the first one is recorded.
    pub size: u32,
}

/// What never changes of a row, as far as the machine must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// When it was recorded.
    pub created: Stamp,
    /// Whether it settles with others or not at all.
    pub scoped: bool,
}

/// A worker's incarnation. It is random, so that a restarted worker is another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u128);

/// The changing part of an action's row.
///
/// `version` counts every change; it is what the compare-and-set compares. `fence` counts claims; together with `owner` it
/// tells a worker whether the row is still its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Counts changes of this row.
    pub version: u64,
    /// What is wanted.
    pub goal: Goal,
    /// What is known.
    pub known: Known,
    /// Perform attempts that may still take effect.
    pub open_attempts: u32,
    /// Perform attempts that may have left, since the last retry by a person.
    pub attempts: u32,
    /// Perform attempts that may have left, ever. An attempt that was proved unsent is subtracted again.
    pub maybe_sent: u32,
    /// The number of lines in the attempt log, of every kind. The next line has this number plus one. It never
    /// decreases.
    pub logged: u32,
    /// The line of the attempt that the owner has under way. The ending of any other attempt is late.
    pub in_flight: Option<u32>,
    /// Questions asked since the last retry by a person, or since the last answer that helped.
    pub asks: u32,
    /// How often it was absent after the quiet time, since the last attempt.
    pub absences: u32,
    /// Our side has taken the outcome in.
    pub settled: bool,
    /// Where it rests; `None` while something is to be done.
    pub end: Option<End>,
    /// Why it is stuck, failed or cancelled, as a short phrase for people.
    pub why: Option<String>,
    /// The worker that has it.
    pub owner: Option<Owner>,
    /// The number of claims.
    pub fence: u64,
    /// Until when the owner may work on it.
    pub lease_until: Stamp,
    /// Before this nothing is to be done.
    pub next_at: Stamp,
    /// From then on "not found" is believed: the latest `send_by` of a perform attempt plus the quiet time.
    pub quiet_until: Option<Stamp>,
    /// When the first attempt may have left. The provider's memory of the key began no later than this plus the
    /// network's time.
    pub key_first_at: Option<Stamp>,
    /// Our side must have settled by then, or the effect is cancelled.
    pub settle_by: Option<Stamp>,
    /// What the provider answered when the effect became known to be applied. `{answer:/…}` and `{confirm:/…}` are read
    /// from it.
    pub answer: Option<Vec<u8>>,
    /// The generation of the cancel key, from 0.
    pub cancel_gen: u32,
    /// Whether the generation in use was first sent before the quiet time was over. Then its "no such" is not believed.
    pub cancel_gen_early: bool,
    /// Cancels of this generation that may have left. At zero its key was never used.
    pub cancel_open: u32,
    /// Cancel attempts since the last retry by a person.
    pub cancel_tries: u32,
    /// From then on the answer of confirm to an unanswered cancel is believed.
    pub cancel_quiet_until: Option<Stamp>,
    /// It ended because the provider did not know of it. It is asked about once more at `audit_at`.
    pub closed_by_absence: bool,
    /// When to ask once more after the end.
    pub audit_at: Option<Stamp>,
}

impl State {
    /// When a worker should next look at it; `None` where nothing is to be done. A store keeps this in an indexed
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
