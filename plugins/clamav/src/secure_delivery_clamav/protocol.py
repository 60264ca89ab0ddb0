"""What is said to clamd and what it answers, without a socket.

Knows: clamd(8), section COMMANDS: commands that begin with `z` end with NUL, and so do their answers. Must not know: sockets,
time, settings.

The one rule of this module: a file is clean when clamd says exactly so about all of it, and for no other reason.
"""

from __future__ import annotations

import re
import unicodedata

from secure_delivery.gate.errors import Busy
from secure_delivery.plugin import TooLarge

INSTREAM = b"zINSTREAM\0"
PING = b"zPING\0"
VERSION = b"zVERSION\0"
END = b"\0\0\0\0"  # a piece of no bytes

_LONGEST_ANSWER = 4096  # bytes; a signature's name may be long, an answer without an end is none
_LONGEST_NAME = 200  # characters
_CLEAN = b"stream: OK"
_FOUND = re.compile(rb"stream: (.*) FOUND", re.DOTALL)
_LIMIT = b"INSTREAM size limit exceeded. ERROR"
#: What clamd finds, with `AlertExceedsMax`, in a file that it did not look through to its end. That is no virus.
_UNSEEN = "Heuristics.Limits.Exceeded"


def framed(piece: bytes) -> bytes:
    """A piece of a file as INSTREAM has it: its length in four bytes, most significant first, then itself.

    Raises `ValueError` for an empty piece, which would end the file.
    """
    if not piece:
        raise ValueError("a piece of a file holds a byte at least")
    return len(piece).to_bytes(4, "big") + piece


class AnswerReader:
    """Puts together the one answer of a connection. Not to be used again after it answered or raised."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """The answer without its NUL, or `None` while it is not whole. No bytes mean that clamd closed the connection.

        Raises `Busy` for an answer that is cut off, longer than an answer can be, or followed by something.
        """
        if not data:
            raise Busy(f"clamd closed the connection {'within' if self._held else 'without'} an answer")
        self._held += data
        answer, end, rest = self._held.partition(b"\0")
        if len(answer) > _LONGEST_ANSWER:
            raise Busy(f"clamd answers without an end: {readable(answer)}")
        if rest:
            raise Busy(f"clamd says more than its answer: {readable(self._held)}")
        return bytes(answer) if end else None


def judge(answer: bytes, *, complete: bool) -> str | None:
    """What was found, or `None` for a clean file. `complete` says whether clamd had been sent all of it before it answered.

    Raises `TooLarge` for a file that clamd did not look through to its end, `Busy` for any other answer.
    """
    if answer == _LIMIT:
        raise too_large("clamd takes no file of this size: its StreamMaxLength is lower than max_bytes")
    if found := _FOUND.fullmatch(answer):
        name = readable(found[1]) or "a signature without a name"
        if name.startswith(_UNSEEN):
            raise too_large(f"clamd did not look through the file: {name}")
        return name
    if answer == _CLEAN and complete:
        return None
    early = "" if complete else " before it had the whole file"
    raise Busy(f"clamd answers{early}: {readable(answer)}")


def too_large(detail: str) -> TooLarge:
    """The fault for a file that is not scanned because of its size."""
    return TooLarge(detail, public="The file is larger than what can be checked for viruses here.")


def readable(data: bytes | bytearray) -> str:
    """What clamd said, fit for a log and a page: at most 200 characters, one line.

    Control characters go, and with them whatever turns the direction of writing or shows nothing.
    """
    text = data.decode("utf-8", "replace")
    shown = "".join(" " if one.isspace() else one for one in text if one.isspace() or unicodedata.category(one)[0] != "C")
    return " ".join(shown.split())[:_LONGEST_NAME].rstrip()
