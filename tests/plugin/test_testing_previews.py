"""The suites of previewers and extractors fail for what breaks the contract: each fault is caught by the test meant for it."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from secure_delivery.plugin import Corrupt, MemoryFile, Needs, Page, Unsupported, Work
from secure_delivery.plugin.testing import ExtractorContract, PreviewerContract, SimpleWorkshop, content
from secure_delivery.plugin.testing_pictures import dimensions

MAGIC = b"SHEETS\n"


def sheets(*colours: tuple[int, int, int], title: bytes = b"Sample", place: bytes = b"51.5,0.1") -> MemoryFile:
    """A file of a format made up for this: magic, title, place, how many sheets, a colour for each, a checksum."""
    body = MAGIC + title + b"\n" + place + b"\n" + bytes([len(colours)]) + b"".join(map(bytes, colours))
    return MemoryFile(body + struct.pack(">I", zlib.crc32(body)), "application/x-sheets", "sample.sheets")


SAMPLE = sheets((255, 0, 0), (0, 255, 0), (0, 0, 255))


def read(data: bytes) -> tuple[str, str, list[bytes]]:
    if not data.startswith(MAGIC):
        raise Unsupported("no sheets")
    if len(data) < 12 or zlib.crc32(data[:-4]) != struct.unpack(">I", data[-4:])[0]:
        raise Corrupt("the checksum is another")
    title, place, rest = data[len(MAGIC) : -4].split(b"\n", 2)
    return title.decode(), place.decode(), [rest[1 + 3 * number :][:3] for number in range(rest[0])]


def png(colour: bytes, width: int, height: int) -> bytes:
    """A PNG of one colour, written by hand."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + colour * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# ---------------------------------------------------------------------------------------------------------- previewers


class Sheets:
    """An honest previewer to break in single ways."""

    mimetypes: Any = ("application/x-sheets",)
    extensions: Any = ("sheets",)
    priority = 50
    family = "sheet"
    needs: Any = Needs()

    def probe(self, head: bytes, filename: str) -> bool:
        return head.startswith(MAGIC)

    def sides(self, work: Work) -> tuple[int, int]:
        if work.size is None:
            return 300, 300
        side = min(side for side in work.size if side)
        return side, side

    def preview(self, work: Work) -> Iterator[Page]:
        colours = read(content(work.media))[2]
        for number in work.pages(len(colours)):
            data = png(colours[number - 1], *self.sides(work))
            yield Page(number=number, media=MemoryFile(data, "image/png", "sheet.png"), total=len(colours))


class SheetsSuite(PreviewerContract):
    def __init__(self, broken: Any) -> None:
        self.previewer = broken

    def sample_media(self) -> MemoryFile:
        return SAMPLE


class TestSheets(PreviewerContract):
    previewer = Sheets()

    def sample_media(self) -> MemoryFile:
        return SAMPLE


def changed(**more: Any) -> type[Sheets]:
    """The honest previewer with other attributes."""
    return type("Changed", (Sheets,), more)


def pages(change: Callable[[Page], Any]) -> type[Sheets]:
    """The honest previewer with each of its pages changed."""

    def preview(self: Sheets, work: Work) -> Iterator[Any]:
        for page in Sheets.preview(self, work):
            yield change(page)

    return changed(preview=preview)


def _from_zero(page: Page) -> Page:
    return Page(number=page.number - 1, media=page.media, total=page.total)


def _own_total(page: Page) -> Page:
    return Page(number=page.number, media=page.media, total=page.number)


def _other(mimetype: str, data: bytes = b"text") -> Callable[[Page], Page]:
    return lambda page: Page(number=page.number, media=MemoryFile(data, mimetype, "x"), total=page.total)


class Backwards(Sheets):
    def preview(self, work: Work) -> Iterator[Page]:
        yield from reversed(list(super().preview(work)))


class Everything(Sheets):
    def preview(self, work: Work) -> Iterator[Page]:
        colours = read(content(work.media))[2]
        for number, colour in enumerate(colours, 1):
            yield Page(number=number, media=MemoryFile(png(colour, 9, 9), "image/png", "s.png"), total=len(colours))


class Complaining(Sheets):
    def preview(self, work: Work) -> Iterator[Page]:
        found = False
        for page in super().preview(work):
            found = True
            yield page
        if not found:
            raise Corrupt("no such page")


class Trusting(Sheets):
    def preview(self, work: Work) -> Iterator[Page]:
        data = content(work.media)
        struct.unpack(">I", data[-4:])
        yield from super().preview(work)


class Counting(Sheets):
    calls = 0

    def preview(self, work: Work) -> Iterator[Page]:
        type(self).calls += 1
        for page in super().preview(work):
            data = content(page.media) + bytes([self.calls % 256])
            yield Page(number=page.number, media=MemoryFile(data, "image/png", "s.png"), total=page.total)


class Writing(Sheets):
    def preview(self, work: Work) -> Iterator[Page]:
        if hasattr(work.media, "path"):
            work.media.path.with_suffix(".cache").write_bytes(b"")
        yield from super().preview(work)


class Stateful(Sheets):
    """Whoever leaves it in the middle leaves it unusable."""

    busy = False

    def preview(self, work: Work) -> Iterator[Page]:
        if self.busy:
            return
        self.busy = True
        yield from super().preview(work)
        self.busy = False


class NamedByFile(Sheets):
    def preview(self, work: Work) -> Iterator[Page]:
        work.media.filename.rsplit(".", 1)[1]
        yield from super().preview(work)


def _decodes(self: Sheets, head: bytes, filename: str) -> bool:
    return head[:6].decode().startswith("SHEETS")


PREVIEWERS: dict[str, tuple[type[Sheets], str]] = {
    "no family": (changed(family=""), "test_it_satisfies_the_protocol"),
    "needs of another type": (changed(needs=("soffice",)), "test_it_satisfies_the_protocol"),
    "an extension with its dot": (changed(extensions=(".sheets",)), "test_it_satisfies_the_protocol"),
    "a type in capitals": (changed(mimetypes=("Application/X-Sheets",)), "test_it_satisfies_the_protocol"),
    "for nothing": (changed(mimetypes=(), extensions=()), "test_it_satisfies_the_protocol"),
    "for another type": (changed(mimetypes=("image/png",), extensions=("png",)), "test_the_sample_is_of_a_type_it_is_for"),
    "a probe that refuses the sample": (changed(probe=lambda *_: False), "test_a_probe_judges_and_never_raises"),
    "a probe that decodes": (changed(probe=_decodes), "test_a_probe_judges_and_never_raises"),
    "a probe that answers None": (
        changed(probe=lambda self, head, name: head.startswith(MAGIC) or None),
        "test_a_probe_judges_and_never_raises",
    ),
    "media instead of pages": (pages(lambda page: page.media), "test_each_page_is_a_picture_with_a_type"),
    "no picture": (pages(_other("text/plain")), "test_each_page_is_a_picture_with_a_type"),
    "an empty picture": (pages(_other("image/png", b"")), "test_each_page_is_a_picture_with_a_type"),
    "no pages": (changed(preview=lambda self, work: iter(())), "test_each_page_is_a_picture_with_a_type"),
    "numbers from zero": (pages(_from_zero), "test_pages_are_numbered_from_one_in_order"),
    "a total of each page": (pages(_own_total), "test_pages_are_numbered_from_one_in_order"),
    "backwards": (Backwards, "test_pages_are_numbered_from_one_in_order"),
    "all pages always": (Everything, "test_only_wanted_pages_are_made"),
    "all pages, though none is wanted": (Everything, "test_pages_beyond_the_end_are_none"),
    "a fault for pages that are not there": (Complaining, "test_pages_beyond_the_end_are_none"),
    "one that must be read to its end": (Stateful, "test_it_can_be_left_after_the_first_page"),
    "a size of its own": (changed(sides=lambda self, work: (900, 900)), "test_the_size_hint_is_followed"),
    "huge without a hint": (
        changed(sides=lambda self, work: work.size or (5_000, 10)),
        "test_the_size_hint_is_followed",
    ),
    "other bytes each time": (Counting, "test_the_same_file_gives_the_same_bytes"),
    "files beside the source": (Writing, "test_the_source_is_not_changed"),
    "faults of the parser": (Trusting, "test_rubbish_ends_in_a_fault_of_the_tree_or_pages"),
    "a name taken for granted": (NamedByFile, "test_odd_names_and_types_change_nothing_but_names"),
}


def _run(suite: object, test: str, tmp_path: Path) -> None:
    getattr(suite, test)(*([tmp_path] if test == "test_the_source_is_not_changed" else []))


@pytest.mark.parametrize(("broken", "caught_by"), PREVIEWERS.values(), ids=PREVIEWERS.keys())
def test_a_broken_previewer_fails_the_suite(broken: type[Sheets], caught_by: str, tmp_path: Path) -> None:
    suite: type[PreviewerContract] = SheetsSuite
    with pytest.raises((AssertionError, Corrupt)) as caught:
        _run(suite(broken()), caught_by, tmp_path)  # type: ignore[call-arg]
    assert not isinstance(caught.value, AssertionError) or caught.value.args, "the suite says which claim does not hold"
    for place in tmp_path.iterdir():
        place.unlink()
    _run(suite(Sheets()), caught_by, tmp_path)  # type: ignore[call-arg]


def test_every_test_of_the_previewers_suite_catches_something() -> None:
    tests = {name for name in dir(PreviewerContract) if name.startswith("test_")}
    assert tests == {caught_by for _, caught_by in PREVIEWERS.values()}


def test_pictures_that_a_file_holds_keep_their_size() -> None:
    suite = SheetsSuite(changed(sides=lambda self, work: (900, 900))())
    suite.pictures_inside = True
    suite.test_the_size_hint_is_followed()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
@pytest.mark.parametrize("size", [(1, 1), (301, 17)])
def test_the_suite_reads_the_size_of_a_picture_from_its_header(form: str, size: tuple[int, int], tmp_path: Path) -> None:
    for options in ({}, {"lossless": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}) if form == "WEBP" else ({},):
        Image.new("RGB", size).save(tmp_path / "picture", form, **options)
        data = (tmp_path / "picture").read_bytes()
        assert dimensions(data) == size
        assert all(dimensions(data[:length]) in (None, size) for length in range(60))


# ---------------------------------------------------------------------------------------------------------- extractors


class Facts:
    """An honest extractor to break in single ways."""

    section = "sheets"
    call: Any = "stat"
    mimetypes = ("application/x-sheets",)
    extensions = ("sheets",)
    needs = Needs()
    schema: Any = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "count": {"type": "integer", "minimum": 0},
            "place": {"$ref": "#/$defs/place"},
            "colours": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["title", "count"],
        "additionalProperties": False,
        "$defs": {"place": {"type": "string"}},
    }

    def probe(self, head: bytes, filename: str) -> bool:
        return head.startswith(MAGIC)

    def extract(self, work: Work) -> Any:
        title, place, colours = read(content(work.media))
        said: dict[str, Any] = {"title": title, "count": len(colours), "colours": [colour.hex() for colour in colours]}
        if work.options.get("short") is True:
            del said["colours"]
        return said | ({"place": place} if work.shop.metadata == "all" else {})


class FactsSuite(ExtractorContract):
    def __init__(self, broken: Any) -> None:
        self.extractor = broken

    def sample_media(self) -> MemoryFile:
        return SAMPLE

    def sample_options(self) -> Mapping[str, Any]:
        return {"short": False}

    def sample_page(self) -> Page:
        return Page(number=1, media=MemoryFile(png(b"\0\0\0", 2, 2), "image/png", "p.png"))


class TestFacts(ExtractorContract):
    extractor = Facts()

    def sample_media(self) -> MemoryFile:
        return SAMPLE


def facts(change: Callable[[dict[str, Any], Work], Any]) -> type[Facts]:
    """The honest extractor with its section changed."""

    def extract(self: Facts, work: Work) -> Any:
        return change(Facts.extract(self, work), work)

    return type("Changed", (Facts,), {"extract": extract})


def other(**more: Any) -> type[Facts]:
    return type("Changed", (Facts,), more)


class Fragile(Facts):
    def extract(self, work: Work) -> Any:
        struct.unpack(">I", content(work.media)[-4:])
        return super().extract(work)


class Minding(Facts):
    def extract(self, work: Work) -> Any:
        return super().extract(work) | {"count": int(work.options.get("most", "1") or "none")}


class Tallying(Facts):
    calls = 0

    def extract(self, work: Work) -> Any:
        type(self).calls += 1
        return super().extract(work) | {"count": self.calls}


class Noting(Facts):
    def extract(self, work: Work) -> Any:
        if hasattr(work.media, "path"):
            work.media.path.write_bytes(b"")
            return {"title": "", "count": 0}
        return super().extract(work)


class Reading(Facts):
    schema: Any = {"type": "array", "items": {"required": ["page", "text"], "properties": {"page": {"type": "integer"}}}}

    def read(self, page: Page, work: Work) -> Any:
        return {"words": 3}


LOUD = {"$ref": "https://example.org/schema.json"}

EXTRACTORS: dict[str, tuple[type[Facts], str]] = {
    "another call": (other(call="read"), "test_it_satisfies_the_protocol"),
    "for another type": (other(mimetypes=("text/plain",), extensions=()), "test_the_sample_is_of_a_type_it_is_for"),
    "a probe that raises": (other(probe=lambda self, head, name: head[3] == 69), "test_a_probe_judges_and_never_raises"),
    "no schema": (other(schema={}), "test_the_schema_is_a_json_schema_that_stands_alone"),
    "a wrong schema": (other(schema={"type": "text"}), "test_the_schema_is_a_json_schema_that_stands_alone"),
    "a schema elsewhere": (other(schema=LOUD), "test_the_schema_is_a_json_schema_that_stands_alone"),
    "a schema that is no JSON": (other(schema={"const": b"x"}), "test_the_schema_is_a_json_schema_that_stands_alone"),
    "more than the schema": (
        facts(lambda said, work: said | {"author": "x"}),
        "test_the_section_fits_the_schema_under_every_profile",
    ),
    "less than the schema where little may be said": (
        facts(lambda said, work: said if work.shop.metadata != "none" else {"count": 1}),
        "test_the_section_fits_the_schema_under_every_profile",
    ),
    "nothing to say": (facts(lambda said, work: None), "test_the_section_fits_the_schema_under_every_profile"),
    "tuples": (facts(lambda said, work: said | {"colours": ("red",)}), "test_the_section_travels_as_json"),
    "numbers as keys": (facts(lambda said, work: {1: said}), "test_the_section_travels_as_json"),
    "bytes": (facts(lambda said, work: said | {"title": b"x"}), "test_the_section_travels_as_json"),
    "no number": (facts(lambda said, work: said | {"count": math.nan}), "test_the_section_travels_as_json"),
    "a megabyte": (facts(lambda said, work: said | {"title": "x" * (1 << 20)}), "test_the_section_is_bounded_and_printable"),
    "a zero byte": (facts(lambda said, work: said | {"title": "a\0b"}), "test_the_section_is_bounded_and_printable"),
    "another section each time": (Tallying, "test_the_same_file_gives_the_same_section"),
    "the place to whom it is none of": (
        facts(lambda said, work: said | ({"place": "1,1"} if work.shop.metadata == "none" else {})),
        "test_a_wider_privacy_profile_only_adds",
    ),
    "other titles under other profiles": (
        facts(lambda said, work: said | {"title": work.shop.metadata}),
        "test_a_wider_privacy_profile_only_adds",
    ),
    "a source that it empties": (Noting, "test_the_source_is_not_changed"),
    "faults of the parser": (Fragile, "test_rubbish_ends_in_a_fault_of_the_tree_or_a_section"),
    "options taken for granted": (
        other(extract=lambda self, work: {"title": work.options["short"] and "", "count": 1}),
        "test_odd_options_end_in_a_fault_of_the_tree_or_a_section",
    ),
    "a page that does not fit": (Reading, "test_a_page_that_is_read_fits_the_schema"),
}


@pytest.mark.parametrize(("broken", "caught_by"), EXTRACTORS.values(), ids=EXTRACTORS.keys())
def test_a_broken_extractor_fails_the_suite(broken: type[Facts], caught_by: str, tmp_path: Path) -> None:
    from jsonschema import SchemaError

    suite: Callable[[Any], ExtractorContract] = FactsSuite
    with pytest.raises((AssertionError, SchemaError)):
        _run(suite(broken()), caught_by, tmp_path)
    _run(suite(Facts()), caught_by, tmp_path)


def test_every_test_of_the_extractors_suite_catches_something() -> None:
    tests = {name for name in dir(ExtractorContract) if name.startswith("test_")}
    assert tests == {caught_by for _, caught_by in EXTRACTORS.values()}


def test_a_page_that_is_read_and_fits_holds() -> None:
    class Good(Reading):
        def read(self, page: Page, work: Work) -> Any:
            return {"text": "three words here"}

    FactsSuite(Good()).test_a_page_that_is_read_fits_the_schema()


def test_a_workshop_of_ones_own_is_what_the_previewer_gets() -> None:
    class Asking(Sheets):
        def preview(self, work: Work) -> Iterator[Page]:
            if work.shop.metadata != "all":
                raise Unsupported("it wants another shop")
            yield from super().preview(work)

    class Suite(SheetsSuite):
        def sample_shop(self) -> SimpleWorkshop:
            return SimpleWorkshop(metadata="all")

    Suite(Asking()).test_each_page_is_a_picture_with_a_type()
