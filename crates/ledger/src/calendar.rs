//! Until when a provider remembers a key, and until when its look-ups and cancels work.
//!
//! Many providers count from the first send: "a key is remembered for 24 hours". Others follow their calendar: "keys
//! are forgotten at midnight", "a payment can be cancelled on the day on which it was made". A key of such a provider
//! that was first sent two seconds before midnight lives for two seconds.
//!
//! The obvious rule would take the provider's midnight as a moment that exists exactly once on each day. It is wrong on
//! the days on which a zone's clock is moved: a time of day can be missing, or come twice. Providers differ in what
//! they then do, and their documents do not say it. A request that is sent again after its key was forgotten takes
//! effect twice, while a key that is given up too early only costs a repeat. So all times that can be meant are found,
//! and [`Lifetime::end`] and [`Window::end`] return the earliest of them that comes after the first send.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp, Zoned};
use seawall_policy::{Wrong, show_time};

use crate::machine::Stamp;

#[cfg(test)]
#[path = "calendar/tests.rs"]
mod tests;

/// The end that is returned if the real end is beyond the calendar, which ends in the year 9999.
const LATEST: Stamp = Stamp::from_micros(i64::MAX);

/// A time zone of the IANA database. The zone's rules are read from the database of the operating system if there is
/// one, and otherwise from a copy that is built into the program. A clone shares the rules and is cheap.
#[derive(Clone)]
pub struct Zone {
    name: Arc<str>,
    zone: TimeZone,
}

impl Zone {
    /// Returns universal time (UTC).
    #[must_use]
    pub fn utc() -> Zone {
        Zone { name: "UTC".into(), zone: TimeZone::UTC }
    }

    /// Returns the zone with this name, such as `Asia/Seoul`. Capital and small letters count as the same.
    ///
    /// # Errors
    /// If the database has no zone with this name.
    pub fn named(name: &str) -> Result<Zone, UnknownZone> {
        let zone = TimeZone::get(name).map_err(|_| UnknownZone(name.to_owned()))?;
        // `TimeZone::get` also finds `Etc/Unknown`, which is no zone of the database: it has no name there.
        let known = zone.iana_name().ok_or_else(|| UnknownZone(name.to_owned()))?;
        Ok(Zone { name: known.into(), zone })
    }

    /// The zone's name, as the database spells it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the date and time that the zone's clock shows at `moment`; `None` if the moment is beyond the calendar.
    pub(crate) fn at(&self, moment: Stamp) -> Option<Zoned> {
        Some(Timestamp::from_microsecond(moment.as_micros()).ok()?.to_zoned(self.zone.clone()))
    }

    /// Returns the first moment of a day; `None` if it is beyond the calendar. If the clock was moved over midnight, so
    /// that the day has no 00:00, it is the first moment after that change.
    pub(crate) fn start_of(&self, day: Date) -> Option<Stamp> {
        self.starts_of(day).next()
    }

    /// Returns the date at `moment`. For a moment before the first or after the last date of the calendar, returns
    /// that first or last date. So the result is never `None`. It is an `Option` only because [`Zone::at`] returns
    /// one.
    fn date(&self, moment: Stamp) -> Option<Date> {
        let (first, last) = (Timestamp::MIN.as_microsecond(), Timestamp::MAX.as_microsecond());
        self.at(Stamp::from_micros(moment.as_micros().clamp(first, last))).map(|zoned| zoned.date())
    }

    /// Returns the moments, in order, at which this day begins. Usually there is one. There are two if the clock is
    /// set back over midnight, for example from 00:01 to 23:01: the day begins, the clock returns to the day before,
    /// and the day begins a second time.
    fn starts_of(&self, day: Date) -> impl Iterator<Item = Stamp> {
        let midnight = day.to_datetime(Time::midnight());
        let moments = match self.zone.to_ambiguous_timestamp(midnight).offset() {
            AmbiguousOffset::Unambiguous { offset } => [offset.to_timestamp(midnight).ok(), None],
            AmbiguousOffset::Gap { after, .. } => {
                [self.change_after(after.to_timestamp(midnight).ok()), None]
            }
            AmbiguousOffset::Fold { before, after } => {
                let first = before.to_timestamp(midnight).ok();
                let change = self.change_after(first);
                let yesterday_again = change.is_some_and(|change| after.to_datetime(change).date() < day);
                [first, after.to_timestamp(midnight).ok().filter(|_| yesterday_again)]
            }
        };
        moments.into_iter().flatten().map(stamp)
    }

    /// Returns all moments that `clock`, a date and a time of day in this zone, can mean. Usually there is one moment.
    ///
    /// - If the clock is set back, so that this time comes twice, both moments are returned.
    /// - If the clock is set forward over this time, so that it never comes, three moments are returned. One is the
    ///   moment of the change. The other two are what the time means with the zone's offset before and after the
    ///   change.
    fn meanings_of(&self, clock: DateTime) -> impl Iterator<Item = Stamp> {
        let moments = match self.zone.to_ambiguous_timestamp(clock).offset() {
            AmbiguousOffset::Unambiguous { offset } => [offset.to_timestamp(clock).ok(), None, None],
            AmbiguousOffset::Fold { before, after } => {
                [before.to_timestamp(clock).ok(), after.to_timestamp(clock).ok(), None]
            }
            AmbiguousOffset::Gap { before, after } => {
                let early = after.to_timestamp(clock).ok();
                [early, self.change_after(early), before.to_timestamp(clock).ok()]
            }
        };
        moments.into_iter().flatten().map(stamp)
    }

    /// Returns the first moment after `moment` at which the zone's clock is moved. Returns `None` if the clock is
    /// never moved after that, or if `moment` is `None`, which means a moment beyond the calendar.
    fn change_after(&self, moment: Option<Timestamp>) -> Option<Timestamp> {
        self.zone.following(moment?).next().map(|change| change.timestamp())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Zone").field(&self.name).finish()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl std::hash::Hash for Zone {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// The time zone database has no zone of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownZone(pub String);

impl UnknownZone {
    /// Returns the name in the database that was probably meant; `None` if no name is near. A near name differs at one
    /// place in at most two characters, or names the same city.
    #[must_use]
    pub fn nearest(&self) -> Option<String> {
        let wanted = self.0.to_lowercase();
        let missed = |name: &str| {
            let name = name.to_lowercase();
            if name.rsplit('/').next() == wanted.rsplit('/').next() { 1 } else { differing(&name, &wanted) }
        };
        let names = jiff::tz::db().available().map(|name| name.as_str().to_owned());
        let near = names.map(|name| (missed(&name), name)).filter(|(missed, _)| *missed <= 2);
        near.min().map(|(_, name)| name)
    }

    /// Returns the message that no zone has this name. Its help is the nearest name, or if no name is near, how a zone
    /// is written.
    // This is no `From`: with a second `From` for `Wrong`, the compiler no longer finds the error type of closures that
    // use `?`.
    fn into_wrong(self) -> Wrong {
        let near = self.nearest().map(|near| format!("did you mean `{near}`?"));
        let help = near.unwrap_or_else(|| "write an IANA name, such as `Asia/Seoul` or `UTC`".to_owned());
        Wrong::new(self.to_string()).help(help)
    }
}

/// Returns in how many bytes two names differ. The bytes that are equal at the beginning and at the end of both names
/// do not count. The result is the number of the other bytes in the longer name. For `Asia/Seoul` and `Asia/Soul` it
/// is 1.
fn differing(a: &str, b: &str) -> usize {
    let (short, long) = (a.len().min(b.len()), a.len().max(b.len()));
    let head = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let tail = a.bytes().rev().zip(b.bytes().rev()).take_while(|(a, b)| a == b).count();
    long - (head + tail).min(short)
}

impl fmt::Display for UnknownZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no time zone is named `{}`", self.0)
    }
}

impl std::error::Error for UnknownZone {}

/// An hour and a minute on the clock of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimeOfDay {
    time: Time,
    zone: Zone,
}

impl TimeOfDay {
    /// Makes a time of day from an hour, from 0 to 23, and a minute, from 0 to 59; `None` for other numbers.
    #[must_use]
    pub fn new(hour: u8, minute: u8, zone: Zone) -> Option<TimeOfDay> {
        let time = Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()?;
        Some(TimeOfDay { time, zone })
    }

    /// The zone whose clock is meant.
    #[must_use]
    pub const fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Returns the first moment strictly after `moment` at which the zone's clock shows this time of day; the latest
    /// possible stamp if that would be beyond the calendar. [`Lifetime::end`] says what holds on a day on which the
    /// clock is moved over this time of day.
    fn next(&self, moment: Stamp) -> Stamp {
        let today = self.zone.date(moment);
        // Close to midnight, a time that the clock never shows can count as a moment of the day before or the day
        // after. So the time of day is tried on the dates around today, too.
        let days = (-1..=2).filter_map(|days| later(today?, days));
        let meant = days.flat_map(|day| self.zone.meanings_of(day.to_datetime(self.time)));
        meant.filter(|meant| *meant > moment).min().unwrap_or(LATEST)
    }

    /// Reads `midnight` or an hour and a minute such as `23:30`.
    fn read(text: &str) -> Result<Time, Wrong> {
        let two = |digits: &str| {
            let fine = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|_| fine)
        };
        let time = match text.split_once(':') {
            Some((hour, minute)) => two(hour).zip(two(minute)).and_then(|(h, m)| Time::new(h, m, 0, 0).ok()),
            None => (text == "midnight").then(Time::midnight),
        };
        time.ok_or_else(|| {
            Wrong::new("this is not a time of day")
                .help("write \"midnight\", or an hour and a minute from \"00:00\" to \"23:59\"")
        })
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.time == Time::midnight() {
            return write!(f, "midnight {}", self.zone);
        }
        write!(f, "{:02}:{:02} {}", self.time.hour(), self.time.minute(), self.zone)
    }
}

/// How long a provider remembers a key.
///
/// ```
/// use seawall_ledger::{Lifetime, Stamp};
///
/// // `parse` calls this function for a length of time such as "24h". "midnight UTC" is not one.
/// let length = |_: &str| unreachable!("no length of time is parsed here");
/// let lifetime = Lifetime::parse("midnight UTC", length)?;
/// // 1970-01-01T23:59:58Z is two seconds before the end.
/// let first = Stamp::from_micros(86_398_000_000);
/// assert_eq!(lifetime.end(first), Stamp::from_micros(86_400_000_000));
/// # Ok::<(), seawall_policy::Wrong>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Lifetime {
    /// The key is remembered for this time after the first send.
    For(Duration),
    /// The key is remembered until the clock of the provider's zone shows this time of day.
    Daily(TimeOfDay),
}

impl Lifetime {
    /// Reads `midnight Asia/Seoul`, `23:30 Asia/Seoul`, or a length of time such as `24h`, and returns the lifetime.
    /// The function `length` reads lengths of time, so that they are written here as in all other settings of the
    /// caller.
    ///
    /// # Errors
    /// If the text has another form, if the zone is unknown, if `length` fails, or if the length is zero.
    pub fn parse(
        text: &str,
        length: impl FnOnce(&str) -> Result<Duration, Wrong>,
    ) -> Result<Lifetime, Wrong> {
        const FORMS: &str = "\"24h\", \"midnight Asia/Seoul\" or \"23:30 Asia/Seoul\"";
        match Words::of(text) {
            Words::Two(time, zone) => {
                let time = TimeOfDay::read(time)?;
                Ok(Lifetime::Daily(TimeOfDay {
                    time,
                    zone: Zone::named(zone).map_err(UnknownZone::into_wrong)?,
                }))
            }
            Words::One(word) if TimeOfDay::read(word).is_ok() => Err(without_zone(word)),
            Words::One(word) if is_length(word) => positive(length(word)?).map(Lifetime::For),
            Words::One(_) | Words::Other => {
                Err(Wrong::new("this is not the lifetime of a key").help(format!("write {FORMS}")))
            }
        }
    }

    /// Returns the moment from which the provider may no longer know a key that was first sent at `first`. An end
    /// beyond the calendar is the latest possible stamp.
    ///
    /// For a time of day, the end is the first moment strictly after `first` at which the clock of the zone shows that
    /// time. There are two special cases:
    ///
    /// - If the time of day comes twice on one day, both times count.
    /// - If the clock is moved forward over the time of day, the time does not come on that day. Then three moments
    ///   count, and the first of them after `first` is the end. For example, the clock goes from 02:00 to 03:00, and
    ///   the time of day is 02:30. The three moments are 01:30, 03:00 (the change itself) and 03:30.
    #[must_use]
    pub fn end(&self, first: Stamp) -> Stamp {
        match self {
            Lifetime::For(time) => first.saturating_add(*time),
            Lifetime::Daily(time) => time.next(first),
        }
    }

    /// Returns the shortest time that a key can be remembered for: zero for a time of day, since a key may be sent
    /// immediately before it.
    #[must_use]
    pub const fn shortest(&self) -> Duration {
        match self {
            Lifetime::For(time) => *time,
            Lifetime::Daily(_) => Duration::ZERO,
        }
    }
}

/// Writes the lifetime as [`Lifetime::parse`] reads it.
impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lifetime::For(time) => f.write_str(&show_time(*time)),
            Lifetime::Daily(time) => time.fmt(f),
        }
    }
}

/// Until when a look-up or a cancel of an action works at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// The look-up or the cancel works for this time after the first send.
    For(Duration),
    /// The look-up or the cancel works until the end of a day of the provider's calendar.
    Days {
        /// The number of days from the day of the first send to the last day on which the look-up or the cancel works:
        /// 0 means the same day, 1 the next day.
        days: u32,
        /// The zone whose calendar is meant.
        zone: Zone,
    },
}

impl Window {
    /// Reads `same-day Asia/Seoul`, `next-day Asia/Seoul`, `3-days Asia/Seoul`, or a length of time such as `24h`, and
    /// returns the window. The function `length` reads lengths of time, so that they are written here as in all other
    /// settings of the caller.
    ///
    /// # Errors
    /// If the text has another form, if the zone is unknown, if `length` fails, or if the length is zero.
    pub fn parse(text: &str, length: impl FnOnce(&str) -> Result<Duration, Wrong>) -> Result<Window, Wrong> {
        const FORMS: &str =
            "\"24h\", \"same-day Asia/Seoul\", \"next-day Asia/Seoul\" or \"3-days Asia/Seoul\"";
        let wrong = |message: &str| Wrong::new(message).help(format!("write {FORMS}"));
        match Words::of(text) {
            Words::Two(days, zone) => {
                let days = read_days(days).ok_or_else(|| wrong("this is not a number of days"))?;
                Ok(Window::Days { days, zone: Zone::named(zone).map_err(UnknownZone::into_wrong)? })
            }
            Words::One(word) if read_days(word).is_some() => Err(without_zone(word)),
            Words::One(word) if is_length(word) => positive(length(word)?).map(Window::For),
            Words::One(_) | Words::Other => Err(wrong("this is not a time until which something works")),
        }
    }

    /// Returns the moment from which the look-up or the cancel may no longer work, for an action that was first sent at
    /// `first`. An end beyond the calendar is the latest possible stamp.
    ///
    /// A day ends at the first moment of the following date. If the clock is set back over midnight, the following date
    /// begins twice. For an action that is sent before the first of these beginnings, the day ends at the first; for an
    /// action that is sent between the two, it ends at the second. If a zone left out a date, as Samoa did with
    /// 2011-12-30, that date counts as a day that is over when it begins.
    #[must_use]
    pub fn end(&self, first: Stamp) -> Stamp {
        match self {
            Window::For(time) => first.saturating_add(*time),
            Window::Days { days, zone } => end_of_days(*days, zone, first).unwrap_or(LATEST),
        }
    }

    /// Returns the shortest time for which the look-up or the cancel works. For a number of days, that is the time that
    /// is left to an action which is sent immediately before midnight. It is zero for `same-day`, 23 hours for
    /// `next-day`, and 24 hours more for each further day. The first of these days counts only 23 hours, because the
    /// clock may be moved forward by an hour on one of the days.
    ///
    /// The real time can be shorter only where a zone moves its clock by more than an hour: at the Antarctic station
    /// Troll (two hours each spring), and where a zone changes its standard time or leaves a date out.
    #[must_use]
    pub fn shortest(&self) -> Duration {
        match self {
            Window::For(time) => *time,
            Window::Days { days, .. } => {
                Duration::from_secs((u64::from(*days) * 86_400).saturating_sub(3600))
            }
        }
    }
}

/// Writes the window as [`Window::parse`] reads it.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Window::For(time) => f.write_str(&show_time(*time)),
            Window::Days { days: 0, zone } => write!(f, "same-day {zone}"),
            Window::Days { days: 1, zone } => write!(f, "next-day {zone}"),
            Window::Days { days, zone } => write!(f, "{days}-days {zone}"),
        }
    }
}

fn end_of_days(days: u32, zone: &Zone, first: Stamp) -> Option<Stamp> {
    let today = zone.date(first)?;
    let begins_after = |day: Date| zone.starts_of(day).find(|start| *start > first).map(|start| (day, start));
    let (following, end) = (0..=2).filter_map(|days| later(today, days)).find_map(begins_after)?;
    if days == 0 { Some(end) } else { zone.start_of(later(following, i64::from(days))?) }
}

/// Returns the date that is `days` days after `day`; `None` if it is beyond the calendar.
fn later(day: Date, days: i64) -> Option<Date> {
    day.checked_add(Span::new().try_days(days).ok()?).ok()
}

fn stamp(moment: Timestamp) -> Stamp {
    Stamp::from_micros(moment.as_microsecond())
}

/// A text, split at spaces.
enum Words<'a> {
    One(&'a str),
    Two(&'a str, &'a str),
    Other,
}

impl Words<'_> {
    fn of(text: &str) -> Words<'_> {
        let mut words = text.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(word), None, _) => Words::One(word),
            (Some(word), Some(zone), None) => Words::Two(word, zone),
            _ => Words::Other,
        }
    }
}

/// Returns the number of days that `same-day` (0), `next-day` (1) or a text such as `3-days` means; `None` for any
/// other text.
fn read_days(text: &str) -> Option<u32> {
    match text {
        "same-day" => Some(0),
        "next-day" => Some(1),
        _ => {
            let digits = text.strip_suffix("-days")?;
            digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
        }
    }
}

/// Returns whether a text was probably meant as a length of time. Such a text goes to the function `length`, whose
/// error says what is wrong with it.
fn is_length(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains([':', '-'])
}

fn positive(time: Duration) -> Result<Duration, Wrong> {
    if time.as_micros() > 0 { Ok(time) } else { Err(Wrong::new("this time must be longer than zero")) }
}

fn without_zone(word: &str) -> Wrong {
    Wrong::new("the time zone is missing").help(format!("write the provider's zone: \"{word} Asia/Seoul\""))
}
