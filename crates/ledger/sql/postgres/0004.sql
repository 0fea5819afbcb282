-- What a long outage, a moved clock and a large table need. Programs of the version before can still work with these
-- tables.

-- The database's time and the wall clock of a process at the same moment, so that a process that starts later notices if
-- one of the two clocks was moved. The table has at most one row.
CREATE TABLE seawall.clock (
    one           boolean     PRIMARY KEY DEFAULT true CHECK (one),
    database_time timestamptz NOT NULL,
    wall_time     timestamptz NOT NULL
);

-- For lists: the actions of each dependency and each standing, in the order of recording. With a large table, make this
-- index before the update, as docs/ledger.md says; then the update does not make it again.
-- Only this index has NULLS FIRST, so that the planner cannot take another one for the order of a list.
CREATE INDEX IF NOT EXISTS action_standing ON seawall.action (
    dependency, coalesce(ended, CASE WHEN effect = 'unknown' THEN effect ELSE 'open' END), id NULLS FIRST
);
