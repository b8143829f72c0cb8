"""Exits with 0 if the service in this container is ready, with 1 if not: for images without curl."""

import os
import sys
from http.client import HTTPConnection

connection = HTTPConnection("127.0.0.1", int(os.environ.get("BLIP_SERVE_SERVER__PORT", "8000")), timeout=2)
try:
    connection.request("GET", "/readyz")
    sys.exit(connection.getresponse().status != 200)
except OSError:
    sys.exit(1)
