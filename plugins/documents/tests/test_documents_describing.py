"""The section `document`: what documents say of themselves, what is kept back, and what hostile ones come to."""

from __future__ import annotations

import json
import struct
from io import BytesIO
from typing import Any

import pikepdf
import pytest

from secure_delivery.plugin import Encrypted, Media, MemoryFile, SecureDeliveryError, TooLarge, Unsupported
from secure_delivery.plugin.testing import ExtractorContract, SimpleWorkshop, extracted
from secure_delivery_documents import properties, propset
from secure_delivery_documents.extractors import SCHEMA, Document
from secure_delivery_documents.kinds import MIMETYPES

ALL = SimpleWorkshop(metadata="all")
_CORE = (
    '<?xml version="1.0"?><cp:coreProperties '
    'xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/"><dc:title>Report</dc:title>'
    "<dc:creator>Ada</dc:creator><dc:subject>Chairs</dc:subject><cp:keywords>oak, ash</cp:keywords>"
    "<cp:lastModifiedBy>Bob</cp:lastModifiedBy><dcterms:created>2024-02-29T10:11:12Z</dcterms:created>"
    "<dcterms:modified>2025-01-01T00:00:00+01:00</dcterms:modified></cp:coreProperties>"
)
_APP = (
    '<Properties xmlns="http://schemas.openxmlformats.org/officeDocument/2006/extended-properties"><Pages>7</Pages>'
    "<Words>1234</Words><Characters>9000</Characters><Application>Some Writer</Application>"
    "<Company>Oak Ltd</Company></Properties>"
)
_META = (
    '<?xml version="1.0"?><o:document-meta xmlns:o="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:m="urn:oasis:names:tc:opendocument:xmlns:meta:1.0" xmlns:dc="http://purl.org/dc/elements/1.1/"><o:meta>'
    "<dc:title>Bericht</dc:title><m:initial-creator>Ada</m:initial-creator><dc:creator>Bob</dc:creator>"
    "<m:keyword>oak</m:keyword><m:keyword>ash</m:keyword><m:creation-date>2024-02-29T10:11:12.5</m:creation-date>"
    '<m:generator>Some/1</m:generator><m:document-statistic m:page-count="3" m:word-count="99"/></o:meta></o:document-meta>'
)


def described(make: Any, **info: str) -> bytes:
    out = BytesIO()
    with pikepdf.open(BytesIO(make.pdf("three words here", "and three more", size=(300, 400)))) as document:
        for key, value in info.items():
            document.docinfo[f"/{key}"] = value
        document.save(out, min_version="1.6")
    return out.getvalue()


class TestPdf(ExtractorContract):
    extractor = Document()

    @pytest.fixture(autouse=True)
    def _make(self, make: Any) -> None:
        self.make = make

    def sample_media(self) -> Media:
        return self.make.file("pdf", described(self.make, Title="A title", Author="Ada"))


class TestOffice(TestPdf):
    def sample_media(self) -> Media:
        more = {"docProps/core.xml": _CORE, "docProps/app.xml": _APP}
        return self.make.file("docx", self.make.docx("words", more=more))


class TestOpenDocument(TestPdf):
    def sample_media(self) -> Media:
        return self.make.file("odt", self.make.odf("odt", "<text:p>x</text:p>", more={"meta.xml": _META}))


def test_a_pdf_is_described(make: Any) -> None:
    """Its properties, its dates as ISO 8601 has them, pages, their size, words, version."""
    dates = {"CreationDate": "D:20240229101112+01'30'", "ModDate": "D:2025"}
    data = described(make, Title="A title", Author="Ada", Subject="S", Keywords="a, b", Creator="W", Producer="P", **dates)
    assert extracted(Document(), make.file("pdf", data), shop=ALL) == {
        "type": "pdf",
        "encrypted": False,
        "protected": False,
        "title": "A title",
        "author": "Ada",
        "subject": "S",
        "keywords": "a, b",
        "creator": "W",
        "producer": "P",
        "created": "2024-02-29T10:11:12+01:30",
        "modified": "2025-01-01T00:00:00",
        "version": "1.6",
        "pages": 2,
        "page_size": {"width": 300, "height": 400},
        "words": 6,
    }


def test_office_open_xml_is_described(make: Any) -> None:
    """Core and extended properties; the size of the page is in the body."""
    body = '<w:sectPr><w:pgSz w:w="11906" w:h="16838"/></w:sectPr>'
    members = make.docx("x", body=body, more={"docProps/core.xml": _CORE, "docProps/app.xml": _APP})
    assert extracted(Document(), make.file("docx", members), shop=ALL) == {
        "type": "docx",
        "encrypted": False,
        "title": "Report",
        "author": "Ada",
        "last_author": "Bob",
        "subject": "Chairs",
        "keywords": "oak, ash",
        "company": "Oak Ltd",
        "producer": "Some Writer",
        "created": "2024-02-29T10:11:12Z",
        "modified": "2025-01-01T00:00:00+01:00",
        "pages": 7,
        "words": 1234,
        "characters": 9000,
        "page_size": {"width": 595.3, "height": 841.9},
    }
    assert extracted(Document(), make.file("pptx", make.pptx("a")))["page_size"] == {"width": 720, "height": 540}
    assert extracted(Document(), make.file("xlsx", make.xlsx("a")))["sheets"] == 1


def test_open_documents_are_described(make: Any) -> None:
    """By `meta.xml`; slides and sheets are counted."""
    media = make.file("odt", make.odf("odt", "<text:p>x</text:p>", more={"meta.xml": _META}))
    assert extracted(Document(), media, shop=ALL) == {
        "type": "odt",
        "encrypted": False,
        "title": "Bericht",
        "author": "Ada",
        "last_author": "Bob",
        "keywords": "oak, ash",
        "created": "2024-02-29T10:11:12",
        "producer": "Some/1",
        "pages": 3,
        "words": 99,
    }
    show = make.odf("odp", '<draw:page draw:name="1"/><draw:page draw:name="2"/>')
    assert extracted(Document(), make.file("odp", show))["pages"] == 2


@pytest.mark.parametrize("kind", ["doc", "xls", "ppt", "docx", "odt", "pptx", "ods"])
def test_files_that_libreoffice_wrote_are_described(kind: str, make: Any, office: Any, paged: Any) -> None:
    """Real ones, in a confined worker: the title survives every format."""
    source = {"doc": "docx", "xls": "xlsx", "ppt": "pptx", "ods": "xlsx", "docx": "odt", "odt": "docx", "pptx": "odp"}[kind]
    members = {
        "docx": lambda: make.docx("some words", more={"docProps/core.xml": _CORE}),
        "xlsx": lambda: make.xlsx(["some words"], more={"docProps/core.xml": _CORE}),
        "pptx": lambda: {**make.pptx("some words"), "docProps/core.xml": _CORE},
        "odt": lambda: make.odf("odt", "<text:p>some words</text:p>", more={"meta.xml": _META}),
        "odp": lambda: make.odf("odp", '<draw:page draw:name="1"/>', more={"meta.xml": _META}),
    }[source]()
    if source not in ("odt", "odp"):
        core = "http://schemas.openxmlformats.org/package/2006/relationships/metadata/core-properties"
        link = f'<Relationship Id="core" Type="{core}" Target="docProps/core.xml"/></Relationships>'
        members["_rels/.rels"] = members["_rels/.rels"].replace("</Relationships>", link)
    made = office(make.file(source, members), ("output", {"format": kind}), metadata="all")
    told = paged("extract:document", MemoryFile(made.data, MIMETYPES[kind], f"a.{kind}"))["value"]
    assert told["type"] == kind
    assert told["title"] == ("Bericht" if source in ("odt", "odp") else "Report")


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        ("none", set()),
        ("copyright", {"author"}),
        ("no_location", {"author", "last_author", "company", "producer"}),
        ("all", {"author", "last_author", "company", "producer"}),
    ],
)
def test_people_are_named_as_the_profile_allows(profile: str, told: set[str], make: Any) -> None:
    """Titles and counts always; people and their programs only where the application says so."""
    media = make.file("docx", make.docx("x", more={"docProps/core.xml": _CORE, "docProps/app.xml": _APP}))
    section = extracted(Document(), media, shop=SimpleWorkshop(metadata=profile))
    assert section["title"] == "Report"
    assert set(section) & {"author", "last_author", "company", "producer", "creator"} == told
    pdf = extracted(Document(), make.file("pdf", described(make, Author="Ada", Producer="P", Creator="C")),
                    shop=SimpleWorkshop(metadata=profile))  # fmt: skip
    assert ("author" in pdf, "producer" in pdf, "creator" in pdf) == ("author" in told, "producer" in told, "producer" in told)


def test_of_an_encrypted_document_only_that_is_said(make: Any) -> None:
    """A PDF with a password, and office files; with an empty password everything is said."""
    for password, section in (("secret", {"type": "pdf", "encrypted": True}), ("", None)):
        out = BytesIO()
        with pikepdf.open(BytesIO(described(make, Title="T"))) as document:
            document.save(out, encryption=pikepdf.Encryption(user=password, owner="other"))
        told = extracted(Document(), make.file("pdf", out.getvalue()))
        assert told == section or (told["protected"], told["title"], told["encrypted"]) == (True, "T", False)
    members = make.odf("odt", "")
    members["META-INF/manifest.xml"] = members["META-INF/manifest.xml"].replace(
        "</m:manifest>", "<m:encryption-data/></m:manifest>"
    )
    assert extracted(Document(), make.file("odt", members)) == {"type": "odt", "encrypted": True}


def test_a_library_that_states_one_page_without_words_is_not_believed(make: Any) -> None:
    """Templates of libraries say so of documents of any length."""
    app = _APP.replace("<Pages>7", "<Pages>1").replace("<Words>1234", "<Words>0")
    assert "pages" not in extracted(Document(), make.file("docx", make.docx("x", more={"docProps/app.xml": app})))


@pytest.mark.parametrize("text", ["&a;", "&x;"])
def test_entities_in_properties_are_refused(text: str, make: Any) -> None:
    """Those that grow, and those that name a file."""
    grown = '<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY x SYSTEM "file:///etc/passwd">'
    bomb = _CORE.replace('<?xml version="1.0"?>', f"<!DOCTYPE d [{grown}]>").replace("Report", text)
    with pytest.raises(Unsupported):
        extracted(Document(), make.file("docx", make.docx("x", more={"docProps/core.xml": bomb})))


def test_property_bombs_are_refused(make: Any) -> None:
    """A member packed too well; a title without end is cut."""
    with pytest.raises(TooLarge):
        extracted(Document(), make.file("docx", make.docx("x", more={"docProps/core.xml": b" " * 50_000_000})))
    long = _CORE.replace("Report", "words " * 100_000)
    told = extracted(Document(), make.file("docx", make.docx("x", more={"docProps/core.xml": long})))
    assert len(told["title"]) <= SCHEMA["properties"]["title"]["maxLength"]
    pdf = extracted(Document(), make.file("pdf", described(make, Title="x\x00\x07" * 50_000)))
    assert len(json.dumps(pdf)) < 10_000


@pytest.mark.parametrize("count", ["-5", "1e9", "9" * 40, "٣", "many", ""])
def test_odd_counts_are_left_out(count: str, make: Any) -> None:
    """Only plain numbers are numbers."""
    app = _APP.replace("<Pages>7", f"<Pages>{count}")
    assert "pages" not in extracted(Document(), make.file("docx", make.docx("x", more={"docProps/app.xml": app})))


def test_other_files_have_no_such_section(make: Any) -> None:
    """A plain archive is no document; a compound file without a document neither."""
    assert extracted(Document(), MemoryFile(make.pack({"a": "b"}), "application/zip", "a.docx")) is None


@pytest.mark.parametrize("seed", range(6))
def test_damaged_compound_files_end_in_a_fault_or_a_section(seed: int, make: Any, office: Any) -> None:
    """A real file with bytes changed all over, most of all where its tables are."""
    import random

    data = bytearray(office(make.file("docx", make.docx("some words")), ("output", {"format": "doc"})).data)
    chance = random.Random(seed)
    for _ in range(40):
        data[chance.randrange(0, min(4096, len(data)))] ^= 1 << chance.randrange(8)
    try:
        extracted(Document(), MemoryFile(bytes(data), MIMETYPES["doc"], "a.doc"))
    except SecureDeliveryError as fault:
        assert not isinstance(fault, Encrypted)


def property_set(*values: tuple[int, bytes], count: int | None = None) -> bytes:
    """A stream with one set: numbers of properties and their bytes, type first."""
    places, body = b"", b""
    for identity, value in values:
        places += struct.pack("<II", identity, 8 + 8 * len(values) + len(body))
        body += value
    head = struct.pack("<HHI16sI16sI", 0xFFFE, 0, 0, bytes(16), 1, bytes(16), 48)
    return head + struct.pack("<II", 0, len(values) if count is None else count) + places + body


def test_property_sets_are_read() -> None:
    """Texts in their code page and in UTF-16, numbers, dates."""
    cyrillic = "Отчёт".encode("cp1251") + b"\0"
    wide = "Größe\0".encode("utf-16-le")
    stream = property_set(
        (1, struct.pack("<Ihh", 2, 1251, 0)),
        (2, struct.pack("<II", 30, len(cyrillic)) + cyrillic),
        (3, struct.pack("<II", 31, len(wide) // 2) + wide),
        (12, struct.pack("<IQ", 64, 133_536_750_720_000_000)),
        (14, struct.pack("<Ii", 3, 12)),
    )
    assert propset.values(stream, propset._SUMMARY) == {
        "title": "Отчёт",
        "subject": "Größe",
        "created": "2024-02-29T10:11:12Z",
        "pages": 12,
    }


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        bytes(47),
        property_set((2, struct.pack("<II", 30, 0xFFFFFFFF) + b"x"), count=0xFFFFFFFF),
        property_set((2, struct.pack("<II", 0x101E, 0xFFFFFFFF))),
        property_set((2, struct.pack("<II", 0x1000, 0x7FFFFFFF) + bytes(40))),
        property_set((1, struct.pack("<Ihh", 2, -1, 0)), (2, struct.pack("<II", 30, 2) + b"x\0")),
        property_set((12, struct.pack("<IQ", 64, 2**64 - 1)), (14, struct.pack("<Ii", 3, -5))),
        property_set((2, b""))[:-1],
        b"\xff" * 4_000,
    ],
)
def test_property_sets_that_lie_are_read_as_far_as_they_are_there(stream: bytes) -> None:
    """Counts of four milliards, lists of nothing, dates beyond all time: no fault, no time, no memory."""
    told = propset.values(stream, propset._SUMMARY)
    assert len(json.dumps(told)) < 200


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2024-02-30T00:00:00Z", ""),
        ("2024-02-29", "2024-02-29T00:00:00"),
        ("2024-02-29T10:11:60Z", "2024-02-29T10:11:59Z"),
        ("yesterday", ""),
        ("0000-01-01T00:00:00", ""),
    ],
)
def test_dates_are_dates(text: str, told: str) -> None:
    """What is none is left out."""
    assert properties.moment(text) == told
