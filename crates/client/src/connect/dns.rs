//! Turns names into addresses. Lookups run in the background, and the last good answer stays in use.
//!
//! An answer is renewed in the background while it is in use. If it cannot be renewed, it stays in use up to the age
//! `stale`, since a provider's address outlives most outages of name servers. The obvious rule, a lookup for each
//! connection, would make every call wait for the name server, and every outage of the name server would be an outage
//! for our callers. A cache that drops an answer when its time is over would only delay that outage.
//!
//! An answer can also be old because no call needed it for a while. In that case the address may have changed without
//! any failed lookup. So a call first waits briefly for a new lookup, and uses the old answer if the lookup takes
//! longer.
//!
//! At most one lookup of a name is under way. All callers share this lookup, and it goes on when they leave.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use seawall_policy::{Problem, Wrong};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::descriptors::starved_lookup;
use super::error::{ConnectError, ConnectErrorKind};

/// For how long answers of the name service are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DnsSettings {
    /// The age from which an answer is renewed in the background. Default 30 s: short enough to follow a provider that
    /// moves, and two lookups a minute are no burden.
    pub refresh: Duration,
    /// The age up to which an answer is used while lookups fail. Default 1 h. This is longer than most outages of name
    /// servers. It is shorter than the time after which a cloud usually gives the address to another customer.
    pub stale: Duration,
}

impl Default for DnsSettings {
    fn default() -> DnsSettings {
        DnsSettings { refresh: Duration::from_secs(30), stale: Duration::from_secs(3600) }
    }
}

impl DnsSettings {
    /// Returns a problem for each setting that could never work. The list is empty if there is none.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let what = "`refresh` is zero: every connection would wait for a lookup";
        self.refresh.is_zero().then(|| Problem::error("refresh", Wrong::new(what))).into_iter().collect()
    }
}

/// The maximum time that callers wait for a lookup if there is an old answer to use instead. It is counted from the
/// lookup's start.
const PATIENCE: Duration = Duration::from_secs(1);

/// The minimum time between a failed lookup and the next one in the background.
const RETRY: Duration = Duration::from_secs(1);

/// The future that [`Lookup::lookup`] returns.
pub type Looking<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Something that finds the addresses of a name. An empty result counts as a failure.
pub trait Lookup: Send + Sync {
    /// Finds the addresses of `name`, in order of preference.
    fn lookup<'a>(&'a self, name: &'a str) -> Looking<'a>;
}

/// The system's resolver (`getaddrinfo`), on tokio's blocking threads.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup<'a>(&'a self, name: &'a str) -> Looking<'a> {
        Box::pin(async move {
            Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
        })
    }
}

type Addresses = Arc<[IpAddr]>;

/// What a call must do to get addresses. This depends on the age of the last good answer and on the last failure.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Advice {
    /// Use this answer.
    Serve(Addresses),
    /// Use this answer, and look up in the background.
    ServeAndRenew(Addresses),
    /// Look up, and wait at most until `PATIENCE` is over. If the lookup brings no answer in that time, use this old
    /// answer.
    Prefer(Addresses),
    /// There is no answer to use: look up, and wait.
    Ask,
}

/// The last good answer, the last failure, and the rule that decides when the answer is used. The rule has no clock: it
/// gets the time as an argument.
#[derive(Debug, Default)]
struct Answers {
    good: Option<(Addresses, Instant)>,
    /// The time of the last failure since the last good answer; `None` if there was no failure.
    failed: Option<Instant>,
}

impl Answers {
    fn advise(&self, now: Instant, settings: &DnsSettings) -> Advice {
        let Some((addresses, since)) = &self.good else { return Advice::Ask };
        let addresses = Arc::clone(addresses);
        let age = now.saturating_duration_since(*since);
        if age < settings.refresh {
            return Advice::Serve(addresses);
        }
        if age > settings.stale {
            return Advice::Ask;
        }
        match self.failed {
            Some(at) if now.saturating_duration_since(at) < RETRY => Advice::Serve(addresses),
            Some(_) => Advice::ServeAndRenew(addresses),
            None if age < settings.refresh.saturating_mul(2) => Advice::ServeAndRenew(addresses),
            None => Advice::Prefer(addresses),
        }
    }

    fn succeeded(&mut self, addresses: Addresses, now: Instant) {
        self.good = Some((addresses, now));
        self.failed = None;
    }

    fn failed(&mut self, now: Instant) {
        self.failed = Some(now);
    }
}

/// The result of a lookup; `None` while the lookup is under way.
type Ending = Option<Result<Addresses, Failed>>;

/// Why a lookup failed. All callers that share it get this error.
#[derive(Debug, Clone)]
struct Failed {
    why: Arc<str>,
    /// Whether the lookup failed because this process had no descriptors for it.
    starved: bool,
}

impl Failed {
    fn because(why: &str) -> Failed {
        Failed { why: why.into(), starved: false }
    }
}

/// A lookup under way.
struct Running {
    since: Instant,
    ending: watch::Receiver<Ending>,
}

struct State {
    answers: Answers,
    running: Option<Running>,
}

struct Shared {
    name: Box<str>,
    settings: DnsSettings,
    lookup: Arc<dyn Lookup>,
    state: Mutex<State>,
}

/// Keeps the addresses of one name fresh. Several runtimes may share one resolver.
pub(super) struct Resolver(Arc<Shared>);

impl Resolver {
    pub(super) fn new(name: Box<str>, settings: DnsSettings, lookup: Arc<dyn Lookup>) -> Resolver {
        let state = Mutex::new(State { answers: Answers::default(), running: None });
        Resolver(Arc::new(Shared { name, settings, lookup, state }))
    }

    /// Returns the addresses to try now. If there is a recent answer, it is returned immediately. If there is only an
    /// old answer or none, this function waits for a lookup, but at most until `deadline`. Fails if there is no answer
    /// to use and the lookup brings none.
    pub(super) async fn resolve(&self, deadline: Instant) -> Result<Addresses, ConnectError> {
        let now = Instant::now();
        let mut flight = None;
        let (advice, since, mut ending) = {
            let mut state = self.0.state.lock();
            let advice = state.answers.advise(now, &self.0.settings);
            if let Advice::Serve(addresses) = advice {
                return Ok(addresses);
            }
            let running = state.running.get_or_insert_with(|| {
                let (announce, ending) = watch::channel(None);
                flight = Some(DnsFlight { shared: Arc::clone(&self.0), announce });
                Running { since: now, ending }
            });
            (advice, running.since, running.ending.clone())
        };
        // The task is spawned after the lock is released. A runtime that shuts down drops the task immediately, and the
        // drop takes the same lock.
        if let Some(flight) = flight {
            tokio::spawn(flight.run());
        }
        match advice {
            Advice::Serve(addresses) | Advice::ServeAndRenew(addresses) => Ok(addresses),
            Advice::Prefer(old) => {
                // Wait for the lookup until half of the time to the deadline is over. The other half stays for the
                // connection itself. The wait also ends one second (`PATIENCE`) after the lookup began. All callers
                // share the lookup. So if it hangs, only the callers of its first second wait; later callers get the
                // old answer immediately.
                let half = now + deadline.saturating_duration_since(now) / 2;
                match ended(&mut ending, half.min(since + PATIENCE)).await {
                    Some(Ok(addresses)) => Ok(addresses),
                    Some(Err(_)) | None => Ok(old),
                }
            }
            Advice::Ask => match ended(&mut ending, deadline).await {
                Some(Ok(addresses)) => Ok(addresses),
                Some(Err(failed)) => Err(self.error(&failed)),
                None => {
                    Err(self.error(&Failed::because("the lookup did not end within the connect timeout")))
                }
            },
        }
    }

    fn error(&self, Failed { why, starved }: &Failed) -> ConnectError {
        let kind = if *starved { ConnectErrorKind::OutOfDescriptors } else { ConnectErrorKind::Dns };
        ConnectError::new(kind, format!("lookup of {}: {why}", self.0.name))
    }
}

/// Waits until a lookup ends, and returns its result. `None` if the lookup has not ended at the time `limit`.
async fn ended(ending: &mut watch::Receiver<Ending>, limit: Instant) -> Option<Result<Addresses, Failed>> {
    match timeout_at(limit, ending.wait_for(Option::is_some)).await {
        Ok(Ok(known)) => known.clone(),
        Ok(Err(_)) => Some(Err(Failed::because("the lookup was given up"))),
        Err(_) => None,
    }
}

/// The lookup under way. The task that runs it owns this value. The value is dropped at the lookup's end, or earlier if
/// the task's runtime shuts down. After that, another lookup can begin.
struct DnsFlight {
    shared: Arc<Shared>,
    announce: watch::Sender<Ending>,
}

impl DnsFlight {
    async fn run(self) {
        let found = self.shared.lookup.lookup(&self.shared.name).await;
        let found: Result<Addresses, Failed> = match found {
            Ok(addresses) if addresses.is_empty() => Err(Failed::because("the name has no addresses")),
            Ok(addresses) => Ok(addresses.into()),
            Err(error) => {
                let starved = starved_lookup(&error);
                Err(Failed { why: error.to_string().into(), starved })
            }
        };
        let now = Instant::now();
        {
            let answers = &mut self.shared.state.lock().answers;
            match &found {
                Ok(addresses) => answers.succeeded(Arc::clone(addresses), now),
                Err(Failed { why, starved }) => {
                    answers.failed(now);
                    // A lack of descriptors is logged at `debug`, because there would be a line for each call while no
                    // address is known. Each of these calls fails with the reason `out-of-descriptors`, so the lack is
                    // visible anyway.
                    match starved {
                        true => tracing::debug!(name = %self.shared.name, error = %why, "lookup failed"),
                        false => tracing::warn!(name = %self.shared.name, error = %why, "lookup failed"),
                    }
                }
            }
        }
        self.announce.send_replace(Some(found));
    }
}

impl Drop for DnsFlight {
    fn drop(&mut self) {
        self.shared.state.lock().running = None;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::sync::oneshot;
    use tokio::time::advance;

    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn addresses(last: u8) -> Addresses {
        [IpAddr::from([10, 0, 0, last])].into()
    }

    #[test]
    fn rule_says_what_to_serve_when() {
        let settings = DnsSettings { refresh: secs(30), stale: secs(3600) };
        let old = addresses(1);
        let (serve, renew, prefer) =
            (Advice::Serve(old.clone()), Advice::ServeAndRenew(old.clone()), Advice::Prefer(old.clone()));
        // Each row has three entries:
        //
        // - the age of the last good answer, in ms,
        // - the time since the last failed lookup, in ms,
        // - what the call must do: use the old answer, renew it, or wait for a new one.
        let table = [
            (None, None, Advice::Ask),
            (None, Some(1), Advice::Ask),
            (Some(0), None, serve.clone()),
            (Some(29_999), None, serve.clone()),
            (Some(30_000), None, renew.clone()),
            (Some(59_999), None, renew.clone()),
            (Some(60_000), None, prefer.clone()),
            (Some(60_000), Some(0), serve.clone()),
            (Some(60_000), Some(999), serve),
            (Some(60_000), Some(1_000), renew.clone()),
            (Some(3_600_000), None, prefer),
            (Some(3_600_000), Some(9_000), renew),
            (Some(3_600_001), Some(1), Advice::Ask),
            (Some(3_600_001), None, Advice::Ask),
        ];
        let start = Instant::now();
        let now = start + secs(10_000);
        for (age, failure, expected) in table {
            let mut answers = Answers::default();
            if let Some(age) = age {
                answers.succeeded(old.clone(), now - Duration::from_millis(age));
            }
            if let Some(failure) = failure {
                answers.failed(now - Duration::from_millis(failure));
            }
            assert_eq!(answers.advise(now, &settings), expected, "age {age:?}, failure {failure:?}");
        }
    }

    #[test]
    fn success_forgets_the_failures_before_it() {
        let now = Instant::now();
        let mut answers = Answers::default();
        answers.failed(now);
        answers.succeeded(addresses(1), now);
        let advice = answers.advise(now + secs(61), &DnsSettings::default());
        assert_eq!(advice, Advice::Prefer(addresses(1)));
    }

    /// A resolver whose lookups end when the test says so: with an answer or a failure.
    #[derive(Default)]
    struct Scripted {
        waiting: Mutex<VecDeque<oneshot::Sender<io::Result<Vec<IpAddr>>>>>,
        seen: watch::Sender<usize>,
    }

    impl Lookup for Scripted {
        fn lookup<'a>(&'a self, _: &'a str) -> Looking<'a> {
            let (answer, wait) = oneshot::channel();
            self.waiting.lock().push_back(answer);
            self.seen.send_modify(|seen| *seen += 1);
            Box::pin(async move { wait.await.unwrap_or_else(|_| Err(io::Error::other("script dropped"))) })
        }
    }

    impl Scripted {
        async fn reach(&self, lookups: usize) {
            self.seen.subscribe().wait_for(|seen| *seen >= lookups).await.unwrap();
        }

        fn answer(&self, with: Result<u8, &str>) {
            let answer = self.waiting.lock().pop_front().expect("a lookup waits");
            let _ = answer.send(with.map(|n| addresses(n).to_vec()).map_err(io::Error::other));
        }

        fn count(&self) -> usize {
            *self.seen.borrow()
        }
    }

    fn scripted() -> (Arc<Scripted>, Arc<Resolver>) {
        let script = Arc::new(Scripted::default());
        (script.clone(), Arc::new(Resolver::new("a.example".into(), DnsSettings::default(), script)))
    }

    async fn settled(resolver: &Resolver) {
        let ending = resolver.0.state.lock().running.as_ref().map(|running| running.ending.clone());
        if let Some(mut ending) = ending {
            let _ = ending.wait_for(Option::is_some).await;
        }
        for _ in 0..1000 {
            if resolver.0.state.lock().running.is_none() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("a lookup that has ended is still taken for one under way");
    }

    fn soon() -> Instant {
        Instant::now() + secs(3)
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_callers_share_one_lookup() {
        let (script, resolver) = scripted();
        let callers: Vec<_> = (0..5)
            .map(|_| {
                let resolver = resolver.clone();
                tokio::spawn(async move { resolver.resolve(soon()).await.unwrap() })
            })
            .collect();
        script.reach(1).await;
        script.answer(Ok(7));
        for caller in callers {
            assert_eq!(caller.await.unwrap(), addresses(7));
        }
        assert_eq!(script.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_lookup_fails_the_caller_and_serves_the_next() {
        let (script, resolver) = scripted();
        let error = resolver.resolve(soon()).await.unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::Dns);
        assert!(error.to_string().contains("a.example"), "{error}");
        script.answer(Ok(4));
        settled(&resolver).await;
        assert_eq!(resolver.resolve(soon()).await.unwrap(), addresses(4));
        assert_eq!(script.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn name_not_found_is_a_dns_error_and_is_asked_again() {
        let (script, resolver) = scripted();
        for round in 1..=2 {
            let (resolved, ()) = tokio::join!(resolver.resolve(soon()), async {
                script.reach(round).await;
                script.answer(Err("no such name"));
            });
            let error = resolved.unwrap_err();
            assert_eq!(error.kind(), ConnectErrorKind::Dns);
            assert!(error.to_string().contains("no such name"), "{error}");
            settled(&resolver).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn old_answer_serves_while_lookups_fail_and_until_stale() {
        let (script, resolver) = scripted();
        let (first, ()) = tokio::join!(resolver.resolve(soon()), async {
            script.reach(1).await;
            script.answer(Ok(1));
        });
        assert_eq!(first.unwrap(), addresses(1));
        settled(&resolver).await;
        // The answer is old enough to be renewed in the background. This caller does not wait, although the lookup has
        // not ended.
        advance(secs(31)).await;
        let before = Instant::now();
        assert_eq!(resolver.resolve(soon()).await.unwrap(), addresses(1));
        assert_eq!(Instant::now(), before);
        script.reach(2).await;
        script.answer(Err("name server away"));
        settled(&resolver).await;
        // Lookups still fail. The old answer stays in use until it is older than `stale`.
        advance(secs(3000)).await;
        assert_eq!(resolver.resolve(soon()).await.unwrap(), addresses(1));
        script.reach(3).await;
        script.answer(Err("name server away"));
        settled(&resolver).await;
        advance(secs(600)).await;
        let (last, ()) = tokio::join!(resolver.resolve(soon()), async {
            script.reach(4).await;
            script.answer(Err("name server away"));
        });
        assert_eq!(last.unwrap_err().kind(), ConnectErrorKind::Dns);
    }

    #[tokio::test(start_paused = true)]
    async fn answer_that_nobody_used_for_long_is_asked_anew_first() {
        let (script, resolver) = scripted();
        let (first, ()) = tokio::join!(resolver.resolve(soon()), async {
            script.reach(1).await;
            script.answer(Ok(1));
        });
        first.unwrap();
        settled(&resolver).await;
        advance(secs(600)).await;
        let (moved, ()) = tokio::join!(resolver.resolve(soon()), async {
            script.reach(2).await;
            script.answer(Ok(2));
        });
        assert_eq!(moved.unwrap(), addresses(2));
        settled(&resolver).await;
        // If a lookup hangs, its first caller waits for the time `PATIENCE`, and the callers after it do not wait.
        advance(secs(600)).await;
        let before = Instant::now();
        assert_eq!(resolver.resolve(soon()).await.unwrap(), addresses(2));
        assert_eq!(before.elapsed().as_secs(), 1);
        let before = Instant::now();
        assert_eq!(resolver.resolve(soon()).await.unwrap(), addresses(2));
        assert!(before.elapsed() < Duration::from_millis(10), "{:?}", before.elapsed());
        assert_eq!(script.count(), 3);
    }

    #[test]
    fn lookup_dies_with_its_runtime_and_the_next_is_made_elsewhere() {
        let (script, resolver) = scripted();
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let first = runtime();
        let caller = resolver.clone();
        let waiting = first.spawn(async move { caller.resolve(soon()).await });
        first.block_on(script.reach(1));
        drop(first);
        drop(waiting);
        let resolved = runtime().block_on(async {
            let (resolved, ()) = tokio::join!(resolver.resolve(soon()), async {
                script.reach(2).await;
                script.waiting.lock().pop_front();
                script.answer(Ok(9));
            });
            resolved
        });
        assert_eq!(resolved.unwrap(), addresses(9));
    }
}
