"""Video and audio for secure-delivery: a frame, a cover or a waveform to look at, facts and tags, and `video_convert`.

Knows: the hooks. Must not know: tinytag and Pillow, which only worker processes load; how ffmpeg is run.
"""

from __future__ import annotations

from collections.abc import Mapping

from secure_delivery.plugin import (
    Extractor,
    Previewer,
    Program,
    Settings,
    Transformation,
    check_installed,
    hookimpl,
)

from .converting import Converted
from .covers import CoverPreviewer, WaveformPreviewer
from .frames import VideoPreviewer
from .programs import PROGRAMS
from .section import MultimediaExtractor
from .task import VideoConvert

__all__ = ["Converted"]

_NEEDED = {"PIL": "Pillow", "tinytag": "tinytag"}


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why video and sound cannot work here: a library is missing. Nothing is imported."""
    check_installed(_NEEDED)


@hookimpl
def register_previewers(settings: Settings) -> Mapping[str, Previewer]:
    """A frame of a video, the cover of a sound file, its waveform; there are no settings."""
    return {"video": VideoPreviewer(), "audio": CoverPreviewer(), "waveform": WaveformPreviewer()}


@hookimpl
def register_extractors(settings: Settings) -> Mapping[str, Extractor]:
    """Length, streams and tags."""
    return {"multimedia": MultimediaExtractor()}


@hookimpl
def register_transformations(settings: Settings) -> Mapping[str, Transformation]:
    """`video_convert`, and the second name that it has."""
    return {"video_convert": VideoConvert(), "video_playlist": VideoConvert()}


@hookimpl
def register_programs(settings: Settings) -> Mapping[str, Program]:
    """ffmpeg and ffprobe. Where they are not installed, what needs them says so."""
    return PROGRAMS
