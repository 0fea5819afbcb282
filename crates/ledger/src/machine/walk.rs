//! A row to which events of all kinds happen, in a random order. Each change that the state machine makes is checked.

use std::time::Duration;

use seawall_policy::Draw;

use super::bench::at;
use super::doubts::{plans_without_the_time, tells_without_the_time};
use super::invariants::{check, holds, is_allowed};
use super::{
    AttemptKind, AttemptRow, Birth, CancelBy, End, Event, Found, Naming, Now, Observed, Origin, Owner,
    Performed, Question, Report, Resolution, Rules, Stamp, State, Step, Told, Undone, Write, cancel, claim,
    close_unsent, completed, give_back, handler_failed, note, observe, plan, recorded, resolve, retry,
    scope_handler_failed, sent, settle, told, undeclared, used_anew,
};

/// How the row begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    Recorded,
    /// The row is recorded together with its first attempt. The rules of the test must leave time for that attempt before
    /// the deadline to settle, `settle_by`.
    Sent,
    /// Plain SQL, which does not know the rules, records the row.
    BySql,
}

pub(super) struct World {
    pub(super) row: State,
    pub(super) rules: Rules,
    pub(super) origin: Origin<'static>,
    pub(super) now: Stamp,
    /// Whether the changes of the row are checked. It is false for a row that the machine did not make.
    pub(super) checks: bool,
    /// Whether the application's handler fails at present.
    handler_fails: bool,
    /// For how long the time is in doubt; `None` if it is not.
    doubt: Option<Duration>,
    /// The attempts that have begun, each with its owner. The ends of these attempts, and of the questions below, may
    /// be reported to the machine a long time later.
    attempts: Vec<(Owner, AttemptRow)>,
    questions: Vec<(Owner, Question)>,
}

impl World {
    pub(super) fn new(rules: Rules, origin: Origin<'static>, start: Start) -> World {
        let now = at(0);
        let mut world = World {
            row: recorded(&rules, now),
            rules,
            origin,
            now,
            checks: true,
            handler_fails: false,
            doubt: None,
            attempts: Vec::new(),
            questions: Vec::new(),
        };
        match start {
            Start::Recorded => {}
            Start::Sent => {
                let (row, line) = sent(&world.rules, Owner(1), now).expect("there is time");
                world.row = row;
                world.attempts.push((Owner(1), line));
            }
            Start::BySql => {
                world.row.settle_by = None;
                world.origin.naming = Naming::Open;
            }
        }
        holds(&world.row);
        world
    }

    fn take(&mut self, write: Write) {
        if self.checks {
            check(&self.rules, &self.row, &write, self.now);
        }
        if write.names().is_some() {
            self.origin.naming = Naming::Salted(0);
        }
        self.row = write.to;
    }

    /// Takes the change that a worker wants to make. If this change ends the row while the application's handler fails,
    /// takes instead the change that the machine makes after a failed handler.
    fn take_with_handler(&mut self, write: Write) {
        let runs = matches!(write.to.end, Some(End::Done | End::Failed | End::Cancelled));
        if !(runs && self.handler_fails) {
            return self.take(write);
        }
        let held = handler_failed(write, &self.row, &self.rules, "no", self.now, Draw::new(1 << 63));
        if self.checks {
            assert_eq!(held.to.end, self.row.end, "the row has not ended, or had ended before");
        }
        self.take(held);
    }

    pub(super) fn time(&self) -> Now {
        Now { doubt: self.doubt, ..Now::sure(self.now) }
    }

    fn tell(&mut self, owner: Owner, event: Event) {
        let draw = Draw::new(1 << 63);
        if self.checks && self.doubt.is_some() {
            tells_without_the_time(self, owner, &event);
        }
        let told = told(&self.row, &self.rules, self.origin, owner, event.clone(), self.time(), draw);
        if let Told::Write(write) = told {
            if self.checks {
                is_allowed(&self.rules, &self.row, owner, &event, &write, self.now);
            }
            self.take_with_handler(write);
        }
    }

    fn step(&mut self, owner: Owner) {
        let complete = |world: &World| completed(&world.row, &world.rules, world.origin, 0, world.now);
        if let Some(write) = complete(self).filter(|_| self.row.owner() == Some(owner)) {
            self.take(write);
            assert_eq!(complete(self), None);
        }
        if self.checks && self.doubt.is_some() {
            plans_without_the_time(self, owner);
        }
        match plan(&self.row, &self.rules, self.origin, self.time(), owner) {
            Step::Leave => {
                let mine = self.row.owner() == Some(owner) && self.row.in_flight().is_none();
                assert!(
                    !mine || !self.checks || self.row.end.is_some(),
                    "nothing to do, and not at an end: {:?}",
                    self.row
                );
            }
            Step::Change(write) => self.take_with_handler(write),
            Step::Perform(write) | Step::Cancel(write) => {
                let line = write.attempt.clone().expect("an attempt is recorded");
                self.attempts.push((owner, line));
                self.take(write);
            }
            Step::Ask(question) => {
                let by = self.rules.ask_by(self.row.sent.as_ref());
                assert!(!self.checks || by.is_none_or(|by| self.now < by), "asked after the window");
                self.questions.push((owner, question));
            }
            Step::SettleScope => self.scope(owner),
        }
    }

    fn scope(&mut self, owner: Owner) {
        if self.handler_fails {
            let (rules, draw) = (&self.rules, Draw::new(1 << 63));
            let held = scope_handler_failed(&self.row, owner, rules, "no", self.now, draw);
            return self.take(held.expect("it is ours"));
        }
        match self.now.as_micros() % 3 {
            0 => self.tell(owner, Event::ScopeWaits),
            1 => self.tell(owner, Event::ScopeBroken),
            _ => {
                let write = settle(&self.row, self.now).expect("it is applied").expect("it is not settled");
                self.take(write);
            }
        }
    }

    fn attempt_ends(&mut self, how: u8) {
        // Usually the last attempt ends, and sometimes one of the attempts before it.
        let back = if how >= 192 { usize::from(how) % 5 } else { 0 };
        let Some(index) = self.attempts.len().checked_sub(back + 1) else { return };
        let (owner, line) = self.attempts[index].clone();
        let report = |status| Report { status: Some(status), ..Report::default() };
        let body = Some(b"no".to_vec());
        let event = if line.kind == AttemptKind::Cancel {
            let all = [
                Undone::Yes,
                Undone::NoSuch,
                Undone::Refused,
                Undone::Never,
                Undone::NotSent,
                Undone::Unknown,
            ];
            Event::Cancelled(line, all[usize::from(how) % all.len()], report(200))
        } else {
            match how % 8 {
                0 => Event::Performed(line, Performed::Yes(Some(Vec::new())), report(200)),
                1 => Event::Performed(line, Performed::No(body), report(402)),
                2 => Event::Performed(line, Performed::No(None), report(401)),
                3 => Event::Performed(line, Performed::NotSent, Report::default()),
                4 => Event::Unsent(line, Report::default()),
                5 => Event::Performed(line, Performed::Duplicate, report(409)),
                _ => Event::Performed(line, Performed::Unknown, Report::default()),
            }
        };
        self.tell(owner, event);
    }

    fn question_ends(&mut self, how: u8) {
        let Some((owner, question)) = self.questions.pop() else { return };
        let found = match how % 6 {
            0 => Found::Applied(Some(Vec::new())),
            1 => Found::Cancelled,
            2 | 3 => Found::Absent,
            4 => Found::NotSent,
            _ => Found::Other,
        };
        self.tell(owner, Event::Confirmed(question, found, Report::default()));
    }

    fn wish(&mut self, which: u8) {
        let (row, rules, origin, now) = (&self.row, &self.rules, self.origin, self.now);
        let write = match which % 10 {
            0 => settle(row, now).ok().flatten(),
            1 => cancel(row, rules, CancelBy::Transaction, now).ok().flatten(),
            2 => cancel(row, rules, CancelBy::Caller, now).ok().flatten(),
            3 => cancel(row, rules, CancelBy::Person, now).ok().flatten(),
            4 => retry(row, now),
            5 => resolve(row, rules, origin, Resolution::NotApplied, "said so", now),
            6 => resolve(row, rules, origin, Resolution::Applied, "said so", now),
            7 => observe(row, rules, origin, Observed::Applied(None), now),
            8 => observe(row, rules, origin, Observed::Otherwise, now),
            _ => Some(note(row, now)),
        };
        if let Some(write) = write {
            self.take(write);
        }
    }

    fn uses_anew(&mut self, owner: Owner, which: u8) {
        let birth = match which % 3 {
            0 => Birth::Recorded,
            1 => Birth::Reserved(owner),
            _ => Birth::Sent(owner),
        };
        if let Some(write) = used_anew(&self.row, &self.rules, birth, self.now) {
            self.attempts.extend(write.attempt.clone().map(|line| (owner, line)));
            self.take(write);
        }
    }

    /// Lets `wait` seconds pass, and then one event happen. `what` and `detail` select the event.
    pub(super) fn happens(&mut self, what: u8, detail: u8, wait: u64) {
        self.now = self.now.saturating_add(Duration::from_secs(wait));
        let owner = Owner(u128::from(what & 1) + 1);
        let now = self.now;
        match what / 2 % 32 {
            0..=4 => self.taken(claim(&self.row, self.rules.lease, owner, now)),
            5..=13 => self.step(owner),
            14..=19 => self.attempt_ends(detail),
            20..=23 => self.question_ends(detail),
            24..=26 => self.wish(detail),
            27 => self.uses_anew(owner, detail),
            28 => self.taken(close_unsent(&self.row, owner, "not sent", now)),
            29 => self.handler_fails = detail.is_multiple_of(2),
            30 => self.doubt = detail.is_multiple_of(2).then(|| Duration::from_secs(1 + u64::from(detail))),
            _ => match detail % 3 {
                0 | 1 => self.taken(give_back(&self.row, owner, now)),
                _ => self.taken(undeclared(&self.row, Duration::from_secs(100), self.time())),
            },
        }
    }

    fn taken(&mut self, write: Option<Write>) {
        if let Some(write) = write {
            self.take(write);
        }
    }
}
