"""Results that are made in memory: what most transformations hand on.

Knows: bytes, JSON. Must not know: how a chain runs, any library that decodes something.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """A `Media` whose bytes are in memory. `extra` is plain data about it that the engine hands to the server."""

    data: bytes = field(repr=False)
    mimetype: str = "application/octet-stream"
    filename: str = "file"
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.data)

    def open(self) -> BinaryIO:
        return BytesIO(self.data)


def json_file(value: Any, filename: str) -> MemoryFile:
    """A result that says something about a file instead of being one: UTF-8 JSON. Raises `ValueError` for NaN."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return MemoryFile(text.encode("utf-8"), "application/json", filename)
