//! The machine's answers in a form that the search can change. The search replaces one rule of the machine by an
//! obvious but wrong one (`obvious.rs`), which changes ("bends") what the machine returned.

use seawall_ledger_search::machine::{AttemptRow, Question, Row, State, Step, Told, Write};

/// A change of a row, as the machine or an obvious rule makes it. Only the machine can make a [`Write`], so the search
/// copies the parts of a write into this form, whose fields an obvious rule can change.
#[derive(Clone, Debug)]
pub(crate) struct Bent {
    pub(crate) from: u64,
    pub(crate) to: Row,
    pub(crate) attempt: Option<AttemptRow>,
    pub(crate) breaks_scope: bool,
    /// The change as the machine made it, which no obvious rule has changed.
    pub(crate) made: Write,
}

impl From<Write> for Bent {
    fn from(write: Write) -> Bent {
        Bent {
            from: write.from(),
            to: write.to().row(),
            attempt: write.attempt().cloned(),
            breaks_scope: write.breaks_scope(),
            made: write,
        }
    }
}

/// What a worker does next. The variants are those of [`Step`], with [`Bent`] in place of [`Write`].
pub(crate) enum Plan {
    Leave,
    Change(Bent),
    /// The change records an attempt or a cancel. After it is written, the attempt or the cancel is sent.
    Send(Bent),
    Ask(Question),
    SettleScope,
}

impl From<Step> for Plan {
    fn from(step: Step) -> Plan {
        match step {
            Step::Leave => Plan::Leave,
            Step::Change(write) => Plan::Change(write.into()),
            Step::Perform(write) | Step::Cancel(write) => Plan::Send(write.into()),
            Step::Ask(question) => Plan::Ask(question),
            Step::SettleScope => Plan::SettleScope,
        }
    }
}

/// What is written because of an event. The variants are those of [`Told`], with [`Bent`] in place of [`Write`].
#[expect(clippy::large_enum_variant, reason = "taken apart where it is made")]
pub(crate) enum Heard {
    Write(Bent),
    Late,
    Nothing,
}

impl From<Told> for Heard {
    fn from(told: Told) -> Heard {
        match told {
            Told::Write(write) => Heard::Write(write.into()),
            Told::Late(_) => Heard::Late,
            Told::Nothing => Heard::Nothing,
        }
    }
}

/// Returns the state of a row. Panics if the columns of the row contradict each other. So this is checked for each row
/// of each world.
pub(crate) fn state(row: &Row) -> State {
    State::of_row(row.clone()).expect("an impossible row is a bad run")
}
