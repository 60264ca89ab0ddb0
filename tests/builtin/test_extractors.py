"""`checksum` and `stat`: what every file has."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from secure_delivery.builtin.extractors import ALGORITHMS, extractors
from secure_delivery.gate.errors import BadRequest
from secure_delivery.plugin import Extractor, MemoryFile
from secure_delivery.plugin.testing_extractors import ExtractorContract
from secure_delivery.plugin.testing_previews import extracted

CHECKSUM, STAT = extractors()["checksum"], extractors()["stat"]
DATA = bytes(range(256)) * 9_000  # more than is read at once


class TestChecksum(ExtractorContract):
    extractor = CHECKSUM

    def sample_media(self) -> MemoryFile:
        return MemoryFile(DATA, "x/y", "a.bin")


class TestChecksumOfChoice(TestChecksum):
    def sample_options(self) -> dict[str, Any]:
        return {"algorithms": ["sha256", "crc32"]}


class TestStat(TestChecksum):
    extractor = STAT


def section(extractor: Extractor, data: bytes = DATA, name: str = "a.bin", kind: str = "x/y", **options: Any) -> Any:
    value = extracted(extractor, MemoryFile(data, kind, name), options=options)
    Draft202012Validator(extractor.schema).validate(value)
    return value


def test_both_are_extractors_whose_schemas_are_schemas() -> None:
    """The contract, and examples that their schemas admit."""
    for name, extractor in extractors().items():
        assert isinstance(extractor, Extractor) and extractor.section == name and extractor.call == "stat"
        Draft202012Validator.check_schema(extractor.schema)
        for example in extractor.schema["examples"]:
            Draft202012Validator(extractor.schema).validate(example)


def test_the_checksum_is_the_md5_as_plain_text() -> None:
    """32 hexadecimal digits, as the service had it; of an empty file too."""
    assert section(CHECKSUM) == hashlib.md5(DATA).hexdigest()
    assert section(CHECKSUM, b"") == "d41d8cd98f00b204e9800998ecf8427e"


def test_other_algorithms_are_told_by_name() -> None:
    """Each once, in the order of the request, in any usual spelling."""
    wanted = ["SHA-256", "md5", "crc32", "sha3-256", "md5"]
    found = section(CHECKSUM, algorithms=wanted)
    assert list(found) == ["sha256", "md5", "crc32", "sha3_256"]
    assert found["sha256"] == hashlib.sha256(DATA).hexdigest() and found["crc32"] == f"{zlib.crc32(DATA):08x}"
    assert section(CHECKSUM, algorithms="sha1") == {"sha1": hashlib.sha1(DATA).hexdigest()}
    assert section(CHECKSUM, algorithms=list(ALGORITHMS)).keys() == ALGORITHMS.keys()


@pytest.mark.parametrize(
    "algorithms", [[], ["md4"], ["../md5"], [None], 5, {"md5": 1}, ["md5"] * 99, [["md5"]], "shake_128", ""]
)
def test_an_algorithm_that_is_not_on_the_list_is_refused(algorithms: Any) -> None:
    """With the list."""
    with pytest.raises(BadRequest, match=r"crc32.*sha512"):
        section(CHECKSUM, algorithms=algorithms)


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("Photo.JPG", "jpg"),
        ("a.tar.gz", "gz"),
        ("none", ""),
        (".hidden", ""),
        ("a.", ""),
        ("\u6587.\u8868", "\u8868"),
        ("x\x07\n.txt", "txt"),
    ],
)
def test_stat_tells_what_is_known_without_opening_a_file_up(name: str, extension: str) -> None:
    """Name, extension, type, size, the first bytes."""
    found = section(STAT, b"\xff\xd8\xff" + bytes(20), name, "image/jpeg")
    assert found["extension"] == extension and found["filename"].isprintable()
    assert (found["mimetype"], found["type"], found["size"]) == ("image/jpeg", "image", 23)
    assert found["signature"] == "ffd8ff" + "00" * 13
    assert section(STAT, b"", "x" * 900)["signature"] == "" and len(section(STAT, b"", "x" * 900)["filename"]) == 255
