//! The operations of the shop, and how their providers are reached.
//!
//! The rules are true of the provider in `provider.rs`: it takes no request later than [`NETWORK`] and [`PAUSE`] after
//! the request's deadline, makes an effect at most [`WORK`] after the request arrived, and its look-up is at most
//! [`LAG`] old. The quiet time is the sum of these four.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use seawall_ledger::keys::KeyRules;
use seawall_ledger::store::Boxed;
use seawall_ledger::{
    Action, CancelKind, CancelRules, ConfirmRules, Delivery, End, Found, Ledger, Lifetime, Limits, OnUnknown,
    Operation, Performed, Remote, Report, Rules, SettleBy, Undone,
};
use seawall_policy::{Backoff, Idempotency};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::desk::Desk;
use crate::tables::{Database, INSERT_OUTCOME, Trouble};

/// The longest time of an attempt.
pub(crate) const ATTEMPT: Duration = Duration::from_millis(1500);
/// The length of a claim.
pub(crate) const LEASE: Duration = Duration::from_millis(3000);
/// How long a request may travel.
pub(crate) const NETWORK: Duration = Duration::from_millis(200);
/// How long a program may stand still between its last check and the first byte.
pub(crate) const PAUSE: Duration = Duration::from_millis(1300);
/// How long the provider may work on a request.
pub(crate) const WORK: Duration = Duration::from_millis(2500);
/// How old an answer of the look-up may be.
pub(crate) const LAG: Duration = Duration::from_millis(500);

/// The time in which the application must settle a hold.
const SETTLE: Duration = Duration::from_secs(6);

fn rules(idempotency: Idempotency) -> Rules {
    let base = Rules::of(idempotency);
    Rules {
        quiet: NETWORK + PAUSE + WORK + LAG,
        confirm: Some(ConfirmRules { after: Duration::from_millis(50), ..ConfirmRules::default() }),
        limits: Limits { perform: 1000, ..base.limits },
        attempt: ATTEMPT,
        lease: LEASE,
        network: NETWORK,
        pause: PAUSE,
        backoff: Backoff { base: Duration::from_millis(20), cap: Duration::from_millis(400) },
        ..base
    }
}

/// A provider without keys that can be asked and that undoes by our key.
fn asked(settle: SettleBy) -> Rules {
    let state = CancelRules { kind: CancelKind::State, by_key: true, ..CancelRules::default() };
    Rules {
        on_unknown: OnUnknown::Confirm,
        settle,
        cancel: Some(state),
        resend_absent: true,
        ..rules(Idempotency::None)
    }
}

/// A provider without keys whose refunds add up, and need its own id.
fn additive() -> Rules {
    Rules { cancel: Some(CancelRules::default()), ..asked(SettleBy::Reply) }
}

/// A provider that honours keys on everything, saves refusals, and cannot be asked.
fn keyed() -> Rules {
    let cancel = CancelRules { keyed: true, by_key: true, ..CancelRules::default() };
    let rules =
        Rules { confirm: None, cancel: Some(cancel), saves_refusals: true, ..rules(Idempotency::Keyed) };
    rules.remembered(Lifetime::For(Duration::from_secs(24 * 3600)))
}

/// A provider that answers a repeat under a key only with "duplicate". Its keys are short, so ours are mapped.
fn strict() -> Rules {
    let keys = KeyRules::parse("a-zA-Z0-9", 1, 40).expect("these rules are correct");
    let rules = Rules { keys, cancel: None, ..rules(Idempotency::Keyed) };
    rules.remembered(Lifetime::For(Duration::from_secs(24 * 3600)))
}

/// A provider that remembers cancels. What is unknown is cancelled.
fn tombstone() -> Rules {
    let cancel =
        CancelRules { kind: CancelKind::State, by_key: true, tombstone: true, ..CancelRules::default() };
    Rules { on_unknown: OnUnknown::Cancel, cancel: Some(cancel), ..asked(SettleBy::Reply) }
}

/// Declares the operations of this version of the shop. The second version declares one more, `gift`.
pub(crate) fn ledger<D: Database>(
    store: D::Store,
    version: u32,
    desk: &Desk,
    provider: &str,
) -> Result<Ledger<D::Store>, Trouble> {
    let wire = Arc::new(Wire { provider: provider.to_owned(), desk: desk.clone() });
    let mut all = vec![
        ("pay", "charge", asked(SettleBy::Reply)),
        ("pay", "hold", asked(SettleBy::Explicit(SETTLE))),
        ("points", "grant", keyed()),
        ("bank", "transfer", additive()),
        ("strict", "charge", strict()),
        ("hotel", "book", tombstone()),
    ];
    if version > 1 {
        all.push(("pay", "gift", asked(SettleBy::Reply)));
    }
    let mut builder = Ledger::builder(store);
    for (dependency, name, rules) in all {
        let desk = desk.clone();
        let operation = Operation::new(dependency, name, rules, wire.clone())
            .on_settled(move |conn, action| Box::pin(ended::<D>(&desk, conn, action)));
        builder = builder.operation(operation);
    }
    Ok(builder.build()?)
}

/// The handler of all operations: it adds what became of the action to the application's table.
fn ended<'a, D: Database>(
    desk: &Desk,
    conn: &'a mut <D::Store as seawall_ledger::store::Store>::Connection,
    action: &'a Action,
) -> Boxed<'a, Result<(), Trouble>> {
    match desk.handlers().as_str() {
        "fail" => {
            desk.reached("handlers fail");
            return Box::pin(async { Err("the handler fails for a while".into()) });
        }
        "panic" => {
            desk.reached("handlers panic");
            panic!("the handler panics for a while");
        }
        _ => {}
    }
    Box::pin(async move {
        D::put(conn, INSERT_OUTCOME, &[&action.key, word(action.state.end())]).await?;
        Ok(())
    })
}

/// Returns the word for an end, as it stands in the application's tables.
pub(crate) fn word(end: Option<End>) -> &'static str {
    match end {
        Some(End::Done) => "done",
        Some(End::Failed) => "failed",
        Some(End::Cancelled) => "cancelled",
        Some(End::Stuck) => "stuck",
        None => "open",
    }
}

/// The way to the provider. Each request has a connection of its own. A request is one line:
/// `VERB DEPENDENCY KEY CANCEL-KEY ID SEND-BY PROGRAM BYTES`.
struct Wire {
    provider: String,
    desk: Desk,
}

impl Wire {
    /// Sends one request. `None` means that nothing was sent, and `Some("")` that no answer came.
    async fn ask(&self, delivery: Delivery<'_>, verb: &str) -> Option<String> {
        let action = delivery.action;
        let connected = TcpStream::connect(&self.provider).await;
        let Ok(mut stream) = connected else {
            self.desk.reached("provider: refuses connections");
            return None;
        };
        let left = delivery.deadline.saturating_duration_since(Instant::now());
        let send_by = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + left;
        let answer = action.state.answer().map(String::from_utf8_lossy);
        let line = format!(
            "{verb} {} {} {} {} {} {} {}\n",
            action.dependency,
            action.sent_key(),
            if verb == "cancel" { action.cancel_key() } else { "-".to_owned() },
            answer.filter(|answer| !answer.is_empty()).unwrap_or_else(|| "-".into()),
            send_by.as_millis(),
            self.desk.program(),
            String::from_utf8_lossy(&action.request)
        );
        if !delivery.may_send() {
            return None;
        }
        if stream.write_all(line.as_bytes()).await.is_err() {
            return Some(String::new());
        }
        let mut lines = BufReader::new(stream).lines();
        Some(lines.next_line().await.ok().flatten().unwrap_or_default())
    }
}

fn report(status: u16) -> Report {
    Report { status: Some(status), ..Report::default() }
}

impl Remote for Wire {
    fn perform<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Performed, Report)> {
        Box::pin(async move {
            let Some(answer) = self.ask(delivery, "perform").await else {
                return (Performed::NotSent, Report::default());
            };
            match answer.split_once(' ').unwrap_or((answer.as_str(), "")) {
                ("yes", id) => (Performed::Yes(Some(id.as_bytes().to_vec())), report(200)),
                ("no", _) => (Performed::No(None), report(402)),
                ("duplicate", _) => (Performed::Duplicate, report(400)),
                ("error", _) => (Performed::Unknown, report(500)),
                _ => (Performed::Unknown, Report::default()),
            }
        })
    }

    fn confirm<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Found, Report)> {
        Box::pin(async move {
            let answer = self.ask(delivery, "confirm").await.unwrap_or_default();
            match answer.split_once(' ').unwrap_or((answer.as_str(), "")) {
                ("applied", id) => (Found::Applied(Some(id.as_bytes().to_vec())), report(200)),
                ("cancelled", _) => (Found::Cancelled, report(200)),
                ("absent", _) => (Found::Absent, report(404)),
                _ => (Found::Other, report(500)),
            }
        })
    }

    fn cancel<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Undone, Report)> {
        Box::pin(async move {
            let Some(answer) = self.ask(delivery, "cancel").await else {
                return (Undone::NotSent, Report::default());
            };
            match answer.as_str() {
                "undone" => (Undone::Yes, report(200)),
                "none" => (Undone::NoSuch, report(404)),
                "refused" => (Undone::Refused, report(409)),
                _ => (Undone::Unknown, report(500)),
            }
        })
    }
}
