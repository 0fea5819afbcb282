//! Keeps the state of dependencies that a reload removed, for ten minutes.
//!
//! A person may remove a dependency from the file by mistake, or the file may have been only half written when it was
//! read. The dependency then comes back minutes later. If its breakers were forgotten immediately, every call would go
//! to a system that is known to be down.

use std::time::Duration;

use seawall_policy::Time;

/// For how long a removed dependency's state is kept.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// The maximum number of states that are kept. When another state comes, the oldest is dropped.
const MOST: usize = 1000;

/// The states of removed dependencies, by name. Each is kept until its time is over.
#[derive(Debug)]
pub(crate) struct Parked<T> {
    /// The states, the oldest first.
    places: Vec<ParkedState<T>>,
}

#[derive(Debug)]
struct ParkedState<T> {
    name: String,
    state: T,
    until: Time,
}

impl<T> Default for Parked<T> {
    fn default() -> Self {
        Parked { places: Vec::new() }
    }
}

impl<T> Parked<T> {
    /// Keeps the state of a dependency that is removed at the time `now`. It replaces an older state of the same name.
    pub(crate) fn put(&mut self, name: &str, state: T, now: Time) {
        self.places.retain(|place| place.name != name);
        if self.places.len() >= MOST {
            self.places.remove(0);
        }
        self.places.push(ParkedState { name: name.to_owned(), state, until: now.saturating_add(KEPT_FOR) });
    }

    /// Returns the state of the dependency with this name. `None` if none is kept, or if its time is over.
    pub(crate) fn get(&self, name: &str, now: Time) -> Option<&T> {
        let place = self.places.iter().find(|place| place.name == name)?;
        (now < place.until).then_some(&place.state)
    }

    /// Drops the states whose time is over, and the states of dependencies that exist again.
    pub(crate) fn sweep(&mut self, now: Time, is_back: impl Fn(&str) -> bool) {
        self.places.retain(|place| now < place.until && !is_back(&place.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_kept_for_ten_minutes_or_until_its_name_is_back() {
        let at = |secs: u64| Time::from_nanos(secs * 1_000_000_000);
        let mut parked = Parked::default();
        parked.put("a", 1, at(0));
        parked.put("b", 2, at(100));
        assert_eq!((parked.get("a", at(599)), parked.get("a", at(600))), (Some(&1), None));
        parked.put("a", 3, at(599));
        assert_eq!(parked.get("a", at(600)), Some(&3), "the name was removed a second time");
        parked.sweep(at(700), |_| false);
        assert_eq!((parked.get("a", at(700)), parked.places.len()), (Some(&3), 1));
        parked.sweep(at(701), |name| name == "a");
        assert!(parked.places.is_empty());
        for number in 0..=MOST {
            parked.put(&number.to_string(), 0, at(800));
        }
        assert_eq!((parked.places.len(), parked.get("0", at(800))), (MOST, None));
    }
}
