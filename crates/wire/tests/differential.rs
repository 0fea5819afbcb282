//! On valid answers our reader and hyper's return the same events: status, fields, content, trailers and the end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::rt::{Read, ReadBufCursor, Write};
use proptest::prelude::*;
use seawall_wire::{Asked, Body, HeadEnd, Limits, answer};

/// What a reader makes of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Events {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    content: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
}

/// The fields in a fixed order, without those for one hop, which our reader does not pass on.
fn fields(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let hop = ["connection", "keep-alive", "transfer-encoding", "content-length"];
    let kept = map.iter().filter(|(name, _)| !hop.contains(&name.as_str()));
    let mut fields: Vec<_> = kept.map(|(n, v)| (n.to_string(), v.as_bytes().to_vec())).collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}

/// Reads with our reader, in pieces of this size; `None` if the answer is not whole.
fn ours(bytes: &[u8], method: &Method, size: usize) -> Option<Events> {
    let limits = Limits::default();
    let asked = if method == Method::HEAD { Asked::Head } else { Asked::Other };
    let mut rest = bytes;
    let head = loop {
        let mut end = HeadEnd::default();
        let mut seen = 0;
        let length = loop {
            seen = (seen + size).min(rest.len());
            match end.find(&rest[..seen]).unwrap() {
                Some(length) => break length,
                None if seen == rest.len() => return None,
                None => {}
            }
        };
        let head = answer(&rest[..length], asked, limits).unwrap();
        rest = &rest[length..];
        if !head.status.is_informational() {
            break head;
        }
    };
    let (mut body, mut content) = (Body::new(head.framing, limits), Vec::new());
    for piece in rest.chunks(size) {
        body.read(piece, &mut content).unwrap();
    }
    let whole = body.closed();
    let trailers = body.take_trailers().map(|trailers| fields(&trailers)).unwrap_or_default();
    whole.then(|| Events { status: head.status.as_u16(), fields: fields(&head.fields), content, trailers })
}

/// Reads the same pieces with hyper.
fn theirs(bytes: &[u8], method: &Method, size: usize) -> Option<Events> {
    let tape = Tape { bytes: bytes.to_vec(), read: 0, size, asked: false };
    let mut cx = Context::from_waker(Waker::noop());
    let mut shake = pin!(http1::Builder::new().max_headers(200).handshake::<_, Empty<Bytes>>(tape));
    let Poll::Ready(Ok((mut sender, connection))) = shake.as_mut().poll(&mut cx) else {
        panic!("no handshake")
    };
    let request = Request::builder().method(method).uri("/").header("host", "a").body(Empty::new()).unwrap();
    let mut exchange = pin!(async {
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?;
        let trailers = body.trailers().map(fields).unwrap_or_default();
        let content = body.to_bytes().to_vec();
        Some(Events { status: head.status.as_u16(), fields: fields(&head.headers), content, trailers })
    });
    let (mut connection, mut over) = (pin!(connection), false);
    for _ in 0..10 * bytes.len() + 100 {
        over = over || connection.as_mut().poll(&mut cx).is_ready();
        if let Poll::Ready(events) = exchange.as_mut().poll(&mut cx) {
            return events;
        }
    }
    panic!("hyper waits for more than {:?}", String::from_utf8_lossy(bytes));
}

/// A recorded answer. After something was asked, it comes in pieces, and then the connection ends.
struct Tape {
    bytes: Vec<u8>,
    read: usize,
    size: usize,
    asked: bool,
}

impl Read for Tape {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            return Poll::Pending;
        }
        let end = self.bytes.len().min(self.read + self.size.min(buf.remaining()));
        buf.put_slice(&self.bytes[self.read..end]);
        self.read = end;
        Poll::Ready(Ok(()))
    }
}

impl Write for Tape {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = true;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn field_lines() -> impl Strategy<Value = String> {
    let name = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}".prop_map(|name| format!("x{name}"));
    let value = prop_oneof!["[ -~]{0,30}", "[!-~]{1,5}\t[!-~]{1,5}", "[\u{a1}-\u{2ff}]{1,6}"];
    let line = (name, value).prop_map(|(name, value)| format!("{name}: {value}\r\n"));
    proptest::collection::vec(line, 0..8).prop_map(|lines| lines.concat())
}

/// A valid answer to a GET or HEAD, either whole or cut off at some point.
fn answers() -> impl Strategy<Value = (Vec<u8>, Method)> {
    let interim = prop_oneof![3 => Just(""), 1 => Just("HTTP/1.1 103 Early\r\nlink: a\r\n\r\n"), 1 => Just("HTTP/1.1 100 \r\n\r\n")];
    let status = prop_oneof![4 => Just(200_u16), 1 => Just(204), 1 => Just(304), 4 => 201_u16..600];
    let content = proptest::collection::vec(any::<u8>(), 0..120);
    let ends = (0_u8..4, 1_usize..40, any::<bool>(), any::<bool>());
    (
        interim,
        status,
        field_lines(),
        content,
        ends,
        any::<bool>(),
        prop_oneof![2 => Just(1.0), 1 => 0.0..1.0_f64],
    )
        .prop_map(|(interim, status, lines, content, (framing, chunk, extended, trailed), head, cut)| {
            let wordless = head || matches!(status, 204 | 304);
            let mut bytes = interim.as_bytes().to_vec();
            let version = if framing == 3 { "1.0" } else { "1.1" };
            bytes.extend(format!("HTTP/{version} {status} Reason\r\n{lines}").into_bytes());
            match framing {
                0 if status != 204 => {
                    bytes.extend(format!("Content-Length: {}\r\n", content.len()).into_bytes())
                }
                1 if status != 204 => bytes.extend(b"Transfer-Encoding: chunked\r\n"),
                _ => {}
            }
            bytes.extend(b"\r\n");
            if !wordless && framing == 1 {
                for piece in content.chunks(chunk) {
                    let extension = if extended { ";a=\"b c\"" } else { "" };
                    bytes.extend(format!("{:x}{extension}\r\n", piece.len()).into_bytes());
                    bytes.extend(piece);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(if trailed { &b"0\r\nX-Sum: 1\r\n\r\n"[..] } else { b"0\r\n\r\n" });
            } else if !wordless {
                bytes.extend(content);
            }
            let kept = (bytes.len() as f64 * cut) as usize;
            bytes.truncate(kept.max(1));
            (bytes, if head { Method::HEAD } else { Method::GET })
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_answers_are_read_as_hyper_reads_them((bytes, method) in answers(), size in 1_usize..200) {
        let (ours, theirs) = (ours(&bytes, &method, size), theirs(&bytes, &method, size));
        prop_assert_eq!(ours, theirs, "{}", String::from_utf8_lossy(&bytes));
    }
}
