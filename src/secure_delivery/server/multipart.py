"""The multipart upload protocol of official clients: start, upload, PUT of parts, commit, complete.

Knows: its calls, fields and answers (Filestack multipart uploads, regular and intelligent ingestion; recorded requests of the
JavaScript and Python clients; forms of the PHP and Java ones). Must not know: where bytes lie, how a file is made of them.

`start` judges; everything after it is authorised by the token that it gives out as `upload_id`, because official clients repeat
that and not all of them repeat a policy.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..engine.files import Target, clean_name
from ..engine.parts import PartWriter
from ..engine.records import FileLink
from ..engine.uploads import UploadSession
from ..gate.errors import BadRequest, ChecksumMismatch, Locked, NotFound, SizeMismatch, TooLarge
from ..gate.model import Application
from ..plugin.protocols import Multipart
from . import bodies, counting
from .answers import IN_TRANSIT, LONGEST, STORED, described, tags_of, workflow_ids
from .http import Context, body_pieces, cors_headers, parameters

_NO_STORE = {"cache-control": "no-store"}
_MD5_HEX = re.compile(r"[0-9a-f]{32}")
_FORM_PARTS = re.compile(r"[0-9]{1,5}:[^;]{1,200}(?:;[0-9]{1,5}:[^;]{1,200})*;?")
_URL_SECONDS = 3600  # for which a part may be sent straight to a storage; a fresh URL is one request away
_FINISHING, _LOOK = 600.0, 0.05  # seconds to wait for another request that makes the file, and between two looks
_REGION = "us-east-1"  # clients insist on one, and repeat it


class MultipartUploads:
    """The endpoints."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def start(self, request: Request) -> Response:
        """`POST /multipart/start`: judge the upload by what is announced, and give out its token."""
        values = await bodies.members(request)
        application = await self._context.application(bodies.text(values, "apikey"))
        target, options = _target(values)
        size = bodies.whole(values, "size", least=1)
        if size is None:
            raise BadRequest("no size", public="size is the number of bytes of the file, at least one.")
        room, decision = await self._context.judge_store(
            request, application, target, size=size, signed=bodies.shown_policy(values)
        )
        most = min(self._context.engine.settings.max_bytes, application.limits.max_bytes)
        if size > most:
            raise TooLarge(f"{size} bytes announced, limit {most}")
        chunks = bodies.switched(values, "fii") or bodies.switched(values, "multipart")
        session = await self._context.run(
            lambda: self._context.engine.uploads.begin(
                application,
                target,
                room,
                mode="chunks" if chunks else "parts",
                size=size,
                min_size=decision.min_size,
                max_size=decision.max_size,
                options=options,
            )
        )
        answer = {
            "uri": f"/{room.container}/{session.id[:20]}",
            "region": bodies.text(_store(values), "region") or _REGION,
            "upload_id": session.token,
            "location_url": self._location(request),
        }
        if chunks:
            answer["upload_type"] = "intelligent_ingestion"
        return self._answer(request, application, answer)

    async def upload(self, request: Request) -> Response:
        """`POST /multipart/upload`: where a part, or a chunk of one, is to be sent."""
        values = await bodies.members(request)
        session, application = await self._session(values)
        counting.belongs(request.scope, application.api_key)
        number = bodies.whole(values, "part", least=1, most=10_000)
        size = bodies.whole(values, "size", least=1)
        if number is None or size is None:
            raise BadRequest("no part or size", public="part is the number of the part, from 1, and size its bytes.")
        offset = bodies.whole(values, "offset")
        md5 = bodies.text(values, "md5", longest=64)
        if session.size is not None and (offset or 0) + size > session.size:
            raise SizeMismatch(f"a part of {size} bytes for {session.size} in all")
        if session.direct:
            url, headers = await self._context.run(self._straight, session, number, size, md5)
        else:
            told = {"size": str(size)} | ({"md5": _hex(md5)} if md5 else {})
            path = f"/multipart/part/{session.token}/{number}/{'whole' if offset is None else offset}"
            url, headers = f"{self._context.base_url(request)}{path}?{urlencode(told)}", {}
        answer = {"url": url, "headers": headers, "location_url": self._location(request)}
        return self._answer(request, application, answer)

    def _straight(self, session: UploadSession, number: int, size: int, md5: str | None) -> tuple[str, dict[str, str]]:
        """Where the storage itself takes a part."""
        engine = self._context.engine
        storage = engine.files.storage(session.storage)
        most = storage.part_sizes[1] if isinstance(storage, Multipart) else 0
        if not isinstance(storage, Multipart) or size > most:
            raise BadRequest("a part too large", public=f"A part has at most {most} bytes.")
        engine.parts.announce(session, number, size, _hex(md5) if md5 else None)
        url, headers = storage.part_url(
            session.key or "", session.remote or "", number, size=size, md5=md5, seconds=_URL_SECONDS
        )
        return url, dict(headers)

    async def part(self, request: Request) -> Response:
        """`PUT /multipart/part/{token}/{number}/{offset}`: the bytes. The answer has the ETag that `complete` repeats."""
        path, values = request.path_params, parameters(request)
        session = await self._context.query(self._context.engine.uploads.get, path["token"])
        application = await self._context.owner(session.application)
        counting.belongs(request.scope, application.api_key)
        if session.direct or session.mode == "stream":
            raise NotFound("this upload takes no parts here")
        md5 = values.get("md5")
        if md5 is not None and not _MD5_HEX.fullmatch(md5):
            raise BadRequest("md5", public="md5 is 32 hexadecimal digits.")
        size = bodies.whole(dict(values), "size", least=1)
        number, offset = _digits(path["number"]), None if path["offset"] == "whole" else _digits(path["offset"])
        with self._context.engine.parts.writer(session, number, offset, size=size, md5=md5) as writer:
            part = await self._received(request, writer)
        headers = {"etag": f'"{part.md5}"', "content-length": "0"} | _NO_STORE | cors_headers(request, application)
        return Response(None, 200, headers)

    async def _received(self, request: Request, writer: PartWriter) -> Any:
        shown = request.headers.get("content-md5")
        async for piece in body_pieces(request):
            writer.write(piece)
        part = await self._context.run(writer.keep)
        if shown is not None and _hex(shown) != part.md5:
            raise ChecksumMismatch("not the bytes whose MD5 the request has")
        return part

    async def commit(self, request: Request) -> Response:
        """`POST /multipart/commit`: all chunks of a part were sent."""
        values = await bodies.members(request)
        session, application = await self._session(values)
        counting.belongs(request.scope, application.api_key)
        number = bodies.whole(values, "part", least=1, most=10_000)
        if number is None:
            raise BadRequest("no part", public="part is the number of the part, from 1.")
        await self._context.run(self._context.engine.parts.check_part, session, number)
        return self._answer(request, application, {})

    async def complete(self, request: Request) -> Response:
        """`POST /multipart/complete`: make the file; answers when it is stored. Asked again, the same answer."""
        values = await bodies.members(request)
        session, application = await self._session(values)
        counting.belongs(request.scope, application.api_key)
        size = bodies.whole(values, "size")
        if size is not None and session.size is not None and size != session.size:
            raise SizeMismatch(f"{size} bytes at the end, {session.size} at the start")
        tags = _checked(tags_of, values.get("upload_tags"))
        given = values.get("parts")
        if session.mode == "chunks" and isinstance(given, str) and given.isascii() and given.isdigit():
            given = None  # the PHP client says how many there are
        etags = _etags(given)
        if etags is None and session.mode == "parts":
            raise BadRequest("invalid params: parts", public="parts names every part with its ETag.")
        link = await self._finish(session, application, etags, tags)
        workflows = session.options.get("workflows", [])
        more: dict[str, Any] = {
            "mimetype": link.mimetype,
            "status": STORED if link.held is None else IN_TRANSIT,
            "upload_tags": tags,
            "workflows": {workflow: {} for workflow in workflows},
        }
        return self._answer(request, application, described(self._context, request, application, link, more))

    async def _finish(
        self,
        session: UploadSession,
        application: Application,
        etags: list[tuple[int, str]] | None,
        tags: Mapping[str, str],
    ) -> FileLink:
        """The file of an upload; while another request makes it, this one waits without a thread."""
        parts = self._context.engine.parts
        with anyio.move_on_after(_FINISHING):
            while True:
                try:
                    return await self._context.keep(lambda: parts.finish(session, application, etags=etags, tags=tags))
                except Locked:
                    await anyio.sleep(_LOOK)
        raise Locked("another request is at work on this upload")

    async def abort(self, request: Request) -> Response:
        """`POST /multipart/abort`: forget the upload and what was sent. Beyond the protocol: official clients just go away."""
        session, application = await self._session(await bodies.members(request))
        counting.belongs(request.scope, application.api_key)
        await self._context.run(self._context.engine.uploads.end, session)
        return self._answer(request, application, {})

    # -- helpers

    async def _session(self, values: dict[str, Any]) -> tuple[UploadSession, Application]:
        """The upload that a request is about, which the key beside it has to fit. Raises `NotFound`, `Denied`."""
        application = await self._context.application(bodies.text(values, "apikey"))
        token = bodies.text(values, "upload_id", longest=64) or ""
        session = await self._context.query(self._context.engine.uploads.get, token)
        if session.application != application.api_key or session.mode == "stream":
            raise NotFound("the upload belongs to another application", public="There is no such upload, or it has expired.")
        return session, application

    def _location(self, request: Request) -> str:
        """Where the next calls go. Official clients put `https://` before it; one of them also takes it with a scheme, which is
        how it works without TLS."""
        base = self._context.base_url(request)
        return base.removeprefix("https://")

    @staticmethod
    def _answer(request: Request, application: Application, answer: dict[str, Any]) -> Response:
        return JSONResponse(answer, headers=_NO_STORE | cors_headers(request, application))


def _store(values: dict[str, Any]) -> dict[str, Any]:
    """The store options, as an object or as fields of a form (`store_path`)."""
    given = values.get("store")
    if isinstance(given, dict):
        return given
    return {name.removeprefix("store_"): value for name, value in values.items() if name.startswith("store_")}


def _target(values: dict[str, Any]) -> tuple[Target, dict[str, Any]]:
    """What `start` says of the file, and the options that the answer of `complete` repeats. Raises `BadRequest`."""
    store = _store(values)
    access = (bodies.text(store, "access") or "").lower() or None
    if access not in (None, "private", "public"):
        raise BadRequest("bad access", public="access is private or public.")
    workflows = _checked(workflow_ids, store.get("workflows"))
    target = Target(
        filename=clean_name(bodies.text(values, "filename", longest=20_000)),
        mimetype=bodies.text(values, "mimetype", longest=255),
        container=bodies.text(store, "container"),
        path=bodies.text(store, "path"),
        storage=bodies.text(store, "location", longest=64),
        access=access,  # type: ignore[arg-type]
        expires_in=bodies.whole(store, "expires_in", least=1, most=LONGEST),
    )
    return target, {"workflows": list(workflows)} if workflows else {}


def _checked(read: Any, value: Any) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise BadRequest(str(error), public=str(error)) from None


def _etags(given: Any) -> list[tuple[int, str]] | None:
    """The parts that `complete` names: a list of objects, or `1:etag;2:etag` in a form. None where there are none."""
    if given is None or given in ("", []):
        return None
    if isinstance(given, str):
        if not _FORM_PARTS.fullmatch(given):
            raise BadRequest("parts", public="parts is 1:ETAG;2:ETAG and so on.")
        pairs = [item.partition(":") for item in given.split(";") if item]
        return [(int(number), etag.strip()) for number, _, etag in pairs]
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise BadRequest("parts", public="parts is a list of objects of part_number and etag.")
    found = []
    for item in given:
        number = bodies.whole(item, "part_number", least=1, most=10_000)
        etag = bodies.text(item, "etag", longest=200)
        if number is None or etag is None:
            raise BadRequest("parts", public="parts is a list of objects of part_number and etag.")
        found.append((number, etag))
    return found


def _hex(md5: str) -> str:
    """An MD5 in Base64 as hex. Raises `BadRequest`."""
    try:
        digest = base64.b64decode(md5, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 16:
        raise BadRequest("md5", public="md5 is the MD5 of the bytes in Base64.")
    return digest.hex()


def _digits(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise BadRequest("no number", public="The address of a part holds whole numbers.")
    return int(text)
