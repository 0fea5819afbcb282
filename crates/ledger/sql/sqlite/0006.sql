-- What one more version of the program needs. Programs of the version before can still work with these tables.

-- On which terms plain SQL may act on an operation that a process declares, as JSON. Only PostgreSQL has functions that
-- read them.
ALTER TABLE seawall_declared ADD COLUMN terms TEXT;
