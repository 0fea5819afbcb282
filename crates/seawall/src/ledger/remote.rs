//! The other side over HTTP.
//!
//! One attempt for each question of the ledger, since repeats are the ledger's, and at the first endpoint only: a second one
//! may be another provider, and a charge that may have happened at the first must never be sent to the second. Credentials
//! are the endpoint's headers, put in by the client at send time. The client asks its clock directly before the first byte,
//! and resets what it has not answered by the deadline.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use http_body_util::{BodyExt, Limited};
use seawall_client::{CallRequest, Clock, Outcome, RequestBody, draw};
use seawall_ledger::store::Boxed;
use seawall_ledger::{Action, Call, Found, Performed, Remote, Report, Undone};
use seawall_policy::{
    Effect, Ending, Idempotency, Keys, KnownBody, Plan, Predicate, Said, Time, Timeouts, Wish, first_match,
};

use super::confirm::{Asking, Undoing};
use super::filling::Filling;
use crate::Operation;
use crate::stored::{AnswerOf, StoredAnswer, StoredRequest};
use crate::template::{Fill, Filled, RequestTemplate};

/// The longest body that is read and kept of an answer. A longer one is known by its status alone.
const ANSWER_BYTES: usize = 128 << 10;

/// One operation of one dependency, as the ledger reaches it.
pub(super) struct HttpRemote {
    pub(super) operation: Operation,
    request: RequestTemplate,
    headers: HeaderMap,
    key_header: Option<HeaderName>,
    asking: Option<Asking>,
    undoing: Option<Undoing>,
    perform: Arc<Plan>,
    confirm: Arc<Plan>,
    cancel: Arc<Plan>,
}

/// What the answer to a confirm or a cancel may be declared to mean.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    Undone,
    Applied,
    Missing,
}

/// What came of one exchange.
struct Exchanged {
    effect: Effect,
    /// Provably nothing was sent, or the other side did not look at it.
    unprocessed: bool,
    status: Option<u16>,
    content_type: Option<HeaderValue>,
    /// None where it broke on the way; empty where it was too long.
    body: Option<Bytes>,
    /// It was too long, so that what is declared of its fields could not be looked for.
    too_long: bool,
    report: Report,
}

impl HttpRemote {
    pub(super) fn new(
        operation: Operation,
        request: RequestTemplate,
        headers: HeaderMap,
        key_header: Option<HeaderName>,
        asking: Option<Asking>,
        undoing: Option<Undoing>,
    ) -> HttpRemote {
        let declared = &operation.declared.site.plan;
        // One attempt, at one endpoint, until the ledger's deadline and no other.
        let once = |plan: &Plan| Plan {
            attempts: 1,
            endpoints: 1,
            timeouts: Timeouts { total: None, ..plan.timeouts },
            ..plan.clone()
        };
        let mut perform = once(declared);
        perform.rules.confirm = asking.is_some();
        let mut confirm = once(declared);
        confirm.rules = seawall_policy::Rules::of(Idempotency::Safe);
        let mut cancel = once(declared);
        cancel.rules = seawall_policy::Rules::of(Idempotency::None);
        cancel.rules.confirm = asking.is_some();
        let (perform, confirm, cancel) = (Arc::new(perform), Arc::new(confirm), Arc::new(cancel));
        HttpRemote { operation, request, headers, key_header, asking, undoing, perform, confirm, cancel }
    }

    /// What is recorded for a body: the whole request, so that a later version of the program sends the same.
    ///
    /// # Errors
    /// A hole of the operation, its confirm or its cancel finds nothing in the body. It would not later either.
    pub(super) fn record(&self, key: &str, body: Vec<u8>) -> Result<Vec<u8>, String> {
        let line = None;
        let request = StoredRequest { line, headers: self.headers.clone(), body };
        let filling = Filling::of_request(key, &request);
        let filled = self.request.fill(&filling).map_err(|unfilled| unfilled.to_string())?;
        let later = self.asking.iter().map(|asking| &asking.request);
        let later = later.chain(self.undoing.iter().map(|undoing| &undoing.request));
        for hole in later.flat_map(RequestTemplate::holes) {
            if filling.is_recorded(hole) && filling.fill(hole).is_none() {
                return Err(format!("there is nothing to fill `{hole}` with, now or later"));
            }
        }
        Ok(StoredRequest { line: Some((filled.method, filled.target)), ..request }.encode())
    }

    async fn perform_once(&self, call: Call<'_>) -> (Performed, Report) {
        let action = call.action;
        let stored = StoredRequest::decode(&action.request);
        let line = match &stored.line {
            Some(line) => Ok(line.clone()),
            None => self
                .request
                .fill(&Filling::of_request(&action.key, &stored))
                .map(|filled| (filled.method, filled.target)),
        };
        let (method, target) = match line {
            Ok(line) => line,
            Err(unfilled) => return (Performed::NotSent, detail(unfilled)),
        };
        let mut headers = stored.headers;
        if let Some(name) = &self.key_header {
            match HeaderValue::from_str(&action.key) {
                Ok(value) => headers.insert(name.clone(), value),
                Err(_) => return (Performed::NotSent, detail("the key is no header's value")),
            };
        }
        let body = (!stored.body.is_empty()).then_some(stored.body);
        let sent = self.exchange(&self.perform, method, target, headers, body, call.deadline).await;
        let performed = match sent.effect {
            // Its answer says what later templates read: without it, ask.
            Effect::Applied if sent.body.is_none() => Performed::Unknown,
            Effect::Applied => Performed::Yes(sent.answer(AnswerOf::Reply)),
            Effect::NotApplied if sent.unprocessed => Performed::NotSent,
            Effect::NotApplied => Performed::No,
            Effect::Unknown => Performed::Unknown,
        };
        (performed, sent.report)
    }

    async fn ask(&self, action: &Action, deadline: Instant) -> (Found, Report) {
        let Some(asking) = &self.asking else { return (Found::Other, detail("there is no confirm")) };
        let stored = StoredRequest::decode(&action.request);
        let filled = match asking.request.fill(&Filling::of_request(&action.key, &stored)) {
            Ok(filled) => filled,
            Err(unfilled) => return (Found::Other, detail(unfilled)),
        };
        let answer = self.exchange_filled(&self.confirm, filled, None, deadline).await;
        let declared = [
            (Told::Undone, &asking.cancelled),
            (Told::Applied, &asking.applied),
            (Told::Missing, &asking.absent),
        ];
        let found = match answer.told(declared) {
            // Its body broke, and what later requests are filled with may have been in it.
            _ if answer.body.is_none() => Found::Other,
            Said::Matched(Told::Undone) => Found::Cancelled,
            Said::Matched(Told::Applied) => Found::Applied(answer.answer(AnswerOf::Confirm)),
            Said::Matched(Told::Missing) => Found::Absent,
            Said::Contradicted | Said::Undecided | Said::Nothing => Found::Other,
        };
        (found, answer.report)
    }

    async fn undo(&self, call: Call<'_>) -> (Undone, Report) {
        let Some(undoing) = &self.undoing else { return (Undone::NotSent, detail("there is no cancel")) };
        let action = call.action;
        let mut known = action.state.answer.as_deref().and_then(StoredAnswer::decode);
        let asked = known.as_ref().is_some_and(|answer| answer.of == AnswerOf::Confirm);
        // What the cancel is filled with may stand in the confirm's answer only, and reading has no effect.
        if (undoing.needs_confirm() && !asked) || (undoing.needs_answer() && known.is_none()) {
            match self.ask(action, call.deadline).await {
                (Found::Applied(answer), _) => known = answer.as_deref().and_then(StoredAnswer::decode),
                (Found::Cancelled, report) => return (Undone::Yes, report),
                (Found::Absent, report) => return (Undone::NoSuch, report),
                (Found::Other, report) => return (Undone::NotSent, report),
            }
        }
        let stored = StoredRequest::decode(&action.request);
        let cancel_key = action.cancel_key();
        let id = self.asking.as_ref().and_then(|asking| asking.id.as_ref());
        let filling = Filling::of_cancel(&action.key, &cancel_key, &stored, known.as_ref(), id);
        let filled = match undoing.request.fill(&filling) {
            Ok(filled) => filled,
            Err(unfilled) => return (Undone::NotSent, detail(unfilled)),
        };
        let key = undoing.keyed.then_some(cancel_key.as_str());
        let answer = self.exchange_filled(&self.cancel, filled, key, call.deadline).await;
        (judge_cancel(undoing, &answer), answer.report)
    }

    async fn exchange_filled(
        &self,
        plan: &Arc<Plan>,
        filled: Filled,
        key: Option<&str>,
        deadline: Instant,
    ) -> Exchanged {
        let mut headers = HeaderMap::new();
        if filled.body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(key) = key {
            let name = self.key_header.clone().unwrap_or(HeaderName::from_static("idempotency-key"));
            match HeaderValue::from_str(key) {
                Ok(value) => headers.insert(name, value),
                Err(_) => return Exchanged::unsent("the key is no header's value"),
            };
        }
        self.exchange(plan, filled.method, filled.target, headers, filled.body, deadline).await
    }

    async fn exchange(
        &self,
        plan: &Arc<Plan>,
        method: Method,
        target: String,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
        deadline: Instant,
    ) -> Exchanged {
        let path = match PathAndQuery::try_from(target) {
            Ok(path) => path,
            Err(wrong) => return Exchanged::unsent(format!("the path is none: {wrong}")),
        };
        let client = self.operation.dependency.0.lines.as_ref().and_then(|lines| lines.here());
        let Some(client) = client else { return Exchanged::unsent("no connections outside of a runtime") };
        let body = body.map_or(RequestBody::Empty, |body| RequestBody::Full(body.into()));
        let wish = Wish { by: Some(as_time(client.clock(), deadline)), no_repeats: true, within: None };
        let request = CallRequest { method, path, headers, via: None, body, keep: 0, keys: Keys::NONE };
        let outcome = client.call(plan, request, wish).await;
        Exchanged::of(plan, outcome, client.clock()).await
    }
}

/// The client's time of a moment: not later than the moment is.
fn as_time(clock: Clock, moment: Instant) -> Time {
    // Read first, so that what passes in between makes it earlier.
    let now = clock.now();
    now.saturating_add(moment.saturating_duration_since(Instant::now()))
}

impl Exchanged {
    async fn of(plan: &Plan, outcome: Outcome, clock: Clock) -> Exchanged {
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
            match Limited::new(body, ANSWER_BYTES).collect().await {
                Ok(collected) => exchanged.body = Some(collected.to_bytes()),
                Err(wrong) if wrong.is::<http_body_util::LengthLimitError>() => {
                    exchanged.body = Some(Bytes::new());
                    exchanged.too_long = true;
                }
                Err(wrong) => exchanged.report.detail = Some(wrong.to_string()),
            }
        }
        exchanged
    }

    /// Nothing was sent, for a reason of our own.
    fn unsent(why: impl ToString) -> Exchanged {
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

    /// What is declared of it, asked in this order; nothing where there is no answer. A body that broke or was too long is
    /// unread, so that no meaning is taken from a status where a field could have said otherwise.
    fn told<const N: usize>(&self, declared: [(Told, &Vec<Predicate>); N]) -> Said<Told> {
        let Some(status) = self.status else { return Said::Nothing };
        let in_order = declared
            .into_iter()
            .flat_map(|(meaning, predicates)| predicates.iter().map(move |predicate| (meaning, predicate)));
        match &self.body {
            Some(body) if !self.too_long => first_match(in_order, status, &seawall_client::known(body)),
            Some(_) | None => first_match(in_order, status, &KnownBody::UNREAD),
        }
    }

    /// What is kept of it.
    fn answer(&self, of: AnswerOf) -> Option<Vec<u8>> {
        let content_type = self.content_type.clone();
        let body = self.body.as_ref()?.to_vec();
        Some(StoredAnswer { of, status: self.status?, content_type, body }.encode())
    }
}

fn judge_cancel(undoing: &Undoing, answer: &Exchanged) -> Undone {
    match answer.told([(Told::Undone, &undoing.already), (Told::Missing, &undoing.not_found)]) {
        Said::Matched(Told::Undone) => return Undone::Yes,
        Said::Matched(Told::Missing) => return Undone::NoSuch,
        // A "there is no such thing" may be in what could not be read: a success that may be one is none.
        Said::Contradicted | Said::Undecided => return Undone::Unknown,
        Said::Matched(Told::Applied) | Said::Nothing => {}
    }
    match answer.effect {
        Effect::Applied => Undone::Yes,
        Effect::NotApplied if answer.unprocessed => Undone::NotSent,
        // A "no" that nobody declared: it may be one for now.
        Effect::NotApplied | Effect::Unknown => Undone::Unknown,
    }
}

fn detail(why: impl ToString) -> Report {
    Report { detail: Some(why.to_string()), ..Report::default() }
}

impl Remote for HttpRemote {
    fn perform<'a>(&'a self, call: Call<'a>) -> Boxed<'a, (Performed, Report)> {
        Box::pin(self.perform_once(call))
    }

    fn confirm<'a>(&'a self, call: Call<'a>) -> Boxed<'a, (Found, Report)> {
        Box::pin(self.ask(call.action, call.deadline))
    }

    fn cancel<'a>(&'a self, call: Call<'a>) -> Boxed<'a, (Undone, Report)> {
        Box::pin(self.undo(call))
    }
}
