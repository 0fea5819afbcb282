//! Collects the problems of settings for a [`Misuse`](seawall_policy::Misuse).

use seawall_policy::{Gravity, Problem};

/// Adds to `found` the text of each problem that is an error, which means that the setting could never work. Notes are
/// left out: they are about settings that work. Each text begins with `whose`, the name of the settings.
pub(crate) fn tell(whose: &str, problems: Vec<Problem>, found: &mut Vec<String>) {
    let grave = problems.into_iter().filter(|problem| problem.gravity == Gravity::Error);
    found.extend(grave.map(|problem| format!("{whose}: {}", problem.wrong)));
}
