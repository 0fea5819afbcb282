//! The failure of a command that could not do what it was asked to do.

/// Why a command did not do what was asked, and the exit code for it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Failure {
    /// Returns the failure of a command that was used correctly. Its exit code is 1.
    pub(super) fn failed(message: impl Into<String>) -> Failure {
        Failure { code: 1, message: message.into() }
    }

    /// Returns the failure of a command whose usage or configuration is wrong. Its exit code is 2.
    pub(super) fn misuse(message: impl Into<String>) -> Failure {
        Failure { code: 2, message: message.into() }
    }
}
