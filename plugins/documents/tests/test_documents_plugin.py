"""The plugin as the server sees it: what it registers, what its options admit, and the published contract."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

import secure_delivery_documents
import secure_delivery_images
from secure_delivery.plugin import Media, MemoryFile, TooLarge, Unsupported, WorkLimits, manager
from secure_delivery.plugin.selection import OneOf, fitting, providers
from secure_delivery.plugin.testing import TransformationContract, bind
from secure_delivery_documents.kinds import DOCUMENTS, OFFICE, PICTURES
from secure_delivery_documents.office import PROGRAM
from secure_delivery_documents.options import PAPER
from secure_delivery_documents.tasks import transformations
from secure_delivery_documents.viewer import THEMES
from secure_delivery_images.tasks import Output as PictureOutput

TASKS = transformations()
PLAIN = MemoryFile(b"one line\nand another\n", "text/plain", "a.txt")


class _OnText(TransformationContract):
    def sample_media(self) -> Media:
        return PLAIN


class TestOutput(_OnText):
    transformation = TASKS["output"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"format": "png", "density": "40", "background": "ff0000"}


class TestOutputAsText(_OnText):
    transformation = TASKS["output"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"format": "odt"}


class TestPdfInfo(_OnText):
    transformation = TASKS["pdfinfo"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"colorinfo": "true"}


class TestPdfConvert(_OnText):
    transformation = TASKS["pdfconvert"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"pages": ("1", "1-"), "pageformat": "a5"}


class TestPdfCreate(_OnText):
    transformation = TASKS["pdfcreate"]


class TestDocToImages(_OnText):
    transformation = TASKS["doc_to_images"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"density": "30", "pages": ("1",)}


class TestSlide(_OnText):
    transformation = TASKS["slide"]


class TestPreview(_OnText):
    transformation = TASKS["preview"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"css": "https://cdn.example/a.css"}


# ---------------------------------------------------------------------------------------------------------- registering


def test_the_plugin_and_that_for_pictures_make_one_task() -> None:
    """`output` has one set of options; the type of the file says who works."""
    registry = manager.load(
        extra={"a": secure_delivery_images, "b": secure_delivery_documents},
        blocked=[report.name for report in manager.load().reports if report.name != "builtin"],
    )
    output = registry.transformations["output"]
    assert isinstance(output, OneOf)
    assert {param.name for param in output.params} == {param.name for param in PictureOutput.params}
    for mimetype in (*DOCUMENTS, *PICTURES):
        chosen = fitting(providers(output), mimetype)
        assert chosen is not None
        assert chosen.version == TASKS["output"].version
    assert isinstance(fitting(providers(output), "image/avif"), PictureOutput)
    assert registry.programs["office"] is PROGRAM


def test_the_server_process_loads_no_decoder() -> None:
    """Registering and binding imports declarations only (security promise 46: decoders live in workers)."""
    code = (
        "import sys, secure_delivery_documents as d; d.register_transformations({}); d.register_programs({}); d.self_test({});"
        "print([m for m in ('PIL', 'pypdfium2', 'pikepdf', 'lxml', 'nh3', 'pypdfium2.raw') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_what_is_asked_of_the_office_is_declared() -> None:
    """Every word of its command line is fixed or from a closed list; no network."""
    places = {word for argument in PROGRAM.arguments for word in argument.split("{")[1:]}
    assert {place.partition("}")[0] for place in places} == {"scratch", "reader", "writer", "out", "inputs"}
    assert set(PROGRAM.choices) == {"reader", "writer", "suffix"}
    assert PROGRAM.network is False
    assert "libreoffice" in PROGRAM.install


def test_without_an_office_what_needs_it_says_so(make: Any, apply: Any) -> None:
    """And what does not need it works."""
    for kind in OFFICE:
        if kind in ("docx", "xlsx", "pptx"):
            sample = {"docx": make.docx("x"), "xlsx": make.xlsx(["x"]), "pptx": make.pptx("x")}[kind]
            with pytest.raises(Unsupported, match="office"):
                apply(make.file(kind, sample), ("output", {"format": "pdf"}))
    assert apply(PLAIN, ("output", {"format": "pdf"})).mimetype == "application/pdf"


def test_themes_are_those_that_can_be_asked_for() -> None:
    """What the options admit, the viewer has, and no more."""
    for theme in THEMES:
        assert bind(TASKS["slide"], theme=theme)["theme"] == theme
    assert len(TASKS["slide"].params[0].kind.allowed.split(", ")) == len(THEMES)


# ------------------------------------------------------------------------------------------------------------- options

BOUNDS = [
    ("output", "density", ["1", "500"], ["0", "501", "-1", "x", "1.5", ""]),
    ("output", "page", ["1", "99999"], ["0", "100000", "x"]),
    ("output", "quality", ["1", "100", "input"], ["0", "101", "best"]),
    ("output", "pageformat", [*PAPER, "A4"], ["a1", "letter2", ""]),
    ("output", "pageorientation", ["portrait", "landscape"], ["upside"]),
    ("output", "colorspace", ["rgb", "cmyk", "input"], ["lab"]),
    ("output", "format", ["pdf", "docx", "png", "svg", "TXT"], ["ps", "exe", ""]),
    ("output", "secure", ["true", "false", "True"], ["1", "yes"]),
    ("output", "docinfo", ["true", "false"], ["1"]),
    ("output", "strip", ["true", "false"], ["1"]),
    ("output", "compress", ["true", "false"], ["1"]),
    ("pdfinfo", "colorinfo", ["true", "false"], ["1", ""]),
    ("pdfconvert", "pageformat", [*PAPER], ["a1"]),
    ("pdfconvert", "pageorientation", ["portrait", "landscape"], ["x"]),
    ("pdfconvert", "metadata", ["true", "false"], ["x"]),
    ("pdfconvert", "pages", ["1", "1-3", "-2", "4-", ("1", "2-"), ("1",) * 200], ["0", "3-1", "x", "-", "", (), ("1",) * 201]),
    ("pdfcreate", "engine", ["mupdf", "x" * 40], ["x" * 41, "a\n"]),
    ("doc_to_images", "pages", ["1", ("1", "3-4")], ["0", ("x",)]),
    ("doc_to_images", "format", ["png", "jpg", "webp"], ["pdf", "svg"]),
    ("doc_to_images", "quality", ["1", "100", "input"], ["0", "101"]),
    ("doc_to_images", "density", ["1", "500"], ["0", "501"]),
    ("doc_to_images", "hidden_slides", ["true", "false"], ["x"]),
    ("slide", "theme", [*THEMES], ["pink", ""]),
    ("preview", "css", ["https://a.example/b.css"], ["http://a.example/b.css", "", "b.css"]),
]


@pytest.mark.parametrize(("task", "name", "good", "bad"), BOUNDS, ids=[f"{row[0]}-{row[1]}" for row in BOUNDS])
def test_options_admit_what_is_documented_and_nothing_else(task: str, name: str, good: list[Any], bad: list[Any]) -> None:
    """Both ends of every range, and just outside."""
    kind = next(param.kind for param in TASKS[task].params if param.name == name)
    for value in good:
        kind.read(value)
    for value in bad:
        with pytest.raises(ValueError):
            kind.read(value)


def test_every_option_stands_in_the_table() -> None:
    """So that none is added without its bounds; `background` is tested where colours are."""
    named = {(task, param.name) for task, transformation in TASKS.items() for param in transformation.params}
    covered = {(row[0], row[1]) for row in BOUNDS} | {("output", "background")}
    assert named - covered == {("doc_to_images", "engine"), ("slide", "engine")}


def test_a_file_over_the_limit_is_not_read(apply: Any) -> None:
    """The limit on bytes is inclusive."""
    limits = WorkLimits(bytes=21)
    assert apply(PLAIN, ("output", {"format": "txt"}), limits=limits).size == 21
    with pytest.raises(TooLarge):
        apply(PLAIN, ("output", {"format": "txt"}), limits=WorkLimits(bytes=20))
