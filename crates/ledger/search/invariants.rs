//! The checks of the search: what must hold in every world, and for every write. The error of a check says what is
//! wrong.

use seawall_ledger_search::machine::{AttemptKind, Effect, End, Goal, Naming, SettleBy, State};

use crate::bent::Bent;
use crate::provider;
use crate::world::{Case, Hand, NOW, Order, Place, World};

impl World {
    /// Returns whether no request is on its way, no worker is doing anything, and the provider has nothing left to do.
    pub(crate) fn is_quiet(&self) -> bool {
        self.net.is_empty()
            && self.workers.iter().all(|worker| worker.hand == Hand::Idle)
            && self.places.iter().all(|p| !p.there.is_working() && !p.there.index_lags())
    }

    /// Returns whether a perform of the action with this index is on its way, or may still be sent.
    pub(crate) fn performs_ahead(&self, index: usize) -> bool {
        let here = |place: u8| usize::from(place) == index;
        let flying = self.net.iter().any(|r| here(r.place) && r.kind == AttemptKind::Perform);
        let about_to = self.workers.iter().any(|worker| {
            here(worker.place)
                && matches!(&worker.hand, Hand::Sending(line) if line.kind == AttemptKind::Perform && NOW < line.send_by)
        });
        flying || about_to
    }
}

/// Returns the first thing that is wrong in a world.
pub(crate) fn check(case: &Case, world: &World) -> Result<(), &'static str> {
    for (index, place) in world.places.iter().enumerate() {
        let may_still_apply = place.there.is_working()
            || (world.performs_ahead(index) && place.there.would_apply(&case.traits));
        books(place)?;
        caller(place, may_still_apply)?;
        if case.is_strict() {
            truth(place, may_still_apply)?;
        }
        if world.is_quiet() {
            at_rest(case, place)?;
        }
        ours(place)?;
    }
    let is_stuck = |place: &Place| place.row.ended == Some(End::Stuck);
    if case.also.prompt && world.places.iter().any(is_stuck) {
        return Err("stuck, although another try would do");
    }
    if case.is_scoped()
        && world.places.iter().any(Place::is_settled)
        && !world.places.iter().all(Place::is_settled)
    {
        return Err("a part of a scope is settled");
    }
    order(world)
}

/// Checks the provider's books: the effect exists at most once, and is undone at most once.
fn books(place: &Place) -> Result<(), &'static str> {
    if place.there.charges > 1 {
        return Err("charged twice");
    }
    if place.there.refunds > place.there.charges {
        return Err("refunded twice");
    }
    Ok(())
}

/// If a waiting caller was told that nothing was done, checks that no effect exists and none can still come.
fn caller(place: &Place, may_still_apply: bool) -> Result<(), &'static str> {
    if place.told && (place.there.charges > 0 || may_still_apply) {
        return Err("an effect, although the caller was told that there is none");
    }
    Ok(())
}

/// Checks that what the row says of the effect is true.
fn truth(place: &Place, may_still_apply: bool) -> Result<(), &'static str> {
    let row = &place.row;
    let is_live = place.there.is_live();
    match row.effect {
        Effect::Never if is_live => Err("live, and known as never attempted"),
        Effect::Never if may_still_apply => Err("may still be applied, and known as never attempted"),
        Effect::NotApplied if is_live => Err("live, and known as not applied"),
        Effect::NotApplied if may_still_apply => Err("may still be applied, and known as not applied"),
        Effect::Applied if place.there.charges == 0 => Err("not there, and known as applied"),
        Effect::Applied if row.goal == Goal::Perform && !is_live => Err("undone, and known as applied"),
        Effect::Never | Effect::Unknown | Effect::Applied | Effect::NotApplied => Ok(()),
    }
}

/// Checks what must hold when nothing is on its way and no party is doing anything.
fn at_rest(case: &Case, place: &Place) -> Result<(), &'static str> {
    let is_live = place.there.is_live();
    // If the network was slower than declared, a row can end wrongly. The question that is asked after its end finds
    // that. So the end is final only once that question has been asked.
    let is_final = case.is_strict() || place.row.audit_at.is_none();
    match place.row.ended {
        Some(End::Failed) if is_live && is_final => Err("failed, with a live charge"),
        Some(End::Cancelled) if is_live && is_final => Err("cancelled, with a live charge"),
        Some(End::Done) if !is_live => Err("done, without a charge"),
        Some(End::Done | End::Failed | End::Cancelled | End::Stuck) | None => Ok(()),
    }
}

/// Checks what must hold between the columns of a row.
fn ours(place: &Place) -> Result<(), &'static str> {
    let row = &place.row;
    if place.paid && row.goal == Goal::Cancel {
        return Err("paid after a cancel was accepted");
    }
    let settled = place.is_settled();
    if settled && (row.goal != Goal::Perform || row.effect != Effect::Applied) {
        return Err("settled, and not done");
    }
    if place.paid != settled {
        return Err("paid, and not settled");
    }
    if matches!(row.effect, Effect::Never | Effect::NotApplied) && row.open_attempts > 0 {
        return Err("an attempt is open, and known not to be");
    }
    if row.ended.is_none() && place.due_at().is_none() {
        return Err("at rest without a time, an end or a lease");
    }
    match State::of_row(row.clone()) {
        Err(impossible) => Err(impossible.0),
        Ok(state) if state.due_at() != place.due_at() => Err("due at another time than the machine says"),
        Ok(_) => Ok(()),
    }
}

/// For an application with its own database, checks that its order and the charge agree in the end.
fn order(world: &World) -> Result<(), &'static str> {
    let place = &world.places[0];
    let at_end =
        world.is_quiet() && matches!(place.row.ended, Some(End::Done | End::Failed | End::Cancelled));
    match world.order {
        Order::Paid if at_end && !place.there.is_live() => Err("an order is paid without a charge"),
        Order::Failed if at_end && place.there.is_live() => Err("a charge without an order"),
        Order::New
        | Order::Confirming
        | Order::Heard
        | Order::HeardNo
        | Order::Paid
        | Order::PaidEarly
        | Order::Failed => Ok(()),
    }
}

/// Checks what must hold for every change of a row, whether a worker, the application or a person makes it.
pub(crate) fn check_write(case: &Case, place: &Place, write: &Bent) -> Result<(), &'static str> {
    let (from, to) = (&place.row, &write.to);
    if write.from != from.version || to.version != from.version + 1 {
        return Err("a write that does not follow the version");
    }
    if from.goal == Goal::Cancel && to.goal == Goal::Perform {
        return Err("the goal went back");
    }
    if from.ended == Some(End::Done) && to.ended != from.ended && to.goal == Goal::Perform {
        return Err("settled went back without a cancel");
    }
    if from.effect == Effect::Applied && to.effect != Effect::Applied && to.goal == Goal::Perform {
        return Err("applied was overwritten while it is wanted");
    }
    let Some(line) = write.attempt.as_ref().filter(|line| line.ended_at.is_none()) else { return Ok(()) };
    let is_anew = from.ended == Some(End::Failed) && from.maybe_sent == 0;
    if is_anew && to.ended.is_none() && to.owner.is_some() && line.fence == to.fence {
        return Ok(());
    }
    if line.fence != from.fence || from.owner.is_none() || to.in_flight != Some(line.number) {
        return Err("an attempt without a claim");
    }
    if to.leased_until.is_none_or(|until| line.send_by > until) {
        return Err("an attempt that outlives its lease");
    }
    match line.kind {
        AttemptKind::Perform => performs(case, place, write),
        AttemptKind::Cancel => undoes(place, write),
        AttemptKind::Confirm => Ok(()),
    }
}

fn undoes(place: &Place, write: &Bent) -> Result<(), &'static str> {
    let (from, to) = (&place.row, &write.to);
    if from.goal == Goal::Perform {
        return Err("a cancel while the goal is to perform");
    }
    if from.answer == provider::refusal() {
        return Err("a cancel that names the body of a refusal");
    }
    let is_kept = from.cancel_open == 0 || from.cancel_key == to.cancel_key;
    if !is_kept || to.cancel_key.is_some() == (place.naming == Naming::FirstRelease) {
        return Err("a cancel under another key than its generation's");
    }
    Ok(())
}

fn performs(case: &Case, place: &Place, write: &Bent) -> Result<(), &'static str> {
    let (from, to) = (&place.row, &write.to);
    if from.goal == Goal::Cancel && from.effect != Effect::Unknown {
        return Err("sent after a cancel");
    }
    if from.ended.is_some() {
        return Err("sent after the end");
    }
    if case.rules.confirm.is_some() && from.open_attempts > 0 {
        return Err("sent again blindly, where asking is possible");
    }
    let SettleBy::Explicit(_) = case.rules.settle else { return Ok(()) };
    let too_late = write.attempt.as_ref().zip(to.settle_by).is_some_and(|(line, by)| line.send_by > by);
    if from.goal == Goal::Perform && too_late {
        return Err("sent with no time left to settle");
    }
    Ok(())
}
