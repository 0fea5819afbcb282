//! One guard for each key, up to a bound.
//!
//! A partner that fails in shards has one dead shard of ten, and one breaker before all of them turns a tenth of an
//! outage into a whole one. So a guard may be kept for each value of a key that the call carries. Whoever calls chooses
//! the values, so their number must have a bound, and what is past it a place: the obvious rule, to forget the oldest,
//! forgets an open breaker as soon as somebody counts up a header. Here only a guard at rest is forgotten (nothing in
//! flight, nothing refused), the one that was used longest ago first; where there is none, the newcomers share one
//! guard for all that is over the bound.
//!
//! A call without a key finds its guard without a look-up. With one it costs a search in an ordered map of bounded size.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::time::Time;

/// No entry.
const NONE: u32 = u32::MAX;
/// So many of the longest unused are looked at for one at rest; those in use count as used now, so that the next
/// newcomer looks at others.
const LOOKS: usize = 8;

/// A guard that can be kept for each key.
pub(crate) trait Kept {
    /// One that has seen nothing, with the same settings and the same operator's word.
    fn alike(&self) -> Self;
    /// Whether forgetting it now loses nothing that anybody waits for.
    fn at_rest(&self, now: Time) -> bool;
    /// Becomes one that has seen nothing, like `model`. What is told of the time before it is no evidence.
    fn renew(&mut self, model: &Self, now: Time);
}

/// Where a guard is kept. It stays valid while something of it is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    /// For calls without a key.
    Plain,
    /// For calls whose key found no room.
    Overflow,
    /// The entry of this number.
    Entry(u32),
}

/// The guards of one kind at one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Keyed<G> {
    plain: G,
    /// Made when it is first needed.
    overflow: Option<Box<G>>,
    entries: Vec<Entry<G>>,
    by_key: BTreeMap<Arc<str>, u32>,
    /// The ends of the list by last use.
    newest: u32,
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
    /// `plain`, and up to `most` like it.
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

    /// The place of this key's guard, made where there is none yet.
    #[inline]
    pub(crate) fn place(&mut self, key: Option<&Arc<str>>, now: Time) -> Place {
        match key {
            None => Place::Plain,
            Some(key) => self.place_of(key, now),
        }
    }

    fn place_of(&mut self, key: &Arc<str>, now: Time) -> Place {
        if let Some(&at) = self.by_key.get(key) {
            self.touch(at);
            return Place::Entry(at);
        }
        let Some(at) = self.room(now) else {
            self.overflow.get_or_insert_with(|| Box::new(self.plain.alike()));
            return Place::Overflow;
        };
        let entry = &mut self.entries[at as usize];
        entry.key = Arc::clone(key);
        self.by_key.insert(Arc::clone(key), at);
        Place::Entry(at)
    }

    /// An entry for a new key, newest in the list.
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

    /// The key whose guard is kept there.
    pub(crate) fn key(&self, place: Place) -> Option<Arc<str>> {
        match place {
            Place::Plain | Place::Overflow => None,
            Place::Entry(at) => Some(Arc::clone(&self.entries[at as usize].key)),
        }
    }

    /// The guard of this key as it is; `None` where it has none yet.
    pub(crate) fn found(&mut self, key: Option<&Arc<str>>) -> Option<&mut G> {
        match key {
            None => Some(&mut self.plain),
            Some(key) => self.by_key.get(key).map(|&at| &mut self.entries[at as usize].guard),
        }
    }

    #[inline]
    pub(crate) fn at(&mut self, place: Place) -> &mut G {
        match place {
            Place::Plain => &mut self.plain,
            Place::Overflow => {
                self.overflow.as_mut().expect("places are handed out by `place`, which made it")
            }
            Place::Entry(at) => &mut self.entries[at as usize].guard,
        }
    }

    /// Something is in flight there: it is not forgotten before [`Keyed::landed`].
    #[inline]
    pub(crate) fn took_off(&mut self, place: Place) {
        if let Place::Entry(at) = place {
            self.entries[at as usize].in_flight += 1;
        }
    }

    #[inline]
    pub(crate) fn landed(&mut self, place: Place) {
        if let Place::Entry(at) = place {
            let entry = &mut self.entries[at as usize];
            entry.in_flight = entry.in_flight.saturating_sub(1);
        }
    }

    /// Takes another bound. Those kept already stay until they are replaced.
    pub(crate) fn bound(&mut self, most: u32) {
        self.most = most.min(NONE - 1);
    }

    pub(crate) fn plain(&mut self) -> &mut G {
        &mut self.plain
    }

    pub(crate) fn overflow(&mut self) -> Option<&mut G> {
        self.overflow.as_deref_mut()
    }

    /// Keys and their guards, those used last first.
    pub(crate) fn each_key(&mut self, mut tell: impl FnMut(&Arc<str>, &mut G)) {
        let mut at = self.newest;
        while at != NONE {
            let entry = &mut self.entries[at as usize];
            tell(&entry.key, &mut entry.guard);
            at = entry.older;
        }
    }

    /// Every guard with its place.
    pub(crate) fn each(&mut self, mut tell: impl FnMut(Place, &mut G)) {
        tell(Place::Plain, &mut self.plain);
        if let Some(overflow) = self.overflow.as_deref_mut() {
            tell(Place::Overflow, overflow);
        }
        for (at, entry) in self.entries.iter_mut().enumerate() {
            tell(Place::Entry(at as u32), &mut entry.guard);
        }
    }

    /// How many keys have a guard of their own.
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

    /// Counts its renewals; at rest where it is not held.
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
        assert_eq!(keyed.place(None, Time::ZERO), Place::Plain);
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
            assert_eq!(keyed.place(Some(&key(name)), Time::ZERO), Place::Overflow);
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
            place != Place::Overflow
        });
        assert!(tries.is_some_and(|tries| tries <= 100 / LOOKS), "{tries:?}");
    }

    proptest! {
        /// A list in the order of use, searched from its end.
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
                        let place = Place::Entry(keyed.by_key[&key(name)]);
                        let toy = keyed.at(place);
                        toy.held = !toy.held;
                    }
                    (0, None) => {}
                    (_, Some(at)) => {
                        let used = list.remove(at);
                        list.insert(0, used);
                        prop_assert!(keyed.place(Some(&key(name)), Time::ZERO) != Place::Overflow);
                    }
                    (_, None) => {
                        let place = keyed.place(Some(&key(name)), Time::ZERO);
                        if list.len() < most as usize {
                            list.insert(0, (name, false));
                            prop_assert!(place != Place::Overflow);
                        } else if let Some(resting) = list.iter().rposition(|(_, held)| !held) {
                            // Those held that were looked at on the way count as used, the last looked at newest.
                            let after = list.split_off(resting + 1);
                            list.pop();
                            for used in after.into_iter().rev() {
                                list.insert(0, used);
                            }
                            list.insert(0, (name, false));
                            prop_assert!(place != Place::Overflow);
                        } else {
                            prop_assert_eq!(place, Place::Overflow);
                        }
                    }
                }
                let expected: Vec<String> = list.iter().map(|(name, _)| name.to_string()).collect();
                prop_assert_eq!(names(&mut keyed), expected);
            }
        }
    }
}
