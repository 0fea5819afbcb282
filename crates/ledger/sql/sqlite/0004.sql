-- What a long outage, a moved clock and a large table need. Programs of the version before can still work with these
-- tables.

-- The ledger's time and how long the machine was running at the same moment, in microseconds, so that a process that starts
-- later notices if the clock was moved; `boot` names the run of the machine. And how far the clock was set back: by the
-- microseconds `back_micros`, for the times in rows that are not later than `back_before`. The table has at most one row.
CREATE TABLE seawall_clock (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    database_time INTEGER NOT NULL,
    own_time      INTEGER,
    boot          TEXT,
    back_micros   INTEGER NOT NULL DEFAULT 0,
    back_before   INTEGER NOT NULL DEFAULT 0
);

-- A process claims only rows of the operations that it declares. So the rows of an operation that no process declares
-- cost the claims of the others nothing, however many they are. Programs of the version before find their rows by the
-- first column alone.
DROP INDEX seawall_action_due;
CREATE INDEX seawall_action_due ON seawall_action (dependency, operation, due_at) WHERE due_at IS NOT NULL;

-- Since when the requests about an action bring nothing.
ALTER TABLE seawall_action ADD COLUMN failing_since INTEGER;

-- For lists: the actions of each dependency and each standing, in the order of recording. With a large table, make this
-- index before the update, as docs/ledger.md says; then the update does not make it again.
CREATE INDEX IF NOT EXISTS seawall_action_standing ON seawall_action (
    dependency, coalesce(ended, CASE WHEN effect = 'unknown' THEN effect ELSE 'open' END), id
);
