//! Answers the callers who ask what became of an action, settle it, cancel it, or report what a webhook said: the paths
//! under `/-/actions`.
//!
//! Every answer says what is known of the action's effect. If nothing is known of the action, for example because it
//! was not found or because the request was wrong, the answer says `unknown`: a caller who reads only the header
//! `seawall-effect` must not take it for `not-applied`.

pub(crate) mod wanted;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use seawall_ledger::{Action, ActionId, AttemptKind, Error, Known, Refusal, StoreError, Story, Trouble};
use seawall_policy::{Effect, Reason};
use tokio::time::Instant;

use self::wanted::{Change, Unwanted, Wanted, Which, report};
use super::reply_body::ReplyBody;
use super::request_body::{Pace, take_whole};
use super::site::Site;
use crate::callers::exchange::Exchange;
use crate::durable::books::Books;
use crate::durable::call::effect_of;
use crate::durable::shown::{self, View};
use crate::durable::waiters::Read;
use crate::problem::message::{ACTION, put_facts};
use crate::problem::reasons::status;
use crate::problem::{Problem, Where};
use crate::running::compiled::Compiled;
use crate::running::durable::DurableOperation;

/// The maximum length of a request's body under `/-/actions`, in bytes.
const BODY_MAX: u64 = 64 << 10;
/// How long the ledger may take for a request under `/-/actions`, in addition to the time for which the caller itself
/// wants to wait.
const LEDGER_TIME: Duration = Duration::from_secs(20);

/// A caller who asks about actions.
pub(crate) struct Asking<'a> {
    pub(crate) site: &'a Site,
    pub(crate) exchange: &'a Exchange,
    pub(crate) compiled: &'a Arc<Compiled>,
    /// The dependency whose own port the caller uses. Only its actions can be seen there.
    pub(crate) own: Option<&'a str>,
    pub(crate) who: Who,
}

/// Which caller asks, and so which actions it may see.
pub(crate) enum Who {
    /// At this listener callers have no names, so each of them sees all actions.
    Anyone,
    /// A caller with this name. It sees only the actions that it has recorded. A caller whose token has no name is
    /// `None`, and sees only the actions that were recorded without a name.
    Caller(Option<Arc<str>>),
}

impl Who {
    fn name(&self) -> Option<&str> {
        match self {
            Who::Anyone => None,
            Who::Caller(name) => name.as_deref(),
        }
    }
}

/// The answer to a request that could not be carried out.
struct Refused {
    problem: Box<Problem>,
    status: StatusCode,
    /// The action, if the caller may see it.
    story: Option<Arc<Story>>,
    allow: Option<&'static str>,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        Refused { status: status(problem.reason), problem: Box::new(problem), story: None, allow: None }
    }
}

impl Asking<'_> {
    /// Carries out a request, and returns the answer. `wanted` is what the request's method and target want. Fails if
    /// the request's body cannot be read.
    pub(crate) async fn answer(
        &self,
        wanted: Result<Wanted, Unwanted>,
        head: Parts,
        body: Incoming,
    ) -> Result<Response<ReplyBody>, Problem> {
        let answered = match wanted {
            Ok(Wanted::Show { which, wait }) => {
                self.ends_in(wait.unwrap_or_default() + LEDGER_TIME);
                self.show(which, wait).await
            }
            Ok(Wanted::Change { id, how }) => {
                let body = self.take(&head, body).await?;
                self.change(id, how, &head.headers, &body).await
            }
            Err(unwanted) => Err(refused_as(unwanted)),
        };
        let response = match answered {
            Ok(story) => self.shown(&story).await,
            Err(refused) => self.refused(refused).await,
        };
        self.exchange.refused(|| self.site.router.running.clock.now());
        Ok(response)
    }

    /// Sets the deadline of this exchange: the answer must be ready within this time.
    fn ends_in(&self, within: Duration) {
        self.exchange.ends_by(self.site.router.running.clock.now().saturating_add(within));
    }

    async fn take(&self, head: &Parts, body: Incoming) -> Result<Bytes, Problem> {
        let running = &self.site.router.running;
        let header_time = self.compiled.settings.gateway.limits.header_time;
        let end_by = running.clock.now().saturating_add(LEDGER_TIME);
        self.exchange.ends_by(end_by);
        let pace = Pace::new(running.clock, header_time, end_by);
        let taken = take_whole(head.version, &head.headers, body, BODY_MAX, pace).await;
        let taken = taken.map_err(|taken| {
            let (reason, why) = taken.refusal(&format!("{BODY_MAX} bytes"));
            problem(reason, why)
        })?;
        self.ends_in(LEDGER_TIME);
        Ok(taken)
    }

    fn books(&self) -> Result<Books, Refused> {
        self.site.room.side.books().map_err(|why| {
            problem(Reason::LedgerUnavailable, format!("the ledger cannot be asked: {why}")).into()
        })
    }

    async fn show(&self, which: Which, wait: Option<Duration>) -> Result<Arc<Story>, Refused> {
        let books = self.books()?;
        let id = match which {
            Which::Id(id) => id,
            Which::Key { dependency, key } => self.find(&books, &dependency, &key).await?,
        };
        let Some(wait) = wait.filter(|wait| !wait.is_zero()) else { return self.story(&books, id).await };
        let running = &self.site.router.running;
        let until = Instant::now() + wait;
        let stop = async {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = running.until_draining() => {}
            }
        };
        // An action that the caller may not see is answered as if it did not exist. So the wait for such an action ends
        // immediately.
        let enough = |action: &Action| is_decided(action) || !self.may_see(action);
        let most = self.compiled.settings.ledger.waiters;
        let story = match self.site.room.waiters.wait(&books, id, stop, most, enough).await {
            Read::Found(story) if self.may_see(&story.action) => story,
            Read::Found(_) => return Err(not_found()),
            Read::Failed(error) => return Err(self.failed(&error, None)),
            Read::Nothing => self.story(&books, id).await?,
        };
        if running.is_draining() && !is_decided(&story.action) {
            let why = "the gateway ends before the outcome is known; ask again";
            return Err(about(problem(Reason::Draining, why), &story));
        }
        Ok(story)
    }

    /// Returns the id of the caller's action with the key that the caller gave it.
    async fn find(&self, books: &Books, dependency: &str, key: &str) -> Result<ActionId, Refused> {
        let named = self.who.name().map(|name| format!("{name}:{key}"));
        // The ledger's key is `NAME:KEY` or `KEY`, depending on a setting (`key_scope`). The setting may have been
        // changed since the action was recorded, so both keys are looked for.
        let mut keys: Vec<&str> = [named.as_deref(), Some(key)].into_iter().flatten().collect();
        let by_client = self.compiled.by_name(dependency).is_none_or(|(_, dependency)| {
            dependency.operations.durable().any(|operation| operation.by_client)
        });
        if !by_client {
            keys.reverse();
        }
        for key in keys {
            match books.find(dependency, key).await {
                Ok(action) if self.may_see(&action) => return Ok(action.id),
                Ok(_) | Err(Error::Refused(Refusal::NotFound)) => {}
                Err(error) => return Err(self.failed(&error, None)),
            }
        }
        Err(not_found())
    }

    async fn story(&self, books: &Books, id: ActionId) -> Result<Arc<Story>, Refused> {
        match books.story(id).await {
            Ok(story) if self.may_see(&story.action) => Ok(Arc::new(story)),
            Ok(_) => Err(not_found()),
            Err(error) => Err(self.failed(&error, None)),
        }
    }

    async fn change(
        &self,
        id: ActionId,
        how: Change,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Arc<Story>, Refused> {
        let reported = match how {
            Change::Settle | Change::Cancel => None,
            Change::Observe => {
                let wrong = |why: String| Refused::from(problem(Reason::BadRequest, why));
                Some(report(headers, body, self.who.name()).map_err(wrong)?)
            }
        };
        let books = self.books()?;
        let before = self.story(&books, id).await?;
        let changed = match (how, reported) {
            (Change::Settle, _) => books.settle(id).await,
            (Change::Cancel, _) => books.cancel(id).await,
            (Change::Observe, Some((what, by))) => books.observe(id, what, by).await,
            (Change::Observe, None) => return Err(not_found()),
        };
        // The action is read again, to show it with its attempts. If that fails, the answer shows the action as the
        // change has returned it.
        let after = self.story(&books, id).await.ok();
        match changed {
            Ok(action) => Ok(after.unwrap_or_else(|| Arc::new(Story { action, ..Story::clone(&before) }))),
            Err(error) => Err(self.failed(&error, Some(after.unwrap_or(before)))),
        }
    }

    /// Returns whether the caller may see the action. If it may not, the caller gets the same answer as if the action
    /// did not exist.
    fn may_see(&self, action: &Action) -> bool {
        let here = self.own.is_none_or(|own| own == action.dependency);
        let its = match &self.who {
            Who::Anyone => true,
            Who::Caller(name) => name.as_deref() == action.client.as_deref(),
        };
        here && its
    }

    /// Returns the refusal to send to the caller when the ledger fails with this error. `story` is the action of the
    /// request; `None` if it was not read.
    fn failed(&self, error: &Error, story: Option<Arc<Story>>) -> Refused {
        let (reason, why) = match error {
            Error::Refused(refusal) => in_words(*refusal),
            Error::Misused(misuse) => {
                (Reason::LedgerUnavailable, format!("this gateway cannot do that: {misuse}"))
            }
            Error::Store(error) => (Reason::LedgerUnavailable, away(error)),
            other => (Reason::LedgerUnavailable, other.to_string()),
        };
        let told = problem(reason, why);
        match story {
            Some(story) => about(told, &story),
            None => told.into(),
        }
    }

    /// Returns the answer that shows an action.
    async fn shown(&self, story: &Story) -> Response<ReplyBody> {
        let action = &story.action;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        put_facts(&mut headers, effect_of(&action.state), sent(story), 0, None);
        headers.extend(HeaderValue::try_from(action.id.to_string()).ok().map(|id| (ACTION, id)));
        written(StatusCode::OK, headers, self.facts(story).await.to_string())
    }

    async fn refused(&self, refused: Refused) -> Response<ReplyBody> {
        let Refused { problem, status, story, allow } = refused;
        if problem.reason == Reason::LedgerUnavailable {
            self.site.router.running.refusals.note(&problem);
        }
        let (mut headers, mut facts) = problem.facts(status);
        if let Some(story) = story {
            facts["recorded"] = self.facts(&story).await;
        }
        headers.extend(allow.map(|allow| (ALLOW, HeaderValue::from_static(allow))));
        written(status, headers, facts.to_string())
    }

    async fn facts(&self, story: &Story) -> serde_json::Value {
        let action = &story.action;
        let operation = self.operation(action);
        let side = &self.site.room.side;
        let undeclared = match (operation, action.state.end(), side.books()) {
            (None, None, Ok(books)) => {
                side.is_undeclared(&books, &action.dependency, &action.operation).await
            }
            _ => false,
        };
        let rules = operation.map(|operation| &operation.rules);
        shown::story(story, View { key: key_of(action, operation), rules, undeclared })
    }

    fn operation(&self, action: &Action) -> Option<&DurableOperation> {
        let (_, dependency) = self.compiled.by_name(&action.dependency)?;
        let mut durable = dependency.operations.durable();
        durable.find(|operation| *operation.name == *action.operation).map(Arc::as_ref)
    }
}

/// Returns the key that the caller gave an action: the recorded key without the caller's name.
pub(crate) fn key_of<'a>(action: &'a Action, operation: Option<&DurableOperation>) -> &'a str {
    let client = action.client.as_deref().filter(|_| operation.is_none_or(|operation| operation.by_client));
    let own = client.and_then(|client| action.key.strip_prefix(client)?.strip_prefix(':'));
    own.unwrap_or(&action.key)
}

/// Returns whether a caller who waits has nothing more to wait for: the effect is known, or the action has ended.
fn is_decided(action: &Action) -> bool {
    let is_known = match action.state.known() {
        Known::Applied | Known::NotApplied(_) => true,
        Known::Never | Known::Unknown => false,
    };
    is_known || action.state.end().is_some()
}

/// Returns the reason and the text that a caller gets for the ledger's refusal.
fn in_words(refusal: Refusal) -> (Reason, String) {
    let (reason, why) = match refusal {
        Refusal::NotFound => (Reason::NotFound, NOT_FOUND),
        Refusal::TooLate => (
            Reason::TooLate,
            "the action is being cancelled or was cancelled, so it cannot be settled any more",
        ),
        Refusal::Settled => (Reason::Settled, "the action is settled, so it cannot be cancelled any more"),
        Refusal::NotKnown => (
            Reason::NotKnown,
            "it is not known yet whether the action took effect, so it cannot be settled yet",
        ),
        Refusal::Failed => {
            (Reason::Failed, "the action did not take effect and never will, so it cannot be settled")
        }
        Refusal::NeedsNewer => {
            (Reason::LedgerUnavailable, "only a newer version of the gateway can change this action")
        }
        Refusal::InProgress => (
            Reason::LedgerUnavailable,
            "others change the action at the same time, so this change was not made",
        ),
        other => return (Reason::LedgerUnavailable, format!("the ledger refused: {other}")),
    };
    (reason, why.to_owned())
}

const NOT_FOUND: &str = "there is no such action";

/// Returns the text that a caller gets for an error of the database.
fn away(error: &StoreError) -> String {
    match error.trouble() {
        Trouble::Away => {
            format!("{error}; if this was a change, it may have been made, and asking again does no harm")
        }
        _ => error.to_string(),
    }
}

/// Returns the problem of a request about an action of which nothing is known.
fn problem(reason: Reason, why: impl Into<String>) -> Problem {
    let retry_after = (reason == Reason::LedgerUnavailable).then_some(Duration::from_secs(1));
    Problem { effect: Effect::Unknown, retry_after, ..Problem::refused(reason, None, why) }
}

fn not_found() -> Refused {
    problem(Reason::NotFound, NOT_FOUND).into()
}

/// Returns a refusal with this problem and with what is known of the action: its effect, the number of its attempts,
/// its dependency, and where the caller can ask about it. The caller must be allowed to see the action.
fn about(problem: Problem, story: &Arc<Story>) -> Refused {
    let action = &story.action;
    let problem = Problem {
        effect: effect_of(&action.state),
        attempts: sent(story),
        dependency: Some(action.dependency.clone()),
        found_at: Some(Box::new(Where::Id(action.id.to_string()))),
        ..problem
    };
    Refused { story: Some(Arc::clone(story)), ..problem.into() }
}

fn refused_as(unwanted: Unwanted) -> Refused {
    match unwanted {
        Unwanted::Action => not_found(),
        Unwanted::Path => {
            let why = format!("there are {}, and no other paths below them", wanted::PATHS.join(", "));
            problem(Reason::UnknownDependency, why).into()
        }
        Unwanted::Method(allow) => {
            let why = format!("this path takes only {allow}");
            let status = StatusCode::METHOD_NOT_ALLOWED;
            Refused { status, allow: Some(allow), ..problem(Reason::BadRequest, why).into() }
        }
        Unwanted::Wrong(why) => problem(Reason::BadRequest, why).into(),
    }
}

/// Returns an answer with this body. The answer tells caches not to keep it, since the next answer may differ.
fn written(status: StatusCode, mut headers: HeaderMap, body: String) -> Response<ReplyBody> {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut response = Response::new(ReplyBody::own(Bytes::from(body)));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

/// Returns the number of attempts to perform an action, those that were not sent included.
fn sent(story: &Story) -> u32 {
    let sent = story.attempts.iter().filter(|line| line.kind == AttemptKind::Perform);
    u32::try_from(sent.count()).unwrap_or(u32::MAX)
}
