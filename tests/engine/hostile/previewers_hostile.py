"""Previewers and extractors that behave as badly as taken-over decoders would, each for a type of its own.

Those that only try what they may not do draw their page when everything was refused, and say so when something was not.
"""

# It makes the plainest calls there are, and hopes that they fail.
# ruff: noqa: PTH102, PTH111, PTH123, SIM115

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from secure_delivery.plugin import Encrypted, Extractor, MemoryFile, Needs, Page, Previewer, Unsupported, Work, hookimpl


def drawn(work: Work, colour: str = "#336699", number: int = 1, total: int = 1) -> Page:
    """A page as an honest previewer would make it."""
    from PIL import Image

    from secure_delivery_images import Picture

    image = Image.new("RGB", (48, 32), colour)
    return Page(number=number, media=Picture.drawn(image, filename="page", limits=work.limits), total=total)


def segfault(work: Work) -> Iterator[Any]:
    yield drawn(work)
    ctypes.string_at(0)


def leave(work: Work) -> Iterator[Any]:
    yield drawn(work)
    os._exit(0)


def spin(work: Work) -> Iterator[Any]:
    yield drawn(work)
    while True:
        pass


def sleep(work: Work) -> Iterator[Any]:
    time.sleep(3_600)
    yield drawn(work)


def hog(work: Work) -> Iterator[Any]:
    held = [bytearray(1 << 26) for _ in range(1 << 10)]
    yield drawn(work, total=len(held))


def hog_by_libc(work: Work) -> Iterator[Any]:
    """Past Python's own accounting, and past its exceptions."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    while place := libc.malloc(ctypes.c_size_t(1 << 26)):
        ctypes.memset(place, 1, 1 << 26)
    ctypes.memset(0, 1, 1)
    yield drawn(work)


def recurse(work: Work) -> Iterator[Any]:
    yield from recurse(work)


def deep(work: Work) -> Iterator[Any]:
    value: Any = []
    for _ in range(200_000):
        value = [value]
    raise ValueError(value)


def exits(work: Work) -> Iterator[Any]:
    yield drawn(work)
    sys.exit("bye")


def chatty(work: Work) -> Iterator[Any]:
    """Megabytes on every standard stream."""
    for _ in range(64):
        print("x" * (1 << 20))
        print("x" * (1 << 20), file=sys.stderr)
        os.write(1, b"y" * 65_536)
    sys.stdout.flush()
    yield drawn(work)


def flood(work: Work) -> Iterator[Any]:
    """Writes into whatever is open, the way back to the server included."""
    while True:
        for number in range(3, 64):
            try:
                os.write(number, b"z" * 4_096)
            except OSError:
                pass
    yield


def endless(work: Work) -> Iterator[Any]:
    number = 0
    while True:
        number += 1
        yield drawn(work, number=number, total=1_000_000_000)


def same_page(work: Work) -> Iterator[Any]:
    while True:
        yield drawn(work)


def unasked(work: Work) -> Iterator[Any]:
    yield drawn(work, number=2, total=2)


def negative(work: Work) -> Iterator[Any]:
    yield drawn(work, number=-1, total=-1)


def locked(work: Work) -> Iterator[Any]:
    raise Encrypted("it has a password")
    yield


def yields(thing: Callable[[Work], Any]) -> Callable[[Work], Iterator[Any]]:
    def preview(work: Work) -> Iterator[Any]:
        yield thing(work)

    return preview


def _media_lies(work: Work) -> Page:
    return Page(number=1, media=MemoryFile(b"\x89PNG\r\n\x1a\n" + b"no" * 99, "image/png", "a.png"))


def _text_numbers(work: Work) -> Page:
    return Page(number="1", media=drawn(work).media, total="1")  # type: ignore[arg-type]


def trying(*attempts: Callable[[], Any]) -> Callable[[Work], Iterator[Any]]:
    """A previewer that tries what it may not do."""

    def preview(work: Work) -> Iterator[Any]:
        for attempt in attempts:
            try:
                attempt()
            except (OSError, ctypes.ArgumentError):
                continue
            raise Unsupported(public="It could do what it may not.")
        yield drawn(work)

    return preview


def _connects(family: int, place: Any) -> Callable[[], Any]:
    return lambda: socket.socket(family, socket.SOCK_STREAM).connect(place)


PREVIEWERS: dict[str, Callable[[Work], Any]] = {
    "steady": lambda work: iter([drawn(work, number=1, total=1)]),
    "segfault": segfault,
    "leave": leave,
    "abort": lambda work: os.abort(),
    "spin": spin,
    "sleep": sleep,
    "hog": hog,
    "hog_by_libc": hog_by_libc,
    "recurse": recurse,
    "deep": deep,
    "exits": exits,
    "chatty": chatty,
    "flood": flood,
    "endless": endless,
    "same_page": same_page,
    "unasked": unasked,
    "negative": negative,
    "locked": locked,
    "none": lambda work: None,
    "a_number": lambda work: 7,
    "a_page": drawn,
    "yields_none": yields(lambda work: None),
    "yields_text": yields(lambda work: "page"),
    "yields_media": yields(lambda work: drawn(work).media),
    "yields_no_media": yields(lambda work: Page(number=1, media=None)),  # type: ignore[arg-type]
    "yields_no_picture": yields(lambda work: Page(number=1, media=MemoryFile(b"text", "application/x-none", "a.none"))),
    "yields_a_lie": yields(_media_lies),
    "yields_text_numbers": yields(_text_numbers),
    "writes": trying(
        lambda: open("/tmp/previewers_hostile_was_here", "wb"),
        lambda: open("previewers_hostile_was_here", "wb"),
        lambda: os.mkdir(os.path.expanduser("~/previewers_hostile_was_here")),
        lambda: os.open("/proc/self/fd/3", os.O_RDWR),
    ),
    "reads": trying(lambda: open("/etc/passwd", "rb"), lambda: open(f"/proc/{os.getppid()}/environ", "rb")),
    "connects": trying(
        _connects(socket.AF_INET, ("127.0.0.1", 80)),
        _connects(socket.AF_INET, ("169.254.169.254", 80)),
        _connects(socket.AF_UNIX, "/run/docker.sock"),
        lambda: socket.create_connection(("localhost", 80), timeout=1),
        lambda: socket.socketpair(),
    ),
    "forks": trying(
        lambda: os.fork(), lambda: subprocess.run(["/bin/true"]), lambda: os.posix_spawn("/bin/true", ["true"], {})
    ),
    "kills": trying(lambda: os.kill(os.getppid(), signal.SIGKILL), lambda: os.kill(-1, signal.SIGKILL)),
}


class Hostile:
    """One of them, as a previewer."""

    extensions = ()
    priority = 50
    family = "hostile"
    needs = Needs()

    def __init__(self, name: str, preview: Callable[[Work], Any]) -> None:
        self.mimetypes = (f"application/x-{name.replace('_', '-')}",)
        self.preview = preview


class HostileProbe(Hostile):
    """Its probe is worse than itself."""

    def __init__(self, name: str, probe: Callable[[], Any]) -> None:
        super().__init__(name, lambda work: iter([drawn(work)]))
        self._probe = probe

    def probe(self, head: bytes, filename: str) -> bool:
        return bool(self._probe())


class HostileExtractor:
    """One of the same, as an extractor of any file."""

    call = "stat"
    mimetypes = ("application/x-steady",)
    extensions = ()
    needs = Needs()
    schema: Mapping[str, Any] = {}

    def __init__(self, section: str, extract: Callable[[], Any]) -> None:
        self.section = section
        self._extract = extract

    def extract(self, work: Work) -> Any:
        return self._extract()


def _nested() -> Any:
    value: Any = 1
    for _ in range(100):
        value = {"deeper": value}
    return value


EXTRACTORS: dict[str, Callable[[], Any]] = {
    "crash_section": lambda: ctypes.string_at(0),
    "exit_section": lambda: os._exit(3),
    "huge_section": lambda: ["x" * (1 << 20)] * 64,
    "nested_section": _nested,
    "nan_section": lambda: {"n": float("nan")},
    "bytes_section": lambda: {"n": b"bytes"},
    "honest_section": lambda: {"n": 1},
}


@hookimpl
def register_previewers() -> Mapping[str, Previewer]:
    found: dict[str, Any] = {name: Hostile(name, preview) for name, preview in PREVIEWERS.items()}
    found["probe_raises"] = HostileProbe("probe_raises", lambda: 1 / 0)
    found["probe_crashes"] = HostileProbe("probe_crashes", lambda: ctypes.string_at(0))
    return found


@hookimpl
def register_extractors() -> Mapping[str, Extractor]:
    return {section: HostileExtractor(section, extract) for section, extract in EXTRACTORS.items()}
