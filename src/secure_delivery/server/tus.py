"""Resumable uploads by tus 1.0.0: creation, creation-with-upload, creation-defer-length, checksum, expiration, termination,
concatenation (https://tus.io/protocols/resumable-upload).

Knows: its headers and statuses. Must not know: where bytes lie, how a file is made of them.

Creating is judged like any upload; the address that it gives out holds the token which authorises everything after it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..engine.files import Target, clean_name
from ..engine.records import FileLink
from ..engine.streams import CHECKSUMS
from ..engine.uploads import UploadSession
from ..gate.errors import BadRequest, ChecksumMismatch, NotFound, SecureDeliveryError, TooLarge, Unsupported
from ..gate.model import Application
from . import bodies, counting
from .answers import LONGEST, file_url, notice_of
from .http import Context, body_pieces, cors_headers, error_response, single

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,creation-defer-length,checksum,expiration,termination,concatenation"
_OCTETS = "application/offset+octet-stream"
_METADATA = 16_384  # characters
_KEY = re.compile(r"[!-+\--~]{1,128}")  # printable, no blank and no comma
_NUMBER = re.compile(r"[0-9]{1,15}")
_TOKEN = re.compile(r"/tus/[^/?#]+/([A-Za-z0-9_-]{43})/?")

Endpoint = Callable[[Request], Awaitable[Response]]


def options_headers(context: Context) -> dict[str, str]:
    """What the server can do, for `OPTIONS`."""
    return {
        "tus-resumable": VERSION,
        "tus-version": VERSION,
        "tus-extension": EXTENSIONS,
        "tus-max-size": str(context.engine.settings.max_bytes),
        "tus-checksum-algorithm": ",".join(CHECKSUMS),
    }


class Tus:
    """The endpoints."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def collection(self, request: Request) -> Response:
        """`POST /tus/{key}`: begin an upload, with its first bytes or without."""
        return await self._guarded(request, self._create)

    async def one(self, request: Request) -> Response:
        """`HEAD`, `PATCH` and `DELETE` of `/tus/{key}/{token}`; `POST` with `X-HTTP-Method-Override` for those who cannot."""
        method = request.method
        if method == "POST":
            method = (request.headers.get("x-http-method-override") or "").upper()
        chosen = {"HEAD": self._look, "GET": self._look, "PATCH": self._append, "DELETE": self._terminate}.get(method)
        if chosen is None:
            return error_response(
                405, "method_not_allowed", "This method is not allowed here.", {"allow": "HEAD, PATCH, DELETE"}
            )
        return await self._guarded(request, chosen)

    async def _guarded(self, request: Request, endpoint: Endpoint) -> Response:
        """Answer an endpoint, with the version of the protocol on whatever it answers."""
        if request.headers.get("tus-resumable") != VERSION and request.method != "GET":
            return error_response(
                412, "tus_version", "This server speaks tus 1.0.0.", {"tus-version": VERSION, "tus-resumable": VERSION}
            )
        try:
            response = await endpoint(request)
        except ChecksumMismatch as fault:  # a status of its own (tus, Checksum)
            response = error_response(460, fault.code, fault.public, cors_headers(request, None))
        response.headers["tus-resumable"] = VERSION
        return response

    # -- creating

    async def _create(self, request: Request) -> Response:
        application = await self._context.application(request.path_params["key"])
        concat = single(request, "upload-concat") or ""
        final = concat.startswith("final;")
        if concat not in ("", "partial") and not final:
            raise BadRequest("upload-concat", public="Upload-Concat is partial, or final; and addresses.")
        size = self._announced(request, final=final)
        target, metadata = _described(request)
        room, decision = await self._context.judge_store(
            request, application, target, size=None if concat == "partial" else size
        )
        bounds = (self._context.engine.settings.max_bytes, application.limits.max_bytes, decision.max_size)
        most = min(bound for bound in bounds if bound is not None)
        if size is not None and size > most:
            raise TooLarge(f"{size} bytes announced, limit {most}")
        uploads = self._context.engine.uploads
        options = {"metadata": metadata} | ({"concat": concat} if concat == "partial" else {})
        session = await self._context.run(
            lambda: uploads.begin(
                application,
                target,
                room,
                mode="stream",
                size=size,
                min_size=None if concat == "partial" else decision.min_size,
                max_size=decision.max_size,
                options=options,
            )
        )
        headers = self._headers(request, application, session)
        headers["location"] = f"{self._context.base_url(request)}/tus/{application.api_key}/{session.token}"
        link = None
        if final:
            link = await self._join(request, application, session, concat)
        elif _is_octets(request):
            offset, link = await self._take(request, application, session, 0)
            headers["upload-offset"] = str(offset)
        return Response(None, 201, headers | self._finished(request, application, link))

    def _announced(self, request: Request, *, final: bool) -> int | None:
        """The size that a creation announces; None where it is told later, or follows from the pieces."""
        length, later = single(request, "upload-length"), single(request, "upload-defer-length")
        if final:
            if length is not None or later is not None:
                raise BadRequest("length of a final upload", public="The size of a final upload is that of its pieces.")
            return None
        if (length is None) == (later is None) or later not in (None, "1"):
            raise BadRequest("no length", public="Upload-Length is the number of bytes; or Upload-Defer-Length is 1.")
        if length == "0":
            raise BadRequest("an empty file", public="An empty file cannot be stored.")
        return None if length is None else _number(length, "Upload-Length", least=1)

    async def _join(self, request: Request, application: Application, session: UploadSession, concat: str) -> FileLink:
        """The file of finished partial uploads of the same application."""
        engine = self._context.engine
        pieces = []
        for address in concat.removeprefix("final;").split():
            found = _TOKEN.search(address)
            piece = None if found is None else await self._context.query(engine.uploads.get, found[1])
            if piece is None or piece.application != application.api_key or piece.options.get("concat") != "partial":
                raise BadRequest(
                    "no such piece", public="An address in Upload-Concat is no partial upload of this application."
                )
            pieces.append(piece)
        try:
            link = await self._context.keep(engine.streams.join, session, application, pieces)
        except SecureDeliveryError:
            await self._context.run(engine.uploads.end, session)
            raise
        for piece in pieces:
            await self._context.run(engine.uploads.end, piece)
        return link

    # -- continuing

    async def _append(self, request: Request) -> Response:
        session, application = await self._session(request)
        if not _is_octets(request):
            raise Unsupported("wrong type", public=f"The type of a piece is {_OCTETS}.")
        offset = _number(single(request, "upload-offset") or "", "Upload-Offset", least=0)
        length = single(request, "upload-length")
        if length is not None:
            session = await self._told_size(session, application, _number(length, "Upload-Length", least=1))
        offset, link = await self._take(request, application, session, offset)
        headers = self._headers(request, application, session) | {"upload-offset": str(offset)}
        return Response(None, 204, headers | self._finished(request, application, link))

    async def _told_size(self, session: UploadSession, application: Application, size: int) -> UploadSession:
        """The upload with the size that is told now."""
        if session.size is not None and session.size != size:
            raise BadRequest("another length", public="The size of an upload does not change.")
        if size > min(self._context.engine.settings.max_bytes, application.limits.max_bytes):
            raise TooLarge(f"{size} bytes announced")
        uploads = self._context.engine.uploads
        uploads.check_size(session, size)
        if session.size is None:
            await self._context.run(uploads.announce, session, size)
        return await self._context.query(uploads.get, session.token)

    async def _take(
        self, request: Request, application: Application, session: UploadSession, offset: int
    ) -> tuple[int, FileLink | None]:
        """Append the body; when it was the last piece, the file that came of it."""
        streams = self._context.engine.streams
        bounds = (application.limits.max_bytes, session.max_size, session.size)
        limit = min(bound for bound in bounds if bound is not None)
        if session.size is None:
            limit = min(limit, await self._context.run(self._left, session, application, limit))
        with streams.writer(session, offset, limit=limit, checksum=_checksum(request)) as writer:
            try:
                async for piece in body_pieces(request):
                    writer.write(piece)
            except ClientDisconnect:  # what came is kept: going on from there is what this is for
                await self._context.run(writer.keep)
                raise
            offset = await self._context.run(writer.keep)
            if session.size is None:
                await self._context.run(self._context.engine.uploads.note, session, offset)
            whole = session.size is not None and offset == session.size and session.options.get("concat") != "partial"
            return offset, await self._context.keep(streams.finish, session, application) if whole else None

    def _left(self, session: UploadSession, application: Application, limit: int) -> int:
        """Bytes that an upload may have whose size is told later, by the quota of what it is lent."""
        uploads = self._context.engine.uploads
        left = uploads.left(session, application, uploads.room(session, application))
        return limit if left is None else left

    # -- looking and ending

    async def _look(self, request: Request) -> Response:
        session, application = await self._session(request)
        engine = self._context.engine
        headers = self._headers(request, application, session)
        headers["upload-offset"] = str(await self._context.run(engine.streams.offset, session))
        headers |= {"upload-length": str(session.size)} if session.size is not None else {"upload-defer-length": "1"}
        if session.options.get("metadata"):
            headers["upload-metadata"] = str(session.options["metadata"])
        if session.options.get("concat"):
            headers["upload-concat"] = str(session.options["concat"])
        link = await self._context.run(engine.uploads.finished, session)
        whole = headers["upload-offset"] == headers.get("upload-length") and not session.options.get("concat")
        if (
            link is None and whole
        ):  # clients take an offset at the end for success, so it is made one here, or told as a failure
            with engine.uploads.locked(session):
                link = await self._context.keep(engine.streams.finish, session, application)
        return Response(None, 200, headers | self._finished(request, application, link))

    async def _terminate(self, request: Request) -> Response:
        session, application = await self._session(request)
        await self._context.run(self._context.engine.uploads.end, session)
        return Response(None, 204, self._headers(request, application, None))

    # -- helpers

    async def _session(self, request: Request) -> tuple[UploadSession, Application]:
        application = await self._context.application(request.path_params["key"])
        session = await self._context.query(self._context.engine.uploads.get, request.path_params["token"])
        if session.application != application.api_key or session.mode != "stream":
            raise NotFound("the upload belongs to another application", public="There is no such upload, or it has expired.")
        counting.belongs(request.scope, application.api_key)
        return session, application

    def _headers(self, request: Request, application: Application, session: UploadSession | None) -> dict[str, str]:
        headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"} | cors_headers(request, application)
        if session is not None:
            headers["upload-expires"] = formatdate(session.expires / 1000, usegmt=True)
        return headers

    def _finished(self, request: Request, application: Application, link: FileLink | None) -> dict[str, str]:
        """What an answer says of the file that came of an upload."""
        if link is None:
            return {}
        headers = {"filestack-handle": link.handle, "filestack-url": file_url(self._context, request, link.handle)}
        notice = notice_of(self._context, application, link)
        return headers | ({"secure-delivery-notice": notice} if notice else {})


def _is_octets(request: Request) -> bool:
    return (request.headers.get("content-type") or "").partition(";")[0].strip().lower() == _OCTETS


def _number(text: str, name: str, *, least: int) -> int:
    if not _NUMBER.fullmatch(text) or int(text) < least:
        raise BadRequest(name, public=f"{name} is a whole number of bytes, at least {least}.")
    return int(text)


def _checksum(request: Request) -> tuple[str, bytes] | None:
    """The digest announced for the body. Raises `BadRequest`."""
    given = single(request, "upload-checksum")
    if given is None:
        return None
    name, _, encoded = given.partition(" ")
    try:
        digest = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(
            "upload-checksum", public="Upload-Checksum is the name of an algorithm and a digest in Base64."
        ) from None
    return name.lower(), digest


def metadata_of(text: str) -> dict[str, str]:
    """The pairs of `Upload-Metadata`: names and values in Base64. Raises `BadRequest`."""
    found: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else ():
        name, _, encoded = pair.strip().partition(" ")
        try:
            value = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            raise BadRequest(f"metadata {name[:40]!r}", public="Upload-Metadata is names and UTF-8 texts in Base64.") from None
        if not _KEY.fullmatch(name) or name in found:
            raise BadRequest(f"metadata {name[:40]!r}", public="A name in Upload-Metadata is empty, unusable or given twice.")
        found[name] = value
    return found


def _described(request: Request) -> tuple[Target, str]:
    """What a creation says of the file, and its metadata as it came. Raises `BadRequest`."""
    text = single(request, "upload-metadata") or ""
    if len(text) > _METADATA:
        raise BadRequest("too long metadata", public=f"Upload-Metadata has at most {_METADATA} characters.")
    given: dict[str, Any] = metadata_of(text)
    access = (given.get("access") or "").lower() or None
    if access not in (None, "private", "public"):
        raise BadRequest("bad access", public="access is private or public.")
    target = Target(
        filename=clean_name(given.get("filename") or given.get("name")),
        mimetype=(given.get("filetype") or given.get("type") or "")[:255] or None,
        container=given.get("container") or None,
        path=given.get("path") or None,
        storage=given.get("location") or None,
        access=access,  # type: ignore[arg-type]
        expires_in=bodies.whole(given, "expires_in", least=1, most=LONGEST),
    )
    return target, text
