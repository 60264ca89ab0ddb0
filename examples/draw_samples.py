"""Draws the pictures and documents that the two examples start with, so that nothing in them is anybody else's work.

Knows: shapes, colours and two sample folders. Must not know: the apps. Run it only to draw them anew; it needs Pillow.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

HERE = Path(__file__).parent
WIDTH, HEIGHT = 1200, 800
Colour = tuple[int, int, int]


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """A colour between two: `share` 0 is the first, 1 the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def gradient(stops: list[tuple[float, Colour]]) -> Image.Image:
    """A sky: colours by height, 0 at the top and 1 at the bottom."""
    column = Image.new("RGB", (1, HEIGHT))
    for y in range(HEIGHT):
        at = y / (HEIGHT - 1)
        for (start, first), (end, second) in pairwise(stops):
            if start <= at <= end:
                column.putpixel((0, y), mixed(first, second, (at - start) / (end - start)))
    return column.resize((WIDTH, HEIGHT))


def ridge(seed: int, base: float, height: float, rough: float) -> list[tuple[float, float]]:
    """The upper edge of a row of hills: waves of falling size, in pixels."""
    chance = random.Random(seed)  # the same picture every time
    waves = [(chance.uniform(0.6, 1.4) * 2**n, chance.uniform(0, math.tau), rough**n) for n in range(6)]
    total = sum(weight for *_, weight in waves)
    points = []
    for x in range(0, WIDTH + 4, 4):
        lift = sum(weight * math.sin(x / WIDTH * math.tau * pace + shift) for pace, shift, weight in waves) / total
        points.append((float(x), base - height * (lift + 1) / 2))
    return points


def hills(picture: Image.Image, rows: list[tuple[int, float, float, float, Colour]]) -> None:
    """Rows of hills from back to front: seed, base and height in pixels, roughness 0 to 1, colour."""
    draw = ImageDraw.Draw(picture)
    for seed, base, height, rough, colour in rows:
        draw.polygon([*ridge(seed, base, height, rough), (WIDTH, HEIGHT), (0, HEIGHT)], fill=colour)


def glow(picture: Image.Image, centre: tuple[int, int], radius: int, colour: Colour, halo: int) -> None:
    """A sun or moon with light around it."""
    x, y = centre
    for size, strength in ((halo, 110), (halo // 2, 90)):
        mask = Image.new("L", picture.size)
        ImageDraw.Draw(mask).ellipse((x - size, y - size, x + size, y + size), fill=strength)
        picture.paste(colour, (0, 0), mask.filter(ImageFilter.GaussianBlur(size / 2)))
    mask = Image.new("L", picture.size)
    ImageDraw.Draw(mask).ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    picture.paste(colour, (0, 0), mask.filter(ImageFilter.GaussianBlur(1.2)))


def mirrored(picture: Image.Image, line: int, tint: Colour) -> None:
    """Still water from `line` down: what stands above it, upside down and tinted."""
    above = picture.crop((0, max(0, 2 * line - HEIGHT), WIDTH, line)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    above = Image.blend(above.filter(ImageFilter.GaussianBlur(3)), Image.new("RGB", above.size, tint), 0.3)
    picture.paste(above, (0, line))
    draw = ImageDraw.Draw(picture, "RGBA")
    chance = random.Random(5)
    for _ in range(70):
        y = line + int((HEIGHT - line) * chance.random() ** 1.5)
        x, length = chance.randrange(WIDTH), chance.randrange(40, 220)
        draw.line((x, y, x + length, y), fill=(255, 255, 255, 26), width=2)


def pines(picture: Image.Image, edge: list[tuple[float, float]], colour: Colour, seed: int, size: int) -> None:
    """Conifers along an edge."""
    draw, chance = ImageDraw.Draw(picture), random.Random(seed)
    for x, y in edge[:: max(2, size // 9)]:
        tall = size * chance.uniform(0.6, 1.25)
        left = x + chance.uniform(-6, 6)
        for tier in range(4):
            top, half = y - tall + tall * tier * 0.2, tall * (0.1 + 0.055 * tier)
            draw.polygon([(left, top), (left - half, top + tall * 0.34), (left + half, top + tall * 0.34)], fill=colour)
        draw.rectangle((left - 2, y - tall * 0.1, left + 2, y + 12), fill=colour)


def misty_lake() -> Image.Image:
    picture = gradient([(0, (120, 160, 190)), (0.45, (246, 214, 190)), (1, (255, 236, 214))])
    glow(picture, (820, 260), 46, (255, 246, 226), 190)
    hills(picture, [(1, 470, 250, 0.6, (158, 176, 192)), (2, 490, 170, 0.55, (116, 143, 160))])
    hills(picture, [(3, 510, 90, 0.5, (74, 105, 120))])
    pines(picture, ridge(3, 510, 90, 0.5), (52, 82, 94), 4, 62)
    mirrored(picture, 505, (134, 160, 176))
    return picture


def red_dunes() -> Image.Image:
    picture = gradient([(0, (38, 92, 140)), (0.5, (242, 184, 128)), (1, (250, 220, 170))])
    glow(picture, (300, 300), 62, (255, 238, 196), 230)
    colours: list[Colour] = [(214, 134, 84), (196, 104, 62), (168, 78, 50), (122, 50, 40)]
    hills(picture, [(20 + n, 520 + 90 * n, 150 - 10 * n, 0.28, colour) for n, colour in enumerate(colours)])
    return picture


def northern_night() -> Image.Image:
    picture = gradient([(0, (8, 14, 38)), (0.7, (22, 46, 82)), (1, (34, 74, 98))])
    draw, chance = ImageDraw.Draw(picture), random.Random(8)
    for _ in range(240):
        x, y, size = chance.randrange(WIDTH), chance.randrange(520), chance.choice((1, 1, 1, 2))
        draw.ellipse((x, y, x + size, y + size), fill=mixed((90, 110, 150), (255, 255, 245), chance.random()))
    for offset, colour in ((0, (70, 226, 160)), (70, (96, 160, 232)), (130, (150, 110, 220))):
        mask = Image.new("L", picture.size)
        band = ImageDraw.Draw(mask)
        for x in range(0, WIDTH, 5):
            y = 250 + offset * 0.5 + 74 * math.sin(x / 210 + offset) + 24 * math.sin(x / 66)
            band.line((x, y - 150 + offset * 0.6, x, y + 60), fill=int(76 + 50 * math.sin(x / 41 + offset)), width=5)
        picture.paste(colour, (0, 0), mask.filter(ImageFilter.GaussianBlur(20)))
    hills(picture, [(31, 690, 230, 0.6, (14, 34, 56)), (33, 770, 110, 0.5, (7, 18, 32))])
    pines(picture, ridge(33, 770, 110, 0.5), (5, 13, 24), 6, 90)
    return picture


def harbour_lights() -> Image.Image:
    picture = gradient([(0, (28, 30, 66)), (0.42, (132, 74, 116)), (0.6, (240, 142, 108)), (1, (250, 190, 130))])
    draw, chance = ImageDraw.Draw(picture), random.Random(12)
    for depth, colour in ((0, (86, 62, 104)), (1, (44, 36, 72))):
        x = -20
        while x < WIDTH:
            wide, tall = chance.randrange(44, 96), chance.randrange(60, 250) - 30 * depth
            draw.rectangle((x, 520 - tall, x + wide, 520), fill=colour)
            for row in range(520 - tall + 14, 508, 20):
                for column in range(x + 9, x + wide - 9, 15):
                    if chance.random() < 0.42 and depth:
                        draw.rectangle((column, row, column + 5, row + 8), fill=(255, 206, 128))
            x += wide + chance.randrange(0, 26)
    mirrored(picture, 520, (56, 44, 86))
    return picture


def spring_meadow() -> Image.Image:
    picture = gradient([(0, (96, 172, 222)), (0.6, (206, 234, 240)), (1, (236, 246, 226))])
    clouds = Image.new("L", picture.size)
    draw, chance = ImageDraw.Draw(clouds), random.Random(15)
    for middle, height in ((240, 150), (760, 110), (1040, 220)):
        for _ in range(14):
            x, y, size = middle + chance.randrange(-110, 110), height + chance.randrange(-18, 22), chance.randrange(26, 56)
            draw.ellipse((x - size, y - size * 0.6, x + size, y + size * 0.6), fill=215)
    picture.paste((255, 255, 255), (0, 0), clouds.filter(ImageFilter.GaussianBlur(9)))
    hills(picture, [(41, 500, 150, 0.4, (150, 190, 150)), (42, 560, 130, 0.35, (116, 172, 96))])
    hills(picture, [(43, 640, 100, 0.3, (84, 148, 68))])
    flowers = ImageDraw.Draw(picture)
    for _ in range(520):
        y = 640 + int(160 * chance.random() ** 0.8)
        x, size = chance.randrange(WIDTH), 1 + (y - 620) // 36
        colour = chance.choice([(250, 214, 70), (240, 110, 120), (255, 255, 255), (186, 120, 214)])
        flowers.ellipse((x - size, y - size, x + size, y + size), fill=colour)
    return picture


def first_snow() -> Image.Image:
    picture = gradient([(0, (150, 174, 204)), (0.7, (226, 234, 244)), (1, (244, 246, 250))])
    hills(picture, [(51, 560, 380, 0.62, (178, 196, 220)), (52, 600, 260, 0.6, (148, 170, 200))])
    hills(picture, [(54, 690, 120, 0.35, (232, 239, 248))])
    pines(picture, ridge(54, 690, 120, 0.35), (60, 84, 104), 9, 100)
    hills(picture, [(56, 790, 120, 0.3, (247, 250, 253))])
    flakes, chance = ImageDraw.Draw(picture, "RGBA"), random.Random(18)
    for _ in range(300):
        x, y, size = chance.randrange(WIDTH), chance.randrange(HEIGHT), chance.choice((2, 3, 4))
        flakes.ellipse((x, y, x + size, y + size), fill=(255, 255, 255, 210))
    return picture


def floor_plan() -> Image.Image:
    """A drawing for the document store: four rooms on squared paper."""
    sheet = Image.new("RGB", (1000, 700), (250, 251, 253))
    draw = ImageDraw.Draw(sheet)
    for at in range(0, 1000, 25):
        draw.line((at, 0, at, 700), fill=(226, 233, 243))
        draw.line((0, at, 1000, at), fill=(226, 233, 243))
    ink, font = (38, 60, 96), ImageFont.load_default(26)
    draw.rectangle((150, 100, 850, 575), outline=ink, width=8)
    for line in ((500, 100, 500, 260), (500, 340, 500, 575), (150, 350, 250, 350), (330, 350, 500, 350), (500, 400, 700, 400)):
        draw.line(line, fill=ink, width=6)
    draw.arc((422, 262, 578, 418), 180, 270, fill=ink, width=2)
    draw.line((780, 400, 850, 400), fill=ink, width=6)
    for at, name in (((325, 225), "Reading room"), ((675, 245), "Workshop"), ((325, 465), "Kitchen"), ((675, 490), "Store")):
        draw.text(at, name, fill=ink, font=font, anchor="mm")
    draw.text((500, 640), "Village hall, ground floor, 1:100", fill=ink, font=font, anchor="mm")
    return sheet


REPORT = """The orchard gave 412 crates this year, 38 more than last.
Most of the gain came from the young trees by the river,
which carried for the first time.

The late frost in April cost us a third of the plums.
Two pickers joined in August; the store was full by the
second week of October.

For next year: nets for the cherries, a second ladder,
and a new roof for the press before the rain comes."""


def report() -> Image.Image:
    """One page for a PDF: a heading, some lines, a bar chart."""
    page = Image.new("RGB", (880, 1240), (255, 255, 255))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 880, 14), fill=(58, 110, 90))
    draw.text((90, 100), "Harvest report", fill=(30, 40, 38), font=ImageFont.load_default(52))
    draw.text((90, 176), "River Orchard", fill=(100, 116, 110), font=ImageFont.load_default(26))
    draw.multiline_text((90, 260), REPORT, fill=(44, 52, 50), font=ImageFont.load_default(25), spacing=14)
    for index, (year, crates) in enumerate((("1", 298), ("2", 341), ("3", 374), ("4", 412))):
        left = 130 + 165 * index
        draw.rectangle((left, 1060 - crates * 0.8, left + 105, 1060), fill=mixed((188, 214, 202), (58, 110, 90), index / 3))
        draw.text(
            (left + 52, 1036 - crates * 0.8), str(crates), fill=(44, 52, 50), font=ImageFont.load_default(24), anchor="mm"
        )
        draw.text((left + 52, 1086), f"Year {year}", fill=(100, 116, 110), font=ImageFont.load_default(22), anchor="mm")
    draw.line((90, 1060, 790, 1060), fill=(160, 172, 166), width=2)
    return page


SCENES: tuple[Callable[[], Image.Image], ...] = (
    misty_lake,
    red_dunes,
    northern_night,
    harbour_lights,
    spring_meadow,
    first_snow,
)


def main() -> None:
    for scene in SCENES:
        name = scene.__name__.replace("_", "-")
        scene().save(HERE / "flask_app" / "samples" / f"{name}.webp", quality=72, method=6)
    papers = HERE / "starlette_app" / "samples"
    floor_plan().save(papers / "floor-plan.png", optimize=True)
    report().save(papers / "harvest-report.pdf", resolution=105, quality=48)


if __name__ == "__main__":
    main()
