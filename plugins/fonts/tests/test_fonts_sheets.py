"""Fonts of every kind, built for the tests or cut out of DejaVu Sans: what they say, how they look, what hostile ones get."""

from __future__ import annotations

import io
import random
import struct
import zlib
from importlib.resources import files
from typing import Any

import brotli
import jsonschema
import pytest
from fontTools import subset
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.t2CharStringPen import T2CharStringPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont
from PIL import Image

import secure_delivery_fonts
from secure_delivery.engine.types import sniff
from secure_delivery.plugin import Corrupt, MemoryFile, SecureDeliveryError, TooLarge, Unsupported
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.testing import ExtractorContract, PreviewerContract, extracted, previewed
from secure_delivery_fonts import coverage, samples, sfnt
from secure_delivery_fonts.extractor import FontFacts
from secure_delivery_fonts.previewer import FontSheets

DEJAVU = files("secure_delivery_images.lettering").joinpath("DejaVuSans.ttf").read_bytes()


def media(data: bytes, filename: str = "font.ttf") -> MemoryFile:
    return MemoryFile(data, sniff(data[:4096], filename), filename)


def saved(font: TTFont, flavor: str | None = None) -> bytes:
    font.flavor = flavor
    out = io.BytesIO()
    font.save(out)
    return out.getvalue()


def only(text: str, flavor: str | None = None) -> bytes:
    """DejaVu Sans with these characters alone."""
    font = TTFont(io.BytesIO(DEJAVU))
    cutter = subset.Subsetter(subset.Options(name_IDs=["*"], name_languages=["*"], notdef_outline=True))
    cutter.populate(text=text)
    cutter.subset(font)
    return saved(font, flavor)


def built(letters: str = "AB", *, outlines: str = "glyf", axes: Any = (), **names: str) -> TTFont:
    """A font whose letters are squares, of 600 by 600 units."""
    glyphs = [".notdef", *(f"u{ord(letter):04X}" for letter in letters)]
    builder = FontBuilder(1000, isTTF=outlines == "glyf")
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({ord(letter): f"u{ord(letter):04X}" for letter in letters})
    shapes = {}
    for name in glyphs:
        pen: Any = TTGlyphPen(None) if outlines == "glyf" else T2CharStringPen(700, None)
        pen.moveTo((50, 0))
        for point in ((50, 600), (650, 600), (650, 0)):
            pen.lineTo(point)
        pen.closePath()
        shapes[name] = pen.glyph() if outlines == "glyf" else pen.getCharString()
    if outlines == "glyf":
        builder.setupGlyf(shapes)
    else:
        builder.setupCFF("Built", {}, shapes, {})
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (700, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Built", "styleName": "Regular", **names})
    builder.setupOS2(fsType=0x0108, usWeightClass=650, usWidthClass=4)
    builder.setupPost(isFixedPitch=1)
    if axes:
        builder.setupFvar(list(axes), [{"location": {"wght": 700, "slnt": 0}, "stylename": "Heavy"}])
    return builder.font


def collection() -> bytes:
    both = TTCollection()
    both.fonts = [built("AB", familyName="First"), built("AB", familyName="Second"), built("AB", familyName="Third")]
    out = io.BytesIO()
    both.save(out)
    return out.getvalue()


def facts(one: MemoryFile) -> Any:
    section = extracted(FontFacts(), one)
    jsonschema.Draft202012Validator(FontFacts.schema).validate(section)
    return section


def sheet(data: bytes, **more: Any) -> Image.Image:
    image: Image.Image = previewed(FontSheets(), media(data), **more)[0].media.decoded()
    return image


class TestFontHoldsTheContract(PreviewerContract):
    previewer = FontSheets()

    def sample_media(self) -> MemoryFile:
        return media(only("The quick brown fox jumps over the lazy dog. 0123456789"))


class TestFontFactsHoldTheContract(ExtractorContract):
    extractor = FontFacts()

    def sample_media(self) -> MemoryFile:
        return media(only("abc"))


class TestCollectionHoldsTheContract(PreviewerContract):
    previewer = FontSheets()

    def sample_media(self) -> MemoryFile:
        return media(collection(), "fonts.ttc")


def test_the_plugin_is_found_and_declares_what_it_has() -> None:
    registry = load(extra={"ours": secure_delivery_fonts}, blocked=["fonts"])
    (report,) = [report for report in registry.reports if report.name == "ours"]
    assert report.problem is None
    assert (list(report.offers["previewers"]), list(report.offers["extractors"])) == (["font"], ["font"])


# ----------------------------------------------------------------------------------------------------- what fonts say


def test_a_font_says_what_its_tables_say() -> None:
    section = facts(media(DEJAVU))
    assert (section["family"], section["style"], section["version"]) == ("DejaVu Sans", "Book", "Version 2.37")
    assert (section["glyphs"], section["units_per_em"], section["weight"]) == (6253, 2048, 400)
    assert section["characters"] == len(TTFont(io.BytesIO(DEJAVU)).getBestCmap())
    assert section["scripts"][:5] == ["Latn", "Arab", "Cans", "Grek", "Cyrl"]
    assert "Bitstream" in section["copyright"] and section["licence"].startswith("Fonts are (c) Bitstream")
    assert section["embedding"] == {"level": "installable", "subsetting": True, "bitmap_only": False}


@pytest.mark.parametrize("outlines", ["glyf", "CFF "])
def test_a_font_of_either_kind_of_outlines_is_read(outlines: str) -> None:
    font = built("ABZ", outlines=outlines, designer="Dä", licenseInfoURL="https://example.org/", typographicFamily="Better")
    section = facts(media(saved(font)))
    assert section["format"] == ("truetype" if outlines == "glyf" else "opentype")
    assert (section["family"], section["designer"], section["licence_url"]) == ("Better", "Dä", "https://example.org/")
    assert (section["weight"], section["width"], section["monospaced"]) == (650, 4, True)
    assert section["embedding"] == {"level": "editable", "subsetting": False, "bitmap_only": False}
    assert section["ranges"] == ["0041-0042", "005A"]


def test_a_variable_font_says_its_axes_and_instances() -> None:
    section = facts(media(saved(built(axes=[("wght", 100, 400, 900, "Weight"), ("slnt", -12.5, 0, 0, "Slant")]))))
    assert section["variable"] is True
    assert section["axes"] == [
        {"tag": "wght", "name": "Weight", "minimum": 100, "default": 400, "maximum": 900},
        {"tag": "slnt", "name": "Slant", "minimum": -12.5, "default": 0, "maximum": 0},
    ]
    assert section["instances"] == ["Heavy"]


@pytest.mark.parametrize("flavor", ["woff", "woff2"])
def test_a_packed_font_says_and_shows_the_same(flavor: str) -> None:
    text = "The quick brown fox jumps over the lazy dog."
    plain, packed = only(text), only(text, flavor)
    assert facts(media(packed, f"font.{flavor}")) == facts(media(plain)) | {"format": flavor}
    assert sheet(packed).tobytes() == sheet(plain).tobytes()


def test_a_collection_names_all_its_fonts() -> None:
    section = facts(media(collection(), "a.ttc"))
    assert section["format"] == "collection"
    assert [face["family"] for face in section["faces"]] == ["First", "Second", "Third"]


@pytest.mark.parametrize("text", ["abcxyz", "\U0001f600\U0001f601x", "日本語", "".join(map(chr, range(0x400, 0x460)))])
def test_characters_are_those_that_another_reader_finds(text: str) -> None:
    """Character maps of 16 and of 32 bits."""
    font = built("".join(dict.fromkeys(text)))
    table = TTFont(io.BytesIO(saved(font))).reader["cmap"]
    found = coverage.ranges(table)
    assert {code for first, last in found for code in range(first, last + 1)} == set(map(ord, text))


# ---------------------------------------------------------------------------------------------------- how fonts look


def test_every_kind_of_font_is_drawn_and_described_in_confinement(drawn: Any, described: Any) -> None:
    """No reader needs a file, a socket or a process; a collection has a page for each font."""
    kinds = {
        "ttf": saved(built("AB")), "otf": saved(built("AB", outlines="CFF ")), "woff": saved(built("AB"), "woff"),
        "woff2": saved(built("AB"), "woff2"), "ttc": collection(),
    }  # fmt: skip
    for kind, data in kinds.items():
        images = drawn("font", media(data, f"font.{kind}"), pages="all", hint=[500, 0])
        assert [image.size for image in images] == [(500, 350)] * (3 if kind == "ttc" else 1)
        assert described("font", media(data, f"font.{kind}"))["glyphs"] == 3


def test_letters_are_those_of_the_font_and_not_of_another() -> None:
    """Squares of a font of squares: its sentence is a row of black boxes, the same at every size of the picture."""
    data = saved(built("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    for hint in (None, (500, 0), (2000, 0)):
        image = sheet(data, size=hint).convert("L")
        scale = image.width / 1000
        row = image.crop((round(48 * scale), round(140 * scale), round(700 * scale), round(190 * scale)))
        assert sum(row.histogram()[:80]) / (row.width * row.height) > 0.25


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("The quick brown fox jumps over the lazy dog.", "The"),
        ("Съешь же ещё этих мягких французских булок, да выпей чаю.", "Съе"),
        ("Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.", "Ξεσ"),
        ("דג סקרן שט בים מאוכזב ולפתע מצא חברה", "דג "),
        ("ԱԲԳԴԵԶ", "Ա Բ"),
        ("☀☁☂☃", "☀ ☁"),
    ],
)
def test_a_font_without_latin_is_shown_in_its_own_script(text: str, first: str) -> None:
    data = only(text)
    found = coverage.ranges(TTFont(io.BytesIO(data)).reader["cmap"])
    sample = samples.sample(found)
    assert sample.sentence[:3] == first
    assert all(coverage.has(found, row) for row in [*sample.rows, sample.sentence])
    assert sheet(data).convert("L").getextrema()[0] < 100


def test_icons_in_the_private_area_are_shown() -> None:
    sample = samples.sample([(0xE000, 0xE010)])
    assert sample.rows == ["".join(map(chr, range(0xE000, 0xE011)))]
    assert sheet(saved(built("\ue000\ue001\ue002"))).convert("L").getextrema()[0] < 100


# ------------------------------------------------------------------------------------------------------------ hostile


def with_table(name: str, content: bytes) -> bytes:
    """A font with these bytes for a table."""
    data = saved(built("AB"))
    face = sfnt.read(media(data)).faces[0]
    tables = {tag: face.table(tag) for tag in face.tables} | {name.encode(): content}
    out = struct.pack(">4s4H", b"\0\1\0\0", len(tables), 0, 0, 0)
    place = 12 + 16 * len(tables)
    for tag, table in sorted(tables.items()):
        out += struct.pack(">4s3L", tag, 0, place, len(table))
        place += len(table) + -len(table) % 4
    for _, table in sorted(tables.items()):
        out += table + bytes(-len(table) % 4)
    return out


def test_four_billion_characters_are_a_few_ranges() -> None:
    """Groups of a map that cover everything, many times over."""
    groups = struct.pack(">3L", 0, 0xFFFFFFFF, 1) * 10_000
    table = struct.pack(">4HL", 0, 1, 3, 10, 12) + struct.pack(">2H3L", 12, 0, 16 + len(groups), 0, 10_000) + groups
    section = facts(media(with_table("cmap", table)))
    assert (section["characters"], section["ranges"]) == (0x110000, ["0000-10FFFF"])


def test_names_that_stand_for_gigabytes_are_cut() -> None:
    """Sixty thousand records that all mean the same long text, and a licence of a million letters."""
    text = "x" * 32_000
    records = b"".join(struct.pack(">6H", 3, 1, 0x409, number % 30, 64_000, 0) for number in range(60_000))
    table = struct.pack(">3H", 0, 60_000, (6 + len(records)) & 0xFFFF) + records + text.encode("utf-16-be")
    section = facts(media(with_table("name", table)))
    assert len(str(section)) < 200_000


@pytest.mark.parametrize("name", ["cmap", "name", "OS/2", "head", "maxp", "post", "fvar", "glyf", "loca", "hmtx", "hhea"])
def test_a_damaged_table_ends_in_a_fault_or_a_sheet(name: str) -> None:
    chance = random.Random(name)
    for length in (0, 1, 5, 40, 500):
        data = with_table(name, chance.randbytes(length))
        for make in (lambda: facts(media(data)), lambda: sheet(data, size=(100, 0))):  # noqa: B023 - called at once
            try:
                make()
            except SecureDeliveryError:
                continue


@pytest.mark.parametrize("flavor", [None, "woff", "woff2"])
def test_damage_anywhere_ends_in_a_fault_or_a_sheet(flavor: str | None) -> None:
    whole = only("The quick brown", flavor)
    chance = random.Random(7)
    for number in range(150):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 4, 40))):
            data[chance.randrange(min(len(data), chance.choice((300, len(data)))))] = chance.randrange(256)
        cut = bytes(data if number % 3 else data[: chance.randrange(len(data))])
        for make in (lambda: facts(media(cut)), lambda: sheet(cut, size=(100, 0))):  # noqa: B023 - called at once
            try:
                make()
            except SecureDeliveryError:
                continue


def test_what_unpacks_to_too_much_is_refused() -> None:
    """Tables of WOFF that are larger than they say or than a font may be, and the same of WOFF 2."""
    woff = bytearray(saved(built("AB"), "woff"))
    for place in range(44, 44 + 20 * struct.unpack_from(">H", woff, 12)[0], 20):
        struct.pack_into(">L", woff, place + 12, 1 << 31)
    with pytest.raises(TooLarge):
        facts(media(bytes(woff)))
    bomb = zlib.compress(bytes(50_000_000), 9)
    head = struct.pack(">4s4s2L2H", b"wOFF", b"\0\1\0\0", 64 + len(bomb), 1, 0, 0) + bytes(24)
    head = head[:12] + struct.pack(">H", 1) + head[14:44]
    for said in (100_000, 60_000_000):
        data = head[:44] + struct.pack(">4s4L", b"glyf", 64, len(bomb), said, 0) + bomb
        with pytest.raises(Corrupt):
            facts(media(data))
    packed = brotli.compress(bytes(20_000_000), quality=5)
    head = struct.pack(">4s4sL2H2L", b"wOF2", b"\0\1\0\0", 60 + len(packed), 1, 0, 1_000, len(packed)) + bytes(24)
    with pytest.raises(Corrupt):
        facts(media(head[:48] + bytes([0b11001010]) + b"\x87\x68" + packed))
    with pytest.raises(TooLarge):
        facts(media(head[:48] + bytes([0b11001010]) + b"\x8f\xff\xff\xff\x7f" + packed))


def test_what_is_no_font_is_refused() -> None:
    for data in (b"", b"words", b"\0\1\0\0", b"ttcf" + bytes(20), b"wOF2", b"wOFF" + bytes(50), b"OTTO" + b"\xff" * 100):
        with pytest.raises(SecureDeliveryError):
            facts(MemoryFile(data, "font/ttf", "a.ttf"))
    with pytest.raises(Unsupported):
        facts(MemoryFile(b"words", "font/ttf", "a.ttf"))
