//! The agenda of a simulation: its future events, in virtual time.
//!
//! It is a priority queue by time. Two events of the same instant come out in the order in which they were put in, so a
//! run depends on its seed and on nothing else. To find the next event, the heap compares one integer for each event,
//! which is made of the time and a running number. That is cheaper than to compare whole events. The event itself has
//! only a few bytes.
//!
//! Every event that comes out is mixed into a hash that depends on the order. Two runs with the same hash did the same
//! things in the same order.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::VecDeque;
use std::time::Duration;

use seawall_policy::Time;

/// Something that can happen in a simulation. Events are copied often, so an event type should have only a few bytes.
pub trait Event: Copy {
    /// Returns a number that tells this event from other events of the same instant. It is mixed into the hash of the
    /// run.
    fn mark(&self) -> u64;
}

#[derive(Clone, Copy)]
struct Due<E> {
    /// The time in the high 64 bits, and a running number in the low 64 bits.
    key: u128,
    event: E,
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<E> Eq for Due<E> {}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Due<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

/// The events that are still to come.
///
/// Timers that all take equally long, such as the timeouts of attempts, become due in the order in which they were set.
/// So they are kept in a plain queue. All other events are kept in a heap, which costs more. Most pending events are
/// such timers. Nearly all of them have no effect when they are due, because the attempt has ended by then.
pub struct Agenda<E> {
    heap: BinaryHeap<Reverse<Due<E>>>,
    lane: VecDeque<Due<E>>,
    now: Time,
    number: u64,
    taken: u64,
    hash: u64,
}

impl<E: Event> Agenda<E> {
    /// Creates an empty agenda at time zero.
    #[must_use]
    pub fn new() -> Agenda<E> {
        Agenda {
            heap: BinaryHeap::new(),
            lane: VecDeque::new(),
            now: Time::ZERO,
            number: 0,
            taken: 0,
            hash: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Returns the time of the event that came out last; zero if none has come out.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Returns the number of events that have come out.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Returns the hash over all events that have come out, in their order.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Adds an event that is due at `time`. If `time` is in the past, the event is due now.
    #[inline]
    pub fn at(&mut self, time: Time, event: E) {
        let entry = self.entry(time, event);
        self.heap.push(Reverse(entry));
    }

    /// Adds an event that is due when `delay` has passed from now.
    #[inline]
    pub fn after(&mut self, delay: Duration, event: E) {
        self.at(self.now.saturating_add(delay), event);
    }

    /// Adds a timer that is due at `time`. This is cheap if timers are added in the order in which they are due. A
    /// timer that is out of order is added like any other event.
    #[inline]
    pub fn timer(&mut self, time: Time, event: E) {
        let entry = self.entry(time, event);
        if self.lane.back().is_none_or(|last| last.key < entry.key) {
            self.lane.push_back(entry);
        } else {
            self.heap.push(Reverse(entry));
        }
    }

    #[inline]
    fn entry(&mut self, time: Time, event: E) -> Due<E> {
        self.number += 1;
        let nanos = time.max(self.now).as_nanos();
        Due { key: u128::from(nanos) << 64 | u128::from(self.number), event }
    }

    /// Takes the next event out, with its time. Returns `None`, and takes nothing out, if no event is due before `end`.
    #[inline]
    pub fn next_before(&mut self, end: Time) -> Option<(Time, E)> {
        let heap = self.heap.peek().map_or(u128::MAX, |Reverse(entry)| entry.key);
        let lane = self.lane.front().map_or(u128::MAX, |entry| entry.key);
        let first = heap.min(lane);
        if first >= u128::from(end.as_nanos()) << 64 {
            return None;
        }
        let entry = if lane < heap { self.lane.pop_front() } else { self.heap.pop().map(|Reverse(e)| e) }?;
        let nanos = (entry.key >> 64) as u64;
        self.now = Time::from_nanos(nanos);
        self.taken += 1;
        self.hash = mixed(self.hash, nanos ^ entry.event.mark().rotate_left(32));
        Some((self.now, entry.event))
    }
}

impl<E: Event> Default for Agenda<E> {
    fn default() -> Self {
        Agenda::new()
    }
}

/// Returns `hash` with `value` mixed in. The result depends on the order in which values are mixed in.
#[must_use]
#[inline]
pub fn mixed(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Event for u32 {
        fn mark(&self) -> u64 {
            u64::from(*self)
        }
    }

    fn drain(agenda: &mut Agenda<u32>) -> Vec<u32> {
        std::iter::from_fn(|| agenda.next_before(Time::NEVER).map(|(_, event)| event)).collect()
    }

    #[test]
    fn events_come_by_time_and_then_in_the_order_they_were_put_in() {
        let mut agenda = Agenda::new();
        agenda.at(Time::from_millis(5), 1);
        agenda.timer(Time::from_millis(5), 2);
        agenda.at(Time::from_millis(3), 3);
        agenda.timer(Time::from_millis(4), 4);
        agenda.at(Time::from_millis(5), 5);
        assert_eq!(drain(&mut agenda), [3, 4, 1, 2, 5]);
        assert_eq!((agenda.now(), agenda.taken()), (Time::from_millis(5), 5));
    }

    #[test]
    fn nothing_happens_in_the_past_or_after_the_end() {
        let mut agenda = Agenda::new();
        agenda.at(Time::from_millis(5), 1);
        assert_eq!(agenda.next_before(Time::from_millis(5)), None);
        assert_eq!(agenda.next_before(Time::from_millis(6)), Some((Time::from_millis(5), 1)));
        agenda.at(Time::ZERO, 2);
        assert_eq!(agenda.next_before(Time::NEVER), Some((Time::from_millis(5), 2)));
    }

    #[test]
    fn the_hash_knows_the_order() {
        let hash = |events: [u32; 2]| {
            let mut agenda = Agenda::new();
            events.into_iter().for_each(|event| agenda.at(Time::ZERO, event));
            drain(&mut agenda);
            agenda.hash()
        };
        assert_eq!(hash([1, 2]), hash([1, 2]));
        assert_ne!(hash([1, 2]), hash([2, 1]));
    }
}
