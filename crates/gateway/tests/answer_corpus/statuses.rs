//! RFC 9112, section 4, and RFC 9110, section 15: status lines and interim answers.

use super::case::{Case, DECLINED};

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n";

pub fn cases() -> Vec<Case> {
    let mut cases = codes();
    cases.extend(reasons());
    cases.extend(interim());
    cases.extend(switching());
    cases
}

fn codes() -> Vec<Case> {
    let digits = "A status is three digits, and the first is 1 to 9.";
    let mut cases = Vec::new();
    for code in [
        "099",
        "000",
        "1000",
        "2000",
        "20",
        "2",
        "",
        "abc",
        "2x0",
        "2OO",
        "-200",
        "+200",
        "2 00",
        "0200",
        "200.1",
        "200,",
        "\u{665}\u{665}\u{665}",
        "2\09",
    ] {
        let head = format!("HTTP/1.1 {code} OK\r\ncontent-length: 19\r\n\r\n");
        let id = format!("9112-4 status {}", code.escape_default());
        cases.push(Case::one(&id, digits, head, DECLINED).closing());
    }
    for (separator, name) in [("  ", "two-spaces"), ("\t", "tab"), ("", "nothing"), ("\x0b", "vertical-tab")]
    {
        let head = format!("HTTP/1.1{separator}200 OK\r\ncontent-length: 19\r\n\r\n");
        let sentence = "One space stands between version and status.";
        cases.push(Case::one(&format!("9112-4 {name}"), sentence, head, DECLINED).closing());
    }
    for status in [201, 299, 300, 402, 404, 451, 499, 500, 503, 599, 600, 999] {
        let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: 19\r\n\r\n");
        let sentence =
            "A status that nobody knows is taken for the first of its class, and passed on as it is.";
        cases.push(
            Case::one(&format!("9110-15 status {status}"), sentence, head, DECLINED).is(status, DECLINED),
        );
    }
    cases
}

fn reasons() -> Vec<Case> {
    let ignored = "The reason phrase is ignored.";
    let mut cases: Vec<Case> = [
        ("empty", &b"HTTP/1.1 200 \r\n"[..]),
        ("absent", b"HTTP/1.1 200\r\n"),
        ("misleading", b"HTTP/1.1 200 500 Internal Server Error\r\n"),
        ("octets", b"HTTP/1.1 200 d\xe9j\xe0 vu\r\n"),
        ("tab", b"HTTP/1.1 200 O\tK\r\n"),
        ("colon", b"HTTP/1.1 200 content-length: 5\r\n"),
    ]
    .into_iter()
    .map(|(name, line)| {
        let head = [line, b"content-length: 19\r\n\r\n"].concat();
        Case::one(&format!("9112-4 reason {name}"), ignored, head, DECLINED).whole()
    })
    .collect();
    for (name, line) in [
        ("nul", &b"HTTP/1.1 200 O\0K\r\n"[..]),
        ("control", b"HTTP/1.1 200 O\x01K\r\n"),
        ("delete", b"HTTP/1.1 200 O\x7fK\r\n"),
    ] {
        let head = [line, b"content-length: 19\r\n\r\n"].concat();
        let sentence = "A reason phrase has no control characters.";
        cases.push(Case::one(&format!("9112-4 reason {name}"), sentence, head, DECLINED).closing());
    }
    cases
}

fn interim() -> Vec<Case> {
    let several = "A client reads any number of interim answers before the final one.";
    let decided = "Decided: interim answers end at the gateway.";
    let mut cases: Vec<Case> = [
        ("100", several, "HTTP/1.1 100 Continue\r\n\r\n"),
        ("102", several, "HTTP/1.1 102 Processing\r\n\r\n"),
        ("103", decided, "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"),
        ("199", several, "HTTP/1.1 199 Whatever\r\n\r\n"),
        ("two", several, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"),
        ("three", decided, "HTTP/1.1 100 A\r\n\r\nHTTP/1.1 102 B\r\n\r\nHTTP/1.1 103 C\r\nx: 1\r\n\r\n"),
    ]
    .into_iter()
    .map(|(name, sentence, first)| {
        Case::one(&format!("9110-15.2 {name}"), sentence, first, format!("{GOOD}{DECLINED}")).whole()
    })
    .collect();
    for (name, field) in [("length", "content-length: 19"), ("chunked", "transfer-encoding: chunked")] {
        let first = format!("HTTP/1.1 103 Early Hints\r\n{field}\r\n\r\n");
        let sentence = "An interim answer ends with its empty line, whatever its fields say.";
        let case =
            Case::one(&format!("9112-6.3 interim-{name}"), sentence, first, format!("{GOOD}{DECLINED}"));
        cases.push(case.either(200, DECLINED).closing());
    }
    let none = "An interim answer is no answer.";
    for (name, first) in [
        ("only", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("only-103", "HTTP/1.1 103 Early Hints\r\ncontent-length: 0\r\n\r\n"),
        ("half-behind", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"),
    ] {
        cases.push(Case::one(&format!("9110-15.2 {name}"), none, first, "").closing());
    }
    for (name, first) in [
        ("lf", "HTTP/1.1 100 Continue\n\n"),
        ("folded", "HTTP/1.1 103 Early Hints\r\nx: a\r\n b\r\n\r\n"),
        ("no-colon", "HTTP/1.1 103 Early Hints\r\nhints\r\n\r\n"),
        ("junk-behind", "HTTP/1.1 100 Continue\r\n\r\nok"),
    ] {
        let sentence = "The head of an interim answer is read like any other.";
        let case = Case::one(&format!("9110-15.2 {name}"), sentence, first, format!("{GOOD}{DECLINED}"));
        cases.push(case.closing());
    }
    cases
}

fn switching() -> Vec<Case> {
    let sentence = "A 101 that nobody asked for is a bad answer.";
    let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    vec![
        Case::one("9110-15.2.2 101", sentence, head, "").bad_answer(),
        Case::one("9110-15.2.2 101-bare", sentence, "HTTP/1.1 101 X\r\n\r\n", "").bad_answer(),
        Case::one("9110-15.2.2 101-then-200", sentence, head, format!("{GOOD}{DECLINED}")).bad_answer(),
        Case::one("9110-15.2.2 101-closed", sentence, head, "").bad_answer().closing(),
        Case::one("9110-15.2.2 100-then-101", sentence, format!("HTTP/1.1 100 Continue\r\n\r\n{head}"), "")
            .bad_answer(),
    ]
}
