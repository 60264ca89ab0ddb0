"""What office documents say of themselves: title, people, dates, counts. Office Open XML, OpenDocument, compound files.

Knows: where each kind of file keeps its properties. Must not know: PDF, privacy (see `describing`), programs.

Members of ZIP files are read within limits, XML with a document type is refused, and of the body of a document only its first
megabytes are looked through for the size of its pages. Every text is cut.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from datetime import datetime
from io import BytesIO
from typing import Any

from secure_delivery.plugin import Corrupt, SecureDeliveryError

from . import package, propset
from .faults import encrypted, faults
from .kinds import MIMETYPES, OPEN_DOCUMENTS

MOST_COUNTED = 1_000_000_000
_TEXT = 2_000  # characters of a property
_MEMBER = 4_000_000  # bytes of a member that holds properties
_BODY = 50_000_000  # of a member that is looked through for a word or two
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d))?)?(?:[.,]\d+)?(Z|[+-]\d\d:?\d\d)?")
_CORE = {
    "title": "title",
    "creator": "author",
    "subject": "subject",
    "keywords": "keywords",
    "lastModifiedBy": "last_author",
    "created": "created",
    "modified": "modified",
}
_APP = {
    "Application": "producer",
    "Company": "company",
    "Pages": "pages",
    "Slides": "pages",
    "Words": "words",
    "Characters": "characters",
}
_META = {
    "title": "title",
    "initial-creator": "author",
    "creator": "last_author",
    "subject": "subject",
    "creation-date": "created",
    "date": "modified",
    "generator": "producer",
}
_STATISTICS = {"page-count": "pages", "word-count": "words", "character-count": "characters"}
_LENGTH = re.compile(r"([0-9.]{1,12})(pt|cm|mm|in|pc|px)")
_POINTS = {"pt": 1.0, "cm": 72 / 2.54, "mm": 72 / 25.4, "in": 72.0, "pc": 12.0, "px": 0.75}
_WORD_PAGE = re.compile(rb"<w:pgSz ([^<>]{1,300})>")
_SHOW_PAGE = re.compile(rb"<p:sldSz ([^<>]{1,300})>")
_OPEN_PAGE = re.compile(rb"<style:page-layout-properties ([^<>]{1,2000})>")


def clean(value: object, most: int = _TEXT) -> str:
    """A text as results may have it: one line or more, no control characters, cut."""
    return _CONTROLS.sub("", str(value)[: most * 2].replace("\r\n", "\n").replace("\r", "\n")).strip()[:most]


def moment(text: object) -> str:
    """A point in time as ISO 8601 has it, with its zone where one is told; "" when it is none."""
    match = _DATE.match(str(text).strip())
    if match is None:
        return ""
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    try:
        told = datetime(year, month, day, hour, minute, min(second, 59)).isoformat()  # noqa: DTZ001 - the zone is kept beside it
    except ValueError:
        return ""
    return told + (match[7] or "")


def stated_pages(data: bytes, kind: str) -> int:
    """How many pages or slides a document says it has; 0 when it does not say, or cannot be read. Raises `Encrypted`."""
    try:
        return int(of(data, kind, body=False).get("pages", 0))
    except SecureDeliveryError as error:
        if error.code == "encrypted":
            raise
        return 0


def of(data: bytes, kind: str, *, body: bool = True) -> dict[str, Any]:
    """The properties of an office document: texts, numbers, `page_size`; what it does not say is not there.

    `body`: look into the body, too, for page sizes and sheets. Raises `Encrypted`, `Corrupt`, `TooLarge`, `Unsupported`.
    """
    with faults(kind):
        if kind in ("doc", "xls", "ppt"):
            return _tidy(propset.read(data))
        with zipfile.ZipFile(BytesIO(data)) as archive:
            if len(archive.infolist()) > package.MOST_MEMBERS:
                raise Corrupt("too many members")
            members = _Members(archive)
            return _open_document(members, kind, body) if kind in OPEN_DOCUMENTS else _open_xml(members, kind, body)


class _Members:
    """Members of a document by name; one that is not there is empty."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._names = set(archive.namelist())

    def read(self, name: str, most: int = _MEMBER) -> bytes:
        return package.piece(self._archive, name, most) if name in self._names else b""

    def xml(self, name: str) -> Any:
        content = self.read(name)
        if not content.strip():
            return ()
        package.check_xml(content)
        return package.parsed(content)


def _taken(elements: Any, names: Mapping[str, str]) -> dict[str, Any]:
    """Texts of elements by what we call them; numbers of pages and the like as numbers."""
    found: dict[str, Any] = {}
    for element in elements:
        name = names.get(element.tag.rpartition("}")[2]) if isinstance(element.tag, str) else None
        if name is not None and element.text:
            found.setdefault(name, element.text)
    return _tidy(found)


def _tidy(found: Mapping[str, Any]) -> dict[str, Any]:
    tidy: dict[str, Any] = {}
    for name, value in found.items():
        if name in ("pages", "words", "characters", "sheets"):
            text = str(value).strip()
            if text.isascii() and text.isdigit() and len(text) < 10:
                tidy[name] = min(int(text), MOST_COUNTED)
        elif name in ("created", "modified"):
            if told := moment(value):
                tidy[name] = told
        elif told := clean(value):
            tidy[name] = told
    return tidy


# ----------------------------------------------------------------------------------------------------- Office Open XML


def _open_xml(members: _Members, kind: str, body: bool) -> dict[str, Any]:
    found = _taken(members.xml("docProps/app.xml"), _APP)
    if kind == "pptx":
        hidden = _taken(members.xml("docProps/app.xml"), {"HiddenSlides": "pages"}).get("pages", 0)
        found["pages"] = max(0, found.get("pages", 0) - hidden)  # which are not drawn
    elif kind == "docx" and not found.get("words"):
        found.pop("pages", None)  # a library's template says: one page, no words
    found = {name: value for name, value in found.items() if value != 0}
    found |= _taken(members.xml("docProps/core.xml"), _CORE)
    if body:
        found |= _open_xml_body(members, kind)
    return found


def _open_xml_body(members: _Members, kind: str) -> dict[str, Any]:
    if kind == "xlsx":
        count = members.read("xl/workbook.xml").count(b"<sheet ")
        return {"sheets": count} if count else {}
    name, pattern, keys, unit = {
        "docx": ("word/document.xml", _WORD_PAGE, ("w:w", "w:h"), 20),
        "pptx": ("ppt/presentation.xml", _SHOW_PAGE, ("cx", "cy"), 12_700),
    }[kind]
    match = pattern.search(members.read(name, _BODY))
    sides = [_attribute(match[1], key) for key in keys] if match else []
    if not all(side.isascii() and side.isdigit() and len(side) < 10 for side in sides):
        return {}
    return _page_size([int(side) / unit for side in sides])


def _attribute(text: bytes, name: str) -> str:
    match = re.search(rf'(?:^|\s){re.escape(name)}="([^"]{{1,40}})"', text.decode("utf-8", "replace"))
    return match[1] if match else ""


def _page_size(sides: list[float]) -> dict[str, Any]:
    if len(sides) != 2 or not all(1 <= side <= 100_000 for side in sides):
        return {}
    return {"page_size": {"width": round(sides[0], 2), "height": round(sides[1], 2)}}


# -------------------------------------------------------------------------------------------------------- OpenDocument


def _open_document(members: _Members, kind: str, body: bool) -> dict[str, Any]:
    if b"encryption-data" in members.read("META-INF/manifest.xml"):
        raise encrypted()
    root = members.xml("meta.xml")
    elements = [element for part in root for element in part]
    found = _taken(elements, _META)
    words = [clean(element.text or "", 200) for element in elements if str(element.tag).endswith("}keyword")]
    if any(words):
        found["keywords"] = clean(", ".join(word for word in words[:100] if word))
    for element in elements:
        if str(element.tag).endswith("}document-statistic"):
            named = {_STATISTICS.get(key.rpartition("}")[2], ""): value for key, value in element.attrib.items()}
            found |= {name: value for name, value in _tidy(named).items() if name in _STATISTICS.values()}
    if kind == "odp" and (body or "pages" not in found):
        found["pages"] = members.read("content.xml", _BODY).count(b"<draw:page ")
    elif kind == "ods" and body:
        found["sheets"] = members.read("content.xml", _BODY).count(b"<table:table ")
    if body:
        match = _OPEN_PAGE.search(members.read("styles.xml", _BODY))
        lengths = [_LENGTH.fullmatch(_attribute(match[1], f"fo:page-{side}")) for side in ("width", "height")] if match else []
        found |= _page_size([float(one[1].strip(".")) * _POINTS[one[2]] for one in lengths if one and one[1].count(".") < 2])
    return {name: value for name, value in found.items() if value}


TYPES = {MIMETYPES[kind]: kind for kind in ("doc", "docx", "xls", "xlsx", "ppt", "pptx", *OPEN_DOCUMENTS)}
