//! Decides which texts of a user may be shown in messages. A text that may be a secret is not shown.

use crate::nearest::nearest;

/// The maximum number of letters of a word that may be shown. A longer word may be a secret.
pub const LONGEST_WORD: usize = 24;

/// Returns whether `name` has at most [`LONGEST_WORD`] characters, and all of them are letters, `_`, `-` or `.`. Such a
/// name is taken to be no secret, because an API key has digits or is longer.
#[must_use]
pub fn is_word(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphabetic() || "_-.".contains(c);
    (1..=LONGEST_WORD).contains(&name.len()) && name.chars().all(fine)
}

/// Returns whether a name that a person wrote may be repeated in a message. It may if it is close to a valid name, or
/// if it is a short word of letters. Any other name may be a secret.
pub fn tellable<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> bool {
    is_word(name) || nearest(name, candidates).is_some()
}

/// Returns the name in backticks if it may be repeated in a message ([`tellable`]). Otherwise it may be a secret, and
/// the result is the text `instead`.
pub fn quoted<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>, instead: &str) -> String {
    if tellable(name, candidates) { format!("`{name}`") } else { instead.to_owned() }
}
