"""Two sections that every file has: `checksum` and `stat`. They read bytes and understand none of them.

Knows: the contract of extractors, hash functions. Must not know: any format, any other plugin.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Protocol

from ..gate.errors import BadRequest
from ..plugin.previewing import Extractor, Needs, Work
from ..plugin.protocols import Media

_CHUNK = 1 << 20  # bytes read at once: hashing is no faster with more
_SIGNATURE = 16  # bytes of the start that are shown
_LONGEST = 255  # characters of a file name, as of any file system
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Crc32:
    """The checksum of ZIP and PNG files (ITU-T V.42) in the clothes of a hash function."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


def _hash(name: str) -> Callable[[], _Digest]:
    return lambda: hashlib.new(name, usedforsecurity=False)


#: What a request may name. Two files with one MD5 or SHA-1 can be made on purpose; these are here because they are asked for.
ALGORITHMS: dict[str, Callable[[], _Digest]] = {
    **{name: _hash(name) for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_512")},
    **{name: _hash(name) for name in ("blake2b", "blake2s")},
    "crc32": _Crc32,
}


class Checksum:
    """`checksum`: the MD5 of the file as 32 hexadecimal digits, as the service told it.

    With the option `algorithms`, a list of names from `ALGORITHMS`, an object of name to hexadecimal digits instead; the file
    is read once for all of them.
    """

    section = "checksum"
    call = "stat"
    mimetypes: ClassVar[tuple[str, ...]] = ("*/*",)
    extensions: ClassVar[tuple[str, ...]] = ()
    needs = Needs()
    schema: ClassVar[Mapping[str, Any]] = {
        "$schema": _DRAFT,
        "title": "checksum",
        "description": "MD5 of the file, or an object of algorithm to digest when the request names algorithms.",
        "oneOf": [
            {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            {
                "type": "object",
                "propertyNames": {"enum": sorted(ALGORITHMS)},
                "additionalProperties": {"type": "string", "pattern": "^(?:[0-9a-f]{2})+$"},
                "minProperties": 1,
            },
        ],
        "examples": [
            "d41d8cd98f00b204e9800998ecf8427e",
            {"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        ],
    }

    def warm(self) -> None:
        """Use each once: the library behind them reads its settings when it is first asked."""
        for make in ALGORITHMS.values():
            make().update(b"")

    def extract(self, work: Work) -> Any:
        """Raises `BadRequest` for algorithms that are not on the list."""
        wanted = _algorithms(work.options)
        digests = {name: ALGORITHMS[name]() for name in wanted or ("md5",)}
        for piece in _pieces(work.media):
            for digest in digests.values():
                digest.update(piece)
        found = {name: digest.hexdigest() for name, digest in digests.items()}
        return found if wanted else found["md5"]


class Stat:
    """`stat`: what is known of a file without opening it up."""

    section = "stat"
    call = "stat"
    mimetypes: ClassVar[tuple[str, ...]] = ("*/*",)
    extensions: ClassVar[tuple[str, ...]] = ()
    needs = Needs()
    schema: ClassVar[Mapping[str, Any]] = {
        "$schema": _DRAFT,
        "title": "stat",
        "type": "object",
        "required": ["filename", "extension", "mimetype", "type", "size", "signature"],
        "additionalProperties": False,
        "properties": {
            "filename": {"type": "string", "description": "with its extension"},
            "extension": {"type": "string", "description": "lower case, without dot; empty when there is none"},
            "mimetype": {"type": "string", "description": "by content, not by name"},
            "type": {"type": "string", "description": "the part of the mimetype before the slash"},
            "size": {"type": "integer", "minimum": 0, "description": "bytes"},
            "signature": {"type": "string", "pattern": "^[0-9a-f]*$", "description": f"the first {_SIGNATURE} bytes"},
        },
        "examples": [
            {
                "filename": "photo.jpg",
                "extension": "jpg",
                "mimetype": "image/jpeg",
                "type": "image",
                "size": 48213,
                "signature": "ffd8ffe000104a464946000101000001",
            }
        ],
    }

    def extract(self, work: Work) -> Any:
        media = work.media
        with media.open() as stream:
            signature = stream.read(_SIGNATURE).hex()
            size = stream.seek(0, 2) if media.size is None else media.size
        name = _printable(media.filename)
        return {
            "filename": name,
            "extension": _extension(name),
            "mimetype": media.mimetype,
            "type": media.mimetype.partition("/")[0],
            "size": size,
            "signature": signature,
        }


def extractors() -> dict[str, Extractor]:
    """Both, by the name of their section."""
    return {extractor.section: extractor for extractor in (Checksum(), Stat())}


def _algorithms(options: Mapping[str, Any]) -> list[str]:
    named = options.get("algorithms")
    if named is None:
        return []
    names = [named] if isinstance(named, str) else named
    known = f"checksum: algorithms is a list of {', '.join(sorted(ALGORITHMS))}."
    if not isinstance(names, list | tuple) or not 0 < len(names) <= len(ALGORITHMS):
        raise BadRequest(public=known)
    wanted = [name.lower().replace("-", "_") if isinstance(name, str) else "" for name in names]
    wanted = [
        {"sha_1": "sha1", "sha_256": "sha256", "sha_384": "sha384", "sha_512": "sha512"}.get(name, name) for name in wanted
    ]
    if any(name not in ALGORITHMS for name in wanted):
        raise BadRequest(public=known)
    return list(dict.fromkeys(wanted))


def _pieces(media: Media) -> Iterator[bytes]:
    with media.open() as stream:
        while piece := stream.read(_CHUNK):
            yield piece


def _printable(name: str) -> str:
    return "".join(character for character in name if character.isprintable())[:_LONGEST]


def _extension(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    return extension.lower() if dot and stem.strip(".") else ""
