//! Rows that the machine can reach, made by random walks of the machine through its public functions.

use std::time::Duration;

use fastrand::Rng;
use seawall_ledger::machine::{
    self, Birth, Known, Resolution, close_unsent, give_back, handler_failed, note, observe, plan, resolve,
    retry, told, used_anew,
};
use seawall_ledger::{
    AttemptKind, AttemptRow, CancelBy, CancelKind, CancelRules, ConfirmRules, End, Event, Found, KeyRules,
    Lifetime, Naming, Now, Observed, OnUnknown, Origin, Owner, Performed, Question, Report, Rules, SettleBy,
    Stamp, State, Step, Told, Undone, Write,
};
use seawall_policy::{Draw, Idempotency};

/// Chooses a seed, or takes the one of `SEAWALL_TEST_SEED`, and prints it.
pub(crate) fn seeded() -> Rng {
    let given = std::env::var("SEAWALL_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("SEAWALL_TEST_SEED={seed}");
    Rng::with_seed(seed)
}

/// Chooses the rules of an operation. A cancel waits for nothing, since plain SQL does not know for how long it would
/// have to.
pub(crate) fn rules(rng: &mut Rng) -> Rules {
    let idempotency = Idempotency::ALL[rng.usize(..Idempotency::ALL.len())];
    let base = Rules::of(idempotency);
    let unknown = [OnUnknown::Repeat, OnUnknown::Confirm, OnUnknown::Cancel, OnUnknown::Hold];
    let confirm = ConfirmRules { absences: rng.u32(1..3), ..ConfirmRules::default() };
    let cancel = CancelRules {
        kind: if rng.bool() { CancelKind::Additive } else { CancelKind::State },
        keyed: rng.bool(),
        tombstone: rng.bool(),
        by_key: rng.bool(),
        asks_first: rng.bool(),
        ..CancelRules::default()
    };
    Rules {
        on_unknown: unknown[rng.usize(..4)],
        settle: if rng.u8(..3) == 0 { SettleBy::Explicit(Duration::from_secs(300)) } else { SettleBy::Reply },
        confirm: (rng.u8(..3) > 0).then_some(confirm),
        cancel: (rng.u8(..3) > 0).then_some(cancel),
        key_lifetime: rng.bool().then_some(Lifetime::For(Duration::from_secs(600))),
        saves_refusals: rng.bool(),
        resend_absent: rng.bool(),
        refusal_binds: if rng.bool() { vec![402] } else { Vec::new() },
        keys: KeyRules::default(),
        ..base
    }
}

/// A row on a walk.
pub(crate) struct Walk {
    pub(crate) state: State,
    pub(crate) rules: Rules,
    pub(crate) now: Stamp,
    key: String,
    scoped: bool,
    attempts: Vec<(Owner, AttemptRow)>,
    questions: Vec<(Owner, Question)>,
}

impl Walk {
    /// Begins a walk at `now`.
    pub(crate) fn new(rng: &mut Rng, key: &str, scoped: bool, now: Stamp) -> Walk {
        let rules = rules(rng);
        let mut attempts = Vec::new();
        let state = match rng.u8(..3) {
            0 => machine::recorded(&rules, now),
            1 => machine::reserved(&rules, Owner(1), now),
            _ => match machine::sent(&rules, Owner(1), now) {
                Some((state, line)) => {
                    attempts.push((Owner(1), line));
                    state
                }
                None => machine::reserved(&rules, Owner(1), now),
            },
        };
        Walk { state, rules, now, key: key.to_owned(), scoped, attempts, questions: Vec::new() }
    }

    fn origin(&self) -> Origin<'static> {
        // The keys of cancels are made of the key, and no test compares them.
        let key: &'static str = Box::leak(self.key.clone().into_boxed_str());
        Origin { scoped: self.scoped, dependency: "pay", key, naming: Naming::Salted(0) }
    }

    /// Lets up to `most` events happen.
    pub(crate) fn walks(mut self, rng: &mut Rng, most: usize) -> Walk {
        let origin = self.origin();
        for _ in 0..rng.usize(..=most) {
            let waits = [0, 0, 0, 1, 5, 31, 121, 151, 700, 90_000];
            self.now = self.now.saturating_add(Duration::from_secs(waits[rng.usize(..waits.len())]));
            self.happens(rng, origin);
        }
        self
    }

    fn take(&mut self, write: Option<Write>) {
        if let Some(write) = write {
            self.state = write.to().clone();
        }
    }

    fn happens(&mut self, rng: &mut Rng, origin: Origin<'_>) {
        let owner = Owner(rng.u128(1..3));
        let (state, now) = (&self.state, self.now);
        match rng.u8(..32) {
            0..=5 => self.take(machine::claim(state, self.rules.lease, owner, now)),
            6..=14 => self.step(rng, origin, owner),
            15..=20 => self.attempt_ends(rng, origin),
            21..=23 => self.question_ends(rng, origin),
            24..=26 => self.wish(rng, origin),
            27 => self.uses_anew(rng, owner),
            28 => self.take(close_unsent(state, owner, "not sent", now)),
            _ => self.take(give_back(state, owner, now)),
        }
    }

    fn step(&mut self, rng: &mut Rng, origin: Origin<'_>, owner: Owner) {
        match plan(&self.state, &self.rules, origin, Now::sure(self.now), owner) {
            Step::Leave => {}
            Step::SettleScope => self.tell(rng, origin, owner, Event::ScopeWaits),
            Step::Change(write) if rng.u8(..8) == 0 && write.to().end() != Some(End::Stuck) => {
                let (before, rules) = (&self.state, &self.rules);
                let held = handler_failed(write, before, rules, "no", self.now, Draw::new(rng.u64(..)));
                self.take(Some(held));
            }
            Step::Change(write) => self.take(Some(write)),
            Step::Perform(write) | Step::Cancel(write) => {
                self.attempts.extend(write.attempt().cloned().map(|line| (owner, line)));
                self.take(Some(write));
            }
            Step::Ask(question) => self.questions.push((owner, question)),
        }
    }

    fn tell(&mut self, rng: &mut Rng, origin: Origin<'_>, owner: Owner, event: Event) {
        let draw = Draw::new(rng.u64(..));
        let now = Now::sure(self.now);
        if let Told::Write(write) = told(&self.state, &self.rules, origin, owner, event, now, draw) {
            self.take(Some(write));
        }
    }

    fn attempt_ends(&mut self, rng: &mut Rng, origin: Origin<'_>) {
        let Some((owner, line)) = self.attempts.last().cloned() else { return };
        let report = |status| Report { status: Some(status), ..Report::default() };
        let event = if line.kind == AttemptKind::Cancel {
            let all = [
                Undone::Yes,
                Undone::NoSuch,
                Undone::Refused,
                Undone::Never,
                Undone::NotSent,
                Undone::Unknown,
            ];
            Event::Cancelled(line, all[rng.usize(..all.len())], report(200))
        } else {
            match rng.u8(..8) {
                0 => Event::Performed(line, Performed::Yes(Some(b"{}".to_vec())), report(200)),
                1 => Event::Performed(line, Performed::No(Some(b"no".to_vec())), report(402)),
                2 => Event::Performed(line, Performed::No(None), report(401)),
                3 => Event::Performed(line, Performed::NotSent, Report::default()),
                4 => Event::Unsent(line, Report::default()),
                5 => Event::Performed(line, Performed::Duplicate, report(409)),
                _ => Event::Performed(line, Performed::Unknown, Report::default()),
            }
        };
        self.tell(rng, origin, owner, event);
    }

    fn question_ends(&mut self, rng: &mut Rng, origin: Origin<'_>) {
        let Some((owner, question)) = self.questions.pop() else { return };
        let found = match rng.u8(..6) {
            0 => Found::Applied(Some(b"{}".to_vec())),
            1 => Found::Cancelled,
            2 | 3 => Found::Absent,
            4 => Found::NotSent,
            _ => Found::Other,
        };
        self.tell(rng, origin, owner, Event::Confirmed(question, found, Report::default()));
    }

    fn wish(&mut self, rng: &mut Rng, origin: Origin<'_>) {
        let (state, rules, now) = (&self.state, &self.rules, self.now);
        let write = match rng.u8(..9) {
            0 => machine::settle(state, now).ok().flatten(),
            1 => machine::cancel(state, rules, CancelBy::Transaction, now).ok().flatten(),
            2 => machine::cancel(state, rules, CancelBy::Person, now).ok().flatten(),
            3 => retry(state, now),
            4 => resolve(state, rules, origin, Resolution::NotApplied, "said so", now),
            5 => resolve(state, rules, origin, Resolution::Applied, "said so", now),
            6 => observe(state, rules, origin, Observed::Applied(None), now),
            7 => observe(state, rules, origin, Observed::Otherwise, now),
            _ => Some(note(state, now)),
        };
        self.take(write);
    }

    fn uses_anew(&mut self, rng: &mut Rng, owner: Owner) {
        let birth = [Birth::Recorded, Birth::Reserved(owner), Birth::Sent(owner)][rng.usize(..3)];
        let write = used_anew(&self.state, &self.rules, birth, self.now);
        let line = write.as_ref().and_then(|write| write.attempt().cloned());
        self.attempts.extend(line.map(|line| (owner, line)));
        self.take(write);
    }

    /// Returns whether the walk has ended at a row that failed and of which nothing was ever sent.
    pub(crate) fn failed_unsent(&self) -> bool {
        self.state.end() == Some(End::Failed)
            && self.state.known() == Known::Never
            && self.state.first_sent_at().is_none()
    }
}
