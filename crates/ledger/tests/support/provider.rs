//! A provider in memory. It keeps books, and does with each request what the test's script says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seawall_ledger::store::Boxed;
use seawall_ledger::{Delivery, Found, Performed, Remote, Report, Undone};

/// The body of a refusal.
pub(crate) const DECLINED: &[u8] = b"{\"code\":\"DECLINED\"}";

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done and answered.
    Yes,
    /// It is done, and the answer is lost.
    DoneUnanswered,
    /// It is not done, and no answer comes.
    LostUnanswered,
    /// It is refused.
    No,
    /// It is refused, with a body that says why ([`DECLINED`]).
    Declined,
    /// It changes nothing, and the answer only says that the provider has the key already.
    Duplicate,
    /// It is a cancel that is refused for now.
    Refused,
    /// It is a cancel that the provider refuses for ever.
    Never,
    /// It is provably not sent.
    NotSent,
    /// It is done, and answered after this number of milliseconds.
    After(u64),
    /// It is done, and answered when the test says so.
    Held,
    /// It is never answered.
    Hangs,
}

#[derive(Default)]
struct Books {
    /// The number of effects that are not undone, by key.
    effects: HashMap<String, u32>,
    /// The number of requests of each kind, by key.
    performs: HashMap<String, u32>,
    confirms: HashMap<String, u32>,
    cancels: HashMap<String, u32>,
    /// When each perform was sent, by key.
    sent_at: HashMap<String, Vec<Instant>>,
    /// The keys under which performs and cancels were sent, by the caller's key, in order.
    sent_as: HashMap<String, Vec<String>>,
    cancelled_as: HashMap<String, Vec<String>>,
    /// The bytes that were sent, by key, to check that they are always the same.
    bytes: HashMap<String, Vec<Vec<u8>>>,
    script: Vec<Fate>,
    cancel_script: Vec<Fate>,
    /// The number of questions, from now on, to which the provider answers that it finds nothing.
    blind: u32,
    /// Whether the provider is away: questions and cancels that are not scripted are not answered.
    away: bool,
    /// Whether the provider honours keys, so that a second delivery changes nothing.
    keyed: bool,
    released: bool,
    most_at_once: u32,
    at_once: u32,
}

/// A provider that a test controls.
#[derive(Clone, Default)]
pub(crate) struct Provider(Arc<Mutex<Books>>);

impl Provider {
    pub(crate) fn new() -> Provider {
        Provider::default()
    }

    /// Makes the provider honour keys.
    pub(crate) fn keyed(self) -> Provider {
        self.0.lock().unwrap().keyed = true;
        self
    }

    /// Sets what happens to the next performs, in order. After them, each is done and answered.
    pub(crate) fn script(self, fates: &[Fate]) -> Provider {
        self.0.lock().unwrap().script = fates.iter().rev().copied().collect();
        self
    }

    pub(crate) fn cancel_script(self, fates: &[Fate]) -> Provider {
        self.0.lock().unwrap().cancel_script = fates.iter().rev().copied().collect();
        self
    }

    pub(crate) fn blind(self, times: u32) -> Provider {
        self.0.lock().unwrap().blind = times;
        self
    }

    /// Says to how many questions, from now on, the provider answers that it finds nothing.
    pub(crate) fn is_blind(&self, times: u32) {
        self.0.lock().unwrap().blind = times;
    }

    /// Takes the provider away, or brings it back.
    pub(crate) fn is_away(&self, away: bool) {
        self.0.lock().unwrap().away = away;
    }

    pub(crate) fn effects(&self, key: &str) -> u32 {
        self.0.lock().unwrap().effects.get(key).copied().unwrap_or(0)
    }

    pub(crate) fn performs(&self, key: &str) -> u32 {
        self.0.lock().unwrap().performs.get(key).copied().unwrap_or(0)
    }

    pub(crate) fn confirms(&self, key: &str) -> u32 {
        self.0.lock().unwrap().confirms.get(key).copied().unwrap_or(0)
    }

    pub(crate) fn cancels(&self, key: &str) -> u32 {
        self.0.lock().unwrap().cancels.get(key).copied().unwrap_or(0)
    }

    /// Makes an effect that was there before.
    pub(crate) fn has(&self, key: &str) {
        self.0.lock().unwrap().effects.insert(key.to_owned(), 1);
    }

    /// Returns the keys under which an action was performed.
    pub(crate) fn sent_as(&self, key: &str) -> Vec<String> {
        self.0.lock().unwrap().sent_as.get(key).cloned().unwrap_or_default()
    }

    /// Returns the times at which an action was performed.
    pub(crate) fn sent_at(&self, key: &str) -> Vec<Instant> {
        self.0.lock().unwrap().sent_at.get(key).cloned().unwrap_or_default()
    }

    /// Returns the keys under which an action was cancelled.
    pub(crate) fn cancelled_as(&self, key: &str) -> Vec<String> {
        self.0.lock().unwrap().cancelled_as.get(key).cloned().unwrap_or_default()
    }

    /// Answers the requests that were held back.
    pub(crate) fn release(&self) {
        self.0.lock().unwrap().released = true;
    }

    pub(crate) fn most_at_once(&self) -> u32 {
        self.0.lock().unwrap().most_at_once
    }

    /// Whether each key was always sent with the same bytes.
    pub(crate) fn bytes_never_changed(&self) -> bool {
        let books = self.0.lock().unwrap();
        books.bytes.values().all(|sent| sent.iter().all(|bytes| *bytes == sent[0]))
    }

    fn apply(&self, key: &str) {
        let mut books = self.0.lock().unwrap();
        let keyed = books.keyed;
        let live = books.effects.entry(key.to_owned()).or_default();
        *live = if keyed { 1 } else { *live + 1 };
    }
}

fn report(status: u16) -> Report {
    Report { status: Some(status), ..Report::default() }
}

impl Remote for Provider {
    fn perform<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Performed, Report)> {
        let key = delivery.action.key.as_str();
        let fate = {
            let mut books = self.0.lock().unwrap();
            *books.performs.entry(key.to_owned()).or_default() += 1;
            let sent_as = delivery.action.sent_key().to_owned();
            books.sent_as.entry(key.to_owned()).or_default().push(sent_as);
            books.sent_at.entry(key.to_owned()).or_default().push(Instant::now());
            books.bytes.entry(key.to_owned()).or_default().push(delivery.action.request.clone());
            books.at_once += 1;
            books.most_at_once = books.most_at_once.max(books.at_once);
            books.script.pop().unwrap_or(Fate::Yes)
        };
        Box::pin(async move {
            assert!(delivery.may_send(), "called after its deadline");
            let answer = match fate {
                Fate::Yes => {
                    self.apply(key);
                    (Performed::Yes(Some(b"{\"id\":\"ch_1\"}".to_vec())), report(200))
                }
                Fate::DoneUnanswered => {
                    self.apply(key);
                    (Performed::Unknown, Report::default())
                }
                Fate::LostUnanswered => (Performed::Unknown, Report::default()),
                Fate::No => (Performed::No(None), report(402)),
                Fate::Declined => (Performed::No(Some(DECLINED.to_vec())), report(402)),
                Fate::Duplicate => (Performed::Duplicate, report(400)),
                Fate::NotSent => (Performed::NotSent, Report::default()),
                Fate::After(millis) => {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    self.apply(key);
                    (Performed::Yes(None), report(200))
                }
                Fate::Held => {
                    while !self.0.lock().unwrap().released {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    self.apply(key);
                    (Performed::Yes(None), report(200))
                }
                Fate::Hangs => std::future::pending().await,
                Fate::Refused | Fate::Never => unreachable!("the fate of a cancel"),
            };
            self.0.lock().unwrap().at_once -= 1;
            answer
        })
    }

    fn confirm<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Found, Report)> {
        let mut books = self.0.lock().unwrap();
        *books.confirms.entry(delivery.action.key.clone()).or_default() += 1;
        let found = if books.away {
            Found::Other
        } else if books.blind > 0 {
            books.blind -= 1;
            Found::Absent
        } else if books.effects.get(&delivery.action.key).is_some_and(|live| *live > 0) {
            Found::Applied(Some(b"{\"id\":\"ch_1\"}".to_vec()))
        } else if books.cancels.contains_key(&delivery.action.key) {
            Found::Cancelled
        } else {
            Found::Absent
        };
        Box::pin(async move { (found, report(200)) })
    }

    fn cancel<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Undone, Report)> {
        let mut books = self.0.lock().unwrap();
        *books.cancels.entry(delivery.action.key.clone()).or_default() += 1;
        let cancelled_as = delivery.action.cancel_key();
        books.cancelled_as.entry(delivery.action.key.clone()).or_default().push(cancelled_as);
        let unscripted = if books.away { Fate::LostUnanswered } else { Fate::Yes };
        let undone = match books.cancel_script.pop().unwrap_or(unscripted) {
            Fate::Yes => match books.effects.get_mut(&delivery.action.key) {
                Some(live) if *live > 0 => {
                    *live -= 1;
                    Undone::Yes
                }
                Some(_) => Undone::Yes,
                None => Undone::NoSuch,
            },
            Fate::NotSent => Undone::NotSent,
            Fate::Refused => Undone::Refused,
            Fate::Never => Undone::Never,
            Fate::No
            | Fate::Declined
            | Fate::Duplicate
            | Fate::DoneUnanswered
            | Fate::LostUnanswered
            | Fate::After(_)
            | Fate::Held
            | Fate::Hangs => Undone::Unknown,
        };
        Box::pin(async move { (undone, report(200)) })
    }
}
