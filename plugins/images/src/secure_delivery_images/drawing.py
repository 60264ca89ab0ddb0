"""Pixels that are there already: drawn by code, or kept from an earlier look.

Knows: pictures in memory. Must not know: files, tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from .encode import Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """The source of a picture that no file holds: pixels that somebody made (several: an animation, with times and `loop` as
    in `Frames`), and the name they go by."""

    images: Sequence[Image.Image]
    filename: str
    times: Sequence[int] = ()
    loop: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """Decoded pixels kept with a picture: `done` of its edits are in them; `way` is what decoding depended on."""

    image: Image.Image
    kept: Kept
    done: int
    way: tuple[Any, ...]
