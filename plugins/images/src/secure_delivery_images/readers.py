"""Readers of formats that have no pixels of their own: other plugins bring them, every picture task then takes such files.

Knows: what a reader says. Must not know: any format, which plugin brought it.

A drawing is drawn when its pixels are needed, at the size that the first edit asks for: `resize=width:300` of an SVG file is
drawn 300 pixels wide and never at its own size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from secure_delivery.plugin import Media, WorkLimits

from .headers import HEAD, Size, format_of

if TYPE_CHECKING:
    from PIL import Image

_SNIFFED = 4096  # bytes shown to readers; comments and declarations come before what says that a file is theirs

#: Draws the whole at this size, which has the proportions of `Sketch.size`.
Draw: TypeAlias = "Callable[[Size], Image.Image]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """What a reader found: the size a file says it has, and how it is drawn at any size."""

    filename: str
    size: Size
    draw: Draw


class Reader(Protocol):
    """Reads one format. Called in a confined worker only; it raises the faults that transformations raise."""

    def recognises(self, head: bytes) -> bool:
        """Whether the first bytes (up to 4,096) are of this format: content decides, never a name or a declared type."""
        ...

    def read(self, media: Media, limits: WorkLimits) -> Sketch:
        """Look at a file, draw nothing. Its size is checked by the caller."""
        ...


_READERS: dict[str, Reader] = {}


def provide(name: str, reader: Reader) -> None:
    """Have pictures of another format read. A plugin calls this in `warm` of a task of its own, so that one that is blocked
    reads nothing; a second reader of the same name replaces the first."""
    _READERS[name] = reader


def sketched(media: Media, limits: WorkLimits) -> Sketch | None:
    """The drawing in a file, None when no reader knows it. Files that Pillow reads are never shown to readers."""
    if not _READERS:
        return None
    with media.open() as stream:
        head = stream.read(_SNIFFED)
    if format_of(head[:HEAD]) is not None:
        return None
    reader = next((reader for reader in _READERS.values() if reader.recognises(head)), None)
    return None if reader is None else reader.read(media, limits)


def drawn_at(size: Size, factor: float, limits: WorkLimits) -> Size:
    """The size to draw at: the natural one times a factor, within the limit of pixels."""
    most = math.sqrt(limits.pixels / (size.width * size.height))
    factor = min(factor, most)
    return Size(max(1, math.floor(size.width * factor + 0.5)), max(1, math.floor(size.height * factor + 0.5)))
