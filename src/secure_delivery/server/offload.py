"""Large files handed to whoever sends bytes better than Python: the ASGI server by a path, or nginx in front of it.

Knows: `http.response.pathsend` (ASGI extensions), `X-Accel-Redirect` (nginx), names that a storage lends. Must not know: who
may read, what the headers say.

Whoever is told a path opens it a moment later, and says nothing about it. Meanwhile the file may be overwritten or removed, so
no blob is named: the storage lends a second name of it, which is random, used for this version alone and for nothing else
ever, and outlasts the moment. At worst it is gone, and the answer is a 404; other bytes it never is. That is also why no
`/proc/self/fd/N` is sent: a number is given to another file as soon as it is free.

One name serves all who ask for a file within some seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..engine.records import FileLink
from ..gate.errors import SecureDeliveryError
from .http import Context
from .ranges import Answer

logger = logging.getLogger("secure_delivery.server")

_PATHSEND = "http.response.pathsend"
_AGAIN = 20.0  # seconds for which a lent name is used; far less than the time it is lent for
_RECLAIM = 65.0  # seconds between two looks for names whose time is over; a little more than that time
_KNOWN = 4096  # names that are remembered
#: What nginx would judge anew by what it knows of the file, which is less than we know.
_JUDGED = ("if-match", "if-unmodified-since")


@runtime_checkable
class Lending(Protocol):
    """A storage that can name a blob to a server on this machine, which opens it a moment later."""

    def lend(self, key: str) -> Path | None:
        """A new name of the blob as it is now, whatever becomes of the key; it lasts a minute. None: not now. Raises
        `NotFound`."""
        ...

    def reclaim(self) -> int:
        """Take back the names that were lent for long enough; returns how many."""
        ...


class _Lent(NamedTuple):
    path: Path | None
    until: float


class Offload:
    """Answers that name a file instead of holding its bytes. `accel` is the internal location of nginx, or empty."""

    def __init__(self, context: Context, accel: str) -> None:
        self._context = context
        self._accel = accel
        self._lent: dict[tuple[str, str, str], _Lent] = {}
        self._last: dict[str, float] = {}
        self._due: set[str] = set()

    async def answer(self, request: Request, link: FileLink, plan: Answer, headers: Mapping[str, str]) -> Response | None:
        """The answer to a `GET` of a file, if somebody else can send it; `headers` are those of the whole file.

        Raises `NotFound` when its bytes are gone.
        """
        if request.method != "GET" or not (self._accel_can(request, plan) if self._accel else _pathsend_can(request, plan)):
            return None
        path = await self._path(link)
        if path is None:
            return None
        if not self._accel:
            return _PathResponse(path, {**headers, "content-length": str(link.size)})
        target = f"{self._accel}{quote(link.storage)}/{path.name}"
        own = {name: value for name, value in headers.items() if name != "accept-ranges"}  # nginx says that itself
        return Response(None, 200, {**own, "x-accel-redirect": target})

    @staticmethod
    def _accel_can(request: Request, plan: Answer) -> bool:
        """Whether nginx comes to the conclusion that we came to. It answers ranges; conditions are answered by us."""
        if any(name in request.headers for name in _JUDGED):
            return False
        # Of a Range header that we ignore, and of a date in If-Range, it might think otherwise.
        return plan.status == 206 or (plan.status == 200 and "range" not in request.headers)

    async def _path(self, link: FileLink) -> Path | None:
        """The name that is lent for a file now."""
        now = time.monotonic()
        version = link.storage, link.key, link.sha256
        known = self._lent.get(version)
        if known is not None and now < known.until:
            return known.path
        storage = self._context.engine.files.storage(link.storage)
        if not isinstance(storage, Lending):
            return None
        path = await self._context.run(_lend, storage, link)
        if len(self._lent) >= _KNOWN:
            self._lent.clear()
        self._lent[version] = _Lent(path, now + _AGAIN)
        self._last[link.storage] = now
        self._look_later(link.storage, storage)
        return path

    def _look_later(self, name: str, storage: Lending) -> None:
        """See to it that names are taken back, once for all that were lent meanwhile."""
        if name not in self._due:
            self._due.add(name)
            asyncio.get_running_loop().call_later(_RECLAIM, self._look, name, storage)

    def _look(self, name: str, storage: Lending) -> None:
        self._due.discard(name)
        asyncio.get_running_loop().run_in_executor(None, _reclaim, name, storage)
        if time.monotonic() - self._last[name] < _RECLAIM:  # lent since, and not old enough yet
            self._look_later(name, storage)


def _pathsend_can(request: Request, plan: Answer) -> bool:
    return plan.status == 200 and _PATHSEND in (request.scope.get("extensions") or ())


def _lend(storage: Lending, link: FileLink) -> Path | None:
    """A name of the blob, if it is as long as its record says: no other length can be promised."""
    path = storage.lend(link.key)
    return path if path is not None and path.stat().st_size == link.size else None


def _reclaim(name: str, storage: Lending) -> None:
    try:
        storage.reclaim()
    except SecureDeliveryError as fault:
        logger.error("storage %s: names that were lent stay: %s", name, fault)


class _PathResponse(Response):
    """A file that the ASGI server opens and sends."""

    def __init__(self, path: Path, headers: Mapping[str, str]) -> None:
        super().__init__(None, 200, headers)
        self._path = str(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": _PATHSEND, "path": self._path})
