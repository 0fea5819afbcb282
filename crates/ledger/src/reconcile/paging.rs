//! Decides when a list is whole, and when a list seems to have no end.
//!
//! The rule counts the pages in a row that bring no new record. If there are 100 such pages in a row, the list is
//! treated as endless. If the cursor does not change either, 3 such pages in a row are enough.
//!
//! The obvious rule would ask until there is no next page. But some lists never end: a cursor can point to its own
//! page, or two cursors can point to each other. Remembering every cursor would find such a circle, but would need
//! memory without a bound. Refusing a cursor that comes twice would refuse a provider that only repeats a page once. A
//! circle, however, never brings new records.

/// If this number of pages in a row bring no new record, the list is treated as endless, even if the cursor changes.
/// The number is more than 1, because some lists have pages that are empty or repeat old records, and go on after them.
const EMPTY_PAGES: u32 = 100;
/// If this number of pages in a row bring no new record and each of them names its own cursor as the next one, the list
/// is treated as endless.
const SAME_CURSOR: u32 = 3;

/// How far a list has been read. This position is stored with each page, so that another worker can go on from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paging {
    /// The cursor of the next page; `None` asks for the first page.
    pub(crate) cursor: Option<String>,
    /// The number of pages that have been read.
    pub(crate) pages: u32,
    /// The number of pages in a row without a new record.
    pub(crate) barren: u32,
    /// The number of pages in a row that had no new record and whose `next` cursor was the cursor of the page itself.
    pub(crate) still: u32,
}

/// The next step after a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Onward {
    /// The list goes on: ask for the next page.
    Ask(Paging),
    /// The list is whole: this was the last page.
    Whole(Paging),
    /// The list seems to have no end, for this reason.
    Endless(&'static str),
}

impl Paging {
    /// Returns the next step after a page. `fresh` is the number of new records on the page, `next` is the cursor of
    /// the next page, and `most_pages` is the maximum number of pages of a list.
    pub(crate) fn page(&self, fresh: usize, next: Option<String>, most_pages: u32) -> Onward {
        let pages = self.pages.saturating_add(1);
        let Some(next) = next else { return Onward::Whole(Paging { pages, ..Paging::default() }) };
        let same = self.cursor.as_ref() == Some(&next);
        let barren = if fresh > 0 { 0 } else { self.barren.saturating_add(1) };
        let still = if same && fresh == 0 { self.still.saturating_add(1) } else { 0 };
        if still >= SAME_CURSOR {
            return Onward::Endless("its cursor points to its own page for ever");
        }
        if barren >= EMPTY_PAGES {
            return Onward::Endless("its cursors go round: a hundred pages brought no new record");
        }
        if pages >= most_pages {
            return Onward::Endless("it has more pages than are read");
        }
        Onward::Ask(Paging { cursor: Some(next), pages, barren, still })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows the cursors that `next` returns until the list ends. Returns the number of pages, and the reason if the
    /// list has no end.
    fn follow(
        next: impl Fn(Option<&str>) -> (usize, Option<String>),
        most: u32,
    ) -> (u32, Option<&'static str>) {
        let mut paging = Paging::default();
        for asked in 1.. {
            let (fresh, cursor) = next(paging.cursor.as_deref());
            match paging.page(fresh, cursor, most) {
                Onward::Ask(on) => paging = on,
                Onward::Whole(on) => {
                    assert_eq!(on, Paging { pages: asked, ..Paging::default() });
                    return (asked, None);
                }
                Onward::Endless(why) => return (asked, Some(why)),
            }
        }
        unreachable!("the loop has no end");
    }

    fn number(cursor: Option<&str>) -> u32 {
        cursor.map_or(0, |text| text.parse().unwrap())
    }

    #[test]
    fn a_list_ends_where_there_is_no_next_page() {
        let list = |cursor: Option<&str>| {
            let at = number(cursor);
            (1, (at < 9).then(|| (at + 1).to_string()))
        };
        assert_eq!(follow(list, 1000), (10, None));
    }

    #[test]
    fn a_long_gap_is_no_circle() {
        let list = |cursor: Option<&str>| {
            let at = number(cursor);
            (usize::from(at.is_multiple_of(99)), (at < 500).then(|| (at + 1).to_string()))
        };
        assert_eq!(follow(list, 1000), (501, None));
    }

    #[test]
    fn cursors_that_go_nowhere_are_given_up() {
        let stays = |cursor: Option<&str>| (usize::from(cursor.is_none()), Some("1".to_owned()));
        assert_eq!(follow(stays, 1000).0, 4);
        let rounds = |cursor: Option<&str>| {
            (usize::from(cursor.is_none()), Some(((number(cursor) + 1) % 7).to_string()))
        };
        assert_eq!(follow(rounds, 1000).0, 101);
        let invents = |cursor: Option<&str>| (1, Some((number(cursor) + 1).to_string()));
        assert_eq!(follow(invents, 50), (50, Some("it has more pages than are read")));
    }
}
