"""The plugin in the place where it really runs: a worker that may write no file, open no socket, and take 2 GB."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from secure_delivery.engine import confine
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.plugin import Corrupt, TooLarge, WorkLimits
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.testing import MemoryFile, bind

pytestmark = pytest.mark.skipif(not confine.LINUX, reason="confinement is only there on Linux")
TASKS = load().transformations


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    others = ["images", "builtin"]
    everything = [report.name for report in load().reports]
    plugins = PluginChoice(extra=["secure_delivery_vision"], blocked=[name for name in everything if name not in others])
    with Sandbox(1, plugins=plugins, limits=WorkLimits()) as sandbox:
        yield sandbox


def run(sandbox: Sandbox, media: MemoryFile, *tasks: tuple[str, dict[str, Any]]) -> MemoryFile:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(media.data)
        source.flush()
        outcome = sandbox.run(
            Chain(
                tasks=[(name, dict(bind(TASKS[name], **options))) for name, options in tasks],
                sources=[ChainSource(source.fileno(), media.mimetype, media.filename)],
                output=output.fileno(),
            )
        )
        output.seek(0)
        return MemoryFile(output.read(), outcome.mimetype, outcome.filename)


def test_faces_are_found_in_confinement(sandbox: Sandbox, saved: Any, astronaut: Image.Image, found: Any) -> None:
    """The model is read and used; the answer is the one that is given outside."""
    faces = json.loads(run(sandbox, saved(astronaut), ("detect_faces", {"export": "true"})).data)
    (expected,) = found("faces", astronaut)["faces"]
    assert faces == [{name: expected[name] for name in ("x", "y", "width", "height")}]


def test_every_face_task_works_in_confinement(
    sandbox: Sandbox, saved: Any, opened: Any, found: Any, astronaut: Image.Image
) -> None:
    """One chain with all of them, between tasks of other plugins."""
    chain = [
        ("resize", {"w": "400"}),
        ("redeye", {}),
        ("detect_faces", {}),
        ("pixelate_faces", {"type": "oval"}),
        ("blur_faces", {}),
    ]
    result = run(sandbox, saved(astronaut, "JPEG"), *chain, ("output", {"format": "webp"}))
    assert result.mimetype == "image/webp"
    assert opened(result).size == (400, 400)
    assert opened(run(sandbox, saved(astronaut), ("crop_faces", {"w": "90", "h": "90"}))).size == (90, 90)


def test_text_is_read_in_confinement(sandbox: Sandbox, saved: Any, written: Any) -> None:
    """Through the task of the builtin plugin, which asks our detector."""
    image = written([(40, 40, "Read in a cell")])
    assert json.loads(run(sandbox, saved(image), ("ocr", {})).data)["text"] == "Read in a cell"


def test_a_full_page_is_read_within_the_limits(sandbox: Sandbox, saved: Any, written: Any) -> None:
    """Forty long lines: as much as somebody prints on a page, within a worker's memory and time."""
    lines = [
        (60, 40 + 42 * row, f"Line {row}: The quick brown fox jumps over the lazy dog, {row * 37} times.") for row in range(40)
    ]
    answer = json.loads(run(sandbox, saved(written(lines, (1240, 1754), 20)), ("ocr", {})).data)
    assert answer["text"].count("quick brown fox jumps over the lazy dog") == 40


def test_documents_are_cut_out_in_confinement(sandbox: Sandbox, saved: Any, opened: Any, photographed: Any) -> None:
    """Found, laid flat, cleaned."""
    corners = [(260, 240), (980, 300), (1060, 1380), (180, 1300)]
    media = saved(photographed(corners), "JPEG")
    coords = json.loads(run(sandbox, media, ("doc_detection", {"coords": "true"})).data)["coords"]
    assert coords["x"] == pytest.approx(180, abs=5)
    result = opened(run(sandbox, media, ("doc_detection", {}), ("output", {"format": "png"})))
    assert result.getpixel((30, 30)) == (255, 255, 255)


def test_a_hundred_megapixels_are_looked_at(sandbox: Sandbox, saved: Any, opened: Any, astronaut: Image.Image) -> None:
    """The largest legal picture fits into a worker, with several tasks at once, and decoded in full (PNG)."""
    large = Image.new("RGB", (10_000, 10_000), (90, 110, 120))
    large.paste(astronaut.resize((4000, 4000)), (3000, 3000))
    media = saved(large, "JPEG")
    (face,) = json.loads(run(sandbox, media, ("detect_faces", {"export": "true"})).data)
    assert face["x"] == pytest.approx(3000 + 178 * 4000 / 512, abs=80)
    small = ("resize", {"w": "40"}), ("output", {"format": "png"})
    hiding = ("blur_faces", {"a": "20", "b": "100"}), ("pixelate_faces", {}), ("redeye", {})
    assert opened(run(sandbox, media, *hiding, *small)).size == (40, 40)
    assert opened(run(sandbox, saved(large, "PNG", compress_level=1), ("doc_detection", {}), *small)).size == (40, 40)


def test_faults_keep_their_kind_on_the_way_out(sandbox: Sandbox, saved: Any, astronaut: Image.Image) -> None:
    """Damaged and too large are told apart, and the worker goes on."""
    media = saved(astronaut, "JPEG")
    with pytest.raises(Corrupt):
        run(sandbox, MemoryFile(media.data[: media.size // 2], "image/jpeg", "a.jpg"), ("blur_faces", {}))
    with pytest.raises(TooLarge):
        run(sandbox, saved(Image.new("1", (10_001, 10_000))), ("ocr", {}))
    assert run(sandbox, media, ("blur_faces", {})).size
