"""
Checks the health of a container's own server: `healthcheck.py [PATH [PORT]]`. Exit code 0 or 1.

It runs every few seconds in every container, so it imports next to nothing.
"""

from __future__ import annotations

import http.client
import os
import sys

_PATIENCE_SECONDS = 4


def main(path: str = "/health", port: str = "") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", int(port or os.environ["PORT"]), timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        print(answer.status, answer.read(1000).decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        print(type(error).__name__)
        return 1
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
