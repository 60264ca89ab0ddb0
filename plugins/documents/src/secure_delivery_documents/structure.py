"""The structure of PDF files: pages chosen, joined, put on other paper; facts about them. All by qpdf.

Knows: pikepdf. Must not know: options of tasks, how pages look (see `pdf`).

What leaves here carries no scripts, no actions that start or fetch something, no attached files and no XFA form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import pikepdf
from pikepdf import Name, Pdf

from secure_delivery.plugin import Corrupt, TooLarge

from .faults import encrypted, faults
from .options import sheet
from .pdf import MOST_PAGES

_HARMLESS = ("/GoTo", "/URI", "/Named")  # what a link may do: go to a page, be followed by the reader's own choice
_DATES = ("/CreationDate", "/ModDate")


@contextmanager
def opened(data: bytes) -> Iterator[Pdf]:
    """A file to be worked on. Raises `Encrypted` when it needs a password, `TooLarge`, `Corrupt`."""
    with faults("pdf"):
        try:
            document = pikepdf.open(BytesIO(data), suppress_warnings=True)
        except pikepdf.PasswordError as error:
            raise encrypted() from error
        with document:
            if not len(document.pages):
                raise Corrupt("pdf: no pages")
            if len(document.pages) > MOST_PAGES:
                raise TooLarge(f"{len(document.pages)} pages", public=f"Documents may have at most {MOST_PAGES} pages.")
            yield document


def written(document: Pdf, *, compress: bool = False, metadata: bool = False, dates: bool = True) -> bytes:
    """The bytes of a file: the same for the same content. Without `metadata`, nothing says who made it, with what."""
    _disarm(document)
    if not metadata:
        for holder, key in ((document.trailer, "/Info"), (document.Root, "/Metadata")):
            if key in holder:
                del holder[key]
    elif not dates:
        for key in _DATES:
            if key in document.docinfo:
                del document.docinfo[key]
    out = BytesIO()
    document.remove_unreferenced_resources()
    document.save(
        out,
        deterministic_id=True,
        encryption=False,
        fix_metadata_version=False,
        recompress_flate=compress,
        object_stream_mode=pikepdf.ObjectStreamMode.generate if compress else pikepdf.ObjectStreamMode.preserve,
    )
    return out.getvalue()


def _disarm(document: Pdf) -> None:
    root = document.Root
    for key in ("/OpenAction", "/AA"):
        if key in root:
            del root[key]
    names = root.get("/Names")
    for key in ("/JavaScript", "/EmbeddedFiles"):
        if isinstance(names, pikepdf.Dictionary) and key in names:
            del names[key]
    form = root.get("/AcroForm")
    if isinstance(form, pikepdf.Dictionary) and "/XFA" in form:
        del form["/XFA"]
    for thing in document.objects:
        if isinstance(thing, (pikepdf.Dictionary, pikepdf.Stream)):
            _disarm_one(thing)


def _disarm_one(thing: Any) -> None:
    """Take actions out of one object: an annotation, a field, a page, an outline entry, or an action that stands alone."""
    for key in ("/AA", "/AF", "/EF"):  # what starts by itself, and files that are attached
        if key in thing:
            del thing[key]
    action = thing.get("/A")
    if isinstance(action, pikepdf.Dictionary) and not _harmless(action):
        del thing["/A"]
    if thing.get("/S") in (Name.JavaScript, Name.Launch, Name.SubmitForm, Name.ImportData, Name.GoToR, Name.Rendition):
        for key in list(thing.keys()):
            if key != "/S":
                del thing[key]
        thing["/S"] = Name.NoAction
    if thing.get("/Subtype") == Name.FileAttachment and "/FS" in thing:
        del thing["/FS"]
    annotations = thing.get("/Annots")
    if isinstance(annotations, pikepdf.Array):
        for annotation in annotations:  # those that are no objects of their own are not met otherwise
            if isinstance(annotation, pikepdf.Dictionary) and not annotation.is_indirect:
                _disarm_one(annotation)


def _harmless(action: pikepdf.Dictionary) -> bool:
    if action.get("/S") not in tuple(Name(name) for name in _HARMLESS) or "/Next" in action:
        return False
    address = str(action.get("/URI", "https:")).strip().lower()
    return address.startswith(("http:", "https:", "mailto:"))


# --------------------------------------------------------------------------------------------------------------- pages


def keep(document: Pdf, numbers: Sequence[int]) -> None:
    """Leave these pages, counted from 0, in this order; a page may come twice."""
    pages = [document.pages[number] for number in numbers]
    count = len(document.pages)
    for page in pages:
        document.pages.append(page)
    del document.pages[:count]


def refit(document: Pdf, paper: str | None, orientation: str | None) -> None:
    """Put every page on paper of another format or orientation: as large as fits, in the middle, never distorted.

    Forms and notes become part of the page; links are lost on pages that change.
    """
    if paper is None and orientation is None:
        return
    document.generate_appearance_streams()
    document.flatten_annotations()
    for number in range(len(document.pages)):
        page = document.pages[number]
        old = seen(page)
        new = sheet(old, paper, orientation)
        if max(abs(old[0] - new[0]), abs(old[1] - new[1])) < 1:
            continue
        document.add_blank_page(page_size=new)
        fresh = document.pages[-1]
        form = document.make_indirect(page.as_form_xobject())
        fresh.obj["/Resources"] = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Page=form))
        placed = fresh.calc_form_xobject_placement(
            form, Name("/Page"), pikepdf.Rectangle(0, 0, *new), allow_shrink=True, allow_expand=True
        )
        fresh.obj["/Contents"] = document.make_stream(placed)
        document.pages[number] = fresh
        del document.pages[-1]


def seen(page: pikepdf.Page) -> tuple[float, float]:
    """Width and height of a page as it is seen, in points."""
    box = [float(value) for value in page.cropbox]
    width, height = abs(box[2] - box[0]), abs(box[3] - box[1])
    unit = float(page.obj.get("/UserUnit", 1))
    width, height = width * unit, height * unit
    return (height, width) if rotation(page) % 180 else (width, height)


def rotation(page: pikepdf.Page) -> int:
    """Degrees clockwise by which a page is turned."""
    node: Any = page.obj
    for _ in range(64):  # inherited from the nodes above; a longer way is a loop
        if "/Rotate" in node:
            value = node["/Rotate"]
            return int(value) % 360 if isinstance(value, (int, float)) or str(value).lstrip("-").isdigit() else 0
        if "/Parent" not in node:
            break
        node = node["/Parent"]
    return 0


def joined(files: Iterable[bytes]) -> bytes:
    """All pages of several files in one, in order."""
    with Pdf.new() as whole, faults("pdf"):
        for data in files:
            with opened(data) as part:
                _disarm(part)
                whole.pages.extend(part.pages)
                if len(whole.pages) > MOST_PAGES:
                    raise TooLarge(public=f"Documents may have at most {MOST_PAGES} pages.")
        return written(whole)


def one_page(data: bytes, number: int) -> bytes:
    """A file with one page of another."""
    with opened(data) as document:
        keep(document, [number])
        return written(document)


# --------------------------------------------------------------------------------------------------------------- facts


def facts(data: bytes) -> dict[str, Any]:
    """What the file says of itself and of its pages, JSON-able; texts are cut at 500 characters."""
    with opened(data) as document:
        pages = [_page_facts(number, page) for number, page in enumerate(document.pages, 1)]
        form = document.Root.get("/AcroForm")
        return {
            "numpages": len(pages),
            "dimensions": {"width": pages[0]["width"], "height": pages[0]["height"]},
            "version": str(document.pdf_version),
            "encrypted": bool(document.is_encrypted),
            "form": isinstance(form, pikepdf.Dictionary) and bool(form.get("/Fields")),
            "info": _information(document),
            "pages": pages,
        }


def _page_facts(number: int, page: pikepdf.Page) -> dict[str, Any]:
    width, height = seen(page)
    return {"page": number, "width": _plain(width), "height": _plain(height), "rotation": rotation(page)}


def _plain(value: float) -> float | int:
    if not -1e9 < value < 1e9:
        raise Corrupt("pdf: a page without a size")
    return int(value) if value == int(value) else round(value, 2)


def _information(document: Pdf) -> dict[str, str]:
    if not isinstance(document.trailer.get("/Info"), pikepdf.Dictionary):
        return {}
    wanted = ("/Title", "/Author", "/Subject", "/Keywords", "/Creator", "/Producer", *_DATES)
    info = document.trailer["/Info"]
    return {key[1:].lower(): str(info[key])[:500] for key in wanted if key in info}
