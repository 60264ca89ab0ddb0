"""`font`: what a font says about itself, as a section.

Knows: tables, the shape of the section. Must not know: pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secure_delivery.plugin import Needs, Work

from . import coverage, facts, sfnt
from .previewer import EXTENSIONS, INSTALL, MIMETYPES

_MOST_RANGES = 500
_TEXT = {"type": ["string", "null"]}
_NUMBER, _FLAG = {"type": "number"}, {"type": "boolean"}
_COUNT = {"type": ["integer", "null"], "minimum": 0}
_TEXTS = {
    "full_name": None,
    "postscript_name": facts.POSTSCRIPT,
    "version": facts.VERSION,
    "copyright": facts.COPYRIGHT,
    "designer": facts.DESIGNER,
    "manufacturer": facts.MAKER,
    "licence": facts.LICENCE,
    "licence_url": facts.LICENCE_URL,
}
_COUNTS = ("glyphs", "units_per_em", "weight", "width", "characters")
_FLAGS = ("italic", "monospaced", "colour", "variable")
_RIGHTS = {
    "type": ["object", "null"],
    "required": ["level", "subsetting", "bitmap_only"],
    "additionalProperties": False,
    "properties": {
        "level": {"enum": ["installable", "editable", "preview_and_print", "restricted"]},
        "subsetting": {"type": "boolean"},
        "bitmap_only": {"type": "boolean"},
    },
}
_RANGE = "^[0-9A-F]{4,6}(-[0-9A-F]{4,6})?$"
_FACE = {
    "type": "object",
    "required": ["family", "style", "full_name"],
    "additionalProperties": False,
    "properties": dict.fromkeys(("family", "style", "full_name"), _TEXT),
}
_AXIS = {
    "type": "object",
    "required": ["tag", "name", "minimum", "default", "maximum"],
    "additionalProperties": False,
    "properties": {"tag": {"type": "string"}, "name": _TEXT, "minimum": _NUMBER, "default": _NUMBER, "maximum": _NUMBER},
}
_PROPERTIES: dict[str, Any] = {
    "format": {"enum": ["truetype", "opentype", "collection", "woff", "woff2"]},
    **dict.fromkeys(("family", "style", *_TEXTS), _TEXT),
    **dict.fromkeys(_COUNTS, _COUNT),
    **dict.fromkeys(_FLAGS, _FLAG),
    "scripts": {"type": "array", "items": {"type": "string"}, "description": "ISO 15924, those with the most characters first"},
    "ranges": {
        "type": "array",
        "maxItems": _MOST_RANGES,
        "items": {"type": "string", "pattern": "^[0-9A-F]{4,6}(-[0-9A-F]{4,6})?$"},
    },
    "axes": {"type": "array", "items": _AXIS},
    "instances": {"type": "array", "items": {"type": "string"}},
    "embedding": _RIGHTS,
    "faces": {"type": "array", "maxItems": sfnt.MOST_FACES, "items": _FACE},
}


class FontFacts:
    """Names, measures, scripts, axes and rights of a font; of a collection those of its first, and the names of all."""

    section = "font"
    call = "stat"
    mimetypes = MIMETYPES
    extensions = EXTENSIONS
    needs = Needs(libraries=("fonttools", "brotli"), install=INSTALL)
    schema: Mapping[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": list(_PROPERTIES),
        "additionalProperties": False,
        "properties": _PROPERTIES,
    }

    def warm(self) -> None:
        from fontTools import unicodedata  # type: ignore[import-untyped]

        sfnt.warm()
        unicodedata.script("a")

    def extract(self, work: Work) -> dict[str, Any]:
        """Raises `Corrupt`, `TooLarge`, `Unsupported`."""
        fonts = sfnt.read(work.media)
        told = [facts.said(face) for face in fonts.faces]
        first = told[0]
        return {
            "format": fonts.format,
            "family": first.family,
            "style": first.style,
            **{key: first.full if number is None else first.names.get(number) for key, number in _TEXTS.items()},
            "glyphs": first.glyphs,
            "units_per_em": first.units,
            "weight": first.weight,
            "width": first.width,
            "characters": coverage.count(first.ranges),
            "italic": first.italic,
            "monospaced": first.monospaced,
            "colour": first.colour,
            "variable": bool(first.axes),
            "scripts": list(facts.scripts(first.ranges)),
            "ranges": [_written(one) for one in first.ranges[:_MOST_RANGES]],
            "axes": [
                {"tag": axis.tag, "name": axis.name or None, "minimum": axis.least, "default": axis.usual, "maximum": axis.most}
                for axis in first.axes
            ],
            "instances": first.instances,
            "embedding": _rights(first.rights),
            "faces": [{"family": one.family, "style": one.style, "full_name": one.full} for one in told],
        }


def _written(one: coverage.Range) -> str:
    first, last = one
    return f"{first:04X}" if first == last else f"{first:04X}-{last:04X}"


def _rights(bits: int | None) -> dict[str, Any] | None:
    """The field `fsType` of the table `OS/2`: where several levels are set, the least restrictive counts."""
    if bits is None:
        return None
    levels = ((8, "editable"), (4, "preview_and_print"), (2, "restricted"))
    level = next((name for bit, name in levels if bits & bit), "installable")
    return {"level": level, "subsetting": not bits & 0x100, "bitmap_only": bool(bits & 0x200)}
