"""Every effect by its name. Knows: the tasks. Must not know: Pillow; the server process imports this."""

from __future__ import annotations

from secure_delivery.plugin import Transformation

from . import effect_tasks, shape_tasks


def transformations() -> dict[str, Transformation]:
    """Every effect by its name in URLs."""
    return {
        "ascii": shape_tasks.Ascii(),
        "blackwhite": effect_tasks.BlackWhite(),
        "blur": effect_tasks.Blur(),
        "border": shape_tasks.Border(),
        "circle": shape_tasks.Circle(),
        "enhance": effect_tasks.Enhance(),
        "modulate": effect_tasks.Modulate(),
        "monochrome": effect_tasks.Monochrome(),
        "negative": effect_tasks.Negative(),
        "oil_paint": effect_tasks.OilPaint(),
        "partial_blur": effect_tasks.PartialBlur(),
        "partial_pixelate": effect_tasks.PartialPixelate(),
        "pixelate": effect_tasks.Pixelate(),
        "polaroid": shape_tasks.Polaroid(),
        "round_corners": shape_tasks.RoundedCorners(),
        "rounded_corners": shape_tasks.RoundedCorners(),
        "sepia": effect_tasks.Sepia(),
        "shadow": shape_tasks.Shadow(),
        "sharpen": effect_tasks.Sharpen(),
        "smart_crop": shape_tasks.SmartCrop(),
        "torn_edges": shape_tasks.TornEdges(),
        "upscale": effect_tasks.Upscale(),
        "vignette": shape_tasks.Vignette(),
    }
