//! The body of an answer: a list of steps that both `http1` and `http2` can carry out.

use std::time::Duration;

use bytes::Bytes;

/// The body of an answer: its bytes, its framing, how fast it is sent, and where it breaks off.
#[derive(Clone, Debug)]
pub struct Load {
    source: Source,
    framing: Framing,
    piece: usize,
    pause: Option<Duration>,
    cut: Option<u64>,
    pub(super) trailers: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
enum Source {
    Bytes(Bytes),
    /// This number of bytes from the beginning of [`pattern`].
    Pattern(u64),
}

/// How an HTTP/1.1 body says where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length,
    Chunked,
    UntilClose,
}

/// One step of sending a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Data(Bytes),
    Pause(Duration),
    /// The body breaks off at this step, before its promised end.
    Cut,
    End,
}

/// The number of bytes that are written at a time by default.
const PIECE: usize = 64 << 10;
/// The number of bytes after which the pattern repeats. It is a prime, so successive pieces whose length is a power of
/// two differ from one another. A test that compares the bytes notices if two such pieces are swapped.
const PERIOD: u64 = 251;

impl Load {
    /// Returns a body of these bytes, with a content-length.
    #[must_use]
    pub fn bytes(bytes: impl Into<Bytes>) -> Load {
        Load::new(Source::Bytes(bytes.into()))
    }

    /// Returns a body of `length` bytes of [`pattern`], with a content-length. The bytes are made while they are sent.
    #[must_use]
    pub fn pattern(length: u64) -> Load {
        Load::new(Source::Pattern(length))
    }

    /// Returns a chunked body that practically never ends: it has 2^64 - 1 bytes of [`pattern`].
    #[must_use]
    pub fn endless() -> Load {
        Load::pattern(u64::MAX).chunked()
    }

    fn new(source: Source) -> Load {
        Load { source, framing: Framing::Length, piece: PIECE, pause: None, cut: None, trailers: Vec::new() }
    }

    /// Sends the body in chunks, without a content-length. HTTP/2 has no chunks and only leaves the content-length out.
    #[must_use]
    pub fn chunked(self) -> Load {
        Load { framing: Framing::Chunked, ..self }
    }

    /// Sends the body with neither a content-length nor chunks, as in HTTP/1.0. The body is over when the connection is
    /// closed. HTTP/2 only leaves the content-length out.
    #[must_use]
    pub fn until_close(self) -> Load {
        Load { framing: Framing::UntilClose, ..self }
    }

    /// Sends the body in pieces of `piece` bytes (at least one), with a pause before each piece except the first.
    #[must_use]
    pub fn drip(self, piece: usize, pause: Duration) -> Load {
        Load { piece: piece.max(1), pause: Some(pause), ..self }
    }

    /// Breaks the body off after this number of bytes: HTTP/1.1 closes the connection, HTTP/2 resets the stream.
    #[must_use]
    pub fn cut_after(self, bytes: u64) -> Load {
        Load { cut: Some(bytes), ..self }
    }

    /// Adds a trailer field. HTTP/1.1 sends trailers only after a chunked body, so the body becomes chunked.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: &str) -> Load {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self.chunked()
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    pub(super) fn len(&self) -> u64 {
        match &self.source {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::Pattern(length) => *length,
        }
    }

    pub(super) fn steps(&self) -> Steps<'_> {
        Steps { load: self, sent: 0, paused: true }
    }
}

/// An iterator over the remaining steps of a body.
pub(super) struct Steps<'a> {
    load: &'a Load,
    sent: u64,
    paused: bool,
}

impl Steps<'_> {
    pub(super) fn next(&mut self) -> Step {
        let end = self.load.len().min(self.load.cut.unwrap_or(u64::MAX));
        if self.sent >= end {
            return if self.load.cut.is_some_and(|cut| cut <= self.sent) { Step::Cut } else { Step::End };
        }
        if let (false, Some(pause)) = (self.paused, self.load.pause) {
            self.paused = true;
            return Step::Pause(pause);
        }
        self.paused = false;
        let length = (end - self.sent).min(self.load.piece as u64);
        let piece = match &self.load.source {
            Source::Bytes(bytes) => bytes.slice(self.sent as usize..(self.sent + length) as usize),
            Source::Pattern(_) => pattern(self.sent, length as usize),
        };
        self.sent += length;
        Step::Data(piece)
    }
}

/// Returns `length` bytes of the pattern, beginning at `offset`. The byte at position n of the pattern is n modulo 251.
#[must_use]
pub fn pattern(offset: u64, length: usize) -> Bytes {
    let mut bytes: Vec<u8> =
        (offset..).take(length.min(PERIOD as usize)).map(|at| (at % PERIOD) as u8).collect();
    while bytes.len() < length {
        // At this point `bytes` holds a whole number of periods, so a copy of them continues the pattern.
        let more = (length - bytes.len()).min(bytes.len());
        bytes.extend_from_within(..more);
    }
    bytes.into()
}

/// A running fingerprint (FNV-1a, 64 bits) of bytes that come in pieces. With it, a test compares what a rogue received
/// with what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Fingerprint {
        Fingerprint(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    /// Returns the fingerprint of one piece.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Fingerprint {
        let mut print = Fingerprint::default();
        print.add(bytes);
        print
    }

    /// Adds the next piece to the fingerprint.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_is_the_same_in_any_pieces() {
        let whole = pattern(0, 2000);
        assert!(whole.iter().zip(0_u64..).all(|(byte, at)| u64::from(*byte) == at % 251));
        for offset in [0, 1, 250, 251, 700] {
            for length in [0, 1, 250, 252, 1000] {
                assert_eq!(
                    pattern(offset as u64, length),
                    whole[offset..offset + length],
                    "{offset} {length}"
                );
            }
        }
    }

    fn all(load: &Load) -> Vec<Step> {
        let mut steps = load.steps();
        let mut all = Vec::new();
        loop {
            all.push(steps.next());
            if matches!(all.last(), Some(Step::End | Step::Cut)) {
                return all;
            }
        }
    }

    #[test]
    fn drip_pauses_between_pieces_only() {
        let pause = Duration::from_millis(5);
        let expected = vec![
            Step::Data("ab".into()),
            Step::Pause(pause),
            Step::Data("cd".into()),
            Step::Pause(pause),
            Step::Data("e".into()),
            Step::End,
        ];
        assert_eq!(all(&Load::bytes("abcde").drip(2, pause)), expected);
    }

    #[test]
    fn cut_comes_where_it_is_asked_even_at_the_very_end() {
        assert_eq!(all(&Load::bytes("abcde").cut_after(2)), vec![Step::Data("ab".into()), Step::Cut]);
        assert_eq!(all(&Load::bytes("ab").cut_after(2)), vec![Step::Data("ab".into()), Step::Cut]);
        assert_eq!(all(&Load::bytes("ab").cut_after(9)), vec![Step::Data("ab".into()), Step::End]);
        assert_eq!(all(&Load::bytes("ab").cut_after(0)), vec![Step::Cut]);
        assert_eq!(all(&Load::bytes("")), vec![Step::End]);
    }

    #[test]
    fn fingerprint_does_not_depend_on_the_pieces() {
        let mut pieces = Fingerprint::default();
        pieces.add(b"some");
        pieces.add(b"");
        pieces.add(b"thing");
        assert_eq!(pieces, Fingerprint::of(b"something"));
        assert_ne!(pieces, Fingerprint::of(b"Something"));
    }
}
