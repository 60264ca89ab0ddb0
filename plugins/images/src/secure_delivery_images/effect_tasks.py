"""Effects of transformation URLs on colours and between neighbours: what each takes, and which edit it notes down.

Knows: option names, ranges and defaults of the Filestack documentation (image tasks).
Must not know: Pillow. The server process imports this module to bind URLs; only a worker loads the modules behind the edits.

An effect works in pixels of the picture as it stands in the chain, so none of them says how it scales: the engine gives them
the original, or what a `resize` before them made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from secure_delivery.plugin import (
    REQUIRED,
    Kind,
    Media,
    Param,
    Value,
    boolean,
    choice,
    integer,
    listing,
    number,
)

from .tasks import PictureTask

if TYPE_CHECKING:
    from .edits import Edit
    from .picture import Picture

_MODULES = (
    ".effects_blur",
    ".effects_colour",
    ".effects_crop",
    ".effects_enhance",
    ".effects_frame",
    ".effects_shape",
    ".effects_upscale",
    ".letters",
)
_MOST_OBJECTS = 50  # rectangles, as documented

_TYPE = Param("type", choice("rect", "oval"), ("t",), "rect")
_SOFT_EDGE = Param("blur", number(0, 20), ("l",), 4.0)


def rectangles() -> Kind:
    """One to fifty rectangles [x, y, width, height]."""
    one = listing(integer(0, 10_000), integer(0, 10_000), integer(1, 10_000), integer(1, 10_000))

    def read(value: Value) -> tuple[Any, ...]:
        if isinstance(value, str) or not 1 <= len(value) <= _MOST_OBJECTS:
            raise ValueError
        return tuple(one.read(item) for item in value)

    return Kind(read, f"a list of 1 to {_MOST_OBJECTS} rectangles, each {one.allowed}")


_OBJECTS = Param("objects", rectangles(), ("o",), REQUIRED)


class Effect(PictureTask):
    """A task that is one edit."""

    def warm(self) -> None:
        super().warm()
        for module in _MODULES:
            import_module(module, __package__)

    def change(self, picture: Picture, options: Mapping[str, Any]) -> Media:
        return picture.edited(self.edit(options))

    def edit(self, options: Mapping[str, Any]) -> Edit:
        raise NotImplementedError


# ------------------------------------------------------------------------------------------------------------- colours


class Monochrome(Effect):
    """`monochrome`: shades of grey."""

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_colour import Monochrome

        return Monochrome()


class BlackWhite(Effect):
    """`blackwhite`: what is lighter than `threshold` per cent is white, the rest black."""

    params = (Param("threshold", integer(0, 100), ("t",), 50),)

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_colour import BlackWhite

        return BlackWhite(threshold=options["threshold"])


class Sepia(Effect):
    """`sepia`: brown like an old print, by `tone` per cent."""

    params = (Param("tone", integer(0, 100), ("t",), 80),)

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_colour import Sepia

        return Sepia(tone=options["tone"])


class Negative(Effect):
    """`negative`: every colour by its opposite."""

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_colour import Negative

        return Negative()


class Modulate(Effect):
    """`modulate`: brightness and saturation in per cent of what they are, hue turned by degrees."""

    params = (
        Param("brightness", integer(0, 10_000), ("b",), 100),
        Param("hue", integer(0, 359), ("h",), 0),
        Param("saturation", integer(0, 10_000), ("s",), 100),
    )

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_colour import Modulate

        return Modulate(brightness=options["brightness"], hue=options["hue"], saturation=options["saturation"])


class Enhance(Effect):
    """`enhance`: correct a picture by what is in it."""

    params = (
        Param(
            "preset",
            choice("auto", "vivid", "beautify", "beautify_plus", "fix_dark", "fix_noise", "fix_tint", "outdoor", "fireworks"),
            (),
            "auto",
        ),
    )

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_enhance import Enhance

        return Enhance(preset=options["preset"])


# ---------------------------------------------------------------------------------------------------------- neighbours


class Blur(Effect):
    """`blur`: gaussian, `amount` pixels of standard deviation."""

    params = (Param("amount", number(0, 20), ("a",), 2.0),)

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_blur import Blur

        return Blur(amount=options["amount"])


class Sharpen(Effect):
    """`sharpen`: more contrast at edges."""

    params = (Param("amount", number(0, 20), ("a",), 2.0),)

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_blur import Sharpen

        return Sharpen(amount=options["amount"])


class Pixelate(Effect):
    """`pixelate`: squares of `amount` pixels."""

    params = (Param("amount", integer(2, 100), ("a",), 2),)

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_blur import Pixelate

        return Pixelate(amount=options["amount"])


class PartialPixelate(Effect):
    """`partial_pixelate`: squares of `amount` pixels inside rectangles or ovals, with a soft edge around them."""

    params = (_OBJECTS, Param("amount", integer(2, 100), ("a",), 10), _SOFT_EDGE, _TYPE)

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_blur import Partial, Pixelate

        objects = tuple((x, y, width, height) for x, y, width, height in options["objects"])
        effect = Pixelate(amount=options["amount"])
        return Partial(effect=effect, objects=objects, oval=options["type"] == "oval", blur=options["blur"])


class PartialBlur(Effect):
    """`partial_blur`: the same, blurred."""

    params = (_OBJECTS, Param("amount", number(0, 20), ("a",), 10.0), _SOFT_EDGE, _TYPE)

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_blur import Blur, Partial

        objects = tuple((x, y, width, height) for x, y, width, height in options["objects"])
        effect = Blur(amount=options["amount"])
        return Partial(effect=effect, objects=objects, oval=options["type"] == "oval", blur=options["blur"])


class OilPaint(Effect):
    """`oil_paint`: strokes of about `amount` pixels."""

    params = (Param("amount", integer(1, 100), ("a",), 2),)

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_blur import OilPaint

        return OilPaint(amount=options["amount"])


class Upscale(Effect):
    """`upscale`: both sides doubled, noise taken out first; `upscale:false` does only that."""

    params = (
        Param("upscale", boolean(), ("u",), True),
        Param("noise", choice("none", "low", "medium", "high"), ("n",), "none"),
        Param("style", choice("photo", "artwork"), ("s",), "photo"),
    )

    def edit(self, options: Mapping[str, Any]) -> Edit:
        from .effects_upscale import Upscale

        return Upscale(enlarge=options["upscale"], noise=options["noise"], style=options["style"])
