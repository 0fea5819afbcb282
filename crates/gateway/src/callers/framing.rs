//! Finds where one message of a caller ends and the next head begins, and notes from which request on the bytes are
//! *doubtful*: a proxy before us may have read them in another way than hyper. Every byte is followed: heads line by
//! line, bodies by their length or their chunks.
//!
//! hyper reads heads as leniently as RFC 9112 allows. If a head has both `Transfer-Encoding` and `Content-Length`,
//! hyper uses `Transfer-Encoding` and drops `Content-Length`. hyper also takes two equal values of `Content-Length` for
//! one value, and accepts a line that ends without a carriage return. A proxy before us may have read the same bytes in
//! another way, and attackers use that difference to smuggle requests. When hyper calls us, none of these differences
//! can be seen any more. It would be simpler to look only at the first bytes after each answer. But several requests
//! can come in one packet, and the heads of all but the first would then be missed.
//!
//! This code never answers a request. If it can no longer tell where a message ends, every later request counts as
//! doubtful. The gateway refuses doubtful requests. So a request that hyper and this code read differently never
//! reaches a dependency.

/// Finds the requests in the bytes of one connection, and where each of them ends.
#[derive(Debug)]
pub struct Framing {
    state: State,
    head: Head,
    /// The beginning of a line that is not complete yet.
    line: Vec<u8>,
    /// The maximum length of a head, in bytes. hyper itself refuses a longer one.
    head_limit: usize,
    heads: u64,
    doubtful: Option<u64>,
    /// Whether the first doubtful request is doubtful only because its target has a `#`.
    fragment: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The next byte belongs to a head, or comes before one.
    Head,
    /// The next byte belongs to a body whose length is known. The number says how many bytes of it are still to come.
    Data(u64),
    /// The next byte belongs to the line that gives a chunk's size.
    Size,
    /// The next byte belongs to a chunk. The rest of the chunk is this number of bytes of data, and then a line end.
    Chunk(u64),
    /// The next byte comes after the last chunk, where trailers may stand.
    Trailers,
    /// Nobody can tell any more where the next message begins.
    Lost,
}

/// What is known of the current head from those of its lines that are complete.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    /// The number of bytes in those lines of the head that are complete.
    bytes: usize,
    /// Whether another program may read the head in another way than hyper.
    doubtful: bool,
    /// Whether there is a `#` in the request line.
    fragment: bool,
    chunked: bool,
    length: Option<u64>,
}

impl Framing {
    /// Makes the state before the first byte of a connection. `head_limit` is the maximum length of a head, in bytes.
    #[must_use]
    pub fn new(head_limit: usize) -> Framing {
        Framing {
            state: State::Head,
            head: Head::default(),
            line: Vec::new(),
            head_limit,
            heads: 0,
            doubtful: None,
            fragment: false,
        }
    }

    /// Returns the number of the first doubtful request, counted from 1; `None` if there is none. A request is doubtful
    /// if another program may read it in another way than hyper. All requests after the first one count as doubtful,
    /// too.
    #[must_use]
    pub fn doubtful_from(&self) -> Option<u64> {
        self.doubtful
    }

    /// Returns whether the first doubtful request is doubtful only because its target has a `#`. hyper ends the target
    /// at the `#`, and other programs may not.
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.fragment
    }

    /// Returns whether a head has begun and is not complete yet.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        self.state == State::Head && (self.head.bytes > 0 || !self.line.is_empty())
    }

    /// Returns whether a body, with its chunks and trailers, has not ended yet. It also returns `true` once nobody can
    /// tell any more where the next message begins.
    #[must_use]
    pub fn is_in_body(&self) -> bool {
        self.state != State::Head
    }

    /// Reads the next bytes of the connection.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.state != State::Lost {
            bytes = match self.state {
                State::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    self.state = after_data(left - here as u64);
                    &bytes[here..]
                }
                State::Chunk(left) if left > 0 => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    self.state = State::Chunk(left - here as u64);
                    &bytes[here..]
                }
                State::Head | State::Size | State::Chunk(_) | State::Trailers | State::Lost => {
                    self.read_line(bytes)
                }
            };
        }
    }

    /// Reads `bytes` up to the end of the current line, and returns the bytes after that line. If the end of the line
    /// has not come yet, keeps all bytes, and returns none. If the bytes that are kept would make the head, or a line
    /// of a chunked body, longer than `head_limit`, nothing more is read from this connection ([`State::Lost`]).
    fn read_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            if self.head.bytes + self.line.len() + bytes.len() > self.head_limit {
                self.lose();
            } else {
                self.line.extend_from_slice(bytes);
            }
            return &[];
        };
        let (here, rest) = bytes.split_at(end + 1);
        if self.line.is_empty() {
            self.line_ended(here);
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(here);
            self.line_ended(&line);
            line.clear();
            self.line = line;
        }
        rest
    }

    /// Handles one complete line. `line` includes the line end.
    fn line_ended(&mut self, line: &[u8]) {
        let strict = line.strip_suffix(b"\r\n");
        match self.state {
            State::Head => match strict {
                // Empty lines before a request are skipped (RFC 9112, section 2.2).
                Some([]) if self.head.bytes == 0 => {}
                Some([]) => self.head_ended(),
                Some(text) => self.head.line(text),
                None if self.head.bytes > 0 && line == b"\n" => {
                    self.head.doubtful = true;
                    self.head_ended();
                }
                None => {
                    self.head.bytes += line.len();
                    self.head.doubtful = true;
                }
            },
            State::Size => match strict.and_then(chunk_size) {
                Some(0) => self.state = State::Trailers,
                Some(size) => self.state = State::Chunk(size),
                None => self.lose(),
            },
            State::Chunk(_) => match strict {
                Some([]) => self.state = State::Size,
                _ => self.lose(),
            },
            State::Trailers => match strict {
                Some([]) => self.state = State::Head,
                Some(_) => {}
                None => self.lose(),
            },
            State::Data(_) | State::Lost => {}
        }
    }

    fn head_ended(&mut self) {
        self.heads += 1;
        let head = std::mem::take(&mut self.head);
        let twice = head.chunked && head.length.is_some();
        if head.doubtful || twice || head.fragment {
            self.fragment = self.doubtful.is_none() && head.fragment && !head.doubtful && !twice;
            self.doubtful.get_or_insert(self.heads);
            self.state = State::Lost;
        } else if head.chunked {
            self.state = State::Size;
        } else {
            self.state = after_data(head.length.unwrap_or(0));
        }
    }

    /// Notes that from here on nobody can tell where a message ends.
    fn lose(&mut self) {
        self.line = Vec::new();
        self.state = State::Lost;
        self.doubtful.get_or_insert(self.heads + 1);
    }
}

fn after_data(left: u64) -> State {
    if left == 0 { State::Head } else { State::Data(left) }
}

impl Head {
    /// Handles one line of the head. `line` does not include the line end.
    fn line(&mut self, line: &[u8]) {
        let first = self.bytes == 0;
        self.bytes += line.len() + 2;
        if first {
            self.fragment = memchr::memchr(b'#', line).is_some();
            return;
        }
        let value = match line[0] {
            b't' | b'T' => field(line, b"transfer-encoding"),
            b'c' | b'C' => field(line, b"content-length"),
            // A line that begins with a blank continues the line before it. Other programs may read it in another way,
            // so the head is doubtful.
            b' ' | b'\t' => {
                self.doubtful = true;
                None
            }
            _ => None,
        };
        let Some(value) = value else { return };
        if line[0].eq_ignore_ascii_case(&b't') {
            self.doubtful |= self.chunked || !value.eq_ignore_ascii_case(b"chunked");
            self.chunked = true;
        } else {
            let length = decimal(value);
            self.doubtful |= self.length.is_some() || length.is_none();
            self.length = length.or(self.length);
        }
    }
}

/// Returns the value of a line whose field name is `name`; `None` if the line has another name.
///
/// Some programs take whitespace between the name and the colon for a part of the name, and some ignore it. If a line
/// has such whitespace, this returns everything after the name, for example ` : chunked`. This is never a valid value,
/// so the code that checks the value calls the head doubtful.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    if !found.eq_ignore_ascii_case(name) {
        return None;
    }
    match rest.strip_prefix(b":") {
        Some(value) => Some(trim(value)),
        None => rest.trim_ascii_start().starts_with(b":").then_some(rest),
    }
}

/// Returns the value without the spaces and tabs around it.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Returns the size of a chunk, in bytes, from the line before the chunk; `None` if that line is malformed. The line
/// consists of hexadecimal digits and perhaps an extension.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, extension) = line.split_at(end);
    let plain = extension.is_empty() || matches!(extension.trim_ascii_start(), [b';', ..] | []);
    let digits = std::str::from_utf8(digits).ok().filter(|_| plain && !extension.contains(&b'\r'))?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1024;

    fn doubtful(bytes: &[u8]) -> Option<u64> {
        let mut framing = Framing::new(LIMIT);
        framing.read(bytes);
        framing.doubtful_from()
    }

    fn post(headers: &str, body: &str) -> String {
        format!("POST / HTTP/1.1\r\nhost: a\r\n{headers}\r\n{body}")
    }

    #[test]
    fn heads_with_two_readings_are_seen() {
        for headers in [
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "content-length: 5\r\nTRANSFER-ENCODING: chunked\r\n",
            "content-length: 5\r\ncontent-length: 5\r\n",
            "content-length: 5\r\nContent-Length: 6\r\n",
            "content-length: 5, 5\r\n",
            "content-length: +5\r\n",
            "content-length:\r\n",
            "content-length: 99999999999999999999\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: xchunked\r\n",
            "transfer-encoding : chunked\r\n",
            "x: 1\ntransfer-encoding: chunked\r\n",
            "x: 1\r\n folded\r\n",
            "x: 1\n",
        ] {
            assert_eq!(doubtful(post(headers, "").as_bytes()), Some(1), "{headers:?}");
        }
        assert_eq!(doubtful(b"GET / HTTP/1.1\nhost: a\n\n"), Some(1));
        for headers in [
            "transfer-encoding: chunked\r\n",
            "Transfer-Encoding:\tCHUNKED \r\n",
            "x: transfer-encoding content-length\r\ncontent-length: 5\r\n",
            "content-lengthy: 5\r\ncontent-length: 5\r\nx-content-length: 7\r\n",
            "",
        ] {
            assert_eq!(doubtful(post(headers, "").as_bytes()), None, "{headers:?}");
        }
    }

    #[test]
    fn a_fragment_in_the_target_is_seen() {
        for (target, seen) in
            [("/a#b", true), ("/#", true), ("/a?b#", true), ("/a", false), ("/a%23b", false)]
        {
            let mut framing = Framing::new(LIMIT);
            framing.read(format!("GET {target} HTTP/1.1\r\nx: #\r\n\r\n").as_bytes());
            assert_eq!(
                (framing.doubtful_from(), framing.is_fragment()),
                (seen.then_some(1), seen),
                "{target}"
            );
        }
        let mut framing = Framing::new(LIMIT);
        framing.read(b"POST /#a HTTP/1.1\r\ncontent-length: +5\r\n\r\n");
        assert_eq!((framing.doubtful_from(), framing.is_fragment()), (Some(1), false));
    }

    #[test]
    fn doubtful_head_behind_other_requests_is_seen() {
        let twice = post("content-length: 5\r\ntransfer-encoding: chunked\r\n", "");
        for before in [
            post("", ""),
            post("content-length: 7\r\n", "content"),
            post(
                "transfer-encoding: chunked\r\n",
                "3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nt: 1\r\n\r\n",
            ),
            format!("\r\n\r\n{}", post("", "")),
        ] {
            let bytes = format!("{before}{twice}");
            assert_eq!(doubtful(bytes.as_bytes()), Some(2), "{before:?}");
        }
        let inside = post(&format!("content-length: {}\r\n", twice.len()), &twice);
        assert_eq!(doubtful(inside.as_bytes()), None, "what looks like a head within a body is not one");
    }

    #[test]
    fn chunks_that_are_none_lose_the_thread() {
        for body in [
            "-1\r\n",
            "0x5\r\n",
            "\r\n",
            "5\nabcde",
            "5\r\nabcdeX\r\n",
            "FFFFFFFFFFFFFFFFF\r\n",
            "5 5\r\n",
            "5;a\rb\r\n",
        ] {
            let bytes = post("transfer-encoding: chunked\r\n", body);
            assert_eq!(doubtful(bytes.as_bytes()), Some(2), "{body:?}");
        }
    }

    #[test]
    fn head_past_its_limit_is_not_kept() {
        let mut framing = Framing::new(LIMIT);
        (0..10 * LIMIT).for_each(|_| framing.read(b"x"));
        assert!(framing.line.capacity() <= 2 * LIMIT);
        assert_eq!(framing.doubtful_from(), Some(1));
    }

    /// Generates a whole request, in bytes.
    fn request() -> impl Strategy<Value = Vec<u8>> {
        let data = proptest::collection::vec(any::<u8>(), 0..40);
        prop_oneof![
            Just(post("", "").into_bytes()),
            data.clone().prop_map(|data| {
                let mut bytes = post(&format!("Content-Length: {}\r\n", data.len()), "").into_bytes();
                bytes.extend(data);
                bytes
            }),
            proptest::collection::vec(data, 0..4).prop_map(|chunks| {
                let mut bytes = post("transfer-encoding: chunked\r\n", "").into_bytes();
                for data in chunks.iter().filter(|data| !data.is_empty()) {
                    bytes.extend(format!("{:x}\r\n", data.len()).into_bytes());
                    bytes.extend(data);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
                bytes
            }),
        ]
    }

    /// Passes these bytes to a new `Framing`, piece by piece, and returns it. The pieces have the lengths in `sizes`,
    /// one after the other. After the last length the first one follows again.
    fn follow(bytes: &[u8], sizes: &[usize]) -> Framing {
        let mut framing = Framing::new(LIMIT);
        let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
        while !rest.is_empty() {
            let size = (*sizes.next().unwrap()).min(rest.len());
            let (piece, behind) = rest.split_at(size);
            framing.read(piece);
            rest = behind;
        }
        framing
    }

    proptest! {
        #[test]
        fn good_requests_are_followed_however_they_are_cut(
            requests in proptest::collection::vec(request(), 0..6),
            sizes in proptest::collection::vec(1_usize..50, 1..8),
        ) {
            let twice = post("content-length: 0\r\ncontent-length: 0\r\n", "");
            let mut bytes = requests.concat();
            let framing = follow(&bytes, &sizes);
            prop_assert_eq!(framing.doubtful_from(), None);
            prop_assert_eq!(framing.heads, requests.len() as u64);
            prop_assert!(!framing.is_in_head());
            bytes.extend(twice.as_bytes());
            prop_assert_eq!(follow(&bytes, &sizes).doubtful_from(), Some(requests.len() as u64 + 1));
        }

        #[test]
        fn any_bytes_are_followed_the_same_however_they_are_cut(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'0')], 0..300),
            headers in prop_oneof![Just("content-length: 9\r\n"), Just("transfer-encoding: chunked\r\n"), Just("")],
            sizes in proptest::collection::vec(1_usize..50, 1..8),
        ) {
            let mut all = post(headers, "").into_bytes();
            all.extend(bytes);
            let (cut, whole) = (follow(&all, &sizes), follow(&all, &[all.len()]));
            prop_assert_eq!(cut.doubtful_from(), whole.doubtful_from());
            prop_assert_eq!(cut.heads, whole.heads);
        }
    }
}
