//! RFC 9112, section 7: the chunked coding and its trailers.

use super::case::{Case, DECLINED, PADDED};

const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

pub fn cases() -> Vec<Case> {
    let mut cases = good();
    cases.extend(sizes());
    cases.extend(extensions());
    cases.extend(ends());
    cases.extend(trailers());
    cases.extend(forbidden_trailers());
    cases
}

fn case(name: &str, sentence: &'static str, body: impl AsRef<[u8]>) -> Case {
    Case::one(&format!("9112-7.1 {name}"), sentence, HEAD, body)
}

fn good() -> Vec<Case> {
    let able = "A recipient can read the chunked coding.";
    vec![
        case("one chunk", able, format!("13\r\n{DECLINED}\r\n0\r\n\r\n")).whole(),
        case("two chunks", able, "5\r\n{\"cod\r\nE\r\ne\":\"DECLINED\"}\r\n0\r\n\r\n").whole(),
        case("no chunk", able, "0\r\n\r\n").is(200, ""),
        case("small letters", able, format!("1a\r\n{PADDED}\r\n0\r\n\r\n")).is(200, PADDED),
        case("capital letters", able, format!("1A\r\n{PADDED}\r\n0\r\n\r\n")).is(200, PADDED),
        case("zeros before", able, format!("0000000000000013\r\n{DECLINED}\r\n0\r\n\r\n")).whole(),
        case("zeros at the end", able, format!("13\r\n{DECLINED}\r\n0000\r\n\r\n")).whole(),
        case(
            "single bytes",
            able,
            DECLINED.chars().map(|one| format!("1\r\n{one}\r\n")).collect::<String>() + "0\r\n\r\n",
        )
        .whole(),
        case("line ends inside", able, "4\r\n\r\n\r\n\r\n0\r\n\r\n").is(200, "\r\n\r\n"),
    ]
}

fn sizes() -> Vec<Case> {
    let digits = "Decided: a chunk size is 1 to 16 hexadecimal digits, and nothing else.";
    let large = "Large sizes do not overflow.";
    let mut cases = Vec::new();
    for size in [
        "",
        " ",
        "+13",
        "-13",
        "-1",
        "0x13",
        "0X13",
        "13h",
        "g",
        "x",
        " 13",
        "\t13",
        "13 ",
        "13\t",
        "1 3",
        "1_3",
        "13,",
        "13:",
        "1.3",
        "\"13\"",
        "13\0",
        "\u{661}\u{663}",
        "13\x0b",
    ] {
        let id = format!("size {}", size.escape_default());
        cases.push(case(&id, digits, format!("{size}\r\n{DECLINED}\r\n0\r\n\r\n")).closing());
        let id = format!("second size {}", size.escape_default());
        cases.push(case(&id, digits, format!("13\r\n{DECLINED}\r\n{size}\r\nabc\r\n0\r\n\r\n")).closing());
    }
    for size in [
        "00000000000000013",
        "10000000000000013",
        "FFFFFFFFFFFFFFFF",
        "FFFFFFFFFFFFFFFFF",
        "8000000000000013",
        "100000013",
    ] {
        let id = format!("size {size}");
        cases.push(case(&id, large, format!("{size}\r\n{DECLINED}\r\n0\r\n\r\n")).closing());
        let id = format!("second size {size}");
        cases.push(case(&id, large, format!("13\r\n{DECLINED}\r\n{size}\r\nabc\r\n0\r\n\r\n")).closing());
    }
    for last in ["-0", "+0", "0x0", "0 ", " 0", "00000000000000000", "0\0", "0,", "0h", "O"] {
        let id = format!("last size {}", last.escape_default());
        cases.push(case(&id, digits, format!("13\r\n{DECLINED}\r\n{last}\r\n\r\n")).closing());
    }
    cases
}

fn extensions() -> Vec<Case> {
    let ignored = "Chunk extensions that are not known are ignored.";
    let broken = "A chunk's line ends in CRLF, and has no bare CR or LF.";
    let mut cases: Vec<Case> =
        [";a", ";a=b", ";a=\"b\"", ";a=\"b;c\"", ";a=b;c=d", ";ieof", ";a=\"0\\\"\"", ";size=5"]
            .into_iter()
            .map(|text| {
                let body = format!("13{text}\r\n{DECLINED}\r\n0{text}\r\n\r\n");
                case(&format!("extension {text}"), ignored, body).whole()
            })
            .collect();
    for text in [" ;a", "\t; a = b", "; a=b", ";"] {
        let sentence = "Whitespace around an extension's signs is bad, and is read past or refused.";
        let body = format!("13{text}\r\n{DECLINED}\r\n0\r\n\r\n");
        let id = format!("extension {}", text.escape_default());
        cases.push(case(&id, sentence, body).either(200, DECLINED).closing());
    }
    for (name, text) in [
        ("lf", ";a\nb"),
        ("lf-in-quotes", ";a=\"\n\""),
        ("cr", ";a\rb"),
        ("cr-at-end", ";a\r"),
        ("hides-a-chunk", ";a\n0\r\n\r\n"),
        ("nul", ";a\0b"),
    ] {
        let body = format!("13{text}\r\n{DECLINED}\r\n0\r\n\r\n");
        cases.push(case(&format!("extension {name}"), broken, body).closing());
    }
    let sentence = "A bound is set to the length of extensions.";
    let body = format!("13;{}\r\n{DECLINED}\r\n0\r\n\r\n", "x".repeat(300 << 10));
    cases.push(case("extension that is long", sentence, body).closing());
    cases
}

fn ends() -> Vec<Case> {
    let crlf = "A chunk's data are followed by CRLF.";
    let whole = "A chunked body without its last chunk and empty line is incomplete.";
    let mut cases = Vec::new();
    for (name, body) in [
        ("no crlf behind data", "13\r\n{\"code\":\"DECLINED\"}0\r\n\r\n"),
        ("lf behind data", "13\r\n{\"code\":\"DECLINED\"}\n0\r\n\r\n"),
        ("cr behind data", "13\r\n{\"code\":\"DECLINED\"}\r0\r\n\r\n"),
        ("a byte too many", "13\r\n{\"code\":\"DECLINED\"}X\r\n0\r\n\r\n"),
        ("a byte too few", "14\r\n{\"code\":\"DECLINED\"}\r\n0\r\n\r\n"),
        ("lf lf behind data", "13\r\n{\"code\":\"DECLINED\"}\n\n0\r\n\r\n"),
        ("lf behind size", "13\n{\"code\":\"DECLINED\"}\r\n0\r\n\r\n"),
        ("cr behind size", "13\r{\"code\":\"DECLINED\"}\r\n0\r\n\r\n"),
        ("cr cr lf behind size", "13\r\r\n{\"code\":\"DECLINED\"}\r\n0\r\n\r\n"),
        ("lf behind last size", "13\r\n{\"code\":\"DECLINED\"}\r\n0\n\r\n"),
        ("lf at the end", "13\r\n{\"code\":\"DECLINED\"}\r\n0\r\n\n"),
        ("cr at the end", "13\r\n{\"code\":\"DECLINED\"}\r\n0\r\n\rX"),
        ("lf everywhere", "13\n{\"code\":\"DECLINED\"}\n0\n\n"),
        ("no chunks at all", DECLINED),
    ] {
        cases.push(case(name, crlf, body).closing());
    }
    for (name, body) in [
        ("nothing", ""),
        ("half a size", "1"),
        ("a size", "13\r\n"),
        ("half a chunk", "13\r\n{\"code\":\"DE"),
        ("a chunk without crlf", "13\r\n{\"code\":\"DECLINED\"}"),
        ("a chunk with cr", "13\r\n{\"code\":\"DECLINED\"}\r"),
        ("a chunk", "13\r\n{\"code\":\"DECLINED\"}\r\n"),
        ("half a last chunk", "13\r\n{\"code\":\"DECLINED\"}\r\n0"),
        ("a last size", "13\r\n{\"code\":\"DECLINED\"}\r\n0\r\n"),
        ("all but a byte", "13\r\n{\"code\":\"DECLINED\"}\r\n0\r\n\r"),
    ] {
        cases.push(case(&format!("only {name}"), whole, body).closing());
        cases.push(case(&format!("only {name}, reset"), whole, body).resetting());
    }
    cases
}

fn trailers() -> Vec<Case> {
    let allowed = "Trailers are kept apart from the head, passed on or dropped.";
    let like = "Trailers are field lines, and read as strictly as a head's.";
    let last = format!("13\r\n{DECLINED}\r\n0\r\n");
    let mut cases = vec![
        case("trailer", allowed, format!("{last}x-sum: 42\r\n\r\n")).whole(),
        case("two trailers", allowed, format!("{last}x-sum: 42\r\nx-more:\r\n\r\n")).whole(),
    ];
    for (name, text) in [
        ("without colon", &b"x\r\n\r\n"[..]),
        ("with space before colon", b"x : 1\r\n\r\n"),
        ("without name", b": 1\r\n\r\n"),
        ("with space in name", b"x y: 1\r\n\r\n"),
        ("folded", b"x: a\r\n b\r\n\r\n"),
        ("with space first", b" x: a\r\n\r\n"),
        ("with nul", b"x: a\0b\r\n\r\n"),
        ("with control", b"x: a\x01b\r\n\r\n"),
        ("with lf", b"x: a\ny: b\r\n\r\n"),
        ("with cr", b"x: a\ry: b\r\n\r\n"),
        ("that ends in lf", b"x: a\n\n"),
        ("that ends in lf crlf", b"x: a\n\r\n"),
        ("without end", b"x: a\r\n"),
        ("in half", b"x: a"),
        ("that is an answer", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let body = [last.as_bytes(), text].concat();
        cases.push(case(&format!("trailer {name}"), like, body).closing());
    }
    let sentence = "Decided: trailers are bounded as heads are.";
    let long = format!("{last}x: {}\r\n\r\n", "v".repeat(300 << 10));
    let many: String = (0..2_000).map(|at| format!("x-{at}: 1\r\n")).collect();
    cases.push(case("trailer that is long", sentence, long).closing());
    cases.push(case("trailers that are many", sentence, format!("{last}{many}\r\n")).closing());
    cases
}

fn forbidden_trailers() -> Vec<Case> {
    let sentence =
        "A trailer for framing, routing, authentication or the gateway's own word is not taken for a field.";
    let mut cases = Vec::new();
    for line in [
        "seawall-effect: applied",
        "Seawall-Reason: bad-answer",
        "seawall-attempts: 9",
        "content-length: 5",
        "transfer-encoding: chunked",
        "authorization: Bearer x",
        "connection: close",
        "host: evil.example",
    ] {
        let body = format!("13\r\n{DECLINED}\r\n0\r\n{line}\r\nx-sum: 42\r\n\r\n");
        cases.push(Case::one(&format!("9112-7.1.2 {line}"), sentence, HEAD, body).whole());
    }
    cases
}
