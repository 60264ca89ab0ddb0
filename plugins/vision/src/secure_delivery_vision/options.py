"""Options that the face tasks share, and what they choose of the faces that were found.

Knows: the documented selector and sizes. Must not know: pixels, how faces are found; the server process imports this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from secure_delivery.plugin import Corrupt, Kind, Param, Value, integer, number

MOST = 1000  # the highest number of a face

_NUMBER = integer(1, MOST)
_SHARE = 1.0  # sizes below are shares of the middle dimension, sizes from here on are pixels


def _selector(value: Value) -> Any:
    """`all`, a number, or a list of numbers (as a tuple)."""
    if isinstance(value, str):
        return "all" if value.lower() == "all" else _NUMBER.read(value)
    if not 1 <= len(value) <= MOST:
        raise ValueError
    return tuple(_NUMBER.read(item) for item in value)


def selector() -> Kind:
    """Which faces, counted from 1, the largest first."""
    return Kind(_selector, f"all, a whole number from 1 to {MOST}, or a list of those")


def sizes() -> tuple[Param, Param]:
    """The bounds of a face's size. Without them every face counts."""
    return Param("minsize", number(0.01, 10_000), ("n",)), Param("maxsize", number(0.01, 10_000), ("x",))


def check_sizes(options: Mapping[str, Any]) -> None:
    """Raise `ValueError` for bounds of the same unit between which there is nothing."""
    low, high = options["minsize"], options["maxsize"]
    if low is not None and high is not None and low > high and (low < _SHARE) == (high < _SHARE):
        raise ValueError("minsize may not be greater than maxsize.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A face in whole pixels of the picture, and its eyes when the detector says where they are."""

    left: int
    top: int
    width: int
    height: int
    eyes: tuple[tuple[float, float], ...] = ()

    @property
    def size(self) -> int:
        return max(self.width, self.height)

    def rectangle(self) -> dict[str, int]:
        """As it is exported."""
        return {"x": self.left, "y": self.top, "width": self.width, "height": self.height}

    def grown(self, percent: float) -> tuple[float, float, float, float]:
        """Left, top, right, bottom with so many per cent of its own size added, half on each side."""
        across, down = self.width * percent / 200, self.height * percent / 200
        return self.left - across, self.top - down, self.left + self.width + across, self.top + self.height + down


def found(answer: Any) -> tuple[list[Face], int, int]:
    """The faces of a detector's answer, the largest first, and the size of the picture.

    The detector may be another plugin's. Raises `Corrupt` for an answer in another shape.
    """
    try:
        faces = [_face(item) for item in answer["faces"]]
        width, height = int(answer["width"]), int(answer["height"])
    except (TypeError, KeyError, ValueError, OverflowError):
        raise Corrupt("the detector of faces gave an answer in another shape") from None
    inside = [face for face in faces if face is not None]
    return sorted(inside, key=lambda face: (-face.width * face.height, face.left, face.top)), width, height


def _face(item: Mapping[str, Any]) -> Face | None:
    left, top, width, height = (round(float(item[name])) for name in ("x", "y", "width", "height"))
    eyes = tuple((float(x), float(y)) for x, y in item.get("eyes") or ())
    return Face(left=left, top=top, width=width, height=height, eyes=eyes) if width > 0 and height > 0 else None


def within(faces: Sequence[Face], options: Mapping[str, Any], width: int, height: int) -> list[Face]:
    """Those of a size between the bounds. The size of a face is its longer side.

    A bound below 1 is a share of the middle dimension, (width + height) / 2. The documentation gives 0.35 as default of both
    bounds, which would leave out nearly every face: two equal bounds are taken for none.
    """
    low, high = options["minsize"], options["maxsize"]
    if low == high:
        return list(faces)
    middle = (width + height) / 2
    least, most = (None if bound is None else bound * middle if bound < _SHARE else bound for bound in (low, high))
    return [face for face in faces if (least is None or face.size >= least) and (most is None or face.size <= most)]


def chosen(faces: Sequence[Face], which: Any) -> list[Face]:
    """Those that the selector names; numbers beyond the last face name nothing."""
    if which == "all":
        return list(faces)
    numbers = dict.fromkeys(which if isinstance(which, (tuple, list)) else (which,))
    return [faces[number - 1] for number in numbers if number <= len(faces)]
