//! Counts failures by kind.
//!
//! "42 errors" tells an operator nothing; "31 timeouts, 4 × 503" tells where to look. There are only a few kinds, so
//! each kind has a counter, and counting a failure costs one addition.

use std::fmt;

/// The kind of a failure, in no more detail than an operator needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FailureKind {
    /// No answer in time (read or total timeout).
    Timeout,
    /// No connection was made: the name was not resolved, or the connection was refused, timed out or failed in TLS.
    /// Nothing was sent.
    Unreachable,
    /// The connection was reset or closed before the answer was complete.
    Lost,
    /// The answer was not valid HTTP.
    BadAnswer,
    /// Answered 500.
    Status500,
    /// Answered 502.
    Status502,
    /// Answered 503.
    Status503,
    /// Answered 504.
    Status504,
    /// Another status that is a failure.
    OtherStatus,
    /// A good answer that took longer than `slow_call`.
    Slow,
    /// The caller gave the call up, and had waited for so long that this counts as a failure of the endpoint.
    Abandoned,
}

impl FailureKind {
    /// Every kind, in the order in which they are shown.
    pub const ALL: [FailureKind; 11] = [
        FailureKind::Timeout,
        FailureKind::Unreachable,
        FailureKind::Lost,
        FailureKind::BadAnswer,
        FailureKind::Status500,
        FailureKind::Status502,
        FailureKind::Status503,
        FailureKind::Status504,
        FailureKind::OtherStatus,
        FailureKind::Slow,
        FailureKind::Abandoned,
    ];

    /// Returns the kind of an answer whose status is a failure.
    #[must_use]
    pub const fn of_status(status: u16) -> FailureKind {
        match status {
            500 => FailureKind::Status500,
            502 => FailureKind::Status502,
            503 => FailureKind::Status503,
            504 => FailureKind::Status504,
            _ => FailureKind::OtherStatus,
        }
    }
}

/// The number of failures of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures([u32; FailureKind::ALL.len()]);

impl Failures {
    /// Returns the number of failures of this kind.
    #[must_use]
    pub const fn get(&self, kind: FailureKind) -> u32 {
        self.0[kind as usize]
    }

    #[inline]
    pub(crate) fn add(&mut self, kind: FailureKind) {
        self.0[kind as usize] += 1;
    }

    /// Subtracts counts that were added before.
    pub(crate) fn remove(&mut self, gone: &Failures) {
        for (kept, gone) in self.0.iter_mut().zip(gone.0) {
            *kept -= gone;
        }
    }

    /// Subtracts one failure of the kind at index `place` of [`FailureKind::ALL`].
    #[inline]
    pub(crate) fn remove_one(&mut self, place: usize) {
        self.0[place] -= 1;
    }

    /// Returns the kinds that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (FailureKind, u32)> + '_ {
        FailureKind::ALL.into_iter().map(|kind| (kind, self.get(kind))).filter(|(_, count)| *count > 0)
    }
}

/// Writes `31 timeouts, 4 × 503`, or `no failures` if there are none.
impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (kind, count) in self.iter() {
            let plural = if count == 1 { "" } else { "s" };
            f.write_str(separator)?;
            match kind {
                FailureKind::Timeout => write!(f, "{count} timeout{plural}"),
                FailureKind::Unreachable => write!(f, "{count} not connected"),
                FailureKind::Lost => write!(f, "{count} connection{plural} lost"),
                FailureKind::BadAnswer => write!(f, "{count} bad answer{plural}"),
                FailureKind::Status500 => write!(f, "{count} × 500"),
                FailureKind::Status502 => write!(f, "{count} × 502"),
                FailureKind::Status503 => write!(f, "{count} × 503"),
                FailureKind::Status504 => write!(f, "{count} × 504"),
                FailureKind::OtherStatus => write!(f, "{count} × other status"),
                FailureKind::Slow => write!(f, "{count} slow answer{plural}"),
                FailureKind::Abandoned => write!(f, "{count} caller{plural} left"),
            }?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("no failures") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_kind_is_its_place() {
        for (place, kind) in FailureKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
    }
}
