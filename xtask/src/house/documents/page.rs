//! Reads a page of Markdown for the checks: the code in its text, its blocks of code, its links, its headings and the
//! first cells of its tables.

use crate::house::source::Source;

/// The parts of a page that are checked.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) path: String,
    /// The pieces of code in the text, as in `` `this` ``.
    pub(super) spans: Vec<Spot>,
    /// The lines of the blocks of code, without the fences.
    pub(super) blocks: Vec<Spot>,
    /// The targets of the links.
    pub(super) links: Vec<Spot>,
    /// The headings, without `#`.
    pub(super) headings: Vec<Spot>,
    /// The first cells of the tables' rows.
    pub(super) cells: Vec<Spot>,
}

/// A piece of a page, and the number of the line where it begins. Lines are counted from 1.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) line: usize,
    pub(super) text: String,
    /// The language of the block of code that contains this piece. It is empty if the block names no language, or if
    /// the piece is outside of a block.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the tests know the settings"))]
    pub(super) language: String,
}

impl Spot {
    /// Returns the place as text, for example `docs/a.md:7`.
    pub(super) fn place(&self, page: &Page) -> String {
        format!("{}:{}", page.path, self.line)
    }
}

/// Returns the pages that are checked: the Markdown files in the root and in `docs`. In the change log only the
/// unreleased part is checked, since the rest is history.
pub(super) fn pages(files: &[Source]) -> Vec<Page> {
    let is_page = |path: &str| path.ends_with(".md") && (!path.contains('/') || path.starts_with("docs/"));
    let pages = files.iter().filter(|file| is_page(&file.path));
    pages.map(|file| read(&file.path, file.text.as_deref().unwrap_or_default())).collect()
}

fn read(path: &str, text: &str) -> Page {
    let mut page = Page { path: path.to_owned(), ..Page::default() };
    let mut fence: Option<String> = None;
    let mut paragraph = String::new();
    let mut begun = 1;
    let mut releases = 0;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if path == "CHANGELOG.md" && line.starts_with("## ") {
            releases += 1;
            if releases > 1 {
                break;
            }
        }
        if let Some(after) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(after.trim().to_owned()) };
            take(&mut page, begun, &std::mem::take(&mut paragraph));
        } else if let Some(language) = &fence {
            let spot = Spot { line: number, text: line.to_owned(), language: language.clone() };
            page.blocks.push(spot);
        } else {
            if line.starts_with('#') {
                let text = line.trim_start_matches('#').trim().to_owned();
                page.headings.push(Spot { line: number, text, language: String::new() });
            }
            if let Some(row) = line.strip_prefix("| ") {
                let text = row.split(" | ").next().unwrap_or_default().to_owned();
                page.cells.push(Spot { line: number, text, language: String::new() });
            }
            // A piece of code in the text cannot continue after the end of a paragraph or of a table row. So the lines
            // collected up to here are complete, and are now searched for pieces of code and links.
            if line.is_empty() || line.starts_with('|') || line.starts_with('#') {
                take(&mut page, begun, &std::mem::take(&mut paragraph));
            }
            if paragraph.is_empty() {
                begun = number;
            }
            paragraph.push_str(line);
            paragraph.push('\n');
        }
    }
    take(&mut page, begun, &paragraph);
    page
}

/// Adds the pieces of code and the links in `text`, which is one paragraph, to the page. `begun` is the number of the
/// paragraph's first line.
fn take(page: &mut Page, begun: usize, text: &str) {
    let spot = |at: usize, text: &str| {
        let line = begun + at_lines(text_before(at, text));
        Spot { line, text: String::new(), language: String::new() }
    };
    let mut at = 0;
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            let code = part.split_whitespace().collect::<Vec<_>>().join(" ");
            page.spans.push(Spot { text: code, ..spot(at, text) });
        }
        at += part.len() + 1;
    }
    for (start, _) in text.match_indices("](") {
        let target = text[start + 2..].split(')').next().unwrap_or_default();
        page.links.push(Spot { text: target.to_owned(), ..spot(start, text) });
    }
}

fn text_before(at: usize, text: &str) -> &str {
    &text[..at.min(text.len())]
}

fn at_lines(text: &str) -> usize {
    text.matches('\n').count()
}

/// Returns the pieces of code in a text, without their backticks.
pub(super) fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the anchor that GitHub gives to a heading. For example, `A heading` gets the anchor `a-heading`.
pub(super) fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .collect::<String>();
    kept.replace(' ', "-")
}
