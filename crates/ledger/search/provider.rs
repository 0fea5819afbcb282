//! A provider that is as small as possible: one charge, its refund, a memory of keys, and a status index that may lag.

use seawall_ledger_search::machine::{AttemptKind, Found, Performed, Report, Undone};

use crate::world::Request;

/// What a provider is like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traits {
    /// For how many ticks after its first arrival the key of a perform is honoured. 255 means for ever, `None` not at
    /// all.
    pub(crate) keyed: Option<u8>,
    /// Whether a second delivery sets the same state again, without a second effect.
    pub(crate) idempotent: bool,
    /// Whether a charge takes time. Until it is made, a second request with the same key is answered 409.
    pub(crate) slow: bool,
    /// Whether refusals are saved under the key.
    pub(crate) saves_refusals: bool,
    /// Whether failures (500) are saved under the key, with or without an effect.
    pub(crate) saves_failures: bool,
    /// Whether a proxy before the provider may answer 401 without looking at the key.
    pub(crate) doorman: bool,
    /// Whether the provider may refuse a charge.
    pub(crate) refuses: bool,
    /// Whether it may answer 500 although the effect took place.
    pub(crate) fails_after: bool,
    /// The maximum number of ticks until the status index shows a change. Questions are answered from this index. A
    /// cancel that names our key reads this index, too.
    pub(crate) lag: u8,
    /// Whether a second refund pays out once more.
    pub(crate) additive: bool,
    /// Whether the provider honours the key of a cancel.
    pub(crate) keyed_cancel: bool,
    /// Whether a cancel may name our key. Otherwise it needs the provider's own id.
    pub(crate) by_key: bool,
    /// Whether the provider remembers a cancel of a charge that does not exist, and refuses the charge if it arrives
    /// later.
    pub(crate) tombstone: bool,
    /// Whether a key that is known is answered by "duplicate", and not by the saved answer.
    pub(crate) duplicates: bool,
    /// Whether the provider may forget all keys at any time.
    pub(crate) forgets: bool,
    /// For how many ticks the key of a cancel is honoured. `None` means for ever.
    pub(crate) cancel_memory: Option<u8>,
    /// For how many ticks after a charge the provider can be asked about it. Later the charge is said not to exist.
    pub(crate) asked_until: Option<u8>,
    /// For how many ticks after a charge the provider takes a cancel. Later the charge is said not to exist.
    pub(crate) cancelled_until: Option<u8>,
    /// Whether the provider may refuse a cancel.
    pub(crate) refuses_cancels: bool,
    /// Whether refused cancels are saved under the key.
    pub(crate) saves_refused_cancels: bool,
    /// Whether the provider may say that a charge cannot be undone.
    pub(crate) says_never: bool,
    /// Whether the provider refuses to refund more than is left.
    pub(crate) checks_amounts: bool,
    /// Whether a load balancer before the provider may answer a cancel with 404.
    pub(crate) balanced_cancels: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Saved {
    #[default]
    Nothing,
    /// A charge of this key is being worked on.
    Busy,
    Yes,
    No,
    Failure,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Shown {
    #[default]
    Absent,
    Applied,
    /// A part of the charge was refunded by others.
    Partly,
    Cancelled,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Provider {
    pub(crate) charges: u8,
    pub(crate) refunds: u8,
    tombstone: bool,
    saved: Saved,
    /// The number of ticks until the key is forgotten.
    key_left: u8,
    /// The number of ticks until a charge on which the provider works must be made; `None` if it works on none.
    working: Option<u8>,
    cancels: [Option<(SavedCancel, u8)>; 8],
    /// Whether others have refunded a part of the charge.
    part: bool,
    /// The number of ticks since the charge was made.
    age: u8,
    shown: Shown,
    /// The number of ticks until the status index must show the latest change.
    index_left: u8,
}

/// What is saved under the key of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum SavedCancel {
    Yes,
    NoSuch,
    Refused,
    Failure,
}

/// What happens when a request arrives: a word for the trace, whether it counts as a piece of bad luck, the provider
/// afterwards, and the answer.
pub(crate) struct Arrival {
    pub(crate) word: &'static str,
    pub(crate) bad_luck: bool,
    pub(crate) after: Provider,
    pub(crate) answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Performed(Performed, Report),
    Undone(Undone),
}

fn performed(how: Performed, status: u16) -> Answer {
    Answer::Performed(how, Report { status: Some(status), ..Report::default() })
}

/// Returns the body of a refusal. It differs from the body of a "yes", since it names no charge.
pub(crate) fn refusal() -> Option<Vec<u8>> {
    Some(vec![0])
}

/// Returns the answer to a question about a charge of which somebody else has refunded a part.
pub(crate) fn part() -> Option<Vec<u8>> {
    Some(vec![1])
}

fn yes() -> Answer {
    performed(Performed::Yes(Some(Vec::new())), 200)
}

impl Provider {
    pub(crate) fn is_live(&self) -> bool {
        self.charges > self.refunds
    }

    /// Returns whether a perform that arrives now would make a charge.
    pub(crate) fn would_apply(&self, traits: &Traits) -> bool {
        if self.tombstone {
            return false;
        }
        match traits.keyed {
            Some(_) => self.saved == Saved::Nothing,
            None => !(traits.idempotent && self.is_live()),
        }
    }

    /// Returns whether the provider is working on a charge.
    pub(crate) fn is_working(&self) -> bool {
        self.working.is_some()
    }

    fn truth(&self) -> Shown {
        match (self.charges, self.is_live()) {
            (0, _) => Shown::Absent,
            (_, true) if self.part => Shown::Partly,
            (_, true) => Shown::Applied,
            (_, false) => Shown::Cancelled,
        }
    }

    pub(crate) fn index_lags(&self) -> bool {
        self.shown != self.truth()
    }

    pub(crate) fn index_is_due(&self) -> bool {
        (self.index_lags() && self.index_left == 0) || self.working == Some(0)
    }

    pub(crate) fn catch_up(&mut self) {
        self.shown = self.truth();
        self.index_left = 0;
    }

    pub(crate) fn tick(&mut self, traits: &Traits) {
        if self.charges > 0 {
            self.age = self.age.saturating_add(1);
        }
        if traits.cancel_memory.is_some() {
            for saved in &mut self.cancels {
                *saved = saved.filter(|(_, left)| *left > 1).map(|(saved, left)| (saved, left - 1));
            }
        }
        self.index_left = self.index_left.saturating_sub(1);
        self.working = self.working.map(|left| left - 1);
        if self.key_left != u8::MAX {
            self.key_left = self.key_left.saturating_sub(1);
        }
        if self.key_left == 0 && self.saved != Saved::Busy {
            self.saved = Saved::Nothing;
        }
    }

    /// Forgets the key of the charge, unless the provider is still working on it.
    pub(crate) fn forget_key(&mut self) {
        if self.saved != Saved::Busy {
            (self.saved, self.key_left) = (Saved::Nothing, 0);
        }
    }

    /// Forgets all keys, except that of a charge that is being worked on.
    pub(crate) fn forget_all(&mut self) {
        self.forget_key();
        self.cancels = Default::default();
    }

    pub(crate) fn remembers(&self) -> bool {
        !matches!(self.saved, Saved::Nothing | Saved::Busy) || self.cancels.iter().any(Option::is_some)
    }

    /// Lowers the age of the charge to the age from which on it changes nothing any more.
    pub(crate) fn forget_age(&mut self, traits: &Traits) {
        let last = traits.asked_until.max(traits.cancelled_until).unwrap_or(0);
        self.age = self.age.min(last);
    }

    /// Returns this provider with what `other` has saved under its key, since both actions were sent under the same
    /// key.
    pub(crate) fn with_key_of(&self, other: &Provider) -> Provider {
        match self.saved {
            Saved::Nothing => Provider { saved: other.saved, key_left: other.key_left, ..self.clone() },
            Saved::Busy | Saved::Yes | Saved::No | Saved::Failure => self.clone(),
        }
    }

    /// Returns whether somebody else can refund a part of the charge now.
    pub(crate) fn can_be_refunded_in_part(&self) -> bool {
        self.is_live() && !self.part && !self.index_lags()
    }

    /// Returns the provider after somebody else has refunded a part of the charge.
    pub(crate) fn refunded_in_part(&self, traits: &Traits) -> Provider {
        Provider { part: true, ..self.clone() }.since(self, traits)
    }

    /// Returns the answer to a question, from the status index.
    pub(crate) fn status(&self, traits: &Traits) -> Found {
        if traits.asked_until.is_some_and(|until| self.age >= until) {
            return Found::Absent;
        }
        match self.shown {
            Shown::Absent => Found::Absent,
            Shown::Applied => Found::Applied(Some(Vec::new())),
            Shown::Partly => Found::Applied(part()),
            Shown::Cancelled => Found::Cancelled,
        }
    }

    /// Returns the provider with its status index updated: `before` is the provider before the change.
    fn since(mut self, before: &Provider, traits: &Traits) -> Provider {
        if traits.lag == 0 {
            self.catch_up();
        } else if self.truth() != before.truth() {
            self.index_left = if self.index_lags() { traits.lag } else { 0 };
        }
        self
    }

    fn save(&mut self, traits: &Traits, what: Saved) {
        if let Some(memory) = traits.keyed {
            if self.saved == Saved::Nothing {
                self.key_left = memory;
            }
            self.saved = what;
        }
    }

    fn charge(&mut self, traits: &Traits) {
        if traits.idempotent {
            (self.charges, self.refunds) = (1, 0);
        } else {
            self.charges += 1;
        }
        self.save(traits, Saved::Yes);
    }

    /// Returns everything that can happen when this request arrives.
    pub(crate) fn arrivals(&self, traits: &Traits, request: &Request) -> Vec<Arrival> {
        match request.kind {
            AttemptKind::Perform => self.performs(traits),
            AttemptKind::Cancel => self.undoes(traits, request),
            AttemptKind::Confirm => Vec::new(),
        }
    }

    fn performs(&self, traits: &Traits) -> Vec<Arrival> {
        let mut all = Vec::new();
        let mut push = |word, bad_luck, after: Provider, answer| {
            all.push(Arrival { word, bad_luck, after: after.since(self, traits), answer });
        };
        if traits.doorman {
            push(
                "401 before the key is looked up",
                true,
                self.clone(),
                performed(Performed::No(refusal()), 401),
            );
        }
        if self.tombstone {
            push("refused by a tombstone", false, self.clone(), performed(Performed::No(refusal()), 410));
            return all;
        }
        match self.saved {
            Saved::Yes | Saved::No | Saved::Failure if traits.duplicates => {
                push("says duplicate", false, self.clone(), performed(Performed::Duplicate, 409));
            }
            Saved::Busy => push("409 in progress", false, self.clone(), performed(Performed::Unknown, 409)),
            Saved::Yes => push("replays yes", false, self.clone(), yes()),
            Saved::No => push("replays no", false, self.clone(), performed(Performed::No(refusal()), 402)),
            Saved::Failure => push("replays 500", false, self.clone(), performed(Performed::Unknown, 500)),
            Saved::Nothing => {
                let mut after = self.clone();
                if traits.slow {
                    // The answer comes when the charge is made. A second request with the same key that comes earlier
                    // is answered 409.
                    after.save(traits, Saved::Busy);
                    after.working = Some(1);
                    push("begins to work", false, after, performed(Performed::Unknown, 202));
                } else {
                    after.charge(traits);
                    push("charges", false, after.clone(), yes());
                    if traits.fails_after {
                        if traits.saves_failures {
                            after.save(traits, Saved::Failure);
                        }
                        push("charges and says 500", true, after, performed(Performed::Unknown, 500));
                    }
                }
                if traits.refuses {
                    let mut after = self.clone();
                    if traits.saves_refusals {
                        after.save(traits, Saved::No);
                    }
                    push("refuses", true, after, performed(Performed::No(refusal()), 402));
                }
            }
        }
        all
    }

    /// Returns the provider after it has made the charge on which it works.
    pub(crate) fn finished(&self, traits: &Traits) -> Provider {
        let mut after = self.clone();
        after.working = None;
        after.charge(traits);
        after.since(self, traits)
    }

    fn undoes(&self, traits: &Traits, request: &Request) -> Vec<Arrival> {
        let mut all = Vec::new();
        let generation = request.generation as usize;
        let mut push = |word, bad_luck, mut after: Provider, saved| {
            let is_saved = saved != SavedCancel::Refused || traits.saves_refused_cancels;
            if traits.keyed_cancel && is_saved {
                after.cancels[generation] = Some((saved, traits.cancel_memory.unwrap_or(u8::MAX)));
            }
            let answer = Answer::Undone(match saved {
                SavedCancel::Yes => Undone::Yes,
                SavedCancel::NoSuch => Undone::NoSuch,
                SavedCancel::Refused => Undone::Refused,
                SavedCancel::Failure => Undone::Unknown,
            });
            all.push(Arrival { word, bad_luck, after: after.since(self, traits), answer });
        };
        if let Some((saved, left)) = self.cancels[generation] {
            push("replays the cancel's answer", false, self.clone(), saved);
            // The saved answer is sent again. That does not change for how long the key is remembered.
            all[0].after.cancels[generation] = Some((saved, left));
            return all;
        }
        let mut after = self.clone();
        let is_over = traits.cancelled_until.is_some_and(|until| self.age >= until);
        if traits.tombstone && traits.by_key && self.charges == 0 {
            after.tombstone = true;
            push("leaves a tombstone", false, after, SavedCancel::Yes);
            return all;
        }
        if is_over || !self.is_seen(traits, request) {
            push("no such charge", false, after, SavedCancel::NoSuch);
            return all;
        }
        if traits.checks_amounts && !self.is_live() {
            push("is refunded already", false, after, SavedCancel::Yes);
            return all;
        }
        if traits.checks_amounts && self.part != request.rest {
            push("refuses to refund more than is left", false, after, SavedCancel::Refused);
            return all;
        }
        after.refunds = match (traits.additive, self.part == request.rest) {
            (true, true) => after.refunds + 1,
            // The original amount is refunded, although a part of it was refunded before.
            (true, false) => after.charges + 1,
            (false, _) => after.charges,
        };
        push("refunds", false, after.clone(), SavedCancel::Yes);
        if traits.fails_after {
            push("refunds and says 500", true, after, SavedCancel::Failure);
        }
        if traits.saves_failures {
            push("says 500 and does nothing", true, self.clone(), SavedCancel::Failure);
        }
        if traits.refuses_cancels {
            push("refuses the cancel", true, self.clone(), SavedCancel::Refused);
        }
        let unseen =
            |word, how| Arrival { word, bad_luck: true, after: self.clone(), answer: Answer::Undone(how) };
        if traits.says_never {
            all.push(unseen("says that it cannot be undone", Undone::Never));
        }
        if traits.balanced_cancels {
            all.push(unseen("a load balancer answers 404 to the cancel", Undone::NoSuch));
        }
        all
    }

    /// Returns whether the provider finds the charge that a cancel names.
    fn is_seen(&self, traits: &Traits, request: &Request) -> bool {
        // A provider that remembers cancels looks at the charges themselves, and not at the status index.
        let indexed = request.by_key && !traits.tombstone;
        let is_there = if indexed { self.shown != Shown::Absent } else { self.charges > 0 };
        is_there && (traits.by_key || !request.by_key)
    }
}
