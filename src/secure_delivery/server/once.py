"""One computation for all who wait for it, off the threads that deliver.

Knows: who waits for which result in this process. Must not know: HTTP, how a result is made, who makes it elsewhere; the
engine sees to that.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import anyio.to_thread

from ..engine import Engine
from ..engine.convert import Plan
from ..engine.renditions import Rendition
from ..engine.sources import SourceFile
from ..gate.errors import Busy
from ..gate.model import Application

_PAUSES = (0.01, 0.02, 0.05, 0.1)  # seconds between looks at a result that another process makes; the last one repeats


class _Turn:
    """A result being made, and how it came out."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.rendition: Rendition | None = None
        self.fault: Exception = Busy("the request that made the result was given up")


class Renderer:
    """Results of chains for requests.

    Whoever asks for what is being made waits without a thread; and making has threads of its own, so that any number of
    transformations leaves those for reading files alone (security promise 91).
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turns: dict[str, _Turn] = {}
        # As many as may run or queue: with one more the sandbox itself says `Busy`.
        self._threads = anyio.CapacityLimiter(engine.settings.decoders + engine.settings.decode_queue + 1)

    async def get(self, owner: Application, sources: Sequence[SourceFile], plan: Plan) -> Rendition:
        """As `Renditions.get`, with its faults."""
        key = self._engine.renditions.key(owner, sources, plan)
        turn = self._turns.get(key)
        if turn is not None:
            await turn.over.wait()
            if turn.rendition is None:
                raise turn.fault
            return turn.rendition
        turn = self._turns[key] = _Turn()
        try:
            turn.rendition = await self._made(owner, sources, plan)
            return turn.rendition
        except Exception as fault:
            turn.fault = fault
            raise
        finally:
            del self._turns[key]
            turn.over.set()

    async def _made(self, owner: Application, sources: Sequence[SourceFile], plan: Plan) -> Rendition:
        """The result, made in a thread; while another process makes it, this one only looks in now and then."""
        looks = 0
        while True:
            made = await anyio.to_thread.run_sync(self._engine.renditions.attempt, owner, sources, plan, limiter=self._threads)
            if made is not None:
                return made
            await anyio.sleep(_PAUSES[min(looks, len(_PAUSES) - 1)])
            looks += 1
