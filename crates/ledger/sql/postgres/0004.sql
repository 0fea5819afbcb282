-- What a long outage, a moved clock and a large table need. Programs of the version before can still work with these
-- tables.

-- The database's time and the wall clock of a process at the same moment, so that a process that starts later notices if
-- one of the two clocks was moved; and how far the database's clock was set back: by the microseconds `back_micros`, for
-- the times in rows that are not later than `back_before`. The table has at most one row.
CREATE TABLE seawall.clock (
    one           boolean     PRIMARY KEY DEFAULT true CHECK (one),
    database_time timestamptz NOT NULL,
    wall_time     timestamptz NOT NULL,
    back_micros   bigint      NOT NULL DEFAULT 0,
    back_before   timestamptz NOT NULL DEFAULT 'epoch'
);
