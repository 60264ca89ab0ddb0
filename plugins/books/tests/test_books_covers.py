"""Books written for the tests: their covers and pages, what they say, and what hostile ones get."""

from __future__ import annotations

import base64
import io
import random
import struct
import zipfile
import zlib
from typing import Any

import jsonschema
import pytest
from PIL import Image

import secure_delivery_books
from secure_delivery.engine.types import sniff
from secure_delivery.plugin import Corrupt, Encrypted, MemoryFile, SecureDeliveryError, TooLarge, Unsupported
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.testing import ExtractorContract, PreviewerContract, extracted, previewed
from secure_delivery_books.extractor import BookFacts
from secure_delivery_books.model import checked
from secure_delivery_books.previewer import BookPages

RED, GREEN = (200, 20, 30), (20, 150, 40)
CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
METADATA = """<dc:title>Die  Wärme</dc:title><dc:title>second</dc:title><dc:creator id="a">Ann Ö</dc:creator>
<dc:creator>Bob</dc:creator><dc:language>de</dc:language><dc:publisher>Haus</dc:publisher><dc:date>2024-02-29</dc:date>
<dc:identifier opf:scheme="UUID">urn:uuid:1</dc:identifier><dc:identifier>urn:isbn:978-3-16-148410-0</dc:identifier>
<dc:description>About &lt;b&gt;heat&lt;/b&gt;</dc:description><dc:subject>Physics</dc:subject>"""
NAV = """<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><body><nav epub:type="landmarks">
<ol><li/></ol></nav><nav epub:type="toc"><ol><li>1<ol><li>1.1</li></ol></li><li>2</li><li>3</li></ol></nav></body></html>"""
NCX = '<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap><navPoint><navPoint/></navPoint><navPoint/></navMap></ncx>'


def picture(colour: tuple[int, int, int] = RED, form: str = "PNG", size: tuple[int, int] = (60, 90)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, form)
    return out.getvalue()


def zipped(members: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content, zipfile.ZIP_STORED if name == "mimetype" else None)
    return out.getvalue()


def epub(
    manifest: str = "", more: str = "", files: dict[str, str | bytes] | None = None, metadata: str = METADATA
) -> MemoryFile:
    package = (
        '<?xml version="1.0"?>'
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:opf="http://www.idpf.org/2007/opf" version="3.0">'
        f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">{metadata}</metadata><manifest>{manifest}</manifest>{more}</package>'
    )
    members: dict[str, str | bytes] = {"mimetype": "application/epub+zip", "META-INF/container.xml": CONTAINER}
    members |= {"OPS/book.opf": package} | (files or {})
    data = zipped(members)
    return MemoryFile(data, sniff(data[:4096], "book.epub"), "book.epub")


def with_cover() -> MemoryFile:
    return epub('<item id="c" href="c.png" properties="cover-image" media-type="image/png"/>', files={"OPS/c.png": picture()})


def comic(pages: int = 12, info: str | None = None) -> MemoryFile:
    members: dict[str, str | bytes] = {
        f"p/page {number}.jpg": picture((number, 200, 30), "JPEG") for number in range(1, pages + 1)
    }
    members |= {"__MACOSX/p/._page 1.jpg": b"x", "p/.hidden.png": b"x", "p/notes.txt": b"x"}
    members |= {"ComicInfo.xml": info} if info else {}
    return MemoryFile(zipped(members), "application/vnd.comicbook+zip", "comic.cbz")


def fiction(cover: bool = True, encoding: str = "utf-8") -> MemoryFile:
    page = "<coverpage><image l:href='#c.png'/></coverpage>" if cover else ""
    text = f"""<?xml version="1.0" encoding="{encoding}"?>
<FictionBook xmlns="http://www.gribuser.ru/xml/fictionbook/2.0" xmlns:l="http://www.w3.org/1999/xlink"><description><title-info>
<genre>prose</genre><author><first-name>Лев</first-name><last-name>Толстой</last-name></author>
<book-title>Война и мир</book-title>
<annotation><p>Роман</p></annotation><date value="1869-01-01">1869</date>{page}<lang>ru</lang></title-info>
<document-info><id>42</id></document-info>
<publish-info><publisher>Дом</publisher><isbn>0-306-40615-2</isbn></publish-info></description>
<body><section/><section><section/></section></body><body name="notes"><section/></body>
<binary id="x" content-type="image/png">AAAA</binary>
<binary id="c.png" content-type="image/png">{base64.encodebytes(picture(GREEN)).decode()}</binary></FictionBook>"""
    data = text.encode(encoding)
    return MemoryFile(data, sniff(data[:4096], "book.fb2"), "book.fb2")


def facts(media: MemoryFile) -> Any:
    section = extracted(BookFacts(), media)
    jsonschema.Draft202012Validator(BookFacts.schema).validate(section)
    return section


def seen(media: MemoryFile, **more: Any) -> Image.Image:
    image: Image.Image = previewed(BookPages(), media, **more)[0].media.decoded()
    return image


def looks(image: Image.Image, colour: tuple[int, int, int]) -> bool:
    middle = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
    return all(abs(one - other) < 8 for one, other in zip(middle, colour, strict=True))


class TestCoversHoldTheContract(PreviewerContract):
    previewer = BookPages()
    pictures_inside = True

    def sample_media(self) -> MemoryFile:
        return with_cover()


class TestBookFactsHoldTheContract(ExtractorContract):
    extractor = BookFacts()

    def sample_media(self) -> MemoryFile:
        return with_cover()


class TestCardsHoldTheContract(PreviewerContract):
    previewer = BookPages()

    def sample_media(self) -> MemoryFile:
        return epub()


class TestComicsHoldTheContract(PreviewerContract):
    previewer = BookPages()
    pictures_inside = True

    def sample_media(self) -> MemoryFile:
        return comic(4)


class TestFictionHoldsTheContract(PreviewerContract):
    previewer = BookPages()
    pictures_inside = True

    def sample_media(self) -> MemoryFile:
        return fiction()


def test_the_plugin_is_found_and_declares_what_it_has() -> None:
    registry = load(extra={"ours": secure_delivery_books}, blocked=["books"])
    (report,) = [report for report in registry.reports if report.name == "ours"]
    assert report.problem is None
    assert (list(report.offers["previewers"]), list(report.offers["extractors"])) == (["book"], ["book"])


# ------------------------------------------------------------------------------------------------------ what books say


def test_an_epub_says_who_wrote_it() -> None:
    nav = '<item id="n" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>'
    assert facts(epub(nav, files={"OPS/nav.xhtml": NAV})) == {
        "format": "epub",
        "title": "Die Wärme",
        "creators": ["Ann Ö", "Bob"],
        "language": "de",
        "publisher": "Haus",
        "date": "2024-02-29",
        "identifiers": [{"scheme": "UUID", "value": "urn:uuid:1"}, {"scheme": None, "value": "urn:isbn:978-3-16-148410-0"}],
        "isbn": "9783161484100",
        "description": "About <b>heat</b>",
        "subjects": ["Physics"],
        "chapters": 3,
        "pages": None,
    }


@pytest.mark.parametrize(
    ("manifest", "more", "files", "chapters"),
    [
        ('<item id="t" href="t%20c.ncx" media-type="application/x-dtbncx+xml"/>', "", {"OPS/t c.ncx": NCX}, 2),
        ("", "<spine><itemref/><itemref/><itemref/><itemref/></spine>", {}, 4),
        ('<item id="t" href="gone.ncx" media-type="application/x-dtbncx+xml"/>', "<spine><itemref/></spine>", {}, 1),
        ("", "", {}, None),
    ],
)
def test_chapters_are_counted_in_the_table_of_contents(manifest: str, more: str, files: Any, chapters: int | None) -> None:
    assert facts(epub(manifest, more, files))["chapters"] == chapters


def test_a_book_that_says_nothing_is_a_book() -> None:
    section = facts(epub(metadata=""))
    assert (section["title"], section["creators"], section["isbn"]) == (None, [], None)
    assert seen(epub(metadata="")).size == (600, 900)


@pytest.mark.parametrize("encoding", ["utf-8", "windows-1251", "utf-16"])
def test_a_fictionbook_says_who_wrote_it(encoding: str) -> None:
    section = facts(fiction(encoding=encoding))
    assert (section["title"], section["creators"], section["language"]) == ("Война и мир", ["Лев Толстой"], "ru")
    assert (section["date"], section["publisher"], section["isbn"], section["chapters"]) == (
        "1869-01-01",
        "Дом",
        "0306406152",
        2,
    )
    assert (section["description"], section["subjects"]) == ("Роман", ["prose"])
    packed = MemoryFile(zipped({"book.fb2": fiction(encoding=encoding).data}), "application/zip", "book.fbz")
    assert facts(packed) == section
    assert looks(seen(packed), GREEN)


def test_a_comic_says_what_its_info_says() -> None:
    info = (
        "<ComicInfo><Title>Fire</Title><Series>Heat</Series><Number>3</Number><Writer>Ann, Bob</Writer><Inker>Bob</Inker>"
        "<Publisher>Haus</Publisher><Genre>Science, Fun</Genre><Year>2024</Year><Month>2</Month><LanguageISO>en</LanguageISO>"
        "<Summary>Hot</Summary></ComicInfo>"
    )
    section = facts(comic(3, info))
    assert (section["title"], section["creators"], section["date"]) == ("Heat #3: Fire", ["Ann", "Bob"], "2024-02")
    assert (section["pages"], section["language"], section["subjects"]) == (3, "en", ["Science", "Fun"])
    assert facts(comic(3, "<broken"))["pages"] == 3


@pytest.mark.parametrize(
    ("value", "isbn"),
    [
        ("978-3-16-148410-0", "9783161484100"), ("ISBN: 0-8044-2957-X", "080442957X"),
        ("urn:isbn:9783161484100", "9783161484100"),
        ("978-3-16-148410-1", None), ("080442957X1", None), ("123", None), ("", None), ("x" * 10_000, None),
    ],
)  # fmt: skip
def test_an_isbn_has_the_right_check_digit(value: str, isbn: str | None) -> None:
    assert checked(value) == isbn


# ------------------------------------------------------------------------------------------------------ how books look


@pytest.mark.parametrize(
    ("manifest", "more", "metadata", "files"),
    [
        ('<item id="c" href="i/c%201.png" properties="svg cover-image"/>', "", "", {"OPS/i/c 1.png": picture()}),
        ('<item id="c" href="../c.png"/>', "", '<meta name="cover" content="c"/>', {"c.png": picture()}),
        ("", '<guide><reference type="cover" href="cover.xhtml"/></guide>', "", {
            "OPS/cover.xhtml": "<html xmlns='http://www.w3.org/1999/xhtml'><body><img src='c.jpg'/></body></html>",
            "OPS/c.jpg": picture(form="JPEG"),
        }),
        ("", '<guide><reference type="cover" href="cover.xhtml#x"/></guide>', "", {
            "OPS/cover.xhtml": "<svg xmlns:xlink='http://www.w3.org/1999/xlink'><image xlink:href='c.jpg'/></svg>",
            "OPS/c.jpg": picture(form="JPEG"),
        }),
        ('<item id="x" href="Cover.webp" media-type="image/webp"/>', "", "", {"OPS/Cover.webp": picture(form="WEBP")}),
    ],
    ids=["epub 3", "epub 2", "guide", "guide with a drawing", "by name"],
)  # fmt: skip
def test_the_cover_is_found_however_a_book_names_it(manifest: str, more: str, metadata: str, files: Any, drawn: Any) -> None:
    """In a confined worker, with its own size."""
    (image,) = drawn("book", epub(manifest, more, files, METADATA + metadata))
    assert image.size == (60, 90)
    assert looks(image, RED)


@pytest.mark.parametrize(
    ("href", "content"),
    [
        ("c.png", b"no picture"),
        ("gone.png", b"x"),
        ("../../../../etc/passwd", b"x"),
        ("http://127.0.0.1:9/c.png", b"x"),
        ("c.txt", b"x"),
    ],
)
def test_a_book_without_a_cover_gets_a_card(href: str, content: bytes, drawn: Any) -> None:
    """No picture, none that is there, none that can be read: title and authors on a cloth, the same every time."""
    book = epub(f'<item id="c" href="{href}" properties="cover-image"/>', files={"OPS/c.png": content, "OPS/c.txt": b"x"})
    (image,) = drawn("book", book, hint=[300, 0])
    assert image.size == (300, 450)
    colours = image.convert("RGB")
    assert sum(sum(colours.getpixel((x, y))) > 600 for x in range(20, 290, 2) for y in range(60, 250, 2)) > 150
    assert colours.tobytes() == seen(epub(), size=(300, 0)).tobytes()


def test_a_card_holds_every_title() -> None:
    for title in ("x", "Word " * 300, "漢" * 90, "Ungetüm" * 60, "\u202eevil"):
        assert seen(epub(metadata=f"<dc:title>{title}</dc:title><dc:creator>{title}</dc:creator>")).size == (600, 900)


def test_pages_of_a_comic_are_in_their_order(drawn: Any) -> None:
    """In a confined worker: page 2 comes before page 10."""
    images = drawn("book", comic(12), pages="1-3,10")
    assert [round(image.convert("RGB").getpixel((30, 40))[0]) for image in images] == pytest.approx([1, 2, 3, 10], abs=1)


def test_every_kind_is_described_in_confinement(described: Any, drawn: Any) -> None:
    for media, kind in ((with_cover(), "epub"), (comic(), "cbz"), (fiction(), "fb2")):
        assert described("book", media)["format"] == kind
        assert len(drawn("book", media)) == 1


# ------------------------------------------------------------------------------------------------------------- hostile


def test_entities_are_refused_wherever_they_are_declared() -> None:
    """In a package document, in a FictionBook, in any encoding; a document type alone is fine."""
    bomb = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;'>]>"
    outside = "<!DOCTYPE x [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>"
    for declared in (bomb, outside):
        title = "<title-info><book-title>&b;</book-title></title-info>"
        text = f"{declared}<FictionBook><description>{title}</description></FictionBook>"
        encoded = [text.encode(encoding) for encoding in ("utf-8", "utf-16", "utf-32")]
        encoded.append(f'<?xml version="1.0" encoding="utf-7"?>{text}'.encode("utf-7"))
        for data in encoded:
            with pytest.raises((Corrupt, Unsupported)):
                facts(MemoryFile(data, "application/xml", "a.fb2"))
        package = f"{declared}<package><metadata><title>&b;</title></metadata></package>"
        book = zipped({"META-INF/container.xml": CONTAINER, "OPS/book.opf": package})
        with pytest.raises(Corrupt):
            facts(MemoryFile(book, "application/epub+zip", "a.epub"))
    harmless = "<!DOCTYPE package SYSTEM 'http://127.0.0.1:9/x.dtd'><package><metadata><title>fine</title></metadata></package>"
    book = zipped({"META-INF/container.xml": CONTAINER, "OPS/book.opf": harmless})
    assert facts(MemoryFile(book, "application/epub+zip", "a.epub"))["title"] == "fine"


def test_what_unpacks_to_too_much_is_refused() -> None:
    with pytest.raises(TooLarge):
        facts(epub(files={"OPS/book.opf": bytes(9_000_000)}))
    with pytest.raises(TooLarge):
        previewed(BookPages(), MemoryFile(zipped({"1.png": bytes(70 << 20)}), "application/x-cbz", "a.cbz"))
    cover = epub('<item id="c" href="c.png" properties="cover-image"/>', files={"OPS/c.png": bytes(70 << 20)})
    assert seen(cover).size == (600, 900)
    header = bytearray(picture())
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    with pytest.raises(TooLarge):
        previewed(BookPages(), MemoryFile(zipped({"1.png": bytes(header)}), "application/x-cbz", "a.cbz"))


def test_a_directory_of_a_million_members_is_not_read() -> None:
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *bytes(4), 0, 0, 0, 33, 0, 2, 3, 1, 0, 0, 0, 0, 0, 0) + b"x"
    directory = entry * 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), 30, 0)
    with pytest.raises(TooLarge):
        facts(MemoryFile(b"PK\x03\x04" + bytes(26) + directory + end, "application/epub+zip", "a.epub"))


def test_absurd_counts_are_bounded() -> None:
    """Many authors, deep trees, long texts: a small section."""
    metadata = (
        "<dc:creator>a</dc:creator>" * 20_000
        + "<dc:title>"
        + "t" * 500_000
        + "</dc:title>"
        + "<dc:subject>s</dc:subject>" * 20_000
    )
    section = facts(epub('<item id="x" href="y"/>' * 20_000, metadata=metadata))
    assert (len(section["creators"]), len(section["subjects"]), len(section["title"])) == (200, 200, 2_000)
    deep = "<FictionBook><body>" + "<section>" * 100_000
    assert facts(MemoryFile(deep.encode(), "application/xml", "a.fb2"))["title"] is None


def test_encrypted_members_are_told() -> None:
    data = bytearray(zipped({"1.png": picture()}))
    for mark, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.rfind(mark) + place] |= 1
    with pytest.raises(Encrypted):
        previewed(BookPages(), MemoryFile(bytes(data), "application/x-cbz", "a.cbz"))


@pytest.mark.parametrize("media", [with_cover(), comic(3, "<ComicInfo/>"), fiction()], ids=["epub", "cbz", "fb2"])
def test_damage_ends_in_a_fault_or_a_page(media: MemoryFile) -> None:
    chance = random.Random(11)
    for number in range(200):
        data = bytearray(media.data)
        for _ in range(chance.choice((1, 5, 50))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        cut = MemoryFile(bytes(data if number % 3 else data[: chance.randrange(len(data))]), media.mimetype, media.filename)
        for make in (lambda: facts(cut), lambda: seen(cut, size=(100, 0))):  # noqa: B023 - called at once
            try:
                make()
            except SecureDeliveryError:
                continue


def test_what_is_no_book_is_left_to_others() -> None:
    """Other XML and other ZIP files: the probe or the reader says so, and the next previewer is asked."""
    assert not BookPages().probe(b"<?xml version='1.0'?><note/>", "a.xml")
    assert not BookPages().probe(b"words", "a.epub")
    for data in (zipped({"a.txt": "x"}), b"<note>FictionBook</note>", b""):
        with pytest.raises(Unsupported):
            facts(MemoryFile(data, "application/zip", "a.zip"))
    with pytest.raises(Corrupt):
        facts(MemoryFile(zipped({"a.txt": "x"}), "application/epub+zip", "a.epub"))
