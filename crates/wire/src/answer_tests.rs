use super::*;

fn read(text: &str) -> Result<AnswerHead, Misread> {
    answer(text.as_bytes(), Asked::Other, Limits::default())
}

fn ok(fields: &str) -> Result<AnswerHead, Misread> {
    read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"))
}

#[test]
fn each_head_says_where_its_body_ends() {
    let table = [
        ("HTTP/1.1 200 OK\r\n\r\n", Framing::UntilClose, false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Framing::Length(5), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: \t5 \r\nConnection: close\r\n\r\n", Framing::Length(5), false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 005\r\nconnection: x, CLOSE\r\n\r\n", Framing::Length(5), false),
        ("HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n", Framing::Chunked, true),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n", Framing::Length(5), false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\n", Framing::Length(5), true),
        ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n", Framing::UntilClose, false),
        ("HTTP/1.1 204 No Content\r\n\r\n", Framing::Empty, true),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", Framing::Empty, true),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\n", Framing::Empty, false),
        ("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", Framing::Empty, false),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n", Framing::Empty, true),
        ("HTTP/1.1 100 Continue\r\n\r\n", Framing::Empty, true),
        ("HTTP/1.1 799 \r\ncontent-length: 0\r\n\r\n", Framing::Length(0), true),
    ];
    for (text, framing, keep) in table {
        let head = read(text).unwrap();
        assert_eq!((head.framing, head.keep), (framing, keep), "{text:?}");
    }
}

#[test]
fn heads_that_could_be_read_in_two_ways_are_refused() {
    let table = [
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n", Misread::TwoLengths),
        ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", Misread::TwoLengths),
        ("content-length: 5\r\ncontent-length: 5\r\n", Misread::Length),
        ("content-length: 5\r\ncontent-length: 6\r\n", Misread::Length),
        ("content-length: 5, 5\r\n", Misread::Length),
        ("content-length: +5\r\n", Misread::Length),
        ("content-length: -5\r\n", Misread::Length),
        ("content-length: 0x5\r\n", Misread::Length),
        ("content-length: 5 5\r\n", Misread::Length),
        ("content-length:\r\n", Misread::Length),
        ("content-length: 99999999999999999999\r\n", Misread::Length),
        ("content-length: 9223372036854775808\r\n", Misread::Length),
        ("transfer-encoding: gzip\r\n", Misread::Coding),
        ("transfer-encoding: gzip, chunked\r\n", Misread::Coding),
        ("transfer-encoding: chunked, chunked\r\n", Misread::Coding),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", Misread::Coding),
        ("transfer-encoding: identity\r\n", Misread::Coding),
        ("transfer-encoding:\r\n", Misread::Coding),
        ("transfer-encoding: chunked;x=1\r\n", Misread::Coding),
        ("transfer-encoding : chunked\r\n", Misread::Field),
        ("content-length : 5\r\n", Misread::Field),
        ("x: 1\r\n folded\r\n", Misread::Field),
        ("x y: 1\r\n", Misread::Field),
        (": 1\r\n", Misread::Field),
        ("no colon\r\n", Misread::Field),
        ("x: a\0b\r\n", Misread::Field),
        ("x: a\x07b\r\n", Misread::Field),
        ("x: a\rb\r\n", Misread::Field),
    ];
    for (fields, why) in table {
        assert_eq!(ok(fields).unwrap_err(), why, "{fields:?}");
    }
    let old = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(read(old).unwrap_err(), Misread::Coding);
}

#[test]
fn what_is_no_status_line_is_refused() {
    for (line, why) in [
        ("SSH-2.0-OpenSSH", Misread::NotHttp),
        ("http/1.1 200 OK", Misread::NotHttp),
        ("HTTP/2.0 200 OK", Misread::NotHttp),
        ("HTTP/1.2 200 OK", Misread::StatusLine),
        ("HTTP/1.1 099 OK", Misread::StatusLine),
        ("HTTP/1.1 1000 OK", Misread::StatusLine),
        ("HTTP/1.1 2x0 OK", Misread::StatusLine),
        ("HTTP/1.1  200 OK", Misread::StatusLine),
        ("HTTP/1.1 20", Misread::StatusLine),
        ("HTTP/1.1\t200 OK", Misread::StatusLine),
        ("", Misread::NotHttp),
    ] {
        assert_eq!(read(&format!("{line}\r\ncontent-length: 0\r\n\r\n")).unwrap_err(), why, "{line:?}");
    }
}

#[test]
fn fields_of_one_hop_go_no_further() {
    let head = ok("Connection: close, X-Private\r\nKeep-Alive: timeout=5\r\nx-private: 1\r\nX-Kept: 2\r\n\
        content-length: 007\r\nConnection: content-length\r\n")
    .unwrap();
    let mut kept: Vec<_> = head.fields.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
    kept.sort_unstable();
    assert_eq!(kept, ["content-length: 7", "x-kept: 2"]);
    assert_eq!(head.keep_alive.unwrap(), "timeout=5");
    assert_eq!(head.framing, Framing::Length(7));
    let none = read("HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\n").unwrap();
    assert!(none.fields.is_empty(), "{:?}", none.fields);
}

#[test]
fn the_answer_to_a_head_has_no_body_and_tells_its_length() {
    let text = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    let head = answer(text.as_bytes(), Asked::Head, Limits::default()).unwrap();
    assert_eq!((head.framing, head.keep), (Framing::Empty, true));
    assert_eq!(head.fields["content-length"], "5");
}

#[test]
fn limits_are_limits() {
    let head = |fields: usize| {
        let fields: String = (0..fields).map(|n| format!("x-{n}: 1\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
    };
    let limits = Limits { header_bytes: 10_000, headers: 3 };
    assert!(answer(head(3).as_bytes(), Asked::Other, limits).is_ok());
    assert_eq!(answer(head(4).as_bytes(), Asked::Other, limits).unwrap_err(), Misread::TooManyFields);
    let many = Limits { header_bytes: 10_000, headers: 500 };
    assert_eq!(answer(head(500).as_bytes(), Asked::Other, many).unwrap().fields.len(), 500);
    let short = Limits { header_bytes: head(3).len() - 1, headers: 3 };
    assert_eq!(answer(head(3).as_bytes(), Asked::Other, short).unwrap_err(), Misread::HeadTooLong);
}
