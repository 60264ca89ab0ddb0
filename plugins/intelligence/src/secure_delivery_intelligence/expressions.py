"""`image_sentiment`: what the faces in a picture express, by the expression network of face-api.

Knows: the network and its seven expressions. Must not know: how faces are found, URLs, the documented answer.

Where the faces are comes with the question (`faces`, in pixels of the upright picture): whoever provides that detector.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from secure_delivery.plugin import Media, NotProvided, WorkLimits

from . import models, pictures

if TYPE_CHECKING:
    from PIL import Image

    from .nets import Array

_DIGEST = "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d"
#: In the order of the network's outputs, in the words that the documented answer uses.
EXPRESSIONS = ("CALM", "HAPPY", "SAD", "ANGRY", "FEAR", "DISGUSTED", "SURPRISED")
_SIDE = 112  # pixels of the network's input
_MEAN = (122.782, 117.001, 104.298)  # of red, green and blue in the pictures it learnt from
_MOST_FACES = 16  # the largest ones: a crowd has one mood
_LEAST_SIDE = 16  # pixels: in a smaller face the network sees noise
_BLOCKS = 4


class Expressions:
    """`{"emotions": {"HAPPY": 99.7, ...}}` in percent: the mean over the faces, larger ones counting more."""

    version = "face-api-1"

    def __init__(self) -> None:
        self._arrays: Mapping[str, Array] = {}

    def warm(self) -> None:
        """Load the network. Raises `ConfigurationError`."""
        if not self._arrays:
            pictures.warm()
            data = models.checked(models.own("expressions.bin"), _DIGEST, "expressions.bin")
            self._arrays = models.in_a_row(data, json.loads(models.own("expressions.json")))

    def detect(self, media: Media, options: Mapping[str, Any], limits: WorkLimits) -> dict[str, Any]:
        """Raises `NotProvided` when nobody said where the faces are."""
        if "faces" not in options:
            raise NotProvided(
                "no detector 'faces' is registered",
                public="This server has no provider for faces, which image_sentiment looks at: register_detectors, 'faces'.",
            )
        self.warm()
        image = pictures.decoded(media, limits)
        total, area = [0.0] * len(EXPRESSIONS), 0.0
        for box in _largest(options["faces"], image.size):
            weight = (box[2] - box[0]) * (box[3] - box[1])
            area += weight
            for number, share in enumerate(self._shares(_framed(image, box)).tolist()):
                total[number] += share * weight
        return {"emotions": {name: 100 * sum_ / area for name, sum_ in zip(EXPRESSIONS, total, strict=True)} if area else {}}

    def _shares(self, face: Image.Image) -> Array:
        from . import nets

        np, arrays = models.numpy(), self._arrays
        x = ((np.asarray(face, np.float32) - np.array(_MEAN, np.float32)) / 255).astype(np.float32)
        for block in range(_BLOCKS):
            x = self._block(x, f"dense{block}")
        x = x.mean((0, 1))  # seven by seven by now
        return nets.softmax(x @ arrays["fc/weights"] + arrays["fc/bias"])

    def _block(self, x: Array, name: str) -> Array:
        """Four convolutions, each of which sees the sum of those before it."""
        from . import nets

        np, arrays = models.numpy(), self._arrays

        def separable(x: Array, layer: str, stride: int = 1) -> Array:
            looked = nets.depthwise(x, arrays[f"{name}/{layer}/depthwise_filter"][..., 0], stride)
            return nets.convolution(looked, arrays[f"{name}/{layer}/pointwise_filter"], arrays[f"{name}/{layer}/bias"])

        if f"{name}/conv0/filters" in arrays:
            first = nets.convolution(x, arrays[f"{name}/conv0/filters"], arrays[f"{name}/conv0/bias"], stride=2)
        else:
            first = separable(x, "conv0", stride=2)
        total = np.maximum(first, 0)
        seen = total
        for layer in ("conv1", "conv2", "conv3"):
            total = total + separable(seen, layer)
            seen = np.maximum(total, 0)
        result: Array = seen
        return result


def _largest(found: Any, size: tuple[int, int]) -> list[pictures.Box]:
    """The boxes of the largest faces, as far as they are within the picture."""
    boxes = []
    for face in found["faces"]:
        left, top = max(0.0, face["x"]), max(0.0, face["y"])
        right, bottom = min(size[0], face["x"] + face["width"]), min(size[1], face["y"] + face["height"])
        if min(right - left, bottom - top) >= _LEAST_SIDE:
            boxes.append((left, top, right, bottom))
    return sorted(boxes, key=lambda box: (box[0] - box[2]) * (box[3] - box[1]))[:_MOST_FACES]


def _framed(image: Image.Image, box: pictures.Box) -> Image.Image:
    """A face in the middle of a black square, its proportions kept."""
    from PIL import Image

    width, height = box[2] - box[0], box[3] - box[1]
    scale = _SIDE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    square = Image.new("RGB", (_SIDE, _SIDE))
    square.paste(pictures.view(image, size, box), ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2))
    return square
