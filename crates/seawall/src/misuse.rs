//! What is wrong with how this library is used: a setting that could never work.

use std::convert::Infallible;
use std::fmt;

use seawall_policy::{Gravity, Problem};

/// The settings that could never work, all in one error. For each it says what is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misuse {
    problems: Vec<String>,
}

impl Misuse {
    pub(crate) fn new(problem: impl Into<String>) -> Misuse {
        Misuse { problems: vec![problem.into()] }
    }

    /// `None` where there is nothing wrong.
    pub(crate) fn of(problems: Vec<String>) -> Option<Misuse> {
        (!problems.is_empty()).then_some(Misuse { problems })
    }

    /// Each problem, in words.
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

/// Adds what is wrong with the settings that `whose` builds to `found`. Settings that are odd but work are not
/// reported.
pub(crate) fn tell(whose: &str, problems: Vec<Problem>, found: &mut Vec<String>) {
    let grave = problems.into_iter().filter(|problem| problem.gravity == Gravity::Error);
    found.extend(grave.map(|problem| format!("{whose}: {}", problem.wrong)));
}
