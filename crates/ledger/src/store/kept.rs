//! An action as the tables keep it.

use std::borrow::Cow;

use crate::action::{Action, ActionId, Mark, Money};
use crate::error::{StoreError, Trouble};
use crate::machine::{Impossible, Naming, Row, Scope, State};
use crate::prints::Prints;

use super::columns::{Cell, Columns, Fixed, Source};
use super::{Counts, Filter, Result, Standing};

/// The value of the column `salt` for an action that the first release recorded ([`Naming::FirstRelease`]). That
/// release used no salt.
const FIRST_RELEASE: i64 = -1;

/// Returns the columns of an action that never change.
pub(crate) fn fixed(action: &Action) -> Fixed<'_> {
    Fixed {
        id: action.id,
        dependency: Cow::Borrowed(&action.dependency),
        operation: Cow::Borrowed(&action.operation),
        key: Cow::Borrowed(&action.key),
        scope: action.scope.as_ref().map(|scope| Cow::Borrowed(scope.name.as_str())),
        scope_size: action.scope.as_ref().map(|scope| scope.size),
        request: Cow::Borrowed(&action.request),
        created_at: action.created_at,
        sent_key: action.mapped_key.as_deref().map(Cow::Borrowed),
        salt: match action.naming {
            Naming::Open => None,
            Naming::FirstRelease => Some(FIRST_RELEASE),
            Naming::Salted(salt) => Some(salt.into()),
        },
        amount: action.amount.as_ref().map(|money| Cow::Owned(money.amount.to_string())),
        currency: action.amount.as_ref().map(|money| Cow::Borrowed(money.currency.as_str())),
        head_print: action.prints.as_ref().map(|prints| Cow::Borrowed(&prints.head[..])),
        body_print: action.prints.as_ref().map(|prints| Cow::Borrowed(&prints.body[..])),
        client: action.client.as_deref().map(Cow::Borrowed),
    }
}

/// Reads an action from its columns. Each call of `columns` returns a source that begins at the first column.
///
/// # Errors
///
/// If this version of the program does not know what the columns say, or if they contradict each other. The error names
/// the action.
pub(crate) fn action<S: Source>(columns: impl Fn() -> S) -> Result<Action> {
    read(&mut columns()).map_err(|e| match ActionId::read(&mut columns()) {
        Ok(id) => {
            StoreError::new(e.trouble(), format!("the row of action {id} cannot be right: {}", e.said()))
        }
        Err(_) => e,
    })
}

/// Reads a line of the audit trail.
pub(crate) fn mark(from: &mut impl Source) -> Result<Mark> {
    Ok(Mark {
        at: Cell::read(from)?,
        who: Cell::read(from)?,
        what: Cell::read(from)?,
        why: Cell::read(from)?,
        via: Cell::read(from)?,
        was: standing(from)?,
        became: standing(from)?,
    })
}

/// Reads where an action stood, from the word that [`Standing::as_str`] returns. If a newer program wrote a word that
/// this program does not know, the result is `None`. That is no error, since the word is only shown to people.
fn standing(from: &mut impl Source) -> Result<Option<Standing>> {
    Ok(Option::<String>::read(from)?.and_then(|word| Standing::named(&word)))
}

/// Reads the id of a row of a list, and its action. The action is `None` if it cannot be read, and that is logged.
///
/// # Errors
///
/// If the id cannot be read.
pub(crate) fn listed<S: Source>(columns: impl Fn() -> S) -> Result<(ActionId, Option<Action>)> {
    let id = ActionId::read(&mut columns())?;
    let read = action(columns).inspect_err(|e| tracing::error!(error = %e, "a row is left out of a list"));
    Ok((id, read.ok()))
}

/// A page of a list while it is read. Rows that cannot be read are left out, and the rows after them are read instead.
/// So a page that has fewer actions than were asked for is always the last one.
pub(crate) struct ActionPage {
    /// Selects the rows that are still missing.
    missing: Filter,
    actions: Vec<Action>,
    /// Whether the table may have more rows.
    more: bool,
}

impl ActionPage {
    pub(crate) fn of(filter: &Filter) -> ActionPage {
        let most = filter.most.min(1000);
        ActionPage { missing: Filter { most, ..filter.clone() }, actions: Vec::new(), more: most > 0 }
    }

    /// Returns the filter for the rows that are to be read next; `None` if the page is complete.
    pub(crate) fn missing(&self) -> Option<&Filter> {
        (self.more && self.missing.most > 0).then_some(&self.missing)
    }

    /// Adds the rows that were read for [`ActionPage::missing`].
    pub(crate) fn add(&mut self, rows: Vec<(ActionId, Option<Action>)>) {
        self.more = rows.len() >= self.missing.most as usize;
        for (id, action) in rows {
            self.missing.after = Some(id);
            self.missing.most -= u32::from(action.is_some());
            self.actions.extend(action);
        }
    }

    pub(crate) fn into_actions(self) -> Vec<Action> {
        self.actions
    }
}

fn read(from: &mut impl Source) -> Result<Action> {
    let fixed = Fixed::read(from)?;
    let state = State::of_row(Row::read(from)?);
    let impossible = |what: &str| StoreError::new(Trouble::Foreign, what);
    Ok(Action {
        id: fixed.id,
        naming: naming(fixed.salt).ok_or_else(|| impossible("its salt"))?,
        amount: money(fixed.amount, fixed.currency).ok_or_else(|| impossible("its amount"))?,
        prints: prints(fixed.head_print, fixed.body_print).ok_or_else(|| impossible("its fingerprints"))?,
        client: fixed.client.map(Cow::into_owned),
        state: state.map_err(|Impossible(what)| impossible(what))?,
        dependency: fixed.dependency.into_owned(),
        operation: fixed.operation.into_owned(),
        key: fixed.key.into_owned(),
        scope: match (fixed.scope, fixed.scope_size) {
            (Some(name), Some(size)) => Some(Scope { name: name.into_owned(), size }),
            (None, None) => None,
            _ => return Err(impossible("its scope")),
        },
        request: fixed.request.into_owned(),
        created_at: fixed.created_at,
        mapped_key: fixed.sent_key.map(Cow::into_owned),
    })
}

fn naming(salt: Option<i64>) -> Option<Naming> {
    match salt {
        None => Some(Naming::Open),
        Some(FIRST_RELEASE) => Some(Naming::FirstRelease),
        Some(salt) => u32::try_from(salt).ok().map(Naming::Salted),
    }
}

/// Returns the amount of money from its two columns; `Some(None)` if both are empty. Returns `None` if only one of them
/// is empty, or if the amount is not a number.
#[expect(clippy::option_option, reason = "the outer one is the error, which the caller names")]
fn money(amount: Option<Cow<'_, str>>, currency: Option<Cow<'_, str>>) -> Option<Option<Money>> {
    match (amount, currency) {
        (None, None) => Some(None),
        (Some(amount), Some(currency)) => {
            let amount = amount.parse().ok()?;
            Some(Some(Money { amount, currency: currency.into_owned() }))
        }
        _ => None,
    }
}

/// Returns the fingerprints from their two columns; `Some(None)` if both are empty. Returns `None` if only one of them
/// is empty, or if a fingerprint does not have the length of [`Prints`].
#[expect(clippy::option_option, reason = "the outer one is the error, which the caller names")]
fn prints(head: Option<Cow<'_, [u8]>>, body: Option<Cow<'_, [u8]>>) -> Option<Option<Prints>> {
    match (head, body) {
        (None, None) => Some(None),
        (Some(head), Some(body)) => {
            Some(Some(Prints { head: (*head).try_into().ok()?, body: (*body).try_into().ok()? }))
        }
        _ => None,
    }
}

/// Returns the key of the fingerprints from its column; `value` is `None` if the table has no row.
///
/// # Errors
///
/// If there is no key, or if it does not have 32 bytes.
pub(crate) fn print_key(value: Option<&[u8]>) -> Result<[u8; 32]> {
    let key = value.and_then(|bytes| bytes.try_into().ok());
    key.ok_or_else(|| StoreError::new(Trouble::Foreign, "the key of the fingerprints is missing"))
}

/// Reads how many open and stuck actions a dependency has, and returns these counts. At most `most` actions of each
/// kind were counted. The field `undeclared` of the result is 0.
pub(crate) fn counts(open: &mut impl Source, stuck: &mut impl Source, most: u32) -> Result<Counts> {
    let looked_at = u64::read(open)?;
    let (unended, unknown, failing) = (u64::read(open)?, u64::read(open)?, u64::read(open)?);
    let stuck_count = u64::read(stuck)?;
    Ok(Counts {
        open: unended,
        unknown,
        failing,
        stuck: stuck_count,
        undeclared: 0,
        oldest: [Option::read(open)?, Option::read(stuck)?].into_iter().flatten().min(),
        more: looked_at.max(stuck_count) >= u64::from(most),
    })
}
