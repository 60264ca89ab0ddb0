"""Makes pictures smaller with the transformations that are installed, on request; the other side of `images.py`.

Knows: the contract of plugins. Must not know: which library decodes.

Reads lines `COUNT PATH WIDTH`, answers each with `SECONDS CPU_SECONDS BYTES`: the time that COUNT pictures took and the
size of the last result.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from secure_delivery.plugin import Media, Transformation, Warm
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.testing import SimpleWorkshop


class FileMedia:
    """A JPEG on disk."""

    mimetype = "image/jpeg"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.filename = path.name
        self.size = path.stat().st_size

    def open(self) -> BinaryIO:
        return self.path.open("rb")


def bound(transformation: Transformation, **given: str) -> Mapping[str, Any]:
    """Options as the engine binds them: each parameter read by its kind, or its default."""
    return {
        param.name: param.kind.read(given[param.name]) if param.name in given else param.default
        for param in transformation.params
    }


def main() -> None:
    """Serve requests from standard input until it ends."""
    found = load().transformations
    resize, output = found["resize"], found["output"]
    for each in (resize, output):
        if isinstance(each, Warm):
            each.warm()
    shop = SimpleWorkshop()
    into = bound(output, format="jpg", quality="80")
    print("ready", flush=True)
    for line in sys.stdin:
        count, path, width = line.split()
        options = bound(resize, width=width)
        data = b""
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(count)):
            media: Media = FileMedia(Path(path))
            media = output.apply(resize.apply(media, options, shop), into, shop)
            with media.open() as stream:
                data = stream.read()
        print(time.perf_counter() - wall, time.process_time() - cpu, len(data), flush=True)


if __name__ == "__main__":
    main()
