"""The documented options of every task that is not an effect: what is admitted, to the last number, and what is not."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from secure_delivery.plugin.testing import bind
from secure_delivery_images.tasks import transformations

TASKS = transformations()
HANDLE = "AbCdEfGhIjKlMnOpQrSt"
FILES, PAIR = (HANDLE,), ("bottom", "right")
PLACES = ("top", "middle", "bottom", "left", "center", "right", PAIR, ("middle", "middle"), ("center", "center"))
NO_PLACES: tuple[Any, ...] = ("upper", "", ("left", "top"), ("top",), ("top", "left", "left"), ("top", "faces"))
COLOURS, NO_COLOURS = ("red", "gray7", "none", "F0a", "112233", "11223344"), ("#fff", "12345", "gray101", "", ("red",))
WHETHER, NOT_WHETHER = ("true", "FALSE"), ("1", "yes", "")


class Row(NamedTuple):
    """An option of a task with its short name (or none), what else the task needs, and values on both sides of the line."""

    task: str
    option: str
    short: str | None
    admitted: tuple[Any, ...]
    refused: tuple[Any, ...]
    needs: dict[str, Any] = {}
    required: bool = False


_SHEET: dict[str, Any] = {"width": "9", "height": "9"}
ROWS = [
    Row("resize", "width", "w", ("0", "1", "10000"), ("-1", "10001", "1.5", "", "wide"), {"height": "5"}),
    Row("resize", "height", "h", ("0", "1", "10000"), ("-1", "10001", "1e3", " 1"), {"width": "5"}),
    Row("resize", "fit", "f", ("clip", "CROP", "scale", "max"), ("cover", ""), {"width": "5"}),
    Row("resize", "align", "a", (*PLACES, "faces"), NO_PLACES, {"width": "5"}),
    Row("resize", "filter", None, ("lanczos", "Nearest", "box"), ("sinc", ""), {"width": "5"}),
    Row(
        "crop",
        "dim",
        "d",
        (("0", "0", "1", "1"), ("100000", "100000", "100000", "100000")),
        (("0", "0", "0", "1"), ("0", "0", "1"), ("0", "0", "1", "0"), ("100001", "0", "1", "1"), ("-1", "0", "1", "1"), "1"),
        required=True,
    ),
    Row("rotate", "deg", "d", ("0", "359", "exif"), ("-1", "360", "90.5", "left")),
    Row("rotate", "exif", "e", WHETHER, NOT_WHETHER, {"deg": "5"}),
    Row("rotate", "background", "b", COLOURS, NO_COLOURS, {"deg": "5"}),
    Row("output", "format", "f", ("jpg", "PJPG", "png", "webp", "gif", "bmp", "tiff", "avif", "pdf"), ("jpeg2000", "", "heic")),
    Row("output", "background", "b", COLOURS, NO_COLOURS),
    Row("output", "page", "p", ("1", "99999"), ("0", "100000")),
    Row("output", "density", "d", ("1", "500"), ("0", "501")),
    Row("output", "quality", "q", ("1", "100", "input"), ("0", "101", "best")),
    Row("output", "compress", "c", WHETHER, NOT_WHETHER),
    Row("output", "strip", "t", WHETHER, NOT_WHETHER),
    Row("output", "colorspace", "o", ("rgb", "cmyk", "input"), ("lab", "")),
    Row("quality", "value", "v", ("1", "100", "input"), ("0", "101", ""), required=True),
    Row("compress", "metadata", "m", WHETHER, NOT_WHETHER),
    Row("pjpg", "quality", "q", ("0", "100"), ("-1", "101", "input")),
    Row("pjpg", "metadata", "m", WHETHER, NOT_WHETHER),
    Row("auto_image", "format", None, ("avif", "webp", "jpeg"), ("png", "bmp", "")),
    Row(
        "watermark",
        "file",
        "f",
        (HANDLE, "https://example.com/a.png?x=1,2", "src://alias/path/a.png", "a" * 4096),
        ("", " ", ("a", "b"), "a\nb", "a" * 4097),
        required=True,
    ),
    Row("watermark", "size", "s", ("0", "1", "500"), ("-1", "501", "5.5"), {"file": HANDLE}),
    Row("watermark", "position", "p", PLACES, (*NO_PLACES, "faces"), {"file": HANDLE}),
    Row("collage", "files", "f", (FILES, HANDLE, FILES * 99), ("", FILES * 100, (FILES,), (HANDLE, "")), _SHEET, required=True),
    Row("collage", "width", "w", ("1", "10000"), ("0", "10001"), {"files": FILES, "height": "9"}, required=True),
    Row("collage", "height", "h", ("1", "10000"), ("0", "10001"), {"files": FILES, "width": "9"}, required=True),
    Row("collage", "margin", "m", ("1", "100"), ("0", "101"), {"files": FILES, **_SHEET}),
    Row("collage", "color", "c", COLOURS, NO_COLOURS, {"files": FILES, **_SHEET}),
    Row("collage", "fit", "i", ("auto", "crop"), ("clip", "max"), {"files": FILES, **_SHEET}),
    Row("collage", "autorotate", "a", WHETHER, NOT_WHETHER, {"files": FILES, **_SHEET}),
    Row("animate", "delay", "d", ("0", "10000"), ("-1", "10001")),
    Row("animate", "loop", "l", ("0", "1000"), ("-1", "1001")),
    Row("animate", "width", "w", ("1", "1800", "max"), ("0", "1801", "most")),
    Row("animate", "height", "h", ("1", "1800", "MAX"), ("0", "1801", "")),
    Row("animate", "fit", "f", ("clip", "crop", "scale"), ("max", "")),
    Row("animate", "align", "a", PLACES, (*NO_PLACES, "faces")),
    Row("animate", "background", "b", COLOURS, NO_COLOURS),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.task}-{row.option}")
def test_the_documented_values_are_admitted_and_no_others(row: Row) -> None:
    """By the declarations alone, before anything is fetched; under the long name and the short one."""
    task = TASKS[row.task]
    for value in row.admitted:
        long = bind(task, **row.needs, **{row.option: value})
        assert long[row.option] is not None
        if row.short:
            assert bind(task, **row.needs, **{row.short: value}) == long
    for value in row.refused:
        with pytest.raises(ValueError):
            bind(task, **row.needs, **{row.option: value})
    if row.required:
        with pytest.raises(TypeError):
            bind(task, **row.needs)


def test_the_table_is_complete() -> None:
    """Every option of these tasks has its row, but for those of `output` that only documents know."""
    of_documents = {("output", name) for name in ("secure", "docinfo", "pageformat", "pageorientation")}
    rows = {(row.task, row.option) for row in ROWS}
    declared = {(name, param.name) for name in {row.task for row in ROWS} for param in TASKS[name].params}
    assert declared - rows == of_documents
    assert rows <= declared
