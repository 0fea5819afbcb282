//! What a row says: everything of an action that changes.

use super::Stamp;

/// What is wanted of the provider. It goes from perform to cancel once, and never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Goal {
    /// The effect shall be there.
    Perform,
    /// The effect shall not be there, whatever has been sent.
    Cancel,
}

/// What is known of the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Known {
    /// No attempt may still take effect: none was made, each was proved unsent, or all are believed absent.
    Never,
    /// An attempt may have taken effect, or may still.
    Unknown,
    /// It took effect. Only a cancel that held overwrites this.
    Applied,
    /// It did not and will not, or it was undone.
    NotApplied(NotApplied),
}

/// Why it is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotApplied {
    /// The provider said no, for every attempt.
    Refused,
    /// It was cancelled, or found cancelled.
    Cancelled,
    /// After the quiet time the provider did not know of it.
    Absent,
    /// A cancel was told "no such" after the quiet time.
    NoSuch,
    /// A person said so.
    Resolved,
}

/// Where a row has come to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Applied, and taken in by our side.
    Done,
    /// Not applied, and our side is told so.
    Failed,
    /// Undone, or never done.
    Cancelled,
    /// No rule can go on: a person must look.
    Stuck,
}

/// Several actions that settle together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Their common name, as an order's id.
    pub name: String,
    /// How many there are; fixed when the first is recorded.
    pub size: u32,
}

/// What never changes of a row, as far as the machine must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// When it was recorded.
    pub created: Stamp,
    /// It settles with others or not at all.
    pub scoped: bool,
}

/// A worker's incarnation: random, so that a restarted worker is another one.
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
    /// Perform attempts that may have left, ever: an attempt that was proved unsent is taken back from it.
    pub maybe_sent: u32,
    /// Lines of the attempt log so far, of every kind; the next one has this number plus one. Never goes back.
    pub logged: u32,
    /// The line of the attempt that the owner has under way. An ending of any other attempt is late.
    pub in_flight: Option<u32>,
    /// Questions asked since the last retry by a person, or the last answer that helped.
    pub asks: u32,
    /// How often it was absent after the quiet time, since the last attempt.
    pub absences: u32,
    /// Our side has taken the outcome in.
    pub settled: bool,
    /// Where it rests; `None` while there is something to do.
    pub end: Option<End>,
    /// Why it is stuck, failed or cancelled: a short phrase for people.
    pub why: Option<String>,
    /// Who works on it.
    pub owner: Option<Owner>,
    /// Counts claims.
    pub fence: u64,
    /// Until when the owner may work on it.
    pub lease_until: Stamp,
    /// Before this nothing is to be done.
    pub next_at: Stamp,
    /// From here on "not found" is believed: the latest `send_by` of a perform attempt plus the quiet time.
    pub quiet_until: Option<Stamp>,
    /// When the first attempt may have left: the provider's memory of the key began no later than this plus the network.
    pub key_first_at: Option<Stamp>,
    /// Our side must have settled by then, or the effect is cancelled.
    pub settle_by: Option<Stamp>,
    /// What the provider answered when it was known to be applied: what `{answer:/…}` and `{confirm:/…}` are read from.
    pub answer: Option<Vec<u8>>,
    /// The generation of the cancel key, from 0.
    pub cancel_gen: u32,
    /// The generation in use was first sent before the quiet time: its "no such" is not believed.
    pub cancel_gen_early: bool,
    /// Cancels of this generation that may have left. Zero: its key was never used.
    pub cancel_open: u32,
    /// Cancel attempts since the last retry by a person.
    pub cancel_tries: u32,
    /// From here on it is believed what confirm says of an unanswered cancel.
    pub cancel_quiet_until: Option<Stamp>,
    /// Ended because the provider did not know of it: asked once more at `audit_at`.
    pub closed_by_absence: bool,
    /// When to ask once more after the end.
    pub audit_at: Option<Stamp>,
}

impl State {
    /// When a worker should next look at it; `None` where there is nothing to do. A store keeps this in an indexed column.
    #[must_use]
    pub fn due_at(&self) -> Option<Stamp> {
        match self.end {
            None => Some(self.next_at.max(self.lease_until)),
            Some(End::Failed | End::Cancelled) => self.audit_at.map(|at| at.max(self.lease_until)),
            Some(End::Done | End::Stuck) => None,
        }
    }
}
