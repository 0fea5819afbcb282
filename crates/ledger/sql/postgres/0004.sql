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

-- A process claims only rows of the operations that it declares. So the rows of an operation that no process declares
-- cost the claims of the others nothing, however many they are. Programs of the version before find their rows by the
-- first column alone.
DROP INDEX seawall.action_due;
CREATE INDEX action_due ON seawall.action (dependency, operation, due_at) WHERE due_at IS NOT NULL;

-- Since when the requests about an action bring nothing. The three functions are as before, and also clear this column
-- where the action begins again, is settled or is to be undone.
ALTER TABLE seawall.action ADD COLUMN failing_since timestamptz;

-- Records an action; the same key with the same request gives the same id again. `scope` and `scope_size` name the actions
-- that settle together. If the action failed, nothing of it was ever sent and no report says that its effect exists, it
-- begins again.
CREATE OR REPLACE FUNCTION seawall.record(
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
        id, dependency, operation, key, scope, scope_size, request, created_at, version, needs, goal, effect,
        open_attempts, attempts, maybe_sent, logged, asks, absences, fence, begun_at, next_at, cancel_gen, cancel_tries,
        cancel_open, cancel_gen_early, due_at
    ) VALUES (
        fresh, record.dependency, record.operation, record.key, record.scope, record.scope_size, bytes,
        statement_timestamp(), 1, 1, 'perform', 'never', 0, 0, 0, 0, 0, 0, 0, statement_timestamp(),
        statement_timestamp(), 0, 0, 0, false, statement_timestamp()
    ) ON CONFLICT (dependency, key) DO NOTHING;
    SELECT a.id, a.operation = record.operation AND a.request = bytes
        AND a.scope IS NOT DISTINCT FROM record.scope AND a.scope_size IS NOT DISTINCT FROM record.scope_size
        INTO found_id, found_same
        FROM seawall.action a WHERE a.dependency = record.dependency AND a.key = record.key;
    IF NOT found_same THEN
        PERFORM seawall.refuse('key-conflict', 'this key was recorded before, with another request');
    END IF;
    UPDATE seawall.action AS a SET
        version = a.version + 1, needs = greatest(a.needs, 1), attempts = 0, asks = 0, absences = 0, ended = NULL,
        ended_at = NULL, why = NULL, owner = NULL, leased_until = NULL, in_flight = NULL,
        begun_at = statement_timestamp(), next_at = statement_timestamp(), settle_by = NULL, answer = NULL,
        audit_at = NULL, failing_since = NULL, due_at = statement_timestamp()
    WHERE a.id = found_id AND a.ended = 'failed' AND a.effect = 'never' AND a.maybe_sent = 0 AND a.cancel_gen = 0
        AND a.cancel_tries = 0 AND a.cancel_open = 0 AND NOT a.cancel_asked AND a.disputed_at IS NULL;
    RETURN found_id;
END
$$;

-- Takes the outcome in: settled already is fine; otherwise it must be known to be applied, and not be cancelled.
CREATE OR REPLACE FUNCTION seawall.settle(action_id uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    it seawall.action;
    member seawall.action;
    members bigint := 0;
    unknown boolean := false;
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
        CONTINUE WHEN member.ended = 'done';
        IF member.goal = 'cancel' THEN
            PERFORM seawall.refuse('too-late', 'it is being cancelled, or was');
        ELSIF member.ended IN ('failed', 'cancelled') THEN
            PERFORM seawall.refuse('failed', 'it did not take effect');
        END IF;
        -- If another member can never be settled, that is the reason to give, since waiting is then of no use.
        unknown := unknown OR member.ended IS NOT NULL OR member.effect <> 'applied';
        CONTINUE WHEN unknown;
        UPDATE seawall.action SET
            version = version + 1, ended = 'done', why = NULL, ended_at = statement_timestamp(), next_at = statement_timestamp(),
            owner = NULL, leased_until = NULL, in_flight = NULL, handler_tries = 0, handler_error = NULL, failing_since = NULL,
            due_at = NULL
        WHERE id = member.id;
    END LOOP;
    IF it.scope IS NOT NULL AND members <> it.scope_size THEN
        PERFORM seawall.refuse('not-known', 'not all members of its scope are recorded');
    END IF;
    IF unknown THEN
        PERFORM seawall.refuse('not-known', 'whether it took effect is not known yet');
    END IF;
END
$$;

-- Takes an action back, settled or not, in the transaction that takes the business row back.
CREATE OR REPLACE FUNCTION seawall.cancel(action_id uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    it seawall.action;
BEGIN
    SELECT * INTO it FROM seawall.action WHERE id = action_id;
    IF NOT FOUND THEN
        PERFORM seawall.refuse('not-found', 'there is no such action');
    END IF;
    PERFORM 1 FROM seawall.action
        WHERE id = action_id OR (it.scope IS NOT NULL AND scope = it.scope) ORDER BY id FOR UPDATE;
    -- A stuck action is opened again with the full number of tries.
    UPDATE seawall.action SET attempts = 0, cancel_tries = 0, cancel_asked = false, why = NULL
    WHERE (id = action_id OR (it.scope IS NOT NULL AND scope = it.scope)) AND goal = 'perform' AND ended = 'stuck';
    -- If nothing of it can have taken effect, it is cancelled with this. Otherwise a worker undoes it.
    UPDATE seawall.action SET
        version = version + 1, goal = 'cancel', asks = 0, handler_tries = 0, handler_error = NULL, failing_since = NULL,
        next_at = statement_timestamp(),
        ended = CASE WHEN effect = 'never' THEN 'cancelled' END,
        ended_at = CASE WHEN effect = 'never' THEN statement_timestamp() END,
        owner = CASE WHEN effect = 'never' THEN NULL ELSE owner END,
        leased_until = CASE WHEN effect = 'never' THEN NULL ELSE leased_until END,
        in_flight = CASE WHEN effect = 'never' THEN NULL ELSE in_flight END,
        due_at = CASE WHEN effect = 'never' THEN audit_at ELSE greatest(leased_until, statement_timestamp()) END
    WHERE (id = action_id OR (it.scope IS NOT NULL AND scope = it.scope))
        AND goal = 'perform' AND (ended IS NULL OR ended IN ('done', 'stuck'));
END
$$;

-- For lists: the actions of each dependency and each standing, in the order of recording. With a large table, make this
-- index before the update, as docs/ledger.md says; then the update does not make it again.
-- Only this index has NULLS FIRST, so that the planner cannot take another one for the order of a list.
CREATE INDEX IF NOT EXISTS action_standing ON seawall.action (
    dependency, coalesce(ended, CASE WHEN effect = 'unknown' THEN effect ELSE 'open' END), id NULLS FIRST
);
