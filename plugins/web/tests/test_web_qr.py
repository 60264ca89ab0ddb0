"""Codes: what was written is read."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from secure_delivery.plugin import Corrupt, Media, MemoryFile, SecureDeliveryError, Unsupported
from secure_delivery.plugin.testing import SimpleWorkshop, TransformationContract, bind, content
from secure_delivery_web import transformations

QR = transformations()["qr"]


def note(text: str, mimetype: str = "text/plain") -> MemoryFile:
    return MemoryFile(text.encode(), mimetype, "note.txt")


def made(text: str, **options: Any) -> Media:
    return QR.apply(note(text), bind(QR, **options), SimpleWorkshop())


def read(picture: Media) -> Any:
    result = QR.apply(picture, bind(QR), SimpleWorkshop())
    assert (result.mimetype, result.filename) == ("application/json", "qr.json")
    return json.loads(content(result))


def opened(media: Media) -> Image.Image:
    image = Image.open(BytesIO(content(media)))
    image.load()
    return image


def saved(image: Image.Image, form: str = "PNG") -> MemoryFile:
    out = BytesIO()
    image.save(out, form)
    return MemoryFile(out.getvalue(), f"image/{form.lower()}", f"a.{form.lower()}")


class TestMaking(TransformationContract):
    transformation = QR

    def sample_media(self) -> Media:
        return note("https://example.org/")


class TestReading(TransformationContract):
    transformation = QR

    def sample_media(self) -> Media:
        return MemoryFile(content(made("https://example.org/")), "image/png", "code.png")


@pytest.mark.parametrize(("form", "kind"), [("png", "png"), ("jpg", "jpeg"), ("webp", "webp"), ("gif", "gif")])
def test_every_format_is_made_and_read(form: str, kind: str) -> None:
    """A text becomes a picture in the wanted format, and the picture gives the text."""
    picture = made("https://example.org/?q=käse&x=1", format=form)
    assert picture.mimetype == f"image/{kind}"
    assert read(MemoryFile(content(picture), picture.mimetype, picture.filename)) == {"data": "https://example.org/?q=käse&x=1"}


def test_a_drawing_is_made_too() -> None:
    """`svg` has as many modules as the picture, and nothing that acts."""
    drawing = made("hello", format="svg")
    assert (drawing.mimetype, drawing.filename) == ("image/svg+xml", "qr.svg")
    text = content(drawing).decode()
    assert text.startswith("<svg") and "script" not in text


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=200).filter(lambda text: "\0" not in text and text.strip("\r\n \ufeff") == text))
def test_all_texts_come_back(text: str) -> None:
    """For all texts that fit: what was written is read."""
    assert read(made(text)) == {"data": text}


def test_versions_and_error_correction_are_followed() -> None:
    """The version says how many modules there are; a higher level of error correction needs more of them."""
    sides = {version: opened(made("a", version=str(version))).width for version in (1, 10, 40)}
    assert [sides[1] % (21 + 8), sides[10] % (57 + 8), sides[40] % (177 + 8)] == [0, 0, 0]
    text = "x" * 60
    modules = []
    for level in ("L", "m", "quartile", "HIGH"):
        picture = opened(made(text, error_correction=level))
        modules.append(
            next(side for side in range(29, 186, 4) if picture.width % side == 0 and picture.width // side == -(-512 // side))
        )
    assert modules == sorted(modules) and modules[0] < modules[-1]
    assert read(MemoryFile(content(made(text, error_correction="h", version="20")), "image/png", "a.png")) == {"data": text}


def test_options_have_their_bounds_and_defaults() -> None:
    """Versions 1 to 40, four levels, five formats."""
    assert dict(bind(QR)) == {"version": None, "error_correction": "m", "format": "png"}
    for name, values in {"version": ("0", "41", "x"), "error_correction": ("z", ""), "format": ("bmp", "pdf")}.items():
        for value in values:
            with pytest.raises(ValueError):
                bind(QR, **{name: value})
    assert bind(QR, version="40")["version"] == 40


def test_what_does_not_fit_is_refused() -> None:
    """A text longer than the largest code, or than the version that was asked for, and no text at all."""
    assert read(made("1" * 5596)) == {"data": "1" * 5596}
    for text, options in (
        ("x" * 2954, {"error_correction": "l"}),
        ("x" * 40, {"version": "1"}),
        ("x" * 100_000, {}),
        ("\n", {}),
    ):
        with pytest.raises(Unsupported):
            made(text, **options)
    with pytest.raises(SecureDeliveryError):
        QR.apply(MemoryFile(b"\x00\x01binary"), bind(QR), SimpleWorkshop())


def test_codes_are_found_in_photographs() -> None:
    """Turned, small in a large picture, blurred, on a dark ground, or transparent: the code is read."""
    code = opened(made("found")).convert("RGB").resize((300, 300))
    scene = Image.new("RGB", (1600, 1200), (40, 60, 90))
    scene.paste(code, (900, 500))
    assert read(saved(scene)) == {"data": "found"}
    assert read(saved(scene.rotate(17, fillcolor=(0, 0, 0)).filter(ImageFilter.GaussianBlur(1.5)), "JPEG")) == {"data": "found"}
    clear = Image.new("RGBA", code.size)
    clear.paste((0, 0, 0, 255), mask=code.convert("L").point(lambda value: 255 - value))
    assert read(saved(clear)) == {"data": "found"}


def test_a_damaged_code_is_mended() -> None:
    """With high error correction a corner may be gone."""
    code = opened(made("still here", error_correction="h", version="8")).convert("RGB")
    ImageDraw.Draw(code).rectangle((code.width * 0.7, code.height * 0.7, code.width * 0.85, code.height * 0.85), fill="red")
    assert read(saved(code)) == {"data": "still here"}


def test_no_code_is_null_and_no_picture_a_fault() -> None:
    """A picture without a code says so; a broken picture is told apart."""
    assert read(saved(Image.new("RGB", (200, 200), "white"))) == {"data": None}
    broken = content(made("x"))[:200]
    with pytest.raises(Corrupt):
        read(MemoryFile(broken, "image/png", "a.png"))


def test_a_made_code_goes_on_as_a_picture() -> None:
    """The next task of a chain takes it without an encoding in between."""
    from secure_delivery_images.tasks import transformations as pictures

    resize = pictures()["resize"]
    small = resize.apply(made("chain"), bind(resize, width="100"), SimpleWorkshop())
    assert opened(small).width == 100
    assert read(small) == {"data": "chain"}


def test_codes_are_made_and_read_in_confinement(confined: Any) -> None:
    """Neither library needs more than a confined worker has, and a picture of the largest legal size is read."""
    picture, _ = confined("qr", [note("confined")])
    answer, _ = confined("qr", [picture])
    assert json.loads(answer.data) == {"data": "confined"}
    large = Image.new("L", (10_000, 10_000), 255)
    large.paste(opened(made("large")).convert("L"), (5000, 5000))
    answer, _ = confined("qr", [saved(large)])
    assert json.loads(answer.data) == {"data": "large"}
