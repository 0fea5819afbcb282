-- One row for each reconciliation report: the comparison of a window of time with the provider's list.

CREATE TABLE seawall.reconciliation (
    id             text    NOT NULL PRIMARY KEY,
    dependency     text    NOT NULL,
    -- The window of the schedule, as a text; NULL if a person asked for the report. The unique key allows one report
    -- for each window of the schedule, and any number of reports for which people ask.
    slot           text,
    window_from    timestamptz NOT NULL,
    window_to      timestamptz NOT NULL,
    zone           text    NOT NULL,
    asked_by       text    NOT NULL,
    fix            boolean NOT NULL,
    asked_at       timestamptz NOT NULL,
    finished_at    timestamptz,
    status         text    NOT NULL,
    why            text,
    -- How far it is: list, join, fix, purge.
    stage          text    NOT NULL,
    tries          bigint NOT NULL,
    next_at        timestamptz,
    owner          text,
    fence          bigint NOT NULL,
    lease_until    timestamptz NOT NULL,
    -- How far the provider's list has been read: when the current try began, which span of time is being listed
    -- (the window is 0, the time before it 1, the time after it 2), where the span 2 ends, and the position in the pages.
    began_at       timestamptz,
    span           bigint NOT NULL,
    edge_to        timestamptz,
    cursor         text,
    pages          bigint NOT NULL,
    barren         bigint NOT NULL,
    still          bigint NOT NULL,
    -- What was counted.
    there          bigint,
    here           bigint,
    agreed         bigint,
    uncompared     bigint,
    only_here      bigint,
    only_there     bigint,
    amount         bigint,
    state          bigint,
    doubled        bigint,
    pending        bigint,
    sum_there      text,
    sum_here       text,
    sum_only_here  text,
    sum_only_there text,
    UNIQUE (dependency, slot)
);

CREATE INDEX reconciliation_open ON seawall.reconciliation (dependency, id) WHERE status <> 'complete';

-- The entries of a report. At first these are the provider's records. After the comparison only the differences remain:
-- each of them belongs to a record, or to an action for which the provider lists no record.

CREATE TABLE seawall.listed (
    report      text    NOT NULL,
    name        text    NOT NULL,
    key         text,
    id_there    text,
    amount      text,
    state       text,
    at          timestamptz,
    -- The span of time with which the record was listed: the window is 0, the time before it 1, the time after it 2.
    -- The value 9 marks the entry of an action for which the provider lists no record.
    span        bigint NOT NULL,
    seen_in     bigint NOT NULL,
    difference  text,
    action      text,
    operation   text,
    state_here  text,
    amount_here text,
    correction  text,
    PRIMARY KEY (report, name)
);

CREATE INDEX listed_key ON seawall.listed (report, key);
