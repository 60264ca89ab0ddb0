"""What can be told of a stored file: metadata as an endpoint and as a task.

Knows: the names of the facts and who may ask for them. Must not know: how a picture is measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..engine import Engine
from ..engine.controls import METADATA
from ..engine.convert import bind
from ..engine.records import FileLink
from ..engine.renditions import Rendition
from ..engine.sources import SourceFile
from ..gate.errors import Busy, NotFound, SecureDeliveryError, Unsupported
from ..gate.model import Application
from ..gate.policy import Call, SignedPolicy
from ..gate.taskurl import Task
from .answers import object_name
from .http import Context, cors_headers
from .once import Renderer

HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
_USUAL = ("size", "mimetype", "filename", "uploaded", "writeable")
_MEASURED = frozenset({"width", "height"})


class Facts:
    """Answers with what is known of a file."""

    def __init__(self, context: Context, renderer: Renderer) -> None:
        self._context = context
        self._renderer = renderer

    async def answer(
        self,
        request: Request,
        handle: str,
        names: Sequence[str],
        *,
        key: str | None = None,
        signed: SignedPolicy | None = None,
        use_query: bool = True,
    ) -> Response:
        """The facts asked for, or the usual ones. EXIF needs a policy that names `exif` (seed document). Raises `Denied`."""
        link = await self._context.query(self._context.engine.files.find, handle)
        if key is not None and key != link.application:
            raise NotFound("the file belongs to another application")
        application = await self._context.owner(link.application)
        wanted = [name for name in names if name in METADATA]
        calls = (Call.STAT, Call.EXIF) if "exif" in wanted else (Call.STAT,)
        decision = self._context.judge(request, application, *calls, handle=link.handle, signed=signed, use_query=use_query)
        chosen = wanted or _USUAL
        known: dict[str, Any] = dict(await self._context.run(self._describe, link, chosen))
        if "exif" in chosen:
            known["exif"] = await self._exif(application, link)
        if not _MEASURED.isdisjoint(chosen):
            known |= await self._dimensions(application, link)
        headers = {"cache-control": "no-store"} | cors_headers(request, application)
        if decision.vary:
            headers["vary"] = ", ".join(decision.vary)
        return JSONResponse({name: known[name] for name in chosen}, headers=headers)

    def _describe(self, link: FileLink, names: Iterable[str]) -> Mapping[str, Any]:
        """Everything that can be said of a file without decoding it; digests only where they are named."""
        known: dict[str, Any] = {
            "size": link.size,
            "mimetype": link.mimetype,
            "filename": link.filename,
            "uploaded": link.uploaded,
            "writeable": True,
            "cloud": None,
            "source_url": link.source_url,
            "location": self._context.engine.storages.kind_of(link.storage),
            "path": object_name(self._context, link) if link.path is None or link.path.endswith("/") else link.path,
            "container": link.container,
            "key": object_name(self._context, link),
        }
        hashes = [name for name in names if name in HASHES]
        return known | self._hashes(link, hashes) if hashes else known

    async def _dimensions(self, application: Application, link: FileLink) -> dict[str, int | None]:
        """Width and height in pixels, read by a decoder process like everything else; nothing for what is no picture."""
        try:
            size = await self._read(application, link, "imagesize")
        except SecureDeliveryError as fault:
            if fault.status >= 500 or isinstance(fault, Busy):  # says nothing of the file
                raise
            return {"width": None, "height": None}
        return {"width": int(size["width"]), "height": int(size["height"])}

    async def _exif(self, application: Application, link: FileLink) -> Any:
        """The EXIF tags of a picture by name; none for what is no picture, or a damaged one."""
        try:
            return await self._read(application, link, "exif")
        except SecureDeliveryError as fault:
            if fault.status >= 429 or "exif" not in self._context.engine.registry.transformations:
                raise
            return {}

    async def _read(self, application: Application, link: FileLink, task: str) -> Any:
        """What a task says of a file in JSON. Raises its faults, and `Unsupported` when nobody installed it."""
        engine = self._context.engine
        if task not in engine.registry.transformations:
            raise Unsupported(f"no task {task}", public=f"No installed plugin reads {task} data.")
        plan = bind(engine.registry, [Task(name=task, options=())])
        sources = [SourceFile.stored(link, engine.files)]
        found = engine.renditions.find(application, sources, plan)
        rendition = found or await self._renderer.get(application, sources, plan)
        return json.loads(await self._context.run(_content, engine, rendition))

    def _hashes(self, link: FileLink, names: list[str]) -> dict[str, str]:
        digests = {name: hashlib.new(name, usedforsecurity=False) for name in names}
        with self._context.engine.files.open(link) as stream:
            while piece := stream.read(1 << 20):
                for digest in digests.values():
                    digest.update(piece)
        return {name: digest.hexdigest() for name, digest in digests.items()}


def _content(engine: Engine, rendition: Rendition) -> bytes:
    with engine.renditions.open(rendition) as stream:
        return stream.read()
