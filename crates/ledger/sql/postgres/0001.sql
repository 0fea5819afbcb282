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

-- For applications in any language that share this database. Each of these runs in the caller's transaction, and raises
-- where it refuses, so that the transaction rolls back. The rules are those of the ledger's own machine.

CREATE FUNCTION seawall.new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    -- Version 7 (RFC 9562): 48 bits of milliseconds, then random ones; bits 52 and 53 turn version 4 into 7.
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

CREATE FUNCTION seawall.refuse(word text, told text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', word USING DETAIL = told, ERRCODE = CASE word
        WHEN 'key-conflict' THEN 'SW001' WHEN 'too-late' THEN 'SW002' WHEN 'not-known' THEN 'SW003'
        WHEN 'failed' THEN 'SW004' WHEN 'not-found' THEN 'SW005' ELSE 'SW000' END;
END
$$;

-- Records an action; the same key with the same request gives the same id again. `scope` and `scope_size` name the actions
-- that settle together.
CREATE FUNCTION seawall.record(
    dependency text, operation text, key text, request text, scope text DEFAULT NULL, scope_size bigint DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    fresh uuid := seawall.new_id();
    bytes bytea := convert_to(request::json::text, 'UTF8');
    found_id uuid;
    found_same boolean;
BEGIN
    IF record.dependency IS NULL OR record.operation IS NULL OR record.key IS NULL OR record.request IS NULL
        OR record.dependency = '' OR record.operation = '' OR record.key = ''
        OR octet_length(record.dependency) > 100 OR octet_length(record.operation) > 100
        OR octet_length(record.key) > 255 OR octet_length(record.scope) > 255 OR octet_length(bytes) > 1048576
        OR (record.scope IS NULL) <> (record.scope_size IS NULL) OR record.scope_size NOT BETWEEN 1 AND 64 THEN
        PERFORM seawall.refuse('misuse', 'a name, key or request is empty or too large, or the scope has no size');
    END IF;
    INSERT INTO seawall.action AS a (
        id, dependency, operation, key, scope, scope_size, request, created_at, version, goal, effect, open_attempts,
        attempts, maybe_sent, logged, asks, absences, settled, fence, lease_until, next_at, cancel_gen,
        cancel_gen_early, cancel_open, cancel_tries, closed_by_absence, due_at
    ) VALUES (
        fresh, record.dependency, record.operation, record.key, record.scope, record.scope_size, bytes,
        statement_timestamp(), 1, 'perform', 'never', 0, 0, 0, 0, 0, 0, false, 0, statement_timestamp(),
        statement_timestamp(), 0, false, 0, 0, false, statement_timestamp()
    ) ON CONFLICT (dependency, key) DO NOTHING;
    SELECT a.id, a.operation = record.operation AND a.request = bytes
        AND a.scope IS NOT DISTINCT FROM record.scope AND a.scope_size IS NOT DISTINCT FROM record.scope_size
        INTO found_id, found_same
        FROM seawall.action a WHERE a.dependency = record.dependency AND a.key = record.key;
    IF NOT found_same THEN
        PERFORM seawall.refuse('key-conflict', 'this key was recorded before, with another request');
    END IF;
    RETURN found_id;
END
$$;

CREATE FUNCTION seawall.record(
    dependency text, operation text, key text, request json, scope text DEFAULT NULL, scope_size bigint DEFAULT NULL
) RETURNS uuid LANGUAGE sql AS $$ SELECT seawall.record($1, $2, $3, $4::text, $5, $6) $$;

CREATE FUNCTION seawall.record(
    dependency text, operation text, key text, request jsonb, scope text DEFAULT NULL, scope_size bigint DEFAULT NULL
) RETURNS uuid LANGUAGE sql AS $$ SELECT seawall.record($1, $2, $3, $4::text, $5, $6) $$;

-- Takes the outcome in: settled already is fine; otherwise it must be known to be applied, and not be cancelled.
CREATE FUNCTION seawall.settle(action_id uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    it seawall.action;
    member seawall.action;
    members bigint := 0;
BEGIN
    SELECT * INTO it FROM seawall.action WHERE id = action_id;
    IF NOT FOUND THEN
        PERFORM seawall.refuse('not-found', 'there is no such action');
    END IF;
    FOR member IN
        SELECT * FROM seawall.action
        WHERE id = action_id OR (it.scope IS NOT NULL AND scope = it.scope) ORDER BY id FOR UPDATE
    LOOP
        members := members + 1;
        CONTINUE WHEN member.settled AND member.goal = 'perform';
        IF member.goal = 'cancel' THEN
            PERFORM seawall.refuse('too-late', 'it is being cancelled, or was');
        ELSIF member.ended IN ('failed', 'cancelled') THEN
            PERFORM seawall.refuse('failed', 'it did not take effect');
        ELSIF member.ended IS NOT NULL OR member.effect <> 'applied' THEN
            PERFORM seawall.refuse('not-known', 'whether it took effect is not known yet');
        END IF;
        UPDATE seawall.action SET
            version = version + 1, settled = true, ended = 'done', next_at = statement_timestamp(), owner = NULL,
            in_flight = NULL, lease_until = least(lease_until, statement_timestamp()), due_at = NULL,
            ended_at = statement_timestamp()
        WHERE id = member.id;
    END LOOP;
    IF it.scope IS NOT NULL AND members <> it.scope_size THEN
        PERFORM seawall.refuse('not-known', 'not all members of its scope are recorded');
    END IF;
END
$$;

-- Takes an action back, settled or not, in the transaction that takes the business row back.
CREATE FUNCTION seawall.cancel(action_id uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    it seawall.action;
BEGIN
    SELECT * INTO it FROM seawall.action WHERE id = action_id;
    IF NOT FOUND THEN
        PERFORM seawall.refuse('not-found', 'there is no such action');
    END IF;
    PERFORM 1 FROM seawall.action
        WHERE id = action_id OR (it.scope IS NOT NULL AND scope = it.scope) ORDER BY id FOR UPDATE;
    -- Never sent: it is cancelled with that.
    UPDATE seawall.action SET
        version = version + 1, goal = 'cancel', settled = false, ended = 'cancelled', asks = 0,
        next_at = statement_timestamp(), owner = NULL, in_flight = NULL,
        lease_until = least(lease_until, statement_timestamp()), ended_at = statement_timestamp(),
        due_at = CASE WHEN audit_at IS NULL THEN NULL ELSE greatest(audit_at, statement_timestamp()) END
    WHERE (id = action_id OR (it.scope IS NOT NULL AND scope = it.scope))
        AND goal = 'perform' AND ended IS NULL AND effect = 'never' AND open_attempts = 0;
    UPDATE seawall.action SET
        version = version + 1, goal = 'cancel', settled = false, ended = NULL, ended_at = NULL, asks = 0,
        next_at = statement_timestamp(), due_at = greatest(lease_until, statement_timestamp())
    WHERE (id = action_id OR (it.scope IS NOT NULL AND scope = it.scope))
        AND goal = 'perform' AND (ended IS NULL OR ended IN ('done', 'stuck'));
END
$$;
