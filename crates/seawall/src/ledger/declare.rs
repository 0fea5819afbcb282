//! An operation whose effect must not be lost or doubled: everything that is declared of it, checked at once.
//!
//! A cancel that cannot be filled in is found out in the night in which it is needed. So what may be needed is judged when
//! the program starts: with the answer at hand, with the answer lost, and with nothing known.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use seawall_ledger::{CancelRules, ConfirmRules, Limits, OnUnknown, Rules, SettleBy};
use seawall_policy::{Backoff, Idempotency};

use super::confirm::{Asking, Cancel, Confirm, Undoing};
use super::fillable;
use super::remote::HttpRemote;
use crate::template::{NOT_STORED, Purpose, RequestTemplate};
use crate::{Misuse, Operation};

/// An operation that is recorded before it is sent: its rules, and how the other side is reached. Clones are the same one.
#[derive(Clone)]
pub struct Durable {
    pub(super) remote: Arc<HttpRemote>,
    pub(super) rules: Rules,
}

impl std::fmt::Debug for Durable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Durable")
            .field("dependency", &self.dependency())
            .field("operation", &self.operation())
            .finish_non_exhaustive()
    }
}

impl Durable {
    /// The dependency's name, as it stands in the ledger.
    #[must_use]
    pub fn dependency(&self) -> &str {
        self.remote.operation.dependency.name()
    }

    /// The operation's name, as it stands in the ledger.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.remote.operation.name()
    }

    /// The other side, as the ledger reaches it: one request for each question, no repeats.
    #[must_use]
    pub fn remote(&self) -> Arc<dyn seawall_ledger::Remote> {
        Arc::clone(&self.remote) as _
    }

    /// What the ledger's machine knows of it.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

/// Declares a [`Durable`]. Had by [`Operation::durable`]; the defaults are the cautious ones.
#[derive(Clone, Debug)]
#[must_use = "`build` makes it"]
pub struct DurableBuilder {
    operation: Operation,
    request: String,
    headers: Vec<(String, String)>,
    key_header: Option<String>,
    confirm: Option<Confirm>,
    cancel: Option<Cancel>,
    on_unknown: Option<OnUnknown>,
    rules: Rules,
}

/// What the other side reads the key from.
const KEY_HEADER: &str = "idempotency-key";

impl Operation {
    /// An operation that is recorded in a ledger before it is sent, by this request: a method and a path, which may have
    /// holes (`{key}`, `{request:/ptr}`).
    pub fn durable(&self, request: impl Into<String>) -> DurableBuilder {
        let idempotency = self.declared.site.plan.rules.idempotency;
        let mut rules = Rules::of(idempotency);
        rules.attempt = self.declared.site.plan.timeouts.total.unwrap_or(Duration::MAX);
        DurableBuilder {
            operation: self.clone(),
            request: request.into(),
            headers: Vec::new(),
            key_header: (idempotency == Idempotency::Keyed).then(|| KEY_HEADER.to_owned()),
            confirm: None,
            cancel: None,
            on_unknown: None,
            rules,
        }
    }
}

impl DurableBuilder {
    /// A header that goes out with it and is recorded. Credentials are the endpoint's, never recorded.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> DurableBuilder {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The header that carries the action's key. Default: `Idempotency-Key` where the operation is keyed, none otherwise.
    pub fn key_header(mut self, name: impl Into<String>) -> DurableBuilder {
        self.key_header = Some(name.into());
        self
    }

    /// How to ask what became of it.
    pub fn confirm(mut self, confirm: Confirm) -> DurableBuilder {
        self.confirm = Some(confirm);
        self
    }

    /// How to undo it.
    pub fn cancel(mut self, cancel: Cancel) -> DurableBuilder {
        self.cancel = Some(cancel);
        self
    }

    /// What to do when nobody knows. Default: repeat where it is keyed or idempotent, else confirm where declared, else hold.
    pub fn on_unknown(mut self, what: OnUnknown) -> DurableBuilder {
        self.on_unknown = Some(what);
        self
    }

    /// The application settles it in a transaction of its own, within this time of the record; else it is cancelled.
    /// Without this the answer settles it.
    pub fn settle_within(mut self, time: Duration) -> DurableBuilder {
        self.rules.settle = SettleBy::Explicit(time);
        self
    }

    /// How long what was provably not sent is tried again. Default 10 min.
    pub fn give_up(mut self, time: Duration) -> DurableBuilder {
        self.rules.give_up = time;
        self
    }

    /// After the last possible send: how long until "not found" is believed. Default 2 min.
    pub fn quiet(mut self, time: Duration) -> DurableBuilder {
        self.rules.quiet = time;
        self
    }

    /// How long the other side remembers a key. Default 24 h.
    pub fn key_lifetime(mut self, time: Duration) -> DurableBuilder {
        self.rules.key_lifetime = time;
        self
    }

    /// Statuses of a "no" that prove that the key was looked up, so that it speaks for earlier attempts as well.
    pub fn refusal_binds(mut self, statuses: impl IntoIterator<Item = u16>) -> DurableBuilder {
        self.rules.refusal_binds.extend(statuses);
        self
    }

    /// The other side saves refusals under the key, too.
    pub fn saves_refusals(mut self) -> DurableBuilder {
        self.rules.saves_refusals = true;
        self
    }

    /// What is believed absent is sent again, although the other side knows no keys.
    pub fn resend_absent(mut self) -> DurableBuilder {
        self.rules.resend_absent = true;
        self
    }

    /// How long after an end by absence it is asked once more. Default 24 h.
    pub fn audit_after(mut self, time: Duration) -> DurableBuilder {
        self.rules.audit_after = time;
        self
    }

    /// How often each thing is tried before a person is asked: performs, cancels, questions. Default 5, 20 and 50.
    pub fn attempts(mut self, perform: u32, cancel: u32, confirm: u32) -> DurableBuilder {
        self.rules.limits = Limits { perform, cancel, confirm };
        self
    }

    /// How long a claim on an action lasts; longer than the operation's total timeout. Default 2 min.
    pub fn lease(mut self, time: Duration) -> DurableBuilder {
        self.rules.lease = time;
        self
    }

    /// The longest that a sent request may be on its way. Default 5 s.
    pub fn network(mut self, time: Duration) -> DurableBuilder {
        self.rules.network = time;
        self
    }

    /// The longest that a process may stand still between a check and the send behind it. Default 5 s.
    pub fn pause(mut self, time: Duration) -> DurableBuilder {
        self.rules.pause = time;
        self
    }

    /// Between tries of any kind: drawn from zero to a bound that doubles from `base` to `cap`. Default 1 s and 60 s.
    pub fn backoff(mut self, base: Duration, cap: Duration) -> DurableBuilder {
        self.rules.backoff = Backoff { base, cap };
        self
    }

    /// Checks everything, and makes it.
    ///
    /// # Errors
    /// What contradicts itself or could not be filled in when it is needed, all at once.
    pub fn build(self) -> Result<Durable, Misuse> {
        let mut problems = Vec::new();
        let at = format!("operation {}: ", self.operation.name());
        let mut note = |problem: String| problems.push(format!("{at}{problem}"));
        let request = RequestTemplate::parse(&self.request, Purpose::Perform);
        let request = request.map_err(|wrong| note(format!("request: {wrong}"))).ok();
        let asking = self.confirm.as_ref().and_then(|confirm| {
            Asking::read(confirm).map_err(|wrong| note(format!("confirm: {wrong}"))).ok()
        });
        let undoing = self
            .cancel
            .as_ref()
            .and_then(|cancel| Undoing::read(cancel).map_err(|wrong| note(format!("cancel: {wrong}"))).ok());
        let headers = self.recorded_headers(&mut note);
        let key_header = self.key_header.as_ref().and_then(|name| {
            name.parse::<HeaderName>().map_err(|_| note(format!("key_header: `{name}` is no header"))).ok()
        });
        let rules = self.completed(undoing.as_ref());
        means(&rules, &mut note);
        times(&rules, &mut note);
        if let Some(undoing) = &undoing {
            fillable::check(&rules, asking.as_ref(), undoing, &mut note);
        }
        if self.confirm.as_ref().is_some_and(|confirm| confirm.applied.is_empty()) {
            note(
                "confirm: nothing would mean \"it took effect\"; say which answers do with `applied`".into(),
            );
        }
        if self.operation.dependency.0.lines.is_none() {
            note("the dependency has no endpoint, so there is nowhere to send it".to_owned());
        }
        if let Some(misuse) = Misuse::of(problems) {
            return Err(misuse);
        }
        let request = request.expect("a wrong one was noted, and returned above");
        let remote = HttpRemote::new(self.operation, request, headers, key_header, asking, undoing);
        Ok(Durable { remote: Arc::new(remote), rules })
    }

    fn completed(&self, undoing: Option<&Undoing>) -> Rules {
        let mut rules = self.rules.clone();
        rules.confirm = self
            .confirm
            .as_ref()
            .map(|confirm| ConfirmRules { after: confirm.after, absences: confirm.absences.max(1) });
        rules.cancel = self.cancel.as_ref().map(|cancel| CancelRules {
            kind: cancel.kind,
            keyed: cancel.keyed,
            tombstone: cancel.tombstone,
            by_key: undoing.is_some_and(Undoing::by_key),
            after: cancel.after,
        });
        rules.on_unknown = self.on_unknown.unwrap_or(match rules.idempotency {
            Idempotency::Keyed | Idempotency::Idempotent | Idempotency::Safe => OnUnknown::Repeat,
            Idempotency::None if rules.confirm.is_some() => OnUnknown::Confirm,
            Idempotency::None => OnUnknown::Hold,
        });
        rules
    }

    fn recorded_headers(&self, note: &mut impl FnMut(String)) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in &self.headers {
            match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
                (Ok(name), _) if NOT_STORED.contains(&name.as_str()) => {
                    note(format!(
                        "header: `{name}` carries credentials, which are never stored; give it to the endpoint"
                    ));
                }
                (Ok(name), Ok(value)) if value.to_str().is_ok() => {
                    headers.insert(name, value);
                }
                (Ok(_), _) => note(format!("header: the value of `{name}` is not ASCII text")),
                (Err(_), _) => note(format!("header: `{name}` is no header")),
            }
        }
        headers
    }
}

/// What an action may come to need must be declared.
fn means(rules: &Rules, note: &mut impl FnMut(String)) {
    match (rules.on_unknown, rules.idempotency) {
        (_, Idempotency::Safe) => {
            note("a `safe` operation has no effect that could be lost or doubled; it needs no ledger".into());
        }
        (OnUnknown::Confirm, _) if rules.confirm.is_none() => {
            note("on_unknown: to confirm, `confirm` must say how to ask".to_owned());
        }
        (OnUnknown::Cancel, _) if rules.cancel.is_none() => {
            note("on_unknown: to cancel, `cancel` must say how to undo it".to_owned());
        }
        (OnUnknown::Repeat, Idempotency::None) => note(
            "on_unknown: a repeat could take effect twice; declare it keyed or idempotent if the other side honours that, \
             else confirm, cancel or hold"
                .to_owned(),
        ),
        (OnUnknown::Repeat | OnUnknown::Confirm | OnUnknown::Cancel | OnUnknown::Hold, _) => {}
    }
    if matches!(rules.settle, SettleBy::Explicit(_)) && rules.cancel.is_none() {
        note("settle_within: what is not settled in time is cancelled, so `cancel` must say how".to_owned());
    }
    if rules.limits.perform == 0 || rules.limits.cancel == 0 || rules.limits.confirm == 0 {
        note("attempts: each must be at least 1".to_owned());
    }
}

/// Times that must fit into each other.
fn times(rules: &Rules, note: &mut impl FnMut(String)) {
    let total = rules.attempt;
    if total == Duration::MAX {
        note("a total timeout is needed: an attempt must end before its lease does".to_owned());
        return;
    }
    if rules.lease <= total {
        note(format!("lease ({:?}) must be longer than the total timeout ({total:?})", rules.lease));
    }
    let travel = rules.network.saturating_add(rules.pause);
    let resend = total.saturating_add(travel);
    if rules.idempotency == Idempotency::Keyed && rules.key_lifetime <= resend {
        note(format!(
            "key_lifetime ({:?}): total timeout, `network` and `pause` ({resend:?} in all) must fit into it",
            rules.key_lifetime
        ));
    }
    if rules.quiet < travel && (rules.confirm.is_some() || rules.cancel.is_some()) {
        note(format!(
            "quiet ({:?}) is shorter than `network` and `pause` together ({travel:?}): \"not found\" would be believed \
             while the request may still arrive",
            rules.quiet
        ));
    }
    if let SettleBy::Explicit(within) = rules.settle
        && within < total
    {
        note(format!(
            "settle_within ({within:?}) leaves no room for an attempt of up to {total:?}; nothing would be sent"
        ));
    }
}
