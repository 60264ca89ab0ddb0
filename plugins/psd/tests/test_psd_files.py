"""Photoshop files, made with psd-tools and by hand: their page, their tree of layers, and what hostile ones come to."""

from __future__ import annotations

import json
import random
import struct
import sys
import tempfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from psd_tools import PSDImage
from psd_tools.constants import Resource

import secure_delivery_psd
from secure_delivery.engine import confine
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.plugin import (
    ConfigurationError,
    Corrupt,
    Media,
    MemoryFile,
    SecureDeliveryError,
    TooLarge,
    Unsupported,
    WorkLimits,
)
from secure_delivery.plugin.testing_extractors import ExtractorContract
from secure_delivery.plugin.testing_previews import PreviewerContract, extracted, previewed

PREVIEWER = secure_delivery_psd.register_previewers({})["psd"]
EXTRACTOR = secure_delivery_psd.register_extractors({})["psd"]
RED, GREEN, BLUE = (200, 20, 20), (20, 160, 40), (20, 40, 200)


@pytest.fixture(scope="module", autouse=True)
def warmed() -> None:
    PREVIEWER.warm()
    EXTRACTOR.warm()


def saved(document: PSDImage, name: str = "a.psd") -> MemoryFile:
    out = BytesIO()
    document.save(out)
    return MemoryFile(out.getvalue(), "image/vnd.adobe.photoshop", name)


def poster(size: tuple[int, int] = (60, 40)) -> PSDImage:
    """A background, a group with a green layer and a group in which a hidden blue one lies, shifted."""
    document = PSDImage.new("RGB", size, color=255)
    document.create_pixel_layer(Image.new("RGB", size, RED), name="Background")
    outer = document.create_group(name="Outer")
    outer.create_pixel_layer(Image.new("RGB", (20, 10), GREEN), name="Gr\u00fcn", top=5, left=10)
    inner = outer.create_group(name="Inner")
    blue = inner.create_pixel_layer(Image.new("RGBA", (8, 6), (*BLUE, 128)), name="Blue", top=20, left=30, opacity=102)
    blue.visible = False
    document.mark_updated()
    return document


def without_whole(document: PSDImage) -> MemoryFile:
    """The same file, saying of itself that it holds no picture of the whole, which is white."""
    out = BytesIO()
    document._record.write(out)
    data = bytearray(out.getvalue())
    at = data.index(b"8BIM" + struct.pack(">H", Resource.VERSION_INFO))
    data[at + 16] = 0
    return MemoryFile(bytes(data), "image/vnd.adobe.photoshop", "a.psd")


def seen(media: MemoryFile, **more: Any) -> Image.Image:
    (page,) = previewed(PREVIEWER, media, pages="all", **more)
    assert (page.number, page.total) == (1, 1)
    image: Image.Image = page.media.decoded()  # type: ignore[attr-defined]
    return image.convert("RGB")


class TestPreviewer(PreviewerContract):
    previewer = PREVIEWER
    pictures_inside = True

    def sample_media(self) -> Media:
        return saved(poster())


class TestPreviewerOfLayers(TestPreviewer):
    def sample_media(self) -> Media:
        return without_whole(poster())


class TestExtractor(ExtractorContract):
    extractor = EXTRACTOR

    def sample_media(self) -> Media:
        return saved(poster())


# ---------------------------------------------------------------------------------------------------------------- pages


def test_the_picture_of_the_whole_is_the_page() -> None:
    """As Photoshop saved it."""
    image = seen(saved(poster()))
    assert image.size == (60, 40)
    assert [image.getpixel(place) for place in ((2, 2), (15, 8), (32, 22))] == [RED, GREEN, RED]


def test_a_file_without_one_is_put_together_from_its_visible_layers() -> None:
    """Its data holds nothing but white, say; the layers are what is shown."""
    image = seen(without_whole(poster()))
    assert [image.getpixel(place) for place in ((2, 2), (15, 8), (32, 22))] == [RED, GREEN, RED]


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "LAB"])
@pytest.mark.parametrize("depth", [8, 16])
def test_every_usual_kind_of_colours_is_read(mode: str, depth: int) -> None:
    """Grey, screen, print, Lab, with eight and sixteen bits."""
    document = PSDImage.new(mode, (16, 8), depth=depth)
    document.create_pixel_layer(Image.new("RGB", (16, 8), (200, 60, 60)).convert("RGB"), name="a")
    document.mark_updated()
    red, _, blue = seen(saved(document)).getpixel((8, 4))
    assert (red > blue + 60) if mode != "L" else 60 < red < 160


def test_transparency_stays() -> None:
    """Where no layer is, nothing is seen."""
    document = PSDImage.frompil(Image.new("RGBA", (8, 8), (10, 20, 30, 255)))
    (page,) = previewed(PREVIEWER, saved(document))
    assert page.media.dimensions() == (8, 8)  # type: ignore[attr-defined]
    assert PREVIEWER.probe(saved(document).data[:4096], "x")  # type: ignore[attr-defined]


# ----------------------------------------------------------------------------------------------------------------- tree


def tree(media: MemoryFile, **more: Any) -> tuple[Any, dict[str, Media]]:
    attached: dict[str, Media] = {}
    section = extracted(EXTRACTOR, media, attached=attached, **more)
    json.dumps(section, allow_nan=False)
    return section, attached


def test_the_tree_is_told_with_a_picture_of_each_node() -> None:
    """Nested as in the file, the uppermost first; hidden layers too."""
    section, attached = tree(saved(poster()))
    assert (section["width"], section["height"], section["depth"], section["color_mode"], section["format"]) == (
        60,
        40,
        8,
        "rgb",
        "psd",
    )
    assert (section["count"], section["truncated"]) == (5, False)
    outer, background = section["layers"]
    inner, green = outer["layers"]
    (blue,) = inner["layers"]
    assert [node["name"] for node in (outer, background, inner, green, blue)] == [
        "Outer",
        "Background",
        "Inner",
        "Gr\u00fcn",
        "Blue",
    ]
    assert [node["kind"] for node in (outer, green)] == ["group", "pixel"]
    assert green["box"] == {"left": 10, "top": 5, "width": 20, "height": 10}
    assert (blue["visible"], blue["opacity"], blue["blend_mode"]) == (False, 0.4, "normal")
    pictures = {node["name"]: Image.open(attached[node["url"]].open()) for node in (background, green, blue)}
    assert pictures["Background"].size == (60, 40) and pictures["Blue"].size == (8, 6)
    assert pictures["Gr\u00fcn"].convert("RGB").getpixel((3, 3)) == GREEN
    assert pictures["Blue"].convert("RGBA").getpixel((3, 3))[2] > 190
    assert Image.open(attached[outer["url"]].open()).convert("RGBA").getextrema()[1][1] == GREEN[1]
    assert Image.open(attached[section["url"]].open()).convert("RGB").getpixel((2, 2)) == RED
    assert len(set(attached)) == len(attached)


def test_layers_are_bounded_in_number_and_depth_and_pixels() -> None:
    """300 layers: 200 pictures; 25 levels: 16; large ones are made smaller, and stop at a hundred megapixels."""
    many = PSDImage.new("RGB", (8, 8))
    for number in range(300):
        many.create_pixel_layer(Image.new("L", (2, 2), number % 256).convert("RGB"), name=f"n{number}")
    section, attached = tree(without_whole(many))
    assert len(section["layers"]) == 300 and len(attached) <= 200 and section["truncated"] is True
    assert sum(node["url"] is None for node in section["layers"]) >= 100

    deep = PSDImage.new("RGB", (8, 8))
    place: Any = deep
    for level in range(25):
        place = place.create_group(name=f"level {level}")
    place.create_pixel_layer(Image.new("RGB", (4, 4)), name="bottom")
    section, _ = tree(without_whole(deep))
    levels, nodes = 0, section["layers"]
    while nodes:
        levels, nodes = levels + 1, nodes[0]["layers"]
    assert levels == 16 and section["truncated"] is True

    wide = PSDImage.new("L", (4_000, 3_000))
    for number in range(12):
        wide.create_pixel_layer(Image.new("L", (4_000, 3_000), number), name=f"{number}")
    section, attached = tree(without_whole(wide))
    shown = [node["url"] for node in section["layers"] if node["url"]]
    assert 0 < len(shown) < 12 and section["truncated"] is True
    assert max(attached[shown[0]].decoded().size) == 2_048  # type: ignore[attr-defined]


def test_a_layer_that_cannot_be_drawn_is_an_empty_picture() -> None:
    """The others are as they are."""
    media = saved(poster())
    data = bytearray(media.data)
    at = data.index(b"8BIMnorm")  # the records end here or later: what follows the last one are pixels
    for place in range(at + 600, min(at + 900, len(data))):
        data[place] = 0xFF
    try:
        section, attached = tree(MemoryFile(bytes(data), media.mimetype, media.filename))
    except SecureDeliveryError:
        return
    for picture in attached.values():
        assert min(picture.decoded().size) >= 1  # type: ignore[attr-defined]
    assert section["layers"]


def test_names_are_clean_and_of_a_sensible_length() -> None:
    """Control characters are left out."""
    document = PSDImage.new("RGB", (8, 8))
    document.create_pixel_layer(Image.new("RGB", (2, 2)), name="a\x1b[31m\0b" + "x" * 200)
    section, _ = tree(saved(document))
    name = section["layers"][0]["name"]
    assert name.isprintable() and name.startswith("a[31mb") and len(name) <= 255


# -------------------------------------------------------------------------------------------------------------- hostile


def header(width: int, height: int, channels: int = 3, depth: int = 8, version: int = 1) -> bytes:
    return b"8BPS" + struct.pack(">H6xHIIHH", version, channels, height, width, depth, 3) + bytes(64)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (header(30_000, 30_000), TooLarge),
        (header(300_000, 300_000, version=2), TooLarge),
        (header(9_999, 9_999, channels=56, depth=32), TooLarge),
        (header(0, 9), Corrupt),
        (header(9, 9, channels=0), Corrupt),
        (header(9, 9, channels=999), Corrupt),
        (header(9, 9, depth=7), Corrupt),
        (header(9, 9, version=3), Unsupported),
        (header(9, 9)[:30], Corrupt),
        (b"", Unsupported),
        (b"hello", Unsupported),
    ],
)
def test_what_a_header_announces_is_judged_first(data: bytes, fault: type[SecureDeliveryError]) -> None:
    """By both, before anything is read."""
    media = MemoryFile(data, "image/vnd.adobe.photoshop", "a.psd")
    with pytest.raises(fault):
        previewed(PREVIEWER, media)
    with pytest.raises(fault):
        extracted(EXTRACTOR, media)


def test_putting_layers_together_is_bounded() -> None:
    """Thirty layers on four megapixels would take half a minute: refused, and the next previewer is tried."""
    document = PSDImage.new("L", (2_000, 2_000))
    for number in range(30):
        document.create_pixel_layer(Image.new("L", (2, 2)), name=f"{number}")
    with pytest.raises(TooLarge):
        previewed(PREVIEWER, without_whole(document))


def test_damaged_files_end_in_faults() -> None:
    """Flipped and cut anywhere, with and without a picture of the whole."""
    chance = random.Random(11)
    for media in (saved(poster()), without_whole(poster())):
        for _ in range(60):
            damaged = bytearray(media.data[: chance.randrange(30, len(media.data) + 1)])
            for place in chance.sample(range(26, len(damaged)), min(4, len(damaged) - 26)):
                damaged[place] = chance.choice((0, 255, chance.randrange(256)))
            hurt = MemoryFile(bytes(damaged), media.mimetype, media.filename)
            for act in (lambda hurt=hurt: seen(hurt), lambda hurt=hurt: [one.open() for one in tree(hurt)[1].values()]):
                try:
                    act()
                except SecureDeliveryError:
                    continue


def test_the_self_test_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the server process imports no library."""
    monkeypatch.setitem(sys.modules, "psd_tools", None)
    with pytest.raises(ConfigurationError, match="psd-tools"):
        secure_delivery_psd.self_test({})


# ------------------------------------------------------------------------------------------------------------- confined


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    if not confine.LINUX:
        pytest.skip("confinement is only there on Linux")
    choice = PluginChoice(extra=["secure_delivery_psd"], blocked=["psd"], warm=())
    with Sandbox(1, plugins=choice, limits=WorkLimits()) as sandbox:
        yield sandbox


def confined(sandbox: Sandbox, task: str, media: MemoryFile, **options: Any) -> tuple[dict[str, Any], bytes]:
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as output:
        file.write(media.data)
        file.flush()
        source = ChainSource(file.fileno(), media.mimetype, media.filename)
        outcome = sandbox.run(Chain(tasks=[(task, options)], sources=[source], output=output.fileno()))
        output.seek(0)
        data = output.read()
    start, length = outcome.extra["document"]
    return json.loads(data[start : start + length]), data


def test_pages_and_layers_are_made_in_confinement(sandbox: Sandbox) -> None:
    """No file is opened late, no thread started."""
    more = {"pages": "1", "address": None}
    for media in (saved(poster()), without_whole(poster())):
        sizes = {"sizes": [(30, 0, False, "30"), (0, 0, False, "original")], "hint": (30, 0), "format": "png"}
        document, data = confined(sandbox, "preview:psd", media, **sizes, most_pages=1, readers=[], **more)
        (page,) = document["pages"]
        assert (page["width"], page["height"]) == (60, 40)
        first = page["pictures"][0]
        picture = Image.open(BytesIO(data[first["offset"] : first["offset"] + first["length"]])).convert("RGB")
        assert picture.size == (30, 20) and picture.getpixel((1, 1)) == RED
    document, data = confined(sandbox, "extract:psd", saved(poster()), options={}, **more)
    assert len(document["attached"]) == 5 and document["value"]["layers"][0]["url"].startswith("attached:")
    for one in document["attached"]:
        Image.open(BytesIO(data[one["offset"] : one["offset"] + one["length"]])).load()
