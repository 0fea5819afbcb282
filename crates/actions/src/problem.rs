//! What is wrong with a text or a declaration, in words for the person who repairs it.

use std::fmt;

/// What is wrong with one text, and what to write instead. It never repeats what may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub message: String,
    /// What helps: the nearest valid name, the list of valid ones, or what to write instead.
    pub help: Option<String>,
}

impl Wrong {
    /// Something is wrong.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Wrong {
        Wrong { message: message.into(), help: None }
    }

    /// And this helps.
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
    /// The declaration is taken; something follows from it that its author may not expect.
    Note,
}

/// One thing that is wrong with a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting, by its name in a configuration file and below the operation's table: `quiet`, `cancel.request`.
    pub setting: &'static str,
    /// What is wrong with it, and what helps.
    pub wrong: Wrong,
    /// How grave it is.
    pub gravity: Gravity,
    /// The other settings that it follows from.
    pub with: &'static [&'static str],
}

impl Problem {
    /// An error in one setting.
    #[must_use]
    pub fn error(setting: &'static str, wrong: Wrong) -> Problem {
        Problem { setting, wrong, gravity: Gravity::Error, with: &[] }
    }

    /// It follows from these other settings, too.
    #[must_use]
    pub(crate) fn with(self, with: &'static [&'static str]) -> Problem {
        Problem { with, ..self }
    }

    /// Whether it only follows from a setting that could not be read. That was told already, and this would be its echo.
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
