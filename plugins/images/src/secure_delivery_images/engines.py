"""Decoders that read a format faster than Pillow does: which engine serves which format is decided by the bench.

Knows: what an engine is asked and what it answers. Must not know: any decoder, which plugin brought it.

Pillow reads the header of every file, and its own decoder whatever no engine takes. An engine only makes pixels, if need be
smaller ones: limits, metadata, colour profiles, orientation, edits and encoding are the same whoever decodes. Measured with
`bench/images.py` as speed relative to sharp (300 pixels from 12 megapixels, one core), Pillow's own decoder in brackets:

    JPEG              Pillow, at a fraction of the size       1.03
    progressive JPEG  Pillow, at a fraction of the size       1.10
    PNG               libvips and ISA-L (plugin `vips`)       1.16   [0.57]
    WebP              libwebp itself, see `webp`              1.10   [0.66]
    AVIF              Pillow                                  2.40
    TIFF              libvips where deflated, else Pillow     1.3 of Pillow's speed

What is not in this table is read by Pillow. A plugin calls `provide` in its `register_transformations`, so one that is
blocked or cannot work offers nothing. The server process imports this module; an engine is loaded by a worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, BinaryIO, Protocol

from .headers import Size

if TYPE_CHECKING:
    from PIL import Image

#: Of how many times the wanted size an engine makes pixels: what is left is done by Lanczos, 50 dB from doing it all.
GAP = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an engine is asked for: a still picture of this size, which is `stored` or smaller on both sides.

    `mode` is Pillow's word for the pixels that the header announces, `alpha` says whether there are unseen ones,
    `compression` is Pillow's word for that of a TIFF file, `orientation` the tag (1 for upright). The header has passed all
    limits.
    """

    form: str
    stored: Size
    size: Size
    mode: str
    alpha: bool
    compression: str = ""
    orientation: int = 1


class Engine(Protocol):
    """Decodes one format. Called in a confined worker only, inside `decode.faults`."""

    def read(self, stream: BinaryIO, wanted: Wanted) -> Image.Image | None:
        """The picture as stored, not turned, of size `wanted.size` or `wanted.stored`; or None for what it leaves to Pillow.

        The mode is `L`, `RGB` or `RGBA`, its colours are those of the file. Raises `Corrupt`, or anything: that is the same.
        """
        ...


#: By format, what makes the engine. Ours comes with the package; one of a plugin takes its place.
_OFFERED: dict[str, Callable[[], Engine | None]] = {"WEBP": lambda: import_module(".webp", __package__).engine()}
_LOADED: dict[str, Engine | None] = {}


def provide(form: str, engine: Callable[[], Engine | None]) -> None:
    """Have a format decoded by another engine: `engine` loads and makes it, in a worker before it is confined, and must start
    no thread. None means that it cannot work here. The last one offered is used."""
    _OFFERED[form] = engine
    _LOADED.pop(form, None)


def withdraw(form: str) -> None:
    """Let Pillow decode a format again."""
    _OFFERED.pop(form, None)
    _LOADED.pop(form, None)


def load() -> None:
    """Load every engine that is offered, so that a confined worker opens no files."""
    for form in _OFFERED:
        _engine(form)


def _engine(form: str) -> Engine | None:
    if form not in _LOADED:
        _LOADED[form] = _OFFERED[form]() if form in _OFFERED else None
    return _LOADED[form]


def read(stream: BinaryIO, wanted: Wanted) -> Image.Image | None:
    """The picture by the engine for its format, or None where Pillow is to decode it. Call inside `faults`."""
    engine = _engine(wanted.form)
    return None if engine is None else engine.read(stream, wanted)
