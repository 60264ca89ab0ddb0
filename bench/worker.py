"""Makes pictures with the transformations that are installed, on request; the other side of `images.py`.

Knows: the contract of plugins. Must not know: which library decodes.

Reads lines `COUNT PATH WORK`, answers each with `SECONDS CPU_SECONDS BYTES`: the time that COUNT pictures took and the size
of the last result. WORK is a width of thumbnails, or the path of a picture to put onto the result of the long chain.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from secure_delivery.gate.taskurl import parse
from secure_delivery.plugin import Media, Transformation, Warm
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.selection import providers
from secure_delivery.plugin.testing import SimpleWorkshop

TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".avif": "image/avif"}
Step = tuple[Transformation, Mapping[str, Any]]


class FileMedia:
    """A picture on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mimetype = TYPES[path.suffix]
        self.filename = path.name
        self.size = path.stat().st_size

    def open(self) -> BinaryIO:
        return self.path.open("rb")


def chain(found: Mapping[str, Transformation], text: str) -> list[Step]:
    """The steps of a chain, bound as the engine binds them: each parameter read by its kind, or its default."""
    steps = []
    for task in parse(f"/{text}/{'A' * 21}").tasks:
        transformation = found[task.name]
        given = dict(task.options)
        bound = {
            param.name: param.kind.read(given[param.name]) if param.name in given else param.default
            for param in transformation.params
        }
        steps.append((transformation, bound))
    return steps


def work(found: Mapping[str, Transformation], asked: str) -> tuple[list[Step], SimpleWorkshop]:
    """What is to be done, and with which other files."""
    if asked.isdecimal():
        return chain(found, f"resize=width:{asked}/output=format:jpg,quality:80"), SimpleWorkshop()
    steps = "crop=dim:[500,400,3000,2200]/resize=width:1000/rotate=deg:90"
    steps += f"/watermark=file:{'B' * 21},size:25,position:[bottom,right]/output=format:webp,quality:80"
    return chain(found, steps), SimpleWorkshop(others=(FileMedia(Path(asked)),))


def main() -> None:
    """Serve requests from standard input until it ends."""
    found = load().transformations
    for name in ("resize", "output", "crop", "rotate", "watermark"):
        for each in providers(found[name]) if name in found else ():
            if isinstance(each, Warm):
                each.warm()
    print("ready", flush=True)
    for line in sys.stdin:
        count, path, asked = line.split()
        steps, shop = work(found, asked)
        data = b""
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(count)):
            media: Media = FileMedia(Path(path))
            for transformation, options in steps:
                media = transformation.apply(media, options, shop)
            with media.open() as stream:
                data = stream.read()
        print(time.perf_counter() - wall, time.process_time() - cpu, len(data), flush=True)


if __name__ == "__main__":
    main()
