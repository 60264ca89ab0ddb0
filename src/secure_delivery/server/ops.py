"""What operators ask: is the process alive, can it work.

Knows: the engine's parts and how to ask each whether it works. Must not know: applications.
"""

from __future__ import annotations

import sqlalchemy
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..engine import Engine
from ..gate.errors import SecureDeliveryError
from .http import Context

_NO_STORE = {"cache-control": "no-store"}


class Ops:
    """`/health/live` and `/health/ready`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def live(self, request: Request) -> Response:
        """200 as long as the process answers at all."""
        return JSONResponse({"status": "live"}, headers=_NO_STORE)

    async def ready(self, request: Request) -> Response:
        """200 when database, storage and decoders work; else 503 with the parts that do not, and no word of why."""
        parts = await self._context.run(check, self._context.engine)
        working = all(parts.values())
        answer = {"status": "ready" if working else "not ready", "parts": parts}
        return JSONResponse(answer, 200 if working else 503, _NO_STORE)


def check(engine: Engine) -> dict[str, bool]:
    """Each part and whether it works now."""
    return {
        "database": _database_works(engine),
        "storage": engine.settings.storage in engine.registry.storages,
        "decoders": _decoders_work(engine),
    }


def _decoders_work(engine: Engine) -> bool:
    try:
        engine.renditions.start_decoders()
    except SecureDeliveryError:
        return False
    return engine.sandbox.running


def _database_works(engine: Engine) -> bool:
    try:
        with engine.database.read() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
    except sqlalchemy.exc.SQLAlchemyError:
        return False
    return True
