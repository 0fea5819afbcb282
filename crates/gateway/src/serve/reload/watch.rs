//! Decides when a changed file is put in force ("taken"). Two state machines receive what was seen and at what time,
//! and return what to do: [`FileWatch`] for the configuration file, and [`NamedWatch`] for the files that it names.
//!
//! A file must be unchanged for a while before it is taken: for a short time if it only changes something, and for ten
//! seconds if it lacks something that is in force. If a certificate and a key do not fit together, the watcher waits
//! until they do.
//!
//! The obvious watcher would take a file as soon as it differs. But files are emptied before they are written, they are
//! written in pieces, and they are deployed by programs that fail halfway. If a file were taken at such a moment,
//! nothing would be routed. And a certificate and its key are two files, which nobody can replace at the same moment.

use std::time::Duration;

use seawall_policy::Time;

/// For how long a changed file must stay the same before it is taken, since a program may be writing it.
pub(super) const SETTLE: Duration = Duration::from_millis(100);
/// A changed file may lack something that the configuration in force has, since it may be only half written. Such a
/// file is taken only after it has stayed the same for this longer time.
pub(super) const LOSS: Duration = Duration::from_secs(10);
/// The time between two looks at the files that the configuration names.
const LOOK: Duration = Duration::from_secs(10);
/// The time between two looks at the files that the configuration names, while they change.
const LOOK_CLOSER: Duration = Duration::from_secs(1);
/// If changed files do not fit together (a certificate and its key, for example), this is the time after which that is
/// reported.
pub(super) const HALF: Duration = Duration::from_secs(60);

/// What to do after a look at the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Do nothing for now.
    Wait,
    /// The file has been unchanged for a while. The caller must find out whether it lacks something that is in force,
    /// and report that by [`FileWatch::judged`].
    Judge,
    /// Take the file.
    Take,
}

/// Watches the configuration file. Each content of the file is represented by a number (a hash), so the content itself
/// is not kept here.
#[derive(Debug)]
pub(super) struct FileWatch {
    /// The content that was last put in force or refused. `None` if the file could not be read at that time.
    known: Option<u64>,
    /// A newer content, which has been neither put in force nor refused yet. `None` if there is none.
    seen: Option<SeenContent>,
}

#[derive(Debug)]
struct SeenContent {
    content: u64,
    since: Time,
    loses: Option<bool>,
}

impl FileWatch {
    /// Makes a watch for a file. `known` is the content in force.
    pub(super) fn new(known: Option<u64>) -> FileWatch {
        FileWatch { known, seen: None }
    }

    /// Returns whether the file has changed and must still stay the same for a while before it is judged. If so, the
    /// next look should come early.
    pub(super) fn is_settling(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.loses.is_none())
    }

    /// Receives the file's present content, and returns what to do. A file that is gone (`None`) counts as unchanged,
    /// since it is probably about to be replaced.
    pub(super) fn look(&mut self, content: Option<u64>, now: Time) -> Step {
        let Some(content) = content.filter(|content| self.known != Some(*content)) else {
            self.seen = None;
            return Step::Wait;
        };
        let Some(seen) = self.seen.as_ref().filter(|seen| seen.content == content) else {
            self.seen = Some(SeenContent { content, since: now, loses: None });
            return Step::Wait;
        };
        let rested = now.since(seen.since);
        match seen.loses {
            None if rested >= SETTLE => Step::Judge,
            Some(false) => Step::Take,
            Some(true) if rested >= LOSS => Step::Take,
            None | Some(true) => Step::Wait,
        }
    }

    /// Must be called after [`Step::Judge`]. `loses` says whether the content that was seen last lacks something that
    /// the configuration in force has.
    pub(super) fn judged(&mut self, loses: bool) {
        if let Some(seen) = &mut self.seen {
            seen.loses = Some(loses);
        }
    }

    /// Must be called when this content was taken or refused. Afterwards, the file counts as unchanged until it has
    /// another content.
    pub(super) fn done(&mut self, content: Option<u64>) {
        self.known = content;
        self.seen = None;
    }
}

/// What to do after a look at the files that the configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Do nothing for now.
    Wait,
    /// Take the files if they fit together. That is not known yet.
    Try,
    /// Report that the changed files have not been usable for a minute, for example because a certificate and its key
    /// do not belong together.
    Tell,
}

/// Watches the files that the configuration names: secrets, certificates, keys and tokens.
#[derive(Debug)]
pub(super) struct NamedWatch {
    /// The contents in force, all represented by one number.
    known: u64,
    other: Option<Other>,
    next: Time,
}

/// The contents that were seen last, if they are not in force.
#[derive(Debug)]
struct Other {
    contents: u64,
    /// The time from which the minute until the next report is counted. At first, it is the time when the files began
    /// to differ from those in force. If they change again after a report, it is the time of that change.
    first: Time,
    since: Time,
    tried: bool,
    told: bool,
}

impl NamedWatch {
    /// Makes a watch for files. `known` are the contents in force.
    pub(super) fn new(known: u64, now: Time) -> NamedWatch {
        NamedWatch { known, other: None, next: now.saturating_add(LOOK) }
    }

    /// Returns whether it is time for a look.
    pub(super) fn is_due(&self, now: Time) -> bool {
        now >= self.next
    }

    /// Receives the present contents of all files, represented by one number, and returns what to do.
    pub(super) fn look(&mut self, contents: u64, now: Time) -> Move {
        if contents == self.known {
            self.other = None;
            self.next = now.saturating_add(LOOK);
            return Move::Wait;
        }
        self.next = now.saturating_add(LOOK_CLOSER);
        let Some(other) = &mut self.other else {
            self.other = Some(Other { contents, first: now, since: now, tried: false, told: false });
            return Move::Wait;
        };
        if other.contents != contents {
            let first = if other.told { now } else { other.first };
            *other = Other { contents, first, since: now, tried: false, told: false };
        } else if !other.tried && now.since(other.since) >= LOOK_CLOSER {
            other.tried = true;
            return Move::Try;
        }
        if !other.told && now.since(other.first) >= HALF {
            other.told = true;
            return Move::Tell;
        }
        if other.told {
            self.next = now.saturating_add(LOOK);
        }
        Move::Wait
    }

    /// Must be called when these contents have come into force.
    pub(super) fn taken(&mut self, contents: u64, now: Time) {
        *self = NamedWatch::new(contents, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * MS)
    }

    #[test]
    fn changed_file_is_taken_once_it_rests() {
        let mut watch = FileWatch::new(Some(1));
        assert_eq!(watch.look(Some(1), at(0)), Step::Wait);
        assert_eq!(watch.look(Some(2), at(500)), Step::Wait);
        assert!(watch.is_settling());
        assert_eq!(watch.look(Some(3), at(600)), Step::Wait, "the file still changes");
        assert_eq!(watch.look(Some(3), at(699)), Step::Wait);
        assert_eq!(watch.look(Some(3), at(700)), Step::Judge);
        watch.judged(false);
        assert_eq!(watch.look(Some(3), at(700)), Step::Take);
        watch.done(Some(3));
        assert_eq!(watch.look(Some(3), at(5000)), Step::Wait, "a content is not taken twice");
    }

    #[test]
    fn file_that_loses_something_rests_for_ten_seconds() {
        let mut watch = FileWatch::new(Some(1));
        watch.look(Some(2), at(0));
        assert_eq!(watch.look(Some(2), at(100)), Step::Judge);
        watch.judged(true);
        assert!(!watch.is_settling());
        assert_eq!(watch.look(Some(2), at(9999)), Step::Wait);
        assert_eq!(watch.look(Some(2), at(10_000)), Step::Take);
        // The file must stay the same for ten seconds, and these begin anew in three cases: after a further change,
        // after the file was gone, and after the old content came back.
        for between in [Some(3), None, Some(1)] {
            let mut watch = FileWatch::new(Some(1));
            watch.look(Some(2), at(0));
            watch.look(Some(2), at(100));
            watch.judged(true);
            assert_eq!(watch.look(between, at(9000)), Step::Wait, "{between:?}");
            assert_eq!(watch.look(Some(2), at(10_000)), Step::Wait, "{between:?}");
            assert_eq!(watch.look(Some(2), at(10_100)), Step::Judge, "{between:?}");
        }
    }

    #[test]
    fn named_files_are_looked_at_every_ten_seconds_and_taken_once_they_rest() {
        let mut watch = NamedWatch::new(1, at(0));
        assert!(!watch.is_due(at(9999)) && watch.is_due(at(10_000)));
        assert_eq!(watch.look(1, at(10_000)), Move::Wait);
        assert!(!watch.is_due(at(19_999)));
        assert_eq!(watch.look(2, at(20_000)), Move::Wait);
        assert!(watch.is_due(at(21_000)));
        assert_eq!(watch.look(2, at(21_000)), Move::Try);
        watch.taken(2, at(21_000));
        assert!(!watch.is_due(at(30_999)));
        assert_eq!(watch.look(2, at(31_000)), Move::Wait);
    }

    #[test]
    fn half_a_pair_is_waited_for_and_told_once() {
        let mut watch = NamedWatch::new(1, at(0));
        watch.look(2, at(10_000));
        assert_eq!(
            watch.look(2, at(11_000)),
            Move::Try,
            "the certificate is new, and the key does not fit yet"
        );
        let mut now = 12_000;
        while now < 70_000 {
            assert_eq!(watch.look(2, at(now)), Move::Wait, "{now}");
            now += 1000;
        }
        assert_eq!(watch.look(2, at(70_000)), Move::Tell);
        assert_eq!(watch.look(2, at(71_000)), Move::Wait);
        assert!(!watch.is_due(at(80_999)) && watch.is_due(at(81_000)), "looks are no longer more frequent");
        // Now the contents change once more: the right key is there.
        assert_eq!(watch.look(3, at(90_000)), Move::Wait);
        assert_eq!(watch.look(3, at(91_000)), Move::Try);
        // The new contents did not fit together either. So another minute passes before that is reported.
        assert_eq!(watch.look(3, at(149_000)), Move::Wait);
        assert_eq!(watch.look(3, at(150_000)), Move::Tell);
    }

    #[test]
    fn files_that_never_rest_are_told_too() {
        let mut watch = NamedWatch::new(1, at(0));
        let steps = (10..=70).map(|second| watch.look(100 + second, at(second * 1000)));
        let told: Vec<Move> = steps.filter(|step| *step != Move::Wait).collect();
        assert_eq!(told, [Move::Tell]);
    }

    #[test]
    fn old_content_that_comes_back_is_no_change() {
        let mut watch = NamedWatch::new(1, at(0));
        watch.look(2, at(10_000));
        assert_eq!(watch.look(1, at(11_000)), Move::Wait);
        assert!(!watch.is_due(at(20_999)));
        assert_eq!(watch.look(2, at(21_000)), Move::Wait, "it begins anew");
    }
}
