//! The hole `{sent:FORMAT@ZONE}`: the time at which an operation's request was first sent, as a provider wants to read
//! it. For example, `{sent:%Y%m%d@Asia/Seoul}` becomes `20261126`.
//!
//! Providers ask for "the date of the original" on their own calendar. At 23:30 UTC it is the next day in Seoul
//! already, so a date without a zone would name the wrong day for nine hours of every day.

use std::fmt;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use seawall_ledger::Stamp;
use seawall_policy::Wrong;

/// A format of a date and time, and the time zone in which it is shown.
///
/// ```
/// use seawall_actions::template::DateFormat;
/// use seawall_ledger::Stamp;
///
/// let format = DateFormat::parse("%Y%m%d %H:%M@Asia/Seoul").unwrap();
/// let sent = Stamp::from_micros(1_795_678_200_000_000);
/// assert_eq!(format.show(sent).unwrap(), "20261126 16:30");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateFormat {
    format: String,
    name: String,
    zone: TimeZone,
}

/// The letters that may follow `%` in a format. These conversions of `strftime` are not among them:
///
/// - those whose text depends on a language or on the version of the time zone database (`%c`, `%r`, `%X`, `%x`, `%Z`);
/// - the name of the zone (`%Q`), because the declaration names the zone itself;
/// - line breaks and tabs (`%n`, `%t`).
const CONVERSIONS: &str = "ABCDFGHIMNPRSTUVWYabdefghjklmpqsuwyz";

/// The characters that a format may have between its conversions. All other text has to be written outside of the hole.
/// So `YYYYMMDD`, which is the notation of other languages, is reported as a mistake.
const BETWEEN: &str = " -_.:/,+TZ";

const AS_IN: &str = "as in `{sent:%Y%m%d@Asia/Seoul}`";

impl DateFormat {
    /// Reads `FORMAT@ZONE`. The format has the conversions of `strftime`, such as `%Y%m%d`, and the zone is a name of
    /// the IANA database, such as `Asia/Seoul`.
    ///
    /// # Errors
    /// If the format or the zone is missing, or if the IANA database has no such zone. Also if the format has no
    /// conversion, a conversion that is not allowed, or text other than the few signs that may stand between
    /// conversions.
    pub fn parse(written: &str) -> Result<DateFormat, Wrong> {
        let (format, name) =
            written.rsplit_once('@').ok_or_else(|| Wrong::new("`{sent:…}` has no time zone").help(AS_IN))?;
        check(format)?;
        let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown()).ok_or_else(|| {
            Wrong::new("the zone of `{sent:…}` is not the name of a time zone")
                .help("write an IANA name after `@`: `Asia/Seoul`, `UTC`")
        })?;
        let format = DateFormat { format: format.to_owned(), name: name.to_owned(), zone };
        format
            .show(Stamp::from_micros(0))
            .ok_or_else(|| Wrong::new("this format cannot be shown").help(AS_IN))?;
        Ok(format)
    }

    /// Returns the text of the moment `at` in this format and zone; `None` if the moment lies outside the years -9999
    /// to 9999.
    #[must_use]
    pub fn show(&self, at: Stamp) -> Option<String> {
        let at = Timestamp::from_microsecond(at.as_micros()).ok()?;
        strtime::format(&self.format, &at.to_zoned(self.zone.clone())).ok()
    }
}

impl fmt::Display for DateFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.format, self.name)
    }
}

/// Checks that a format consists of date and time conversions, such as `%Y`. Between them only the characters of
/// [`BETWEEN`] are allowed: the space and `-_.:/,+TZ`.
fn check(format: &str) -> Result<(), Wrong> {
    let mut rest = format;
    let mut conversions = 0;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        if next == '%' {
            rest = conversion(rest).ok_or_else(|| {
                Wrong::new("`{sent:…}` has a `%` with a conversion that no date and time has")
                    .help("as in `%Y`, `%m`, `%d`, `%H`, `%M`, `%S`, `%3f`, `%s`, `%:z`; `%%` is `%` itself")
            })?;
            conversions += 1;
        } else if !BETWEEN.contains(next) {
            return Err(Wrong::new("the format of `{sent:…}` has text that is not a conversion")
                .help("write the text outside of the braces; conversions begin with `%`, as in `%Y%m%d`"));
        }
    }
    if conversions == 0 {
        return Err(Wrong::new("the format of `{sent:…}` has no conversion").help(AS_IN));
    }
    Ok(())
}

/// Reads one conversion at the beginning of `after`, which is the text behind a `%`. Returns the text behind the
/// conversion; `None` if the conversion is not allowed.
fn conversion(after: &str) -> Option<&str> {
    if let Some(rest) = after.strip_prefix('%') {
        return Some(rest);
    }
    if after.starts_with(':') {
        let colons = after.len() - after.trim_start_matches(':').len();
        return after[colons..].strip_prefix('z').filter(|_| colons <= 3);
    }
    // `%3f` and `%.3f` are fractions of a second with three digits.
    let digits = after.strip_prefix('.').unwrap_or(after);
    let fraction = digits.strip_prefix(|c| ('1'..='9').contains(&c)).unwrap_or(digits).strip_prefix('f');
    if fraction.is_some() {
        return fraction;
    }
    // One sign before the letter may say how a number is padded, as in `%-d`, or that letters are capital, as in `%^a`.
    let letter = after.strip_prefix(['-', '_', '0', '^', '#']).unwrap_or(after);
    letter.strip_prefix(|c| CONVERSIONS.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(written: &str, micros: i64) -> String {
        DateFormat::parse(written).unwrap().show(Stamp::from_micros(micros)).unwrap()
    }

    /// 2026-11-26T07:30:00.123456Z.
    const MORNING: i64 = 1_795_678_200_123_456;
    /// 2026-11-26T15:00:00Z, which is midnight in Seoul.
    const MIDNIGHT: i64 = 1_795_705_200_000_000;

    #[test]
    fn the_day_is_that_of_the_zone() {
        assert_eq!(show("%Y%m%d@Asia/Seoul", MIDNIGHT - 1), "20261126");
        assert_eq!(show("%Y%m%d@Asia/Seoul", MIDNIGHT), "20261127");
        assert_eq!(show("%Y%m%d@UTC", MIDNIGHT), "20261126");
    }

    #[test]
    fn each_conversion_can_be_shown() {
        assert_eq!(show("%Y-%m-%dT%H:%M:%S%:z@Asia/Seoul", MORNING), "2026-11-26T16:30:00+09:00");
        assert_eq!(show("%s@UTC", MORNING), "1795678200");
        assert_eq!(show("%S.%3f %S%.6f@UTC", MORNING), "00.123 00.123456");
        assert_eq!(show("%-m/%_d %%@UTC", MORNING), "11/26 %");
        for letter in CONVERSIONS.chars() {
            assert!(!show(&format!("%{letter}@Asia/Seoul"), MORNING).is_empty(), "%{letter}");
        }
    }

    #[test]
    fn wrong_formats_are_refused_with_what_is_valid() {
        for (written, says) in [
            ("%Y%m%d", "has no time zone"),
            ("@UTC", "has no conversion"),
            ("-@UTC", "has no conversion"),
            ("YYYYMMDD@UTC", "text that is not a conversion"),
            ("%Y년@UTC", "text that is not a conversion"),
            ("%Y\n@UTC", "text that is not a conversion"),
            ("%E@UTC", "a conversion that no date and time has"),
            ("%@UTC", "a conversion that no date and time has"),
            ("%n@UTC", "a conversion that no date and time has"),
            ("%c@UTC", "a conversion that no date and time has"),
            ("%Z@UTC", "a conversion that no date and time has"),
            ("%::::z@UTC", "a conversion that no date and time has"),
            ("%999d@UTC", "a conversion that no date and time has"),
            ("%--d@UTC", "a conversion that no date and time has"),
            ("%Y@", "not the name of a time zone"),
            ("%Y@Seoul", "not the name of a time zone"),
            ("%Y@+09:00", "not the name of a time zone"),
            ("%Y@Etc/Unknown", "not the name of a time zone"),
            ("%Y@../../etc/passwd", "not the name of a time zone"),
        ] {
            let said = DateFormat::parse(written).unwrap_err().to_string();
            assert!(said.contains(says), "{written}: {said}");
        }
    }

    #[test]
    fn moments_beyond_the_calendar_are_not_shown() {
        let format = DateFormat::parse("%Y@UTC").unwrap();
        assert_eq!(format.show(Stamp::from_micros(i64::MAX)), None);
    }
}
