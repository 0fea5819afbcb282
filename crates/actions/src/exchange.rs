//! Sends one request to a provider, and returns what came of it.

use std::sync::Arc;
use std::time::Instant;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use seawall_client::{CallRequest, Clock, Dependency, Outcome, RequestBody, draw};
use seawall_ledger::Report;
use seawall_policy::{Effect, Ending, Keys, KnownBody, Plan, Predicate, Said, Time, Wish, first_match};

use crate::answer::LiveAnswer;
use crate::stored::{AnswerOf, StoredAnswer};
use crate::template::Filled;

/// A function that returns the connections to a dependency. Each async runtime has connections of its own, and the
/// function returns those of the runtime in which it is called. Outside of a runtime it returns `None`.
pub type Connections = Arc<dyn Fn() -> Option<Arc<Dependency>> + Send + Sync>;

/// A request to the provider, with all its holes filled.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
}

impl From<Filled> for Outgoing {
    fn from(filled: Filled) -> Outgoing {
        let Filled { method, target, headers, body } = filled;
        Outgoing { method, target, headers, body }
    }
}

impl Outgoing {
    /// Makes the call that sends this request. The call passes the guards of the endpoint, such as its breaker and its
    /// limit. An operator can also declare guards that belong to the value of a header or to a part of the path: these
    /// do not apply here.
    ///
    /// Fails if the target of the request, such as `/v1/charges?draft=1`, is not a valid path.
    pub(crate) fn into_call(self) -> Result<CallRequest, String> {
        let Outgoing { method, target, headers, body } = self;
        let path = PathAndQuery::try_from(target).map_err(|wrong| format!("the path is none: {wrong}"))?;
        let body = body.map_or(RequestBody::Empty, |body| RequestBody::Full(body.into()));
        Ok(CallRequest { method, path, headers, via: None, body, keep: 0, keys: Keys::NONE })
    }
}

/// The result of one request: what is known of its effect, and the answer if there is one.
pub(crate) struct Exchanged {
    pub(crate) effect: Effect,
    /// Whether the provider certainly did not process the request, for example because nothing was sent.
    pub(crate) unprocessed: bool,
    /// The answer, with at most `most_bytes` of its body ([`exchange`]); `None` if there is no answer.
    pub(crate) answer: Option<LiveAnswer>,
    pub(crate) report: Report,
}

/// The error message for a request that is to be sent outside of an async runtime.
pub(crate) const OUTSIDE: &str = "no connections outside of a runtime";

/// Sends the request `outgoing` to the provider as one call, and returns its result. At most `most_bytes` of the
/// answer's body are kept. If the request cannot be sent, the result says that nothing was sent.
pub(crate) async fn exchange(
    connections: &Connections,
    plan: &Arc<Plan>,
    outgoing: Outgoing,
    wish: impl FnOnce(Clock) -> Wish,
    most_bytes: usize,
) -> Exchanged {
    let request = match outgoing.into_call() {
        Ok(request) => request,
        Err(why) => return Exchanged::unsent(why),
    };
    let Some(client) = connections() else { return Exchanged::unsent(OUTSIDE) };
    let outcome = client.call(plan, request, wish(client.clock())).await;
    Exchanged::of(plan, outcome, client.clock(), most_bytes).await
}

/// Returns the time of the client's clock for a moment of the system's clock. For a moment in the future, the result is
/// never later than that moment, so that no deadline is put off. For a moment in the past, the result is the current
/// time.
pub(crate) fn until(clock: Clock, moment: Instant) -> Time {
    // The client's clock is read before the system's clock. So the time that passes between the two readings can only
    // make the result earlier.
    let now = clock.now();
    now.saturating_add(moment.saturating_duration_since(Instant::now()))
}

pub(crate) fn detail(why: impl ToString) -> Report {
    Report { detail: Some(why.to_string()), ..Report::default() }
}

impl Exchanged {
    /// Returns the result of a call. Reads the body of its answer until the end, or until it is longer than
    /// `most_bytes`.
    pub(crate) async fn of(plan: &Plan, outcome: Outcome, clock: Clock, most_bytes: usize) -> Exchanged {
        let reason = outcome.reason();
        let Outcome { finish, answer, ending, detail } = outcome;
        let verdict = ending.as_ref().map(|ending| plan.rules.judge(ending));
        let unsent = matches!(ending, Some(Ending::CallerLeft { sent: false }));
        let retry_after = match &finish.refusal {
            Some(refusal) => refusal.come_back(clock.now(), draw()),
            None => verdict.as_ref().and_then(|verdict| verdict.retry_after),
        };
        let why = match (detail, reason) {
            (Some(detail), Some(reason)) => Some(format!("{reason}: {detail}")),
            (None, Some(reason)) => Some(reason.to_string()),
            (detail, None) => detail,
        };
        let mut exchanged = Exchanged {
            effect: finish.effect,
            unprocessed: finish.refusal.is_some() || unsent || verdict.is_some_and(|v| v.is_unprocessed()),
            answer: None,
            report: Report { status: None, detail: why, retry_after },
        };
        if let Some(answer) = answer {
            let (answer, truncated) = LiveAnswer::read(answer, most_bytes).await;
            exchanged.report.status = Some(answer.head.status.as_u16());
            if let Some(truncated) = truncated {
                exchanged.report.detail = Some(truncated.to_string());
            }
            exchanged.answer = Some(answer);
        }
        exchanged
    }

    /// Returns the result of a request that was not sent, for a reason on our side.
    pub(crate) fn unsent(why: impl ToString) -> Exchanged {
        Exchanged { effect: Effect::NotApplied, unprocessed: true, answer: None, report: detail(why) }
    }

    /// Returns whether there is no answer, or only a part of one because its body broke. A body that is longer than the
    /// bound did not break.
    pub(crate) fn is_partial(&self) -> bool {
        self.answer.as_ref().is_none_or(|answer| answer.broken)
    }

    /// Returns the meaning that the declared predicates give to this answer. Without an answer, this is
    /// `Said::Nothing`. The predicates are tried in the given order, and the first that matches decides.
    ///
    /// If the body broke or was too long, it is not known whether a predicate with fields matches. Such a predicate is
    /// undecided. A predicate without fields can still match by the status alone. But it decides only if each
    /// undecided predicate that was tried before it has the same meaning as itself.
    pub(crate) fn told<T: Copy + PartialEq, const N: usize>(
        &self,
        declared: [(T, &[Predicate]); N],
    ) -> Said<T> {
        let Some(answer) = &self.answer else { return Said::Nothing };
        let status = answer.head.status.as_u16();
        let in_order = declared
            .into_iter()
            .flat_map(|(meaning, predicates)| predicates.iter().map(move |predicate| (meaning, predicate)));
        match answer.whole() {
            Some(body) => first_match(in_order, status, &seawall_client::known(body)),
            None => first_match(in_order, status, &KnownBody::UNREAD),
        }
    }

    /// Returns the bytes that the ledger records for this answer. Returns `None` if there is no answer, or if its body
    /// broke or was too long. `of` says which request the provider answered.
    pub(crate) fn kept(&self, of: AnswerOf) -> Option<Vec<u8>> {
        let answer = self.answer.as_ref()?;
        Some(StoredAnswer::kept(of, &answer.head, answer.whole()?).encode())
    }
}
