"""Effects of transformation URLs on shape and surroundings, the box that matters, and letters: what each takes.

Knows: option names, ranges and defaults of the Filestack documentation (image tasks).
Must not know: Pillow, like `effect_tasks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from secure_delivery.plugin import (
    Media,
    MemoryFile,
    Param,
    Workshop,
    boolean,
    choice,
    either,
    integer,
    json_file,
    listing,
    number,
    text,
)

from .colours import TRANSPARENT, WHITE, Colour, colour, read_colour
from .effect_tasks import Effect

if TYPE_CHECKING:
    from .edits import Edit
    from .picture import Picture

_CORNERS = 10  # pixels: the radius of rounded corners where nobody says one, as the PHP client does
_BLACK: Colour = (0, 0, 0, 255)
_SNOW = read_colour("snow")

_Box = tuple[float, float, float, float]  # left, top, right, bottom

_BACKGROUND = Param("background", colour(), ("b",), TRANSPARENT)


class RoundedCorners(Effect):
    """`rounded_corners`, in Python clients `round_corners`: quarter circles of `radius` pixels, or as large as they can be."""

    params = (
        Param("radius", either(choice("max"), integer(1, 10_000)), ("r",), _CORNERS),
        Param("blur", number(0, 20), ("l",), 0.3),
        _BACKGROUND,
    )

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_shape import RoundedCorners

        radius = None if options["radius"] == "max" else options["radius"]
        return RoundedCorners(radius=radius, blur=options["blur"], background=tuple(options["background"]))


class Circle(Effect):
    """`circle`: the circle that fits into the picture, an ellipse where its sides differ."""

    params = (_BACKGROUND,)

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_shape import Circle

        return Circle(background=tuple(options["background"]))


class Vignette(Effect):
    """`vignette`: the picture fades towards its corners, by `amount` per cent there."""

    params = (
        Param("amount", integer(0, 100), ("a",), 20),
        Param("blurmode", choice("gaussian", "linear"), ("m",), "gaussian"),
        _BACKGROUND,
    )

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_shape import Vignette

        linear = options["blurmode"] == "linear"
        return Vignette(amount=options["amount"], linear=linear, background=tuple(options["background"]))


class TornEdges(Effect):
    """`torn_edges`: torn out of paper, between so many and so many pixels deep."""

    params = (Param("spread", listing(integer(1, 10_000), integer(1, 10_000)), ("s",), (1, 10)), _BACKGROUND)

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_shape import TornEdges

        least, most = sorted(options["spread"])
        return TornEdges(least=least, most=most, background=tuple(options["background"]))


class Border(Effect):
    """`border`: a frame of `width` pixels around the picture; `background` shows where the picture is transparent."""

    params = (
        Param("width", integer(0, 1_000), ("w",), 2),
        Param("color", colour(), ("c",), _BLACK),
        Param("background", colour(), ("b",), WHITE),
    )

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_frame import Border

        return Border(width=options["width"], colour=tuple(options["color"]), background=tuple(options["background"]))


class Shadow(Effect):
    """`shadow`: falls `vector` pixels to the right and down; the picture grows by what can be seen of it."""

    params = (
        Param("blur", number(0, 20), ("l",), 4.0),
        Param("opacity", integer(0, 100), ("o",), 60),
        Param("vector", listing(integer(-1_000, 1_000), integer(-1_000, 1_000)), ("v",), (4, 4)),
        Param("color", colour(), ("c",), _BLACK),
        _BACKGROUND,
    )

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_frame import Shadow

        across, down = options["vector"]
        return Shadow(
            blur=options["blur"],
            opacity=options["opacity"],
            vector=(across, down),
            colour=tuple(options["color"]),
            background=tuple(options["background"]),
        )


class Polaroid(Effect):
    """`polaroid`: an instant print, turned clockwise."""

    params = (
        Param("rotate", integer(0, 359), ("r",), 45),
        Param("color", colour(), ("c",), _SNOW),
        _BACKGROUND,
    )

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_frame import Polaroid

        background = tuple(options["background"])
        return Polaroid(degrees=options["rotate"], colour=tuple(options["color"]), background=background)


# ---------------------------------------------------------------------------------------------------- box and letters


class SmartCrop(Effect):
    """`smart_crop`: the part that matters, of the wanted shape and size.

    `auto` goes by edges and by what stands out, `face` by the detector `faces`, `object` by `objects` (only those called
    `object`, if it is given), `fit` shows everything on `fill_color`. Where nothing is found `auto` decides. Without `width`
    and `height`, or with one of them, the box lies close around what was found. `coords` answers with the box, in pixels.
    """

    params = (
        Param("mode", choice("auto", "face", "object", "fit"), (), "auto"),
        Param("width", integer(0, 10_000), (), 0),
        Param("height", integer(0, 10_000), (), 0),
        Param("object", text(100)),
        Param("fill_color", colour()),
        Param("coords", boolean(), (), False),
    )

    def asks(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        detector = {"face": "faces", "object": "objects"}.get(options["mode"])
        return (detector,) if detector else ()

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        from .effects_crop import SmartCrop
        from .picture import Picture

        picture = Picture.taken(media, shop)
        fill, subjects = options["fill_color"], tuple(self._found(picture, options, shop))
        if options["mode"] == "fit":
            width, height = picture.dimensions()
            fill, subjects = fill or WHITE, ((0.0, 0.0, float(width), float(height)),)
        edit = SmartCrop(
            width=options["width"],
            height=options["height"],
            subjects=subjects,
            faces=options["mode"] == "face",
            fill=tuple(fill) if fill is not None else None,
        )
        if not options["coords"]:
            return picture.edited(edit)
        left, top, right, bottom = (round(side) for side in edit.box(picture.decoded()))
        return json_file({"coords": {"x": left, "y": top, "width": right - left, "height": bottom - top}}, "smart_crop.json")

    def _found(self, picture: Picture, options: Mapping[str, Any], shop: Workshop) -> Iterator[_Box]:
        """The boxes of what a detector found, within the picture."""
        for detector in self.asks(options):
            wanted = (options["object"] or "").lower() if detector == "objects" else ""
            width, height = picture.dimensions()
            for one in shop.detect(detector, picture)[detector]:
                left, top = max(0.0, float(one["x"])), max(0.0, float(one["y"]))
                right = min(float(width), float(one["x"]) + float(one["width"]))
                bottom = min(float(height), float(one["y"]) + float(one["height"]))
                if left < right and top < bottom and (not wanted or str(one.get("label", "")).lower() == wanted):
                    yield left, top, right, bottom


class Ascii(Effect):
    """`ascii`: a page of letters; the result is HTML."""

    params = (
        Param("background", colour(), ("b",), WHITE),
        Param("foreground", colour(), ("f",), _BLACK),
        Param("colored", boolean(), ("c",), False),
        Param("size", integer(10, 100), ("s",), 100),
        Param("reverse", boolean(), ("r",), False),
    )

    def change(self, picture: Picture, options: Mapping[str, Any]) -> Media:
        from .letters import Cells, page

        written = page(
            picture.edited(Cells(percent=options["size"])).decoded(),
            title=picture.filename,
            ink=tuple(options["foreground"]),
            paper=tuple(options["background"]),
            coloured=options["colored"],
            reverse=options["reverse"],
        )
        stem = picture.filename.rpartition(".")[0] or picture.filename
        policy = "default-src 'none'; style-src 'unsafe-inline'"  # letters and their colours, nothing that runs
        return MemoryFile(written.encode(), "text/html", f"{stem}.html", {"csp": policy})
