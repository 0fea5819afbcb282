//! RFC 9113, section 8: answers over HTTP/2.

use super::case::{Case, DECLINED};
use super::two::{self, END_HEADERS, END_STREAM, Frame, data, goaway, head, raw_head, reset};

const OK: &[(&str, &str)] = &[(":status", "200")];

pub fn cases() -> Vec<Case> {
    let mut cases = good();
    cases.extend(resets());
    cases.extend(order());
    cases.extend(lengths());
    cases.extend(fields());
    cases.extend(pseudo());
    cases.extend(interim());
    cases.extend(without_body());
    cases.extend(frames());
    cases
}

fn ok(more: &[(&str, &str)]) -> Frame {
    head(&[OK, more].concat())
}

fn answer(id: &str, sentence: &'static str, fields: &[(&str, &str)]) -> Case {
    Case::two(&format!("9113-{id}"), sentence, [head(fields), data(DECLINED).end()])
}

fn good() -> Vec<Case> {
    let plain = "HEADERS, DATA and END_STREAM are an answer.";
    let dropped = "A trailer for framing, authentication or the gateway's own word is not taken for a field.";
    let trailed =
        |name: &str, value: &str| [ok(&[]), data(DECLINED), head(&[(name, value), ("x-sum", "4")]).end()];
    let mut cases = vec![
        answer("8.1 plain", plain, OK).whole(),
        answer("8.1.1 right length", plain, &[(":status", "200"), ("content-length", "19")]).whole(),
        Case::two("9113-8.1 two DATA", plain, [ok(&[]), data(&DECLINED[..5]), data(&DECLINED[5..]).end()])
            .whole(),
        Case::two("9113-8.1 empty DATA", plain, [ok(&[]), data(DECLINED), data("").end()]).whole(),
        Case::two("9113-8.1 no DATA", plain, [ok(&[]).end()]).is(200, ""),
        Case::two("9113-8.1 trailers", plain, trailed("x-more", "1")).whole(),
        answer(
            "8 effect-in-head",
            "Decided: a dependency does not speak for the gateway.",
            &[(":status", "200"), ("seawall-effect", "applied")],
        )
        .whole(),
    ];
    for name in ["seawall-effect", "seawall-reason", "content-length", "authorization", "host"] {
        let value = if name == "content-length" { "19" } else { "applied" };
        cases.push(Case::two(&format!("9113-8.1 trailer {name}"), dropped, trailed(name, value)).whole());
    }
    cases
}

fn resets() -> Vec<Case> {
    let early = "A stream that is reset before END_STREAM is no whole answer, whatever the code.";
    let behind = "A reset with NO_ERROR behind a whole answer does not discard it.";
    let mut cases = Vec::new();
    for (name, code) in [("NO_ERROR", 0), ("PROTOCOL_ERROR", 1), ("INTERNAL_ERROR", 2), ("CANCEL", 8)] {
        let id = |what: &str| format!("9113-8.1 {name} {what}");
        cases.push(Case::two(&id("before a head"), early, [reset(code)]));
        cases.push(Case::two(&id("behind a head"), early, [ok(&[]), reset(code)]));
        cases.push(Case::two(&id("behind DATA"), early, [ok(&[]), data(DECLINED), reset(code)]));
        let length = ok(&[("content-length", "100")]);
        cases.push(Case::two(&id("behind half the length"), early, [length, data(DECLINED), reset(code)]));
        let length = ok(&[("content-length", "19")]);
        let case = Case::two(&id("behind all of the length"), early, [length, data(DECLINED), reset(code)]);
        // We decided that an answer is whole if it is as long as it announced. h2 does not report whether END_STREAM came
        // before a reset.
        cases.push(if code == 0 { case.whole() } else { case.behind(200, DECLINED) });
    }
    cases.push(
        Case::two("9113-8.1 NO_ERROR behind all", behind, [ok(&[]), data(DECLINED).end(), reset(0)]).whole(),
    );
    let ended = "A connection that ends before END_STREAM leaves no whole answer.";
    let half = || [ok(&[]), data(DECLINED)];
    cases.push(Case::two("9113-8.1 closed behind DATA", ended, half()).closing());
    cases.push(Case::two("9113-8.1 cut behind DATA", ended, half()).resetting());
    cases.push(Case::two("9113-8.1 closed behind a head", ended, [ok(&[])]).closing());
    cases.push(
        Case::two("9113-8.1 closed before a head", ended, [two::head(&[(":status", "100")])]).closing(),
    );
    let [first, second] = half();
    cases.push(Case::two("9113-8.1 sent away behind DATA", ended, [first, second, goaway(0)]).closing());
    cases
}

fn order() -> Vec<Case> {
    let first = "An answer begins with HEADERS.";
    let second = "HEADERS behind the final ones without END_STREAM are malformed.";
    let more = || head(&[("x-sum", "4")]);
    vec![
        Case::two("9113-8.1 DATA first", first, [data(DECLINED), ok(&[]).end()]),
        Case::two("9113-8.1 DATA only", first, [data(DECLINED).end()]),
        Case::two("9113-8.1 second HEADERS", second, [ok(&[]), data(DECLINED), more(), data("").end()]),
        Case::two("9113-8.1 second HEADERS and nothing", second, [ok(&[]), data(DECLINED), more()]).closing(),
        Case::two("9113-8.1 second answer", second, [ok(&[]), ok(&[]), data(DECLINED).end()]),
        Case::two("9113-8.1 DATA behind trailers", second, [ok(&[]), more().end(), data(DECLINED)])
            .either(200, ""),
        Case::two(
            "9113-5.1 DATA behind the end",
            second,
            [ok(&[]), data(DECLINED).end(), data("more").end()],
        )
        .either(200, DECLINED),
    ]
}

fn lengths() -> Vec<Case> {
    let sum = "A length that is not the sum of the DATA makes an answer malformed.";
    let with = |length: &str| ok(&[("content-length", length)]);
    let mut cases = vec![
        Case::two("9113-8.1.1 too long a length", sum, [with("100"), data(DECLINED).end()]),
        Case::two("9113-8.1.1 too short a length", sum, [with("5"), data(DECLINED).end()]),
        Case::two("9113-8.1.1 length 0", sum, [with("0"), data(DECLINED).end()]).behind(200, ""),
        Case::two("9113-8.1.1 length and no DATA", sum, [with("19").end()]),
        Case::two("9113-8.1.1 length and empty DATA", sum, [with("19"), data("").end()]),
        Case::two(
            "9113-8.1.1 too long before trailers",
            sum,
            [with("100"), data(DECLINED), head(&[("x", "1")]).end()],
        ),
        Case::two(
            "9113-8.1.1 too short in two",
            sum,
            [with("5"), data(&DECLINED[..5]), data(&DECLINED[5..]).end()],
        )
        .behind(200, &DECLINED[..5]),
    ];
    let one = "A length is one number.";
    for value in ["abc", "+19", "-19", "19, 19", "", "0x13", "99999999999999999999"] {
        let case =
            Case::two(&format!("9113-8.1.1 length {value:?}"), one, [with(value), data(DECLINED).end()]);
        cases.push(case);
    }
    let twice = ok(&[("content-length", "19"), ("content-length", "19")]);
    cases.push(Case::two("9113-8.1.1 equal lengths", one, [twice, data(DECLINED).end()]));
    let twice = ok(&[("content-length", "19"), ("content-length", "5")]);
    cases.push(Case::two("9113-8.1.1 different lengths", one, [twice, data(DECLINED).end()]));
    cases
}

fn fields() -> Vec<Case> {
    let name = "A name with capitals, controls, spaces, octets above 127 or a colon is malformed.";
    let value = "A value with NUL, CR or LF, or with whitespace around it, is malformed.";
    let hop = "Fields of one connection make an answer malformed.";
    let mut cases = Vec::new();
    for bad in [&b"X-Name"[..], b"x name", b"x\0", b"x:y", b"", b"x\xe9", b"x\x7f", b"\nx", b"x\r\ny"] {
        let frames = [raw_head(&[(b":status", b"200"), (bad, b"1")]), data(DECLINED).end()];
        cases.push(Case::two(&format!("9113-8.2.1 name {}", bad.escape_ascii()), name, frames));
    }
    for bad in [&b"a\0b"[..], b"a\rb", b"a\nb", b"a\r\nseawall-effect: applied", b" a", b"a ", b"\ta", b"a\t"]
    {
        let frames = [raw_head(&[(b":status", b"200"), (b"x", bad)]), data(DECLINED).end()];
        let case = Case::two(&format!("9113-8.2.1 value {}", bad.escape_ascii()), value, frames);
        let around = bad.trim_ascii().len() < bad.len();
        cases.push(if around { case.passed_by_h2(DECLINED) } else { case });
    }
    for (bad, its) in [
        ("connection", "close"),
        ("connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
    ] {
        let fields = [(":status", "200"), (bad, its)];
        cases.push(answer(&format!("8.2.2 {bad}: {its}"), hop, &fields));
    }
    let late = [ok(&[]), data(DECLINED), head(&[("connection", "close")]).end()];
    cases.push(Case::two("9113-8.2.2 connection in trailers", hop, late));
    let capital = [ok(&[]), data(DECLINED), head(&[("X-Sum", "4")]).end()];
    cases.push(Case::two("9113-8.2.1 capitals in trailers", name, capital));
    cases
}

fn pseudo() -> Vec<Case> {
    let defined = "Pseudo-fields of requests, and those that nobody defined, make an answer malformed.";
    let one = "There is one :status, before all other fields.";
    let number = "A status is three digits, and the first is 1 to 9.";
    let mut cases = vec![
        answer("8.3 no status", one, &[("x", "1")]),
        answer("8.3 two equal statuses", one, &[(":status", "200"), (":status", "200")]),
        answer("8.3 two statuses", one, &[(":status", "200"), (":status", "500")]),
        answer("8.3 late status", one, &[("x", "1"), (":status", "200")]),
    ];
    for name in [":path", ":method", ":scheme", ":authority", ":protocol", ":reason", ":"] {
        let case = answer(&format!("8.3 {name}"), defined, &[(":status", "200"), (name, "/")]);
        let dropped = matches!(name, ":path" | ":scheme" | ":authority" | ":protocol");
        cases.push(if dropped { case.passed_by_h2(DECLINED) } else { case });
    }
    for value in ["", "0", "20", "099", "000", "1000", "abc", "2x0", "+20", "200 OK", " 200", "-20"] {
        cases.push(answer(&format!("8.3.2 status {value:?}"), number, &[(":status", value)]));
    }
    for (name, value) in [(":status", "200"), (":status", "500"), (":path", "/")] {
        let frames = [ok(&[]), data(DECLINED), head(&[(name, value)]).end()];
        let sentence = "No pseudo-field stands in trailers.";
        let case = Case::two(&format!("9113-8.3 {name} {value} in trailers"), sentence, frames);
        cases.push(case.passed_by_h2(DECLINED));
    }
    let frames = [ok(&[]), head(&[(":status", "200"), ("x", "1")]).end()];
    let sentence = "No pseudo-field stands in trailers.";
    cases.push(Case::two("9113-8.3 a head for trailers", sentence, frames).passed_by_h2(""));
    cases
}

fn interim() -> Vec<Case> {
    let before = "Interim answers may come before the final one.";
    let status = |code: &str| head(&[(":status", code)]);
    let end = "An interim answer with END_STREAM is malformed.";
    let late = "An interim answer behind the final one is malformed.";
    let switch = "There is no 101 in HTTP/2.";
    vec![
        Case::two("9113-8.1 103", before, [status("103"), ok(&[]), data(DECLINED).end()]).whole(),
        Case::two(
            "9113-8.1 three",
            before,
            [status("100"), status("102"), status("103"), ok(&[]), data(DECLINED).end()],
        )
        .whole(),
        Case::two("9113-8.1 103 with the end", end, [status("103").end()]),
        Case::two("9113-8.1 100 with the end", end, [status("100").end()]),
        Case::two("9113-8.1 DATA behind 103", end, [status("103"), data(DECLINED).end()]),
        Case::two("9113-8.1 103 and a reset", end, [status("103"), reset(0)]),
        Case::two("9113-8.1 103 late", late, [ok(&[]), data(DECLINED), status("103"), data("").end()]),
        Case::two("9113-8.1 103 late with the end", late, [ok(&[]), data(DECLINED), status("103").end()])
            .passed_by_h2(DECLINED),
        Case::two("9113-8.6 101", switch, [status("101"), ok(&[]), data(DECLINED).end()])
            .passed_by_h2(DECLINED),
        Case::two("9113-8.6 101 with the end", switch, [status("101").end()]),
        Case::two("9113-8.6 101 and DATA", switch, [status("101"), data(DECLINED).end()]),
    ]
}

fn without_body() -> Vec<Case> {
    let none = "A 204, a 304 and an answer to HEAD have no content, whatever length they say.";
    let leaks = "Content of an answer that has none is malformed, or dropped.";
    let with = |status: &str, length: &str| head(&[(":status", status), ("content-length", length)]);
    vec![
        Case::two("9113-8.1.1 204", none, [head(&[(":status", "204")]).end()]).is(204, ""),
        Case::two("9113-8.1.1 304", none, [head(&[(":status", "304")]).end()]).is(304, ""),
        Case::two("9113-8.1.1 304 and a length", none, [with("304", "19").end()]).is(304, ""),
        Case::two("9113-8.1.1 204 and a length", none, [with("204", "19").end()]).either(204, ""),
        Case::two("9113-8.1.1 204 and empty DATA", none, [head(&[(":status", "204")]), data("").end()])
            .is(204, ""),
        Case::two("9113-8.1.1 HEAD", none, [ok(&[]).end()]).is(200, "").for_head(),
        Case::two("9113-8.1.1 HEAD and a length", none, [with("200", "19").end()]).is(200, "").for_head(),
        Case::two("9113-8.1.1 HEAD and DATA", leaks, [ok(&[]), data(DECLINED).end()])
            .either(200, "")
            .for_head(),
        Case::two("9113-8.1.1 HEAD, length and DATA", leaks, [with("200", "19"), data(DECLINED).end()])
            .either(200, "")
            .for_head(),
        Case::two("9113-8.1.1 204 and DATA", leaks, [head(&[(":status", "204")]), data(DECLINED).end()])
            .either(204, ""),
        Case::two("9113-8.1.1 304 and DATA", leaks, [head(&[(":status", "304")]), data(DECLINED).end()])
            .either(304, ""),
        Case::two("9113-8.1.1 304, length and DATA", leaks, [with("304", "19"), data(DECLINED).end()])
            .either(304, ""),
    ]
}

fn frames() -> Vec<Case> {
    let block = "Nothing comes between HEADERS and their CONTINUATION.";
    let push = "A client that does not want pushes treats a PUSH_PROMISE as an error.";
    let other = "Frames of unknown kinds are ignored.";
    let unreadable = "A header block that cannot be decoded, and padding that is too long, are errors.";
    let rest = Frame::new(two::CONTINUATION, END_HEADERS, &two::block(&[(b"x", b"1")]));
    let promised = [&[0, 0, 0, 2][..], &two::block(&[(b":method", b"GET")])].concat();
    let promise = Frame::new(two::PUSH_PROMISE, END_HEADERS, &promised);
    let ping = Frame::new(two::PING, 0, &[7; 8]).on_connection();
    vec![
        Case::two("9113-8.1 CONTINUATION", block, [ok(&[]).unfinished(), rest.clone(), data(DECLINED).end()])
            .whole(),
        Case::two(
            "9113-8.1 DATA before CONTINUATION",
            block,
            [ok(&[]).unfinished(), data(DECLINED).end(), rest.clone()],
        ),
        Case::two(
            "9113-8.1 PING before CONTINUATION",
            block,
            [ok(&[]).unfinished(), ping, rest, data(DECLINED).end()],
        ),
        Case::two("9113-8.1 no CONTINUATION", block, [ok(&[]).unfinished()]).closing(),
        Case::two("9113-8.4 PUSH_PROMISE", push, [promise, ok(&[]), data(DECLINED).end()]),
        Case::two(
            "9113-5.5 unknown frame",
            other,
            [ok(&[]), Frame::new(0xbe, 0xff, b"whatever"), data(DECLINED).end()],
        )
        .whole(),
        Case::two(
            "9113-4.3 no HPACK",
            unreadable,
            [Frame::new(two::HEADERS, END_HEADERS, &[0xff; 12]), data(DECLINED).end()],
        ),
        Case::two(
            "9113-6.1 padding",
            unreadable,
            [ok(&[]), Frame::new(two::DATA, two::PADDED | END_STREAM, &[200, b'{', b'}'])],
        ),
    ]
}
