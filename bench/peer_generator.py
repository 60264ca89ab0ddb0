"""preview-generator, in an environment of its own: `peer_generator.py SIDE FILE...` prints the seconds that each file took."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time

from preview_generator.manager import PreviewManager


def main() -> None:
    """A JPEG of page one of each file, as its README has it; a cache folder of its own, so that nothing is there already."""
    side, files = int(sys.argv[1]), sys.argv[2:]
    cache = tempfile.mkdtemp()
    manager = PreviewManager(cache, create_folder=True)
    manager.get_jpeg_preview(files[0], width=10, height=10)  # what it imports late is imported
    for path in files:
        began = time.perf_counter()
        manager.get_jpeg_preview(path, width=side, height=side)
        print(time.perf_counter() - began, flush=True)
    shutil.rmtree(cache)


main()
