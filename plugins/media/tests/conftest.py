"""Files that ffmpeg makes at test time, a confined worker with this plugin, and the short ways to use both."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from secure_delivery.engine import confine
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.engine.types import sniff
from secure_delivery.plugin import WorkLimits
from secure_delivery.plugin.testing import MemoryFile, bind
from secure_delivery_media import register_transformations

TASKS = dict(register_transformations({}))
INSTALLED = ["clamav", "documents", "images", "intelligence", "media", "s3", "svg", "vips", "vision", "web"]


@pytest.fixture(scope="session")
def programs() -> None:
    """ffmpeg and ffprobe. Without them: a visible skip, and a failure where CI promises them."""
    if shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None:
        if os.environ.get("CI"):
            pytest.fail("no ffmpeg: apt-get install ffmpeg")
        pytest.skip("no ffmpeg: apt-get install ffmpeg")


def ffmpeg(*words: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *words], check=True, timeout=120)


class Make:
    """Files by what is in them, each made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, *words: str) -> MemoryFile:
        """What ffmpeg makes with these words, under a name whose extension says what it is."""
        path = self._folder / hashlib.sha256("\0".join(words).encode()).hexdigest()[:16] / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            ffmpeg(*words, str(path))
        return media(path.read_bytes(), name)

    def clip(
        self, name: str = "clip.mp4", *more: str, seconds: float = 4, size: str = "320x240", tone: bool = True
    ) -> MemoryFile:
        """A test picture with a tone."""
        sound = ("-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}") if tone else ()
        return self(name, "-f", "lavfi", "-i", f"testsrc=s={size}:d={seconds}:r=25", *sound, "-pix_fmt", "yuv420p", *more)

    def tone(self, name: str = "tone.mp3", *more: str, seconds: float = 3) -> MemoryFile:
        return self(name, "-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}", *more)

    def path(self, file: MemoryFile) -> Path:
        path = self._folder / file.filename
        path.write_bytes(file.data)
        return path

    def cover(self, size: tuple[int, int] = (200, 200), colour: tuple[int, int, int] = (220, 30, 30)) -> Path:
        path = self._folder / f"cover-{size[0]}.png"
        Image.new("RGB", size, colour).save(path)
        return path


def media(data: bytes, name: str) -> MemoryFile:
    return MemoryFile(data, sniff(data[:4096], name), name)


@pytest.fixture(scope="session")
def make(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Make:
    return Make(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Callable[[MemoryFile], dict[str, Any]]:
    """What ffprobe says of a file, from outside."""
    folder = tmp_path_factory.mktemp("facts")

    def look(file: MemoryFile) -> dict[str, Any]:
        path = folder / "file"
        path.write_bytes(file.data)
        words = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-show_packets", "-of", "json", str(path)]
        return json.loads(subprocess.run(words, check=True, capture_output=True, timeout=60).stdout)

    return look


@pytest.fixture(scope="session")
def sandbox(programs: None) -> Iterator[Sandbox]:
    if not confine.LINUX:
        pytest.skip("confinement is only there on Linux")
    plugins = PluginChoice(
        extra=["secure_delivery_images", "secure_delivery_media", "media_bench"],
        blocked=INSTALLED,
        path=[str(Path(__file__).parent)],
    )
    with Sandbox(1, plugins=plugins, limits=WorkLimits()) as sandbox:
        yield sandbox


def _chain(sandbox: Sandbox, name: str, options: dict[str, Any], files: Sequence[MemoryFile], **more: Any) -> MemoryFile:
    with ExitStack() as stack:
        sources = []
        for one in files:
            file = stack.enter_context(tempfile.TemporaryFile())
            file.write(one.data)
            file.flush()
            sources.append(ChainSource(file.fileno(), one.mimetype, one.filename))
        output = stack.enter_context(tempfile.TemporaryFile())
        chain = Chain(tasks=[(name, options)], sources=sources, output=output.fileno(), application="tests", **more)
        outcome = sandbox.run(chain)
        output.seek(0)
        return MemoryFile(output.read(), outcome.mimetype, outcome.filename, outcome.extra)


@pytest.fixture(scope="session")
def convert(sandbox: Sandbox) -> Callable[..., MemoryFile]:
    """`video_convert` in the worker: `convert(file, preset="webm")`."""

    def run(
        file: MemoryFile, *others: MemoryFile, metadata: str = "none", max_pixels: int | None = None, **options: Any
    ) -> MemoryFile:
        spelled = {name: str(value) for name, value in options.items()}
        bound = dict(bind(TASKS["video_convert"], **spelled))
        return _chain(sandbox, "video_convert", bound, [file, *others], metadata=metadata, max_pixels=max_pixels)

    return run


@pytest.fixture(scope="session")
def seen(sandbox: Sandbox) -> Callable[..., Image.Image]:
    """The picture that a previewer makes in the worker; what it said besides is in `info`."""

    def run(
        name: str, file: MemoryFile, *, pages: str = "1", size: tuple[int, int] = (0, 0), frames: int = 1, **more: Any
    ) -> Image.Image:
        options = {"pages": pages, "width": size[0], "height": size[1], "frames": frames}
        result = _chain(sandbox, f"see_{name}", options, [file], **more)
        image = Image.open(BytesIO(result.data))
        image.load()
        image.info = dict(result.extra)
        return image

    return run


@pytest.fixture(scope="session")
def section(sandbox: Sandbox) -> Callable[..., dict[str, Any]]:
    """The section `multimedia` of a file, made in the worker."""

    def run(file: MemoryFile, metadata: str = "none") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(_chain(sandbox, "multimedia", {}, [file], metadata=metadata).data)
        return found

    return run


@pytest.fixture(scope="session")
def all_files(sandbox: Sandbox) -> Callable[..., MemoryFile]:
    """A playlist and its companions, as a ZIP file."""

    def run(file: MemoryFile, preset: str) -> MemoryFile:
        return _chain(sandbox, "all_files", {"preset": preset}, [file])

    return run
