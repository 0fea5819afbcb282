-- What one more version of the program needs. Programs of the version before can still work with these tables.

-- Until when a request of the action, or a cancel, may have been sent, and when the provider forgets the key of the
-- cancels. If the configuration declares a longer quiet time while an action is open, the quiet time is counted anew from
-- there. If it declares a longer life of the keys, the time that was noted still counts.
ALTER TABLE seawall.action
    ADD COLUMN send_by            timestamptz,
    ADD COLUMN cancel_send_by     timestamptz,
    ADD COLUMN cancel_key_ends_at timestamptz;

-- A line of the audit trail also says how the caller of a change proved who they are, and where the action stood before and
-- after the change. Lines of earlier programs do not say it.
ALTER TABLE seawall.mark
    ADD COLUMN via    text,
    ADD COLUMN was    text,
    ADD COLUMN became text;

-- Which stuck actions were told to somebody, such as a webhook. `stuck_told` is the `ended_at` of the stuck action that was
-- told. An action that is stuck again has another `ended_at`, so it is told again.
ALTER TABLE seawall.action ADD COLUMN stuck_told timestamptz;
CREATE INDEX action_untold ON seawall.action (ended_at, id)
    WHERE ended = 'stuck' AND stuck_told IS DISTINCT FROM ended_at;

-- The process that tells of stuck actions now. No other process tells before `until`, and none tries again before it after
-- `tries` failures. The table has one row.
CREATE TABLE seawall.teller (
    one   boolean     PRIMARY KEY DEFAULT true CHECK (one),
    owner uuid,
    until timestamptz NOT NULL,
    tries bigint      NOT NULL
);
INSERT INTO seawall.teller (owner, until, tries) VALUES (NULL, 'epoch', 0);

-- The functions for applications that share this database, anew: any role may be given EXECUTE on them, and needs no right to
-- a table. They run with the rights of their owner (SECURITY DEFINER). So each of them has a search path on which nothing of
-- a caller's can stand, all tables and functions outside of pg_catalog are named with their schema, and EXECUTE is taken from
-- PUBLIC.

-- On which terms plain SQL may act on an operation that a process declares, as JSON (`SqlTerms` in the program says what it
-- holds). NULL in the rows of earlier programs: each role that may execute the functions may act on the operation.
ALTER TABLE seawall.declared ADD COLUMN terms text;

-- The roles that could use the functions until now, which must go on: they were given EXECUTE, or rights to the table.
SELECT set_config('seawall.grantees', coalesce(string_agg(DISTINCT format('%I', r.rolname), ', '), ''), true)
FROM (
    SELECT (aclexplode(p.proacl)).grantee FROM pg_proc p
    WHERE p.pronamespace = 'seawall'::regnamespace AND p.proname IN ('record', 'settle', 'cancel')
    UNION
    SELECT x.grantee FROM pg_class c, LATERAL aclexplode(c.relacl) x
    WHERE c.oid = 'seawall.action'::regclass AND x.privilege_type = 'INSERT'
) AS g JOIN pg_roles r ON r.oid = g.grantee;

ALTER FUNCTION seawall.new_id() SET search_path = pg_catalog, pg_temp;

DROP FUNCTION seawall.refuse(text, text);
CREATE FUNCTION seawall.refuse(word text, told text, advice text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '%', word USING DETAIL = told, HINT = advice, ERRCODE = CASE word
        WHEN 'key-conflict' THEN 'SW001' WHEN 'too-late' THEN 'SW002' WHEN 'not-known' THEN 'SW003'
        WHEN 'failed' THEN 'SW004' WHEN 'not-found' THEN 'SW005' WHEN 'unknown-operation' THEN 'SW006'
        WHEN 'bad-key' THEN 'SW007' WHEN 'too-large' THEN 'SW008' WHEN 'not-allowed' THEN 'SW009' ELSE 'SW000' END;
END
$$;

-- The fingerprint of a body: HMAC-SHA256 as the program computes it, under the ledger's key, which has 32 bytes.
CREATE FUNCTION seawall.body_print(body bytea) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- A block of HMAC is the key, filled up with zeros to 64 bytes.
    block bytea := (SELECT s.print_key FROM seawall.secret s) || decode(repeat('00', 32), 'hex');
    ipad bytea := block;
    opad bytea := block;
BEGIN
    FOR n IN 0..63 LOOP
        ipad := set_byte(ipad, n, get_byte(block, n) # 54);
        opad := set_byte(opad, n, get_byte(block, n) # 92);
    END LOOP;
    RETURN sha256(opad || sha256(ipad || convert_to('body', 'UTF8') || body));
END
$$;

-- On which terms the caller may act on an operation: one row for each declaration of it, the newest first. While an upgrade
-- rolls, there may be several, and each of them counts. A declaration is forgotten after seven days, so that applications
-- can record while all processes of the ledger are down. `denied` is NULL if the caller's role may act on the operation,
-- and `refused` is NULL if plain SQL may record it.
--
-- The caller's role is the one that it has taken with SET ROLE, otherwise the one with which it has logged in. SET ROLE takes
-- only roles of which the login is a member, so a caller can take no role that is not its own.
CREATE FUNCTION seawall.terms(dependency text, operation text) RETURNS TABLE (
    client text, client_keys boolean, request_max bigint, key_max bigint, key_at text[], refused text, denied text
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    role CONSTANT name := coalesce(nullif(current_setting('role'), 'none'), session_user)::name;
BEGIN
    RETURN QUERY
    WITH declared AS (
        SELECT d.terms::jsonb AS terms, max(d.declared_at) AS declared_at
        FROM seawall.declared d
        WHERE d.dependency = terms.dependency AND d.operation = terms.operation AND d.declared_at > statement_timestamp() - interval '7 days'
        GROUP BY d.terms
    )
    SELECT m.client, k.client_keys,
        coalesce((d.terms ->> 'request_max')::bigint, 1048576), coalesce((d.terms ->> 'key_max')::bigint, 255),
        CASE WHEN d.terms ? 'key_at' THEN ARRAY(SELECT jsonb_array_elements_text(d.terms -> 'key_at')) END,
        d.terms ->> 'refused',
        CASE
            WHEN d.terms ? 'roles' AND m.found = 0 THEN format('the role %I may not act on this operation', role)
            WHEN m.clients > 1 THEN format('the role %I is a member of roles of several clients', role)
            WHEN k.client_keys AND m.client IS NULL
                THEN format('keys belong to clients, and no client is declared for the role %I', role)
        END
    FROM declared d
    CROSS JOIN LATERAL (SELECT coalesce((d.terms ->> 'client_keys')::boolean, false) AS client_keys) AS k
    CROSS JOIN LATERAL (
        -- The role's own entry counts before those of roles of which it is a member.
        SELECT count(*) AS found, count(DISTINCT coalesce(f.client, '')) AS clients, min(f.client) AS client
        FROM (
            SELECT e.value AS client, rank() OVER (ORDER BY r.rolname <> role) AS place
            FROM jsonb_each_text(d.terms -> 'roles') AS e
            JOIN pg_roles r ON r.rolname = e.key
            WHERE pg_has_role(role, r.oid, 'USAGE')
        ) AS f WHERE f.place = 1
    ) AS m
    -- Programs that know no terms must not allow what others restrict.
    WHERE d.terms IS NOT NULL OR NOT EXISTS (SELECT FROM declared o WHERE o.terms IS NOT NULL)
    ORDER BY d.declared_at DESC;
END
$$;

-- Whether the caller may settle, cancel and see an action. NULL if nobody has declared its operation.
CREATE FUNCTION seawall.acts_on(it seawall.action) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT bool_or(t.denied IS NULL AND (t.client IS NULL OR t.client IS NOT DISTINCT FROM it.client))
        FROM seawall.terms(it.dependency, it.operation) AS t
    );
END
$$;

-- Refuses to act on an action on which the caller may not act. `is_asked` says whether the caller has named this action; if
-- not, it is another member of the scope of the named one.
CREATE FUNCTION seawall.must_act_on(it seawall.action, is_asked boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    may boolean := seawall.acts_on(it);
BEGIN
    IF may THEN
        RETURN;
    ELSIF may IS NULL THEN
        PERFORM seawall.refuse('unknown-operation',
            format('no program declares the operation %s of %s, or has in the last seven days', it.operation, it.dependency),
            'Start a gateway whose configuration has this operation with durable = true.');
    ELSIF is_asked THEN
        -- For the caller, an action of somebody else does not exist.
        PERFORM seawall.refuse('not-found', 'there is no such action', 'Compare the id with the one that record gave.');
    ELSE
        PERFORM seawall.refuse('not-allowed', 'its scope has an action on which your role may not act',
            'Name the role in sql_roles of all operations whose actions settle together.');
    END IF;
END
$$;

-- What is known of an action, in the words of the gateway's own answers. Never a part of a request or of an answer.
CREATE FUNCTION seawall.shown(action_id uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT jsonb_build_object(
        'effect', CASE
            WHEN a.effect = 'applied' THEN 'applied'
            WHEN a.effect = 'not-applied' AND a.ended IS NOT NULL THEN 'not-applied'
            WHEN a.effect = 'never' AND a.ended IN ('failed', 'cancelled') THEN 'not-applied'
            ELSE 'unknown' END,
        'state', CASE
            WHEN a.ended IS NOT NULL THEN a.ended
            WHEN NOT EXISTS (
                SELECT FROM seawall.declared d WHERE d.dependency = a.dependency AND d.operation = a.operation
                    AND d.declared_at > statement_timestamp() - interval '10 minutes'
            ) THEN 'undeclared'
            WHEN a.effect = 'unknown' THEN 'unknown'
            ELSE 'open' END,
        'goal', a.goal, 'settled', coalesce(a.ended = 'done', false), 'end', a.ended, 'why', a.why
    ) FROM seawall.action a WHERE a.id = action_id);
END
$$;

-- Records an action in the caller's transaction, and returns its id; the same key with the same body gives the same id
-- again. `scope` and `scope_size` name the actions that settle together. If the action failed, nothing of it was ever sent
-- and no report says that its effect exists, it begins again.
CREATE OR REPLACE FUNCTION seawall.record(
    dependency text, operation text, key text, request text, scope text DEFAULT NULL, scope_size bigint DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    fresh uuid := seawall.new_id();
    bytes bytea := convert_to(record.request, 'UTF8');
    print bytea;
    terms record;
    known boolean := false;
    full_key text;
    problem text[];
    first_problem text[];
    found_id uuid;
    conflict text;
BEGIN
    IF record.dependency IS NULL OR record.operation IS NULL OR record.key IS NULL OR record.request IS NULL THEN
        PERFORM seawall.refuse('misuse', 'the dependency, the operation, the key or the request is NULL', 'Give all four.');
    ELSIF (record.scope IS NULL) <> (record.scope_size IS NULL) OR record.scope_size NOT BETWEEN 1 AND 64
        OR octet_length(record.scope) NOT BETWEEN 1 AND 255 THEN
        PERFORM seawall.refuse('misuse', 'the scope or its size is missing, empty or too large',
            'Give a name of 1 to 255 bytes and the number of its actions, 1 to 64; or neither.');
    END IF;
    BEGIN
        PERFORM record.request::json;
    EXCEPTION WHEN invalid_text_representation THEN
        -- The error of the database shows a part of the request.
        PERFORM seawall.refuse('misuse', 'the request is not JSON', 'Write it with a library for JSON.');
    END;
    FOR terms IN SELECT * FROM seawall.terms(record.dependency, record.operation) LOOP
        known := true;
        full_key := CASE WHEN terms.client_keys THEN terms.client || ':' || record.key ELSE record.key END;
        problem := CASE
            WHEN terms.denied IS NOT NULL THEN ARRAY['not-allowed', terms.denied,
                'Name the role in sql_roles of the dependency or the operation, such as sql_roles = { shop = "CLIENT" }; or take the right role with SET ROLE.']
            WHEN terms.refused IS NOT NULL THEN ARRAY['misuse', terms.refused, 'Call this operation over HTTP, through the gateway.']
            WHEN record.key = '' THEN ARRAY['bad-key', 'the key is empty', 'Make one key for each thing that is to happen once, such as the id of an order.']
            WHEN octet_length(full_key) > terms.key_max THEN ARRAY['bad-key',
                format('the key has %s bytes, with the name of the client before it where keys belong to clients; at most %s are recorded',
                    octet_length(full_key), terms.key_max),
                'Use a shorter key.']
            WHEN record.key ~ E'[\\u0001-\\u001f\\u007f-\\u009f]' THEN ARRAY['bad-key', 'the key has a control character in it',
                'Remove it, such as the end of a line.']
            WHEN record.request::json #>> terms.key_at <> record.key OR (terms.key_at IS NOT NULL AND record.request::json #>> terms.key_at IS NULL)
                THEN ARRAY['bad-key', format('the key is not the one that the request has at /%s', array_to_string(terms.key_at, '/')),
                    'The provider reads the key from the request: give the same one.']
            WHEN octet_length(bytes) > terms.request_max THEN ARRAY['too-large',
                format('the request has %s bytes; at most %s are recorded', octet_length(bytes), terms.request_max),
                'Make the request smaller, or raise request_max of [ledger].']
        END;
        EXIT WHEN problem IS NULL;
        first_problem := coalesce(first_problem, problem);
    END LOOP;
    IF NOT known THEN
        PERFORM seawall.refuse('unknown-operation',
            format('no program declares the operation %s of %s, or has in the last seven days', record.operation, record.dependency),
            'Compare both names with the configuration, and start a gateway whose configuration has this operation with durable = true.');
    ELSIF problem IS NOT NULL THEN
        PERFORM seawall.refuse(first_problem[1], first_problem[2], first_problem[3]);
    END IF;
    IF EXISTS (SELECT FROM seawall.action a WHERE a.scope = record.scope AND seawall.acts_on(a) IS NOT TRUE) THEN
        PERFORM seawall.refuse('not-allowed', 'the scope has an action on which your role may not act',
            'Use another name for the scope, or name the role in sql_roles of all operations whose actions settle together.');
    END IF;
    print := seawall.body_print(bytes);
    INSERT INTO seawall.action AS a (
        id, dependency, operation, key, scope, scope_size, request, created_at, version, needs, goal, effect,
        open_attempts, attempts, maybe_sent, logged, asks, absences, fence, begun_at, next_at, cancel_gen, cancel_tries,
        cancel_open, cancel_gen_early, due_at, client, head_print, body_print
    ) VALUES (
        fresh, record.dependency, record.operation, full_key, record.scope, record.scope_size, bytes,
        statement_timestamp(), 1, 1, 'perform', 'never', 0, 0, 0, 0, 0, 0, 0, statement_timestamp(),
        statement_timestamp(), 0, 0, 0, false, statement_timestamp(),
        -- A head of zeros says that the record is a body alone, which is compared with bodies alone.
        terms.client, decode(repeat('00', 32), 'hex'), print
    ) ON CONFLICT (dependency, key) DO NOTHING;
    SELECT a.id, CASE
            WHEN a.client IS DISTINCT FROM terms.client THEN 'request'
            WHEN a.operation <> record.operation THEN 'operation'
            WHEN a.scope IS DISTINCT FROM record.scope OR a.scope_size IS DISTINCT FROM record.scope_size THEN 'scope'
            WHEN a.body_print <> print OR (a.body_print IS NULL AND a.request <> bytes) THEN 'body'
        END
        INTO found_id, conflict
        FROM seawall.action a WHERE a.dependency = record.dependency AND a.key = full_key;
    IF conflict IS NOT NULL THEN
        PERFORM seawall.refuse('key-conflict', format('this key was recorded before, with another %s', conflict),
            'Repeat a request byte for byte, or use a new key. PostgreSQL writes jsonb in a form of its own: pass json or text.');
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

CREATE OR REPLACE FUNCTION seawall.record(
    dependency text, operation text, key text, request json, scope text DEFAULT NULL, scope_size bigint DEFAULT NULL
) RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT seawall.record($1, $2, $3, $4::text, $5, $6) $$;

CREATE OR REPLACE FUNCTION seawall.record(
    dependency text, operation text, key text, request jsonb, scope text DEFAULT NULL, scope_size bigint DEFAULT NULL
) RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT seawall.record($1, $2, $3, $4::text, $5, $6) $$;

-- What is known of an action: its effect, state, goal and end, whether it is settled, and why it is as it is.
CREATE FUNCTION seawall.outcome(action_id uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    it seawall.action;
BEGIN
    SELECT * INTO it FROM seawall.action WHERE id = action_id;
    IF NOT FOUND THEN
        PERFORM seawall.refuse('not-found', 'there is no such action', 'Compare the id with the one that record gave.');
    END IF;
    PERFORM seawall.must_act_on(it, true);
    RETURN seawall.shown(action_id);
END
$$;

-- Takes the outcome in, and returns it as `outcome` does: settled already is fine; otherwise it must be known to be applied,
-- and not be cancelled.
DROP FUNCTION seawall.settle(uuid);
CREATE FUNCTION seawall.settle(action_id uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    it seawall.action;
    member seawall.action;
    members bigint := 0;
    unknown boolean := false;
BEGIN
    SELECT * INTO it FROM seawall.action WHERE id = action_id;
    IF NOT FOUND THEN
        PERFORM seawall.refuse('not-found', 'there is no such action', 'Compare the id with the one that record gave.');
    END IF;
    PERFORM seawall.must_act_on(it, true);
    FOR member IN
        SELECT * FROM seawall.action
        WHERE id = action_id OR (it.scope IS NOT NULL AND scope = it.scope) ORDER BY id FOR UPDATE
    LOOP
        PERFORM seawall.must_act_on(member, false);
        members := members + 1;
        CONTINUE WHEN member.ended = 'done';
        IF member.goal = 'cancel' THEN
            PERFORM seawall.refuse('too-late', 'it is being cancelled, or was', 'Do not go on: the effect does not stay.');
        ELSIF member.ended IN ('failed', 'cancelled') THEN
            PERFORM seawall.refuse('failed', 'it did not take effect', 'A new try needs a new key.');
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
        PERFORM seawall.refuse('not-known', 'not all members of its scope are recorded', 'Record the others, and settle again.');
    END IF;
    IF unknown THEN
        PERFORM seawall.refuse('not-known', 'whether it took effect is not known yet', 'Ask outcome, and settle when the effect is applied.');
    END IF;
    RETURN seawall.shown(action_id);
END
$$;

-- Takes an action back, settled or not, in the transaction that takes the business row back. Returns what became of it, as
-- `outcome` does.
DROP FUNCTION seawall.cancel(uuid);
CREATE FUNCTION seawall.cancel(action_id uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    it seawall.action;
BEGIN
    SELECT * INTO it FROM seawall.action WHERE id = action_id;
    IF NOT FOUND THEN
        PERFORM seawall.refuse('not-found', 'there is no such action', 'Compare the id with the one that record gave.');
    END IF;
    PERFORM seawall.must_act_on(it, true);
    PERFORM 1 FROM seawall.action
        WHERE id = action_id OR (it.scope IS NOT NULL AND scope = it.scope) ORDER BY id FOR UPDATE;
    PERFORM seawall.must_act_on(a, false) FROM seawall.action a WHERE it.scope IS NOT NULL AND a.scope = it.scope;
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
    RETURN seawall.shown(action_id);
END
$$;

-- Who may call what, and with whose rights the functions run. Their owner should be a role of its own that cannot log in, with
-- rights to what the functions need and to nothing else. A role that may not create roles cannot make it; then the functions
-- stay with the role that makes the tables.
DO $$
DECLARE
    called CONSTANT text := 'seawall.record(text, text, text, text, text, bigint), '
        || 'seawall.record(text, text, text, json, text, bigint), seawall.record(text, text, text, jsonb, text, bigint), '
        || 'seawall.settle(uuid), seawall.cancel(uuid), seawall.outcome(uuid)';
    grantees CONSTANT text := current_setting('seawall.grantees');
    -- Roles belong to all databases of a server, so the name has the number of this one.
    owner CONSTANT text := 'seawall_functions_' || (SELECT oid FROM pg_database WHERE datname = current_database());
    installs_as_super CONSTANT boolean := (SELECT rolsuper FROM pg_roles WHERE rolname = current_user);
    one regprocedure;
BEGIN
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA seawall FROM PUBLIC;
    BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = owner
            AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)) THEN
            RAISE insufficient_privilege;
        ELSIF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = owner) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', owner);
        END IF;
        IF NOT installs_as_super THEN
            -- Otherwise the next update of the tables could not replace the functions.
            EXECUTE format('GRANT %I TO CURRENT_USER', owner);
        END IF;
        EXECUTE format('GRANT USAGE, CREATE ON SCHEMA seawall TO %I', owner);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON seawall.action TO %I', owner);
        EXECUTE format('GRANT SELECT ON seawall.declared, seawall.secret TO %I', owner);
        FOR one IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'seawall'::regnamespace LOOP
            EXECUTE format('ALTER FUNCTION %s OWNER TO %I', one, owner);
        END LOOP;
        EXECUTE format('REVOKE CREATE ON SCHEMA seawall FROM %I', owner);
    EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
        RAISE NOTICE 'the functions of the ledger stay with the role %, which may not create a role for them', current_user;
    END;
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO CURRENT_USER', called);
    IF grantees <> '' THEN
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', called, grantees);
    END IF;
END
$$;
