//! What is wrong with settings.
//!
//! The types of the settings find it, each in one place; whoever read or built them tells it to people: the gateway at the
//! line of its file, the library in the error of its builder. What one value can be is mostly said by its type; here is what
//! only two values together show, and what is left.

use std::time::Duration;

/// Settings that could never work as they were meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting at fault, by its name in a configuration.
    pub setting: &'static str,
    /// The setting that it does not fit.
    pub beside: Option<&'static str>,
    /// What is wrong, with the values.
    pub what: String,
    /// What helps.
    pub help: Option<&'static str>,
    /// Whether it is refused. Otherwise it works, though hardly as anybody wants it.
    pub grave: bool,
}

impl Problem {
    /// A setting that is wrong by itself.
    #[must_use]
    pub fn of(setting: &'static str, what: impl Into<String>) -> Problem {
        Problem { setting, beside: None, what: what.into(), help: None, grave: true }
    }

    /// A setting that does not fit `other`.
    #[must_use]
    pub fn beside(self, other: &'static str) -> Problem {
        Problem { beside: Some(other), ..self }
    }

    /// Says what to do.
    #[must_use]
    pub fn help(self, help: &'static str) -> Problem {
        Problem { help: Some(help), ..self }
    }

    /// It is told, and not refused.
    #[must_use]
    pub fn only_told(self) -> Problem {
        Problem { grave: false, ..self }
    }
}

/// Units of time, and their nanoseconds. Days are left out: 24h is what people write.
const UNITS: [(&str, u128); 5] =
    [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];

/// A length of time as it would be written in a configuration.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(seawall_policy::show_time(Duration::from_secs(3600)), "1h");
/// assert_eq!(seawall_policy::show_time(Duration::from_millis(1500)), "1.5s");
/// ```
#[must_use]
pub fn show_time(time: Duration) -> String {
    let nanos = time.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    match UNITS.iter().find(|(_, unit)| nanos.is_multiple_of(*unit)) {
        Some(("ms", _)) if nanos > 1_000_000_000 => format!("{}s", time.as_secs_f64()),
        Some((name, unit)) => format!("{}{name}", nanos / unit),
        None => format!("{}us", nanos as f64 / 1e3),
    }
}
