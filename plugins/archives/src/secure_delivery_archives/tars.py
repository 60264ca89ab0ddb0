"""Tar files by their headers (POSIX.1-2017 pax, and what GNU and the old Unix made of it), packed or not.

Knows: the structure of tar. Must not know: compression, what is drawn.

The standard library reads whatever a header says into memory; here what belongs to a header is bounded, and what does not is
skipped.
"""

from __future__ import annotations

from typing import Protocol

from secure_delivery.plugin import Corrupt, ProcessingLimit

from .listing import Entry, Listing, bounded, moment
from .streams import Spent

BLOCK = 512
_MOST_EXTRA = 1 << 20  # bytes of a long name, or of the fields of pax
_NO_DATA = b"123456"  # links, devices, folders


class Source(Protocol):
    """A stream that is read forwards."""

    def read(self, count: int) -> bytes: ...

    def skip(self, count: int) -> bool: ...


def is_header(block: bytes) -> bool:
    """Whether a block is the header of a member: its checksum is right."""
    if len(block) < BLOCK or not any(block):
        return False
    stored = _number(block[148:156])
    plain = block[:148] + b" " * 8 + block[156:]
    if stored is None:
        return False
    return stored == sum(plain) or stored == sum(plain) - 256 * sum(byte > 127 for byte in plain)  # some wrote signed sums


def listing(source: Source, first: bytes) -> Listing:
    """All members of a tar file whose first block was read already. Raises `Corrupt` when not even one is there.

    A file that ends too early, or is packed too well, is listed as far as it goes.
    """
    found = Listing("tar")
    try:
        _members(source, first, found)
    except Spent:
        found.complete = False
    except (Corrupt, ProcessingLimit):
        if not found.entries:
            raise
        found.complete = False
    return found


def _members(source: Source, block: bytes, found: Listing) -> None:
    more: dict[str, bytes] = {}
    while len(block) == BLOCK and any(block):
        if found.spent or not is_header(block):
            found.complete = False
            return
        kind, size = block[156:157], _number(block[124:136]) or 0
        if kind in b"xLK":
            more |= _extra(source, kind, size)
        elif kind == b"g":
            if not _past(source, size):
                break
        else:
            size = 0 if kind in _NO_DATA else _said(more, "size", size)
            if kind == b"S" and not _past_sparse(source, block):
                break
            real = _said(more, "GNU.sparse.realsize", _said(more, "GNU.sparse.size", _sparse_size(block, size)))
            found.add(_entry(block, kind, real, more))
            more = {}
            if not _past(source, size):
                found.complete = False
                return
        block = source.read(BLOCK)
    if len(block) < BLOCK:  # without the empty block that ends it; some writers leave it out
        found.complete = found.complete and not block and bool(found.entries)


def _entry(block: bytes, kind: bytes, size: int, more: dict[str, bytes]) -> Entry:
    raw = more.get("GNU.sparse.name") or more.get("path") or _name(block)
    name = raw.decode("utf-8", "replace")
    folder = kind == b"5" or (kind in b"0\0" and name.endswith("/"))
    when = more.get("mtime", b"").decode("ascii", "replace")
    try:
        seconds = float(when[:30]) if when else float(_number(block[136:148]) or 0)
    except ValueError:
        seconds = 0.0
    name = (name.rstrip("/") or "/") if folder else name
    return Entry(name=name, size=bounded(size), modified=moment(seconds), folder=folder)


def _name(block: bytes) -> bytes:
    name, prefix = _text(block[:100]), b""
    if block[257:263] == b"ustar\0":
        prefix = _text(block[345:500])
    return prefix + b"/" + name if prefix else name


def _extra(source: Source, kind: bytes, size: int) -> dict[str, bytes]:
    """What a header before the header says: the long name of GNU, or the fields of pax."""
    if size > _MOST_EXTRA:
        raise Corrupt(f"tar: {size} bytes about one member")
    data = source.read(size)
    if len(data) < size or not source.skip(-size % BLOCK):
        raise Corrupt("tar: it ends too early")
    if kind == b"x":
        return _fields(data)
    return {"path": _text(data)} if kind == b"L" else {}


def _fields(data: bytes) -> dict[str, bytes]:
    """`length key=value` lines."""
    fields: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        digits, blank, _ = data[at : at + 12].partition(b" ")
        if not blank or not digits.isdigit() or not len(digits) + 2 < int(digits) <= len(data) - at:
            break
        line = data[at + len(digits) + 1 : at + int(digits) - 1]
        key, _, value = line.partition(b"=")
        fields[key[:100].decode("utf-8", "replace")] = value
        at += int(digits)
    return fields


def _said(more: dict[str, bytes], key: str, otherwise: int) -> int:
    value = more.get(key, b"")
    return int(value) if value.isdigit() and len(value) < 20 else otherwise


def _sparse_size(block: bytes, size: int) -> int:
    return (_number(block[483:495]) or 0) if block[156:157] == b"S" else size


def _past_sparse(source: Source, block: bytes) -> bool:
    """Go past the blocks that say where the parts of a sparse file belong."""
    goes_on = bool(block[482])
    while goes_on:
        block = source.read(BLOCK)
        if len(block) < BLOCK:
            return False
        goes_on = bool(block[504])
    return True


def _past(source: Source, size: int) -> bool:
    return source.skip(size + -size % BLOCK)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int | None:
    """A number in octal digits, or in bytes when it is too large for these; None for anything else, or below zero."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) - (0x80 << 8 * (len(field) - 1))
        return value if field[0] == 0x80 and value < 1 << 63 else None
    digits = field.strip(b" \0")
    if not digits:
        return 0
    try:
        value = int(digits.partition(b"\0")[0].strip(), 8)
    except ValueError:
        return None
    return value if value >= 0 else None
