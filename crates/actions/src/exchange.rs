//! Sends one request to a provider, and returns what came of it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use seawall_client::{CallRequest, Clock, Dependency, Outcome, RequestBody, draw};
use seawall_ledger::Report;
use seawall_policy::{Effect, Ending, Keys, KnownBody, Plan, Predicate, Said, Time, Wish, first_match};

use crate::stored::{AnswerOf, StoredAnswer};
use crate::template::Filled;

/// A function that returns the connections to a dependency that belong to the caller's runtime, or `None` outside of a
/// runtime.
pub type Connections = Arc<dyn Fn() -> Option<Arc<Dependency>> + Send + Sync>;

/// A request as it goes out.
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

/// The result of one request: what is known of its effect, and the answer if there is one.
pub(crate) struct Exchanged {
    pub(crate) effect: Effect,
    /// Whether the provider certainly did not process the request, for example because nothing was sent.
    pub(crate) unprocessed: bool,
    /// The answer's status; `None` if there is no answer.
    pub(crate) status: Option<u16>,
    content_type: Option<HeaderValue>,
    /// The answer's body. `None` if there is no answer, or if the connection broke before the end of the body. If the
    /// body was too long, it is empty.
    pub(crate) body: Option<Bytes>,
    /// Whether the body was longer than the call allowed. Such a body was not kept, so the fields that the declaration
    /// names could not be looked for in it.
    pub(crate) too_long: bool,
    pub(crate) report: Report,
}

/// Sends the request `outgoing` to the provider as one call, and returns its result. If the answer's body is longer
/// than `most_bytes`, none of it is kept. If the request cannot be sent, the result says that nothing was sent.
pub(crate) async fn exchange(
    connections: &Connections,
    plan: &Arc<Plan>,
    outgoing: Outgoing,
    wish: impl FnOnce(Clock) -> Wish,
    most_bytes: usize,
) -> Exchanged {
    let Outgoing { method, target, headers, body } = outgoing;
    let path = match PathAndQuery::try_from(target) {
        Ok(path) => path,
        Err(wrong) => return Exchanged::unsent(format!("the path is none: {wrong}")),
    };
    let Some(client) = connections() else { return Exchanged::unsent("no connections outside of a runtime") };
    let body = body.map_or(RequestBody::Empty, |body| RequestBody::Full(body.into()));
    let request = CallRequest { method, path, headers, via: None, body, keep: 0, keys: Keys::NONE };
    let outcome = client.call(plan, request, wish(client.clock())).await;
    Exchanged::of(plan, outcome, client.clock(), most_bytes).await
}

/// Returns the time of the client's clock for a moment of the system's clock. For a moment in the future, the
/// result is never later than that moment. For a moment in the past, the result is the current time.
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
    async fn of(plan: &Plan, outcome: Outcome, clock: Clock, most_bytes: usize) -> Exchanged {
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
            status: None,
            content_type: None,
            body: None,
            too_long: false,
            report: Report { status: None, detail: why, retry_after },
        };
        if let Some(answer) = answer {
            let (head, body) = answer.into_parts();
            exchanged.status = Some(head.status.as_u16());
            exchanged.report.status = exchanged.status;
            exchanged.content_type = head.headers.get(header::CONTENT_TYPE).cloned();
            match Limited::new(body, most_bytes).collect().await {
                Ok(collected) => exchanged.body = Some(collected.to_bytes()),
                Err(wrong) if wrong.is::<LengthLimitError>() => {
                    exchanged.body = Some(Bytes::new());
                    exchanged.too_long = true;
                }
                Err(wrong) => exchanged.report.detail = Some(wrong.to_string()),
            }
        }
        exchanged
    }

    /// Returns the result of a request that was not sent, for a reason on our side.
    pub(crate) fn unsent(why: impl ToString) -> Exchanged {
        Exchanged {
            effect: Effect::NotApplied,
            unprocessed: true,
            status: None,
            content_type: None,
            body: None,
            too_long: false,
            report: detail(why),
        }
    }

    /// Returns the meaning that the declared predicates give to this answer. Without an answer, this is
    /// `Said::Nothing`. The predicates are tried in the given order, and the first that matches decides.
    ///
    /// If the body broke or was too long, it is not known whether a predicate with fields matches. Such a predicate is
    /// undecided. A later predicate without fields then decides only if all undecided predicates before it have the
    /// same meaning.
    pub(crate) fn told<T: Copy + PartialEq, const N: usize>(
        &self,
        declared: [(T, &[Predicate]); N],
    ) -> Said<T> {
        let Some(status) = self.status else { return Said::Nothing };
        let in_order = declared
            .into_iter()
            .flat_map(|(meaning, predicates)| predicates.iter().map(move |predicate| (meaning, predicate)));
        match &self.body {
            Some(body) if !self.too_long => first_match(in_order, status, &seawall_client::known(body)),
            Some(_) | None => first_match(in_order, status, &KnownBody::UNREAD),
        }
    }

    /// Returns the bytes that the ledger records for this answer; `None` if there is no answer or its body broke. `of`
    /// says which request the provider answered.
    pub(crate) fn answer(&self, of: AnswerOf) -> Option<Vec<u8>> {
        let content_type = self.content_type.clone();
        let body = self.body.as_ref()?.to_vec();
        Some(StoredAnswer { of, status: self.status?, content_type, body }.encode())
    }
}
