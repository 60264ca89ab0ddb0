"""What of a source's metadata a result carries, under each of the four profiles of an application."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from PIL import Image

from secure_delivery.plugin import ConfigurationError
from secure_delivery.plugin.testing import MemoryFile, content
from secure_delivery_images.metadata import PROFILES, more_of

AUTHOR, RIGHTS, CAMERA, NOTE = "A. Uthor", "(c) 2026 A. Uthor", "Camera & Co", b"private note of the maker"
PLACE = "Zwischenwasser"
GPS, DETAILS = 0x8825, 0x8769
FORMATS = ["JPEG", "PNG", "WEBP", "AVIF"]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description dc:title="a title"/></x:xmpmeta>'


def exif(orientation: int = 1) -> Image.Exif:
    block = Image.Exif()
    block[0x010F], block[0x013B], block[0x8298], block[0x0112] = CAMERA, AUTHOR, RIGHTS, orientation
    block.get_ifd(GPS).update({1: "N", 2: (47.0, 17.0, 3.0), 27: PLACE.encode()})
    block.get_ifd(DETAILS).update({0x9003: "2026:11:26 10:00:00", 0x927C: NOTE})
    return block


def described(form: str, saved: Any, quadrants: Any, xmp: bytes = XMP, orientation: int = 1) -> MemoryFile:
    options: dict[str, Any] = {"exif": exif(orientation)}
    if form in ("JPEG", "WEBP", "AVIF"):
        options["xmp"] = xmp
    if form == "PNG":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode("latin-1"))
    media: MemoryFile = saved(quadrants(), form, **options)
    return media


def tags(image: Image.Image) -> set[str]:
    """Which of the tags of `exif` are there."""
    block = image.getexif()
    names = {0x010F: "camera", 0x013B: "author", 0x8298: "rights", 0x0112: "orientation"}
    found = {name for tag, name in names.items() if tag in block}
    details = block.get_ifd(DETAILS)
    found |= {name for tag, name in ((0x9003, "time"), (0x927C, "note")) if tag in details}
    return found | ({"place"} if block.get_ifd(GPS) else set())


WANTED = {
    "none": set(),
    "copyright": {"author", "rights"},
    "no_location": {"author", "rights", "camera", "time"},
    "all": {"author", "rights", "camera", "time", "note", "place"},
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("tasks", [["flip"], ["compress"], [("resize", {"w": "9"})], [("output", {"f": "jpg"})]], ids=str)
def test_a_profile_says_what_stays(
    tasks: list[Any], profile: str, form: str, chain: Any, saved: Any, opened: Any, quadrants: Any
) -> None:
    """Nothing; author and rights; all but the place and the maker's own notes; everything: whatever is done to the picture."""
    result = chain(described(form, saved, quadrants), *tasks, metadata=profile)
    assert tags(opened(result)) - {"orientation"} == WANTED[profile]
    if profile != "all":
        assert PLACE.encode() not in content(result)
        assert NOTE not in content(result)


@pytest.mark.parametrize("profile", PROFILES[:3])
@pytest.mark.parametrize("form", FORMATS)
def test_a_place_never_leaves_by_default(form: str, profile: str, chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """Asking for metadata does not give the place away either: that takes the profile `all`."""
    media = described(form, saved, quadrants)
    for tasks in ([("compress", {"metadata": "true"})], ["flip", ("compress", {"metadata": "true"})]):
        result = chain(media, *tasks, metadata=profile)
        assert tags(opened(result)) - {"orientation"} == WANTED["no_location"], tasks
        assert PLACE.encode() not in content(result)


@pytest.mark.parametrize("task", ["no_metadata", ("output", {"strip": "true"})])
def test_metadata_can_be_taken_out_under_every_profile(task: Any, chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """Who asks for none gets none."""
    for profile in PROFILES:
        assert tags(opened(chain(described("JPEG", saved, quadrants), task, metadata=profile))) == set()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("profile", PROFILES[1:])
def test_an_orientation_is_never_followed_twice(
    profile: str, form: str, chain: Any, saved: Any, opened: Any, quadrants: Any
) -> None:
    """The tag goes under every profile, whether it was followed or dropped on purpose."""
    media = described(form, saved, quadrants, orientation=6)
    for tasks, size in ((["compress"], (48, 64)), ([("rotate", {"exif": "false"})], (64, 48))):
        result = opened(chain(media, *tasks, metadata=profile))
        assert (result.size, result.getexif().get(0x0112, 1)) == (size, 1), tasks


@pytest.mark.parametrize(
    ("xmp", "stays"),
    [
        (XMP, True),
        (XMP.replace(b"dc:title", b"exif:GPSLatitude"), False),
        (XMP.replace(b"a title", b"Iptc4xmpCore:Location"), False),
        (XMP.replace(b"dc:title", b"photoshop:City"), False),
        (XMP.replace(b"dc:title", b"exif:&#71;PSLatitude"), False),
        (XMP.decode().encode("utf-16"), False),
    ],
)
@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
@pytest.mark.parametrize("tasks", [["flip"], ["compress"]], ids=str)
def test_xmp_that_may_name_a_place_does_not_stay(
    tasks: list[Any], form: str, xmp: bytes, stays: bool, chain: Any, saved: Any, opened: Any, quadrants: Any
) -> None:
    """XMP is kept whole or not at all: not with words of places, nor where words cannot be looked for."""
    result = opened(chain(described(form, saved, quadrants, xmp), *tasks, metadata="no_location"))
    assert (result.info.get("xmp") == xmp) is stays
    for profile, kept in (("none", False), ("copyright", False), ("all", True)):
        assert ("xmp" in opened(chain(described(form, saved, quadrants, xmp), *tasks, metadata=profile)).info) is kept


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_is_dropped_and_the_picture_stays(form: str, chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """Offsets that lead nowhere, counts beyond the end, directories in circles."""
    start = b"Exif\0\0MM\0*\0\0\0\x08"
    for block in (
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        start + b"\xff\xff" + b"\x01\x0f\0\x02\xff\xff\xff\xff\0\0\0\0" * 4,
        start + b"\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x08\0\0\0\x08",
        b"Exif\0\0" + bytes(range(256)),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the library that makes the file
            media = saved(quadrants(), form, exif=block)
        for profile in PROFILES:
            result = opened(chain(media, "flip", metadata=profile))
            assert result.size == (64, 48)


def test_unedited_pixels_are_the_same_under_every_profile(chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """Blocks are taken out and put in; pixels are not touched, not even those of a JPEG or a lossy WebP."""
    for form in ("JPEG", "PNG", "WEBP"):
        media = described(form, saved, quadrants)
        for profile in PROFILES:
            result = opened(chain(media, ("rotate", {"deg": "exif"}), metadata=profile))
            assert result.tobytes() == opened(media).tobytes()


def test_blocks_go_into_the_simplest_webp(chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """A WebP file without the extended header gets one, lossy or lossless, with and without transparency."""
    for options in ({"quality": 60}, {"lossless": True}):
        for mode in ("RGB", "RGBA"):
            image = quadrants(63, 47, mode)
            if mode == "RGBA":
                image.putpixel((3, 3), (1, 2, 3, 100))
            media = saved(image, "WEBP", exif=exif(), **options)
            result = opened(chain(media, "compress", metadata="copyright"))
            assert tags(result) == {"author", "rights"}
            assert result.tobytes() == opened(media).tobytes()


def test_a_profile_that_is_none_is_refused() -> None:
    """A misspelt profile must not let more out than was meant."""
    assert more_of("copyright", "all") == "all"
    with pytest.raises(ConfigurationError, match="no-location"):
        more_of("none", "no-location")


def test_author_and_rights_go_into_a_tiff_and_come_out_of_one(chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """TIFF keeps such tags beside those that describe its pixels; only the first are metadata."""
    media = described("JPEG", saved, quadrants)
    scan = chain(media, ("output", {"f": "tiff"}), metadata="copyright")
    assert tags(opened(scan)) - {"orientation"} == WANTED["copyright"]
    assert opened(scan).size == (64, 48)
    again = MemoryFile(content(scan), "image/tiff", "scan.tiff")
    for profile, wanted in (("none", set()), ("copyright", WANTED["copyright"]), ("no_location", WANTED["copyright"])):
        for wanted_form in ("jpg", "png", "tiff"):
            result = opened(chain(again, "flip", ("output", {"f": wanted_form}), metadata=profile))
            assert tags(result) - {"orientation"} == wanted, (profile, wanted_form)
            assert result.size == (64, 48)
