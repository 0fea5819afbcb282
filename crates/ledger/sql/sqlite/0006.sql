-- What one more version of the program needs. Programs of the version before can still work with these tables.

-- Until when a request of the action, or a cancel, may have been sent, and when the provider forgets the key of the
-- cancels. If the configuration declares a longer quiet time while an action is open, the quiet time is counted anew from
-- there. If it declares a longer life of the keys, the time that was noted still counts.
ALTER TABLE seawall_action ADD COLUMN send_by INTEGER;
ALTER TABLE seawall_action ADD COLUMN cancel_send_by INTEGER;
ALTER TABLE seawall_action ADD COLUMN cancel_key_ends_at INTEGER;

-- A line of the audit trail also says how the caller of a change proved who they are, and where the action stood before and
-- after the change. Lines of earlier programs do not say it.
ALTER TABLE seawall_mark ADD COLUMN via TEXT;
ALTER TABLE seawall_mark ADD COLUMN was TEXT;
ALTER TABLE seawall_mark ADD COLUMN became TEXT;

-- Which stuck actions were told to somebody, such as a webhook. `stuck_told` is the `ended_at` of the stuck action that was
-- told. An action that is stuck again has another `ended_at`, so it is told again.
ALTER TABLE seawall_action ADD COLUMN stuck_told INTEGER;
CREATE INDEX seawall_action_untold ON seawall_action (ended_at, id)
    WHERE ended = 'stuck' AND stuck_told IS NOT ended_at;

-- The process that tells of stuck actions now. No other process tells before `until`, and none tries again before it after
-- `tries` failures. The table has one row.
CREATE TABLE seawall_teller (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    owner   TEXT,
    until   INTEGER NOT NULL,
    tries   INTEGER NOT NULL
);
INSERT INTO seawall_teller (one, owner, until, tries) VALUES (1, NULL, 0, 0);

-- On which terms plain SQL may act on an operation that a process declares, as JSON. Only PostgreSQL has functions that
-- read them.
ALTER TABLE seawall_declared ADD COLUMN terms TEXT;
