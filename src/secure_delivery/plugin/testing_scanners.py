"""The conformance suite of scanners; import it from `secure_delivery.plugin.testing`.

Knows: the protocol. Must not know: any implementation.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

from .media import MemoryFile
from .protocols import Scanner
from .testing_helpers import claim, seeded_bytes

_MEGABYTE = 1 << 20


#: The test file that every scanner knows (EICAR, 2003). In two halves, joined at run time: scanners leave this module alone.
_EICAR = (rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR", b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*")


class _Watched(io.RawIOBase):
    """A stream that keeps account of what is read and how often it is closed. It gives fewer bytes at once than are asked for,
    as any stream may."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self.seen = bytearray(len(data))
        self.closes = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        start = self._position
        piece = self._data[start : start + min(len(buffer), 7_001)]
        buffer[: len(piece)] = piece
        self.seen[start : start + len(piece)] = b"\1" * len(piece)
        self._position += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._position = offset + (0, self._position, len(self._data))[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        self.closes += 1
        super().close()


class _WatchedFile:
    """A `Media` that remembers the streams it gave away."""

    mimetype = "application/octet-stream"
    filename = "file"

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)
        self.streams: list[_Watched] = []

    def open(self) -> BinaryIO:
        self.streams.append(_Watched(self._data))
        return cast(BinaryIO, self.streams[-1])


class ScannerContract:
    """What every scanner holds. Subclass it as `Test...` and say how to make one that is ready to judge and knows the test file
    of the EICAR."""

    def make_scanner(self, tmp_path: Path) -> Scanner:
        """A scanner. `tmp_path` is a folder of the test's own."""
        raise NotImplementedError

    def test_it_satisfies_the_protocol(self, tmp_path: Path) -> None:
        claim(isinstance(self.make_scanner(tmp_path), Scanner), "make_scanner returns a Scanner")

    def test_a_clean_file_is_clean(self, tmp_path: Path) -> None:
        scanner = self.make_scanner(tmp_path)
        claim(scanner.scan(MemoryFile(b"Nothing to see here.\n", "text/plain", "note.txt")) is None, "a text is clean")
        claim(scanner.scan(MemoryFile(seeded_bytes(100_000, 1))) is None, "random bytes are clean")
        claim(scanner.scan(MemoryFile(b"".join(_EICAR)[:-1])) is None, "a part of the test file is clean")

    def test_an_empty_file_is_clean(self, tmp_path: Path) -> None:
        claim(self.make_scanner(tmp_path).scan(MemoryFile(b"")) is None, "a file without bytes is clean, and no fault")

    def test_the_test_file_is_found_and_named(self, tmp_path: Path) -> None:
        found = self.make_scanner(tmp_path).scan(MemoryFile(b"".join(_EICAR)))
        claim(isinstance(found, str) and bool(found.strip()), "what was found has a name")
        claim(found is not None and found.isprintable() and len(found) <= 200, "the name is one printable line, of 200 at most")

    def test_what_a_file_is_called_decides_nothing(self, tmp_path: Path) -> None:
        scanner = self.make_scanner(tmp_path)
        for mimetype, filename in (("image/jpeg", "photo.jpg"), ("text/plain", "\u202ea\0b/../c"), ("x/y", "n" * 5_000)):
            claim(
                scanner.scan(MemoryFile(b"".join(_EICAR), mimetype, filename)) is not None,
                "the test file is found by its bytes",
            )
            claim(scanner.scan(MemoryFile(b"clean", mimetype, filename)) is None, "a clean file is clean by its bytes")

    def test_the_same_file_is_judged_the_same_twice(self, tmp_path: Path) -> None:
        scanner = self.make_scanner(tmp_path)
        bad, clean = MemoryFile(b"".join(_EICAR)), MemoryFile(b"clean")
        first = scanner.scan(bad)
        claim(first is not None and scanner.scan(clean) is None, "a clean file after a bad one is clean")
        claim(scanner.scan(bad) == first and scanner.scan(clean) is None, "the second time is as the first")

    def test_five_megabytes_are_read_to_their_end(self, tmp_path: Path) -> None:
        media = _WatchedFile(seeded_bytes(5 * _MEGABYTE + 17, 5))
        claim(self.make_scanner(tmp_path).scan(media) is None, "a large file of random bytes is clean")
        claim(any(all(stream.seen) for stream in media.streams), "every byte of it was read, though reads give less than asked")

    def test_streams_are_read_from_their_start_and_closed_once(self, tmp_path: Path) -> None:
        scanner = self.make_scanner(tmp_path)
        for data in (b"", b"clean", b"".join(_EICAR)):
            media = _WatchedFile(data)
            scanner.scan(media)
            scanner.scan(media)
            claim(len(media.streams) >= 2, "each scan opens the file for itself")
            claim(all(all(stream.seen) for stream in media.streams), "a stream is read from its first byte to its last")
            claim([stream.closes for stream in media.streams] == [1] * len(media.streams), "each stream is closed, once")

    def test_files_judged_at_the_same_time_do_not_mix(self, tmp_path: Path) -> None:
        scanner = self.make_scanner(tmp_path)
        medias = [MemoryFile(b"".join(_EICAR)), MemoryFile(seeded_bytes(300_000, 2)), MemoryFile(b"")] * 8
        with ThreadPoolExecutor(8) as pool:
            found = [verdict is not None for verdict in pool.map(scanner.scan, medias)]
        claim(found == [True, False, False] * 8, "each file has its own verdict")
