-- One row for each reconciliation report: the comparison of a window of time with the provider's list.

CREATE TABLE seawall_reconciliation (
    id             TEXT    NOT NULL PRIMARY KEY,
    dependency     TEXT    NOT NULL,
    -- The window of the schedule, as a text; NULL if a person asked for the report. The unique key allows one report
    -- for each window of the schedule, and any number of reports for which people ask.
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
    -- How far the provider's list has been read: when the current try began, which span of time is being listed
    -- (the window is 0, the time before it 1, the time after it 2), where the span 2 ends, and the position in the pages.
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

-- The entries of a report. At first these are the provider's records. After the comparison only the differences remain:
-- each of them belongs to a record, or to an action for which the provider lists no record.

CREATE TABLE seawall_listed (
    report      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    key         TEXT,
    id_there    TEXT,
    amount      TEXT,
    state       TEXT,
    at          INTEGER,
    -- The span of time with which the record was listed: the window is 0, the time before it 1, the time after it 2.
    -- The value 9 marks the entry of an action for which the provider lists no record.
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
