//! How many actions are stuck, and which of them were told to somebody. The statements are written once for both databases.
//!
//! Several processes share one ledger, and each stuck action is to be told once. So one process at a time tells: it takes the
//! one row of the table `teller` for a while. It notes in the actions' rows what was told. If it ends between the two, another
//! process tells the same actions again.
//!
//! As in [`polled`](super::polled), the statements have no parameters.

use std::time::Duration;

use crate::action::ActionId;
use crate::machine::{Effect, Owner, Stamp};

use super::Result;
use super::columns::{Cell, Source};
use super::dialect::Dialect;
use super::stuck::StuckAction;

/// The longest time for which the row of the table `teller` can be taken. If it seems to be taken for longer, the database's
/// clock was set back, and the row counts as free.
const LONGEST: Duration = Duration::from_secs(3600);

/// Returns the SQL that counts the stuck rows of each operation. At most `most` rows are counted in all.
/// [`count_of`](super::declared::count_of) reads the rows of the result.
pub(crate) fn counts(dialect: Dialect, most: u32) -> String {
    format!(
        "SELECT dependency, operation, count(*) FROM (SELECT dependency, operation FROM {} WHERE ended = 'stuck' \
         LIMIT {most}) AS looked_at GROUP BY dependency, operation ORDER BY dependency, operation",
        dialect.table("action")
    )
}

/// Returns the SQL that finds the stuck rows that were not told yet: at most `most`, those that have been stuck for the longest
/// time first. [`untold_of`] reads the rows of the result.
pub(crate) fn untold(dialect: Dialect, most: u32) -> String {
    let differs = match dialect {
        Dialect::Sqlite => "IS NOT",
        Dialect::Postgres => "IS DISTINCT FROM",
    };
    format!(
        "SELECT {id}, dependency, operation, key, client, goal, effect, why, {created}, {ended} FROM {action} \
         WHERE ended = 'stuck' AND stuck_told {differs} ended_at ORDER BY ended_at, id LIMIT {most}",
        id = dialect.id_text("id"),
        created = dialect.micros("created_at"),
        ended = dialect.micros("ended_at"),
        action = dialect.table("action"),
    )
}

/// Reads a row of [`untold`].
pub(crate) fn untold_of(from: &mut impl Source) -> Result<StuckAction> {
    let id = String::read(from)?;
    Ok(StuckAction {
        id: ActionId::parse(&id).unwrap_or(ActionId::from_u128(0)),
        dependency: Cell::read(from)?,
        operation: Cell::read(from)?,
        key: Cell::read(from)?,
        client: Cell::read(from)?,
        goal: Cell::read(from)?,
        effect: effect(Cell::read(from)?),
        why: Option::<String>::read(from)?.unwrap_or_default(),
        created_at: Stamp::from_micros(from.count()?),
        stuck_at: Stamp::from_micros(from.count()?),
    })
}

fn effect(effect: Effect) -> &'static str {
    super::words::Word::word(effect)
}

/// Returns the SQL by which `owner` takes the right to tell for the time `span`, unless another process has it. If it was
/// taken, the result has one row, and [`tries_of`] reads it.
pub(crate) fn take(dialect: Dialect, now: &str, owner: Owner, span: Duration) -> String {
    format!(
        "UPDATE {teller} SET owner = {owner}, until = {until} WHERE until <= {now} OR until > {latest} RETURNING tries",
        teller = dialect.table("teller"),
        owner = id(dialect, owner.0),
        until = dialect.later(now, span),
        latest = dialect.later(now, LONGEST),
    )
}

/// Reads the row of [`take`]: how often telling has failed since it last succeeded.
pub(crate) fn tries_of(from: &mut impl Source) -> Result<u32> {
    u32::read(from)
}

/// Returns the two statements after the actions were told: one notes it in their rows, and the other gives the right to tell
/// back.
pub(crate) fn told(dialect: Dialect, now: &str, owner: Owner, told: &[(ActionId, Stamp)]) -> Vec<String> {
    let mut texts = Vec::new();
    if !told.is_empty() {
        let ids: Vec<String> = told.iter().map(|(action, _)| id(dialect, action.as_u128())).collect();
        let each: Vec<String> = ids
            .iter()
            .zip(told)
            .map(|(id, (_, at))| format!("WHEN {id} THEN {}", dialect.at(&at.as_micros().to_string())))
            .collect();
        texts.push(format!(
            "UPDATE {} SET stuck_told = CASE id {} END WHERE id IN ({})",
            dialect.table("action"),
            each.join(" "),
            ids.join(", ")
        ));
    }
    texts.push(given_back(dialect, now, owner, 0));
    texts
}

/// Returns the SQL after telling has failed: nobody tells before the time `again` is over.
pub(crate) fn not_told(dialect: Dialect, now: &str, owner: Owner, tries: u32, again: Duration) -> String {
    given_back(dialect, &dialect.later(now, again.min(LONGEST)), owner, tries)
}

fn given_back(dialect: Dialect, until: &str, owner: Owner, tries: u32) -> String {
    format!(
        "UPDATE {} SET owner = NULL, until = {until}, tries = {tries} WHERE owner = {}",
        dialect.table("teller"),
        id(dialect, owner.0)
    )
}

fn id(dialect: Dialect, bits: u128) -> String {
    dialect.id(&dialect.literal(&ActionId::from_u128(bits).to_string()))
}
