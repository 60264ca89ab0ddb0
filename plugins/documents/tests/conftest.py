"""Documents made by hand for the tests, and ways to run tasks on them: in this process, and where they really run."""

from __future__ import annotations

import json
import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from PIL import Image

from secure_delivery.engine import confine
from secure_delivery.engine.programs import Programs, Request, children, find
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.plugin import Media, MemoryFile, SecureDeliveryError, WorkLimits
from secure_delivery.plugin.testing import SimpleWorkshop, bind, content
from secure_delivery_documents.kinds import MIMETYPES
from secure_delivery_documents.office import NAME, PAGES, PAGES_PROGRAM, PROGRAM
from secure_delivery_documents.tasks import transformations

TASKS = transformations()
XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_SHOW = (
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    f'xmlns:r="{OFFICE}" xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
)
_TREE = '<p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>'
_ODF = {"odt": "text", "ods": "spreadsheet", "odp": "presentation"}
_NAMESPACES = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in [
        ("office", "office"), ("text", "text"), ("table", "table"), ("draw", "drawing"), ("svg", "svg-compatible"),
        ("script", "script"),
    ]
) + ' xmlns:xlink="http://www.w3.org/1999/xlink"'  # fmt: skip


def pack(members: Mapping[str, str | bytes]) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content, zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED)
    return out.getvalue()


def relation(identity: str, kind: str, target: str, *, outside: bool = False) -> str:
    mode = ' TargetMode="External"' if outside else ""
    return f'<Relationship Id="{identity}" Type="{OFFICE}/{kind}" Target="{target}"{mode}/>'


def relations(*items: str) -> str:
    return f'{XML}<Relationships xmlns="{_PACKAGE}/relationships">{"".join(items)}</Relationships>'


def _types(**parts: str) -> str:
    overrides = "".join(
        f'<Override PartName="/{part.replace("__", "/")}.xml" '
        f'ContentType="application/vnd.openxmlformats-officedocument.{kind}+xml"/>'
        for part, kind in parts.items()
    )
    defaults = "".join(
        f'<Default Extension="{extension}" ContentType="{kind}"/>'
        for extension, kind in {
            "rels": "application/vnd.openxmlformats-package.relationships+xml",
            "xml": "application/xml",
            "png": "image/png",
            "bin": "application/vnd.ms-office.vbaProject",
        }.items()
    )
    return f'{XML}<Types xmlns="{_PACKAGE}/content-types">{defaults}{overrides}</Types>'


def docx(*paragraphs: str, body: str = "", more: Mapping[str, str | bytes] | None = None, links: str = "") -> dict[str, Any]:
    """The members of a text document."""
    shown = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    namespaces = (
        f'xmlns:w="{WORD}" xmlns:r="{OFFICE}" '
        'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" '
        'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
        'xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture"'
    )
    return {
        "[Content_Types].xml": _types(word__document="wordprocessingml.document.main"),
        "_rels/.rels": relations(relation("r1", "officeDocument", "word/document.xml")),
        "word/document.xml": f"{XML}<w:document {namespaces}><w:body>{shown}{body}</w:body></w:document>",
        "word/_rels/document.xml.rels": relations(links),
        **(more or {}),
    }


def xlsx(*rows: Sequence[str], more: Mapping[str, str | bytes] | None = None, cells: str = "") -> dict[str, Any]:
    """The members of a workbook with one sheet."""
    shown = "".join(
        f'<row r="{number}">'
        + "".join(f'<c r="{chr(65 + at)}{number}" t="inlineStr"><is><t>{text}</t></is></c>' for at, text in enumerate(row))
        + "</row>"
        for number, row in enumerate(rows, 1)
    )
    return {
        "[Content_Types].xml": _types(
            xl__workbook="spreadsheetml.sheet.main", xl__worksheets__sheet1="spreadsheetml.worksheet"
        ),
        "_rels/.rels": relations(relation("r1", "officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": (
            f'{XML}<workbook xmlns="{SHEET}" xmlns:r="{OFFICE}"><sheets><sheet name="One" sheetId="1" r:id="r1"/></sheets>'
            "</workbook>"
        ),
        "xl/_rels/workbook.xml.rels": relations(relation("r1", "worksheet", "worksheets/sheet1.xml")),
        "xl/worksheets/sheet1.xml": f'{XML}<worksheet xmlns="{SHEET}"><sheetData>{shown}{cells}</sheetData></worksheet>',
        **(more or {}),
    }


def pptx(*slides: str, hidden: Sequence[int] = ()) -> dict[str, Any]:
    """The members of a presentation; `hidden` are slides that are not shown, counted from 0."""
    colours = " ".join(f'accent{number}="accent{number}"' for number in range(1, 7))
    mapping = f'<p:clrMap bg1="lt1" tx1="dk1" bg2="lt2" tx2="dk2" {colours} hlink="hlink" folHlink="folHlink"/>'
    numbers = range(len(slides))
    parts = {f"ppt__slides__s{number}": "presentationml.slide" for number in numbers}
    parts |= {"ppt__presentation": "presentationml.presentation.main", "ppt__slideMasters__m": "presentationml.slideMaster"}
    parts |= {"ppt__slideLayouts__l": "presentationml.slideLayout"}
    listed = "".join(f'<p:sldId id="{256 + number}" r:id="s{number}"/>' for number in numbers)
    members = {
        "[Content_Types].xml": _types(**parts),
        "_rels/.rels": relations(relation("r1", "officeDocument", "ppt/presentation.xml")),
        "ppt/presentation.xml": (
            f'{XML}<p:presentation {_SHOW}><p:sldMasterIdLst><p:sldMasterId id="2147483648" r:id="m"/></p:sldMasterIdLst>'
            f'<p:sldIdLst>{listed}</p:sldIdLst><p:sldSz cx="9144000" cy="6858000"/><p:notesSz cx="6858000" cy="9144000"/>'
            "</p:presentation>"
        ),
        "ppt/_rels/presentation.xml.rels": relations(
            relation("m", "slideMaster", "slideMasters/m.xml"),
            *(relation(f"s{number}", "slide", f"slides/s{number}.xml") for number in numbers),
        ),
        "ppt/slideMasters/m.xml": (
            f"{XML}<p:sldMaster {_SHOW}><p:cSld><p:spTree>{_TREE}</p:spTree></p:cSld>{mapping}"
            '<p:sldLayoutIdLst><p:sldLayoutId id="2147483649" r:id="r1"/></p:sldLayoutIdLst></p:sldMaster>'
        ),
        "ppt/slideMasters/_rels/m.xml.rels": relations(relation("r1", "slideLayout", "../slideLayouts/l.xml")),
        "ppt/slideLayouts/l.xml": f"{XML}<p:sldLayout {_SHOW}><p:cSld><p:spTree>{_TREE}</p:spTree></p:cSld></p:sldLayout>",
        "ppt/slideLayouts/_rels/l.xml.rels": relations(relation("r1", "slideMaster", "../slideMasters/m.xml")),
    }
    for number, text in enumerate(slides):
        shown = ' show="0"' if number in hidden else ""
        members[f"ppt/slides/s{number}.xml"] = (
            f'{XML}<p:sld {_SHOW}{shown}><p:cSld><p:spTree>{_TREE}<p:sp><p:nvSpPr><p:cNvPr id="2" name="t"/>'
            '<p:cNvSpPr txBox="1"/><p:nvPr/></p:nvSpPr><p:spPr><a:xfrm><a:off x="600000" y="600000"/>'
            '<a:ext cx="6000000" cy="900000"/></a:xfrm><a:prstGeom prst="rect"><a:avLst/></a:prstGeom></p:spPr>'
            f"<p:txBody><a:bodyPr/><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp></p:spTree></p:cSld></p:sld>"
        )
        members[f"ppt/slides/_rels/s{number}.xml.rels"] = relations(relation("r1", "slideLayout", "../slideLayouts/l.xml"))
    return members


def odf(kind: str, body: str, *, more: Mapping[str, str | bytes] | None = None, scripts: str = "") -> dict[str, Any]:
    """The members of an OpenDocument file."""
    manifest = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"
    names = ["content.xml", *(more or {})]
    entries = "".join(f'<m:file-entry m:full-path="{name}" m:media-type=""/>' for name in names)
    content = f"<office:{_ODF[kind]}>{body}</office:{_ODF[kind]}>"
    return {
        "mimetype": MIMETYPES[kind],
        "content.xml": (
            f'{XML}<office:document-content {_NAMESPACES} office:version="1.3">{scripts}'
            f"<office:body>{content}</office:body></office:document-content>"
        ),
        **(more or {}),
        "META-INF/manifest.xml": (
            f'{XML}<m:manifest xmlns:m="{manifest}" m:version="1.3">'
            f'<m:file-entry m:full-path="/" m:media-type="{MIMETYPES[kind]}"/>{entries}</m:manifest>'
        ),
    }


def pdf(*texts: str, size: tuple[float, float] = (300, 400), colour: str = "0 g", rotate: int = 0) -> bytes:
    """A PDF with one line of text on each page."""
    with pikepdf.Pdf.new() as document:
        font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
        for text in texts:
            document.add_blank_page()
            page = document.pages[-1].obj
            page["/MediaBox"] = pikepdf.Array([0, 0, *size])
            page["/Resources"] = pikepdf.Dictionary(Font=pikepdf.Dictionary(F=font))
            shown = f"{colour} BT /F 18 Tf 20 {size[1] - 60:g} Td ({text}) Tj ET"
            page["/Contents"] = document.make_stream(shown.encode())
            if rotate:
                page["/Rotate"] = rotate
        out = BytesIO()
        document.save(out, deterministic_id=True)
        return out.getvalue()


class Make:
    """Everything above, by name."""

    docx, xlsx, pptx, odf, pdf = (
        staticmethod(docx),
        staticmethod(xlsx),
        staticmethod(pptx),
        staticmethod(odf),
        staticmethod(pdf),
    )
    pack, relation, relations = staticmethod(pack), staticmethod(relation), staticmethod(relations)

    @staticmethod
    def file(kind: str, data: bytes | Mapping[str, Any], name: str = "") -> MemoryFile:
        return MemoryFile(data if isinstance(data, bytes) else pack(data), MIMETYPES[kind], name or f"sample.{kind}")

    @staticmethod
    def picture(form: str = "PNG", size: tuple[int, int] = (64, 48), mode: str = "RGB") -> MemoryFile:
        image = Image.new("RGB", size, (220, 30, 30))
        image.paste((30, 50, 200), (size[0] // 2, 0, size[0], size[1]))
        out = BytesIO()
        image.convert(mode).save(out, form)
        return MemoryFile(out.getvalue(), f"image/{form.lower()}", f"drawing.{form.lower()}")


@pytest.fixture(scope="session")
def make() -> type[Make]:
    return Make


def _apply(media: Media, *tasks: Any, others: Sequence[Media] = (), **shop: Any) -> Media:
    limits = shop.pop("limits", WorkLimits())
    for name, options in tasks:
        workshop = SimpleWorkshop(limits=limits, others=others, **shop)
        media = TASKS[name].apply(media, bind(TASKS[name], **options), workshop)
    return media


@pytest.fixture(scope="session")
def apply() -> Callable[..., Media]:
    """Run tasks in this process, where there is no office: `apply(media, ("output", {"format": "png"}))`."""
    return _apply


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    if not confine.LINUX:
        pytest.skip("confinement is only there on Linux")
    names = ["secure_delivery_documents", "secure_delivery_images", "secure_delivery_svg"]
    installed = ["documents", "images", "svg", "vips", "vision", "web", "intelligence"]
    with Sandbox(1, plugins=PluginChoice(extra=names, blocked=installed), limits=WorkLimits()) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def confined(sandbox: Sandbox) -> Callable[..., MemoryFile]:
    """Run tasks where they really run: `confined(media, ("output", {"format": "pdf"}))`."""

    def run(media: MemoryFile, *tasks: Any, others: Sequence[MemoryFile] = (), **more: Any) -> MemoryFile:
        with ExitStack() as stack:
            sources = []
            for one in (media, *others):
                file = stack.enter_context(tempfile.TemporaryFile())
                file.write(one.data)
                file.flush()
                sources.append(ChainSource(file.fileno(), one.mimetype, one.filename))
            output = stack.enter_context(tempfile.TemporaryFile())
            bound = [(name, dict(bind(TASKS[name], **options))) for name, options in tasks]
            outcome = sandbox.run(Chain(tasks=bound, sources=sources, output=output.fileno(), **more))
            output.seek(0)
            return MemoryFile(output.read(), outcome.mimetype, outcome.filename, outcome.extra)

    return run


@pytest.fixture(scope="session")
def paged(sandbox: Sandbox) -> Callable[..., dict[str, Any]]:
    """Have a previewer or extractor work where it really runs: what it said, its pictures as `images`."""

    def run(name: str, media: MemoryFile, *, pages: str = "1", hint: Any = None, **more: Any) -> dict[str, Any]:
        options: dict[str, Any] = {"pages": pages, "address": None, "options": {}}
        if name.startswith("preview:"):
            sizes = [[*(hint or (0, 0)), False, "wanted"]]
            options |= {"sizes": sizes, "format": "png", "hint": hint, "most_pages": 10, "readers": []}
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
            source.write(media.data)
            source.flush()
            sources = [ChainSource(source.fileno(), media.mimetype, media.filename)]
            outcome = sandbox.run(Chain(tasks=[(name, options)], sources=sources, output=output.fileno(), **more))
            output.seek(0)
            data = output.read()
        place, length = outcome.extra["document"]
        told: dict[str, Any] = json.loads(data[place : place + length])
        made = [picture for page in told.get("pages", ()) for picture in page["pictures"]]
        told["images"] = [
            Image.open(BytesIO(data[one["offset"] : one["offset"] + one["length"]])).convert("RGB") for one in made
        ]
        return told

    return run


class OfficeShop:
    """A workshop with the real LibreOffice, which is asked once for each file and what is wanted of it."""

    def __init__(self, place: Path, metadata: str = "all") -> None:
        self._simple = SimpleWorkshop(metadata=metadata)
        programs = {NAME: PROGRAM, PAGES: PAGES_PROGRAM}
        self._declared, self._place = programs, place
        self._known: dict[Any, list[bytes] | SecureDeliveryError] = {}
        self.asked: list[str] = []

    def _programs(self) -> Programs:
        """In this process, whose other children are servers of other tests: those that are there now live on."""
        return Programs(self._declared, place=self._place, limits=WorkLimits(), layers=(), others=children())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._simple, name)

    def run(self, program: str, files: Sequence[Media] = (), choices: Mapping[str, Any] | None = None) -> Sequence[Media]:
        self.asked.append(program)
        data = [content(file) for file in files]
        key = (program, *data, *sorted((choices or {}).items()))
        if key not in self._known:
            self._known[key] = self._made(program, data, choices or {})
        known = self._known[key]
        if isinstance(known, SecureDeliveryError):
            raise known
        return [MemoryFile(one, "application/pdf", "made.pdf") for one in known]

    def _made(self, program: str, files: Sequence[bytes], choices: Mapping[str, Any]) -> list[bytes] | SecureDeliveryError:
        with ExitStack() as stack:
            handles = [stack.enter_context(tempfile.TemporaryFile()) for _ in files]
            for handle, data in zip(handles, files, strict=True):
                handle.write(data)
                handle.flush()
            wanted = [handle.fileno() for handle in handles]
            request = Request(program=program, files=wanted, choices=choices, deadline=time.monotonic() + 60)
            try:
                results = self._programs().run(request)
            except SecureDeliveryError as error:
                return error
        made = []
        for result in results:
            with os.fdopen(result.descriptor, "rb") as file:
                made.append(file.read())
        return made


def _needs_office() -> None:
    if find(PROGRAM) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no LibreOffice: {PROGRAM.install}")
        pytest.skip(f"no LibreOffice: {PROGRAM.install}")


@pytest.fixture(scope="session")
def office_shop(tmp_path_factory: pytest.TempPathFactory) -> OfficeShop:
    _needs_office()
    return OfficeShop(tmp_path_factory.mktemp("office"))


@pytest.fixture(scope="session")
def office(confined: Callable[..., MemoryFile]) -> Callable[..., MemoryFile]:
    """The same, for what needs LibreOffice. Without it: a visible skip, and a failure where CI promises one."""
    _needs_office()
    return confined
