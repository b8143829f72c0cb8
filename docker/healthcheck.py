"""Exits with 0 if the service in this container is ready, with 1 if not: for images without curl.

With the argument `alive`, any answer will do, also one of too many connections: nothing is killed for being busy.
"""

import os
import sys
from http.client import HTTPConnection

connection = HTTPConnection("localhost", int(os.environ.get("BLIP_SERVE_SERVER__PORT", "8000")), timeout=2)
try:
    connection.request("GET", "/readyz")
    sys.exit(connection.getresponse().status != 200 and "alive" not in sys.argv)
except OSError:
    sys.exit(1)
