//! Pages show programs that are compiled: the README shows the one of the library's front page, which is a doc test, and
//! the page of the ledger shows the example `small_shop`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

/// The shown lines of the first Rust block, without those that a doc test hides.
fn shown(text: &str, fence: &str) -> Vec<String> {
    let begins = text.lines().position(|line| line == fence).unwrap();
    let block = text.lines().skip(begins + 1).take_while(|line| *line != "```");
    block.filter(|line| !line.starts_with("# ")).map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn the_front_page_is_the_readmes() {
    let readme = shown(include_str!("../../../README.md"), "```rust");
    let source = include_str!("../src/lib.rs");
    let docs: Vec<&str> = source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    assert_eq!(readme, shown(&docs.join("\n"), "```no_run"));
    assert!(readme.len() > 10);
}

#[test]
fn the_page_of_the_ledger_shows_the_small_shop() {
    let page = include_str!("../../../docs/ledger.md");
    let source = include_str!("../examples/small_shop.rs");
    let (program, tests) = source.split_once("\n#[cfg(test)]\n").unwrap();
    let (_, program) = program.split_once("\n\n").unwrap();
    assert!(page.contains(&format!("```rust\n{program}```")), "the program differs");
    assert!(page.contains(&format!("```rust\n#[cfg(test)]\n{tests}```")), "its tests differ");
}
