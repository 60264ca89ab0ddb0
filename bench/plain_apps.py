"""Apps that do the least: a loop that writes a body to a file and hashes it, a file sent by Starlette, constant bytes.

Named on the command line of the servers that `uploads.py` and `sending.py` start.

Knows: ASGI, a folder. Must not know: secure_delivery, who measures.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

FOLDER = Path(os.environ.get("BENCH_FOLDER", "."))
_BYTES = bytes(20_000)


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def constant(scope: Any, receive: Any, send: Any) -> None:
    """Always the same 20 KB: as fast as an answer of this size can be."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", str(len(_BYTES)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _BYTES})


async def ingest(scope: Any, receive: Any, send: Any) -> None:
    """Write and hash the body, whatever it is; with the query `durable` it is on the disk before the answer."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    digest, name = hashlib.sha256(), secrets.token_hex(16)
    with (FOLDER / name).open("xb", buffering=0) as file:
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            piece = memoryview(message.get("body", b""))
            more = message.get("more_body", False)
            digest.update(piece)
            while piece:
                piece = piece[file.write(piece) :]
        if scope["query_string"] == b"durable":
            os.fsync(file.fileno())
    body = json.dumps({"name": name, "sha256": digest.hexdigest()}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _file(request: Request) -> Response:
    return FileResponse(FOLDER / request.path_params["name"], media_type="application/octet-stream")


files = Starlette(routes=[Route("/{name}", _file)])
