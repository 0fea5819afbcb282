-- What one more version of the program needs. Programs of the version before can still work with these tables.

-- Until when a request of the action, or a cancel, may have been sent, and when the provider forgets the key of the
-- cancels. If the configuration declares a longer quiet time while an action is open, the quiet time is counted anew from
-- there. If it declares a longer life of the keys, the time that was noted still counts.
ALTER TABLE seawall_action ADD COLUMN send_by INTEGER;
ALTER TABLE seawall_action ADD COLUMN cancel_send_by INTEGER;
ALTER TABLE seawall_action ADD COLUMN cancel_key_ends_at INTEGER;

-- On which terms plain SQL may act on an operation that a process declares, as JSON. Only PostgreSQL has functions that
-- read them.
ALTER TABLE seawall_declared ADD COLUMN terms TEXT;
