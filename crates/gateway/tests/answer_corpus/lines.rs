//! RFC 9112, sections 2 and 3: lines, and the version.

use super::case::{Case, DECLINED};

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n";

pub fn cases() -> Vec<Case> {
    let mut cases = good();
    cases.extend(bare());
    cases.extend(before());
    cases.extend(versions());
    cases.extend(unfinished());
    cases
}

fn good() -> Vec<Case> {
    let octets = [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\nx-name: J\xfcrgen \xe5\x98\x8a\xe5\x98\x8d x: y\r\n\r\n"
            [..],
        DECLINED.as_bytes(),
    ];
    vec![
        Case::one(
            "9112-2.1 plain",
            "A status line, fields, an empty line and content are an answer.",
            GOOD,
            DECLINED,
        )
        .whole(),
        Case::one(
            "9112-2.2 octets",
            "A head is parsed as octets: bytes above 127 in a value are no line ends.",
            octets[0],
            octets[1],
        )
        .whole(),
    ]
}

fn bare() -> Vec<Case> {
    let lf = "Decided: a line ends in CRLF, and a bare LF makes the answer bad.";
    let cr = "A bare CR in a head makes the element invalid.";
    [
        ("lf-everywhere", lf, "HTTP/1.1 200 OK\ncontent-length: 19\n\n"),
        ("lf-status-line", lf, "HTTP/1.1 200 OK\ncontent-length: 19\r\n\r\n"),
        ("lf-field", lf, "HTTP/1.1 200 OK\r\nx: 1\ncontent-length: 19\r\n\r\n"),
        (
            "lf-before-length",
            lf,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\nx: 1\r\ncontent-length: 19\r\n\r\n",
        ),
        ("lf-last-line", lf, "HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\n"),
        ("lf-lf-cr-lf", lf, "HTTP/1.1 200 OK\r\ncontent-length: 19\n\r\n"),
        ("cr-everywhere", cr, "HTTP/1.1 200 OK\rcontent-length: 19\r\r"),
        ("cr-status-line", cr, "HTTP/1.1 200 OK\rx: 1\r\ncontent-length: 19\r\n\r\n"),
        ("cr-reason", cr, "HTTP/1.1 200 O\rK\r\ncontent-length: 19\r\n\r\n"),
        ("cr-value", cr, "HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 19\r\n\r\n"),
        ("cr-value-end", cr, "HTTP/1.1 200 OK\r\nx: a\r\r\ncontent-length: 19\r\n\r\n"),
        ("cr-value-begin", cr, "HTTP/1.1 200 OK\r\nx: \ra\r\ncontent-length: 19\r\n\r\n"),
        (
            "cr-hides-field",
            cr,
            "HTTP/1.1 200 OK\r\nx: a\rtransfer-encoding: chunked\r\ncontent-length: 19\r\n\r\n",
        ),
        ("cr-name", cr, "HTTP/1.1 200 OK\r\nx\ry: a\r\ncontent-length: 19\r\n\r\n"),
        ("cr-length", cr, "HTTP/1.1 200 OK\r\ncontent-length: 19\r\r\n\r\n"),
        ("cr-last-line", cr, "HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\r\n"),
    ]
    .into_iter()
    // The connection ends. Otherwise a reader that waits for the end of the head would wait for ever.
    .map(|(name, sentence, head)| Case::one(&format!("9112-2.2 {name}"), sentence, head, DECLINED).closing())
    .collect()
}

fn before() -> Vec<Case> {
    let space =
        "Whitespace between the status line and the first field makes an answer bad, or its line is ignored.";
    let nothing = "What comes before a status line is no part of an answer.";
    let rest = "HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n";
    let mut cases: Vec<Case> = [
        ("space-first", "HTTP/1.1 200 OK\r\n x: 1\r\ncontent-length: 19\r\n\r\n"),
        ("tab-first", "HTTP/1.1 200 OK\r\n\tx: 1\r\ncontent-length: 19\r\n\r\n"),
        ("space-first-length", "HTTP/1.1 200 OK\r\n content-length: 5\r\ncontent-length: 19\r\n\r\n"),
        ("space-line-first", "HTTP/1.1 200 OK\r\n \r\ncontent-length: 19\r\n\r\n"),
    ]
    .into_iter()
    .map(|(name, head)| Case::one(&format!("9112-2.2 {name}"), space, head, DECLINED).closing())
    .collect();
    cases.push(
        Case::one("9112-2.2 empty-line-before", nothing, format!("\r\n{rest}"), DECLINED)
            .either(200, DECLINED)
            .closing(),
    );
    for (name, junk) in [
        ("space-before", " "),
        ("junk-before", "ok\r\n"),
        ("chunk-before", "0\r\n\r\n"),
        ("nul-before", "\0"),
        ("mark-before", "\u{feff}"),
    ] {
        let head = format!("{junk}{rest}");
        cases.push(Case::one(&format!("9112-2.2 {name}"), nothing, head, DECLINED).closing());
    }
    cases
}

fn versions() -> Vec<Case> {
    let ours = "An intermediary sends its own version, whatever version the answer has.";
    let which = "An answer begins with HTTP/1.1 or HTTP/1.0, in capitals.";
    let mut cases = vec![
        Case::one("9112-2.3 one-nought", ours, "HTTP/1.0 200 OK\r\ncontent-length: 19\r\n\r\n", DECLINED)
            .whole()
            .closing(),
        Case::one(
            "9112-2.3 one-nought-kept",
            ours,
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 19\r\n\r\n",
            DECLINED,
        )
        .whole(),
        Case::one(
            "9112-2.3 one-nought-open",
            "Without keep-alive a connection is over with an answer of HTTP/1.0.",
            "HTTP/1.0 200 OK\r\ncontent-length: 19\r\n\r\n",
            DECLINED,
        )
        .whole(),
        Case::one("9112-2.3 one-nought-to-the-end", ours, "HTTP/1.0 200 OK\r\nserver: old\r\n\r\n", DECLINED)
            .whole()
            .closing(),
        Case::one("9112-2.3 one-nought-no-fields", ours, "HTTP/1.0 200 OK\r\n\r\n", DECLINED)
            .whole()
            .closing(),
    ];
    for line in [
        "HTTP/2.0 200 OK",
        "HTTP/2 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/1 200 OK",
        "HTTP/11 200 OK",
        "HTTP/1.10 200 OK",
        "HTTP/1.x 200 OK",
        "HTTP/01.1 200 OK",
        "http/1.1 200 OK",
        "HTTP 200 OK",
        "HTTP/ 1.1 200 OK",
        "ICY 200 OK",
        "RTSP/1.0 200 OK",
        "GET / HTTP/1.1",
    ] {
        let head = format!("{line}\r\ncontent-length: 19\r\n\r\n");
        cases.push(Case::one(&format!("9112-2.3 {line}"), which, head, DECLINED).closing());
    }
    cases
}

fn unfinished() -> Vec<Case> {
    let sentence = "A head that does not come to its end is no answer.";
    let other = "What is not HTTP is no answer.";
    let mut cases = Vec::new();
    for (name, head) in [
        ("nothing", ""),
        ("a-letter", "H"),
        ("a-status-line", "HTTP/1.1 200 OK\r\n"),
        ("half-a-field", "HTTP/1.1 200 OK\r\ncontent-len"),
        ("no-empty-line", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"),
        ("half-an-empty-line", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r"),
    ] {
        cases.push(Case::one(&format!("9112-2.1 {name}"), sentence, head, "").closing());
        cases.push(Case::one(&format!("9112-2.1 {name}-reset"), sentence, head, "").resetting());
    }
    for (name, head) in [
        ("tls-alert", &b"\x15\x03\x01\x00\x02\x02\x46"[..]),
        ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("smtp", b"220 mail.example ESMTP\r\n"),
        ("html", b"<html><body>moved</body></html>\r\n"),
        ("http2-settings", b"\0\0\0\x04\0\0\0\0\0"),
        ("zeros", &[0; 64]),
    ] {
        cases.push(Case::one(&format!("9112-2.1 {name}"), other, head, "").closing());
    }
    cases
}
