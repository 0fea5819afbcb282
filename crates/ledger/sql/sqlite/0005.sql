-- What durable operations over HTTP and a long outage with many actions need. Programs of the version before can still
-- work with these tables.

-- What makes two requests under one key the same request: two fingerprints (HMAC-SHA256), one of the method, the path
-- and the content type, and one of the body. The requests of an action without fingerprints are compared byte by byte.
-- `client` is the name of the caller that recorded the action, if callers have names.
ALTER TABLE seawall_action ADD COLUMN head_print BLOB;
ALTER TABLE seawall_action ADD COLUMN body_print BLOB;
ALTER TABLE seawall_action ADD COLUMN client TEXT;

-- The key of the fingerprints. It never changes: without it, no request could be compared with an earlier one. The
-- table has one row.
CREATE TABLE seawall_secret (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    print_key BLOB NOT NULL
);
INSERT INTO seawall_secret (one, print_key) VALUES (1, randomblob(32));

-- While a provider is down, the failing rows are taken up one by one, those of each operation, goal and effect apart. Without
-- this index, each time would read the failing rows of all others that are due before. Rows that do not fail are not in it.
CREATE INDEX seawall_action_failing ON seawall_action (dependency, operation, goal, effect, due_at)
    WHERE failing_since IS NOT NULL AND due_at IS NOT NULL;

-- Which process declares which operations. A process renews its rows each minute, and a row that is ten minutes old no
-- longer counts. The rows of an operation that no process declares wait until one declares it again.
CREATE TABLE seawall_declared (
    owner       TEXT    NOT NULL,
    dependency  TEXT    NOT NULL,
    operation   TEXT    NOT NULL,
    declared_at INTEGER NOT NULL,
    PRIMARY KEY (owner, dependency, operation)
) WITHOUT ROWID;
