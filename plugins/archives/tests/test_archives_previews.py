"""Archives as pictures: the tree of what is in them, or the picture that a program keeps in its files."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from typing import Any

import jsonschema
import py7zr
import pytest
from PIL import Image

import secure_delivery_archives
from secure_delivery.engine.types import sniff
from secure_delivery.plugin import Corrupt, Encrypted, MemoryFile, SecureDeliveryError, TooLarge, Unsupported
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.testing import ExtractorContract, PreviewerContract, extracted, previewed
from secure_delivery_archives import sheet, tree
from secure_delivery_archives.extractor import ArchiveFacts
from secure_delivery_archives.listing import Entry, Listing
from secure_delivery_archives.previewers import Archive, KeptPicture

RED = (200, 20, 30)


def zipped(*names: str, **contents: bytes) -> MemoryFile:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, b"some words " * 20)
        for name, data in contents.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), data)
    return MemoryFile(out.getvalue(), "application/zip", "work.zip")


def picture(form: str = "PNG", side: int = 64) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), RED).save(out, form)
    return out.getvalue()


def ink(image: Image.Image, box: tuple[int, int, int, int]) -> int:
    """Dark pixels within a box."""
    return sum(image.convert("L").crop(box).histogram()[:160])


class TestArchiveHoldsTheContract(PreviewerContract):
    previewer = Archive()

    def sample_media(self) -> MemoryFile:
        return zipped(*(f"folder {number // 10}/file {number}.txt" for number in range(70)))


class TestArchiveFactsHoldTheContract(ExtractorContract):
    extractor = ArchiveFacts()

    def sample_media(self) -> MemoryFile:
        return zipped("a.txt", "b/c.txt")


class TestKeptPictureHoldsTheContract(PreviewerContract):
    previewer = KeptPicture()
    pictures_inside = True

    def sample_media(self) -> MemoryFile:
        media = zipped("document.json", previews__preview_DOT_png=picture())
        return MemoryFile(media.data, media.mimetype, "work.sketch")


def test_the_plugin_is_found_and_declares_what_it_has() -> None:
    registry = load(extra={"ours": secure_delivery_archives}, blocked=["archives"])
    (report,) = [report for report in registry.reports if report.name == "ours"]
    assert report.problem is None
    assert sorted(report.offers["previewers"]) == ["archive", "kept_picture"]
    assert list(report.offers["extractors"]) == ["archive"]


# ------------------------------------------------------------------------------------------------------------ the tree


def test_folders_come_before_files_with_what_is_in_them() -> None:
    listing = Listing("zip")
    for name in ("b.txt", "a 10.txt", "a 9.txt", "sub/deep/x", "sub/y", "Z/", "/abs", "../up"):
        listing.add(Entry(name=name.rstrip("/"), size=5, folder=name.endswith("/")))
    shown = [(row.depth, row.name, row.folder, row.files) for row in tree.rows(listing)]
    assert shown == [
        (0, "..", True, 1), (1, "up", False, 0), (0, "/", True, 1), (1, "abs", False, 0), (0, "Z", True, 0),
        (0, "sub", True, 2), (1, "deep", True, 1), (2, "x", False, 0), (1, "y", False, 0),
        (0, "a 9.txt", False, 0), (0, "a 10.txt", False, 0), (0, "b.txt", False, 0),
    ]  # fmt: skip


def test_names_of_a_thousand_folders_make_a_shallow_tree() -> None:
    listing = Listing("zip")
    for number in range(1_000):
        listing.add(Entry(name="/".join(["d"] * 4_000) + f"/{number}", size=1))
    shown = tree.rows(listing)
    assert max(row.depth for row in shown) < 12
    assert sum(not row.folder for row in shown) == 1_000
    assert tree.rows(Listing("zip")) == []


def test_totals_are_said_in_words() -> None:
    listing = Listing("zip", files=1_234, folders=1, size=12_345_678, packed=6_172_839, encrypted=3, complete=False)
    assert sheet.summary(listing) == "at least ZIP · 1,234 files · 1 folder · 12.3 MB, packed 6.17 MB (50%) · 3 encrypted"
    assert [sheet.amount(size) for size in (0, 999, 1_000, 999_499, 999_500, 1 << 53)] == [
        "0 B", "999 B", "1 kB", "999 kB", "1 MB", "9.01 PB",
    ]  # fmt: skip


def test_pages_follow_the_number_of_entries(drawn: Any) -> None:
    """In a confined worker: 100 entries are three pages, each as large as the hint asks, all with something on them."""
    media = zipped(*(f"file {number}.txt" for number in range(100)))
    images = drawn("archive", media, pages="all", hint=[400, 0])
    assert [image.size for image in images] == [(400, 500)] * 3
    assert all(ink(image, (10, 60, 390, 480)) > 100 for image in images)
    assert ink(images[2], (10, 300, 390, 480)) < ink(images[0], (10, 300, 390, 480))


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz", "7z", "rar"])
def test_every_kind_of_archive_is_drawn_and_described_in_confinement(kind: str, drawn: Any, described: Any) -> None:
    """No reader needs a file, a socket or a process."""
    out = io.BytesIO()
    if kind == "zip":
        out.write(zipped("a.txt").data)
    elif kind == "7z":
        with py7zr.SevenZipFile(out, "w") as seven:
            seven.writestr(b"x" * 220, "a.txt")
    elif kind == "rar":
        out.write(
            bytes.fromhex("526172211a0701003392b5e50a01050600050101808000")  # as published: an archive with nothing in it
            + bytes.fromhex("1d77565103050400")
        )
    else:
        with tarfile.open(fileobj=out, mode="w:gz" if kind == "tgz" else "w") as tar:
            info = tarfile.TarInfo("a.txt")
            info.size = 220
            tar.addfile(info, io.BytesIO(b"x" * 220))
    media = MemoryFile(out.getvalue(), sniff(out.getvalue()[:4096], f"a.{kind}"), f"a.{kind}")
    section = described("archive", media)
    assert (section["files"], section["size"]) == ((0, 0) if kind == "rar" else (1, 220))
    (image,) = drawn("archive", media)
    assert image.size == (800, 420)
    assert ink(image, (20, 10, 780, 90)) > 300


def test_encrypted_entries_are_marked_in_red() -> None:
    media = zipped("secret.txt")
    data = bytearray(media.data)
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    plain, marked = (
        previewed(Archive(), MemoryFile(bytes(one), "application/zip", "a.zip"))[0].media.decoded()
        for one in (media.data, data)
    )
    red = [sum(r > 150 and g < 90 for r, g, _ in image.get_flattened_data()) for image in (plain, marked)]
    assert red[0] == 0 < red[1]


def test_odd_names_leave_a_picture() -> None:
    names = ["\u202egnp.exe", "a\nb", "漢字/" * 20 + "x", "\u0301" * 300, "😀", "x" * 5_000, "עברית", "a//b", "./c", "..", " "]
    (page,) = previewed(Archive(), zipped(*names))
    assert page.media.decoded().size[0] == 800


# -------------------------------------------------------------------------------------------------------- kept pictures

KEPT = {
    "work.sketch": ("document.json", "previews/preview.png"),
    "work.kra": ("maindoc.xml", "mergedimage.png"),
    "thumb.kra": ("maindoc.xml", "preview.png"),
    "work.ora": ("stack.xml", "Thumbnails/thumbnail.png"),
    "work.3mf": ("3D/3dmodel.model", "Metadata/thumbnail.png"),
    "work.FCStd": ("Document.xml", "thumbnails/Thumbnail.png"),
    "work.procreate": ("Document.archive", "QuickLook/Thumbnail.png"),
    "work.pages": ("Index/Document.iwa", "preview.jpg"),
}


@pytest.mark.parametrize("filename", KEPT)
def test_the_picture_that_a_program_keeps_is_shown(filename: str, drawn: Any) -> None:
    """In a confined worker, with its own size."""
    mark, place = KEPT[filename]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(mark, b"<x/>")
        archive.writestr(place, picture("PNG" if place.endswith("png") else "JPEG"))
    (image,) = drawn("kept_picture", MemoryFile(out.getvalue(), sniff(out.getvalue()[:4096], filename), filename))
    assert image.size == (64, 64)
    assert all(abs(one - other) < 8 for one, other in zip(image.convert("RGB").getpixel((30, 30)), RED, strict=True))


def test_a_zip_file_with_pictures_is_no_file_of_a_program() -> None:
    """`preview.png` alone says nothing: the listing is shown, which any of these files has, too."""
    media = zipped("notes.txt", preview_DOT_png=picture(), mergedimage_DOT_png=picture())
    with pytest.raises(Unsupported):
        previewed(KeptPicture(), media)
    assert KeptPicture().priority > Archive().priority


def test_a_kept_picture_that_is_hostile_is_a_fault() -> None:
    """A bomb of bytes, one of pixels, no picture at all, an encrypted one, one that lies elsewhere."""
    bomb = zipped("document.json", previews__preview_DOT_png=bytes(70 << 20))
    with pytest.raises(TooLarge):
        previewed(KeptPicture(), bomb)
    header = bytearray(picture())
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    with pytest.raises(TooLarge):
        previewed(KeptPicture(), zipped("document.json", previews__preview_DOT_png=bytes(header)))
    for data in (b"", b"words", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(SecureDeliveryError):
            previewed(KeptPicture(), zipped("document.json", previews__preview_DOT_png=data))
    data = bytearray(zipped("document.json", previews__preview_DOT_png=picture()).data)
    place = data.rfind(b"PK\x01\x02")
    data[place + 8] |= 1
    with pytest.raises(Encrypted):
        previewed(KeptPicture(), MemoryFile(bytes(data), "application/zip", "a.sketch"))
    data[place + 8] &= 0xFE
    data[place + 42 : place + 46] = (9_999_999).to_bytes(4, "little")
    with pytest.raises(Corrupt):
        previewed(KeptPicture(), MemoryFile(bytes(data), "application/zip", "a.sketch"))


def test_the_schema_is_published_and_small_sections_fit_it() -> None:
    jsonschema.Draft202012Validator.check_schema(ArchiveFacts.schema)
    jsonschema.Draft202012Validator(ArchiveFacts.schema).validate(extracted(ArchiveFacts(), zipped("a")))
