//! Runs the demo of `seawall serve --demo`: the gateway in front of a provider that misbehaves on request. It prints
//! three commands to try.

use std::net::SocketAddr;

use seawall_lab::harbor::Harbor;

/// The provider, running on a thread of its own.
#[derive(Debug)]
pub(crate) struct Demo {
    harbor: SocketAddr,
}

impl Demo {
    pub(crate) fn start() -> Result<Demo, String> {
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
        let harbor = told.recv().map_err(|_| "the demo's provider did not start".to_owned())??;
        Ok(Demo { harbor })
    }

    /// Returns the configuration of the demo, with the provider as the dependency `harbor`.
    pub(crate) fn configuration(&self) -> String {
        format!(
            r#"[gateway]
listen = "127.0.0.1:8400"
admin  = "127.0.0.1:8401"

[dependency.harbor]
url     = "http://{}"
keys    = true
timeout = {{ connect = "1s", read = "2s", total = "10s" }}
"#,
            self.harbor
        )
    }

    /// Prints the commands to try.
    pub(crate) fn tell(&self, gateway: SocketAddr, admin: SocketAddr) {
        println!(
            r#"
Seawall stands between this machine and `harbor`, a payment provider that misbehaves on request.

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

Look at http://{admin}/ for the admin side. Ctrl-C ends the demo.
"#
        );
    }
}
