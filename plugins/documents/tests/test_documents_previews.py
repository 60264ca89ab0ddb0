"""Documents as previews: which pages are drawn, how large, by what; and what hostile files come to."""

from __future__ import annotations

import base64
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pikepdf
import pytest
from PIL import Image

from secure_delivery.plugin import (
    Corrupt,
    Encrypted,
    Media,
    MemoryFile,
    ProcessingLimit,
    SecureDeliveryError,
    TooLarge,
    Unsupported,
    WorkLimits,
    Workshop,
)
from secure_delivery.plugin.testing import PreviewerContract, SimpleWorkshop, previewed
from secure_delivery_documents.kinds import MIMETYPES
from secure_delivery_documents.previewers import Illustrator, Office, OfficeThumbnail, Pdf

RED = (220, 30, 30)


def jpeg(colour: tuple[int, int, int] = RED, size: tuple[int, int] = (64, 48)) -> bytes:
    out = BytesIO()
    Image.new("RGB", size, colour).save(out, "JPEG", quality=95)
    return out.getvalue()


def png(size: tuple[int, int] = (64, 48)) -> bytes:
    out = BytesIO()
    Image.new("RGB", size, RED).save(out, "PNG")
    return out.getvalue()


def locked(data: bytes, password: str = "secret") -> bytes:
    out = BytesIO()
    with pikepdf.open(BytesIO(data)) as document:
        document.save(out, encryption=pikepdf.Encryption(user=password, owner="other"))
    return out.getvalue()


def drawing(*, shows: str, thumbnail: bytes | None) -> bytes:
    """A PDF as Illustrator writes it: a sentence or a drawing on its page, perhaps a thumbnail in its metadata."""
    with pikepdf.Pdf.new() as document:
        document.add_blank_page(page_size=(200, 100))
        page = document.pages[0].obj
        font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
        page["/Resources"] = pikepdf.Dictionary(Font=pikepdf.Dictionary(F=font))
        page["/Contents"] = document.make_stream(f"BT /F 5 Tf 10 50 Td ({shows}) Tj ET".encode())
        out = BytesIO()
        document.save(out)
    if thumbnail is None:
        return out.getvalue()
    text = base64.b64encode(thumbnail).decode()
    lines = "&#xA;".join(text[at : at + 76] for at in range(0, len(text), 76))
    return out.getvalue() + f"\n<xmpGImg:format>JPEG</xmpGImg:format><xmpGImg:image>{lines}</xmpGImg:image>\n".encode()


class TestPdf(PreviewerContract):
    previewer = Pdf()

    @pytest.fixture(autouse=True)
    def _make(self, make: Any) -> None:
        self.make = make

    def sample_media(self) -> Media:
        return self.make.file("pdf", self.make.pdf("one", "two", "three"))


class TestIllustrator(PreviewerContract):
    previewer = Illustrator()

    def sample_media(self) -> Media:
        return MemoryFile(drawing(shows="A drawing", thumbnail=None), MIMETYPES["pdf"], "logo.ai")


class TestIllustratorWithoutPdf(PreviewerContract):
    previewer = Illustrator()
    pictures_inside = True

    def sample_media(self) -> Media:
        data = drawing(shows="This is an Adobe Illustrator File that was saved without PDF Content", thumbnail=jpeg())
        return MemoryFile(data, MIMETYPES["pdf"], "logo.ai")


class TestThumbnail(PreviewerContract):
    previewer = OfficeThumbnail()
    pictures_inside = True

    @pytest.fixture(autouse=True)
    def _make(self, make: Any) -> None:
        self.make = make

    def sample_media(self) -> Media:
        return self.make.file("odt", self.make.odf("odt", "<text:p>x</text:p>", more={"Thumbnails/thumbnail.png": png()}))


class TestOffice(PreviewerContract):
    """With the real LibreOffice."""

    previewer = Office()

    @pytest.fixture(autouse=True)
    def _shop(self, make: Any, office_shop: Any) -> None:
        self.make, self.shop = make, office_shop

    def sample_media(self) -> Media:
        return self.make.file("pptx", self.make.pptx("one", "two"))

    def sample_shop(self) -> Workshop:
        shop: Workshop = self.shop
        return shop


# ------------------------------------------------------------------------------------------------------------------ PDF


@pytest.mark.parametrize(
    ("hint", "size"),
    [
        ((800, 800), (600, 800)),
        ((300, 800), (300, 400)),
        ((150, 0), (150, 200)),
        ((0, 1_000), (750, 1_000)),
        (None, (625, 834)),
    ],
)
def test_a_page_is_drawn_at_the_size_that_is_wanted(hint: Any, size: tuple[int, int], make: Any) -> None:
    """As large as fits the box, and without one at 150 dots to the inch."""
    (page,) = previewed(Pdf(), make.file("pdf", make.pdf("x")), size=hint)
    assert page.media.dimensions() == size  # type: ignore[attr-defined]


def test_only_the_wanted_pages_are_drawn(make: Any) -> None:
    """Each is the page of its number."""
    with pikepdf.open(BytesIO(make.pdf("one", "two", "three"))) as document:
        for page, colour in zip(document.pages, ("1 0 0", "0 1 0", "0 0 1"), strict=True):
            page.obj["/Contents"] = document.make_stream(f"{colour} rg 0 0 300 400 re f".encode())
        out = BytesIO()
        document.save(out)
    pages = previewed(Pdf(), make.file("pdf", out.getvalue()), pages="2-3", size=(30, 40))
    colours = [page.media.decoded().getpixel((15, 20)) for page in pages]  # type: ignore[attr-defined]
    assert [(page.number, page.total) for page in pages] == [(2, 3), (3, 3)]
    assert colours == [(0, 255, 0), (0, 0, 255)]


@pytest.mark.parametrize("previewer", [Pdf(), Illustrator()])
def test_an_encrypted_file_says_so(previewer: Any, make: Any) -> None:
    """With a password; with an empty one it is drawn."""
    with pytest.raises(Encrypted):
        previewed(previewer, make.file("pdf", locked(make.pdf("x")), "a.ai"))
    assert len(previewed(previewer, make.file("pdf", locked(make.pdf("x"), ""), "a.ai"))) == 1


@pytest.mark.parametrize("box", ["0 0 1000000 1000000", "0 0 9000000 9", "0 0 14400 1"])
def test_an_immense_page_is_drawn_within_the_limits(box: str, make: Any) -> None:
    """However large it says it is, and whatever is wanted of it."""
    data = make.pdf("x").replace(b"[ 0 0 300 400 ]", f"[ {box} ]".encode())
    limits = WorkLimits(pixels=4_000_000, output_side=3_000)
    for hint in (None, (100_000, 100_000), (0, 100_000), (50, 50)):
        (page,) = previewed(Pdf(), make.file("pdf", data), size=hint, shop=SimpleWorkshop(limits=limits))
        width, height = page.media.dimensions()  # type: ignore[attr-defined]
        assert width * height <= limits.pixels
        assert max(width, height) <= limits.output_side


def test_a_picture_bomb_in_a_pdf_ends_in_confinement(make: Any, paged: Callable[..., Any]) -> None:
    """A picture of 3,000 megapixels packed into a few kilobytes: a page without it, or a fault, and the worker goes on."""
    with pikepdf.open(BytesIO(make.pdf("x"))) as document:
        picture = document.make_stream(b"\0" * 100_000)
        for key, value in {"Type": pikepdf.Name.XObject, "Subtype": pikepdf.Name.Image, "Width": 60_000, "Height": 50_000,
                           "BitsPerComponent": 8, "ColorSpace": pikepdf.Name.DeviceRGB}.items():  # fmt: skip
            picture[f"/{key}"] = value
        page = document.pages[0].obj
        page["/Resources"]["/XObject"] = pikepdf.Dictionary(X=picture)
        page["/Contents"] = document.make_stream(b"300 0 0 400 0 0 cm /X Do")
        out = BytesIO()
        document.save(out)
    try:
        told = paged("preview:pdf", make.file("pdf", out.getvalue()), hint=(90, 120))
        assert told["images"][0].size == (90, 120)
    except SecureDeliveryError as fault:
        assert isinstance(fault, (Corrupt, ProcessingLimit, TooLarge))
    assert paged("preview:pdf", make.file("pdf", make.pdf("x")), hint=(90, 120))["total"] == 1


def test_pages_leave_a_confined_worker(make: Any, paged: Callable[..., Any]) -> None:
    """Drawn, scaled and encoded."""
    told = paged("preview:pdf", make.file("pdf", make.pdf("one", "two", "three")), pages="1-2", hint=(150, 150))
    assert [page["page"] for page in told["pages"]] == [1, 2]
    assert told["total"] == 3
    assert [image.size for image in told["images"]] == [(113, 150), (113, 150)]


# ---------------------------------------------------------------------------------------------------------- Illustrator


def test_a_drawing_shows_its_pdf_and_not_its_thumbnail() -> None:
    """The PDF is sharper."""
    media = MemoryFile(drawing(shows="A drawing", thumbnail=jpeg()), MIMETYPES["pdf"], "logo.ai")
    (page,) = previewed(Illustrator(), media, size=(400, 400))
    assert page.media.dimensions() == (400, 200)  # type: ignore[attr-defined]


@pytest.mark.parametrize("postscript", [False, True])
def test_a_drawing_without_pdf_shows_its_thumbnail(postscript: bool) -> None:
    """Not the sentence about what is missing; also in files of before PDF."""
    data = drawing(shows="This is an Adobe Illustrator File that was saved without PDF Content.", thumbnail=jpeg())
    if postscript:
        data = b"%!PS-Adobe-3.0\n%%Creator: Adobe Illustrator(R) 10\n" + data[data.index(b"<xmpGImg:format>") :]
    assert Illustrator().probe(data[:4096], "a.ai")
    (page,) = previewed(Illustrator(), MemoryFile(data, "application/postscript", "logo.ai"))
    assert page.media.dimensions() == (64, 48)  # type: ignore[attr-defined]
    assert sum(abs(a - b) for a, b in zip(page.media.decoded().getpixel((9, 9)), RED, strict=True)) < 20  # type: ignore[attr-defined]


def test_a_drawing_that_shows_nothing_is_left_to_others() -> None:
    """No picture is made up; a thumbnail that is no JPEG is none."""
    for inside in (b"", b"<xmpGImg:image>" + base64.b64encode(b"GIF89a" * 30) + b"</xmpGImg:image>"):
        with pytest.raises(Unsupported):
            previewed(Illustrator(), MemoryFile(b"%!PS-Adobe-3.0\n" + inside, "application/postscript", "logo.ai"))


def test_a_pdf_by_another_name_is_no_drawing(make: Any) -> None:
    """Its own previewer comes first there."""
    assert not Illustrator().probe(make.pdf("x")[:4096], "paper.pdf")


# --------------------------------------------------------------------------------------------------------------- office


def sample(kind: str, make: Any) -> MemoryFile:
    body = {
        "odt": "<text:p>words</text:p>",
        "ods": '<table:table table:name="One"><table:table-row><table:table-cell><text:p>1</text:p></table:table-cell>'
        "</table:table-row></table:table>",
        "odp": '<draw:page draw:name="one"/><draw:page draw:name="two"/>',
    }
    texts = {
        "rtf": b"{\\rtf1\\ansi\\pard words\\par}",
        "csv": b"name,count\nchairs,3\ntables,1\n",
        "tsv": b"name\tcount\nchairs\t3\n",
        "tab": "Stühle\t3\r\n".encode("cp1252"),
    }
    if kind in texts:
        mimetype = {"rtf": "application/rtf", "csv": "text/csv", "tsv": "text/tab-separated-values"}.get(kind, "text/plain")
        return MemoryFile(texts[kind], mimetype, f"sample.{kind}")
    if kind == "ott":
        members = make.odf("odt", body["odt"])
        return make.file("odt", {**members, "mimetype": members["mimetype"] + "-template"}, "sample.ott")
    if kind in body:
        return make.file(kind, make.odf(kind, body[kind]))
    made = {"docx": make.docx, "xlsx": lambda text: make.xlsx([text, "b"]), "pptx": lambda text: make.pptx(text, "two")}[kind]
    return make.file(kind, made("words"))


@pytest.mark.parametrize("kind", ["docx", "xlsx", "pptx", "odt", "ott", "ods", "odp", "rtf", "csv", "tsv", "tab"])
def test_office_files_are_drawn(kind: str, make: Any, office_shop: Any) -> None:
    """By the real LibreOffice, at the size that is wanted, with something on them."""
    page = previewed(Office(), sample(kind, make), size=(300, 300), shop=office_shop)[0]
    image = page.media.decoded()  # type: ignore[attr-defined]
    assert max(image.size) == 300
    assert page.total == (2 if kind in ("pptx", "odp") else 1)
    assert kind == "odp" or image.convert("L").getextrema()[0] < 160


@pytest.mark.parametrize("kind", ["doc", "xls", "ppt", "odg"])
def test_older_files_and_drawings_are_drawn_in_confinement(kind: str, make: Any, office: Any, paged: Any) -> None:
    """Files that LibreOffice wrote itself, read in a confined worker."""
    if kind == "odg":
        body = '<draw:page draw:name="one"><draw:rect svg:x="1cm" svg:y="1cm" svg:width="9cm" svg:height="9cm"/></draw:page>'
        members = make.odf("odp", body)
        for old, new in (("office:presentation>", "office:drawing>"), (MIMETYPES["odp"], MIMETYPES["odg"])):
            members = {name: text.replace(old, new) for name, text in members.items()}
        media = MemoryFile(make.pack(members), MIMETYPES["odg"], "a.odg")
    else:
        source = sample({"doc": "docx", "xls": "xlsx", "ppt": "pptx"}[kind], make)
        made = office(source, ("output", {"format": kind}))
        media = MemoryFile(made.data, "application/x-ole-storage", "no name that tells")
    told = paged("preview:office", media, hint=(200, 200))
    assert max(told["images"][0].size) == 200
    assert told["images"][0].convert("L").getextrema()[0] < 160


def long_document(make: Any, stated: int) -> MemoryFile:
    """A text of 30 pages that says it has so many."""
    breaks = "".join(
        f'<w:p><w:r><w:br w:type="page"/></w:r></w:p><w:p><w:r><w:t>page {number}</w:t></w:r></w:p>' for number in range(2, 31)
    )
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/extended-properties"
    app = f'<Properties xmlns="{kind}"><Pages>{stated}</Pages><Words>60</Words></Properties>'
    return make.file("docx", make.docx("page 1", body=breaks, more={"docProps/app.xml": app}))


def test_of_a_long_document_only_the_wanted_pages_are_made(make: Any, office_shop: Any) -> None:
    """By a page range of LibreOffice's PDF filter; the total is the document's."""
    office_shop.asked.clear()
    pages = previewed(Office(), long_document(make, 30), pages="4-5", size=(200, 200), shop=office_shop)
    assert [(page.number, page.total) for page in pages] == [(4, 30), (5, 30)]
    assert office_shop.asked == ["office_pages"]


def test_a_document_that_lies_about_its_length_is_drawn_all_the_same(make: Any, office_shop: Any) -> None:
    """Page 40 of thirty is not there, and then all are made to see."""
    office_shop.asked.clear()
    lying = long_document(make, 90)
    assert previewed(Office(), lying, pages="40", size=(99, 99), shop=office_shop) == []
    assert office_shop.asked == ["office_pages", "office"]
    assert [page.total for page in previewed(Office(), lying, pages="29-31", size=(99, 99), shop=office_shop)] == [30, 30]


def test_encrypted_office_files_say_so(make: Any) -> None:
    """Before LibreOffice is asked, by both previewers of office files that look inside."""
    members = make.odf("odt", "<text:p>x</text:p>")
    members["META-INF/manifest.xml"] = members["META-INF/manifest.xml"].replace(
        "</m:manifest>", "<m:encryption-data/></m:manifest>"
    )
    with pytest.raises(Encrypted):
        previewed(Office(), make.file("odt", members))
    with pytest.raises(Encrypted):
        previewed(OfficeThumbnail(), make.file("odt", {**members, "Thumbnails/thumbnail.png": png()}))


def test_without_libreoffice_the_next_previewer_is_asked(make: Any) -> None:
    """It is unsupported here, which is no fault of the file; the thumbnail inside needs nothing."""
    media = make.file("odt", make.odf("odt", "<text:p>x</text:p>", more={"Thumbnails/thumbnail.png": png((256, 181))}))
    with pytest.raises(Unsupported):
        previewed(Office(), media)
    (page,) = previewed(OfficeThumbnail(), media)
    assert page.media.dimensions() == (256, 181)  # type: ignore[attr-defined]
    assert OfficeThumbnail().priority < Office().priority


def test_the_thumbnail_that_libreoffice_keeps_is_found(make: Any, office: Any, paged: Any) -> None:
    """In a file that it wrote itself."""
    made = office(sample("odt", make), ("output", {"format": "odt"}))
    told = paged("preview:office_thumbnail", MemoryFile(made.data, MIMETYPES["odt"], "a.odt"))
    assert min(told["images"][0].size) > 50


def test_a_thumbnail_is_the_first_page_and_no_other(make: Any) -> None:
    """Where the document says it has more, the others are left to who can draw them."""
    meta = (
        '<o:document-meta xmlns:o="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
        'xmlns:m="urn:oasis:names:tc:opendocument:xmlns:meta:1.0"><o:meta><m:document-statistic m:page-count="5"/></o:meta>'
        "</o:document-meta>"
    )
    more = {"Thumbnails/thumbnail.png": png(), "meta.xml": meta}
    media = make.file("odt", make.odf("odt", "<text:p>x</text:p>", more=more))
    (page,) = previewed(OfficeThumbnail(), media, pages="1-3")
    assert (page.number, page.total) == (1, 5)
    with pytest.raises(Unsupported):
        previewed(OfficeThumbnail(), media, pages="2")


def test_a_thumbnail_bomb_is_refused(make: Any) -> None:
    """Packed too well, and a picture of more pixels than may be."""
    for bomb, fault in ((bytes(60_000_000), TooLarge), (png((30_000, 20_000)), TooLarge)):
        media = make.file("odt", make.odf("odt", "", more={"Thumbnails/thumbnail.png": bomb}))
        with pytest.raises(fault):
            previewed(OfficeThumbnail(), media)


@pytest.mark.parametrize("data", [b"PK\x03\x04" + bytes(200), b"\xd0\xcf\x11\xe0" + bytes(999), b"{\\rtf", b"\xff" * 99, b""])
def test_what_only_begins_like_a_document_is_refused(data: bytes, office_shop: Any) -> None:
    """A fault of the tree, or what LibreOffice makes of it."""
    for name in ("a.docx", "a.doc", "a.odt", "a.rtf"):
        try:
            previewed(Office(), MemoryFile(data, "application/octet-stream", name), shop=office_shop)
        except SecureDeliveryError as fault:
            assert isinstance(fault, (Corrupt, Unsupported))
