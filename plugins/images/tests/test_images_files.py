"""What is written: formats, names, quality, sizes, metadata, animations, pages."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageSequence

from secure_delivery.plugin import Corrupt, Unsupported
from secure_delivery.plugin.testing import MemoryFile, content
from secure_delivery_images.names import renamed

FORMATS = {
    "jpg": "JPEG",
    "pjpg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "gif": "GIF",
    "bmp": "BMP",
    "tiff": "TIFF",
    "avif": "AVIF",
}
SOURCES = ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"]


def noisy(width: int = 160, height: int = 120) -> Image.Image:
    """A picture with something to lose."""
    ramp = Image.linear_gradient("L").resize((width, height))
    grain = Image.effect_noise((width, height), 40)
    return Image.merge("RGB", (ramp, Image.blend(ramp, grain, 0.5), grain))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("wanted", FORMATS)
def test_every_pair_of_formats_is_converted(
    source: str, wanted: str, chain: Any, saved: Any, opened: Any, quadrants: Any, distance: Any
) -> None:
    """Each format that is read can become each that is written; type, name and content agree."""
    image = quadrants(64, 48)
    result = chain(saved(image, source), ("output", {"format": wanted}))
    form = FORMATS[wanted]
    picture = opened(result)
    assert picture.format == form
    assert result.mimetype == "image/" + form.lower()
    assert result.filename == f"drawing.{ {'JPEG': 'jpg'}.get(form, form.lower()) }" or source == form
    assert distance(picture, image) < 9
    assert bool(picture.info.get("progressive")) == (wanted == "pjpg")


@pytest.mark.parametrize("wanted", ["pdf", "docx", "svg", "odt", "txt"])
def test_a_pair_that_pictures_do_not_have_is_named(wanted: str, chain: Any, saved: Any) -> None:
    """The refusal says which conversion is unsupported."""
    with pytest.raises(Unsupported) as caught:
        chain(saved(Image.new("L", (4, 4))), ("output", {"format": wanted}))
    assert caught.value.public == f"Unsupported conversion: png to {wanted}."


def test_docinfo_of_a_picture_is_refused(chain: Any, saved: Any) -> None:
    """A picture has no pages to tell of."""
    with pytest.raises(Unsupported, match="docinfo"):
        chain(saved(Image.new("L", (4, 4))), ("output", {"docinfo": "true"}))


def test_options_of_documents_do_not_change_a_picture(chain: Any, saved: Any) -> None:
    """One URL serves documents and pictures: what describes pages has no effect here."""
    media = saved(noisy())
    plain = content(chain(media, ("output", {"format": "jpg"})))
    told = {
        "format": "jpg",
        "density": "300",
        "pageformat": "a4",
        "pageorientation": "landscape",
        "secure": "true",
        "page": "1",
    }
    assert content(chain(media, ("output", told))) == plain


@pytest.mark.parametrize(
    ("before", "form", "after"),
    [
        ("photo.png", "JPEG", "photo.jpg"),
        ("photo.JPEG", "JPEG", "photo.JPEG"),
        ("scan.tif", "TIFF", "scan.tif"),
        ("archive.tar.png", "WEBP", "archive.tar.webp"),
        ("photo", "PNG", "photo.png"),
        ("holiday.september", "PNG", "holiday.september.png"),
        ("a. b", "PNG", "a. b.png"),
        (".png", "JPEG", "png.jpg"),
        ("", "GIF", "picture.gif"),
        ("...", "GIF", "picture.gif"),
        ("été.png", "AVIF", "été.avif"),
    ],
)
def test_the_name_follows_the_type(before: str, form: str, after: str) -> None:
    """The extension is that of the result; a right one stays, a missing one is added."""
    assert renamed(before, form) == after


# ------------------------------------------------------------------------------------------------------------ quality


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
@pytest.mark.parametrize("value", ["1", "50", "90", "100", "input"])
@pytest.mark.parametrize("tasks", [[], ["flip"], [("crop", {"d": ("10", "10", "60", "60")})], [("resize", {"w": "160"})]])
def test_quality_never_makes_a_file_larger(
    form: str, value: str, tasks: list[Any], chain: Any, saved: Any, opened: Any
) -> None:
    """A source of quality 30 cannot be blown up by asking for more, whatever else is done to it."""
    media = saved(noisy(), form, quality=30)
    result = chain(media, *tasks, ("quality", {"value": value}))
    assert len(content(result)) <= media.size
    assert opened(result).format == form


def test_quality_has_an_effect(chain: Any, saved: Any) -> None:
    """Less quality is fewer bytes, for JPEG and WebP."""
    for form in ("JPEG", "WEBP"):
        sizes = [
            len(content(chain(saved(noisy(), form, quality=95), ("quality", {"v": value})))) for value in ("90", "50", "10")
        ]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[2] < sizes[0] / 2


def test_quality_leaves_other_formats_alone(chain: Any, saved: Any, opened: Any) -> None:
    """PNG has no quality: its pixels stay exact."""
    image = noisy()
    assert opened(chain(saved(image), ("quality", {"value": "5"}))).tobytes() == image.tobytes()


def test_the_quality_of_the_source_can_be_kept(chain: Any, saved: Any, opened: Any) -> None:
    """`input` writes a JPEG with the tables and the colour resolution of its source."""
    media = saved(noisy(), "JPEG", quality=61, subsampling=1)
    for task in (("quality", {"value": "input"}), ("output", {"format": "jpg", "quality": "input"})):
        assert opened(chain(media, "flop", task)).quantization == opened(media).quantization


def test_the_quality_of_output_is_100_by_default_and_follows_an_earlier_task(chain: Any, saved: Any, opened: Any) -> None:
    """The documented default of `output` is 100; `quality` before it still counts; other tasks write 85."""

    def tables(*tasks: Any) -> Any:
        return opened(chain(saved(noisy(), "JPEG"), "flip", *tasks)).quantization

    def of(quality: int) -> Any:
        out = BytesIO()
        noisy().save(out, "JPEG", quality=quality)
        return opened(MemoryFile(out.getvalue())).quantization

    assert tables() == of(85)
    assert tables(("output", {"format": "jpg"})) == of(100)
    assert tables(("quality", {"value": "40"}), ("output", {"format": "jpg"})) == of(40)
    assert tables(("output", {"format": "jpg", "quality": "70"})) == of(70)


# ----------------------------------------------------------------------------------------------- compress, no_metadata

SECRET = b"geheime Notiz 4711"


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()  # ImageDescription
    exif.get_ifd(0x8825)[1] = "N"  # GPS
    return exif


def _full_of_metadata(form: str, saved: Any, image: Image.Image) -> MemoryFile:
    xmp = b"<x:xmpmeta>" + SECRET + b"</x:xmpmeta>"
    options: dict[str, Any] = {"exif": _exif()}
    if form in ("JPEG", "WEBP", "AVIF"):
        options["xmp"] = xmp
    if form in ("JPEG", "GIF"):
        options["comment"] = SECRET
    if form == "PNG":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_text("Comment", SECRET.decode())
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    if form in ("GIF", "BMP"):
        del options["exif"]
    media: MemoryFile = saved(image, form, **options)
    return MemoryFile(media.data + SECRET if form in ("JPEG", "PNG") else media.data, media.mimetype, media.filename)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize(
    "tasks",
    [
        ["no_metadata"],
        ["compress"],
        ["flip"],
        [("resize", {"w": "40"})],
        [("rotate", {"exif": "true"})],
        [("output", {"f": "png"})],
        [("quality", {"value": "90"})],
        [("compress", {"m": "true"}), "no_metadata"],
        [("output", {"strip": "true"}), "flip"],
    ],
    ids=str,
)
def test_nothing_of_the_sources_metadata_is_left(form: str, tasks: list[Any], chain: Any, saved: Any, opened: Any) -> None:
    """No EXIF, XMP, comment or text reaches a result, nor what was appended to the file."""
    media = _full_of_metadata(form, saved, noisy())
    assert SECRET in media.data
    data = content(chain(media, *tasks))
    assert SECRET not in data
    result = opened(MemoryFile(data))
    assert not {"exif", "xmp", "comment", "XML:com.adobe.xmp", "Comment"} & set(result.info)
    assert 0x8825 not in result.getexif()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_metadata_stays_when_it_is_asked_for(form: str, chain: Any, saved: Any, opened: Any) -> None:
    """`compress=metadata:true` keeps EXIF with and without an edit; a later `output=strip:true` overrules it."""
    media = _full_of_metadata(form, saved, noisy())
    for tasks in ([], ["flip"]):
        result = opened(chain(media, *tasks, ("compress", {"metadata": "true"})))
        assert result.getexif()[0x010E] == SECRET.decode()
    stripped = content(chain(media, "flip", ("compress", {"metadata": "true"}), ("output", {"strip": "true"})))
    assert SECRET not in stripped


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("task", ["no_metadata", "compress"])
def test_pixels_that_nobody_edited_are_not_spoilt(form: str, task: str, chain: Any, saved: Any, opened: Any) -> None:
    """Taking metadata out loses not one level of one pixel; making a JPEG smaller hardly one."""
    image = noisy() if form != "GIF" else noisy().quantize(64)
    media = saved(image, form, **({"quality": 70} if form in ("JPEG", "WEBP") else {}))
    before, after = opened(media).convert("RGB"), opened(chain(media, task)).convert("RGB")
    worst = max(abs(a - b) for a, b in zip(before.tobytes(), after.tobytes(), strict=True))
    assert worst <= (24 if (form, task) == ("JPEG", "compress") else 0)
    if form in ("JPEG", "PNG", "WEBP"):
        assert len(content(chain(media, task))) <= media.size


def test_compress_makes_a_png_smaller(chain: Any, saved: Any, quadrants: Any) -> None:
    """A PNG written in haste loses bytes and keeps its palette."""
    media = saved(quadrants(400, 300, "P"), compress_level=0)
    data = content(chain(media, "compress"))
    assert len(data) < media.size / 3
    assert Image.open(BytesIO(data)).mode == "P"


def test_imagesize_is_json_about_the_result_so_far(chain: Any, saved: Any) -> None:
    """Width and height after what stands before it in the chain."""
    media = saved(Image.new("L", (40, 30)), "JPEG")
    for tasks, wanted in (([], (40, 30)), ([("resize", {"w": "20"})], (20, 15)), ([("rotate", {"d": "90"})], (30, 40))):
        result = chain(media, *tasks, "imagesize")
        assert result.mimetype == "application/json"
        assert json.loads(content(result)) == {"width": wanted[0], "height": wanted[1]}


# ------------------------------------------------------------------------------------------------- animations and pages


def _film(form: str, frames: int = 4) -> MemoryFile:
    images = [Image.new("RGBA", (40, 30), (0, 0, 0, 0)) for _ in range(frames)]
    for number, image in enumerate(images):
        image.paste([(255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (255, 255, 0, 255)][number % 4], (20, 0, 40, 30))
        if form == "WEBP":  # libwebp only marks a file as transparent when a pixel that it stores is
            image.putpixel((19, 29), (9, 9, 9, 60))
    out = BytesIO()
    more: dict[str, Any] = {"disposal": 2} if form == "GIF" else {"lossless": True} if form == "WEBP" else {}
    images[0].save(out, form, save_all=True, append_images=images[1:], duration=[100, 200, 300, 400][:frames], loop=3, **more)
    return MemoryFile(out.getvalue(), f"image/{form.lower()}", f"film.{form.lower()}")


@pytest.mark.parametrize(
    ("source", "wanted"),
    [("GIF", "gif"), ("GIF", "webp"), ("WEBP", "gif"), ("WEBP", "webp"), ("PNG", "gif"), ("PNG", "webp"), ("PNG", "png")],
)
def test_an_animation_stays_one(source: str, wanted: str, chain: Any) -> None:
    """Frames, times, repeats and transparency survive a resize between the formats that move."""
    data = content(chain(_film(source), ("resize", {"w": "20"}), ("output", {"format": wanted, "quality": "90"})))
    result = Image.open(BytesIO(data))
    assert (result.size, result.n_frames, result.info["loop"]) == ((20, 15), 4, 3)
    seen = []
    for frame in ImageSequence.Iterator(result):
        pixels = frame.convert("RGBA")
        seen.append(
            (frame.info["duration"], [level > 128 for level in pixels.getpixel((15, 7))[:3]], pixels.getpixel((3, 7))[3])
        )
    assert [time for time, _, _ in seen] == [100, 200, 300, 400]
    assert [colour for _, colour, _ in seen] == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
        [True, True, False],
    ]
    assert [alpha for _, _, alpha in seen] == [0, 0, 0, 0]


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("task", ["no_metadata", "compress"])
def test_an_animation_survives_being_rewritten(form: str, task: str, chain: Any, opened: Any) -> None:
    """Metadata goes, frames stay."""
    assert opened(chain(_film(form), task)).n_frames == 4


def test_a_picture_for_those_who_cannot_play_is_no_frame(chain: Any, opened: Any) -> None:
    """An animated PNG may hold a picture that is not shown when it moves: then it is left out, else it stands for the rest."""
    images = [Image.new("RGB", (8, 6), name) for name in ("white", "red", "lime")]
    out = BytesIO()
    images[0].save(out, "PNG", save_all=True, append_images=images[1:], duration=200, loop=1, default_image=True)
    media = MemoryFile(out.getvalue(), "image/png", "film.png")
    moving = opened(chain(media, "flip", ("output", {"format": "gif"})))
    assert (moving.n_frames, moving.convert("RGB").getpixel((3, 3)), "loop" in moving.info) == (2, (255, 0, 0), False)
    assert opened(chain(media, "flip", ("output", {"format": "jpg"}))).getpixel((3, 3)) == pytest.approx((255,) * 3, abs=2)


@pytest.mark.parametrize("wanted", ["webp", "png"])
def test_what_plays_once_plays_once(wanted: str, chain: Any) -> None:
    """WebP and PNG count how often they play, GIF how often it begins again."""
    images = [Image.new("RGB", (8, 6), name) for name in ("red", "lime")]
    out = BytesIO()
    images[0].save(out, "PNG" if wanted == "png" else "GIF", save_all=True, append_images=images[1:], duration=200, loop=1)
    plain = MemoryFile(out.getvalue()) if wanted == "png" else _once(images)
    result = Image.open(BytesIO(content(chain(plain, "flip", ("output", {"format": wanted})))))
    assert result.info["loop"] == 1


def _once(images: list[Image.Image]) -> MemoryFile:
    out = BytesIO()
    images[0].save(out, "GIF", save_all=True, append_images=images[1:], duration=200)
    return MemoryFile(out.getvalue())


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        (form, wanted)
        for form in ("GIF", "WEBP", "PNG", "AVIF")
        for wanted in ("jpg", "png", "avif", "tiff", "bmp")
        if (form, wanted) != ("PNG", "png")
    ],
)
def test_the_first_frame_stands_for_the_rest(form: str, wanted: str, chain: Any, opened: Any) -> None:
    """A format that does not move gets the first frame; PNG moves only where it did before."""
    result = opened(chain(_film(form), ("output", {"format": wanted})))
    assert getattr(result, "n_frames", 1) == 1
    red, green, blue = result.convert("RGB").getpixel((30, 15))
    assert (red > 200, green > 90, blue > 90) == (True, False, False)


def test_a_page_can_be_chosen(chain: Any, opened: Any) -> None:
    """Pages of a TIFF and frames of a GIF count from 1; a size of their own is respected; there is no page beyond the last."""
    out = BytesIO()
    pages = [Image.new("RGB", (8 * number, 8), colour) for number, colour in ((1, "red"), (2, "lime"), (3, "blue"))]
    pages[0].save(out, "TIFF", save_all=True, append_images=pages[1:])
    many = MemoryFile(out.getvalue(), "image/tiff", "pages.tiff")
    result = opened(chain(many, ("output", {"format": "png", "page": "3"})))
    assert (result.size, result.getpixel((0, 0))) == ((24, 8), (0, 0, 255))
    assert opened(chain(_film("GIF"), ("output", {"format": "png", "page": "2"}))).getpixel((30, 9))[:3] == (0, 255, 0)
    for media, page in ((many, "4"), (_film("GIF"), "5"), (_film("GIF"), "99999"), (many, "99999")):
        with pytest.raises(Unsupported, match="page"):
            content(chain(media, ("output", {"format": "png", "page": page})))


# ---------------------------------------------------------------------------------------------------- broken, repeated


@pytest.mark.parametrize("form", SOURCES)
@pytest.mark.parametrize("tasks", [["flip"], ["no_metadata"], [("resize", {"w": "20"})], [("output", {"f": "png"})]], ids=str)
def test_a_file_that_ends_early_is_corrupt(form: str, tasks: list[Any], chain: Any, saved: Any) -> None:
    """No half picture is handed out, whether it is decoded, reduced or only rewritten."""
    media = saved(noisy(400, 300), form)
    for part in (0.3, 0.6, 0.9):
        with pytest.raises(Corrupt):
            content(chain(MemoryFile(media.data[: int(media.size * part)], media.mimetype, "cut"), *tasks))


def test_a_picture_can_be_used_again(chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """Going on from one picture twice gives two results; neither changes the other or the first."""
    one = chain(saved(quadrants(), "JPEG"), ("resize", {"w": "32"}))
    first = content(one)
    flipped, flopped = content(chain(one, "flip")), content(chain(one, "flop"))
    assert len({first, flipped, flopped}) == 3
    assert content(one) == first
    assert one.size == len(first)
