//! Lengths of time, as people say them.

use std::time::Duration;

/// Returns a duration in words, for example `400 ms`, `12 s`, `5 min`, `3 h` or `2 days`. The number is rounded up to a
/// whole number. So a caller who waits for the time in words never comes back too early.
#[must_use]
pub fn in_words(span: Duration) -> String {
    const MINUTE: u128 = 60_000;
    const HOUR: u128 = 60 * MINUTE;
    let millis = span.as_nanos().div_ceil(1_000_000);
    match millis {
        0..1_000 => format!("{millis} ms"),
        _ if millis <= 2 * MINUTE => format!("{} s", millis.div_ceil(1_000)),
        _ if millis <= 2 * HOUR => format!("{} min", millis.div_ceil(MINUTE)),
        _ if millis <= 48 * HOUR => format!("{} h", millis.div_ceil(HOUR)),
        _ => format!("{} days", millis.div_ceil(24 * HOUR)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_figure_rounded_up() {
        for (millis, words) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (11_001, "12 s"),
            (120_000, "120 s"),
            (120_001, "3 min"),
            (2 * 3_600_000 + 1, "3 h"),
            (50 * 3_600_000, "3 days"),
        ] {
            assert_eq!(in_words(Duration::from_millis(millis)), words, "{millis}");
        }
        assert_eq!(in_words(Duration::from_nanos(1)), "1 ms");
    }
}
