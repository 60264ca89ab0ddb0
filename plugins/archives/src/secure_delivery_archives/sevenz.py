"""7z files by their header (7zFormat.txt of the LZMA SDK, in the public domain).

Knows: the structure of that header, LZMA by the standard library. Must not know: files inside, what is drawn.

The header may be packed itself. It is unpacked in memory within a bound; nothing else ever is.
"""

from __future__ import annotations

import io
import lzma
import zlib
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from secure_delivery.plugin import Corrupt, Encrypted, TooLarge, Unsupported

from .listing import MOST_COUNTED, MOST_KEPT, Entry, Listing, bounded, moment

MAGIC = b"7z\xbc\xaf\x27\x1c"
_MOST_HEADER = 32 << 20  # bytes, packed or not: a million names
_MOST_CODERS, _MOST_STREAMS = 32, 64
_COPY, _LZMA, _LZMA2, _AES = b"\0", b"\3\1\1", b"\x21", b"\6\xf1\7\1"
_SINCE_1601 = 11_644_473_600  # seconds from then until 1970

(_END, _HEADER, _ARCHIVE, _MORE_STREAMS, _STREAMS, _FILES, _PACK, _UNPACK, _PARTS, _SIZE, _CRC, _FOLDER, _SIZES, _COUNTS) = (
    range(14)
)
_EMPTY_STREAM, _EMPTY_FILE, _NAMES, _MODIFIED, _ENCODED = 0x0E, 0x0F, 0x11, 0x14, 0x17


@dataclass(slots=True)
class _Folder:
    """What was packed together: its coders (method and properties), what comes out of it, whether its checksum is known."""

    coders: list[tuple[bytes, bytes]]
    outs: int
    main: int
    packed: int
    sizes: list[int] = field(default_factory=list)
    checked: bool = False

    @property
    def size(self) -> int:
        return self.sizes[self.main]

    @property
    def encrypted(self) -> bool:
        return any(method == _AES for method, _ in self.coders)


@dataclass(slots=True)
class _Streams:
    """Where packed data begins, its sizes, and for every file with data its size and whether it is encrypted."""

    place: int = 0
    packed: list[int] = field(default_factory=list)
    folders: list[_Folder] = field(default_factory=list)
    files: list[tuple[int, bool]] = field(default_factory=list)


def listing(stream: BinaryIO) -> Listing:
    """All that the header of a 7z file says. Raises `Corrupt`, `Encrypted`, `TooLarge`, `Unsupported`."""
    found = Listing("7z")
    data = _header(stream)
    if data:
        try:
            _Reader(data).into(found)
        except (IndexError, OverflowError) as error:
            raise Corrupt(f"7z: the header ends too early: {error}") from None
    return found


def _header(stream: BinaryIO) -> bytes:
    """The header, unpacked."""
    stream.seek(0)
    start = stream.read(32)
    if len(start) < 32 or not start.startswith(MAGIC):
        raise Corrupt("7z: no signature")
    if zlib.crc32(start[12:32]) != int.from_bytes(start[8:12], "little"):
        raise Corrupt("7z: the start header is damaged")
    place, size, crc = (int.from_bytes(start[a:b], "little") for a, b in ((12, 20), (20, 28), (28, 32)))
    if size == 0:
        return b""
    data = _read(stream, 32 + place, size)
    if zlib.crc32(data) != crc:
        raise Corrupt("7z: the header is damaged")
    for _ in range(4):
        if data[:1] == bytes([_HEADER]):
            return data[1:]
        if data[:1] != bytes([_ENCODED]):
            break
        try:
            streams = _Reader(data[1:]).streams()
        except (IndexError, OverflowError) as error:
            raise Corrupt(f"7z: the header ends too early: {error}") from None
        if len(streams.folders) != 1 or not streams.packed:
            break
        data = _unpacked(_read(stream, 32 + streams.place, streams.packed[0]), streams.folders[0])
    raise Corrupt("7z: no header")


def _read(stream: BinaryIO, place: int, size: int) -> bytes:
    if size > _MOST_HEADER:
        raise TooLarge(f"7z: a header of {size} bytes")
    if place + size > stream.seek(0, io.SEEK_END):
        raise Corrupt("7z: the header is not where it should be")
    stream.seek(place)
    return stream.read(size)


def _unpacked(data: bytes, folder: _Folder) -> bytes:
    """A packed header."""
    if folder.encrypted:
        raise Encrypted("7z: the header is encrypted")
    if len(folder.coders) != 1:
        raise Unsupported("7z: a header packed twice")
    method, properties = folder.coders[0]
    size = folder.size
    if size > _MOST_HEADER:
        raise TooLarge(f"7z: a header of {size} bytes unpacked")
    if method == _COPY:
        return data[:size]
    # The window never needs to be larger than what comes out: what the properties ask for is not given.
    chain: dict[str, Any] = {"dict_size": max(4096, size)}
    if method == _LZMA and len(properties) == 5 and properties[0] < 225:
        chain |= {"id": lzma.FILTER_LZMA1, "lc": properties[0] % 9, "lp": properties[0] // 9 % 5, "pb": properties[0] // 45}
    elif method == _LZMA2:
        chain |= {"id": lzma.FILTER_LZMA2}
    else:
        raise Unsupported(f"7z: a header packed by the method {method.hex()}")
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chain]).decompress(data, size)
    except (lzma.LZMAError, ValueError, EOFError) as error:
        raise Corrupt(f"7z: {error}") from None


class _Reader:
    """Reads a header from its start. Raises `IndexError` at its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    # -- small things

    def byte(self) -> int:
        value = self._data[self._at]
        self._at += 1
        return value

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise IndexError("more is announced than there is")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self) -> int:
        """The leading ones of the first byte say how many bytes follow, its rest are the highest bits."""
        first = self.byte()
        if first < 0x80:
            return first
        mask, value = 0x80, 0
        for index in range(8):
            if not first & mask:
                return value | (first & (mask - 1)) << 8 * index
            value |= self.byte() << 8 * index
            mask >>= 1
        return value

    def count(self, most: int) -> int:
        value = self.number()
        if value > most:
            raise TooLarge(f"7z: {value} of something, at most {most} are read")
        return value

    def bits(self, count: int) -> list[bool]:
        data = self.take((count + 7) // 8)
        return [bool(data[index >> 3] & 0x80 >> (index & 7)) for index in range(count)]

    def some(self, count: int) -> list[bool]:
        """Which of so many have a value."""
        return [True] * count if self.byte() else self.bits(count)

    def digests(self, count: int) -> list[bool]:
        defined = self.some(count)
        self.take(4 * sum(defined))
        return defined

    def expect(self, wanted: int) -> None:
        if self.byte() != wanted:
            raise Corrupt(f"7z: property {wanted} is not where it should be")

    # -- streams

    def streams(self) -> _Streams:
        found = _Streams()
        counts: list[int] | None = None
        while (kind := self.byte()) != _END:
            if kind == _PACK:
                self._packs(found)
            elif kind == _UNPACK:
                self._folders(found)
            elif kind == _PARTS:
                counts = self._parts(found)
            else:
                raise Corrupt(f"7z: property {kind} among streams")
        if counts is None:
            found.files = [(folder.size, folder.encrypted) for folder in found.folders]
        return found

    def _packs(self, found: _Streams) -> None:
        found.place = self.number()
        count = self.count(MOST_COUNTED)
        while (kind := self.byte()) != _END:
            if kind == _SIZE:
                found.packed = [self.number() for _ in range(count)]
            elif kind == _CRC:
                self.digests(count)
            else:
                raise Corrupt(f"7z: property {kind} of packed streams")

    def _folders(self, found: _Streams) -> None:
        self.expect(_FOLDER)
        count = self.count(MOST_COUNTED)
        if self.byte():
            raise Unsupported("7z: folders that are described elsewhere")
        found.folders = [self._folder() for _ in range(count)]
        self.expect(_SIZES)
        for folder in found.folders:
            folder.sizes = [self.number() for _ in range(folder.outs)]
        while (kind := self.byte()) != _END:
            if kind != _CRC:
                raise Corrupt(f"7z: property {kind} of folders")
            for folder, checked in zip(found.folders, self.digests(count), strict=True):
                folder.checked = checked

    def _folder(self) -> _Folder:
        coders, ins, outs = [], 0, 0
        for _ in range(self.count(_MOST_CODERS)):
            flags = self.byte()
            method = self.take(flags & 0x0F)
            wide = bool(flags & 0x10)
            ins += self.count(_MOST_STREAMS) if wide else 1
            outs += self.count(_MOST_STREAMS) if wide else 1
            coders.append((method, self.take(self.number()) if flags & 0x20 else b""))
        if not coders or not 0 < outs <= ins + 1:
            raise Corrupt("7z: a folder without coders")
        used = set()
        for _ in range(outs - 1):
            self.number()
            used.add(self.number())
        packed = ins - (outs - 1)
        if packed > 1:
            for _ in range(packed):
                self.number()
        main = next((index for index in range(outs) if index not in used), None)
        if main is None:
            raise Corrupt("7z: a folder that nothing comes out of")
        return _Folder(coders, outs, main, packed)

    def _parts(self, found: _Streams) -> list[int]:
        counts = [1] * len(found.folders)
        kind = self.byte()
        if kind == _COUNTS:
            counts = [self.count(MOST_COUNTED) for _ in found.folders]
            if sum(counts) > MOST_COUNTED:
                raise TooLarge(f"7z: more than {MOST_COUNTED} entries")
            kind = self.byte()
        sized = kind == _SIZE
        for folder, count in zip(found.folders, counts, strict=True):
            left = folder.size
            for _ in range(count - 1):
                size = self.number() if sized else 0
                found.files.append((size, folder.encrypted))
                left -= size
            if count:
                found.files.append((max(0, left), folder.encrypted))
        kind = self.byte() if sized else kind
        while kind != _END:
            if kind != _CRC:
                raise Corrupt(f"7z: property {kind} of parts")
            self.digests(
                sum(count for folder, count in zip(found.folders, counts, strict=True) if count != 1 or not folder.checked)
            )
            kind = self.byte()
        return counts

    # -- files

    def into(self, found: Listing) -> None:
        """Take all files into a listing."""
        streams = _Streams()
        while (kind := self.byte()) != _END:
            if kind == _ARCHIVE:
                while self.byte() != _END:
                    self.take(self.number())
            elif kind == _MORE_STREAMS:
                self.streams()
            elif kind == _STREAMS:
                streams = self.streams()
            elif kind == _FILES:
                self._files(found, streams)
            else:
                raise Corrupt(f"7z: property {kind} of the header")
        found.packed = bounded(sum(streams.packed))

    def _files(self, found: Listing, streams: _Streams) -> None:
        count = self.count(MOST_COUNTED)
        without, empty_file = [False] * count, [False] * 0
        names: list[str] = []
        times: list[str | None] = []
        while (kind := self.byte()) != _END:
            inner = _Reader(self.take(self.number()))
            if kind == _EMPTY_STREAM:
                without = inner.bits(count)
                empty_file = [False] * sum(without)
            elif kind == _EMPTY_FILE:
                empty_file = inner.bits(len(empty_file))
            elif kind == _NAMES:
                names = inner.names(count)
            elif kind == _MODIFIED:
                times = inner.times(count)
        sizes, empties = iter(streams.files), iter(empty_file)
        for index in range(count):
            size, encrypted = (0, False) if without[index] else next(sizes, (0, False))
            folder = without[index] and not next(empties, False)
            if found.full:
                found.count(size=size, packed=None, folder=folder, encrypted=encrypted)
                continue
            name = names[index] if index < len(names) else ""
            modified = times[index] if index < len(times) else None
            found.add(Entry(name=name, size=bounded(size), modified=modified, encrypted=encrypted, folder=folder))

    def names(self, count: int) -> list[str]:
        """The first names that are wanted; the rest is not decoded."""
        if self.byte():
            raise Unsupported("7z: names that are kept elsewhere")
        found, start = [], self._at
        for _ in range(min(count, MOST_KEPT)):
            end = start
            while (end := self._data.find(b"\0\0", end)) >= 0 and (end - start) % 2:
                end += 1
            if end < 0:
                break
            found.append(self._data[start:end].decode("utf-16-le", "replace"))
            start = end + 2
        return found

    def times(self, count: int) -> list[str | None]:
        defined = self.some(count)
        if self.byte():
            raise Unsupported("7z: times that are kept elsewhere")
        return [
            moment(int.from_bytes(self.take(8), "little") / 1e7 - _SINCE_1601) if has else None for has in defined[:MOST_KEPT]
        ]
