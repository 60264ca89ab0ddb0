"""The section `ocr`: what stands on each page of a preview."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from secure_delivery.engine import confine
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.plugin import Corrupt, Media, MemoryFile, Page, PageReading, SecureDeliveryError, TooLarge, WorkLimits
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.testing import ExtractorContract, extracted, work_on
from secure_delivery_images import Picture
from secure_delivery_vision.extractors import Ocr

LINES = [(40, 40, "Invoice 2024-117"), (40, 90, "Three wooden chairs, oak")]
TEXT = "Invoice 2024-117\nThree wooden chairs, oak"
NOTHING = MemoryFile(b"", "application/octet-stream", "nothing")


def said(picture: Media, **limits: Any) -> Any:
    from secure_delivery.plugin.testing import SimpleWorkshop

    work = work_on(NOTHING, shop=SimpleWorkshop(limits=WorkLimits(**limits)))
    return Ocr().read(Page(number=1, media=picture), work)


class TestOcr(ExtractorContract):
    extractor = Ocr()

    @pytest.fixture(autouse=True)
    def _draw(self, written: Any, saved: Any) -> None:
        self.picture = saved(written(LINES))

    def sample_media(self) -> Media:
        return MemoryFile(b"a file with pages", "application/pdf", "a.pdf")

    def sample_page(self) -> Page:
        return Page(number=1, media=self.picture)


def test_a_page_is_read_as_the_detector_reads_it(saved: Any, written: Any) -> None:
    """From a file, and from a picture that is still decoded, as previewers hand it over."""
    image = written(LINES)
    assert said(saved(image)) == {"text": TEXT}
    assert said(Picture.drawn(image, filename="a.pdf", limits=WorkLimits())) == {"text": TEXT}


def test_an_empty_page_says_nothing(saved: Any) -> None:
    """An empty text, not none."""
    assert said(saved(Image.new("RGB", (400, 300), "white"))) == {"text": ""}


def test_a_file_without_pages_has_no_such_section() -> None:
    """It reads pages, and nothing else."""
    assert isinstance(Ocr(), PageReading)
    assert extracted(Ocr(), NOTHING) is None


def test_a_large_page_is_read_in_a_smaller_copy(saved: Any, written: Any) -> None:
    """Forty megapixels take no more than a page of print."""
    large = written([(400, 900, "Enormous letters")], size=(8000, 5000), height=500)
    assert said(saved(large, "JPEG")) == {"text": "Enormous letters"}


def test_what_is_no_picture_is_a_fault(saved: Any) -> None:
    """Of the tree; also a picture over the limit."""
    for data in (b"", b"\x89PNG\r\n\x1a\n" + bytes(99), b"\xff" * 999):
        with pytest.raises(SecureDeliveryError):
            said(MemoryFile(data, "image/png", "a.png"))
    with pytest.raises(Corrupt):
        said(MemoryFile(saved(Image.new("RGB", (400, 300))).data[:200], "image/png", "a.png"))
    with pytest.raises(TooLarge):
        said(saved(Image.new("RGB", (400, 300))), pixels=1_000)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    if not confine.LINUX:
        pytest.skip("confinement is only there on Linux")
    pytest.importorskip("secure_delivery_documents", reason="its previewer draws the pages")
    wanted = ("images", "builtin", "documents", "vision")
    blocked = [report.name for report in load().reports if report.name not in wanted]
    with Sandbox(1, plugins=PluginChoice(blocked=blocked), limits=WorkLimits()) as sandbox:
        yield sandbox


def test_pages_of_a_document_are_read_in_confinement(sandbox: Sandbox) -> None:
    """Each wanted page, beside its picture, by the previewer and the reader in one child."""
    pikepdf = pytest.importorskip("pikepdf")
    with pikepdf.Pdf.new() as document:
        for text in ("The first page", "The second page", "The third page"):
            document.add_blank_page(page_size=(400, 200))
            page = document.pages[-1].obj
            font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
            page["/Resources"] = pikepdf.Dictionary(Font=pikepdf.Dictionary(F=font))
            page["/Contents"] = document.make_stream(f"BT /F 18 Tf 30 100 Td ({text}) Tj ET".encode())
        out = BytesIO()
        document.save(out)
    options = {"pages": "1,3", "sizes": [[90, 90, False, "90x90"]], "format": "png", "hint": [1600, 1600], "address": None}
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(out.getvalue())
        source.flush()
        chain = Chain(
            tasks=[("preview:pdf", options | {"most_pages": 10, "readers": ["ocr"]})],
            sources=[ChainSource(source.fileno(), "application/pdf", "a.pdf")],
            output=output.fileno(),
        )
        place, length = sandbox.run(chain).extra["document"]
        output.seek(place)
        told = json.loads(output.read(length))
    assert told["faults"] == {}
    assert told["sections"] == {"ocr": [{"page": 1, "text": "The first page"}, {"page": 3, "text": "The third page"}]}
    assert [(picture["width"], picture["height"]) for page in told["pages"] for picture in page["pictures"]] == [(90, 45)] * 2
