//! Runs on the main thread while workers serve: waits for signals, and looks at the configuration file.

use std::sync::atomic::Ordering;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ebb::Ebb;
use super::error::StartError;
use super::reload::{LOOK, Reloader};
use crate::running::process::Running;

/// The signals that the gateway listens to.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    pub(super) fn install() -> Result<Signals, StartError> {
        let on = |kind| signal(kind).map_err(|error| StartError::Machine(format!("no signals: {error}")));
        Ok(Signals {
            term: on(SignalKind::terminate())?,
            int: on(SignalKind::interrupt())?,
            hup: on(SignalKind::hangup())?,
        })
    }
}

/// Waits for SIGTERM or SIGINT. Until one of them comes, does two things:
///
/// - Reloads the configuration: on SIGHUP, and when the configuration file or a file that it names has changed.
/// - Gives freed memory back to the system.
pub(super) async fn until_told_to_stop(
    running: &Running,
    mut signals: Signals,
    mut reloader: Option<Reloader>,
) {
    let mut look = tokio::time::interval(LOOK);
    look.reset();
    let mut ebb = Ebb::default();
    loop {
        let hurry = reloader.as_ref().and_then(Reloader::hurry);
        let asked = tokio::select! {
            _ = signals.term.recv() => return,
            _ = signals.int.recv() => return,
            _ = signals.hup.recv() => true,
            () = tokio::time::sleep(hurry.unwrap_or(LOOK)), if hurry.is_some() => false,
            _ = look.tick() => {
                if ebb.is_due(running.connections.load(Ordering::Relaxed)) {
                    seawall_heap::give_back();
                }
                false
            }
        };
        match &mut reloader {
            Some(reloader) if asked => reloader.take_now(running).await,
            Some(reloader) => reloader.look(running).await,
            None => {}
        }
    }
}
