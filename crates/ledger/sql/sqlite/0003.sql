-- What real partners do: keys as they are sent, their lifetime, windows, refusals, amounts, and the trouble with a
-- handler in columns of its own. Programs of earlier versions cannot work with these tables and have to be stopped
-- before this step.

-- The earliest version of the program that can work with the tables as they are after the step.
ALTER TABLE seawall_schema ADD COLUMN works_from INTEGER NOT NULL DEFAULT 0;

ALTER TABLE seawall_action RENAME COLUMN key_first_at TO first_sent_at;
-- A program works only on the rows whose `needs` it knows.
ALTER TABLE seawall_action ADD COLUMN needs INTEGER NOT NULL DEFAULT 1;
-- When the action was recorded, or when its key was last used anew.
ALTER TABLE seawall_action ADD COLUMN begun_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE seawall_action ADD COLUMN key_ends_at INTEGER;
ALTER TABLE seawall_action ADD COLUMN seen INTEGER NOT NULL DEFAULT 0;
ALTER TABLE seawall_action ADD COLUMN leased_until INTEGER;
ALTER TABLE seawall_action ADD COLUMN cancel_asked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE seawall_action ADD COLUMN cancel_first_at INTEGER;
ALTER TABLE seawall_action ADD COLUMN cancel_key TEXT;
ALTER TABLE seawall_action ADD COLUMN handler_tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE seawall_action ADD COLUMN handler_error TEXT;
ALTER TABLE seawall_action ADD COLUMN disputed_at INTEGER;
-- The key under which the action is sent, if it is not the caller's own. `salt` says how it was made: -1 means that the
-- first release made the keys of the action.
ALTER TABLE seawall_action ADD COLUMN sent_key TEXT;
ALTER TABLE seawall_action ADD COLUMN salt INTEGER;
ALTER TABLE seawall_action ADD COLUMN amount TEXT;
ALTER TABLE seawall_action ADD COLUMN currency TEXT;

UPDATE seawall_action SET
    begun_at = created_at,
    salt = CASE WHEN logged > 0 THEN -1 END,
    leased_until = CASE WHEN owner IS NOT NULL THEN lease_until END,
    in_flight = CASE WHEN owner IS NOT NULL THEN in_flight END,
    next_at = CASE WHEN owner IS NULL THEN max(next_at, lease_until) ELSE next_at END,
    first_sent_at = CASE WHEN maybe_sent > 0 THEN coalesce(first_sent_at, created_at) END,
    quiet_until = CASE WHEN maybe_sent > 0 THEN coalesce(quiet_until, created_at) END,
    cancel_first_at = CASE WHEN cancel_open > 0 THEN coalesce(first_sent_at, created_at) END,
    cancel_quiet_until = CASE WHEN cancel_open > 0 THEN coalesce(cancel_quiet_until, created_at) END,
    cancel_gen_early = cancel_gen_early AND cancel_open > 0;

-- The trouble with a handler was the beginning of `why`, and `asks` counted its runs.
UPDATE seawall_action SET
    handler_tries = max(asks, 1),
    handler_error = substr(why, instr(why, '): ') + 3),
    why = NULL,
    asks = 0
WHERE ended IS NULL AND substr(why, 1, 34) = 'the application''s handler failed (';

ALTER TABLE seawall_action DROP COLUMN settled;
ALTER TABLE seawall_action DROP COLUMN closed_by_absence;
ALTER TABLE seawall_action DROP COLUMN lease_until;

CREATE UNIQUE INDEX seawall_action_sent_key ON seawall_action (dependency, sent_key) WHERE sent_key IS NOT NULL;
CREATE INDEX seawall_action_disputed ON seawall_action (dependency, id) WHERE disputed_at IS NOT NULL;

-- The body of a refusal.
ALTER TABLE seawall_attempt ADD COLUMN answer BLOB;
