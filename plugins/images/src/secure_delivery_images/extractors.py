"""What previews tell of pictures besides showing them: the sections `exif` and `image`.

Knows: the contract of extractors, the shape of both sections. Must not know: Pillow, which only a worker loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from secure_delivery.plugin import Extractor, Needs, Work

from .previewers import EXTENSIONS, MIMETYPES

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Mapping[str, Any] = {"type": "string", "maxLength": 2000}
_WITH_EXIF = (
    *("image/jpeg", "image/png", "image/webp", "image/tiff", "image/avif", "image/heic", "image/heif", "image/gif"),
    *("image/vnd.adobe.photoshop", "image/x-olympus-orf", "image/x-panasonic-rw2", "image/x-fuji-raf"),
)
_WITH_EXIF_NAMES = (
    *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "tif", "tiff", "avif", "heic", "heif", "gif", "psd", "psb"),
    *("dng", "cr2", "nef", "nrw", "arw", "sr2", "pef", "srw", "orf", "rw2", "raf", "3fr", "erf", "kdc", "dcr", "iiq"),
)


class Exif:
    """`exif`: who took a picture, when, where, with what; only as much as the application's metadata profile gives away."""

    section = "exif"
    call = "exif"
    mimetypes: ClassVar[tuple[str, ...]] = _WITH_EXIF
    extensions: ClassVar[tuple[str, ...]] = _WITH_EXIF_NAMES
    needs = Needs(libraries=("pillow", "pi-heif"), install="pip install secure-delivery-images")
    schema: ClassVar[Mapping[str, Any]] = {
        "$schema": _DRAFT,
        "title": "exif",
        "description": "From EXIF, XMP and IPTC, whatever the format of the file; null for files without any. The "
        "metadata profile `none` gives orientation and how it was exposed; `copyright` author, copyright and credit as well; "
        "`no_location` all but gps, place and what repeats them; `all` everything. Keys without a value are left out.",
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {
            "make": _TEXT,
            "model": _TEXT,
            "lens": _TEXT,
            "exposure_time": {"type": "number", "description": "seconds"},
            "exposure": {"type": "string", "description": "the same as photographers write it: 1/125"},
            "f_number": {"type": "number"},
            "iso": {"type": "integer"},
            "focal_length": {"type": "number", "description": "millimetres"},
            "focal_length_35mm": {"type": "integer", "description": "millimetres, of a 35 mm camera with this field of view"},
            "exposure_bias": {"type": "number", "description": "exposure values"},
            "exposure_program": {"type": "string"},
            "metering": {"type": "string"},
            "flash": {"type": "boolean", "description": "whether it fired"},
            "taken": {"type": "string", "description": "ISO 8601; without a zone where the camera knew none"},
            "orientation": {"type": "integer", "minimum": 1, "maximum": 8, "description": "EXIF tag 274"},
            "software": _TEXT,
            "author": _TEXT,
            "copyright": _TEXT,
            "credit": _TEXT,
            "title": _TEXT,
            "description": _TEXT,
            "keywords": {"type": "array", "items": {"type": "string"}},
            "rating": {"type": "integer", "minimum": -1, "maximum": 5},
            "gps": {
                "type": "object",
                "description": "decimal degrees (WGS 84), metres",
                "required": ["latitude", "longitude"],
                "properties": {
                    "latitude": {"type": "number", "minimum": -90, "maximum": 90},
                    "longitude": {"type": "number", "minimum": -180, "maximum": 180},
                    "altitude": {"type": "number"},
                },
                "additionalProperties": False,
            },
            "place": {"type": "object", "additionalProperties": _TEXT, "description": "location, city, state, country"},
            "raw": {
                "type": "object",
                "description": "Tags by the names of their standards, in the groups image, photo, gps, iptc, xmp",
                "propertyNames": {"enum": ["image", "photo", "gps", "iptc", "xmp"]},
                "additionalProperties": {"type": "object"},
            },
        },
        "examples": [
            None,
            {
                "make": "Example",
                "model": "One",
                "exposure_time": 0.008,
                "exposure": "1/125",
                "f_number": 2.8,
                "iso": 200,
                "taken": "2024-05-17T09:30:00+02:00",
                "gps": {"latitude": 48.2082, "longitude": 16.3738, "altitude": 171},
                "raw": {"image": {"Make": "Example"}},
            },
        ],
    }

    def warm(self) -> None:
        """Load Pillow and the readers of metadata."""
        import_module(".picture", __package__).warm()
        import_module(".exif_section", __package__)

    def extract(self, work: Work) -> Any:
        """Raises `Corrupt` and `TooLarge` for the file; damaged metadata says what can be read of it."""
        from .blocks import blocks_of
        from .exif_section import section

        blocks = blocks_of(work.media, work.limits)
        return None if blocks is None else section(blocks, work.shop.metadata)


class ImageFacts:
    """`image`: size, format, frames and main colours of a picture."""

    section = "image"
    call = "stat"
    mimetypes: ClassVar[tuple[str, ...]] = MIMETYPES
    extensions: ClassVar[tuple[str, ...]] = EXTENSIONS
    needs = Needs(libraries=("pillow", "pi-heif"), install="pip install secure-delivery-images")
    schema: ClassVar[Mapping[str, Any]] = {
        "$schema": _DRAFT,
        "title": "image",
        "type": ["object", "null"],
        "required": ["format", "width", "height", "mode", "alpha", "orientation", "animated", "frames", "colors"],
        "additionalProperties": False,
        "properties": {
            "format": {"type": "string"},
            "width": {"type": "integer", "minimum": 1, "description": "pixels, of the upright picture"},
            "height": {"type": "integer", "minimum": 1},
            "mode": {"type": "string", "description": "Pillow's word: 1, L, P, RGB, RGBA, CMYK, I;16, ..."},
            "alpha": {"type": "boolean", "description": "whether it can be transparent"},
            "orientation": {"type": "integer", "minimum": 1, "maximum": 8},
            "animated": {"type": "boolean"},
            "frames": {
                "type": "integer",
                "minimum": 1,
                "description": "of an animation; pages of a TIFF file; sizes of an icon",
            },
            "dpi": {"type": ["array", "null"], "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
            "icc_profile": {"type": ["string", "null"], "description": "its name"},
            "colors": {
                "type": "array",
                "maxItems": 5,
                "description": "main colours, the largest share first",
                "items": {
                    "type": "object",
                    "required": ["hex", "share"],
                    "properties": {
                        "hex": {"type": "string", "pattern": "^#[0-9a-f]{6}$"},
                        "share": {"type": "number", "minimum": 0, "maximum": 1},
                    },
                    "additionalProperties": False,
                },
            },
        },
        "examples": [
            {
                "format": "jpeg",
                "width": 1600,
                "height": 1067,
                "mode": "RGB",
                "alpha": False,
                "orientation": 1,
                "animated": False,
                "frames": 1,
                "dpi": [300.0, 300.0],
                "icc_profile": None,
                "colors": [{"hex": "#2a6fb0", "share": 0.41}, {"hex": "#f3f0ea", "share": 0.3}],
            }
        ],
    }

    def warm(self) -> None:
        """Load Pillow and every reader."""
        import_module(".picture", __package__).warm()
        import_module(".rare", __package__).warm()
        import_module(".image_section", __package__)

    def extract(self, work: Work) -> Any:
        """None for what is no picture by its content, and for camera raw. Raises `Corrupt`, `TooLarge`, `ProcessingLimit`."""
        from .image_section import section

        return section(work)


def extractors() -> dict[str, Extractor]:
    """Both, by the name of their section."""
    return {extractor.section: extractor for extractor in (Exif(), ImageFacts())}
