//! What messages may show, and how.

use std::time::Duration;

use crate::nearest::nearest;

/// A longer word may be a secret.
pub const LONGEST_WORD: usize = 24;

/// Whether this is a short word of letters. A key of an API has digits, or is longer.
#[must_use]
pub fn is_word(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphabetic() || "_-.".contains(c);
    (1..=LONGEST_WORD).contains(&name.len()) && name.chars().all(fine)
}

/// Whether a name that somebody wrote may be repeated in a message. What is close to a valid name may, and so may a short
/// word of letters.
pub fn tellable<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> bool {
    is_word(name) || nearest(name, candidates).is_some()
}

/// The name in backticks, or `instead` where it may be a secret.
pub fn quoted<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>, instead: &str) -> String {
    if tellable(name, candidates) { format!("`{name}`") } else { instead.to_owned() }
}

/// Units of time as they are written in a configuration file, in nanoseconds.
pub const TIME_UNITS: [(&str, u64); 6] = [
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// A length of time as it would be written in a configuration file: `2m`, `1.5s`.
#[must_use]
pub fn show_time(time: Duration) -> String {
    let nanos = time.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    // Days are left out: 24h is what people write.
    let whole = TIME_UNITS[..5].iter().rev().find(|(_, unit)| nanos.is_multiple_of(u128::from(*unit)));
    match whole {
        Some(("ms", _)) if nanos > 1_000_000_000 => format!("{}s", time.as_secs_f64()),
        Some((name, unit)) => format!("{}{name}", nanos / u128::from(*unit)),
        None => format!("{}us", nanos as f64 / 1e3),
    }
}
