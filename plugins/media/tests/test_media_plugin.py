"""The plugin as it is loaded, and what every previewer and extractor holds."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import secure_delivery_media
from secure_delivery.engine.programs import Request, _arguments, find
from secure_delivery.plugin import Corrupt, Media, Unsupported
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.testing import MemoryFile, SimpleWorkshop, content
from secure_delivery.plugin.testing_extractors import ExtractorContract
from secure_delivery.plugin.testing_previews import PreviewerContract
from secure_delivery_media.covers import CoverPreviewer, WaveformPreviewer
from secure_delivery_media.frames import VideoPreviewer
from secure_delivery_media.programs import PROGRAMS
from secure_delivery_media.section import MultimediaExtractor


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramWorkshop(SimpleWorkshop):
    """A workshop in this process that runs the declared programs, unconfined: for the contracts, which run in this process."""

    def run(self, program: str, files: Sequence[Media] = (), choices: Mapping[str, str | int] | None = None) -> Sequence[Media]:
        declared = PROGRAMS[program]
        path = find(declared)
        if path is None:
            raise Unsupported(f"{program} is not installed")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for one in ("in", "out", "tmp"):
                (folder / one).mkdir()
            opened = []
            try:
                for media in files:
                    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
                    opened.append(file)
                    file.write(content(media))
                    file.flush()
                numbers = [file.fileno() for file in opened]
                request = Request(program=program, files=numbers, choices=choices or {}, deadline=0)
                words = [path, *_arguments(declared, request, folder)]
            finally:
                for file in opened:
                    file.close()
            if subprocess.run(words, cwd=folder, capture_output=True, timeout=60).returncode:
                raise Corrupt(f"{program} failed")
            return [MemoryFile(one.read_bytes(), filename=one.name) for one in sorted((folder / "out").iterdir())]


class _Contract(PreviewerContract):
    @pytest.fixture(autouse=True)
    def _files(self, make: Any) -> None:
        self._make = make

    def sample_shop(self) -> ProgramWorkshop:
        return ProgramWorkshop()


class TestVideo(_Contract):
    previewer = VideoPreviewer()

    def sample_media(self) -> Media:
        return self._make.clip("contract.mp4", seconds=1, size="64x48")


class TestCover(_Contract):
    previewer = CoverPreviewer()
    pictures_inside = True

    def sample_media(self) -> Media:
        words = ("-i", str(self._make.cover()), "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v:0", "attached_pic")
        return self._make.tone("contract-covered.mp3", *words, seconds=1)


class TestWaveform(_Contract):
    previewer = WaveformPreviewer()

    def sample_media(self) -> Media:
        return self._make.tone("contract.ogg", seconds=1)


class TestMultimedia(ExtractorContract):
    extractor = MultimediaExtractor()

    @pytest.fixture(autouse=True)
    def _files(self, make: Any) -> None:
        self._make = make

    def sample_shop(self, metadata: str) -> ProgramWorkshop:
        return ProgramWorkshop(metadata=metadata)

    def sample_media(self) -> Media:
        return self._make.clip("contract.mkv", "-metadata", "title=A title", seconds=1, size="64x48")


def test_everything_is_registered() -> None:
    registry = load(blocked=["media"], extra={"media_here": secure_delivery_media})
    (report,) = [report for report in registry.reports if report.name == "media_here"]
    assert report.problem is None or not report.problem
    assert {"video", "audio", "waveform"} <= registry.previewers.keys()
    assert "multimedia" in registry.extractors
    assert {"video_convert", "video_playlist"} <= registry.transformations.keys()
    assert PROGRAMS.keys() <= registry.programs.keys()


def test_loading_it_loads_no_decoder() -> None:
    """The server process has neither Pillow nor tinytag from it."""
    code = "import sys, secure_delivery_media; print(*sorted({'PIL', 'tinytag'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == ""


def test_nothing_of_ffmpeg_comes_with_it() -> None:
    """GPL code runs as a program that the operator installs; no wheel brings it."""
    manifest = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    names = {word.split(">")[0].split("[")[0].strip() for word in manifest["project"]["dependencies"]}
    assert names == {"pillow", "secure-delivery", "secure-delivery-images", "tinytag"}
    assert {path for program in PROGRAMS.values() for path in program.executables} == {"ffmpeg", "ffprobe", "sh"}
