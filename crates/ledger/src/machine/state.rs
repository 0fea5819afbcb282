//! The part of an action's row that changes.

use super::Stamp;

/// What the application wants of the provider. The goal can change once, from perform to cancel, and never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Goal {
    /// The effect is to exist.
    Perform,
    /// The effect is not to exist. If the effect exists, it is undone.
    Cancel,
}

/// What is known of the effect at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Known {
    /// The effect does not exist, and no attempt can still cause it. One of three things is so: no attempt was made,
    /// each attempt was proved unsent, or the provider said that it does not know the action, and this answer is
    /// believed.
    Never,
    /// An attempt may have taken effect, or may still take effect.
    Unknown,
    /// The effect exists. This can change only while the goal is to cancel.
    Applied,
    /// The effect does not exist: it was undone, or no attempt can still cause it. The value says why.
    NotApplied(NotApplied),
}

/// The reason why an action is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotApplied {
    /// The provider refused the action. No other attempt can still take effect, or the provider would refuse it in the
    /// same way.
    Refused,
    /// The action was cancelled, or the provider reported it as cancelled.
    Cancelled,
    /// The provider said that it does not know the action. It was asked after the quiet time, when no attempt could
    /// still arrive.
    Absent,
    /// The provider answered "no such effect" to a cancel. It said so after the quiet time, when no attempt could still
    /// arrive.
    NoSuch,
    /// A person decided that the effect does not exist.
    Resolved,
}

/// The way in which a row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The goal was to perform. The action is applied and settled.
    Done,
    /// The goal was to perform, but the effect does not exist.
    Failed,
    /// The goal was to cancel. The effect was undone, or it never existed.
    Cancelled,
    /// No rule says how to go on, so a person must look at it.
    Stuck,
}

/// A group of actions that settle together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The common name of the actions, such as the id of an order.
    pub name: String,
    /// The number of actions in the scope. It is fixed when the first of them is recorded.
    pub size: u32,
}

/// The part of a row that never changes, as far as the machine needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin<'a> {
    /// Whether the action settles together with others.
    pub scoped: bool,
    /// The name of the dependency.
    pub dependency: &'a str,
    /// The caller's key.
    pub key: &'a str,
    /// How the keys are computed under which the action is sent.
    pub naming: Naming,
}

/// How the keys are computed under which an action is sent to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Naming {
    /// Nothing is decided yet about the keys. The action was recorded by plain SQL, which does not know the key rules,
    /// and no worker has worked on the action since.
    Open,
    /// The keys are made as the first release of this program made them: the caller's key is sent as it is, and a
    /// cancel has the key `KEY:c:GENERATION`.
    FirstRelease,
    /// The keys are made by the key rules of the operation, with this salt: a number from which a mapped key is
    /// computed, together with the caller's key. The salt is 0 unless another action has the same mapped key already.
    Salted(u32),
}

/// The random id of a worker's process. A process that is started again has another id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u128);

/// The changing part of an action's row.
///
/// Code outside of the machine can read its fields, but only the machine changes them. Only [`State::of_row`] makes a
/// state from the row of a database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The version of this row: 1 when it is recorded, and one more with each change.
    pub(super) version: u64,
    /// The lowest level that a program must have to change this row. A level is a number that newer versions of the
    /// program raise. See [`State::needs`].
    pub(super) needs: u32,
    pub(super) goal: Goal,
    pub(super) known: Known,
    /// What may have been sent to perform the action; `None` if nothing may have been sent.
    pub(super) sent: Option<Sent>,
    /// The number of perform attempts that may have been sent since a person last started the action again.
    pub(super) attempts: u32,
    /// The number of the last line in the attempt log, of any kind; 0 before the first line. The next line gets this
    /// number plus one. It never decreases.
    pub(super) logged: u32,
    pub(super) questions: Questions,
    pub(super) undo: Undo,
    /// The time from which on the requests about this action have brought no result. Questions and cancels are tried
    /// for a time that counts from here. `None` before the first request, and after a request that brought a result.
    ///
    /// - If a perform attempt was not sent or not answered, this becomes the time at which it ended.
    /// - If a question brings no result, this becomes the current time, but only if it was `None`.
    /// - If a cancel is recorded, this becomes the current time, but only if it was `None`. It does not wait for the
    ///   end of the cancel, since a worker that dies during each cancel would never report an end.
    pub(super) failing_since: Option<Stamp>,
    /// The trouble with the application's handler; `None` if the handler did not fail.
    pub(super) handler: Option<HandlerTrouble>,
    /// How the row ended; `None` while it has not ended.
    pub(super) end: Option<End>,
    /// Why the row is stuck, failed, cancelled or delayed, as a short phrase for people. `None` if there is nothing to
    /// explain.
    pub(super) why: Option<String>,
    /// The number of claims so far.
    pub(super) fence: u64,
    /// The claim of a worker on the row; `None` if no worker has one.
    pub(super) claim: Option<Claim>,
    /// The time before which nothing is to be done with the row.
    pub(super) next_at: Stamp,
    /// When the action was recorded. A failed action that was never sent can begin again under its key: then this is
    /// the time at which it last began.
    pub(super) begun_at: Stamp,
    /// The time by which the application must have settled the action. Otherwise the effect is cancelled. `None` if the
    /// provider's answer settles the action, or while no worker has seen an action that plain SQL recorded.
    pub(super) settle_by: Option<Stamp>,
    /// The provider's answer: the one from which the effect became known to be applied, or the refusal. An answer of
    /// the first kind fills the holes `{answer:/…}` and `{confirm:/…}` of later requests. `None` if there is no answer,
    /// or if it was too long to be kept.
    pub(super) answer: Option<Vec<u8>>,
    /// When the provider is asked once more after the end of the row, to find an effect that exists although the row
    /// ended without one. `None` if the provider is not asked any more.
    pub(super) audit_at: Option<Stamp>,
    /// When the end of this row was last contradicted: by a webhook, by the late answer to an attempt, or by the
    /// provider's list. `None` if nothing contradicted it, or if a later answer of the provider confirmed the end.
    pub(super) disputed_at: Option<Stamp>,
}

/// What may have been sent to perform an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sent {
    /// The number of perform attempts that may ever have been sent, at least 1. An attempt that is proved unsent does
    /// not count.
    pub(super) attempts: u32,
    /// How many of these attempts may still take effect.
    pub(super) open: u32,
    /// The earliest time at which the first perform attempt may have been sent. Before this time the provider cannot
    /// have known the key.
    pub(super) first_at: Stamp,
    /// The end of the quiet time: the latest send deadline (`send_by`) of the perform attempts plus the declared quiet
    /// time. The answer "not found" is believed only if the question was asked at this time or later. Some operations
    /// need several such answers. After each of them but the last, this time is moved on, so that the next question is
    /// asked one quiet time later.
    pub(super) quiet_until: Stamp,
    /// The latest send deadline of the perform attempts: from this time on, none of those recorded so far is sent. If a
    /// longer quiet time is declared later, it is counted from here. `None` in a row that an earlier version of the
    /// program wrote.
    pub(super) send_by: Option<Stamp>,
    /// When the provider forgets the key, as it was declared at the first send; `None` if it was not declared.
    pub(super) key_ends: Option<Stamp>,
    /// Whether the provider said that it has this key already. Then an attempt has arrived, and the provider's "not
    /// found" is not believed any more.
    pub(super) seen: bool,
}

/// A worker's claim on a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Claim {
    /// The process that has the row.
    pub(super) owner: Owner,
    /// The time until which the owner may work on the row.
    pub(super) until: Stamp,
    /// The number of the log line whose attempt is under way; `None` if no attempt is. If another attempt reports its
    /// end, that report is late.
    pub(super) in_flight: Option<u32>,
}

/// The questions that the provider was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Questions {
    /// The number of questions since the last time that a person started the action again, that the goal changed, or
    /// that an answer decided whether the effect exists.
    pub(super) asked: u32,
    /// The number of answers that counted as an absence since the last perform attempt: "not found" to a question, and
    /// "no such" to a cancel. Enough of them prove that the effect does not exist.
    pub(super) absences: u32,
}

/// What was done to undo the effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Undo {
    /// The generation of the cancel key: 0 for the first key, and one more for each new key.
    pub(super) generation: u32,
    /// The number of cancel attempts since a person last started the action again.
    pub(super) tries: u32,
    /// Whether the provider was asked since the last cancel, or since the action began to be undone. If so, the answer
    /// in the row says what is left to undo, such as an amount, and the request of the next cancel may be filled from
    /// that answer.
    pub(super) asked: bool,
    /// The cancels of the current generation (those with the current key) that may have been sent; `None` if the key of
    /// this generation was never used.
    pub(super) open: Option<OpenCancels>,
}

/// What is known of the cancels of one generation that may have been sent. A generation is a series of cancels with
/// the same key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct OpenCancels {
    /// The number of cancels of this generation that may have been sent, at least 1.
    pub(super) count: u32,
    /// Whether the first cancel of this generation was sent while a perform attempt could still arrive, before the
    /// quiet time was over. If so, an answer "no such" to a cancel of this generation is not believed.
    pub(super) early: bool,
    /// The earliest time at which the first cancel of this generation may have been sent.
    pub(super) first_at: Stamp,
    /// The quiet time ends here: from this time on, no cancel of this generation can still take effect. A question
    /// that was asked earlier does not show what became of these cancels.
    pub(super) quiet_until: Stamp,
    /// The latest time at which one of these cancels may have been sent, as [`Sent::send_by`].
    pub(super) send_by: Option<Stamp>,
    /// When the provider forgets the key of these cancels, as it was declared when the first of them was recorded.
    /// `None` if it was not declared, or if an earlier version of the program wrote the row.
    pub(super) key_ends: Option<Stamp>,
    /// The key with which the cancels of this generation are sent. `None` for a cancel of the first release, whose key
    /// is `KEY:c:GENERATION`.
    pub(super) key: Option<String>,
}

/// The trouble with the application's handler. The outcome of the action is known, but the row is still open, since the
/// handler has to run in the transaction that ends it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HandlerTrouble {
    /// The number of runs of the handler that failed, without a successful run between them.
    pub tries: u32,
    /// The error of the last run.
    pub error: String,
}

/// The level of this program: a number that a newer version raises if older ones would misread its rows. If a row has a
/// higher [`State::needs`], this program does not change it, since only a newer program may do so.
pub const KNOWS: u32 = 1;

impl State {
    /// Returns the version of the row. Each change increases it. A change is written only if the row still has the
    /// version that the machine saw.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns the lowest level of a program that may change this row. Each version of the program has a level
    /// ([`KNOWS`]). A later version has a higher one if it writes something into a row that an earlier version would
    /// misread. A program leaves a row alone that needs a higher level than its own.
    #[must_use]
    pub fn needs(&self) -> u32 {
        self.needs
    }

    /// Returns what the application wants of the provider.
    #[must_use]
    pub fn goal(&self) -> Goal {
        self.goal
    }

    /// Returns what is known of the effect at the provider.
    #[must_use]
    pub fn known(&self) -> Known {
        self.known
    }

    /// Returns the number of perform attempts that may still take effect.
    #[must_use]
    pub fn open_attempts(&self) -> u32 {
        self.sent.map_or(0, |sent| sent.open)
    }

    /// Returns the number of perform attempts that may have been sent since a person last started the action again.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the earliest time at which the first perform attempt may have been sent; `None` if nothing may have been
    /// sent.
    #[must_use]
    pub fn first_sent_at(&self) -> Option<Stamp> {
        self.sent.map(|sent| sent.first_at)
    }

    /// Returns the end of the quiet time as it was declared when the last attempt was recorded. `None` if nothing may
    /// have been sent. If the quiet time is longer now, the machine waits longer
    /// ([`Rules::quiet`](super::Rules::quiet)).
    #[must_use]
    pub fn quiet_until(&self) -> Option<Stamp> {
        self.sent.map(|sent| sent.quiet_until)
    }

    /// Returns the number of the last line in the attempt log; 0 before the first line.
    #[must_use]
    pub fn logged(&self) -> u32 {
        self.logged
    }

    /// Returns the number of the log line whose attempt is under way; `None` if no attempt is.
    #[must_use]
    pub fn in_flight(&self) -> Option<u32> {
        self.claim.and_then(|claim| claim.in_flight)
    }

    /// Returns whether the action is settled: whether the row ended as [`End::Done`].
    #[must_use]
    pub fn settled(&self) -> bool {
        self.end == Some(End::Done)
    }

    /// Returns how the row ended; `None` while it has not ended.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Returns why the row is stuck, failed, cancelled or delayed, as a short phrase for people. `None` if there is
    /// nothing to explain.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Returns the trouble with the application's handler; `None` if the handler did not fail, or if the row has ended.
    #[must_use]
    pub fn handler(&self) -> Option<&HandlerTrouble> {
        self.handler.as_ref()
    }

    /// Returns the process that has claimed the row; `None` if no process has.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.claim.map(|claim| claim.owner)
    }

    /// Returns the number of claims so far. Together with the owner it tells a worker whether the row is still its own.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Returns the time until which the owner may work on the row; `None` if no process has claimed the row.
    #[must_use]
    pub fn leased_until(&self) -> Option<Stamp> {
        self.claim.map(|claim| claim.until)
    }

    /// Returns the time before which nothing is to be done with the row.
    #[must_use]
    pub fn next_at(&self) -> Stamp {
        self.next_at
    }

    /// Returns when the action was recorded. If it failed before it was sent and then began again under its key,
    /// returns the time at which it last began.
    #[must_use]
    pub fn begun_at(&self) -> Stamp {
        self.begun_at
    }

    /// Returns the time by which the application must have settled the action. `None` if the provider's answer settles
    /// it, or while no worker has worked on an action that plain SQL recorded.
    #[must_use]
    pub fn settle_by(&self) -> Option<Stamp> {
        self.settle_by
    }

    /// Returns the provider's answer from which the effect became known to be applied, or its refusal. `None` if there
    /// is no answer, or if it was too long to be kept.
    #[must_use]
    pub fn answer(&self) -> Option<&[u8]> {
        self.answer.as_deref()
    }

    /// Returns the time from which on the requests about this action have brought no result. It is the end of the last
    /// perform attempt that was not sent or not answered. If there is none, it is the time of the first question or
    /// cancel without a result. Returns `None` if the last request brought a result, or if the row is done or stuck.
    #[must_use]
    pub fn failing_since(&self) -> Option<Stamp> {
        self.failing_since
    }

    /// Returns the generation of the cancel key: 0 for the first key, and one more for each new key.
    #[must_use]
    pub fn cancel_generation(&self) -> u32 {
        self.undo.generation
    }

    /// Returns the key of the cancels that may have been sent in the current generation. Returns `None` if there is no
    /// such cancel yet. Also returns `None` if the first release of the program sent it: its key is
    /// `KEY:c:GENERATION`.
    #[must_use]
    pub fn cancel_key(&self) -> Option<&str> {
        self.undo.open.as_ref().and_then(|open| open.key.as_deref())
    }

    /// Returns when the provider is asked once more after the end of the row, to find an effect that exists although
    /// the row ended without one. `None` if the provider is not asked any more.
    #[must_use]
    pub fn audit_at(&self) -> Option<Stamp> {
        self.audit_at
    }

    /// Returns when the end of this row was last contradicted: by a webhook, by the late answer to an attempt, or by
    /// the provider's list. `None` if nothing contradicted it, or if a later answer of the provider confirmed the end.
    #[must_use]
    pub fn disputed_at(&self) -> Option<Stamp> {
        self.disputed_at
    }

    /// Returns when a worker should next work on the row; `None` if nothing is to be done. A store keeps this time in
    /// an indexed column.
    #[must_use]
    pub fn due_at(&self) -> Option<Stamp> {
        let from = |at: Stamp| self.claim.map_or(at, |claim| at.max(claim.until));
        match self.end {
            None => Some(from(self.next_at)),
            Some(End::Failed | End::Cancelled) => self.audit_at.map(from),
            Some(End::Done | End::Stuck) => None,
        }
    }

    /// Returns whether the worker with this id has the row.
    pub(super) fn is_of(&self, owner: Owner) -> bool {
        self.owner() == Some(owner)
    }
}
