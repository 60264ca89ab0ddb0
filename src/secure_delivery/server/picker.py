"""What official clients ask on behalf of pickers: `prefetch`, cloud folders, storing from them, logging out.

Knows: these calls (recorded requests of the JavaScript client; the inner shapes of listings are ours, for the documentation has
none). Must not know: how a cloud is reached.

One cloud is real: `customsource`, the folders that the application's storage aliases open. Others are plugins (`CloudSource`).
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..engine.clouds import FolderSource
from ..engine.files import Target, Upload, clean_name
from ..engine.records import FileLink
from ..gate.errors import BadRequest, NotProvided
from ..gate.model import Application, Decision
from ..gate.policy import Call
from ..plugin.protocols import CloudFolder
from . import bodies
from .answers import described, tags_of
from .delivery import Delivery
from .gather import Named
from .http import Context, Denied, cors_headers

OWN = "customsource"
_NO_STORE = {"cache-control": "no-store"}
#: What this server can do of what pickers ask for.
_PERMISSIONS = {"intelligent_ingestion": True, "whitelabel": True, "transforms_ui": False, "enhance_image": False}
_SETTINGS = {"inapp_browser": False}
_MOST_CLOUDS = 10


class Picker:
    """The endpoints."""

    def __init__(self, context: Context, delivery: Delivery) -> None:
        self._context = context
        self._delivery = delivery
        self._folders = FolderSource(context.engine.folders)

    async def prefetch(self, request: Request) -> Response:
        """`POST /prefetch`: what a picker may do. The application's own options stay in force, so none are sent back."""
        values = await bodies.members(request)
        application = await self._context.application(bodies.text(values, "apikey"))
        blocked = False
        try:
            self._context.judge(request, application, Call.PICK, signed=bodies.shown_policy(values))
        except Denied:
            blocked = True
        answer: dict[str, Any] = {"blocked": blocked}
        answer["permissions"] = {name: _PERMISSIONS.get(name, False) for name in _names(values.get("permissions"))}
        answer["settings"] = {name: _SETTINGS.get(name, False) for name in _names(values.get("settings"))}
        return self._answer(request, application, answer)

    async def listing(self, request: Request) -> Response:
        """`POST /folder/list`: what is in a folder of each cloud named."""
        values = await bodies.members(request)
        application = await self._admitted(request, values)
        sessions = _sessions(values)
        answer: dict[str, Any] = {}
        for name, wanted in _clouds(values).items():
            path, after = bodies.text(wanted, "path") or "/", bodies.text(wanted, "next")
            folder = await self._folder(application, name, path, after, sessions)
            answer[name] = _shown(folder, name)
        answer["token"] = json.dumps(sessions)
        return self._answer(request, application, answer)

    async def _folder(
        self, application: Application, name: str, path: str, after: str | None, sessions: dict[str, str]
    ) -> CloudFolder:
        if name == OWN:
            return await self._context.run(lambda: self._folders.folder(application, path, after=after))
        source = self._source(name)
        folder, sessions[name] = await self._context.run(
            lambda: source.list(application.api_key, path, after=after, session=sessions.get(name, ""))
        )
        return folder  # type: ignore[no-any-return]

    async def store(self, request: Request) -> Response:
        """`POST /store/`: take a file over from a cloud."""
        values = await bodies.members(request)
        application = await self._context.application(bodies.text(values, "apikey"))
        try:
            tags = tags_of(values.get("upload_tags"))
        except ValueError as error:
            raise BadRequest("bad upload_tags", public=str(error)) from None
        clouds, sessions = _clouds(values), _sessions(values)
        answer: dict[str, Any] = {}
        for name, wanted in clouds.items():
            path = bodies.text(wanted, "path") or ""
            target = replace(_target(wanted, path), tags=tags)
            _, decision = await self._context.judge_store(
                request, application, target, signed=bodies.shown_policy(values), url=_address(name, path)
            )
            most = min(self._context.engine.settings.max_bytes, application.limits.max_bytes)
            most = most if decision.max_size is None else min(most, decision.max_size)
            taken = partial(self._taken, application, name, path, target, most, sessions, decision)
            link = await self._context.fetch(application, taken)
            answer[name] = described(self._context, request, application, link, {"upload_tags": tags})
        answer["token"] = json.dumps(sessions)
        return self._answer(request, application, answer)

    def _taken(
        self,
        application: Application,
        name: str,
        path: str,
        target: Target,
        most: int,
        sessions: dict[str, str],
        decision: Decision,
    ) -> FileLink:
        """A file of a cloud as a stored file. Raises `Denied` for a size that the policy forbids, before anything is stored."""
        files = self._context.engine.files
        if name == OWN:
            found = self._folders.file(application, path, max_bytes=most)
            _check_size(decision, found.size, application)
            with found.open() as stream, files.begin(application, target, limit=most) as upload:
                _copy(stream, upload)
                return files.add(application, upload)
        source = self._source(name)
        with tempfile.TemporaryFile(dir=self._context.engine.settings.data.absolute() / "work") as held:
            filename, _ = source.fetch(application.api_key, path, held, max_bytes=most, session=sessions.get(name, ""))
            _check_size(decision, held.tell(), application)
            held.seek(0)
            named = replace(target, filename=clean_name(filename), mimetype=None)
            with files.begin(application, named, limit=most) as upload:
                _copy(held, upload)
                return files.add(application, upload)

    async def metadata(self, request: Request) -> Response:
        """`POST /metadata`: what a URL holds, for a picker that shows it."""
        values = await bodies.members(request)
        application = await self._context.application(bodies.text(values, "apikey"))
        url = bodies.text(values, "url", longest=2048)
        headers = values.get("headers")
        if url is None or not (headers is None or isinstance(headers, dict)):
            raise BadRequest("no url", public="url is the address of a file.")
        signed = bodies.shown_policy(values)
        facts = {"signed": signed, "handle": None}
        self._context.judge(request, application, Call.PICK, url=url, signed=signed)
        found = await self._delivery.gatherer.fetch(
            request,
            application,
            Named(url=url, told=url),
            calls=(Call.PICK,),
            facts=facts,
            headers={name: str(value) for name, value in (headers or {}).items()},
        )
        answer = {"filename": found.filename, "mimetype": found.mimetype, "size": found.size, "url": url.partition("?")[0]}
        return self._answer(request, application, answer)

    async def logout(self, request: Request) -> Response:
        """`POST /auth/logout`: forget sessions at clouds. They are the picker's to keep: an empty one takes their place."""
        values = await bodies.members(request)
        application = await self._context.application(bodies.text(values, "apikey"))
        named = _clouds(values) if values.get("clouds") else {}
        sessions = {name: text for name, text in _sessions(values).items() if named and name not in named}
        return self._answer(request, application, {"token": json.dumps(sessions)})

    async def recording(self, request: Request) -> Response:
        """`POST /recording/…`: recorders run in the browser; nothing is recorded here."""
        raise NotProvided("no recorder", public="This server records nothing: record in the browser and upload the file.")

    # -- helpers

    async def _admitted(self, request: Request, values: dict[str, Any]) -> Application:
        application = await self._context.application(bodies.text(values, "apikey"))
        self._context.judge(request, application, Call.PICK, signed=bodies.shown_policy(values))
        return application

    def _source(self, name: str) -> Any:
        source = self._context.engine.registry.cloud_sources.get(name)
        if source is None:
            raise NotProvided(f"no cloud source {name!r}", public=f"No installed plugin provides the source '{name[:40]}'.")
        return source

    @staticmethod
    def _answer(request: Request, application: Application, answer: dict[str, Any]) -> Response:
        return JSONResponse(answer, headers=_NO_STORE | cors_headers(request, application))


def _names(given: Any) -> list[str]:
    return [name for name in given if isinstance(name, str) and len(name) <= 64][:50] if isinstance(given, list) else []


def _clouds(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    given = values.get("clouds")
    if (
        not isinstance(given, dict)
        or not 1 <= len(given) <= _MOST_CLOUDS
        or not all(isinstance(v, dict) for v in given.values())
    ):
        raise BadRequest("no clouds", public=f"clouds is an object of 1 to {_MOST_CLOUDS} sources.")
    return given


def _sessions(values: dict[str, Any]) -> dict[str, str]:
    """The sessions at clouds that the picker keeps for us; one that is no longer readable is none."""
    try:
        held = json.loads(bodies.text(values, "token", longest=16_384) or "{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(held, dict):
        return {}
    return {name: text for name, text in held.items() if isinstance(text, str)}


def _shown(folder: CloudFolder, name: str) -> dict[str, Any]:
    """A page of a folder in JSON."""
    contents = [
        {
            "name": entry.name,
            "filename": entry.name,
            "path": entry.path,
            "folder": entry.folder,
            "size": entry.size,
            "mimetype": entry.mimetype,
            "modified": entry.modified,
        }
        for entry in folder.entries
    ]
    answer: dict[str, Any] = {"name": name, "contents": contents, "next": folder.after}
    if folder.sign_in is not None:
        answer["auth"] = {"redirect_url": folder.sign_in}
    return answer


def _target(wanted: dict[str, Any], path: str) -> Target:
    """Where a cloud file is to go. Raises `BadRequest`."""
    given = wanted.get("store")
    store: dict[str, Any] = given if isinstance(given, dict) else {}
    access = (bodies.text(store, "access") or "").lower() or None
    if access not in (None, "private", "public"):
        raise BadRequest("bad access", public="access is private or public.")
    return Target(
        filename=clean_name(bodies.text(store, "filename") or path.rstrip("/").rpartition("/")[2]),
        container=bodies.text(store, "container"),
        path=bodies.text(store, "path"),
        storage=bodies.text(store, "location", longest=64),
        access=access,  # type: ignore[arg-type]
    )


def _address(name: str, path: str) -> str:
    """What a policy's `url` is asked about a file of a cloud: for our own, what `src://` calls it."""
    return f"src://{path.strip('/')}" if name == OWN else f"{name}://{path.lstrip('/')}"


def _check_size(decision: Decision, size: int, application: Application) -> None:
    reason = decision.admits_size(size)
    if reason is not None:
        raise Denied(Decision(allowed=False, reason=reason, vary=decision.vary), application)


def _copy(stream: Any, upload: Upload) -> None:
    while piece := stream.read(1 << 20):
        upload.write(piece)
