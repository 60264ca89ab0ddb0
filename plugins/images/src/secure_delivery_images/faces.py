"""Where the faces of a picture are, as far as a crop needs to know.

Knows: what the detector `faces` answers. Must not know: how faces are found, tasks.
"""

from __future__ import annotations

from typing import Any

from secure_delivery.plugin import Corrupt, Workshop

from .edits import Resize
from .picture import Picture

_ENOUGH = 1280  # pixels a side: a face that a crop is about is seen, and a large JPEG is decoded at a fraction of its size


def middle(picture: Picture, shop: Workshop) -> tuple[float, float] | None:
    """The middle of the rectangle around all faces, as fractions of the picture so far; None when there are none.

    Raises `NotProvided` when nobody finds faces, and what looking raises.
    """
    small = picture.edited(Resize(width=_ENOUGH, height=_ENOUGH, fit="max"))
    answer = shop.detect("faces", small)
    try:
        return _middle(answer["faces"], answer["width"], answer["height"])
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise Corrupt(f"the detector of faces answered out of turn: {error!r}") from error


def _middle(faces: Any, width: float, height: float) -> tuple[float, float] | None:
    if not faces:
        return None
    left, top = min(face["x"] for face in faces), min(face["y"] for face in faces)
    right, bottom = max(face["x"] + face["width"] for face in faces), max(face["y"] + face["height"] for face in faces)
    return (left + right) / 2 / width, (top + bottom) / 2 / height
