-- Reconciliations: one row for each comparison of a window with the provider's list.

CREATE TABLE seawall.reconciliation (
    id             text    NOT NULL PRIMARY KEY,
    dependency     text    NOT NULL,
    -- Names a window of the schedule; of those that people ask for there may be many.
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
    -- The asking: when it began, which stretch it is at, and where in it.
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

-- The provider's records while they are compared, and then what differs: on a record, or on an action without one.

CREATE TABLE seawall.listed (
    report      text    NOT NULL,
    name        text    NOT NULL,
    key         text,
    id_there    text,
    amount      text,
    state       text,
    at          timestamptz,
    -- 0 the window, 1 and 2 what lies before and after it, 9 an action without a record.
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
