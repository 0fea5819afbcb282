//! Finds the end of a head, and says how long a head may be.

use std::ops::RangeInclusive;

use crate::misread::Misread;

/// The maximum length of a head, and the maximum number of its fields.
///
/// A head is kept in memory until it is complete. Without a bound, a server that never ends its head would use up all
/// memory. The bounds are wide, because a refused head is a lost answer, and the call may have had its effect by then.
/// nginx as a proxy refuses heads beyond 4 or 8 KiB by default, and curl those beyond 300 KiB. hyper allows a hundred
/// fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The maximum length of a head, or of a body's trailers, in bytes, including line ends. Interim answers (1xx)
    /// count together with the final one. Default 256 KiB.
    pub header_bytes: usize,
    /// The maximum number of fields in a head, or in trailers. A name that comes twice counts twice. Default 100.
    pub headers: usize,
}

impl Limits {
    /// The allowed values of `header_bytes`. Below 1 KiB the heads of ordinary answers would not fit. Above 1 MiB a
    /// thousand answers in flight could hold a GiB of heads.
    pub const HEADER_BYTES: RangeInclusive<usize> = 1 << 10..=1 << 20;
    /// The allowed values of `headers`. Each answer needs a table with this number of entries, so the number must have
    /// a bound.
    pub const HEADERS: RangeInclusive<usize> = 1..=1000;
}

impl Default for Limits {
    fn default() -> Self {
        Limits { header_bytes: 256 << 10, headers: 100 }
    }
}

/// Looks for the empty line that ends a head. Each call goes on where the last one stopped, so each line is read once,
/// in whatever pieces the bytes arrive. A line that ends without a carriage return is noticed immediately.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadEnd {
    /// The number of bytes that have been examined.
    seen: usize,
    /// The position in the head, in bytes, at which the last line begins. That line is not complete yet.
    line: usize,
}

impl HeadEnd {
    /// Returns the length of the head with its empty line, in bytes; `None` while the head is not complete. At each
    /// call, `bytes` must begin with the first byte of the head.
    ///
    /// # Errors
    /// A line ends without a carriage return.
    pub fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, Misread> {
        while let Some(at) = memchr::memchr(b'\n', &bytes[self.seen..]) {
            let end = self.seen + at;
            if end == self.line || bytes[end - 1] != b'\r' {
                return Err(Misread::LineEnd);
            }
            let empty = end - self.line == 1;
            self.seen = end + 1;
            self.line = self.seen;
            if empty {
                return Ok(Some(self.seen));
            }
        }
        self.seen = bytes.len();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_however_the_head_is_cut() {
        let bytes = b"HTTP/1.1 200 OK\r\na: 1\r\n\r\nbody\nmore";
        for cut in 0..bytes.len() {
            let mut end = HeadEnd::default();
            let first = end.find(&bytes[..cut]).unwrap();
            assert_eq!(first, (cut >= 25).then_some(25), "cut at {cut}");
            if first.is_none() {
                assert_eq!(end.find(bytes), Ok(Some(25)));
            }
        }
    }

    #[test]
    fn a_line_feed_alone_is_no_line_end() {
        for bytes in ["\n", "HTTP/1.1 200 OK\n", "HTTP/1.1 200 OK\r\na: 1\n\r\n", "HTTP/1.1 200 OK\r\n\n"] {
            assert_eq!(HeadEnd::default().find(bytes.as_bytes()), Err(Misread::LineEnd), "{bytes:?}");
        }
    }
}
