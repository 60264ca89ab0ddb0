"""The tasks in the place where they really run: a worker that may open no file, start no thread and take 2 GB."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from secure_delivery.engine import confine
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.plugin import Corrupt, SecureDeliveryError, TooLarge, WorkLimits
from secure_delivery.plugin.testing import MemoryFile, bind
from secure_delivery_images.tasks import transformations

pytestmark = pytest.mark.skipif(not confine.LINUX, reason="confinement is only there on Linux")
TASKS = transformations()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    plugins = PluginChoice(extra=["secure_delivery_images"], blocked=["images"])
    with Sandbox(1, plugins=plugins, limits=WorkLimits()) as sandbox:
        yield sandbox


def run(
    sandbox: Sandbox, media: MemoryFile, *tasks: tuple[str, dict[str, Any]], others: Sequence[MemoryFile] = ()
) -> MemoryFile:
    with ExitStack() as files:
        output = files.enter_context(tempfile.TemporaryFile())
        sources = []
        for one in (media, *others):
            file = files.enter_context(tempfile.TemporaryFile())
            file.write(one.data)
            file.flush()
            sources.append(ChainSource(file.fileno(), one.mimetype, one.filename))
        outcome = sandbox.run(
            Chain(
                tasks=[(name, dict(bind(TASKS[name], **options))) for name, options in tasks],
                sources=sources,
                output=output.fileno(),
            )
        )
        output.seek(0)
        return MemoryFile(output.read(), outcome.mimetype, outcome.filename)


@pytest.mark.parametrize("source", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_every_format_is_read_and_written_in_confinement(
    source: str, sandbox: Sandbox, saved: Any, opened: Any, quadrants: Any, distance: Any
) -> None:
    """No decoder or encoder needs a right that a confined worker does not have, and results are what they are outside."""
    image = quadrants(64, 48)
    media = saved(image, source)
    for form in ("jpg", "png", "webp", "gif", "bmp", "tiff", "avif"):
        result = run(sandbox, media, ("resize", {"w": "48"}), ("rotate", {"d": "180"}), ("output", {"format": form}))
        assert result.mimetype == ("image/jpeg" if form == "jpg" else f"image/{form}")
        assert distance(opened(result), image.rotate(180)) < 12
    assert json.loads(run(sandbox, media, ("imagesize", {})).data) == {"width": 64, "height": 48}


def test_a_telephone_picture_is_read_in_confinement(sandbox: Sandbox, opened: Any, looks_like: Any) -> None:
    """The HEIC decoder needs no right, and no thread, of its own."""
    data = (Path(__file__).parent / "files/turned.heic").read_bytes()
    result = opened(run(sandbox, MemoryFile(data, "image/heic", "turned.heic"), ("resize", {"w": "32"})))
    assert result.size == (32, 24)
    assert looks_like(result, "RGBY", 16)


def test_a_compressed_tiff_is_read_in_confinement(sandbox: Sandbox, saved: Any, opened: Any, quadrants: Any) -> None:
    """libtiff works on the descriptor it is given."""
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg"):
        media = saved(quadrants(), "TIFF", compression=compression)
        assert opened(run(sandbox, media, ("resize", {"w": "32"}))).size == (32, 24)


def test_profiles_are_followed_in_confinement(sandbox: Sandbox, saved: Any, opened: Any, quadrants: Any) -> None:
    """Colour management needs no file of the system."""
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    assert opened(run(sandbox, saved(quadrants(), icc_profile=profile), ("flip", {}))).size == (64, 48)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP"])
def test_a_hundred_megapixels_fit_into_a_worker(form: str, sandbox: Sandbox, saved: Any, opened: Any) -> None:
    """The largest legal picture becomes a thumbnail within a worker's memory and time."""
    options: dict[str, Any] = {"TIFF": {"compression": "tiff_lzw"}, "PNG": {"compress_level": 1}}.get(form, {})
    media = saved(Image.new("L", (10_000, 10_000), 90), form, **options)
    result = opened(run(sandbox, media, ("resize", {"w": "30"}), ("output", {"format": "png"})))
    assert (result.size, result.convert("L").getpixel((9, 9))) == ((30, 30), pytest.approx(90, abs=2))


def test_a_hundred_megapixels_of_a_telephone_fit_as_well(sandbox: Sandbox, opened: Any) -> None:
    """HEIC of 10,000 x 10,000, a ramp from black to white, within a worker's memory and time."""
    data = (Path(__file__).parent / "files/largest.heic").read_bytes()
    result = opened(run(sandbox, MemoryFile(data, "image/heic", "largest.heic"), ("resize", {"w": "32"})))
    assert result.size == (32, 32)
    assert [result.getpixel((16, y))[0] for y in (4, 16, 28)] == pytest.approx([36, 132, 228], abs=6)


def test_several_pictures_become_one_in_confinement(sandbox: Sandbox, saved: Any, opened: Any, quadrants: Any) -> None:
    """A mark, a collage and an animation of files of different formats."""
    others = [saved(quadrants(64, 48), form) for form in ("JPEG", "WEBP", "AVIF")]
    names = ("AbCdEfGhIjKlMnOpQrSt",) * 3
    for task, options, wanted in (
        ("watermark", {"f": names[0], "s": "30"}, ("PNG", (64, 48))),
        ("collage", {"f": names, "w": "200", "h": "160"}, ("PNG", (200, 160))),
        ("animate", {"w": "50"}, ("GIF", (50, 38))),
    ):
        result = opened(run(sandbox, saved(quadrants()), (task, options), others=others))
        assert (result.format, result.size) == wanted


def test_faults_keep_their_kind_on_the_way_out(sandbox: Sandbox, saved: Any) -> None:
    """What is damaged, and what is too large, is told apart by whoever asked; the worker goes on."""
    media = saved(Image.effect_noise((300, 200), 50), "JPEG")
    with pytest.raises(Corrupt):
        run(sandbox, MemoryFile(media.data[: media.size // 2]), ("flip", {}))
    with pytest.raises(TooLarge):
        run(sandbox, saved(Image.new("1", (10_001, 10_000))), ("flip", {}))
    with pytest.raises(SecureDeliveryError):
        run(sandbox, MemoryFile(b""), ("flip", {}))
    assert run(sandbox, media, ("flip", {})).size
