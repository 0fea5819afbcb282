-- What a long outage, a moved clock and a large table need. Programs of the version before can still work with these
-- tables.

-- The database's time and the wall clock of a process at the same moment, so that a process that starts later notices if
-- one of the two clocks was moved. The table has at most one row.
CREATE TABLE seawall.clock (
    one           boolean     PRIMARY KEY DEFAULT true CHECK (one),
    database_time timestamptz NOT NULL,
    wall_time     timestamptz NOT NULL
);

-- A process claims only rows of the operations that it declares. So the rows of an operation that no process declares
-- cost the claims of the others nothing, however many they are. Programs of the version before find their rows by the
-- first column alone.
DROP INDEX seawall.action_due;
CREATE INDEX action_due ON seawall.action (dependency, operation, due_at) WHERE due_at IS NOT NULL;
