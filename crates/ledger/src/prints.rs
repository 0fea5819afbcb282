//! Fingerprints: whether two requests under one key are the same request.
//!
//! The obvious rule compares the recorded bytes. But a caller that sends its request again uses a new `traceparent`
//! header, and a new version of a program may send one header more. Their second request would be a conflict, although
//! it wants the same effect. So only two parts of the requests are compared. The head is the method, the path with its
//! query and the content type. The other part is the bytes of the body.
//!
//! A row keeps the fingerprints of both parts: HMAC-SHA256 under a key that is drawn once and kept in the ledger. A
//! plain hash would tell everybody who sees it, such as a reader of logs or of an export, whether a guessed body is the
//! right one.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What makes two requests under one key the same request: equal heads and equal bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Same {
    /// The head: the method, the path with its query, and the content type, as the caller writes them.
    pub head: Vec<u8>,
    /// The position in [`NewAction::request`](crate::NewAction::request) at which the body begins.
    pub body_at: usize,
}

/// The fingerprints of a request. They are equal for the same request in the same ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prints {
    /// The fingerprint of the head; zeros if an application recorded the action with the SQL function `seawall.record`.
    pub head: [u8; 32],
    /// The fingerprint of the body.
    pub body: [u8; 32],
}

impl Prints {
    /// What an action that was recorded with the SQL function `seawall.record` has instead of the head's fingerprint.
    /// Such a record has a body and no head, so it is the same request as every request with an equal body.
    pub(crate) const BODY_ALONE: [u8; 32] = [0; 32];

    /// Returns whether `self`, the fingerprints in a row, and `new`, those of a new request, are of the same request.
    pub(crate) fn are_of(&self, new: &Prints) -> bool {
        self.body == new.body && (self.head == new.head || self.head == Prints::BODY_ALONE)
    }

    /// Makes the fingerprints of a request with `key`, the ledger's secret key for them.
    pub(crate) fn of(key: &[u8; 32], head: &[u8], body: &[u8]) -> Prints {
        Prints { head: print(key, b"head", head), body: print(key, b"body", body) }
    }
}

/// Returns the fingerprint of `bytes`. `part` is `head` or `body`. This word is hashed before `bytes`, so that a head
/// and a body of equal bytes have different fingerprints.
fn print(key: &[u8; 32], part: &[u8; 4], bytes: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(part);
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_never_change() {
        // Computed with Python: hmac.new(bytes(range(32)), b"body" + b"{}", "sha256").hexdigest()
        let key: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let prints = Prints::of(&key, b"{}", b"{}");
        let hex = |print: [u8; 32]| print.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(prints.body), "6a72b7ea37845ec5375d78edf08236e053aa75a4ac531de8330de7fc52dc5c90");
        assert_eq!(hex(prints.head), "c7bb64654c27c19e1a9a39a06550b5707b02ee73f3aeb131d37be8259208f48c");
        assert_ne!(Prints::of(&[0; 32], b"{}", b"{}").body, prints.body);
    }
}
