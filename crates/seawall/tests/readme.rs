//! The front page of the library and the README show the same program. The one on the front page is compiled as a doc
//! test.
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
