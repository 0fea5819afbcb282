//! RFC 9112, sections 6.3 and 9: bytes after a complete answer are not the next answer.

use super::case::{After, Case, DECLINED};

/// An answer that no caller may get.
const EVIL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"code\":\"EVIL\"}";
const STALE: &str = "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const CHUNKS: &str = "13\r\n{\"code\":\"DECLINED\"}\r\n0\r\n\r\n";

pub fn cases() -> Vec<Case> {
    let mut cases = with_it();
    cases.extend(later());
    cases.extend(ends());
    cases
}

/// The extra bytes come in the same write as the answer's body.
fn with_it() -> Vec<Case> {
    let sentence = "Bytes behind an answer are not processed, kept or passed on as another answer.";
    let mut cases = Vec::new();
    for (name, more) in [
        ("an answer", EVIL),
        ("a byte", "X"),
        ("a line end", "\r\n"),
        ("half an answer", "HTTP/1.1 200 OK\r\ncontent-le"),
        ("an interim answer", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("a 408", STALE),
        ("a last chunk", "0\r\n\r\n"),
    ] {
        for (kind, head, body) in [("length", LENGTH, DECLINED), ("chunks", CHUNKED, CHUNKS)] {
            let id = format!("9112-6.3 {name} behind {kind}");
            cases.push(Case::one(&id, sentence, head, format!("{body}{more}")).whole());
        }
        for status in [204, 304] {
            let head = format!("HTTP/1.1 {status} None\r\nx: 1\r\n\r\n");
            cases.push(
                Case::one(&format!("9112-6.3 {name} behind {status}"), sentence, head, more).is(status, ""),
            );
        }
        let case = Case::one(&format!("9112-6.3 {name} behind HEAD"), sentence, LENGTH, more);
        cases.push(case.is(200, "").for_head());
    }
    let empty = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    cases.push(Case::one("9112-6.3 a body behind length 0", sentence, empty, DECLINED).is(200, ""));
    cases.push(Case::one("9112-6.3 an answer behind length 0", sentence, empty, EVIL).is(200, ""));
    cases
}

/// The extra bytes come on the idle connection, after the caller has its answer.
fn later() -> Vec<Case> {
    let sentence = "What comes on an idle connection answers no request.";
    let mut cases = Vec::new();
    for (name, late) in [
        ("an answer", EVIL),
        ("a 408", STALE),
        ("a byte", "X"),
        ("a line end", "\r\n"),
        ("an interim answer", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        for (kind, head, body) in [("length", LENGTH, DECLINED), ("chunks", CHUNKED, CHUNKS)] {
            for (how, after) in [("", After::Late(late.into())), (", closed", After::LateClose(late.into()))]
            {
                let id = format!("9112-9 later {name} behind {kind}{how}");
                cases.push(Case::one(&id, sentence, head, body).whole().after(after));
            }
        }
    }
    cases
}

fn ends() -> Vec<Case> {
    let whole = "An answer that is complete by its framing is complete, whatever becomes of the connection.";
    let close = "A connection whose answer says `close` is not used again.";
    let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 19\r\n\r\n";
    vec![
        Case::one("9112-9.6 closed behind length", whole, LENGTH, DECLINED).whole().closing(),
        Case::one("9112-9.6 closed behind chunks", whole, CHUNKED, CHUNKS).whole().closing(),
        Case::one("9112-9.6 reset behind length", whole, LENGTH, DECLINED).whole().resetting(),
        Case::one("9112-9.6 reset behind chunks", whole, CHUNKED, CHUNKS).whole().resetting(),
        Case::one("9112-9.6 close", close, closing, DECLINED).whole(),
        Case::one("9112-9.6 close, and another answer", close, closing, format!("{DECLINED}{EVIL}")).whole(),
        Case::one("9112-9.6 close, and another answer later", close, closing, DECLINED)
            .whole()
            .after(After::Late(EVIL.into())),
    ]
}
