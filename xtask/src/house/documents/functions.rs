//! Checks that the pages about the ledger describe every function that a program can call on it.
//!
//! A function counts as described if the first cell of a table's row names it. The rest of such a row says what the
//! function returns and what its errors are.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, ItemImpl, Type, Visibility};

use super::page::{Page, codes};
use crate::house::source::Source;

/// The types whose functions must be named.
const TYPES: [&str; 7] = ["Actions", "Ledger", "LedgerBuilder", "Worker", "Reconciler", "Sqlite", "Postgres"];

/// The folders with the code of these types.
const FOLDERS: [&str; 2] = ["crates/ledger/src/", "crates/seawall/src/ledger/"];

/// Each function must be named on at least one of these pages.
const PAGES: [&str; 3] = ["docs/ledger.md", "docs/ledger-crate.md", "docs/reconciliation.md"];

/// Returns one line for each public function of [`TYPES`] that is named on none of the `pages`.
pub(super) fn unnamed(files: &[Source], pages: &[Page]) -> Vec<String> {
    let cells = pages.iter().filter(|page| PAGES.contains(&page.path.as_str())).flat_map(|page| &page.cells);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named: BTreeSet<&str> =
        cells.flat_map(|cell| codes(&cell.text)).flat_map(|code| code.split(|c| !is_name(c))).collect();
    let mut found = Vec::new();
    let own = |file: &&Source| FOLDERS.iter().any(|folder| file.path.starts_with(folder));
    for file in files.iter().filter(own) {
        let Some(parsed) = file.text.as_deref().and_then(|text| syn::parse_file(text).ok()) else { continue };
        let mut functions = Functions::default();
        functions.visit_file(&parsed);
        let missing = functions.0.into_iter().filter(|(_, name)| !named.contains(name.as_str()));
        found.extend(missing.map(|(owner, name)| {
            format!("{}: no table of {} has `{owner}::{name}` in a first cell", file.path, PAGES.join(", "))
        }));
    }
    found
}

/// The public functions of the types in [`TYPES`], each with the name of its type. A function that is built only with
/// some feature is left out.
#[derive(Debug, Default)]
struct Functions(Vec<(String, String)>);

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let Type::Path(path) = &*item.self_ty else { return };
        let owner = path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        if item.trait_.is_none() && TYPES.contains(&owner.as_str()) {
            for own in &item.items {
                let ImplItem::Fn(own) = own else { continue };
                if matches!(own.vis, Visibility::Public(_)) && !own.attrs.iter().any(is_cfg) {
                    self.0.push((owner.clone(), own.sig.ident.to_string()));
                }
            }
        }
        visit::visit_item_impl(self, item);
    }
}

fn is_cfg(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
}

#[cfg(test)]
mod tests {
    use super::super::page::pages;
    use super::*;

    #[test]
    fn function_without_a_row_is_found() {
        let source = |path: &str, text: &str| Source { path: path.to_owned(), text: Some(text.to_owned()) };
        let code = "impl<S> Ledger<S> { pub fn list(&self) {} pub fn find(&self) {} fn own(&self) {}\n\
                    #[cfg(feature = \"testing\")] pub fn texts() {} }\n\
                    impl Clone for Ledger<S> { fn clone(&self) {} }\nimpl Other { pub fn other() {} }";
        let page = "# L\n\n`list` is text.\n\n| function | errors |\n| --- | --- |\n| `load(id)`, `find(key)` | `list` |\n";
        let files = [source("crates/ledger/src/ledger.rs", code), source("docs/ledger.md", page)];
        let found = unnamed(&files, &pages(&files));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("`Ledger::list`"));
    }
}
