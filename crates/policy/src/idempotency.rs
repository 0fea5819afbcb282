//! Idempotency: whether sending twice is the same as sending once (RFC 9110, section 9.2, and the Idempotency-Key
//! draft).

use std::fmt;

/// What a second delivery of the same request does at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Idempotency {
    /// The request only reads, so there is no effect that could be doubled (GET, HEAD, OPTIONS).
    Safe,
    /// Two deliveries have the same effect as one (PUT, DELETE).
    Idempotent,
    /// The request carries a key that the provider honours: a second delivery gets the result of the first.
    Keyed,
    /// The request is not safe, idempotent or keyed, for example a plain POST or PATCH. A second delivery may have a
    /// second effect.
    None,
}

impl Idempotency {
    /// All four values, from the one that is repeated most freely to the one that needs most care.
    pub const ALL: [Idempotency; 4] =
        [Idempotency::Safe, Idempotency::Idempotent, Idempotency::Keyed, Idempotency::None];

    /// Returns what the method alone promises (RFC 9110, table 7). An unknown method promises nothing, so it is
    /// [`Idempotency::None`].
    #[must_use]
    pub fn of_method(method: &str) -> Idempotency {
        match method {
            "GET" | "HEAD" | "OPTIONS" | "TRACE" => Idempotency::Safe,
            "PUT" | "DELETE" => Idempotency::Idempotent,
            _ => Idempotency::None,
        }
    }

    /// The word used in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Idempotency::Safe => "safe",
            Idempotency::Idempotent => "idempotent",
            Idempotency::Keyed => "keyed",
            Idempotency::None => "none",
        }
    }
}

impl fmt::Display for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_promise_what_the_rfc_says() {
        for (method, promise) in [
            ("GET", Idempotency::Safe),
            ("HEAD", Idempotency::Safe),
            ("PUT", Idempotency::Idempotent),
            ("DELETE", Idempotency::Idempotent),
            ("POST", Idempotency::None),
            ("PATCH", Idempotency::None),
            ("get", Idempotency::None),
            ("PURGE", Idempotency::None),
        ] {
            assert_eq!(Idempotency::of_method(method), promise, "{method}");
        }
    }
}
