"""Pictures as pages: every format that is read, upright, one page for each page; and the icon that stands for all else."""

from __future__ import annotations

import random
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from secure_delivery.plugin import Corrupt, MemoryFile, Page, SecureDeliveryError, TooLarge, Unsupported, WorkLimits
from secure_delivery.plugin.testing import SimpleWorkshop, content
from secure_delivery.plugin.testing_previews import PreviewerContract, previewed
from secure_delivery_images.edits import Resize
from secure_delivery_images.families import FAMILIES, family_of
from secure_delivery_images.previewers import previewers

PICTURE, ICON = previewers()["picture"], previewers()["icon"]
FILES = Path(__file__).parent / "files"
RARE = {
    "JPEG2000": "jp2",
    "ICO": "ico",
    "ICNS": "icns",
    "DDS": "dds",
    "PCX": "pcx",
    "PPM": "ppm",
    "TGA": "tga",
    "QOI": "qoi",
    "SGI": "sgi",
}


@pytest.fixture(scope="module", autouse=True)
def warmed() -> None:
    PICTURE.warm()
    ICON.warm()


class _Contract(PreviewerContract):
    previewer = PICTURE
    pictures_inside = True
    form, name = "PNG", "a.png"

    def sample_media(self) -> Any:
        more = [Image.linear_gradient("L").resize((30, 20)), Image.new("RGB", (20, 30), "red")] if self.form == "TIFF" else []
        options = {"save_all": True, "append_images": more} if more else {}
        image = Image.radial_gradient("L").resize((48, 48)).convert("RGBA" if self.form == "ICO" else "RGB")
        return written(image, self.form, self.name, **options)


class TestJpeg(_Contract):
    form, name = "JPEG", "a.jpg"


class TestTiff(_Contract):
    form, name = "TIFF", "a.tif"


class TestIcon(_Contract):
    form, name = "ICO", "a.ico"


class TestJpeg2000(_Contract):
    form, name = "JPEG2000", "a.jp2"


class TestStandIn(PreviewerContract):
    previewer = ICON

    def sample_media(self) -> Any:
        return MemoryFile(b"whatever it is", "application/octet-stream", "a.what")


def written(image: Image.Image, form: str, name: str, **options: Any) -> MemoryFile:
    out = BytesIO()
    image.save(out, form, **options)
    return MemoryFile(out.getvalue(), "application/octet-stream", name)


def seen(page: Page) -> Image.Image:
    return page.media.decoded()  # type: ignore[attr-defined,no-any-return]


# --------------------------------------------------------------------------------------------------------------- pages


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_common_formats_are_one_page_of_their_own_size(form: str, quadrants: Any, saved: Any, looks_like: Any) -> None:
    """The page looks as the picture, and its size is that of the picture."""
    (page,) = previewed(PICTURE, saved(quadrants(64, 48), form))
    assert (page.number, page.total, page.media.dimensions()) == (1, 1, (64, 48))
    assert looks_like(seen(page), "RGBY")


@pytest.mark.parametrize("form", RARE)
def test_rare_formats_are_read_for_previews(form: str, quadrants: Any, looks_like: Any) -> None:
    """What no transformation reads still has a picture."""
    side = 256 if form == "ICNS" else 64
    mode = "RGBA" if form in ("ICO", "ICNS", "DDS") else "RGB"
    media = written(quadrants(side, side, mode), form, f"a.{RARE[form]}", **({"sizes": [(64, 64)]} if form == "ICO" else {}))
    assert PICTURE.probe(media.data[:4096], media.filename)
    page = previewed(PICTURE, media)[0]
    assert page.media.dimensions() == ((1024, 1024) if form == "ICNS" else (side, side))
    assert looks_like(seen(page), "RGBY")


@pytest.mark.parametrize("text", [b"P3 2 1 255 255 0 0 0 0 255", b"P2 2 1 9 0 9", b"P1\n# words\n2 1\n0 1"])
def test_pictures_written_as_plain_text_are_read(text: bytes) -> None:
    """The plain forms of PNM are text files that hold a picture."""
    (page,) = previewed(PICTURE, MemoryFile(text, "text/plain", "a.pnm"))
    assert page.media.dimensions() == (2, 1)
    left, right = (seen(page).convert("L").getpixel((x, 0)) for x in (0, 1))
    assert left != right


def test_pictures_are_upright(quadrants: Any, saved: Any, looks_like: Any) -> None:
    """The orientation tag is followed, and that of HEIC by its decoder."""
    exif = Image.Exif()
    exif[0x0112] = 6
    (page,) = previewed(PICTURE, saved(quadrants(64, 48), "JPEG", exif=exif))
    assert page.media.dimensions() == (48, 64)
    assert looks_like(seen(page), "BRYG")
    for name in ("plain.heic", "turned.heic"):
        (page,) = previewed(PICTURE, MemoryFile((FILES / name).read_bytes(), "image/heic", name))
        assert page.media.dimensions() == (64, 48)
        assert looks_like(seen(page), "RGBY", 40)


def test_a_jpeg_is_not_decoded_before_it_is_scaled(quadrants: Any, saved: Any) -> None:
    """Its decoder can then give an eighth of the size."""
    (page,) = previewed(PICTURE, saved(quadrants(640, 480), "JPEG"), size=(80, 80))
    assert page.media.pixels == [] and page.media.kept == []


@pytest.mark.parametrize("levels", [6, 1])
def test_jpeg_2000_is_decoded_as_far_as_a_page_takes(levels: int, quadrants: Any, looks_like: Any) -> None:
    """Also where its encoder prepared fewer halvings than could be used; the size that is told is the whole one."""
    media = written(quadrants(1200, 800), "JPEG2000", "a.jp2", num_resolutions=levels)
    (page,) = previewed(PICTURE, media, size=(60, 0))
    small = page.media.edited(Resize(width=60, height=0, fit="clip"))
    assert page.media.dimensions() == (1200, 800) and seen(page).size == (1200, 800)
    assert small.decoded().size == (60, 40) and looks_like(small.decoded(), "RGBY")


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_one_page_that_stands_still(form: str, saved: Any, quadrants: Any) -> None:
    """Its first frame, whatever format is written."""
    frames = [quadrants(32, 24), Image.new("RGB", (32, 24), "black")]
    (page,) = previewed(PICTURE, saved(frames[0], form, save_all=True, append_images=frames[1:], duration=100), pages="all")
    made = Image.open(BytesIO(content(page.media.encoded(form="WEBP"))))
    assert (page.total, getattr(made, "n_frames", 1)) == (1, 1)
    assert made.convert("RGB").getpixel((4, 4))[0] > 180


def test_a_tiff_file_has_as_many_pages_as_it_has_pages() -> None:
    """In order, of their own sizes and modes, and only those that are wanted."""
    images = [Image.new("1", (40, 30), 1), Image.new("RGB", (20, 50), (200, 0, 0)), Image.new("I;16", (8, 8), 30_000)]
    media = written(images[0], "TIFF", "scan.tiff", save_all=True, append_images=images[1:])
    pages = previewed(PICTURE, media, pages="all")
    assert [(page.number, page.total, page.media.dimensions()) for page in pages] == [
        (1, 3, (40, 30)),
        (2, 3, (20, 50)),
        (3, 3, (8, 8)),
    ]
    assert [seen(page).convert("RGB").getpixel((2, 2)) for page in pages] == [(255, 255, 255), (200, 0, 0), (117, 117, 117)]
    assert [page.number for page in previewed(PICTURE, media, pages="2-9")] == [2, 3]
    assert previewed(PICTURE, media, pages="4") == []


def test_copies_and_masks_between_the_pages_of_a_tiff_file_are_none() -> None:
    """Directories that say that they are a smaller copy are not counted; of a file of copies all there is."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    small = ImageFileDirectory_v2()
    small[254] = 1
    out = BytesIO()
    from PIL.TiffImagePlugin import AppendingTiffWriter

    with AppendingTiffWriter(out, True) as writer:
        for image, tags in (
            (Image.new("L", (9, 9), 9), small),
            (Image.new("L", (90, 80), 90), None),
            (Image.new("L", (9, 8), 9), small),
        ):
            image.save(writer, "TIFF", **({"tiffinfo": tags} if tags else {}))
            writer.newFrame()
    (page,) = previewed(PICTURE, MemoryFile(out.getvalue(), "image/tiff", "pyramid.tif"), pages="all")
    assert (page.number, page.total, page.media.dimensions()) == (1, 1, (90, 80))


def test_pages_of_a_tiff_file_are_upright_and_bounded(quadrants: Any, looks_like: Any) -> None:
    """Each by its own tag; a later page over the limit of pixels is refused before it is decoded."""
    from PIL.TiffImagePlugin import AppendingTiffWriter, ImageFileDirectory_v2

    turned = ImageFileDirectory_v2()
    turned[274] = 6
    out = BytesIO()
    with AppendingTiffWriter(out, True) as writer:
        for tags in (None, turned):
            quadrants(64, 48).save(writer, "TIFF", **({"tiffinfo": tags} if tags else {}))
            writer.newFrame()
        Image.new("1", (3_000, 2_000)).save(writer, "TIFF", compression="group4")
        writer.newFrame()
    media = MemoryFile(out.getvalue(), "image/tiff", "scan.tif")
    second = previewed(PICTURE, media, pages="2")[0]
    assert second.media.dimensions() == (48, 64) and looks_like(seen(second), "BRYG")
    shop = SimpleWorkshop(limits=WorkLimits(pixels=10_000))
    with pytest.raises(TooLarge):
        previewed(PICTURE, media, pages="3", shop=shop)


def test_a_chain_of_directories_that_bites_its_tail_ends() -> None:
    """A loop, and thousands of directories, cost no more than looking at them once."""
    image = written(Image.new("L", (8, 8), 80), "TIFF", "a.tif").data
    start = struct.unpack_from("<I", image, 4)[0]
    entries = struct.unpack_from("<H", image, start)[0]
    loop = bytearray(image)
    struct.pack_into("<I", loop, start + 2 + 12 * entries, start)
    (page,) = previewed(PICTURE, MemoryFile(bytes(loop), "image/tiff", "a.tif"), pages="all")
    assert page.total == 1


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_samples_that_no_screen_shows_are_made_visible(mode: str) -> None:
    """Heights and measurements are spread from black to white."""
    image = Image.linear_gradient("L")
    deep = image.convert("RGB").convert("LAB") if mode == "LAB" else image.convert(mode).point(lambda value: value * 900.0 - 5)
    page = previewed(PICTURE, written(deep, "TIFF", "heights.tif"))[0]
    levels = [seen(page).convert("L").getpixel((128, y)) for y in (0, 128, 255)]
    assert levels[0] < 8 and 110 < levels[1] < 145 and levels[2] > 247


def test_the_pictures_in_an_icon_are_pages_the_largest_first(quadrants: Any) -> None:
    """As somebody who looks for the best one expects."""
    media = written(quadrants(128, 128, "RGBA"), "ICO", "a.ico", sizes=[(16, 16), (128, 128), (48, 48)])
    pages = previewed(PICTURE, media, pages="all")
    assert [(page.number, page.total, page.media.dimensions()[0]) for page in pages] == [(1, 3, 128), (2, 3, 48), (3, 3, 16)]


# -------------------------------------------------------------------------------------------------------------- hostile


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", *RARE])
def test_damaged_files_end_in_a_fault_or_a_picture(form: str, quadrants: Any) -> None:
    """Cut, flipped and random bytes: nothing but the faults of the tree comes out."""
    name = f"a.{RARE.get(form, form.lower())}"
    data = written(quadrants(64, 64, "RGBA" if form in ("ICO", "ICNS") else "RGB"), form, name).data
    chance = random.Random(form)
    cases = [data[: len(data) * part // 6] for part in range(6)] + [data[:24] + chance.randbytes(3_000)]
    for _ in range(12):
        damaged = bytearray(data)
        for place in chance.sample(range(len(data)), min(len(data), 6)):
            damaged[place] ^= 1 << chance.randrange(8)
        cases.append(bytes(damaged))
    for case in cases:
        try:
            for page in previewed(PICTURE, MemoryFile(case, "application/octet-stream", name), pages="1-3"):
                content(page.media)
        except SecureDeliveryError:
            continue


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"P5 100000 100000 255\n" + bytes(99), "a.pgm"),
        (b"qoif" + struct.pack(">IIBB", 100_000, 100_000, 4, 0) + bytes(99), "a.qoi"),
        (bytes([0, 0, 2]) + bytes(9) + struct.pack("<HH", 65_535, 65_535) + bytes([24, 0]) + bytes(99), "a.tga"),
        (b"\x01\xda\x00\x01\x00\x03" + struct.pack(">HHH", 60_000, 60_000, 3) + bytes(600), "a.sgi"),
    ],
)
def test_bombs_are_refused_by_what_they_announce(data: bytes, name: str) -> None:
    """Ten thousand megapixels in a hundred bytes are never decoded."""
    with pytest.raises(TooLarge):
        previewed(PICTURE, MemoryFile(data, "application/octet-stream", name))


def test_what_is_no_picture_is_left_to_others() -> None:
    """By content: neither a name nor a type makes a picture."""
    for data, name in ((b"hello", "a.png"), (b"", "a.jpg"), (b"%PDF-1.7", "a.tga"), (bytes(64), "a.ico")):
        assert not PICTURE.probe(data, name)
        with pytest.raises(Unsupported):
            previewed(PICTURE, MemoryFile(data, "image/png", name))
    with pytest.raises((Corrupt, Unsupported)):
        previewed(PICTURE, MemoryFile(b"\0\0\1\0\1\0" + bytes(40), "image/x-icon", "a.ico"))


# ---------------------------------------------------------------------------------------------------------------- icons


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_an_icon_of_its_own(family: str) -> None:
    """No two look alike, and each fills its square."""
    example = {
        "document": "a.docx", "sheet": "a.xlsx", "slides": "a.pptx", "picture": "a.cr2", "audio": "a.mp3", "video": "a.mkv",
        "archive": "a.7z", "code": "a.py", "mail": "a.eml", "font": "a.otf", "book": "a.epub", "web": "a.htm",
        "unknown": "a.q",
    }  # fmt: skip
    assert family_of("application/octet-stream", example[family]) == family
    (page,) = previewed(ICON, MemoryFile(b"", "application/octet-stream", example[family]), size=(100, 200))
    image = seen(page)
    assert image.size == (100, 100) and image.mode == "RGBA"
    left, top, right, bottom = image.getchannel("A").getbbox() or (0, 0, 0, 0)
    assert left < 12 and top < 8 and right > 80 and bottom > 92
    others = [
        seen(previewed(ICON, MemoryFile(b"", "x/y", name), size=(100, 200))[0])
        for key, name in example.items()
        if key != family
    ]
    assert all(image.tobytes() != other.tobytes() for other in others)


def test_an_icon_says_the_extension_and_is_the_same_every_time() -> None:
    """The label differs by name alone; the same file has the same pixels, whatever is in it."""

    def icon(name: str, data: bytes = b"", size: tuple[int, int] | None = (64, 64)) -> bytes:
        return seen(previewed(ICON, MemoryFile(data, "application/octet-stream", name), size=size)[0]).tobytes()

    assert icon("a.abc") == icon("b.abc", b"other") != icon("a.xyz")
    for name in ("none", ".hidden", "a.", "\u6587\u4ef6.\u8868", "a." + "x" * 300, "a.<b>", "\0.\n"):
        assert icon(name)


@pytest.mark.parametrize(
    ("size", "side"), [(None, 512), ((0, 0), 512), ((300, 0), 300), ((0, 40), 40), ((1, 1), 16), ((9_000, 9_000), 1024)]
)
def test_an_icon_is_drawn_at_the_size_that_is_wanted(size: tuple[int, int] | None, side: int) -> None:
    """Within bounds: beyond them it is scaled like any picture."""
    (page,) = previewed(ICON, MemoryFile(b"", "x/y", "a.bin"), size=size)
    assert page.media.dimensions() == (side, side)


@pytest.mark.parametrize(
    ("mimetype", "name", "family"),
    [
        ("application/pdf", "noname", "document"),
        ("application/vnd.oasis.opendocument.spreadsheet", "x", "sheet"),
        ("text/html", "page.txt", "web"),
        ("text/plain", "script.sh", "code"),
        ("image/vnd.djvu", "x", "book"),
        ("video/mp2t", "a.ts", "video"),
        ("text/plain", "a.ts", "code"),
        ("application/x-elf", "", "unknown"),
    ],
)
def test_the_family_follows_the_type_before_the_name(mimetype: str, name: str, family: str) -> None:
    """Unless the type says nothing."""
    assert family_of(mimetype, name) == family
