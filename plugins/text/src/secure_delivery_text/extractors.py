"""The extractor of this plugin, as the server sees it: `text`.

Knows: types of files, the schema of the section. Must not know: encodings, languages, which only a worker loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from secure_delivery.plugin import Extractor, Needs, Work

from . import kinds

_COUNT = {"type": "integer", "minimum": 0}

SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "text",
    "description": "What a text holds. What does not apply is not there.",
    "type": ["object", "null"],
    "required": ["encoding", "mark", "lines", "words", "characters", "truncated"],
    "additionalProperties": False,
    "properties": {
        "encoding": {"type": "string", "description": "The name of the character set, in lower case: utf-8, windows-1252, ..."},
        "mark": {"type": "boolean", "description": "It begins with a byte order mark."},
        "lines": _COUNT,
        "words": _COUNT,
        "characters": _COUNT,
        "truncated": {"type": "boolean", "description": "Only the first 32 MB were counted."},
        "language": {"type": "string", "maxLength": 100, "description": "Of source code: Python, C++, ..."},
        "headings": {
            "type": "array",
            "maxItems": 200,
            "description": "Of Markdown.",
            "items": {
                "type": "object",
                "required": ["level", "text"],
                "additionalProperties": False,
                "properties": {
                    "level": {"type": "integer", "minimum": 1, "maximum": 6},
                    "text": {"type": "string", "maxLength": 300},
                },
            },
        },
        "front_matter": {
            "type": "object",
            "maxProperties": 50,
            "description": "Of Markdown: simple `name: value` lines at its beginning, as texts.",
            "additionalProperties": {"type": "string", "maxLength": 500},
        },
        "text": {
            "type": "string",
            "maxLength": 100_000,
            "description": "The first 100,000 characters; only with the option content: true.",
        },
    },
}


class Text:
    """Encoding, language of source code, lines, words, characters; headings and front matter of Markdown; with the option
    `content: true` the beginning of the text itself."""

    section = "text"
    call = "exif"  # it tells contents
    schema = SCHEMA
    mimetypes: ClassVar[tuple[str, ...]] = kinds.ALL_TYPES
    extensions: ClassVar[tuple[str, ...]] = kinds.ALL_EXTENSIONS
    needs = Needs(libraries=("pygments", "markdown-it-py", "charset-normalizer"))

    def warm(self) -> None:
        """Import what is needed later, before a worker is confined."""
        import_module(".drawing", __package__).warm()
        import_module(".reading", __package__)

    def extract(self, work: Work) -> Any:
        """Raises `Unsupported` for what is no text."""
        return import_module(".reading", __package__).text(work)


def extractors() -> dict[str, Extractor]:
    """By the name of its section."""
    return {"text": Text()}
