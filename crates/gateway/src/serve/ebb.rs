//! Decides when it is worth giving freed memory back to the system: after a crowd of connections has left.
//!
//! Each connection takes and frees its buffers many times. Giving back memory that is needed again a moment later would
//! only cost time. But when a crowd of connections leaves, the memory that it frees is not needed again soon.

/// The number of connections that make a crowd.
const CROWD: u64 = 64;

/// Watches the number of open connections.
#[derive(Debug, Default)]
pub(crate) struct Ebb {
    /// The largest number of connections that were open at the same time since memory was last given back.
    most: u64,
}

impl Ebb {
    /// Returns whether memory should be given back now. That is so if the number of open connections has fallen from
    /// `most` to half of it or less, and by at least `CROWD`. In that case `most` is set to `open`, so that the next
    /// crowd is measured from there.
    pub(crate) fn is_due(&mut self, open: u64) -> bool {
        self.most = self.most.max(open);
        let due = self.most - open >= CROWD && open <= self.most / 2;
        if due {
            self.most = open;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_a_crowd_has_left() {
        let mut ebb = Ebb::default();
        let table = [
            (10, false),
            (0, false),
            (900, false),
            (451, false),
            (450, true),
            (300, false),
            (225, true),
            (170, false),
            (0, true),
            (0, false),
        ];
        for (open, due) in table {
            assert_eq!(ebb.is_due(open), due, "{open} open");
        }
    }
}
