//! The type [`Misuse`]: a mistake in how this project's crates are used, such as a setting that could never work.
//!
//! There is one such type for all crates. So a program can declare its dependencies and its ledger in one function, and
//! pass every mistake on with `?`.

use std::convert::Infallible;
use std::fmt;

/// One error with all mistakes of the caller: settings that could never work, or a value that cannot be used. For each
/// of them the error says what is wrong, where, and what to do. Nothing was written and nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misuse {
    problems: Vec<String>,
}

impl Misuse {
    /// Makes an error of one problem.
    #[must_use]
    pub fn new(problem: impl Into<String>) -> Misuse {
        Misuse { problems: vec![problem.into()] }
    }

    /// Makes an error of these problems; `None` if there are no problems.
    #[must_use]
    pub fn of(problems: Vec<String>) -> Option<Misuse> {
        (!problems.is_empty()).then_some(Misuse { problems })
    }

    /// Returns each problem, in words.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().map(String::as_str)
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))
    }
}

impl std::error::Error for Misuse {}

impl From<Infallible> for Misuse {
    fn from(never: Infallible) -> Misuse {
        match never {}
    }
}
