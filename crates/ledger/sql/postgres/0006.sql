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
