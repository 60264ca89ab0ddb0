"""Which EXIF and XMP of a source may stand in a result.

Knows: the four metadata profiles, tags. Must not know: pixels, how files are written.

A result carries what the application's profile allows, and no profile but `all` lets a place out (GPS tags, maker notes,
which often repeat them, and XMP that mentions a place). Orientation has been followed and the small copy of the picture shows
what was cut away: both go under every profile. Colour profiles are no metadata here; they belong to the pixels (`modes`).
"""

from __future__ import annotations

from PIL import Image

from secure_delivery.plugin import ConfigurationError

#: From least to most.
PROFILES = ("none", "copyright", "no_location", "all")

_ARTIST, _COPYRIGHT = 0x013B, 0x8298
_EXIF, _GPS, _INTEROP = 0x8769, 0x8825, 0xA005
_MAKER_NOTE = 0x927C
#: What describes a picture in the first directory (EXIF 2.32, table 4, without what describes the layout of pixels): all else
#: there is either structure of a TIFF file or a block of somebody's own (IPTC, Photoshop), which may name places.
DESCRIBING = frozenset(
    {0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, _ARTIST, 0x013C, 0x4746, 0x4749, _COPYRIGHT}
    | set(range(0x9C9B, 0x9CA0))
)
_PLACES = (b"gps", b"location", b"latitude", b"longitude", b"photoshop:city", b"photoshop:state", b"photoshop:country")


def more_of(one: str, other: str) -> str:
    """The profile that lets more out. Raises `ConfigurationError` for a word that is no profile."""
    for name in (one, other):
        if name not in PROFILES:
            raise ConfigurationError(f"there is no metadata profile {name[:40]!r}; there are {', '.join(PROFILES)}")
    return max(one, other, key=PROFILES.index)


def exif_for(image: Image.Image, profile: str) -> bytes:
    """The EXIF block of a result, empty when nothing is left. Damaged EXIF is dropped; the picture is fine."""
    if profile == "none":
        return b""
    try:
        return _exif(image.getexif(), profile)
    except MemoryError:
        raise
    except Exception:
        return b""


def xmp_for(image: Image.Image, profile: str) -> bytes:
    """The XMP block of a result: whole or not at all, because reading XML of strangers is not worth its risks."""
    block = image.info.get("xmp") or b""
    block = block.encode() if isinstance(block, str) else bytes(block)
    if profile == "all":
        return block
    if profile != "no_location" or not _plain(block) or any(place in block.lower() for place in _PLACES):
        return b""
    return block


def _plain(block: bytes) -> bool:
    """Whether words can be looked for: UTF-8 (not UTF-16, where letters lie apart) without characters spelled by number."""
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in block and b"&#" not in block


def _exif(exif: Image.Exif, profile: str) -> bytes:
    result = Image.Exif()
    for tag in (_ARTIST, _COPYRIGHT) if profile == "copyright" else sorted(DESCRIBING):
        if tag in exif:
            result[tag] = exif[tag]
    below: dict[int, dict[int, object]] = {}
    if profile != "copyright":
        left_out = {_INTEROP} if profile == "all" else {_INTEROP, _MAKER_NOTE}
        below[_EXIF] = {tag: value for tag, value in exif.get_ifd(_EXIF).items() if tag not in left_out}
    if profile == "all":
        below[_GPS] = exif.get_ifd(_GPS)
    for directory, values in below.items():
        if values:
            result.get_ifd(directory).update(values)  # asking for a directory makes one, so not for an empty one
    return result.tobytes() if len(result) or any(below.values()) else b""
