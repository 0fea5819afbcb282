//! How to ask about an effect, and how to undo one.

use std::time::Duration;

use seawall_actions as actions;
use seawall_actions::template::{JsonTemplate, Pointer, Purpose, RequestTemplate};
use seawall_ledger::CancelKind;
use seawall_policy::{Problem, Wrong};
use serde_json::Value;

use crate::operation::When;

/// A declaration that is put together, and what could not be read of it.
#[derive(Clone, Debug)]
struct Draft<T> {
    /// None where the request could not be read.
    read: Option<T>,
    unread: Vec<Problem>,
}

impl<T> Draft<T> {
    fn by(
        request: Result<RequestTemplate, Wrong>,
        setting: &'static str,
        new: fn(RequestTemplate) -> T,
    ) -> Draft<T> {
        match request {
            Ok(request) => Draft { read: Some(new(request)), unread: Vec::new() },
            Err(wrong) => Draft { read: None, unread: vec![Problem::error(setting, wrong)] },
        }
    }

    /// Changes it by what was read of a setting.
    fn set<V>(&mut self, setting: &'static str, value: Result<V, Wrong>, change: impl FnOnce(&mut T, V)) {
        match (value, &mut self.read) {
            (Ok(value), Some(read)) => change(read, value),
            (Ok(_), None) => {}
            (Err(wrong), _) => self.unread.push(Problem::error(setting, wrong)),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut T)) -> Draft<T> {
        self.read = self.read.map(|mut read| {
            change(&mut read);
            read
        });
        self
    }
}

/// How the provider is asked what became of an action: its status API.
///
/// ```
/// use seawall::ledger::Confirm;
/// use seawall::{When, secs};
///
/// let confirm = Confirm::by("GET /v1/charges?key={key}")
///     .after(secs(2))
///     .applied(When::status(200).field("/status", ["succeeded"]))
///     .cancelled(When::status(200).field("/status", ["refunded"]))
///     .absent(When::status(404))
///     .id("/id");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Confirm(Draft<actions::Confirm>);

impl Confirm {
    /// Asks by this request: a method and a path with holes (`{key}`, `{request:/ptr}`, `{request-header:NAME}`).
    pub fn by(request: impl AsRef<str>) -> Confirm {
        let request = RequestTemplate::parse(request.as_ref(), Purpose::Confirm);
        Confirm(Draft::by(request, "confirm.request", actions::Confirm::new))
    }

    /// With a JSON body, whose strings may have holes.
    pub fn json(mut self, body: Value) -> Confirm {
        let body = JsonTemplate::parse(&body, Purpose::Confirm);
        self.0.set("confirm.json", body, |confirm, body| confirm.request.set_body(body));
        self
    }

    /// How long after an attempt's end it is first asked. Default 2 s. This is not the quiet time: an early "not found" is
    /// not believed.
    pub fn after(self, wait: Duration) -> Confirm {
        Confirm(self.0.with(|confirm| confirm.after = wait))
    }

    /// An answer that means "it took effect", never "it is on its way". Called again: any of them.
    pub fn applied(self, when: When) -> Confirm {
        Confirm(self.0.with(|confirm| confirm.applied.push(when.0)))
    }

    /// An answer that means "it was undone there": a charge that was refunded is not a paid one. Asked before `applied`.
    pub fn cancelled(self, when: When) -> Confirm {
        Confirm(self.0.with(|confirm| confirm.cancelled.push(when.0)))
    }

    /// An answer that means "there is no such thing". Believed only if it was asked after the quiet time.
    pub fn absent(self, when: When) -> Confirm {
        Confirm(self.0.with(|confirm| confirm.absent.push(when.0)))
    }

    /// How many times "absent" must be answered after the quiet time, each a quiet time after the last, before it is believed.
    /// Default 1.
    pub fn absences(self, times: u32) -> Confirm {
        Confirm(self.0.with(|confirm| confirm.absences = times))
    }

    /// Where the answer has the provider's own id: what `{answer:/…}` of a cancel stands for when the operation's own
    /// answer was lost.
    pub fn id(mut self, pointer: impl AsRef<str>) -> Confirm {
        let pointer = Pointer::parse(pointer.as_ref());
        self.0.set("confirm.id", pointer, |confirm, pointer| confirm.id = Some(pointer));
        self
    }

    /// What was read; adds what could not be.
    pub(super) fn read(self, unread: &mut Vec<Problem>) -> Option<actions::Confirm> {
        unread.extend(self.0.unread);
        self.0.read
    }
}

/// How an action is undone at the provider.
///
/// ```
/// use seawall::ledger::Cancel;
/// use seawall::{When, secs};
///
/// let cancel = Cancel::by("POST /v1/refunds")
///     .json(serde_json::json!({ "charge": "{confirm:/id}" }))
///     .sets_a_state()
///     .not_found(When::status(404));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Cancel(Draft<actions::Cancel>);

impl Cancel {
    /// Undoes by this request: a method and a path with holes (`{key}`, `{cancel_key}`, `{request:/ptr}`,
    /// `{request-header:NAME}`, `{confirm:/ptr}`, `{answer:/ptr}`).
    pub fn by(request: impl AsRef<str>) -> Cancel {
        let request = RequestTemplate::parse(request.as_ref(), Purpose::Cancel);
        Cancel(Draft::by(request, "cancel.request", actions::Cancel::new))
    }

    /// With a JSON body, whose strings may have holes.
    pub fn json(mut self, body: Value) -> Cancel {
        let body = JsonTemplate::parse(&body, Purpose::Cancel);
        self.0.set("cancel.json", body, |cancel, body| cancel.request.set_body(body));
        self
    }

    /// A second one changes nothing: cancelled stays cancelled. Without this, two refunds are taken to refund twice, and one
    /// that was not answered is not sent again before it was asked about.
    pub fn sets_a_state(self) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.kind = CancelKind::State))
    }

    /// It carries a key of its own that the provider honours, and so may be sent again under it.
    pub fn keyed(self) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.keyed = true))
    }

    /// A cancel of what is not there is remembered, for the quiet time at least, and the operation refused if it comes later.
    pub fn leaves_a_tombstone(self) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.tombstone = true))
    }

    /// How long to wait before the first. Default 0.
    pub fn after(self, wait: Duration) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.after = wait))
    }

    /// An answer that means "there is no such thing to undo". Called again: any of them.
    pub fn not_found(self, when: When) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.not_found.push(when.0)))
    }

    /// An answer that means "that is undone already". Called again: any of them.
    pub fn already(self, when: When) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.already.push(when.0)))
    }

    /// What was read; adds what could not be.
    pub(super) fn read(self, unread: &mut Vec<Problem>) -> Option<actions::Cancel> {
        unread.extend(self.0.unread);
        self.0.read
    }
}
