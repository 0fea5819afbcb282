//! Checks the documents against the code: every path, command, setting, reason and name in them must exist.
//!
//! Without these checks, nobody notices that a change of the code has made a page wrong. Code in the text, `` `like
//! this` ``, is checked if its form shows that it is a path, a command, a setting or a name. Code of any other form is
//! not checked.

mod commands;
mod functions;
mod names;
mod page;
mod paths;
#[cfg(test)]
mod settings;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use self::commands::Program;
use self::names::Owners;
use self::page::{Page, pages};
use self::paths::Places;
use super::source::Source;

/// Checks all pages among `files`. Returns one line for each mistake on them, such as a path that does not exist.
pub(super) fn findings(files: &[Source]) -> Vec<String> {
    let pages = pages(files);
    let places = Places::of(files.iter().map(|file| file.path.as_str()));
    let (own, xtask) = (Program::of("crates/gateway/src/cli/", files), Program::of("xtask/src/", files));
    let targets = targets(files);
    let owners = Owners::of(files);
    let words = words(files);
    let gateway = files.iter().filter(|file| file.path.starts_with("crates/gateway/src/"));
    let gateway: Vec<&str> = gateway.filter_map(|file| file.text.as_deref()).collect();
    let mut found = Vec::new();
    for page in &pages {
        found.extend(paths::missing(page, &places));
        found.extend(paths::dead_links(page, &pages, &places));
        found.extend(commands::unknown(page, &own, &xtask, &targets));
        found.extend(names::unknown(page, &owners));
        found.extend(unknown_words(page, &words));
        found.extend(unknown_addresses(page, &gateway));
    }
    found.extend(functions::unnamed(files, &pages));
    let map = pages.iter().find(|page| page.path == "ARCHITECTURE.md");
    found.extend(map.into_iter().flat_map(|map| paths::unmapped(map, &places)));
    found
}

/// Returns one line for each setting on the pages that does not exist. `schema` is the JSON Schema of the
/// configuration, with all settings that exist.
#[cfg(test)]
pub(super) fn unknown_settings(files: &[Source], schema: &serde_json::Value) -> Vec<String> {
    let settings = settings::Settings::of(schema);
    pages(files).iter().flat_map(|page| settings::unknown(page, &settings)).collect()
}

/// Returns the names of all packages, tests and examples, as cargo uses them.
fn targets(files: &[Source]) -> BTreeSet<String> {
    let manifests = files.iter().filter(|file| file.path.ends_with("Cargo.toml"));
    let lines = manifests.flat_map(|file| file.text.as_deref().unwrap_or_default().lines());
    let named =
        lines.filter_map(|line| line.strip_prefix("name = ")).map(|name| name.trim_matches('"').to_owned());
    let found = files.iter().filter_map(|file| {
        let (folder, name) = file.path.rsplit_once('/')?;
        let (above, last) = folder.rsplit_once('/')?;
        let is_place = |folder: &str| folder == "tests" || folder == "examples";
        if is_place(last) {
            name.strip_suffix(".rs").map(str::to_owned)
        } else {
            (name == "main.rs" && is_place(above.rsplit('/').next()?)).then(|| last.to_owned())
        }
    });
    named.chain(found).collect()
}

/// Returns the words that `seawall explain` explains. Each of them has a page in `docs/reasons` or `docs/words`.
fn words(files: &[Source]) -> BTreeSet<&str> {
    let page = |file: &'_ Source| {
        let name = file.path.strip_prefix("docs/reasons/").or(file.path.strip_prefix("docs/words/"));
        name.is_some()
    };
    let pages = files.iter().filter(|file| page(file));
    pages.filter_map(|file| file.path.rsplit('/').next()?.strip_suffix(".md")).collect()
}

/// Returns one line for each address on a page that the gateway does not serve, although it looks like one of the
/// gateway's own addresses, such as `GET /api/dependencies`.
fn unknown_addresses(page: &Page, gateway: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for span in &page.spans {
        let address =
            span.text.split(' ').next_back().unwrap_or_default().split('?').next().unwrap_or_default();
        let own = ["/api/", "/-/"].iter().any(|front| address.starts_with(front) && address != *front);
        if own && !gateway.iter().any(|text| text.contains(&format!("\"{address}\""))) {
            found.push(format!("{}: the gateway serves no {address}", span.place(page)));
        }
    }
    found
}

/// Returns one line for each word on a page that `seawall explain` does not know. A word is checked if it follows
/// `seawall explain`, or if it is the value of the header `seawall-reason`, `seawall-retry-stopped` or
/// `seawall-effect`.
fn unknown_words(page: &Page, words: &BTreeSet<&str>) -> Vec<String> {
    let fronts = ["seawall explain ", "seawall-reason: ", "seawall-retry-stopped: ", "seawall-effect: "];
    let mut found = Vec::new();
    for spot in page.spans.iter().chain(&page.blocks) {
        let text = spot.text.trim().trim_start_matches(['$', '<', ' ']);
        let Some(word) = fronts.iter().find_map(|front| text.strip_prefix(front)) else { continue };
        let word = word.split(" #").next().unwrap_or_default().trim().replace(' ', "-");
        let is_word = word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        if is_word && !word.is_empty() && !words.contains(word.as_str()) {
            found.push(format!("{}: nothing explains `{word}`", spot.place(page)));
        }
    }
    found
}
