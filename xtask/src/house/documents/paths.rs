//! Checks the files and folders that a page names, the links of the page, and the map of the source in ARCHITECTURE.md.

use std::collections::BTreeSet;

use super::page::{Page, Spot, anchor, codes};

/// Names of files and folders that users have or that a run creates. They are not checked, because they are not files
/// of this repository.
const NOT_OURS: [&str; 4] = ["seawall.toml", "faults.toml", "nginx.conf", "target/test-env"];

/// The endings of the names of this repository's files. A name on a page that ends in one of them is taken for a path.
pub(super) const KINDS: [&str; 8] = [".rs", ".md", ".toml", ".sql", ".py", ".c", ".sh", ".lock"];

/// Every file and folder of the tree.
pub(super) struct Places<'a> {
    files: BTreeSet<&'a str>,
    folders: BTreeSet<&'a str>,
    /// The names of all folders, without the path before them.
    names: BTreeSet<&'a str>,
}

impl<'a> Places<'a> {
    pub(super) fn of(paths: impl Iterator<Item = &'a str>) -> Places<'a> {
        let files: BTreeSet<&str> = paths.collect();
        let ends = |path: &'a str| path.match_indices('/').map(move |(at, _)| &path[..at]);
        let folders: BTreeSet<&str> = files.iter().flat_map(|path| ends(path)).collect();
        let names = folders.iter().map(|folder| folder.rsplit('/').next().unwrap_or(folder)).collect();
        Places { files, folders, names }
    }

    /// Returns all files and folders that `name` can mean. Only those whose path from the root begins with `base` are
    /// returned. `name` can be a path from the root, or from any other folder.
    fn meant(&self, base: &str, name: &str) -> Vec<&'a str> {
        let folder = name.trim_end_matches('/');
        let ends = |path: &str| {
            // A name without an extension, such as `config/settings`, can mean the file of a module, such as
            // `config/settings.rs`.
            let path = if name.contains('.') { path } else { path.trim_end_matches(".rs") };
            path == folder || path.strip_suffix(folder).is_some_and(|front| front.ends_with('/'))
        };
        let all = self.files.iter().chain(&self.folders).copied();
        all.filter(|path| path.starts_with(base) && ends(path)).collect()
    }

    /// Returns whether `text` has the form of a path in this repository. Such a path must exist.
    fn is_path(&self, text: &str) -> bool {
        let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
        let ours = !NOT_OURS.contains(&text) && !text.starts_with(['/', '.']) && !text.contains("//");
        let first = text.split('/').next().unwrap_or_default();
        let known = text.contains('/') && (text.ends_with('/') || self.names.contains(first));
        plain && ours && (known || KINDS.iter().any(|end| text.ends_with(end) && text.len() > end.len()))
    }
}

/// Finds the paths on a page that do not exist.
pub(super) fn missing(page: &Page, places: &Places<'_>) -> Vec<String> {
    let spans = page.spans.iter().filter(|span| places.is_path(&span.text));
    let lost = spans.filter(|span| places.meant("", &span.text).is_empty());
    lost.map(|span| format!("{}: there is no `{}`", span.place(page), span.text)).collect()
}

/// Returns one line for each link of a page that leads to a file or heading that does not exist. Links to the web are
/// not checked.
pub(super) fn dead_links(page: &Page, pages: &[Page], places: &Places<'_>) -> Vec<String> {
    let inside =
        page.links.iter().filter(|link| !link.text.contains("://") && !link.text.starts_with("mailto:"));
    let dead = inside.filter(|link| {
        let (file, heading) = link.text.split_once('#').unwrap_or((&link.text, ""));
        let target = if file.is_empty() { page.path.clone() } else { beside(&page.path, file) };
        let there =
            places.files.contains(target.as_str()) || places.folders.contains(target.trim_end_matches('/'));
        let has = |page: &Page| page.headings.iter().any(|own| anchor(&own.text) == heading);
        !there || (!heading.is_empty() && !pages.iter().any(|page| page.path == target && has(page)))
    });
    dead.map(|link| format!("{}: the link to {} leads nowhere", link.place(page), link.text)).collect()
}

/// Returns the path from the root for a link that is relative to the page at `path`.
fn beside(path: &str, link: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Returns one line for each source file that the map in ARCHITECTURE.md does not show. A file is shown if the map
/// names the file or a folder that contains it.
pub(super) fn unmapped(map: &Page, places: &Places<'_>) -> Vec<String> {
    let mut shown: BTreeSet<&str> = BTreeSet::new();
    for spot in &map.spans {
        if places.is_path(&spot.text) {
            let meant = places.meant(&base(map, spot, places), &spot.text);
            // If the map names the folder of a whole crate, this does not count as showing the crate's files. Each of
            // them needs a row that names the file, or a folder inside the crate.
            shown.extend(
                meant.iter().filter(|path| path.matches('/').count() != 1 || !path.starts_with("crates/")),
            );
        }
    }
    let needed = places.files.iter().filter(|path| path.ends_with(".rs") && !speaks_for_itself(path));
    let lost = needed.filter(|path| {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        !above.chain([**path]).any(|part| shown.contains(part))
    });
    lost.map(|path| format!("{path}: stands in no row of {}, nor does its folder", map.path)).collect()
}

/// Returns the folder in which the paths at `spot` are looked for: the folder, with `/` at its end, of the crate that
/// the heading above `spot` names. Returns an empty text, for the whole repository, if that heading does not name
/// exactly one crate.
fn base(map: &Page, spot: &Spot, places: &Places<'_>) -> String {
    let above = map.headings.iter().rfind(|heading| heading.line <= spot.line);
    let named = above.map(|heading| heading.text.split(':').next().unwrap_or_default()).unwrap_or_default();
    let one = codes(named).next().unwrap_or(named);
    // If the heading names two crates or none, this section of the map may name files of any crate.
    if places.folders.contains(one) { format!("{one}/") } else { String::new() }
}

/// Returns whether the map in ARCHITECTURE.md may leave out the file at `path`. This is so for `mod.rs`, `lib.rs` and
/// files of tests.
fn speaks_for_itself(path: &str) -> bool {
    let tests = path.ends_with("_tests.rs") || path.ends_with("/tests.rs") || path.contains("/tests/");
    tests || ["lib.rs", "mod.rs"].iter().any(|name| path.ends_with(&format!("/{name}")))
}
