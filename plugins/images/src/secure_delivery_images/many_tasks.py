"""Tasks that take several pictures: `watermark`, `collage`, `animate`.

Knows: option names, ranges and defaults of the Filestack documentation. Must not know: Pillow (compare `tasks`), how files
are found: they arrive in the workshop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from secure_delivery.plugin import (
    REQUIRED,
    Kind,
    Media,
    Param,
    SecureDeliveryError,
    Unsupported,
    Value,
    Workshop,
    boolean,
    choice,
    either,
    integer,
    listing,
    text,
)

from .colours import TRANSPARENT, WHITE, colour
from .tasks import HORIZONTAL, VERTICAL, PictureTask, fractions

if TYPE_CHECKING:
    from .picture import Picture

MOST_PICTURES = 100  # of a list, in all; the grammar has no longer lists
_LONGEST_REFERENCE = 4096  # characters
_FULL_SIZE = 100  # per cent

_POSITION = either(
    choice("top", "middle", "bottom", "left", "center", "right"), listing(choice(*VERTICAL), choice(*HORIZONTAL))
)
_SIDE = either(choice("max"), integer(1, 1800))


def reference() -> Kind:
    """The kind of a parameter that names a file, as sources are written in URLs. What it names is for the engine to read."""
    plain = text(_LONGEST_REFERENCE)

    def read(value: Value) -> str:
        name: str = plain.read(value)
        if not name.strip():
            raise ValueError
        return name

    return Kind(read, "a handle or the quoted address of a file")


def references() -> Kind:
    """The kind of a parameter that names several files."""
    one = reference()

    def read(value: Value) -> tuple[str, ...]:
        names = tuple(one.read(item) for item in (value if isinstance(value, tuple) else (value,)))
        if not 1 <= len(names) < MOST_PICTURES:
            raise ValueError
        return names

    return Kind(read, f"a list of 1 to {MOST_PICTURES - 1} files, each {one.allowed}")


class _Mixing(PictureTask):
    def warm(self) -> None:
        super().warm()
        import_module(".mixing", __package__)


class Watermark(_Mixing):
    """`watermark`: another picture on top, `size` per cent as wide as the picture (0 is the same as leaving it out).

    It is placed as a whole; what reaches beyond an edge is cut off.
    """

    params = (
        Param("file", reference(), ("f",), REQUIRED),
        Param("size", integer(0, 500), ("s",), _FULL_SIZE),
        Param("position", _POSITION, ("p",), "center"),
    )

    def references(self, options: Mapping[str, Any]) -> Sequence[str]:
        return (options["file"],)

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        from .mixing import Overlay
        from .picture import Picture

        (mark,) = _members(shop, "watermark", most=1)
        overlay = Overlay(mark=mark, percent=options["size"] or _FULL_SIZE, place=fractions(options["position"]))
        return Picture.taken(media, shop).edited(overlay)


class Collage(_Mixing):
    """`collage`: the source and the named files on one canvas, in rows.

    `fit:auto` shows every picture whole, `crop` fills the canvas. Pictures are turned upright in any case, so `autorotate` asks
    for what happens anyway.
    """

    most_sources = MOST_PICTURES
    params = (
        Param("files", references(), ("f",), REQUIRED),
        Param("width", integer(1, 10_000), ("w",), REQUIRED),
        Param("height", integer(1, 10_000), ("h",), REQUIRED),
        Param("margin", integer(1, 100), ("m",), 10),
        Param("color", colour(), ("c",), WHITE),
        Param("fit", choice("auto", "crop"), ("i",), "auto"),
        Param("autorotate", boolean(), ("a",), False),
    )

    def references(self, options: Mapping[str, Any]) -> Sequence[str]:
        named: Sequence[str] = options["files"]
        return named

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        from .decode import faults
        from .headers import Size
        from .mixing import collage
        from .picture import Picture

        first = Picture.taken(media, shop)
        pictures = [first, *_members(shop, "collage")]
        canvas = Size(options["width"], options["height"])
        ground = tuple(options["color"])
        crop = options["fit"] == "crop"
        with faults():
            sheet = collage(pictures, canvas, shop.limits, margin=options["margin"], colour=ground, crop=crop)
        form = "PNG" if first.form == "GIF" or (first.form in ("JPEG", "BMP") and ground[3] < 255) else first.form
        return Picture.drawn(sheet, filename=first.filename, limits=shop.limits, form=form)


class Animate(_Mixing):
    """`animate`: a GIF with the pictures of a list as its frames, each for `delay` milliseconds.

    `width` and `height` are pixels or `max` for those of the largest picture; a missing one follows the other in the
    proportions of the first picture. `loop:0` never ends.
    """

    most_sources = MOST_PICTURES
    params = (
        Param("delay", integer(0, 10_000), ("d",), 1000),
        Param("loop", integer(0, 1000), ("l",), 0),
        Param("width", _SIDE, ("w",)),
        Param("height", _SIDE, ("h",)),
        Param("fit", choice("clip", "crop", "scale"), ("f",), "clip"),
        Param("align", _POSITION, ("a",), "center"),
        Param("background", colour(), ("b",), TRANSPARENT),
    )

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        from .decode import faults
        from .mixing import film, frame_size
        from .picture import Picture

        first = Picture.taken(media, shop)
        pictures = [first, *_members(shop, "animate")]
        with faults():
            canvas = frame_size([picture.dimensions() for picture in pictures], options["width"], options["height"])
            align, ground = fractions(options["align"]), tuple(options["background"])
            frames = film(pictures, canvas, shop.limits, fit=options["fit"], align=align, background=ground)
        times = [options["delay"]] * len(frames)
        return Picture.filmed(frames, filename=first.filename, limits=shop.limits, times=times, loop=options["loop"])


def _members(shop: Workshop, task: str, most: int | None = None) -> list[Picture]:
    """The other pictures. Raises what reading their headers raises, in words that say which file is meant."""
    from .picture import Picture

    if not shop.others and most is not None:
        raise Unsupported(f"{task} without its file", public=f"{task}: its file is missing.")
    members = []
    for number, media in enumerate(shop.others[:most], start=1):
        try:
            members.append(Picture.of(media, shop.limits))
        except SecureDeliveryError as error:
            which = "its file" if most == 1 else f"file {number} of those beside the first"
            raise type(error)(str(error), public=f"{task}: {which} cannot be used. {error.public}") from error
    return members
