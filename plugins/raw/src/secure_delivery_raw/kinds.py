"""Which files are camera raw.

Knows: types, names, first bytes. Must not know: any library.

Most formats are TIFF files with a name of their own, and a TIFF file is what they are taken for by their first bytes. Two say
more in their head: CR2 has a mark behind the first word, DNG a tag in its first directory. For the rest the name decides, and
only for content that could be one.
"""

from __future__ import annotations

import struct

from secure_delivery.plugin import Needs

MIMETYPES = (
    "image/tiff", "image/x-canon-cr2", "image/x-canon-cr3", "image/x-canon-crw", "image/x-nikon-nef", "image/x-sony-arw",
    "image/x-adobe-dng", "image/x-fuji-raf", "image/x-olympus-orf", "image/x-panasonic-rw2", "image/x-sigma-x3f",
    "image/x-epson-erf", "image/x-pentax-pef", "image/x-samsung-srw",
)  # fmt: skip
EXTENSIONS = (
    *(
        "3fr",
        "arw",
        "cr2",
        "cr3",
        "crw",
        "dcr",
        "dng",
        "erf",
        "fff",
        "gpr",
        "iiq",
        "k25",
        "kdc",
        "mef",
        "mos",
        "mrw",
        "nef",
        "nrw",
    ),
    *("orf", "pef", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f"),
)
NEEDS = Needs(libraries=("rawpy", "numpy", "pillow"), install="pip install secure-delivery-raw", memory=500_000_000)

#: First bytes that only camera raw has.
_OWN = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM")
_TIFF = (b"II*\0", b"MM\0*")
_DNG_VERSION = 50706
_MOST_ENTRIES = 256


def is_raw(head: bytes, filename: str) -> bool:
    """Whether the first few kilobytes of a file, and its name, are those of camera raw."""
    if head.startswith(_OWN) or head[4:12] == b"ftypcrx " or head[6:14] == b"HEAPCCDR":
        return True
    if not head.startswith(_TIFF):
        return False
    named = filename.rpartition(".")[2].lower() in EXTENSIONS
    return named or head[8:10] == b"CR" or _has_dng_version(head)


def _has_dng_version(head: bytes) -> bool:
    """Whether the first directory, if it lies in the head, has the tag of DNG."""
    order = "<" if head[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", head, 4)[0] if len(head) >= 8 else 0
    if not 8 <= at <= len(head) - 2:
        return False
    count = min(struct.unpack_from(order + "H", head, at)[0], _MOST_ENTRIES, (len(head) - at - 2) // 12)
    return any(struct.unpack_from(order + "H", head, at + 2 + 12 * number)[0] == _DNG_VERSION for number in range(count))
