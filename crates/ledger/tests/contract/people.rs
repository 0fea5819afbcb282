//! The tests, over any store, of the people who look after stuck actions: what they order, and how they learn of them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seawall_ledger::store::{Standing, Store, stuck::StuckStore};
use seawall_ledger::{
    ActionId, Begins, By, End, Known, Ledger, NotApplied, OnStuck, Operation, Order, Refusal, Resolution,
    Search, Stamp, StuckNews, StuckReason,
};
use seawall_policy::Idempotency;

use crate::provider::{Fate, Provider};
use crate::suite::{PATIENCE, SECOND, asking, charge, ended, soon};
use crate::world::{World, ledger, quick};

/// Makes an action whose answer is lost, so that it is stuck, and returns its id.
async fn stuck<S: Store>(ledger: &Ledger<S>, provider: &Provider, key: &str) -> ActionId {
    let _ = provider.clone().script(&[Fate::LostUnanswered]);
    let action = ledger.perform(&charge(key)).await.unwrap();
    assert_eq!(action.state.end(), Some(End::Stuck), "{action:?}");
    action.id
}

pub(crate) async fn an_order_for_another_version_changes_nothing<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, quick(Idempotency::None), &provider);
    let id = stuck(&ledger, &provider, "k").await;
    let seen = ledger.load(id).await.unwrap();
    let by = By::new("ann", "it is there").via("token `ops`");
    let version = Some(seen.state.version());

    let resolve = Order::Resolve(Resolution::NotApplied);
    let done = ledger.order(id, version, resolve, &by).await.unwrap();
    assert_eq!((done.was, done.became, done.changed), (Standing::Stuck, Standing::Failed, true));
    assert_eq!(done.action.state.known(), Known::NotApplied(NotApplied::Resolved));
    for order in [resolve, Order::Retry(Begins::Now), Order::Cancel { settled: true }] {
        let again = ledger.order(id, version, order, &by).await.unwrap_err();
        assert_eq!(again.refusal(), Some(Refusal::Changed), "{order:?}");
    }
    let other = ledger.order(id, None, Order::Retry(Begins::AtPace), &by).await.unwrap_err();
    assert_eq!(other.refusal(), Some(Refusal::NotStuck));
    assert_eq!(ledger.load(id).await.unwrap(), done.action);

    let marks = ledger.story(id).await.unwrap().marks;
    assert_eq!(marks.len(), 1, "{marks:?}");
    let mark = &marks[0];
    assert_eq!((mark.who.as_str(), mark.what.as_str(), mark.why.as_str()), ("ann", "resolve", "it is there"));
    assert_eq!(mark.via.as_deref(), Some("token `ops`"));
    assert_eq!((mark.was, mark.became), (Some(Standing::Stuck), Some(Standing::Failed)));
}

pub(crate) async fn a_person_cancels_what_is_settled_only_if_they_say_so<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, asking(Idempotency::Keyed), &provider);
    let done = ledger.perform(&charge("k")).await.unwrap();
    assert_eq!(done.state.end(), Some(End::Done));
    let by = By::new("ann", "the customer has left");
    let refused = ledger.order(done.id, None, Order::Cancel { settled: false }, &by).await.unwrap_err();
    assert_eq!(refused.refusal(), Some(Refusal::Settled));
    let worker = ledger.worker(soon());
    let cancelled = ledger.order(done.id, None, Order::Cancel { settled: true }, &by).await.unwrap();
    assert_eq!((cancelled.was, cancelled.became), (Standing::Done, Standing::Open));
    assert_eq!(ended(&ledger, done.id).await.state.end(), Some(End::Cancelled));
    assert_eq!(provider.effects("k"), 0);
    let again = ledger.order(done.id, None, Order::Cancel { settled: false }, &by).await.unwrap();
    assert!(!again.changed, "{again:?}");
    assert_eq!(ledger.story(done.id).await.unwrap().marks.len(), 1);
    drop(worker);
}

pub(crate) async fn a_search_finds_by_every_filter_and_goes_on<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, quick(Idempotency::None), &provider);
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(stuck(&ledger, &provider, &format!("k{number}")).await);
    }
    ledger.perform(&charge("fine")).await.unwrap();
    let all = Search::default().standing(Standing::Stuck);
    let cause = ledger.load(ids[0]).await.unwrap().state.why().and_then(StuckReason::of).unwrap();
    let same = all.clone().of("pay").operation("charge").reason(cause).newer_than(SECOND * 3600);
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = ledger.search(&same, after, 3).await.unwrap();
        found.extend(page.actions.iter().map(|action| action.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, ids);
    for none in [
        all.clone().of("mail"),
        all.clone().operation("refund"),
        all.clone().older_than(SECOND * 3600),
        all.clone().newer_than(Duration::ZERO),
        all.reason(StuckReason::Undeclared),
    ] {
        assert_eq!(ledger.search(&none, None, 10).await.unwrap().actions, [], "{none:?}");
    }
    let counts = ledger.stuck_counts().await.unwrap();
    assert_eq!((counts.len(), counts[0].operation.as_str(), counts[0].number), (1, "charge", 7));
}

/// The keys of one news, and when it was heard.
struct News {
    keys: Vec<String>,
    at: Instant,
}

/// What a receiver has heard.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<News>>>);

impl Heard {
    fn of(&self, news: &StuckNews) -> usize {
        let keys = news.actions.iter().map(|action| action.key.clone()).collect();
        let mut heard = self.0.lock().unwrap();
        heard.push(News { keys, at: Instant::now() });
        heard.len()
    }

    fn keys(&self) -> Vec<Vec<String>> {
        self.0.lock().unwrap().iter().map(|news| news.keys.clone()).collect()
    }

    async fn until(&self, number: usize) {
        let end = Instant::now() + PATIENCE;
        while self.0.lock().unwrap().len() < number {
            assert!(Instant::now() < end, "it has only heard {:?}", self.keys());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn telling<S: Store>(store: S, provider: &Provider, receiver: OnStuck) -> Ledger<S> {
    let remote = Arc::new(provider.clone());
    let operation = Operation::new("pay", "charge", quick(Idempotency::None), remote);
    Ledger::builder(store).operation(operation).on_stuck(receiver).build().unwrap()
}

async fn until_all_told<S: Store>(ledger: &Ledger<S>) {
    let end = Instant::now() + PATIENCE;
    while !ledger.store().untold(10).await.unwrap().is_empty() {
        assert!(Instant::now() < end, "something is still to be told");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn what_is_stuck_is_told_until_it_is_taken_by_one_of_two_processes<W: World>(world: W) {
    let provider = Provider::new();
    let heard = Heard::default();
    let receiver = || {
        let heard = heard.clone();
        OnStuck::new(move |news| {
            let times = heard.of(&news);
            async move {
                match times {
                    1 => Err("the receiver is down".into()),
                    2 => panic!("the receiver is broken"),
                    _ => Ok(()),
                }
            }
        })
    };
    let one = telling(world.open().await, &provider, receiver());
    let two = telling(world.open().await, &provider, receiver());
    let id = stuck(&one, &provider, "k").await;
    let workers = (one.worker(soon()), two.worker(soon()));
    heard.until(3).await;
    until_all_told(&one).await;
    assert_eq!(heard.keys(), [["k"], ["k"], ["k"]]);
    let times: Vec<Instant> = heard.0.lock().unwrap().iter().map(|news| news.at).collect();
    assert!(times[1] - times[0] >= SECOND && times[2] - times[1] >= SECOND * 2, "it waits longer each time");

    // It is stuck again, so it is told again, and so is another one.
    let by = By::new("ann", "once more");
    one.order(id, None, Order::Retry(Begins::Now), &by).await.unwrap();
    stuck(&two, &provider, "l").await;
    until_all_told(&one).await;
    let end = Instant::now() + PATIENCE;
    while heard.keys()[3..].concat().len() < 2 {
        assert!(Instant::now() < end, "{:?}", heard.keys());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until_all_told(&one).await;
    let mut later = heard.keys()[3..].concat();
    later.sort();
    assert_eq!(later, ["k", "l"], "each is told once");
    drop(workers);
}

pub(crate) async fn a_process_that_dies_while_it_tells_leaves_the_news_to_another<W: World>(world: W) {
    let provider = Provider::new();
    let (one, two) = (world.open().await, world.open().await);
    let ledger = ledger(one.clone(), quick(Idempotency::None), &provider);
    let id = stuck(&ledger, &provider, "k").await;
    let other = telling(two.clone(), &provider, OnStuck::new(|_| async { Ok(()) }));
    assert_eq!(one.take_telling(ledger.owner(), SECOND / 2).await.unwrap(), Some(0));
    assert_eq!(two.take_telling(other.owner(), SECOND).await.unwrap(), None, "one process at a time tells");
    let untold = two.untold(10).await.unwrap();
    assert_eq!((untold.len(), untold[0].id), (1, id));
    assert_eq!((untold[0].key.as_str(), untold[0].operation.as_str()), ("k", "charge"));
    assert!(untold[0].reason().is_some() && untold[0].stuck_at >= untold[0].created_at);
    // The first process ends here. The other one takes over after the time that the first one had.
    let end = Instant::now() + PATIENCE;
    while two.take_telling(other.owner(), SECOND * 60).await.unwrap().is_none() {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What the first process writes late changes nothing.
    one.not_told(ledger.owner(), 9, SECOND * 600).await.unwrap();
    two.not_told(other.owner(), 1, Duration::ZERO).await.unwrap();
    assert_eq!(two.take_telling(other.owner(), SECOND * 60).await.unwrap(), Some(1), "failures are counted");
    // It was stuck at another time, so this news is older than what is to be told.
    let older = Stamp::from_micros(untold[0].stuck_at.as_micros() - 1);
    two.told(other.owner(), &[(id, older)]).await.unwrap();
    assert_eq!(two.untold(10).await.unwrap().len(), 1);
    two.told(other.owner(), &[(id, untold[0].stuck_at)]).await.unwrap();
    assert_eq!(two.untold(10).await.unwrap(), []);
}

pub(crate) async fn a_receiver_that_hangs_delays_no_action<W: World>(world: W) {
    let provider = Provider::new();
    let heard = Heard::default();
    let hears = heard.clone();
    let receiver = OnStuck::new(move |news| {
        hears.of(&news);
        std::future::pending()
    });
    let ledger = telling(world.open().await, &provider, receiver);
    stuck(&ledger, &provider, "k").await;
    let worker = ledger.worker(soon());
    heard.until(1).await;
    for number in 0..20 {
        let recorded = ledger.record(&charge(&format!("fine-{number}"))).await.unwrap();
        assert_eq!(ended(&ledger, recorded.id).await.state.end(), Some(End::Done));
    }
    assert_eq!(heard.keys().len(), 1, "it still hangs");
    worker.drain(SECOND).await;
}
