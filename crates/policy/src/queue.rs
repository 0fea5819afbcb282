//! The short queue before a full limit: which callers wait, until when, and which of them is next.
//!
//! Both the number of waiting callers and the time that each waits are bounded, and the default is no queue at all. The
//! obvious queue has a length only. Under overload it is always full, and every call waits until all calls before it
//! were served. By then its caller has given it up. A caller that leaves makes room immediately. The order is first
//! come, first served. A new call must never take a slot before a call that waits, so ask [`Queue::is_empty`] before
//! the limit.
//!
//! ```
//! use std::time::Duration;
//! use seawall_policy::{AttemptEnd, Limit, LimitSettings, Queue, QueueSettings, Time};
//!
//! let mut limit = Limit::new(LimitSettings::fixed(1));
//! let mut queue = Queue::new(QueueSettings { length: 1, wait: Duration::from_millis(100) });
//! let slot = limit.admit(false).expect("nothing in flight");
//! let (waiting, until) = queue.join(Time::ZERO).expect("room for one");
//! assert_eq!(until, Time::from_millis(100));
//! assert!(queue.join(Time::ZERO).is_err());
//! limit.release(slot, AttemptEnd::Success);
//! assert_eq!(queue.next(Time::from_millis(50)), Some(waiting));
//! ```

use std::time::Duration;

use crate::problem::{Problem, Wrong};
use crate::time::Time;

/// The number that means "no place".
const NONE: u32 = u32::MAX;

/// The maximum length of the queue and the longest wait in it. Default: no queue. A queue helps only with a short
/// burst: calls wait briefly and are not refused. It does not help while the provider is slow for a longer time: then
/// calls wait and are refused all the same, only later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// The maximum number of callers that may wait. Default 0, which means no queue.
    pub length: u32,
    /// The longest time that one caller waits. Default 0, which means no queue.
    pub wait: Duration,
}

impl QueueSettings {
    /// Returns the settings that could never work, each with the reason. The list is empty if all can work.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let idle = self.length > 0 && self.wait.is_zero();
        let what = "`queue` has no effect: `queue_wait` is 0s, so nobody waits";
        idle.then(|| Problem::error("queue", Wrong::new(what)).with(&["queue_wait"])).into_iter().collect()
    }
}

/// A caller that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter {
    place: u32,
    /// Tells apart the callers that get the same place one after the other.
    turn: u32,
}

/// A refusal because the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull {
    /// The number of callers that wait.
    pub waiting: u32,
}

/// The queue of the waiting callers, in the order in which they came. Each function takes constant time, except
/// [`Queue::next`], which passes over callers whose time is over. The memory for a place is allocated when it is first
/// needed, and there are never more places than the maximum length of the queue.
#[derive(Clone, Debug)]
pub struct Queue {
    settings: QueueSettings,
    places: Vec<Place>,
    /// The place of the caller that has waited longest.
    head: u32,
    /// The place of the caller that came last.
    tail: u32,
    /// The number of the first free place. Each free place has the number of the next free one in its field `next`.
    free: u32,
    waiting: u32,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    turn: u32,
    until: Time,
    before: u32,
    next: u32,
    taken: bool,
}

impl Queue {
    /// Returns an empty queue.
    #[must_use]
    pub fn new(settings: QueueSettings) -> Queue {
        Queue { settings, places: Vec::new(), head: NONE, tail: NONE, free: NONE, waiting: 0 }
    }

    /// Joins the end of the queue. Returns the caller's place, and the time until which the caller waits at most. The
    /// wait ends with [`Queue::next`] (its turn), [`Queue::expired`] (`queue-timeout`) or [`Queue::leave`]. A caller
    /// whose own deadline is earlier leaves by itself.
    ///
    /// # Errors
    /// The queue is full (`queue-full`).
    pub fn join(&mut self, now: Time) -> Result<(Waiter, Time), QueueFull> {
        // The highest place number means "none".
        if self.waiting >= self.settings.length.min(NONE - 1) {
            return Err(QueueFull { waiting: self.waiting });
        }
        let mut until = now.saturating_add(self.settings.wait);
        if self.tail != NONE {
            // A caller must not stop waiting before the caller in front of it. Without this line it could, because the
            // clocks of two cores may differ a little, or because new settings have a shorter wait.
            until = until.max(self.places[self.tail as usize].until);
        }
        let place = self.take_place();
        let entry = &mut self.places[place as usize];
        *entry = Place { until, before: self.tail, next: NONE, taken: true, turn: entry.turn };
        let waiter = Waiter { place, turn: entry.turn };
        match self.tail {
            NONE => self.head = place,
            tail => self.places[tail as usize].next = place,
        }
        self.tail = place;
        self.waiting += 1;
        Ok((waiter, until))
    }

    /// Removes from the queue the caller whose turn it is, and returns it. Must be called when a slot is free. Callers
    /// whose time is over are passed over, and stay in the queue until [`Queue::expired`] returns them. Returns `None`
    /// if no other caller waits.
    pub fn next(&mut self, now: Time) -> Option<Waiter> {
        let mut place = self.head;
        // No caller stops waiting before the caller in front of it. So only callers at the front of the queue can be
        // over their time.
        while place != NONE && now >= self.places[place as usize].until {
            place = self.places[place as usize].next;
        }
        self.remove(place)
    }

    /// Removes and returns a caller whose time was over before its turn came; `None` if there is none. Must be called
    /// again and again until it returns `None`.
    pub fn expired(&mut self, now: Time) -> Option<Waiter> {
        let over = self.next_expiry().is_some_and(|until| now >= until);
        if over { self.remove(self.head) } else { None }
    }

    /// Removes a waiting caller from the queue. Returns `false` if the caller was not in the queue any more, because
    /// its turn had come or its time was over. If its turn had come, the caller must give its slot back.
    pub fn leave(&mut self, waiter: Waiter) -> bool {
        self.until(waiter).is_some() && self.remove(waiter.place).is_some()
    }

    /// Returns the time until which this caller waits at most; `None` if it does not wait any more.
    #[must_use]
    pub fn until(&self, waiter: Waiter) -> Option<Time> {
        let place = self.places.get(waiter.place as usize)?;
        (place.taken && place.turn == waiter.turn).then_some(place.until)
    }

    /// Returns the time at which the wait of the first caller in the queue is over. From then on, [`Queue::expired`]
    /// returns this caller. `None` if nobody waits.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Time> {
        self.places.get(self.head as usize).map(|place| place.until)
    }

    /// Returns the number of callers that wait.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.waiting
    }

    /// Returns whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    /// Takes new settings. Callers that already wait keep their place and the time until which they wait.
    pub fn adopt(&mut self, settings: QueueSettings) {
        self.settings = settings;
    }

    fn take_place(&mut self) -> u32 {
        match self.free {
            NONE => {
                self.places.push(Place {
                    turn: 0,
                    until: Time::ZERO,
                    before: NONE,
                    next: NONE,
                    taken: false,
                });
                (self.places.len() - 1) as u32
            }
            place => {
                self.free = self.places[place as usize].next;
                place
            }
        }
    }

    /// Takes the caller at this place out of the queue. Returns `None` if there is no such place.
    fn remove(&mut self, place: u32) -> Option<Waiter> {
        let entry = self.places.get_mut(place as usize)?;
        let (before, next, turn) = (entry.before, entry.next, entry.turn);
        *entry = Place { turn: turn.wrapping_add(1), next: self.free, taken: false, ..*entry };
        self.free = place;
        match before {
            NONE => self.head = next,
            before => self.places[before as usize].next = next,
        }
        match next {
            NONE => self.tail = before,
            next => self.places[next as usize].before = before,
        }
        self.waiting -= 1;
        Some(Waiter { place, turn })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn queue(length: u32, wait: u64) -> Queue {
        Queue::new(QueueSettings { length, wait: Duration::from_millis(wait) })
    }

    #[test]
    fn by_default_nobody_waits() {
        let mut queue = Queue::new(QueueSettings::default());
        assert_eq!(queue.join(ms(0)), Err(QueueFull { waiting: 0 }));
    }

    #[test]
    fn first_come_first_served() {
        let mut queue = queue(3, 100);
        let joined: Vec<Waiter> = (0..3).map(|at| queue.join(ms(at)).expect("room").0).collect();
        assert_eq!(queue.join(ms(3)), Err(QueueFull { waiting: 3 }));
        let served: Vec<Waiter> = std::iter::from_fn(|| queue.next(ms(50))).collect();
        assert_eq!(served, joined);
    }

    #[test]
    fn the_wait_is_bounded() {
        let mut queue = queue(3, 100);
        let (first, _) = queue.join(ms(0)).expect("room");
        let (second, until) = queue.join(ms(50)).expect("room");
        assert_eq!((queue.next_expiry(), until), (Some(ms(100)), ms(150)));
        assert_eq!(queue.expired(ms(99)), None);
        assert_eq!(queue.next(ms(100)), Some(second), "the first has had its time");
        assert_eq!(queue.expired(ms(100)), Some(first));
        assert_eq!((queue.expired(ms(100)), queue.next_expiry()), (None, None));
    }

    #[test]
    fn who_leaves_makes_room_and_is_never_served() {
        let mut queue = queue(2, 100);
        let (first, _) = queue.join(ms(0)).expect("room");
        let (second, _) = queue.join(ms(0)).expect("room");
        assert!(queue.leave(first));
        assert!(!queue.leave(first), "once");
        let (third, _) = queue.join(ms(1)).expect("room again");
        assert!(!queue.leave(first), "its place is another's now");
        assert_eq!(
            (queue.next(ms(2)), queue.next(ms(2)), queue.next(ms(2))),
            (Some(second), Some(third), None)
        );
        assert!(!queue.leave(second), "served");
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(
            length in 0_u32..8,
            steps in prop::collection::vec((0_u64..40, 0_u8..6, 0_usize..16), 1..300),
        ) {
            let mut queue = queue(length, 100);
            let mut list: Vec<(Waiter, Time)> = Vec::new();
            let mut gone: Vec<Waiter> = Vec::new();
            let mut now = 0;
            for (gap, what, which) in steps {
                now += gap;
                let at = ms(now);
                match what {
                    0..=2 => match queue.join(at) {
                        Ok(joined) => {
                            prop_assert_eq!(joined.1, ms(now + 100));
                            prop_assert!(!gone.contains(&joined.0));
                            list.push(joined);
                        }
                        Err(full) => prop_assert_eq!((full.waiting, list.len() as u32), (length, length)),
                    },
                    3 => {
                        let first = list.iter().position(|(_, until)| at < *until);
                        let expected = first.map(|first| list.remove(first).0);
                        prop_assert_eq!(queue.next(at), expected);
                        gone.extend(expected);
                    }
                    4 => {
                        let over = list.first().is_some_and(|(_, until)| at >= *until);
                        let expected = over.then(|| list.remove(0).0);
                        prop_assert_eq!(queue.expired(at), expected);
                        gone.extend(expected);
                    }
                    _ if !list.is_empty() => {
                        let (waiter, _) = list.remove(which % list.len());
                        prop_assert!(queue.leave(waiter));
                        gone.push(waiter);
                    }
                    _ => {}
                }
                if let Some(stale) = gone.get(which) {
                    prop_assert!(!queue.leave(*stale));
                }
                prop_assert_eq!(queue.len() as usize, list.len());
                prop_assert_eq!(queue.next_expiry(), list.first().map(|(_, until)| *until));
                prop_assert!(queue.places.len() <= length as usize);
            }
        }
    }
}
