"""The style sheet, scripts and pictures of the portal.

Knows: the closed list of files in `static/`, addresses that change with their content. Must not know: pages.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from ...gate.errors import NotFound

_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


class _Static(NamedTuple):
    body: bytes
    mimetype: str


#: Of the service's own pages: the upload widget, which the portal uses too.
_SHARED = ("upload.js", "upload.css")


def _load() -> dict[str, _Static]:
    found = {}
    shared = resources.files(__package__.rpartition(".")[0]) / "static"
    for each in (*(resources.files(__package__) / "static").iterdir(), *(shared / name for name in _SHARED)):
        suffix = each.name[each.name.rfind(".") :]
        if each.is_file() and suffix in _TYPES:
            found[each.name] = _Static(each.read_bytes(), _TYPES[suffix])
    return found


#: All that there is. A name from a request is only looked up here and never becomes a path.
STATICS = _load()
#: One version for all: a script imports another by `./NAME.js`, which has to be the address that pages name, or it runs twice.
_VERSION = hashlib.sha256(b"".join(name.encode() + each.body for name, each in sorted(STATICS.items()))).hexdigest()[:16]


def address_of(name: str) -> str:
    """The address of a file, another one with each release, so that browsers may keep it for ever. Raises `KeyError`."""
    STATICS[name]
    return f"/static/{_VERSION}/{name}"


async def answer(request: Request) -> Response:
    """`GET /static/{version}/{name}`. Raises `NotFound`."""
    found = STATICS.get(request.path_params["name"])
    if found is None or request.path_params["version"] != _VERSION:
        raise NotFound("no such static file")
    headers = {
        "content-type": found.mimetype,
        "cache-control": "public, max-age=31536000, immutable",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
        "content-security-policy": "sandbox; default-src 'none'",
    }
    return Response(found.body, 200, headers)
