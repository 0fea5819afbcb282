-- What a long outage with many actions needs. Programs of the version before can still work with these tables.

-- While a provider is down, the failing rows are taken up one by one, those of each operation, goal and effect apart. Without
-- this index, each time would read the failing rows of all others that are due before. Rows that do not fail are not in it.
CREATE INDEX seawall_action_failing ON seawall_action (dependency, operation, goal, effect, due_at)
    WHERE failing_since IS NOT NULL AND due_at IS NOT NULL;
