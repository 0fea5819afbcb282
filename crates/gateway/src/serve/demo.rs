//! Runs the demo of `seawall serve --demo`: the gateway in front of a provider that misbehaves on request. It prints
//! six commands to try: three without the ledger, and three with it.
//!
//! The provider is one server with three names, so that one demo can show three ways to call it: `harbor` is called
//! without a record, `payments` through the ledger, and `bookings` through the ledger with an explicit settle.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use seawall_lab::harbor::Harbor;

/// The two ports of the demo: applications send their calls to the first one, and the admin API listens on the second
/// one. If one of them is in use, the demo takes another port that is free.
const PORTS: [u16; 2] = [8400, 8401];

/// The provider, running on a thread of its own, and the folder of the ledger.
#[derive(Debug)]
pub(crate) struct Demo {
    harbor: SocketAddr,
    ports: [u16; 2],
    folder: Folder,
}

/// A folder that only the owner can read. It is removed with all that is in it when the value is dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Demo {
    pub(crate) fn start() -> Result<Demo, String> {
        let folder = Folder::make().map_err(|error| format!("no temporary folder: {error}"))?;
        let ports = PORTS.map(|port| if is_free(port) { port } else { 0 });
        Ok(Demo { harbor: provider()?, ports, folder })
    }

    /// Returns the configuration of the demo.
    pub(crate) fn configuration(&self) -> String {
        let [listen, admin] = self.ports;
        let (harbor, folder) = (self.harbor, self.folder.0.display());
        let durable = DURABLE;
        format!(
            r#"[gateway]
listen = "127.0.0.1:{listen}"
admin  = "127.0.0.1:{admin}"

[ledger]
url = "sqlite:{folder}/seawall.db"

[dependency.harbor]
url     = "http://{harbor}"
keys    = true
timeout = {{ connect = "1s", read = "2s", total = "10s" }}

[dependency.payments]
url = "http://{harbor}"

[[dependency.payments.operation]]
{durable}

[dependency.bookings]
url = "http://{harbor}"

[[dependency.bookings.operation]]
{durable}
settle        = "explicit"
settle_within = "5s"
cancel        = {{ request = "POST /v1/refunds", json = {{ charge = "{{answer:/id}}" }}, kind = "state" }}
"#
        )
    }

    /// Prints the commands to try.
    pub(crate) fn tell(&self, gateway: SocketAddr, admin: SocketAddr) {
        println!("{}", commands(gateway, admin));
    }
}

/// The settings that both durable operations of the demo have. `network` and `pause` are shorter than a real network
/// allows, so that the ledger soon finds out what became of a charge.
const DURABLE: &str = r#"name         = "charge"
match        = "POST /v1/charges"
idempotency  = "keyed"
durable      = true
credentials  = "none"
keep_headers = ["harbor-fault"]
timeout      = { connect = "1s", read = "2s", total = "3s" }
network      = "100ms"
pause        = "100ms"
key_lifetime = "24h"
on_unknown   = "repeat"
answers.not_applied = [ { status = 200, json = { "/code" = "DECLINED" } } ]"#;

/// Starts the provider on a thread of its own, and returns its address.
fn provider() -> Result<SocketAddr, String> {
    let (tell, told) = std::sync::mpsc::channel();
    let body = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            match Harbor::bind(SocketAddr::from(([127, 0, 0, 1], 0)), None) {
                Ok(harbor) => {
                    let _ = tell.send(Ok(harbor.address()));
                    let _ = harbor.run().await;
                }
                Err(error) => drop(tell.send(Err(format!("the demo's provider did not start: {error}")))),
            }
        });
    };
    std::thread::Builder::new().name("harbor".into()).spawn(body).map_err(|error| error.to_string())?;
    told.recv().map_err(|_| "the demo's provider did not start".to_owned())?
}

/// Returns whether nobody listens on this loopback port.
fn is_free(port: u16) -> bool {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).is_ok()
}

impl Folder {
    fn make() -> io::Result<Folder> {
        let name = format!("seawall-demo-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A file that cannot be removed stays in the system's temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns what the demo prints: the commands, and what each of them shows.
fn commands(gateway: SocketAddr, admin: SocketAddr) -> String {
    format!(
        r#"
Seawall stands between this machine and a payment provider that misbehaves on request. Try it in another terminal.

1. A charge with a key, whose reply is lost after the money has moved:

   curl -i http://{gateway}/harbor/v1/charges -H 'idempotency-key: order-1' \
        -H 'harbor-fault: close-after-effect' -d '{{"amount":1200,"currency":"EUR"}}'

   Seawall sends it again with the same key, and answers 200, seawall-attempts: 2, seawall-effect: applied.
   A bare client would have reported a failure, with the customer charged.

2. The same as a plain POST:

   curl -i http://{gateway}/harbor/v1/charges \
        -H 'harbor-fault: close-after-effect' -d '{{"amount":700,"currency":"EUR"}}'

   One attempt, 502, seawall-effect: unknown: sending it again could charge twice.
   A bare client would have said "failed", or sent it again and charged twice.

3. The provider's own books, one effect for each:

   curl -s http://{gateway}/harbor/books

   A bare client would have shown you its own view only.

The next three charges are durable: they are recorded in a ledger before they are sent.

4. The reply is lost again, and the ledger finds out in the background what became of the charge. Then ask:

   curl -i http://{gateway}/payments/v1/charges -H 'idempotency-key: order-2' \
        -H 'harbor-fault: close-after-effect' -d '{{"amount":500,"currency":"EUR"}}'

   curl -s 'http://{gateway}/-/actions?dependency=payments&key=order-2&wait=10s'

   First 502 with seawall-effect: unknown and a Location to ask at, then "effect":"applied" with the charge.
   A bare client would have forgotten the charge, and so would a program that was restarted.

5. The same charge once more, as after a restart of your program:

   curl -i http://{gateway}/payments/v1/charges -H 'idempotency-key: order-2' \
        -H 'harbor-fault: close-after-effect' -d '{{"amount":500,"currency":"EUR"}}'

   200 with the provider's answer from the ledger, seawall-replayed: true. Nothing is sent.
   A bare client would have sent it again, and relied on the provider to remember the key.

6. A charge that must be settled by your program within 5 s, and is not. Look at it again after these 5 s:

   curl -i http://{gateway}/bookings/v1/charges -H 'idempotency-key: booking-1' \
        -d '{{"amount":300,"currency":"EUR"}}'

   curl -s 'http://{gateway}/-/actions?dependency=bookings&key=booking-1'

   curl -s http://{gateway}/harbor/books

   200 at first. Then "state":"cancelled", and the books show one refund under booking-1: the money went back.
   A bare client would have left a charge for a booking that your program had lost.

Look at http://{admin}/ for the admin side. Ctrl-C ends the demo.
"#
    )
}
