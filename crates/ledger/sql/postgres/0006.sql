-- What one more version of the program needs. Programs of the version before can still work with these tables.

-- Until when a request of the action, or a cancel, may have been sent, and when the provider forgets the key of the
-- cancels. If the configuration declares a longer quiet time while an action is open, the quiet time is counted anew from
-- there. If it declares a longer life of the keys, the time that was noted still counts.
ALTER TABLE seawall.action
    ADD COLUMN send_by            timestamptz,
    ADD COLUMN cancel_send_by     timestamptz,
    ADD COLUMN cancel_key_ends_at timestamptz;
