//! The moves of people, of webhooks, of others who use the same provider, and of an application that asks once more.

use seawall_ledger_search::machine::{
    Birth, CancelBy, End, Observed, Resolution, note, observe, resolve, used_anew,
};

use crate::bent::{Bent, state};
use crate::moves::Moves;
use crate::world::{Hand, NOW, Worker, owner};
use crate::writes::commit;

impl Moves<'_> {
    pub(crate) fn people(&mut self, index: usize) {
        if self.world.retries == 0 {
            return;
        }
        let place = &self.world.places[index];
        let mut wishes = Vec::new();
        if place.row.ended == Some(End::Stuck) {
            wishes.push(("a person says: retry", self.machine.retry(&place.row, NOW)));
            let cancel = self.machine.cancel(&place.row, &self.case.rules, CancelBy::Person, NOW);
            wishes.push(("a person says: cancel", cancel.ok().flatten()));
            if self.world.is_quiet() {
                let origin = place.origin(self.case);
                let is_live = place.there.is_live();
                let what = if is_live { Resolution::Applied } else { Resolution::NotApplied };
                let write = resolve(&state(&place.row), &self.case.rules, origin, what, "looked", NOW);
                wishes.push(("a person looks, and resolves", write.map(Bent::from)));
            }
        }
        let mut reports = vec![("a webhook says: not applied", Observed::Otherwise)];
        if place.there.charges > 0 {
            reports.push(("a webhook says: applied", Observed::Applied(Some(Vec::new()))));
        }
        for (word, what) in reports {
            let write = observe(&state(&place.row), &self.case.rules, place.origin(self.case), what, NOW);
            let is_silent = write.as_ref().is_some_and(|write| write.to().disputed_at().is_none());
            if is_silent && matches!(place.row.ended, Some(End::Done | End::Failed | End::Cancelled)) {
                self.push("a report that contradicts the end leaves no mark", index, None, |_| {
                    Err("a report that contradicts the end leaves no mark")
                });
            }
            wishes.push((word, write.map(Bent::from)));
        }
        if self.case.also.chores {
            wishes.push(("a person writes a note", Some(note(&state(&place.row), NOW).into())));
        }
        for (word, write) in wishes {
            if let Some(write) = write {
                self.push(word, index, None, |world| {
                    world.retries -= 1;
                    commit(self.case, world, index, write)
                });
            }
        }
    }

    /// Adds the move in which somebody else, for example in the provider's back office, refunds a part of the charge.
    pub(crate) fn others(&mut self, index: usize) {
        let place = &self.world.places[index];
        let settled = place.row.ended == Some(End::Done) || self.case.traits.checks_amounts;
        if self.world.parts > 0 && settled && place.there.can_be_refunded_in_part() {
            let after = place.there.refunded_in_part(&self.case.traits);
            self.push("others refund a part", index, None, |world| {
                world.parts -= 1;
                world.places[index].there = after;
                Ok(())
            });
        }
    }

    /// Adds the moves in which the application records a failed action again, under the same key.
    pub(crate) fn again(&mut self, index: usize) {
        let place = &self.world.places[index];
        if self.world.anew == 0 || place.row.ended != Some(End::Failed) {
            return;
        }
        let row = state(&place.row);
        let idle = (0..2).find(|at| self.world.workers[*at].hand == Hand::Idle);
        let mut births = vec![(Birth::Recorded, None)];
        if let Some(at) = idle {
            births.push((Birth::Reserved(owner(at)), Some(at)));
            births.push((Birth::Sent(owner(at)), Some(at)));
        }
        for (birth, at) in births {
            let Some(write) = used_anew(&row, &self.case.rules, birth, NOW) else {
                if place.row.maybe_sent == 0 {
                    let what = "a key that never left cannot be used anew";
                    self.push(what, index, None, |_| Err(what));
                }
                return;
            };
            self.push("its key is used anew", index, None, |world| {
                world.anew -= 1;
                world.places[index].told = false;
                if let Some(at) = at {
                    let sends = write.attempt().cloned().map_or(Hand::Owns, Hand::Sending);
                    world.workers[at] =
                        Worker { place: index as u8, hand: sends, waited: self.case.also.caller };
                }
                commit(self.case, world, index, write.into())
            });
        }
    }
}
