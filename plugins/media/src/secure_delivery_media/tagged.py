"""What a sound file says of itself, read in Python alone, and what of it may be told.

Knows: tinytag, names of tags, the metadata profiles. Must not know: ffmpeg.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from secure_delivery.plugin import Media

_LONGEST = 2_000  # characters of a tag

#: Names of tags as files have them, and ours.
_NAMES: Final = {
    "title": "title",
    "artist": "artist",
    "author": "artist",
    "album": "album",
    "album_artist": "album_artist",
    "albumartist": "album_artist",
    "composer": "composer",
    "genre": "genre",
    "date": "date",
    "year": "date",
    "track": "track",
    "disc": "disc",
    "comment": "comment",
    "description": "description",
    "copyright": "copyright",
    "publisher": "publisher",
    "language": "language",
    "encoder": "encoder",
    "creation_time": "created",
    "make": "make",
    "model": "model",
    "com.apple.quicktime.make": "make",
    "com.apple.quicktime.model": "model",
    "com.apple.quicktime.creationdate": "created",
    "location": "location",
    "location-eng": "location",
    "com.apple.quicktime.location.iso6709": "location",
}
_COPYRIGHT: Final = frozenset({"copyright", "artist", "album_artist", "composer", "publisher"})
#: Names of ours that each profile lets out. Others are never told: nobody knows what is in them.
TOLD: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "none": frozenset(),
        "copyright": _COPYRIGHT,
        "no_location": frozenset(_NAMES.values()) - {"location"},
        "all": frozenset(_NAMES.values()),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """What tinytag found. `cover` is the bytes of a picture, of whatever kind."""

    duration: float | None = None
    bit_rate: int | None = None
    sample_rate: int | None = None
    channels: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    cover: bytes | None = field(default=None, repr=False)


def plain(text: str) -> str:
    """A text without control characters, cut."""
    return "".join(letter for letter in text[:_LONGEST] if letter >= " " or letter in "\n\t").replace("\x7f", "").strip()


def allowed(tags: Mapping[str, str], profile: str) -> dict[str, str]:
    """The tags under our names, as far as a profile lets them out."""
    told = TOLD.get(profile, TOLD["none"])
    found: dict[str, str] = {}
    for name, value in tags.items():
        ours = _NAMES.get(name.lower())
        text = plain(value)
        if ours in told and text:
            found.setdefault(str(ours), text.encode("utf-8", "replace").decode())
    return found


def sound_of(media: Media, *, cover: bool = False) -> Sound | None:
    """What is in a sound file, its cover if wanted; None for a file that tinytag does not know or cannot read."""
    from tinytag import TinyTag

    try:
        with media.open() as stream:
            found = TinyTag.get(file_obj=stream, filename=None, image=cover)
            picture = found.images.any if cover else None
    except MemoryError:
        raise
    except Exception:  # its errors, and whatever damage makes of a reader without bounds
        return None
    return Sound(
        duration=_positive(found.duration),
        bit_rate=_whole((found.bitrate or 0) * 1000),
        sample_rate=_whole(found.samplerate),
        channels=_whole(found.channels),
        tags=_texts(found),
        cover=bytes(picture.data) if picture is not None and picture.data else None,
    )


def _texts(found: Any) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name in ("title", "artist", "album", "albumartist", "composer", "genre", "year", "track", "disc", "comment"):
        value = getattr(found, name, None)
        if value not in (None, ""):
            texts[name] = str(value)
    for name, values in list(found.other.items())[:100]:
        if values:
            texts.setdefault(str(name).lower()[:100], str(values[0]))
    return texts


def _positive(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 < value < 1_000_000 else None


def _whole(value: Any) -> int | None:
    number = _positive(value) if not isinstance(value, int | float) or value < 1_000_000 else float(value)
    return round(number) if number is not None and number < 1e12 else None
