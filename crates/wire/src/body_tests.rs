use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { header_bytes: 200, headers: 4 };

/// Reads `bytes` in pieces of these sizes. Returns the content, what follows the body, and the state of the body. Fails
/// if the body is malformed.
fn read(framing: Framing, bytes: &[u8], sizes: &[usize]) -> Result<(Vec<u8>, Vec<u8>, Body), Misread> {
    let (mut body, mut data, mut rest) = (Body::new(framing, LIMITS), Vec::new(), bytes);
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() && !body.is_over() {
        let size = (*sizes.next().unwrap()).min(rest.len());
        let used = body.read(&rest[..size], &mut data)?;
        assert!(used == size || body.is_over(), "it takes all that is its own");
        rest = &rest[used..];
    }
    Ok((data, rest.to_vec(), body))
}

#[test]
fn chunks_are_read_to_their_end() {
    for text in [
        "5\r\nhello\r\n0\r\n\r\n",
        "5;x=\"y z\"\r\nhello\r\n0;last\r\n\r\n",
        "5 \t;x\r\nhello\r\n000\r\n\r\n",
        "1\r\nh\r\n0000000000000004\r\nello\r\n0\r\nt: 1\r\n\r\n",
    ] {
        let (data, rest, mut body) = read(Framing::Chunked, format!("{text}HTTP").as_bytes(), &[1]).unwrap();
        assert_eq!((data.as_slice(), rest.as_slice(), body.is_over()), (&b"hello"[..], &b"HTTP"[..], true));
        assert_eq!(body.take_trailers().is_some(), text.contains("t: 1"));
    }
}

#[test]
fn chunks_that_are_none_are_no_end() {
    for (text, why) in [
        ("-1\r\n", Misread::ChunkSize),
        ("+0\r\n\r\n", Misread::ChunkSize),
        ("0x0\r\n\r\n", Misread::ChunkSize),
        (" 0\r\n\r\n", Misread::ChunkSize),
        ("0 \r\n\r\n", Misread::ChunkSize),
        ("\r\n\r\n", Misread::ChunkSize),
        (";x\r\n\r\n", Misread::ChunkSize),
        ("0\n\r\n", Misread::ChunkSize),
        ("0\r\r\n", Misread::ChunkSize),
        ("5 5\r\n", Misread::ChunkSize),
        ("g\r\n", Misread::ChunkSize),
        ("00000000000000000\r\n\r\n", Misread::ChunkSize),
        ("FFFFFFFFFFFFFFFFF\r\n", Misread::ChunkSize),
        ("5;a\rb\r\n", Misread::ChunkSize),
        ("5;a\nb\r\n", Misread::ChunkSize),
        ("5;a\0\r\n", Misread::ChunkSize),
        ("5\r\nhelloX\r\n", Misread::ChunkEnd),
        ("5\r\nhello\n0\r\n\r\n", Misread::ChunkEnd),
        ("5\r\nhello\r0\r\n\r\n", Misread::ChunkEnd),
        ("0\r\nt: 1\n\r\n", Misread::LineEnd),
        ("0\r\nt : 1\r\n\r\n", Misread::Field),
        ("0\r\nt: 1\r\n 2\r\n\r\n", Misread::Field),
        ("0\r\nno colon\r\n\r\n", Misread::Field),
        ("0\r\n\n", Misread::LineEnd),
        ("0\r\na: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\ne: 1\r\n\r\n", Misread::TooManyFields),
    ] {
        for size in [1, 3, 1000] {
            let read = read(Framing::Chunked, text.as_bytes(), &[size]);
            assert_eq!(read.err(), Some(why), "{text:?} in pieces of {size}");
        }
    }
    let long = format!("0\r\nt: {}\r\n\r\n", "x".repeat(300));
    assert_eq!(read(Framing::Chunked, long.as_bytes(), &[7]).err(), Some(Misread::HeadTooLong));
    let extended = format!("5;{}\r\n", "x".repeat(5000));
    assert_eq!(read(Framing::Chunked, extended.as_bytes(), &[7]).err(), Some(Misread::ChunkSize));
}

#[test]
fn a_close_ends_only_what_nothing_else_ends() {
    for (framing, bytes, whole) in [
        (Framing::Empty, "", true),
        (Framing::Length(0), "", true),
        (Framing::Length(3), "abc", true),
        (Framing::Length(3), "ab", false),
        (Framing::Length(3), "", false),
        (Framing::Chunked, "", false),
        (Framing::Chunked, "3\r\nabc\r\n", false),
        (Framing::Chunked, "3\r\nabc\r\n0\r\n", false),
        (Framing::Chunked, "3\r\nabc\r\n0\r\n\r\n", true),
        (Framing::UntilClose, "abc", true),
        (Framing::UntilClose, "", true),
    ] {
        let (_, _, mut body) = read(framing, bytes.as_bytes(), &[1]).unwrap();
        assert_eq!(body.closed(), whole, "{framing:?} {bytes:?}");
    }
}

/// A body in chunks, and its content.
fn chunked() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let chunk = (proptest::collection::vec(any::<u8>(), 1..40), any::<bool>());
    (proptest::collection::vec(chunk, 0..5), any::<bool>()).prop_map(|(chunks, trailers)| {
        let (mut bytes, content) = (Vec::new(), chunks.iter().flat_map(|(data, _)| data.clone()).collect());
        for (data, upper) in &chunks {
            let size =
                if *upper { format!("{:X};e=1\r\n", data.len()) } else { format!("{:x}\r\n", data.len()) };
            bytes.extend(size.into_bytes());
            bytes.extend(data);
            bytes.extend(b"\r\n");
        }
        bytes.extend(if trailers { &b"0\r\na: 1\r\n\r\n"[..] } else { b"0\r\n\r\n" });
        (bytes, content)
    })
}

proptest! {
    #[test]
    fn good_bodies_are_whole_however_they_are_cut(
        (bytes, content) in chunked(),
        behind in proptest::collection::vec(any::<u8>(), 0..20),
        sizes in proptest::collection::vec(1_usize..30, 1..6),
    ) {
        let all = [&bytes[..], &behind].concat();
        let (data, rest, body) = read(Framing::Chunked, &all, &sizes).unwrap();
        prop_assert!(body.is_over());
        prop_assert_eq!((data, rest), (content.clone(), behind.clone()));
        let length = Framing::Length(content.len() as u64);
        let (data, rest, _) = read(length, &[&content[..], &behind].concat(), &sizes).unwrap();
        prop_assert_eq!((data, rest), (content, behind));
        for cut in 0..bytes.len() {
            let (_, _, mut body) = read(Framing::Chunked, &bytes[..cut], &sizes).unwrap();
            prop_assert!(!body.closed(), "cut at {}", cut);
        }
    }

    #[test]
    fn any_bytes_are_read_the_same_however_they_are_cut(
        bytes in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'2'), Just(b';')], 0..60),
        sizes in proptest::collection::vec(1_usize..10, 1..6),
    ) {
        let told = |sizes: &[usize]| {
            read(Framing::Chunked, &bytes, sizes).map(|(data, rest, body)| (data, rest, body.is_over()))
        };
        prop_assert_eq!(told(&sizes), told(&[bytes.len().max(1)]));
    }
}
