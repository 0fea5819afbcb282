//! Decides what an answer means, by the predicates that its operation declares.
//!
//! An operation may declare predicates. A predicate is a condition on the status and the JSON body of an answer; the
//! first predicate that matches decides. The obvious rule, the status alone, is wrong for many payment APIs: they
//! answer 200 and say in a result code that the card was declined. This module does not parse bodies. The driver says
//! what it knows of the body ([`KnownBody`]), and passes a function that returns the value at a JSON pointer.
//!
//! # A body that cannot be read
//!
//! If a body cannot be read, the rules below say whether the effect is known. The obvious rule would be that such a
//! body matches no predicate, so that the status decides. But an HTML page of a load balancer, a text in another
//! charset, and half of a JSON text all come with a 200, and none of them says that the card was charged. By the
//! obvious rule, an order that was not paid would count as paid.
//!
//! 1. A predicate with fields needs the body. If its status matches, but the body is unread or is no JSON, nobody knows
//!    whether the predicate matches: it is *undecided*. There is one exception. A predicate with fields but without a
//!    status would apply to every answer. So it does not match an answer that is neither a success (2xx) nor JSON. Thus
//!    a plain 404 keeps its declared meaning.
//! 2. A later predicate without fields may match. If its meaning is that of every undecided predicate before it, this
//!    is the meaning of the answer, because the fields would have made no difference. If the meanings differ, the
//!    effect is unknown.
//! 3. Otherwise, if a predicate is undecided and the body was not read (too long, or compressed), the effect is
//!    unknown, whatever the status is. The result code that would decide is in a body that nobody has read.
//! 4. Otherwise, if a predicate is undecided and the body is no JSON, the status decides:
//!    - A success (2xx) leaves the effect unknown, unless the operation declares [`Answers::otherwise`]. An API that
//!      answers a plain `OK` if the work was done, and uses JSON only to say no, declares [`Otherwise::Applied`].
//!    - Every other status keeps its usual meaning: an HTML page with a 400 still means "not applied", and an HTML page
//!      with a 502 still leaves the effect unknown. But if the undecided predicate is one of [`Answers::duplicate`],
//!      the effect is unknown: the body may say that an earlier request with the key arrived.
//! 5. A 204 and the answer to a HEAD have no body by definition, so nothing is unread: a predicate with fields does not
//!    match them.
//!
//! # A body that was read and matches no predicate
//!
//! If the body was read and no predicate matches, the status decides, as for an operation that declares no predicates.
//! One danger remains: the provider may introduce a result code that no predicate names, such as `"code": "REVIEW"`. It
//! comes with a 200 and counts as applied. An operation that must be safe from this declares which answers count as
//! applied, and sets [`Otherwise::Unknown`] for every other success. `Otherwise` never applies to a status other than
//! 2xx. Nor does it apply to a 202 if the operation declares a confirm, which is a request that asks the provider later
//! whether the work was done ([`crate::Rules::declared`]).
//!
//! ```
//! use seawall_policy::{Answers, Effect, Field, KnownBody, Otherwise, Predicate, Scalar};
//!
//! let paid = Field { pointer: "/status".into(), any_of: vec![Scalar::Text("paid".into())] };
//! let answers = Answers {
//!     applied: vec![Predicate { statuses: vec![200], fields: vec![paid] }],
//!     otherwise: Some(Otherwise::Unknown),
//!     ..Answers::default()
//! };
//! let says = |status: &'static str| {
//!     KnownBody::Json(move |_: &str| Some(Scalar::Text(status.into())))
//! };
//! assert_eq!(answers.judge(200, &says("paid")), Some(Effect::Applied));
//! assert_eq!(answers.judge(200, &says("in review")), Some(Effect::Unknown));
//! assert_eq!(answers.judge(404, &says("in review")), None, "the status decides");
//! ```

use crate::effect::Effect;

/// 204: an answer that has no body by definition (RFC 9110, section 15.3.5), so its body cannot be missing.
const NO_CONTENT: u16 = 204;

/// A JSON scalar that predicates can compare.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without a fraction that fits in 64 bits.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
}

/// A condition on one field of the JSON body: the field must have one of the values in `any_of`.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// A JSON pointer (RFC 6901), as in `/error/code`.
    pub pointer: String,
    /// The values that match. With an empty list, no value matches.
    pub any_of: Vec<Scalar>,
}

/// A condition on an answer: its status is one of `statuses`, and all `fields` match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predicate {
    /// The statuses that match. An empty list matches every status.
    pub statuses: Vec<u16>,
    /// The conditions on fields of the JSON body. All of them must match; an empty list matches every body.
    pub fields: Vec<Field>,
}

impl Predicate {
    /// Returns whether an answer fulfils the predicate. `look_up` returns the scalar at a JSON pointer of the body.
    fn matches(&self, status: u16, look_up: impl Fn(&str) -> Option<Scalar>) -> bool {
        self.matches_status(status)
            && self
                .fields
                .iter()
                .all(|field| look_up(&field.pointer).is_some_and(|found| field.any_of.contains(&found)))
    }

    fn matches_status(&self, status: u16) -> bool {
        self.statuses.is_empty() || self.statuses.contains(&status)
    }
}

/// What the driver knows of an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownBody<F> {
    /// The body was not read as a whole: it is longer than the driver reads, or compressed, or the connection broke.
    Unread,
    /// The body was read whole, and is no JSON. An empty body is no JSON either.
    NotJson,
    /// The answer has no body, because it answers a HEAD request. Its head may nevertheless announce the length of a
    /// body.
    Absent,
    /// The body was read whole and is JSON. The function finds the scalar at a JSON pointer.
    Json(F),
}

impl KnownBody<fn(&str) -> Option<Scalar>> {
    /// The value [`KnownBody::Unread`] for code that has no function to look up fields. Without this constant, such
    /// code would have to name a type for that function.
    pub const UNREAD: Self = KnownBody::Unread;
    /// The body of the answer to a HEAD.
    pub const ABSENT: Self = KnownBody::Absent;
}

/// What a list of predicates says about one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<M> {
    /// This is the meaning of the first predicate that matches.
    Matched(M),
    /// A predicate without fields matches. But a predicate before it has another meaning and could not be checked,
    /// because the body is unread or no JSON. So the effect is unknown.
    Contradicted,
    /// No predicate matches, and at least one could not be checked, because the body is unread or no JSON.
    Undecided,
    /// No predicate matches.
    Nothing,
}

fn is_success(status: u16) -> bool {
    (200..=299).contains(&status)
}

/// Returns what the predicates say of the answer. The first predicate that matches decides. A predicate with fields is
/// undecided if its status matches and the body is unread or no JSON (rules 1 and 2 of the module's documentation).
pub fn first_match<'a, M: Copy + PartialEq>(
    in_order: impl IntoIterator<Item = (M, &'a Predicate)>,
    status: u16,
    body: &KnownBody<impl Fn(&str) -> Option<Scalar>>,
) -> Said<M> {
    // The predicates so far that could not be checked. `None`: there are none. `Some(Some(meaning))`: all of them have
    // this meaning. `Some(None)`: their meanings differ.
    let mut undecided: Option<Option<M>> = None;
    for (meaning, predicate) in in_order {
        if !predicate.matches_status(status) {
            continue;
        }
        match body {
            _ if predicate.fields.is_empty() => {
                return match undecided {
                    Some(other) if other != Some(meaning) => Said::Contradicted,
                    _ => Said::Matched(meaning),
                };
            }
            // There is no body, so it has no fields: the predicate does not match.
            _ if status == NO_CONTENT => {}
            KnownBody::Absent => {}
            KnownBody::Json(look_up) if predicate.matches(status, look_up) => return Said::Matched(meaning),
            KnownBody::Json(_) => {}
            // This predicate names no status, so it does not match an answer that is neither a success nor JSON (rule 1
            // of the module's documentation).
            KnownBody::NotJson if predicate.statuses.is_empty() && !is_success(status) => {}
            KnownBody::Unread | KnownBody::NotJson => {
                undecided = match undecided {
                    Some(other) if other != Some(meaning) => Some(None),
                    _ => Some(Some(meaning)),
                };
            }
        }
    }
    if undecided.is_some() { Said::Undecided } else { Said::Nothing }
}

/// What a success (2xx) means if no predicate matches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Otherwise {
    /// A success that no predicate matches counts as applied, even if its body is no JSON. There is one exception: if a
    /// predicate could not be checked because the body was not read, the effect is unknown.
    Applied,
    /// The effect of a success that no predicate matches is unknown. So a success counts as applied only if a predicate
    /// in `applied` matches it.
    Unknown,
}

impl Otherwise {
    /// Returns the word used in the configuration: `applied` or `unknown`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Otherwise::Applied => "applied",
            Otherwise::Unknown => "unknown",
        }
    }

    fn effect(self) -> Effect {
        match self {
            Otherwise::Applied => Effect::Applied,
            Otherwise::Unknown => Effect::Unknown,
        }
    }
}

/// The declared meanings of an operation's answers. The predicates are asked in this order: all of `duplicate`, all of
/// `applied`, all of `not_applied`, all of `unknown`. Within each list they are asked as declared. The first match
/// decides, so a predicate that matches every answer belongs in the last list, `unknown`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// Answers that mean "I have this key already". They prove that an earlier request with the key arrived, and say
    /// nothing of its effect. So the effect is unknown, and never "not applied", whatever the status says.
    pub duplicate: Vec<Predicate>,
    /// Answers that mean "it took effect".
    pub applied: Vec<Predicate>,
    /// Answers that mean "it did not take effect".
    pub not_applied: Vec<Predicate>,
    /// Answers that leave the effect unknown.
    pub unknown: Vec<Predicate>,
    /// What a success (2xx) means if no predicate matches it. With `None` the status decides. There is one exception:
    /// if a predicate could not be checked because the body is no JSON, the effect is unknown.
    pub otherwise: Option<Otherwise>,
}

impl Answers {
    /// Returns whether the body is needed to judge an answer with this status. It is needed if the first predicate that
    /// fits the status has conditions on fields of the body. If that predicate has none, it matches whatever the body
    /// says. The body of a 204 is never needed, since a 204 has none.
    #[must_use]
    pub fn need_body(&self, status: u16) -> bool {
        let asked = self.in_order().find(|(_, predicate)| predicate.matches_status(status));
        status != NO_CONTENT && asked.is_some_and(|(_, first)| !first.fields.is_empty())
    }

    /// Returns whether the body of any answer can be needed: at least one predicate has conditions on fields of the
    /// body.
    #[must_use]
    pub fn read_bodies(&self) -> bool {
        self.in_order().any(|(_, predicate)| !predicate.fields.is_empty())
    }

    /// Returns what the declared predicates and `otherwise` say of the answer; `None` if the answer's status decides.
    ///
    /// If the operation may have a confirm (a request that asks the provider later whether the work was done), call
    /// [`crate::Rules::declared`] instead. With a confirm, a 202 only promises the work, but this function would use
    /// `otherwise` for the 202, too.
    pub fn judge(&self, status: u16, body: &KnownBody<impl Fn(&str) -> Option<Scalar>>) -> Option<Effect> {
        let success = is_success(status);
        let otherwise = self.otherwise.filter(|_| success).map(Otherwise::effect);
        match (self.said(status, body), body) {
            (Said::Matched(effect), _) => Some(effect),
            (Said::Contradicted, _) | (Said::Undecided, KnownBody::Unread) => Some(Effect::Unknown),
            (Said::Undecided, _) if success => otherwise.or(Some(Effect::Unknown)),
            (Said::Undecided, _) => self.may_be_duplicate(status, body).then_some(Effect::Unknown),
            (Said::Nothing, _) => otherwise,
        }
    }

    /// Returns whether the answer may mean "I have this key already", although its body is no JSON.
    fn may_be_duplicate(&self, status: u16, body: &KnownBody<impl Fn(&str) -> Option<Scalar>>) -> bool {
        let duplicate = self.duplicate.iter().map(|predicate| ((), predicate));
        first_match(duplicate, status, body) == Said::Undecided
    }

    /// Returns what the predicates say, without `otherwise`.
    pub(crate) fn said(
        &self,
        status: u16,
        body: &KnownBody<impl Fn(&str) -> Option<Scalar>>,
    ) -> Said<Effect> {
        first_match(self.in_order(), status, body)
    }

    fn in_order(&self) -> impl Iterator<Item = (Effect, &Predicate)> {
        let duplicate = self.duplicate.iter().map(|p| (Effect::Unknown, p));
        let applied = self.applied.iter().map(|p| (Effect::Applied, p));
        let not_applied = self.not_applied.iter().map(|p| (Effect::NotApplied, p));
        let unknown = self.unknown.iter().map(|p| (Effect::Unknown, p));
        duplicate.chain(applied).chain(not_applied).chain(unknown)
    }
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
