"""What can be previewed and described here, told beforehand: `GET /api/capabilities`.

Knows: HTTP, caching. Must not know: plugins, how capabilities are found out.

Anybody may ask, so nothing is said about the machine: no paths, versions, programs. The answer is that of the plugins that this
process has loaded, and stays the same as long as it lives.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..engine.capabilities import capabilities, of_file, published
from ..gate.errors import BadRequest
from .http import Context, cors_headers, parameters, single

_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")  # RFC 6838 section 4.2
_LONGEST_NAME = 255
_AGE = 300  # seconds; a plugin that is installed shows after a restart, and then soon


class CapabilitiesAPI:
    """The whole list, or with `?mimetype=` and `?filename=` the answer for one file."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._whole: bytes | None = None

    async def answer(self, request: Request) -> Response:
        """Raises `BadRequest` for a type that is none, or a name that is too long."""
        asked = parameters(request)
        mimetype, filename = asked.get("mimetype"), asked.get("filename")
        if mimetype is None and filename is None:
            if self._whole is None:
                self._whole = await self._context.run(self._read)
            return _cached(request, self._whole)
        if mimetype is not None:
            mimetype = mimetype.partition(";")[0].strip().lower()
            if not _TYPE.fullmatch(mimetype):
                raise BadRequest(public="mimetype: a media type such as image/png is wanted.")
        if filename is not None and not 0 < len(filename) <= _LONGEST_NAME:
            raise BadRequest(public=f"filename: a name of 1 to {_LONGEST_NAME} characters is wanted.")
        told = await self._context.run(of_file, self._context.engine.registry, mimetype, filename or "")
        return _cached(request, _json(told))

    def _read(self) -> bytes:
        return _json(published(capabilities(self._context.engine.registry)))


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _cached(request: Request, body: bytes) -> Response:
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"cache-control": f"public, max-age={_AGE}", "etag": tag, "x-content-type-options": "nosniff"}
    headers |= cors_headers(request, None)
    known = [part.strip().removeprefix("W/") for part in (single(request, "if-none-match") or "").split(",")]
    if tag in known or known == ["*"]:
        return Response(None, 304, headers)
    return Response(body, 200, headers, "application/json")
