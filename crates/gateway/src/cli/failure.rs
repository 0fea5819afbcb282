//! How a command ends that did not do what was asked.

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Failure {
    /// The command was right, and it failed.
    pub(super) fn failed(message: impl Into<String>) -> Failure {
        Failure { code: 1, message: message.into() }
    }

    /// The command or the configuration is wrong.
    pub(super) fn misuse(message: impl Into<String>) -> Failure {
        Failure { code: 2, message: message.into() }
    }
}
