"""Tasks that choose how a result is written: `auto_image` by the Accept header, `pjpg`."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from secure_delivery.plugin import Demanding, Negotiated
from secure_delivery.plugin.testing import MemoryFile, SimpleWorkshop, bind, content
from secure_delivery_images.format_tasks import accepted
from secure_delivery_images.tasks import transformations

TASKS = transformations()


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", "jpeg"),
        ("*/*", "jpeg"),
        ("image/*,*/*;q=0.8", "jpeg"),
        ("text/html", "jpeg"),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "avif"),
        ("image/webp,image/png,*/*;q=0.5", "webp"),
        ("image/webp,*/*", "webp"),
        ("image/avif;q=0,image/webp", "webp"),
        ("image/avif;q=0.0,image/webp;q=0.000", "jpeg"),
        ("image/avif;q=0.5,image/webp", "webp"),
        ("image/avif;q=0.5,image/webp;q=0.5", "avif"),
        ("image/avif;q=0.5,image/jpeg", "jpeg"),
        ("image/webp;q=0.4,image/*;q=0.4", "webp"),
        ("IMAGE/WebP ; Q=0.9 , */* ; q=0.1", "webp"),
        ("image/avif;q=high", "jpeg"),
        ("image/avif;q=", "jpeg"),
        ("image/avif;q=-1", "jpeg"),
        ("image/avif;level=1;q=1.000", "avif"),
        ("image/avifx, image/aviff", "jpeg"),
        (",,;;,image/webp", "webp"),
    ],
)
def test_the_best_that_a_client_names_is_chosen(accept: str, wanted: str) -> None:
    """By quality value, then AVIF before WebP before JPEG; a wildcard is no promise, 0 is a refusal."""
    assert accepted(accept) == wanted


@given(st.text(max_size=200))
def test_any_accept_header_has_one_of_three_answers(accept: str) -> None:
    """So that one picture has at most three renditions, whatever clients send."""
    assert accepted(accept) in ("avif", "webp", "jpeg")


def test_the_choice_becomes_part_of_the_options() -> None:
    """What a URL says about the format does not count."""
    task = TASKS["auto_image"]
    assert isinstance(task, Negotiated)
    assert task.negotiate(bind(task), "image/webp") == {"format": "webp"}
    assert task.negotiate(bind(task, format="avif"), "*/*") == {"format": "jpeg"}


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "GIF"])
@pytest.mark.parametrize("wanted", ["avif", "webp", "jpeg"])
def test_an_opaque_picture_becomes_what_was_chosen(
    source: str, wanted: str, chain: Any, saved: Any, opened: Any, quadrants: Any
) -> None:
    """From every format, with the right type and name."""
    result = chain(saved(quadrants(), source), ("auto_image", {"format": wanted}))
    assert (result.mimetype, opened(result).format) == (f"image/{wanted}", wanted.upper())


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_transparent_picture_does_not_become_a_jpeg(mode: str, chain: Any, saved: Any, opened: Any) -> None:
    """For a client that takes neither AVIF nor WebP it stays PNG; a channel that says nothing does not count."""
    options = {"transparency": 0} if mode == "P" else {}
    media = saved(Image.new(mode, (8, 8), 0), **options)
    for wanted, form in (("jpeg", "PNG"), ("webp", "WEBP"), ("avif", "AVIF")):
        result = opened(chain(media, ("auto_image", {"format": wanted})))
        assert (result.format, result.convert("RGBA").getpixel((4, 4))[3] < 4) == (form, True)
    opaque = saved(Image.new("RGBA", (8, 8), (9, 9, 9, 255)))
    assert opened(chain(opaque, ("auto_image", {"format": "jpeg"}))).format == "JPEG"


def test_transparency_that_a_task_makes_counts(chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """A picture turned on nothing has unseen corners; one that was only made smaller has none."""
    turned = [("rotate", {"d": "45", "b": "none"}), ("auto_image", {})]
    assert opened(chain(saved(quadrants(), "JPEG"), *turned)).format == "PNG"
    assert opened(chain(saved(quadrants(), "JPEG"), ("resize", {"w": "9"}), "flip", ("auto_image", {}))).format == "JPEG"


@pytest.mark.parametrize(
    ("source", "wanted", "form"),
    [
        ("GIF", "jpeg", "GIF"),
        ("GIF", "avif", "WEBP"),
        ("GIF", "webp", "WEBP"),
        ("PNG", "jpeg", "PNG"),
        ("WEBP", "jpeg", "GIF"),
        ("WEBP", "avif", "WEBP"),
    ],
)
def test_what_moves_goes_on_moving(source: str, wanted: str, form: str, chain: Any) -> None:
    """No animation loses its frames to a better format."""
    images = [Image.new("RGB", (8, 8), name) for name in ("red", "lime", "blue")]
    out = BytesIO()
    images[0].save(out, source, save_all=True, append_images=images[1:], duration=100)
    result = Image.open(BytesIO(content(chain(MemoryFile(out.getvalue()), ("auto_image", {"format": wanted})))))
    assert (result.format, result.n_frames) == (form, 3)


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "GIF"])
def test_pjpg_builds_up_in_passes(source: str, chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """A progressive JPEG of every picture."""
    result = chain(saved(quadrants(), source), "pjpg")
    picture = opened(result)
    assert (result.mimetype, picture.format, bool(picture.info.get("progressive"))) == ("image/jpeg", "JPEG", True)


def test_the_quality_of_pjpg(chain: Any, saved: Any, opened: Any) -> None:
    """From 0 to 100, 85 when nothing is said, and that of an earlier task where there is one."""
    media = saved(Image.effect_noise((60, 60), 60))

    def tables(*tasks: Any) -> Any:
        return opened(chain(media, *tasks)).quantization

    assert tables(("pjpg", {"quality": "0"})) == tables(("pjpg", {"quality": "1"}))
    assert tables("pjpg") == tables(("pjpg", {"quality": "85"})) != tables(("pjpg", {"quality": "100"}))
    assert tables(("output", {"f": "webp", "q": "40"}), "pjpg") == tables(("pjpg", {"quality": "40"}))


def test_pjpg_keeps_metadata_only_when_asked(chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """Then it needs the call `exif`, and the place stays at home."""
    exif = Image.Exif()
    exif[0x013B] = "somebody"
    exif.get_ifd(0x8825)[1] = "N"
    media = saved(quadrants(), "JPEG", exif=exif)
    task = TASKS["pjpg"]
    assert isinstance(task, Demanding)
    assert list(task.demands(bind(task))) == []
    assert list(task.demands(bind(task, metadata="true"))) == ["exif"]
    assert not dict(opened(chain(media, "pjpg")).getexif())
    assert dict(opened(chain(media, ("pjpg", {"metadata": "true"}))).getexif()) == {0x013B: "somebody"}


def test_noise_at_the_best_quality_is_written_too() -> None:
    """Tailored codes of noise take more than Pillow's two bytes a pixel."""
    noise = Image.merge("RGB", [Image.effect_noise((800, 600), 120) for _ in range(3)])
    source = BytesIO()
    noise.save(source, "PNG")
    task = TASKS["output"]
    result = task.apply(MemoryFile(source.getvalue(), "image/png", "noise.png"), bind(task, format="jpg"), SimpleWorkshop())
    with Image.open(BytesIO(content(result))) as image:
        image.load()
        assert image.size == (800, 600)
