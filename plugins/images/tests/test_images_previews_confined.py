"""Previews and sections in the place where they really run: a worker that may open no file and start no thread."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from secure_delivery.engine import confine
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.plugin import SecureDeliveryError, TooLarge, WorkLimits
from secure_delivery.plugin.testing import MemoryFile

pytestmark = pytest.mark.skipif(not confine.LINUX, reason="confinement is only there on Linux")
FILES = Path(__file__).parent / "files"
FORMS = {
    "JPEG": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp", "AVIF": "avif", "JPEG2000": "jp2",
    "ICO": "ico", "ICNS": "icns", "DDS": "dds", "PCX": "pcx", "PPM": "ppm", "TGA": "tga", "QOI": "qoi", "SGI": "sgi",
}  # fmt: skip


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    choice = PluginChoice(extra=["secure_delivery_images"], blocked=["images"], warm=())
    with Sandbox(1, plugins=choice, limits=WorkLimits()) as sandbox:
        yield sandbox


def run(sandbox: Sandbox, task: str, media: MemoryFile, metadata: str = "none", **options: Any) -> tuple[dict[str, Any], bytes]:
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as output:
        file.write(media.data)
        file.flush()
        source = ChainSource(file.fileno(), media.mimetype, media.filename)
        outcome = sandbox.run(Chain(tasks=[(task, options)], sources=[source], output=output.fileno(), metadata=metadata))
        output.seek(0)
        data = output.read()
    start, length = outcome.extra["document"]
    return json.loads(data[start : start + length]), data


def pages(sandbox: Sandbox, previewer: str, media: MemoryFile, wanted: str = "1", width: int = 24) -> list[Image.Image]:
    document, data = run(
        sandbox,
        f"preview:{previewer}",
        media,
        pages=wanted,
        sizes=[(width, 0, False, str(width))],
        hint=(width, 0),
        format="png",
        address=None,
        most_pages=10,
        readers=[],
    )
    places = [page["pictures"][0] for page in document["pages"]]
    return [Image.open(BytesIO(data[one["offset"] : one["offset"] + one["length"]])).convert("RGB") for one in places]


@pytest.mark.parametrize("form", FORMS)
def test_every_format_is_previewed_in_confinement(form: str, sandbox: Sandbox, quadrants: Any, looks_like: Any) -> None:
    """No reader opens a file late, or needs a right that a worker does not have."""
    out = BytesIO()
    quadrants(64, 64, "RGBA" if form in ("ICO", "ICNS", "DDS") else "RGB").save(out, form)
    (image,) = pages(sandbox, "picture", MemoryFile(out.getvalue(), "application/octet-stream", f"a.{FORMS[form]}"))
    assert image.size == (24, 24) and looks_like(image, "RGBY", 60)


def test_pages_heic_and_icons_are_made_in_confinement(sandbox: Sandbox, quadrants: Any, looks_like: Any) -> None:
    """Three pages of a scan, a telephone's picture, an icon with letters."""
    out = BytesIO()
    more = [quadrants(40, 40), Image.new("F", (40, 40), 0.5)]
    quadrants(40, 40).save(out, "TIFF", save_all=True, append_images=more)
    assert len(pages(sandbox, "picture", MemoryFile(out.getvalue(), "image/tiff", "a.tif"), "all")) == 3
    (image,) = pages(sandbox, "picture", MemoryFile((FILES / "turned.heic").read_bytes(), "image/heic", "a.heic"))
    assert looks_like(image, "RGBY", 60)
    for name in ("a.docx", "a.woff2", "none"):
        (icon,) = pages(sandbox, "icon", MemoryFile(b"", "application/octet-stream", name), width=200)
        assert icon.size == (200, 200)


def test_sections_are_made_in_confinement(sandbox: Sandbox, quadrants: Any) -> None:
    """Tags, colours, checksums of every kind."""
    tags = Image.Exif()
    tags[0x010F] = "Example"
    out = BytesIO()
    quadrants(64, 48).save(out, "JPEG", exif=tags)
    media = MemoryFile(out.getvalue(), "image/jpeg", "a.jpg")
    more = {"pages": "1", "address": None}
    assert run(sandbox, "extract:exif", media, "all", options={}, **more)[0]["value"]["make"] == "Example"
    assert run(sandbox, "extract:exif", media, options={}, **more)[0]["value"] is None
    assert len(run(sandbox, "extract:image", media, options={}, **more)[0]["value"]["colors"]) >= 3
    names = ["md5", "sha256", "sha3_256", "blake2b", "crc32"]
    assert list(run(sandbox, "extract:checksum", media, options={"algorithms": names}, **more)[0]["value"]) == names
    assert run(sandbox, "extract:stat", media, options={}, **more)[0]["value"]["size"] == len(media.data)


def test_bombs_end_as_faults_and_the_next_file_is_previewed(sandbox: Sandbox, quadrants: Any) -> None:
    """By what they announce, and in a worker that goes on."""
    with pytest.raises(TooLarge):
        pages(sandbox, "picture", MemoryFile(b"P5 100000 100000 255\n" + bytes(99), "image/x", "a.pgm"))
    with pytest.raises(SecureDeliveryError):
        pages(sandbox, "picture", MemoryFile(b"DDS " + b"\xff" * 200, "image/x", "a.dds"))
    out = BytesIO()
    quadrants(64, 64).save(out, "PNG")
    assert pages(sandbox, "picture", MemoryFile(out.getvalue(), "image/png", "a.png"))
