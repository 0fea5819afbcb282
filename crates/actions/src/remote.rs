//! Sends the ledger's requests to a provider over HTTP.
//!
//! Each request of the ledger is one attempt, since the ledger itself decides about repeats. The request goes to the
//! first endpoint only. A second endpoint may be another provider, and a charge that may have happened at the first
//! must never be sent to the second. Credentials are the endpoint's headers, which the client adds when it sends. The
//! client checks the deadline directly before it sends the first byte. If a request is not answered by the deadline,
//! the client resets it.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderValue, Method};
use seawall_client::{CallRequest, Clock, Outcome};
use seawall_ledger::store::Boxed;
use seawall_ledger::{Action, Delivery, Found, Naming, Performed, Remote, Report, Undone};
use seawall_policy::{Effect, Ending, Finish, Idempotency, Plan, Said, Timeouts, Wish};

use crate::answer::LiveAnswer;
use crate::declared::{Cancel, Confirm};
use crate::exchange::{Connections, Exchanged, OUTSIDE, Outgoing, detail, exchange, until};
use crate::filling::{Filling, Foreseen};
use crate::sent::{KEY_HEADER, Sent};
use crate::stored::{AnswerOf, StoredAnswer, StoredRequest};
use crate::template::{Filled, Hole};

/// The default of [`HttpRemote::answer_max`], in bytes.
const ANSWER_BYTES: usize = 128 << 10;

/// One operation of one dependency, as the ledger reaches it.
pub struct HttpRemote {
    connections: Connections,
    sent: Sent,
    asking: Option<Confirm>,
    undoing: Option<Cancel>,
    perform: Arc<Plan>,
    confirm: Arc<Plan>,
    cancel: Arc<Plan>,
    answer_max: usize,
}

/// How a call that performed an action ended, and what the ledger is told about it.
#[derive(Debug)]
pub struct Judged {
    /// What the ledger is told. If the body of the answer broke off, this can be "unknown" although `finish` says that
    /// the action took effect.
    pub performed: Performed,
    /// Further details for the ledger: the status, what went wrong, and for how long the provider wants no further
    /// requests.
    pub report: Report,
    /// The end of the call, as the call machine reported it.
    pub finish: Finish,
    /// How the attempt ended; `None` if the call was refused.
    pub ending: Option<Ending>,
    /// What went wrong in the attempt, in words; `None` if nothing did. It contains no secrets.
    pub detail: Option<String>,
    /// The provider's answer; `None` if there is none.
    pub answer: Option<LiveAnswer>,
}

/// The meanings that a declaration can give to an answer to a confirm, which asks what became of an action.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    Cancelled,
    Partly,
    Applied,
    Absent,
}

/// The text that the attempt log shows if the provider was asked about an action and said that a part of its effect was
/// undone.
const PARTLY: &str = "partly cancelled";

impl HttpRemote {
    /// Returns a remote for an operation. `declared` is the operation's plan, and the remote uses a copy of it for each
    /// kind of request. `asking` says how the provider is asked what became of an action. With `None`, the provider
    /// cannot be asked. `undoing` says how an action is undone. With `None`, an action cannot be undone.
    #[must_use]
    pub fn new(
        connections: Connections,
        declared: &Plan,
        sent: Sent,
        asking: Option<Confirm>,
        undoing: Option<Cancel>,
    ) -> HttpRemote {
        // The client makes one attempt at one endpoint, since the ledger itself decides about repeats. The total
        // timeout is removed, since the ledger sets a deadline for each request.
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
        HttpRemote { connections, sent, asking, undoing, perform, confirm, cancel, answer_max: ANSWER_BYTES }
    }

    /// Sets the maximum length of an answer's body that is read and recorded, in bytes. Default 128 KiB. Of a longer
    /// answer nothing is recorded, and its fields can neither decide a predicate nor fill a hole. The ledger has a
    /// maximum of its own for what is recorded of an answer ([`Sizes::answer`](seawall_ledger::Sizes::answer)). That
    /// maximum must be at least `bytes` plus [`StoredAnswer::HEAD_BYTES`].
    #[must_use]
    pub fn answer_max(self, bytes: usize) -> HttpRemote {
        HttpRemote { answer_max: bytes, ..self }
    }

    /// Returns the plan of one attempt: one request to the first endpoint. It has no total timeout, so the [`Wish`]
    /// must name a deadline.
    #[must_use]
    pub fn perform_plan(&self) -> &Arc<Plan> {
        &self.perform
    }

    /// Returns the request of an action's attempt, for a caller that sends it with [`HttpRemote::perform_plan`]. It is
    /// the recorded request, with the action's key in the declared header.
    ///
    /// # Errors
    /// If the request cannot be sent. The text says why:
    ///
    /// - The record has no request line, and there is no template for it.
    /// - A hole of the template has no value.
    /// - The target is no path.
    /// - The key cannot be the value of a header.
    pub fn request_of(&self, action: &Action) -> Result<CallRequest, String> {
        let stored = StoredRequest::decode(&action.request);
        let (method, target) = match &stored.line {
            Some(line) if !self.is_renamed(action) => line.clone(),
            Some(_) | None => self.line(&Filling::of_request(action.sent_key(), &stored))?,
        };
        let mut headers = stored.headers;
        if let Some(name) = &self.sent.key_header {
            headers.insert(name.clone(), key_value(action.sent_key())?);
        }
        let body = (!stored.body.is_empty()).then_some(stored.body);
        Outgoing { method, target, headers, body }.into_call()
    }

    /// Judges how a call of [`HttpRemote::perform_plan`] ended. Reads the body of its answer until the end, or until it
    /// is longer than [`HttpRemote::answer_max`]. `clock` is the clock of the connections.
    ///
    /// If the body broke, an answer that says "applied" counts as unknown, because a cancel may need what was in the
    /// body. If the body is too long, nothing of the answer is recorded. Its effect is still known, unless the part
    /// that was not read could decide it.
    pub async fn judge(&self, outcome: Outcome, clock: Clock) -> Judged {
        let (finish, ending, detail) = (outcome.finish, outcome.ending, outcome.detail.clone());
        let sent = Exchanged::of(&self.perform, outcome, clock, self.answer_max).await;
        let performed = self.performed(&sent);
        Judged { performed, report: sent.report, finish, ending, detail, answer: sent.answer }
    }

    /// Returns the bytes that are recorded for an action with this key and this request body. The whole request is
    /// recorded, so that a later version of the program sends the same request. `key` is the key under which the action
    /// is to be sent: see [`KeyRules::sent`](seawall_ledger::KeyRules::sent), with the salt 0. If another action is
    /// sent under that key already, the ledger chooses another one later.
    ///
    /// # Errors
    /// If the operation has no template. Also if a hole needs a value from the key, the body or the recorded headers,
    /// and this value is missing or cannot be sent in the hole's place. The operation, its confirm and its cancel are
    /// all checked, because such a hole could not be filled later either.
    pub fn record(&self, key: &str, body: Vec<u8>) -> Result<Vec<u8>, String> {
        let request = StoredRequest { line: None, headers: self.sent.headers.clone(), body };
        let filling = Filling::of_request(key, &request);
        let line = self.line(&filling)?;
        self.check_later(&filling)?;
        Ok(StoredRequest { line: Some(line), ..request }.encode())
    }

    /// Checks that the requests which may follow the action can be filled: its confirm and its cancel. Only the holes
    /// that are filled from the action's key or from this recorded request are checked. The other holes, such as
    /// `{answer:/id}`, have no values yet. `key` is as for [`HttpRemote::record`].
    ///
    /// # Errors
    /// If a hole needs a value that is missing, or that cannot be sent in the hole's place.
    pub fn check_request(&self, key: &str, request: &StoredRequest) -> Result<(), String> {
        self.check_later(&Filling::of_request(key, request))
    }

    fn check_later(&self, filling: &Filling<'_>) -> Result<(), String> {
        let later = self.asking.iter().map(|asking| &asking.request);
        let later = later.chain(self.undoing.iter().map(|undoing| &undoing.request));
        for request in later {
            request.fill(&Foreseen(filling)).map_err(|unfilled| format!("{unfilled}, now or later"))?;
        }
        Ok(())
    }

    /// Returns whether the recorded request line has to be filled again, because it contains a key under which the
    /// action is no longer sent. That happens if the recorded key turned out to belong to another action. The action
    /// is then sent under a new, mapped key.
    fn is_renamed(&self, action: &Action) -> bool {
        let salted = !matches!(action.naming, Naming::Open | Naming::FirstRelease | Naming::Salted(0));
        let names_key =
            self.sent.request.as_ref().is_some_and(|request| request.holes().any(|hole| *hole == Hole::Key));
        salted && names_key
    }

    /// Fills the template of the operation's request, and returns the method and the target of the request. An action
    /// is usually recorded with its method and target. If only a body was recorded, the method and the target are
    /// filled when the action is sent. Fails if there is no template, or if a hole has no value.
    fn line(&self, filling: &Filling<'_>) -> Result<(Method, String), String> {
        let request = self.sent.request.as_ref().ok_or("nothing says where a body alone goes")?;
        let filled = request.fill(filling).map_err(|unfilled| unfilled.to_string())?;
        Ok((filled.method, filled.target))
    }

    async fn perform_once(&self, delivery: Delivery<'_>) -> (Performed, Report) {
        let request = match self.request_of(delivery.action) {
            Ok(request) => request,
            Err(why) => return (Performed::NotSent, detail(why)),
        };
        let Some(client) = (self.connections)() else { return (Performed::NotSent, detail(OUTSIDE)) };
        let clock = client.clock();
        let outcome = client.call(&self.perform, request, wish(clock, delivery.deadline)).await;
        let judged = self.judge(outcome, clock).await;
        (judged.performed, judged.report)
    }

    /// Returns what the ledger is told of a request that performs an action.
    fn performed(&self, sent: &Exchanged) -> Performed {
        let duplicate = sent.told([((), &self.perform.rules.answers.duplicate[..])]) == Said::Matched(());
        match sent.effect {
            _ if duplicate => Performed::Duplicate,
            // The cancel may have holes that are filled from this answer. So if the answer's body broke, the effect
            // counts as unknown, although the status says that the action took effect.
            Effect::Applied if sent.is_partial() => Performed::Unknown,
            Effect::Applied => Performed::Yes(sent.kept(AnswerOf::Reply)),
            Effect::NotApplied if sent.unprocessed => Performed::NotSent,
            Effect::NotApplied => Performed::No(sent.kept(AnswerOf::Refusal)),
            Effect::Unknown => Performed::Unknown,
        }
    }

    async fn ask(&self, action: &Action, deadline: Instant) -> (Found, Report) {
        let Some(asking) = &self.asking else { return (Found::NotSent, detail("there is no confirm")) };
        let stored = StoredRequest::decode(&action.request);
        let filled = match asking.request.fill(&Filling::of_confirm(action, &stored)) {
            Ok(filled) => filled,
            Err(unfilled) => return (Found::NotSent, detail(unfilled)),
        };
        let answer = self.exchange_filled(&self.confirm, filled, None, deadline).await;
        judge_confirm(asking, answer)
    }

    async fn undo(&self, delivery: Delivery<'_>) -> (Undone, Report) {
        let Some(undoing) = &self.undoing else { return (Undone::NotSent, detail("there is no cancel")) };
        let action = delivery.action;
        let known = action.state.answer().and_then(StoredAnswer::decode);
        let stored = StoredRequest::decode(&action.request);
        let cancel_key = action.cancel_key();
        let id = self.asking.as_ref().and_then(|asking| asking.id.as_ref());
        let filling = Filling::of_cancel(action, &cancel_key, &stored, known.as_ref(), id);
        let filled = match undoing.request.fill(&filling) {
            Ok(filled) => filled,
            Err(unfilled) => return (Undone::NotSent, detail(unfilled)),
        };
        let key = undoing.keyed.then_some(cancel_key.as_str());
        let answer = self.exchange_filled(&self.cancel, filled, key, delivery.deadline).await;
        (judge_cancel(undoing, &answer), answer.report)
    }

    async fn exchange_filled(
        &self,
        plan: &Arc<Plan>,
        filled: Filled,
        key: Option<&str>,
        deadline: Instant,
    ) -> Exchanged {
        let mut outgoing = Outgoing::from(filled);
        if let Some(key) = key {
            let name = self.sent.key_header.clone().unwrap_or(KEY_HEADER);
            match key_value(key) {
                Ok(value) => outgoing.headers.insert(name, value),
                Err(why) => return Exchanged::unsent(why),
            };
        }
        self.exchange(plan, outgoing, deadline).await
    }

    async fn exchange(&self, plan: &Arc<Plan>, outgoing: Outgoing, deadline: Instant) -> Exchanged {
        exchange(&self.connections, plan, outgoing, |clock| wish(clock, deadline), self.answer_max).await
    }
}

/// Returns the wish for a request of the ledger: it must be over at `deadline`, and the client does not repeat it.
fn wish(clock: Clock, deadline: Instant) -> Wish {
    Wish { by: Some(until(clock, deadline)), no_repeats: true, ..Wish::default() }
}

/// Returns a key as the value of a header.
///
/// # Errors
/// If the key has characters that no header can have.
fn key_value(key: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(key).map_err(|_| "the key is no header's value".to_owned())
}

/// Returns what the answer to a confirm says about the action.
fn judge_confirm(asking: &Confirm, answer: Exchanged) -> (Found, Report) {
    let declared = [
        (Told::Cancelled, &asking.cancelled[..]),
        (Told::Partly, &asking.partly),
        (Told::Applied, &asking.applied),
        (Told::Absent, &asking.absent),
    ];
    match answer.told(declared) {
        Said::Nothing if answer.unprocessed => (Found::NotSent, answer.report),
        // There is no answer, or its body broke. The cancel may have holes that are filled from the body. So the status
        // alone is not enough to say what was found.
        _ if answer.is_partial() => (Found::Other, answer.report),
        Said::Matched(Told::Cancelled) => (Found::Cancelled, answer.report),
        Said::Matched(Told::Partly) => {
            let found = Found::Applied(answer.kept(AnswerOf::Confirm));
            (found, Report { detail: Some(PARTLY.to_owned()), ..answer.report })
        }
        Said::Matched(Told::Applied) => (Found::Applied(answer.kept(AnswerOf::Confirm)), answer.report),
        Said::Matched(Told::Absent) => (Found::Absent, answer.report),
        Said::Contradicted | Said::Undecided | Said::Nothing => (Found::Other, answer.report),
    }
}

/// Returns what the answer to a cancel says.
fn judge_cancel(undoing: &Cancel, answer: &Exchanged) -> Undone {
    let declared = [
        (Undone::Yes, &undoing.done[..]),
        (Undone::Yes, &undoing.already),
        (Undone::NoSuch, &undoing.not_found),
        (Undone::Refused, &undoing.refused),
        (Undone::Never, &undoing.never),
    ];
    match answer.told(declared) {
        Said::Matched(undone) => return undone,
        // The part of the body that could not be read may say "there is no such thing". So the result is unknown, even
        // if the status says that the cancel succeeded.
        Said::Contradicted | Said::Undecided => return Undone::Unknown,
        Said::Nothing => {}
    }
    match answer.effect {
        Effect::NotApplied if answer.unprocessed => Undone::NotSent,
        Effect::Applied if !undoing.declares_done() => Undone::Yes,
        // No declared predicate matches this answer, so it is not known what the answer means. If the answer is a
        // refusal, a later cancel may still be accepted.
        Effect::Applied | Effect::NotApplied | Effect::Unknown => Undone::Unknown,
    }
}

impl Remote for HttpRemote {
    fn perform<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Performed, Report)> {
        Box::pin(self.perform_once(delivery))
    }

    fn confirm<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Found, Report)> {
        Box::pin(self.ask(delivery.action, delivery.deadline))
    }

    fn cancel<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Undone, Report)> {
        Box::pin(self.undo(delivery))
    }

    fn served_milli(&self) -> Option<u64> {
        (self.connections)()?.shared().with(|guards| guards.served_milli())
    }
}
