"""`exif`: what a camera wrote about a picture, as JSON. It needs a policy that names the call `exif`.

Knows: EXIF directories and the names of tags (EXIF 2.32). Must not know: Pillow, until a worker reads a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from secure_delivery.plugin import Media, json_file

from .tasks import PictureTask

if TYPE_CHECKING:
    from PIL import Image

    from .picture import Picture

_LONGEST = 2000  # characters of one value; longer ones are blocks of somebody's own
_MOST = 1000  # tags
_NESTED = (0x8769, 0x8825)  # the camera's settings, and the place
_STRUCTURE = frozenset({*_NESTED, 0xA005, 0x0201, 0x0202})


class Exif(PictureTask):
    """`exif`: the EXIF tags of a picture by name, the place included; an empty object where there are none."""

    def demands(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        return ("exif",)

    def change(self, picture: Picture, options: Mapping[str, Any]) -> Media:
        from .decode import faults, open_image
        from .headers import png_exif

        if picture.facts.size == 0:  # drawn by code
            return json_file({}, "exif.json")
        with faults(), picture.source.open() as stream:  # type: ignore[union-attr]
            image = open_image(stream, picture.facts.form, picture.limits)
            if picture.facts.form == "PNG":  # whose own way would decode the whole picture
                from PIL import Image as Pictures

                exif = Pictures.Exif()
                exif.load(png_exif(stream))
            else:
                exif = image.getexif()
            return json_file(dict(_told(exif)), "exif.json")


def _told(exif: Image.Exif) -> Iterator[tuple[str, Any]]:
    """Name and value of every tag that can be said in JSON. A damaged directory says what can be read of it."""
    from PIL import ExifTags

    names = {**ExifTags.TAGS}
    count = 0
    for directory in (None, *_NESTED):
        values = tags_of(exif, directory)
        known = ExifTags.GPSTAGS if directory == 0x8825 else names
        for tag, value in values.items():
            said = told_value(value)
            if tag in _STRUCTURE or said is None or (count := count + 1) > _MOST:
                continue
            yield known.get(tag, f"0x{tag:04x}"), said


def tags_of(exif: Image.Exif, number: int | None) -> dict[int, Any]:
    """The tags of one directory; none of a damaged one, for the others may be fine."""
    try:
        return dict(exif) if number is None else exif.get_ifd(number)
    except MemoryError:
        raise
    except Exception:
        return {}


def told_value(value: Any) -> Any:
    """A value as JSON has it: text, numbers, lists of these; None for what is none."""
    if isinstance(value, bytes):
        text = value.split(b"\0", 1)[0] if not value.startswith(b"ASCII\0\0\0") else value[8:].rstrip(b"\0 ")
        value = text.decode("ascii", "ignore") if text.isascii() else None
    if isinstance(value, str):
        clean = "".join(character for character in value if character.isprintable()).strip()
        return clean if clean and len(clean) <= _LONGEST else None
    if isinstance(value, bool | int):
        return value
    if isinstance(value, tuple | list):
        items = [told_value(item) for item in value[:64]]
        return items if None not in items else None
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return round(number, 6) if abs(number) < 1e15 else None  # false for NaN as well
