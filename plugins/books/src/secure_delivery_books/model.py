"""What there is to say about a book, whatever format it came in, and how it is seen.

Knows: texts, ISBN. Must not know: formats of books, pictures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol

from secure_delivery.plugin import MemoryFile

MOST_WORDS = 2_000  # characters of a title, a name
MOST_TEXT = 20_000  # characters of a description
MOST_ITEMS = 200  # creators, subjects, identifiers
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")
_ISBN = re.compile(r"(?:97[89])?[0-9]{9}[0-9X]")


@dataclass(slots=True, kw_only=True)
class Book:
    """One book. `identifiers` are pairs of scheme, perhaps empty, and value."""

    format: str
    title: str = ""
    creators: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    publisher: str = ""
    date: str = ""
    identifiers: list[tuple[str, str]] = field(default_factory=list)
    description: str = ""
    subjects: list[str] = field(default_factory=list)
    chapters: int | None = None
    pages: int | None = None

    @property
    def isbn(self) -> str | None:
        """The first identifier that is an ISBN by its check digit, without hyphens."""
        found = (checked(value) for _, value in self.identifiers)
        return next((isbn for isbn in found if isbn), None)


class Source(Protocol):
    """An opened book. `total` counts its pages as previews have them."""

    total: int

    def book(self) -> Book: ...

    def picture(self, number: int) -> MemoryFile | None:
        """The picture of a page, counted from 1; None for a book without a cover."""
        ...


def line(text: str | None, most: int = MOST_WORDS) -> str:
    """A text as one line without anything that hides or turns it."""
    return " ".join(_ODD.sub(" ", (text or "")[: 4 * most]).split())[:most]


def checked(value: str) -> str | None:
    """An ISBN in this identifier whose check digit is right (ISO 2108); None without one."""
    plain = re.sub(r"(?i)^(?:urn:)?isbn[:\s-]*", "", value.strip()[:60])
    digits = re.sub(r"[\s-]", "", plain).upper()
    if not _ISBN.fullmatch(digits) or (len(digits) == 13 and "X" in digits):
        return None
    numbers = [10 if digit == "X" else int(digit) for digit in digits]
    if len(digits) == 13:
        right = sum(number * (3 if index % 2 else 1) for index, number in enumerate(numbers)) % 10 == 0
    else:
        right = sum(number * (10 - index) for index, number in enumerate(numbers)) % 11 == 0
    return digits if right else None
