//! Handles a request for a durable operation: decides what is recorded of it, and makes the answer for its caller.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use seawall_actions::stored::{AnswerOf, StoredAnswer, StoredRequest};
use seawall_ledger::{Action, ActionId, End, Goal, Known, NewAction, Refusal, Same};
use seawall_policy::{Effect, Keys, Reason, Time, Wish};

use super::asked::key_of;
use super::headers::{Kinds, strip_hop, strip_ours};
use super::reply::reply;
use super::reply_body::{ReplyBody, Underway};
use super::request_body::TooLarge;
use crate::durable::Room;
use crate::durable::books::Books;
use crate::durable::call::{Answered, Counted, DurableCall, Told, Unanswered, effect_of, failed, make};
use crate::durable::shown::{self, View};
use crate::durable::waiters::Read;
use crate::problem::message::{ACTION, put_facts};
use crate::problem::{Problem, Where};
use crate::running::compiled::CompiledDependency;
use crate::running::durable::DurableOperation;
use crate::running::router::Router;

/// The header that marks an answer which the ledger has recorded earlier and which is sent again.
const REPLAYED: HeaderName = HeaderName::from_static("seawall-replayed");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A request for a durable operation, whose body was read to its end.
pub(crate) struct DurableRequest<'a> {
    pub(crate) router: &'a Arc<Router>,
    pub(crate) room: &'a Arc<Room>,
    pub(crate) compiled: &'a Arc<CompiledDependency>,
    pub(crate) client: Arc<seawall_client::Dependency>,
    pub(crate) operation: &'a Arc<DurableOperation>,
    /// The name of the caller; `None` if callers have no names.
    pub(crate) caller: Option<Arc<str>>,
    pub(crate) head: Parts,
    pub(crate) path: PathAndQuery,
    pub(crate) body: Bytes,
    /// How the request shows that it passed this gateway (`Via`).
    pub(crate) via: Option<&'static str>,
    /// The keys of the guards.
    pub(crate) keys: Keys,
    pub(crate) wish: Wish,
    /// When the call must be over.
    pub(crate) end_by: Time,
    /// When a drain ends all calls; `None` if the gateway does not drain.
    pub(crate) leaves_by: Option<Time>,
}

impl DurableRequest<'_> {
    /// Records the request and sends it. If its key is recorded already, answers it from the ledger instead. Returns
    /// the answer for the caller.
    pub(crate) async fn answer(mut self, underway: Underway) -> Result<Response<ReplyBody>, Problem> {
        let body = std::mem::take(&mut self.body);
        let new = self.new_action(body)?;
        let books = self.room.side.books().map_err(|why| self.unavailable(&why, false, &new.key))?;
        let key = new.key.clone();
        if asks_for_async(&self.head.headers) {
            return match books.record(new).await {
                Ok(action) if action.has_outcome() => self.replay(&books, action, underway).await,
                Ok(action) => Ok(accepted(&action, self.operation)),
                Err(error) => Err(self.refused(failed(&error), &key)),
            };
        }
        let call = DurableCall {
            operation: Arc::clone(self.operation),
            client: Arc::clone(&self.client),
            new,
            via: self.via,
            keys: self.keys.clone(),
            wish: self.wish,
            end_by: self.end_by,
            on_followed: {
                let (compiled, worker) = (Arc::clone(self.compiled), self.router.index);
                Box::new(move |ended: Counted| {
                    compiled.counters[worker].ended(ended.effect, ended.reason, ended.attempts);
                })
            },
        };
        match make(books.clone(), call).await {
            Told::Answered(answered) => Ok(self.answered(*answered, underway)),
            Told::Unanswered(unanswered) => Err(self.unanswered(*unanswered)),
            Told::Found(action) => self.replay(&books, *action, underway).await,
            Told::Guarded(guarded) => {
                let (outcome, new) = *guarded;
                match books.recorded(new).await {
                    Ok(Some(action)) => self.replay(&books, action, underway).await,
                    Ok(None) => {
                        let ends = (self.end_by, self.leaves_by);
                        Ok(reply(self.router, self.compiled, outcome, &TooLarge::default(), ends, underway))
                    }
                    Err(error) => Err(self.refused(failed(&error), &key)),
                }
            }
            told => Err(self.refused(told, &key)),
        }
    }

    /// Returns the action to record for this request, whose body is `body`. Fails if its key or its amount is missing
    /// or malformed, or if no request to the provider can be made from it.
    fn new_action(&self, body: Bytes) -> Result<NewAction, Problem> {
        let wrong = |why: String| self.problem(Reason::BadRequest, why);
        let taken = &self.operation.taken;
        let key = taken.key.of(&self.head.headers, &body).map_err(|unfilled| {
            wrong(format!(
                "this durable operation needs a key, and takes it from `{}`: {unfilled}",
                taken.key
            ))
        })?;
        let key = key.unwrap_or_else(|| ActionId::new().to_string());
        let key = match &self.caller {
            Some(caller) if self.operation.by_client => format!("{caller}:{key}"),
            Some(_) | None => key,
        };
        let mut headers = HeaderMap::new();
        for name in &taken.headers {
            for value in self.head.headers.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        let body = Vec::from(body);
        let amount = self.operation.amount.as_ref().map(|amount| amount.read(&body)).transpose();
        let amount = amount.map_err(wrong)?;
        let request =
            StoredRequest { line: Some((self.head.method.clone(), self.path.to_string())), headers, body };
        let sent = self.operation.rules.keys.sent(&self.operation.dependency, &key, 0);
        self.operation.remote.check_request(sent.as_deref().unwrap_or(&key), &request).map_err(wrong)?;
        let encoded = request.encode();
        let body_at = encoded.len() - request.body.len();
        Ok(NewAction {
            amount,
            same: Some(Same { head: request.same_head(), body_at }),
            client: self.caller.as_deref().map(str::to_owned),
            ..NewAction::new(&*self.operation.dependency, &*self.operation.name, key, encoded)
        })
    }

    /// Returns the provider's answer unchanged, with the headers that say what is known of the effect.
    fn answered(&self, answered: Answered, mut underway: Underway) -> Response<ReplyBody> {
        let counted = answered.counted();
        let Answered { answer, action, finish } = answered;
        let effect = counted.effect;
        self.count(effect, None, finish.attempts);
        underway.ended(effect);
        let mut head = answer.head;
        let kinds = Kinds::of(&head.headers);
        strip_hop(&mut head.headers, kinds);
        if kinds.ours {
            strip_ours(&mut head.headers);
        }
        put_facts(&mut head.headers, effect, finish.attempts, finish.endpoint, None);
        put_action(&mut head.headers, &action, effect);
        let body = ReplyBody::read(answer.read, answer.rest, underway);
        Response::from_parts(head, body)
    }

    /// Returns the problem that the caller gets if the provider did not answer the attempt.
    fn unanswered(&self, unanswered: Unanswered) -> Problem {
        let Unanswered { id, effect, finish, reason, detail } = unanswered;
        let reason = reason.unwrap_or(Reason::ConnectionLost);
        self.count(effect, Some(reason), finish.attempts);
        let id = id.to_string();
        let found_at = if effect == Effect::NotApplied { Where::Ended(id) } else { Where::Id(id) };
        Problem {
            effect,
            attempts: finish.attempts,
            endpoint: finish.endpoint,
            found_at: Some(Box::new(found_at)),
            ..self.problem(reason, detail.unwrap_or_default())
        }
    }

    /// Answers the request from the ledger, since its key is recorded with the same request. If the action has no
    /// outcome yet, waits for the outcome until the caller's time is over. Fails with a problem if there is no recorded
    /// answer to send, for example because the action is stuck.
    async fn replay(
        &self,
        books: &Books,
        action: Action,
        underway: Underway,
    ) -> Result<Response<ReplyBody>, Problem> {
        let action = if action.has_outcome() { action } else { self.outcome_of(books, action).await };
        let effect = effect_of(&action.state);
        let state = &action.state;
        let attempts = state.attempts();
        let problem = |reason, why: &str| {
            let found_at = Some(Box::new(Where::Id(action.id.to_string())));
            Problem { effect, attempts, found_at, ..self.problem(reason, why) }
        };
        let undone = state.goal() == Goal::Cancel || state.end() == Some(End::Cancelled);
        let answer = match (state.end(), state.known()) {
            (Some(End::Cancelled), _) => {
                let why = "the action of this key was cancelled; a new try needs a new key";
                return Err(problem(Reason::Cancelled, why));
            }
            (Some(End::Stuck), _) => {
                let why = "the action of this key is stuck, and a person must look at it";
                return Err(problem(Reason::InProgress, why));
            }
            (Some(End::Done | End::Failed), _) => state.answer(),
            (None, Known::Applied) if !undone => state.answer(),
            (None, _) if self.leaves_by.is_some() => {
                return Err(problem(
                    Reason::Draining,
                    "the gateway ends before the outcome of this key is known",
                ));
            }
            (None, _) => {
                return Err(problem(Reason::InProgress, "the action of this key is still being worked on"));
            }
        };
        let kept = answer.and_then(StoredAnswer::decode).filter(|answer| answer.of != AnswerOf::Confirm);
        let Some(kept) = kept else {
            let why = "the provider's answer to this key is not kept: it was lost, or too large";
            return Err(problem(Reason::AnswerNotKept, why));
        };
        self.count(effect, None, attempts);
        Ok(replayed(kept, &action, effect, underway))
    }

    /// Waits for an outcome of the action, until the caller's time is over. Returns the action as it was read last.
    async fn outcome_of(&self, books: &Books, action: Action) -> Action {
        let end_by = self.end_by.min(self.leaves_by.unwrap_or(Time::NEVER));
        let until = self.router.running.clock.instant(end_by);
        let most = self.router.running.compiled.load().settings.ledger.waiters;
        let stop = tokio::time::sleep_until(until);
        match self.room.waiters.wait(books, action.id, stop, most, Action::has_outcome).await {
            Read::Found(story) => story.action.clone(),
            Read::Nothing | Read::Failed(_) => action,
        }
    }

    fn refused(&self, told: Told, key: &str) -> Problem {
        match told {
            Told::NotRecorded { why, doubt } => self.unavailable(&why, doubt, key),
            Told::NotWritten(id) => {
                let why =
                    "the ledger could not write in time what became of the call; it will be written later";
                self.count(Effect::Unknown, Some(Reason::OutcomeNotRecorded), 1);
                Problem {
                    effect: Effect::Unknown,
                    attempts: 1,
                    found_at: Some(Box::new(Where::Id(id.to_string()))),
                    ..self.problem(Reason::OutcomeNotRecorded, why)
                }
            }
            Told::Refused(Refusal::KeyConflict) => {
                self.problem(Reason::KeyConflict, "this key was used before, with another request")
            }
            Told::Refused(Refusal::InProgress) => Problem {
                effect: Effect::Unknown,
                found_at: Some(Box::new(self.by_key(key))),
                ..self.problem(Reason::InProgress, "others change the action of this key at the same time")
            },
            Told::Refused(refusal) => self.unavailable(refusal.as_str(), true, key),
            Told::Wrong(why) => self.problem(Reason::BadRequest, why),
            Told::Guarded(_) | Told::Found(_) | Told::Answered(_) | Told::Unanswered(_) => {
                self.unavailable("the call ended early", true, key)
            }
        }
    }

    /// Returns the problem of a request that could not be recorded. `doubt` says whether the action may be recorded
    /// although the database did not confirm it. In that case the effect is unknown, and the problem says where the
    /// caller can ask by its key.
    fn unavailable(&self, why: &str, doubt: bool, key: &str) -> Problem {
        let effect = if doubt { Effect::Unknown } else { Effect::NotApplied };
        let found_at = doubt.then(|| Box::new(self.by_key(key)));
        let problem = self.problem(
            Reason::LedgerUnavailable,
            format!("nothing was sent: {why}. An earlier call with this key may have taken effect"),
        );
        Problem { effect, found_at, ..problem }
    }

    /// Returns the place where the caller can ask about the action of this key. The place holds the key as the caller
    /// gave it: the name of the caller, which may stand before the key in the ledger, is removed.
    fn by_key(&self, key: &str) -> Where {
        let prefix = self.caller.as_deref().filter(|_| self.operation.by_client);
        let own = prefix.and_then(|caller| key.strip_prefix(caller)?.strip_prefix(':')).unwrap_or(key);
        Where::Key { dependency: self.operation.dependency.to_string(), key: own.to_owned() }
    }

    fn count(&self, effect: Effect, reason: Option<Reason>, attempts: u32) {
        self.compiled.counters[self.router.index].ended(effect, reason, attempts);
    }

    fn problem(&self, reason: Reason, why: impl Into<String>) -> Problem {
        Problem::refused(reason, Some(&self.compiled.settings.name), why)
    }
}

/// Returns whether the caller asks for an answer before the work is done, by the header `Prefer: respond-async` (RFC
/// 7240).
fn asks_for_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    preferences.any(|one| {
        let word = one.split([';', '=']).next().unwrap_or_default();
        word.trim().eq_ignore_ascii_case("respond-async")
    })
}

/// Returns the answer to a request that is recorded and will be sent later.
fn accepted(action: &Action, operation: &DurableOperation) -> Response<ReplyBody> {
    let view =
        View { key: key_of(action, Some(operation)), rules: Some(&operation.rules), undeclared: false };
    let body = shown::action(action, view).to_string();
    let mut response = Response::new(ReplyBody::own(Bytes::from(body)));
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
    put_facts(headers, Effect::Unknown, 0, 0, None);
    put_action(headers, action, Effect::Unknown);
    response
}

/// Returns the answer that was recorded earlier.
fn replayed(
    kept: StoredAnswer,
    action: &Action,
    effect: Effect,
    mut underway: Underway,
) -> Response<ReplyBody> {
    underway.ended(effect);
    let mut body = ReplyBody::own(Bytes::from(kept.body));
    body.ends(underway);
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    *headers = kept.headers;
    put_facts(headers, effect, action.state.attempts(), 0, None);
    put_action(headers, action, effect);
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// Sets the header that holds the action's id. If the effect is unknown, also sets `Location` to the path where the
/// caller can ask about the action.
fn put_action(headers: &mut HeaderMap, action: &Action, effect: Effect) {
    let id = action.id.to_string();
    if effect == Effect::Unknown
        && let Ok(at) = HeaderValue::from_str(&format!("/-/actions/{id}"))
    {
        headers.insert(LOCATION, at);
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(ACTION, id);
    }
}
