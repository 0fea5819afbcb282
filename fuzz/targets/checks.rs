//! Checks what must hold for each parser of ours, whatever its input is. The fuzz targets and the tests of the gateway
//! (`tests/parsers.rs`) both use these checks.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use seawall_gateway::callers::framing::Framing;
use seawall_gateway::config;
use seawall_lab::harbor::{Fault, Script};

/// A check. It panics if a parser is wrong.
pub(crate) type Check = fn(&[u8]);

/// Each target with its name.
pub(crate) const TARGETS: [(&str, Check); 5] =
    [("config", config), ("times", times), ("framing", framing), ("answers", answers), ("faults", faults)];

/// Either a configuration is read, or every mistake in it has a place. No secret is shown.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // A text that names files is skipped, since the files depend on the machine.
    if text.contains("file:") {
        return;
    }
    let env = |name: &str| (!name.is_empty()).then(|| "S3CRET".to_owned());
    match config::parse("seawall.toml", text, &env) {
        Ok(loaded) => {
            let shown = config::effective(&loaded.settings);
            assert!(!shown.contains("S3CRET") || text.contains("S3CRET"), "{shown}");
            loaded.notes.iter().for_each(|note| assert!(!note.to_string().is_empty()));
        }
        Err(report) => {
            assert!(!report.mistakes().is_empty());
            let lines = text.matches('\n').count() + 1;
            for mistake in report.mistakes() {
                let place = mistake.place.expect("a mistake in a text has its place");
                assert!((1..=lines).contains(&place.line) && place.column >= 1, "{place}");
            }
            let shown = report.render(false);
            assert!(!shown.contains("S3CRET") || text.contains("S3CRET"), "{shown}");
        }
    }
}

/// Times are either read as they are written, or not at all.
pub(crate) fn times(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(time) = seawall_gateway::request::headers::grpc_timeout(text) {
        assert!(text.len() <= 9 && time <= Duration::from_secs(99_999_999 * 3600), "{text:?}");
    }
    if let Some(time) = seawall_gateway::request::headers::duration(text) {
        let whole = text.trim().strip_suffix("ms").and_then(|number| number.trim_end().parse::<u32>().ok());
        if let Some(millis) = whole {
            assert_eq!(time, Duration::from_millis(u64::from(millis)), "{text:?}");
        }
    }
}

/// The framing finds the same requests as hyper, up to the first request that it calls doubtful. The result does not
/// depend on how the bytes are cut.
pub(crate) fn framing(bytes: &[u8]) {
    const LIMIT: usize = 1 << 20;
    let Some((seed, bytes)) = bytes.split_first() else { return };
    let followed = Followed::byte_by_byte(bytes, LIMIT);
    let (mut cut, mut rest, mut size) = (Framing::new(LIMIT), bytes, usize::from(*seed));
    while !rest.is_empty() {
        size = (size * 7 + 3) % 61;
        let (piece, behind) = rest.split_at(size.clamp(1, rest.len()));
        cut.read(piece);
        rest = behind;
    }
    assert_eq!(cut.doubtful_from(), followed.doubtful_from);
    for (number, theirs) in (1..).zip(requests(bytes)) {
        if followed.doubtful_from.is_some_and(|from| number >= from) {
            break;
        }
        let ours = followed.heads.get(number as usize - 1);
        assert_eq!(ours.map(String::as_str), Some(theirs.as_str()), "request {number}");
    }
}

/// What answers say is read, or ignored.
pub(crate) fn answers(bytes: &[u8]) {
    let (first, rest) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &b""[..]),
    };
    if let Ok(value) = HeaderValue::from_bytes(first) {
        let _ = seawall_client::keep_alive(&value);
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value)]);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        if let Some(wait) = seawall_client::come_back(&headers, now) {
            // Adding it to a time must not overflow.
            let _ = seawall_client::Clock::new().now().saturating_add(wait);
        }
    }
    let (Ok(pointer), Ok(json)) = (std::str::from_utf8(first), serde_json::from_slice(rest)) else { return };
    if seawall_client::scalar(&json, pointer).is_some() {
        let found = json.pointer(pointer).expect("where there is a scalar there is something");
        assert!(!found.is_object() && !found.is_array());
    }
}

/// Either a fault or a script is read, or the error says what is wrong.
pub(crate) fn faults(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = text.parse::<Fault>() {
        assert!(!error.to_string().is_empty());
    }
    if let Err(error) = text.parse::<Script>() {
        assert!(!error.to_string().is_empty());
    }
}

/// What the framing finds if it reads one byte at a time.
struct Followed {
    doubtful_from: Option<u64>,
    /// The method and target of each head, in order.
    heads: Vec<String>,
}

impl Followed {
    fn byte_by_byte(bytes: &[u8], limit: usize) -> Followed {
        let mut framing = Framing::new(limit);
        let mut heads = Vec::new();
        let mut inside = false;
        for (at, byte) in bytes.iter().enumerate() {
            framing.read(&[*byte]);
            if framing.is_in_head() && !inside && !matches!(byte, b'\r' | b'\n') {
                heads.push(first_line(&bytes[at..]));
                inside = true;
            }
            inside &= framing.is_in_head();
        }
        Followed { doubtful_from: framing.doubtful_from(), heads }
    }
}

fn first_line(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == b'\r').unwrap_or(bytes.len());
    let line = String::from_utf8_lossy(&bytes[..end]);
    let before = line.rsplit_once(' ').map_or("", |(before, _)| before);
    // The target in the form that hyper gives, for example without a fragment.
    match before.split_once(' ').map(|(method, target)| (method, target.parse::<Uri>())) {
        Some((method, Ok(uri))) => format!("{method} {uri}"),
        _ => before.to_owned(),
    }
}

/// The method and target of each request that hyper finds. Bodies are read to their end.
fn requests(bytes: &[u8]) -> Vec<String> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let service = service_fn(move |request: Request<Incoming>| {
        let kept = Arc::clone(&kept);
        async move {
            let line = format!("{} {}", request.method(), request.uri());
            kept.lock().expect("nobody panics with it").push(line);
            let _ = request.into_body().collect().await;
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let tape = Tape { bytes: bytes.to_vec(), read: 0 };
    let mut connection = pin!(http1::Builder::new().serve_connection(tape, service));
    let mut context = Context::from_waker(Waker::noop());
    // Polling again is always enough to make progress, so the loop ends.
    for _ in 0..bytes.len() + 1000 {
        if connection.as_mut().poll(&mut context).is_ready() {
            break;
        }
    }
    let seen = seen.lock().expect("nobody panics with it");
    seen.clone()
}

/// A connection that plays recorded bytes. What is written to it is not kept.
struct Tape {
    bytes: Vec<u8>,
    read: usize,
}

impl hyper::rt::Read for Tape {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let end = self.bytes.len().min(self.read + buf.remaining());
        buf.put_slice(&self.bytes[self.read..end]);
        self.read = end;
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Tape {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
