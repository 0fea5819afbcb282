//! Writes messages: fields, lengths and chunks. The types of field names and values cannot hold a line end. So no name
//! or value can end its line early.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Writes one field with its line end.
pub fn field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes the field `Content-Length`, which says how long the body is.
pub fn length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

/// Writes the line with a chunk's size, which comes before the chunk's data. The caller must write a line end after the
/// data. `size` must not be 0, since that would end the body.
pub fn chunk_size(out: &mut Vec<u8>, size: usize) {
    debug_assert!(size > 0, "an empty chunk is the last one");
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        out.push(HEX[size >> (4 * digit) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the last chunk, and the trailers after it.
pub fn last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

fn decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0_u8; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for number in [0, 1, 9, 10, 255, 256, 65_536, u64::MAX] {
            let mut out = Vec::new();
            length(&mut out, number);
            assert_eq!(out, format!("content-length: {number}\r\n").into_bytes());
        }
        for size in [1, 15, 16, 255, 4096, 0x12_3456, usize::MAX] {
            let mut out = Vec::new();
            chunk_size(&mut out, size);
            assert_eq!(out, format!("{size:x}\r\n").into_bytes());
        }
    }
}
