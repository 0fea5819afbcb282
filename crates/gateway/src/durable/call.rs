//! Makes a durable call for a caller that waits.
//!
//! The order of the steps ensures that the caller, the ledger and the provider do not contradict each other:
//!
//! 1. The guards are asked. What they refuse leaves no record.
//! 2. The action and its first attempt are recorded in one commit. The first byte leaves after it.
//! 3. The answer is read, and what it means is written. Only after that commit does the caller get a byte of it.
//!    Otherwise a caller could see "paid", while this process dies and another one finds the effect unknown.
//!
//! All of this runs in a task of its own, so it goes on when the caller leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use seawall_actions::{Judged, LiveAnswer};
use seawall_client::{CallRequest, Dependency, Outcome};
use seawall_ledger::{Action, ActionId, End, Error, Known, NewAction, Performed, Refusal, Report, State};
use seawall_policy::{Effect, Finish, Keys, Reason, Time, Wish};
use tokio::sync::oneshot;

use super::books::{Begun, Books, Started};
use crate::running::durable::DurableOperation;

/// How long after the call's deadline a caller still waits for the commit of the outcome. An answer that comes
/// immediately before the deadline must still be written.
const LAST_COMMIT: Duration = Duration::from_millis(500);

/// A durable call.
pub(crate) struct DurableCall {
    pub(crate) operation: Arc<DurableOperation>,
    /// The connections of this worker to the dependency.
    pub(crate) client: Arc<Dependency>,
    /// The action to record.
    pub(crate) new: NewAction,
    /// How the request shows that it passed this gateway (`Via`).
    pub(crate) via: Option<&'static str>,
    /// The keys of the guards.
    pub(crate) keys: Keys,
    /// What the caller wants of the call.
    pub(crate) wish: Wish,
    /// When the call must be over.
    pub(crate) end_by: Time,
    /// Called with what is to be counted of the call, if it ended after its caller had left.
    pub(crate) on_followed: OnFollowed,
}

/// A function that counts a call which ended after its caller had left.
pub(crate) type OnFollowed = Box<dyn FnOnce(Counted) + Send>;

/// What is counted of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) effect: Effect,
    pub(crate) reason: Option<Reason>,
    pub(crate) attempts: u32,
}

/// What the caller is told of a durable call.
pub(crate) enum Told {
    /// The guards refused, and nothing is recorded of this call. The values are the outcome that the guards decided,
    /// and the action that was to be recorded.
    Guarded(Box<(Outcome, NewAction)>),
    /// The key is recorded with this request already. The value is the existing action.
    Found(Box<Action>),
    /// The provider has answered, and what that means is committed.
    Answered(Box<Answered>),
    /// The provider has not answered. If nothing was sent, the ledger has already committed that.
    Unanswered(Box<Unanswered>),
    /// The provider has answered, but the ledger could not write it in time. It will be written later.
    NotWritten(ActionId),
    /// The ledger could not record the action, or has not done so in time. `doubt` says whether the action may be
    /// recorded nevertheless.
    NotRecorded { why: String, doubt: bool },
    /// The ledger refused the action.
    Refused(Refusal),
    /// The action could never be recorded, for example because it is too large. The text says why.
    Wrong(String),
}

impl Told {
    /// Returns what is counted of a call whose attempt was made; `None` if no attempt was made.
    fn counted(&self) -> Option<Counted> {
        match self {
            Told::Answered(answered) => Some(answered.counted()),
            Told::Unanswered(unanswered) => Some(Counted {
                effect: unanswered.effect,
                reason: Some(unanswered.reason.unwrap_or(Reason::ConnectionLost)),
                attempts: unanswered.finish.attempts,
            }),
            Told::NotWritten(_) => Some(Counted {
                effect: Effect::Unknown,
                reason: Some(Reason::OutcomeNotRecorded),
                attempts: 1,
            }),
            Told::Guarded(_)
            | Told::Found(_)
            | Told::NotRecorded { .. }
            | Told::Refused(_)
            | Told::Wrong(_) => None,
        }
    }
}

/// An answer of the provider.
pub(crate) struct Answered {
    pub(crate) answer: LiveAnswer,
    pub(crate) action: Action,
    pub(crate) finish: Finish,
}

impl Answered {
    pub(crate) fn counted(&self) -> Counted {
        Counted { effect: effect_of(&self.action.state), reason: None, attempts: self.finish.attempts }
    }
}

/// An attempt to which the provider did not answer.
pub(crate) struct Unanswered {
    pub(crate) id: ActionId,
    pub(crate) effect: Effect,
    pub(crate) finish: Finish,
    pub(crate) reason: Option<Reason>,
    pub(crate) detail: Option<String>,
}

/// How far a call has come. If the caller's deadline passes before the call is over, this stage decides what the caller
/// is told.
enum Stage {
    /// The action is being recorded.
    Recording,
    /// The action is recorded, and its attempt is under way.
    Sending(ActionId),
    /// The provider has answered.
    Judged(ActionId),
    /// The caller's time was over, and the caller was told that the outcome will be written later.
    Told(ActionId),
    /// The caller's time was over while the action was being recorded, so nothing may be sent.
    Left,
}

/// The result of recording the action with its first attempt.
enum Recorded {
    Started(Started),
    Found(Box<Action>),
    Failed(Error),
    /// The action was recorded, but its attempt was not sent, and the ledger has written that. The text says why it was
    /// not sent.
    Closed(String),
}

/// Makes the call, and returns what its caller is told. Returns at most [`LAST_COMMIT`] after `end_by`, even if the
/// call is not over then.
pub(crate) async fn make(books: Books, call: DurableCall) -> Told {
    let stage = Arc::new(Mutex::new(Stage::Recording));
    let patience = call.client.clock().instant(call.end_by.saturating_add(LAST_COMMIT));
    let (tell, mut told) = oneshot::channel();
    tokio::spawn(carry_out(books, call, Arc::clone(&stage), tell));
    // `told` lives until this function returns. So the call learns that its caller has left only if the caller was not
    // answered by `left`.
    match tokio::time::timeout_at(patience, &mut told).await {
        Ok(Ok(told)) => told,
        Ok(Err(_)) | Err(_) => left(&stage),
    }
}

/// Notes that the caller waits no longer, although the call is still under way. Returns what the caller is told.
fn left(stage: &Mutex<Stage>) -> Told {
    let mut stage = stage.lock();
    match *stage {
        Stage::Sending(id) | Stage::Judged(id) | Stage::Told(id) => {
            *stage = Stage::Told(id);
            Told::NotWritten(id)
        }
        Stage::Recording | Stage::Left => {
            *stage = Stage::Left;
            let why = "it was not recorded while its caller waited".to_owned();
            Told::NotRecorded { why, doubt: true }
        }
    }
}

async fn carry_out(books: Books, call: DurableCall, stage: Arc<Mutex<Stage>>, tell: oneshot::Sender<Told>) {
    let DurableCall { operation, client, new, via, keys, wish, end_by: _, on_followed } = call;
    let (mut unrecorded, mut recorded) = (Some(new), None);
    let record = async {
        let (begun, request) = record(&books, &operation, unrecorded.take()?, &stage).await;
        recorded = Some(begun);
        request.map(|request| CallRequest { via, ..request })
    };
    let outcome = client.call_prepared(operation.remote.perform_plan(), keys, wish, record).await;
    // Sending fails if the caller has left. Then nobody has to be told.
    let tell = |told| {
        let Err(told) = tell.send(told) else { return };
        let was_told = matches!(*stage.lock(), Stage::Told(_) | Stage::Left);
        if let (Some(counted), false) = (Told::counted(&told), was_told) {
            on_followed(counted);
        }
    };
    match (outcome, recorded, unrecorded) {
        (Some(outcome), Some(Recorded::Started(started)), _) => {
            let id = started.action().id;
            let reason = outcome.reason();
            let judged = operation.remote.judge(outcome, client.clock()).await;
            if judged.answer.is_some() {
                let mut stage = stage.lock();
                if matches!(*stage, Stage::Sending(_)) {
                    *stage = Stage::Judged(id);
                }
            }
            conclude(started, judged, reason, tell).await;
        }
        (Some(outcome), None, Some(new)) => tell(Told::Guarded(Box::new((outcome, new)))),
        (None, Some(Recorded::Found(action)), _) => tell(Told::Found(action)),
        (None, Some(Recorded::Closed(why)), _) => tell(Told::NotRecorded { why, doubt: false }),
        (None, Some(Recorded::Failed(error)), _) => tell(failed(&error)),
        (None, Some(Recorded::Started(_)) | None, _) | (Some(_), _, _) => {
            tell(Told::NotRecorded { why: "the call ended early".to_owned(), doubt: true })
        }
    }
}

/// Records the action with its first attempt. Returns the result, and the request to send; `None` in place of the
/// request if it must not be sent.
async fn record(
    books: &Books,
    operation: &DurableOperation,
    new: NewAction,
    stage: &Mutex<Stage>,
) -> (Recorded, Option<CallRequest>) {
    let started = match books.start(new).await {
        Ok(Begun::Started(started)) => started,
        Ok(Begun::Found(action)) => return (Recorded::Found(action), None),
        Err(error) => return (Recorded::Failed(error), None),
    };
    let has_left = {
        let mut stage = stage.lock();
        let has_left = matches!(*stage, Stage::Left);
        if !has_left {
            *stage = Stage::Sending(started.action().id);
        }
        has_left
    };
    let late = started.deadline() <= Instant::now();
    let request = match operation.remote.request_of(started.action()) {
        Ok(request) if !has_left && !late => request,
        Ok(_) => return (closed(started, "its caller had left before it was recorded").await, None),
        Err(why) => return (closed(started, &why).await, None),
    };
    (Recorded::Started(started), Some(request))
}

/// Writes that a recorded attempt was not sent, which ends its action.
async fn closed(started: Started, why: &str) -> Recorded {
    match started.ended(Performed::NotSent, said(why)).await {
        Ok(_) => Recorded::Closed(why.to_owned()),
        Err(error) => Recorded::Failed(error),
    }
}

/// Writes the outcome of the attempt, and tells the caller. If the attempt has no answer and its effect is unknown, the
/// caller is told before the commit, because the effect stays unknown, whatever the ledger writes.
async fn conclude(started: Started, judged: Judged, reason: Option<Reason>, tell: impl FnOnce(Told)) {
    let id = started.action().id;
    let Judged { performed, report, finish, ending: _, detail, answer } = judged;
    let unsent = matches!(performed, Performed::NotSent);
    match answer.filter(|answer| !answer.broken) {
        None => {
            let unanswered =
                |effect| Told::Unanswered(Box::new(Unanswered { id, effect, finish, reason, detail }));
            if !unsent {
                tell(unanswered(Effect::Unknown));
                // The ledger logs an error, and writes the outcome when its database is back.
                let _ = started.ended(performed, report).await;
                return;
            }
            match started.ended(performed, report).await {
                Ok(action) => tell(unanswered(effect_of(&action.state))),
                Err(_) => tell(Told::NotWritten(id)),
            }
        }
        Some(answer) => match started.ended(performed, report).await {
            Ok(action) => tell(Told::Answered(Box::new(Answered { answer, action, finish }))),
            Err(_) => tell(Told::NotWritten(id)),
        },
    }
}

fn said(why: &str) -> Report {
    Report { status: None, detail: Some(why.to_owned()), retry_after: None }
}

/// Returns what a caller is told if the ledger fails with this error before anything was sent.
pub(crate) fn failed(error: &Error) -> Told {
    match error {
        Error::Refused(refusal) => Told::Refused(*refusal),
        Error::Misused(misuse) => Told::Wrong(misuse.to_string()),
        Error::Store(error) => Told::NotRecorded { why: error.to_string(), doubt: error.in_doubt() },
        other => Told::NotRecorded { why: other.to_string(), doubt: true },
    }
}

/// Returns what is known of the effect of an action. While an action has not ended, the result is never `NotApplied`,
/// because a caller takes `not-applied` as final.
pub(crate) fn effect_of(state: &State) -> Effect {
    match (state.known(), state.end()) {
        (Known::Applied, _) => Effect::Applied,
        (Known::NotApplied(_), Some(_)) => Effect::NotApplied,
        (Known::Never, Some(End::Failed | End::Cancelled)) => Effect::NotApplied,
        (Known::NotApplied(_) | Known::Never | Known::Unknown, _) => Effect::Unknown,
    }
}
