-- What durable operations over HTTP and a long outage with many actions need. Programs of the version before can still
-- work with these tables.

-- What makes two requests under one key the same request: two fingerprints (HMAC-SHA256), one of the method, the path
-- and the content type, and one of the body. The requests of an action without fingerprints are compared byte by byte.
-- `client` is the name of the caller that recorded the action, if callers have names.
ALTER TABLE seawall.action
    ADD COLUMN head_print bytea,
    ADD COLUMN body_print bytea,
    ADD COLUMN client     text;

-- The key of the fingerprints, made here from the random bits of two UUIDs. It never changes: without it, no request
-- could be compared with an earlier one. The table has one row.
CREATE TABLE seawall.secret (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    print_key bytea   NOT NULL
);
INSERT INTO seawall.secret (print_key)
    VALUES (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

-- While a provider is down, the failing rows are taken up one by one, those of each operation, goal and effect apart. Without
-- this index, each time would read the failing rows of all others that are due before. Rows that do not fail are not in it.
CREATE INDEX action_failing ON seawall.action (dependency, operation, goal, effect, due_at)
    WHERE failing_since IS NOT NULL AND due_at IS NOT NULL;

-- Which process declares which operations. A process renews its rows each minute, and a row that is ten minutes old no
-- longer counts. The rows of an operation that no process declares wait until one declares it again.
CREATE TABLE seawall.declared (
    owner       uuid        NOT NULL,
    dependency  text        NOT NULL,
    operation   text        NOT NULL,
    declared_at timestamptz NOT NULL,
    PRIMARY KEY (owner, dependency, operation)
);
