"""Archives: what goes in comes out, under names that are safe anywhere."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.plugin import Media, MemoryFile, TooLarge, Unsupported, WorkLimits
from secure_delivery.plugin.testing import TransformationContract, content
from secure_delivery_web import transformations
from secure_delivery_web.archive import Archive
from secure_delivery_web.names import member_name, member_names

ZIP = transformations()["zip"]
DEVICES = ["con", "CON.txt", "nul", "aux.tar.gz", "COM1", "lpt9.doc", "com¹.x", "CONIN$"]


def unpacked(archive: Media) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content(archive))) as read:
        assert read.testzip() is None
        return {info.filename: read.read(info) for info in read.infolist()}


class TestZip(TransformationContract):
    transformation = ZIP

    def sample_media(self) -> Media:
        return MemoryFile(b"a text that is packed " * 50, "text/plain", "a.txt")

    def sample_others(self) -> list[Media]:
        return [MemoryFile(b"\xff\xd8\xff picture", "image/jpeg", "a.jpg")]


# -------------------------------------------------------------------------------------------------------------- content


def test_files_come_back_in_their_order(run: Any) -> None:
    """Members have the bytes and the order of the sources, whatever their type."""
    sources = [
        MemoryFile(b"text " * 1000, "text/plain", "b.txt"),
        MemoryFile(bytes(range(256)) * 9, "image/png", "a.png"),
        MemoryFile(b"", "application/octet-stream", "empty"),
    ]
    archive = run("zip", *sources)
    assert (archive.mimetype, archive.filename) == ("application/zip", "archive.zip")
    assert list(unpacked(archive).items()) == [(source.filename, source.data) for source in sources]
    with zipfile.ZipFile(io.BytesIO(content(archive))) as read:
        kinds = [info.compress_type for info in read.infolist()]
        assert kinds == [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]
        assert {info.date_time for info in read.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_single_file_gives_an_archive_of_its_name(run: Any) -> None:
    """One handle is enough."""
    archive = run("zip", MemoryFile(b"x", "text/plain", "report.final.txt"))
    assert archive.filename == "report.final.zip"
    assert unpacked(archive) == {"report.final.txt": b"x"}


@given(
    st.lists(
        st.tuples(st.text(), st.binary(max_size=2000), st.sampled_from(["text/plain", "image/png"])), min_size=1, max_size=30
    )
)
def test_whatever_goes_in_comes_out(files: list[tuple[str, bytes, str]]) -> None:
    """For all names and contents, the standard library reads back as many members, with the same bytes, under unlike names."""
    members = member_names(name for name, _, _ in files)
    medias = [MemoryFile(data, kind, name) for name, data, kind in files]
    archive = Archive(members=tuple(zip(members, medias, strict=True)), filename="a.zip")
    assert list(unpacked(archive).items()) == list(zip(members, (data for _, data, _ in files), strict=True))


@given(st.binary(max_size=5000), st.sampled_from(["text/plain", "image/png"]))
def test_wide_fields_are_read_like_narrow_ones(data: bytes, kind: str) -> None:
    """An archive written as ZIP64 holds the same; at 4 GiB no other way is left."""
    archive = Archive(members=(("a", MemoryFile(data, kind, "a")),), filename="a.zip", zip64_from=0)
    assert unpacked(archive) == {"a": data}


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.integers(-50, 400), st.integers(0, 99)), max_size=20))
def test_the_stream_is_a_file_like_any_other(steps: list[tuple[int, int, int]]) -> None:
    """Seeking and reading in any order give what a file of the same bytes gives."""
    archive = Archive(members=(("a", MemoryFile(b"abc" * 40)), ("b", MemoryFile(b"d" * 90, "image/png"))), filename="a.zip")
    like = io.BytesIO(content(archive))
    with archive.open() as stream:
        for whence, offset, count in steps:
            wanted = like.seek(max(0, {0: 0, 1: like.tell(), 2: len(like.getvalue())}[whence] + offset))
            assert stream.seek(wanted) == wanted or wanted > len(like.getvalue())
            assert stream.read(count) == like.read(count)
            stream.seek(like.tell())


def test_an_archive_is_made_while_it_is_read() -> None:
    """Files much larger than the memory they may take go through: no more than a few pieces are held at a time."""
    import tracemalloc

    class Zeros:
        mimetype, filename, size = "image/png", "zeros.png", 200_000_000

        def open(self) -> BinaryIO:
            return _zeros(self.size)

    tracemalloc.start()
    try:
        with Archive(members=(("zeros.png", Zeros()),), filename="a.zip").open() as stream:
            total = 0
            while piece := stream.read(1 << 20):
                total += len(piece)
        assert total > Zeros.size
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def _zeros(size: int) -> BinaryIO:
    class Stream(io.RawIOBase):
        left = size

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            count = min(len(buffer), self.left)
            buffer[:count] = bytes(count)
            self.left -= count
            return count

    return io.BufferedReader(Stream())


@pytest.mark.skipif(shutil.which("unzip") is None, reason="needs unzip")
def test_another_program_reads_them_too(run: Any, tmp_path: Path) -> None:
    """unzip finds nothing wrong, and puts every file into the folder it was told, whatever the files are called."""
    names = ["../../evil.txt", "/etc/passwd", "..\\..\\win.ini", "ü.txt", "same.txt", "same.txt"]
    sources = [MemoryFile(f"{number}".encode() * 100, "text/plain", name) for number, name in enumerate(names)]
    (tmp_path / "a.zip").write_bytes(content(run("zip", *sources)))
    done = subprocess.run(["unzip", "-qq", "a.zip", "-d", "inside"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "inside"}
    found = sorted(path.read_bytes() for path in (tmp_path / "inside").iterdir())
    assert found == sorted(source.data for source in sources)


# --------------------------------------------------------------------------------------------------------------- limits


def test_a_hundred_files_and_no_more(run: Any) -> None:
    """A hundred sources become one archive; the one after that is refused."""
    sources = [MemoryFile(b"%d" % number, "text/plain", "same.txt") for number in range(101)]
    assert ZIP.most_sources == 100
    made = unpacked(run("zip", *sources[:100]))
    assert len(made) == 100
    assert made["same (100).txt"] == b"99"
    with pytest.raises(Unsupported, match="100"):
        run("zip", *sources)


def test_all_files_together_have_a_limit(run: Any) -> None:
    """The sum of the sources may be as large as one source may, and one byte more is refused."""
    sources = [MemoryFile(b"x" * 500, "text/plain", "a"), MemoryFile(b"y" * 500, "text/plain", "b")]
    assert len(unpacked(run("zip", *sources, limits=WorkLimits(bytes=1000)))) == 2
    with pytest.raises(TooLarge):
        run("zip", *sources, limits=WorkLimits(bytes=999))


# ---------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\Windows\\x.dll", "x.dll"),
        ("C:x.dll", "C_x.dll"),
        ("folder/", "folder"),
        ("..", "file"),
        (".", "file"),
        ("", "file"),
        ("///", "file"),
        (".gitignore", ".gitignore"),
        ("a\0b\nc\x7f.txt", "abc.txt"),
        ("evil\u202egpj.exe", "evilgpj.exe"),
        ("name . . ", "name"),
        ('a<b>c|d?e*f".txt', "a_b_c_d_e_f_.txt"),
        ("Zürich 2026.pdf", "Zürich 2026.pdf"),
        ("Zu\u0308rich.pdf", "Zürich.pdf"),
        *((device, f"_{device}") for device in DEVICES),
        ("console.txt", "console.txt"),
        ("x" * 10_000 + ".jpeg", "x" * 195 + ".jpeg"),
        ("é" * 10_000 + ".png", "é" * 98 + ".png"),
        ("a." + "b" * 10_000, "a." + "b" * 198),
    ],
)
def test_names_are_made_safe(filename: str, name: str) -> None:
    """No folders, no drives, no devices, nothing unseen, nothing too long."""
    assert member_name(filename) == name


@given(
    st.lists(st.one_of(st.text(), st.sampled_from(["A.txt", "a.TXT", "a (2).txt", "../a.txt", "con", "\u202e"])), max_size=40)
)
def test_names_are_safe_and_unlike(filenames: list[str]) -> None:
    """For all names: one part of a path, no control characters, no device, short, and no two the same in any case."""
    names = member_names(filenames)
    assert len({name.casefold() for name in names}) == len(filenames)
    for name in names:
        assert name not in ("", ".", "..")
        assert not set(name) & set('/\\<>:"|?*')
        assert all(letter.isprintable() or letter in "\u200c\u200d\u00a0\u3000 " or ord(letter) > 127 for letter in name)
        assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 or "\u202a" <= letter <= "\u202e" for letter in name)
        assert len(name.encode()) <= 212
        assert name.partition(".")[0].lower() not in ("con", "nul", "aux", "prn", "com1")


def test_the_second_of_a_name_is_numbered() -> None:
    """Numbers come before the extension, and step over names that are taken."""
    assert member_names(["a.txt", "a.txt", "A.TXT", "a (2).txt", "b", "b"]) == [
        "a.txt", "a (2).txt", "A (3).TXT", "a (2) (2).txt", "b", "b (2)",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- confined


def test_archives_are_made_in_confinement(confined: Any) -> None:
    """The worker needs no file of its own to pack what it was given, and takes all sources of a list."""
    sources = [MemoryFile(b"text " * 100_000, "text/plain", "../a.txt"), MemoryFile(b"\x89PNG" * 99, "image/png", "../a.txt")]
    made, _ = confined("zip", sources)
    assert made.mimetype == "application/zip"
    assert unpacked(made) == {"a.txt": sources[0].data, "a (2).txt": sources[1].data}
