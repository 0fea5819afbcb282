# Python's http.server. Arguments: the port, the file to serve, and the version that it speaks, HTTP/1.0 or HTTP/1.1.
# In HTTP/1.0 there are no chunks: /chunked ends with the connection.
import gzip
import hashlib
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = b"".join(b"line %05d of the body\n" % n for n in range(1000))[:20000]
PACKED = gzip.compress(BODY, mtime=0)
TAG = '"one"'
PIECE = 256 * 1024
port, large, version = int(sys.argv[1]), sys.argv[2], sys.argv[3]
connections = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = version

    def setup(self):
        global connections
        connections += 1
        super().setup()

    def log_message(self, *_):
        pass

    def head(self, status, fields):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()

    def plain(self, body, fields=(), status=200):
        self.head(status, [("content-type", "text/plain"), ("content-length", str(len(body))), *fields])
        if self.command != "HEAD":
            self.wfile.write(body)

    def pieces(self):
        left = int(self.headers.get("content-length", 0))
        while left > 0 and (piece := self.rfile.read(min(left, PIECE))):
            left -= len(piece)
            yield piece

    def chunked(self):
        framed = version == "HTTP/1.1"
        self.head(200, [("transfer-encoding", "chunked")] if framed else [("content-type", "text/plain")])
        if self.command == "HEAD":
            return
        for at in range(0, len(BODY), 2000):
            piece = BODY[at : at + 2000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if framed else piece)
        if framed:
            self.wfile.write(b"0\r\n\r\n")

    def do_GET(self):
        if self.path == "/length":
            self.plain(BODY)
        elif self.path == "/chunked":
            self.chunked()
        elif self.path == "/gzip":
            self.plain(PACKED, [("content-encoding", "gzip"), ("vary", "accept-encoding")])
        elif self.path == "/none":
            self.head(204, [])
        elif self.path == "/tagged" and self.headers.get("if-none-match") == TAG:
            self.head(304, [("etag", TAG)])
        elif self.path == "/tagged":
            self.plain(BODY, [("etag", TAG)])
        elif self.path == "/long":
            self.plain(BODY, [(f"x-long-{n}", chr(97 + n % 26) * 500) for n in range(60)])
        elif self.path == "/heads":
            self.plain("\n".join(self.headers.get(f"x-long-{n}", "") for n in range(60)).encode())
        elif self.path == "/large":
            with open(large, "rb") as source:
                length = source.seek(0, 2)
                source.seek(0)
                self.head(200, [("content-length", str(length))])
                while piece := source.read(PIECE):
                    self.wfile.write(piece)
        elif self.path == "/connections":
            self.plain(b"%d\n" % connections)
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def do_POST(self):
        if self.path == "/refuse":
            self.plain(b"too much\n", status=413)
            for _ in self.pieces():
                pass
            return
        total, digest = 0, hashlib.sha256()
        for piece in self.pieces():
            total += len(piece)
            digest.update(piece)
        self.plain(b"%d %s\n" % (total, digest.hexdigest().encode()))


ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
