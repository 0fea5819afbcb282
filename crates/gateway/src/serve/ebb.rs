//! When freed memory is worth giving back: after a crowd of connections has left.
//!
//! Each connection takes and frees its buffers many times, and giving memory back that is needed again a moment later would
//! only cost. A crowd that leaves frees what nobody asks for again.

/// Fewer connections that have ended are no crowd.
const CROWD: u64 = 64;

/// Watches the number of open connections.
#[derive(Debug, Default)]
pub(crate) struct Ebb {
    /// The most that were open since memory was last given back.
    most: u64,
}

impl Ebb {
    /// Whether at least half of the most connections have ended, and a crowd of them, since this last said so.
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
