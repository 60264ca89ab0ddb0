"""Cursors of pages of files: a place in an order, and the question that it belongs to.

Knows: how a place becomes a text and comes back. Must not know: rows, queries.

A cursor is not signed, because it grants nothing: it says behind which key and handle a page begins, and the question is asked
anew. It is read strictly all the same. One that belongs to another order, other filters or another application is refused: it
would show a page that looks right and is not.
"""

from __future__ import annotations

import base64
import hashlib
import json
from binascii import Error as Base64Error

from ..gate.errors import BadRequest
from .database import check_text

MOST = 2**63 - 1  # the largest whole number of both databases
_LONGEST = 4096  # characters of a cursor; the longest name makes one of less than 2,200

#: What a file is ordered by, and its handle.
Place = tuple[int | str, str]


def question_of(*parts: object) -> str:
    """A short digest of everything that a cursor belongs to."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def cursor_of(question: str, place: Place) -> str:
    """The text of a place."""
    raw = json.dumps([question, *place], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def place_of(cursor: str, question: str, kind: type[int] | type[str]) -> Place:
    """The place that a cursor means, its key of this kind. Raises `BadRequest` for one of another question, and for a text that
    `cursor_of` did not make."""
    fault = BadRequest(
        "no cursor of this question", public="This is no cursor of these files in this order and with these filters."
    )
    try:
        if len(cursor) > _LONGEST:
            raise fault
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        asked, key, handle = json.loads(raw)
    except (Base64Error, ValueError, TypeError, RecursionError):
        raise fault from None
    known = asked == question and type(key) is kind and isinstance(handle, str) and handle.isascii()
    if not known or (isinstance(key, int) and not 0 <= key <= MOST) or cursor != cursor_of(question, (key, handle)):
        raise fault
    check_text(handle, *([key] if isinstance(key, str) else []))
    return key, handle
