//! Turns rows of PostgreSQL into values, and values into rows.
//!
//! A batch is sent as one array for each column. So the text of a statement does not depend on the number of rows.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgRow, PgTypeInfo, PgValueRef};
use sqlx::query::Query;
use sqlx::{Decode, Encode, Postgres, Row, Type};
use uuid::Uuid;

use crate::action::{Action, ActionId, Mark};
use crate::error::{StoreError, Trouble};
use crate::machine::{AttemptRow, Owner, Scope, Stamp, State};
use crate::store::{Result, words};

pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// The number of microseconds from the start of 1970, where the Unix epoch begins, to the start of 2000, where
/// PostgreSQL's timestamps begin.
const EPOCH: i64 = 946_684_800_000_000;

/// A `timestamptz` in the form in which PostgreSQL sends it: microseconds since 2000.
#[derive(Clone, Copy, Debug)]
pub(super) struct At(pub(super) Stamp);

impl Type<Postgres> for At {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for At {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for At {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> std::result::Result<IsNull, BoxDynError> {
        <i64 as Encode<Postgres>>::encode(self.0.as_micros().saturating_sub(EPOCH), buf)
    }

    fn size_hint(&self) -> usize {
        8
    }
}

impl Decode<'_, Postgres> for At {
    fn decode(value: PgValueRef<'_>) -> std::result::Result<At, BoxDynError> {
        let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        Ok(At(Stamp::from_micros(micros.saturating_add(EPOCH))))
    }
}

fn at(stamp: Option<Stamp>) -> Option<At> {
    stamp.map(At)
}

/// Converts a count to the table's type. A count above the largest `i64` becomes the largest `i64`, but no real count
/// comes near it.
pub(super) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn uuid(id: ActionId) -> Uuid {
    Uuid::from_u128(id.as_u128())
}

/// Returns the values of one column, in the order of the rows.
fn column<R, T>(rows: &[&R], value: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(|row| value(row)).collect()
}

/// Binds the values of [`columns::FIXED`](crate::store::columns::FIXED), one array for each column.
pub(super) fn bind_fixed<'q>(query: Statement<'q>, actions: &[&Action]) -> Statement<'q> {
    let texts = |value: fn(&Action) -> &String| -> Vec<&str> {
        actions.iter().map(|action| value(action).as_str()).collect()
    };
    let names: Vec<Option<&str>> =
        actions.iter().map(|action| action.scope.as_ref().map(|scope| scope.name.as_str())).collect();
    let requests: Vec<&[u8]> = actions.iter().map(|action| action.request.as_slice()).collect();
    query
        .bind(column(actions, |action| uuid(action.id)))
        .bind(texts(|action| &action.dependency))
        .bind(texts(|action| &action.operation))
        .bind(texts(|action| &action.key))
        .bind(names)
        .bind(column(actions, |action| action.scope.as_ref().map(|scope| i64::from(scope.size))))
        .bind(requests)
        .bind(column(actions, |action| At(action.created_at)))
}

/// Binds the values of [`columns::CHANGING`](crate::store::columns::CHANGING), one array for each column.
pub(super) fn bind_states<'q>(query: Statement<'q>, states: &[&State]) -> Statement<'q> {
    let why: Vec<Option<&str>> = states.iter().map(|state| state.why.as_deref()).collect();
    let answers: Vec<Option<&[u8]>> = states.iter().map(|state| state.answer.as_deref()).collect();
    query
        .bind(column(states, |state| count(state.version)))
        .bind(column(states, |state| words::goal(state.goal)))
        .bind(column(states, |state| words::known(state.known).0))
        .bind(column(states, |state| words::known(state.known).1))
        .bind(column(states, |state| i64::from(state.open_attempts)))
        .bind(column(states, |state| i64::from(state.attempts)))
        .bind(column(states, |state| i64::from(state.maybe_sent)))
        .bind(column(states, |state| i64::from(state.logged)))
        .bind(column(states, |state| state.in_flight.map(i64::from)))
        .bind(column(states, |state| i64::from(state.asks)))
        .bind(column(states, |state| i64::from(state.absences)))
        .bind(column(states, |state| state.settled))
        .bind(column(states, |state| state.end.map(words::end)))
        .bind(why)
        .bind(column(states, |state| state.owner.map(|owner| Uuid::from_u128(owner.0))))
        .bind(column(states, |state| count(state.fence)))
        .bind(column(states, |state| At(state.lease_until)))
        .bind(column(states, |state| At(state.next_at)))
        .bind(column(states, |state| at(state.quiet_until)))
        .bind(column(states, |state| at(state.key_first_at)))
        .bind(column(states, |state| at(state.settle_by)))
        .bind(answers)
        .bind(column(states, |state| i64::from(state.cancel_gen)))
        .bind(column(states, |state| state.cancel_gen_early))
        .bind(column(states, |state| i64::from(state.cancel_open)))
        .bind(column(states, |state| i64::from(state.cancel_tries)))
        .bind(column(states, |state| at(state.cancel_quiet_until)))
        .bind(column(states, |state| state.closed_by_absence))
        .bind(column(states, |state| at(state.audit_at)))
        .bind(column(states, |state| at(state.due_at())))
}

/// Binds the values of [`columns::ATTEMPT`](crate::store::columns::ATTEMPT), one array for each column.
pub(super) fn bind_attempts<'q>(query: Statement<'q>, attempts: &[(ActionId, &AttemptRow)]) -> Statement<'q> {
    let ids: Vec<Uuid> = attempts.iter().map(|(id, _)| uuid(*id)).collect();
    let rows: Vec<&AttemptRow> = attempts.iter().map(|(_, attempt)| *attempt).collect();
    let details: Vec<Option<&str>> = rows.iter().map(|row| row.detail.as_deref()).collect();
    query
        .bind(ids)
        .bind(column(&rows, |row| i64::from(row.number)))
        .bind(column(&rows, |row| words::kind(row.kind)))
        .bind(column(&rows, |row| i64::from(row.generation)))
        .bind(column(&rows, |row| count(row.fence)))
        .bind(column(&rows, |row| At(row.recorded_at)))
        .bind(column(&rows, |row| At(row.send_by)))
        .bind(column(&rows, |row| row.after_quiet))
        .bind(column(&rows, |row| at(row.ended_at)))
        .bind(column(&rows, |row| words::outcome(row.outcome)))
        .bind(column(&rows, |row| row.status.map(i64::from)))
        .bind(details)
}

/// Reads the columns of a row one after the other.
struct Columns<'r> {
    row: &'r PgRow,
    next: usize,
}

impl<'r> Columns<'r> {
    fn take<T: Decode<'r, Postgres>>(&mut self) -> Result<T> {
        self.next += 1;
        self.row.try_get_unchecked(self.next - 1).map_err(|e| StoreError::new(Trouble::Foreign, e))
    }

    fn stamp(&mut self) -> Result<Stamp> {
        self.take::<At>().map(|at| at.0)
    }

    fn maybe_stamp(&mut self) -> Result<Option<Stamp>> {
        Ok(self.take::<Option<At>>()?.map(|at| at.0))
    }

    fn count<T: TryFrom<i64>>(&mut self) -> Result<T> {
        let value: i64 = self.take()?;
        T::try_from(value).map_err(|_| words::foreign("count", &value.to_string()))
    }

    fn maybe_count<T: TryFrom<i64>>(&mut self) -> Result<Option<T>> {
        let Some(value) = self.take::<Option<i64>>()? else { return Ok(None) };
        T::try_from(value).map(Some).map_err(|_| words::foreign("count", &value.to_string()))
    }
}

pub(super) fn action(row: &PgRow) -> Result<Action> {
    let mut columns = Columns { row, next: 0 };
    let at = &mut columns;
    Ok(Action {
        id: ActionId::from_u128(at.take::<Uuid>()?.as_u128()),
        dependency: at.take()?,
        operation: at.take()?,
        key: at.take()?,
        scope: match (at.take::<Option<String>>()?, at.maybe_count()?) {
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
        open_attempts: at.count()?,
        attempts: at.count()?,
        maybe_sent: at.count()?,
        logged: at.count()?,
        in_flight: at.maybe_count()?,
        asks: at.count()?,
        absences: at.count()?,
        settled: at.take()?,
        end: at.take::<Option<&str>>()?.map(words::read_end).transpose()?,
        why: at.take()?,
        owner: at.take::<Option<Uuid>>()?.map(|owner| Owner(owner.as_u128())),
        fence: at.count()?,
        lease_until: at.stamp()?,
        next_at: at.stamp()?,
        quiet_until: at.maybe_stamp()?,
        key_first_at: at.maybe_stamp()?,
        settle_by: at.maybe_stamp()?,
        answer: at.take()?,
        cancel_gen: at.count()?,
        cancel_gen_early: at.take()?,
        cancel_open: at.count()?,
        cancel_tries: at.count()?,
        cancel_quiet_until: at.maybe_stamp()?,
        closed_by_absence: at.take()?,
        audit_at: at.maybe_stamp()?,
    })
}

/// Reads a line of the attempt log. The first column, the action's id, is skipped.
pub(super) fn attempt(row: &PgRow) -> Result<AttemptRow> {
    let mut columns = Columns { row, next: 1 };
    let at = &mut columns;
    Ok(AttemptRow {
        number: at.count()?,
        kind: words::read_kind(at.take()?)?,
        generation: at.count()?,
        fence: at.count()?,
        recorded_at: at.stamp()?,
        send_by: at.stamp()?,
        after_quiet: at.take()?,
        ended_at: at.maybe_stamp()?,
        outcome: words::read_outcome(at.take()?)?,
        status: at.maybe_count()?,
        detail: at.take()?,
    })
}

pub(super) fn mark(row: &PgRow) -> Result<Mark> {
    let mut columns = Columns { row, next: 0 };
    let at = &mut columns;
    Ok(Mark { at: at.stamp()?, who: at.take()?, what: at.take()?, why: at.take()? })
}
