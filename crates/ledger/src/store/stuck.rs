//! What a store must do about stuck actions, besides what it does about all actions: count them, and keep which of them were told
//! to somebody.

use std::future::Future;
use std::time::Duration;

use crate::action::ActionId;
use crate::error::StoreError;
use crate::machine::{Goal, Owner, Stamp, StuckReason};

/// An operation, and how many of its rows were counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationCount {
    /// The name of the dependency.
    pub dependency: String,
    /// The name of the operation.
    pub operation: String,
    /// The number of rows. At most [`COUNTED`](super::COUNTED) rows are counted.
    pub number: u64,
}

/// A stuck action, as it is told to somebody. Its request and its answer are not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StuckAction {
    /// The id of the action. Load it for more.
    pub id: ActionId,
    /// The name of the dependency.
    pub dependency: String,
    /// The name of the operation in that dependency.
    pub operation: String,
    /// The key of the action.
    pub key: String,
    /// The name of the caller that recorded the action; `None` if callers have no names.
    pub client: Option<String>,
    /// What is wanted: that the effect exists, or that it does not.
    pub goal: Goal,
    /// What is known of the effect, in the words of the table: `never`, `unknown`, `applied` or `not-applied`.
    pub effect: &'static str,
    /// Why it is stuck, in words.
    pub why: String,
    /// When it was recorded.
    pub created_at: Stamp,
    /// Since when it has been stuck.
    pub stuck_at: Stamp,
}

impl StuckAction {
    /// Returns the kind of the reason for which it is stuck; `None` if this program does not know the reason.
    #[must_use]
    pub fn reason(&self) -> Option<StuckReason> {
        StuckReason::of(&self.why)
    }
}

/// The questions and writes about stuck actions that a store has.
pub trait StuckStore {
    /// Returns the numbers of the stuck actions of all operations that have some. At most
    /// [`COUNTED`](super::COUNTED) actions are counted in all.
    fn stuck_counts(&self) -> impl Future<Output = Result<Vec<OperationCount>, StoreError>> + Send;

    /// Returns stuck actions that were not told yet: at most `most`, those that have been stuck for the longest time first.
    fn untold(&self, most: u32) -> impl Future<Output = Result<Vec<StuckAction>, StoreError>> + Send;

    /// Takes the right to tell of stuck actions, for the time `span`. Returns how often telling has failed since it last
    /// succeeded. Returns `None` if another process has the right, or if it is too early to try again.
    fn take_telling(
        &self,
        owner: Owner,
        span: Duration,
    ) -> impl Future<Output = Result<Option<u32>, StoreError>> + Send;

    /// Notes that these actions were told, each with the time since when it had been stuck, and gives the right to tell back.
    fn told(
        &self,
        owner: Owner,
        told: &[(ActionId, Stamp)],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Notes that telling has failed `tries` times, and gives the right to tell back. Nobody tells before the time `again` is
    /// over.
    fn not_told(
        &self,
        owner: Owner,
        tries: u32,
        again: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}
