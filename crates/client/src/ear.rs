//! A waker that can be told not to listen.
//!
//! hyper wakes whoever polled a connection last, for many small reasons: the next request is queued, a piece of a body
//! was taken. The task that drives a connection causes most of these itself, in the middle of its poll, and is then
//! polled once more for nothing; and a connection back in its pool wakes the task that had it before. Both cost a whole
//! poll of the caller's connection. So hyper is given this waker: while nobody listens it only remembers that it was
//! called, and whoever begins to listen learns of it.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::sync::{AtomicU8, AtomicWaker, Ordering};

/// Nobody listens, and nobody has called.
const DEAF: u8 = 0;
/// Nobody listens, and somebody has called.
const MISSED: u8 = 1;
/// A call wakes the task.
const LISTENING: u8 = 2;

/// The listener's side.
#[derive(Debug)]
pub(crate) struct Ear {
    shared: Arc<Shared>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Shared {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Ear {
    pub(crate) fn new() -> Ear {
        let shared = Arc::new(Shared::default());
        Ear { waker: Waker::from(Arc::clone(&shared)), shared }
    }

    /// What is given to hyper.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// From here on calls are only remembered.
    pub(crate) fn close(&self) {
        self.shared.state.store(DEAF, Ordering::SeqCst);
    }

    /// From here on calls wake `task`. `false` where there was a call since [`Ear::close`]: look again, and then
    /// listen.
    #[must_use]
    pub(crate) fn listen(&self, task: &Waker) -> bool {
        self.shared.task.register(task);
        let listens =
            self.shared.state.compare_exchange(DEAF, LISTENING, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if !listens {
            self.close();
        }
        listens
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let state = self.state.compare_exchange(DEAF, MISSED, Ordering::SeqCst, Ordering::SeqCst);
        if state == Err(LISTENING) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn task() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    #[test]
    fn a_call_while_nobody_listens_wakes_nobody_and_is_told() {
        let (count, task) = task();
        let ear = Ear::new();
        ear.close();
        ear.waker().wake_by_ref();
        assert!(!ear.listen(&task), "there was a call");
        assert!(ear.listen(&task), "and it is told once");
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        ear.waker().wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_closed_ear_wakes_no_former_task() {
        let (count, task) = task();
        let ear = Ear::new();
        assert!(ear.listen(&task));
        ear.close();
        ear.waker().wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn no_call_is_lost_between_threads() {
        for _ in 0..2_000 {
            let (count, task) = task();
            let ear = Ear::new();
            let waker = ear.waker().clone();
            let caller = std::thread::spawn(move || waker.wake());
            let told = !ear.listen(&task);
            caller.join().unwrap();
            assert!(told || count.0.load(Ordering::SeqCst) == 1);
        }
    }
}
