"""Scanning with a real clamd that knows two signatures: the test file of the EICAR, and a marker of our own."""

from __future__ import annotations

import tarfile
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from clamd_servers import EICAR, MARKER, Clamd
from PIL import Image

from secure_delivery.gate.errors import Busy
from secure_delivery.plugin import MemoryFile, TooLarge
from secure_delivery.plugin.testing import FileMedia
from secure_delivery_clamav import ClamavScanner
from secure_delivery_clamav.settings import Options

_MEGABYTE = 1 << 20
EICAR_FOUND, MARKER_FOUND = "Tests.Eicar.UNOFFICIAL", "Tests.Marker.UNOFFICIAL"


@pytest.fixture(params=["unix", "tcp"])
def scanner(clamd: Clamd, request: pytest.FixtureRequest) -> ClamavScanner:
    """Over both kinds of sockets; what is sent is bounded by clamd alone."""
    address = clamd.path if request.param == "unix" else ("127.0.0.1", clamd.port)
    return ClamavScanner(Options(address=address, max_bytes=100 * _MEGABYTE))


def jpeg() -> bytes:
    out = BytesIO()
    Image.linear_gradient("L").convert("RGB").save(out, "JPEG")
    return out.getvalue()


def zipped(data: bytes, name: str = "letter.txt") -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return out.getvalue()


def tarred(data: bytes) -> bytes:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        member = tarfile.TarInfo("letter.txt")
        member.size = len(data)
        archive.addfile(member, BytesIO(data))
    return out.getvalue()


FILES: dict[str, tuple[bytes, str | None]] = {
    "a picture": (jpeg(), None),
    "a text": (b"Dear Sir or Madam", None),
    "no bytes": (b"", None),
    "zeros": (bytes(_MEGABYTE), None),
    "a zip of a picture": (zipped(jpeg(), "photo.jpg"), None),
    "the test file": (EICAR, EICAR_FOUND),
    "the test file in a zip": (zipped(EICAR), EICAR_FOUND),
    "the test file in a zip in a zip": (zipped(zipped(EICAR), "inner.zip"), EICAR_FOUND),
    "the test file in a packed tar": (tarred(EICAR), EICAR_FOUND),
    "the marker": (MARKER, MARKER_FOUND),
    "the marker behind a picture": (jpeg() + MARKER, MARKER_FOUND),
    "the marker over the border of two pieces": (bytes(65_536 - 10) + MARKER + bytes(70_000), MARKER_FOUND),
    "the marker as the last bytes of five megabytes": (bytes(5 * _MEGABYTE) + MARKER, MARKER_FOUND),
    "the marker in a zip": (zipped(b"x" * 100_000 + MARKER), MARKER_FOUND),
    "half of the marker": (MARKER[:-1], None),
}


@pytest.mark.parametrize("case", FILES)
def test_what_is_bad_is_found_and_nothing_else(scanner: ClamavScanner, case: str, tmp_path: Path) -> None:
    """Whatever a file says it is, in memory or on disk. (None of ours is written: those on disk are clean.)"""
    data, name = FILES[case]
    assert scanner.scan(MemoryFile(data)) == name
    assert scanner.scan(MemoryFile(data, "image/jpeg", "photo.jpg")) == name
    if name is None:
        (tmp_path / "file").write_bytes(data)
        assert scanner.scan(FileMedia(tmp_path / "file")) is None


def test_over_the_longest_stream_is_too_large(scanner: ClamavScanner) -> None:
    """Up to it is judged, one byte more is not; nor is much more, where clamd closes while it is being sent."""
    limit = 8 * _MEGABYTE
    for size in (limit + 1, limit + 65_536, 60 * _MEGABYTE):
        for data in (bytes(size), MARKER + bytes(size - len(MARKER))):
            with pytest.raises(TooLarge, match="StreamMaxLength"):
                scanner.scan(MemoryFile(data))


def test_between_both_limits_a_file_is_too_large_and_not_infected(scanner: ClamavScanner) -> None:
    """clamd takes it and does not look into it, and says so, because it was set up to say so."""
    with pytest.raises(TooLarge, match=r"Heuristics\.Limits\.Exceeded\.MaxFileSize"):
        scanner.scan(MemoryFile(bytes(6 * _MEGABYTE + 1)))
    assert scanner.scan(MemoryFile(bytes(6 * _MEGABYTE))) is None


def test_an_archive_of_too_much_is_too_large(scanner: ClamavScanner) -> None:
    """It is small itself; what it holds exceeds what clamd looks through, so nobody knows the rest of it."""
    bomb = BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(6):
            archive.writestr(f"{number}.bin", bytes([number]) * (5 * _MEGABYTE))
        archive.writestr("last.txt", MARKER)
    assert len(bomb.getvalue()) < _MEGABYTE
    with pytest.raises(TooLarge, match=r"Heuristics\.Limits\.Exceeded"):
        scanner.scan(MemoryFile(bomb.getvalue()))


def test_many_at_once_do_not_mix(scanner: ClamavScanner) -> None:
    cases = [FILES[case] for case in ("a picture", "the test file", "zeros", "the marker", "no bytes")] * 8
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda case: scanner.scan(MemoryFile(case[0])), cases))
    assert found == [name for _, name in cases]


def test_it_describes_what_is_there(scanner: ClamavScanner) -> None:
    assert scanner.describe().startswith("ClamAV ")


def test_what_clamd_leaves_unseen_without_its_alert_is_what_the_readme_says() -> None:
    """Why the default of max_bytes is what it is, and AlertExceedsMax is asked for: this clamd calls the marker clean."""
    with tempfile.TemporaryDirectory(prefix="clamd-") as folder, Clamd(Path(folder), alert=False).running() as clamd:
        large = MemoryFile(MARKER + bytes(6 * _MEGABYTE))
        assert ClamavScanner(Options(address=clamd.path)).scan(large) is None
        with pytest.raises(TooLarge):
            ClamavScanner(Options(address=clamd.path, max_bytes=6 * _MEGABYTE)).scan(large)


def test_scans_fail_while_clamd_is_away_and_work_when_it_is_back() -> None:
    """One scanner all the time: nothing of it has to be made anew."""
    with tempfile.TemporaryDirectory(prefix="clamd-") as folder:
        clamd = Clamd(Path(folder))
        scanner = ClamavScanner(Options(address=clamd.path))
        for _ in range(2):
            with pytest.raises(Busy, match="not reached"):
                scanner.scan(MemoryFile(EICAR))
            with clamd.running():
                assert scanner.scan(MemoryFile(EICAR)) == EICAR_FOUND
                assert scanner.scan(MemoryFile(b"clean")) is None
        with pytest.raises(Busy, match="not reached"):
            scanner.scan(MemoryFile(b"clean"))
