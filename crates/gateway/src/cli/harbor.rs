//! `seawall lab harbor`: runs the misbehaving provider on a port of its own.

use std::net::SocketAddr;
use std::path::Path;

use seawall_lab::harbor::{Harbor, Script};
use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::{logs, terminal};

pub(super) fn run(listen: SocketAddr, script: Option<&Path>) -> Result<(), Failure> {
    let script = script.map(read).transpose()?;
    logs::begin();
    let harbor = Harbor::bind(listen, script)
        .map_err(|error| Failure::failed(format!("cannot listen on {listen}: {error}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        let no_signals = |error| Failure::failed(format!("no signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
        // This is printed only now, when harbor listens and both signals are caught: a program that reads this line may
        // immediately connect or send a signal.
        terminal::print(&format!(
            "harbor listens on http://{}; its books are at /books; Ctrl-C ends it\n",
            harbor.address()
        ))?;
        tokio::select! {
            ended = harbor.run() => ended.map_err(|error| Failure::failed(format!("harbor: {error}"))),
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    })
}

fn read(path: &Path) -> Result<Script, Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::misuse(format!("{name}: the script cannot be read: {error}")))?;
    text.parse().map_err(|error| Failure::misuse(format!("{name}: {error}")))
}
