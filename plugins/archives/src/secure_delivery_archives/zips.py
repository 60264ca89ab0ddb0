"""ZIP files by their directory (APPNOTE.TXT 6.3): names, sizes and flags, and one member where a picture is kept.

Knows: the structure of ZIP. Must not know: what is drawn, what members mean.

The standard library makes an object of every entry, which for a million of them is half a gigabyte: here they are counted as
they pass by. What the directory says is not believed where memory depends on it.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO, NamedTuple

from secure_delivery.plugin import Corrupt, Encrypted, TooLarge, Unsupported

from .listing import Entry, Listing, bounded, moment

_END, _END64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_HEADER = struct.Struct("<4s4B4HL2L5H2L")  # of an entry in the directory
_LOCAL = struct.Struct("<4s2B4HL2L2H")
_WITHIN = 22 + 65_535  # bytes from the end in which the end record begins
_MASKED = 1 << 13  # the directory itself is encrypted
_UTF8 = 1 << 11
_WIDE = 0xFFFFFFFF
_STORED, _DEFLATED = 0, 8
_BUFFER = 1 << 18
_PIECE = 1 << 16


class Member(NamedTuple):
    """One entry of the directory, undecoded."""

    name: bytes
    extra: bytes
    flags: int
    method: int
    when: tuple[int, int]  # time and date of MS-DOS
    packed: int
    size: int
    place: int  # of its local header in the file

    @property
    def encrypted(self) -> bool:
        return bool(self.flags & 1)

    @property
    def folder(self) -> bool:
        return self.name.endswith(b"/")

    @property
    def text(self) -> str:
        if self.flags & _UTF8:
            return self.name.decode("utf-8", "replace")
        unicode = (
            _field(self.extra, 0x7075) if self.extra else b""
        )  # a name in UTF-8 beside the old one, with a checksum of that
        if len(unicode) > 5 and unicode[0] == 1 and int.from_bytes(unicode[1:5], "little") == zlib.crc32(self.name):
            return unicode[5:].decode("utf-8", "replace")
        try:
            return self.name.decode("ascii")
        except UnicodeDecodeError:
            pass
        try:
            return self.name.decode("utf-8")  # many writers say nothing and use it
        except UnicodeDecodeError:
            return self.name.decode("cp437")

    @property
    def modified(self) -> str | None:
        stamp = _field(self.extra, 0x5455) if self.extra else b""
        if len(stamp) >= 5 and stamp[0] & 1:
            return moment(int.from_bytes(stamp[1:5], "little", signed=True))
        time, date = self.when
        try:  # of some clock: the format does not say of which
            return datetime(  # noqa: DTZ001
                1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2
            ).isoformat()
        except ValueError:
            return None


def listing(stream: BinaryIO) -> Listing:
    """All that the directory of a ZIP file says. Raises `Corrupt`, `Encrypted`, `Unsupported`."""
    found = Listing("zip")
    for member in members(stream):
        if found.spent:
            found.complete = False
            break
        size, packed = bounded(member.size), bounded(member.packed)
        folder, encrypted = member.folder, member.encrypted
        if found.full:
            found.count(size=size, packed=packed, folder=folder, encrypted=encrypted)
        else:
            found.add(
                Entry(
                    name=(member.text.rstrip("/") or "/") if folder else member.text,
                    size=size,
                    packed=packed,
                    modified=member.modified,
                    encrypted=encrypted,
                    folder=folder,
                )
            )
    return found


def members(stream: BinaryIO) -> Iterator[Member]:
    """The entries of the directory, one after the other. Raises `Corrupt`, `Encrypted`, `Unsupported`."""
    start, length, shift = _directory(stream)
    stream.seek(start)
    directory = io.BufferedReader(_Window(stream, length), _BUFFER)
    while head := directory.read(_HEADER.size):
        if len(head) < _HEADER.size or head[:4] != b"PK\x01\x02":
            raise Corrupt("zip: the directory ends in the middle of an entry")
        _, *_, flags, method, time, date, _crc, packed, size, named, more, noted, _disk, _kind, _mode, place = _HEADER.unpack(
            head
        )
        rest = directory.read(named + more + noted)
        if len(rest) < named + more + noted:
            raise Corrupt("zip: the directory ends in the middle of an entry")
        if flags & _MASKED:
            raise Encrypted("zip: the directory is encrypted")
        extra = rest[named : named + more]
        if _WIDE in (packed, size, place):
            size, packed, place = _widened(extra, size, packed, place)
        yield Member(rest[:named], extra, flags, method, (time, date), packed, size, place + shift)


def content(stream: BinaryIO, member: Member, most: int) -> bytes:
    """The bytes of a member, stored or deflated, counted while they come.

    Raises `TooLarge` for more than `most`, `Encrypted`, `Unsupported` for other methods, `Corrupt`.
    """
    if member.encrypted:
        raise Encrypted("zip: the member is encrypted")
    stream.seek(member.place)
    head = stream.read(_LOCAL.size)
    if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
        raise Corrupt("zip: no member where the directory says")
    named, more = _LOCAL.unpack(head)[-2:]
    stream.seek(named + more, io.SEEK_CUR)
    if member.method == _STORED:
        if member.packed > most:
            raise TooLarge(f"a member of more than {most} bytes")
        return stream.read(member.packed)
    if member.method != _DEFLATED:
        raise Unsupported(f"zip: method {member.method}")
    unpacking, parts, size, left = zlib.decompressobj(-15), [], 0, member.packed
    try:
        while left > 0 and not unpacking.eof and (piece := stream.read(min(left, _PIECE))):
            left -= len(piece)
            parts.append(unpacking.decompress(piece, most + 1 - size))
            size += len(parts[-1])
            if size > most or unpacking.unconsumed_tail:
                raise TooLarge(f"a member of more than {most} bytes")
    except zlib.error as error:
        raise Corrupt(f"zip: {error}") from None
    return b"".join(parts)


def _directory(stream: BinaryIO) -> tuple[int, int, int]:
    """Where the directory begins, its length, and by how much all places are off (a program may stand before a ZIP file)."""
    size = stream.seek(0, io.SEEK_END)
    tail_at = max(0, size - _WITHIN)
    stream.seek(tail_at)
    tail = stream.read(_WITHIN)
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        raise Corrupt("zip: there is no directory")
    disk, first_disk, _here, count, length, start = struct.unpack_from("<4H2L", tail, at + 4)
    end = tail_at + at
    if _WIDE in (length, start) or 0xFFFF in (disk, count):
        wide = _wide_end(stream, end)
        if wide is not None:
            end, disk, first_disk, length, start = wide
    if disk or first_disk:
        raise Unsupported("zip: one of several parts", public="This archive is one of several parts.")
    shift = end - length - start
    if shift < 0 or length > end:
        raise Corrupt("zip: the directory is not where it should be")
    return start + shift, length, shift


def _wide_end(stream: BinaryIO, end: int) -> tuple[int, int, int, int, int] | None:
    """The same of ZIP64: place of its end record, disks, length and start of the directory. None where there is none."""
    if end < 20 + 56:
        return None
    stream.seek(end - 20)
    locator = stream.read(20)
    if not locator.startswith(_LOCATOR):
        return None
    for place in (int.from_bytes(locator[8:16], "little"), end - 20 - 56):  # as it says, or right before the locator
        if place < end:
            stream.seek(place)
            record = stream.read(56)
            if record.startswith(_END64) and len(record) == 56:
                disk, first_disk, _here, _count, length, start = struct.unpack_from("<2L4Q", record, 16)
                return place, disk, first_disk, length, start
    raise Corrupt("zip: the end record of ZIP64 is not where it should be")


def _widened(extra: bytes, size: int, packed: int, place: int) -> tuple[int, int, int]:
    """Sizes and place where one of them is in the field of ZIP64."""
    wide = _field(extra, 1)
    values = []
    for value in (size, packed, place):
        if value == _WIDE and len(wide) >= 8:
            value, wide = int.from_bytes(wide[:8], "little"), wide[8:]
        values.append(value)
    return values[0], values[1], values[2]


def _field(extra: bytes, wanted: int) -> bytes:
    """The content of an extra field, empty when it is not there."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + length]
        at += 4 + length
    return b""


class _Window(io.RawIOBase):
    """So many bytes of a stream from where it stands."""

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self._stream = stream
        self._left = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._stream.read(min(len(view), self._left))
        view[: len(data)] = data
        self._left -= len(data)
        return len(data)
