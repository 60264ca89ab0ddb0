"""Documents that want to do harm: nothing runs, nothing is fetched, nothing grows without bound."""

from __future__ import annotations

import socket
import struct
import threading
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest

from secure_delivery.plugin import Corrupt, Encrypted, MemoryFile, SecureDeliveryError, TooLarge, Unsupported
from secure_delivery.plugin.testing import content
from secure_delivery_documents import ole, package
from secure_delivery_documents.kinds import MIMETYPES

BASIC = 'Sub Main\nShell("touch /tmp/never")\nEnd Sub\n'
DTD = '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
LAUGHS = '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "ha">'
for _before, _name in zip("abcdefgh", "bcdefghx", strict=True):
    LAUGHS += f'<!ENTITY {_name} "{f"&{_before};" * 10}">'
LAUGHS += "]>"


class Canary:
    """A listener on this machine that must never hear from anybody."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/bird.png"
        self.heard = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                connection, _ = self._socket.accept()
                self.heard.set()
                connection.close()
        except OSError:
            return

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def canary() -> Iterator[Canary]:
    bird = Canary()
    yield bird
    assert not bird.heard.is_set(), "something was fetched"
    bird.close()


# -------------------------------------------------------------------------------------------------- what is taken out


def linked_docx(make: Any, url: str) -> dict[str, Any]:
    picture = (
        '<w:p><w:r><w:drawing><wp:inline><wp:extent cx="900000" cy="900000"/><wp:docPr id="1" name="p"/><a:graphic>'
        '<a:graphicData uri="http://schemas.openxmlformats.org/drawingml/2006/picture"><pic:pic><pic:nvPicPr>'
        '<pic:cNvPr id="1" name="p"/><pic:cNvPicPr/></pic:nvPicPr><pic:blipFill><a:blip r:link="out"/></pic:blipFill>'
        '<pic:spPr><a:xfrm><a:off x="0" y="0"/><a:ext cx="900000" cy="900000"/></a:xfrm><a:prstGeom prst="rect"/></pic:spPr>'
        "</pic:pic></a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>"
    )
    split = "".join(f"<w:r><w:instrText>{part}</w:instrText></w:r>" for part in ("INCL", "UDEPIC", f'TURE "{url}"'))
    field = f'<w:p><w:r><w:fldChar w:fldCharType="begin"/></w:r>{split}<w:r><w:fldChar w:fldCharType="separate"/></w:r>'
    field += '<w:r><w:t>kept</w:t></w:r><w:r><w:fldChar w:fldCharType="end"/></w:r></w:p>'
    field += f'<w:p><w:fldSimple w:instr="DDEAUTO cmd &quot;{url}&quot;"><w:r><w:t>also kept</w:t></w:r></w:fldSimple></w:p>'
    links = make.relation("out", "image", url, outside=True) + make.relation("tpl", "attachedTemplate", url, outside=True)
    links += make.relation("web", "hyperlink", "https://good.example/", outside=True)
    links += make.relation("vba", "vbaProject", "vbaProject.bin") + make.relation("alt", "aFChunk", "chunk.html")
    more = {"word/vbaProject.bin": b"macros", "word/chunk.html": f'<img src="{url}">', "word/embeddings/a.bin": b"x"}
    return make.docx("visible", body=picture + field, links=links, more=more)  # type: ignore[no-any-return]


def linked_odt(make: Any, url: str) -> dict[str, Any]:
    frame = f'<draw:frame svg:width="2cm" svg:height="2cm"><draw:image xlink:href="{url}" xlink:type="simple"/></draw:frame>'
    section = f'<text:section text:name="s"><text:section-source xlink:href="{url}"/><text:p>kept</text:p></text:section>'
    link = '<text:a xlink:href="https://good.example/">visible</text:a><text:a xlink:href="vnd.sun.star.script:x">y</text:a>'
    scripts = (
        '<office:scripts><office:event-listeners><script:event-listener script:event-name="dom:load" '
        'xlink:href="vnd.sun.star.script:Standard.M.Main?language=Basic&amp;location=document"/></office:event-listeners>'
        "</office:scripts>"
    )
    more = {"Basic/Standard/M.xml": BASIC, "Basic/script-lc.xml": "<a/>", "Scripts/python/a.py": "import os", "a.exe": b"MZ"}
    return make.odf("odt", f"<text:p>{frame}{link}</text:p>{section}", scripts=scripts, more=more)  # type: ignore[no-any-return]


def linked_xlsx(make: Any, url: str) -> dict[str, Any]:
    cells = (
        f'<row r="2"><c r="A2"><f>WEBSERVICE("{url}")</f><v>7</v></c><c r="B2"><f>SUM(A2)</f><v>7</v></c>'
        '<c r="C2"><f>cmd|\'/c calc\'!A0</f><v>8</v></c><c r="D2"><f>[1]Sheet!A1</f><v>9</v></c></row>'
    )
    links = make.relations(make.relation("r1", "worksheet", "worksheets/sheet1.xml"),
                           make.relation("x", "externalLink", "externalLinks/e.xml"))  # fmt: skip
    more = {"xl/_rels/workbook.xml.rels": links, "xl/externalLinks/e.xml": "<a/>", "xl/connections.xml": "<a/>"}
    return make.xlsx(["visible"], cells=cells, more=more)  # type: ignore[no-any-return]


MAKERS = {"docx": linked_docx, "odt": linked_odt, "xlsx": linked_xlsx}


def test_a_text_document_loses_what_fetches_and_what_runs(make: Any) -> None:
    """Linked pictures, templates, fields split over several runs, macros, foreign parts; text and links to follow stay."""
    members = package.read(package.cleaned(make.pack(linked_docx(make, "http://evil.example/")), "docx"))
    joined = b"".join(members.values()).decode()
    assert "evil.example" not in joined
    assert "vbaProject" not in joined
    assert {name for name in members if name.endswith((".bin", ".html"))} == set()
    for word in ("visible", ">kept<", ">also kept<", "https://good.example/"):
        assert word in joined


def test_an_open_document_loses_what_fetches_and_what_runs(make: Any) -> None:
    """Linked pictures and sections, event listeners, Basic and Python; text and links to follow stay."""
    members = package.read(package.cleaned(make.pack(linked_odt(make, "http://evil.example/")), "odt"))
    joined = b"".join(members.values()).decode()
    for word in ("evil.example", "vnd.sun.star", "event-listener", "Basic", "import os", "a.exe", "a.py"):
        assert word not in joined
    for word in ("visible", "kept", "https://good.example/"):
        assert word in joined
    assert zipfile.ZipFile(BytesIO(package.cleaned(make.pack(linked_odt(make, "x:")), "odt"))).namelist()[0] == "mimetype"


def test_a_workbook_loses_what_fetches_and_what_runs(make: Any) -> None:
    """Web queries, data exchange, other workbooks: their cells keep the last value; other formulas stay."""
    members = package.read(package.cleaned(make.pack(linked_xlsx(make, "http://evil.example/")), "xlsx"))
    joined = b"".join(members.values()).decode()
    for word in ("evil.example", "WEBSERVICE", "calc", "[1]", "externalLink", "connections"):
        assert word not in joined
    for word in ("visible", "SUM(A2)", ">7<", ">8<", ">9<"):
        assert word in joined


def test_a_document_with_macros_is_read_as_one_without(make: Any) -> None:
    """The type that says "with macros" goes with them."""
    members = make.docx("visible", more={"word/vbaProject.bin": b"x"})
    members["[Content_Types].xml"] = members["[Content_Types].xml"].replace(
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml",
        "application/vnd.ms-word.document.macroEnabled.main+xml",
    )
    assert "macroEnabled" in members["[Content_Types].xml"]
    cleaned = package.read(package.cleaned(make.pack(members), "docx"))
    assert b"macroEnabled" not in cleaned["[Content_Types].xml"]


# ------------------------------------------------------------------------------------- and what happens if it were not


@pytest.mark.parametrize("kind", MAKERS)
def test_nothing_is_fetched_for_a_document(kind: str, make: Any, office: Any, canary: Canary) -> None:
    """A real conversion, with a real listener that waits for it."""
    result = office(make.file(kind, MAKERS[kind](make, canary.url)), ("output", {"format": "pdf"}))
    assert result.data.startswith(b"%PDF-")


@pytest.mark.parametrize("kind", ["html", "doc"])
def test_nothing_is_fetched_where_nothing_is_taken_out(kind: str, office: Any, canary: Canary, make: Any) -> None:
    """The office itself has no network: a page, and a file of the old kind that is a page in truth, change nothing."""
    page = f'<html><body><p>visible</p><img src="{canary.url}"><link rel=stylesheet href="{canary.url}"></body></html>'
    media = MemoryFile(page.encode(), MIMETYPES[kind], f"a.{kind}")
    if kind == "doc":
        with pytest.raises(Corrupt):
            office(media, ("output", {"format": "pdf"}))
    else:
        assert office(media, ("output", {"format": "pdf"})).data.startswith(b"%PDF-")


# ------------------------------------------------------------------------------------------------------------ ZIP, XML


@pytest.mark.parametrize(
    "name", ["../evil.xml", "/etc/evil.xml", "word/../../evil.xml", "a\\..\\evil.xml", "C:/evil.xml", "x" * 300]
)
def test_members_that_point_outside_are_refused(name: str, make: Any) -> None:
    """Whatever is done with names later, these never get there."""
    with pytest.raises(Corrupt):
        package.cleaned(make.pack(make.docx("x", more={name: "<a/>"})), "docx")


def test_two_members_of_one_name_are_refused(make: Any) -> None:
    """Two readers could see two documents."""
    data = BytesIO(make.pack(make.docx("x")))
    with zipfile.ZipFile(data, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("word/document.xml", "<a/>")
    with pytest.raises(Corrupt):
        package.cleaned(data.getvalue(), "docx")


def test_a_bomb_is_stopped_while_it_unpacks(make: Any) -> None:
    """By what comes out, not by what is announced: one packed too well, one too large, one that lies about its size."""
    with pytest.raises(TooLarge):
        package.cleaned(make.pack(make.docx("x", more={"word/media/a.bmp": bytes(3_000_000)})), "docx")
    noise = bytes(range(256)) * 8
    slow = {f"word/media/{number}.bmp": (noise + bytes(80_000)) * 12 for number in range(210)}
    with pytest.raises(TooLarge):
        package.cleaned(make.pack(make.docx("x", more=slow)), "docx")
    data = bytearray(make.pack(make.docx("x", more={"word/media/a.bmp": bytes(3_000_000)})))
    for at in range(len(data) - 4):
        if data[at : at + 4] == struct.pack("<I", 3_000_000):
            data[at : at + 4] = struct.pack("<I", 10)
    with pytest.raises(SecureDeliveryError):
        package.cleaned(bytes(data), "docx")


def test_too_many_members_are_refused(make: Any) -> None:
    """Two thousand are a large presentation already."""
    with pytest.raises(TooLarge):
        package.cleaned(make.pack(make.docx("x", more={f"word/media/{n}.png": b"" for n in range(2_000)})), "docx")


@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("start", [DTD, LAUGHS], ids=["file", "laughs"])
@pytest.mark.parametrize("part", ["word/document.xml", "word/styles.xml", "docProps/core.xml", "word/_rels/document.xml.rels"])
def test_documents_that_declare_entities_are_refused(start: str, part: str, codec: str, make: Any) -> None:
    """In any part, in any encoding that a reader might take."""
    members = make.docx("x")
    members[part] = f"{start}<d>&x;</d>".encode(codec)
    with pytest.raises(Unsupported):
        package.cleaned(make.pack(members), "docx")


def test_xml_in_an_encoding_that_hides_things_is_refused(make: Any) -> None:
    """UTF-7 and EBCDIC have no place in office files."""
    for start in (
        b'<?xml version="1.0" encoding="UTF-7"?>+ADw-d/+AD4-',
        "<?xml version='1.0' encoding='cp037'?><d/>".encode("cp037"),
    ):
        members = make.docx("x") | {"word/styles.xml": start}
        with pytest.raises(Unsupported):
            package.cleaned(make.pack(members), "docx")


def test_flat_files_are_refused(make: Any, apply: Any) -> None:
    """One XML file that holds everything, macros too, is text here, and never reaches the office."""
    flat = b'<?xml version="1.0"?><office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"/>'
    result = apply(MemoryFile(flat, "application/xml", "a.fodt"), ("output", {"format": "txt"}))
    assert content(result) == flat
    with pytest.raises(Unsupported):
        apply(MemoryFile(flat, "application/xml", "a.fodt"), ("output", {"format": "docx"}))
    with pytest.raises(SecureDeliveryError):
        apply(make.file("odt", flat), ("output", {"format": "pdf"}))


# ----------------------------------------------------------------------------------------------------------- encrypted


def compound(names: dict[str, int], first: dict[int, bytes] | None = None, *, loop: bool = False) -> bytes:
    """A compound file with streams of these names that begin at these sectors."""
    header = bytearray(512)
    header[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    struct.pack_into("<HHH", header, 26, 3, 0xFFFE, 9)
    struct.pack_into("<I", header, 44, 1)
    struct.pack_into("<I", header, 48, 1)
    struct.pack_into("<109I", header, 76, 0, *[0xFFFFFFFF] * 108)
    table = struct.pack("<128I", 0xFFFFFFFD, 1 if loop else 0xFFFFFFFE, *[0xFFFFFFFE] * 126)
    directory = b""
    for name, start in {"Root Entry": 0xFFFFFFFE, **names}.items():
        entry = bytearray(128)
        spelled = name.encode("utf-16-le") + b"\0\0"
        entry[: len(spelled)] = spelled
        struct.pack_into("<HB", entry, 64, len(spelled), 5 if name == "Root Entry" else 2)
        struct.pack_into("<I", entry, 116, start)
        directory += bytes(entry)
    sectors = [table, directory.ljust(512, b"\0")] + [
        (first or {}).get(number, b"").ljust(512, b"\0") for number in range(2, 6)
    ]
    return bytes(header) + b"".join(sectors)


def test_compound_files_say_what_they_are() -> None:
    """By the names in their directory."""
    plain = b"\xec\xa5\xc1\x00" + bytes(20)
    assert ole.kind_of(compound({"WordDocument": 2}, {2: plain})) == "doc"
    assert ole.kind_of(compound({"Workbook": 2}, {2: struct.pack("<HH", 0x809, 16) + bytes(20)})) == "xls"
    assert ole.kind_of(compound({"PowerPoint Document": 2})) == "ppt"
    assert ole.kind_of(compound({"PowerPoint Document": 2}, loop=True)) == "ppt"
    with pytest.raises(Unsupported):
        ole.kind_of(compound({"__properties_version1.0": 2}))


@pytest.mark.parametrize(
    "data",
    [
        compound({"EncryptedPackage": 2, "EncryptionInfo": 3}),
        compound({"WordDocument": 2}, {2: b"\xec\xa5\xc1\x00" + bytes(6) + b"\x00\x01" + bytes(20)}),
        compound({"Workbook": 2}, {2: struct.pack("<HH", 0x809, 4) + bytes(4) + struct.pack("<HH", 0x2F, 4) + bytes(4)}),
        compound({"PowerPoint Document": 2, "EncryptedSummary": 3}),
    ],
    ids=["ooxml", "doc", "xls", "ppt"],
)
def test_encrypted_office_files_are_named_so(data: bytes, apply: Any) -> None:
    """Before the office is asked; as what they are and as what they pretend to be."""
    for mimetype in ("application/x-ole-storage", MIMETYPES["doc"], MIMETYPES["docx"]):
        with pytest.raises(Encrypted):
            apply(MemoryFile(data, mimetype, "a"), ("output", {"format": "pdf"}))


def test_encrypted_packages_are_named_so(make: Any, apply: Any) -> None:
    """OpenDocument says it in its manifest."""
    members = make.odf("odt", "<text:p>x</text:p>")
    members["META-INF/manifest.xml"] = members["META-INF/manifest.xml"].replace(
        "</m:manifest>", "<m:encryption-data/></m:manifest>"
    )
    with pytest.raises(Encrypted):
        apply(make.file("odt", members), ("output", {"format": "pdf"}))


@pytest.mark.parametrize("kind", ["pdf", "docx", "odt", "xlsx"])
def test_a_truncated_file_ends_in_a_fault_or_a_result(kind: str, make: Any, apply: Any) -> None:
    """Cut at any eighth."""
    whole = {
        "pdf": make.pdf("x"),
        "docx": make.pack(make.docx("x")),
        "odt": make.pack(make.odf("odt", "")),
        "xlsx": make.pack(make.xlsx()),
    }
    for part in range(8):
        data = whole[kind][: len(whole[kind]) * part // 8]
        with pytest.raises(SecureDeliveryError) if kind != "pdf" else Either():
            apply(make.file(kind, data), ("preview", {}))


class Either:
    """A fault of the tree, or none."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        return kind is None or issubclass(kind, SecureDeliveryError)
