"""What ffprobe says about a file, believed only as far as numbers and words go.

Knows: its JSON. Must not know: what the facts are for.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from secure_delivery.plugin import Corrupt, Media, Unsupported, Workshop

from . import kinds, programs

_MOST_BYTES = 8_000_000  # of an answer
_MOST_STREAMS = 100  # that are looked at
_SECONDS = 1_000_000.0  # of the longest file that is believed: eleven days
_WORD = re.compile(r"[A-Za-z0-9_.,+() /:-]{1,80}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,4}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One stream: what is not known is None.

    `kind` is `video`, `audio`, `subtitle`, `data` or `attachment`; sizes are stored pixels; `rotation` is degrees clockwise by
    which a picture is turned to be shown; `cover` means a picture that is no video.
    """

    index: int
    kind: str
    codec: str | None = None
    profile: str | None = None
    width: int | None = None
    height: int | None = None
    aspect: float = 1.0
    rotation: int = 0
    fps: float | None = None
    pixel_format: str | None = None
    bit_rate: int | None = None
    channels: int | None = None
    layout: str | None = None
    sample_rate: int | None = None
    duration: float | None = None
    language: str | None = None
    default: bool = False
    cover: bool = False

    @property
    def displayed(self) -> tuple[int, int]:
        """Width and height in square pixels, upright; zeros where nothing is known."""
        width, height = round((self.width or 0) * self.aspect), self.height or 0
        return (height, width) if self.rotation % 180 == 90 else (width, height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A file. `container` is ffmpeg's name of it; `duration` in seconds; `tags` as they stand in it, names in lower case."""

    container: str
    duration: float | None
    bit_rate: int | None
    streams: Sequence[Stream]
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def video(self) -> Stream | None:
        """The stream that is looked at: the one marked so, else the largest."""
        found = [one for one in self.streams if one.kind == "video" and not one.cover and one.width and one.height]
        return max(found, key=lambda one: (one.default, (one.width or 0) * (one.height or 0), -one.index), default=None)

    @property
    def cover(self) -> Stream | None:
        found = (one for one in self.streams if one.kind == "video" and one.cover and one.width and one.height)
        return next(found, None)

    @property
    def audio(self) -> Stream | None:
        """The stream that is listened to."""
        found = [one for one in self.streams if one.kind == "audio" and one.codec]
        return max(found, key=lambda one: (one.default, one.channels or 0, -one.index), default=None)


def probed(media: Media, shop: Workshop) -> Facts:
    """Ask ffprobe. Raises `Unsupported` for what is no container and where ffprobe is not installed, `Corrupt`."""
    kinds.check(media)
    return answered(media, shop)


def answered(media: Media, shop: Workshop) -> Facts:
    """The same for a file that we made."""
    results = shop.run(programs.PROBE, [media])
    with results[0].open() as stream:
        data = stream.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise Corrupt("an answer of ffprobe without end")
    try:
        answer = json.loads(data.decode("utf-8", "replace"))
        return read(answer)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Corrupt(f"ffprobe said what nobody understands: {type(error).__name__}") from None


def read(answer: Mapping[str, Any]) -> Facts:
    """The facts in an answer. Raises `TypeError`, `AttributeError` for one of another shape, `Unsupported` without streams."""
    form = answer.get("format", {})
    streams = tuple(_stream(one) for one in answer.get("streams", [])[:_MOST_STREAMS])
    if not streams:
        raise Unsupported("no streams", public="There is neither video nor sound in this file.")
    duration = _seconds(form.get("duration")) or max((one.duration or 0.0 for one in streams), default=0.0)
    tags: dict[str, str] = {}
    for source in (form, *answer["streams"][:1]):  # an Ogg file keeps them with its first stream
        for name, value in source.get("tags", {}).items():
            tags.setdefault(str(name).lower()[:100], str(value))
    return Facts(
        container=_word(form.get("format_name")) or "unknown",
        duration=duration or None,
        bit_rate=_whole(form.get("bit_rate")),
        streams=streams,
        tags=tags,
    )


def _stream(one: Mapping[str, Any]) -> Stream:
    disposition, tags = one.get("disposition", {}), one.get("tags", {})
    kind = str(one.get("codec_type"))
    language = str(tags.get("language", ""))
    return Stream(
        index=min(_whole(one.get("index")) or 0, programs.NO_STREAM),
        kind=kind if kind in ("video", "audio", "subtitle", "data", "attachment") else "data",
        codec=_word(one.get("codec_name")),
        profile=_word(one.get("profile")),
        width=_whole(one.get("width")),
        height=_whole(one.get("height")),
        aspect=_aspect(one.get("sample_aspect_ratio")),
        rotation=_rotation(one),
        fps=_fps(one),
        pixel_format=_word(one.get("pix_fmt")),
        bit_rate=_whole(one.get("bit_rate")),
        channels=_whole(one.get("channels")),
        layout=_word(one.get("channel_layout")),
        sample_rate=_whole(one.get("sample_rate")),
        duration=_seconds(one.get("duration")),
        language=language if _LANGUAGE.fullmatch(language) and language != "und" else None,
        default=bool(disposition.get("default")),
        cover=bool(disposition.get("attached_pic") or disposition.get("still_image")),
    )


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value != "unknown" and _WORD.fullmatch(value) else None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and 0 <= number < 1e15 else None


def _seconds(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and 0 < number <= _SECONDS else None


def _ratio(value: Any, mark: str) -> float | None:
    above, _, below = str(value).partition(mark)
    top, bottom = _number(above), _number(below)
    return top / bottom if top and bottom and top > 0 and bottom > 0 else None


def _aspect(value: Any) -> float:
    ratio = _ratio(value, ":") or 1.0
    return ratio if 0.05 <= ratio <= 20 else 1.0  # beyond, it is no shape of a pixel but damage


def _fps(one: Mapping[str, Any]) -> float | None:
    for name in ("avg_frame_rate", "r_frame_rate"):
        rate = _ratio(one.get(name), "/")
        if rate is not None and rate <= 1000:
            return round(rate, 3)
    return None


def _rotation(one: Mapping[str, Any]) -> int:
    """Clockwise, as it is shown: a display matrix counts the other way round (ffmpeg, `av_display_rotation_get`)."""
    for side in one.get("side_data_list", [])[:20]:
        turn = _number(side.get("rotation"))
        if turn is not None:
            return round(-turn / 90) * 90 % 360
    return round((_number(one.get("tags", {}).get("rotate")) or 0) / 90) * 90 % 360
