"""Names and paths that strangers give, made into data that is safe to keep, to show and to send.

Knows: Unicode, what file systems take. Must not know: where a name came from, HTTP, storages.

A name is repaired, because a file is worth keeping whatever it is called. A path is refused instead: policies are judged on
it, and a repaired one would be another than the one that was signed.
"""

from __future__ import annotations

import re
import unicodedata

from ..gate.errors import BadRequest

MAX_NAME = 255  # bytes of UTF-8: ext4, XFS and APFS take no more, and it is never more than the 255 units of NTFS
MAX_PATH = 1024  # bytes of UTF-8: the longest key that S3 takes

_LONGEST_EXTENSION = 16  # characters; what is longer after a dot is no extension
#: Characters of a stem that are looked at. NFC makes one character of at most four, so these fill `MAX_NAME` bytes; more
#: would only cost time, which grows with the square of the number of marks on one letter.
_ENOUGH = 4 * MAX_NAME

#: What nobody sees, by Unicode category: controls, formats (text direction, zero width), surrogates, separators of lines and
#: of paragraphs. Private use as well: some file systems keep `/` and `:` there, and on them it would mean another name.
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
#: What is as invisible and has another category: joiners and fillers that Unicode says to ignore, the selectors of Mongolian,
#: what is reserved for more of them, and code points that will never be characters. The selectors U+FE00 to U+FE0F and
#: U+E0100 to U+E01EF stay: they choose how the character before them looks. So does all else that is not assigned: it may
#: be a letter of a newer Unicode than ours.
_UNSEEN_RANGES = (
    *((code, code) for code in (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x3164, 0xFFA0)),
    (0x180B, 0x180F),
    (0xFDD0, 0xFDEF),
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE00FF),
    (0xE01F0, 0xE0FFF),
    *((plane << 16 | 0xFFFE, plane << 16 | 0xFFFF) for plane in range(17)),
)
_UNSEEN_OTHERS = re.compile("[" + "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in _UNSEEN_RANGES) + "]")

#: What Windows takes in no name; `:` would also name a stream beside the file.
_RESERVED = str.maketrans(dict.fromkeys('<>:"|?*', "_"))
#: What Windows takes at no end of a name, with all other blanks of Unicode.
_ENDS = "".join(chr(code) for code in range(0x10000) if unicodedata.category(chr(code)) == "Zs") + "."
#: Names that open a device on Windows, in any folder, with any extension, with blanks before it. The superscript digits
#: count as digits there.
_DEVICE = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|CLOCK\$|(?:COM|LPT)[0-9\xb9\xb2\xb3])\s*(?:\.|$)", re.IGNORECASE)


def clean_name(name: str | None, default: str = "file") -> str:
    """A file name as data: without folders, one that Linux, macOS and Windows all take (security promise 55).

    What cannot be seen is left out, what is reserved becomes `_`, names of devices begin with `_`, and what is longer than
    `MAX_NAME` is cut before its extension. `default` stands for a name of which nothing is left. A name that went through
    here once goes through again as it is.
    """
    text = _trimmed(_seen((name or "").replace("\\", "/").rpartition("/")[2]))
    if len(text) > _ENOUGH:
        stem, extension = _parted(text)
        text = stem[:_ENOUGH] + extension
    text = _trimmed(unicodedata.normalize("NFC", text).translate(_RESERVED))
    text = _trimmed(_cut(text, MAX_NAME))
    if _DEVICE.match(text):
        text = "_" + _trimmed(_cut(text, MAX_NAME - 1))
    return text or default


def effective_path(path: str | None) -> str:
    """The path that policies are judged on and that is kept: absolute, in NFC, at most `MAX_PATH` bytes.

    Without a path a file goes to the root under a name the server makes. Raises `BadRequest` for one that two readers could
    take for different ones. `%2e` and the like are plain text here: nothing decodes a path again.
    """
    if not path:
        return "/"
    text = "/" + path.lstrip("/")
    if len(text) > MAX_PATH or _seen(text) != text:
        raise BadRequest("bad path", public="The path is too long or holds control characters.")
    text = unicodedata.normalize("NFC", text)
    if len(text.encode()) > MAX_PATH:
        raise BadRequest("long path", public=f"The path is too long: at most {MAX_PATH} bytes of UTF-8.")
    if "\\" in text or "//" in text or any(part in (".", "..") for part in text.split("/")):
        raise BadRequest("bad path", public="The path holds empty or dot segments, or backslashes.")
    return text


def _seen(text: str) -> str:
    """Without what nobody sees."""
    if text.isascii() and text.isprintable():  # most are
        return text
    kept = (character for character in text if unicodedata.category(character) not in _UNSEEN_CATEGORIES)
    return _UNSEEN_OTHERS.sub("", "".join(kept))


def _trimmed(text: str) -> str:
    return text.strip().rstrip(_ENDS)


def _parted(text: str) -> tuple[str, str]:
    """A name without its extension, and the extension with its dot."""
    stem, dot, extension = text.rpartition(".")
    if stem and 0 < len(extension) <= _LONGEST_EXTENSION:
        return stem, dot + extension
    return text, ""


def _cut(text: str, most: int) -> str:
    """The beginning of a name that fits into some bytes, with its extension."""
    if len(text.encode()) <= most:
        return text
    stem, extension = _parted(text)
    room = most - len(extension.encode())
    kept = stem.encode()[:room].decode("utf-8", "ignore")
    end = len(kept)
    while end and end < len(stem) and _leans(stem[end]):
        end -= 1
    return (kept[:end] or kept) + extension  # a letter with more marks than fit is cut all the same


def _leans(character: str) -> bool:
    """Whether a character is drawn on the one before it: marks, selectors, colours of skin, ends of Korean syllables."""
    return (
        unicodedata.category(character).startswith("M")
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\u1161" <= character <= "\u11ff"
    )
