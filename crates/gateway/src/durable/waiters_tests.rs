//! Tests of waiting callers, in virtual time. A simple model takes the place of the ledger.

use seawall_ledger::machine::Row;
use seawall_ledger::{NewAction, Refusal, Rules, Stamp, State, StoreError};
use seawall_policy::Idempotency;

use tokio::time::sleep as later;

use super::*;

/// A model of a ledger, which a test controls.
#[derive(Clone, Default)]
struct Played(Arc<Stage>);

#[derive(Default)]
struct Stage {
    rows: Mutex<HashMap<ActionId, Story>>,
    reads: Mutex<usize>,
    questions: Mutex<usize>,
    is_away: Mutex<bool>,
    written: Notify,
    /// The time that each read of an action takes.
    takes: Mutex<Duration>,
    /// Whether the ledger's runtime has ended. Then each new task is dropped without being run.
    has_ended: Mutex<bool>,
}

impl Played {
    fn row(&self) -> ActionId {
        let now = Stamp::from_micros(0);
        let new = NewAction::new("pay", "charge", "k", b"{}".to_vec());
        let state = seawall_ledger::machine::recorded(&Rules::of(Idempotency::Keyed), now);
        let action = Action::of(&new, state, now);
        let id = action.id;
        self.0.rows.lock().insert(id, Story { action, attempts: Vec::new(), marks: Vec::new() });
        id
    }

    /// Changes a row as another process would, without waking the readers of this process.
    fn write_elsewhere(&self, id: ActionId) {
        let mut rows = self.0.rows.lock();
        let action = &mut rows.get_mut(&id).unwrap().action;
        let row = action.state.row();
        action.state = State::of_row(Row { version: row.version + 1, ..row }).unwrap();
    }

    /// Changes a row as this process would, and wakes the reader.
    fn write_here(&self, id: ActionId) {
        self.write_elsewhere(id);
        self.0.written.notify_waiters();
    }

    fn reads(&self) -> usize {
        *self.0.reads.lock()
    }

    fn questions(&self) -> usize {
        *self.0.questions.lock()
    }

    fn away(&self) -> Result<(), Error> {
        let away = || StoreError::new(Trouble::Away, "gone").into();
        if *self.0.is_away.lock() { Err(away()) } else { Ok(()) }
    }
}

impl Source for Played {
    async fn story(&self, id: ActionId) -> Result<Story, Error> {
        *self.0.reads.lock() += 1;
        let seen = self.0.rows.lock().get(&id).cloned();
        let takes = *self.0.takes.lock();
        if takes > Duration::ZERO {
            tokio::time::sleep(takes).await;
        }
        self.away()?;
        seen.ok_or(Refusal::NotFound.into())
    }

    async fn versions(&self, ids: Vec<ActionId>) -> Result<Vec<(ActionId, u64)>, Error> {
        *self.0.questions.lock() += 1;
        self.away()?;
        let rows = self.0.rows.lock();
        Ok(ids
            .into_iter()
            .filter_map(|id| rows.get(&id).map(|story| (id, story.action.state.version())))
            .collect())
    }

    async fn written(&self, _: ActionId) {
        self.0.written.notified().await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if !*self.0.has_ended.lock() {
            tokio::spawn(task);
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Waits until the row has at least this version, but at most ten seconds. Returns the version that was read last, and
/// how long this function has waited.
async fn version(waiters: &Waiters, played: &Played, id: ActionId, at_least: u64) -> (Option<u64>, Duration) {
    let began = Instant::now();
    let enough = move |action: &Action| action.state.version() >= at_least;
    let read = waiters.wait(played, id, later(SECOND * 10), 1000, enough).await;
    (read.version(), began.elapsed())
}

/// Lets all tasks run until each of them waits.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn readers(waiters: &Waiters) -> usize {
    waiters.waiting.lock().readers.len()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_share_one_read_and_one_question() {
    let (waiters, played) = (Arc::new(Waiters::default()), Played::default());
    let ids: Vec<ActionId> = (0..10).map(|_| played.row()).collect();
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let (waiters, played, id) = (Arc::clone(&waiters), played.clone(), ids[number % 10]);
        callers.spawn(async move { version(&waiters, &played, id, 2).await });
    }
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!((played.reads(), played.questions()), (10, 7));
    ids.iter().for_each(|id| played.write_elsewhere(*id));
    while let Some(ended) = callers.join_next().await {
        let (version, took) = ended.unwrap();
        assert_eq!(version, Some(2));
        assert!(took <= SECOND * 2 + BETWEEN, "{took:?}");
    }
    assert_eq!((played.reads(), played.questions()), (20, 8));
    tokio::time::sleep(SECOND).await;
    assert_eq!(readers(&waiters), 0);
    assert_eq!(played.questions(), 8, "nobody waits, so nothing is asked");
    assert_eq!(waiters.waiting.lock().callers, 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_of_this_process_wakes_without_a_question() {
    let (waiters, played) = (Arc::new(Waiters::default()), Played::default());
    let id = played.row();
    let (all, its) = (Arc::clone(&waiters), played.clone());
    let caller = tokio::spawn(async move { version(&all, &its, id, 2).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    played.write_here(id);
    let (version, took) = caller.await.unwrap();
    assert_eq!((version, took), (Some(2), Duration::from_millis(100)));
    assert_eq!(played.questions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_during_a_read_is_not_missed() {
    let (waiters, played) = (Arc::new(Waiters::default()), Played::default());
    let id = played.row();
    *played.0.takes.lock() = Duration::from_millis(50);
    let (all, its) = (Arc::clone(&waiters), played.clone());
    let caller = tokio::spawn(async move { version(&all, &its, id, 2).await });
    // A read takes 50 ms here: it looks at the row first, and then its answer is under way. After 10 ms, the row is
    // written, so the answer holds the row as it was before the write.
    tokio::time::sleep(Duration::from_millis(10)).await;
    played.write_here(id);
    let (version, took) = caller.await.unwrap();
    assert_eq!((version, took), (Some(2), Duration::from_millis(100)));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_comes_as_the_last_one_leaves_gets_a_read() {
    let (waiters, played) = (Arc::new(Waiters::default()), Played::default());
    let id = played.row();
    for round in 1..50 {
        // The caller of the previous round has just left, and its reader ends at about this moment. The caller of this
        // round must get a read nevertheless.
        let left = waiters.wait(&played, id, later(Duration::from_millis(round)), 1000, |_| false).await;
        assert!(left.version().is_some());
        for _ in 0..round % 5 {
            tokio::task::yield_now().await;
        }
    }
    settle().await;
    tokio::time::sleep(AT_LEAST).await;
    assert_eq!(readers(&waiters), 0);
    assert_eq!(waiters.waiting.lock().callers, 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_ends_with_its_last_caller() {
    let (waiters, played) = (Arc::new(Waiters::default()), Played::default());
    let id = played.row();
    {
        let wait = pin!(waiters.wait(&played, id, later(SECOND * 10), 1000, |_| false));
        let gave_up = tokio::time::timeout(Duration::from_millis(30), wait).await;
        assert!(gave_up.is_err());
    }
    settle().await;
    assert_eq!(readers(&waiters), 0, "without a further question");
    assert_eq!((played.reads(), waiters.waiting.lock().callers), (1, 0));
    tokio::time::sleep(SECOND).await;
    assert!(!waiters.waiting.lock().is_watched);
}

#[tokio::test(start_paused = true)]
async fn the_wait_ends_with_what_was_read_last() {
    let (waiters, played) = (Waiters::default(), Played::default());
    let id = played.row();
    let began = Instant::now();
    let read = waiters.wait(&played, id, later(SECOND), 1000, |_| false).await;
    assert_eq!((read.version(), began.elapsed()), (Some(1), SECOND));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_beyond_the_bound() {
    let (waiters, played) = (Arc::new(Waiters::default()), Played::default());
    let id = played.row();
    let (all, its) = (Arc::clone(&waiters), played.clone());
    let one = tokio::spawn(async move { all.wait(&its, id, later(SECOND), 1, |_| false).await });
    settle().await;
    let began = Instant::now();
    let read = waiters.wait(&played, id, later(SECOND), 1, |_| false).await;
    assert!(matches!(read, Read::Nothing));
    assert_eq!((began.elapsed(), played.reads()), (Duration::ZERO, 1));
    one.await.unwrap();
    let read = waiters.wait(&played, id, later(SECOND), 1, |_| true).await;
    assert_eq!(read.version(), Some(1), "the place is free again");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_not_waited_for() {
    let (waiters, played) = (Waiters::default(), Played::default());
    let began = Instant::now();
    let read = waiters.wait(&played, ActionId::new(), later(SECOND), 1000, |_| true).await;
    assert!(matches!(read, Read::Failed(error) if matches!(*error, Error::Refused(Refusal::NotFound))));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_away_for_a_while_is_waited_for() {
    let (waiters, played) = (Arc::new(Waiters::default()), Played::default());
    let (seen, unseen) = (played.row(), played.row());
    let waits = |id| {
        let (all, its) = (Arc::clone(&waiters), played.clone());
        tokio::spawn(async move { version(&all, &its, id, 2).await })
    };
    let first = waits(seen);
    settle().await;
    *played.0.is_away.lock() = true;
    let second = waits(unseen);
    tokio::time::sleep(SECOND).await;
    played.write_elsewhere(unseen);
    played.write_here(seen);
    tokio::time::sleep(SECOND).await;
    assert!(!first.is_finished() && !second.is_finished());
    *played.0.is_away.lock() = false;
    for waiting in [first, second] {
        let (version, took) = waiting.await.unwrap();
        assert_eq!(version, Some(2));
        assert!(took <= SECOND * 2 + BETWEEN, "{took:?}");
    }
    *played.0.is_away.lock() = true;
    let read = waiters.wait(&played, played.row(), later(SECOND), 1000, |_| true).await;
    assert!(matches!(read, Read::Failed(error) if error.trouble() == Some(Trouble::Away)));
}

#[tokio::test(start_paused = true)]
async fn tasks_that_end_early_leave_nothing_behind() {
    let (waiters, played) = (Waiters::default(), Played::default());
    let id = played.row();
    *played.0.has_ended.lock() = true;
    let began = Instant::now();
    let read = waiters.wait(&played, id, later(SECOND), 1000, |_| true).await;
    assert!(matches!(read, Read::Nothing), "its reader was dropped");
    assert_eq!((began.elapsed(), readers(&waiters)), (Duration::ZERO, 0));
    *played.0.has_ended.lock() = false;
    let (version, _) = version(&waiters, &played, id, 1).await;
    assert_eq!(version, Some(1), "the next caller starts another one");
    assert!(waiters.waiting.lock().is_watched);
}
