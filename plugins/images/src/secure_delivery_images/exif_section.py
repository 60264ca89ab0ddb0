"""The section `exif`: what a picture says about itself, in words that do not depend on its format.

Knows: tags, profiles. Must not know: containers (`blocks`), how a section travels.

The profile of the application decides what is given, each more than the one before:

* `none`: how the picture was exposed and which way is up: nothing that tells of a person, a device, a moment or a place;
* `copyright`: author and rights as well;
* `no_location`: all but where it was: no GPS, no names of places;
* `all`: the place as well. Maker notes are never told.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import ExifTags

from . import xmp
from .blocks import Blocks
from .exif_task import tags_of, told_value
from .metadata import DESCRIBING
from .metadata_words import (
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    IPTC,
    IPTC_PLACES,
    METERING,
    NOT_SAID,
    PROGRAMS,
)

_MOST = 400  # tags of one group
_WHOLE = 400_000  # characters of a section in all
_TIME = re.compile(r"(\d{4})[:.-](\d\d)[:.-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_DAY = re.compile(r"(\d{4})[:.-]?(\d\d)[:.-]?(\d\d)")
_RIGHTS = frozenset({"author", "copyright", "credit"})
_EXPOSURE = frozenset(
    {"exposure_time", "exposure", "f_number", "iso", "focal_length", "focal_length_35mm", "exposure_bias", "exposure_program"}
    | {"metering", "flash", "orientation"}
)
_ZONE = re.compile(r"[+-]\d\d:\d\d")


def section(blocks: Blocks, profile: str) -> dict[str, Any] | None:
    """The section under a profile; None when nothing is left of it."""
    raw = _bounded(_groups(blocks, everything=profile == "all"))
    told = _told(raw)
    if profile in ("no_location", "all"):
        return {**told, "raw": raw} if raw else None
    allowed = _EXPOSURE | (_RIGHTS if profile == "copyright" else frozenset())
    return {name: value for name, value in told.items() if name in allowed} or None


def _groups(blocks: Blocks, *, everything: bool) -> dict[str, dict[str, Any]]:
    """Tags by their names, in groups: `image`, `photo`, `gps`, `iptc`, `xmp`; those that are empty are left out."""
    names = {**ExifTags.TAGS}
    first = {
        tag: value for tag, value in tags_of(blocks.exif, None).items() if everything or tag in DESCRIBING or tag == 0x0112
    }
    groups = {
        "image": dict(_named(first, names)),
        "photo": dict(_named(tags_of(blocks.exif, EXIF_DIRECTORY), names)),
        "gps": dict(_named(tags_of(blocks.exif, GPS_DIRECTORY), ExifTags.GPSTAGS)) if everything else {},
        "iptc": _iptc(blocks, everything),
        "xmp": {name: value for name, value in xmp.read(blocks.xmp).items() if everything or name not in xmp.PLACES},
    }
    return {name: group for name, group in groups.items() if group}


def _named(values: Mapping[int, Any], names: Mapping[int, str]) -> Iterator[tuple[str, Any]]:
    structure = NOT_SAID | {EXIF_DIRECTORY, GPS_DIRECTORY, 0xA005, 0x0201, 0x0202, 0x0111, 0x0117, 0x0144, 0x0145, 0x014A}
    count = 0
    for tag, value in values.items():
        word = told_value(value)
        if tag in structure or word is None or (count := count + 1) > _MOST:
            continue
        yield names.get(tag, f"0x{tag:04x}"), word


def _iptc(blocks: Blocks, everything: bool) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for number, data in blocks.iptc:
        name = IPTC.get(number)
        text = told_value(_text(data))
        if name is not None and text is not None and (everything or name not in IPTC_PLACES):
            found.setdefault(name, []).append(text)
    return {name: texts if name == "Keywords" or len(texts) > 1 else texts[0] for name, texts in found.items()}


def _text(data: bytes) -> str:
    """The value of a dataset: UTF-8 as most programs write it today, else Latin-1."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _bounded(groups: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same, up to a number of characters in all."""
    left = _WHOLE
    result: dict[str, dict[str, Any]] = {}
    for name, group in groups.items():
        for key, value in group.items():
            left -= len(key) + len(str(value)) + 8
            if left < 0:
                return result
            result.setdefault(name, {})[key] = value
    return result


# ---------------------------------------------------------------------------------------------------- in plainer words


def _told(raw: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    image, photo, iptc, packet = (raw.get(name, {}) for name in ("image", "photo", "iptc", "xmp"))
    found = {
        "make": image.get("Make"),
        "model": image.get("Model"),
        "lens": photo.get("LensModel") or packet.get("Lens"),
        **_exposure(photo),
        "taken": _taken(photo, image, packet, iptc),
        "orientation": image.get("Orientation") if image.get("Orientation") in range(1, 9) else None,
        "software": image.get("Software") or packet.get("CreatorTool"),
        "author": _one(image.get("Artist") or packet.get("creator") or iptc.get("By-line")),
        "copyright": _one(image.get("Copyright") or packet.get("rights") or iptc.get("CopyrightNotice")),
        "credit": _one(packet.get("Credit") or iptc.get("Credit")),
        "title": _one(packet.get("title") or iptc.get("ObjectName") or packet.get("Headline") or iptc.get("Headline")),
        "description": _one(packet.get("description") or image.get("ImageDescription") or iptc.get("Caption")),
        "keywords": _several(packet.get("subject") or iptc.get("Keywords")),
        "rating": _whole(packet.get("Rating"), -1, 5),
        "gps": _gps(raw.get("gps", {})),
        "place": _place(packet, iptc),
    }
    return {name: value for name, value in found.items() if value not in (None, "", [], {})}


def _exposure(photo: Mapping[str, Any]) -> dict[str, Any]:
    seconds = _number(photo.get("ExposureTime"), 0, 1e6)
    iso = photo.get("PhotographicSensitivity", photo.get("ISOSpeedRatings"))
    flash = photo.get("Flash")
    return {
        "exposure_time": seconds,
        "exposure": _fraction(seconds),
        "f_number": _number(photo.get("FNumber"), 0.1, 1_000),
        "iso": _whole(iso[0] if isinstance(iso, list) and iso else iso, 1, 10_000_000),
        "focal_length": _number(photo.get("FocalLength"), 0.01, 100_000),
        "focal_length_35mm": _whole(photo.get("FocalLengthIn35mmFilm"), 1, 100_000),
        "exposure_bias": _number(photo.get("ExposureBiasValue"), -100, 100),
        "exposure_program": _word(photo.get("ExposureProgram"), PROGRAMS),
        "metering": _word(photo.get("MeteringMode"), METERING),
        "flash": bool(flash & 1) if isinstance(flash, int) else None,
    }


def _taken(
    photo: Mapping[str, Any], image: Mapping[str, Any], packet: Mapping[str, Any], iptc: Mapping[str, Any]
) -> str | None:
    """When, as ISO 8601: with fractions and zone where they are known, local time without a zone where not."""
    for stem in ("Original", "Digitized"):
        time = _TIME.match(str(photo.get(f"DateTime{stem}", "")))
        if time is not None and time[1] != "0000":
            part = re.match(r"\d{1,6}", str(photo.get(f"SubsecTime{stem}", "")))
            zone = _ZONE.fullmatch(str(photo.get(f"OffsetTime{stem}") or photo.get("OffsetTime") or ""))
            return _iso(time) + (f".{part[0]}" if part else "") + (zone[0] if zone else "")
    for value in (packet.get("DateTimeOriginal"), packet.get("DateCreated"), packet.get("CreateDate"), image.get("DateTime")):
        time = _TIME.match(str(value or ""))
        if time is not None and time[1] != "0000":
            zone = _ZONE.search(str(value), time.end())
            return _iso(time) + (zone[0] if zone else "")
    day = _DAY.fullmatch(str(iptc.get("DateCreated", "")))
    return "-".join(day.groups()) if day is not None and day[1] != "0000" else None


def _iso(time: re.Match[str]) -> str:
    return f"{time[1]}-{time[2]}-{time[3]}T{time[4]}:{time[5]}:{time[6]}"


def _gps(gps: Mapping[str, Any]) -> dict[str, float]:
    """Decimal degrees, north and east positive (EXIF 2.32, 4.6.6); metres above the sea."""
    latitude = _degrees(gps.get("GPSLatitude"), gps.get("GPSLatitudeRef"), "S", 90)
    longitude = _degrees(gps.get("GPSLongitude"), gps.get("GPSLongitudeRef"), "W", 180)
    if latitude is None or longitude is None:
        return {}
    found = {"latitude": latitude, "longitude": longitude}
    altitude = _number(gps.get("GPSAltitude"), 0, 1e6)
    below = gps.get("GPSAltitudeRef") in (1, "\x01", [1])
    if altitude is not None:
        found["altitude"] = -altitude if below else altitude
    return found


def _degrees(value: Any, side: Any, negative: str, most: float) -> float | None:
    parts = value if isinstance(value, list) else [value]
    numbers = [_number(part, 0, 1e6) for part in parts[:3]]
    if not numbers or None in numbers:
        return None
    degrees = sum(number / 60.0**place for place, number in enumerate(numbers) if number is not None)
    if degrees > most:
        return None
    return round(-degrees if str(side).upper().startswith(negative) else degrees, 7)


def _place(packet: Mapping[str, Any], iptc: Mapping[str, Any]) -> dict[str, str]:
    found = {
        "location": packet.get("Location") or iptc.get("Sub-location"),
        "city": packet.get("City") or iptc.get("City"),
        "state": packet.get("State") or iptc.get("Province-State"),
        "country": packet.get("Country") or iptc.get("Country-Name"),
    }
    return {name: text for name, value in found.items() if (text := _one(value))}


def _one(value: Any) -> str | None:
    values = value if isinstance(value, list) else [value]
    return ", ".join(str(item) for item in values if item not in (None, ""))[:2_000] or None


def _several(value: Any) -> list[str]:
    return [str(item) for item in (value if isinstance(value, list) else [value]) if item not in (None, "")]


def _number(value: Any, low: float, high: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if low <= value <= high else None


def _whole(value: Any, low: int, high: int) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if low <= number <= high else None


def _word(value: Any, words: tuple[str, ...]) -> str | None:
    return words[value - 1] if isinstance(value, int) and 1 <= value <= len(words) else None


def _fraction(seconds: float | None) -> str | None:
    """As photographers write it: 1/125 below a third of a second, else seconds."""
    if not seconds:
        return None
    return f"1/{round(1 / seconds)}" if seconds < 0.3 else f"{seconds:g}"
