//! The settings of the connection to PostgreSQL.

use std::time::Duration;

use super::places;

/// The settings of the connection to PostgreSQL. Begin with the defaults, and change single fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The maximum number of connections, for writers, handlers, claims and reads. Default 8. A smaller number than
    /// `lanes` + `handlers` + 2 is raised to that sum. No connection is held during a call to the provider.
    pub connections: u32,
    /// The maximum number of slow transactions at the same time. A transaction is slow if a handler of the application
    /// runs in it, or if it waits for a row that another transaction holds. Each of them keeps a connection. Default
    /// 4; 0 means 1.
    ///
    /// The slow transactions of one dependency may use all of these places but one. With the default, one dependency
    /// has at most 3 of the 4 places. So its slow handlers do not block other dependencies. If there is only one
    /// place, all dependencies share it. If a transaction gets no place within half of `answer_within`, it fails with
    /// [`Trouble::Busy`](crate::Trouble::Busy), and the ledger tries it again.
    pub handlers: u32,
    /// The number of batches that can be under way at the same time. Default 2, so that one batch is gathered while the
    /// other waits for the disk; 0 means 1. Of two batches, one has records and the other one changes, if there are
    /// enough of both.
    pub lanes: u32,
    /// Whether prepared statements are kept in the server session. Default yes. Set this to no behind a pooler in
    /// transaction mode (pgbouncer), since each transaction may then run in another server session. If it is on, a busy
    /// lane also begins its next transaction together with a commit, and rolls it back if no job comes for 10 ms.
    pub prepared: bool,
    /// The longest time that the database may take for an operation of the ledger, including the wait for a connection.
    /// Default 5 s; less than 10 ms means 10 ms. After that time the caller gets
    /// [`Trouble::Away`](crate::Trouble::Away), and the connection is closed. A change waits at most four fifths of
    /// this time for a row that another transaction holds.
    pub answer_within: Duration,
    /// The longest time that the handlers of one transaction may take. Default 30 s, since they may run slow statements
    /// of their own. After that time, the transaction is rolled back, and the handler counts as failed.
    pub handler_within: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            connections: 8,
            handlers: 4,
            lanes: 2,
            prepared: true,
            answer_within: Duration::from_secs(5),
            handler_within: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// Returns the number of connections of the pool: `connections`, or more if the other settings need more.
    pub(super) fn connections_needed(&self) -> u32 {
        let needed = self.lanes.max(1).saturating_add(self.handlers.max(1)).saturating_add(places::SPARE);
        self.connections.max(needed)
    }
}
