"""Office files that are ZIP files: read within limits, and written again without what acts or fetches.

Knows: ZIP, the parts of Office Open XML and OpenDocument that run or load something. Must not know: programs, how
documents look.

This is the second line. The first is where the office works: without a network, in a folder of its own. So what is taken
out here is what could ever do something: macros, scripts, event listeners, links to pictures, tables and templates outside,
embedded programs, web queries, dynamic data exchange. Links that a reader may follow stay.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from io import BytesIO
from typing import Any

from lxml import etree

from secure_delivery.plugin import Corrupt, TooLarge, Unsupported

from .faults import encrypted, faults
from .kinds import MIMETYPES, OPEN_DOCUMENTS
from .odf import zipped

MOST_MEMBERS = 2_000
MOST_BYTES = 200_000_000  # of all members unpacked
_MOST_RATIO = 200  # unpacked by packed, of members over the size below
_RATIO_FROM = 1_000_000
_PIECE = 1 << 18

_KEPT = re.compile(
    r"(?:mimetype|\[Content_Types\]\.xml|.*\.(?:xml|rels|rdf|png|jpe?g|gif|bmp|tiff?|emf|wmf|wdp|odttf|fntdata|ttf|otf|svm))",
    re.IGNORECASE,
)
_DROPPED = re.compile(
    r"(?:.*/)?(?:activeX|embeddings|externalLinks|customUI|webextensions|queryTables|ctrlProps|macrosheets|dialogsheets"
    r"|Basic|Scripts|Dialogs|Configurations2|Thumbnails)/.*"
    r"|.*(?:vbaData|connections|attachedToolbars)\.xml",
    re.IGNORECASE,
)
_ENCODING = re.compile(rb"<\?xml[^>]{0,200}encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_ENCODINGS = (b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"utf-16", b"utf-16le", b"utf-16be")
_DECLARED = ("<!DOCTYPE", "<!ENTITY", "<!doctype", "<!entity")
_MACRO_TYPES = re.compile(r"application/vnd\.ms-(word|excel|powerpoint)\.[a-z]+\.macroEnabled(?:Template)?\.main\+xml", re.I)
_MAIN = {
    "word": "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml",
    "excel": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml",
    "powerpoint": "application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml",
}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:|/|\\|\.\./\.\.", re.IGNORECASE)
_FETCHING = re.compile(r"\b(?:INCLUDE(?:PICTURE|TEXT)?|IMPORT|DDE(?:AUTO)?|LINK|DATABASE|RD|MACROBUTTON|EMBED)\b", re.I)
_CALLING = re.compile(r"WEBSERVICE|FILTERXML|RTD\s*\(|DDE\s*\(|CALL\s*\(|REGISTER|\|\s*'|\[\d+\]|https?:|file:", re.I)
_XLINK = "{http://www.w3.org/1999/xlink}href"
_FOLLOWED = frozenset({"a"})  # elements whose address is only ever followed by a reader
_ODF_DROPPED = frozenset(
    [
        "scripts",
        "script",
        "event-listeners",
        "event-listener",
        "dde-source",
        "dde-connection-decls",
        "dde-connection",
        "section-source",
        "table-source",
        "cell-range-source",
        "database-source-sql",
        "database-source-table",
        "database-source-query",
        "applet",
        "plugin",
        "floating-frame",
        "connection-resource",
        "dde-links",
        "dde-link",
        "forms",
    ]
)


def read(data: bytes) -> dict[str, bytes]:
    """All members by name. Raises `TooLarge` over the limits, `Encrypted`, `Corrupt` for bad names."""
    with faults("zip"), zipfile.ZipFile(BytesIO(data)) as archive:
        infos = archive.infolist()
        if len(infos) > MOST_MEMBERS:
            raise TooLarge(f"{len(infos)} members", public=f"The document has more than {MOST_MEMBERS} parts.")
        members: dict[str, bytes] = {}
        left = MOST_BYTES
        for info in infos:
            _check_name(info.filename)
            if info.is_dir():
                continue
            if info.filename in members:
                raise Corrupt("zip: two members of one name")
            if info.flag_bits & 0x1:
                raise encrypted()
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise Unsupported(f"zip: method {info.compress_type}", public="The document is packed in an unusual way.")
            members[info.filename] = _inflated(archive, info, left)
            left -= len(members[info.filename])
        return members


def _check_name(name: str) -> None:
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or ":" in parts[0] or ".." in parts or "\0" in name or len(name) > 255:
        raise Corrupt("zip: a member that points outside")


def _inflated(archive: zipfile.ZipFile, info: zipfile.ZipInfo, left: int) -> bytes:
    """The bytes of a member, counted while they come: what the directory says of its size is not believed."""
    parts, size = [], 0
    try:
        with archive.open(info) as stream:
            while piece := stream.read(_PIECE):
                size += len(piece)
                if size > left:
                    raise TooLarge(f"over {MOST_BYTES} bytes unpacked", public="The document is too large when unpacked.")
                if size > _RATIO_FROM and size > _MOST_RATIO * max(1, info.compress_size):
                    raise TooLarge("zip: packed too well", public="The document is too large when unpacked.")
                parts.append(piece)
    except (zlib.error, struct.error, EOFError) as error:
        raise Corrupt(f"zip: {error}") from error
    return b"".join(parts)


def piece(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """One member of at most so many bytes. Raises `Encrypted`, `Unsupported`, `Corrupt`, `TooLarge`."""
    info = archive.getinfo(name)
    if info.flag_bits & 0x1:
        raise encrypted()
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unsupported(f"zip: method {info.compress_type}", public="The document is packed in an unusual way.")
    return _inflated(archive, info, most)


def kind_of(data: bytes) -> str:
    """What a ZIP file is that did not say so in its first bytes. Raises `Unsupported` when it is no document."""
    with faults("zip"), zipfile.ZipFile(BytesIO(data)) as archive:
        names = set(archive.namelist()[: MOST_MEMBERS + 1])
        if "mimetype" in names and "content.xml" in names:
            said = piece(archive, "mimetype", 200).strip().removesuffix(b"-template")
            for kind in OPEN_DOCUMENTS:
                if said == MIMETYPES[kind].encode():
                    return kind
    for kind, main in {"docx": "word/document.xml", "xlsx": "xl/workbook.xml", "pptx": "ppt/presentation.xml"}.items():
        if main in names and "[Content_Types].xml" in names:
            return kind
    raise Unsupported("zip without a document", public="This ZIP file is no document.")


def cleaned(data: bytes, kind: str) -> bytes:
    """The document without anything that acts or fetches. Raises `Encrypted`, `Unsupported`, `Corrupt`, `TooLarge`."""
    members = read(data)
    clean = _open_document if kind in OPEN_DOCUMENTS else _open_xml
    with faults(kind):
        kept = {name: content for name, content in members.items() if _KEPT.fullmatch(name) and not _DROPPED.fullmatch(name)}
        for name, content in kept.items():
            if name.lower().endswith((".xml", ".rels", ".rdf")):
                check_xml(content)
        result = clean(kept, kind)
    return zipped(result.items(), stored=("mimetype",))


# ----------------------------------------------------------------------------------------------------------------- XML


def check_xml(content: bytes) -> None:
    """Raise `Unsupported` for XML that declares a document type or entities, or hides that in an unusual encoding."""
    head = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:400]
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:4]
    named = _ENCODING.match(head)
    if (named and named[1].lower() not in _ENCODINGS) or not (wide or head[:1] in (b"<", b"")):
        raise Unsupported("xml: encoding", public="The document holds XML in an unusual encoding.")
    codecs = ("ascii", "utf-16-le", "utf-16-be") if wide else ("ascii",)
    if any(word.encode(codec) in content for word in _DECLARED for codec in codecs):
        raise Unsupported("xml: declares entities", public="The document holds XML with a document type.")


def parsed(content: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_pis=True)
    return etree.fromstring(content, parser)


def _serialised(root: etree._Element) -> bytes:
    data: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)
    return data


def _local(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _remove(element: etree._Element) -> None:
    """Take an element out; the text behind it stays."""
    parent = element.getparent()
    if parent is None:
        return
    if element.tail:
        before = element.getprevious()
        if before is None:
            parent.text = (parent.text or "") + element.tail
        else:
            before.tail = (before.tail or "") + element.tail
    parent.remove(element)


# ----------------------------------------------------------------------------------------------------- Office Open XML


def _open_xml(members: dict[str, bytes], kind: str) -> dict[str, bytes]:
    if "[Content_Types].xml" not in members:
        raise Corrupt("no content types")
    names = set(members)
    result = {}
    for name, content in members.items():
        if name == "[Content_Types].xml":
            content = _content_types(content)
        elif name.endswith(".rels"):
            content = _relationships(content, name, names)
        elif kind == "docx" and name.startswith("word/") and b"instr" in content:
            content = _fields(content)
        elif kind == "xlsx" and name.startswith("xl/worksheets/") and name.endswith(".xml"):
            content = _formulas(content)
        elif name == "xl/workbook.xml":
            content = _names(content)
        result[name] = content
    return result


def _content_types(content: bytes) -> bytes:
    root = parsed(content)
    for element in list(root):
        mimetype = element.get("ContentType", "")
        macro = _MACRO_TYPES.fullmatch(mimetype)
        if macro:
            element.set("ContentType", _MAIN[macro[1].lower()])
        elif "vba" in mimetype.lower() or "activex" in mimetype.lower():
            root.remove(element)
    return _serialised(root)


def _relationships(content: bytes, name: str, names: set[str]) -> bytes:
    """Relations to parts that are still there; of those that lead outside, only links that a reader follows."""
    root = parsed(content)
    folder = name.rpartition("_rels/")[0]
    for element in list(root):
        target, external = element.get("Target", ""), element.get("TargetMode", "").lower() == "external"
        link = element.get("Type", "").endswith("/hyperlink")
        web = target.lower().startswith(("http://", "https://", "mailto:"))
        if external or _SCHEME.match(target.removeprefix("/")):
            if not (link and web):
                root.remove(element)
        elif not link and _joined(folder, target) not in names:
            root.remove(element)
    return _serialised(root)


def _joined(folder: str, target: str) -> str:
    path = target[1:] if target.startswith("/") else folder + target
    parts: list[str] = []
    for part in path.partition("#")[0].split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _fields(content: bytes) -> bytes:
    """Fields of a text document that fetch something keep their last result and lose their instruction.

    Word splits an instruction over as many runs as it likes, so it is judged when all of it has been seen.
    """
    root = parsed(content)
    open_fields: list[list[etree._Element]] = []
    for element in root.iter():
        name = _local(element)
        if name == "fldSimple":
            for key, value in element.attrib.items():
                if key.endswith("instr") and _FETCHING.search(value):
                    element.set(key, "")
        elif name == "fldChar":
            state = next((value for key, value in element.attrib.items() if key.endswith("fldCharType")), "")
            if state == "begin":
                open_fields.append([])
            elif open_fields and state == "separate":
                _judge(open_fields[-1])
            elif open_fields and state == "end":
                _judge(open_fields.pop())
        elif name in ("instrText", "delInstrText"):
            if open_fields:
                open_fields[-1].append(element)
            else:
                element.text = ""
    for rest in open_fields:
        for element in rest:
            element.text = ""
    return _serialised(root)


def _judge(pieces: list[etree._Element]) -> None:
    if _FETCHING.search("".join(piece.text or "" for piece in pieces)):
        for piece in pieces:
            piece.text = ""


def _formulas(content: bytes) -> bytes:
    """Cells whose formula reaches outside keep the value they had."""
    if not _CALLING.search(content.decode("utf-8", "replace")):
        return content
    root = parsed(content)
    for element in list(root.iter("{*}f")):
        if _CALLING.search(element.text or ""):
            _remove(element)
    return _serialised(root)


def _names(content: bytes) -> bytes:
    root = parsed(content)
    for element in list(root.iter("{*}definedName")):
        if _CALLING.search(element.text or ""):
            _remove(element)
    for element in list(root.iter("{*}externalReferences")):
        _remove(element)
    return _serialised(root)


# -------------------------------------------------------------------------------------------------------- OpenDocument


def _open_document(members: dict[str, bytes], kind: str) -> dict[str, bytes]:
    wanted = MIMETYPES[kind].encode()
    if members.get("mimetype", wanted).strip() not in (wanted, wanted + b"-template") or "content.xml" not in members:
        raise Corrupt("not the kind of document it says")
    manifest = members.get("META-INF/manifest.xml", b"")
    if b"encryption-data" in manifest:
        raise encrypted()
    result = {"mimetype": wanted}
    for name, content in members.items():
        if name.endswith((".xml", ".rdf")) and not name.startswith("META-INF/"):
            content = _without_links(content)
        if name == "META-INF/manifest.xml":
            content = _manifest(content, set(members))
        if name != "mimetype":
            result[name] = content
    return result


def _without_links(content: bytes) -> bytes:
    root = parsed(content)
    for element in list(root.iter()):
        name = _local(element)
        if name in _ODF_DROPPED:
            _remove(element)
            continue
        target = element.get(_XLINK)
        if target is not None and not _stays(name, target):
            del element.attrib[_XLINK]
        for key, value in list(element.attrib.items()):
            if key.endswith("}formula") and _CALLING.search(value):
                del element.attrib[key]
    return _serialised(root)


def _stays(element: str, target: str) -> bool:
    """Whether an address may stay: one inside the document, or one that only a reader follows."""
    if element in _FOLLOWED:
        return target.lower().startswith(("http://", "https://", "mailto:", "#"))
    return not _SCHEME.match(target) and ".." not in target


def _manifest(content: bytes, names: set[str]) -> bytes:
    root = parsed(content)
    for element in list(root):
        path = next((value for key, value in element.attrib.items() if key.endswith("full-path")), "")
        if path != "/" and not path.endswith("/") and path not in names:
            root.remove(element)
    return _serialised(root)
