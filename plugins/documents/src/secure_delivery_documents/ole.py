"""Compound files: which office document one is, and whether it is encrypted. [MS-CFB], [MS-DOC], [MS-XLS], [MS-PPT].

Knows: as much of the container as leads to the names in its directory and the first sector of a stream. Must not know:
documents, programs. Every step is bounded; a chain that loops ends with the bound.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from secure_delivery.plugin import Corrupt, Unsupported

from .faults import encrypted

_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HEADER = 512
_ENTRY = 128
_MOST_SECTORS = 1_000  # of the directory: 4,000 names and more
_LAST = 0xFFFFFFFA  # sector numbers from here on mean something else
_BY_STREAM = {"WordDocument": "doc", "Workbook": "xls", "Book": "xls", "PowerPoint Document": "ppt"}
_ENCRYPTED_STREAMS = ("EncryptedPackage", "EncryptedSummary", "EncryptionInfo")
_FILEPASS = 0x2F  # a record of a workbook: everything after it is encrypted
_BOF = 0x809
_FIB_ENCRYPTED = 0x0100


class Entry(NamedTuple):
    """A stream: its name and the number of its first sector."""

    name: str
    start: int


def kind_of(data: bytes) -> str:
    """`doc`, `xls` or `ppt`. Raises `Unsupported` for other compound files, `Encrypted`, `Corrupt`."""
    if not data.startswith(_MAGIC) or len(data) < _HEADER:
        raise Corrupt("ole: no header")
    sector = 1 << min(struct.unpack_from("<H", data, 30)[0], 16)
    if sector not in (512, 4096):
        raise Corrupt(f"ole: sectors of {sector} bytes")
    entries = _directory(data, sector)
    names = {entry.name for entry in entries}
    if names & set(_ENCRYPTED_STREAMS):
        raise encrypted()
    for name, kind in _BY_STREAM.items():
        for entry in entries:
            if entry.name == name:
                if _encrypted(kind, data[(entry.start + 1) * sector :][:sector]):
                    raise encrypted()
                return kind
    raise Unsupported("ole without a document", public="This compound file is no Word, Excel or PowerPoint document.")


def _directory(data: bytes, sector: int) -> list[Entry]:
    table = _allocation(data, sector)
    entries: list[Entry] = []
    at = struct.unpack_from("<I", data, 48)[0]
    for _ in range(_MOST_SECTORS):
        if at >= _LAST:
            break
        block = data[(at + 1) * sector : (at + 2) * sector]
        for place in range(0, len(block) - _ENTRY + 1, _ENTRY):
            (length,) = struct.unpack_from("<H", block, place + 64)
            if block[place + 66] in (1, 2, 5) and 2 <= length <= 64:
                name = block[place : place + length - 2].decode("utf-16-le", "replace")
                entries.append(Entry(name, struct.unpack_from("<I", block, place + 116)[0]))
        if at >= len(table):
            break
        at = table[at]
    return entries


def _allocation(data: bytes, sector: int) -> list[int]:
    """The table of which sector follows which, from the 109 parts that the header names."""
    table: list[int] = []
    for number in struct.unpack_from("<109I", data, 76):
        if number >= _LAST:
            break
        block = data[(number + 1) * sector : (number + 2) * sector]
        table += struct.unpack(f"<{len(block) // 4}I", block[: len(block) // 4 * 4])
    return table


def _encrypted(kind: str, first: bytes) -> bool:
    """Whether the first sector of the main stream says that the rest needs a password."""
    if kind == "doc":
        return len(first) > 12 and bool(struct.unpack_from("<H", first, 10)[0] & _FIB_ENCRYPTED)
    if kind == "xls":
        at = 0
        while at + 4 <= len(first):
            record, length = struct.unpack_from("<HH", first, at)
            if record == _FILEPASS:
                return True
            if at == 0 and record != _BOF:
                break
            at += 4 + length
    return False
