# uvicorn with an ASGI application. Arguments: the port, the file to serve, and uvicorn's HTTP parser (h11 or httptools).
import gzip
import hashlib
import sys

import uvicorn

BODY = b"".join(b"line %05d of the body\n" % n for n in range(1000))[:20000]
PACKED = gzip.compress(BODY, mtime=0)
TAG = b'"one"'
PIECE = 256 * 1024
port, large, parser = int(sys.argv[1]), sys.argv[2], sys.argv[3]
callers = set()


async def pieces(receive):
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def whole(send, status, fields, body=b""):
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def plain(send, body, fields=()):
    length = (b"content-length", b"%d" % len(body))
    await whole(send, 200, [(b"content-type", b"text/plain"), length, *fields], body)


async def chunked(send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for at in range(0, len(BODY), 2000):
        await send({"type": "http.response.body", "body": BODY[at : at + 2000], "more_body": True})
    await send({"type": "http.response.body"})


async def summed(receive, send):
    total, digest = 0, hashlib.sha256()
    async for piece in pieces(receive):
        total += len(piece)
        digest.update(piece)
    await plain(send, b"%d %s\n" % (total, digest.hexdigest().encode()))


async def refused(receive, send):
    # The answer is whole with its first part. Its end is told after the request's, since uvicorn closes otherwise.
    text = b"too much\n"
    fields = [(b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 413, "headers": fields})
    await send({"type": "http.response.body", "body": text, "more_body": True})
    async for _ in pieces(receive):
        pass
    await send({"type": "http.response.body"})


async def file(send):
    with open(large, "rb") as source:
        length = source.seek(0, 2)
        source.seek(0)
        fields = [(b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        while piece := source.read(PIECE):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    callers.add(scope["client"])
    path, fields = scope["path"], dict(scope["headers"])
    if path == "/length":
        await plain(send, BODY)
    elif path == "/chunked":
        await chunked(send)
    elif path == "/gzip":
        await plain(send, PACKED, [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")])
    elif path == "/none":
        await whole(send, 204, [])
    elif path == "/tagged" and fields.get(b"if-none-match") == TAG:
        await whole(send, 304, [(b"etag", TAG)])
    elif path == "/tagged":
        await plain(send, BODY, [(b"etag", TAG)])
    elif path == "/long":
        await plain(send, BODY, [(b"x-long-%d" % n, b"%c" % (97 + n % 26) * 500) for n in range(60)])
    elif path == "/heads":
        await plain(send, b"\n".join(fields.get(b"x-long-%d" % n, b"") for n in range(60)))
    elif path == "/sum":
        await summed(receive, send)
    elif path == "/refuse":
        await refused(receive, send)
    elif path == "/large":
        await file(send)
    elif path == "/connections":
        await plain(send, b"%d\n" % len(callers))
    else:
        await whole(send, 404, [(b"content-length", b"0")])


uvicorn.run(
    application,
    host="127.0.0.1",
    port=port,
    http=parser,
    loop="asyncio",
    access_log=False,
    h11_max_incomplete_event_size=64 * 1024,
)
