-- What a long outage, a moved clock and a large table need. Programs of the version before can still work with these
-- tables.

-- The ledger's time and the monotonic clock of a process at the same moment, so that a process that starts later notices
-- if the clock was moved. The table has at most one row.
CREATE TABLE seawall_clock (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    database_time INTEGER NOT NULL,
    wall_time     INTEGER NOT NULL
);

-- A process claims only rows of the operations that it declares. So the rows of an operation that no process declares
-- cost the claims of the others nothing, however many they are. Programs of the version before find their rows by the
-- first column alone.
DROP INDEX seawall_action_due;
CREATE INDEX seawall_action_due ON seawall_action (dependency, operation, due_at) WHERE due_at IS NOT NULL;

-- Since when the requests about an action bring nothing.
ALTER TABLE seawall_action ADD COLUMN failing_since INTEGER;
