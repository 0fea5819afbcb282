//! Counts the frames of an HTTP/2 connection, independently of hyper, so that no caller can keep a worker busy with
//! control frames.
//!
//! A connection pays for its control frames with tokens. Requests, and the bytes of bodies in both directions, earn
//! tokens; each control frame costs tokens; and a few tokens come with time.
//!
//! A PING, a SETTINGS or a PRIORITY frame costs its sender nothing, and costs us an answer or some work. hyper's HTTP/2
//! code bounds floods of resets and of CONTINUATION frames, but answers every PING and SETTINGS frame. So without
//! tokens, one connection that sends nothing else would keep a worker busy. The obvious rule, a limit on the rate of
//! such frames, would be wrong in two ways. It would hit honest clients, which measure the connection with a PING for
//! each piece of an answer: over loopback, these are thousands of PINGs in a second. And a slow flood would pass.
//!
//! Only the first nine bytes of each frame are read here (RFC 9113, section 4.1). Malformed frames are left to hyper.

use seawall_policy::Time;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const HEAD: usize = 9;
/// The number of bytes that a client sends before its first frame (RFC 9113, section 3.4).
const PREFACE: u32 = 24;

/// Finds the frames in the bytes of one direction of a connection.
#[derive(Debug)]
pub(crate) struct Frames {
    head: [u8; HEAD],
    /// The number of bytes of `head` that have been read.
    have: usize,
    /// The number of bytes of the frame's payload, or of the preface, that are still to come.
    left: u32,
    in_headers: bool,
    last_stream: u32,
}

impl Frames {
    /// Makes the state for the bytes that the caller sends, which begin with the preface.
    pub(crate) fn inbound() -> Frames {
        Frames { left: PREFACE, ..Frames::outbound() }
    }

    /// Makes the state for the bytes that the caller receives.
    pub(crate) fn outbound() -> Frames {
        Frames { head: [0; HEAD], have: 0, left: 0, in_headers: false, last_stream: 0 }
    }

    /// Reads the next bytes, and calls `tell` with each frame's head as soon as that head is complete.
    pub(crate) fn read(&mut self, mut bytes: &[u8], mut tell: impl FnMut(FrameHead)) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= u32::try_from(here).unwrap_or(self.left);
                bytes = &bytes[here..];
                continue;
            }
            let here = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + here].copy_from_slice(&bytes[..here]);
            (self.have, bytes) = (self.have + here, &bytes[here..]);
            if self.have == HEAD {
                self.have = 0;
                let frame = FrameHead::of(self.head);
                self.left = frame.length;
                if frame.kind == HEADERS || frame.kind == CONTINUATION {
                    self.in_headers = frame.flags & END_HEADERS == 0;
                    self.last_stream = self.last_stream.max(frame.stream);
                }
                tell(frame);
            }
        }
    }

    /// Returns whether the next byte begins a frame.
    pub(crate) fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Returns whether the beginning of a request's head has come, but not its end.
    pub(crate) fn is_in_head(&self) -> bool {
        self.in_headers
    }

    /// Returns the highest number of a stream that was opened. 0 if none was opened.
    pub(crate) fn last_stream(&self) -> u32 {
        self.last_stream
    }
}

impl FrameHead {
    fn of(bytes: [u8; HEAD]) -> FrameHead {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        let length = u32::from_be_bytes([0, a, b, c]);
        FrameHead { length, kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff }
    }
}

/// Makes a GOAWAY frame with the error ENHANCE_YOUR_CALM (RFC 9113, sections 6.8 and 7). It tells the caller that the
/// connection ends because the caller makes too much work. `last_stream` is the highest number of a stream that the
/// caller opened.
pub(crate) fn enough(last_stream: u32) -> [u8; HEAD + 8] {
    let [a, b, c, d] = last_stream.to_be_bytes();
    [0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, 0x0b]
}

/// The tokens that a connection may still spend on control frames.
#[derive(Debug)]
pub(crate) struct Purse {
    tokens: i64,
    /// When tokens were last added for the time that had passed.
    filled: Time,
}

/// The maximum number of tokens that can be saved. They pay for two thousand PINGs, which are a few milliseconds of
/// work.
const MOST: i64 = 4 * 2000;
/// The number of tokens that come with each second: enough for a hundred PINGs. That is hardly any work, and more than
/// an otherwise idle client sends.
const EACH_SECOND: i64 = 4 * 100;

impl Purse {
    pub(crate) fn new(now: Time) -> Purse {
        Purse { tokens: MOST, filled: now }
    }

    /// Counts a frame that came from the caller. A request (HEADERS) and the bytes of a body (DATA) add tokens. Most
    /// other frames, such as PING and SETTINGS, remove tokens.
    pub(crate) fn came(&mut self, frame: FrameHead) {
        self.add(match frame.kind {
            HEADERS => 4 * 16,
            DATA if frame.length > 0 => earned(frame.length),
            DATA if frame.flags & END_STREAM != 0 => 0,
            // hyper's own HTTP/2 code bounds floods of these frames.
            RST_STREAM | CONTINUATION => 0,
            // A client sends several WINDOW_UPDATE frames for each piece of an answer that it reads. So such a frame
            // costs only one token, while a PING costs four.
            WINDOW_UPDATE => -1,
            // The receiver of a SETTINGS frame must apply it to all streams and acknowledge it. So such a frame costs
            // eight tokens.
            SETTINGS => -8,
            _ => -4,
        });
    }

    /// Adds the tokens for a frame that was sent to the caller.
    pub(crate) fn went(&mut self, frame: FrameHead) {
        if frame.kind == DATA && frame.length > 0 {
            self.add(earned(frame.length));
        }
    }

    fn add(&mut self, tokens: i64) {
        self.tokens = self.tokens.saturating_add(tokens).min(MOST);
    }

    /// Returns whether the connection has spent more tokens than it had. The tokens for the time that has passed are
    /// added only when the saved tokens are not enough, so the clock is seldom read.
    pub(crate) fn is_empty(&mut self, now: impl FnOnce() -> Time) -> bool {
        if self.tokens >= 0 {
            return false;
        }
        let now = now();
        let millis = i64::try_from(now.since(self.filled).as_millis()).unwrap_or(i64::MAX);
        self.filled = now;
        self.add(millis.saturating_mul(EACH_SECOND) / 1000);
        self.tokens < 0
    }
}

/// Returns the number of tokens that a piece of a body with this number of bytes earns: the price of one PING, and of a
/// further PING for each 256 bytes.
fn earned(bytes: u32) -> i64 {
    4 * (1 + i64::from(bytes / 256))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: u32, flags: u8, stream: u32) -> Vec<u8> {
        let [_, a, b, c] = length.to_be_bytes();
        let mut bytes = vec![a, b, c, kind, flags];
        bytes.extend(stream.to_be_bytes());
        bytes.extend(std::iter::repeat_n(7, length as usize));
        bytes
    }

    #[test]
    fn frames_are_followed_however_they_are_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 12, 0, 0));
        bytes.extend(frame(HEADERS, 30, 0, 5));
        bytes.extend(frame(CONTINUATION, 3, END_HEADERS, 5));
        bytes.extend(frame(DATA, 300, END_STREAM, 5));
        for size in [1, 2, 8, 9, 10, 100, 1000] {
            let (mut frames, mut kinds) = (Frames::inbound(), Vec::new());
            for piece in bytes.chunks(size) {
                frames.read(piece, |frame| kinds.push((frame.kind, frame.length)));
            }
            assert_eq!(kinds, [(SETTINGS, 12), (HEADERS, 30), (CONTINUATION, 3), (DATA, 300)], "{size}");
            assert!(frames.is_between() && !frames.is_in_head());
            assert_eq!(frames.last_stream(), 5);
        }
    }

    #[test]
    fn a_head_is_open_until_its_last_frame() {
        let mut frames = Frames::outbound();
        frames.read(&frame(HEADERS, 3, END_STREAM, 1), |_| {});
        assert!(frames.is_in_head());
        frames.read(&frame(CONTINUATION, 3, END_HEADERS, 1), |_| {});
        assert!(!frames.is_in_head());
        frames.read(&frame(DATA, 3, 0, 1)[..4], |_| {});
        assert!(!frames.is_between());
    }

    const PING: FrameHead = FrameHead { length: 8, kind: 6, flags: 0, stream: 0 };

    /// Returns the number of PINGs that a caller may send at the time `now` before its tokens are used up.
    fn pings(purse: &mut Purse, now: Time) -> usize {
        (0..10_000)
            .take_while(|_| {
                purse.came(PING);
                !purse.is_empty(|| now)
            })
            .count()
    }

    #[test]
    fn pings_alone_use_it_up_and_time_gives_some_back() {
        let mut purse = Purse::new(Time::from_millis(0));
        assert_eq!(pings(&mut purse, Time::from_millis(0)), 2000);
        assert_eq!(pings(&mut purse, Time::from_millis(1000)), 99);
        // The purse is empty, and an hour has passed. The tokens of that hour are added only when a PING finds no token
        // left. The first PING does, so the purse is filled to its maximum, and this PING is accepted. The full purse
        // then pays for 2000 more PINGs.
        assert_eq!(pings(&mut purse, Time::from_millis(3_600_000)), 2001);
    }

    #[test]
    fn bodies_and_requests_pay_for_the_pings_beside_them() {
        let mut purse = Purse::new(Time::from_millis(0));
        for _ in 0..100_000 {
            purse.came(PING);
            purse.came(FrameHead { length: 4, kind: WINDOW_UPDATE, flags: 0, stream: 1 });
            purse.came(FrameHead { length: 4, kind: WINDOW_UPDATE, flags: 0, stream: 0 });
            purse.went(FrameHead { length: 600, kind: DATA, flags: 0, stream: 1 });
            assert!(!purse.is_empty(|| Time::from_millis(0)));
        }
        for _ in 0..10_000 {
            purse.came(FrameHead { length: 0, kind: DATA, flags: 0, stream: 1 });
        }
        assert!(purse.is_empty(|| Time::from_millis(0)), "frames without bytes earn nothing");
    }
}
