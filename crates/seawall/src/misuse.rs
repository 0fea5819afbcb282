//! The type [`Misuse`]: an error in how this library is used, such as a setting that could never work.

use std::convert::Infallible;
use std::fmt;

use seawall_policy::{Gravity, Problem};

/// The settings that could never work, all in one error. For each of them the error says what is wrong, where, and what
/// to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misuse {
    problems: Vec<String>,
}

impl Misuse {
    pub(crate) fn new(problem: impl Into<String>) -> Misuse {
        Misuse { problems: vec![problem.into()] }
    }

    /// Makes an error of these problems; `None` if there are no problems.
    pub(crate) fn of(problems: Vec<String>) -> Option<Misuse> {
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

/// Adds to `found` the text of each problem that is an error, which means that the setting could never work. Notes are
/// left out: they are about settings that work. Each text begins with `whose`, the name of the settings.
pub(crate) fn tell(whose: &str, problems: Vec<Problem>, found: &mut Vec<String>) {
    let grave = problems.into_iter().filter(|problem| problem.gravity == Gravity::Error);
    found.extend(grave.map(|problem| format!("{whose}: {}", problem.wrong)));
}
