"""Documents that need an office: LibreOffice, as a program of its own.

Knows: its filters, by name, in both directions. Must not know: how a program is run, what asked for it.

The reader is always named, so that the office never guesses: a file that is really something else fails to load instead
of being read as what it is. Macros do not run: the office starts with a fresh profile, in which only signed macros of
trusted authors may, and trusts nobody; those of ZIP-based files are gone before it sees them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from secure_delivery.plugin import Corrupt, Media, MemoryFile, Program, Unsupported, Workshop

from .faults import data_of
from .kinds import MIMETYPES, SHEETS, SHOWS, WORDS, ZIPPED, renamed

NAME = "office"
PAGES = "office_pages"
MOST_PAGES = 5_000  # that a span of pages may reach to

_READERS: Final = MappingProxyType(
    {
        "doc": "MS Word 97",
        "docx": "MS Word 2007 XML",
        "odt": "writer8",
        "xls": "MS Excel 97",
        "xlsx": "Calc MS Excel 2007 XML",
        "ods": "calc8",
        "ppt": "MS PowerPoint 97",
        "pptx": "Impress MS PowerPoint 2007 XML",
        "odp": "impress8",
        "odg": "draw8",
        "rtf": "Rich Text Format",
        "html": "HTML (StarWriter)",
        "txt": "Text (encoded):UTF8",
    }
)
_PDF_READERS: Final = MappingProxyType({"odt": "writer_pdf_import", "odp": "impress_pdf_import", "svg": "draw_pdf_import"})
_WRITERS: Final = MappingProxyType(
    {
        **{kind: f"{kind}:{_READERS[kind]}" for kind in (*WORDS, *SHEETS, *SHOWS)},
        "html": "html:HTML (StarWriter):EmbedImages",
        "txt": "txt:Text (encoded):UTF8",
        "svg": "svg:draw_svg_Export",
    }
)
_PDF_WRITERS: Final = MappingProxyType(
    {
        **dict.fromkeys((*WORDS, "rtf", "html", "txt"), "pdf:writer_pdf_Export"),
        **dict.fromkeys((*SHEETS, "csv"), "pdf:calc_pdf_Export"),
        **dict.fromkeys(SHOWS, "pdf:impress_pdf_Export"),
        "odg": "pdf:draw_pdf_Export",
    }
)
#: Tables as text in UTF-8, by what stands between cells: its code, the quote, the encoding, the first line.
_TABLES: Final = MappingProxyType({mark: f"Text - txt - csv (StarCalc):{ord(mark)},34,76,1" for mark in ",;\t|"})
_RANGE = '{"PageRange":{"type":"string","value":"{first}-{last}"}}'
_HIDDEN = 'pdf:impress_pdf_Export:{"ExportHiddenSlides":{"type":"boolean","value":"true"}}'

_ARGUMENTS = (
    "--headless",
    "--norestore",
    "--nolockcheck",
    "--nodefault",
    "--nologo",
    "-env:UserInstallation=file://{scratch}/home/profile",
    "--infilter={reader}",
    "--convert-to",
    "{writer}",
    "--outdir",
    "{out}",
    "{inputs}",
)
_CHOICES: Final[dict[str, tuple[str, ...] | range]] = {
    "reader": (*_READERS.values(), *_TABLES.values(), *_PDF_READERS.values()),
    "writer": tuple(dict.fromkeys((*_WRITERS.values(), *_PDF_WRITERS.values(), _HIDDEN))),
    "suffix": tuple(f".{kind}" for kind in (*_READERS, "csv", "pdf")),
}

PROGRAM = Program(
    executables=("soffice", "libreoffice"),
    arguments=_ARGUMENTS,
    choices=_CHOICES,
    suffixes=("{suffix}",),
    # Dates in results would differ from run to run; the picture-less backend looks for no screen.
    environment={"SOURCE_DATE_EPOCH": "315532800", "SAL_USE_VCLPLUGIN": "svp", "TZ": "UTC"},
    memory=4_000_000_000,  # it maps less than one for the largest of our files; a hostile one must not take the machine
    install="apt-get install libreoffice-writer-nogui libreoffice-calc-nogui libreoffice-impress-nogui libreoffice-draw-nogui",
)

#: The same, writing some pages of a document as PDF instead of all: `first` to `last`.
PAGES_PROGRAM = replace(
    PROGRAM,
    arguments=tuple(f"{{writer}}:{_RANGE}" if word == "{writer}" else word for word in _ARGUMENTS),
    choices={
        **_CHOICES,
        "writer": tuple(dict.fromkeys(_PDF_WRITERS.values())),
        **dict.fromkeys(("first", "last"), range(1, MOST_PAGES + 1)),
    },
)


def prepared(data: bytes, kind: str) -> bytes:
    """A document as the office may see it: without what acts or fetches, as far as its format lets one take it out."""
    from . import package, page

    if kind in ZIPPED:
        return package.cleaned(data, kind)
    if kind == "html":
        return page.cleaned(data)
    return data


def converted(data: bytes, kind: str, target: str, shop: Workshop, *, hidden: bool = False) -> bytes:
    """The document as another kind. The pair must be one that `output` has.

    `hidden`: with the hidden slides of a presentation. Raises `Unsupported` where the office is not installed, `Corrupt`
    when it cannot read the file, `ProcessingLimit`.
    """
    if kind == "pdf":
        reader, writer = _PDF_READERS[target], _WRITERS[target]
    else:
        reader = _READERS[kind]
        writer = _PDF_WRITERS[kind] if target == "pdf" else _WRITERS[target]
        if hidden and target == "pdf" and kind in SHOWS:
            writer = _HIDDEN
        data = prepared(data, kind)
    return _run(NAME, data, kind, {"reader": reader, "writer": writer, "suffix": f".{kind}"}, shop)


def pages(data: bytes, kind: str, first: int, last: int, shop: Workshop) -> bytes:
    """These pages of a document as PDF, counted from 1, as many of them as there are. Raises like `converted`; `Corrupt`, too,
    when there is none of them."""
    span: dict[str, str | int] = {"first": first, "last": last}
    choices = {"reader": _READERS[kind], "writer": _PDF_WRITERS[kind], "suffix": f".{kind}"}
    return _run(PAGES, prepared(data, kind), kind, span | choices, shop)


def table(text: str, mark: str, shop: Workshop) -> bytes:
    """A table as text, its cells kept apart by `mark`, as PDF. Raises like `converted`."""
    choices = {"reader": _TABLES[mark], "writer": _PDF_WRITERS["csv"], "suffix": ".csv"}
    return _run(NAME, text.encode("utf-8", "replace"), "csv", choices, shop)


def _run(program: str, data: bytes, kind: str, choices: Mapping[str, str | int], shop: Workshop) -> bytes:
    results = shop.run(program, [MemoryFile(data, MIMETYPES[kind], f"document.{kind}")], choices)
    if not results:
        raise Corrupt(f"the office made nothing of a {kind}")
    return data_of(results[0], shop.limits)


def identified(media: Media, kind: str, data: bytes) -> str:
    """The kind of a document whose container does not tell. Raises `Unsupported`, also for encrypted ones."""
    from . import ole, package

    if kind in ("ole", "doc", "xls", "ppt"):
        return ole.kind_of(data)
    if kind == "zip":
        return package.kind_of(data)
    if kind in ZIPPED and data[:4] == b"\xd0\xcf\x11\xe0":
        return ole.kind_of(data)
    if kind not in MIMETYPES:
        raise Unsupported(media.mimetype, public="Unsupported input format.")
    return kind


def file(data: bytes, kind: str, filename: str) -> MemoryFile:
    """A result of some kind."""
    return MemoryFile(data, MIMETYPES[kind], renamed(filename, kind))
