-- Reconciliations: one row for each comparison of a window with the provider's list.

CREATE TABLE seawall_reconciliation (
    id             TEXT    NOT NULL PRIMARY KEY,
    dependency     TEXT    NOT NULL,
    -- Names a window of the schedule; of those that people ask for there may be many.
    slot           TEXT,
    window_from    INTEGER NOT NULL,
    window_to      INTEGER NOT NULL,
    zone           TEXT    NOT NULL,
    asked_by       TEXT    NOT NULL,
    fix            INTEGER NOT NULL,
    asked_at       INTEGER NOT NULL,
    finished_at    INTEGER,
    status         TEXT    NOT NULL,
    why            TEXT,
    -- How far it is: list, join, fix, purge.
    stage          TEXT    NOT NULL,
    tries          INTEGER NOT NULL,
    next_at        INTEGER,
    owner          TEXT,
    fence          INTEGER NOT NULL,
    lease_until    INTEGER NOT NULL,
    -- The asking: when it began, which stretch it is at, and where in it.
    began_at       INTEGER,
    span           INTEGER NOT NULL,
    edge_to        INTEGER,
    cursor         TEXT,
    pages          INTEGER NOT NULL,
    barren         INTEGER NOT NULL,
    still          INTEGER NOT NULL,
    -- What was counted.
    there          INTEGER,
    here           INTEGER,
    agreed         INTEGER,
    uncompared     INTEGER,
    only_here      INTEGER,
    only_there     INTEGER,
    amount         INTEGER,
    state          INTEGER,
    doubled        INTEGER,
    pending        INTEGER,
    sum_there      TEXT,
    sum_here       TEXT,
    sum_only_here  TEXT,
    sum_only_there TEXT,
    UNIQUE (dependency, slot)
);

CREATE INDEX seawall_reconciliation_open ON seawall_reconciliation (dependency, id) WHERE status <> 'complete';

-- The provider's records while they are compared, and then what differs: on a record, or on an action without one.

CREATE TABLE seawall_listed (
    report      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    key         TEXT,
    id_there    TEXT,
    amount      TEXT,
    state       TEXT,
    at          INTEGER,
    -- 0 the window, 1 and 2 what lies before and after it, 9 an action without a record.
    span        INTEGER NOT NULL,
    seen_in     INTEGER NOT NULL,
    difference  TEXT,
    action      TEXT,
    operation   TEXT,
    state_here  TEXT,
    amount_here TEXT,
    correction  TEXT,
    PRIMARY KEY (report, name)
) WITHOUT ROWID;

CREATE INDEX seawall_listed_key ON seawall_listed (report, key);
