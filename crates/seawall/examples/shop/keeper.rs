//! Keeps the shop running: starts its process, and starts it again if it dies.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use seawall::millis;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;

use super::orders::Failure;
use super::shop::Settings;
use super::stage::Play;

/// The environment variable that holds the settings with which the shop's process starts.
pub(crate) const SHOP: &str = "SEAWALL_SHOP";
/// An address where no server listens.
const NOWHERE: &str = "http://127.0.0.1:1";

/// What happened, in order, with the time.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<String>>>, Arc<OnceLock<Instant>>);

impl Events {
    pub(crate) fn add(&self, what: String) {
        let since = self.1.get_or_init(Instant::now).elapsed();
        let line = format!("{:>6.2} s  {what}", since.as_secs_f64());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A task that ends with the story.
pub(crate) struct Aborted<T>(pub(crate) JoinHandle<T>);

impl<T> Drop for Aborted<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where the shop is now, and its process.
#[derive(Clone, Default)]
pub(crate) struct Address(Arc<Mutex<(String, Option<u32>)>>);

impl Address {
    pub(crate) fn now(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn set(&self, url: &str, pid: Option<u32>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (url.to_owned(), pid);
    }

    pub(crate) fn kill(&self, events: &Events) {
        let pid = self.0.lock().unwrap_or_else(PoisonError::into_inner).1;
        let Some(pid) = pid else { return };
        events.add("the shop is killed".to_owned());
        let _ = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    }
}

/// Starts the shop, and starts it again if it dies.
pub(crate) struct Keeper {
    program: (PathBuf, Vec<String>),
    settings: String,
    events: Events,
    pub(crate) address: Address,
    shop: Option<Child>,
    lifeline: Option<ChildStdin>,
}

impl Keeper {
    pub(crate) fn new(play: &Play, settings: Settings, events: Events) -> Keeper {
        let settings = serde_json::to_string(&settings).expect("strings and paths of strings");
        Keeper {
            program: play.program.clone(),
            settings,
            events,
            address: Address::default(),
            shop: None,
            lifeline: None,
        }
    }

    pub(crate) async fn start(&mut self, point: Option<&str>) -> Result<(), Failure> {
        let mut command = Command::new(&self.program.0);
        command.args(&self.program.1).env(SHOP, &self.settings).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        match point {
            Some(point) => command.env("SEAWALL_FAILPOINTS", format!("{point}=abort@1")),
            None => command.env_remove("SEAWALL_FAILPOINTS"),
        };
        let mut shop = command.spawn()?;
        let mut lines = BufReader::new(shop.stdout.take().expect("piped above")).lines();
        let url = loop {
            match lines.next_line().await? {
                Some(line) => {
                    if let Some(at) = line.find("http://") {
                        break line[at..].to_owned();
                    }
                }
                // The shop died before it listened, so it is started again.
                None => break NOWHERE.to_owned(),
            }
        };
        self.address.set(&url, shop.id());
        // The shop ends when this pipe is closed.
        self.lifeline = shop.stdin.take();
        self.shop = Some(shop);
        Ok(())
    }

    pub(crate) async fn keep(mut self) {
        while let Some(mut shop) = self.shop.take() {
            let ended = shop.wait().await;
            self.address.set(NOWHERE, None);
            let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
            self.events.add(format!("the shop died ({how}), and is started again"));
            tokio::time::sleep(millis(100)).await;
            if let Err(error) = self.start(None).await {
                self.events.add(format!("the shop cannot be started: {error}"));
            }
        }
    }
}
