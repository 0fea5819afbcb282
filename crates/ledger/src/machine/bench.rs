//! A test bench: a row that the tests of the state machine can move through its states.

use std::time::Duration;

use seawall_policy::{Draw, Idempotency};

use super::{
    AttemptRow, Back, CancelBy, CancelKind, CancelRules, ConfirmRules, Event, Found, Naming, Now, OnUnknown,
    Origin, Owner, Performed, Question, Report, Rules, SettleBy, Stamp, State, Step, Told, Undone, Write,
    cancel, claim, plan, recorded, told,
};
use crate::calendar::Lifetime;

pub(super) const ME: Owner = Owner(7);
pub(super) const OTHER: Owner = Owner(8);

pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The part of a row that never changes, for a row without a scope.
pub(super) fn origin() -> Origin<'static> {
    Origin { scoped: false, dependency: "pay", key: "order-1", naming: Naming::Salted(0) }
}

pub(super) const fn at(seconds: i64) -> Stamp {
    Stamp::from_micros(1_000_000_000 + seconds * 1_000_000)
}

/// Returns rules for a provider that has no idempotency keys, but can be asked what became of an action. A second
/// cancel undoes the effect once more, as a second refund does. So nothing may be sent a second time before the
/// provider was asked.
pub(super) fn lookup() -> Rules {
    Rules {
        on_unknown: OnUnknown::Confirm,
        confirm: Some(ConfirmRules { after: Duration::from_secs(2), absences: 1, until: None }),
        cancel: Some(CancelRules {
            kind: CancelKind::Additive,
            keyed: false,
            tombstone: false,
            by_key: false,
            after: Duration::ZERO,
            absences: 1,
            until: None,
            asks_first: false,
        }),
        ..Rules::of(Idempotency::None)
    }
}

/// Returns rules for a provider that honours keys for a day and cannot be asked. A cancel names the action by the key
/// under which it was sent, and a second cancel changes nothing.
pub(super) fn keyed() -> Rules {
    Rules { cancel: Some(void()), ..Rules::of(Idempotency::Keyed).remembered(Lifetime::For(DAY)) }
}

pub(super) fn void() -> CancelRules {
    CancelRules {
        kind: CancelKind::State,
        keyed: false,
        tombstone: false,
        by_key: true,
        after: Duration::ZERO,
        absences: 1,
        until: None,
        asks_first: false,
    }
}

/// Returns rules for a provider that has no idempotency keys and cannot be asked. If the effect is unknown, a cancel is
/// sent without a question to the provider. The cancel names the action by the key under which it was sent. This
/// provider uses that key only as an order number.
pub(super) fn net_cancel() -> Rules {
    Rules { on_unknown: OnUnknown::Cancel, cancel: Some(void()), ..Rules::of(Idempotency::None) }
}

pub(super) fn explicit(rules: Rules) -> Rules {
    Rules { settle: SettleBy::Explicit(Duration::from_secs(60)), ..rules }
}

pub(super) fn status(status: u16) -> Report {
    Report { status: Some(status), ..Report::default() }
}

/// A row with its rules, and the current time.
pub(super) struct Bench {
    pub(super) row: State,
    pub(super) rules: Rules,
    pub(super) origin: Origin<'static>,
    pub(super) now: Stamp,
    /// For how long the database's time is still in doubt after a jump of its clock; `None` if the time can be relied
    /// on.
    pub(super) doubt: Option<Duration>,
    pub(super) back: Back,
}

impl Bench {
    /// Makes a row that is recorded and claimed by us.
    pub(super) fn new(rules: Rules) -> Bench {
        let now = at(0);
        let row = recorded(&rules, now);
        let mut bench = Bench { row, rules, origin: origin(), now, doubt: None, back: Back::default() };
        bench.claim();
        bench
    }

    /// Makes a row that is claimed by us, and whose effect exists and is to be undone. The application cancelled the
    /// action before the provider answered "yes".
    pub(super) fn to_undo(rules: Rules) -> Bench {
        let mut bench = Bench::new(rules);
        let line = bench.performs();
        bench.app_cancels();
        bench.performed(line, Performed::Yes(answer()));
        bench
    }

    pub(super) fn app_cancels(&mut self) {
        let wish = cancel(&self.row, &self.rules, CancelBy::Transaction, self.now);
        self.take(wish.expect("it may").expect("it changes something"));
    }

    /// Ends the lease if there is one, and claims the row now, even if it is due later.
    pub(super) fn claim_over(&mut self) {
        self.row.claim = None;
        self.row.next_at = self.row.next_at.min(self.now);
        self.claim();
    }

    pub(super) fn claim(&mut self) {
        let write = claim(&self.row, self.rules.lease, ME, self.now).expect("it is due");
        self.take(write);
    }

    pub(super) fn take(&mut self, write: Write) {
        assert_eq!(write.from, self.row.version);
        assert_eq!(write.to.version, self.row.version + 1);
        self.row = write.to;
    }

    /// Sets the end of our lease.
    pub(super) fn lease_until(&mut self, until: Stamp) {
        self.row.claim.as_mut().expect("it is claimed").until = until;
    }

    /// Returns the number of cancels of the current generation (those with the current key) that may have been sent.
    pub(super) fn open_cancels(&self) -> u32 {
        self.row.undo.open.as_ref().map_or(0, |open| open.count)
    }

    pub(super) fn time(&self) -> Now {
        Now { at: self.now, doubt: self.doubt, back: self.back }
    }

    pub(super) fn plan(&self) -> Step {
        plan(&self.row, &self.rules, self.origin, self.time(), ME)
    }

    /// Asks the machine for the next step of the row, and writes each planned change into the row. Returns the first
    /// step that is more than a change: a request to send, a scope to settle, or nothing to do.
    pub(super) fn step(&mut self) -> Step {
        for _ in 0..10 {
            match self.plan() {
                Step::Change(write) => self.take(write),
                Step::Perform(write) => {
                    self.take(write.clone());
                    return Step::Perform(write);
                }
                Step::Cancel(write) => {
                    self.take(write.clone());
                    return Step::Cancel(write);
                }
                step @ (Step::Leave | Step::Ask(_) | Step::SettleScope) => return step,
            }
        }
        panic!("a plan that never ends");
    }

    pub(super) fn performs(&mut self) -> AttemptRow {
        match self.step() {
            Step::Perform(write) => write.attempt.expect("an attempt is recorded"),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn cancels(&mut self) -> AttemptRow {
        match self.step() {
            Step::Cancel(write) => write.attempt.expect("a cancel is recorded"),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn asks(&mut self) -> Question {
        match self.step() {
            Step::Ask(question) => question,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn tell(&mut self, event: Event) -> Told {
        let told = told(&self.row, &self.rules, self.origin, ME, event, self.time(), Draw::new(u64::MAX));
        if let Told::Write(write) = &told {
            self.take(write.clone());
        }
        told
    }

    pub(super) fn performed(&mut self, line: AttemptRow, how: Performed) -> Told {
        self.tell(Event::Performed(line, how, Report::default()))
    }

    pub(super) fn refused(&mut self, line: AttemptRow, code: u16) -> Told {
        self.tell(Event::Performed(line, Performed::No(None), status(code)))
    }

    pub(super) fn found(&mut self, question: Question, found: Found) -> Told {
        self.tell(Event::Confirmed(question, found, Report::default()))
    }

    pub(super) fn undone(&mut self, line: AttemptRow, how: Undone) -> Told {
        self.tell(Event::Cancelled(line, how, Report::default()))
    }

    /// Moves the time to the moment at which the row is due, and claims the row.
    pub(super) fn until_due(&mut self) {
        self.now = self.now.max(self.row.due_at().expect("it will be due"));
        self.claim();
    }

    /// Begins an attempt that ends without an answer, and claims the row again when it is due. Returns the attempt's
    /// log line.
    pub(super) fn lost_attempt(&mut self) -> AttemptRow {
        let line = self.performs();
        self.performed(line.clone(), Performed::Unknown);
        self.until_due();
        line
    }
}

pub(super) fn answer() -> Option<Vec<u8>> {
    Some(b"{\"id\":\"ch_1\"}".to_vec())
}
