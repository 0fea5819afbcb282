//! The flat form of a state, as the databases keep it: one field for each column.
//!
//! Only [`State::of_row`] makes a state from a row. It refuses each row that the machine could not have written. So a
//! row that somebody changed by hand, or that another version of the program wrote, is noticed when it is read, and is
//! not taken for something else.

use super::state::{Claim, OpenCancels, Questions, Sent, Undo};
use super::{End, Goal, HandlerTrouble, Known, NotApplied, Owner, Stamp, State};

/// The changing columns of an action. [`State`] describes what they mean.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the accessors of the state describe the same values")]
pub struct Row {
    pub version: u64,
    pub needs: u32,
    pub goal: Goal,
    pub effect: Effect,
    pub reason: Option<NotApplied>,
    pub open_attempts: u32,
    pub attempts: u32,
    pub maybe_sent: u32,
    pub first_sent_at: Option<Stamp>,
    pub quiet_until: Option<Stamp>,
    pub send_by: Option<Stamp>,
    pub key_ends_at: Option<Stamp>,
    pub seen: bool,
    pub logged: u32,
    pub in_flight: Option<u32>,
    pub asks: u32,
    pub absences: u32,
    pub ended: Option<End>,
    pub why: Option<String>,
    pub owner: Option<Owner>,
    pub fence: u64,
    pub leased_until: Option<Stamp>,
    pub begun_at: Stamp,
    pub next_at: Stamp,
    pub settle_by: Option<Stamp>,
    pub answer: Option<Vec<u8>>,
    pub cancel_gen: u32,
    pub cancel_tries: u32,
    pub cancel_asked: bool,
    pub cancel_open: u32,
    pub cancel_gen_early: bool,
    pub cancel_first_at: Option<Stamp>,
    pub cancel_quiet_until: Option<Stamp>,
    pub cancel_send_by: Option<Stamp>,
    pub cancel_key_ends_at: Option<Stamp>,
    pub cancel_key: Option<String>,
    pub handler_tries: u32,
    pub handler_error: Option<String>,
    pub audit_at: Option<Stamp>,
    pub disputed_at: Option<Stamp>,
    pub failing_since: Option<Stamp>,
    /// When a worker should next work on the row; `None` if nothing is to be done. It is computed from the other
    /// columns, and is ignored when the row is read.
    pub due_at: Option<Stamp>,
}

/// What is known of the effect, without the reason: the column `effect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "`Known` describes the same values")]
pub enum Effect {
    Never,
    Unknown,
    Applied,
    NotApplied,
}

impl Effect {
    fn of(known: Known) -> Effect {
        match known {
            Known::Never => Effect::Never,
            Known::Unknown => Effect::Unknown,
            Known::Applied => Effect::Applied,
            Known::NotApplied(_) => Effect::NotApplied,
        }
    }
}

impl Known {
    /// Returns what is known of the effect, from the columns `effect` and `reason`.
    ///
    /// # Errors
    ///
    /// If the effect and the reason contradict each other: only an effect that is not applied has a reason.
    pub fn of(effect: Effect, reason: Option<NotApplied>) -> Result<Known, Impossible> {
        match (effect, reason) {
            (Effect::Never, None) => Ok(Known::Never),
            (Effect::Unknown, None) => Ok(Known::Unknown),
            (Effect::Applied, None) => Ok(Known::Applied),
            (Effect::NotApplied, Some(reason)) => Ok(Known::NotApplied(reason)),
            _ => Err(Impossible("its effect and the reason for it contradict each other")),
        }
    }
}

/// What is wrong with a row that the machine could not have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impossible(pub &'static str);

impl State {
    /// Returns the state of a row that was read from a database.
    ///
    /// # Errors
    ///
    /// If the machine could not have written the row: its columns contradict each other.
    pub fn of_row(row: Row) -> Result<State, Impossible> {
        let state = State {
            sent: sent(&row)?,
            claim: claim(&row)?,
            undo: undo(&row)?,
            handler: handler(&row)?,
            version: row.version,
            needs: row.needs,
            goal: row.goal,
            known: Known::of(row.effect, row.reason)?,
            attempts: row.attempts,
            logged: row.logged,
            questions: Questions { asked: row.asks, absences: row.absences },
            end: row.ended,
            why: row.why,
            fence: row.fence,
            next_at: row.next_at,
            begun_at: row.begun_at,
            settle_by: row.settle_by,
            answer: row.answer,
            audit_at: row.audit_at,
            disputed_at: row.disputed_at,
            failing_since: row.failing_since,
        };
        state.is_possible().map(|()| state)
    }

    /// Checks what must hold between the parts of a state.
    fn is_possible(&self) -> Result<(), Impossible> {
        let wrong = |what| Err(Impossible(what));
        match (self.known, self.open_attempts()) {
            (Known::Unknown, 0) => return wrong("its effect is unknown, but no attempt may take effect"),
            (Known::Never | Known::NotApplied(_), 1..) => {
                return wrong("it is not applied, but an attempt may take effect");
            }
            (Known::Never | Known::Unknown | Known::Applied | Known::NotApplied(_), _) => {}
        }
        match (self.end, self.goal, self.known) {
            (Some(End::Done), Goal::Perform, Known::Applied)
            | (Some(End::Failed), Goal::Perform, Known::Never | Known::NotApplied(_))
            | (Some(End::Cancelled), Goal::Cancel, Known::Never | Known::NotApplied(_))
            | (Some(End::Stuck) | None, _, _) => {}
            (Some(End::Done | End::Failed | End::Cancelled), _, _) => {
                return wrong("its end contradicts its goal or its effect");
            }
        }
        if self.handler.is_some() && self.end.is_some() {
            return wrong("a handler fails although the row has ended");
        }
        Ok(())
    }

    /// Returns the row as the databases keep it.
    #[must_use]
    pub fn row(&self) -> Row {
        let open = self.undo.open.as_ref();
        Row {
            version: self.version,
            needs: self.needs,
            goal: self.goal,
            effect: Effect::of(self.known),
            reason: reason(self.known),
            open_attempts: self.open_attempts(),
            attempts: self.attempts,
            maybe_sent: self.sent.map_or(0, |sent| sent.attempts),
            first_sent_at: self.first_sent_at(),
            quiet_until: self.quiet_until(),
            send_by: self.sent.and_then(|sent| sent.send_by),
            key_ends_at: self.sent.and_then(|sent| sent.key_ends),
            seen: self.sent.is_some_and(|sent| sent.seen),
            logged: self.logged,
            in_flight: self.in_flight(),
            asks: self.questions.asked,
            absences: self.questions.absences,
            ended: self.end,
            why: self.why.clone(),
            owner: self.owner(),
            fence: self.fence,
            leased_until: self.leased_until(),
            next_at: self.next_at,
            begun_at: self.begun_at,
            settle_by: self.settle_by,
            answer: self.answer.clone(),
            cancel_gen: self.undo.generation,
            cancel_tries: self.undo.tries,
            cancel_asked: self.undo.asked,
            cancel_open: open.map_or(0, |open| open.count),
            cancel_gen_early: open.is_some_and(|open| open.early),
            cancel_first_at: open.map(|open| open.first_at),
            cancel_quiet_until: open.map(|open| open.quiet_until),
            cancel_send_by: open.and_then(|open| open.send_by),
            cancel_key_ends_at: open.and_then(|open| open.key_ends),
            cancel_key: open.and_then(|open| open.key.clone()),
            handler_tries: self.handler.as_ref().map_or(0, |trouble| trouble.tries),
            handler_error: self.handler.as_ref().map(|trouble| trouble.error.clone()),
            audit_at: self.audit_at,
            disputed_at: self.disputed_at,
            failing_since: self.failing_since,
            due_at: self.due_at(),
        }
    }
}

fn sent(row: &Row) -> Result<Option<Sent>, Impossible> {
    match (row.maybe_sent, row.first_sent_at, row.quiet_until) {
        (0, None, None) if row.open_attempts == 0 && row.key_ends_at.is_none() && !row.seen => Ok(None),
        (attempts @ 1.., Some(first_at), Some(quiet_until)) if row.open_attempts <= attempts => {
            Ok(Some(Sent {
                attempts,
                open: row.open_attempts,
                first_at,
                quiet_until,
                send_by: row.send_by,
                key_ends: row.key_ends_at,
                seen: row.seen,
            }))
        }
        _ => Err(Impossible("its columns disagree on what was sent")),
    }
}

fn claim(row: &Row) -> Result<Option<Claim>, Impossible> {
    match (row.owner, row.leased_until, row.in_flight) {
        (None, None, None) => Ok(None),
        (Some(owner), Some(until), in_flight) => Ok(Some(Claim { owner, until, in_flight })),
        _ => Err(Impossible("its columns disagree on whether it is claimed")),
    }
}

fn undo(row: &Row) -> Result<Undo, Impossible> {
    let open = match (row.cancel_open, row.cancel_first_at, row.cancel_quiet_until) {
        (0, None, None) if row.cancel_key.is_none() && !row.cancel_gen_early => None,
        (count @ 1.., Some(first_at), Some(quiet_until)) => Some(OpenCancels {
            count,
            early: row.cancel_gen_early,
            first_at,
            quiet_until,
            send_by: row.cancel_send_by,
            key_ends: row.cancel_key_ends_at,
            key: row.cancel_key.clone(),
        }),
        _ => return Err(Impossible("its columns disagree on which cancels were sent")),
    };
    Ok(Undo { generation: row.cancel_gen, tries: row.cancel_tries, asked: row.cancel_asked, open })
}

fn handler(row: &Row) -> Result<Option<HandlerTrouble>, Impossible> {
    match (row.handler_tries, &row.handler_error) {
        (0, None) => Ok(None),
        (tries @ 1.., Some(error)) => Ok(Some(HandlerTrouble { tries, error: error.clone() })),
        _ => Err(Impossible("its columns disagree on whether a handler failed")),
    }
}

fn reason(known: Known) -> Option<NotApplied> {
    match known {
        Known::NotApplied(reason) => Some(reason),
        Known::Never | Known::Unknown | Known::Applied => None,
    }
}
