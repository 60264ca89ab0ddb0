"""The photograph that is made smaller: drawn here, so that nobody's picture has to be shipped.

Knows: Pillow. Must not know: who makes it smaller.
"""

from __future__ import annotations

from pathlib import Path

from measure import CACHE
from PIL import Image, ImageChops, ImageDraw, ImageFilter

WIDTH, HEIGHT = 4000, 3000


def photograph() -> Path:
    """A 12-megapixel JPEG of about 3 MB with the frequencies of a photograph: wide gradients, edges, sensor noise."""
    path = CACHE / "photograph.jpg"
    if path.exists():
        return path
    CACHE.mkdir(exist_ok=True)
    size = WIDTH, HEIGHT
    sky = Image.linear_gradient("L").resize(size)
    sun = ImageChops.invert(Image.radial_gradient("L")).resize(size)
    picture = Image.merge("RGB", (sun, ImageChops.add(sky, sun, 2), ImageChops.invert(sky)))
    drawn = ImageDraw.Draw(picture)
    for number in range(240):  # edges at every angle, as roofs, branches and windows have them
        x, y, wide = number * 977 % WIDTH, number * 1361 % HEIGHT, 40 + number * 53 % 600
        colour = number * 37 % 256, number * 91 % 256, number * 151 % 256
        drawn.polygon([(x, y), (x + wide, y + wide // 3), (x + wide // 2, y + wide), (x - wide // 4, y + wide // 2)], colour)
    picture = picture.filter(ImageFilter.GaussianBlur(1.5))
    noise = Image.merge("RGB", [Image.effect_noise(size, 16) for _ in range(3)])
    # The noise stands around 128; half of the sum of both is the picture with half of the noise, a little greyer.
    Image.blend(picture, noise, 0.35).save(path, quality=92, subsampling="4:2:0")
    return path


def thumbnail() -> Path:
    """A tiny JPEG that makes a worker load everything it needs before it is timed."""
    path = CACHE / "tiny.jpg"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        Image.linear_gradient("L").convert("RGB").resize((64, 48)).save(path)
    return path


#: Other forms of the photograph, as cameras, pages and drawing programs hand them on.
FORMS = {
    "progressive JPEG": (".progressive.jpg", {"quality": 92, "progressive": True}),
    "PNG": (".png", {}),
    "WebP": (".webp", {"quality": 90}),
    "AVIF": (".avif", {"quality": 75, "speed": 8}),
}


def converted(form: str) -> Path:
    """The photograph in another form."""
    ending, options = FORMS[form]
    path = CACHE / f"photograph{ending}"
    if not path.exists():
        with Image.open(photograph()) as picture:
            picture.save(path, **options)
    return path


def mark() -> Path:
    """A picture with transparency to put onto others: 250 pixels wide."""
    path = CACHE / "mark.png"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        picture = Image.new("RGBA", (250, 100), (255, 255, 255, 0))
        ImageDraw.Draw(picture).ellipse((5, 5, 244, 94), (30, 60, 90, 160))
        picture.save(path)
    return path
