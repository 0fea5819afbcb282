//! The moves that are possible in a world.
//!
//! Everything that may be delayed is a move of its own: recording and sending, sending and arriving, answering and
//! receiving, asking and being answered. Reading a row and writing it are two moves only if the worker is slow, which
//! counts as one of the few things that may go wrong in a run (a piece of bad luck). Time can pass whenever no declared
//! limit is exceeded by that. So a worker that makes no move while time passes lags behind. It may go on after its
//! lease has ended, as a zombie.

use seawall_ledger_search::machine::{
    AttemptKind, AttemptRow, CancelBy, Event, Found, NotSettled, Performed, Question, Report, Undone, claim,
    close_unsent, give_back,
};

use crate::bent::state;
use crate::obvious::Machine;
use crate::provider::{self, Answer, Provider};
use crate::world::{AppKind, Case, Hand, NOW, Order, Request, Worker, World, owner};
use crate::writes::{Checked, act, commit, settle_members, tell};

/// A possible move, and the world after it.
pub(crate) struct Next {
    pub(crate) word: &'static str,
    /// The number of the worker that makes the move, or of the action that it is about.
    pub(crate) who: usize,
    /// Of several moves, those with the lowest rank happen first, as long as nothing goes wrong. `None` if the move is
    /// a piece of bad luck, or if a person or an application decides to make it.
    pub(crate) rank: Option<u8>,
    pub(crate) after: Result<World, &'static str>,
}

const ARRIVES: u8 = 0;
const CATCHES_UP: u8 = 1;
const WORKS: u8 = 2;
const RECOVERS: u8 = 3;
const TICKS: u8 = 4;

pub(crate) struct Moves<'a> {
    pub(crate) case: &'a Case,
    pub(crate) machine: &'a Machine,
    pub(crate) world: &'a World,
    pub(crate) out: Vec<Next>,
}

impl Moves<'_> {
    pub(crate) fn all(mut self) -> Vec<Next> {
        for index in 0..self.world.net.len() {
            self.request(index);
        }
        for index in 0..self.world.places.len() {
            self.provider(index);
            self.people(index);
            self.others(index);
            self.again(index);
        }
        for worker in 0..self.world.workers.len() {
            self.worker(worker);
        }
        match self.case.app {
            AppKind::Reply | AppKind::Transaction => self.transaction(),
            AppKind::Confirming | AppKind::CommitsFirst | AppKind::SettlesFirst => self.caller(),
        }
        if self.world.can_tick(self.case) && !self.is_over() {
            self.push("a tick passes", 0, Some(TICKS), |world| {
                world.tick(self.case);
                Ok(())
            });
        }
        self.out
    }

    /// Returns whether nothing more happens if time passes.
    fn is_over(&self) -> bool {
        self.world.is_quiet() && self.world.places.iter().all(|p| p.due_at().is_none())
    }

    pub(crate) fn push(
        &mut self,
        word: &'static str,
        who: usize,
        rank: Option<u8>,
        how: impl FnOnce(&mut World) -> Checked,
    ) {
        let mut world = self.world.clone();
        let after = how(&mut world).map(|()| {
            world.normalise(self.case);
            world
        });
        self.out.push(Next { word, who, rank, after });
    }

    /// Adds the move `how` of a worker once more, as it goes if the application's handler fails.
    fn handler(&mut self, who: usize, how: impl FnOnce(&mut World) -> Checked) {
        if self.world.handlers == 0 {
            return;
        }
        let mut world = World { breaks: true, handlers: self.world.handlers - 1, ..self.world.clone() };
        let done = how(&mut world);
        // If this move ended no row, no handler was run. Then `breaks` is still set, and the move is not added.
        if !std::mem::take(&mut world.breaks) {
            let after = done.map(|()| {
                world.normalise(self.case);
                world
            });
            self.out.push(Next { word: "a handler fails", who, rank: None, after });
        }
    }

    fn unlucky(&mut self, word: &'static str, who: usize, how: impl FnOnce(&mut World) -> Checked) {
        if self.world.faults > 0 {
            self.push(word, who, None, |world| {
                world.faults -= 1;
                how(world)
            });
        }
    }

    // ---- the network and the provider ----

    fn request(&mut self, index: usize) {
        let request = self.world.net[index];
        let at = usize::from(request.worker);
        self.unlucky("a request is lost", at, |world| {
            world.net.remove(index);
            Ok(())
        });
        for arrival in self.there(usize::from(request.place)).arrivals(&self.case.traits, &request) {
            let waiting = waits_for(self.world, &request).cloned();
            let deliver = |world: &mut World| {
                world.net.remove(index);
                world.places[usize::from(request.place)].there = arrival.after.clone();
            };
            let Some(line) = waiting else {
                let go = |world: &mut World| {
                    deliver(world);
                    Ok(())
                };
                match arrival.bad_luck {
                    true => self.unlucky(arrival.word, at, go),
                    false => self.push(arrival.word, at, Some(ARRIVES), go),
                }
                continue;
            };
            let event = match arrival.answer.clone() {
                Answer::Performed(how, report) => Event::Performed(line, how, report),
                Answer::Undone(how) => Event::Cancelled(line, how, Report::default()),
            };
            let heard = |world: &mut World| {
                deliver(world);
                world.workers[at].hand = Hand::Knows(event);
                Ok(())
            };
            match arrival.bad_luck {
                true => self.unlucky(arrival.word, at, heard),
                false => {
                    self.push(arrival.word, at, Some(ARRIVES), heard);
                    self.unlucky("arrives, and its reply is lost", at, |world| {
                        deliver(world);
                        Ok(())
                    });
                }
            }
        }
    }

    /// Returns the provider's state as a request for this action finds it. If both actions are sent under one key, the
    /// answers that are saved for the other action's key count here, too.
    fn there(&self, index: usize) -> Provider {
        let place = &self.world.places[index];
        let others =
            self.world.places.iter().enumerate().filter(|(at, _)| self.case.also.clash && *at != index);
        let mut same = others.filter(|(_, other)| other.naming == place.naming);
        same.next().map_or_else(|| place.there.clone(), |(_, other)| place.there.with_key_of(&other.there))
    }

    fn provider(&mut self, index: usize) {
        let there = &self.world.places[index].there;
        if self.case.traits.forgets && there.remembers() {
            self.push("the provider forgets its keys", index, None, |world| {
                world.places[index].there.forget_all();
                Ok(())
            });
        }
        if there.is_working() {
            let done = there.finished(&self.case.traits);
            self.push("the provider's work is done", index, Some(CATCHES_UP), |world| {
                world.places[index].there = done;
                Ok(())
            });
        }
        if there.index_lags() {
            self.push("the index catches up", index, Some(CATCHES_UP), |world| {
                world.places[index].there.catch_up();
                Ok(())
            });
        }
    }

    // ---- workers ----

    fn worker(&mut self, at: usize) {
        let Worker { place, hand, waited: _ } = self.world.workers[at].clone();
        let here = usize::from(place);
        if hand != Hand::Idle {
            self.unlucky("a worker dies", at, |world| {
                world.crash(at);
                Ok(())
            });
        }
        match hand {
            // If both workers are idle, it makes no difference which one claims, so only worker 0 does.
            Hand::Idle if at == 1 && self.world.workers[0].hand == Hand::Idle => {}
            Hand::Idle => self.claims(at),
            Hand::Owns => {
                self.push("plans and writes", at, Some(WORKS), |world| {
                    act(self.case, self.machine, world, at, NOW)
                });
                self.handler(at, |world| act(self.case, self.machine, world, at, NOW));
                self.leaves(at, here);
                let version = self.world.places[here].row.version;
                self.unlucky("plans, and is delayed", at, |world| {
                    world.workers[at].hand = Hand::Planned { version, now: NOW };
                    Ok(())
                });
            }
            Hand::Planned { now, .. } => {
                self.push("writes what it had planned", at, Some(WORKS), |world| {
                    act(self.case, self.machine, world, at, now)
                });
            }
            Hand::Sending(line) => self.sends(at, here, line),
            Hand::Waiting(line) => self.waits(at, line),
            Hand::Asking(question) => self.asks(at, here, question),
            Hand::Knows(event) => {
                let version = self.world.places[here].row.version;
                let later = event.clone();
                let fails = event.clone();
                self.handler(at, |world| tell(self.case, self.machine, world, at, fails, NOW));
                self.push("tells", at, Some(WORKS), |world| {
                    tell(self.case, self.machine, world, at, event, NOW)
                });
                self.unlucky("reads, and is delayed", at, |world| {
                    world.workers[at].hand = Hand::Telling { event: later, version, now: NOW };
                    Ok(())
                });
            }
            Hand::Telling { event, now, .. } => {
                self.push("tells late", at, Some(WORKS), |world| {
                    tell(self.case, self.machine, world, at, event, now)
                });
            }
        }
    }

    fn waits(&mut self, at: usize, line: AttemptRow) {
        let lost = !self.world.net.iter().any(|request| {
            usize::from(request.worker) == at
                && request.number == line.number
                && request.place == self.world.workers[at].place
        });
        let event = unknown(line);
        let gives_up = |world: &mut World| {
            world.workers[at].hand = Hand::Knows(event);
            Ok(())
        };
        match lost {
            true => self.push("waits in vain", at, Some(WORKS), gives_up),
            false => self.unlucky("gives up waiting", at, gives_up),
        }
    }

    fn asks(&mut self, at: usize, here: usize, question: Question) {
        let status = self.world.places[here].there.status(&self.case.traits);
        if self.world.balancer > 0 {
            let event = Event::Confirmed(question, Found::Absent, Report::default());
            self.push("a load balancer answers 404", at, None, |world| {
                world.balancer -= 1;
                world.workers[at].hand = Hand::Knows(event);
                Ok(())
            });
        }
        for (found, bad_luck) in [(status, false), (Found::Other, true)] {
            let event = Event::Confirmed(question, found, Report::default());
            let hears = |world: &mut World| {
                world.workers[at].hand = Hand::Knows(event);
                Ok(())
            };
            match bad_luck {
                true => self.unlucky("is not answered", at, hears),
                false => self.push("is answered", at, Some(WORKS), hears),
            }
        }
    }

    /// Adds the moves of a worker that leaves a row without having sent anything: its process gives the row back
    /// because it ends, or it ends the action for a caller that waits.
    fn leaves(&mut self, at: usize, here: usize) {
        let row = state(&self.world.places[here].row);
        let back = give_back(&row, owner(at), NOW).filter(|_| self.case.also.chores);
        if let Some(write) = back {
            self.unlucky("gives the row back", at, |world| {
                world.workers[at].hand = Hand::Idle;
                commit(self.case, world, here, write.into())
            });
        }
        let write = close_unsent(&row, owner(at), "its caller does not wait", NOW);
        if let Some(write) = write.filter(|_| self.world.workers[at].waited) {
            self.push("closes what was not sent, and tells the caller", at, None, |world| {
                world.workers[at].hand = Hand::Idle;
                world.places[here].told = true;
                commit(self.case, world, here, write.into())
            });
        }
    }

    fn claims(&mut self, at: usize) {
        for (index, place) in self.world.places.iter().enumerate() {
            if let Some(write) = claim(&state(&place.row), self.case.rules.lease, owner(at), NOW) {
                self.push("claims", at, Some(WORKS), |world| {
                    commit(self.case, world, index, write.into())?;
                    world.workers[at] = Worker { place: index as u8, hand: Hand::Owns, waited: false };
                    Ok(())
                });
            }
        }
    }

    fn sends(&mut self, at: usize, here: usize, line: AttemptRow) {
        let not_sent = match line.kind {
            AttemptKind::Perform if self.world.workers[at].waited => {
                Event::Unsent(line.clone(), Report::default())
            }
            AttemptKind::Perform => Event::Performed(line.clone(), Performed::NotSent, Report::default()),
            AttemptKind::Cancel | AttemptKind::Confirm => {
                Event::Cancelled(line.clone(), Undone::NotSent, Report::default())
            }
        };
        if NOW >= line.send_by && !self.machine.sends_late() {
            self.push("is too late to send", at, Some(WORKS), |world| {
                world.workers[at].hand = Hand::Knows(not_sent);
                Ok(())
            });
            return;
        }
        self.unlucky("is refused the connection", at, |world| {
            world.workers[at].hand = Hand::Knows(not_sent);
            Ok(())
        });
        let request = Request {
            place: here as u8,
            worker: at as u8,
            kind: line.kind,
            number: line.number,
            generation: line.generation,
            by_key: self.world.places[here].row.answer.is_none(),
            rest: self.world.places[here].row.answer == provider::part(),
            // A cancel always arrives within one tick. If a refund without a key were late, the ledger could not know
            // that, and would pay out twice.
            left: match line.kind {
                AttemptKind::Perform => self.case.network,
                AttemptKind::Cancel | AttemptKind::Confirm => 1,
            },
        };
        let word = match line.kind {
            AttemptKind::Perform => "sends",
            AttemptKind::Cancel | AttemptKind::Confirm => "sends a cancel",
        };
        self.push(word, at, Some(WORKS), |world| {
            world.net.push(request);
            world.workers[at].hand = Hand::Waiting(line);
            Ok(())
        });
    }

    // ---- the application ----

    fn transaction(&mut self) {
        if self.case.app == AppKind::Transaction {
            let settled = match &self.world.places[..] {
                [place] => self.machine.settle(&place.row, NOW).map(|write| write.into_iter().collect()),
                _ if !self.case.is_scoped() => Ok(Vec::new()),
                places => settle_members(self.case, places),
            };
            match settled {
                Ok(writes) if writes.is_empty() => {}
                Ok(writes) => self.push("settles, and commits", 0, None, |world| {
                    for (index, write) in writes.into_iter().enumerate() {
                        commit(self.case, world, index, write)?;
                    }
                    Ok(())
                }),
                Err(_) if self.machine.ignores_that_it_could_not_settle() => {
                    self.push("commits although it could not settle", 0, None, |world| {
                        world.places[0].paid = true;
                        Ok(())
                    });
                }
                Err(_) => {}
            }
        }
        self.cancels(CancelBy::Transaction);
    }

    fn cancels(&mut self, by: CancelBy) {
        if self.world.cancels == 0 {
            return;
        }
        let rows = self.world.places.iter();
        let wishes: Vec<_> = rows.map(|p| self.machine.cancel(&p.row, &self.case.rules, by, NOW)).collect();
        if wishes.iter().any(|wish| matches!(wish, Ok(Some(_)))) {
            self.push("the application cancels", 0, None, |world| {
                world.cancels -= 1;
                for (index, wish) in wishes.into_iter().enumerate() {
                    if let Ok(Some(write)) = wish {
                        commit(self.case, world, index, write)?;
                    }
                }
                Ok(())
            });
        }
    }

    /// Adds the moves of an application with its own database. It may stop at any point. What it has heard from the
    /// ledger and not committed is then lost.
    fn caller(&mut self) {
        let goes = |order: Order| {
            move |world: &mut World| {
                world.order = order;
                Ok(())
            }
        };
        let first = self.case.app == AppKind::CommitsFirst;
        let asks_first = self.case.app == AppKind::SettlesFirst;
        match self.world.order {
            Order::New if first => {
                self.push("the order is committed as paid", 0, None, goes(Order::PaidEarly))
            }
            Order::New if asks_first => self.posts(Order::New),
            Order::New => self.push("the order is committed as confirming", 0, None, goes(Order::Confirming)),
            Order::Confirming => self.posts(Order::Confirming),
            Order::PaidEarly => self.posts(Order::PaidEarly),
            Order::Heard => {
                self.push("the order is committed as paid", 0, Some(RECOVERS), goes(Order::Paid));
                let again = if asks_first { Order::Failed } else { Order::Confirming };
                self.unlucky("the application dies", 0, goes(again));
            }
            Order::HeardNo => {
                self.push("the order is committed as failed", 0, Some(RECOVERS), goes(Order::Failed));
                self.unlucky("the application dies", 0, goes(Order::Confirming));
            }
            Order::Paid | Order::Failed => {}
        }
        self.cancels(CancelBy::Caller);
    }

    fn posts(&mut self, from: Order) {
        let recovers = (from != Order::New).then_some(RECOVERS);
        let early = from == Order::PaidEarly;
        match self.machine.settle(&self.world.places[0].row, NOW) {
            Ok(write) => {
                let order = if early { Order::Paid } else { Order::Heard };
                self.push("settles: 200", 0, recovers, |world| {
                    world.order = order;
                    write.map_or(Ok(()), |write| commit(self.case, world, 0, write))
                });
            }
            // The ledger may answer otherwise later, so the application stays in its state and asks again.
            Err(NotSettled::NotKnown | NotSettled::ScopeIncomplete | NotSettled::NeedsNewer) => {}
            Err(NotSettled::TooLate | NotSettled::Failed) => {
                let order = if early { Order::Paid } else { Order::HeardNo };
                self.push("settles: 409", 0, recovers, |world| {
                    world.order = order;
                    Ok(())
                });
            }
        }
    }
}

fn waits_for<'a>(world: &'a World, request: &Request) -> Option<&'a AttemptRow> {
    let worker = &world.workers[usize::from(request.worker)];
    match &worker.hand {
        Hand::Waiting(line) if worker.place == request.place && line.number == request.number => Some(line),
        Hand::Waiting(_)
        | Hand::Idle
        | Hand::Owns
        | Hand::Planned { .. }
        | Hand::Sending(_)
        | Hand::Asking(_)
        | Hand::Knows(_)
        | Hand::Telling { .. } => None,
    }
}

fn unknown(line: AttemptRow) -> Event {
    match line.kind {
        AttemptKind::Perform => Event::Performed(line, Performed::Unknown, Report::default()),
        AttemptKind::Cancel | AttemptKind::Confirm => {
            Event::Cancelled(line, Undone::Unknown, Report::default())
        }
    }
}
