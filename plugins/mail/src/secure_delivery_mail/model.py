"""What there is to say about a message, whatever format it came in.

Knows: names, addresses, texts. Must not know: formats of mail, pictures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

MOST_ADDRESSES = 500  # of one header
MOST_ATTACHMENTS = 500
MOST_TEXT = 200_000  # characters of a body
MOST_WORDS = 2_000  # characters of a subject, a name, an address
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")
_ODD_IN_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Person:
    """A name and an address, either of them perhaps empty."""

    name: str
    address: str

    def __str__(self) -> str:
        if self.name and self.address and self.name != self.address:
            return f"{self.name} <{self.address}>"
        return self.name or self.address


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a message. `size` is in bytes, unpacked from its transfer encoding."""

    name: str
    type: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One message. `text` is its body as plain text; `date` keeps the zone that the sender named."""

    sender: list[Person] = field(default_factory=list)
    to: list[Person] = field(default_factory=list)
    cc: list[Person] = field(default_factory=list)
    reply_to: list[Person] = field(default_factory=list)
    subject: str = ""
    date: datetime | None = None
    identifier: str = ""
    attachments: list[Attachment] = field(default_factory=list)
    text: str = ""


def line(text: str, most: int = MOST_WORDS) -> str:
    """A text as one line without anything that hides or turns it."""
    return " ".join(_ODD.sub(" ", text[: 4 * most]).split())[:most]


def body(text: str) -> str:
    """A text of many lines, their ends made alike, without control and direction characters."""
    alike = text[: 2 * MOST_TEXT].replace("\r\n", "\n").replace("\r", "\n")
    return _ODD_IN_TEXT.sub("", alike).strip("\n")[:MOST_TEXT]
