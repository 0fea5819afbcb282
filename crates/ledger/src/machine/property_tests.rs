//! Properties that hold for every change of a row, whatever happens and in whatever order. The tests assume nothing
//! about the provider, the network or the application.

use std::time::Duration;

use proptest::prelude::*;
use seawall_policy::{Draw, Idempotency};

use super::{
    AttemptRow, CancelBy, CancelKind, CancelRules, ConfirmRules, End, Event, Found, Goal, Known, NotApplied,
    Observed, OnUnknown, Origin, Owner, Performed, Question, Report, Resolution, Rules, SettleBy, Stamp,
    State, Step, Told, Undone, Write, cancel, claim, observe, plan, recorded, release, resolve, retry,
    settle, told,
};

fn rules() -> impl Strategy<Value = Rules> {
    let idempotency = prop::sample::select(Idempotency::ALL.to_vec());
    let unknown =
        prop::sample::select(vec![OnUnknown::Repeat, OnUnknown::Confirm, OnUnknown::Cancel, OnUnknown::Hold]);
    let confirm = prop::option::of(1_u32..3);
    let cancel = prop::option::of((any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (idempotency, unknown, confirm, cancel, flags).prop_map(
        |(idempotency, on_unknown, confirm, cancel, (explicit, saves, resend, binds))| Rules {
            on_unknown,
            settle: if explicit { SettleBy::Explicit(Duration::from_secs(300)) } else { SettleBy::Reply },
            confirm: confirm.map(|absences| ConfirmRules { after: Duration::from_secs(2), absences }),
            cancel: cancel.map(|(adds_up, keyed, tombstone, by_key)| CancelRules {
                kind: if adds_up { CancelKind::Additive } else { CancelKind::State },
                keyed,
                tombstone,
                by_key,
                after: Duration::ZERO,
            }),
            saves_refusals: saves,
            resend_absent: resend,
            refusal_binds: if binds { vec![402] } else { Vec::new() },
            ..Rules::of(idempotency)
        },
    )
}

/// Generates a list of events. Each event is a wait in seconds, and a number that selects what happens.
fn moves() -> impl Strategy<Value = Vec<(u8, i64)>> {
    let wait = prop::sample::select(vec![0_i64, 0, 1, 5, 31, 121, 151, 90_000]);
    prop::collection::vec((any::<u8>(), wait), 1..60)
}

struct World {
    row: State,
    rules: Rules,
    origin: Origin,
    now: Stamp,
    /// The attempts that have begun: the owner, the line in the attempt log, and whether the attempt is a cancel. The
    /// ends of these attempts, and of the questions below, may be reported to the machine a long time later.
    attempts: Vec<(Owner, AttemptRow, bool)>,
    questions: Vec<(Owner, Question)>,
}

impl World {
    fn take(&mut self, write: &Write) {
        check(&self.rules, &self.row, write);
        self.row = write.to.clone();
    }

    fn tell(&mut self, owner: Owner, event: Event) {
        let told = told(&self.row, &self.rules, self.origin, owner, event, self.now, Draw::new(1 << 63));
        if let Told::Write(write) = told {
            self.take(&write);
        }
    }

    fn step(&mut self, owner: Owner) {
        match plan(&self.row, &self.rules, self.origin, self.now, owner) {
            Step::Leave => {
                let mine = self.row.owner == Some(owner) && self.row.in_flight.is_none();
                assert!(!mine || self.row.end.is_some(), "nothing to do, and not at an end: {:?}", self.row);
            }
            Step::Change(write) => self.take(&write),
            Step::Perform(write) | Step::Cancel(write) => {
                let is_cancel =
                    self.row.goal == Goal::Cancel && write.to.cancel_tries > self.row.cancel_tries;
                let line = write.attempt.clone().expect("an attempt is recorded");
                self.attempts.push((owner, line, is_cancel));
                self.take(&write);
            }
            Step::Ask(question) => self.questions.push((owner, question)),
            Step::SettleScope => self.tell(owner, Event::ScopeWaits),
        }
    }

    fn attempt_ends(&mut self, which: u8, how: u8) {
        let Some(index) = self.attempts.len().checked_sub(1).map(|last| usize::from(which) % (last + 1))
        else {
            return;
        };
        let (owner, line, is_cancel) = self.attempts[index].clone();
        let report = |status| Report { status: Some(status), ..Report::default() };
        let event = if is_cancel {
            let how = [Undone::Yes, Undone::NoSuch, Undone::NotSent, Undone::Unknown][usize::from(how % 4)];
            Event::Cancelled(line, how, report(200))
        } else {
            match how % 5 {
                0 => Event::Performed(line, Performed::Yes(Some(Vec::new())), report(200)),
                1 => Event::Performed(line, Performed::No, report(402)),
                2 => Event::Performed(line, Performed::No, report(401)),
                3 => Event::Performed(line, Performed::NotSent, Report::default()),
                _ => Event::Performed(line, Performed::Unknown, Report::default()),
            }
        };
        self.tell(owner, event);
    }

    fn question_ends(&mut self, how: u8) {
        let Some((owner, question)) = self.questions.pop() else { return };
        let found = match how % 4 {
            0 => Found::Applied(Some(Vec::new())),
            1 => Found::Cancelled,
            2 => Found::Absent,
            _ => Found::Other,
        };
        self.tell(owner, Event::Confirmed(question, found, Report::default()));
    }

    fn wish(&mut self, which: u8) {
        let (row, rules, now) = (&self.row, &self.rules, self.now);
        let write = match which % 7 {
            0 => settle(row, now).ok().flatten(),
            1 => cancel(row, rules, CancelBy::Transaction, now).ok().flatten(),
            2 => cancel(row, rules, CancelBy::Caller, now).ok().flatten(),
            3 => retry(row, now),
            4 => resolve(row, rules, self.origin, Resolution::NotApplied, "said so", now),
            5 => observe(row, rules, self.origin, Observed::Applied(None), now),
            _ => observe(row, rules, self.origin, Observed::Otherwise, now),
        };
        if let Some(write) = write {
            self.take(&write);
        }
    }

    fn happens(&mut self, what: u8) {
        let owner = Owner(u128::from(what & 1) + 1);
        let detail = what / 16;
        match what % 16 {
            0..=2 => {
                if let Some(write) = claim(&self.row, &self.rules, owner, self.now) {
                    self.take(&write);
                }
            }
            3..=8 => self.step(owner),
            9..=11 => self.attempt_ends(detail, what / 5),
            12 | 13 => self.question_ends(detail),
            14 => self.wish(detail),
            _ => {
                if let Some(write) = release(&self.row, owner, self.now) {
                    self.take(&write);
                }
            }
        }
    }
}

/// Checks the properties of one change that hold however the provider, the network and the application behave.
fn check(rules: &Rules, from: &State, write: &Write) {
    let to = &write.to;
    assert_eq!((write.from, to.version), (from.version, from.version + 1), "the version goes up by one");
    assert!(to.fence >= from.fence && to.logged >= from.logged && to.cancel_gen >= from.cancel_gen);
    assert!(to.goal == from.goal || to.goal == Goal::Cancel, "the goal never goes back");
    if from.known == Known::Applied && to.known != Known::Applied {
        assert_eq!(to.goal, Goal::Cancel, "applied is overwritten only by a cancel");
    }
    if to.settled {
        assert_eq!((to.goal, to.known, to.end), (Goal::Perform, Known::Applied, Some(End::Done)));
    }
    if matches!(to.known, Known::Never | Known::NotApplied(_)) {
        assert_eq!(to.open_attempts, 0, "no attempt is open of what is not applied");
    }
    if matches!(to.known, Known::NotApplied(NotApplied::Absent | NotApplied::NoSuch))
        && to.known != from.known
    {
        assert!(to.closed_by_absence);
    }
    if to.end.is_some() {
        assert!(to.in_flight.is_none(), "nothing is under way at an end");
    } else {
        assert!(to.due_at().is_some(), "nothing rests without a time");
    }
    assert!(to.in_flight.is_none() || to.owner.is_some());
    if let Some(line) = write.attempt.as_ref().filter(|line| line.ended_at.is_none()) {
        assert_eq!((line.number, Some(line.number)), (from.logged + 1, to.in_flight), "a number of its own");
        assert!(line.send_by <= to.lease_until && line.fence == from.fence);
        if to.attempts > from.attempts {
            assert!(rules.confirm.is_none() || from.open_attempts == 0, "asked before it is sent again");
            assert!(to.quiet_until >= Some(line.send_by.saturating_add(rules.quiet)));
            assert!(from.goal == Goal::Perform || from.known == Known::Unknown);
        } else {
            assert_eq!(from.goal, Goal::Cancel);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_change_keeps_the_rules(rules in rules(), moves in moves()) {
        let now = Stamp::from_micros(1_000_000_000);
        let row = recorded(&rules, now);
        let origin = Origin { created: now, scoped: false };
        let mut world = World { row, rules, origin, now, attempts: Vec::new(), questions: Vec::new() };
        for (what, wait) in moves {
            world.now = world.now.saturating_add(Duration::from_secs(wait.unsigned_abs()));
            world.happens(what);
        }
    }
}
