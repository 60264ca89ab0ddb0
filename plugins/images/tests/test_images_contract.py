"""Every task holds the contract of transformations that the framework publishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from secure_delivery.plugin import Media
from secure_delivery.plugin.testing import MemoryFile, TransformationContract
from secure_delivery_images.tasks import transformations

TASKS = transformations()


def _gradient(form: str, mimetype: str, **options: Any) -> MemoryFile:
    ramp = Image.linear_gradient("L").resize((48, 36))
    picture = Image.merge("RGB", (ramp, ramp.rotate(90).resize((48, 36)), ramp.rotate(180)))
    out = BytesIO()
    picture.save(out, form, **options)
    return MemoryFile(out.getvalue(), mimetype, f"ramp.{form.lower()}")


class _OnJpeg(TransformationContract):
    def sample_media(self) -> Media:
        return _gradient("JPEG", "image/jpeg", quality=90)


class TestResize(_OnJpeg):
    transformation = TASKS["resize"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"width": "20", "height": "20", "fit": "crop", "align": ("top", "left")}


class TestCrop(_OnJpeg):
    transformation = TASKS["crop"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"dim": ("4", "4", "20", "20")}


class TestRotate(TransformationContract):
    transformation = TASKS["rotate"]

    def sample_media(self) -> Media:
        return _gradient("PNG", "image/png")

    def sample_options(self) -> Mapping[str, Any]:
        return {"deg": "30", "background": "ff000080"}


class TestFlip(TransformationContract):
    transformation = TASKS["flip"]

    def sample_media(self) -> Media:
        return _gradient("GIF", "image/gif")


class TestFlop(TransformationContract):
    transformation = TASKS["flop"]

    def sample_media(self) -> Media:
        return _gradient("BMP", "image/bmp")


class TestOutputToWebp(TransformationContract):
    transformation = TASKS["output"]

    def sample_media(self) -> Media:
        return _gradient("TIFF", "image/tiff", compression="tiff_lzw")

    def sample_options(self) -> Mapping[str, Any]:
        return {"format": "webp", "quality": "70"}


class TestOutputToJpeg(TransformationContract):
    transformation = TASKS["output"]

    def sample_media(self) -> Media:
        return _gradient("WEBP", "image/webp")

    def sample_options(self) -> Mapping[str, Any]:
        return {"format": "pjpg", "quality": "input", "colorspace": "cmyk"}


class TestOutputFromAvif(TransformationContract):
    transformation = TASKS["output"]

    def sample_media(self) -> Media:
        return _gradient("AVIF", "image/avif")

    def sample_options(self) -> Mapping[str, Any]:
        return {"format": "png", "background": "tomato"}


class TestQuality(_OnJpeg):
    transformation = TASKS["quality"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"value": "40"}


class TestCompressJpeg(_OnJpeg):
    transformation = TASKS["compress"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"metadata": "true"}


class TestCompressPng(TransformationContract):
    transformation = TASKS["compress"]

    def sample_media(self) -> Media:
        return _gradient("PNG", "image/png")


class TestNoMetadataJpeg(_OnJpeg):
    transformation = TASKS["no_metadata"]


class TestNoMetadataWebp(TransformationContract):
    transformation = TASKS["no_metadata"]

    def sample_media(self) -> Media:
        return _gradient("WEBP", "image/webp")


class TestImageSize(_OnJpeg):
    transformation = TASKS["imagesize"]


class TestWatermark(_OnJpeg):
    transformation = TASKS["watermark"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"file": "AbCdEfGhIjKlMnOpQrSt", "size": "50", "position": ("top", "right")}

    def sample_others(self) -> Sequence[Media]:
        return (_gradient("PNG", "image/png"),)


class TestCollage(_OnJpeg):
    transformation = TASKS["collage"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"files": ("AbCdEfGhIjKlMnOpQrSt", "https://example.com/a.gif"), "width": "90", "height": "60"}

    def sample_others(self) -> Sequence[Media]:
        return (_gradient("PNG", "image/png"), _gradient("GIF", "image/gif"))


class TestAnimate(TransformationContract):
    transformation = TASKS["animate"]

    def sample_media(self) -> Media:
        return _gradient("WEBP", "image/webp")

    def sample_others(self) -> Sequence[Media]:
        return (_gradient("PNG", "image/png"),)


class TestProgressiveJpeg(_OnJpeg):
    transformation = TASKS["pjpg"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"quality": "50", "metadata": "true"}


class TestAutoImage(TransformationContract):
    transformation = TASKS["auto_image"]

    def sample_media(self) -> Media:
        return _gradient("PNG", "image/png")


class TestTelephonePicture(TransformationContract):
    transformation = TASKS["resize"]

    def sample_media(self) -> Media:
        return MemoryFile((Path(__file__).parent / "files/turned.heic").read_bytes(), "image/heic", "turned.heic")

    def sample_options(self) -> Mapping[str, Any]:
        return {"width": "20"}
