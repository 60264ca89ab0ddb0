"""How a tree of layers is told, and how layers become pictures.

Knows: layers of psd-tools, limits. Must not know: how files are opened.

Pictures are promised first and made when they are fetched, one after the other, so that one of them at a time is in memory. A
layer that cannot be drawn after all is an empty picture: its neighbours are not to suffer for it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import Image
from psd_tools import PSDImage
from psd_tools.api.layers import Group, Layer

from secure_delivery.plugin import SecureDeliveryError, Work
from secure_delivery_images.decode import check_area, faults

from .document import composed, shown, whole

MOST_NODES = 2_000
MOST_PICTURES = 200
DEEPEST = 16  # groups in groups; each is two levels of JSON, of which a section may have forty
_MOST_PIXELS = 100_000_000  # of all layers that become pictures
_MOST_COMPOSED = 40_000_000  # pixels times layers of all groups
_LARGEST = 2_048  # pixels a side of a layer's picture
_LONGEST_NAME, _LONGEST_TEXT = 255, 2_000


class Tree:
    """The tree of one document, told once."""

    def __init__(self, document: PSDImage, work: Work) -> None:
        self._document = document
        self._work = work
        self._nodes = 0
        self._pictures = 0
        self._pixels = 0
        self._composed = 0
        self._cut = False

    def told(self) -> dict[str, Any]:
        """The root, for the document, with all layers below it."""
        document = self._document
        top = self._attached(document.width, document.height, lambda: whole(document), "psd.png")
        layers = self._below(list(document), 1)
        return {
            "url": top,
            "width": document.width,
            "height": document.height,
            "depth": int(document.depth),
            "color_mode": document.color_mode.name.lower(),
            "channels": int(document.channels),
            "format": "psb" if document.version == 2 else "psd",
            "count": sum(1 for _ in document.descendants()),
            "truncated": self._cut,
            "layers": layers,
        }

    def _below(self, layers: Sequence[Layer], level: int) -> list[dict[str, Any]]:
        if layers and level > DEEPEST:
            self._cut = True
            return []
        nodes = []
        for layer in reversed(layers):  # files list the lowest first, people the uppermost
            if self._nodes >= MOST_NODES:
                self._cut = True
                break
            self._nodes += 1
            nodes.append(self._node(layer, level))
        return nodes

    def _node(self, layer: Layer, level: int) -> dict[str, Any]:
        left, top, right, bottom = (_whole(number) for number in layer.bbox)
        node = {
            "url": self._picture(layer, max(0, right - left), max(0, bottom - top)),
            "name": _clean(layer.name, _LONGEST_NAME),
            "kind": _clean(layer.kind, 40),
            "box": {"left": left, "top": top, "width": max(0, right - left), "height": max(0, bottom - top)},
            "visible": bool(layer.visible),
            "opacity": round(min(255, max(0, int(layer.opacity))) / 255, 3),
            "blend_mode": _clean(getattr(layer.blend_mode, "name", ""), 40).lower(),
        }
        text = _text(layer)
        if text:
            node["text"] = text
        return {**node, "layers": self._below(list(layer), level + 1) if isinstance(layer, Group) else []}

    # ------------------------------------------------------------------------------------------------------ pictures

    def _picture(self, layer: Layer, width: int, height: int) -> str | None:
        if not isinstance(layer, Group):
            made = layer.has_pixels()
            return self._attached(width, height, lambda: layer.topil(), self._name()) if made else None
        count = sum(1 for _ in layer.descendants())
        self._composed += width * height * count
        if not count or self._composed > _MOST_COMPOSED:
            self._cut = self._cut or bool(count)
            return None
        try:
            composed(width, height, count)
        except SecureDeliveryError:
            self._cut = True
            return None
        return self._attached(width, height, lambda: layer.composite(layer_filter=_own_visibility(layer)), self._name())

    def _attached(self, width: int, height: int, draw: Callable[[], Any], name: str) -> str | None:
        """A promise of a picture; None beyond the limits, and for what has no area."""
        area = width * height
        if not area:
            return None
        if self._pictures >= MOST_PICTURES or self._pixels + area > _MOST_PIXELS or area > self._work.limits.pixels:
            self._cut = True
            return None
        self._pictures += 1
        self._pixels += area
        return self._work.attach(LayerPicture(name, (width, height), draw, self._work), name)

    def _name(self) -> str:
        return f"layer-{self._pictures:03d}.png"


@dataclass(slots=True)
class LayerPicture:
    """A `Media` whose pixels are made when they are asked for (`Decoded`), and not kept."""

    filename: str
    area: tuple[int, int]
    draw: Callable[[], Any]
    work: Work
    mimetype: str = "image/png"
    size: int | None = None

    def decoded(self) -> Image.Image:
        """The layer, made smaller where it is larger than it needs to be; empty where it cannot be drawn."""
        try:
            with faults():
                image = shown(self.draw())
                check_area(image.size, self.work.limits)
                image.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS, reducing_gap=2.0)
                return image
        except SecureDeliveryError:
            return Image.new("RGBA", tuple(min(_LARGEST, side) for side in self.area))  # type: ignore[arg-type]

    def open(self) -> BinaryIO:
        """The same as a PNG file."""
        out = io.BytesIO()
        image = self.decoded()
        (image if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA") else image.convert("RGB")).save(out, "PNG")
        out.seek(0)
        return out


def _own_visibility(top: Layer) -> Callable[[Layer], bool]:
    """What is seen inside a group, whether or not the group itself and those around it are."""

    def seen(layer: Layer) -> bool:
        return layer is top or bool(layer.visible)

    return seen


def _text(layer: Layer) -> str:
    if layer.kind != "type":
        return ""
    try:
        return _clean(str(layer.text).replace("\r", "\n"), _LONGEST_TEXT)  # type: ignore[attr-defined]
    except Exception:  # what a layer says is optional; its descriptor may be damaged
        return ""


def _clean(value: object, longest: int) -> str:
    return "".join(letter for letter in str(value) if letter.isprintable() or letter == "\n")[:longest]


def _whole(number: Any) -> int:
    return max(-(1 << 31), min((1 << 31) - 1, int(number)))
