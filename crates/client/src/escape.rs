//! Percent-encoding.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All characters except the unreserved ones (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Appends `text` to `into`. All characters except the unreserved ones are percent-encoded.
pub fn percent_encode(text: &str, into: &mut String) {
    into.extend(utf8_percent_encode(text, ESCAPED));
}
