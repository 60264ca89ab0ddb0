"""How large a drawing says it is.

Knows: lengths and the view box of SVG 2 (sections 7 and 8.2), CSS pixels. Must not know: how it is drawn.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from secure_delivery.plugin import Corrupt

#: CSS pixels of a unit (CSS Values 4, 6.2); `em` and `ex` at the default font size of 16.
_UNITS = {"": 1.0, "px": 1.0, "in": 96.0, "cm": 96 / 2.54, "mm": 9.6 / 2.54, "q": 2.4 / 2.54, "pt": 96 / 72, "pc": 16.0}
_UNITS |= {"em": 16.0, "rem": 16.0, "ex": 8.0, "ch": 8.0}
_NUMBER = r"[-+]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][-+]?[0-9]{1,3})?"
_LENGTH = re.compile(rf"\s*({_NUMBER})\s*(%|[A-Za-z]{{0,3}})\s*")
_BOX = re.compile(rf"\s*({_NUMBER})(?:\s*,\s*|\s+)({_NUMBER})(?:\s*,\s*|\s+)({_NUMBER})(?:\s*,\s*|\s+)({_NUMBER})\s*")

DEFAULT = (300.0, 150.0)  # of a replaced element that says nothing (CSS 2.2, 10.3.2)


def natural_size(root: Mapping[str, str]) -> tuple[float, float]:
    """Width and height in CSS pixels, from the attributes of the root element.

    A side that is missing, or given in per cent of a page that is not there, follows from the view box. Raises `Corrupt` for a
    drawing without area.
    """
    box = view_box(root)
    width, height = _length(root.get("width", "")), _length(root.get("height", ""))
    if box is None:
        width, height = DEFAULT[0] if width is None else width, DEFAULT[1] if height is None else height
    elif width is None and height is None:
        width, height = box[2], box[3]
    elif width is None:
        width = (height or 0.0) * box[2] / box[3]
    elif height is None:
        height = width * box[3] / box[2]
    if not (width > 0 and height is not None and height > 0 and math.isfinite(width * height)):
        raise Corrupt(f"a drawing of {width} x {height} pixels")
    return width, height


def view_box(root: Mapping[str, str]) -> tuple[float, float, float, float] | None:
    """Left, top, width and height; None when it is missing, wrong or without area."""
    match = _BOX.fullmatch(root.get("viewBox", ""))
    if match is None:
        return None
    left, top, width, height = (float(number) for number in match.groups())
    return (left, top, width, height) if width > 0 and height > 0 else None


def _length(text: str) -> float | None:
    match = _LENGTH.fullmatch(text)
    unit = match[2].lower() if match else "%"
    if match is None or unit not in _UNITS:
        return None
    return float(match[1]) * _UNITS[unit]
