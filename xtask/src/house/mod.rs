//! Rules of this project that no compiler checks. Some examples: which crate may use which other crate, how files are
//! named, and how long they may be. Another one is that no file contains a path of a person's own machine.
//!
//! Each rule is a function that depends only on its arguments, so that a test can call it with a broken tree.
//! [`findings`] applies all rules to this tree.

mod circles;
mod documents;
pub(crate) mod source;
pub(crate) mod tree;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use self::source::{Source, files};
use crate::process::{Outcome, metadata, root};

/// The maximum number of lines of a Rust file, tests included. If a file has more than about 400 lines, it probably
/// contains two ideas that belong in two files.
const MOST_LINES: usize = 600;

/// The maximum number of lines of the map of the code (ARCHITECTURE.md). People do not read a longer map to its end.
const MOST_LINES_OF_MAP: usize = 250;

/// Names that say nothing about what a file or folder is for.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "common", "types", "helper", "helpers"];

/// The floor of each crate. A crate may use only crates on lower floors, so two crates on one floor do not use each
/// other.
const FLOORS: [(&str, u8); 10] = [
    ("seawall-policy", 0),
    ("seawall-wire", 0),
    ("seawall-heap", 0),
    ("seawall-client", 1),
    ("seawall-lab", 1),
    ("seawall-ledger", 1),
    ("seawall-ledger-search", 1),
    ("seawall-actions", 2),
    ("seawall", 3),
    ("seawall-gateway", 4),
];

/// The crate that depends on no other crate, except in its tests. It only makes decisions, and gets as arguments
/// everything that a decision needs.
const PURE: &str = "seawall-policy";

/// The crate that may use any other crate, and that no other crate may use.
const FREE: &str = "xtask";

/// A package, and the packages on which it depends.
#[derive(Clone, Debug)]
struct Package {
    name: String,
    /// The name and the kind of each dependency. The kind is `normal`, `build` or `dev`.
    dependencies: Vec<(String, String)>,
}

/// Applies all rules to this tree. Returns one line for each place that breaks a rule.
pub(crate) fn findings() -> Outcome<Vec<String>> {
    let files = files()?;
    let mut found = floors(&packages(&metadata()?));
    found.extend(names(&files));
    found.extend(lengths(&files));
    found.extend(ignored_tests(&files));
    found.extend(machine_paths(&files, &own_places()));
    found.extend(circles::findings(&files));
    found.extend(documents::findings(&files));
    Ok(found)
}

fn packages(metadata: &Value) -> Vec<Package> {
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let none = Vec::new();
    let each = metadata["packages"].as_array().unwrap_or(&none).iter();
    each.map(|package| {
        let dependencies = package["dependencies"].as_array().unwrap_or(&none).iter();
        let kind = |dependency: &Value| dependency["kind"].as_str().unwrap_or("normal").to_owned();
        Package { name: name(package), dependencies: dependencies.map(|d| (name(d), kind(d))).collect() }
    })
    .collect()
}

fn floors(packages: &[Package]) -> Vec<String> {
    let floor = |name: &str| FLOORS.iter().find(|(known, _)| *known == name).map(|(_, floor)| *floor);
    let inside: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut found = Vec::new();
    for package in packages.iter().filter(|package| package.name != FREE) {
        let Some(own) = floor(&package.name) else {
            found.push(format!("{}: has no floor; give it one in xtask/src/house/mod.rs", package.name));
            continue;
        };
        for (dependency, kind) in &package.dependencies {
            if package.name == PURE && kind != "dev" {
                found.push(format!("{}: depends on {dependency}; it may depend on nothing", package.name));
            } else if dependency == FREE {
                found.push(format!("{}: depends on {FREE}", package.name));
            } else if *dependency == package.name {
                // This dependency is allowed: a crate's own tests and examples can depend on the crate itself to enable
                // features. cargo itself refuses every other dependency of a crate on itself.
            } else if inside.contains(dependency.as_str()) && floor(dependency).is_none_or(|low| low >= own) {
                found.push(format!(
                    "{}: depends on {dependency}, which is not on a lower floor",
                    package.name
                ));
            }
        }
    }
    found
}

fn names(files: &[Source]) -> Vec<String> {
    let empty = |path: &&str| {
        Path::new(path).components().any(|part| {
            let stem = Path::new(part.as_os_str()).file_stem().unwrap_or_default().to_string_lossy();
            EMPTY_NAMES.contains(&stem.to_lowercase().as_str())
        })
    };
    let bad = files.iter().map(|file| file.path.as_str()).filter(empty);
    bad.map(|path| format!("{path}: a name that does not say what it is for")).collect()
}

fn lengths(files: &[Source]) -> Vec<String> {
    let bound = |path: &str| match path {
        "ARCHITECTURE.md" => Some(MOST_LINES_OF_MAP),
        path => path.ends_with(".rs").then_some(MOST_LINES),
    };
    let lines = |file: &Source| file.text.as_deref().map_or(0, |text| text.lines().count());
    let bounded = files.iter().filter_map(|file| Some((&file.path, lines(file), bound(&file.path)?)));
    let long = bounded.filter(|(_, lines, most)| lines > most);
    long.map(|(path, lines, most)| format!("{path}: {lines} lines; at most {most}")).collect()
}

fn ignored_tests(files: &[Source]) -> Vec<String> {
    let mark = ["#[ig", "nore"].concat();
    lines_of(files)
        .filter(|(path, _, line)| path.ends_with(".rs") && line.trim_start().starts_with(&mark))
        .map(|(path, number, _)| format!("{path}:{number}: a test that nobody runs"))
        .collect()
}

fn lines_of(files: &[Source]) -> impl Iterator<Item = (&str, usize, &str)> {
    files.iter().flat_map(|file| {
        let lines = file.text.as_deref().unwrap_or_default().lines().enumerate();
        lines.map(|(index, line)| (file.path.as_str(), index + 1, line))
    })
}

/// Returns folders that exist only on this machine, each with `/` at its end: the folder of this tree, its parent
/// folder, and the user's home. Their paths must not be in any file.
fn own_places() -> Vec<String> {
    let home = std::env::var("HOME").unwrap_or_default();
    let root = root();
    let around = root.parent().map(|p| p.display().to_string()).unwrap_or_default();
    // Folders such as `/tmp` exist on many machines, so they are not private and are left out.
    let public = ["", "/", "/tmp", "/src", "/usr/src", "/opt", "/srv", "/var", "/var/tmp"];
    let places = [root.display().to_string(), around, home].into_iter();
    places.filter(|place| !public.contains(&place.as_str())).map(|place| format!("{place}/")).collect()
}

fn machine_paths(files: &[Source], own: &[String]) -> Vec<String> {
    let homes = [["/ho", "me/"].concat(), ["/Us", "ers/"].concat()];
    let mut found = Vec::new();
    for (path, number, line) in lines_of(files) {
        let hit = homes.iter().chain(own).find(|place| has_path(line, place));
        if let Some(place) = hit {
            found.push(format!("{path}:{number}: a path of somebody's machine, {place}"));
        }
    }
    found
}

/// Returns whether `line` contains an absolute path that begins with `place`. For example, `crates/src/x` contains no
/// path that begins with `/src/`, because this `/src/` is in the middle of a path.
fn has_path(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + place.len()..].chars().next();
        let starts = before.is_none_or(|c| !c.is_alphanumeric() && !"._-}/".contains(c));
        starts && after.is_some_and(|c| c.is_alphanumeric() || c == '.')
    })
}

/// Returns one line for each page in `docs/reasons` that explains no known reason, and for each reason that has no page
/// there.
#[cfg(test)]
fn reason_pages(words: &[&str], pages: &[&str]) -> Vec<String> {
    let words: BTreeSet<&str> = words.iter().copied().collect();
    let pages: BTreeSet<&str> = pages.iter().copied().collect();
    let missing = words.difference(&pages).map(|w| format!("reason `{w}` has no page docs/reasons/{w}.md"));
    let stray = pages.difference(&words).map(|p| format!("docs/reasons/{p}.md explains no reason"));
    missing.chain(stray).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, &str)]) -> Package {
        let own = |(name, kind): &(&str, &str)| ((*name).to_owned(), (*kind).to_owned());
        Package { name: name.to_owned(), dependencies: dependencies.iter().map(own).collect() }
    }

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: Some(text.to_owned()) }
    }

    #[test]
    fn this_tree_keeps_the_house_rules() {
        assert_eq!(findings().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn every_setting_in_a_document_exists() {
        let found = documents::unknown_settings(&files().unwrap(), &seawall_gateway::config::schema());
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn every_reason_has_its_page() {
        let reasons = seawall_policy::Reason::ALL.iter().map(|reason| reason.as_str());
        let stopped = seawall_policy::Stopped::ALL.iter().map(|stopped| stopped.as_str());
        // `truncated` means that an answer breaks off after its head. It is not the reason of a call, but `seawall
        // explain` has a page for it as well.
        let words: Vec<&str> = reasons.chain(stopped).chain(["truncated"]).collect();
        let files = files().unwrap();
        let pages: Vec<&str> = files
            .iter()
            .filter_map(|file| file.path.strip_prefix("docs/reasons/")?.strip_suffix(".md"))
            .collect();
        assert_eq!(reason_pages(&words, &pages), Vec::<String>::new());
    }

    #[test]
    fn crates_know_only_lower_floors() {
        let policy = package("seawall-policy", &[("proptest", "dev")]);
        let lab = package("seawall-lab", &[("seawall-policy", "normal"), ("bytes", "normal")]);
        let task = package("xtask", &[("seawall-gateway", "normal")]);
        assert_eq!(floors(&[policy.clone(), lab.clone(), task.clone()]), Vec::<String>::new());

        let beside = package("seawall-client", &[("seawall-lab", "dev")]);
        let impure = package("seawall-policy", &[("bytes", "normal")]);
        let upward = package("seawall-gateway", &[("xtask", "normal")]);
        let unknown = package("seawall-extra", &[]);
        for broken in [beside, impure, upward, unknown] {
            let name = broken.name.clone();
            assert_eq!(floors(&[policy.clone(), lab.clone(), task.clone(), broken]).len(), 1, "{name}");
        }
    }

    #[test]
    fn metadata_is_read_with_kinds() {
        let text = r#"{"packages":[{"name":"a","dependencies":[{"name":"b","kind":null},{"name":"c","kind":"dev"}]}]}"#;
        let read = packages(&serde_json::from_str(text).unwrap());
        assert_eq!(read[0].name, "a");
        let own = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(read[0].dependencies, [own("b", "normal"), own("c", "dev")]);
    }

    #[test]
    fn empty_names_are_found_as_file_and_as_folder() {
        let files = ["src/util.rs", "tests/common/mod.rs", "docs/types.md", "src/uncommon.rs"];
        let files: Vec<Source> = files.iter().map(|path| source(path, "")).collect();
        assert_eq!(names(&files).len(), 3);
    }

    #[test]
    fn long_files_and_ignored_tests_are_found() {
        let long = source("a.rs", &"\n".repeat(MOST_LINES + 1));
        let fits = source("b.rs", &"\n".repeat(MOST_LINES));
        assert_eq!(lengths(&[long, fits, source("c.md", &"\n".repeat(9999))]).len(), 1);
        assert_eq!(lengths(&[source("ARCHITECTURE.md", &"\n".repeat(MOST_LINES_OF_MAP + 1))]).len(), 1);
        let ignored = ["    #[ig", "nore = \"slow\"]"].concat();
        assert_eq!(ignored_tests(&[source("a.rs", &ignored), source("b.md", &ignored)]).len(), 1);
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let own = ["/space/tree/".to_owned()];
        let home = ["see /ho", "me/me/x"].concat();
        let bad = source("a.md", &format!("{home}\n(/space/tree/src)\n"));
        assert_eq!(machine_paths(&[bad], &own).len(), 2);
        let good = source("b.md", "my/space/tree/x, GET /space/tree/ HTTP/1.1, ${X}/space/tree/y\n");
        assert_eq!(machine_paths(&[good], &own), Vec::<String>::new());
    }

    #[test]
    fn reasons_and_pages_must_match_both_ways() {
        assert_eq!(reason_pages(&["a", "b"], &["b", "a"]), Vec::<String>::new());
        assert_eq!(reason_pages(&["a"], &["b"]).len(), 2);
    }
}
