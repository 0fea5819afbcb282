//! A list that uses the place of a removed entry again. The handle of an entry names its place in the list, and the
//! number of earlier entries that had this place. So a handle whose entry was removed, such as the handle of a late
//! timer, finds nothing.

/// The handle of an entry: its place in the list, and the number of earlier entries that had this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) place: u32,
    pub(super) turn: u32,
}

pub(super) struct Slab<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Slab<T> {
        Slab { places: Vec::new(), free: Vec::new() }
    }

    #[inline]
    pub(super) fn insert(&mut self, thing: T) -> Handle {
        match self.free.pop() {
            Some(place) => {
                let (turn, slot) = &mut self.places[place as usize];
                *slot = Some(thing);
                Handle { place, turn: *turn }
            }
            None => {
                let place = u32::try_from(self.places.len()).expect("fewer than 2^32 at the same time");
                self.places.push((0, Some(thing)));
                Handle { place, turn: 0 }
            }
        }
    }

    #[inline]
    pub(super) fn get(&mut self, handle: Handle) -> Option<&mut T> {
        let (turn, slot) = self.places.get_mut(handle.place as usize)?;
        if *turn == handle.turn { slot.as_mut() } else { None }
    }

    #[inline]
    pub(super) fn remove(&mut self, handle: Handle) -> Option<T> {
        let (turn, slot) = self.places.get_mut(handle.place as usize)?;
        if *turn != handle.turn {
            return None;
        }
        let thing = slot.take()?;
        *turn = turn.wrapping_add(1);
        self.free.push(handle.place);
        Some(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_finds_its_own_thing_or_nothing() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!(second.place, first.place);
        assert_eq!((slab.get(first).copied(), slab.get(second).copied()), (None, Some('b')));
        assert_eq!((slab.remove(first), slab.remove(second)), (None, Some('b')));
    }
}
