"""The tasks of transformation URLs that this plugin offers: faces framed, cut out, hidden; red eyes; documents cut out.

Knows: option names, ranges and defaults of the Filestack documentation (facial detection, intelligence).
Must not know: OpenCV, Pillow. The server process imports this module to bind URLs; only a worker loads more.

Tasks ask the workshop for what they need to know (`faces`, `doc_detection`): another plugin may be the one that answers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from secure_delivery.plugin import (
    Corrupt,
    Media,
    Param,
    Transformation,
    Unsupported,
    Workshop,
    boolean,
    choice,
    integer,
    json_file,
    number,
)
from secure_delivery_images.colours import colour

from .detectors import Looking
from .options import Face, check_sizes, chosen, found, selector, sizes, within

if TYPE_CHECKING:
    from secure_delivery_images.picture import Picture

VERSION = "1"

_DIMGRAY = (105, 105, 105, 255)
_FACES = ("faces",)
_EYE = 0.2  # of a face's width: how far from the middle of an eye its pupil may be
_EYES = ((0.3, 0.4), (0.7, 0.4))  # where eyes are in a face, for detectors that do not say


class FaceTask(Looking):
    """A transformation that depends on the faces in a picture."""

    version = VERSION
    params: ClassVar[tuple[Param, ...]] = ()

    def asks(self, options: Mapping[str, Any]) -> Collection[str]:
        return _FACES

    def check(self, options: Mapping[str, Any]) -> None:
        check_sizes(options)

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        from secure_delivery_images.picture import Picture

        picture = Picture.taken(media, shop)
        faces, width, height = found(shop.detect("faces", picture))
        return self.change(picture, within(faces, options, width, height), options)

    def change(self, picture: Picture, faces: list[Face], options: Mapping[str, Any]) -> Media:
        """`faces` are those of the sizes asked for, the largest first."""
        raise NotImplementedError


class DetectFaces(FaceTask):
    """`detect_faces`: a frame around every face; `export` answers with the list of them instead."""

    params = (
        *sizes(),
        Param("color", colour(), ("c",), _DIMGRAY),
        Param("export", boolean(), ("e",), False),
    )

    def change(self, picture: Picture, faces: list[Face], options: Mapping[str, Any]) -> Media:
        if options["export"]:
            return json_file([face.rectangle() for face in faces], "faces.json")
        from .hiding import Framed

        boxes = tuple(face.grown(0) for face in faces)
        return picture.edited(Framed(boxes=boxes, colour=tuple(options["color"]))) if boxes else picture


class CropFaces(FaceTask):
    """`crop_faces`: a picture of one face, of several, or of all.

    `thumb` shows the faces and as much around them as `buffer` says, `crop` a cut of so many pixels with them in the middle,
    `fill` as much of the picture as fits the proportions.
    """

    params = (
        Param("mode", choice("thumb", "crop", "fill"), ("m",), "thumb"),
        Param("width", integer(1, 10_000), ("w",)),
        Param("height", integer(1, 10_000), ("h",)),
        Param("faces", selector(), ("f",), 1),
        Param("buffer", integer(0, 10_000), ("b",), 0),
        *sizes(),
    )

    def change(self, picture: Picture, faces: list[Face], options: Mapping[str, Any]) -> Media:
        wanted = chosen(faces, options["faces"])
        if not wanted:
            raise Unsupported("no face", public="crop_faces: there is no such face in the picture.")
        from . import cutting

        way = {"thumb": cutting.thumb, "crop": cutting.crop, "fill": cutting.fill}[options["mode"]]
        box = cutting.around([face.grown(options["buffer"]) for face in wanted])
        for edit in way(box, picture.dimensions(), options["width"], options["height"]):
            picture = picture.edited(edit)
        return picture


class HidingTask(FaceTask):
    """What `pixelate_faces` and `blur_faces` share."""

    def change(self, picture: Picture, faces: list[Face], options: Mapping[str, Any]) -> Media:
        wanted = chosen(faces, options["faces"])
        if not wanted:
            return picture
        from . import hiding

        effect = self.effect(hiding, options["amount"])
        boxes = tuple(face.grown(options["buffer"]) for face in wanted)
        return picture.edited(hiding.Hidden(boxes=boxes, effect=effect, oval=options["type"] == "oval", soft=options["blur"]))

    def effect(self, hiding: Any, amount: float) -> Any:
        raise NotImplementedError


def _hiding(strength: Param) -> tuple[Param, ...]:
    return (
        Param("faces", selector(), ("f",), "all"),
        *sizes(),
        Param("buffer", integer(0, 1_000), ("b",), 0),
        strength,
        Param("blur", number(0, 20), ("l",), 4),
        Param("type", choice("rect", "oval"), ("t",), "rect"),
    )


class PixelateFaces(HidingTask):
    """`pixelate_faces`: `amount` is the side of a square in per cent of the face."""

    params = _hiding(Param("amount", integer(2, 100), ("a",), 10))

    def effect(self, hiding: Any, amount: float) -> Any:
        return hiding.pixelated(amount)


class BlurFaces(HidingTask):
    """`blur_faces`: `amount` is the standard deviation of the blur in per cent of the face."""

    params = _hiding(Param("amount", number(0, 20), ("a",), 10))

    def effect(self, hiding: Any, amount: float) -> Any:
        return hiding.blurred(amount)


class RedEye(FaceTask):
    """`redeye`: red pupils made dark; in a picture without faces only where two red spots can hardly be anything else."""

    def check(self, options: Mapping[str, Any]) -> None:
        return None

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        return super().apply(media, {"minsize": None, "maxsize": None}, shop)

    def change(self, picture: Picture, faces: list[Face], options: Mapping[str, Any]) -> Media:
        from .redeye import Calmed, Eye

        eyes = tuple(Eye(x, y, face.width * _EYE) for face in faces for x, y in face.eyes or _guessed(face))
        return picture.edited(Calmed(eyes=eyes, search=not faces))


def _guessed(face: Face) -> list[tuple[float, float]]:
    return [(face.left + face.width * across, face.top + face.height * down) for across, down in _EYES]


class DocDetection(Looking):
    """`doc_detection`: the document in a photograph, cut out and seen from above; `coords` answers with where it is.

    A picture in which no document is found is taken for the document itself (`coords`: null).
    """

    version = VERSION
    authenticated = True
    params: ClassVar[tuple[Param, ...]] = (
        Param("coords", boolean(), (), False),
        Param("preprocess", boolean(), (), True),
    )

    def asks(self, options: Mapping[str, Any]) -> Collection[str]:
        return ("doc_detection",)

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        from secure_delivery_images.picture import Picture

        picture = Picture.taken(media, shop)
        corners = _corners(shop.detect("doc_detection", picture))
        if options["coords"]:
            return json_file({"coords": _bounds(corners)}, "document.json")
        if not corners and not options["preprocess"]:
            return picture
        from .cutting import Flattened

        return picture.edited(Flattened(corners=corners, clean=options["preprocess"]))


def _corners(answer: Any) -> tuple[tuple[float, float], ...]:
    """The four corners of a detector's answer, or none. Raises `Corrupt` for an answer in another shape."""
    try:
        corners = tuple((float(x), float(y)) for x, y in answer["corners"] or ())
    except (TypeError, KeyError, ValueError):
        corners = ((0.0, 0.0),)
    if len(corners) not in (0, 4):
        raise Corrupt("the detector of documents gave an answer in another shape")
    return corners


def _bounds(corners: tuple[tuple[float, float], ...]) -> dict[str, int] | None:
    """The upright rectangle around the document."""
    if not corners:
        return None
    left, top = (round(min(point[way] for point in corners)) for way in (0, 1))
    right, bottom = (round(max(point[way] for point in corners)) for way in (0, 1))
    return {"x": left, "y": top, "width": right - left, "height": bottom - top}


def transformations() -> dict[str, Transformation]:
    """Every task by its name in URLs."""
    return {
        "detect_faces": DetectFaces(),
        "crop_faces": CropFaces(),
        "pixelate_faces": PixelateFaces(),
        "blur_faces": BlurFaces(),
        "redeye": RedEye(),
        "doc_detection": DocDetection(),
    }
