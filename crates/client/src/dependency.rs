//! One dependency, and the steps of a call to it.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Uri};
use seawall_policy::{Ended, Finish, Idempotency, Keys, Plan, Step, Time, Wish};
use seawall_wire::Limits;

use crate::attempt::{Endpoint, Pooled, Sending, Tried};
use crate::body::Source;
use crate::clock::Clock;
use crate::connect::{ConfigError, Connector, HttpVersion, Settings as ConnectSettings, Target};
use crate::following::{Followed, Followers, OnFollowed};
use crate::outcome::Outcome;
use crate::pool::{Pool, PoolSettings};
use crate::request::{Address, CallRequest, HealthRequest, Template};
use crate::shared::Shared;
use crate::tracks::{Tracks, cut_now};
use crate::walk::Walk;

/// One endpoint of a dependency.
#[derive(Clone, Debug)]
pub struct EndpointSettings {
    /// The URL: `http://` or `https://`, host, port, and perhaps a path that is put before the path of every request.
    pub url: Uri,
    /// Headers that are sent to this endpoint with every request, such as credentials. Each replaces the caller's
    /// header of the same name.
    pub headers: HeaderMap,
}

/// How a dependency is reached.
#[derive(Clone, Debug)]
pub struct DependencySettings {
    /// The dependency's name, for logs.
    pub name: String,
    /// The endpoints in order of preference; at least one.
    pub endpoints: Vec<EndpointSettings>,
    /// How connections are made.
    pub connect: ConnectSettings,
    /// How idle connections are kept.
    pub pool: PoolSettings,
    /// The header that tells the dependency how many milliseconds are left for the call. With `None`, no such header is
    /// sent.
    pub deadline_header: Option<HeaderName>,
    /// The request that [`Dependency::watch_health`] sends, only while a breaker is open. The breaker's settings say
    /// when it is due. With `None`, no such request is sent.
    pub health: Option<HealthRequest>,
    /// The limits of an answer's head: its length, and the number of its fields.
    pub answer: Limits,
}

/// A dependency: a system that the program calls but does not own. This value holds the connections to the dependency.
/// The guards are in [`Shared`], so that several runtimes, each with its own `Dependency`, decide together.
pub struct Dependency {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
    pub(crate) health: Option<HealthRequest>,
    pub(crate) followers: Arc<Followers>,
    deadline_header: Option<HeaderName>,
}

impl std::fmt::Debug for Dependency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dependency").field("name", &self.followers.name).finish_non_exhaustive()
    }
}

impl Dependency {
    /// Returns a dependency with connectors and pools. No connection is made yet.
    ///
    /// # Errors
    /// If a setting could never work, such as a bad URL or a missing certificate.
    pub fn new(
        settings: DependencySettings,
        shared: Arc<Shared>,
        clock: Clock,
    ) -> Result<Dependency, ConfigError> {
        let multiplexed = settings.connect.http == HttpVersion::Http2;
        let endpoints = settings.endpoints.into_iter().map(|endpoint| {
            let target = Target::try_from(&endpoint.url)?;
            let connector = Connector::new(target, settings.connect.clone())?;
            Ok(Endpoint {
                address: Address::new(&endpoint.url, endpoint.headers)?,
                pool: Arc::new(Pool::new(connector, settings.pool, settings.answer, multiplexed, clock)),
            })
        });
        Ok(Dependency {
            endpoints: endpoints.collect::<Result<_, ConfigError>>()?,
            shared,
            clock,
            deadline_header: settings.deadline_header,
            health: settings.health,
            followers: Followers::new(settings.name, None),
        })
    }

    /// Sets the function that is called when a call ends after its caller has left. Without it, such endings are only
    /// logged.
    #[must_use]
    pub fn on_followed(mut self, tell: OnFollowed) -> Dependency {
        self.followers = Followers::new(self.followers.name.clone(), Some(tell));
        self
    }

    /// Returns the guards of the dependency.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns the clock that gives the guards their time.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Ends all attempts that are followed only to learn whether an endpoint hangs. From then on, further attempts of
    /// this kind are ended immediately. A program calls this function when it is about to end.
    pub fn end_witnesses(&self) {
        self.followers.end_witnesses();
    }

    /// Makes one call, and returns how it ended.
    ///
    /// If the future is dropped, the caller has left. Then the attempt in flight either goes on in the background or is
    /// aborted. To abort it, its connection is reset (over HTTP/2 its stream). The first of these points that fits
    /// decides:
    ///
    /// - If the caller has not yet delivered the whole request body, the attempt is aborted.
    /// - If the attempt is `safe`, it is aborted. There is one exception: the guards may want the attempt as a witness,
    ///   since its real ending shows whether the endpoint hangs. Then it goes on. At most two witnesses go on for each
    ///   endpoint or key.
    /// - If no byte of the attempt was sent, it is aborted.
    /// - Otherwise the attempt goes on to its end, so that the guards and the log learn its effect.
    pub async fn call(self: &Arc<Self>, plan: &Arc<Plan>, mut request: CallRequest, wish: Wish) -> Outcome {
        let now = self.clock.now();
        let keys = std::mem::take(&mut request.keys);
        if self.needs_nobody_else(plan, &keys, now) {
            let (mut walk, step) = Walk::begin(&self.shared, &keys, plan, wish, self.clock, now);
            return self.drive(plan, &mut walk, step, request, None, now).await;
        }
        let tracks = Tracks::new(&self.shared, plan.rules.idempotency);
        let (dependency, plan, kept) = (Arc::clone(self), Arc::clone(plan), Arc::clone(&tracks));
        let drive = async move {
            let (mut walk, step) = Walk::begin(&dependency.shared, &keys, &plan, wish, dependency.clock, now);
            dependency.drive(&plan, &mut walk, step, request, Some(&kept), now).await
        };
        Followed::new(Box::pin(drive), tracks, Arc::clone(&self.followers)).await
    }

    /// Makes one call as [`Dependency::call`] does, but its request is made by `prepare`, which is polled only after
    /// the guards have let the call pass. A refused call drops `prepare` without polling it.
    ///
    /// Returns `None` if `prepare` resolves to `None`. In that case nothing is sent, and the permit is given back
    /// unused: the call counts neither as a success nor as a failure, a half-open breaker may send another probe, and
    /// the slot of the limit is free. The permit is given back in the same way if the future is dropped while `prepare`
    /// runs. The keys in the prepared request are not used, since the guards are asked before it exists.
    ///
    /// The total timeout and `wish` count from the beginning of the call. If the time is over when `prepare` resolves,
    /// nothing is sent, and the outcome is the refusal `no-time-left`. The connect and read timeouts count from the end
    /// of `prepare`.
    pub async fn call_prepared(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        keys: Keys,
        wish: Wish,
        prepare: impl Future<Output = Option<CallRequest>> + Send,
    ) -> Option<Outcome> {
        let now = self.clock.now();
        let (mut walk, mut step) = Walk::begin(&self.shared, &keys, plan, wish, self.clock, now);
        loop {
            step = match step {
                Step::Send(_) => break,
                Step::Wait(until) => walk.wait(until).await.0,
                Step::Queue(until) => walk.queue(until).await.0,
                Step::Finish(finish) => return Some(outcome(&mut walk, finish, None)),
            };
        }
        let (request, step, now) = walk.prepare(prepare).await?;
        if let Step::Finish(finish) = step {
            return Some(outcome(&mut walk, finish, None));
        }
        let call = walk.into_call();
        let tracks = Tracks::new(&self.shared, plan.rules.idempotency);
        let (dependency, plan, kept) = (Arc::clone(self), Arc::clone(plan), Arc::clone(&tracks));
        let drive = async move {
            let mut walk = Walk::resume(call, &dependency.shared, &keys, &plan, dependency.clock);
            dependency.drive(&plan, &mut walk, step, request, Some(&kept), now).await
        };
        Some(Followed::new(Box::pin(drive), tracks, Arc::clone(&self.followers)).await)
    }

    /// Returns whether this call certainly ends when its caller leaves. That is so if all of these conditions hold:
    ///
    /// - The call is safe, so nobody needs to know its effect.
    /// - The dependency has one endpoint. With several, it is not known yet which of them the call will use.
    /// - The call has no breaker key, because the time of the last success is not kept for each key.
    /// - The endpoint succeeded lately. So its attempts need not go on without their caller to learn whether it works.
    ///
    /// Such a call needs no allocation for its future, and no state that is shared with a task in the background.
    #[inline]
    fn needs_nobody_else(&self, plan: &Plan, keys: &Keys, now: Time) -> bool {
        plan.rules.idempotency == Idempotency::Safe
            && self.endpoints.len() == 1
            && keys.breaker.is_none()
            && self.shared.succeeded_lately(now)
    }

    /// Carries a call out from its first step: does what the machine says until the call is over, and returns how the
    /// call ended.
    async fn drive(
        &self,
        plan: &Plan,
        walk: &mut Walk<'_>,
        mut step: Step,
        request: CallRequest,
        tracks: Option<&Arc<Tracks>>,
        mut now: Time,
    ) -> Outcome {
        let CallRequest { method, path, mut headers, via, body, keep, keys: _ } = request;
        if plan.rules.answers.read_bodies() {
            // A compressed body could not be judged, so the request does not ask for compression.
            headers.remove(http::header::ACCEPT_ENCODING);
        }
        let template = Template { method, path, headers, via };
        let source = Source::new(body, keep);
        let sending = Sending {
            rules: &plan.rules,
            template: &template,
            source: &source,
            deadline_header: self.deadline_header.as_ref(),
            tracks,
            clock: self.clock,
        };
        let mut last: Option<Tried> = None;
        loop {
            step = match step {
                Step::Send(attempt) => {
                    let fresh = last.take().is_some_and(|tried| tried.pooled != Pooled::Fine);
                    walk.free_slot();
                    if let Some((tracks, underway)) = tracks.zip(walk.underway()) {
                        let cut = cut_now(plan, walk.effect(), attempt.number, attempt.endpoint);
                        tracks.begins(underway, attempt.read, cut, &source);
                    }
                    let tried =
                        sending.attempt(&self.endpoints[attempt.endpoint], &attempt, fresh, now).await;
                    if let Some(tracks) = tracks {
                        tracks.over();
                        if tracks.has_left() {
                            walk.caller_left();
                        }
                    }
                    let ended = Ended {
                        ending: tried.ending,
                        body_kept: source.kept(),
                        stale: tried.pooled == Pooled::Stale,
                        flowing: tried.answer.as_ref().is_some_and(|answer| answer.body().is_flowing()),
                    };
                    now = tried.at.unwrap_or_else(|| self.clock.now());
                    last = Some(tried);
                    walk.ended(ended, now)
                }
                Step::Wait(until) => {
                    let (next, at) = walk.wait(until).await;
                    now = at;
                    next
                }
                Step::Queue(until) => {
                    let (next, at) = walk.queue(until).await;
                    now = at;
                    next
                }
                Step::Finish(finish) => {
                    if walk.proved_well() {
                        self.shared.succeeds(now);
                    }
                    return outcome(walk, finish, last);
                }
            };
        }
    }
}

fn outcome(walk: &mut Walk<'_>, finish: Finish, last: Option<Tried>) -> Outcome {
    let Some(mut tried) = last else {
        return Outcome { finish, answer: None, ending: None, detail: None };
    };
    if let Some(answer) = &mut tried.answer {
        answer.body_mut().hold(walk.take_slot());
    }
    Outcome { finish, answer: tried.answer, ending: Some(tried.ending), detail: tried.detail }
}
