"""Camera raw: what is recognised, which of its pictures is shown, and what hostile files come to."""

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

import secure_delivery_raw
from secure_delivery.engine import confine
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.engine.types import sniff
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
from secure_delivery.plugin.testing import SimpleWorkshop, bind, content
from secure_delivery.plugin.testing_extractors import ExtractorContract
from secure_delivery.plugin.testing_previews import PreviewerContract, extracted, previewed
from secure_delivery_images.extractors import extractors
from secure_delivery_images.previewers import previewers as pictures
from secure_delivery_images.tasks import transformations
from secure_delivery_raw.kinds import is_raw

PREVIEWER: Any = secure_delivery_raw.register_previewers({})["raw"]
EXTRACTOR: Any = secure_delivery_raw.register_extractors({})["raw"]
YELLOW = (240, 220, 40)


@pytest.fixture(scope="module", autouse=True)
def warmed() -> None:
    PREVIEWER.warm()
    EXTRACTOR.warm()


def at(media: Media, width: int = 0) -> Image.Image:
    """The page as the engine makes it, at this width or its own."""
    (page,) = previewed(PREVIEWER, media, pages="all", size=(width, 0) if width else None)
    assert (page.number, page.total) == (1, 1)
    resize = transformations()["resize"]
    made = resize.apply(page.media, bind(resize, w=str(width)), SimpleWorkshop()) if width else page.media
    return Image.open(BytesIO(content(made))).convert("RGB")


def corners(image: Image.Image) -> str:
    """Letters of the colours of the four quarters, in reading order."""
    letters = {"R": (220, 30, 30), "G": (30, 170, 40), "B": (30, 50, 210), "W": (240, 240, 240), "Y": YELLOW}
    width, height = image.size
    seen = [image.getpixel((x, y)) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]
    return "".join(
        min(letters, key=lambda name: sum(abs(a - b) for a, b in zip(letters[name], pixel, strict=True))) for pixel in seen
    )


class _Sample:
    @pytest.fixture(autouse=True)
    def _made(self, raw: Any) -> None:
        self._media = raw(160, 120)

    def sample_media(self) -> Media:
        return self._media  # type: ignore[no-any-return]


class TestPreviewer(_Sample, PreviewerContract):
    previewer = PREVIEWER


class TestExtractor(_Sample, ExtractorContract):
    extractor = EXTRACTOR


# ---------------------------------------------------------------------------------------------------------- recognising


def test_a_dng_is_taken_for_tiff_and_known_all_the_same(raw: Any) -> None:
    """By its name, or by its tag; a TIFF file with the name of one is left to others."""
    media = raw(64, 48)
    assert sniff(media.data[:4096], "a.dng") == "image/tiff"
    assert is_raw(media.data[:4096], "a.dng") and "image/tiff" in PREVIEWER.mimetypes
    small = raw(8, 8)
    assert is_raw(small.data[:4096], "a.tif")  # its directory lies in the head, and has the tag
    out = BytesIO()
    Image.new("RGB", (64, 48)).save(out, "TIFF")
    assert not is_raw(out.getvalue()[:4096], "scan.tif")
    assert PREVIEWER.priority > pictures()["picture"].priority


@pytest.mark.parametrize(
    ("head", "name", "known"),
    [
        (b"II*\0\x10\0\0\0CR\2\0", "x", True),
        (b"II*\0\x10\0\0\0", "x.nef", True),
        (b"MM\0*\0\0\0\x10", "X.NEF", True),
        (b"MM\0*\0\0\0\x10", "x.tiff", False),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "x", True),
        (b"FUJIFILMCCD-RAW 0201", "x", True),
        (b"IIRO\x08\0\0\0", "x.orf", True),
        (b"IIU\0\x08\0\0\0", "x", True),
        (b"II\x1a\0\0\0HEAPCCDR", "x", True),
        (b"\xff\xd8\xff\xe0", "x.nef", False),
        (b"hello", "x.raw", False),
        (b"", "x.dng", False),
        (b"II*\0\xff\xff\xff\xff", "x", False),
    ],
)
def test_content_decides_and_among_tiff_files_the_name(head: bytes, name: str, known: bool) -> None:
    """No other file becomes camera raw by being called so."""
    assert is_raw(head, name) is known


# --------------------------------------------------------------------------------------------------------------- pages


def test_a_file_without_a_picture_inside_is_developed(raw: Any) -> None:
    """At its own size, and smaller."""
    media = raw(640, 480)
    for width, size in ((0, (640, 480)), (100, (100, 75)), (640, (640, 480)), (500, (500, 375))):
        image = at(media, width)
        assert image.size == size and corners(image) == "RGBW"


def test_the_picture_inside_is_shown_where_it_is_large_enough(raw: Any) -> None:
    """A yellow one, to tell them apart: up to its size it is the page, beyond it the sensor's pixels are."""
    media = raw(640, 480, inside=Image.new("RGB", (320, 240), YELLOW))
    assert corners(at(media, 100)) == corners(at(media, 320)) == "YYYY"
    assert corners(at(media, 400)) == corners(at(media)) == "RGBW"
    (page,) = previewed(PREVIEWER, media)
    assert page.media.dimensions() == (640, 480)  # type: ignore[attr-defined]


def test_a_picture_inside_of_another_shape_does_not_show_the_whole(raw: Any) -> None:
    """Small ones often have black bars, or are cut: the sensor's pixels are shown."""
    assert corners(at(raw(640, 480, inside=Image.new("RGB", (320, 180), YELLOW)), 100)) == "RGBW"


def test_a_picture_inside_that_lacks_a_few_rows_is_the_whole(raw: Any) -> None:
    """At full size, too, as cameras leave the edge out."""
    image = at(raw(640, 480, inside=Image.new("RGB", (630, 472), YELLOW)))
    assert image.size == (640, 480) and corners(image) == "YYYY"


@pytest.mark.parametrize(("orientation", "wanted"), [(1, "RGBW"), (3, "WBGR"), (6, "BRWG"), (8, "GWRB")])
@pytest.mark.parametrize("inside", [False, True])
def test_pages_are_upright(orientation: int, wanted: str, inside: bool, raw: Any) -> None:
    """By the note of the camera, developed or taken from inside, at any size."""
    more = {"inside": at(raw(640, 480))} if inside else {}
    media = raw(640, 480, orientation=orientation, **more)
    size = (480, 640) if orientation >= 5 else (640, 480)
    image = at(media)
    assert image.size == size and corners(image) == wanted
    assert corners(at(media, 90)) == wanted


def test_a_picture_inside_that_was_turned_already_is_left_as_it_is(raw: Any) -> None:
    """Its proportions say so, or a tag of its own."""
    upright = at(raw(640, 480, orientation=6))
    assert corners(at(raw(640, 480, orientation=6, inside=upright), 90)) == "BRWG"


def test_a_file_that_cannot_be_developed_shows_what_is_inside(raw: Any) -> None:
    """However small: the sensor's data lie beyond the end of the file."""
    media = raw(640, 480, inside=Image.new("RGB", (160, 120), YELLOW))
    entry = media.data.index(struct.pack("<HHI", 259, 3, 1) + struct.pack("<I", 1))
    broken = media.data[: entry + 8] + struct.pack("<I", 34892) + media.data[entry + 12 :]  # a compression nobody has
    image = at(MemoryFile(broken, media.mimetype, media.filename), 500)
    assert image.size == (500, 375) and corners(image) == "YYYY"


# ---------------------------------------------------------------------------------------------------------------- notes


def test_the_section_tells_sizes_and_what_is_inside(raw: Any) -> None:
    """Of a file that was held upright."""
    section = extracted(EXTRACTOR, raw(640, 480, orientation=6, inside=Image.new("RGB", (320, 240))))
    assert section == {
        "width": 480,
        "height": 640,
        "sensor": {"width": 640, "height": 480},
        "rotation": 90,
        "colors": 3,
        "pattern": "RGBG",
        "embedded": {"width": 240, "height": 320},
    }
    assert extracted(EXTRACTOR, raw(64, 48))["embedded"] is None


def test_the_section_of_pictures_is_silent_about_camera_raw(raw: Any) -> None:
    facts = extractors()["image"]
    for inside in (None, Image.new("RGB", (40, 30))):
        assert extracted(facts, raw(64, 48, inside=inside)) is None


# -------------------------------------------------------------------------------------------------------------- hostile


def test_sizes_are_judged_before_anything_is_unpacked(raw: Any) -> None:
    """Ten thousand megapixels in a small file; and the limit of the application."""
    media = raw(64, 48, stated=(60_000, 60_000))
    for act in (lambda: previewed(PREVIEWER, media), lambda: extracted(EXTRACTOR, media)):
        with pytest.raises((TooLarge, Corrupt)):
            act()
    with pytest.raises(TooLarge):
        previewed(PREVIEWER, raw(640, 480), shop=SimpleWorkshop(limits=WorkLimits(pixels=300_000)))
    with pytest.raises(TooLarge):
        previewed(PREVIEWER, raw(64, 48), shop=SimpleWorkshop(limits=WorkLimits(bytes=100)))


def test_what_is_no_camera_raw_is_left_to_others() -> None:
    """Text, pictures, nothing."""
    for data in (b"", b"hello", b"\xff\xd8\xff\xe0" + bytes(99)):
        with pytest.raises(Unsupported):
            previewed(PREVIEWER, MemoryFile(data, "image/tiff", "a.nef"))


def test_a_tiff_file_under_a_raw_name_is_a_fault_and_no_page() -> None:
    """The next previewer, that of pictures, then shows it."""
    out = BytesIO()
    Image.new("RGB", (64, 48), "red").save(out, "TIFF")
    media = MemoryFile(out.getvalue(), "image/tiff", "a.nef")
    with pytest.raises((Unsupported, Corrupt)):
        content(previewed(PREVIEWER, media)[0].media)
    assert len(previewed(pictures()["picture"], media)) == 1


def test_damaged_files_end_in_faults_or_pages(raw: Any) -> None:
    """Cut and flipped, in directories above all."""
    chance = random.Random(2)
    media = raw(96, 64, inside=Image.new("RGB", (48, 32), YELLOW))
    size = len(media.data)
    for _ in range(80):
        damaged = bytearray(media.data[: size if chance.random() < 0.7 else chance.randrange(size)])
        for _ in range(4):
            place = chance.randrange(max(0, len(damaged) - 700), len(damaged))
            damaged[place] = chance.choice((0, 255, chance.randrange(256)))
        hurt = MemoryFile(bytes(damaged), media.mimetype, media.filename)
        for act in (lambda hurt=hurt: at(hurt, 40), lambda hurt=hurt: extracted(EXTRACTOR, hurt)):
            try:
                act()
            except SecureDeliveryError:
                continue


def test_the_self_test_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing library is the reason that the plugin reports."""
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(ConfigurationError, match="rawpy"):
        secure_delivery_raw.self_test({})


# ------------------------------------------------------------------------------------------------------------- confined


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    if not confine.LINUX:
        pytest.skip("confinement is only there on Linux")
    choice = PluginChoice(extra=["secure_delivery_raw"], blocked=["raw"], warm=())
    with Sandbox(1, plugins=choice, limits=WorkLimits()) as sandbox:
        yield sandbox


def test_camera_raw_is_developed_in_confinement(sandbox: Sandbox, raw: Any) -> None:
    """Twelve megapixels: LibRaw opens no file, starts no thread, and has memory enough."""
    more = {"pages": "1", "address": None}
    options = {"sizes": [(300, 0, False, "300"), (0, 0, False, "original")], "hint": None, "format": "jpg"}
    for media in (raw(4_000, 3_000), raw(640, 480, inside=Image.new("RGB", (320, 240), YELLOW))):
        document, data = confined(sandbox, "preview:raw", media, **options, most_pages=1, readers=[], **more)
        first, second = (
            Image.open(BytesIO(data[one["offset"] : one["offset"] + one["length"]])).convert("RGB")
            for one in document["pages"][0]["pictures"]
        )
        assert first.size == (300, 225) and corners(second) == "RGBW"
    document, _ = confined(sandbox, "extract:raw", raw(640, 480), options={}, **more)
    assert document["value"]["width"] == 640


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
