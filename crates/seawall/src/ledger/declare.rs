//! The type [`Durable`]: an operation whose effect must not be lost or doubled, and how a program declares it.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use seawall_actions::template::{Pointer, Purpose, RequestTemplate};
use seawall_actions::{AmountAt, Connections, CurrencyAt, Declared, HttpRemote, Sent};
use seawall_ledger::{KeyRules, Lifetime, Limits, OnUnknown, Rules};
use seawall_policy::{Backoff, Gravity, Misuse, Problem, Wrong};

use super::confirm::{Cancel, Confirm};
use crate::dependency::Dependency;
use crate::operation::Operation;

/// An operation that is recorded before it is sent: its rules, and how the provider is reached. All clones are the same
/// operation.
#[derive(Clone)]
pub struct Durable {
    operation: Operation,
    pub(super) remote: Arc<HttpRemote>,
    rules: Rules,
    /// Says where the body of a request has the amount of money; `None` if no amount is recorded.
    pub(super) amount: Option<AmountAt>,
    notes: Vec<String>,
}

impl std::fmt::Debug for Durable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Durable")
            .field("dependency", &self.dependency())
            .field("operation", &self.operation())
            .finish_non_exhaustive()
    }
}

impl Durable {
    /// Returns the name of the operation's dependency, as it is written in the ledger.
    #[must_use]
    pub fn dependency(&self) -> &str {
        self.operation.dependency.name()
    }

    /// Returns the operation's name, as it is written in the ledger.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.operation.name()
    }

    /// Returns the remote through which the ledger reaches the provider. The remote sends each request of the ledger
    /// once, and does not repeat it.
    #[must_use]
    pub fn remote(&self) -> Arc<dyn seawall_ledger::Remote> {
        Arc::clone(&self.remote) as _
    }

    /// Returns the rules by which the ledger handles this operation.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Returns the consequences of the declaration that its author may not expect, in words.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().map(String::as_str)
    }
}

/// Collects the declaration of a [`Durable`]. [`Operation::durable`] makes the builder. The defaults are cautious.
#[derive(Clone, Debug)]
#[must_use = "`build` makes it"]
pub struct DurableBuilder {
    operation: Operation,
    sent: Sent,
    confirm: Option<Confirm>,
    cancel: Option<Cancel>,
    on_unknown: Option<OnUnknown>,
    /// Says who settles an action.
    ///
    /// - `None`: the provider's answer settles it.
    /// - `Some(None)`: the application must settle it within the default time.
    /// - `Some(Some(time))`: the application must settle it within `time`.
    explicit: Option<Option<Duration>>,
    rules: Rules,
    amount: Option<AmountAt>,
    unread: Vec<Problem>,
}

impl Operation {
    /// Begins to declare that this operation is recorded in a ledger before it is sent. `request` is a method and a
    /// path, which may contain the holes `{key}` and `{request:/ptr}`.
    pub fn durable(&self, request: impl AsRef<str>) -> DurableBuilder {
        let idempotency = self.declared.site.plan.rules.idempotency;
        let request = RequestTemplate::parse(request.as_ref(), Purpose::Perform);
        let unread = request.as_ref().err().map(|wrong| Problem::error("request", wrong.clone()));
        DurableBuilder {
            operation: self.clone(),
            sent: Sent::new(request.ok(), idempotency),
            confirm: None,
            cancel: None,
            on_unknown: None,
            explicit: None,
            rules: Rules::of(idempotency),
            amount: None,
            unread: unread.into_iter().collect(),
        }
    }
}

impl DurableBuilder {
    /// Adds a header that is recorded and sent with the request. Do not use it for credentials: put them on the
    /// endpoint, whose headers are never recorded.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> DurableBuilder {
        let read = self.sent.header(name.as_ref(), value.as_ref());
        self.unread.extend(read.err().map(|wrong| Problem::error("header", wrong)));
        self
    }

    /// Sets the header that carries the action's key. Default: `Idempotency-Key` if the operation is keyed, else none.
    pub fn key_header(mut self, name: impl AsRef<str>) -> DurableBuilder {
        let read = self.sent.key_in(name.as_ref());
        self.unread.extend(read.err().map(|wrong| Problem::error("key_header", wrong)));
        self
    }

    /// Sets how to ask the provider what became of an action. Default: the provider cannot be asked.
    pub fn confirm(mut self, confirm: Confirm) -> DurableBuilder {
        self.confirm = Some(confirm);
        self
    }

    /// Sets how to undo an action at the provider. Default: an action cannot be undone.
    pub fn cancel(mut self, cancel: Cancel) -> DurableBuilder {
        self.cancel = Some(cancel);
        self
    }

    /// Sets what happens if the effect of an action is unknown. By default, the first of these rules that fits decides:
    ///
    /// 1. If the operation is idempotent, or if it is keyed and [`key_lifetime`](Self::key_lifetime) is declared, the
    ///    request is repeated.
    /// 2. If a confirm is declared, the provider is asked.
    /// 3. Else the action becomes stuck until a person decides.
    pub fn on_unknown(mut self, what: OnUnknown) -> DurableBuilder {
        self.on_unknown = Some(what);
        self
    }

    /// Says that the application settles the action in a transaction of its own. It must do so within the total timeout
    /// plus 30 s, counted from the record of the action. If it does not, the action is cancelled. Without this setting,
    /// the provider's answer settles the action.
    pub fn settled_by_application(mut self) -> DurableBuilder {
        self.explicit.get_or_insert(None);
        self
    }

    /// Says that the application settles the action, as [`DurableBuilder::settled_by_application`] does. The
    /// application must settle it within `time`, which is counted from the record of the action.
    pub fn settle_within(mut self, time: Duration) -> DurableBuilder {
        self.explicit = Some(Some(time));
        self
    }

    /// Sets for how long, counted from the record of the action, new attempts are made if all earlier attempts provably
    /// had no effect. When this time is over, the action fails. Default 10 min.
    pub fn give_up(mut self, time: Duration) -> DurableBuilder {
        self.rules.give_up = time;
        self
    }

    /// Sets the quiet time. The provider's answer "not found" is not believed until this time has passed since the last
    /// possible send. Default 2 min.
    pub fn quiet(mut self, time: Duration) -> DurableBuilder {
        self.rules.quiet = time;
        self
    }

    /// Sets how long the provider remembers a key, counted from the first send. There is no default, since providers
    /// differ: they remember keys for 3 hours, for a day or until midnight. A repeat under a forgotten key takes effect
    /// a second time.
    ///
    /// Without this setting, a request whose effect is unknown is not sent again under its key. The same holds for a
    /// cancel.
    pub fn key_lifetime(mut self, time: Duration) -> DurableBuilder {
        self.rules.key_lifetime = Some(Lifetime::For(time));
        self
    }

    /// Says that the provider forgets all keys at a time of day of its zone, such as `midnight Asia/Seoul` or
    /// `23:30 Asia/Seoul`. This replaces [`key_lifetime`](Self::key_lifetime).
    pub fn keys_forgotten_at(mut self, time: impl AsRef<str>) -> DurableBuilder {
        let no_length = |_: &str| {
            Err(Wrong::new("this is not a time of day")
                .help("a length of time is declared with `key_lifetime`"))
        };
        match Lifetime::parse(time.as_ref(), no_length) {
            Ok(lifetime) => self.rules.key_lifetime = Some(lifetime),
            Err(wrong) => self.unread.push(Problem::error("key_lifetime", wrong)),
        }
        self
    }

    /// Sets which keys the provider takes: the characters, as in `A-Za-z0-9_-`, and the least and the greatest length
    /// in bytes. If an action's key does not fit, a key that is computed from it is sent instead. The action can be
    /// found by either of the two keys. Default: 1 to 255 bytes of visible ASCII.
    pub fn key(mut self, chars: impl AsRef<str>, bytes: RangeInclusive<usize>) -> DurableBuilder {
        match KeyRules::parse(chars.as_ref(), *bytes.start(), *bytes.end()) {
            Ok(rules) => {
                self.unread.extend(rules.check());
                self.rules.keys = rules;
            }
            Err(problems) => self.unread.extend(problems),
        }
        self
    }

    /// Records the amount of money of each action. `value` is a JSON pointer into the body, where the amount is a
    /// number, or a text with a decimal number. `currency` is a code of ISO 4217 such as `KRW`, or a JSON pointer to
    /// that code in the body. An action is refused if its body has no exact amount at `value`. Default: no amount is
    /// recorded.
    pub fn amount(self, value: impl AsRef<str>, currency: impl AsRef<str>) -> DurableBuilder {
        self.amount_in_minor_units(value, currency, 0)
    }

    /// Records the amount of money as [`amount`](Self::amount) does, for an API that counts in minor units. `places` is
    /// the number of decimal places of the currency: 2 if the body says 1050 for 10.50.
    pub fn amount_in_minor_units(
        mut self,
        value: impl AsRef<str>,
        currency: impl AsRef<str>,
        places: u8,
    ) -> DurableBuilder {
        let value = Pointer::parse(value.as_ref()).map_err(|wrong| Problem::error("amount.value", wrong));
        let currency =
            CurrencyAt::parse(currency.as_ref()).map_err(|wrong| Problem::error("amount.currency", wrong));
        match (value, currency) {
            (Ok(value), Ok(currency)) => match AmountAt::new(value, currency, places) {
                Ok(amount) => self.amount = Some(amount),
                Err(wrong) => self.unread.push(Problem::error("amount.minor", wrong)),
            },
            (value, currency) => self.unread.extend(value.err().into_iter().chain(currency.err())),
        }
        self
    }

    /// Sets the statuses of refusals that prove something of earlier attempts: the provider sends them only after it
    /// has looked the action's key up. So after such a refusal, earlier attempts with the key had no effect either.
    /// Default: none.
    pub fn refusal_binds(mut self, statuses: impl IntoIterator<Item = u16>) -> DurableBuilder {
        self.rules.refusal_binds.extend(statuses);
        self
    }

    /// Says that the provider saves a refusal under the key, as it saves a success. A refusal then proves that earlier
    /// attempts with the key had no effect either. Default: it does not save refusals.
    pub fn saves_refusals(mut self) -> DurableBuilder {
        self.rules.saves_refusals = true;
        self
    }

    /// Says that an action is sent again once the provider's answer "not found" is believed. This holds even if the
    /// provider does not recognize repeats by a key. Default: the action is not sent again.
    pub fn resend_absent(mut self) -> DurableBuilder {
        self.rules.resend_absent = true;
        self
    }

    /// Sets after which time the provider is asked once more about an action that ended because the provider did not
    /// know it. If the action took effect after all, the effect is cancelled. Default 24 h, counted from the end of the
    /// action.
    pub fn audit_after(mut self, time: Duration) -> DurableBuilder {
        self.rules.audit_after = time;
        self
    }

    /// Sets the maximum number of requests of each kind: the operation itself (`perform`, default 5), the cancel
    /// (`cancel`) and the question (`confirm`). If the action has not ended after that number, it becomes stuck until a
    /// person decides. A request that was provably not sent does not count.
    ///
    /// With `None` (the default), only [`DurableBuilder::stuck_after`] bounds cancels and questions.
    pub fn attempts(
        mut self,
        perform: u32,
        cancel: impl Into<Option<u32>>,
        confirm: impl Into<Option<u32>>,
    ) -> DurableBuilder {
        self.rules.limits = Limits { perform, cancel: cancel.into(), confirm: confirm.into() };
        self
    }

    /// Sets for how long failed questions and cancels are sent again, counted from the first one that failed. The next
    /// failure after that time makes the action stuck: it is left to a person. Default 24 h. The time must not be
    /// shorter than the quiet time.
    pub fn stuck_after(mut self, time: Duration) -> DurableBuilder {
        self.rules.stuck_after = time;
        self
    }

    /// Sets the lease: how long one process may work on an action before another process may take it over, for example
    /// because the first one has crashed. The lease must be longer than the operation's total timeout. Default 2 min.
    pub fn lease(mut self, time: Duration) -> DurableBuilder {
        self.rules.lease = time;
        self
    }

    /// Sets the longest time that a sent request may be on its way to the provider. Default 5 s. The time of one
    /// attempt, this time and [`pause`](Self::pause) together say how late a request may arrive. If the provider may
    /// have forgotten the key by then, the request is not sent again.
    pub fn network(mut self, time: Duration) -> DurableBuilder {
        self.rules.network = time;
        self
    }

    /// Sets the longest time that a process may be suspended between its last check of the action and the send. It
    /// counts in the same way as [`network`](Self::network). Default 5 s.
    pub fn pause(mut self, time: Duration) -> DurableBuilder {
        self.rules.pause = time;
        self
    }

    /// Sets the wait between two attempts, between two questions and between two cancels. Each wait is drawn between
    /// zero and a bound that doubles from `base` up to `cap`. Default 1 s and 60 s.
    pub fn backoff(mut self, base: Duration, cap: Duration) -> DurableBuilder {
        self.rules.backoff = Backoff { base, cap };
        self
    }

    /// Checks the declaration, and returns the operation.
    ///
    /// # Errors
    /// If settings contradict each other, or if a hole could not be filled when its request is sent.
    pub fn build(self) -> Result<Durable, Misuse> {
        let plan = &self.operation.declared.site.plan;
        let mut problems = self.unread;
        let (asks, undoes) = (self.confirm.is_some(), self.cancel.is_some());
        let confirm = self.confirm.and_then(|confirm| confirm.read(&mut problems));
        let cancel = self.cancel.and_then(|cancel| cancel.read(&mut problems));
        let mut declared = Declared {
            idempotency: plan.rules.idempotency,
            total: plan.timeouts.total,
            answers: &plan.rules.answers,
            refuses: &plan.rules.refuses,
            repeats_in_doubt: false,
            key_header: self.sent.key_header.as_ref(),
            key_lifetime: self.rules.key_lifetime.as_ref(),
            confirm: confirm.as_ref(),
            cancel: cancel.as_ref(),
            durable: None,
        };
        let silent = declared.default_rules();
        let rules = Rules {
            on_unknown: self.on_unknown.unwrap_or(silent.on_unknown),
            settle: self.explicit.map_or(silent.settle, |within| declared.explicit(within)),
            attempt: silent.attempt,
            confirm: silent.confirm,
            cancel: silent.cancel,
            ..self.rules.clone()
        };
        declared.durable = Some(&rules);
        let unread: Vec<&str> = problems.iter().map(|problem| problem.setting).collect();
        let is_unread = |setting: &str| {
            unread.contains(&setting)
                || (setting == "confirm" && asks && confirm.is_none())
                || (setting == "cancel" && undoes && cancel.is_none())
        };
        let found: Vec<Problem> =
            declared.check().into_iter().filter(|found| !found.is_echo(is_unread)).collect();
        problems.extend(found);
        let connections = self.operation.dependency.connections();
        if connections.is_none() {
            let wrong = Wrong::new("the dependency has no endpoint, so there is nowhere to send it");
            problems.push(Problem::error("request", wrong));
        }
        let at = format!("operation {}: ", self.operation.name());
        let notes = notes_of(&at, problems)?;
        let connections = connections.expect("that there are none was told, and returned above");
        let remote = HttpRemote::new(connections, plan, self.sent, confirm, cancel);
        let (operation, remote) = (self.operation.clone(), Arc::new(remote));
        Ok(Durable { operation, remote, rules, amount: self.amount, notes })
    }
}

/// Returns the texts of the problems that are only notes. If some of the problems are errors, returns these as an error
/// instead. Each text begins with `at`, which says what the problems are about.
pub(super) fn notes_of(at: &str, problems: Vec<Problem>) -> Result<Vec<String>, Misuse> {
    let (errors, notes): (Vec<Problem>, Vec<Problem>) =
        problems.into_iter().partition(|problem| problem.gravity == Gravity::Error);
    let told = |problems: Vec<Problem>| problems.iter().map(|problem| format!("{at}{problem}")).collect();
    match Misuse::of(told(errors)) {
        Some(misuse) => Err(misuse),
        None => Ok(told(notes)),
    }
}

impl Dependency {
    /// Returns a function that finds the dependency's connections in the current runtime. Returns `None` if the
    /// dependency has no endpoint.
    pub(super) fn connections(&self) -> Option<Connections> {
        self.0.lines.as_ref()?;
        let dependency = self.clone();
        Some(Arc::new(move || dependency.0.lines.as_ref().and_then(|lines| lines.here())))
    }
}
