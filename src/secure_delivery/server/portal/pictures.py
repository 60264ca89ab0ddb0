"""Small pictures of files, for lists and pages of the portal.

Knows: which types a browser of the portal is given, how long it may keep them. Must not know: how a file is drawn.

What strangers uploaded is never served here as it is: every picture was drawn anew in a confined process, and is sent only if
it is one of three types of pictures.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache

from starlette.requests import Request
from starlette.responses import Response

from ...engine.file_pictures import side_for
from ...engine.records import FileLink
from ...engine.renditions import Rendition
from ...gate.errors import Busy, NotFound, SecureDeliveryError
from ...gate.model import Application
from .frame import Ask, Raw, Room

SAFE_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
}
_LEAST, _USUAL, _MOST = 16, 160, 2048  # pixels
_YEAR, _MOMENT = 31_536_000, 60  # seconds


def own_file(ask: Ask, application: Application, handle: str, *, held: bool = False) -> FileLink:
    """A file of an application; with `held` also one that scanners have to judge. Raises `NotFound`, also for one of another
    application, and `Held`."""
    link = ask.engine.files.find(handle, held=held)
    if link.application != application.api_key:
        raise NotFound("the file belongs to another application")
    return link


def picture_type(head: bytes) -> str | None:
    """What a picture is by its first bytes, of the types that are shown here."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return None


async def _picture(request: Request, ask: Ask) -> Response:
    """The picture of a file. Whatever goes wrong with the file, something is shown."""
    side = side_for(ask.query.whole("w", least=_LEAST, most=_MOST, default=_USUAL) or _USUAL)
    asked_version = ask.query.text("v", longest=40)
    application = await ask.context.run(ask.application)
    link = await ask.context.run(lambda: own_file(ask, application, ask.path["handle"], held=True))
    if link.held is not None:
        return _icon(lasting=False)
    lasting = asked_version == str(link.version)
    try:
        found = await ask.context.run(ask.engine.pictures.find, application, link, side)
        if found is None:
            found = await ask.context.draw(ask.engine.pictures.get, application, link, side)
        body = await ask.context.run(ask.engine.renditions.read, found)
    except Busy:
        return _icon(lasting=False)
    except SecureDeliveryError as fault:
        return _icon(lasting=lasting and fault.status < 500)
    kind = picture_type(body[:16])
    if kind is None:
        return _icon(lasting=False)
    return _sent(request, found, body, kind, lasting=lasting)


def _sent(request: Request, found: Rendition, body: bytes, kind: str, *, lasting: bool) -> Response:
    tag = f'"{found.etag}"'
    headers = {"etag": tag, "cache-control": f"private, max-age={_YEAR if lasting else _MOMENT}", **SAFE_HEADERS}
    if tag in request.headers.get("if-none-match", ""):
        return Response(None, 304, headers)
    return Response(body, 200, headers | {"content-type": kind})


def _icon(*, lasting: bool) -> Response:
    age = f"private, max-age={_MOMENT}" if lasting else "no-store"
    return Response(sheet(), 200, {"content-type": "image/png", "cache-control": age, **SAFE_HEADERS})


@cache
def sheet() -> bytes:
    """A sheet of paper with a folded corner, as a PNG: what stands for a file when nothing else can be drawn."""
    width, height, fold = 48, 60, 16
    clear, edge, paper = b"\0\0\0\0", b"\x76\x82\x8d\xff", b"\xf2\xf5\xf7\xff"
    rows = bytearray()
    for y in range(height):
        rows += b"\0"
        for x in range(width):
            cut = x - y - (width - 1 - fold)  # how far beyond the folded corner
            border = x in (0, width - 1) or y in (0, height - 1) or cut == 0
            flap = (x == width - 1 - fold and y <= fold) or (y == fold and x >= width - 1 - fold)
            rows += clear if cut > 0 else edge if border or flap else paper

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    return start + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")


ROOM = Room(
    name="pictures",
    raws=(
        Raw(
            path="/applications/{key}/files/{handle}/picture",
            method="GET",
            answer=_picture,
            says="A small picture of a file: of its first page, frame or cover, or an icon. `w` is its side in pixels.",
            command="preview",
        ),
    ),
)
