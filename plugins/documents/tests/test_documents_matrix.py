"""Every cell of the documented matrix, made where it really is made."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pikepdf
import pypdfium2
import pytest
from PIL import Image

from secure_delivery.plugin import MemoryFile, Unsupported
from secure_delivery_documents.kinds import FORMATS, MIMETYPES, OFFICE, PAGES, SHEETS, SHOWS, WORDS

TEXT = "Matrix 4711 words"

#: The documented matrix (and no more than it, for the refusals below).
MATRIX: dict[str, tuple[str, ...]] = {
    "pdf": ("jpg", "odp", "ods", "odt", "png", "svg", "txt", "webp"),
    **dict.fromkeys(WORDS, (*WORDS, "html", "jpg", "pdf", "png", "svg", "txt", "webp")),
    **dict.fromkeys(SHEETS, (*SHEETS, "jpg", "pdf", "png", "svg", "webp")),
    **dict.fromkeys(SHOWS, (*SHOWS, "jpg", "pdf", "png", "svg", "webp")),
    "html": ("jpg", "odt", "pdf", "svg", "txt", "webp"),
    "txt": ("jpg", "html", "odt", "pdf", "svg", "webp"),
}
PICTURES = ("BMP", "GIF", "JPEG", "PNG", "WEBP", "TIFF")
_DRAWN = ("jpg", "png", "webp")


def _cells() -> list[tuple[str, str]]:
    """Every cell, but for an office document one format of pictures, another for each kind: which one is written is decided
    after its pages are drawn, by code that all kinds share, and every format of it is tested with PDF."""
    cells = []
    for number, (source, targets) in enumerate(MATRIX.items()):
        left_out = set(_DRAWN) - {_DRAWN[number % 3]} if source in OFFICE else set()
        cells += [(source, target) for target in targets if target not in left_out]
    return cells


CELLS = _cells()
ALSO = {"pdf": {"pdf"}, "html": {"html", "png"}, "txt": {"txt", "png"}}  # harmless neighbours of the matrix


@pytest.fixture(scope="module")
def samples(make: Any, request: pytest.FixtureRequest) -> Callable[[str], MemoryFile]:
    """A file of each kind that says `TEXT`; the old binary ones are written by the office, as nothing else writes them."""
    paragraph = f"<text:p>{TEXT}</text:p>"
    cell = f'<table:table-cell office:value-type="string">{paragraph}</table:table-cell>'
    frame = f'<draw:frame svg:width="8cm" svg:height="2cm" svg:x="1cm" svg:y="1cm"><draw:text-box>{paragraph}</draw:text-box>'
    rows = f"<table:table-column/><table:table-row>{cell}</table:table-row>"
    made = {
        "pdf": make.pdf(TEXT),
        "docx": make.pack(make.docx(TEXT)),
        "xlsx": make.pack(make.xlsx([TEXT])),
        "pptx": make.pack(make.pptx(TEXT)),
        "odt": make.pack(make.odf("odt", paragraph)),
        "ods": make.pack(make.odf("ods", f'<table:table table:name="T">{rows}</table:table>')),
        "odp": make.pack(make.odf("odp", f'<draw:page draw:name="1">{frame}</draw:frame></draw:page>')),
        "html": f"<html><head><title>T</title></head><body><h1>{TEXT}</h1></body></html>".encode(),
        "txt": f"{TEXT}\n".encode(),
    }
    newer = {"doc": "docx", "xls": "xlsx", "ppt": "pptx"}

    def sample(kind: str) -> MemoryFile:
        if kind not in made:
            office = request.getfixturevalue("office")
            made[kind] = office(sample(newer[kind]), ("output", {"format": kind})).data
        return MemoryFile(made[kind], MIMETYPES[kind], f"sample.{kind}")

    return sample


def text_in(kind: str, data: bytes) -> str:
    """The words in a file of some kind, found without the code under test."""
    if kind == "pdf":
        document = pypdfium2.PdfDocument(data)
        text = "".join(page.get_textpage().get_text_range() for page in document)
        document.close()
        return text
    if kind in ("docx", "xlsx", "pptx", "odt", "ods", "odp"):
        with zipfile.ZipFile(BytesIO(data)) as archive:
            joined = "".join(archive.read(name).decode() for name in archive.namelist() if name.endswith(".xml"))
        return " ".join(re.sub(r"<[^>]*>", "", joined).split())
    if kind in ("doc", "xls", "ppt"):
        return data.decode("utf-16-le", "ignore") + data[1:].decode("utf-16-le", "ignore") + data.decode("latin-1")
    return re.sub(r"<[^>]*>", " ", data.decode())


def check(kind: str, data: bytes) -> None:
    """The file is of that kind and says what it should."""
    if kind in PAGES:
        image = Image.open(BytesIO(data))
        assert image.format == {"jpg": "JPEG"}.get(kind, kind.upper())
        ink = image.convert("L").point([255] * 128 + [0] * 128).getbbox()
        assert ink is not None, "something is written on the page"
        return
    if kind in ("doc", "xls", "ppt"):
        assert data.startswith(b"\xd0\xcf\x11\xe0")
    words = " ".join(text_in(kind, data).split())
    for word in TEXT.split():
        assert word in words


@pytest.mark.parametrize(("source", "target"), CELLS, ids=[f"{source}-{target}" for source, target in CELLS])
def test_every_pair_of_the_matrix_is_made(source: str, target: str, samples: Any, office: Any) -> None:
    """A document becomes the other kind, with its type and name, and its words are in it."""
    result = office(samples(source), ("output", {"format": target}))
    assert result.mimetype == MIMETYPES.get(target, {"jpg": "image/jpeg"}.get(target, f"image/{target}"))
    assert result.filename == f"sample.{target}"
    check(target, result.data)


@pytest.mark.parametrize("target", ["pdf", "svg", "odt", "ods", "odp"])
@pytest.mark.parametrize("source", PICTURES)
def test_every_picture_becomes_a_document(source: str, target: str, make: Any, confined: Any) -> None:
    """The picture is in the document, at its own size."""
    result = confined(make.picture(source), ("output", {"format": target}))
    assert (result.mimetype, result.filename) == (MIMETYPES[target], f"drawing.{target}")
    if target == "pdf":
        page = pypdfium2.PdfDocument(result.data)[0]
        assert page.get_size() == (48, 36)
        pixels = page.render(scale=1).to_pil().convert("RGB")
        for place, colour in [((5, 5), (220, 30, 30)), ((40, 30), (30, 50, 200))]:
            near = pixels.crop((*place, place[0] + 1, place[1] + 1)).tobytes()
            assert all(abs(one - other) < 25 for one, other in zip(near, colour, strict=True))
    elif target == "svg":
        assert b'width="64" height="48"' in result.data
    else:
        with zipfile.ZipFile(BytesIO(result.data)) as archive:
            name = next(name for name in archive.namelist() if name.startswith("Pictures/"))
            assert Image.open(BytesIO(archive.read(name))).size == (64, 48)


@pytest.mark.parametrize("kind", ["odt", "ods", "odp"])
def test_the_office_reads_the_documents_made_of_pictures(kind: str, make: Any, office: Any) -> None:
    """Files that are put together here are files that an office shows."""
    made = office(make.picture(size=(400, 300)), ("output", {"format": kind}))
    drawn = office(made, ("output", {"format": "png"}))
    pixels = Image.open(BytesIO(drawn.data)).convert("RGB").tobytes()
    places = range(0, len(pixels), 3)
    assert any(abs(pixels[at] - 220) + abs(pixels[at + 1] - 30) + abs(pixels[at + 2] - 30) < 40 for at in places)


@pytest.mark.parametrize("source", [*MATRIX, "picture"])
def test_every_other_pair_is_refused_by_name(source: str, samples: Any, make: Any, confined: Any) -> None:
    """What the matrix does not have is `Unsupported conversion`, and costs no office."""
    if source in ("doc", "xls", "ppt"):
        pytest.skip("the same code as their newer forms, which need no office to make")
    media = make.picture("PNG") if source == "picture" else samples(source)
    wanted = {"odp", "ods", "odt", "pdf", "svg"} if source == "picture" else {*MATRIX[source], *ALSO.get(source, ())}
    for target in sorted(set(FORMATS) - wanted):
        with pytest.raises(Unsupported) as refusal:
            confined(media, ("output", {"format": target}))
        name = "png" if source == "picture" else source
        assert refusal.value.public == f"Unsupported conversion: {name} to {target}."


@pytest.mark.parametrize("form", PAGES)
def test_a_page_is_written_in_every_format_of_pictures(form: str, samples: Any, confined: Any) -> None:
    """Whatever the plugin for pictures writes, pages are written as."""
    result = confined(samples("pdf"), ("output", {"format": form, "density": "72"}))
    assert Image.open(BytesIO(result.data)).size == (300, 400)


@pytest.mark.parametrize("kind", OFFICE)
def test_a_document_is_read_whatever_type_was_noticed_from_outside(kind: str, samples: Any, office: Any) -> None:
    """Compound files, and ZIP files that do not say what they are at their beginning, are looked into."""
    sample = samples(kind)
    outside = "application/x-ole-storage" if kind in ("doc", "xls", "ppt") else "application/zip"
    if kind in ("odt", "ods", "odp"):
        pytest.skip("these say what they are in their first bytes, always")
    result = office(MemoryFile(sample.data, outside, "unnamed"), ("output", {"format": "pdf"}))
    assert "4711" in text_in("pdf", result.data)
    assert pikepdf.open(BytesIO(result.data)).docinfo == {}


def test_letters_of_all_scripts_reach_the_page(make: Any, office: Any) -> None:
    """Text that the fonts of every reader lack is set by the office."""
    text = "Привет, мир. Ελληνικά. 4711\n"
    result = office(MemoryFile(text.encode(), "text/plain", "letters.txt"), ("output", {"format": "pdf"}))
    assert "Привет, мир" in text_in("pdf", result.data)
    assert "4711" in text_in("pdf", result.data)
