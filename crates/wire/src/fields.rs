//! Reads the fields of a head, and what they say of the connection and of the body's length.
//!
//! The fields that concern only this connection are read here and are not passed on: `Connection` and the fields that
//! it names, `Keep-Alive`, `Transfer-Encoding`. `Content-Length` is passed on, without leading zeros.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::head::Limits;
use crate::misread::Misread;

/// The maximum number of fields for which the table of [`with_room`] is kept on the stack. A larger table is kept on
/// the heap. The number is the default of [`Limits::headers`].
const USUAL: usize = 100;

/// What the fields of one head say.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// The fields that are passed on.
    pub(crate) map: HeaderMap,
    /// Whether there is `Connection: close`.
    pub(crate) close: bool,
    /// Whether there is `Connection: keep-alive`.
    pub(crate) keep: bool,
    /// The value of the field `Keep-Alive`, if there is one.
    pub(crate) keep_alive: Option<HeaderValue>,
    /// Whether there is `Transfer-Encoding: chunked`.
    pub(crate) chunked: bool,
    /// The number in `Content-Length`, if there is one.
    pub(crate) length: Option<u64>,
    /// Fields that `Connection` names.
    named: Vec<HeaderName>,
}

/// Calls `parse` with an empty table for `limits.headers` fields, and returns the result of `parse`.
pub(crate) fn with_room<'b, R>(
    limits: Limits,
    parse: impl FnOnce(&mut [MaybeUninit<httparse::Header<'b>>]) -> R,
) -> R {
    if limits.headers <= USUAL {
        let mut room = [const { MaybeUninit::uninit() }; USUAL];
        parse(&mut room[..limits.headers])
    } else {
        let mut room = vec![MaybeUninit::uninit(); limits.headers];
        parse(&mut room)
    }
}

impl Fields {
    /// Takes the fields that httparse found in `head`, and returns what they say. Fails if they break a rule of this
    /// crate.
    pub(crate) fn read(head: &Bytes, raw: &[httparse::Header<'_>]) -> Result<Fields, Misread> {
        let mut fields = Fields { map: HeaderMap::with_capacity(raw.len()), ..Fields::default() };
        for field in raw {
            let (name, value) = owned(head, field)?;
            fields.take(name, value)?;
        }
        if fields.chunked && fields.length.is_some() {
            return Err(Misread::TwoLengths);
        }
        for name in std::mem::take(&mut fields.named) {
            fields.map.remove(name);
        }
        Ok(fields)
    }

    fn take(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Misread> {
        if name == header::CONTENT_LENGTH {
            if self.length.is_some() {
                return Err(Misread::Length);
            }
            let length = decimal(value.as_bytes()).ok_or(Misread::Length)?;
            self.length = Some(length);
            let plain = value.len() == 1 || value.as_bytes()[0] != b'0';
            self.map.append(name, if plain { value } else { HeaderValue::from(length) });
        } else if name == header::TRANSFER_ENCODING {
            if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(Misread::Coding);
            }
            self.chunked = true;
        } else if name == header::CONNECTION {
            self.connection(value.as_bytes());
        } else if name.as_str() == "keep-alive" {
            self.keep_alive = Some(value);
        } else {
            self.map.append(name, value);
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep = true;
            } else if let Ok(name) = HeaderName::from_bytes(option) {
                // A server may name `Content-Length` in `Connection`. The field is passed on nevertheless, because the
                // length of a body concerns more than this connection.
                if name != header::CONTENT_LENGTH {
                    self.named.push(name);
                }
            }
        }
    }
}

/// Returns a field's name and value as owned values. The name is a copy; the value shares the memory of `head`, in
/// which it was found. Fails if the name or the value is not valid.
pub(crate) fn owned(head: &Bytes, raw: &httparse::Header<'_>) -> Result<(HeaderName, HeaderValue), Misread> {
    let name = HeaderName::from_bytes(raw.name.as_bytes()).map_err(|_| Misread::Field)?;
    let value = HeaderValue::from_maybe_shared(head.slice_ref(raw.value)).map_err(|_| Misread::Field)?;
    Ok((name, value))
}

/// Returns the number in a `Content-Length`. Returns `None` if the value has other bytes than digits. Also returns
/// `None` for a number above 2^63 - 1, because programs read such numbers in different ways.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|number| *number <= u64::MAX / 2)
}
