"""`smart_crop`: the box that shows what matters, and the picture in it.

Knows: what catches the eye; subjects that others found. Must not know: options, detectors, files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageFilter

from secure_delivery.plugin import WorkLimits

from .colours import Colour
from .edits import check_output
from .effects_enhance import skin
from .headers import Size
from .modes import ready_for
from .planes import highest, level, lowest, parted

Box = tuple[float, float, float, float]

_SMALL = 128  # pixels on the longer side of the copy that is searched
_AREA = 0.12  # of that: how far away the surroundings reach that something stands out from
_TAIL = 0.06  # of all interest, at each side: what a box without wanted size leaves out
_AIR = 0.06  # of a side, around what was found
_FACE_AIR = 0.5  # of a face's side: hair and shoulders belong to it


@dataclass(frozen=True, slots=True, kw_only=True)
class SmartCrop:
    """A box of the shape `width` x `height` where the interest lies, brought to that size; 0 leaves a side open.

    `subjects`: boxes (left, top, right, bottom) in pixels of this picture that have to be seen; none: what catches the eye.
    `fill`: where a subject does not fit, show all of it, with this colour around the picture; None: fill the box.
    """

    width: int
    height: int
    subjects: tuple[Box, ...] = ()
    faces: bool = False
    fill: Colour | None = None

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        box = self.box(image)
        target = self._target(box)
        check_output(target, limits)
        left, top, right, bottom = box
        inside = (max(0.0, left), max(0.0, top), min(float(image.width), right), min(float(image.height), bottom))
        across, down = target[0] / (right - left), target[1] / (bottom - top)
        shown = (max(1, round((inside[2] - inside[0]) * across)), max(1, round((inside[3] - inside[1]) * down)))
        premultiplied = {"RGBA": "RGBa", "LA": "La"}.get(image.mode, image.mode)
        part = image.convert(premultiplied) if premultiplied != image.mode else image
        part = part.resize(shown, Image.Resampling.LANCZOS, box=inside, reducing_gap=2.0)
        part = part.convert(image.mode) if part.mode != image.mode else part
        if shown == target or self.fill is None:
            return part
        part, fill = ready_for(part, self.fill)
        result = Image.new(part.mode, target, fill[0] if len(fill) == 1 else fill)
        result.paste(part, (round((inside[0] - left) * across), round((inside[1] - top) * down)))
        return result

    def box(self, image: Image.Image) -> Box:
        """Left, top, right, bottom in pixels; outside the picture only where it is to be filled."""
        if not (self.width and self.height):
            return self._close(image)
        ratio = self.width / self.height
        wide, high = float(image.width), float(image.height)
        wide, high = (high * ratio, high) if wide / high > ratio else (wide, wide / ratio)
        if not self.subjects:
            left, top = _liveliest(image, wide, high)
            return left, top, left + wide, top + high
        left, top, right, bottom = _around(self.subjects)
        if self.fill is not None:
            wide = max(wide, right - left, (bottom - top) * ratio)
            high = wide / ratio
        elif right - left > wide or bottom - top > high:  # not all of them fit: the largest has to
            left, top, right, bottom = max(self.subjects, key=lambda one: (one[2] - one[0]) * (one[3] - one[1]))
        left, top = _placed((left + right) / 2, wide, image.width), _placed((top + bottom) / 2, high, image.height)
        return left, top, left + wide, top + high

    def _close(self, image: Image.Image) -> Box:
        """The smallest box with all that matters and some air."""
        if self.subjects:
            left, top, right, bottom = _around(self.subjects)
            air = _FACE_AIR if self.faces else _AIR
        else:
            left, top, right, bottom = _extent(image)
            air = _AIR
        across, down = (right - left) * air, (bottom - top) * air
        left, top = max(0.0, left - across), max(0.0, top - down)
        right, bottom = min(float(image.width), right + across), min(float(image.height), bottom + down)
        return left, top, max(right, left + 1), max(bottom, top + 1)

    def _target(self, box: Box) -> tuple[int, int]:
        wide, high = box[2] - box[0], box[3] - box[1]
        factor = self.width / wide if self.width else self.height / high if self.height else 1.0
        return self.width or max(1, round(wide * factor)), self.height or max(1, round(high * factor))


def _around(boxes: Sequence[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _placed(middle: float, length: float, whole: int) -> float:
    """Where a stretch begins that has its middle there, as far as it stays inside; centred when it is longer."""
    if length >= whole:
        return (whole - length) / 2
    return min(max(0.0, middle - length / 2), whole - length)


def interest(image: Image.Image) -> Image.Image:
    """A small grey picture: the lighter, the more there is to see. Edges, what differs from around it, and skin."""
    colours, alpha = parted(image.reduce(max(1, max(image.size) // _SMALL)))
    grey = colours.convert("L")
    edges = ImageChops.subtract(highest(grey), lowest(grey))
    around = colours.filter(ImageFilter.GaussianBlur(max(2.0, max(grey.size) * _AREA)))
    unlike = ImageChops.difference(colours, around).convert("L").point([level(value * 2) for value in range(256)])
    total = Image.blend(edges, unlike, 0.5)
    if colours.mode == "RGB":
        total = ImageChops.add(total, skin(colours).point([value // 5 for value in range(256)]))
    if alpha is not None:
        total = ImageChops.multiply(total, alpha)
    return total.filter(ImageFilter.GaussianBlur(1.5))


def _profiles(image: Image.Image) -> tuple[list[int], list[int]]:
    """Interest by columns and by rows."""
    found = interest(image)
    width, data = found.width, found.tobytes()
    rows = [data[start : start + width] for start in range(0, len(data), width)]
    return [sum(column) for column in zip(*rows, strict=True)], [sum(row) for row in rows]


def _liveliest(image: Image.Image, wide: float, high: float) -> tuple[float, float]:
    """Where the box of that size begins that holds most, what is near its middle counting most."""
    columns, rows = _profiles(image)
    return _best(columns, image.width, wide), _best(rows, image.height, high)


def _best(profile: list[int], whole: int, length: float) -> float:
    if length >= whole:
        return (whole - length) / 2
    scale = len(profile) / whole
    window = max(1, round(length * scale))
    weights = [1.0 - 0.6 * abs(2 * (place + 0.5) / window - 1) ** 2 for place in range(window)]
    starts = range(len(profile) - window + 1)
    middle = (len(profile) - window) / 2

    def worth(start: int) -> tuple[float, float]:
        held = sum(weight * value for weight, value in zip(weights, profile[start : start + window], strict=True))
        return held, -abs(start - middle)

    return min(max(starts, key=worth) / scale, whole - length)


def _extent(image: Image.Image) -> Box:
    """From where to where nearly all interest lies."""
    columns, rows = _profiles(image)
    left, right = _stretch(columns, image.width)
    top, bottom = _stretch(rows, image.height)
    return left, top, right, bottom


def _stretch(profile: list[int], whole: int) -> tuple[float, float]:
    tail, count, start = sum(profile) * _TAIL, 0.0, 0
    if not tail:
        return 0.0, float(whole)
    while count + profile[start] <= tail:
        count += profile[start]
        start += 1
    count, end = 0.0, len(profile)
    while count + profile[end - 1] <= tail:
        count += profile[end - 1]
        end -= 1
    scale = whole / len(profile)
    return start * scale, end * scale
