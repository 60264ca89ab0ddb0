"""Every effect holds the contract of transformations that the framework publishes, on one format or another."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from PIL import Image

from secure_delivery.plugin import Media
from secure_delivery.plugin.testing import MemoryFile, TransformationContract
from secure_delivery_images.effects import transformations

TASKS = transformations()
MIMETYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
PART = (("4", "4", "20", "12"), ("10", "10", "10000", "10000"))

#: Name of the test, task, format of the sample, options.
CASES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("Ascii", "ascii", "JPEG", {"colored": "true", "size": "60"}),
    ("Blackwhite", "blackwhite", "GIF", {}),
    ("Blur", "blur", "JPEG", {"amount": "1.5"}),
    ("Border", "border", "PNG", {"color": "ff000080"}),
    ("Circle", "circle", "WEBP", {}),
    ("Enhance", "enhance", "JPEG", {}),
    ("EnhanceFaces", "enhance", "PNG", {"preset": "beautify_plus"}),
    ("Modulate", "modulate", "PNG", {"hue": "90", "saturation": "150"}),
    ("Monochrome", "monochrome", "WEBP", {}),
    ("Negative", "negative", "GIF", {}),
    ("OilPaint", "oil_paint", "JPEG", {"amount": "3"}),
    ("PartialBlur", "partial_blur", "PNG", {"objects": PART, "type": "oval"}),
    ("PartialPixelate", "partial_pixelate", "JPEG", {"objects": PART}),
    ("Pixelate", "pixelate", "PNG", {"amount": "5"}),
    ("Polaroid", "polaroid", "PNG", {"rotate": "10"}),
    ("RoundCorners", "round_corners", "PNG", {}),
    ("RoundedCorners", "rounded_corners", "JPEG", {"radius": "max", "background": "navy"}),
    ("Sepia", "sepia", "GIF", {}),
    ("Shadow", "shadow", "PNG", {"vector": ("-5", "5")}),
    ("Sharpen", "sharpen", "WEBP", {}),
    ("SmartCrop", "smart_crop", "JPEG", {"width": "20", "height": "20"}),
    ("SmartCropCoords", "smart_crop", "PNG", {"coords": "true"}),
    ("TornEdges", "torn_edges", "PNG", {}),
    ("Upscale", "upscale", "JPEG", {"noise": "low", "style": "artwork"}),
    ("Vignette", "vignette", "JPEG", {"background": "black"}),
]


def _sample(form: str) -> MemoryFile:
    ramp = Image.linear_gradient("L").resize((40, 30))
    picture = Image.merge("RGB", (ramp, ramp.rotate(90).resize((40, 30)), ramp.rotate(180)))
    out = BytesIO()
    picture.save(out, form)
    return MemoryFile(out.getvalue(), MIMETYPES[form], f"ramp.{form.lower()}")


class _Contract(TransformationContract):
    form: str
    options: Mapping[str, Any]

    def sample_media(self) -> Media:
        return _sample(self.form)

    def sample_options(self) -> Mapping[str, Any]:
        return self.options


for _name, _task, _form, _options in CASES:
    globals()[f"Test{_name}"] = type(
        f"Test{_name}", (_Contract,), {"transformation": TASKS[_task], "form": _form, "options": _options}
    )


def test_every_effect_has_a_case() -> None:
    """The table above leaves none out."""
    assert {task for _, task, _, _ in CASES} == set(TASKS)
