//! Puts a new configuration in force, either completely, with all the files that it names, or not at all.

use std::path::PathBuf;
use std::sync::Arc;

use seawall_policy::Time;

use super::{ADMIN_TOKENS, CLIENTS_TOKENS, Running, check_names};
use crate::config;
use crate::running::changes::Changes;
use crate::running::compiled::{Before, Compiled};
use crate::running::tokens::TokenFile;

impl Running {
    /// Puts new settings and the files that they name in force, either all of them or none. Returns what changed.
    ///
    /// # Errors
    /// As for [`Running::new`]. The old settings then stay in force.
    pub fn replace(&self, settings: config::Settings) -> Result<Changes, String> {
        let now = self.clock.now();
        let old = self.compiled.load_full();
        let mut parked = self.parked.lock();
        let files = [(CLIENTS_TOKENS, &self.clients_tokens), (ADMIN_TOKENS, &self.admin_tokens)];
        let read = |(key, file): (&'static str, &'_ Option<TokenFile>)| {
            let file = file.clone()?;
            Some(file.read_again().map(|fresh| (key, fresh)).map_err(|why| format!("{key}: {why}")))
        };
        let tokens = files.into_iter().filter_map(read).collect::<Result<Vec<_>, _>>()?;
        let clients = tokens.iter().find(|(key, _)| *key == CLIENTS_TOKENS).map(|(_, fresh)| fresh);
        check_names(&settings, clients)?;
        let before = Before::Ran { old: &old, parked: &parked, now };
        let new = Compiled::new(settings, self.workers, &before, self.clock)?;
        let mut changes =
            Changes::between(&old.settings, &new.settings, |name| parked.get(name, now).is_some());
        changes.others.extend(new.other_tls_files(&old));
        new.adopt_guards(&before);

        let others = tokens.into_iter().filter_map(|(key, fresh)| fresh.take().1.then_some(key));
        changes.others.extend(others.map(|key| format!("{key}: its content")));
        for gone in old.dependencies.iter().filter(|gone| new.by_name(&gone.settings.name).is_none()) {
            parked.put(&gone.settings.name, Arc::clone(gone), now);
        }
        parked.sweep(now, |name| new.by_name(name).is_some());
        let generation = new.generation;
        self.compiled.store(Arc::new(new));
        self.newest.send_replace(generation);
        Ok(changes)
    }

    /// Drops the state of dependencies that were removed more than ten minutes ago.
    pub(crate) fn forget_the_long_gone(&self, now: Time) {
        self.parked.lock().sweep(now, |_| false);
    }

    /// Returns the tokens of callers. `None` if the configuration at the start named no file for them.
    pub(crate) fn clients_tokens(&self) -> Option<TokenFile> {
        self.clients_tokens.clone()
    }

    /// Returns the tokens of operators. `None` if the configuration at the start named no file for them.
    pub(crate) fn admin_tokens(&self) -> Option<TokenFile> {
        self.admin_tokens.clone()
    }

    /// Returns the paths of the file with the callers' tokens and of the file with the operators' tokens.
    pub(crate) fn token_paths(&self) -> impl Iterator<Item = PathBuf> {
        [&self.clients_tokens, &self.admin_tokens].into_iter().flatten().map(|file| file.path().to_owned())
    }
}

#[cfg(test)]
#[path = "replace_tests.rs"]
mod tests;
