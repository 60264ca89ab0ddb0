"""Imported before a driver's SDK: every host name of the test's domain is loopback, port 443 of it is the front's port, and no
other name exists. The SDK is not touched, and its certificates are checked as ever (REQUESTS_CA_BUNDLE names the authority).
"""

from __future__ import annotations

import os
import socket
from typing import Any

DOMAIN = os.environ["SDK_DOMAIN"]
PORT = int(os.environ["SDK_PORT"])
asked: set[str] = set()
_resolve = socket.getaddrinfo


def _resolved(host: Any, port: Any, *more: Any, **named: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else str(host)
    asked.add(name)
    if not name.endswith(f".{DOMAIN}"):
        raise socket.gaierror(socket.EAI_NONAME, f"no such name: {name}")
    return _resolve("127.0.0.1", PORT if int(port) == 443 else port, *more, **named)


socket.getaddrinfo = _resolved
