"""The extractor of this plugin: `ocr`, what stands on each page.

Knows: the shape of the section. Must not know: OpenCV, which only workers load, in `warm` or `read`.

Pages come as pictures, whoever drew them. A page is looked at in a copy whose longer side has 1,600 pixels, as by the detector
of the same name: more costs time and memory by the pixel, and reads no more of what is printed. So `page_side` tells how large
a page is best drawn for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from secure_delivery.plugin import Extractor, Needs, Page, Work

from .detectors import Text

_MOST = 100_000  # characters of one page
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "ocr",
    "description": "The text on each of the wanted pages, in reading order, its lines apart.",
    "type": ["array", "null"],
    "items": {
        "type": "object",
        "required": ["page", "text"],
        "additionalProperties": False,
        "properties": {
            "page": {"type": "integer", "minimum": 1},
            "text": {"type": "string", "maxLength": _MOST},
        },
    },
}


class Ocr:
    """`[{"page", "text"}]`: of every page for which there is a picture."""

    section = "ocr"
    call = "exif"  # it tells contents
    schema = SCHEMA
    mimetypes: ClassVar[tuple[str, ...]] = ("*/*",)
    extensions: ClassVar[tuple[str, ...]] = ()
    needs = Needs(libraries=("opencv-python-headless", "rapidocr"))
    page_side = 1_600  # pixels

    def __init__(self) -> None:
        self._detector = Text()

    def warm(self) -> None:
        """As the detector: imports, no model and no thread."""
        self._detector.warm()

    def extract(self, work: Work) -> Any:
        """A file without pages has no text to be seen."""
        return None

    def read(self, page: Page, work: Work) -> Mapping[str, Any]:
        """`{"text": str}`. Raises `Unsupported`, `Corrupt`, `TooLarge` for what is no picture."""
        answer = self._detector.detect(page.media, {}, work.limits)
        return {"text": _CONTROLS.sub("", answer["text"])[:_MOST]}


def extractors() -> dict[str, Extractor]:
    """By the name of its section."""
    return {"ocr": Ocr()}
