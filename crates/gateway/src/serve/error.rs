//! The reasons why the gateway does not start.

use std::fmt;

/// Why the gateway did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong. The text is the report on its mistakes, ready to print.
    Config(String),
    /// The machine does not allow the start: a port is in use, or a file cannot be written.
    Machine(String),
}

impl StartError {
    /// Returns the exit code: 2 for a wrong configuration, 1 for everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Config(_) => 2,
            StartError::Machine(_) => 1,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(report) => f.write_str(report),
            StartError::Machine(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StartError {}
