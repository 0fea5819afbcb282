//! What is known of an effect at a provider, such as a charge.
//!
//! An effect has one of three values: applied, not applied, or unknown. Most clients know only two endings, success and
//! failure. To them a timeout is a failure, so the caller rolls back, although the provider may have made the charge.
//! The value "unknown" says that nobody knows. The point of this project is to tell it apart from the other two.

use std::fmt;

/// What is known of the effect of an attempt, or of a whole call, at the provider.
///
/// The enum is not `#[non_exhaustive]`, on purpose: there is no fourth value, and every `match` should name all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The request took effect.
    Applied,
    /// The request did not take effect, and will not.
    NotApplied,
    /// The request may have taken effect, or may still do so.
    Unknown,
}

impl Effect {
    /// Returns the effect of a call: `self` is what was known so far, and one more attempt ended with `next`.
    ///
    /// The effect is "applied" if any attempt was applied, else "unknown" if any is unknown, else "not applied". A
    /// later attempt that was not applied says nothing of the earlier ones, so it never turns an unknown effect into
    /// "not applied".
    ///
    /// ```
    /// use seawall_policy::Effect::{Applied, NotApplied, Unknown};
    /// assert_eq!(Unknown.and(NotApplied), Unknown);
    /// assert_eq!(Unknown.and(Applied), Applied);
    /// ```
    #[must_use]
    pub fn and(self, next: Effect) -> Effect {
        match (self, next) {
            (Effect::Applied, _) | (_, Effect::Applied) => Effect::Applied,
            (Effect::Unknown, _) | (_, Effect::Unknown) => Effect::Unknown,
            (Effect::NotApplied, Effect::NotApplied) => Effect::NotApplied,
        }
    }

    /// Returns the word used on the wire, in logs and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Effect::Applied => "applied",
            Effect::NotApplied => "not-applied",
            Effect::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Effect::{self, Applied, NotApplied, Unknown};

    #[test]
    fn the_fold_table() {
        let table = [
            (Applied, Applied, Applied),
            (Applied, NotApplied, Applied),
            (Applied, Unknown, Applied),
            (NotApplied, Applied, Applied),
            (NotApplied, NotApplied, NotApplied),
            (NotApplied, Unknown, Unknown),
            (Unknown, Applied, Applied),
            (Unknown, NotApplied, Unknown),
            (Unknown, Unknown, Unknown),
        ];
        for (first, second, both) in table {
            assert_eq!(first.and(second), both, "{first} and {second}");
            assert_eq!(second.and(first), both, "the order does not matter");
        }
        let many = [NotApplied, Unknown, NotApplied];
        assert_eq!(many.into_iter().fold(NotApplied, Effect::and), Unknown);
    }
}
