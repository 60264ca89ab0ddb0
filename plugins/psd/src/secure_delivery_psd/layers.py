"""The section `psd`: the tree of layers, each with a picture of its own.

Knows: the contract of extractors, the shape of the section. Must not know: psd-tools, which a worker loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from secure_delivery.plugin import Work

from .kinds import EXTENSIONS, MIMETYPES, NEEDS, is_psd

_BOX = {
    "type": "object",
    "description": "pixels, from the top left of the document; may lie outside of it",
    "required": ["left", "top", "width", "height"],
    "properties": {name: {"type": "integer"} for name in ("left", "top", "width", "height")},
    "additionalProperties": False,
}


class PsdLayers:
    """`psd`: a tree as the service told it. A node has `url`, the address of a picture of it (null beyond the limits, or where
    there are no pixels), and `layers`, the uppermost first; the root stands for the whole document."""

    section = "psd"
    call = "exif"
    mimetypes: ClassVar[tuple[str, ...]] = MIMETYPES
    extensions: ClassVar[tuple[str, ...]] = EXTENSIONS
    needs = NEEDS
    schema: ClassVar[Mapping[str, Any]] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "psd",
        "description": "The tree of layers; at most 2,000 nodes, 200 pictures, 16 levels: `truncated` says that there is more.",
        "type": ["object", "null"],
        "required": ["url", "layers", "width", "height", "depth", "color_mode", "channels", "format", "count", "truncated"],
        "additionalProperties": False,
        "properties": {
            "url": {"type": ["string", "null"]},
            "width": {"type": "integer", "minimum": 1},
            "height": {"type": "integer", "minimum": 1},
            "depth": {"enum": [1, 8, 16, 32], "description": "bits a channel"},
            "color_mode": {"type": "string"},
            "channels": {"type": "integer", "minimum": 1},
            "format": {"enum": ["psd", "psb"]},
            "count": {"type": "integer", "minimum": 0, "description": "layers and groups in the file"},
            "truncated": {"type": "boolean"},
            "layers": {"type": "array", "items": {"$ref": "#/$defs/layer"}},
        },
        "$defs": {
            "layer": {
                "type": "object",
                "required": ["url", "layers", "name", "kind", "box", "visible", "opacity", "blend_mode"],
                "additionalProperties": False,
                "properties": {
                    "url": {"type": ["string", "null"]},
                    "name": {"type": "string", "maxLength": 255},
                    "kind": {"type": "string", "description": "group, pixel, type, shape, smartobject, an adjustment, ..."},
                    "box": _BOX,
                    "visible": {"type": "boolean", "description": "as set on the layer itself"},
                    "opacity": {"type": "number", "minimum": 0, "maximum": 1},
                    "blend_mode": {"type": "string"},
                    "text": {"type": "string", "maxLength": 2000, "description": "of a layer of text"},
                    "layers": {"type": "array", "items": {"$ref": "#/$defs/layer"}},
                },
            }
        },
        "examples": [
            {
                "url": "https://bucket.example.com/poster_psd.png",
                "width": 800,
                "height": 600,
                "depth": 8,
                "color_mode": "rgb",
                "channels": 3,
                "format": "psd",
                "count": 1,
                "truncated": False,
                "layers": [
                    {
                        "url": "https://bucket.example.com/poster_layer-001.png",
                        "name": "Background",
                        "kind": "pixel",
                        "box": {"left": 0, "top": 0, "width": 800, "height": 600},
                        "visible": True,
                        "opacity": 1.0,
                        "blend_mode": "normal",
                        "layers": [],
                    }
                ],
            }
        ],
    }

    def warm(self) -> None:
        """Load psd-tools, numpy and Pillow."""
        import_module("secure_delivery_images.picture").warm()
        import_module(".tree", __package__)
        import_module(".document", __package__).warm()

    def probe(self, head: bytes, filename: str) -> bool:
        """By its first bytes."""
        return is_psd(head)

    def extract(self, work: Work) -> Any:
        """Raises `Unsupported`, `TooLarge`, `Corrupt`, `ProcessingLimit`."""
        from .document import opened
        from .tree import Tree

        with opened(work.media, work.limits) as document:
            return Tree(document, work).told()
