"""The tasks of transformation URLs that this plugin offers: what each takes, and what it asks of a picture.

Knows: option names, ranges and defaults of the Filestack documentation (image tasks; `output`).
Must not know: Pillow. The server process imports this module to bind URLs; only a worker, in `warm` or `apply`, loads more.

`VERSION` is part of the key of every kept result. Raise it when the same options give other pixels or bytes: a changed
default, filter or rounding; not for a repaired crash. A new Pillow counts only if its results differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from secure_delivery.plugin import (
    REQUIRED,
    Media,
    Param,
    Transformation,
    Unsupported,
    Workshop,
    boolean,
    choice,
    either,
    integer,
    json_file,
    listing,
)

from .colours import WHITE, colour

if TYPE_CHECKING:
    from .picture import Picture

VERSION = "2"

_QUALITY = either(choice("input"), integer(1, 100))
_OUTPUT_QUALITY = 100  # the documented default of `output`; every other task uses the encoder's own
ASKED_FOR = "no_location"  # the metadata profile that `metadata:true` of a task asks for
VERTICAL = {"top": 0.0, "middle": 0.5, "center": 0.5, "bottom": 1.0}
HORIZONTAL = {"left": 0.0, "center": 0.5, "middle": 0.5, "right": 1.0}

_ALIGN = either(
    choice("top", "middle", "bottom", "left", "center", "right", "faces"),
    listing(choice(*VERTICAL), choice(*HORIZONTAL)),
)

#: Documented formats to Pillow's words. `pjpg` is a JPEG that builds up in passes.
_PICTURES = {
    "jpg": "JPEG",
    "pjpg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "gif": "GIF",
    "bmp": "BMP",
    "tiff": "TIFF",
    "avif": "AVIF",
}
_DOCUMENTS = ("doc", "docx", "html", "odp", "ods", "odt", "pdf", "ppt", "pptx", "svg", "txt", "xls", "xlsx")


class PictureTask:
    """A transformation of pictures: what all tasks here share.

    A task that can do with a smaller copy of its picture also has `scale` (see `Scaling`): it says how much it shrinks one,
    1.0 for not at all, None when it wants the original file.
    """

    params: ClassVar[tuple[Param, ...]] = ()
    version = VERSION

    def warm(self) -> None:
        """Import Pillow and all it would load late, before a worker is confined."""
        import_module(".picture", __package__).warm()
        import_module(".faces", __package__)

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        """Note what is to be done; the picture is decoded and encoded once, when the last result is opened.

        Raises `Unsupported`, `TooLarge`, `Corrupt` from the header; `open` of the result raises these and `ProcessingLimit`.
        """
        from .picture import Picture

        return self.change(Picture.taken(media, shop), options)

    def change(self, picture: Picture, options: Mapping[str, Any]) -> Media:
        raise NotImplementedError


class Resize(PictureTask):
    """`resize`: to a width, a height, or both; 0 is the same as leaving one out.

    `clip` fits inside the box, `max` does too but never enlarges, `crop` fills the box and cuts the surplus by `align`,
    `scale` distorts. With one side given, the other follows in every fit.
    """

    params = (
        Param("width", integer(0, 10_000), ("w",), 0),
        Param("height", integer(0, 10_000), ("h",), 0),
        Param("fit", choice("clip", "crop", "scale", "max"), ("f",), "clip"),
        Param("align", _ALIGN, ("a",), "center"),
        Param("filter", choice("lanczos", "bicubic", "hamming", "bilinear", "box", "nearest"), (), "lanczos"),
    )

    def check(self, options: Mapping[str, Any]) -> None:
        if not options["width"] and not options["height"]:
            raise ValueError("one of width and height must be greater than 0.")

    def asks(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        return ("faces",) if _by_faces(options) else ()

    def scale(self, options: Mapping[str, Any], size: tuple[int, int]) -> float | None:
        wide = options["width"] / size[0] if options["width"] else None
        high = options["height"] / size[1] if options["height"] else None
        if wide is None or high is None:
            factor = wide or high or 1.0
        else:
            factor = max(wide, high) if options["fit"] in ("crop", "scale") else min(wide, high)
        return min(1.0, factor) if options["fit"] == "max" else factor

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        from .edits import Resize
        from .faces import middle
        from .picture import Picture

        picture = Picture.taken(media, shop)
        return picture.edited(
            Resize(
                width=options["width"],
                height=options["height"],
                fit=options["fit"],
                align=fractions(options["align"]),
                filter=options["filter"],
                centre=middle(picture, shop) if _by_faces(options) else None,
            )
        )


def _by_faces(options: Mapping[str, Any]) -> bool:
    """Whether faces decide what is cut off: where nothing is, nobody looks for them."""
    return options["align"] == "faces" and options["fit"] == "crop" and bool(options["width"] and options["height"])


def fractions(align: Any) -> tuple[float, float]:
    """How much of the surplus lies at the left and at the top."""
    if isinstance(align, str):
        return HORIZONTAL.get(align, 0.5), VERTICAL.get(align, 0.5)
    vertical, horizontal = align
    return HORIZONTAL[horizontal], VERTICAL[vertical]


class Crop(PictureTask):
    """`crop`: a rectangle [x, y, width, height] in pixels; what lies outside the picture is left out."""

    params = (
        Param(
            "dim",
            listing(integer(0, 100_000), integer(0, 100_000), integer(1, 100_000), integer(1, 100_000)),
            ("d",),
            REQUIRED,
        ),
    )

    def change(self, picture: Picture, options: Mapping[str, Any]) -> Media:
        from . import edits

        left, top, width, height = options["dim"]
        return picture.edited(edits.Crop(left=left, top=top, width=width, height=height))


class Rotate(PictureTask):
    """`rotate`: clockwise by whole degrees, or by the orientation tag.

    Pictures are turned upright by their tag in any case, so `deg:exif` and `exif:true` ask for what happens anyway;
    `exif:false` keeps the pixels as stored and drops the tag.
    """

    params = (
        Param("deg", either(choice("exif"), integer(0, 359)), ("d",)),
        Param("exif", boolean(), ("e",)),
        Param("background", colour(), ("b",), WHITE),
    )

    def check(self, options: Mapping[str, Any]) -> None:
        if options["deg"] is None and options["exif"] is None:
            raise ValueError("deg or exif is needed.")
        if options["deg"] == "exif" and options["exif"] is False:
            raise ValueError("deg:exif and exif:false contradict each other.")

    def scale(self, options: Mapping[str, Any], size: tuple[int, int]) -> float | None:
        """1.0 where sides stay sides; a copy knows nothing of the tag that `exif:false` is about."""
        return 1.0 if options["exif"] is not False and options["deg"] in (None, "exif", 0, 180) else None

    def change(self, picture: Picture, options: Mapping[str, Any]) -> Media:
        from . import edits

        if options["exif"] is False:
            picture = picture.unturned()
        if options["deg"] in (None, "exif"):
            return picture
        degrees = options["deg"]
        if degrees % 90 == 0:
            return picture.edited(edits.Turn(quarters=degrees // 90))
        return picture.edited(edits.Rotate(degrees=degrees, background=tuple(options["background"])))


class Flip(PictureTask):
    """`flip`: top to bottom."""

    def scale(self, options: Mapping[str, Any], size: tuple[int, int]) -> float | None:
        return 1.0

    def change(self, picture: Picture, options: Mapping[str, Any]) -> Media:
        from . import edits

        return picture.edited(edits.Mirror(sideways=False))


class Flop(PictureTask):
    """`flop`: left to right."""

    def scale(self, options: Mapping[str, Any], size: tuple[int, int]) -> float | None:
        return 1.0

    def change(self, picture: Picture, options: Mapping[str, Any]) -> Media:
        from . import edits

        return picture.edited(edits.Mirror(sideways=True))


class Output(PictureTask):
    """`output`: another format. A pair that pictures do not have is `Unsupported` and named.

    `density`, `pageformat`, `pageorientation` and `secure` say how documents are drawn; a picture is the same whatever they
    are, so that one URL serves both. `strip` asks for what happens anyway, unless `compress=metadata:true` said otherwise.
    """

    params = (
        Param("format", choice(*_PICTURES, *_DOCUMENTS), ("f",)),
        Param("background", colour(), ("b",)),
        Param("page", integer(1, 99_999), ("p",), 1),
        Param("density", integer(1, 500), ("d",)),
        Param("compress", boolean(), ("c",), False),
        Param("quality", _QUALITY, ("q",)),
        Param("strip", boolean(), ("t",), False),
        Param("colorspace", choice("rgb", "cmyk", "input"), ("o",), "rgb"),
        Param("secure", boolean(), ("s",), False),
        Param("docinfo", boolean(), ("i",), False),
        Param("pageformat", choice("a2", "a3", "a4", "a5", "b4", "b5", "letter", "legal", "tabloid"), ("a",)),
        Param("pageorientation", choice("portrait", "landscape"), ("r",)),
    )

    def scale(self, options: Mapping[str, Any], size: tuple[int, int]) -> float | None:
        """1.0 unless it is about the file itself: its pages, what it says of itself, its tables or inks."""
        own = options["docinfo"] or options["page"] != 1 or "input" in (options["quality"], options["colorspace"])
        return None if own else 1.0

    def change(self, picture: Picture, options: Mapping[str, Any]) -> Media:
        if options["docinfo"]:
            raise Unsupported(public="output: docinfo describes documents, and this file is a picture.")
        form = picture.form
        wanted = options["format"]
        if wanted is not None:
            form = _PICTURES.get(wanted, "")
            if not form:
                raise Unsupported(public=f"Unsupported conversion: {picture.facts.form.lower()} to {wanted}.")
        if options["colorspace"] == "cmyk" and form not in ("JPEG", "TIFF"):
            raise Unsupported(public=f"output: {form.lower()} has no CMYK; jpg and tiff do.")
        encoding = picture.encoding
        changes: dict[str, Any] = {"form": form, "colorspace": options["colorspace"]}
        changes["progressive"] = wanted == "pjpg" or (wanted is None and encoding.progressive)
        changes["compress"] = options["compress"] or encoding.compress
        changes["metadata"] = "none" if options["strip"] else encoding.metadata
        changes["quality"] = options["quality"] or encoding.quality or _OUTPUT_QUALITY
        if options["background"] is not None:
            changes["background"] = tuple(options["background"])
        return picture.at_page(options["page"]).encoded(**changes)


class Quality(PictureTask):
    """`quality`: 1 to 100, or that of the source (`input`), for JPEG and WebP; other formats have none and stay as they are.

    A result of the same format and no more pixels is never larger than the source.
    """

    params = (Param("value", _QUALITY, ("v",), REQUIRED),)

    def scale(self, options: Mapping[str, Any], size: tuple[int, int]) -> float | None:
        return None if options["value"] == "input" else 1.0

    def change(self, picture: Picture, options: Mapping[str, Any]) -> Media:
        if picture.form not in ("JPEG", "WEBP"):
            return picture
        return picture.encoded(quality=options["value"], bounded=True)


class Compress(PictureTask):
    """`compress`: smaller without visible loss, for PNG and JPEG; other formats only lose their metadata.

    `metadata:true` keeps EXIF and XMP of the source, except for the place: only an application's own profile lets that out.
    """

    params = (Param("metadata", boolean(), ("m",), False),)

    def demands(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        return ("exif",) if options["metadata"] else ()

    def change(self, picture: Picture, options: Mapping[str, Any]) -> Media:
        picture = picture.encoded(compress=True)
        return picture.allowing(ASKED_FOR) if options["metadata"] else picture


class NoMetadata(PictureTask):
    """`no_metadata`: the same pixels without EXIF, XMP, texts and thumbnail."""

    def scale(self, options: Mapping[str, Any], size: tuple[int, int]) -> float | None:
        return 1.0

    def change(self, picture: Picture, options: Mapping[str, Any]) -> Media:
        return picture.encoded(metadata="none")


class ImageSize(PictureTask):
    """`imagesize`: width and height in pixels, upright, as JSON."""

    def scale(self, options: Mapping[str, Any], size: tuple[int, int]) -> float | None:
        return 1.0

    def change(self, picture: Picture, options: Mapping[str, Any]) -> Media:
        width, height = picture.dimensions()
        return json_file({"width": width, "height": height}, "imagesize.json")


def transformations() -> dict[str, Transformation]:
    """Every task by its name in URLs."""
    from . import exif_task, format_tasks, many_tasks  # whose tasks are made from those here
    from .effects import transformations as effects

    return {
        "resize": Resize(),
        "crop": Crop(),
        "rotate": Rotate(),
        "flip": Flip(),
        "flop": Flop(),
        "output": Output(),
        "quality": Quality(),
        "compress": Compress(),
        "no_metadata": NoMetadata(),
        "imagesize": ImageSize(),
        "exif": exif_task.Exif(),
        "pjpg": format_tasks.ProgressiveJpeg(),
        "auto_image": format_tasks.AutoImage(),
        "watermark": many_tasks.Watermark(),
        "collage": many_tasks.Collage(),
        "animate": many_tasks.Animate(),
        **effects(),
    }
