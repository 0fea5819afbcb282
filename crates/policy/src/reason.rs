//! The words for why a call ended without an answer of the dependency, and for why it was not repeated.
//!
//! The words appear in the header `seawall-reason`, in logs and in metrics. `seawall explain WORD` prints a page about
//! a word.

use std::fmt;

/// Which party a reason comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Seawall refused the call, to protect the caller or the dependency.
    Seawall,
    /// The dependency, or the way to it, failed.
    Dependency,
    /// The caller's request could not be served as it is.
    Caller,
}

impl Origin {
    /// The word used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Seawall => "seawall",
            Origin::Dependency => "dependency",
            Origin::Caller => "caller",
        }
    }
}

macro_rules! words {
    ($(#[$enum_doc:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All the words, in the order of the documentation.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The word used on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Why a call ended without an answer of the dependency.
    Reason {
        /// The endpoint's breaker is open.
        BreakerOpen = "breaker-open",
        /// The number of calls in flight has reached the limit.
        ConcurrencyLimit = "concurrency-limit",
        /// The limit is reached and its queue is full.
        QueueFull = "queue-full",
        /// The call waited in the limit's queue for the longest time allowed.
        QueueTimeout = "queue-timeout",
        /// The provider said when to come back (for example with `Retry-After`), and this time has not come yet.
        CoolingDown = "cooling-down",
        /// The deadline left no time for an attempt.
        NoTimeLeft = "no-time-left",
        /// The name was not resolved.
        DnsFailure = "dns-failure",
        /// The connection was refused.
        ConnectRefused = "connect-refused",
        /// TLS failed.
        TlsFailure = "tls-failure",
        /// No connection was made in time.
        ConnectTimeout = "connect-timeout",
        /// This process has no file descriptor left, or lacks something else that a socket needs.
        OutOfDescriptors = "out-of-descriptors",
        /// Nothing was sent or received for as long as the read timeout.
        ReadTimeout = "read-timeout",
        /// The total deadline passed.
        TotalTimeout = "total-timeout",
        /// The connection was reset or closed.
        ConnectionLost = "connection-lost",
        /// The answer was not valid HTTP.
        BadAnswer = "bad-answer",
        /// There is no dependency of that name.
        UnknownDependency = "unknown-dependency",
        /// The request is malformed.
        BadRequest = "bad-request",
        /// The request body is larger than allowed.
        BodyTooLarge = "body-too-large",
        /// The caller's body did not come in time.
        CallerStalled = "caller-stalled",
        /// This caller has no right to call here.
        CallerRefused = "caller-refused",
        /// The calling task holds a database connection, and the pool of that connection forbids calls while the
        /// connection is held.
        ConnectionHeld = "connection-held",
        /// A durable operation could not be recorded.
        LedgerUnavailable = "ledger-unavailable",
        /// The provider answered, but the outcome could not be recorded while the caller waited.
        OutcomeNotRecorded = "outcome-not-recorded",
        /// An idempotency key was used again, with another request.
        KeyConflict = "key-conflict",
        /// Another request with the same idempotency key is being worked on.
        InProgress = "in-progress",
        /// An idempotency key was used again, and the answer to its first request was too large to be kept.
        AnswerNotKept = "answer-not-kept",
        /// An idempotency key was used again, and its action was cancelled or undone.
        Cancelled = "cancelled",
        /// There is no such action, or another caller recorded it.
        NotFound = "not-found",
        /// The action is being cancelled or was cancelled, so it cannot be settled any more.
        TooLate = "too-late",
        /// It is not known yet whether the action took effect, so it cannot be settled yet.
        NotKnown = "not-known",
        /// The action did not take effect, so there is nothing to settle.
        Failed = "failed",
        /// The action is settled, so it cannot be cancelled any more.
        Settled = "settled",
        /// The gateway is shutting down.
        Draining = "draining",
    }
}

impl Reason {
    /// Returns the party that this reason comes from.
    #[must_use]
    pub fn origin(self) -> Origin {
        match self {
            Reason::BreakerOpen
            | Reason::ConcurrencyLimit
            | Reason::QueueFull
            | Reason::QueueTimeout
            | Reason::CoolingDown
            | Reason::OutOfDescriptors
            | Reason::LedgerUnavailable
            | Reason::OutcomeNotRecorded
            | Reason::AnswerNotKept
            | Reason::Draining => Origin::Seawall,
            Reason::DnsFailure
            | Reason::ConnectRefused
            | Reason::TlsFailure
            | Reason::ConnectTimeout
            | Reason::ReadTimeout
            | Reason::TotalTimeout
            | Reason::ConnectionLost
            | Reason::BadAnswer => Origin::Dependency,
            Reason::NoTimeLeft
            | Reason::UnknownDependency
            | Reason::BadRequest
            | Reason::BodyTooLarge
            | Reason::CallerStalled
            | Reason::CallerRefused
            | Reason::ConnectionHeld
            | Reason::KeyConflict
            | Reason::InProgress
            | Reason::Cancelled
            | Reason::NotFound
            | Reason::TooLate
            | Reason::NotKnown
            | Reason::Failed
            | Reason::Settled => Origin::Caller,
        }
    }
}

words! {
    /// Why a repeat that would have been useful did not happen.
    Stopped {
        /// The retry budget is used up.
        Budget = "budget",
        /// All attempts are used up.
        Attempts = "attempts",
        /// The deadline leaves no time for another attempt.
        Deadline = "deadline",
        /// The request may not be repeated, because a second delivery may be a second effect.
        NotRepeatable = "not-repeatable",
        /// The request's body could not be kept for a repeat, because it was too large.
        Body = "body",
        /// The breaker is open.
        Breaker = "breaker",
        /// The concurrency limit is reached.
        Limit = "limit",
        /// The provider said when to come back (for example with `Retry-After`), and this time has not come yet.
        Cooling = "cooling",
        /// The attempt failed slowly, and slow failures are repeated only while they are rare.
        Slow = "slow",
        /// The caller repeats failed calls itself, or it has left.
        Caller = "caller",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_kebab_case() {
        let mut seen = std::collections::HashSet::new();
        for reason in Reason::ALL {
            let word = reason.as_str();
            assert!(seen.insert(word), "{word} twice");
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{word}");
        }
        assert_eq!(Reason::ALL.len(), 33);
        assert_eq!(Stopped::ALL.len(), 10);
    }
}
