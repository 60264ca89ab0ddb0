"""Chains on files: what a decoder is handed, and where what it makes arrives.

Knows: the sandbox, files of sources, the way out for visited pages. Must not know: HTTP, what is kept.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from ..gate.model import Application, Limits
from .convert import Plan
from .outbound import OutboundGuard
from .proxy import GuardProxy
from .sandbox import Chain, ChainSource, Outcome, Sandbox
from .sources import SourceFile
from .span import FileSpan

_IN_MEMORY = 8 << 20  # bytes of a smaller copy that is handed to a decoder without the way over the disk

Size = tuple[int, int]


class Chains:
    """Runs the chains of plans. Thread-safe. `work` holds files in progress; `guard` is how pages are visited."""

    def __init__(self, sandbox: Sandbox, work: Path, guard: OutboundGuard | None) -> None:
        self._sandbox = sandbox
        self._work = work
        self._guard = guard

    @contextmanager
    def ran(
        self,
        application: Application,
        sources: Sequence[SourceFile],
        plan: Plan,
        *,
        original: Size | None = None,
        metadata: str | None = None,
    ) -> Iterator[tuple[Outcome, BinaryIO]]:
        """A chain that was run, and what it wrote, from its start."""
        limits = application.limits
        with ExitStack() as stack:
            opened = [(stack.enter_context(self._descriptor(source)), source) for source in sources]
            output = stack.enter_context(tempfile.TemporaryFile(dir=self._work))
            port = stack.enter_context(self._way_out(limits)) if plan.visits else None
            chain = Chain(
                tasks=tuple((step.name, dict(step.options)) for step in plan.steps),
                sources=[ChainSource(stream.fileno(), source.mimetype, source.filename) for stream, source in opened],
                output=output.fileno(),
                references=[len(step.references) for step in plan.steps],
                application=application.api_key,
                max_pixels=limits.max_pixels,
                max_bytes=limits.max_bytes,
                max_animation_pixels=limits.max_animation_pixels,
                metadata=metadata or application.metadata_profile,
                original=original,
                proxy_port=port,
            )
            outcome = self._sandbox.run(chain)
            output.seek(0)
            yield outcome, output

    @contextmanager
    def _way_out(self, limits: Limits) -> Iterator[int | None]:
        """The port by which one chain may visit pages, with as many bytes in all as a source may have."""
        if self._guard is None:
            yield None
            return
        with GuardProxy(self._guard, budget_bytes=limits.max_bytes, seconds=self._sandbox.seconds) as proxy:
            yield proxy.port

    @contextmanager
    def _descriptor(self, source: SourceFile) -> Iterator[BinaryIO]:
        """A source as a real file, whose descriptor is all that a decoder gets to see of it."""
        with source.open() as stream:
            try:
                stream.fileno()
            except OSError:
                with _in_memory(stream, source.size) or tempfile.TemporaryFile(dir=self._work) as copy:
                    while piece := stream.read(1 << 20):
                        copy.write(piece)
                    copy.flush()
                    copy.seek(0)
                    yield copy
                return
            yield stream


def _in_memory(stream: BinaryIO, size: int) -> BinaryIO | None:
    """A part of a file as a file in memory, when it is small enough; the stream is at its end then."""
    span = getattr(stream, "raw", None)
    if not isinstance(span, FileSpan) or size > _IN_MEMORY or not hasattr(os, "memfd_create"):
        return None
    copy = span.copy()
    stream.seek(0, os.SEEK_END)
    return copy
