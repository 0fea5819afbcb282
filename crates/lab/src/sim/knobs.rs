//! A scenario's own settings: each has a name, a default, bounds and a meaning.
//!
//! The settings come as text from a command line, and are checked before anything runs. The error for a wrong name
//! contains the most similar right name, and the error for a number out of bounds contains the bounds.

use std::fmt;

/// The reason why a simulation was not run: a mistake in the user's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misuse(String);

impl Misuse {
    /// Creates a misuse with this explanation.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Misuse {
        Misuse(why.into())
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// One setting of a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Knob {
    /// The name of the setting on the command line.
    pub name: &'static str,
    /// The default as text. It is empty if each case of the study has its own value.
    pub default: &'static str,
    /// The values that the setting takes.
    pub takes: Takes,
    /// The meaning of the setting, in a few words for the user.
    pub what: &'static str,
}

/// The values that a setting takes.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// A number from the first bound to the second.
    Number(f64, f64),
    /// One of these words.
    Word(&'static [&'static str]),
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Takes::Number(low, high) => write!(f, "{low} to {high}"),
            Takes::Word(words) => f.write_str(&words.join(" | ")),
        }
    }
}

/// The settings of a scenario as they are used in a run.
#[derive(Clone, Debug)]
pub struct Knobs {
    table: &'static [Knob],
    set: Vec<(&'static str, String)>,
}

impl Knobs {
    /// Checks the settings that the user gave against the scenario's table, and returns the settings of the run.
    ///
    /// # Errors
    /// If a name is not in the table, or a value is not valid for its setting.
    pub fn read(table: &'static [Knob], asked: &[(String, String)]) -> Result<Knobs, Misuse> {
        let mut set = Vec::new();
        for (name, value) in asked {
            let Some(knob) = table.iter().find(|knob| knob.name == name) else {
                let names: Vec<&str> = table.iter().map(|knob| knob.name).collect();
                return Err(unknown("setting", name, &names));
            };
            knob.check(value)?;
            if set.iter().any(|(known, _)| *known == knob.name) {
                return Err(Misuse::new(format!("`{name}` is set twice")));
            }
            set.push((knob.name, value.clone()));
        }
        Ok(Knobs { table, set })
    }

    /// Returns whether the setting was given explicitly.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.set.iter().any(|(known, _)| *known == name)
    }

    /// Returns the settings that were given explicitly, in the order in which they were given.
    #[must_use]
    pub fn given(&self) -> &[(&'static str, String)] {
        &self.set
    }

    /// Returns the number of a setting: the one that was given, or else the default.
    #[must_use]
    pub fn number(&self, name: &str) -> f64 {
        self.word(name).parse().expect("checked when it was read, and defaults are numbers")
    }

    /// Returns the number of a setting: the one that was given, or else `own`. It is for settings whose default differs
    /// between the cases of a study.
    #[must_use]
    pub fn number_or(&self, name: &str, own: f64) -> f64 {
        if self.is_set(name) { self.number(name) } else { own }
    }

    /// Returns the value of a setting as text: the one that was given, or else the default.
    #[must_use]
    pub fn word(&self, name: &str) -> &str {
        let set = self.set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        let knob = self.table.iter().find(|knob| knob.name == name);
        set.unwrap_or_else(|| knob.expect("a scenario asks for its own settings").default)
    }
}

impl Knob {
    fn check(&self, value: &str) -> Result<(), Misuse> {
        let name = self.name;
        match self.takes {
            Takes::Number(low, high) => {
                let number: f64 = value.parse().map_err(|_| {
                    Misuse::new(format!("`{name}` takes a number, {low} to {high}: `{value}`"))
                })?;
                if (low..=high).contains(&number) {
                    return Ok(());
                }
                let near = number.clamp(low, high);
                let near = if near.is_nan() { low } else { near };
                Err(Misuse::new(format!(
                    "`{name}` = {value} is impossible: {low} to {high}; the nearest is {near}"
                )))
            }
            Takes::Word(words) if words.contains(&value) => Ok(()),
            Takes::Word(words) => Err(unknown(&format!("value of `{name}`"), value, words)),
        }
    }
}

/// Returns the error for a wrong name. Its text contains the most similar right name, and all right names.
#[must_use]
pub fn unknown(kind: &str, name: &str, all: &[&str]) -> Misuse {
    let distance = |known: &&&str| strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase());
    let near = all.iter().min_by_key(distance);
    match near {
        None => Misuse::new(format!("no {kind} `{name}`: there is none to set here")),
        Some(near) => {
            Misuse::new(format!("no {kind} `{name}`; the nearest is `{near}`; there are: {}", all.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Knob] = &[
        Knob { name: "load", default: "0.7", takes: Takes::Number(0.0, 2.0), what: "offered load" },
        Knob { name: "holding", default: "exp", takes: Takes::Word(&["exp", "det"]), what: "times" },
    ];

    fn read(asked: &[(&str, &str)]) -> Result<Knobs, String> {
        let asked: Vec<(String, String)> =
            asked.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Knobs::read(TABLE, &asked).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn what_is_set_counts_and_the_rest_is_the_default() {
        let knobs = read(&[("load", "1.5")]).expect("right");
        assert_eq!((knobs.number("load"), knobs.word("holding")), (1.5, "exp"));
        assert_eq!(knobs.number_or("load", 9.0), 1.5);
        assert_eq!(read(&[]).expect("right").number_or("load", 9.0), 9.0);
    }

    #[test]
    fn what_is_wrong_is_answered_with_what_would_be_right() {
        let wrong = |asked: &[(&str, &str)]| read(asked).expect_err("wrong");
        assert!(wrong(&[("laod", "1")]).contains("the nearest is `load`"));
        assert!(wrong(&[("load", "9")]).contains("the nearest is 2"));
        assert!(wrong(&[("load", "many")]).contains("takes a number"));
        assert!(wrong(&[("load", "NaN")]).contains("impossible"));
        assert!(wrong(&[("holding", "dte")]).contains("`det`"));
        assert!(wrong(&[("load", "1"), ("load", "1")]).contains("twice"));
    }
}
