//! How long the head of an answer may be.
//!
//! A head is kept in memory until it is complete, so there must be a bound: a dependency that never ends its head would
//! take memory without end. The bounds are wide, because a head that is refused is an answer that is lost, and the call
//! may have had its effect by then. nginx as a proxy refuses heads beyond 4 or 8 KiB until it is told otherwise, and curl
//! those beyond 300 KiB. A hundred fields are what hyper allows.

use std::ops::RangeInclusive;

/// The longest head of an answer: the status line and all header fields. An answer beyond is `bad-answer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerLimits {
    /// Bytes of the head, its line ends included. Default 256 KiB.
    pub header_bytes: usize,
    /// Header fields; a name that comes twice counts twice. Default 100.
    pub headers: usize,
}

impl AnswerLimits {
    /// What `header_bytes` may be. Below 1 KiB the heads of ordinary answers would not fit; above 1 MiB a thousand
    /// answers in flight could hold a GiB of heads.
    pub const HEADER_BYTES: RangeInclusive<usize> = 1 << 10..=1 << 20;
    /// What `headers` may be. Every one has a place of its own in a table, which is made for each answer.
    pub const HEADERS: RangeInclusive<usize> = 1..=1000;
}

impl Default for AnswerLimits {
    fn default() -> AnswerLimits {
        AnswerLimits { header_bytes: 256 << 10, headers: 100 }
    }
}
