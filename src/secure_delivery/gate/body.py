"""What the gate reads of a request body: a credential at its beginning, and how many bytes are uploaded.

Knows: JSON, form and multipart bodies, piece by piece. Must not know: where the pieces come from.
It never keeps more than `PEEK` bytes, and never needs the whole of a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Event, Field, File, MultipartDecoder, NeedData, State

from .errors import BadRequest, CredentialConflict, Reason, TooLarge
from .model import Decision
from .policy import SignedPolicy

PEEK = 65_536  # bytes looked at for a policy: sixteen times the longest one
_SLICE = 16_384  # bytes of a multipart body decoded at a time
_MAX_PARTS = 100  # security promise 41

Fields = dict[str, str]


def _media_type(content_type: str | None) -> tuple[str, str | None]:
    """The media type in lower case, and the boundary of a multipart one."""
    kind, options = parse_options_header(content_type)
    return kind.lower(), options.get("boundary")


def signed_from_fields(fields: Fields) -> SignedPolicy | None:
    """The credential among members called `policy` and `signature`; half of one counts as a bad one, not as none."""
    if "policy" not in fields and "signature" not in fields:
        return None
    return SignedPolicy(fields.get("policy", ""), fields.get("signature", ""))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members and name in ("policy", "signature", "security"):
            raise CredentialConflict(f"{name} is given twice in the body")
        members[name] = value
    return members


def _shown(group: dict[str, Any]) -> Fields:
    """The two members as texts. Null is what clients without a policy send; any other value is a bad one, not none."""
    shown = {name: group[name] for name in ("policy", "signature") if group.get(name) is not None}
    return {name: value if isinstance(value, str) else "" for name, value in shown.items()}


def _from_json(body: bytes) -> SignedPolicy | None:
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError):  # not JSON after all: the wrapped app will say so, and nothing was shown
        return None
    if not isinstance(document, dict):
        return None
    nested = document.get("security")
    found = [
        signed_from_fields(_shown(group))
        for group in (document, nested)
        if isinstance(group, dict)
    ]
    shown = [signed for signed in found if signed is not None]
    if len(shown) > 1:
        raise CredentialConflict("a policy beside security and one inside it")
    return shown[0] if shown else None


def _from_form(body: bytes) -> SignedPolicy | None:
    fields: Fields = {}
    for pair in body.decode("latin-1").split("&"):
        name, _, value = pair.partition("=")
        if name in ("policy", "signature"):
            if name in fields:
                raise CredentialConflict(f"{name} is given twice in the body")
            # A blank is a `+` that was not escaped: form decoding turns it into one, and no policy holds blanks.
            fields[name] = unquote_plus(value).replace(" ", "+")
    return signed_from_fields(fields)


def _events(decoder: MultipartDecoder, data: bytes) -> Iterator[Event]:
    """The events that the next piece of a body gives, whatever its size.

    Raises `BadRequest` for a body that is not multipart, `TooLarge` for too many parts or too long headers.
    """
    # The decoder bounds what it holds together with what it is handed, so that it is handed less than that at a time.
    for start in range(0, len(data), _SLICE):
        if decoder.state is State.EPILOGUE:
            return  # what follows the last part is no part, and would only be kept
        try:
            decoder.receive_data(data[start : start + _SLICE])
            while not isinstance(event := decoder.next_event(), NeedData):
                yield event
        except RequestEntityTooLarge:
            raise TooLarge("too many or too long form parts") from None
        except ValueError as error:
            raise BadRequest(f"malformed multipart body: {error}", public="The multipart body is malformed.") from None


class Peek:
    """Looks for a credential at the start of a body that the caller hands over piece by piece.

    JSON and form bodies must fit into `PEEK` bytes; of a multipart body only the fields before the first file count, so a
    form puts `policy` and `signature` first. `feed` says whether it wants more.
    """

    def __init__(self, content_type: str | None) -> None:
        self._kind, boundary = _media_type(content_type)
        self._seen = bytearray()
        self._fields: Fields = {}
        self._field: str | None = None
        self._done = False
        self._decoder: MultipartDecoder | None = None
        if self._kind == "multipart/form-data" and boundary:
            self._decoder = MultipartDecoder(boundary.encode("latin-1", "replace"), PEEK, max_parts=_MAX_PARTS)
        elif self._kind not in ("application/json", "application/x-www-form-urlencoded"):
            self._done = True

    def feed(self, data: bytes, *, more: bool) -> bool:
        """Take the next piece; `more` says whether others follow. Returns whether another piece is wanted.

        Raises `TooLarge` for a JSON or form body over `PEEK` bytes, `BadRequest` for malformed multipart,
        `CredentialConflict` for a member given twice.
        """
        if self._done:
            return False
        if self._decoder is not None:
            self._feed_multipart(self._decoder, data, more=more)
        else:
            self._seen += data
            if len(self._seen) > PEEK:
                raise TooLarge("a body that carries a policy is at most 64 KiB")
            self._done = not more
        return not self._done

    def _feed_multipart(self, decoder: MultipartDecoder, data: bytes, *, more: bool) -> None:
        for event in _events(decoder, data):
            if isinstance(event, File):
                self._done = True
                return
            if isinstance(event, Field):
                self._field = event.name if event.name in ("policy", "signature") else None
                if self._field in self._fields:
                    raise CredentialConflict(f"{self._field} is given twice in the body")
                if self._field is not None:
                    self._fields[self._field] = ""
            elif isinstance(event, Data) and self._field is not None:
                self._fields[self._field] += event.data.decode("latin-1")
        self._seen += b"\0" * min(len(data), PEEK + 1)
        if not more or len(self._seen) > PEEK:
            self._done = True

    def signed(self) -> SignedPolicy | None:
        """The credential that was found."""
        if self._kind == "application/json":
            return _from_json(bytes(self._seen))
        if self._kind == "application/x-www-form-urlencoded":
            return _from_form(bytes(self._seen))
        return signed_from_fields(self._fields)


class SizeMeter:
    """Counts what is really uploaded against the bounds of a decision (security promise 17).

    A raw body is counted whole; of a multipart body each file part is counted by itself, exactly. `feed` and `end` return
    the reason to refuse, or `None`.
    """

    def __init__(self, decision: Decision, content_type: str | None) -> None:
        self._decision = decision
        self._size = 0
        self._refused: Reason | None = None
        kind, boundary = _media_type(content_type)
        self._decoder: MultipartDecoder | None = None
        self._in_file = False
        if kind == "multipart/form-data" and boundary:
            self._decoder = MultipartDecoder(boundary.encode("latin-1", "replace"), PEEK, max_parts=_MAX_PARTS)

    def feed(self, data: bytes) -> Reason | None:
        """Count the next piece. Raises `BadRequest` for malformed multipart, `TooLarge` for too many parts."""
        if self._refused is not None:
            return self._refused
        if self._decoder is None:
            self._size += len(data)
            self._judge(complete=False)
        else:
            for event in _events(self._decoder, data):
                self._count(event)
        return self._refused

    def _count(self, event: Event) -> None:
        if isinstance(event, File):
            self._in_file, self._size = True, 0
        elif isinstance(event, Field):
            self._in_file = False
        elif isinstance(event, Data) and self._in_file:
            self._size += len(event.data)
            self._judge(complete=not event.more_data)

    def _judge(self, *, complete: bool) -> None:
        reason = self._decision.admits_size(self._size)
        if reason is Reason.TOO_BIG or (complete and reason is not None):
            self._refused = self._refused or reason

    def end(self) -> Reason | None:
        """The body is over: judge what only then is known."""
        if self._decoder is None and self._refused is None:
            self._judge(complete=True)
        return self._refused
