//! What is wrong with a text, a setting or a declaration, in words for the person who repairs it.
//!
//! Each type of settings finds its own problems, so each rule is written in one place. The program that read or built
//! the settings reports them: the gateway with the line of its file, the library in the error of its builder. Most
//! wrong values are excluded by a setting's type. The problems that are found here are values that do not fit together,
//! and the few wrong values that a type allows.

use std::fmt;
use std::time::Duration;

/// What is wrong with one text, and what to write instead. The words never repeat a value that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub message: String,
    /// What helps: the nearest valid name, the list of valid names, or what to write instead. `None` if nothing is
    /// known that helps.
    pub help: Option<String>,
}

impl Wrong {
    /// Returns a description of what is wrong, without any help.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Wrong {
        Wrong { message: message.into(), help: None }
    }

    /// Adds the text that helps.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Wrong {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.iter().try_for_each(|help| write!(f, " ({help})"))
    }
}

impl std::error::Error for Wrong {}

/// How grave a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// The declaration is refused.
    Error,
    /// The declaration is accepted, but has a consequence that its author may not expect.
    Note,
}

/// One thing that is wrong with a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting's name in a configuration file, relative to the operation's table: `quiet`, `cancel.request`.
    pub setting: &'static str,
    /// What is wrong with the setting, and what helps.
    pub wrong: Wrong,
    /// Whether the declaration is refused because of this problem.
    pub gravity: Gravity,
    /// The other settings from which the problem follows.
    pub with: &'static [&'static str],
}

impl Problem {
    /// Returns an error in one setting.
    #[must_use]
    pub fn error(setting: &'static str, wrong: Wrong) -> Problem {
        Problem { setting, wrong, gravity: Gravity::Error, with: &[] }
    }

    /// Returns a note about one setting: the declaration is accepted, but probably does not do what its author wants.
    #[must_use]
    pub fn note(setting: &'static str, wrong: Wrong) -> Problem {
        Problem { gravity: Gravity::Note, ..Problem::error(setting, wrong) }
    }

    /// Adds the other settings from which the problem follows.
    #[must_use]
    pub fn with(self, with: &'static [&'static str]) -> Problem {
        Problem { with, ..self }
    }

    /// Returns whether this problem only follows from another one: it concerns a setting that could not be read, which
    /// is reported already. `unread` is called with the name of a setting, and returns whether that setting could not
    /// be read.
    #[must_use]
    pub fn is_echo(&self, unread: impl Fn(&str) -> bool) -> bool {
        unread(self.setting) || self.with.iter().any(|setting| unread(setting))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.wrong)
    }
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

/// Returns a length of time as it would be written in a configuration file.
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
    // Days are not used, since people write 24h.
    let whole = TIME_UNITS[..5].iter().rev().find(|(_, unit)| nanos.is_multiple_of(u128::from(*unit)));
    match whole {
        Some(("ms", _)) if nanos > 1_000_000_000 => format!("{}s", time.as_secs_f64()),
        Some((name, unit)) => format!("{}{name}", nanos / u128::from(*unit)),
        None => format!("{}us", nanos as f64 / 1e3),
    }
}
