//! The time at which the machine decides, and how far that time can be relied on.
//!
//! A database's clock can be set wrong, and a database can fail over to a server with another clock. The obvious rule
//! trusts the clock. Then, after a jump of ten minutes ahead, each quiet time seems to be over. An answer "not found"
//! is believed although the request is still on its way, and the action ends as failed although the customer is
//! charged. So the machine is told when the process has seen a jump. Until the doubt is over, four things do not
//! happen:
//!
//! - No absence is believed ([`told`](super::told())).
//! - No deadline passes: nothing is cancelled because it was not settled in time.
//! - Nothing is given up because of its age, or because a window of the provider has ended.
//! - Nothing is sent again under a key.
//!
//! Everything else goes on: new actions are sent, outcomes are written, and the provider is asked. If the provider says
//! that an effect exists, this is believed.
//!
//! For each operation, the quiet time and the time of one attempt are added. The doubt lasts for the longest of these
//! sums, measured on the process's monotonic clock. After that, requests that were sent before the jump can no longer
//! take effect. So a quiet time that seems to be over is really over. One trouble stays after a jump back: older sends
//! seem to be more recent than they are, so the key of such a send would seem to live for too long. [`Back`] corrects
//! that.

use std::time::Duration;

use super::Stamp;

/// The database's time, and how far it can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The database's time. It must not be later than the time that the database's clock shows now.
    pub at: Stamp,
    /// For how long this time is still in doubt after a jump of the database's clock; `None` if it can be relied on.
    pub doubt: Option<Duration>,
    /// How far the clock was set back.
    pub back: Back,
}

/// How far the database's clock was set back. It corrects the times that were written before that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Back {
    /// The time by which the clock was set back. A later jump ahead makes it shorter.
    pub by: Duration,
    /// The time that the clock showed directly before it was set back. A time in a row may have been written before
    /// the clock was set back if it is at or before this time. Only such times are corrected.
    pub before: Stamp,
}

impl Back {
    /// Returns the correction after one more jump of the clock. `by_micros` is how far the clock moved, negative if it
    /// was set back, and `before` is the time that it showed directly before that.
    #[must_use]
    pub fn jumped(self, by_micros: i64, before: Stamp) -> Back {
        let by = Duration::from_micros(by_micros.unsigned_abs());
        if by_micros < 0 {
            Back { by: self.by.saturating_add(by), before: before.max(self.before) }
        } else {
            Back { by: self.by.saturating_sub(by), before: self.before }
        }
    }
}

impl Now {
    /// Makes a time that can be relied on, of a clock that was never set back.
    #[must_use]
    pub const fn sure(at: Stamp) -> Now {
        Now { at, doubt: None, back: Back { by: Duration::ZERO, before: Stamp::from_micros(0) } }
    }

    /// Returns whether this time can be relied on.
    #[must_use]
    pub const fn is_sure(&self) -> bool {
        self.doubt.is_none()
    }

    /// Returns the time to use as "now" when you check whether a time that began at `first` is over, such as the life
    /// of a key. If the clock was set back after it showed `first`, the result is later than [`Now::at`]: more time has
    /// passed since `first` than the clock shows.
    #[must_use]
    pub fn latest_since(&self, first: Stamp) -> Stamp {
        if first <= self.back.before { self.at.saturating_add(self.back.by) } else { self.at }
    }

    /// Returns when a row that rests until `until` is looked at again. If the time is in doubt, this is not before the
    /// end of the doubt.
    pub(super) fn rested(&self, until: Stamp) -> Stamp {
        if self.is_sure() { until } else { until.max(self.doubt_ends()) }
    }

    /// Returns when a row that waits for the end of the doubt is looked at again. If there is no doubt, that is now.
    pub(super) fn doubt_ends(&self) -> Stamp {
        self.at.saturating_add(self.doubt.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::bench::at;

    #[test]
    fn what_was_sent_before_a_jump_back_is_older_than_it_seems() {
        let ten = Duration::from_secs(600);
        let back = Back::default().jumped(-600_000_000, at(1000));
        let now = Now { back, ..Now::sure(at(500)) };
        assert_eq!(now.latest_since(at(990)), at(1100));
        assert_eq!(now.latest_since(at(1000)), at(1100));
        assert_eq!(now.latest_since(at(1001)), at(500), "it was sent after the jump");
        // The distances of two jumps back are added, and a later jump ahead is subtracted from the sum.
        let twice = back.jumped(-600_000_000, at(700));
        assert_eq!(twice, Back { by: ten * 2, before: at(1000) });
        assert_eq!(twice.jumped(900_000_000, at(700)).by, Duration::from_secs(300));
        assert_eq!(Back::default().jumped(900_000_000, at(700)), Back::default());
    }

    #[test]
    fn a_sure_time_needs_no_wait() {
        let now = Now::sure(at(5));
        assert!(now.is_sure());
        assert_eq!((now.doubt_ends(), now.latest_since(at(0))), (at(5), at(5)));
    }
}
