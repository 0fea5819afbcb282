# Named so that it does not hide the package localstripe.
# localstripe's own command line binds every interface and keeps its state in a shared temporary file.
# This starts the same application on loopback, with its state in memory.
#
# The real API remembers an idempotency key for a day, and repeats its saved answer. localstripe does not, so `keys` adds it.
# The words `lost` and `held` in a key make the first answer under it go wrong, after the work is done.
import asyncio
import sys

from aiohttp import web
from localstripe import resources
from localstripe.server import app

saved = {}


def refuse(status, kind, code, message):
    error = {"type": kind, "code": code, "message": message}
    return web.json_response({"error": error}, status=status)


@web.middleware
async def keys(request, handler):
    key = request.headers.get("idempotency-key")
    if request.method != "POST" or key is None:
        return await handler(request)
    asked = (request.path, await request.read())
    if key in saved:
        first, answer = saved[key]
        if first != asked:
            return refuse(400, "idempotency_error", None, "the key was used with another request")
        if answer is None:
            return refuse(409, "invalid_request_error", "idempotency_key_in_use", "the first request is under way")
        return web.Response(
            status=answer.status, body=answer.body, content_type="application/json",
            headers={"idempotent-replayed": "true"},
        )
    saved[key] = (asked, None)
    answer = await handler(request)
    saved[key] = (asked, answer)
    if "lost" in key:
        request.transport.close()
    if "held" in key:
        # The caller is gone when its transport is. Ten seconds are longer than any caller here waits.
        for _ in range(500):
            if request.transport is None or request.transport.is_closing():
                break
            await asyncio.sleep(0.02)
    return answer


resources.Store.dump_to_disk = lambda self: None
app.middlewares.insert(0, keys)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
