//! The window of time that is compared, on the provider's calendar.
//!
//! "Yesterday" is the provider's yesterday. Days are taken from the calendar of the provider's zone, and each window
//! begins exactly where the previous one ended.
//!
//! The obvious rule would take 24 hours from midnight. It is wrong on the two days of the year on which a zone's clock
//! is moved: such a day has 23 or 25 hours, and in some zones it has no midnight.
//!
//! The windows of a schedule are computed from the zone, the interval and the time alone. So every worker computes
//! equal windows, and a unique key in the store can say which windows have a report.

use std::fmt;
use std::time::Duration;

use jiff::Span;
use jiff::civil::Date;

use crate::calendar::{UnknownZone, Zone};
use crate::machine::Stamp;

/// The default length of a window of a schedule: one day of the provider's calendar.
pub const DAY: Duration = Duration::from_secs(24 * 3600);
/// The minimum length of a window of a schedule.
const SHORTEST: Duration = Duration::from_secs(60);

/// The reason why a window cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoWindow {
    /// The time zone database has no zone of this name.
    UnknownZone(String),
    /// The window ends before it begins, or at the moment at which it begins.
    Empty,
    /// The text is no date of the calendar, or the date is too far in the past or future for the calendar.
    OffTheCalendar,
}

impl fmt::Display for NoWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoWindow::UnknownZone(name) => write!(f, "no time zone is named `{name}`"),
            NoWindow::Empty => f.write_str("the window ends before it begins"),
            NoWindow::OffTheCalendar => f.write_str("no such date"),
        }
    }
}

impl std::error::Error for NoWindow {}

impl From<UnknownZone> for NoWindow {
    fn from(unknown: UnknownZone) -> NoWindow {
        NoWindow::UnknownZone(unknown.0)
    }
}

/// A span of time on the provider's calendar: `from` is part of it, `to` is not.
///
/// ```
/// use seawall_ledger::reconcile::{Window, Zone};
///
/// let day = Window::day(&Zone::named("Asia/Seoul")?, "2026-11-26")?;
/// assert_eq!(day.from_text(), "2026-11-26T00:00:00+09:00");
/// assert_eq!(day.to_text(), "2026-11-27T00:00:00+09:00");
/// # Ok::<(), seawall_ledger::reconcile::NoWindow>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    from: Stamp,
    to: Stamp,
    zone: Zone,
}

impl Window {
    /// Makes the window from one moment to another.
    ///
    /// # Errors
    /// If `from` is not before `to`.
    pub fn new(zone: &Zone, from: Stamp, to: Stamp) -> Result<Window, NoWindow> {
        if from < to { Ok(Window { from, to, zone: zone.clone() }) } else { Err(NoWindow::Empty) }
    }

    /// Makes the window of one day of the provider's calendar, written `2026-11-26`.
    ///
    /// # Errors
    /// If the calendar has no such day.
    pub fn day(zone: &Zone, day: &str) -> Result<Window, NoWindow> {
        Window::days(zone, day.parse().map_err(|_| NoWindow::OffTheCalendar)?, 1)
    }

    /// Makes the window of the day before the current day in this zone. The current day is that of `now`.
    ///
    /// # Errors
    /// If `now` is beyond the calendar.
    pub fn yesterday(zone: &Zone, now: Stamp) -> Result<Window, NoWindow> {
        Window::last_closed(zone, DAY, now)
    }

    /// Returns the last window of a schedule that ended at `now` or before.
    ///
    /// A window of a day or more consists of whole days, counted from 1970-01-01. Shorter windows are counted from the
    /// first moment of each day; the last window of a day ends with the day, even if it is shorter than `every`.
    ///
    /// # Errors
    /// If `now` is beyond the calendar.
    pub fn last_closed(zone: &Zone, every: Duration, now: Stamp) -> Result<Window, NoWindow> {
        let open = Window::around(zone, every, now)?;
        Window::around(zone, every, Stamp::from_micros(open.from.as_micros().saturating_sub(1)))
    }

    /// Returns the next window of a schedule whose windows have the length `every`: the one that contains the first
    /// moment after this window.
    ///
    /// # Errors
    /// If that window is beyond the calendar.
    pub fn following(&self, every: Duration) -> Result<Window, NoWindow> {
        Window::around(&self.zone, every, self.to)
    }

    /// Returns the window that contains `moment`, in a schedule whose windows have the length `every`.
    pub(super) fn around(zone: &Zone, every: Duration, moment: Stamp) -> Result<Window, NoWindow> {
        let day = zone.at(moment).ok_or(NoWindow::OffTheCalendar)?.date();
        let days = i64::try_from(every.as_secs() / DAY.as_secs()).unwrap_or(i64::MAX).min(366);
        if days > 0 {
            let number = day
                .since((jiff::Unit::Day, Date::constant(1970, 1, 1)))
                .map_err(|_| NoWindow::OffTheCalendar)?
                .get_days();
            return Window::days(zone, back(day, i64::from(number).rem_euclid(days))?, days);
        }
        let whole = Window::days(zone, day, 1)?;
        let every = every.max(SHORTEST);
        let into = moment.since(whole.from).as_micros() / every.as_micros();
        let from = whole.from.saturating_add(every.saturating_mul(u32::try_from(into).unwrap_or(u32::MAX)));
        Window::new(zone, from, from.saturating_add(every).min(whole.to))
    }

    fn days(zone: &Zone, first: Date, days: i64) -> Result<Window, NoWindow> {
        Window::new(zone, start(zone, first)?, start(zone, back(first, -days)?)?)
    }

    /// The first moment of the window.
    #[must_use]
    pub const fn from(&self) -> Stamp {
        self.from
    }

    /// The first moment after the window.
    #[must_use]
    pub const fn to(&self) -> Stamp {
        self.to
    }

    /// The provider's zone.
    #[must_use]
    pub const fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Returns [`Window::from`] as RFC 3339, with the offset that the zone has at that moment.
    #[must_use]
    pub fn from_text(&self) -> String {
        text(&self.zone, self.from)
    }

    /// Returns [`Window::to`] as RFC 3339, with the offset that the zone has at that moment.
    #[must_use]
    pub fn to_text(&self) -> String {
        text(&self.zone, self.to)
    }
}

fn start(zone: &Zone, day: Date) -> Result<Stamp, NoWindow> {
    zone.start_of(day).ok_or(NoWindow::OffTheCalendar)
}

fn text(zone: &Zone, moment: Stamp) -> String {
    match zone.at(moment) {
        Some(zoned) => zoned.timestamp().display_with_offset(zoned.offset()).to_string(),
        None => moment.as_micros().to_string(),
    }
}

fn back(day: Date, days: i64) -> Result<Date, NoWindow> {
    let span = Span::new().try_days(days).map_err(|_| NoWindow::OffTheCalendar)?;
    day.checked_sub(span).map_err(|_| NoWindow::OffTheCalendar)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn stamp(text: &str) -> Stamp {
        Stamp::from_micros(text.parse::<Timestamp>().unwrap().as_microsecond())
    }

    fn zone(name: &str) -> Zone {
        Zone::named(name).unwrap()
    }

    fn hours(window: &Window) -> u64 {
        window.to.since(window.from).as_secs() / 3600
    }

    #[test]
    fn yesterday_is_the_partners_yesterday() {
        // 20:00 in London on the 26th is 05:00 on the 27th in Seoul.
        let now = stamp("2026-11-26T20:00:00Z");
        let seoul = Window::yesterday(&zone("Asia/Seoul"), now).unwrap();
        assert_eq!(seoul.from_text(), "2026-11-26T00:00:00+09:00");
        assert_eq!(seoul.to, stamp("2026-11-26T15:00:00Z"));
        let london = Window::yesterday(&zone("Europe/London"), now).unwrap();
        assert_eq!(london.from_text(), "2026-11-25T00:00:00+00:00");
    }

    #[test]
    fn days_on_which_the_clock_is_moved_have_23_or_25_hours() {
        let berlin = zone("Europe/Berlin");
        let spring = Window::day(&berlin, "2026-03-29").unwrap();
        assert_eq!((hours(&spring), spring.from_text()), (23, "2026-03-29T00:00:00+01:00".into()));
        assert_eq!(spring.to_text(), "2026-03-30T00:00:00+02:00");
        assert_eq!(hours(&Window::day(&berlin, "2026-10-25").unwrap()), 25);
        // This day has no midnight: after 23:59:59 the clock went to 01:00.
        let cairo = Window::day(&zone("Africa/Cairo"), "2026-04-24").unwrap();
        assert_eq!((hours(&cairo), cairo.from_text()), (23, "2026-04-24T01:00:00+03:00".into()));
    }

    #[test]
    fn windows_of_a_schedule_follow_each_other_without_a_gap() {
        let zones =
            ["UTC", "Asia/Seoul", "Europe/Berlin", "Africa/Cairo", "America/Havana", "Australia/Lord_Howe"];
        for name in zones {
            for every in
                [DAY, DAY * 7, Duration::from_secs(3600), Duration::from_secs(5 * 3600), SHORTEST * 7]
            {
                let mut window =
                    Window::last_closed(&zone(name), every, stamp("2026-03-20T11:22:33Z")).unwrap();
                let end = stamp("2026-11-10T00:00:00Z");
                while window.to < end {
                    let next = window.following(every).unwrap();
                    assert_eq!(window.to, next.from, "{name} {every:?}");
                    assert!(next.from < next.to);
                    // The last microsecond of the window `next` must belong to `next`, and not to the window after it.
                    let middle = Stamp::from_micros(next.to.as_micros() - 1);
                    assert_eq!(Window::around(&zone(name), every, middle), Ok(next.clone()));
                    let step = if every < DAY { 97 } else { 1 };
                    window = (0..step).fold(next, |window, _| window.following(every).unwrap());
                }
            }
        }
    }

    #[test]
    fn a_window_is_closed_only_once_its_end_has_come() {
        let before = stamp("2026-11-26T14:59:59Z");
        let after = stamp("2026-11-26T15:00:00Z");
        let seoul = zone("Asia/Seoul");
        assert_eq!(Window::yesterday(&seoul, before).unwrap().from_text(), "2026-11-25T00:00:00+09:00");
        assert_eq!(Window::yesterday(&seoul, after).unwrap().from_text(), "2026-11-26T00:00:00+09:00");
    }

    #[test]
    fn what_is_no_window_is_refused() {
        let unknown = Zone::named("Asia/Soul").map_err(NoWindow::from);
        assert_eq!(unknown, Err(NoWindow::UnknownZone("Asia/Soul".into())));
        assert_eq!(Window::day(&Zone::utc(), "2026-02-30"), Err(NoWindow::OffTheCalendar));
        assert_eq!(
            Window::new(&Zone::utc(), stamp("2026-11-26T15:00:00Z"), Stamp::default()),
            Err(NoWindow::Empty)
        );
        let far = Stamp::from_micros(i64::MAX);
        assert_eq!(Window::yesterday(&Zone::utc(), far), Err(NoWindow::OffTheCalendar));
    }
}
