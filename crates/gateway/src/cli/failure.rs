//! How a command ends that did not do what it was asked for.

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Failure {
    /// It was asked for rightly, and went wrong.
    pub(super) fn failed(message: impl Into<String>) -> Failure {
        Failure { code: 1, message: message.into() }
    }

    /// It was asked for wrongly, or the configuration is wrong.
    pub(super) fn misuse(message: impl Into<String>) -> Failure {
        Failure { code: 2, message: message.into() }
    }
}
