"""The section `raw`: what a camera noted down beside the sensor's pixels.

Knows: the contract of extractors, profiles, the shape of the section. Must not know: rawpy, which a worker loads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from importlib import import_module
from typing import Any, ClassVar

from secure_delivery.plugin import Work

from .kinds import EXTENSIONS, MIMETYPES, NEEDS, is_raw

_TURNED = {0: 0, 3: 180, 5: 270, 6: 90}
_POSITIVE: Mapping[str, Any] = {"type": "number", "exclusiveMinimum": 0}
_SIDE: Mapping[str, Any] = {"type": "integer", "minimum": 1}


class RawNotes:
    """`raw`: sizes and exposure. Time, lens and author are told under the metadata profiles `no_location` and `all`, the
    author under `copyright` as well."""

    section = "raw"
    call = "exif"
    mimetypes: ClassVar[tuple[str, ...]] = MIMETYPES
    extensions: ClassVar[tuple[str, ...]] = EXTENSIONS
    needs = NEEDS
    schema: ClassVar[Mapping[str, Any]] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "raw",
        "description": "Null for files that are no camera raw. Keys without a value are left out.",
        "type": ["object", "null"],
        "required": ["width", "height", "sensor", "rotation", "colors", "embedded"],
        "additionalProperties": False,
        "properties": {
            "width": {**_SIDE, "description": "pixels, of the upright picture"},
            "height": _SIDE,
            "sensor": {
                "type": "object",
                "required": ["width", "height"],
                "properties": {"width": _SIDE, "height": _SIDE},
                "additionalProperties": False,
            },
            "rotation": {"enum": [0, 90, 180, 270], "description": "degrees clockwise that make it upright"},
            "colors": {"type": "integer", "minimum": 1, "maximum": 4},
            "pattern": {"type": "string", "description": "the names of its colours: RGBG"},
            "embedded": {
                "type": ["object", "null"],
                "description": "the largest picture inside",
                "required": ["width", "height"],
                "properties": {"width": _SIDE, "height": _SIDE},
                "additionalProperties": False,
            },
            "iso": _POSITIVE,
            "exposure_time": {**_POSITIVE, "description": "seconds"},
            "f_number": _POSITIVE,
            "focal_length": {**_POSITIVE, "description": "millimetres"},
            "taken": {"type": "string", "description": "ISO 8601, local time of the camera"},
            "lens": {"type": "string", "maxLength": 200},
            "author": {"type": "string", "maxLength": 200},
        },
        "examples": [
            {
                "width": 6000,
                "height": 4000,
                "sensor": {"width": 6048, "height": 4024},
                "rotation": 0,
                "colors": 3,
                "pattern": "RGBG",
                "embedded": {"width": 6000, "height": 4000},
                "iso": 200,
                "exposure_time": 0.004,
                "f_number": 5.6,
            }
        ],
    }

    def warm(self) -> None:
        """Load LibRaw, numpy and Pillow."""
        import_module("secure_delivery_images.picture").warm()
        import_module(".negative", __package__).warm()

    def probe(self, head: bytes, filename: str) -> bool:
        """By content; among TIFF files by name as well."""
        return is_raw(head, filename)

    def extract(self, work: Work) -> Any:
        """Raises `Unsupported`, `Corrupt`, `TooLarge`, `ProcessingLimit`."""
        from .negative import Negative

        negative = Negative.of(work.media, work.limits)
        facts, told = negative.facts(), negative.inside()
        section = {
            "width": negative.size[0],
            "height": negative.size[1],
            "sensor": {"width": facts.sensor[0], "height": facts.sensor[1]},
            "rotation": _TURNED.get(negative.turn, 0),
            "colors": min(4, max(1, facts.colors)),
            "pattern": _clean(facts.pattern),
            "embedded": None if told is None else {"width": told.width, "height": told.height},
            "iso": _positive(facts.iso),
            "exposure_time": _positive(facts.seconds),
            "f_number": _positive(facts.aperture),
            "focal_length": _positive(facts.focal_length),
        }
        if work.shop.metadata in ("no_location", "all"):
            section |= {"taken": _time(facts.taken), "lens": _clean(facts.lens)}
        if work.shop.metadata in ("copyright", "no_location", "all"):
            section["author"] = _clean(facts.author)
        return {name: value for name, value in section.items() if name == "embedded" or value not in (None, "")}


def _positive(number: float) -> float | None:
    return round(float(number), 6) or None if math.isfinite(number) and 0 < number < 1e7 else None


def _time(taken: datetime | None) -> str | None:
    """None for the beginning of time, which stands for an unset clock."""
    return taken.replace(tzinfo=None).isoformat() if taken is not None and taken.year > 1970 else None


def _clean(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable()).strip()[:200]
