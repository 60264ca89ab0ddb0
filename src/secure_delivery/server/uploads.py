"""Taking a file in over HTTP: raw, Base64 or multipart, straight from the socket into a draft.

Knows: bodies and uploads. Must not know: which endpoint asked, records, storages.

The size is judged while it streams and once more at the end, on the real count. What is for this machine's disk is written
piece by piece, as it comes: a thread would cost more than the writing. What is for a bucket somewhere may have to wait for the
network, and everybody else would wait with it: it is collected to a megabyte and written by a thread.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qsl

import anyio.to_thread
import python_multipart
from anyio.lowlevel import RunVar
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from ..engine.files import Target, Upload, clean_name
from ..engine.types import HEAD
from ..gate.errors import BadRequest, Reason, TooLarge
from ..gate.model import Decision
from .http import Denied, body_pieces

_MAX_PARTS = 100  # security promise 41
_MAX_PART_HEADERS = 16_384
_MAX_URL_FIELD = 8192  # bytes
_MAX_FORM = 65_536  # bytes of a form or a JSON text that may name a URL
_TOGETHER = 1 << 20  # bytes that a thread is given at once: more is memory for each upload, less is more turns
_WRITERS = 32  # threads that write for buckets: some that hang must not take those that everything else needs
_writers: RunVar[anyio.CapacityLimiter] = RunVar("secure_delivery_writers")  # of each event loop
Begin = Callable[[Target], Upload]


class Intake:
    """Streams one file of a request into an upload that `begin` makes as soon as name and type are known.

    `decision` bounds the real size. Use as a context manager: what was not published when it ends is discarded.
    """

    def __init__(self, request: Request, decision: Decision, begin: Begin, *, base64decode: bool) -> None:
        self._request = request
        self._decision = decision
        self._begin = begin
        self._decode = _Base64Stream() if base64decode else None
        self._waiting: list[bytes] = []  # pieces that a thread is to write
        self._held = 0  # bytes of these
        self.upload: Upload | None = None
        self.url: str | None = None  # where the file is, when the body names an address instead of holding it

    def __enter__(self) -> Intake:
        return self

    def __exit__(self, *_: object) -> None:
        if self.upload is not None:
            self.upload.__exit__()

    async def receive(self, filename: str | None, mimetype: str | None) -> Upload | None:
        """Read the whole body. None when it names a `url` to fetch instead, which is in `url` then.

        Raises `BadRequest`, `Denied` for a size the policy forbids, and what a storage raises.
        """
        try:
            return await self._receive(filename, mimetype)
        except Exception:
            if self.upload is not None and self.upload.room.placing:  # a bucket has to be told, which may take as long
                await anyio.to_thread.run_sync(self.upload.discard, limiter=_limiter())
            raise

    async def _receive(self, filename: str | None, mimetype: str | None) -> Upload | None:
        kind, options = parse_options_header(self._request.headers.get("content-type"))
        if kind == b"multipart/form-data":
            await self._receive_multipart(options.get(b"boundary"), filename, mimetype)
        elif kind == b"application/x-www-form-urlencoded":
            self.url = await _url_of_form(self._request)
            return None
        elif kind == b"application/json" and (pieces := await _small_body(self._request)) is not None:
            self.url = _url_of_json(b"".join(pieces))
            if self.url is not None:
                return None
            self.upload = self._begin(Target(filename=clean_name(filename), mimetype=mimetype or "application/json"))
            for piece in pieces:
                self._write(piece)
        else:
            declared = mimetype or kind.decode("latin-1") or None
            self.upload = self._begin(Target(filename=clean_name(filename), mimetype=declared))
            async for piece in self._pieces():
                self._write(piece)
        if self.upload is None and self.url is not None:
            return None
        if self.upload is None:
            raise BadRequest("no file part", public="The body holds no file.")
        if self._decode is not None:
            self._put(self._decode.end())
        await self._write_out()
        reason = self._decision.admits_size(self.upload.size)
        if reason is not None:
            raise self._too(reason)
        return self.upload

    def _write(self, piece: bytes) -> None:
        self._put(piece if self._decode is None else self._decode.feed(piece))

    def _put(self, piece: bytes) -> None:
        if self.upload is None or not piece:
            return
        if self.upload.room.placing and self.upload.size >= HEAD:  # its type is known: nothing is read in vain
            self._waiting.append(piece)
            self._held += len(piece)
        else:
            self.upload.write(piece)
        if self._decision.admits_size(self.upload.size + self._held) is Reason.TOO_BIG:
            raise self._too(Reason.TOO_BIG)

    async def _pieces(self) -> AsyncIterator[bytes]:
        """The body, piece by piece; what has been collected of the file meanwhile is written in between."""
        async for piece in body_pieces(self._request):
            yield piece
            if self._held >= _TOGETHER:
                await self._write_out()

    async def _write_out(self) -> None:
        """Have a thread write what waits. Raises what `Upload.write` raises."""
        upload, pieces = self.upload, self._waiting
        if upload is None or not pieces:
            return
        self._waiting, self._held = [], 0

        def write() -> None:
            for piece in pieces:
                upload.write(piece)

        await anyio.to_thread.run_sync(write, limiter=_limiter())

    def _too(self, reason: Reason) -> Denied:
        return Denied(Decision(allowed=False, reason=reason, vary=self._decision.vary))

    # -- multipart

    async def _receive_multipart(self, boundary: bytes | None, filename: str | None, mimetype: str | None) -> None:
        if not boundary or len(boundary) > 70:
            raise BadRequest("no boundary", public="The multipart body names no boundary.")
        parts = _Parts(self, filename, mimetype)
        parser = python_multipart.MultipartParser(
            boundary,
            parts.callbacks(),
            max_header_count=_MAX_PART_HEADERS,  # the limit on their bytes, counted by us, is the one that speaks
            max_header_size=2 * _MAX_PART_HEADERS,
        )
        try:
            async for piece in self._pieces():
                parser.write(piece)
            parser.finalize()
        except FormParserError as error:
            raise BadRequest(f"malformed multipart body: {error}", public="The multipart body is malformed.") from None
        if not parts.complete:
            raise BadRequest("multipart body ends early", public="The multipart body ends too early.")

    def begin(self, target: Target) -> Upload:
        """The file begins, wherever it comes from. Only the first one is taken."""
        self.upload = self._begin(target)
        return self.upload

    def part_data(self, data: bytes) -> None:
        """Bytes of the file part."""
        self._write(data)

    def url_part(self, value: str) -> None:
        """A field called `url` instead of a file."""
        self.url = value


def _limiter() -> anyio.CapacityLimiter:
    """What bounds the threads that write, for all uploads of this event loop together."""
    try:
        return _writers.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(_WRITERS)
        _writers.set(limiter)
        return limiter


class _Parts:
    """Follows the parser's events: which part is the file, and its name."""

    def __init__(self, intake: Intake, filename: str | None, mimetype: str | None) -> None:
        self._intake = intake
        self._filename = filename
        self._mimetype = mimetype
        self._count = 0
        self._header_bytes = 0
        self._name = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._in_file = False
        self._taken = False
        self._in_url = False
        self._url = b""
        self.complete = False

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._count += 1
        if self._count > _MAX_PARTS:
            raise TooLarge("too many parts", public=f"A form has at most {_MAX_PARTS} parts.")
        self._headers, self._name, self._value, self._header_bytes = {}, b"", b"", 0

    def _spend(self, length: int) -> None:
        self._header_bytes += length
        if self._header_bytes > _MAX_PART_HEADERS:
            raise TooLarge("too long part headers", public="The headers of a form part are too long.")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._spend(end - start)
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._spend(end - start)
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        is_file = b"filename" in options or options.get(b"name") == b"fileUpload"
        self._in_file = is_file and not self._taken
        self._in_url = not is_file and options.get(b"name") == b"url"
        if self._in_file:
            self._taken = True
            shown = options.get(b"filename", b"").decode("utf-8", "replace")
            kind, _ = parse_options_header(self._headers.get(b"content-type"))
            mimetype = self._mimetype or kind.decode("latin-1") or None
            self._intake.begin(Target(filename=clean_name(self._filename or shown), mimetype=mimetype))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._intake.part_data(data[start:end])
        elif self._in_url:
            self._url += data[start:end]
            if len(self._url) > _MAX_URL_FIELD:
                raise TooLarge("too long a url", public="The URL in the form is too long.")

    def _part_end(self) -> None:
        if self._in_url:
            self._intake.url_part(self._url.decode("utf-8", "replace").strip())
        self._in_file = self._in_url = False

    def _end(self) -> None:
        self.complete = True


async def _small_body(request: Request) -> list[bytes] | None:
    """The pieces of a body that says it is small, None for any other: that one is a file."""
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 7 and int(length) <= _MAX_FORM):
        return None
    return [piece async for piece in body_pieces(request)]


async def _url_of_form(request: Request) -> str:
    """The `url` of a form body. Raises `BadRequest`, `TooLarge`."""
    body = b""
    async for piece in body_pieces(request):
        body += piece
        if len(body) > _MAX_FORM:
            raise TooLarge("too long a form", public="The form is too long: a file is sent as multipart/form-data or raw.")
    try:
        given = [value for name, value in parse_qsl(body.decode("ascii"), max_num_fields=_MAX_PARTS) if name == "url"]
    except ValueError:
        raise BadRequest("malformed form", public="The form is malformed.") from None
    if len(given) != 1 or not given[0].strip():
        raise BadRequest("no url", public="The form has no field url.")
    return given[0].strip()


def _url_of_json(body: bytes) -> str | None:
    """The URL of `{"url": "https://…"}`; None for any other JSON, which is a file like others."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    url = document.get("url") if isinstance(document, dict) and document.keys() == {"url"} else None
    return url.strip() if isinstance(url, str) and url.strip().lower().startswith(("http://", "https://")) else None


class _Base64Stream:
    """Decodes Base64 (either alphabet, with or without line breaks) piece by piece."""

    _SPACE = re.compile(rb"[\r\n\t ]+")

    def __init__(self) -> None:
        self._rest = b""
        self._ended = False

    def feed(self, data: bytes) -> bytes:
        """The bytes that are complete so far. Raises `BadRequest` for anything that is not Base64."""
        text = self._rest + self._SPACE.sub(b"", data).translate(bytes.maketrans(b"-_", b"+/"))
        whole = len(text) - len(text) % 4
        self._rest = text[whole:]
        return self._decoded(text[:whole])

    def end(self) -> bytes:
        """The last bytes; missing padding is made up for."""
        return self._decoded(self._rest + b"=" * (-len(self._rest) % 4))

    def _decoded(self, text: bytes) -> bytes:
        if not text:
            return b""
        if self._ended:
            raise BadRequest("Base64 goes on after its padding", public="The body is not Base64.")
        self._ended = text.endswith(b"=")
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error:
            raise BadRequest("not Base64", public="The body is not Base64.") from None
