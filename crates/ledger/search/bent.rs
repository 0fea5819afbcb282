//! The machine's answers in a form that an obvious rule can bend.

use seawall_ledger_search::machine::{AttemptRow, Question, Row, State, Step, Told, Write};

/// A change of a row, as the machine or an obvious rule makes it. Only the machine makes a [`Write`], so the search keeps
/// its changes in this form, which can be bent.
#[derive(Clone, Debug)]
pub(crate) struct Bent {
    pub(crate) from: u64,
    pub(crate) to: Row,
    pub(crate) attempt: Option<AttemptRow>,
    pub(crate) breaks_scope: bool,
    /// The change as the machine made it.
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

/// What a worker does next: as [`Step`], with changes that can be bent.
pub(crate) enum Plan {
    Leave,
    Change(Bent),
    /// An attempt or a cancel is recorded, and sent after that.
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

/// What is written because of an event: as [`Told`], with a change that can be bent.
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

/// Returns the state of a row. Each row of each world is checked before anything is done with it.
pub(crate) fn state(row: &Row) -> State {
    State::of_row(row.clone()).expect("an impossible row is a bad run")
}
