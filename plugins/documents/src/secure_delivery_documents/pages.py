"""What the previewers of this plugin do, in a worker: pages of PDF as pictures, and how other documents come to be PDF.

Knows: which part of this plugin reads what. Must not know: how programs are run, what is made of the pictures.
"""

from __future__ import annotations

import base64
import binascii
import re
import zipfile
from collections.abc import Iterator
from io import BytesIO

from secure_delivery.plugin import Corrupt, MemoryFile, Page, Unsupported, Work
from secure_delivery_images import Picture

from . import office, ole, package, pdf, plain, properties
from .faults import data_of, faults
from .kinds import MIMETYPES, OFFICE, SHOWS, WORDS, ZIPPED

_LONG = 20  # pages from which a span costs less than the whole: below, the office spends its time on starting
_TABLE_LINES = 5_000  # of a table as text: some hundred pages
_TABLE_LETTERS = 2_000_000
_THUMBNAIL = 20_000_000  # bytes of one
_XMP = re.compile(rb"<xmpGImg:image>([A-Za-z0-9+/=\s&#x;]{100,4000000}?)</xmpGImg:image>")
_NO_PDF = "saved without PDF"  # the sentence on the only page of a drawing that holds no PDF of itself
_THUMBNAILS = {
    "Thumbnails/thumbnail.png": "image/png",
    "docProps/thumbnail.jpeg": "image/jpeg",
    "docProps/thumbnail.jpg": "image/jpeg",
    "docProps/thumbnail.png": "image/png",
    "preview.jpg": "image/jpeg",  # of Pages, Numbers and Keynote
    "QuickLook/Thumbnail.jpg": "image/jpeg",
}


def drawn(data: bytes, work: Work, *, first: int = 1, total: int = 0) -> Iterator[Page]:
    """The wanted pages of a PDF. `first` is the number of its first page, of `total` of the document (0: all are in it)."""
    with pdf.opened(data, work.limits) as pages:
        total = total or pages.count
        for number in work.pages(total):
            at = number - first
            if not 0 <= at < pages.count:
                break
            image = pages.picture(at, pages.within(at, work.size))
            picture = Picture.drawn(image, filename=work.media.filename, limits=work.limits)
            yield Page(number=number, media=picture, total=total)


# ---------------------------------------------------------------------------------------------------- PDF, Illustrator


def of_pdf(work: Work) -> Iterator[Page]:
    """Raises `Encrypted`, `Corrupt`, `TooLarge`, `ProcessingLimit`."""
    yield from drawn(data_of(work.media, work.limits), work)


def of_illustrator(work: Work) -> Iterator[Page]:
    """The PDF inside where it shows the drawing, else the thumbnail. Raises `Unsupported` when there is neither."""
    data = data_of(work.media, work.limits)
    if b"%PDF-" in data[:1024] and _shows_itself(data, work):
        yield from drawn(data, work)
        return
    found = _XMP.search(data)
    if found is None:
        raise Unsupported("no PDF and no thumbnail", public="This drawing holds no picture of itself.")
    with faults("thumbnail"):
        try:
            picture = base64.b64decode(found[1].replace(b"&#xA;", b""), validate=False)
        except binascii.Error as error:
            raise Corrupt(f"thumbnail: {error}") from error
    if not picture.startswith(b"\xff\xd8\xff"):
        raise Unsupported("a thumbnail that is no JPEG", public="This drawing holds no picture of itself.")
    yield from _only(work, MemoryFile(picture, "image/jpeg", "thumbnail.jpg"))


def _shows_itself(data: bytes, work: Work) -> bool:
    with pdf.opened(data, work.limits) as pages:
        return pages.count > 1 or _NO_PDF not in " ".join(pages.text(0).split())


def _only(work: Work, picture: MemoryFile, total: int = 1) -> Iterator[Page]:
    """A picture of the first page, where that is wanted."""
    wanted = work.pages(total)
    if not wanted:
        return
    if wanted[0] != 1:
        raise Unsupported("only the first page", public="Only the first page of this file can be shown.")
    yield Page(number=1, media=Picture.taken(picture, work.shop), total=total)


# -------------------------------------------------------------------------------------------------------------- office


def of_office(work: Work) -> Iterator[Page]:
    """By way of PDF. Raises `Unsupported` without LibreOffice, `Encrypted`, `Corrupt`, `TooLarge`, `ProcessingLimit`."""
    data = data_of(work.media, work.limits)
    kind = kind_of(work, data)
    if kind == "csv":
        text, mark = _table(data)
        yield from drawn(office.table(text, mark, work.shop), work)
        return
    span = _span(work, data, kind)
    if span is not None:
        first, last, total = span
        made = _some(data, kind, first, last, work)
        if made is not None:
            yield from drawn(made, work, first=first, total=total)
            return
    yield from drawn(office.converted(data, kind, "pdf", work.shop), work)


def kind_of(work: Work, data: bytes) -> str:
    """What an office document is, by its content first. Raises `Unsupported` when it is none, `Encrypted`."""
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        return ole.kind_of(data)
    if data.startswith(b"PK"):
        said = next((kind for kind in ZIPPED if MIMETYPES[kind] == work.media.mimetype), None)
        return said or package.kind_of(data)
    if data.startswith(b"{\\rtf"):
        return "rtf"
    named = work.media.filename.lower().endswith((".csv", ".tsv", ".tab"))
    if (named or work.media.mimetype in ("text/csv", "text/tab-separated-values")) and b"\0\0" not in data[:4096]:
        return "csv"
    raise Unsupported(work.media.mimetype, public="This file is no office document.")


def _span(work: Work, data: bytes, kind: str) -> tuple[int, int, int] | None:
    """First and last of the wanted pages and the number of all, where making these alone is worth it."""
    if kind not in (*WORDS, *SHOWS):
        return None
    stated = properties.stated_pages(data, kind)
    if not _LONG <= stated <= office.MOST_PAGES:
        return None
    numbers = work.pages(stated)
    if not numbers or numbers[-1] - numbers[0] + 1 > stated // 2:
        return None
    return numbers[0], numbers[-1], stated


def _some(data: bytes, kind: str, first: int, last: int, work: Work) -> bytes | None:
    """A span of pages as PDF, or None when it is not there: what a document says of its length may be wrong."""
    try:
        made = office.pages(data, kind, first, last, work.shop)
    except Corrupt:
        return None
    with pdf.opened(made, work.limits) as pages:
        return made if pages.count == last - first + 1 else None


def _table(data: bytes) -> tuple[str, str]:
    """The beginning of a table as text, and what keeps its cells apart."""
    text = plain.decoded(data[: 4 * _TABLE_LETTERS])[:_TABLE_LETTERS]
    lines = text.split("\n", _TABLE_LINES)[:_TABLE_LINES]
    head = lines[:20]
    mark = max(",;\t|", key=lambda sign: sum(min(line.count(sign), 200) for line in head))
    return "\n".join(line[:20_000] for line in lines), mark


def of_thumbnail(work: Work) -> Iterator[Page]:
    """Raises `Unsupported` when there is none, or another page is wanted; `Encrypted`, `Corrupt`, `TooLarge`."""
    data = data_of(work.media, work.limits)
    if not data.startswith(b"PK"):
        raise Unsupported("no ZIP file", public="This document holds no picture of itself.")
    with faults("zip"), zipfile.ZipFile(BytesIO(data)) as archive:
        names = set(archive.namelist())
        name = next((name for name in _THUMBNAILS if name in names), None)
        if name is None:
            raise Unsupported("no thumbnail", public="This document holds no picture of itself.")
        content = package.piece(archive, name, _THUMBNAIL)
        kind = next((kind for kind in OFFICE if MIMETYPES[kind] == work.media.mimetype), "")
    stated = properties.stated_pages(data, kind) if kind in ZIPPED else 1
    yield from _only(work, MemoryFile(content, _THUMBNAILS[name], name.rpartition("/")[2]), max(1, stated))
