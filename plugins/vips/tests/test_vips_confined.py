"""libvips where it really runs: forked, without files, in 2 GB; and the plugin beside the others."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from secure_delivery.engine import confine
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.plugin import Corrupt, WorkLimits
from secure_delivery.plugin.testing import MemoryFile, bind
from secure_delivery_images.tasks import transformations

pytestmark = pytest.mark.skipif(not confine.LINUX, reason="confinement is only there on Linux")
TASKS = transformations()

_THREADS = """
import json, os
from secure_delivery.plugin.manager import load
found = load(blocked={blocked!r})
from secure_delivery_images import engines, picture
picture.warm()
engine = engines._LOADED.get("PNG")
print(json.dumps([len(os.listdir("/proc/self/task")), None if engine is None else type(engine).__name__]))
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    plugins = PluginChoice(extra=["secure_delivery_images", "secure_delivery_vips"], blocked=["images", "vips"])
    with Sandbox(1, plugins=plugins, limits=WorkLimits()) as sandbox:
        yield sandbox


def run(sandbox: Sandbox, media: MemoryFile, *tasks: tuple[str, dict[str, Any]]) -> Image.Image:
    with ExitStack() as files:
        output, source = (files.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        source.write(media.data)
        source.flush()
        sandbox.run(
            Chain(
                tasks=[(name, dict(bind(TASKS[name], **options))) for name, options in tasks],
                sources=[ChainSource(source.fileno(), media.mimetype, media.filename)],
                output=output.fileno(),
                application="one",
            )
        )
        output.seek(0)
        return Image.open(BytesIO(output.read()))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_a_child_decodes_again_and_again(mode: str, sandbox: Sandbox, kit: Any) -> None:
    """After a fork, without a right to files, with threads of its own; one child after another, several pictures each."""
    media = kit.saved(kit.photograph(mode), "PNG")
    wanted = kit.run(media, ("resize", {"w": "100"}))
    for _ in range(4):
        result = run(sandbox, media, ("resize", {"w": "100"}), ("output", {"format": "png"}))
        assert kit.likeness(result, wanted) > 38


def test_a_deflated_tiff_is_read_in_confinement(sandbox: Sandbox, kit: Any) -> None:
    """From memory, with nothing written anywhere."""
    media = kit.saved(kit.photograph(), "TIFF", compression="tiff_adobe_deflate")
    result = run(sandbox, media, ("resize", {"w": "100"}), ("output", {"format": "png"}))
    assert kit.likeness(result, kit.run(media, ("resize", {"w": "100"}))) > 38


def test_a_damaged_file_is_a_fault_and_the_next_one_is_fine(sandbox: Sandbox, kit: Any) -> None:
    """The worker is unharmed."""
    media = kit.saved(kit.photograph(), "PNG")
    with pytest.raises(Corrupt):
        run(sandbox, MemoryFile(media.data[: media.size // 2], media.mimetype), ("resize", {"w": "100"}))
    assert run(sandbox, media, ("resize", {"w": "100"})).size[0] == 100


@pytest.mark.parametrize(
    ("form", "mode"), [("PNG", "L"), ("PNG", "RGB"), ("PNG", "RGBA"), ("TIFF", "RGB")], ids=lambda value: str(value)
)
def test_a_hundred_megapixels_fit_into_a_worker(form: str, mode: str, sandbox: Sandbox, kit: Any) -> None:
    """The largest legal picture becomes a thumbnail within a worker's memory and time."""
    options: dict[str, Any] = {"compression": "tiff_adobe_deflate"} if form == "TIFF" else {"compress_level": 1}
    media = kit.saved(Image.new(mode, (10_000, 10_000), 90 if mode == "L" else (90,) * len(mode)), form, **options)
    result = run(sandbox, media, ("resize", {"w": "30"}), ("output", {"format": "png"}))
    assert result.size == (30, 30)
    assert result.convert("RGBA").getpixel((9, 9))[:3] == pytest.approx((90, 90, 90), abs=3)


@pytest.mark.parametrize(("blocked", "engine"), [([], "VipsEngine"), (["vips"], None)], ids=["installed", "blocked"])
def test_loading_starts_no_thread_and_the_settings_can_block_it(blocked: list[str], engine: str | None) -> None:
    """A process with threads must not be forked; where the plugin is blocked, Pillow decodes."""
    done = subprocess.run(
        [sys.executable, "-c", _THREADS.format(blocked=blocked)], capture_output=True, text=True, check=True, timeout=120
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [1, engine]
