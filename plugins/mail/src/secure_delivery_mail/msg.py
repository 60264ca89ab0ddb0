"""Messages as Outlook keeps them (MS-OXMSG): properties in streams of a compound file.

Knows: olefile, the numbers of the few properties that are shown. Must not know: pictures, sections, EML.

Only these streams are read, each up to a bound; attached files are never read, only measured.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import olefile

from secure_delivery.plugin import Corrupt, Media, TooLarge, Unsupported

from . import words
from .model import MOST_ADDRESSES, MOST_ATTACHMENTS, MOST_TEXT, Attachment, Mail, Person, body, line

_MOST_BYTES = 256 << 20
_MOST_STREAM = 4 << 20  # bytes of one property
_MOST_ENTRIES = 50_000  # storages and streams of a file

_SUBJECT, _BODY, _HTML, _HEADERS, _ID = 0x0037, 0x1000, 0x1013, 0x007D, 0x1035
_SENDER, _SENDER_SMTP, _SENDER_ADDRESS, _FOR, _FOR_SMTP = 0x0C1A, 0x5D01, 0x0C1F, 0x0042, 0x5D02
_NAME, _ADDRESS, _SMTP, _KIND = 0x3001, 0x3003, 0x39FE, 0x0C15
_LONG_NAME, _SHORT_NAME, _MIME, _DATA = 0x3707, 0x3704, 0x370E, 0x3701
_SENT, _DELIVERED, _CODEPAGE, _MESSAGE_CODEPAGE = 0x0039, 0x0E06, 0x3FDE, 0x3FFD
_TO, _CC = 1, 2
_INTEGER, _TIME, _TEXT, _OLD_TEXT, _BINARY, _STORAGE = 0x0003, 0x0040, 0x001F, 0x001E, 0x0102, 0x000D
_CODEPAGES = {65001: "utf-8", 20127: "ascii", 28591: "latin-1", 50220: "iso-2022-jp", 51932: "euc-jp", 20866: "koi8-r"}
_SINCE = datetime(1601, 1, 1, tzinfo=UTC)


def read(media: Media) -> Mail:
    """A message from a file. Raises `Unsupported` for a compound file that is none, `Corrupt`, `TooLarge`."""
    if media.size is not None and media.size > _MOST_BYTES:
        raise TooLarge(f"msg: {media.size} bytes")
    try:
        with media.open() as stream, olefile.OleFileIO(stream) as file:
            entries = file.listdir(streams=True, storages=True)
            if len(entries) > _MOST_ENTRIES:
                raise TooLarge(f"msg: {len(entries)} entries")
            if ["__properties_version1.0"] not in entries:
                raise Unsupported("a compound file, but no message")
            return _told(file, entries)
    except (OSError, RecursionError, ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise Corrupt(f"msg: {type(error).__name__}: {error}") from None


def _told(file: Any, entries: Sequence[Sequence[str]]) -> Mail:
    top = _Storage(file, (), 32)
    folders = sorted({entry[0] for entry in entries if entry[0].startswith("__")})
    people = [_Storage(file, (name,), 8, top.codepage) for name in folders if name.startswith("__recip_version1.0_")]
    files = [_Storage(file, (name,), 8, top.codepage) for name in folders if name.startswith("__attach_version1.0_")]
    sender = Person(line(top.text(_SENDER) or top.text(_FOR)), line(_smtp(top, _SENDER_SMTP, _SENDER_ADDRESS, _FOR_SMTP)))
    kinds: dict[int, list[Person]] = {_TO: [], _CC: []}
    for one in people[:MOST_ADDRESSES]:
        person = Person(line(one.text(_NAME)), line(_smtp(one, _SMTP, _ADDRESS)))
        kinds.get(one.number(_KIND) or _TO, []).append(person)
    text = top.text(_BODY, 4 * MOST_TEXT)
    return Mail(
        sender=[sender] if str(sender) else [],
        to=kinds[_TO],
        cc=kinds[_CC],
        subject=line(top.text(_SUBJECT)),
        date=top.time(_SENT) or top.time(_DELIVERED),
        identifier=line(top.text(_ID), 500).strip("<> "),
        attachments=[_attachment(one) for one in files[:MOST_ATTACHMENTS]],
        text=body(text) if text.strip() else body(words.text_of(top.html())),
    )


def _smtp(storage: _Storage, *properties: int) -> str:
    """The first that is an address of the internet: others name a mailbox inside an organisation."""
    found = [storage.text(number) for number in properties]
    return next((text for text in found if "@" in text), "")


def _attachment(storage: _Storage) -> Attachment:
    name = storage.text(_LONG_NAME) or storage.text(_SHORT_NAME) or storage.text(_NAME)
    inner = storage.has(_DATA, _STORAGE)  # another message, or an object of another program
    kind = storage.text(_MIME) or ("application/vnd.ms-outlook" if inner else "application/octet-stream")
    return Attachment(line(name, 255), line(kind, 200), storage.measured(_DATA))


class _Storage:
    """The properties of a message, of one recipient, of one attachment. `skipped` is the length of their table's header."""

    def __init__(self, file: Any, place: tuple[str, ...], skipped: int, codepage: str = "") -> None:
        self._file = file
        self._place = place
        table = self._bytes("__properties_version1.0")[skipped:]
        self._fixed = {}
        for at in range(0, len(table) - 15, 16):
            tag, _flags, value = struct.unpack_from("<2L8s", table, at)
            self._fixed[tag] = value
        number = self.number(_CODEPAGE) or self.number(_MESSAGE_CODEPAGE)
        self.codepage = _CODEPAGES.get(number, f"cp{number}") if number else codepage

    def text(self, number: int, most: int = 8_000) -> str:
        """A property that is a text, in either of its forms; "" when it is not there."""
        wide = self._bytes(f"__substg1.0_{number:04X}{_TEXT:04X}", 2 * most)
        if wide:
            return wide.decode("utf-16-le", "replace").partition("\0")[0]
        return words.decoded(self._bytes(f"__substg1.0_{number:04X}{_OLD_TEXT:04X}", most), self.codepage).partition("\0")[0]

    def html(self) -> str:
        data = self._bytes(f"__substg1.0_{_HTML:04X}{_BINARY:04X}")
        return words.decoded(data, self.codepage) if data else self.text(_HTML, _MOST_STREAM // 2)

    def number(self, number: int) -> int | None:
        value = self._fixed.get(number << 16 | _INTEGER)
        return None if value is None else int.from_bytes(value[:4], "little")

    def time(self, number: int) -> datetime | None:
        value = self._fixed.get(number << 16 | _TIME)
        if value is None:
            return None
        try:
            return (_SINCE + timedelta(microseconds=int.from_bytes(value, "little") // 10)).replace(microsecond=0)
        except OverflowError:
            return None

    def has(self, number: int, kind: int) -> bool:
        return bool(self._file.exists("/".join((*self._place, f"__substg1.0_{number:04X}{kind:04X}"))))

    def measured(self, number: int) -> int:
        """Bytes of a property that is not read."""
        path = "/".join((*self._place, f"__substg1.0_{number:04X}{_BINARY:04X}"))
        return int(self._file.get_size(path)) if self._file.exists(path) else 0

    def _bytes(self, name: str, most: int = _MOST_STREAM) -> bytes:
        path = "/".join((*self._place, name))
        if not self._file.exists(path):
            return b""
        if self._file.get_size(path) > _MOST_BYTES:
            raise TooLarge(f"msg: a property of {self._file.get_size(path)} bytes")
        with self._file.openstream(path) as stream:
            data: bytes = stream.read(min(most, _MOST_STREAM))
        return data
