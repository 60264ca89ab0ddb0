"""The characters that the reading model knows, in the order of its answers.

Knows: that an ONNX file is a Protocol Buffers message whose field 14 holds named texts (onnx.proto3, `ModelProto`).
Must not know: what the model does. OpenCV reads the network of such a file, but not these texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from secure_delivery.plugin import ConfigurationError

from .library import TEXT_LETTERS, read

_METADATA, _KEY, _VALUE = 14, 1, 2
_VARINT, _LONG, _BYTES, _SHORT = 0, 1, 2, 5  # wire types


@lru_cache(maxsize=1)
def alphabet() -> tuple[str, ...]:
    """By the number that the model answers with: nothing for 0, then its characters, then the space."""
    for number, entry in _fields(memoryview(read(TEXT_LETTERS))):
        if number == _METADATA:
            said = {field: bytes(value).decode("utf-8") for field, value in _fields(entry)}
            if said.get(_KEY) == "character":
                return ("", *said[_VALUE].splitlines(), " ")
    raise ConfigurationError("the reading model does not say which characters it knows")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that hold bytes, each with its number."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _BYTES:
            length, at = _varint(message, at)
            yield tag >> 3, message[at : at + length]
            at += length
        elif kind == _VARINT:
            _, at = _varint(message, at)
        else:
            at += {_LONG: 8, _SHORT: 4}[kind]


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
