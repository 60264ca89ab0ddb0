"""Draws the sample picture that the server shows when there is no other: hills behind hills, a low sun, a lake.

Run it with a path to write to. The same script gives the same picture; nothing is read, and no one else's picture is used.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

SIZE = WIDTH, HEIGHT = 1600, 1067
FINE = 2  # everything with an edge is drawn twice as large and made smaller, for smooth outlines
SHORE = 800  # where the lake begins
SUN = (1085, 436)

Colour = tuple[int, int, int]
SKY: list[tuple[float, Colour]] = [
    (0.00, (38, 62, 116)),
    (0.22, (84, 106, 160)),
    (0.42, (176, 146, 172)),
    (0.56, (243, 178, 142)),
    (0.68, (253, 208, 148)),
    (1.00, (255, 226, 176)),
]
#: Base line, height, roughness, colour at the crest, colour at the foot: from the farthest ridge to the nearest.
RIDGES: list[tuple[int, int, float, Colour, Colour]] = [
    (560, 190, 0.56, (166, 138, 168), (236, 182, 160)),
    (622, 150, 0.54, (128, 112, 152), (206, 160, 158)),
    (680, 128, 0.53, (92, 92, 134), (158, 132, 150)),
    (735, 104, 0.52, (58, 72, 108), (104, 100, 128)),
    (790, 74, 0.50, (34, 52, 78), (60, 72, 98)),
]


def mix(one: Colour, other: Colour, share: float) -> Colour:
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))  # type: ignore[return-value]


def gradient(height: int, colour_at: Callable[[float], Colour]) -> Image.Image:
    """As wide as the picture; `colour_at` gets 0 at the top and 1 at the bottom."""
    column = Image.new("RGB", (1, height))
    for row in range(height):
        column.putpixel((0, row), colour_at(row / max(1, height - 1)))
    return column.resize((WIDTH, height))


def sky_colour(share: float) -> Colour:
    for (low, one), (high, other) in pairwise(SKY):
        if share <= high:
            return mix(one, other, (share - low) / (high - low))
    return SKY[-1][1]


def glow(picture: Image.Image, centre: tuple[int, int], radius: int, colour: Colour, strength: float) -> Image.Image:
    """Light around a point, brightest in the middle."""
    spot = ImageChops.invert(Image.radial_gradient("L")).point(
        [min(255, round((level / 255) ** 2.4 * 255 * strength)) for level in range(256)]
    )
    mask = Image.new("L", SIZE)
    mask.paste(spot.resize((radius * 2, radius * 2), Image.Resampling.BICUBIC), (centre[0] - radius, centre[1] - radius))
    light = Image.composite(Image.new("RGB", SIZE, colour), Image.new("RGB", SIZE), mask)
    return ImageChops.screen(picture, light)


def ridge_line(chance: random.Random, base: int, height: int, roughness: float) -> list[float]:
    """The outline of a ridge by midpoint displacement: a height for every column of the fine drawing."""
    points = [
        chance.uniform(-0.2, 0.5),
        chance.uniform(0.2, 1.0),
        chance.uniform(-0.2, 0.6),
        chance.uniform(0.1, 0.9),
        chance.uniform(-0.2, 0.5),
    ]
    spread = 0.42
    while len(points) < WIDTH * FINE:
        between = [(a + b) / 2 + chance.uniform(-spread, spread) for a, b in pairwise(points)]
        points = [point for pair in zip(points, between, strict=False) for point in pair] + [points[-1]]
        spread *= roughness
    step = (len(points) - 1) / (WIDTH * FINE - 1)
    return [(base - height * points[round(x * step)]) * FINE for x in range(WIDTH * FINE)]


def shape(outline: list[float]) -> Image.Image:
    """A mask of everything below an outline."""
    mask = Image.new("L", (WIDTH * FINE, HEIGHT * FINE))
    ImageDraw.Draw(mask).polygon([*enumerate(outline), (WIDTH * FINE, HEIGHT * FINE), (0, HEIGHT * FINE)], fill=255)
    return mask.resize(SIZE, Image.Resampling.BOX)


def fir(draw: ImageDraw.ImageDraw, x: float, foot: float, height: float, chance: random.Random) -> None:
    """One fir tree, in tiers that droop."""
    tiers = 9
    width = height * 0.21
    for tier in range(tiers):
        top = foot - height + height * 0.86 * tier / tiers
        reach = width * ((tier + 1.4) / tiers) * chance.uniform(0.82, 1.12)
        low = top + height * 0.19
        lean = chance.uniform(-0.06, 0.06) * reach
        draw.polygon(
            [
                (x, top),
                (x + reach, low + lean),
                (x + reach * 0.3, low - height * 0.025),
                (x, low),
                (x - reach * 0.3, low - height * 0.025),
                (x - reach, low - lean),
            ],
            fill=255,
        )
    draw.rectangle([x - height * 0.012, foot - height * 0.2, x + height * 0.012, foot + 6], fill=255)


def wooded(outline: list[float], chance: random.Random, tallest: float, every: float) -> Image.Image:
    """The mask of a slope with trees standing on it."""
    mask = Image.new("L", (WIDTH * FINE, HEIGHT * FINE))
    draw = ImageDraw.Draw(mask)
    draw.polygon([*enumerate(outline), (WIDTH * FINE, HEIGHT * FINE), (0, HEIGHT * FINE)], fill=255)
    x = 0.0
    while x < WIDTH * FINE:
        foot = outline[min(int(x), len(outline) - 1)]
        fir(draw, x, foot + 4 * FINE, tallest * FINE * chance.uniform(0.45, 1.0), chance)
        x += every * FINE * chance.uniform(0.35, 1.6)
    return mask.resize(SIZE, Image.Resampling.BOX)


def draw_sky(picture: Image.Image, chance: random.Random) -> Image.Image:
    picture.paste(gradient(SHORE, sky_colour), (0, 0))
    picture = glow(picture, SUN, 620, (255, 176, 96), 0.62)
    picture = glow(picture, SUN, 250, (255, 220, 150), 0.75)
    disc = Image.new("L", (WIDTH * FINE, HEIGHT * FINE))
    ImageDraw.Draw(disc).ellipse(
        [(SUN[0] - 46) * FINE, (SUN[1] - 46) * FINE, (SUN[0] + 46) * FINE, (SUN[1] + 46) * FINE], fill=255
    )
    picture.paste((255, 246, 218), (0, 0), disc.resize(SIZE, Image.Resampling.BOX))
    return clouds(picture, chance)


def clouds(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Thin banks of cloud, lit from below."""
    for _ in range(15):
        y, x = chance.uniform(70, 400), chance.uniform(-150, WIDTH)
        long, thick = chance.uniform(200, 560), chance.uniform(5, 14)
        bank = Image.new("L", SIZE)
        draw = ImageDraw.Draw(bank)
        for _ in range(26):
            at, part = x + long * chance.gauss(0.5, 0.22), long * chance.uniform(0.05, 0.17)
            low = y + chance.gauss(0, thick * 0.7)
            draw.ellipse(
                [at - part, low - thick * chance.uniform(0.3, 0.8), at + part, low + thick * 0.4], fill=chance.randint(60, 150)
            )
        bank = bank.filter(ImageFilter.GaussianBlur(6))
        near = max(0.0, 1 - math.hypot(x + long / 2 - SUN[0], (y - SUN[1]) * 1.6) / 900)
        picture.paste(mix((206, 190, 214), (255, 214, 170), near), (0, 0), bank)
    return picture


def draw_ridges(picture: Image.Image, chance: random.Random) -> Image.Image:
    for number, (base, height, roughness, crest, foot) in enumerate(RIDGES):
        outline = ridge_line(chance, base, height, roughness)
        nearest = number == len(RIDGES) - 1
        mask = wooded(outline, chance, 26, 8) if nearest else shape(outline)
        top = base - height
        picture.paste(
            gradient(
                HEIGHT,
                lambda share, top=top, base=base, crest=crest, foot=foot: mix(
                    crest, foot, min(1, max(0, (share * HEIGHT - top) / (base + 40 - top)))
                ),
            ),
            (0, 0),
            mask,
        )
        if not nearest:
            picture = glow(picture, (SUN[0], base - 20), 420, (255, 170, 110), 0.20)
    return picture


def draw_lake(picture: Image.Image, chance: random.Random) -> Image.Image:
    """What stands above the shore, upside down, darker, and broken into ripples that widen towards the viewer."""
    depth = HEIGHT - SHORE
    mirror = picture.crop((0, SHORE - round(depth * 1.75), WIDTH, SHORE)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    mirror = mirror.resize((WIDTH, depth), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(1.6))
    water = Image.new("RGB", (WIDTH, depth))
    for row in range(depth):
        share = row / depth
        sway = math.sin(row * row * 0.0021 + row * 0.55) * (1 + 7 * share) + chance.uniform(-1, 1) * (0.5 + 3 * share)
        water.paste(mirror.crop((0, row, WIDTH, row + 1)), (round(sway), row))
    water = Image.blend(water, gradient(depth, lambda share: mix((150, 130, 150), (28, 44, 84), share)), 0.38)
    picture.paste(water, (0, SHORE))
    glitter = Image.new("L", (WIDTH * FINE, depth * FINE))
    draw = ImageDraw.Draw(glitter)
    for _ in range(430):
        share = chance.random() ** 1.4
        x, y = SUN[0] + chance.gauss(0, 24 + 90 * share), share * depth
        half = chance.uniform(4, 10) + 22 * share * chance.random()
        draw.ellipse([(x - half) * FINE, (y - 0.9) * FINE, (x + half) * FINE, (y + 0.9) * FINE], fill=chance.randint(60, 190))
    picture.paste((255, 226, 170), (0, SHORE), glitter.resize((WIDTH, depth), Image.Resampling.BOX))
    mist = Image.new("L", SIZE)
    ImageDraw.Draw(mist).ellipse([-200, SHORE - 16, WIDTH + 200, SHORE + 12], fill=125)
    picture.paste((246, 206, 184), (0, 0), mist.filter(ImageFilter.GaussianBlur(10)))
    return picture


def draw_shore(picture: Image.Image, chance: random.Random) -> Image.Image:
    """The bank in front, with tall firs on the left that close the view, and lower ones on the right."""
    mask = Image.new("L", (WIDTH * FINE, HEIGHT * FINE))
    draw = ImageDraw.Draw(mask)
    outline = [
        (
            HEIGHT
            - 34
            - 96 * math.exp(-((x / FINE / 430) ** 2))
            - 62 * math.exp(-(((x / FINE - WIDTH) / 330) ** 2))
            + 5 * math.sin(x / FINE / 47)
        )
        * FINE
        for x in range(WIDTH * FINE)
    ]
    draw.polygon([*enumerate(outline), (WIDTH * FINE, HEIGHT * FINE), (0, HEIGHT * FINE)], fill=255)
    for x, height in [
        (24, 560),
        (92, 430),
        (150, 640),
        (226, 470),
        (292, 330),
        (352, 240),
        (404, 150),
        (1330, 120),
        (1392, 190),
        (1450, 300),
        (1512, 250),
        (1574, 390),
    ]:
        foot = outline[min(x * FINE, len(outline) - 1)]
        fir(draw, x * FINE, foot + 8, height * FINE * 0.94, chance)
    for _ in range(1500):
        x = chance.uniform(0, WIDTH) * FINE
        foot = outline[min(int(x), len(outline) - 1)]
        draw.line([x, foot + 4, x + chance.uniform(-5, 5) * FINE, foot - chance.uniform(3, 17) * FINE], fill=255, width=2)
    ground = gradient(HEIGHT, lambda share: mix((22, 34, 56), (10, 16, 30), max(0, (share - 0.5) * 2)))
    picture.paste(ground, (0, 0), mask.resize(SIZE, Image.Resampling.BOX))
    return picture


def draw_birds(picture: Image.Image) -> Image.Image:
    layer = Image.new("L", (WIDTH * FINE, HEIGHT * FINE))
    draw = ImageDraw.Draw(layer)
    for x, y, wing in [(760, 236, 17), (806, 216, 13), (842, 247, 12), (724, 262, 11), (884, 226, 9)]:
        left, right, middle = (x - wing) * FINE, (x + wing) * FINE, x * FINE
        draw.line(
            [left, (y - wing * 0.32) * FINE, (left + middle) / 2, (y - wing * 0.42) * FINE, middle, y * FINE],
            fill=210,
            width=4,
            joint="curve",
        )
        draw.line(
            [right, (y - wing * 0.40) * FINE, (right + middle) / 2, (y - wing * 0.46) * FINE, middle, y * FINE],
            fill=210,
            width=4,
            joint="curve",
        )
    picture.paste((44, 50, 84), (0, 0), layer.resize(SIZE, Image.Resampling.BOX))
    return picture


def draw() -> Image.Image:
    """The whole picture, 1600 x 1067 pixels."""
    chance = random.Random(20)  # noqa: S311 - the same hills in every run
    picture = Image.new("RGB", SIZE)
    picture = draw_sky(picture, chance)
    picture = draw_ridges(picture, chance)
    picture = draw_lake(picture, chance)
    picture = draw_birds(picture)
    return draw_shore(picture, chance)


if __name__ == "__main__":
    draw().save(Path(sys.argv[1]), "JPEG", quality=86, optimize=True, progressive=True)
