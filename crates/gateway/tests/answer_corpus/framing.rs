//! RFC 9112, section 6: where a body ends.

use super::case::{Case, DECLINED};

const CHUNKS: &str = "13\r\n{\"code\":\"DECLINED\"}\r\n0\r\n\r\n";

pub fn cases() -> Vec<Case> {
    let mut cases = codings();
    cases.extend(both());
    cases.extend(lengths());
    cases.extend(short());
    cases.extend(to_the_end());
    cases.extend(without_body());
    cases
}

fn head(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n")
}

fn codings() -> Vec<Case> {
    let able = "A recipient can read the chunked coding, whatever the case of its name.";
    let faulty = "Decided: a coding that is not exactly one `chunked` makes the answer bad.";
    let old = "Transfer-Encoding in an answer of HTTP/1.0 is faulty framing.";
    let mut cases: Vec<Case> =
        ["transfer-encoding: chunked", "Transfer-Encoding:  CHUNKED\t", "transfer-encoding:Chunked"]
            .into_iter()
            .map(|line| Case::one(&format!("9112-6.1 {line}"), able, head(line), CHUNKS).whole())
            .collect();
    for line in [
        "transfer-encoding: gzip",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, gzip",
        "transfer-encoding: identity",
        "transfer-encoding: identity, chunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
        "transfer-encoding:",
        "transfer-encoding: chunked,",
        "transfer-encoding: , chunked",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunke",
        "transfer-encoding: chunked;q=1",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: chunked chunked",
        "transfer-encoding: \x0bchunked",
        "transfer-encoding: compress",
        "transfer-encoding: cow",
    ] {
        let id = format!("9112-6.1 {}", line.escape_default());
        cases.push(Case::one(&id, faulty, head(line), CHUNKS).closing());
    }
    for (name, lines) in [
        ("chunked", "transfer-encoding: chunked"),
        ("chunked-kept", "connection: keep-alive\r\ntransfer-encoding: chunked"),
        ("both", "content-length: 19\r\ntransfer-encoding: chunked"),
    ] {
        let head = format!("HTTP/1.0 200 OK\r\n{lines}\r\n\r\n");
        cases.push(Case::one(&format!("9112-6.1 one-nought-{name}"), old, head, CHUNKS).closing());
    }
    cases
}

fn both() -> Vec<Case> {
    let sentence = "A length beside a transfer coding is an error. (A proxy may drop the length; decided: it is a bad answer.)";
    [
        ("length-first", "content-length: 19\r\ntransfer-encoding: chunked", CHUNKS),
        ("coding-first", "transfer-encoding: chunked\r\ncontent-length: 19", CHUNKS),
        ("right-length", "transfer-encoding: chunked\r\ncontent-length: 29", CHUNKS),
        ("short-length", "content-length: 5\r\ntransfer-encoding: chunked", CHUNKS),
        ("no-length", "content-length: 0\r\ntransfer-encoding: chunked", CHUNKS),
        ("long-length", "content-length: 1000\r\ntransfer-encoding: chunked", CHUNKS),
        ("apart", "content-length: 19\r\nx: 1\r\ntransfer-encoding: chunked", CHUNKS),
        ("identity", "content-length: 19\r\ntransfer-encoding: identity", DECLINED),
        ("empty-coding", "content-length: 19\r\ntransfer-encoding:", DECLINED),
        (
            "hidden-by-connection",
            "connection: transfer-encoding\r\ntransfer-encoding: chunked\r\ncontent-length: 19",
            CHUNKS,
        ),
    ]
    .into_iter()
    .map(|(name, lines, body)| {
        // The connection stays open. A reader that takes the shorter length would therefore put the rest before the next
        // answer.
        Case::one(&format!("9112-6.3 both {name}"), sentence, head(lines), body)
    })
    .collect()
}

fn lengths() -> Vec<Case> {
    let invalid = "An answer with an invalid length is discarded, and the caller has a 502.";
    let list = "Decided: one length, and no list, even of equal ones.";
    let mut cases = Vec::new();
    for (sentence, lines) in [
        (list, "content-length: 19, 19"),
        (list, "content-length: 19,19"),
        (list, "content-length: 19\r\ncontent-length: 19"),
        (list, "content-length: 19\r\nx: 1\r\nContent-Length: 19"),
        (list, "content-length: 019\r\ncontent-length: 19"),
        (list, "content-length: 19,"),
        (list, "content-length: , 19"),
        (invalid, "content-length: 5, 19"),
        (invalid, "content-length: 5\r\ncontent-length: 19"),
        (invalid, "content-length: 19\r\ncontent-length: 5"),
        (invalid, "content-length: 19\r\ncontent-length:"),
        (invalid, "content-length: +19"),
        (invalid, "content-length: -19"),
        (invalid, "content-length: -1"),
        (invalid, "content-length: 0x13"),
        (invalid, "content-length: 1 9"),
        (invalid, "content-length: 19 bytes"),
        (invalid, "content-length: 19;"),
        (invalid, "content-length: 19.0"),
        (invalid, "content-length: 1_9"),
        (invalid, "content-length: 1e1"),
        (invalid, "content-length: \"19\""),
        (invalid, "content-length: abc"),
        (invalid, "content-length:"),
        (invalid, "content-length: \u{661}\u{669}"),
        (invalid, "content-length: 18446744073709551616"),
        (invalid, "content-length: 18446744073709551635"),
        (invalid, "content-length: 99999999999999999999999999"),
    ] {
        let id = format!("9112-6.3 {}", lines.escape_default());
        cases.push(Case::one(&id, sentence, head(lines), DECLINED).closing());
    }
    let zeros = "content-length: 000019";
    cases.push(
        Case::one("9112-6.3 zeros before", "A length is one or more digits.", head(zeros), DECLINED).whole(),
    );
    cases.push(
        Case::one(
            "9112-6.3 another name",
            "Only Content-Length is a length.",
            head("content_length: 5"),
            DECLINED,
        )
        .whole()
        .closing(),
    );
    cases
}

fn short() -> Vec<Case> {
    let sentence = "A body that ends before its length is incomplete, and the connection is closed.";
    let mut cases = Vec::new();
    for (name, length, body) in [
        ("five-of-100", "100", "abcde"),
        ("none-of-100", "100", ""),
        ("a-byte-missing", "20", DECLINED),
        ("declined-of-100", "100", DECLINED),
        ("of-the-largest", "18446744073709551615", DECLINED),
        ("of-the-largest-signed", "9223372036854775808", DECLINED),
        ("beyond-a-word", "4294967315", DECLINED),
    ] {
        let lines = format!("content-length: {length}");
        let make = |id: &str| Case::one(id, sentence, head(&lines), body);
        cases.push(make(&format!("9112-6.3 {name}")).closing());
        cases.push(make(&format!("9112-6.3 {name}-reset")).resetting());
    }
    let failed = "HTTP/1.1 500 No\r\ncontent-length: 100\r\n\r\n";
    cases.push(Case::one("9112-6.3 half-a-500", sentence, failed, DECLINED).closing());
    let large = format!("{{\"pad\":\"{}", "x".repeat(300 << 10));
    cases.push(
        Case::one("9112-6.3 long-before-it-broke", sentence, head("content-length: 400000"), large).closing(),
    );
    cases
}

fn to_the_end() -> Vec<Case> {
    let sentence = "Without length and coding the body goes to the end of the connection.";
    vec![
        Case::one("9112-6.3 to-the-end", sentence, head("x: 1"), DECLINED).whole().closing(),
        Case::one("9112-6.3 to-the-end-empty", sentence, head("connection: close"), "").is(200, "").closing(),
        Case::one(
            "9112-8 to-a-reset",
            "Such a body is complete unless the connection reports an error.",
            head("x: 1"),
            DECLINED,
        )
        .resetting(),
        Case::one("9112-6.3 half-json-to-the-end", sentence, head("x: 1"), &DECLINED[..10])
            .is(200, &DECLINED[..10])
            .closing(),
    ]
}

fn without_body() -> Vec<Case> {
    let never = "Answers to HEAD, and 204 and 304, end with their head, whatever their fields say.";
    let mut cases = Vec::new();
    for (name, lines) in [
        ("bare", "x: 1"),
        ("length", "content-length: 19"),
        ("no-length", "content-length: 0"),
        ("chunked", "transfer-encoding: chunked"),
    ] {
        for status in [204, 304] {
            let head = format!("HTTP/1.1 {status} None\r\n{lines}\r\n\r\n");
            cases.push(Case::one(&format!("9112-6.3 {status} {name}"), never, head, "").is(status, ""));
        }
        cases
            .push(Case::one(&format!("9112-6.3 HEAD {name}"), never, head(lines), "").is(200, "").for_head());
    }
    for (name, lines, body) in [
        ("length-and-body", "content-length: 19", DECLINED),
        ("body", "x: 1", DECLINED),
        ("chunks", "transfer-encoding: chunked", CHUNKS),
        (
            "another-answer",
            "content-length: 59",
            "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"code\":\"SMUGGLED\"}\n",
        ),
    ] {
        for status in [204, 304] {
            let head = format!("HTTP/1.1 {status} None\r\n{lines}\r\n\r\n");
            cases.push(Case::one(&format!("9112-6.3 {status} {name}"), never, head, body).is(status, ""));
        }
        cases.push(
            Case::one(&format!("9112-6.3 HEAD {name}"), never, head(lines), body).is(200, "").for_head(),
        );
    }
    let still = "Decided: two framings are bad even where no body follows, or the fields are ignored.";
    for (name, lines) in [
        ("both", "content-length: 19\r\ntransfer-encoding: chunked"),
        ("list", "content-length: 5, 5"),
        ("gzip", "transfer-encoding: gzip"),
    ] {
        let head_204 = format!("HTTP/1.1 204 None\r\n{lines}\r\n\r\n");
        cases.push(Case::one(&format!("9112-6.3 204 {name}"), still, head_204, "").either(204, "").closing());
        let case = Case::one(&format!("9112-6.3 HEAD {name}"), still, head(lines), "");
        cases.push(case.either(200, "").for_head().closing());
    }
    let reset = "HTTP/1.1 205 Reset\r\ncontent-length: 0\r\n\r\n";
    cases.push(Case::one("9110-15.3.6 205", "A 205 is read by its framing.", reset, "").is(205, ""));
    cases
}
