//! Turns rows of SQLite into values, and values into rows. Times are microseconds, ids are text, and booleans are 0 and
//! 1.

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, Sqlite};
use uuid::Uuid;

use crate::action::{Action, ActionId, Mark};
use crate::error::{StoreError, Trouble};
use crate::machine::{AttemptRow, Owner, Scope, Stamp, State};
use crate::store::{Result, words};

pub(super) type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Converts a count to the table's type. A count above the largest `i64` becomes the largest `i64`, but no real count
/// comes near it.
pub(super) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn micros(at: Option<Stamp>) -> Option<i64> {
    at.map(Stamp::as_micros)
}

pub(super) fn owner_text(owner: Owner) -> String {
    Uuid::from_u128(owner.0).to_string()
}

/// Binds the values of [`columns::FIXED`](crate::store::columns::FIXED).
pub(super) fn bind_fixed<'q>(query: Statement<'q>, action: &Action) -> Statement<'q> {
    query
        .bind(action.id.to_string())
        .bind(action.dependency.clone())
        .bind(action.operation.clone())
        .bind(action.key.clone())
        .bind(action.scope.as_ref().map(|scope| scope.name.clone()))
        .bind(action.scope.as_ref().map(|scope| i64::from(scope.size)))
        .bind(action.request.clone())
        .bind(action.created_at.as_micros())
}

/// Binds the values of [`columns::CHANGING`](crate::store::columns::CHANGING).
pub(super) fn bind_state<'q>(query: Statement<'q>, state: &State) -> Statement<'q> {
    let (effect, reason) = words::known(state.known);
    query
        .bind(count(state.version))
        .bind(words::goal(state.goal))
        .bind(effect)
        .bind(reason)
        .bind(state.open_attempts)
        .bind(state.attempts)
        .bind(state.maybe_sent)
        .bind(state.logged)
        .bind(state.in_flight)
        .bind(state.asks)
        .bind(state.absences)
        .bind(state.settled)
        .bind(state.end.map(words::end))
        .bind(state.why.clone())
        .bind(state.owner.map(owner_text))
        .bind(count(state.fence))
        .bind(state.lease_until.as_micros())
        .bind(state.next_at.as_micros())
        .bind(micros(state.quiet_until))
        .bind(micros(state.key_first_at))
        .bind(micros(state.settle_by))
        .bind(state.answer.clone())
        .bind(state.cancel_gen)
        .bind(state.cancel_gen_early)
        .bind(state.cancel_open)
        .bind(state.cancel_tries)
        .bind(micros(state.cancel_quiet_until))
        .bind(state.closed_by_absence)
        .bind(micros(state.audit_at))
        .bind(micros(state.due_at()))
}

/// Binds the values of [`columns::ATTEMPT`](crate::store::columns::ATTEMPT).
pub(super) fn bind_attempt<'q>(query: Statement<'q>, id: ActionId, attempt: &AttemptRow) -> Statement<'q> {
    query
        .bind(id.to_string())
        .bind(attempt.number)
        .bind(words::kind(attempt.kind))
        .bind(attempt.generation)
        .bind(count(attempt.fence))
        .bind(attempt.recorded_at.as_micros())
        .bind(attempt.send_by.as_micros())
        .bind(attempt.after_quiet)
        .bind(micros(attempt.ended_at))
        .bind(words::outcome(attempt.outcome))
        .bind(attempt.status)
        .bind(attempt.detail.clone())
}

/// Reads the columns of a row one after the other.
pub(super) struct Columns<'r> {
    row: &'r SqliteRow,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn of(row: &'r SqliteRow) -> Columns<'r> {
        Columns { row, next: 0 }
    }

    fn take<T>(&mut self) -> Result<T>
    where
        T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
    {
        self.next += 1;
        self.row.try_get(self.next - 1).map_err(|e| StoreError::new(Trouble::Foreign, e))
    }

    fn stamp(&mut self) -> Result<Stamp> {
        self.take().map(Stamp::from_micros)
    }

    fn maybe_stamp(&mut self) -> Result<Option<Stamp>> {
        Ok(self.take::<Option<i64>>()?.map(Stamp::from_micros))
    }

    fn count(&mut self) -> Result<u64> {
        let value: i64 = self.take()?;
        u64::try_from(value).map_err(|e| StoreError::new(Trouble::Foreign, e))
    }

    fn id(&mut self) -> Result<ActionId> {
        let text: &str = self.take()?;
        ActionId::parse(text).ok_or_else(|| words::foreign("id", text))
    }

    fn owner(&mut self) -> Result<Option<Owner>> {
        let Some(text) = self.take::<Option<&str>>()? else { return Ok(None) };
        let id = ActionId::parse(text).ok_or_else(|| words::foreign("owner", text))?;
        Ok(Some(Owner(id.as_u128())))
    }
}

pub(super) fn action(row: &SqliteRow) -> Result<Action> {
    let mut columns = Columns::of(row);
    let at = &mut columns;
    Ok(Action {
        id: at.id()?,
        dependency: at.take()?,
        operation: at.take()?,
        key: at.take()?,
        scope: match (at.take::<Option<String>>()?, at.take::<Option<u32>>()?) {
            (Some(name), Some(size)) => Some(Scope { name, size }),
            (_, _) => None,
        },
        request: at.take()?,
        created_at: at.stamp()?,
        state: state(at)?,
    })
}

fn state(at: &mut Columns<'_>) -> Result<State> {
    Ok(State {
        version: at.count()?,
        goal: words::read_goal(at.take()?)?,
        known: words::read_known(at.take()?, at.take()?)?,
        open_attempts: at.take()?,
        attempts: at.take()?,
        maybe_sent: at.take()?,
        logged: at.take()?,
        in_flight: at.take()?,
        asks: at.take()?,
        absences: at.take()?,
        settled: at.take()?,
        end: at.take::<Option<&str>>()?.map(words::read_end).transpose()?,
        why: at.take()?,
        owner: at.owner()?,
        fence: at.count()?,
        lease_until: at.stamp()?,
        next_at: at.stamp()?,
        quiet_until: at.maybe_stamp()?,
        key_first_at: at.maybe_stamp()?,
        settle_by: at.maybe_stamp()?,
        answer: at.take()?,
        cancel_gen: at.take()?,
        cancel_gen_early: at.take()?,
        cancel_open: at.take()?,
        cancel_tries: at.take()?,
        cancel_quiet_until: at.maybe_stamp()?,
        closed_by_absence: at.take()?,
        audit_at: at.maybe_stamp()?,
    })
}

pub(super) fn attempt(row: &SqliteRow) -> Result<AttemptRow> {
    let mut columns = Columns::of(row);
    let at = &mut columns;
    at.id()?;
    Ok(AttemptRow {
        number: at.take()?,
        kind: words::read_kind(at.take()?)?,
        generation: at.take()?,
        fence: at.count()?,
        recorded_at: at.stamp()?,
        send_by: at.stamp()?,
        after_quiet: at.take()?,
        ended_at: at.maybe_stamp()?,
        outcome: words::read_outcome(at.take()?)?,
        status: at.take()?,
        detail: at.take()?,
    })
}

pub(super) fn mark(row: &SqliteRow) -> Result<Mark> {
    let mut columns = Columns::of(row);
    let at = &mut columns;
    Ok(Mark { at: at.stamp()?, who: at.take()?, what: at.take()?, why: at.take()? })
}
