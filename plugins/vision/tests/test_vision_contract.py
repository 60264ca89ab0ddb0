"""Every task holds the contract of transformations that the framework publishes."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from PIL import Image, ImageDraw

from secure_delivery.plugin import Detector, Media
from secure_delivery.plugin.testing import MemoryFile, TransformationContract
from secure_delivery_vision.detectors import detectors
from secure_delivery_vision.tasks import transformations

TASKS = transformations()
#: Where the detector of these tests says that faces are, whatever the picture: the tasks are tested here, not it.
FACES = [{"x": 6, "y": 4, "width": 20, "height": 24, "score": 0.9}, {"x": 30, "y": 10, "width": 10, "height": 12, "score": 0.8}]


class _Fixed:
    version = "1"

    def detect(self, media: Media, options: Mapping[str, Any], limits: Any) -> Any:
        from secure_delivery_images.picture import Picture

        width, height = Picture.of(media, limits).dimensions()
        return {"faces": FACES, "width": width, "height": height}


class _OnFaces(TransformationContract):
    def sample_media(self) -> Media:
        ramp = Image.linear_gradient("L").resize((48, 36))
        picture = Image.merge("RGB", (ramp, ramp.rotate(90).resize((48, 36)), ramp.rotate(180)))
        out = BytesIO()
        picture.save(out, "JPEG", quality=90)
        return MemoryFile(out.getvalue(), "image/jpeg", "ramp.jpg")

    def sample_detectors(self) -> Mapping[str, Detector]:
        return {"faces": _Fixed()}


class TestDetectFaces(_OnFaces):
    transformation = TASKS["detect_faces"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"color": "ff000080", "minsize": "0.1"}


class TestDetectFacesExport(_OnFaces):
    transformation = TASKS["detect_faces"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"export": "true"}


class TestCropFaces(_OnFaces):
    transformation = TASKS["crop_faces"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"width": "20", "height": "30", "faces": ("2", "1"), "buffer": "20"}


class TestPixelateFaces(_OnFaces):
    transformation = TASKS["pixelate_faces"]


class TestBlurFaces(_OnFaces):
    transformation = TASKS["blur_faces"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"type": "oval", "amount": "5", "blur": "2"}


class TestRedEye(_OnFaces):
    transformation = TASKS["redeye"]


class TestDocDetection(TransformationContract):
    transformation = TASKS["doc_detection"]

    def sample_media(self) -> Media:
        picture = Image.new("RGB", (120, 160), (70, 60, 50))
        ImageDraw.Draw(picture).polygon(((22, 24), (98, 30), (106, 138), (14, 130)), fill=(240, 240, 235))
        out = BytesIO()
        picture.save(out, "PNG")
        return MemoryFile(out.getvalue(), "image/png", "sheet.png")

    def sample_detectors(self) -> Mapping[str, Detector]:
        return detectors()
