"""Documents that need an office: LibreOffice, as a program of its own.

Knows: its filters, by name, in both directions. Must not know: how a program is run, what asked for it.

The reader is always named, so that the office never guesses: a file that is really something else fails to load instead
of being read as what it is. Macros do not run: the office starts with a fresh profile, in which only signed macros of
trusted authors may, and trusts nobody; those of ZIP-based files are gone before it sees them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from secure_delivery.plugin import Corrupt, Media, MemoryFile, Program, Unsupported, Workshop

from .faults import data_of
from .kinds import MIMETYPES, SHEETS, SHOWS, WORDS, ZIPPED, renamed

NAME = "office"

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
        **dict.fromkeys((*WORDS, "html", "txt"), "pdf:writer_pdf_Export"),
        **dict.fromkeys(SHEETS, "pdf:calc_pdf_Export"),
        **dict.fromkeys(SHOWS, "pdf:impress_pdf_Export"),
    }
)
_HIDDEN = 'pdf:impress_pdf_Export:{"ExportHiddenSlides":{"type":"boolean","value":"true"}}'

PROGRAM = Program(
    executables=("soffice", "libreoffice"),
    arguments=(
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
    ),
    choices={
        "reader": (*_READERS.values(), *_PDF_READERS.values()),
        "writer": tuple(dict.fromkeys((*_WRITERS.values(), *_PDF_WRITERS.values(), _HIDDEN))),
        "suffix": tuple(f".{kind}" for kind in (*_READERS, "pdf")),
    },
    suffixes=("{suffix}",),
    # Dates in results would differ from run to run; the picture-less backend looks for no screen.
    environment={"SOURCE_DATE_EPOCH": "315532800", "SAL_USE_VCLPLUGIN": "svp", "TZ": "UTC"},
    memory=4_000_000_000,  # it maps less than one for the largest of our files; a hostile one must not take the machine
    install="apt-get install libreoffice-writer-nogui libreoffice-calc-nogui libreoffice-impress-nogui libreoffice-draw-nogui",
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
    source = MemoryFile(data, MIMETYPES[kind], f"document.{kind}")
    results = shop.run(NAME, [source], {"reader": reader, "writer": writer, "suffix": f".{kind}"})
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
