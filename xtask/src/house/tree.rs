//! Reads the modules of a crate from its source files: what each module defines, imports and names.
//!
//! Only code that is built for users counts. Items under `#[cfg(test)]` are left out, and so are the files of modules
//! under `#[cfg(test)]`. Only the syntax of the code is read, so names that a macro generates are not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Item, Meta, UseTree, Visibility};

use super::source::Source;

/// The index of a module in [`Tree::modules`]. The root of the crate has the index 0.
pub(crate) type Id = usize;

/// The modules of one crate.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) modules: Vec<Module>,
}

/// One module, either in a file of its own or inline in another module's file.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// The path of the module, for example `crate::store::lane`.
    pub(crate) path: String,
    /// The path of the file that contains the module.
    pub(crate) file: String,
    pub(crate) parent: Option<Id>,
    pub(crate) children: BTreeMap<String, Id>,
    /// The names that the module defines: functions, types, constants, macros.
    pub(crate) items: BTreeSet<String>,
    /// For each name that `use` brings into the module, the path from which it is imported.
    pub(crate) imports: BTreeMap<String, Vec<String>>,
    /// The paths before `::*` in the module's imports.
    pub(crate) globs: Vec<Vec<String>>,
    /// Every path that the module's code uses, except the paths in `pub use`.
    pub(crate) named: BTreeSet<Vec<String>>,
}

impl Tree {
    /// Returns the modules of the crate whose root file is `root`. Fails if one of its files is not valid Rust.
    pub(crate) fn read(root: &str, files: &[Source]) -> Result<Tree, String> {
        let texts: BTreeMap<&str, &str> =
            files.iter().filter_map(|file| Some((file.path.as_str(), file.text.as_deref()?))).collect();
        let mut tree = Tree { modules: vec![Module { path: "crate".to_owned(), ..Module::default() }] };
        let folder = Path::new(root).parent().unwrap_or(Path::new("")).to_path_buf();
        tree.take_file(0, root, &folder, &texts)?;
        Ok(tree)
    }

    /// Reads `file` as the module `id`. The files of this module's child modules are in `folder`.
    fn take_file(
        &mut self,
        id: Id,
        file: &str,
        folder: &Path,
        texts: &BTreeMap<&str, &str>,
    ) -> Result<(), String> {
        let text = texts.get(file).copied().unwrap_or_default();
        let parsed =
            syn::parse_file(text).map_err(|e| format!("{file}: is no Rust that can be read: {e}"))?;
        file.clone_into(&mut self.modules[id].file);
        self.take_items(id, &parsed.items, folder, texts)
    }

    fn take_items(
        &mut self,
        id: Id,
        items: &[Item],
        folder: &Path,
        texts: &BTreeMap<&str, &str>,
    ) -> Result<(), String> {
        let mut names = Names { module: &mut self.modules[id] };
        items.iter().for_each(|item| names.visit_item(item));
        let modules =
            items.iter().filter_map(|item| if let Item::Mod(module) = item { Some(module) } else { None });
        for module in modules.filter(|module| !is_test(&module.attrs)) {
            let name = module.ident.to_string();
            let own = Module {
                path: format!("{}::{name}", self.modules[id].path),
                file: self.modules[id].file.clone(),
                parent: Some(id),
                ..Module::default()
            };
            let child = self.modules.len();
            if let Some((_, items)) = &module.content {
                self.modules.push(own);
                self.take_items(child, items, &folder.join(&name), texts)?;
            } else if let Some((file, inner)) =
                place(&self.modules[id].file, folder, &name, &module.attrs, texts)
            {
                self.modules.push(own);
                self.take_file(child, &file, &inner, texts)?;
            } else {
                continue;
            }
            self.modules[id].children.insert(name, child);
        }
        Ok(())
    }
}

/// Returns the folder and the root file (`lib.rs` or `main.rs`) of each crate.
pub(crate) fn roots(files: &[Source]) -> Vec<(&str, &str)> {
    let paths = files.iter().map(|file| file.path.as_str());
    let root = |path: &'_ str| path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
    paths.filter(|path| root(path)).filter_map(|path| Some((path.rsplit_once("/src/")?.0, path))).collect()
}

/// Returns the file of the module that `mod name;` declares, and the folder for the files of that module's children.
/// This is `None` if no such file is known, or if it is a file of tests (`_tests.rs`).
fn place(
    declared_in: &str,
    folder: &Path,
    name: &str,
    attributes: &[Attribute],
    texts: &BTreeMap<&str, &str>,
) -> Option<(String, PathBuf)> {
    if let Some(told) = told_path(attributes) {
        let file = normal(&Path::new(declared_in).parent()?.join(told));
        let inner = file.parent()?.to_path_buf();
        let file = file.to_string_lossy().into_owned();
        return texts.contains_key(file.as_str()).then_some((file, inner));
    }
    let inner = folder.join(name);
    let candidates = [folder.join(format!("{name}.rs")), inner.join("mod.rs")];
    let found = candidates.iter().map(|file| file.to_string_lossy().into_owned());
    let file = found.into_iter().find(|file| texts.contains_key(file.as_str()))?;
    (!file.ends_with("_tests.rs")).then_some((file, inner))
}

/// Returns the path in `#[path = "…"]`; `None` if no attribute gives a path.
fn told_path(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// Returns the path without `.` and `..`. For example, `a/../b` becomes `b`.
fn normal(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// Returns whether these attributes exclude an item from what is built for users, as `test`, `cfg(test)` and
/// `cfg(all(test, …))` do.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition: String = list.tokens.to_string().split_whitespace().collect();
            condition == "test" || condition.starts_with("all(test,")
        }
        _ => false,
    })
}

/// Returns the attributes of an item.
pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Gathers what one module defines, imports and names.
struct Names<'a> {
    module: &'a mut Module,
}

impl Names<'_> {
    fn take_use(&mut self, tree: &UseTree, before: &[String], public: bool) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<String>>();
        match tree {
            UseTree::Path(path) => self.take_use(&path.tree, &with(path.ident.to_string()), public),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.take_use(item, before, public)),
            UseTree::Glob(_) => self.module.globs.push(before.to_vec()),
            UseTree::Name(name) if name.ident == "self" => {
                self.import(before.last(), before.to_vec(), public)
            }
            UseTree::Name(name) => {
                let path = with(name.ident.to_string());
                self.import(path.last(), path.clone(), public);
            }
            UseTree::Rename(rename) => {
                let local = rename.rename.to_string();
                let path =
                    if rename.ident == "self" { before.to_vec() } else { with(rename.ident.to_string()) };
                self.import(Some(&local), path, public);
            }
        }
    }

    fn import(&mut self, local: Option<&String>, path: Vec<String>, public: bool) {
        if !public {
            self.module.named.insert(path.clone());
        }
        if let Some(local) = local.filter(|local| *local != "_") {
            self.module.imports.insert(local.clone(), path);
        }
    }

    /// Adds to the module's `named` all paths in the arguments of a macro or an attribute. A word after a dot is
    /// skipped, because it is a field or a method.
    fn take_tokens(&mut self, tokens: &TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        let mut behind_dot = false;
        for token in tokens.clone() {
            let joins = colons == 2;
            match &token {
                TokenTree::Ident(word) if joins => path.push(word.to_string()),
                TokenTree::Ident(word) => {
                    self.name(std::mem::take(&mut path));
                    path = if behind_dot { Vec::new() } else { vec![word.to_string()] };
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => {}
                _ => self.name(std::mem::take(&mut path)),
            }
            colons = if matches!(&token, TokenTree::Punct(mark) if mark.as_char() == ':') {
                colons + 1
            } else {
                0
            };
            behind_dot = matches!(&token, TokenTree::Punct(mark) if mark.as_char() == '.');
            if let TokenTree::Group(group) = &token {
                self.take_tokens(&group.stream());
            }
        }
        self.name(path);
    }

    fn name(&mut self, path: Vec<String>) {
        if !path.is_empty() {
            self.module.named.insert(path);
        }
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_test(attributes(item)) {
            return;
        }
        let name = match item {
            Item::Const(item) => Some(&item.ident),
            Item::Enum(item) => Some(&item.ident),
            Item::Fn(item) => Some(&item.sig.ident),
            Item::Macro(item) => item.ident.as_ref(),
            Item::Static(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            Item::Union(item) => Some(&item.ident),
            Item::Impl(_) => None,
            Item::Use(item) => {
                let public = !matches!(item.vis, Visibility::Inherited);
                return self.take_use(&item.tree, &[], public);
            }
            // All other items are skipped. Modules are among them, because `take_items` reads each module separately.
            _ => return,
        };
        self.module.items.extend(name.map(ToString::to_string));
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Const(item) => &item.attrs,
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Type(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !is_test(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !is_test(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if !is_test(&arm.attrs) {
            visit::visit_arm(self, arm);
        }
    }

    /// The paths in `pub(super)` and `pub(in crate::x)` name no item, so they are skipped.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta
            && !["cfg", "cfg_attr", "derive", "doc", "expect", "allow"]
                .iter()
                .any(|name| list.path.is_ident(name))
        {
            self.take_tokens(&list.tokens);
        }
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        self.take_tokens(&called.tokens);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        // A path like `::name::X` names an item of another crate. Only names of this crate are collected.
        if path.leading_colon.is_none() {
            self.name(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }
}
