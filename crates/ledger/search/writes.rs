//! Writes into the rows of a world what a worker's steps change, and with it the application's own data.

use seawall_ledger_search::machine::{
    AttemptKind, CancelBy, End, Event, Naming, NotSettled, Row, Stamp, completed, handler_failed,
    scope_handler_failed, settle_scope,
};

use crate::bent::{Bent, Heard, Plan, state};
use crate::invariants;
use crate::obvious::{LATEST, Machine};
use crate::world::{Case, Hand, NOW, Place, World, owner};

pub(crate) type Checked = Result<(), &'static str>;

/// Writes a change into a row, after it was checked. If the row is then settled, the application's order becomes paid.
pub(crate) fn commit(case: &Case, world: &mut World, index: usize, write: Bent) -> Checked {
    let place = &mut world.places[index];
    invariants::check_write(case, place, &write)?;
    place.row = write.to;
    place.paid = place.is_settled();
    Ok(())
}

/// Writes a worker's change. If the change makes it impossible to settle the scope, the other members are cancelled.
/// Returns whether the worker still has the row.
fn write(
    case: &Case,
    machine: &Machine,
    world: &mut World,
    at: usize,
    write: Bent,
) -> Result<bool, &'static str> {
    let index = usize::from(world.workers[at].place);
    let write = with_handler(case, world, index, write);
    let breaks = write.breaks_scope && case.is_scoped() && machine.tells_the_scope();
    let has_failed = write.to.ended == Some(End::Failed);
    commit(case, world, index, write)?;
    if has_failed && world.workers[at].waited {
        world.places[index].told = true;
    }
    for other in (0..world.places.len()).filter(|other| breaks && *other != index) {
        if let Ok(Some(wish)) =
            machine.cancel(&world.places[other].row, &case.rules, CancelBy::Transaction, NOW)
        {
            commit(case, world, other, wish)?;
        }
    }
    Ok(world.places[index].row.owner == Some(owner(at)))
}

/// Returns the change that is written. That is `write`, unless it ends the row and the application's handler fails in
/// this move. Then it is the change that the machine makes instead.
fn with_handler(case: &Case, world: &mut World, index: usize, write: Bent) -> Bent {
    let is_end = matches!(write.to.ended, Some(End::Done | End::Failed | End::Cancelled));
    if !is_end || !std::mem::take(&mut world.breaks) {
        return write;
    }
    let before = state(&world.places[index].row);
    handler_failed(write.made, &before, &case.rules, "broken", NOW, LATEST).into()
}

/// Completes a row that plain SQL recorded. Returns `false` if nothing is missing in it. If another action is sent
/// under the key that was computed, the database refuses the change, and the next salt is used.
fn completes(
    case: &Case,
    machine: &Machine,
    world: &mut World,
    at: usize,
    now: Stamp,
) -> Result<bool, &'static str> {
    let index = usize::from(world.workers[at].place);
    let place = &world.places[index];
    let (row, origin) = (state(&place.row), place.origin(case));
    if place.row.owner != Some(owner(at)) {
        return Ok(false);
    }
    for salt in 0.. {
        let Some(write) = completed(&row, &case.rules, origin, salt, now) else { return Ok(false) };
        let named = write.names().map(|key| Naming::Salted(key.salt));
        let taken = |other: &Place| Some(other.naming) == named;
        if world.places.iter().any(taken) && machine.sent_keys_are_unique() {
            continue;
        }
        commit(case, world, index, write.into())?;
        world.places[index].naming = named.unwrap_or(origin.naming);
        return Ok(true);
    }
    Ok(false)
}

/// Changes the record of an attempt into what a worker writes that has not reloaded the configuration yet: its quiet
/// time is the shorter one.
fn under_shorter_quiet(case: &Case, before: &Row, change: &mut Bent) {
    let (Some(quiet), Some(line)) = (case.also.shorter_quiet, &change.attempt) else { return };
    let ends = Some(line.send_by.saturating_add(quiet));
    match line.kind {
        AttemptKind::Perform => change.to.quiet_until = before.quiet_until.max(ends),
        AttemptKind::Cancel => change.to.cancel_quiet_until = before.cancel_quiet_until.max(ends),
        AttemptKind::Confirm => {}
    }
}

pub(crate) fn act(case: &Case, machine: &Machine, world: &mut World, at: usize, now: Stamp) -> Checked {
    if completes(case, machine, world, at, now)? {
        return Ok(());
    }
    let place = &world.places[usize::from(world.workers[at].place)];
    let row = place.row.clone();
    let origin = place.origin(case);
    let rules = world.rules(case, Some(&row), now);
    let hand = match machine.plan(&row, &rules, origin, now, owner(at)) {
        Plan::Leave if row.owner == Some(owner(at)) && row.ended.is_none() => {
            return Err("nothing to do with a row that has not ended");
        }
        Plan::Leave => Hand::Idle,
        Plan::Change(change) => match write(case, machine, world, at, change)? {
            true => Hand::Owns,
            false => Hand::Idle,
        },
        Plan::Send(mut change) => {
            under_shorter_quiet(case, &row, &mut change);
            let line = change.attempt.clone().ok_or("an attempt that is not recorded")?;
            if machine.forbids(&row, &rules, origin, now, owner(at)) {
                Hand::Owns
            } else {
                write(case, machine, world, at, change)?;
                Hand::Sending(line)
            }
        }
        Plan::Ask(question) => Hand::Asking(question),
        Plan::SettleScope => settle_all(case, machine, world, at)?,
    };
    world.workers[at].hand = hand;
    Ok(())
}

/// Returns the changes that settle all members of a scope, or the reason why they cannot be settled.
pub(crate) fn settle_members(case: &Case, places: &[Place]) -> Result<Vec<Bent>, NotSettled> {
    let members: Vec<_> = places.iter().map(|place| state(&place.row)).collect();
    let writes = settle_scope(&members, u32::from(case.scope), NOW)?;
    Ok(writes.into_iter().map(Bent::from).collect())
}

/// Settles all members of a scope, or none. Returns what the worker does next.
fn settle_all(case: &Case, machine: &Machine, world: &mut World, at: usize) -> Result<Hand, &'static str> {
    Ok(match settle_members(case, &world.places) {
        Ok(_) if std::mem::take(&mut world.breaks) => {
            let index = usize::from(world.workers[at].place);
            let row = state(&world.places[index].row);
            if let Some(write) = scope_handler_failed(&row, owner(at), &case.rules, "broken", NOW, LATEST) {
                commit(case, world, index, write.into())?;
            }
            Hand::Idle
        }
        Ok(writes) => {
            for (index, write) in writes.into_iter().enumerate() {
                commit(case, world, index, write)?;
            }
            Hand::Idle
        }
        Err(NotSettled::TooLate | NotSettled::Failed) if machine.tells_the_scope() => {
            Hand::Knows(Event::ScopeBroken)
        }
        Err(_) => Hand::Knows(Event::ScopeWaits),
    })
}

pub(crate) fn tell(
    case: &Case,
    machine: &Machine,
    world: &mut World,
    at: usize,
    event: Event,
    now: Stamp,
) -> Checked {
    let place = &world.places[usize::from(world.workers[at].place)];
    let row = place.row.clone();
    let rules = world.rules(case, Some(&row), now);
    let unsent = matches!(event, Event::Unsent(..));
    let told = machine.told(&row, &rules, place.origin(case), owner(at), event, now);
    if unsent && machine.tells_of_each_unsent() {
        world.places[usize::from(world.workers[at].place)].told = true;
    }
    let goes_on = match told {
        Heard::Write(change) => write(case, machine, world, at, change)?,
        Heard::Late => false,
        Heard::Nothing => row.owner == Some(owner(at)) && row.in_flight.is_none(),
    };
    world.workers[at].hand = if goes_on { Hand::Owns } else { Hand::Idle };
    Ok(())
}
