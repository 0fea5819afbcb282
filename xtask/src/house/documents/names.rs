//! Checks the names of code on a page, such as `Dependency::call` or `headers::take_said`.
//!
//! A name is checked if its first part is a type or module of this project. All other names belong to other libraries.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{ImplItem, Item, TraitItem, Type, UseTree};

use super::commands::derives;
use super::page::Page;
use crate::house::source::Source;

/// Crates of other projects that have modules with the same names as ours. A name that begins with one of these crates
/// is not checked.
const ELSEWHERE: [&str; 3] = ["std", "tokio", "sqlx"];

/// For each type and module of this project, the names that may follow it after `::`.
#[derive(Debug, Default)]
pub(super) struct Owners {
    members: BTreeMap<String, BTreeSet<String>>,
    module: String,
}

impl Owners {
    pub(super) fn of(files: &[Source]) -> Owners {
        let mut owners = Owners::default();
        for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
            let Some(parsed) = file.text.as_deref().and_then(|text| syn::parse_file(text).ok()) else {
                continue;
            };
            for module in modules(&file.path) {
                owners.module = module;
                owners.visit_file(&parsed);
            }
        }
        owners
    }

    fn add(&mut self, owner: &str, member: impl ToString) {
        self.members.entry(owner.to_owned()).or_default().insert(member.to_string());
    }

    fn take_use(&mut self, tree: &UseTree) {
        let module = self.module.clone();
        match tree {
            UseTree::Path(path) => self.take_use(&path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.take_use(tree)),
            UseTree::Name(name) => self.add(&module, &name.ident),
            UseTree::Rename(rename) => self.add(&module, &rename.rename),
            UseTree::Glob(_) => {}
        }
    }

    /// Checks that the part before each `::` of `name` has the part after it, as `Call` has `begin` for `Call::begin`.
    /// Returns an error text for the first wrong part; `None` if no part is wrong. A part that follows a type or module
    /// of another project is not checked.
    fn wrong(&self, name: &str) -> Option<String> {
        let parts: Vec<&str> = name.split("::").collect();
        if ELSEWHERE.contains(&parts[0]) {
            return None;
        }
        let pairs = parts.windows(2).map(|pair| (pair[0], pair[1]));
        let mut wrong = pairs.filter(|(owner, member)| {
            self.members.get(*owner).is_some_and(|members| !members.contains(*member))
        });
        wrong.next().map(|(owner, member)| format!("`{owner}` has no `{member}`"))
    }
}

/// Returns the names that a page may use for a file's module. Usually this is one name: the name of the file, or for
/// `mod.rs` the name of its folder. The root of a crate has two names: the folder's name with and without `seawall_`
/// before it.
fn modules(path: &str) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let last = |folder: &str| folder.rsplit('/').next().unwrap_or_default().to_owned();
    match file {
        "lib.rs" | "main.rs" => {
            let name = last(folder.trim_end_matches("/src"));
            vec![format!("seawall_{name}"), name]
        }
        "mod.rs" => vec![last(folder)],
        file => vec![file.trim_end_matches(".rs").to_owned()],
    }
}

impl<'ast> Visit<'ast> for Owners {
    fn visit_item(&mut self, item: &'ast Item) {
        let module = self.module.clone();
        match item {
            Item::Const(item) => self.add(&module, &item.ident),
            Item::Fn(item) => self.add(&module, &item.sig.ident),
            Item::Static(item) => self.add(&module, &item.ident),
            Item::Type(item) => self.add(&module, &item.ident),
            Item::Union(item) => self.add(&module, &item.ident),
            Item::Macro(item) => item.ident.iter().for_each(|name| self.add(&module, name)),
            Item::Use(item) => self.take_use(&item.tree),
            Item::Enum(item) => {
                self.add(&module, &item.ident);
                let owner = item.ident.to_string();
                item.variants.iter().for_each(|variant| self.add(&owner, &variant.ident));
            }
            Item::Struct(item) => {
                self.add(&module, &item.ident);
                let owner = item.ident.to_string();
                if derives(&item.attrs, "Default") {
                    self.add(&owner, "default");
                }
                item.fields
                    .iter()
                    .filter_map(|field| field.ident.as_ref())
                    .for_each(|name| self.add(&owner, name));
                // A type without a field gets an entry, too, so that it is known as a type of this project.
                self.members.entry(owner).or_default();
            }
            Item::Trait(item) => {
                self.add(&module, &item.ident);
                let owner = item.ident.to_string();
                for own in &item.items {
                    match own {
                        TraitItem::Fn(own) => self.add(&owner, &own.sig.ident),
                        TraitItem::Const(own) => self.add(&owner, &own.ident),
                        TraitItem::Type(own) => self.add(&owner, &own.ident),
                        _ => {}
                    }
                }
            }
            Item::Impl(item) => {
                let Type::Path(path) = &*item.self_ty else { return };
                let owner = path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
                for own in &item.items {
                    match own {
                        ImplItem::Fn(own) => self.add(&owner, &own.sig.ident),
                        ImplItem::Const(own) => self.add(&owner, &own.ident),
                        ImplItem::Type(own) => self.add(&owner, &own.ident),
                        _ => {}
                    }
                }
            }
            Item::Mod(item) => {
                self.add(&module, &item.ident);
                self.module = item.ident.to_string();
                visit::visit_item_mod(self, item);
                self.module = module;
            }
            _ => {}
        }
    }
}

/// Finds the names on a page that the code does not have.
pub(super) fn unknown(page: &Page, owners: &Owners) -> Vec<String> {
    let mut found = Vec::new();
    for span in &page.spans {
        let end =
            span.text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(span.text.len());
        let name = span.text[..end].trim_end_matches(':');
        if name.contains("::") {
            found.extend(owners.wrong(name).map(|why| format!("{}: `{name}`: {why}", span.place(page))));
        }
    }
    found
}
