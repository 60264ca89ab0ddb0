"""Seeing for secure-delivery: the detectors `faces`, `ocr` and `doc_detection`, and the tasks `detect_faces`, `crop_faces`,
`pixelate_faces`, `blur_faces`, `redeye` and `doc_detection`; the section `ocr` of previews.

Knows: the hooks. Must not know: OpenCV, Pillow, numpy, which only worker processes load.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from secure_delivery.plugin import ConfigurationError, Detector, Extractor, Settings, Transformation, hookimpl

from . import library
from .detectors import detectors
from .extractors import extractors
from .tasks import transformations

_OLDEST_OPENCV = 5  # the first whose network engine runs the reading models


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why nothing can be seen here: OpenCV is missing or too old, or a model is not what its package carried.

    Metadata and models are read (32 MB); nothing is imported.
    """
    try:
        found = version("opencv-python-headless")
    except PackageNotFoundError:
        raise ConfigurationError("opencv-python-headless is not installed") from None
    if int(found.partition(".")[0]) < _OLDEST_OPENCV:
        raise ConfigurationError(f"OpenCV {found} is too old; {_OLDEST_OPENCV} or later is needed")
    for model in library.MODELS:
        library.read(model)


@hookimpl
def register_detectors(settings: Settings) -> Mapping[str, Detector]:
    """Faces, text, documents; there are no settings."""
    return detectors()


@hookimpl
def register_transformations(settings: Settings) -> Mapping[str, Transformation]:
    """The tasks on faces and documents; there are no settings."""
    return transformations()


@hookimpl
def register_extractors(settings: Settings) -> Mapping[str, Extractor]:
    """`ocr`, of the pages that previewers draw; there are no settings."""
    return extractors()
