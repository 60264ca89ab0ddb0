"""`archive`: the entries of an archive as a section.

Knows: listings, the shape of the section. Must not know: formats of archives, pictures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from secure_delivery.plugin import Needs, Work

from . import reading
from .listing import MOST_KEPT, Entry

_MOST_NAME = 500  # characters; a thousand of them stay far below a megabyte
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SIZE = {"type": ["integer", "null"], "minimum": 0}
_COUNT = {"type": "integer", "minimum": 0}


class ArchiveFacts:
    """The first 1,000 entries, and totals of all of them. Names are as written, but for control and direction characters."""

    section = "archive"
    call = "stat"
    mimetypes = reading.MIMETYPES
    extensions = reading.EXTENSIONS
    needs = Needs(libraries=("rarfile",), install="pip install secure-delivery-archives")
    schema: Mapping[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["format", "entries", "files", "folders", "size", "packed", "ratio", "encrypted", "complete"],
        "additionalProperties": False,
        "properties": {
            "format": {"type": "string"},
            "entries": {
                "type": "array",
                "maxItems": MOST_KEPT,
                "items": {
                    "type": "object",
                    "required": ["name", "folder", "size", "packed", "modified", "encrypted"],
                    "additionalProperties": False,
                    "properties": {
                        "name": {"type": "string", "maxLength": _MOST_NAME},
                        "folder": {"type": "boolean"},
                        "size": _SIZE,
                        "packed": _SIZE,
                        "modified": {"type": ["string", "null"]},
                        "encrypted": {"type": "boolean"},
                    },
                },
            },
            "files": _COUNT,
            "folders": _COUNT,
            "size": _COUNT,
            "packed": _SIZE,
            "ratio": {"type": ["number", "null"], "minimum": 0, "description": "packed by size"},
            "encrypted": {"type": "integer", "minimum": 0, "description": "entries that only a password opens"},
            "complete": {"type": "boolean", "description": "false when not all of the archive could be looked at"},
        },
    }

    def warm(self) -> None:
        from . import rars  # noqa: F401 - loaded now, used later

    def extract(self, work: Work) -> dict[str, Any]:
        """Raises `Corrupt`, `Encrypted`, `ProcessingLimit`, `TooLarge`, `Unsupported`."""
        listing = reading.listing(work.media)
        known = listing.packed is not None and listing.size > 0
        return {
            "format": listing.kind,
            "entries": [_told(entry) for entry in listing.entries],
            "files": listing.files,
            "folders": listing.folders,
            "size": listing.size,
            "packed": listing.packed,
            "ratio": round((listing.packed or 0) / listing.size, 4) if known else None,
            "encrypted": listing.encrypted,
            "complete": listing.complete,
        }


def _told(entry: Entry) -> dict[str, Any]:
    return {
        "name": _ODD.sub("\ufffd", entry.name[:_MOST_NAME]),
        "folder": entry.folder,
        "size": entry.size,
        "packed": entry.packed,
        "modified": entry.modified,
        "encrypted": entry.encrypted,
    }
