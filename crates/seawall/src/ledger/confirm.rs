//! How to ask about an effect, and how to undo one.

use std::time::Duration;

use seawall_ledger::CancelKind;
use seawall_policy::Predicate;
use serde_json::Value;

use crate::When;
use crate::template::{Hole, Pointer, Purpose, RequestTemplate, Wrong};

/// How the other side is asked what became of an action: its status API.
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
pub struct Confirm {
    request: String,
    json: Option<Value>,
    pub(super) after: Duration,
    pub(super) absences: u32,
    pub(super) applied: Vec<Predicate>,
    pub(super) cancelled: Vec<Predicate>,
    pub(super) absent: Vec<Predicate>,
    id: Option<String>,
}

impl Confirm {
    /// Asks by this request: a method and a path with holes (`{key}`, `{request:/ptr}`, `{request-header:NAME}`).
    pub fn by(request: impl Into<String>) -> Confirm {
        Confirm {
            request: request.into(),
            json: None,
            after: Duration::from_secs(2),
            absences: 1,
            applied: Vec::new(),
            cancelled: Vec::new(),
            absent: Vec::new(),
            id: None,
        }
    }

    /// With a JSON body, whose strings may have holes.
    pub fn json(mut self, body: Value) -> Confirm {
        self.json = Some(body);
        self
    }

    /// How long after an attempt's end it is first asked. Default 2 s. This is not the quiet time: an early "not found" is
    /// not believed.
    pub fn after(mut self, wait: Duration) -> Confirm {
        self.after = wait;
        self
    }

    /// An answer that means "it took effect", never "it is on its way". Called again: any of them.
    pub fn applied(mut self, when: When) -> Confirm {
        self.applied.push(when.0);
        self
    }

    /// An answer that means "it was undone there": a charge that was refunded is not a paid one. Asked before `applied`.
    pub fn cancelled(mut self, when: When) -> Confirm {
        self.cancelled.push(when.0);
        self
    }

    /// An answer that means "there is no such thing". Believed only if it was asked after the quiet time.
    pub fn absent(mut self, when: When) -> Confirm {
        self.absent.push(when.0);
        self
    }

    /// So many times "absent" after the quiet time, each a quiet time after the last, before it is believed. Default 1.
    pub fn absences(mut self, times: u32) -> Confirm {
        self.absences = times;
        self
    }

    /// Where the answer has the other side's own id: what `{answer:/…}` of a cancel stands for when the operation's own
    /// answer was lost.
    pub fn id(mut self, pointer: impl Into<String>) -> Confirm {
        self.id = Some(pointer.into());
        self
    }
}

/// How an action is undone on the other side.
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
pub struct Cancel {
    request: String,
    json: Option<Value>,
    pub(super) kind: CancelKind,
    pub(super) after: Duration,
    pub(super) keyed: bool,
    pub(super) tombstone: bool,
    pub(super) not_found: Vec<Predicate>,
    pub(super) already: Vec<Predicate>,
}

impl Cancel {
    /// Undoes by this request: a method and a path with holes (`{key}`, `{cancel_key}`, `{request:/ptr}`,
    /// `{request-header:NAME}`, `{confirm:/ptr}`, `{answer:/ptr}`).
    pub fn by(request: impl Into<String>) -> Cancel {
        Cancel {
            request: request.into(),
            json: None,
            kind: CancelKind::Additive,
            after: Duration::ZERO,
            keyed: false,
            tombstone: false,
            not_found: Vec::new(),
            already: Vec::new(),
        }
    }

    /// With a JSON body, whose strings may have holes.
    pub fn json(mut self, body: Value) -> Cancel {
        self.json = Some(body);
        self
    }

    /// A second one changes nothing: cancelled stays cancelled. Without this, two refunds are taken to refund twice, and one
    /// that was not answered is not sent again before it was asked about.
    pub fn sets_a_state(mut self) -> Cancel {
        self.kind = CancelKind::State;
        self
    }

    /// It carries a key of its own that the other side honours, and so may be sent again under it.
    pub fn keyed(mut self) -> Cancel {
        self.keyed = true;
        self
    }

    /// A cancel of what is not there is remembered, for the quiet time at least, and the operation refused if it comes later.
    pub fn leaves_a_tombstone(mut self) -> Cancel {
        self.tombstone = true;
        self
    }

    /// Waits before the first. Default 0.
    pub fn after(mut self, wait: Duration) -> Cancel {
        self.after = wait;
        self
    }

    /// An answer that means "there is no such thing to undo". Called again: any of them.
    pub fn not_found(mut self, when: When) -> Cancel {
        self.not_found.push(when.0);
        self
    }

    /// An answer that means "that is undone already".
    pub fn already(mut self, when: When) -> Cancel {
        self.already.push(when.0);
        self
    }
}

/// A confirm that was read.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) request: RequestTemplate,
    pub(super) applied: Vec<Predicate>,
    pub(super) cancelled: Vec<Predicate>,
    pub(super) absent: Vec<Predicate>,
    pub(super) id: Option<Pointer>,
}

impl Asking {
    pub(super) fn read(confirm: &Confirm) -> Result<Asking, Wrong> {
        Ok(Asking {
            request: request(&confirm.request, confirm.json.as_ref(), Purpose::Confirm)?,
            applied: predicates(&confirm.applied)?,
            cancelled: predicates(&confirm.cancelled)?,
            absent: predicates(&confirm.absent)?,
            id: confirm.id.as_deref().map(Pointer::parse).transpose()?,
        })
    }
}

/// A cancel that was read.
#[derive(Debug)]
pub(super) struct Undoing {
    pub(super) request: RequestTemplate,
    pub(super) keyed: bool,
    pub(super) not_found: Vec<Predicate>,
    pub(super) already: Vec<Predicate>,
}

impl Undoing {
    pub(super) fn read(cancel: &Cancel) -> Result<Undoing, Wrong> {
        Ok(Undoing {
            request: request(&cancel.request, cancel.json.as_ref(), Purpose::Cancel)?,
            keyed: cancel.keyed,
            not_found: predicates(&cancel.not_found)?,
            already: predicates(&cancel.already)?,
        })
    }

    /// Whether it can be addressed without anything that an answer had.
    pub(super) fn by_key(&self) -> bool {
        !self.request.holes().any(|hole| matches!(hole, Hole::Confirm(_) | Hole::Answer(_)))
    }

    /// Whether it is filled from the confirm's answer.
    pub(super) fn needs_confirm(&self) -> bool {
        self.request.holes().any(|hole| matches!(hole, Hole::Confirm(_)))
    }

    /// Whether it is filled from what the other side said when the action was applied.
    pub(super) fn needs_answer(&self) -> bool {
        self.request.holes().any(|hole| matches!(hole, Hole::Answer(_)))
    }
}

fn request(written: &str, json: Option<&Value>, purpose: Purpose) -> Result<RequestTemplate, Wrong> {
    let template = RequestTemplate::parse(written, purpose)?;
    match json {
        Some(body) => template.json(body, purpose),
        None => Ok(template),
    }
}

/// Pointers of predicates may be empty (the whole body), and begin with `/` otherwise.
fn predicates(all: &[Predicate]) -> Result<Vec<Predicate>, Wrong> {
    for field in all.iter().flat_map(|predicate| &predicate.fields) {
        if !field.pointer.is_empty() {
            Pointer::parse(&field.pointer)?;
        }
    }
    Ok(all.to_vec())
}
