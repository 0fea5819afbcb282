-- Ids are UUIDs of version 7, made by the application: their order is that of recording.

CREATE TABLE seawall.action (
    id                 uuid        NOT NULL PRIMARY KEY,
    dependency         text        NOT NULL,
    operation          text        NOT NULL,
    key                text        NOT NULL,
    scope              text,
    scope_size         bigint,
    request            bytea       NOT NULL,
    created_at         timestamptz NOT NULL,
    version            bigint      NOT NULL,
    goal               text        NOT NULL,
    effect             text        NOT NULL,
    reason             text,
    open_attempts      bigint      NOT NULL,
    attempts           bigint      NOT NULL,
    maybe_sent         bigint      NOT NULL,
    logged             bigint      NOT NULL,
    in_flight          bigint,
    asks               bigint      NOT NULL,
    absences           bigint      NOT NULL,
    settled            boolean     NOT NULL,
    ended              text,
    why                text,
    owner              uuid,
    fence              bigint      NOT NULL,
    lease_until        timestamptz NOT NULL,
    next_at            timestamptz NOT NULL,
    quiet_until        timestamptz,
    key_first_at       timestamptz,
    settle_by          timestamptz,
    answer             bytea,
    cancel_gen         bigint      NOT NULL,
    cancel_gen_early   boolean     NOT NULL,
    cancel_open        bigint      NOT NULL,
    cancel_tries       bigint      NOT NULL,
    cancel_quiet_until timestamptz,
    closed_by_absence  boolean     NOT NULL,
    audit_at           timestamptz,
    -- Derived: when a worker should look at it, and when it came to its end.
    due_at             timestamptz,
    ended_at           timestamptz,
    UNIQUE (dependency, key)
);

CREATE INDEX action_due ON seawall.action (dependency, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX action_stuck ON seawall.action (dependency, id) WHERE ended = 'stuck';
CREATE INDEX action_scope ON seawall.action (scope) WHERE scope IS NOT NULL;

CREATE TABLE seawall.attempt (
    action      uuid        NOT NULL,
    number      bigint      NOT NULL,
    kind        text        NOT NULL,
    generation  bigint      NOT NULL,
    fence       bigint      NOT NULL,
    recorded_at timestamptz NOT NULL,
    send_by     timestamptz NOT NULL,
    after_quiet boolean     NOT NULL,
    ended_at    timestamptz,
    outcome     text        NOT NULL,
    status      bigint,
    detail      text,
    PRIMARY KEY (action, number)
);

CREATE TABLE seawall.mark (
    action uuid        NOT NULL,
    id     uuid        NOT NULL,
    at     timestamptz NOT NULL,
    who    text        NOT NULL,
    what   text        NOT NULL,
    why    text        NOT NULL,
    PRIMARY KEY (action, id)
);
