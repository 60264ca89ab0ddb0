"""The pages and scripts that the server itself hands out: the upload page, and what it or another site's page loads.

Knows: the closed list of files, and the headers with which pages of ours are safe. Must not know: uploads, policies.
Pages are the same bytes for everybody; what differs is read by their scripts from the page's own address.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from ..gate.errors import NotFound
from .http import Context
from .ranges import answer

#: All that `/static/` has. A name from a request is only looked up here and never becomes a path.
_TYPES = {
    "upload.js": "text/javascript; charset=utf-8",
    "upload.css": "text/css; charset=utf-8",
    "signed-urls.js": "text/javascript; charset=utf-8",
}
_PAGE = "text/html; charset=utf-8"

_COMMON = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # the page's address carries a policy (pitfall c6)
}
#: Scripts and styles may be loaded by pages of other sites; they are public. Short, because their names have no version.
_STATIC = _COMMON | {
    "cache-control": "public, max-age=300",
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
    "content-security-policy": "sandbox; default-src 'none'",
}


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the package, read when the server starts."""

    body: bytes
    mimetype: str
    etag: str


class Pages:
    """`/upload/{key}` and `/static/{name}`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._files = {name: _read(name, mimetype) for name, mimetype in _TYPES.items()}
        self._upload = _read("upload.html", _PAGE)
        self._page_headers = _COMMON | {
            "cache-control": "no-cache",
            "content-security-policy": _page_policy(context.engine.settings.public_url),
            "cross-origin-opener-policy": "same-origin",
        }

    async def upload_page(self, request: Request) -> Response:
        """The upload page of an application. It holds no secret: policy and signature stay in its own address.

        Raises `Denied` for a key that nobody has.
        """
        await self._context.application(request.path_params["key"])
        return _send(request, self._upload, self._page_headers)

    async def static(self, request: Request) -> Response:
        """A script or style of the closed list. Raises `NotFound` for any other name."""
        file = self._files.get(request.path_params["name"])
        if file is None:
            raise NotFound("no such static file")
        return _send(request, file, _STATIC)


def _page_policy(public_url: str) -> str:
    """The Content-Security-Policy of a page of ours: our own scripts and styles, none within the page.

    Uploads go on at addresses under the public URL, which a page that was opened by another name has to reach too.
    """
    public = urlsplit(public_url)
    upload_to = f" {public.scheme}://{public.netloc}" if public.netloc else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        f"connect-src 'self'{upload_to}; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _read(name: str, mimetype: str) -> _File:
    body = (resources.files(__package__) / "static" / name).read_bytes()
    return _File(body, mimetype, hashlib.sha256(body).hexdigest()[:32])


def _send(request: Request, file: _File, headers: dict[str, str]) -> Response:
    headers = headers | {"etag": f'"{file.etag}"'}
    plan = answer(request.headers, etag=file.etag, modified=0, size=len(file.body), ranges=False)
    if plan.status in (304, 412):
        return Response(None, plan.status, headers)
    return Response(file.body, 200, headers | {"content-type": file.mimetype})
