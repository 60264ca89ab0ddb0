"""The sections `exif` and `image`: what they tell, and what a metadata profile keeps back."""

from __future__ import annotations

import json
import random
import struct
from io import BytesIO
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from secure_delivery.plugin import MemoryFile, SecureDeliveryError
from secure_delivery.plugin.testing import SimpleWorkshop
from secure_delivery.plugin.testing_extractors import ExtractorContract
from secure_delivery.plugin.testing_previews import extracted
from secure_delivery_images import xmp
from secure_delivery_images.extractors import extractors

EXIF, FACTS = extractors()["exif"], extractors()["image"]
PACKET = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:secret="urn:x" xmp:Rating="4" photoshop:City="Vienna"
 secret:diary="dear diary"><dc:creator><rdf:Seq><rdf:li>Ada</rdf:li><rdf:li>Bob</rdf:li></rdf:Seq></dc:creator>
 <dc:title><rdf:Alt><rdf:li xml:lang="x-default">A title</rdf:li></rdf:Alt></dc:title>
 <dc:subject><rdf:Bag><rdf:li>one</rdf:li><rdf:li>two</rdf:li></rdf:Bag></dc:subject>
 <photoshop:Credit>Agency</photoshop:Credit></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


class TestExif(ExtractorContract):
    extractor = EXIF

    def sample_media(self) -> Any:
        return photograph(xmp=PACKET.encode())


class TestExifOfRaw(ExtractorContract):
    extractor = EXIF

    def sample_media(self) -> Any:
        return photograph("TIFF")


class TestFacts(ExtractorContract):
    extractor = FACTS

    def sample_media(self) -> Any:
        return photograph()


def exif() -> Image.Exif:
    found = Image.Exif()
    found.endian = "<"
    found[0x010F], found[0x0110], found[0x0131], found[0x0112] = "Example", "One", "Firmware 1", 6
    found[0x013B], found[0x8298] = "Ada", "(c) Ada"
    photo = found.get_ifd(0x8769)
    photo[0x829A], photo[0x829D], photo[0x8827] = IFDRational(1, 125), IFDRational(28, 10), 200
    photo[0x920A], photo[0xA405], photo[0x9209], photo[0x8822] = IFDRational(50), 75, 1, 3
    photo[0x9003], photo[0x9011], photo[0x9291] = "2024:05:17 09:30:00", "+02:00", "25"
    photo[0xA434], photo[0x927C] = "Lens 50mm", b"secret maker note"
    gps = found.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", (48.0, 12.0, 30.0), "W", (16.0, 22.0, 12.0)
    gps[5], gps[6] = b"\0", IFDRational(171)
    return found


def iptc(**values: str) -> bytes:
    numbers = {"city": 90, "caption": 120, "keyword": 25}
    data = b"".join(struct.pack(">BBBH", 0x1C, 2, numbers[name], len(text)) + text.encode() for name, text in values.items())
    block = b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0" + struct.pack(">I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"Photoshop 3.0\0" + block


def photograph(form: str = "JPEG", **options: Any) -> MemoryFile:
    out = BytesIO()
    block = exif().tobytes() if form != "TIFF" else b""
    Image.new("RGB", (64, 48), (200, 30, 30)).save(out, form, **({"exif": block} if block else {}), **options)
    if form == "TIFF":  # whose writer leaves directories below the first one out: put in front of the pixels by hand
        return MemoryFile(exif().tobytes().removeprefix(b"Exif\0\0"), "image/tiff", "a.tiff")
    data = out.getvalue()
    if form == "JPEG":
        blocks = iptc(city="Vienna", caption="By the river", keyword="boat")
        data = data[:2] + b"\xff\xed" + struct.pack(">H", len(blocks) + 2) + blocks + data[2:]
    return MemoryFile(data, f"image/{form.lower()}", f"a.{form.lower()}")


def told(media: MemoryFile, profile: str = "all") -> Any:
    section = extracted(EXIF, media, shop=SimpleWorkshop(metadata=profile))
    Draft202012Validator(EXIF.schema).validate(section)
    json.dumps(section, allow_nan=False)
    return section


# ---------------------------------------------------------------------------------------------------------------- exif


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_what_a_camera_wrote_is_told_in_the_same_words_for_every_format(form: str) -> None:
    """Camera, lens, exposure, time with its zone, place in decimal degrees."""
    section = told(photograph(form))
    wanted = {
        "make": "Example", "model": "One", "lens": "Lens 50mm", "exposure": "1/125", "exposure_time": 0.008, "f_number": 2.8,
        "iso": 200, "focal_length": 50.0, "focal_length_35mm": 75, "exposure_program": "aperture priority", "flash": True,
        "taken": "2024-05-17T09:30:00.25+02:00", "software": "Firmware 1", "author": "Ada", "copyright": "(c) Ada",
    }  # fmt: skip
    assert {name: section.get(name) for name in wanted} == wanted
    assert section["gps"] == pytest.approx({"latitude": 48.2083333, "longitude": -16.37, "altitude": 171})
    assert section["raw"]["photo"]["FNumber"] == 2.8
    assert "secret maker note" not in str(section)


def test_xmp_and_iptc_are_told_beside_exif() -> None:
    """Names from a closed list; what is not on it is not read."""
    section = told(photograph(xmp=PACKET.encode()))
    assert section["title"] == "A title" and section["keywords"] == ["one", "two"] and section["rating"] == 4
    assert section["credit"] == "Agency" and section["description"] == "By the river"
    assert section["place"] == {"city": "Vienna"}
    assert section["raw"]["xmp"]["creator"] == ["Ada", "Bob"] and section["raw"]["iptc"]["City"] == "Vienna"
    assert "diary" not in str(section)


def test_a_profile_decides_what_is_given() -> None:
    """How it was exposed; author and rights; all but the place; all."""
    media = photograph(xmp=PACKET.encode())
    bare = told(media, "none")
    assert bare["exposure"] == "1/125" and bare["orientation"] == 6 and bare["iso"] == 200
    for word in ("Ada", "Example", "One", "Lens", "2024", "Firmware", "Vienna", "raw", "title"):
        assert word not in str(bare), word
    assert told(media, "copyright") == {**bare, "author": "Ada", "copyright": "(c) Ada", "credit": "Agency"}
    assert told(media, "nonsense") == bare
    section = told(media, "no_location")
    assert section["make"] == "Example" and section["taken"].startswith("2024")
    for word in ("gps", "GPS", "48.2", "16.3", "Vienna", "City", "place", "Latitude"):
        assert word not in str(section), word
    assert told(media, "all")["place"] == {"city": "Vienna"}


def test_files_without_metadata_have_no_section(saved: Any, quadrants: Any) -> None:
    """Null, not an empty object."""
    for form in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        assert told(saved(quadrants(), form)) is None
    assert told(MemoryFile(b"hello", "text/plain", "a.txt")) is None


@pytest.mark.parametrize("magic", [b"II*\0", b"IIRO", b"IIU\0"])
def test_camera_raw_is_read_by_its_directories(magic: bytes) -> None:
    """Without decoding: a raw file is a TIFF file under another first word."""
    data = exif().tobytes().removeprefix(b"Exif\0\0")
    assert data[:4] == b"II*\0"
    assert told(MemoryFile(magic + data[4:] + bytes(100), "image/tiff", "a.nef"))["model"] == "One"


def test_a_photoshop_file_and_a_fuji_raw_lead_to_their_blocks() -> None:
    """Image resources of the one, the picture inside the other."""
    block = exif().tobytes()
    block += b"\0" * (len(block) % 2)
    resources = b"8BIM" + struct.pack(">H", 1058) + b"\0\0" + struct.pack(">I", len(block)) + block
    psd = b"8BPS" + bytes(22) + struct.pack(">I", 0) + struct.pack(">I", len(resources)) + resources
    assert told(MemoryFile(psd, "image/vnd.adobe.photoshop", "a.psd"))["model"] == "One"
    inside = photograph().data
    raf = b"FUJIFILMCCD-RAW ".ljust(84, b"0") + struct.pack(">II", 100, len(inside)) + bytes(8) + inside
    assert told(MemoryFile(raf, "image/x-fuji-raf", "a.raf"))["model"] == "One"


def test_nonsense_in_tags_is_left_out() -> None:
    """Impossible numbers, dates of nothing, places beyond the poles: no key, no fault, no NaN."""
    found = exif()
    photo, gps = found.get_ifd(0x8769), found.get_ifd(0x8825)
    photo[0x829A], photo[0x829D], photo[0x9003] = IFDRational(1, 0), IFDRational(0, 0), "0000:00:00 00:00:00"
    gps[2] = (IFDRational(1, 0), 99999.0, 0.0)
    found[0x010F] = "A\x1b[31m\x07" * 5
    out = BytesIO()
    Image.new("L", (8, 8)).save(out, "JPEG", exif=found)
    section = told(MemoryFile(out.getvalue(), "image/jpeg", "a.jpg"))
    assert not {"exposure", "f_number", "gps", "taken"} & section.keys()
    assert "\x1b" not in section["make"]


def test_a_packet_of_entities_or_of_endless_elements_ends() -> None:
    """No document type is read, and so no entity; elements and values are counted."""
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaa">]>' + PACKET.replace("A title", "&a;")
    assert xmp.read(bomb.encode()) == {}
    many = PACKET.replace("<rdf:li>one</rdf:li>", "<rdf:li>w</rdf:li>" * 50_000)
    assert len(xmp.read(many.encode()).get("subject", [])) <= 100
    for packet in (b"", b"<", b"\xff\xfe", PACKET.encode()[:700], PACKET.encode("utf-16"), b"x" * (2 << 20)):
        xmp.read(packet)


def test_damaged_files_end_in_a_fault_or_a_section() -> None:
    """Whatever is flipped or cut."""
    chance = random.Random(5)
    for form in ("JPEG", "PNG", "TIFF", "WEBP"):
        media = photograph(form)
        for _ in range(40):
            damaged = bytearray(media.data[: chance.randrange(len(media.data) // 2, len(media.data))])
            for place in chance.sample(range(min(len(damaged), 900)), 12):
                damaged[place] = chance.randrange(256)
            for extractor in (EXIF, FACTS):
                try:
                    section = extracted(
                        extractor,
                        MemoryFile(bytes(damaged), media.mimetype, media.filename),
                        shop=SimpleWorkshop(metadata="all"),
                    )
                except SecureDeliveryError:
                    continue
                Draft202012Validator(extractor.schema).validate(section)
                json.dumps(section, allow_nan=False)


# --------------------------------------------------------------------------------------------------------------- image


def facts(media: MemoryFile) -> Any:
    section = extracted(FACTS, media)
    Draft202012Validator(FACTS.schema).validate(section)
    return section


def test_a_picture_is_described(quadrants: Any) -> None:
    """Upright size, mode, dots an inch, the name of its profile, its colours by share."""
    out = BytesIO()
    tags = Image.Exif()
    tags[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("RGB", (80, 60), (10, 20, 200))
    image.paste((250, 250, 250), (0, 0, 20, 60))
    image.save(out, "JPEG", quality=95, dpi=(300, 300), icc_profile=profile, exif=tags)
    section = facts(MemoryFile(out.getvalue(), "image/jpeg", "a.jpg"))
    assert (section["format"], section["width"], section["height"], section["mode"]) == ("jpeg", 60, 80, "RGB")
    assert section["dpi"] == [300.0, 300.0] and section["icc_profile"] == "sRGB built-in" and section["orientation"] == 6
    first, second = section["colors"][:2]
    assert first["share"] == pytest.approx(0.75, abs=0.05) and second["share"] == pytest.approx(0.25, abs=0.05)
    assert int(first["hex"][5:7], 16) > 180 and int(second["hex"][1:3], 16) > 230


def test_frames_pages_and_transparency_are_counted(saved: Any, quadrants: Any) -> None:
    """An animation, a scan of two pages, an icon of two sizes, a picture that nobody sees."""
    more = {"save_all": True, "append_images": [Image.new("RGB", (32, 24))]}
    assert (
        facts(saved(quadrants(32, 24), "GIF", **more))["animated"],
        facts(saved(quadrants(32, 24), "GIF", **more))["frames"],
    ) == (True, 2)
    scan = facts(saved(quadrants(32, 24), "TIFF", **more))
    assert (scan["animated"], scan["frames"]) == (False, 2)
    out = BytesIO()
    quadrants(64, 64, "RGBA").save(out, "ICO", sizes=[(16, 16), (64, 64)])
    icon = facts(MemoryFile(out.getvalue(), "image/x-icon", "a.ico"))
    assert (icon["format"], icon["width"], icon["frames"]) == ("ico", 64, 2)
    unseen = facts(saved(Image.new("RGBA", (9, 9), (0, 0, 0, 0)), "PNG"))
    assert unseen["alpha"] is True and unseen["colors"] == []
    assert extracted(FACTS, MemoryFile(b"text", "image/png", "a.png")) is None
    assert facts(saved(Image.new("F", (9, 9), 0.5), "TIFF"))["colors"] == []


@pytest.mark.parametrize(
    ("tags", "name"),
    [({50706: bytes((1, 4, 0, 0))}, "a.tif"), ({}, "a.NEF"), ({262: 32803}, "a.tif"), ({262: 34892}, "a"), ({}, "a.cr2")],
)
def test_of_camera_raw_nothing_is_told_because_a_small_copy_would_be(tags: dict[int, Any], name: str) -> None:
    """Its first directory is a thumbnail, or pixels that no reader of TIFF files knows."""
    assert extracted(FACTS, MemoryFile(tiff(tags), "image/tiff", name)) is None
    assert extracted(FACTS, MemoryFile(tiff({}), "image/tiff", "a.tif"))["width"] == 9


def tiff(tags: dict[int, Any]) -> bytes:
    """A grey TIFF file of 9 by 6, its directory behind its pixels."""
    known = {256: 9, 257: 6, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 6, 279: 54} | tags
    entries = b""
    for tag, value in sorted(known.items()):
        raw = isinstance(value, bytes)
        entries += struct.pack("<HHI", tag, 1 if raw else 4, 4 if raw else 1) + (value if raw else struct.pack("<I", value))
    return struct.pack("<4sI", b"II*\0", 62) + bytes(54) + struct.pack("<H", len(known)) + entries + bytes(4)
