//! Why a start fails.

use std::fmt;

/// Why it did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong: the report, ready to print.
    Config(String),
    /// The machine would not have it: a port in use, a file that cannot be written.
    Machine(String),
}

impl StartError {
    /// The exit code: 2 for the configuration, 1 for the rest.
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
