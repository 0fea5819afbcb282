//! Stories of durable operations: curl and the official SDKs of a payment API pay through a gateway with a ledger.
//!
//! Each story has a gateway of its own in front of localstripe, a server of another project that imitates Stripe's API.
//! At its end, the story counts the payments and refunds in localstripe's own books.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::answer::{Answer, curl, expect, json};
use super::world::{World, found, story_file, write};
use crate::needs::{node_folder, python};
use crate::process::{Outcome, Server, free_port, output};

/// The maximum time for which a story waits, for example for a state of an action. If that time passes, the story
/// fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// The two SDKs.
#[derive(Clone, Copy, Debug)]
enum Sdk {
    Python,
    Node,
}

const SDKS: [Sdk; 2] = [Sdk::Python, Sdk::Node];

/// A gateway whose payments are durable.
struct Durable<'w> {
    world: &'w World,
    /// `None` while the gateway is down.
    server: Option<Server>,
    folder: PathBuf,
    listen: u16,
    admin: u16,
    stripe_listen: u16,
}

impl<'w> Durable<'w> {
    /// Starts a gateway with a new file for its ledger. `lines` are added to the configuration of the operation `pay`.
    fn start(world: &'w World, name: &str, lines: &str) -> Outcome<Durable<'w>> {
        let folder = world.folder.join("durable").join(name);
        let failed = |e| format!("{}: {e}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(failed)?;
        }
        fs::create_dir_all(&folder).map_err(failed)?;
        let (listen, admin, stripe_listen) = (free_port()?, free_port()?, free_port()?);
        let mut durable = Durable { world, server: None, folder, listen, admin, stripe_listen };
        write(&durable.folder.join("seawall.toml"), &durable.settings(lines))?;
        durable.run()?;
        Ok(durable)
    }

    fn settings(&self, lines: &str) -> String {
        let Durable { folder, listen, admin, stripe_listen, .. } = self;
        let (folder, stripe) = (folder.display(), self.world.stripe_direct(""));
        format!(
            r#"[gateway]
listen = "127.0.0.1:{listen}"
admin = "127.0.0.1:{admin}"
workers = 2

[ledger]
url = "sqlite:{folder}/seawall.db"
lease = "3s"

[dependency.stripe]
url = "{stripe}"
listen = "127.0.0.1:{stripe_listen}"
headers = {{ authorization = "Bearer sk_test_of_the_gateway" }}

[[dependency.stripe.operation]]
name = "pay"
match = "POST /v1/payment_intents"
idempotency = "keyed"
durable = true
key_lifetime = "24h"
keep_headers = ["stripe-version"]
timeout = {{ read = "1500ms", total = "2s" }}
network = "100ms"
pause = "100ms"
quiet = "400ms"
answers.unknown = [ {{ status = 409 }} ]
cancel = {{ request = "POST /v1/refunds", form = {{ payment_intent = "{{answer:/id}}" }}, keyed = true }}
{lines}
"#
        )
    }

    /// Starts the gateway, and waits until its ledger is open.
    fn run(&mut self) -> Outcome<()> {
        let file = self.folder.join("seawall.toml");
        let args = ["serve".into(), "-c".into(), file.into_os_string()];
        let log = self.folder.join("gateway.log");
        let server =
            self.server.insert(Server::start("seawall", None, &self.world.program, &args, &log, false)?);
        server.ready(self.admin, "/readyz", PATIENCE)?;
        until_open(self.listen, "stripe")
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.listen)
    }

    /// Runs the SDK's program, and returns the JSON object that it printed, with the payment or the error. `what` is
    /// the program's argument that says what to do, such as `pay-once`.
    fn pay(&self, sdk: Sdk, what: &str, order: &str) -> Outcome<Value> {
        let said = output(&mut self.program(sdk, what, order)?)?;
        let line = said.lines().find(|line| line.starts_with('{')).unwrap_or_default();
        serde_json::from_str(line).map_err(|e| format!("{e} in:\n{said}"))
    }

    fn program(&self, sdk: Sdk, what: &str, order: &str) -> Outcome<Command> {
        let mut command = match sdk {
            Sdk::Python => Command::new(python()),
            Sdk::Node => Command::new(found("node")?),
        };
        match sdk {
            Sdk::Python => command.arg(story_file("durable.py")).arg(self.url("/stripe")),
            Sdk::Node => {
                command.arg(story_file("durable.mjs")).arg(node_folder()).arg(self.stripe_listen.to_string())
            }
        };
        command.args([what, order]);
        Ok(command)
    }

    /// Returns what the gateway says of the action of this key. `more` is added to the query, such as `&wait=20s`.
    fn asked(&self, key: &str, more: &str) -> Outcome<Value> {
        json(&curl(&[&self.url(&format!("/-/actions?dependency=stripe&key={key}{more}"))])?)
    }

    /// Sends a wish for the action of this key, as a POST. `word` is the wish, such as `settle` or `cancel`.
    fn say(&self, key: &str, word: &str) -> Outcome<Answer> {
        let id = self.asked(key, "")?["id"].as_str().unwrap_or_default().to_owned();
        curl(&["--request", "POST", &self.url(&format!("/-/actions/{id}/{word}"))])
    }

    /// Waits until the action of this key has this state.
    fn until_state(&self, key: &str, state: &str) -> Outcome<()> {
        until(&format!("{key} is {state}"), || Ok(self.asked(key, "")?["state"] == state))
    }
}

/// Waits until the ledger of the gateway on this port is open.
pub(super) fn until_open(port: u16, dependency: &str) -> Outcome<()> {
    let path = format!("http://127.0.0.1:{port}/-/actions?dependency={dependency}&key=nothing");
    until("the ledger is open", || Ok(curl(&[&path])?.status == 404))
}

/// Waits until a condition holds.
pub(super) fn until(what: &str, holds: impl Fn() -> Outcome<bool>) -> Outcome<()> {
    let end = Instant::now() + PATIENCE;
    while !holds()? {
        if Instant::now() > end {
            return Err(format!("not within {PATIENCE:?}: {what}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Returns the payments of an order in localstripe's books, and what was refunded of each.
fn booked(world: &World, order: &str) -> Outcome<Vec<(String, u64)>> {
    let read = |path: &str| {
        let answer = curl(&["--user", "sk_test_story:", &world.stripe_direct(path)])?;
        Ok::<_, String>(json(&answer)?["data"].as_array().cloned().unwrap_or_default())
    };
    let refunds = read("/v1/refunds?limit=1000")?;
    let refunded = |payment: &Value| {
        let own = refunds.iter().filter(|refund| refund["payment_intent"] == payment["id"]);
        own.filter_map(|refund| refund["amount"].as_u64()).sum()
    };
    let payments = read("/v1/payment_intents?limit=1000")?;
    let own = payments.iter().filter(|payment| payment["metadata"]["order"] == order);
    Ok(own.map(|one| (one["id"].as_str().unwrap_or_default().to_owned(), refunded(one))).collect())
}

/// Checks that localstripe has one payment for an order, and that the amount `refunded` was paid back. Returns the
/// payment's id.
fn one_payment(world: &World, order: &str, refunded: u64) -> Outcome<String> {
    match &booked(world, order)?[..] {
        [(id, own)] if *own == refunded => Ok(id.clone()),
        other => Err(format!("wanted one payment for {order} with {refunded} refunded; found {other:?}")),
    }
}

/// The provider makes the payment, and its answer is lost. The SDK repeats the call with the same key, and gets the
/// provider's answer.
pub(super) fn lost_reply(world: &World) -> Outcome<()> {
    let gateway = Durable::start(world, "lost", "")?;
    for sdk in SDKS {
        let order = format!("lost-reply-{sdk:?}");
        let said = gateway.pay(sdk, "pay", &order)?;
        let id = one_payment(world, &order, 0)?;
        expect(said["id"] == id && said["status"] == "succeeded", || format!("another payment: {said}"))?;
        let headers = &said["headers"];
        expect(headers["seawall-effect"] == "applied", || format!("another effect: {said}"))?;
        expect(headers["seawall-replayed"] == "true", || format!("no replay: {said}"))?;
    }
    Ok(())
}

/// Two cases in which the SDK throws an exception. The headers in it show the effect and the reason of the gateway's
/// answer.
///
/// - An answer is lost, and the SDK is told not to repeat its call. The effect is unknown. When the same program runs
///   again, it gets the payment that was made.
/// - The key of the call belongs already to another request.
pub(super) fn doubt(world: &World) -> Outcome<()> {
    let gateway = Durable::start(world, "doubt", "")?;
    for sdk in SDKS {
        let order = format!("lost-once-{sdk:?}");
        let said = gateway.pay(sdk, "pay-once", &order)?;
        let headers = &said["headers"];
        expect(said["status"] == 502 && said["error"].is_string(), || format!("no exception: {said}"))?;
        expect(headers["seawall-effect"] == "unknown", || format!("another effect: {said}"))?;
        let action = headers["seawall-action"].as_str().unwrap_or_default();
        let location = format!("/-/actions/{action}");
        expect(headers["location"] == location, || format!("another location: {said}"))?;
        let waited = json(&curl(&[&gateway.url(&format!("{location}?wait=20s"))])?)?;
        expect(waited["effect"] == "applied", || format!("not found out: {waited}"))?;
        let again = gateway.pay(sdk, "pay-once", &order)?;
        let id = one_payment(world, &order, 0)?;
        expect(again["id"] == id, || format!("another payment: {again}"))?;

        let taken = format!("taken-{sdk:?}");
        let other = ["--header", &format!("idempotency-key: {taken}"), "--data", "amount=5&currency=usd"];
        let path = gateway.url("/stripe/v1/payment_intents");
        curl(&[&other[..], &[&path]].concat())?.expect(200, &[])?;
        let conflict = gateway.pay(sdk, "pay", &taken)?;
        expect(conflict["status"] == 422 && conflict["error"].is_string(), || {
            format!("no exception: {conflict}")
        })?;
        let reason = &conflict["headers"]["seawall-reason"];
        expect(reason == "key-conflict", || format!("another reason: {conflict}"))?;
    }
    Ok(())
}

/// The gateway is killed after the provider has made the payment and before the provider has answered. The SDK repeats
/// its call until the gateway runs again and has learned from the provider that the payment was made.
pub(super) fn crash(world: &World) -> Outcome<()> {
    let mut gateway = Durable::start(world, "crash", "")?;
    for sdk in SDKS {
        let order = format!("held-{sdk:?}");
        let mut command = gateway.program(sdk, "pay", &order)?;
        let running = std::thread::spawn(move || output(&mut command));
        until("the provider has made the payment", || Ok(!booked(world, &order)?.is_empty()))?;
        if let Some(server) = gateway.server.take() {
            server.crash();
        }
        gateway.run()?;
        let said = running.join().map_err(|_| "the SDK's thread panicked".to_owned())??;
        let id = one_payment(world, &order, 0)?;
        expect(said.contains(&id) && said.contains("succeeded"), || format!("another payment: {said}"))?;
    }
    Ok(())
}

/// One application dies after it has got the answer and before it has settled the action. When it is back, it is too
/// late to settle: the gateway has refunded the payment. Another application settles in time, and its payment stays.
pub(super) fn settling(world: &World) -> Outcome<()> {
    let hasty = Durable::start(world, "hasty", "settle = \"explicit\"\nsettle_within = \"3s\"")?;
    let patient = Durable::start(world, "patient", "settle = \"explicit\"")?;
    for sdk in SDKS {
        let ended = output(&mut hasty.program(sdk, "pay-and-die", &format!("dies-{sdk:?}"))?);
        expect(ended.is_err(), || format!("it did not die: {ended:?}"))?;
    }
    for sdk in SDKS {
        let order = format!("settles-{sdk:?}");
        let said = patient.pay(sdk, "pay", &order)?;
        let action = said["headers"]["seawall-action"].as_str().unwrap_or_default();
        let path = patient.url(&format!("/-/actions/{action}/settle"));
        curl(&["--request", "POST", &path])?.expect(200, &[("seawall-effect", "applied")])?;
        patient.until_state(&order, "done")?;
        patient.say(&order, "cancel")?.expect(409, &[("seawall-reason", "settled")])?;
        one_payment(world, &order, 0)?;
    }
    for sdk in SDKS {
        let order = format!("dies-{sdk:?}");
        hasty.until_state(&order, "cancelled")?;
        hasty.say(&order, "settle")?.expect(409, &[("seawall-reason", "too-late")])?;
        one_payment(world, &order, 1200)?;
        let repeated = hasty.pay(sdk, "pay-once", &order)?;
        expect(repeated["status"] == 409, || format!("a refunded payment was replayed: {repeated}"))?;
    }
    Ok(())
}

/// Curl pays in place of the SDKs: a lost answer, a repeat, and a cancel.
pub(super) fn by_hand(world: &World) -> Outcome<()> {
    let gateway = Durable::start(world, "by-hand", "settle = \"explicit\"")?;
    let order = "lost-by-hand";
    let key = format!("idempotency-key: {order}");
    let body =
        format!("amount=1200&currency=usd&payment_method=pm_card_visa&confirm=true&metadata[order]={order}");
    let path = gateway.url("/stripe/v1/payment_intents");
    let pay = || curl(&["--header", &key, "--data", &body, &path]);
    pay()?.expect(502, &[("seawall-effect", "unknown"), ("seawall-reason", "connection-lost")])?;
    let waited = gateway.asked(order, "&wait=20s")?;
    expect(waited["effect"] == "applied", || format!("not found out: {waited}"))?;
    let again = pay()?;
    again.expect(200, &[("seawall-effect", "applied"), ("seawall-replayed", "true")])?;
    let id = one_payment(world, order, 0)?;
    expect(json(&again)?["id"] == id, || format!("another payment: {again}"))?;
    gateway.say(order, "cancel")?.expect(200, &[])?;
    gateway.until_state(order, "cancelled")?;
    one_payment(world, order, 1200)?;
    pay()?.expect(409, &[("seawall-reason", "cancelled"), ("seawall-effect", "not-applied")])?;
    Ok(())
}
