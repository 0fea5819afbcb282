# httpbin for gunicorn, with paths of our own under /own for what httpbin bounds or answers differently each time.
import gzip
import hashlib

import httpbin

BODY = b"".join(b"line %05d of the body\n" % n for n in range(1000))[:20000]
PACKED = gzip.compress(BODY, mtime=0)
PIECE = 256 * 1024


def pieces(source):
    while piece := source.read(PIECE):
        yield piece


def summed(source):
    total, digest = 0, hashlib.sha256()
    for piece in pieces(source):
        total += len(piece)
        digest.update(piece)
    return b"%d %s\n" % (total, digest.hexdigest().encode())


def refused(source):
    # gunicorn sends the first part before it asks for the next.
    yield b"too much\n"
    for _ in pieces(source):
        pass


def build(large):
    callers = set()

    def application(environ, start_response):
        callers.add((environ["REMOTE_ADDR"], environ.get("REMOTE_PORT")))
        path = environ["PATH_INFO"]

        def plain(body, fields=()):
            start_response("200 OK", [("content-length", str(len(body))), *fields])
            return [body]

        if path == "/own/gzip":
            return plain(PACKED, [("content-encoding", "gzip"), ("vary", "accept-encoding")])
        if path == "/own/chunked":
            start_response("200 OK", [("content-type", "text/plain")])
            return (BODY[at : at + 2000] for at in range(0, len(BODY), 2000))
        if path == "/own/none":
            start_response("204 No Content", [])
            return []
        if path == "/own/long":
            return plain(BODY, [(f"x-long-{n}", chr(97 + n % 26) * 500) for n in range(60)])
        if path == "/own/heads":
            return plain("\n".join(environ.get(f"HTTP_X_LONG_{n}", "") for n in range(60)).encode())
        if path == "/own/sum":
            return plain(summed(environ["wsgi.input"]))
        if path == "/own/refuse":
            start_response("413 Content Too Large", [("content-length", "9")])
            return refused(environ["wsgi.input"])
        if path == "/own/large":
            source = open(large, "rb")
            length = source.seek(0, 2)
            source.seek(0)
            start_response("200 OK", [("content-length", str(length))])
            return environ["wsgi.file_wrapper"](source, PIECE)
        if path == "/own/connections":
            return plain(b"%d\n" % len(callers))
        return httpbin.app(environ, start_response)

    return application
