//! Reload: puts the configuration file and the files that it names in force, all of them or none, and logs the result.
//!
//! On SIGHUP this happens immediately, with the files as they are. Without a signal, [`watch`] decides when a changed
//! file is put in force. In both cases nothing comes into force before everything has been read, checked and compiled,
//! including certificates and tokens.

mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::config::{self, Loaded, Settings};
use crate::files;
use crate::running::changes::{Changes, losses};
use crate::running::process::{Reload, Running};
use watch::{FileWatch, Move, NamedWatch, Step};

/// The time between two looks at the configuration file. Its content is compared, so that a replaced link, as in
/// Kubernetes mounts, is noticed.
pub(crate) const LOOK: Duration = Duration::from_millis(500);
/// The maximum wait until all workers use a new configuration. A worker takes it over immediately unless the worker is
/// busy.
const TAKE_OVER: Duration = Duration::from_secs(2);

/// Reloads one configuration file.
#[derive(Debug)]
pub(crate) struct Reloader {
    file: PathBuf,
    /// The text of the file in force.
    text: String,
    /// The text of the file that was refused last, until another text comes into force. `None` if no text was refused,
    /// or if the refused text equals the one in force.
    refused: Option<String>,
    watch: FileWatch,
    /// The files that the text in force names, each with a number that stands for its content when it was read. The
    /// number is `None` if the file could not be read.
    named: BTreeMap<PathBuf, Option<u64>>,
    named_watch: NamedWatch,
    /// The reason why the changed files could not be put in force, until it is reported. `None` if there is nothing to
    /// report.
    unfit: Option<String>,
}

impl Reloader {
    /// Makes a reloader for a file whose text is in force.
    pub(crate) fn new(file: &Path, text: String, loaded: &Loaded, running: &Running) -> Reloader {
        let named = loaded.files.clone();
        Reloader {
            file: file.to_owned(),
            watch: FileWatch::new(Some(files::number(text.as_bytes()))),
            text,
            refused: None,
            named_watch: NamedWatch::new(files::number(&named), running.clock.now()),
            named,
            unfit: None,
        }
    }

    /// Returns the time until the next look at the files if a file has just changed, so that the next look must come
    /// earlier than usual. Otherwise returns `None`.
    pub(crate) fn hurry(&self) -> Option<Duration> {
        self.watch.is_settling().then_some(watch::SETTLE)
    }

    /// Puts the files in force as they are now, without any wait, because an operator sent SIGHUP.
    pub(crate) async fn take_now(&mut self, running: &Running) {
        let content = std::fs::read(&self.file).ok();
        self.take(running, content).await;
    }

    /// Checks whether the files have changed. Puts a change in force once the files have been unchanged for long
    /// enough.
    pub(crate) async fn look(&mut self, running: &Running) {
        let now = running.clock.now();
        running.forget_the_long_gone(now);
        let content = std::fs::read(&self.file).ok();
        let number = content.as_ref().map(|content| files::number(&content[..]));
        let mut step = self.watch.look(number, now);
        if step == Step::Judge {
            self.judge(running, content.as_deref().unwrap_or_default());
            step = self.watch.look(number, now);
        }
        if step == Step::Take {
            self.take(running, content).await;
        }
        if self.named_watch.is_due(now) {
            self.look_at_named(running).await;
        }
    }

    /// Decides whether a new content of the file lacks something that is in force, and tells `watch`. Such a content
    /// may be only half written, so `watch` waits longer before it uses it. What is lacking is logged. There are two
    /// cases:
    ///
    /// - The content is a valid configuration, but a dependency, an endpoint or an operation in force is missing from
    ///   it.
    /// - The content is the text in force without its end.
    ///
    /// Any other invalid content counts as lacking nothing, since it will be refused anyway.
    fn judge(&mut self, running: &Running, content: &[u8]) {
        let text = str::from_utf8(content).unwrap_or_default();
        let old = running.compiled.load();
        let mut lost = config::parse(&self.name(), text, &environment)
            .map(|loaded| losses(&old.settings, &loaded.settings))
            .unwrap_or_default();
        let (all, part) = (self.text.trim_end(), text.trim_end());
        if lost.is_empty() && part.len() < all.len() && all.starts_with(part) {
            lost.push("its end".to_owned());
        }
        self.watch.judged(!lost.is_empty());
        if !lost.is_empty() {
            tracing::warn!(
                lost = lost.join(", "),
                "the changed file lacks what is in force: it is taken once it has been unchanged for {:?}, or on SIGHUP",
                watch::LOSS
            );
        }
    }

    /// Puts this content of the configuration file in force, or refuses it. `None` means that the file could not be
    /// read. The result is logged.
    async fn take(&mut self, running: &Running, content: Option<Vec<u8>>) {
        let number = content.as_ref().map(|content| files::number(&content[..]));
        let text = match content.map(String::from_utf8) {
            Some(Ok(text)) => text,
            // The file is read again, to report why it cannot be read.
            Some(Err(_)) | None => match config::text(&self.file) {
                Ok(text) => text,
                Err(report) => {
                    self.watch.done(number);
                    return refuse(running, &report.to_string());
                }
            },
        };
        self.watch.done(Some(files::number(text.as_bytes())));
        match self.put_in_force(running, &text) {
            Ok(taken) => announce(running, &self.file, taken).await,
            Err(report) => {
                self.refused = (text != self.text).then_some(text);
                refuse(running, &report);
            }
        }
    }

    async fn look_at_named(&mut self, running: &Running) {
        let now = running.clock.now();
        let paths = self.named.keys().cloned().chain(running.token_paths());
        let contents: BTreeMap<PathBuf, Option<u64>> =
            paths.map(|path| (path.clone(), files::stamp(&path))).collect();
        match self.named_watch.look(files::number(&contents), now) {
            Move::Wait => {}
            Move::Try => {
                // The configuration file may have been refused because of the old content of the files that it names.
                // So its refused text is tried first, and then the text in force.
                let texts = [self.refused.clone(), Some(self.text.clone())];
                for text in texts.into_iter().flatten() {
                    match self.put_in_force(running, &text) {
                        Ok(taken) => return announce(running, &self.file, taken).await,
                        Err(why) => {
                            tracing::info!(why, "changed files do not fit together yet, and are waited for");
                            self.unfit = Some(why);
                        }
                    }
                }
            }
            Move::Tell => {
                let never = || "they have not been the same for a second".to_owned();
                let why = self.unfit.take().unwrap_or_else(never);
                let what = "files that the configuration names have changed, and cannot be taken";
                refuse(running, &format!("{what}: {why}"));
            }
        }
    }

    fn name(&self) -> String {
        self.file.display().to_string()
    }

    /// Puts a text in force with all files that it names. If it cannot be put in force, changes nothing and returns the
    /// reason.
    fn put_in_force(&mut self, running: &Running, text: &str) -> Result<TakenConfig, String> {
        let loaded = config::parse(&self.name(), text, &environment).map_err(|report| report.to_string())?;
        let restart = needs_restart(running, &loaded.settings);
        let changes = running.replace(loaded.settings)?;
        text.clone_into(&mut self.text);
        self.refused = None;
        self.unfit = None;
        self.named = loaded.files;
        for path in running.token_paths() {
            self.named.entry(path.clone()).or_insert_with(|| files::stamp(&path));
        }
        self.named_watch.taken(files::number(&self.named), running.clock.now());
        let notes = loaded.notes.iter().map(ToString::to_string).collect();
        Ok(TakenConfig { restart, notes, changes })
    }
}

/// What is to be reported after a configuration has come into force.
#[derive(Debug)]
struct TakenConfig {
    restart: Vec<&'static str>,
    notes: Vec<String>,
    changes: Changes,
}

pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Logs what the reload changed. It waits until every worker uses the new configuration, but at most two seconds.
async fn announce(running: &Running, file: &Path, taken: TakenConfig) {
    for what in taken.restart {
        tracing::warn!(what, "takes effect at the next start only");
    }
    for note in &taken.notes {
        tracing::warn!("{note}");
    }
    let all = async {
        while !running.all_taken_over() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    if tokio::time::timeout(TAKE_OVER, all).await.is_err() {
        tracing::warn!("a worker is slow to take the new configuration over");
    }
    for name in &taken.changes.removed {
        tracing::warn!(
            dependency = name,
            "the reload removed this dependency; its breakers, limits and counters are kept for ten minutes"
        );
    }
    for change in &taken.changes.others {
        tracing::info!(change, "the reload changed this");
    }
    let changed = taken.changes.lines();
    tracing::info!(file = %file.display(), changes = changed.len(), "the configuration was reloaded");
    *running.last_reload.lock() = Some(Reload { at: SystemTime::now(), refused: None, changed });
}

fn refuse(running: &Running, report: &str) {
    tracing::error!("the new configuration was refused, and the old one stays in force:\n{report}");
    let refused = Some(report.to_owned());
    *running.last_reload.lock() = Some(Reload { at: SystemTime::now(), refused, changed: Vec::new() });
}

/// Returns the names of the settings that differ from those in force but cannot be changed by a reload. The gateway
/// reads these settings only when it starts.
fn needs_restart(running: &Running, new: &Settings) -> Vec<&'static str> {
    let compiled = running.compiled.load();
    let (old, new_gateway) = (&compiled.settings.gateway, &new.gateway);
    let listens = |settings: &Settings| -> Vec<_> {
        settings.dependencies.iter().filter_map(|d| Some((d.name.clone(), d.listen?))).collect()
    };
    let changes = [
        ("gateway.listen", old.listen != new_gateway.listen),
        ("gateway.admin", old.admin != new_gateway.admin),
        ("gateway.workers", old.workers != new_gateway.workers),
        ("gateway.hosts", old.hosts != new_gateway.hosts),
        ("gateway.clients", old.clients != new_gateway.clients),
        ("gateway.admin_token_file", old.admin_token_file != new_gateway.admin_token_file),
        ("dependency.*.listen", listens(&compiled.settings) != listens(new)),
    ];
    changes.into_iter().filter(|(_, changed)| *changed).map(|(what, _)| what).collect()
}
