"""What is in an archive, by the headers of files that real programs wrote, and of some that none would."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import tarfile
import zipfile
import zlib
from typing import Any

import jsonschema
import py7zr
import pytest

from secure_delivery.engine.types import sniff
from secure_delivery.plugin import Corrupt, Encrypted, MemoryFile, ProcessingLimit, SecureDeliveryError, Unsupported
from secure_delivery.plugin.testing import extracted
from secure_delivery_archives.extractor import ArchiveFacts

FILES = {"a.txt": b"hello", "sub/b.bin": b"\0" * 70_000, "sub/leer": b"", "sub/tief/ü漢.txt": b"x" * 10}


def named(data: bytes, filename: str) -> MemoryFile:
    return MemoryFile(data, sniff(data[:4096], filename), filename)


def facts(media: MemoryFile) -> Any:
    section = extracted(ArchiveFacts(), media)
    jsonschema.Draft202012Validator(ArchiveFacts.schema).validate(section)
    return section


def zipped(files: dict[str, bytes] = FILES) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("empty folder")
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 2, 29, 13, 30, 58)), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def tarred(form: int = tarfile.PAX_FORMAT, files: dict[str, bytes] = FILES) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_709_213_458
            archive.addfile(info, io.BytesIO(data))
        others = {"folder": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "null": tarfile.CHRTYPE}
        for name, kind in others.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, "a.txt" * (kind in b"12"), 0
            archive.addfile(info)
    return out.getvalue()


def sevenzipped(password: str | None = None, *, masked: bool = False, **more: Any) -> bytes:
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", password=password, header_encryption=masked, **more) as archive:
        for name, data in FILES.items():
            archive.writestr(data, name)
    return out.getvalue()


def vint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def rar_block(body: bytes) -> bytes:
    """A header of RAR 5 with its length and checksum."""
    body = vint(len(body)) + body
    return struct.pack("<L", zlib.crc32(body)) + body


def rar(*names: str, extra: bytes = b"") -> bytes:
    """A RAR 5 archive of stored files of five bytes, as its published format describes it."""
    out = b"Rar!\x1a\x07\x01\x00" + rar_block(vint(1) + vint(0) + vint(0))
    for name in names:
        raw = name.encode()
        fields = (
            vint(2) + vint(5) + vint(0o100644) + struct.pack("<L", 1_709_213_458) + vint(0) + vint(1) + vint(len(raw)) + raw
        )
        flags = 2 | bool(extra)
        lengths = (vint(len(extra)) if extra else b"") + vint(5)
        out += rar_block(vint(2) + vint(flags) + lengths + fields + extra) + b"hello"
    return out + rar_block(vint(5) + vint(0) + vint(0))


# ---------------------------------------------------------------------------------------------------- what is listed


def test_a_zip_file_is_listed_with_sizes_and_times() -> None:
    section = facts(named(zipped(), "a.zip"))
    assert {entry["name"]: entry["size"] for entry in section["entries"] if not entry["folder"]} == {
        name: len(data) for name, data in FILES.items()
    }
    assert (section["files"], section["folders"], section["size"], section["encrypted"]) == (4, 1, 70_015, 0)
    assert section["complete"] and section["format"] == "zip" and 0 < section["ratio"] < 0.01
    assert section["entries"][1] == {
        "name": "a.txt", "folder": False, "size": 5, "packed": 7, "modified": "2024-02-29T13:30:58", "encrypted": False,
    }  # fmt: skip


def test_jar_and_apk_files_are_zip_files() -> None:
    for first in ("META-INF/MANIFEST.MF", "AndroidManifest.xml"):
        assert facts(named(zipped({first: b"x"}), "a.bin"))["files"] == 1


def test_a_zip_file_beyond_four_gigabytes_says_so_in_wide_fields() -> None:
    """Sizes in the field of ZIP64, and its end record."""
    data = bytearray(zipped({"big": b"x"}))
    directory = data.rfind(b"PK\x01\x02")
    end = data.rfind(b"PK\x05\x06")
    entry = bytearray(data[directory:end])
    struct.pack_into("<2L", entry, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", entry, 30, 20)
    entry += struct.pack("<2H2Q", 1, 16, 5 << 32, 3 << 30)
    wide = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2, len(entry), directory)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, directory + len(entry), 1)
    last = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    section = facts(named(bytes(data[:directory]) + bytes(entry) + wide + locator + last, "a.zip"))
    assert (section["size"], section["packed"]) == (5 << 32, 3 << 30)


def test_a_program_may_stand_before_a_zip_file() -> None:
    assert facts(MemoryFile(b"MZ" + bytes(5_000) + zipped(), "application/zip", "setup.exe"))["files"] == 4


def test_what_a_zip_file_encrypts_is_marked() -> None:
    data = bytearray(zipped({"open": b"1", "secret": b"2"}))
    place = data.rfind(b"PK\x01\x02")
    data[place + 8] |= 1
    section = facts(named(bytes(data), "a.zip"))
    assert {entry["name"]: entry["encrypted"] for entry in section["entries"]} == {
        "empty folder": False, "open": False, "secret": True,
    }  # fmt: skip
    assert section["encrypted"] == 1


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("packing", [None, gzip.compress, bz2.compress, lzma.compress])
def test_a_tar_file_is_listed_whatever_its_form_and_packing(form: int, packing: Any) -> None:
    data = tarred(form)
    section = facts(named(packing(data) if packing else data, "a.tar.x"))
    assert {entry["name"]: (entry["size"], entry["folder"]) for entry in section["entries"]} == {
        **{name: (len(data), False) for name, data in FILES.items()},
        **dict.fromkeys(("link", "hard", "null"), (0, False)),
        "folder": (0, True),
    }
    assert section["entries"][0]["modified"] == "2024-02-29T13:30:58Z"
    assert section["complete"]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_large_sizes_of_tar_are_read(form: int) -> None:
    name = "/".join(["ordner" * 10] * 8) + "/datei.txt"
    assert facts(named(tarred(form, {name: b"x"}), "a.tar"))["entries"][0]["name"] == name
    info = tarfile.TarInfo("huge")
    info.size = 20 << 30
    section = facts(named(info.tobuf(form), "a.tar"))
    assert (section["entries"][0]["size"], section["complete"]) == (20 << 30, False)


def test_a_packed_file_that_is_no_archive_is_one_entry() -> None:
    for packing, ending in ((gzip.compress, "gz"), (bz2.compress, "bz2"), (lzma.compress, "xz")):
        section = facts(named(packing(b"some words" * 99), f"words.txt.{ending}"))
        assert [entry["name"] for entry in section["entries"]] == ["words.txt"]
    out = io.BytesIO()
    with gzip.GzipFile("inside.log", "wb", fileobj=out, mtime=1_709_213_458) as file:
        file.write(b"x")
    (entry,) = facts(named(out.getvalue(), "download"))["entries"]
    assert (entry["name"], entry["modified"]) == ("inside.log", "2024-02-29T13:30:58Z")


@pytest.mark.parametrize(
    "filters",
    [
        None,
        [{"id": py7zr.FILTER_LZMA}],
        [{"id": py7zr.FILTER_X86}, {"id": py7zr.FILTER_LZMA2, "preset": 6}],
        [{"id": py7zr.FILTER_COPY}],
        [{"id": py7zr.FILTER_BZIP2}],
    ],
)
def test_a_7z_file_is_listed_as_another_reader_lists_it(filters: Any) -> None:
    data = sevenzipped(filters=filters)
    section = facts(named(data, "a.7z"))
    with py7zr.SevenZipFile(io.BytesIO(data)) as archive:
        assert [(entry["name"], entry["size"]) for entry in section["entries"]] == [
            (info.filename, info.uncompressed) for info in archive.list()
        ]
    assert section["format"] == "7z" and section["entries"][0]["modified"].startswith("20")


def test_folders_of_7z_are_folders_and_its_encryption_is_marked(tmp_path: Any) -> None:
    (tmp_path / "tree/inner").mkdir(parents=True)
    (tmp_path / "tree/file").write_bytes(b"12345")
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w") as archive:
        archive.writeall(tmp_path / "tree", "tree")
    kinds = {entry["name"]: entry["folder"] for entry in facts(named(out.getvalue(), "a.7z"))["entries"]}
    assert kinds == {"tree": True, "tree/inner": True, "tree/file": False}
    assert facts(named(sevenzipped("word"), "a.7z"))["encrypted"] >= 3
    with pytest.raises(Encrypted):
        facts(named(sevenzipped("word", masked=True), "a.7z"))


def test_an_empty_archive_is_no_fault() -> None:
    empty_zip, empty_7z = io.BytesIO(), io.BytesIO()
    zipfile.ZipFile(empty_zip, "w").close()
    py7zr.SevenZipFile(empty_7z, "w").close()
    for data, name in ((empty_zip.getvalue(), "a.zip"), (empty_7z.getvalue(), "a.7z")):
        assert facts(named(data, name))["files"] == 0


def test_a_rar_file_is_listed_without_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    section = facts(named(rar("a.txt", "sub/ü.txt"), "a.rar"))
    assert [(entry["name"], entry["size"], entry["packed"]) for entry in section["entries"]] == [
        ("a.txt", 5, 5), ("sub/ü.txt", 5, 5),
    ]  # fmt: skip
    assert section["entries"][0]["modified"] == "2024-02-29T13:30:58Z"
    record = vint(1) + vint(0) + vint(0) + b"\x0f" + bytes(32)  # a file that is encrypted
    assert facts(named(rar("secret", extra=vint(len(record)) + record), "a.rar"))["encrypted"] == 1


# ------------------------------------------------------------------------------------------------------ hostile files


def test_names_are_shown_and_never_followed() -> None:
    """Traversal stays a name; what would hide or turn a name becomes U+FFFD."""
    names = ["../../etc/passwd", "/etc/shadow", "C:\\x", "bill\u202egnp.exe", "a\nb\x1b[2J", "n" * 60_000]
    section = facts(named(zipped(dict.fromkeys(names, b"")), "a.zip"))
    assert [entry["name"] for entry in section["entries"][1:]] == [
        "../../etc/passwd", "/etc/shadow", "C:\\x", "bill\ufffdgnp.exe", "a\ufffdb\ufffd[2J", "n" * 500,
    ]  # fmt: skip


def test_a_million_entries_are_counted_and_a_thousand_named() -> None:
    """As many entries as a file of this size can have cost no memory to speak of."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *bytes(4), 0, 0, 0, 33, 0, 2, 3, 1, 0, 0, 0, 0, 0, 0) + b"x"
    for count, complete in ((50_000, True), (1_000_100, False)):
        directory = entry * count
        end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count & 0xFFFF, count & 0xFFFF, len(directory), 0, 0)
        section = facts(MemoryFile(directory + end, "application/zip", "a.zip"))
        counted = min(count, 1_000_000)
        assert (section["files"], len(section["entries"]), section["complete"]) == (counted, 1_000, complete)
        assert (section["size"], section["packed"]) == (3 * counted, 2 * counted)


def test_a_bomb_is_a_number_and_nothing_more() -> None:
    """What a member would unpack to is read from the directory; of a packed tar file so much is unpacked and no more."""
    bomb = zipped({"zeros": bytes(50_000_000)})
    assert facts(named(bomb, "a.zip"))["size"] == 50_000_000
    assert facts(named(bomb, "a.zip"))["ratio"] < 0.01
    head = tarfile.TarInfo("first").tobuf()
    info = tarfile.TarInfo("zeros")
    info.size = 3 << 30
    packed = zlib.compressobj(9, wbits=31)
    data = packed.compress(head + info.tobuf())
    for _ in range(1_100):
        data += packed.compress(bytes(1 << 20))
    section = facts(named(data + packed.flush(), "a.tgz"))
    assert ([entry["name"] for entry in section["entries"]], section["complete"]) == (["first", "zeros"], False)


def test_headers_that_ask_for_gigabytes_get_none() -> None:
    """Long names of tar, headers of 7z and windows of xz are bounded whatever they claim."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 8 << 30
    with pytest.raises(Corrupt):
        facts(named(info.tobuf(tarfile.GNU_FORMAT) + bytes(100_000), "a.tar"))
    start = struct.pack("<3Q", 0, 1 << 60, 0)[:20]
    with pytest.raises(SecureDeliveryError):
        facts(named(b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<L", zlib.crc32(start)) + start, "a.7z"))
    window = bytearray(lzma.compress(bytes(9_999)))
    window[16] = 40  # four gigabytes
    length = (window[12] + 1) * 4
    struct.pack_into("<L", window, 12 + length - 4, zlib.crc32(window[12 : 12 + length - 4]))
    with pytest.raises(ProcessingLimit):
        facts(named(bytes(window), "a.xz"))


@pytest.mark.parametrize(
    "whole",
    [
        zipped(),
        tarred(),
        gzip.compress(tarred()),
        lzma.compress(tarred()),
        bz2.compress(tarred()),
        sevenzipped(),
        rar("a", "b"),
    ],
)
def test_damage_ends_in_a_fault_or_a_listing(whole: bytes) -> None:
    """Cut, overwritten and changed files, a thousand ways: never another exception, never a name from elsewhere."""
    chance = random.Random(5)
    cases = [whole[: len(whole) * part // 16] for part in range(17)]
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 3, 30))):
            data[chance.choice((chance.randrange(len(data)), chance.randrange(min(64, len(data)))))] = chance.randrange(256)
        cases.append(bytes(data))
    name = {b"PK": "a.zip", b"7z": "a.7z", b"Ra": "a.rar"}.get(whole[:2], "a.tar")
    mimetype = sniff(whole[:4096], name)
    for data in cases:
        try:
            facts(MemoryFile(data, mimetype, name))
        except SecureDeliveryError:
            continue


def test_what_is_no_archive_is_unsupported() -> None:
    for data in (b"", b"words", bytes(1024)):
        with pytest.raises(Unsupported):
            facts(MemoryFile(data, "application/x-tar", "a.tar"))
