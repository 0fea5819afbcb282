//! A row describes one setting of a table: its key, and where its value is stored in the settings.
//!
//! The reader, the table of keys and `seawall check` all use the rows, so none of them needs a list of settings of its
//! own. A new setting of a policy is one new row.

use std::time::Duration;

use toml::de::DeValue;

use super::keys::Key;
use super::values::{self, Wrong, show_size, show_time};

/// One setting of a table that is read into an `S`.
pub(super) struct Row<S: 'static> {
    pub(super) key: Key,
    /// Where the value is stored, and how it is written in the file. `None` if a function of its own reads the setting.
    pub(super) field: Option<&'static dyn Field<S>>,
}

/// Returns the keys of these rows.
pub(super) const fn keys<S, const N: usize>(rows: &[Row<S>]) -> [Key; N] {
    let mut keys = [rows[0].key; N];
    let mut at = 1;
    while at < N {
        keys[at] = rows[at].key;
        at += 1;
    }
    keys
}

/// A field of the settings `S`.
pub(super) trait Field<S>: Sync {
    /// Reads a value of the file into the field.
    fn read(&self, value: &DeValue<'_>, into: &mut S) -> Result<(), Wrong>;

    /// Returns the field's value in the form in which it would stand in the file. If the setting is off, returns
    /// `None`, unless its [`Form`] has a text for that, such as `off`.
    fn show(&self, of: &mut S) -> Option<String>;
}

/// Where a value of type `T` is stored in settings of type `S`, and in which form the value stands in the file.
pub(super) struct At<S, T: 'static>(pub(super) fn(&mut S) -> &mut T, pub(super) &'static Form<T>);

/// How values of one type are read from the file, and how they are written.
pub(super) struct Form<T> {
    read: fn(&DeValue<'_>) -> Result<T, Wrong>,
    show: fn(&T) -> Option<String>,
}

impl<S, T> Field<S> for At<S, T> {
    fn read(&self, value: &DeValue<'_>, into: &mut S) -> Result<(), Wrong> {
        *(self.0)(into) = (self.1.read)(value)?;
        Ok(())
    }

    fn show(&self, of: &mut S) -> Option<String> {
        (self.1.show)((self.0)(of))
    }
}

pub(super) static FLAG: Form<bool> = Form { read: values::flag, show: |it| Some(it.to_string()) };
pub(super) static COUNT: Form<u32> = Form { read: values::count_u32, show: |it| Some(it.to_string()) };
pub(super) static COUNT_OR_NONE: Form<Option<u32>> =
    Form { read: |value| values::count_u32(value).map(Some), show: |it| it.map(|count| count.to_string()) };
pub(super) static NUMBER: Form<usize> =
    Form { read: |value| values::whole(value).map(as_usize), show: |it| Some(it.to_string()) };
pub(super) static TIME: Form<Duration> = Form { read: values::time, show: |it| Some(show_time(*it)) };
pub(super) static TIME_OR_OFF: Form<Option<Duration>> =
    Form { read: values::time_or_off, show: |it| it.map(show_time) };
/// A time or `"off"`, as with `TIME_OR_OFF`. The one difference is that `seawall check` also shows the setting if it is
/// off.
pub(super) static TIME_OR_OFF_TOLD: Form<Option<Duration>> =
    Form { read: values::time_or_off, show: |it| Some(it.map_or_else(|| "off".to_owned(), show_time)) };
pub(super) static PPM: Form<u32> =
    Form { read: values::ratio_ppm, show: |it| Some((f64::from(*it) / 1e6).to_string()) };
pub(super) static THOUSANDTHS: Form<u32> =
    Form { read: values::thousandths, show: |it| Some((f64::from(*it) / 1e3).to_string()) };
pub(super) static SIZE: Form<usize> =
    Form { read: |value| values::size(value).map(as_usize), show: |it| Some(show_size(*it as u64)) };

fn as_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Returns, as text, the settings that these rows describe, each in the form `name value`. Three kinds of settings are
/// left out:
///
/// - those named in `apart`, which the code that calls this function shows itself,
/// - those whose [`Row::field`] is `None`: a function of its own reads and shows such a setting,
/// - those that are off, if their form shows nothing in that case.
pub(super) fn show<S: Clone>(rows: &[Row<S>], apart: &[&str], of: &S) -> String {
    let mut of = of.clone();
    let rows = rows.iter().filter(|row| !apart.contains(&row.key.name));
    let shown = rows.filter_map(|row| Some(format!("{} {}", row.key.name, row.field?.show(&mut of)?)));
    shown.collect::<Vec<_>>().join(", ")
}
