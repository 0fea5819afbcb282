"""A program in another language, with a driver and transactions of its own: what it can rely on.

Called with the URL of a database in which a worker is at work. Ends with an error where something is not so.
"""

import sys
import time
import uuid

import psycopg
from psycopg.types.json import Json, Jsonb

conn = psycopg.connect(sys.argv[1], autocommit=True)
RECORD = "SELECT seawall.record('pay', 'charge', %s, %s)"
SETTLE, CANCEL = "SELECT seawall.settle(%s)", "SELECT seawall.cancel(%s)"


def one(statement, *values):
    return conn.execute(statement, values).fetchone()[0]


def check(found, wanted):
    assert found == wanted, f"{found!r} instead of {wanted!r}"


def refused(word, state, statement, *values):
    """It raises, so that the transaction around it, with all that it wrote before, is rolled back."""
    try:
        with conn.transaction():
            conn.execute("INSERT INTO orders VALUES ('refused', 'new')")
            conn.execute(statement, values)
    except psycopg.Error as error:
        check((error.diag.message_primary, error.sqlstate), (word, state))
        assert error.diag.message_detail and error.diag.message_hint, "it says why, and what to do"
    else:
        raise AssertionError(f"{statement} was not refused")
    check(one("SELECT count(*) FROM orders WHERE id = 'refused'"), 0)


def until(action, column, value):
    end = time.monotonic() + 30
    while one(f"SELECT {column} FROM seawall.action WHERE id = %s", action) != value:
        assert time.monotonic() < end, f"{column} does not become {value}"
        time.sleep(0.02)


# Rolled back, by itself or by the program's own failure: nothing was recorded, so nothing will be sent.
with conn.transaction(force_rollback=True):
    conn.execute("INSERT INTO orders VALUES ('k', 'new')")
    one(RECORD, "k", Jsonb({"amount": 5}))
try:
    with conn.transaction():
        one(RECORD, "k", Jsonb({"amount": 5}))
        raise KeyError("the program's own")
except KeyError:
    pass
check(one("SELECT count(*) FROM seawall.action"), 0)
check(one("SELECT count(*) FROM orders"), 0)

# Committed: the action is there with the order. The same key and request give it again, however the driver sends it.
with conn.transaction():
    conn.execute("INSERT INTO orders VALUES ('k', 'confirming')")
    charge = one(RECORD, "k", Jsonb({"amount": 5}))
assert isinstance(charge, uuid.UUID)
for request in [Jsonb({"amount": 5}), Json({"amount": 5}), '{"amount": 5}']:
    check(one(RECORD, "k", request), charge)
check(conn.execute(RECORD, ("k", '{"amount": 5}'), prepare=True).fetchone()[0], charge)
check(one("SELECT seawall.record(dependency => 'pay', operation => 'charge', key => 'k', request => %s)",
          Jsonb({"amount": 5})), charge)
refused("key-conflict", "SW001", RECORD, "k", Jsonb({"amount": 6}))
refused("bad-key", "SW007", RECORD, "k" * 256, Jsonb({}))
refused("unknown-operation", "SW006", "SELECT seawall.record('pay', 'charg', 'k', '{}')")

# Nobody works on this one: it can be taken back, and until then its outcome is not known.
waits = one("SELECT seawall.record('nobody', 'charge', 'waits', '{}')")
refused("not-known", "SW003", SETTLE, waits)
check(one(CANCEL, waits)["state"], "cancelled")
check(one("SELECT ended FROM seawall.action WHERE id = %s", waits), "cancelled")

# Taken in with the order, or not at all.
until(charge, "effect", "applied")
with conn.transaction(force_rollback=True):
    conn.execute(SETTLE, (charge,))
check(one("SELECT ended FROM seawall.action WHERE id = %s", charge), None)
with conn.transaction():
    conn.execute(SETTLE, (charge,))
    conn.execute("UPDATE orders SET state = 'paid' WHERE id = 'k'")
check(one("SELECT ended FROM seawall.action WHERE id = %s", charge), "done")
check(one(SETTLE, charge)["effect"], "applied")
outcome = {"effect": "applied", "state": "done", "goal": "perform", "settled": True, "end": "done", "why": None}
check(one("SELECT seawall.outcome(%s)", charge), outcome)

# Taken back with the order, or not at all.
with conn.transaction(force_rollback=True):
    conn.execute(CANCEL, (charge,))
check(one("SELECT goal FROM seawall.action WHERE id = %s", charge), "perform")
with conn.transaction():
    conn.execute(CANCEL, (charge,))
    conn.execute("UPDATE orders SET state = 'cancelled' WHERE id = 'k'")
until(charge, "ended", "cancelled")
conn.execute(CANCEL, (charge,))
refused("too-late", "SW002", SETTLE, charge)

# The provider says no to the second charge.
declined = one(RECORD, "declined", Jsonb({"amount": 402}))
until(declined, "ended", "failed")
refused("failed", "SW004", SETTLE, declined)

for statement in [SETTLE, CANCEL, "SELECT seawall.outcome(%s)"]:
    refused("not-found", "SW005", statement, uuid.UUID(int=7))
