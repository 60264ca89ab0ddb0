"""Which files are Photoshop's. Knows: types, names, the first bytes. Must not know: any library."""

from __future__ import annotations

import struct

from secure_delivery.plugin import Needs

MIMETYPES = ("image/vnd.adobe.photoshop", "image/x-photoshop", "application/x-photoshop")
EXTENSIONS = ("psd", "psb", "pdd")
NEEDS = Needs(libraries=("psd-tools", "numpy", "pillow"), install="pip install secure-delivery-psd")
_HEADER = 26


def is_psd(head: bytes) -> bool:
    """Whether a file begins as PSD (version 1) or PSB (version 2) do."""
    return len(head) >= _HEADER and head[:4] == b"8BPS" and struct.unpack_from(">H", head, 4)[0] in (1, 2)
