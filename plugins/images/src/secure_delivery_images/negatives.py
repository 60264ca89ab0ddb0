"""Which TIFF files are camera raw: what can be read of them here is a small copy, and not the picture.

Knows: the first directory of TIFF files, the mark of CR2, names of the rest. Must not know: Pillow, pixels.
"""

from __future__ import annotations

import struct

HEAD = 4096  # bytes that suffice where a camera wrote the file

#: Of formats that are TIFF files under a name of their own.
EXTENSIONS = frozenset((
    "3fr", "arw", "cr2", "dcr", "dng", "erf", "fff", "gpr", "iiq", "k25", "kdc", "mef", "mos", "nef", "nrw", "pef", "raw",
    "rwl", "sr2", "srf", "srw",
))  # fmt: skip
_PHOTOMETRIC, _DNG_VERSION = 262, 50706  # tags (TIFF 6.0; DNG 1.4)
_OF_SENSORS = (32803, 34892)  # photometric interpretations: colour filter array, linear raw (DNG 1.4)
_MOST_ENTRIES = 256


def camera_raw(head: bytes, filename: str) -> bool:
    """Whether a TIFF file is one, by its first `HEAD` bytes and its name."""
    if filename.rpartition(".")[2].lower() in EXTENSIONS or head[8:10] == b"CR":
        return True
    order = "<" if head[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", head, 4)[0] if len(head) >= 8 else 0
    if not 8 <= at <= len(head) - 2:
        return False
    count = min(struct.unpack_from(order + "H", head, at)[0], _MOST_ENTRIES, (len(head) - at - 2) // 12)
    for number in range(count):
        tag, _, _, value = struct.unpack_from(order + "HHIH", head, at + 2 + 12 * number)
        if tag == _DNG_VERSION or (tag == _PHOTOMETRIC and value in _OF_SENSORS):
            return True
    return False
