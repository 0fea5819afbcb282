//! Why an action is stuck: no rule says how to go on, so a person must look at it.

/// The kind of reason for which an action is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StuckReason {
    /// The provider was asked, or the request was sent again, for as long or as often as declared. Nothing was learned.
    Unanswered,
    /// Cancels were sent for as long or as often as declared, and none succeeded.
    NotCancelled,
    /// It is too late for the next request: the provider answers no questions about the action any more, takes no
    /// cancel of it any more, or may have forgotten its key.
    TooLate,
    /// The operation declares no way to go on. For example, the provider cannot be asked.
    NoWay,
    /// The operation declares that an unknown effect is left to a person.
    LeftToAPerson,
    /// The provider says that the effect cannot be undone.
    CannotBeUndone,
    /// The action was due for a long time (24 h by default), and no process has declared its operation. Without the
    /// declaration, nobody knows the rules of the action.
    Undeclared,
}

impl StuckReason {
    /// All kinds of reasons.
    pub const ALL: [StuckReason; 7] = [
        StuckReason::Unanswered,
        StuckReason::NotCancelled,
        StuckReason::TooLate,
        StuckReason::NoWay,
        StuckReason::LeftToAPerson,
        StuckReason::CannotBeUndone,
        StuckReason::Undeclared,
    ];

    /// Returns the word for this kind, such as `unanswered`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            StuckReason::Unanswered => "unanswered",
            StuckReason::NotCancelled => "not-cancelled",
            StuckReason::TooLate => "too-late",
            StuckReason::NoWay => "no-way",
            StuckReason::LeftToAPerson => "left-to-a-person",
            StuckReason::CannotBeUndone => "cannot-be-undone",
            StuckReason::Undeclared => "undeclared",
        }
    }

    /// Returns the kind with this word; `None` if there is none.
    #[must_use]
    pub fn named(word: &str) -> Option<StuckReason> {
        StuckReason::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// Returns the kind of a reason from its text in [`State::why`](super::State::why). Returns `None` if the text is
    /// not one of the machine's own reasons for a stuck action.
    #[must_use]
    pub fn of(why: &str) -> Option<StuckReason> {
        Stuck::ALL.into_iter().find(|stuck| stuck.text() == why).map(Stuck::reason)
    }
}

/// Declares the reasons. Each has a name, its kind, and the text that is stored in the row.
macro_rules! reasons {
    ($($name:ident: $reason:ident, $text:literal;)*) => {
        /// The exact reason for which a row becomes stuck.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Stuck {
            $($name),*
        }

        impl Stuck {
            const ALL: [Stuck; [$(stringify!($name)),*].len()] = [$(Stuck::$name),*];

            fn reason(self) -> StuckReason {
                match self {
                    $(Stuck::$name => StuckReason::$reason),*
                }
            }

            pub(super) fn text(self) -> &'static str {
                match self {
                    $(Stuck::$name => $text),*
                }
            }
        }
    };
}

reasons! {
    AskedForTooLong: Unanswered, "nothing was learned by asking for as long as declared";
    AskedTooOften: Unanswered, "asked too often without learning anything";
    SentTooOften: Unanswered, "unknown after the last attempt";
    CancelledForTooLong: NotCancelled, "the cancel brought nothing for as long as declared";
    CancelledTooOften: NotCancelled, "the cancel failed too often";
    NoLongerAsked: TooLate, "the provider can no longer be asked: the declared window is over";
    NoLongerCancelled: TooLate, "it can no longer be cancelled: the declared window is over";
    KeyMayBeForgotten: TooLate, "unknown, and the provider may have forgotten the key";
    NoKeyLifetime: NoWay, "unknown, and it is not declared how long the provider remembers the key";
    OnlyADuplicate: NoWay, "unknown, and the provider only says that it has the key already";
    MayTakeEffectTwice: NoWay, "unknown, and a second delivery may be a second effect";
    CannotAsk: NoWay, "unknown, and there is no way to ask";
    NoCancel: NoWay, "to be undone, and no cancel is declared";
    MayUndoTwice: NoWay, "a cancel was not answered, and a second could undo twice";
    CannotAskWhatIsLeft: NoWay, "the cancel names what is left to undo, and the provider cannot be asked";
    UndoneButUnknown: NoWay, "to be undone, but unknown";
    IdWasLost: NoWay, "to be undone, but its id was in an answer that was lost";
    Held: LeftToAPerson, "unknown, and declared to be left to a person";
    CannotBeUndone: CannotBeUndone, "the provider says that it cannot be undone";
    Undeclared: Undeclared, "its operation is no longer declared";
}
