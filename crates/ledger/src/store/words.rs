//! The words in which the tables store states. They are words and not numbers, since people read the tables.

use crate::error::StoreError;
use crate::machine::{AttemptKind, AttemptOutcome, Effect, End, Goal, NotApplied};

use super::Result;
use super::columns::{Cell, Kind, Source, Value};

/// A type whose values the tables store as words.
pub(crate) trait Word: Copy {
    fn word(self) -> &'static str;
    fn of_word(word: &str) -> Result<Self>;
}

/// Implements [`Word`] and [`Cell`] for an enum, from a list of its variants and their words.
macro_rules! words {
    ($type:ident, $what:literal, { $($variant:ident = $word:literal),* $(,)? }) => {
        impl Word for $type {
            fn word(self) -> &'static str {
                match self {
                    $($type::$variant => $word),*
                }
            }

            fn of_word(word: &str) -> Result<Self> {
                match word {
                    $($word => Ok($type::$variant),)*
                    other => Err(StoreError::foreign($what, other)),
                }
            }
        }

        impl Cell for $type {
            const KIND: Kind = Kind::Text;

            fn value(&self) -> Value<'_> {
                Value::Word(self.word())
            }

            fn read(from: &mut impl Source) -> Result<Self> {
                $type::of_word(from.text()?)
            }
        }
    };
}

words!(Goal, "goal", { Perform = "perform", Cancel = "cancel" });
words!(Effect, "effect", {
    Never = "never", Unknown = "unknown", Applied = "applied", NotApplied = "not-applied",
});
words!(NotApplied, "reason", {
    Refused = "refused", Cancelled = "cancelled", Absent = "absent", NoSuch = "no-such", Resolved = "resolved",
});
words!(End, "end", { Done = "done", Failed = "failed", Cancelled = "cancelled", Stuck = "stuck" });
words!(AttemptKind, "kind", { Perform = "perform", Confirm = "confirm", Cancel = "cancel" });
words!(AttemptOutcome, "outcome", {
    Open = "open", NotSent = "not-sent", Yes = "yes", No = "no", Unknown = "unknown",
});
