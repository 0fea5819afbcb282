//! RFC 9112, section 5, and RFC 9110, sections 5 and 7.6.1: field lines.

use super::case::{Case, DECLINED};

pub fn cases() -> Vec<Case> {
    let mut cases = good();
    cases.extend(names());
    cases.extend(values());
    cases.extend(folded());
    cases.extend(large());
    cases.extend(not_passed());
    cases
}

/// The head of a 200, with these lines before its `Content-Length`.
fn head(lines: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\n", lines, b"content-length: 19\r\n\r\n"].concat()
}

fn good() -> Vec<Case> {
    let around = "Whitespace around a value is no part of it.";
    [
        ("spaces", "HTTP/1.1 200 OK\r\ncontent-length:   19  \r\n\r\n"),
        ("tabs", "HTTP/1.1 200 OK\r\ncontent-length:\t19\t \r\n\r\n"),
        ("no-space", "HTTP/1.1 200 OK\r\ncontent-length:19\r\n\r\n"),
        ("empty-value", "HTTP/1.1 200 OK\r\nx:\r\ny: \r\ncontent-length: 19\r\n\r\n"),
        ("capitals", "HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 19\r\n\r\n"),
        ("colons", "HTTP/1.1 200 OK\r\nx: a:b::c\r\ncontent-length: 19\r\n\r\n"),
        ("all-token-characters", "HTTP/1.1 200 OK\r\n!#$%&'*+-.^_`|~09azAZ: 1\r\ncontent-length: 19\r\n\r\n"),
    ]
    .into_iter()
    .map(|(name, head)| Case::one(&format!("9112-5.1 {name}"), around, head, DECLINED).whole())
    .collect()
}

fn names() -> Vec<Case> {
    let space = "No whitespace stands between name and colon. (A proxy removes it, or, as decided, refuses the answer.)";
    let token = "A name is a token, and there is one.";
    let mut cases = Vec::new();
    for (name, lines) in [
        ("space-before-colon", "x : 1\r\n"),
        ("tab-before-colon", "x\t: 1\r\n"),
        ("space-before-colon-effect", "seawall-effect : applied\r\n"),
        ("space-before-colon-coding", "transfer-encoding : chunked\r\n"),
        ("space-before-colon-length", "content-length : 5\r\n"),
    ] {
        cases.push(Case::one(&format!("9112-5.1 {name}"), space, head(lines.as_bytes()), DECLINED).closing());
    }
    let only = "HTTP/1.1 200 OK\r\ncontent-length : 19\r\n\r\n";
    cases.push(Case::one("9112-5.1 only-length-with-space", space, only, DECLINED).closing());
    for (name, lines) in [
        ("space-inside", &b"x y: 1\r\n"[..]),
        ("empty", b": 1\r\n"),
        ("empty-and-space", b" : 1\r\n"),
        ("no-colon", b"no colon\r\n"),
        ("parenthesis", b"x(: 1\r\n"),
        ("slash", b"x/y: 1\r\n"),
        ("comma", b"x,y: 1\r\n"),
        ("quoted", b"\"x\": 1\r\n"),
        ("bracket", b"x[0]: 1\r\n"),
        ("nul", b"x\0y: 1\r\n"),
        ("control", b"x\x01: 1\r\n"),
        ("delete", b"x\x7f: 1\r\n"),
        ("octet", b"x\xe9: 1\r\n"),
        ("length-in-octets", b"content\xadlength: 5\r\n"),
        ("a-second-status-line", b"HTTP/1.1 500 No\r\n"),
    ] {
        cases.push(Case::one(&format!("9112-5 name {name}"), token, head(lines), DECLINED).closing());
    }
    cases
}

fn values() -> Vec<Case> {
    let sentence =
        "NUL, CR and LF in a value make it invalid, and other control characters are not passed on.";
    let mut cases = Vec::new();
    for (name, lines) in [
        ("nul", &b"x: a\0b\r\n"[..]),
        ("nul-end", b"x: a\0\r\n"),
        ("nul-only", b"x: \0\r\n"),
        ("control", b"x: a\x01b\r\n"),
        ("vertical-tab", b"x: a\x0bb\r\n"),
        ("form-feed", b"x: \x0ca\r\n"),
        ("escape", b"x: \x1b[31m\r\n"),
        ("delete", b"x: a\x7fb\r\n"),
        ("backspace", b"x: a\x08b\r\n"),
    ] {
        cases.push(Case::one(&format!("9110-5.5 value {name}"), sentence, head(lines), DECLINED).closing());
    }
    cases.push(
        Case::one(
            "9110-5.5 value tab",
            "A tab is no control character in a value.",
            head(b"x: a\tb\r\n"),
            DECLINED,
        )
        .whole(),
    );
    cases
}

fn folded() -> Vec<Case> {
    let sentence = "A folded line in an answer is a 502, or becomes one line. Decided: a 502.";
    [
        ("space", "x: a\r\n b\r\n"),
        ("tab", "x: a\r\n\tb\r\n"),
        ("empty", "x: a\r\n \r\n"),
        ("twice", "x: a\r\n b\r\n c\r\n"),
        ("from-nothing", "x:\r\n b\r\n"),
        ("coding", "transfer-encoding:\r\n chunked\r\n"),
        ("length", "content-length: 1\r\n 9\r\n"),
        ("a-field", "x: a\r\n transfer-encoding: chunked\r\n"),
        ("type", "content-type: message/http\r\nx: a\r\n b\r\n"),
    ]
    .into_iter()
    .map(|(name, lines)| {
        Case::one(&format!("9112-5.2 {name}"), sentence, head(lines.as_bytes()), DECLINED).closing()
    })
    .collect()
}

fn large() -> Vec<Case> {
    let bound = "Decided: a head has at most 100 fields and 256 KiB.";
    let fields = |number: usize| -> String { (1..number).map(|at| format!("x-{at}: 1\r\n")).collect() };
    let long = |length: usize| format!("x: {}\r\n", "v".repeat(length));
    vec![
        Case::one("9112-5 a hundred fields", bound, head(fields(99).as_bytes()), DECLINED).whole(),
        Case::one("9112-5 more fields", bound, head(fields(102).as_bytes()), DECLINED).closing(),
        Case::one("9112-5 very many fields", bound, head(fields(4_000).as_bytes()), DECLINED).closing(),
        Case::one("9112-5 12 KiB", bound, head(long(12 << 10).as_bytes()), DECLINED).whole(),
        Case::one("9112-5 more than 256 KiB", bound, head(long(257 << 10).as_bytes()), DECLINED).closing(),
        Case::one("9112-5 a megabyte", bound, head(long(1 << 20).as_bytes()), DECLINED).closing(),
        Case::one(
            "9112-5 a long name",
            bound,
            head(format!("{}: 1\r\n", "n".repeat(300 << 10)).as_bytes()),
            "",
        )
        .closing(),
        Case::one(
            "9112-4 a long reason",
            bound,
            format!("HTTP/1.1 200 {}\r\n\r\n", "r".repeat(300 << 10)),
            "",
        )
        .closing(),
    ]
}

fn not_passed() -> Vec<Case> {
    let hop = "Fields of one hop, and those that `Connection` names, are not passed on.";
    let ours = "Decided: a dependency does not speak for the gateway.";
    vec![
        Case::one(
            "9110-7.6.1 connection",
            hop,
            head(b"connection: x-secret, keep-alive\r\nx-secret: 1\r\nkeep-alive: timeout=5\r\n"),
            DECLINED,
        )
        .whole()
        .without(&["x-secret", "keep-alive"]),
        Case::one(
            "9110-7.6.1 connection-names-length",
            hop,
            head(b"connection: content-length\r\n"),
            DECLINED,
        )
        .either(200, DECLINED)
        .closing(),
        Case::one(
            "9110-7.6.1 other-hops",
            hop,
            head(b"proxy-connection: keep-alive\r\nupgrade: h2c\r\n"),
            DECLINED,
        )
        .whole()
        .without(&["proxy-connection", "upgrade"]),
        Case::one("seawall effect-in-head", ours, head(b"seawall-effect: applied\r\n"), DECLINED).whole(),
        Case::one(
            "seawall effects-in-head",
            ours,
            head(b"Seawall-Effect: applied\r\nseawall-effect: applied\r\nSEAWALL-reason: x\r\n"),
            DECLINED,
        )
        .whole(),
        Case::one(
            "seawall effect-on-500",
            ours,
            "HTTP/1.1 500 No\r\nseawall-effect: applied\r\ncontent-length: 19\r\n\r\n",
            DECLINED,
        )
        .is(500, DECLINED),
    ]
}
