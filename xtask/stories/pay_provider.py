# Named so that it does not hide the package localstripe.
# localstripe's own command line binds every interface and keeps its state in a shared temporary file.
# This starts the same application on loopback, with its state in memory.
import sys

from aiohttp import web
from localstripe import resources
from localstripe.server import app

resources.Store.dump_to_disk = lambda self: None
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
