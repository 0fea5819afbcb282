//! Finds circles of use among the files of one crate, and imports that go through the crate's own root. Neither is
//! allowed.
//!
//! File A uses file B when A's code names something that B defines; re-exports are followed to the definition. `mod b;`
//! and `pub use b::X` do not count as use, because a `mod.rs` or `lib.rs` may list its modules. Files that use each
//! other, directly or through others, can only be understood together. Nearly always the cause is one type or constant
//! in the wrong file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::source::Source;
use super::tree::{Id, Module, Tree, roots};

/// The maximum number of re-exports that are followed from one name. If a chain is longer, it is treated as endless,
/// and its first name counts as not found.
const MOST_STEPS: usize = 16;

/// For each file: the other files that it uses, with the names that it uses from each of them.
type Uses = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// The module or item that a path names.
#[derive(Clone, Debug, PartialEq)]
enum Target {
    Module(Id),
    /// The module that defines the item, and the item's name there.
    Item(Id, String),
}

/// Returns one text for each circle of files, and one for each name that is used as `crate::X` although the crate's
/// root only re-exports it. All crates in `files` are checked.
pub(super) fn findings(files: &[Source]) -> Vec<String> {
    roots(files).into_iter().flat_map(|(_, root)| in_crate(root, files)).collect()
}

fn in_crate(root: &str, files: &[Source]) -> Vec<String> {
    let tree = match Tree::read(root, files) {
        Ok(tree) => tree,
        Err(problem) => return vec![problem],
    };
    let mut found = through_the_front_page(&tree);
    found.extend(circles(&uses(&tree)).iter().map(said));
    found
}

/// Returns one text for each item that a file names as `crate::X` although the crate's root does not define `X` but
/// only re-exports it. Names in the root's own file are allowed.
fn through_the_front_page(tree: &Tree) -> Vec<String> {
    let mut found = BTreeSet::new();
    for (id, module) in tree.modules.iter().enumerate() {
        for path in &module.named {
            let Some((0, [name, ..])) = start(tree, id, path) else { continue };
            let root = &tree.modules[0];
            if module.file == root.file || root.children.contains_key(name) || root.items.contains(name) {
                continue;
            }
            if let Some(Target::Item(home, own)) = lookup(tree, 0, name, false, 0) {
                found.insert(format!(
                    "{}: names `{name}` through the crate's front page; its path is {}::{own}",
                    module.file, tree.modules[home].path
                ));
            }
        }
    }
    found.into_iter().collect()
}

fn uses(tree: &Tree) -> Uses {
    let mut uses = Uses::new();
    for (id, module) in tree.modules.iter().enumerate() {
        for path in &module.named {
            let Some(Target::Item(home, name)) = resolve(tree, id, path, false, 0) else { continue };
            let file = &tree.modules[home].file;
            if *file != module.file {
                uses.entry(module.file.clone()).or_default().entry(file.clone()).or_default().insert(name);
            }
        }
    }
    uses
}

/// Follows the words `crate`, `self` and `super` at the beginning of a `path` that is written in module `id`. Returns
/// the module to which they lead, and the rest of the path; `None` if the path begins with none of these words.
fn start<'a>(tree: &Tree, id: Id, path: &'a [String]) -> Option<(Id, &'a [String])> {
    let mut at = None;
    let mut rest = path;
    while let [word, after @ ..] = rest {
        at = match (word.as_str(), at) {
            ("crate", None) => Some(0),
            ("self", None) => Some(id),
            ("super", None) => tree.modules[id].parent,
            ("super", Some(inner)) => tree.modules[inner].parent,
            _ => break,
        };
        rest = after;
    }
    at.map(|at: Id| (at, rest))
}

/// Returns the module or item that `path` names when it is written in module `id`; `None` if there is no such module or
/// item.
///
/// - `outer` says that more words follow after `path`. If a module and an item have the same name, `path` then means
///   the module.
/// - `steps` is the number of imports that were followed so far. After [`MOST_STEPS`] the result is `None`.
fn resolve(tree: &Tree, id: Id, path: &[String], outer: bool, steps: usize) -> Option<Target> {
    let (mut at, mut rest) = start(tree, id, path).unwrap_or((id, path));
    if rest.is_empty() {
        return Some(Target::Module(at));
    }
    while let [name, after @ ..] = rest {
        match lookup(tree, at, name, outer || !after.is_empty(), steps)? {
            Target::Module(inner) => at = inner,
            // The rest of the path is a variant, a method or a constant of this item.
            item @ Target::Item(..) => return Some(item),
        }
        rest = after;
    }
    Some(Target::Module(at))
}

/// Returns what `name` means in module `id`; `None` if nothing has this name. The name is searched among the module's
/// own modules and items, then among its imports, then in what each `use x::*` brings in. If a module and an item have
/// the same name, `outer` decides: with `outer` the module is returned, and without it the item.
fn lookup(tree: &Tree, id: Id, name: &str, outer: bool, steps: usize) -> Option<Target> {
    if steps > MOST_STEPS {
        return None;
    }
    let module: &Module = &tree.modules[id];
    let child = || module.children.get(name).map(|child| Target::Module(*child));
    let item = || module.items.contains(name).then(|| Target::Item(id, name.to_owned()));
    let own = if outer { child().or_else(item) } else { item().or_else(child) };
    let import = || module.imports.get(name).and_then(|path| behind(tree, id, path, name, outer, steps));
    let globbed = || {
        let mut globs = module.globs.iter();
        globs.find_map(|path| match behind(tree, id, path, name, true, steps)? {
            Target::Module(inner) if inner != id => lookup(tree, inner, name, outer, steps + 1),
            _ => None,
        })
    };
    own.or_else(import).or_else(globbed)
}

/// Follows a `use` in the module `id`. `path` is the path of this `use`. Returns the module or item to which `path`
/// leads: the item `X` for `use a::X`, and the module `a` for `use a::*`. Returns `None` if there is no such module or
/// item. `outer` and `steps` are those of [`resolve`].
///
/// `name` is the name that is looked up. For `use serde::X as serde`, both `name` and the first word of `path` are
/// `serde`. The first word then means another crate, so the result is `None`. Without this rule, `serde` would be
/// looked up in this same `use` again and again.
fn behind(tree: &Tree, id: Id, path: &[String], name: &str, outer: bool, steps: usize) -> Option<Target> {
    let other_crate =
        path.first().is_some_and(|first| first == name) && !tree.modules[id].children.contains_key(name);
    if other_crate { None } else { resolve(tree, id, path, outer, steps + 1) }
}

/// Returns the circles of files. In each circle, every file uses every other file, directly or through others.
fn circles(uses: &Uses) -> Vec<Uses> {
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        uses.keys().map(|file| (file.as_str(), reached(uses, file))).collect();
    let mutual = |a: &str, b: &str| {
        let to = |from: &str, file: &str| reach.get(from).is_some_and(|files| files.contains(file));
        to(a, b) && to(b, a)
    };
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut found = Vec::new();
    for file in uses.keys() {
        let together: BTreeSet<&str> =
            uses.keys().map(String::as_str).filter(|other| mutual(file, other)).collect();
        if together.len() < 2 || !done.insert(file) {
            continue;
        }
        done.extend(&together);
        let inside = uses.iter().filter(|(from, _)| together.contains(from.as_str())).map(|(from, to)| {
            let mut to = to.clone();
            to.retain(|file, _| together.contains(file.as_str()));
            (from.clone(), to)
        });
        found.push(inside.collect());
    }
    found
}

/// Returns all files that `file` uses, directly or through other files. `file` itself is among them only if it is in a
/// circle.
fn reached<'a>(uses: &'a Uses, file: &'a str) -> BTreeSet<&'a str> {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut open = vec![file];
    while let Some(next) = open.pop() {
        let further = uses.get(next).into_iter().flat_map(BTreeMap::keys);
        open.extend(further.map(String::as_str).filter(|file| seen.insert(file)));
    }
    seen
}

/// Returns the shortest way around the circle as text. For each file on the way, the text lists the names that this
/// file uses of the next file.
fn said(circle: &Uses) -> String {
    let way = shortest(circle);
    let steps = way.iter().zip(way.iter().cycle().skip(1)).map(|(from, to)| {
        let names: Vec<&str> = circle[*from][*to].iter().map(String::as_str).collect();
        format!("\n    {from} uses of {to}: {}", names.join(", "))
    });
    let steps: String = steps.collect();
    let others: Vec<&str> = circle.keys().map(String::as_str).filter(|file| !way.contains(file)).collect();
    let rest =
        if others.is_empty() { String::new() } else { format!("\n    also in it: {}", others.join(", ")) };
    format!("a circle of {} files; the shortest way around:{steps}{rest}", circle.len())
}

/// Returns the shortest list of files that leads from one file of the circle back to this file. Each file in the list
/// uses the next one.
fn shortest(circle: &Uses) -> Vec<&str> {
    let ways = circle.keys().filter_map(|start| {
        let mut open: VecDeque<Vec<&str>> = VecDeque::from([vec![start.as_str()]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = open.pop_front() {
            for next in circle[way[way.len() - 1]].keys() {
                if next == start {
                    return Some(way);
                }
                if seen.insert(next) {
                    open.push_back([way.clone(), vec![next.as_str()]].concat());
                }
            }
        }
        None
    });
    ways.min_by_key(Vec::len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Vec<Source> {
        let each = files.iter().map(|(path, text)| Source {
            path: format!("crates/planted/src/{path}"),
            text: Some((*text).to_owned()),
        });
        each.collect()
    }

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        findings(&tree(files))
    }

    const CLEAN: [&str; 0] = [];

    #[test]
    fn two_files_that_use_each_other_are_a_circle() {
        let a = "use crate::b::B;\npub struct A(B);";
        let b = "pub struct B;\nimpl B { fn a(&self) -> crate::a::A { loop {} } }";
        let faults = found(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", b)]);
        assert_eq!(
            faults,
            [
                "a circle of 2 files; the shortest way around:\n    crates/planted/src/a.rs uses of crates/planted/src/b.rs: B\n    \
              crates/planted/src/b.rs uses of crates/planted/src/a.rs: A"
            ]
        );
    }

    #[test]
    fn a_circle_around_a_corner_is_one_fault() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use crate::b::B; pub struct A(B);"),
            ("b.rs", "pub struct B(super::c::C);"),
            ("c.rs", "pub enum C { X }\npub fn c() { let _ = call!(crate::a::A::new(1)); }"),
            ("d.rs", "use crate::a::A; pub struct D(A);"),
        ];
        let faults = found(&files);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with("a circle of 3 files") && !faults[0].contains("d.rs"), "{}", faults[0]);
    }

    #[test]
    fn of_a_large_circle_the_shortest_way_around_is_told() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "pub struct A(crate::b::B);"),
            ("b.rs", "pub struct B(crate::c::C, crate::a::A);"),
            ("c.rs", "pub struct C(crate::a::A);"),
        ];
        let faults = found(&files);
        let ended = faults[0]
            .ends_with("b.rs uses of crates/planted/src/a.rs: A\n    also in it: crates/planted/src/c.rs");
        assert!(faults.len() == 1 && ended, "{faults:?}");
    }

    #[test]
    fn a_parent_that_uses_its_child_and_is_used_by_it_is_a_circle() {
        let parent = "mod child;\nuse child::Child;\npub struct Parent(Child);";
        let child = "use super::Parent;\npub struct Child; fn f(_: Parent) {}";
        let faults =
            found(&[("lib.rs", "mod parent;"), ("parent/mod.rs", parent), ("parent/child.rs", child)]);
        assert_eq!(faults.len(), 1, "{faults:?}");
    }

    #[test]
    fn a_front_page_may_list_what_lies_behind_it() {
        let parent =
            "mod child;\nmod other;\npub use child::Child;\npub(crate) use other::Other;\npub struct Parent;";
        let child = "use super::Parent;\npub struct Child(Parent, super::Other);";
        let files = [
            ("lib.rs", "mod parent;"),
            ("parent.rs", parent),
            ("parent/child.rs", child),
            ("parent/other.rs", "pub struct Other;"),
        ];
        assert_eq!(found(&files), CLEAN);
    }

    #[test]
    fn a_re_export_is_followed_to_the_file_that_defines() {
        let files = [
            ("lib.rs", "mod front; mod user;"),
            ("front/mod.rs", "mod deep;\npub use deep::{Deep as Shown, *};"),
            ("front/deep.rs", "pub struct Deep;\npub struct More;\nuse crate::user::User; fn f(_: User) {}"),
            ("user.rs", "use crate::front::Shown;\npub struct User(Shown, crate::front::More);"),
        ];
        let faults = found(&files);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults[0].contains("user.rs uses of crates/planted/src/front/deep.rs: Deep, More"),
            "{}",
            faults[0]
        );
    }

    #[test]
    fn tests_may_look_at_everything() {
        let a = "pub struct A;\n#[cfg(test)]\nmod tests { use crate::b::B; }\n#[cfg(test)] mod far_tests;\n\
                 impl A { #[cfg(test)] fn b() -> crate::b::B { loop {} } }";
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", a),
            ("a/far_tests.rs", "use crate::b::B;"),
            ("b.rs", "use crate::a::A; pub struct B(A);"),
        ];
        assert_eq!(found(&files), CLEAN);
    }

    #[test]
    fn words_that_are_no_paths_are_no_uses() {
        let b = "use crate::a::A;\npub fn open(_: A) {}\npub const LIMIT: u8 = 1;";
        let a = "pub struct A { pub open: u8 }\nfn f(a: &A, limit: u8) { log!(a.open, \"LIMIT\", limit); ::b::open(); }";
        assert_eq!(found(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", b)]), CLEAN);
    }

    #[test]
    fn an_import_through_the_front_page_is_named_with_its_path() {
        let files = [
            ("lib.rs", "mod a; mod b;\npub use a::inner::A;\npub struct Root;"),
            ("a/mod.rs", "pub mod inner;"),
            ("a/inner.rs", "pub struct A;"),
            ("b.rs", "use crate::{A, Root, a::inner};\nfn f(_: A, _: Root, _: inner::A) {}"),
        ];
        assert_eq!(
            found(&files),
            [
                "crates/planted/src/b.rs: names `A` through the crate's front page; its path is crate::a::inner::A"
            ]
        );
    }

    #[test]
    fn what_is_no_rust_is_said() {
        let faults = found(&[("lib.rs", "mod a;"), ("a.rs", "fn {")]);
        assert!(faults[0].starts_with("crates/planted/src/a.rs: is no Rust"), "{faults:?}");
    }
}
