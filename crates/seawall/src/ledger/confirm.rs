//! The declarations [`Confirm`] and [`Cancel`]: how to ask the provider about an effect, and how to undo an effect.

use std::time::Duration;

use seawall_actions as actions;
use seawall_actions::template::{Pointer, Purpose, RequestTemplate};
use seawall_ledger::{CancelKind, Window};
use seawall_policy::{Problem, Wrong};
use serde_json::Value;

use super::draft::{Draft, form, header, json};
use crate::operation::When;

/// Declares how to ask the provider what became of an action, by the provider's status API.
///
/// ```
/// use seawall::ledger::Confirm;
/// use seawall::{When, secs};
///
/// let confirm = Confirm::by("GET /v1/charges?key={key}")
///     .after(secs(2))
///     .applied(When::status(200).field("/status", ["succeeded"]))
///     .cancelled(When::status(200).field("/status", ["refunded"]))
///     .absent(When::status(404).field("/code", ["NO_CHARGE"]))
///     .id("/id");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Confirm(Draft<actions::Confirm>);

impl Confirm {
    /// Makes the declaration from the request that asks about an action: a method and a path, which may contain the
    /// holes `{key}`, `{request:/ptr}`, `{request-header:NAME}` and `{sent:FORMAT@ZONE}`. The last one is the time of
    /// the first send: `{sent:%Y%m%d@Asia/Seoul}` gives `20261130`.
    pub fn by(request: impl AsRef<str>) -> Confirm {
        let request = RequestTemplate::parse(request.as_ref(), Purpose::Confirm);
        Confirm(Draft::by(request, "confirm.request", actions::Confirm::new))
    }

    /// Gives the request a header whose value may contain holes. If the filled value is not allowed in a header, the
    /// request is not sent. If the endpoint has a header of the same name, the endpoint's value is sent. Do not use
    /// this for credentials: put them on the endpoint.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Confirm {
        let header = header(name.as_ref(), value.as_ref(), Purpose::Confirm);
        self.0.put("confirm.headers", header, |confirm| &mut confirm.request, RequestTemplate::add_header);
        self
    }

    /// Gives the request a JSON body. Its strings may contain holes. A request has a JSON body or a form, but not both.
    pub fn json(mut self, body: Value) -> Confirm {
        self.0.put(
            "confirm.json",
            json(&body, Purpose::Confirm),
            |confirm| &mut confirm.request,
            RequestTemplate::set_body,
        );
        self
    }

    /// Gives the request a body of `application/x-www-form-urlencoded` with these fields, in this order. The values may
    /// contain holes. A request has a JSON body or a form, but not both.
    pub fn form<N: AsRef<str>, V: AsRef<str>>(mut self, fields: impl IntoIterator<Item = (N, V)>) -> Confirm {
        let body = form(fields, Purpose::Confirm);
        self.0.put("confirm.form", body, |confirm| &mut confirm.request, RequestTemplate::set_body);
        self
    }

    /// Sets how long after the end of an attempt the provider is first asked. Default 2 s. This wait may be shorter
    /// than the quiet time, but an answer "not found" is not believed before the quiet time is over.
    pub fn after(self, wait: Duration) -> Confirm {
        Confirm(self.0.with(|confirm| confirm.after = wait))
    }

    /// Declares an answer that means "it took effect", not "it is on its way". If `applied` is called several times,
    /// all answers that it declares have this meaning.
    pub fn applied(self, when: When) -> Confirm {
        Confirm(self.0.with(|confirm| confirm.applied.push(when.0)))
    }

    /// Declares an answer that means "it was undone at the provider", such as a charge that was refunded. These answers
    /// are checked first.
    pub fn cancelled(self, when: When) -> Confirm {
        Confirm(self.0.with(|confirm| confirm.cancelled.push(when.0)))
    }

    /// Declares an answer that means "a part of it was undone", such as a charge with a partial refund. After such an
    /// answer, the effect counts as applied. These answers are checked after those of `cancelled` and before those of
    /// `applied`.
    ///
    /// A cancel can undo the rest if its template takes the amount from this answer, as in `{confirm:/remaining}`. The
    /// provider is asked directly before each cancel with such a template.
    pub fn partly(self, when: When) -> Confirm {
        Confirm(self.0.with(|confirm| confirm.partly.push(when.0)))
    }

    /// Declares an answer that means "there is no such thing". It is believed only if the question was sent after the
    /// quiet time.
    ///
    /// If `when` has no condition on a field, a load balancer's page with the same status fits it too. So a second such
    /// answer is needed, one quiet time later. See [`absences`](Self::absences).
    pub fn absent(self, when: When) -> Confirm {
        Confirm(self.0.with(|confirm| confirm.absent.push(when.0)))
    }

    /// Sets how many times the provider must answer "absent" before that answer is believed. Only answers after the
    /// quiet time count, and they must be at least one quiet time apart. Default 1 if each answer that is declared with
    /// `absent` has a condition on a field, else 2.
    pub fn absences(self, times: u32) -> Confirm {
        Confirm(self.0.with(|confirm| confirm.absences = Some(times)))
    }

    /// Sets the JSON pointer to the provider's own id in the answer to this question. If the answer to the operation
    /// itself was lost, this id fills the hole `{answer:/…}` of a cancel. Default: none.
    pub fn id(mut self, pointer: impl AsRef<str>) -> Confirm {
        let pointer = Pointer::parse(pointer.as_ref());
        self.0.set("confirm.id", pointer, |confirm, pointer| confirm.id = Some(pointer));
        self
    }

    /// Sets how long after the first send the provider can be asked about an action. Default: for ever. An answer "not
    /// found" that comes later proves nothing. So an action whose effect is then still unknown waits for a person.
    pub fn until(self, time: Duration) -> Confirm {
        Confirm(self.0.with(|confirm| confirm.until = Some(Window::For(time))))
    }

    /// Sets the last day on which the provider can be asked about an action, counted from the day of the first send in
    /// the provider's zone: `same-day Asia/Seoul`, `next-day Asia/Seoul` or `3-days Asia/Seoul`. This replaces
    /// [`until`](Self::until).
    pub fn until_day(mut self, day: impl AsRef<str>) -> Confirm {
        self.0.set("confirm.until", day_of(day.as_ref()), |confirm, window| confirm.until = Some(window));
        self
    }

    /// Returns the declaration, or `None` if its request could not be read. The problems are added to `unread`.
    pub(super) fn read(self, unread: &mut Vec<Problem>) -> Option<actions::Confirm> {
        unread.extend(self.0.unread);
        self.0.read
    }
}

/// Declares how an action is undone at the provider.
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
    /// Makes the declaration from the request that undoes an action: a method and a path, which may contain holes. In
    /// addition to the holes of [`Confirm::by`] these are `{cancel_key}`, the key of this cancel; `{confirm:/ptr}`, a
    /// field of the answer to the confirm; and `{answer:/ptr}`, a field of the answer to the operation itself.
    pub fn by(request: impl AsRef<str>) -> Cancel {
        let request = RequestTemplate::parse(request.as_ref(), Purpose::Cancel);
        Cancel(Draft::by(request, "cancel.request", actions::Cancel::new))
    }

    /// Gives the request a header whose value may contain holes. If the filled value is not allowed in a header, the
    /// request is not sent. If the endpoint has a header of the same name, the endpoint's value is sent. Do not use
    /// this for credentials: put them on the endpoint.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Cancel {
        let header = header(name.as_ref(), value.as_ref(), Purpose::Cancel);
        self.0.put("cancel.headers", header, |cancel| &mut cancel.request, RequestTemplate::add_header);
        self
    }

    /// Gives the request a JSON body. Its strings may contain holes. A request has a JSON body or a form, but not both.
    pub fn json(mut self, body: Value) -> Cancel {
        self.0.put(
            "cancel.json",
            json(&body, Purpose::Cancel),
            |cancel| &mut cancel.request,
            RequestTemplate::set_body,
        );
        self
    }

    /// Gives the request a body of `application/x-www-form-urlencoded` with these fields, in this order. The values may
    /// contain holes. A request has a JSON body or a form, but not both.
    pub fn form<N: AsRef<str>, V: AsRef<str>>(mut self, fields: impl IntoIterator<Item = (N, V)>) -> Cancel {
        let body = form(fields, Purpose::Cancel);
        self.0.put("cancel.form", body, |cancel| &mut cancel.request, RequestTemplate::set_body);
        self
    }

    /// Says that a second cancel changes nothing, because "cancelled" is a state. Without this setting, each cancel
    /// counts as a new effect, since two refunds would pay twice. If the answer of such a cancel was lost, the provider
    /// is asked about it before the cancel is sent again.
    pub fn sets_a_state(self) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.kind = CancelKind::State))
    }

    /// Says that the cancel carries a key of its own and that the provider does the work only once for each key. So the
    /// cancel may be sent again with this key.
    pub fn keyed(self) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.keyed = true))
    }

    /// Says that a cancel leaves a "tombstone" at the provider: if the cancelled operation arrives only later, the
    /// provider refuses it. So the ledger sends the cancel without waiting until the effect is known. The provider must
    /// remember such a cancel at least for the quiet time.
    pub fn leaves_a_tombstone(self) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.tombstone = true))
    }

    /// Sets how long to wait before the first cancel. Default 0.
    pub fn after(self, wait: Duration) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.after = wait))
    }

    /// Declares an answer that means "it is undone now". Call this or [`refused`](Self::refused) if the provider may
    /// say "no" inside a 200.
    ///
    /// If neither of the two is called, every answer with a 2xx that matches no declared answer means that the action
    /// is undone. If one of them is called, it is unknown after such an answer whether the action was undone.
    ///
    /// The declared answers are checked in the order `done`, `already`, `not_found`, `refused`, `never`. If one of
    /// these methods is called several times, all answers that it declares have the same meaning.
    pub fn done(self, when: When) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.done.push(when.0)))
    }

    /// Declares an answer that means "it is undone already".
    pub fn already(self, when: When) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.already.push(when.0)))
    }

    /// Declares an answer that means "there is no such thing to undo".
    pub fn not_found(self, when: When) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.not_found.push(when.0)))
    }

    /// Declares an answer that means "not undone now, but perhaps later". The cancel is then sent again under a new
    /// key. Under the old key, a provider that saves its answers would only send this answer again. After the maximum
    /// number of cancels the action is stuck.
    pub fn refused(self, when: When) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.refused.push(when.0)))
    }

    /// Declares an answer that means "this cannot be undone". The action is then stuck until a person decides.
    pub fn never(self, when: When) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.never.push(when.0)))
    }

    /// Sets how long after the first send of an action the provider takes a cancel of it. After that time, an action
    /// that has to be undone is left to a person. Default: for ever.
    pub fn until(self, time: Duration) -> Cancel {
        Cancel(self.0.with(|cancel| cancel.until = Some(Window::For(time))))
    }

    /// Sets the last day on which the provider takes a cancel, counted from the day of the first send of the action in
    /// the provider's zone: `same-day Asia/Seoul`, `next-day Asia/Seoul` or `3-days Asia/Seoul`. This replaces
    /// [`until`](Self::until).
    pub fn until_day(mut self, day: impl AsRef<str>) -> Cancel {
        self.0.set("cancel.until", day_of(day.as_ref()), |cancel, window| cancel.until = Some(window));
        self
    }

    /// Returns the declaration, or `None` if its request could not be read. The problems are added to `unread`.
    pub(super) fn read(self, unread: &mut Vec<Problem>) -> Option<actions::Cancel> {
        unread.extend(self.0.unread);
        self.0.read
    }
}

/// Returns a day of the provider's calendar, read from a text such as `same-day Asia/Seoul`. A length of time is an
/// error here, since it is declared with `until`.
fn day_of(written: &str) -> Result<Window, Wrong> {
    let no_length =
        |_: &str| Err(Wrong::new("this is not a day").help("a length of time is declared with `until`"));
    Window::parse(written, no_length)
}
