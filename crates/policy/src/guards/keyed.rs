//! One guard for each key, up to a bound.
//!
//! Calls can carry a key, for example the name of a shard, and each value of the key can have a guard of its own. If
//! one of a partner's ten shards is dead, a single breaker for the whole partner would refuse the calls to all ten.
//!
//! Callers choose the values, so the number of guards must have a bound, and the keys beyond the bound need a guard
//! too. A guard may be forgotten only if it is idle: nothing is in flight, and it refuses nothing. The idle guard that
//! was used longest ago is forgotten first. If no idle guard is found, the new keys share one guard. The obvious rule
//! would be to forget the oldest guard. But by that rule, an open breaker would be forgotten as soon as a caller sends
//! many different keys.
//!
//! A call without a key finds its guard without a look-up. A call with a key needs a search in an ordered map of
//! bounded size.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::time::Time;

/// The number that means "no entry".
const NONE: u32 = u32::MAX;
/// The maximum number of entries that one search for an idle entry looks at. The search begins with the entry that was
/// used longest ago. An entry that is not idle counts as used now, so that the next search looks at other entries.
const LOOKS: usize = 8;

/// A guard that can be kept for each key.
pub(crate) trait Kept {
    /// Returns a new guard with the settings of this one. If an operator forced this guard, the new one is forced, too.
    fn alike(&self) -> Self;
    /// Returns whether this guard can be forgotten now without a loss, because it is idle.
    fn at_rest(&self, now: Time) -> bool;
    /// Turns this guard into a new one with the settings of `model`. The results of attempts that began before do not
    /// count for the new guard.
    fn renew(&mut self, model: &Self, now: Time);
}

/// Where a guard is kept. The value is valid as long as an attempt that uses this guard is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum KeyPlace {
    /// The guard of all calls without a key.
    Plain,
    /// The guard that keys share if there is no room for a guard of their own.
    Overflow,
    /// The guard in the entry of this number.
    Entry(u32),
}

/// All guards of one kind (such as the breakers) at one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Keyed<G> {
    plain: G,
    /// A key gets no guard of its own if there is no room for one. All such keys share this guard. `None` until it is
    /// first needed.
    overflow: Option<Box<G>>,
    entries: Vec<Entry<G>>,
    by_key: BTreeMap<Arc<str>, u32>,
    /// The entry that was used last. The entries form a list, which is ordered by last use.
    newest: u32,
    /// The entry that was used longest ago.
    oldest: u32,
    most: u32,
}

#[derive(Clone, Debug)]
struct Entry<G> {
    guard: G,
    key: Arc<str>,
    in_flight: u32,
    newer: u32,
    older: u32,
}

impl<G: Kept> Keyed<G> {
    /// Returns a collection whose guard for calls without a key is `plain`, and that keeps at most `most` further
    /// guards, each for one key.
    pub(crate) fn new(plain: G, most: u32) -> Keyed<G> {
        Keyed {
            plain,
            overflow: None,
            entries: Vec::new(),
            by_key: BTreeMap::new(),
            newest: NONE,
            oldest: NONE,
            most: most.min(NONE - 1),
        }
    }

    /// Returns the place of this key's guard, and makes the guard if there is none yet.
    #[inline]
    pub(crate) fn place(&mut self, key: Option<&Arc<str>>, now: Time) -> KeyPlace {
        match key {
            None => KeyPlace::Plain,
            Some(key) => self.place_of(key, now),
        }
    }

    fn place_of(&mut self, key: &Arc<str>, now: Time) -> KeyPlace {
        if let Some(&at) = self.by_key.get(key) {
            self.touch(at);
            return KeyPlace::Entry(at);
        }
        let Some(at) = self.room(now) else {
            self.overflow.get_or_insert_with(|| Box::new(self.plain.alike()));
            return KeyPlace::Overflow;
        };
        let entry = &mut self.entries[at as usize];
        entry.key = Arc::clone(key);
        self.by_key.insert(Arc::clone(key), at);
        KeyPlace::Entry(at)
    }

    /// Finds an entry for a new key and returns its index. The entry becomes the newest in the list. Up to the maximum
    /// number of keys, a new entry is made. After that, the entry of an old key is taken. Such an entry must have no
    /// call in flight, and its guard must be idle. Returns `None` if none of the oldest entries can be taken.
    fn room(&mut self, now: Time) -> Option<u32> {
        if (self.entries.len() as u32) < self.most {
            let at = self.entries.len() as u32;
            let (guard, key) = (self.plain.alike(), Arc::from(""));
            self.entries.push(Entry { guard, key, in_flight: 0, newer: NONE, older: NONE });
            self.link(at);
            return Some(at);
        }
        for _ in 0..LOOKS.min(self.entries.len()) {
            let at = self.oldest;
            self.touch(at);
            let entry = &mut self.entries[at as usize];
            if entry.in_flight == 0 && entry.guard.at_rest(now) {
                entry.guard.renew(&self.plain, now);
                self.by_key.remove(&entry.key);
                return Some(at);
            }
        }
        None
    }

    /// Returns the key whose guard is kept at this place. Returns `None` for the guard of calls without a key and for
    /// the guard that several keys share.
    pub(crate) fn key(&self, place: KeyPlace) -> Option<Arc<str>> {
        match place {
            KeyPlace::Plain | KeyPlace::Overflow => None,
            KeyPlace::Entry(at) => Some(Arc::clone(&self.entries[at as usize].key)),
        }
    }

    /// Returns the guard that is kept for `key`. If `key` is `None`, this is the guard of calls without a key. Returns
    /// `None` if the key has no guard of its own; no guard is made.
    pub(crate) fn found(&mut self, key: Option<&Arc<str>>) -> Option<&mut G> {
        match key {
            None => Some(&mut self.plain),
            Some(key) => self.by_key.get(key).map(|&at| &mut self.entries[at as usize].guard),
        }
    }

    #[inline]
    pub(crate) fn at(&mut self, place: KeyPlace) -> &mut G {
        match place {
            KeyPlace::Plain => &mut self.plain,
            KeyPlace::Overflow => {
                self.overflow.as_mut().expect("places are handed out by `place`, which made it")
            }
            KeyPlace::Entry(at) => &mut self.entries[at as usize].guard,
        }
    }

    /// Must be called when an attempt that uses this guard begins, and once more if the attempt goes on after its
    /// caller has left. The guard is not forgotten until [`Keyed::landed`] has been called as often.
    #[inline]
    pub(crate) fn took_off(&mut self, place: KeyPlace) {
        if let KeyPlace::Entry(at) = place {
            self.entries[at as usize].in_flight += 1;
        }
    }

    #[inline]
    pub(crate) fn landed(&mut self, place: KeyPlace) {
        if let KeyPlace::Entry(at) = place {
            let entry = &mut self.entries[at as usize];
            entry.in_flight = entry.in_flight.saturating_sub(1);
        }
    }

    /// Sets the maximum number of keys that have a guard of their own. If more keys than `most` have one already, none
    /// of them loses its guard here. A key loses its guard only when a new key needs one and this guard is idle.
    pub(crate) fn bound(&mut self, most: u32) {
        self.most = most.min(NONE - 1);
    }

    pub(crate) fn plain(&mut self) -> &mut G {
        &mut self.plain
    }

    pub(crate) fn overflow(&mut self) -> Option<&mut G> {
        self.overflow.as_deref_mut()
    }

    /// Calls `tell` with each key and its guard, the most recently used first.
    pub(crate) fn each_key(&mut self, mut tell: impl FnMut(&Arc<str>, &mut G)) {
        let mut at = self.newest;
        while at != NONE {
            let entry = &mut self.entries[at as usize];
            tell(&entry.key, &mut entry.guard);
            at = entry.older;
        }
    }

    /// Calls `tell` with every guard and its place.
    pub(crate) fn each(&mut self, mut tell: impl FnMut(KeyPlace, &mut G)) {
        tell(KeyPlace::Plain, &mut self.plain);
        if let Some(overflow) = self.overflow.as_deref_mut() {
            tell(KeyPlace::Overflow, overflow);
        }
        for (at, entry) in self.entries.iter_mut().enumerate() {
            tell(KeyPlace::Entry(at as u32), &mut entry.guard);
        }
    }

    /// Returns the number of keys that have a guard of their own.
    pub(crate) fn keys(&self) -> usize {
        self.by_key.len()
    }

    fn touch(&mut self, at: u32) {
        if at != self.newest {
            self.unlink(at);
            self.link(at);
        }
    }

    fn unlink(&mut self, at: u32) {
        let Entry { newer, older, .. } = self.entries[at as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
    }

    fn link(&mut self, at: u32) {
        let before = self.newest;
        let entry = &mut self.entries[at as usize];
        (entry.newer, entry.older) = (NONE, before);
        match before {
            NONE => self.oldest = at,
            before => self.entries[before as usize].newer = at,
        }
        self.newest = at;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A guard for the tests. `lives` counts how often it was renewed. If `held` is `false`, it is idle and may be
    /// forgotten.
    #[derive(Clone, Debug)]
    struct Toy {
        held: bool,
        lives: u32,
    }

    impl Kept for Toy {
        fn alike(&self) -> Toy {
            Toy { held: false, lives: 1 }
        }

        fn at_rest(&self, _: Time) -> bool {
            !self.held
        }

        fn renew(&mut self, _: &Toy, _: Time) {
            self.lives += 1;
        }
    }

    fn keyed(most: u32) -> Keyed<Toy> {
        Keyed::new(Toy { held: false, lives: 1 }, most)
    }

    fn key(name: impl ToString) -> Arc<str> {
        Arc::from(name.to_string())
    }

    fn names(keyed: &mut Keyed<Toy>) -> Vec<String> {
        let mut names = Vec::new();
        keyed.each_key(|key, _| names.push(key.to_string()));
        names
    }

    #[test]
    fn a_key_finds_its_guard_again_and_none_finds_the_plain_one() {
        let mut keyed = keyed(4);
        let a = keyed.place(Some(&key("a")), Time::ZERO);
        let b = keyed.place(Some(&key("b")), Time::ZERO);
        assert_ne!(a, b);
        assert_eq!(keyed.place(Some(&key("a")), Time::ZERO), a);
        assert_eq!(keyed.place(None, Time::ZERO), KeyPlace::Plain);
    }

    #[test]
    fn the_longest_unused_at_rest_makes_room() {
        let mut keyed = keyed(3);
        for name in ["a", "b", "c", "a"] {
            keyed.place(Some(&key(name)), Time::ZERO);
        }
        keyed.place(Some(&key("d")), Time::ZERO);
        assert_eq!(names(&mut keyed), ["d", "a", "c"]);
    }

    #[test]
    fn what_is_held_or_in_flight_is_never_forgotten_and_newcomers_share_one() {
        let mut keyed = keyed(2);
        let held = keyed.place(Some(&key("held")), Time::ZERO);
        keyed.at(held).held = true;
        let flying = keyed.place(Some(&key("flying")), Time::ZERO);
        keyed.took_off(flying);
        for name in 0..1000 {
            assert_eq!(keyed.place(Some(&key(name)), Time::ZERO), KeyPlace::Overflow);
        }
        assert_eq!(keyed.keys(), 2);
        keyed.landed(flying);
        assert_eq!(keyed.place(Some(&key("new")), Time::ZERO), flying);
        assert_eq!(keyed.at(flying).lives, 2, "it has seen nothing");
    }

    #[test]
    fn many_that_are_held_hide_one_at_rest_only_for_a_while() {
        let mut keyed = keyed(100);
        for name in 0..100 {
            let place = keyed.place(Some(&key(name)), Time::ZERO);
            keyed.at(place).held = name != 99;
        }
        let tries = (0..100).find(|name| {
            let place = keyed.place(Some(&key(format!("new {name}"))), Time::ZERO);
            place != KeyPlace::Overflow
        });
        assert!(tries.is_some_and(|tries| tries <= 100 / LOOKS), "{tries:?}");
    }

    proptest! {
        /// Compares the collection with a model: a list in the order of use, which is searched from its end.
        #[test]
        fn agrees_with_a_list(
            most in 1_u32..6,
            steps in prop::collection::vec((0_u8..4, 0_u8..9), 1..200),
        ) {
            let mut keyed = keyed(most);
            let mut list: Vec<(u8, bool)> = Vec::new();
            for (what, name) in steps {
                let known = list.iter().position(|(known, _)| *known == name);
                match (what, known) {
                    (0, Some(at)) => {
                        list[at].1 = !list[at].1;
                        let place = KeyPlace::Entry(keyed.by_key[&key(name)]);
                        let toy = keyed.at(place);
                        toy.held = !toy.held;
                    }
                    (0, None) => {}
                    (_, Some(at)) => {
                        let used = list.remove(at);
                        list.insert(0, used);
                        prop_assert!(keyed.place(Some(&key(name)), Time::ZERO) != KeyPlace::Overflow);
                    }
                    (_, None) => {
                        let place = keyed.place(Some(&key(name)), Time::ZERO);
                        if list.len() < most as usize {
                            list.insert(0, (name, false));
                            prop_assert!(place != KeyPlace::Overflow);
                        } else if let Some(resting) = list.iter().rposition(|(_, held)| !held) {
                            // `list` begins with the newest key. The search for an idle guard begins at the end of
                            // `list` and finds the key at index `resting`. The guards of the keys behind `resting` are
                            // not idle. These keys are moved to the beginning of the list: the key that the search met
                            // last becomes the newest of them.
                            let after = list.split_off(resting + 1);
                            list.pop();
                            for used in after.into_iter().rev() {
                                list.insert(0, used);
                            }
                            list.insert(0, (name, false));
                            prop_assert!(place != KeyPlace::Overflow);
                        } else {
                            prop_assert_eq!(place, KeyPlace::Overflow);
                        }
                    }
                }
                let expected: Vec<String> = list.iter().map(|(name, _)| name.to_string()).collect();
                prop_assert_eq!(names(&mut keyed), expected);
            }
        }
    }
}
