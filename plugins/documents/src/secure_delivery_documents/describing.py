"""The section `document`: what a document says of itself.

Knows: PDF by PDFium, office documents by `properties`, which facts tell about people. Must not know: hooks, pages as pictures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from secure_delivery.plugin import Encrypted, Unsupported, Work

from . import ole, package, pdf, properties
from .faults import data_of

_MOST_READ = 100  # pages of a PDF whose words are counted; of a longer one they are not told
_PDF_DATE = re.compile(r"(?:D:)?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?\s*(Z|[+-]\d\d)?'?(\d\d)?")
_NAMES = {"Title": "title", "Author": "author", "Subject": "subject", "Keywords": "keywords", "Creator": "creator"}

#: What a section says of people, and of the programs they use, and the profiles under which it does. The rest is always said.
_AUTHOR = frozenset({"copyright", "no_location", "all"})
_PEOPLE = frozenset({"no_location", "all"})
_GUARDED: Mapping[str, frozenset[str]] = {
    "author": _AUTHOR,
    "last_author": _PEOPLE,
    "company": _PEOPLE,
    "creator": _PEOPLE,
    "producer": _PEOPLE,
}


def document(work: Work) -> dict[str, Any] | None:
    """The section. Raises `Corrupt`, `TooLarge`, `ProcessingLimit`; for an encrypted document it says no more than that."""
    data = data_of(work.media, work.limits)
    try:
        found = _found(data, work)
    except Encrypted:
        kind = "pdf" if b"%PDF-" in data[:1024] else properties.TYPES.get(work.media.mimetype)
        return {"type": kind, "encrypted": True}
    if found is None:
        return None
    allowed = {name: value for name, value in found.items() if work.shop.metadata in _GUARDED.get(name, (work.shop.metadata,))}
    return {"encrypted": False, **allowed}


def _found(data: bytes, work: Work) -> dict[str, Any] | None:
    if b"%PDF-" in data[:1024]:
        return {"type": "pdf", **_pdf(data, work)}
    try:
        kind = _kind(data, work)
    except Unsupported as error:
        if isinstance(error, Encrypted):
            raise
        return None
    return {"type": kind, **properties.of(data, kind)}


def _kind(data: bytes, work: Work) -> str:
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        return ole.kind_of(data)
    said = properties.TYPES.get(work.media.mimetype)
    return said if said not in (None, "doc", "xls", "ppt") else package.kind_of(data)


def _pdf(data: bytes, work: Work) -> dict[str, Any]:
    with pdf.opened(data, work.limits) as pages:
        raw = pages.information()
        found: dict[str, Any] = {name: properties.clean(raw.get(key, "")) for key, name in _NAMES.items()}
        found["producer"] = properties.clean(raw.get("Producer", ""))
        found["created"], found["modified"] = _moment(raw.get("CreationDate", "")), _moment(raw.get("ModDate", ""))
        found["version"] = pages.version()
        found["pages"] = pages.count
        width, height = pages.size(0)
        found["page_size"] = {"width": round(width, 2), "height": round(height, 2)}
        if pages.count <= _MOST_READ:
            found["words"] = sum(len(pages.text(number).split()) for number in range(pages.count))
        found["protected"] = pages.protected()
    return {name: value for name, value in found.items() if value != ""}


def _moment(text: str) -> str:
    """A date of PDF (ISO 32000-1, 7.9.4) as ISO 8601 has it."""
    match = _PDF_DATE.match(text.strip())
    if match is None:
        return ""
    year, month, day, hour, minute, second = (part or other for part, other in zip(match.groups()[:6], "011000", strict=True))
    zone = match[7] or ""
    if zone not in ("", "Z"):
        zone += f":{match[8] or '00'}"
    return properties.moment(f"{year}-{month:0>2}-{day:0>2}T{hour:0>2}:{minute:0>2}:{second:0>2}{zone}")
