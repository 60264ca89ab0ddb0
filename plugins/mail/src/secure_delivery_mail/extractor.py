"""`mail`: who wrote what to whom, as a section.

Knows: the reader, the shape of the section. Must not know: formats of mail, pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from secure_delivery.plugin import Needs, Work

from . import reading
from .model import MOST_ADDRESSES, MOST_ATTACHMENTS, Person
from .previewer import INSTALL

_PEOPLE = {
    "type": "array",
    "maxItems": MOST_ADDRESSES,
    "items": {
        "type": "object",
        "required": ["name", "address"],
        "additionalProperties": False,
        "properties": {"name": {"type": "string"}, "address": {"type": "string"}},
    },
}
_TEXT = {"type": ["string", "null"]}
_KEYS = ("from", "to", "cc", "reply_to", "subject", "date", "message_id", "attachments")


class MailFacts:
    """The headers of a message that people look at, and its attachments. Call `exif`: it tells about people."""

    section = "mail"
    call = "exif"
    mimetypes = reading.MIMETYPES
    extensions = reading.EXTENSIONS
    needs = Needs(libraries=("lxml", "olefile"), install=INSTALL)
    schema: Mapping[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": list(_KEYS),
        "additionalProperties": False,
        "properties": {
            **dict.fromkeys(("from", "to", "cc", "reply_to"), _PEOPLE),
            "subject": _TEXT,
            "date": {**_TEXT, "description": "ISO 8601, with the offset that the sender named where there is one"},
            "message_id": _TEXT,
            "attachments": {
                "type": "array",
                "maxItems": MOST_ATTACHMENTS,
                "items": {
                    "type": "object",
                    "required": ["name", "type", "size"],
                    "additionalProperties": False,
                    "properties": {"name": _TEXT, "type": {"type": "string"}, "size": {"type": "integer", "minimum": 0}},
                },
            },
        },
    }

    def warm(self) -> None:
        reading.warm()

    def extract(self, work: Work) -> dict[str, Any]:
        """Raises `Corrupt`, `TooLarge`, `Unsupported`."""
        mail = reading.read(work.media)
        return {
            "from": _people(mail.sender),
            "to": _people(mail.to),
            "cc": _people(mail.cc),
            "reply_to": _people(mail.reply_to),
            "subject": mail.subject or None,
            "date": mail.date.isoformat() if mail.date else None,
            "message_id": mail.identifier or None,
            "attachments": [{"name": one.name or None, "type": one.type, "size": one.size} for one in mail.attachments],
        }


def _people(people: Sequence[Person]) -> list[dict[str, str]]:
    return [{"name": person.name[:300], "address": person.address[:300]} for person in people]
