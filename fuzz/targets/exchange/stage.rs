//! Plays a scenario: caller, gateway and dependency run on one thread and talk over loopback. The virtual clock does
//! not advance while any party has something to do. So a scenario takes the same course each time, and waits take no
//! real time.
//!
//! Each scenario has a new gateway, so that nothing of one scenario (connections, budgets, breakers) can affect the
//! next. Only the listeners are used again.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use seawall_client::connect::{join_turns, send_turn};
use seawall_gateway::{config, serve};
use tokio::sync::watch;

use super::caller::{Caller, Heard};
use super::dependency::{Delivery, Dependency};
use super::scenario::{Pause, Protocol, Scenario};

pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(8);
/// The most attempts of a call whose request may be repeated.
pub(crate) const ATTEMPTS: usize = 3;

/// The result of a scenario.
#[derive(Debug)]
pub(crate) struct Record {
    /// The findings for each exchange.
    pub(crate) heard: Vec<Heard>,
    pub(crate) deliveries: Vec<Delivery>,
    /// What happened although it must never happen in any scenario.
    pub(crate) wrong: Vec<String>,
}

pub(crate) struct Stage {
    settings: config::Settings,
    gateway: TcpListener,
    lines: TcpListener,
    frames: TcpListener,
}

impl Stage {
    /// Binds the listeners, which all scenarios of this thread use.
    pub(crate) fn build() -> Stage {
        join_turns();
        let bind = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
            listener.set_nonblocking(true).expect("a listener can be told not to block");
            listener
        };
        let (gateway, lines, frames) = (bind(), bind(), bind());
        let mut text = String::from("[gateway]\nworkers = 1\nlimits = { header_bytes = \"128KiB\" }\n");
        for (name, http, listener) in [("lines", "1.1", &lines), ("frames", "2", &frames)] {
            text += &settings(name, http, address(listener));
        }
        let loaded = config::parse("exchange", &text, &|_| None);
        let settings = loaded.unwrap_or_else(|report| panic!("{}", report.render(false))).settings;
        Stage { settings, gateway, lines, frames }
    }

    pub(crate) fn play(&self, scenario: &Arc<Scenario>) -> Record {
        // Accepts and drops connections that the last scenario has left in the backlog.
        for listener in [&self.gateway, &self.lines, &self.frames] {
            while listener.accept().is_ok() {}
        }
        // The generator for random waits gets a fixed seed, so waits are the same each time.
        fastrand::seed(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .on_thread_park(send_turn)
            .build()
            .expect("a runtime can be built");
        runtime.block_on(self.perform(scenario))
    }

    async fn perform(&self, scenario: &Arc<Scenario>) -> Record {
        let clone = |listener: &TcpListener| listener.try_clone().expect("a listener can be cloned");
        let dependency = Dependency::new(Arc::clone(scenario));
        for (listener, protocol) in [(&self.lines, Protocol::Http1), (&self.frames, Protocol::Http2)] {
            let listener = tokio::net::TcpListener::from_std(clone(listener)).expect("it does not block");
            tokio::spawn(dependency.clone().listen(listener, protocol));
        }
        let (_stop, stopped) = watch::channel(false);
        let (settings, listener) = (self.settings.clone(), clone(&self.gateway));
        tokio::spawn(async move { serve::work_here(settings, listener, stopped).await });

        let mut caller = Caller::new(address(&self.gateway));
        let mut heard = Vec::new();
        for (number, exchange) in scenario.exchanges.iter().enumerate() {
            dependency.read(|log| log.current = number);
            heard.push(caller.ask(scenario.caller, exchange.dependency, &exchange.ask).await);
            Pause::Rest.last().await;
            // Before the next request is sent, all answers must have been written to their end, with all stray bytes.
            for _ in 0..200 {
                if dependency.read(|log| log.playing) == 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            tokio::time::sleep(Duration::from_millis(exchange.quiet)).await;
        }
        let (deliveries, wrong) =
            dependency.read(|log| (std::mem::take(&mut log.deliveries), std::mem::take(&mut log.wrong)));
        Record { heard, deliveries, wrong }
    }
}

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("it is bound")
}

fn settings(name: &str, http: &str, address: SocketAddr) -> String {
    format!(
        r#"
[dependency.{name}]
url = "http://{address}/behind/this"
http = "{http}"
keys = true
timeout = {{ connect = "4s", read = "{read}s", total = "30s" }}
retry = {{ attempts = {ATTEMPTS} }}
budget = {{ initial = 10 }}
breaker = {{ enabled = false }}
concurrency = {{ enabled = false }}
pool = {{ settle = "10ms" }}

[[dependency.{name}.operation]]
name = "keyed"
match = "POST /keyed/{{id}}"
idempotency = "keyed"

[[dependency.{name}.operation]]
name = "judged"
match = "POST /judged/{{id}}"
answers.applied = [ {{ status = 200, json = {{ "/code" = "OK" }} }} ]
answers.not_applied = [ {{ status = 200, json = {{ "/code" = "DECLINED" }} }} ]
"#,
        read = READ_TIMEOUT.as_secs()
    )
}
