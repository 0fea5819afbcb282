"""What one step of a DBOS workflow costs: intent, one call, outcome. Prints as the other loads do."""

import http.client
import json
import os
import sys
import threading
import time

from dbos import DBOS, SetWorkflowID

options = dict(arg[2:].split("=", 1) for arg in sys.argv[1:])
host, port = options["upstream"].rsplit(":", 1)
concurrency = int(options["concurrency"])
warm_up = float(options["warm-up"])
seconds = float(options["seconds"])
request = b'{"amount":1200,"currency":"EUR","order":"0123456789"}'
kept = threading.local()

url = options["url"].replace("postgres://", "postgresql+psycopg://", 1)
DBOS(config={
    "name": "load",
    "system_database_url": url,
    "run_admin_server": False,
    "log_level": "ERROR",
    "sys_db_pool_size": 20,
})


@DBOS.step()
def charge(key: str) -> str:
    line = getattr(kept, "line", None)
    if line is None:
        line = kept.line = http.client.HTTPConnection(host, int(port))
    line.request("POST", "/charges", body=request, headers={"idempotency-key": key})
    line.getresponse().read()
    return key


@DBOS.workflow()
def order(key: str) -> str:
    return charge(key)


DBOS.launch()
begin = time.monotonic() + warm_up
end = begin + seconds
took, errors, lock = [], [0], threading.Lock()


def work(task: int) -> None:
    number, mine = 0, []
    while (start := time.monotonic()) < end:
        key = f"order-{os.getpid()}-{task}-{number}"
        number += 1
        try:
            with SetWorkflowID(key):
                order(key)
        except Exception:
            with lock:
                errors[0] += 1
            continue
        now = time.monotonic()
        if begin <= now < end:
            mine.append(int((now - start) * 1e6))
    with lock:
        took.extend(mine)


threads = [threading.Thread(target=work, args=(task,)) for task in range(concurrency)]
for thread in threads:
    thread.start()
time.sleep(max(0.0, begin - time.monotonic()))
print("begin", flush=True)
for thread in threads:
    thread.join()
took.sort()
at = lambda share: took[min(int(len(took) * share), len(took) - 1)] if took else 0
print(json.dumps({
    "actions": len(took), "seconds": seconds, "p50_us": at(0.5), "p99_us": at(0.99), "errors": errors[0],
}), flush=True)
os._exit(0)
