//! The faults that can strike one request, and how they are written.
//!
//! A fault is written as words with commas between them: `close-after-effect`, `status=429,retry-after=2s`,
//! `delay=200ms,reset`. [`WORDS`] lists the words. The description of each word says whether the effect takes place,
//! since a caller cannot see this: `close` and `close-after-effect` look the same from outside.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::StatusCode;

/// Every word of a fault, with its description.
pub const WORDS: &[(&str, &str)] = &[
    ("hang", "no effect, and no answer ever"),
    ("hang-after-effect", "the effect, and no answer ever"),
    (
        "delay=2s",
        "the work takes this long, then the effect and the answer; a caller that leaves does not stop it",
    ),
    ("delay-after-effect=2s", "the effect immediately, the answer this much later"),
    ("status=503", "no effect, and this status"),
    ("status-after-effect=500", "the effect, and this status"),
    ("retry-after=3s", "Retry-After beside a status; alone it means status=503"),
    ("reset", "no effect; the connection is reset once the request was read"),
    ("reset-after-effect", "the effect, then the same"),
    ("close", "no effect; the connection is closed in order, without an answer"),
    ("close-after-effect", "the effect, then the same: the reply is lost"),
    ("drip=100ms", "the effect; the answer's body comes one byte per interval"),
    ("slow-head=100ms", "the effect; the answer's head comes one byte per interval"),
    ("truncate", "the effect; half of the announced body, then the connection is closed"),
    ("garbage", "the effect; an answer that is not HTTP"),
];

/// What goes wrong with one request. It is read with `parse` from words such as `status=503,retry-after=2s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How long the work waits before the effect.
    pub(super) before: Duration,
    /// How long the answer waits after the effect.
    pub(super) after: Duration,
    /// Whether the effect takes place.
    pub(super) effect: bool,
    pub(super) ending: Ending,
    pub(super) retry_after: Option<Duration>,
    /// Whether the fault strikes every request that carries it. If `false`, it strikes only the first request with the
    /// same idempotency key or the same `harbor-id`.
    pub(super) always: bool,
}

impl Default for Fault {
    /// Returns the value that stands for no fault: the effect takes place, and the answer is sent immediately.
    fn default() -> Self {
        Fault {
            before: Duration::ZERO,
            after: Duration::ZERO,
            effect: true,
            ending: Ending::Answer,
            retry_after: None,
            always: false,
        }
    }
}

/// How the exchange ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Answer,
    Status(StatusCode),
    Hang,
    Reset,
    Close,
    Drip(Duration),
    SlowHead(Duration),
    Truncate,
    Garbage,
}

/// The error of a fault that could not be read. Its text names the valid words, the most similar first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultError(String);

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FaultError {}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Fault, FaultError> {
        let (words, always) = match text.split_once(';') {
            None => (text, false),
            Some((words, flag)) if flag.trim() == "always" => (words, true),
            Some((_, flag)) => {
                return Err(FaultError(format!(
                    "`{}` is no flag of a fault; the only one is `always`",
                    flag.trim()
                )));
            }
        };
        let mut fault = Fault { always, ..Fault::default() };
        let mut ended_by = None;
        for word in words.split(',').map(str::trim) {
            let (name, value) =
                word.split_once('=').map_or((word, None), |(n, v)| (n.trim(), Some(v.trim())));
            let Some(ending) = fault.take(name, value)? else { continue };
            if let Some(first) = ended_by.replace(word.to_owned()) {
                return Err(FaultError(format!(
                    "a request ends once: `{first}` and `{word}` contradict each other"
                )));
            }
            (fault.ending, fault.effect) = ending;
        }
        if fault.retry_after.is_some() {
            match fault.ending {
                Ending::Status(_) => {}
                Ending::Answer if ended_by.is_none() => {
                    fault.ending = Ending::Status(StatusCode::SERVICE_UNAVAILABLE);
                    fault.effect = false;
                }
                _ => return Err(FaultError("`retry-after` goes with a status".to_owned())),
            }
        }
        Ok(fault)
    }
}

impl Fault {
    /// Applies one word of a fault.
    ///
    /// - If the word sets a wait (`delay`, `delay-after-effect`, `retry-after`), the wait is stored in this fault, and
    ///   the result is `None`.
    /// - If the word says how the request ends, the result is this ending, and whether the effect takes place.
    ///
    /// Fails if the word is unknown or its value is wrong.
    fn take(&mut self, name: &str, value: Option<&str>) -> Result<Option<(Ending, bool)>, FaultError> {
        const INTERVAL: Duration = Duration::from_millis(100);
        let bare = |ending, effect| match value {
            None => Ok(Some((ending, effect))),
            Some(_) => Err(FaultError(format!("`{name}` takes no value"))),
        };
        let wait = |missing: Option<Duration>| match (value, missing) {
            (Some(value), _) => duration(value).map_err(|why| FaultError(format!("`{name}`: {why}"))),
            (None, Some(wait)) => Ok(wait),
            (None, None) => Err(FaultError(format!("`{name}` needs a time, as in `{name}=2s`"))),
        };
        match name {
            "hang" => bare(Ending::Hang, false),
            "hang-after-effect" => bare(Ending::Hang, true),
            "reset" => bare(Ending::Reset, false),
            "reset-after-effect" => bare(Ending::Reset, true),
            "close" => bare(Ending::Close, false),
            "close-after-effect" => bare(Ending::Close, true),
            "truncate" => bare(Ending::Truncate, true),
            "garbage" => bare(Ending::Garbage, true),
            "drip" => Ok(Some((Ending::Drip(wait(Some(INTERVAL))?), true))),
            "slow-head" => Ok(Some((Ending::SlowHead(wait(Some(INTERVAL))?), true))),
            "status" => Ok(Some((Ending::Status(status(name, value)?), false))),
            "status-after-effect" => Ok(Some((Ending::Status(status(name, value)?), true))),
            "delay" => {
                self.before = wait(None)?;
                Ok(None)
            }
            "delay-after-effect" => {
                self.after = wait(None)?;
                Ok(None)
            }
            "retry-after" => {
                self.retry_after = Some(wait(None)?);
                Ok(None)
            }
            other => Err(unknown(other)),
        }
    }
}

fn status(name: &str, value: Option<&str>) -> Result<StatusCode, FaultError> {
    let code = value.and_then(|v| v.parse::<u16>().ok()).filter(|code| (200..600).contains(code));
    code.and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(|| FaultError(format!("`{name}` needs a status from 200 to 599, as in `{name}=503`")))
}

fn unknown(name: &str) -> FaultError {
    let mut valid: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
    let bare = |word: &str| word.split('=').next().unwrap_or_default().to_owned();
    valid.sort_by_key(|word| strsim::damerau_levenshtein(&bare(word), name));
    FaultError(format!("`{name}` is no fault; valid, the nearest first: {}", valid.join(", ")))
}

/// Returns a time, read from a text such as `250ms`, `2s`, `1.5s` or `1m`. Fails if the text has another form.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time; write it as `250ms`, `2s` or `1m`");
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let number: f64 = text[..unit].parse().map_err(|_| wrong())?;
    let seconds = match text[unit..].trim() {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let time = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
    if time > Duration::from_secs(24 * 3600) {
        Err(format!("`{text}` is longer than a day"))
    } else {
        Ok(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_every_word() {
        let page = include_str!("../../../../docs/harbor.md");
        for (word, _) in WORDS {
            assert!(page.contains(&format!("\n| `{word}` |")), "docs/harbor.md has no row of `{word}`");
        }
    }

    fn fault(text: &str) -> Fault {
        text.parse().unwrap()
    }

    #[test]
    fn every_word_of_the_table_is_read() {
        for (word, _) in WORDS {
            fault(word);
        }
    }

    #[test]
    fn words_join_into_one_fault() {
        let joined = fault("delay=200ms, status=429, retry-after=2s;always");
        assert_eq!(joined.before, Duration::from_millis(200));
        assert_eq!(joined.ending, Ending::Status(StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(joined.retry_after, Some(Duration::from_secs(2)));
        assert!(joined.always && !joined.effect);
        assert!(fault("close-after-effect").effect);
        assert!(!fault("close").effect);
        assert_eq!(fault("drip").ending, Ending::Drip(Duration::from_millis(100)));
        assert_eq!(fault("retry-after=1s").ending, Ending::Status(StatusCode::SERVICE_UNAVAILABLE));
        assert!(!fault("retry-after=1s").effect);
    }

    #[test]
    fn misspelt_word_names_the_nearest_first() {
        let said = "clos-after-effect".parse::<Fault>().unwrap_err().to_string();
        assert!(said.contains("nearest first: close-after-effect,"), "{said}");
        let said = "stauts=503".parse::<Fault>().unwrap_err().to_string();
        assert!(said.contains("nearest first: status=503,"), "{said}");
        for (word, _) in WORDS {
            assert!(said.contains(word), "{word} in {said}");
        }
    }

    #[test]
    fn contradictions_and_bad_values_are_refused() {
        for text in [
            "",
            "reset,hang",
            "status",
            "status=42",
            "status=abc",
            "delay",
            "delay=2",
            "delay=xs",
            "hang=2s",
            "hang;often",
            "reset,retry-after=1s",
            "delay=25h",
            "drip=-1s",
        ] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
