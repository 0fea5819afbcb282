//! `Via` (RFC 9110, section 7.6.3): marks each request that passes this gateway, and recognises a request that comes
//! back.
//!
//! Each process draws a name of its own, and writes it together with the name of the dependency into the request. A
//! request may pass this process again on its way to another dependency. But if a request already carries this
//! process's name with the same dependency, it goes round in a loop, and is refused.
//!
//! A configuration can lead a call back to the gateway that made it, through another proxy or through a host name of
//! this gateway. Without this check, one GET would then lead to one call after another until no connection is left. The
//! obvious rule is to refuse a request that has passed too many gateways. But it would stop such a loop late, and would
//! also stop a long chain of gateways that is no loop.
//!
//! Answers carry no `Via`. The RFC lets a gateway decide this, and the callers know which gateway they called.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::header::VIA;
use http::{HeaderMap, Version};
use parking_lot::Mutex;

/// The name of this process, which differs from that of every other process: 64 random bits.
static PROCESS: LazyLock<u64> = LazyLock::new(|| {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => fastrand::u64(..),
    }
});

/// The `Via` entries that requests to one dependency carry.
#[derive(Clone, Debug)]
pub(crate) struct Via {
    /// The name that stands for the pair of this process and the dependency in `Via`.
    name: String,
    /// The text that a request gets in `Via`, for each version in which a request can arrive (1.0, 1.1 and 2). For
    /// example `1.1 seawall-00c0ffee00c0ffee-pay`.
    entries: [&'static str; 3],
}

/// The `Via` entries for each dependency name that was ever configured. They are never freed, so a request can hold a
/// plain reference to an entry. A counted reference would cost more, because all workers would change the same counter.
static ENTRIES: Mutex<BTreeMap<String, [&'static str; 3]>> = Mutex::new(BTreeMap::new());

impl Via {
    pub(crate) fn new(dependency: &str) -> Via {
        let name = format!("seawall-{:016x}-{dependency}", *PROCESS);
        let make = || ["1.0", "1.1", "2"].map(|version| &*format!("{version} {name}").leak());
        let entries = *ENTRIES.lock().entry(name.clone()).or_insert_with(make);
        Via { name, entries }
    }

    /// Returns whether a request with these headers has passed this process before, on its way to this dependency.
    ///
    /// Our name also counts if it stands in a comment of `Via`. This does no harm, since nobody else has a reason to
    /// write it there.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        let separates = |byte: &u8| !(byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
        headers
            .get_all(VIA)
            .iter()
            .any(|line| line.as_bytes().split(separates).any(|word| word == self.name.as_bytes()))
    }

    /// Returns the `Via` entry for a request that arrived in this version of HTTP.
    pub(crate) fn entry(&self, version: Version) -> &'static str {
        let [old, usual, two] = self.entries;
        match version {
            Version::HTTP_09 | Version::HTTP_10 => old,
            Version::HTTP_11 => usual,
            _ => two,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_the_same_pair_is_a_loop() {
        let (pay, payments) = (Via::new("pay"), Via::new("payments"));
        let mut headers = HeaderMap::new();
        headers.append(VIA, HeaderValue::from_static("1.0 fred, 1.1 p.example.net (a, comment)"));
        assert!(!pay.is_in(&headers));
        headers.append(VIA, HeaderValue::from_static(payments.entry(Version::HTTP_11)));
        assert!(payments.is_in(&headers));
        assert!(!pay.is_in(&headers), "a longer name that begins like it is another name");
        headers.append(VIA, HeaderValue::from_static("1.1 behind"));
        assert!(payments.is_in(&headers));
        let lines: Vec<&HeaderValue> = headers.get_all(VIA).iter().collect();
        assert_eq!(lines[0], "1.0 fred, 1.1 p.example.net (a, comment)");
        assert!(lines[1].to_str().unwrap().starts_with("1.1 seawall-"));
        let joined = format!("1.0 fred,1.1 {},2 x", payments.name);
        let headers = HeaderMap::from_iter([(VIA, HeaderValue::try_from(joined).unwrap())]);
        assert!(payments.is_in(&headers));
    }
}
