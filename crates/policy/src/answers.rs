//! What an answer of one operation means, in the operation's own words.
//!
//! The status alone is the obvious rule, and it is wrong for many payment APIs: they answer 200 and say in a result
//! code that the card was declined. So an operation may declare predicates over status and JSON body; the first that
//! matches decides. This module never parses: the driver passes a function that looks a JSON pointer up.

use crate::Effect;

/// A JSON scalar, as far as predicates compare them.
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

/// One field that must have one of some values.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// A JSON pointer (RFC 6901), as in `/error/code`.
    pub pointer: String,
    /// The values that match; any one of them.
    pub any_of: Vec<Scalar>,
}

/// A condition on an answer: one of the statuses (or any, where none is named), and every field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predicate {
    /// Statuses that match; empty means any.
    pub statuses: Vec<u16>,
    /// Fields of the JSON body that must all match.
    pub fields: Vec<Field>,
}

impl Predicate {
    /// Whether an answer fulfils the predicate. `look_up` finds a JSON pointer's scalar in the body; where there is
    /// no body, or it is not JSON, it finds nothing, and a predicate with fields does not match.
    pub fn matches(&self, status: u16, look_up: impl Fn(&str) -> Option<Scalar>) -> bool {
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

/// The declared meanings of an operation's answers. Asked in the order applied, not applied, unknown, and within
/// each as declared; the first match wins, so a catch-all belongs under `unknown`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// Answers that mean "it took effect".
    pub applied: Vec<Predicate>,
    /// Answers that mean "it did not".
    pub not_applied: Vec<Predicate>,
    /// Answers that say neither.
    pub unknown: Vec<Predicate>,
}

impl Answers {
    /// Whether an answer with this status can only be judged with its body at hand.
    #[must_use]
    pub fn need_body(&self, status: u16) -> bool {
        self.in_order().any(|(_, predicate)| !predicate.fields.is_empty() && predicate.matches_status(status))
    }

    /// Whether any answer is judged by its body.
    #[must_use]
    pub fn read_bodies(&self) -> bool {
        self.in_order().any(|(_, predicate)| !predicate.fields.is_empty())
    }

    /// What the answer means, if any predicate matches.
    pub fn judge(&self, status: u16, look_up: impl Fn(&str) -> Option<Scalar>) -> Option<Effect> {
        self.in_order().find(|(_, predicate)| predicate.matches(status, &look_up)).map(|(effect, _)| effect)
    }

    fn in_order(&self) -> impl Iterator<Item = (Effect, &Predicate)> {
        let applied = self.applied.iter().map(|p| (Effect::Applied, p));
        let not_applied = self.not_applied.iter().map(|p| (Effect::NotApplied, p));
        let unknown = self.unknown.iter().map(|p| (Effect::Unknown, p));
        applied.chain(not_applied).chain(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Scalar {
        Scalar::Text(s.into())
    }

    fn code(values: &[Scalar], statuses: &[u16]) -> Predicate {
        let field = Field { pointer: "/code".into(), any_of: values.to_vec() };
        Predicate { statuses: statuses.to_vec(), fields: vec![field] }
    }

    fn body(code: Scalar) -> impl Fn(&str) -> Option<Scalar> {
        move |pointer| (pointer == "/code").then(|| code.clone())
    }

    #[test]
    fn the_first_match_wins_and_unknown_comes_last() {
        let answers = Answers {
            applied: vec![code(&[text("OK")], &[200])],
            not_applied: vec![code(&[text("DECLINED"), Scalar::Integer(7)], &[200])],
            unknown: vec![Predicate { statuses: vec![200], fields: vec![] }],
        };
        assert_eq!(answers.judge(200, body(text("OK"))), Some(Effect::Applied));
        assert_eq!(answers.judge(200, body(text("DECLINED"))), Some(Effect::NotApplied));
        assert_eq!(answers.judge(200, body(Scalar::Integer(7))), Some(Effect::NotApplied));
        assert_eq!(answers.judge(200, body(text("7"))), Some(Effect::Unknown), "a string is not a number");
        assert_eq!(answers.judge(201, body(text("OK"))), None);
        assert_eq!(answers.judge(200, |_| None), Some(Effect::Unknown));
    }

    #[test]
    fn a_body_is_needed_only_where_a_field_could_decide() {
        let answers = Answers { not_applied: vec![code(&[text("NO")], &[200])], ..Answers::default() };
        assert!(answers.need_body(200));
        assert!(!answers.need_body(500));
        let any = Answers { not_applied: vec![code(&[text("NO")], &[])], ..Answers::default() };
        assert!(any.need_body(500));
        assert!(!Answers::default().need_body(200));
    }
}
