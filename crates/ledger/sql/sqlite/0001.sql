-- Times are microseconds since 1970 in UTC; ids are UUIDs of version 7, so their order is that of recording.

CREATE TABLE seawall_action (
    id                 TEXT    NOT NULL PRIMARY KEY,
    dependency         TEXT    NOT NULL,
    operation          TEXT    NOT NULL,
    key                TEXT    NOT NULL,
    scope              TEXT,
    scope_size         INTEGER,
    request            BLOB    NOT NULL,
    created_at         INTEGER NOT NULL,
    version            INTEGER NOT NULL,
    goal               TEXT    NOT NULL,
    effect             TEXT    NOT NULL,
    reason             TEXT,
    open_attempts      INTEGER NOT NULL,
    attempts           INTEGER NOT NULL,
    maybe_sent         INTEGER NOT NULL,
    logged             INTEGER NOT NULL,
    in_flight          INTEGER,
    asks               INTEGER NOT NULL,
    absences           INTEGER NOT NULL,
    settled            INTEGER NOT NULL,
    ended              TEXT,
    why                TEXT,
    owner              TEXT,
    fence              INTEGER NOT NULL,
    lease_until        INTEGER NOT NULL,
    next_at            INTEGER NOT NULL,
    quiet_until        INTEGER,
    key_first_at       INTEGER,
    settle_by          INTEGER,
    answer             BLOB,
    cancel_gen         INTEGER NOT NULL,
    cancel_gen_early   INTEGER NOT NULL,
    cancel_open        INTEGER NOT NULL,
    cancel_tries       INTEGER NOT NULL,
    cancel_quiet_until INTEGER,
    closed_by_absence  INTEGER NOT NULL,
    audit_at           INTEGER,
    -- Derived: when a worker should look at it, and when it came to its end.
    due_at             INTEGER,
    ended_at           INTEGER,
    UNIQUE (dependency, key)
);

CREATE INDEX seawall_action_due ON seawall_action (dependency, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX seawall_action_stuck ON seawall_action (dependency, id) WHERE ended = 'stuck';
CREATE INDEX seawall_action_scope ON seawall_action (scope) WHERE scope IS NOT NULL;

CREATE TABLE seawall_attempt (
    action      TEXT    NOT NULL,
    number      INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    generation  INTEGER NOT NULL,
    fence       INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    send_by     INTEGER NOT NULL,
    after_quiet INTEGER NOT NULL,
    ended_at    INTEGER,
    outcome     TEXT    NOT NULL,
    status      INTEGER,
    detail      TEXT,
    PRIMARY KEY (action, number)
) WITHOUT ROWID;

CREATE TABLE seawall_mark (
    action TEXT    NOT NULL,
    id     TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    who    TEXT    NOT NULL,
    what   TEXT    NOT NULL,
    why    TEXT    NOT NULL,
    PRIMARY KEY (action, id)
) WITHOUT ROWID;
