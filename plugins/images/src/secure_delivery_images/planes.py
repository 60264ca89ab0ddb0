"""Working on the colours of a picture and leaving its transparency in peace, within bounded memory.

Knows: pixel modes, bands, masks. Must not know: tasks, options, files.

Everything is done in horizontal bands: what a filter needs besides source and result is then a few megabytes, whatever the
picture measures, so that the largest legal pictures fit into a worker.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image, ImageChops, ImageDraw

from .colours import Colour
from .modes import flattened, has_alpha

Act = Callable[[Image.Image], Image.Image]
ActAt = Callable[[Image.Image, int], Image.Image]
#: Is given colours, and beside them a map of the whole picture, stretched over just these rows.
ActUnder = Callable[[Image.Image, Image.Image], Image.Image]
#: Draws a shape on a mask that is `SAMPLES` times as large in both directions and begins at that row.
Shape = Callable[[ImageDraw.ImageDraw, int], None]

SAMPLES = 4  # sub-pixels each way: edges of shapes get 17 shades
_BAND_PIXELS = 2_000_000
_MASK_ROWS = 64


def banded(image: Image.Image, act: Act, *, margin: int = 0, factor: int = 1, grid: int = 1) -> Image.Image:
    """What `act` makes of the picture, done band by band.

    `margin`: how many rows above and below have a say in a pixel; `factor`: how much larger the result is; `grid`: bands begin
    at multiples of it.
    """
    return _banded(image, lambda band, _above: act(band), margin=margin, factor=factor, grid=grid)


def _banded(image: Image.Image, act: ActAt, *, margin: int, factor: int = 1, grid: int = 1) -> Image.Image:
    """The same for an act that is told where its band begins."""
    width, height = image.size
    rows = max(_BAND_PIXELS // width, margin * 4, 16)
    rows = -(-rows // grid) * grid
    if rows >= height:
        return act(image, 0)
    result: Image.Image | None = None
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        above, below = max(0, top - margin), min(height, bottom + margin)
        done = act(image.crop((0, above, width, below)), above)
        if result is None:
            result = Image.new(done.mode, (width * factor, height * factor))
        result.paste(done.crop((0, (top - above) * factor, done.width, (bottom - above) * factor)), (0, top * factor))
    return result or image


def parted(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours (`L` or `RGB`) and transparency, `None` when the picture has none."""
    if has_alpha(image):
        return image.convert(image.mode[:-1]), image.getchannel("A")
    return (image.convert("RGB") if image.mode == "CMYK" else image), None


def joined(colours: Image.Image, alpha: Image.Image | None) -> Image.Image:
    """The two together again."""
    if alpha is None:
        return colours
    result = colours.convert("LA" if colours.mode == "L" else "RGBA")
    result.putalpha(alpha)
    return result


def on_colours(image: Image.Image, act: Act, *, margin: int = 0) -> Image.Image:
    """The picture with `act` done to its colours, in bands; its transparency stays."""

    def on_band(band: Image.Image) -> Image.Image:
        colours, alpha = parted(band)
        return joined(act(colours), alpha)

    return banded(image, on_band, margin=margin)


def on_colours_under(image: Image.Image, small: Image.Image, act: ActUnder, *, margin: int) -> Image.Image:
    """The same with a small map of the whole picture (its light, say) laid over each band."""
    down = small.height / image.height

    def on_band(band: Image.Image, above: int) -> Image.Image:
        colours, alpha = parted(band)
        box = (0.0, above * down, float(small.width), min(float(small.height), (above + band.height) * down))
        return joined(act(colours, small.resize(band.size, Image.Resampling.BICUBIC, box=box)), alpha)

    return _banded(image, on_band, margin=margin)


def on_all(image: Image.Image, act: Act, *, margin: int = 0, grid: int = 1) -> Image.Image:
    """The same for what moves transparency too (blurring): colours of invisible pixels have no weight."""
    premultiplied = {"RGBA": "RGBa", "LA": "RGBa"}.get(image.mode)

    def on_band(band: Image.Image) -> Image.Image:
        if premultiplied is None:
            return act(parted(band)[0])
        done = act(band.convert("RGBA").convert(premultiplied)).convert("RGBA")
        return done if band.mode == "RGBA" else done.convert("LA")

    return banded(image, on_band, margin=margin, grid=grid)


def mapped(colours: Image.Image, table: list[int]) -> Image.Image:
    """Every channel through the same table of 256 levels."""
    return colours.point(table * len(colours.getbands()))


def level(value: float) -> int:
    """A number as a level, 0 to 255."""
    return 0 if value <= 0 else 255 if value >= 255 else int(value + 0.5)


def lowest(image: Image.Image) -> Image.Image:
    """The darkest of every pixel and its eight neighbours. Shifted copies are ten times as fast as Pillow's rank filters."""
    return _over_neighbours(image, lambda before, here, after: ImageChops.darker(ImageChops.darker(before, here), after))


def highest(image: Image.Image) -> Image.Image:
    """The lightest of every pixel and its eight neighbours."""
    return _over_neighbours(image, lambda before, here, after: ImageChops.lighter(ImageChops.lighter(before, here), after))


def calmed(image: Image.Image) -> Image.Image:
    """Medians of three, along rows and then along columns: single specks go, edges stay."""

    def middle(before: Image.Image, here: Image.Image, after: Image.Image) -> Image.Image:
        low, high = ImageChops.darker(before, here), ImageChops.lighter(before, here)
        return ImageChops.lighter(low, ImageChops.darker(high, after))

    return _over_neighbours(image, middle)


def _over_neighbours(image: Image.Image, join: Callable[[Image.Image, Image.Image, Image.Image], Image.Image]) -> Image.Image:
    for across, down in ((1, 0), (0, 1)):
        before, after = image.copy(), image.copy()  # the outermost pixels are their own neighbours
        before.paste(image, (across, down))
        after.paste(image, (-across, -down))
        image = join(before, image, after)
    return image


def drawn(size: tuple[int, int], shape: Shape) -> Image.Image:
    """A mask with a shape on it, its edges smooth."""
    width, height = size
    mask = Image.new("L", size)
    for top in range(0, height, _MASK_ROWS):
        rows = min(_MASK_ROWS, height - top)
        band = Image.new("L", (width * SAMPLES, rows * SAMPLES))
        shape(ImageDraw.Draw(band), top * SAMPLES)
        mask.paste(band.reduce(SAMPLES), (0, top))
    return mask


def cut_out(image: Image.Image, mask: Image.Image, background: Colour) -> Image.Image:
    """The picture where the mask is white, the background where it is black."""
    colours, alpha = parted(image)
    return flattened(joined(colours, mask if alpha is None else ImageChops.multiply(alpha, mask)), background)
