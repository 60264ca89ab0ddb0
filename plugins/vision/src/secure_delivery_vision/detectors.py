"""What this plugin finds in pictures: `faces`, `ocr`, `doc_detection`.

Knows: the shapes of the answers. Must not know: OpenCV, which only workers load, in `warm` or `detect`.

`VERSION` is part of the key of every result: raise it when the same picture gives another answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secure_delivery.plugin import Detector, Media, WorkLimits

VERSION = "1"


class Looking:
    """What the detectors share."""

    version = VERSION

    def warm(self) -> None:
        """Import OpenCV and Pillow before a worker is confined. No model is read and no thread started."""
        _warm()


class Faces(Looking):
    """`{"faces": [{"x", "y", "width", "height", "score", "eyes"}], "width", "height"}`, the largest face first.

    Pixels of the upright picture; `score` is 0 to 1; `eyes` are two points.
    """

    def detect(self, media: Media, options: Mapping[str, Any], limits: WorkLimits) -> Any:
        _warm()
        from . import finding, pixels

        view = pixels.look(media, limits, finding.LOOKED_AT)
        return {"faces": [_face(face) for face in finding.faces(view)], "width": view.width, "height": view.height}


class Text(Looking):
    """The documented answer of `ocr`: text areas, their lines, their words, each with the four corners of its box."""

    def detect(self, media: Media, options: Mapping[str, Any], limits: WorkLimits) -> Any:
        _warm()
        from . import layout, pixels, reading

        view = pixels.look(media, limits, reading.LOOKED_AT)
        lines = [line.scaled(view.across, view.down) for line in reading.read(view.pixels)]
        return layout.document(lines, view.width, view.height)


class Document(Looking):
    """`{"corners": [[x, y], ...] or null, "width", "height"}`: clockwise from the top left, pixels of the upright picture."""

    def detect(self, media: Media, options: Mapping[str, Any], limits: WorkLimits) -> Any:
        _warm()
        from . import page, pixels

        view = pixels.look(media, limits, page.LOOKED_AT)
        corners = page.corners(view.pixels)
        answer: dict[str, Any] = {"corners": None, "width": view.width, "height": view.height}
        if corners is not None:
            answer["corners"] = [[round(float(x) * view.across, 1), round(float(y) * view.down, 1)] for x, y in corners]
        return answer


def detectors() -> dict[str, Detector]:
    """Each by the name that tasks ask for."""
    return {"faces": Faces(), "ocr": Text(), "doc_detection": Document()}


def _warm() -> None:
    from . import library

    library.load()
    from secure_delivery_images.picture import warm

    from . import finding, hiding, layout, page, reading, redeye, sheet  # noqa: F401 - what a child would load late

    warm()


def _face(face: Any) -> dict[str, Any]:
    left, top, width, height = face.box
    right, bottom = round(left + width), round(top + height)
    left, top = round(left), round(top)
    return {
        "x": left,
        "y": top,
        "width": max(1, right - left),
        "height": max(1, bottom - top),
        "score": round(min(1.0, face.score), 3),
        "eyes": [[round(x, 1), round(y, 1)] for x, y in face.eyes],
    }
