"""How large a video becomes: scaled, cut, with bars.

Knows: numbers. Must not know: ffmpeg, options of URLs.

All sides are even: the colours of a video are stored at half its size.
"""

from __future__ import annotations

from dataclasses import dataclass

Size = tuple[int, int]

_BEYOND = 4  # times the longest side of a result that a video may be scaled to before it is cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What is done to every picture: `scaled` to a size, the middle `kept` of it, put in the middle of a black `canvas`."""

    scaled: Size
    kept: Size
    canvas: Size

    def lower(self, height: int) -> Frame:
        """The same with a canvas of so many lines."""
        factor = height / self.canvas[1]
        scaled, kept, canvas = (even(width * factor, high * factor) for width, high in (self.scaled, self.kept, self.canvas))
        return _consistent(scaled, kept, canvas)


def even(width: float, height: float) -> Size:
    """The nearest even sides, at least two."""
    return max(2, round(width / 2) * 2), max(2, round(height / 2) * 2)


def framed(source: Size, wanted: tuple[int | None, int | None], mode: str, *, upscale: bool, most: int) -> Frame:
    """What becomes of a video of a size (`aspect_mode`, Filestack documentation, video processing).

    * `preserve`: its size stays, whatever is wanted. * `constrain`: it fits into what is wanted.
    * `letterbox`: the same, with bars above and below up to the height. * `pad`: with bars up to width and height.
    * `crop`: width and height are filled, what reaches beyond is cut off.

    Without `upscale` nothing is enlarged. With one side wanted, the other follows. No side is longer than `most`.
    """
    width, height = wanted
    full = min(1.0, most / max(source))
    if mode == "preserve" or (width is None and height is None):
        size = even(source[0] * full, source[1] * full)
        return Frame(scaled=size, kept=size, canvas=size)
    across = width / source[0] if width is not None else None
    down = height / source[1] if height is not None else None
    if across is None or down is None:
        factor, mode = across or down or 1.0, "constrain"
    else:
        factor = max(across, down) if mode == "crop" else min(across, down)
    # A strip that is much longer than the frame that it fills is not scaled without end.
    factor = min(factor, most * (_BEYOND if mode == "crop" else 1) / max(source))
    factor = factor if upscale else min(factor, 1.0)
    scaled = even(source[0] * factor, source[1] * factor)
    target = even(width or scaled[0], height or scaled[1])
    if mode == "crop":
        kept = (min(scaled[0], target[0]), min(scaled[1], target[1]))
        return Frame(scaled=scaled, kept=kept, canvas=kept)
    canvas = {"letterbox": (scaled[0], max(scaled[1], target[1])), "pad": target}.get(mode, scaled)
    return _consistent(scaled, scaled, canvas)


def _consistent(scaled: Size, kept: Size, canvas: Size) -> Frame:
    """Roundings put right: nothing is cut from less, nothing is put on less."""
    kept = (min(kept[0], scaled[0]), min(kept[1], scaled[1]))
    return Frame(scaled=scaled, kept=kept, canvas=(max(canvas[0], kept[0]), max(canvas[1], kept[1])))
