"""Messages as they travel (RFC 5322, MIME), by the parser of the standard library, held to bounds.

Knows: `email`, its hooks. Must not know: pictures, sections, MSG.

The parser takes any number of headers, parts and levels; what bounds them is put where it asks what to do with a header and
what to make of a part. Header values are cut before anything looks at them: some of their grammars take time that grows with
the square of their length.
"""

from __future__ import annotations

import email.errors
import email.parser
import email.policy
import email.utils
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from email.header import decode_header
from email.message import Message
from typing import Any, cast

from secure_delivery.plugin import Corrupt, Media, TooLarge, Unsupported

from . import words
from .model import MOST_ADDRESSES, MOST_ATTACHMENTS, MOST_TEXT, Attachment, Mail, Person, body, line

MOST_BYTES = 64 << 20  # of a message; what lies behind is not looked at
_MOST_LINES = 1_000_000
_MOST_VALUE = 16_000  # characters of a header
_MOST_HEADERS, _MOST_PARTS, _MOST_MULTIPARTS = 20_000, 2_000, 30
_PIECE = 1 << 18
_FOLDED = re.compile(r"[\r\n]+[ \t]*")
_TELLING = ("from", "to", "cc", "subject", "date", "received", "message-id", "return-path", "reply-to", "delivered-to")


class _Policy(email.policy.Compat32):
    """Counts and cuts what the parser meets. `met` belongs to one parse."""

    met: dict[str, int] | None = None

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        self._one_more("headers", _MOST_HEADERS)
        first = sourcelines[0][: 2 * _MOST_VALUE]
        if ":" not in first:
            return "x-cut", ""
        name, value = super().header_source_parse([first, *sourcelines[1:2_000]])
        value = value[:_MOST_VALUE]
        if name.lower() == "content-type" and value.lstrip().lower().startswith("multipart"):
            self._one_more("multiparts", _MOST_MULTIPARTS)  # each line is compared with the boundaries of all that are open
        return name[:200], value

    def part(self, policy: Any = None) -> Message:
        """A new part, for the parser."""
        self._one_more("parts", _MOST_PARTS)
        return Message(policy=self)

    def register_defect(self, obj: Any, defect: Any) -> None:
        """There may be one for each line, and nobody reads them."""

    def _one_more(self, what: str, most: int) -> None:
        met = self.met if self.met is not None else {}
        met[what] = met.get(what, 0) + 1
        if met[what] > most:
            raise TooLarge(f"eml: more than {most} {what}")


def read(media: Media) -> Mail:
    """A message from a file. Raises `Unsupported` for a text that is none, `TooLarge`, `Corrupt`."""
    try:
        message = _parsed(media)
        names = {name.lower() for name in message}
        if len(names.intersection(_TELLING)) < 2:
            raise Unsupported("no headers of a message")
        return _told(message)
    except RecursionError:
        raise Corrupt("eml: too deep") from None
    except (ValueError, LookupError, AttributeError, TypeError, email.errors.MessageError) as error:
        raise Corrupt(f"eml: {type(error).__name__}: {error}") from None


def _parsed(media: Media) -> Message:
    policy = cast(Any, _Policy)(met={})  # policies take every attribute of theirs by name
    parser = email.parser.BytesFeedParser(policy.part, policy=policy)
    with media.open() as stream:
        size = lines = 0
        while size < MOST_BYTES and lines < _MOST_LINES and (piece := stream.read(_PIECE)):
            size += len(piece)
            lines += piece.count(b"\n") + piece.count(b"\r")
            parser.feed(piece.removeprefix(b"\xef\xbb\xbf") if size == len(piece) else piece)
    message: Message = parser.close()
    return message


def _told(message: Message) -> Mail:
    attachments: list[Attachment] = []
    plain: list[str] = []
    pages: list[str] = []
    for part in _leaves(message):
        kind = part.get_content_type()
        if kind in ("text/plain", "text/html") and not _is_file(part):
            texts = plain if kind == "text/plain" else pages
            if sum(map(len, texts)) < MOST_TEXT:
                texts.append(words.decoded(_content(part), _charset(part)))
        elif len(attachments) < MOST_ATTACHMENTS:
            attachments.append(Attachment(_filename(part), line(kind, 200), _size(part)))
    said = body("\n\n".join(text for text in plain if text.strip()))
    return Mail(
        sender=_people(message, "from") or _people(message, "sender"),
        to=_people(message, "to"),
        cc=_people(message, "cc"),
        reply_to=_people(message, "reply-to"),
        subject=line(_words(_raw(message, "subject"))),
        date=_date(_raw(message, "date")),
        identifier=line(_raw(message, "message-id"), 500).strip("<> "),
        attachments=attachments,
        text=said or body("\n\n".join(words.text_of(page) for page in pages)),
    )


def _leaves(message: Message) -> Iterator[Message]:
    """Parts that have none themselves, in order; a message in a message is one."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        inner = part.get_payload()
        if isinstance(inner, list) and part.get_content_maintype() == "multipart":
            waiting += [one for one in reversed(inner) if isinstance(one, Message)]
        else:
            yield part


def _is_file(part: Message) -> bool:
    disposition = str(part.get("content-disposition", ""))[:200].lower()
    return disposition.lstrip().startswith("attachment") or bool(_filename_raw(part))


def _filename(part: Message) -> str:
    name = line(_words(_filename_raw(part)), 255)
    if not name and part.get_content_maintype() == "message":
        inner = part.get_payload()
        first = inner[0] if isinstance(inner, list) and inner else None
        name = line(_words(_raw(first, "subject")), 200) if isinstance(first, Message) else ""
    return name


def _filename_raw(part: Message) -> str:
    try:
        return part.get_filename() or ""
    except (ValueError, LookupError, TypeError):
        return ""  # a name that is cut in pieces which do not fit together (RFC 2231)


def _charset(part: Message) -> str:
    try:
        return str(part.get_content_charset() or "")[:50]
    except (ValueError, LookupError, TypeError):
        return ""


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content[: 4 * MOST_TEXT] if isinstance(content, bytes) else b""


def _size(part: Message) -> int:
    payload = part.get_payload()
    if isinstance(payload, list):
        inner = [one for one in payload if isinstance(one, Message) and not one.is_multipart()]
        return sum(len(str(one.get_payload())) for one in inner)  # of a message its text, as it travels
    if str(part.get("content-transfer-encoding", "")).strip().lower() == "base64":
        text = str(payload)
        letters = len(text) - sum(text.count(blank) for blank in "\r\n\t =")
        return letters * 3 // 4
    content = part.get_payload(decode=True)
    return len(content) if isinstance(content, bytes) else 0


def _raw(message: Message, name: str) -> str:
    """The value of a header as text; bytes beyond ASCII in it are UTF-8 (RFC 6532), or from before that."""
    value = next((value for key, value in message.raw_items() if key.lower() == name), "")
    return words.decoded(str(value).encode("ascii", "surrogateescape"), "") if value else ""


def _words(text: str) -> str:
    """Encoded words (RFC 2047) as what they stand for."""
    if "=?" not in text:
        return text
    try:
        parts = decode_header(_FOLDED.sub(" ", text))
    except (email.errors.HeaderParseError, ValueError):
        return text
    return "".join(part if isinstance(part, str) else words.decoded(part, charset or "") for part, charset in parts)


def _people(message: Message, name: str) -> list[Person]:
    values = [value for key, value in message.raw_items() if key.lower() == name][:20]
    texts = [words.decoded(str(value).encode("ascii", "surrogateescape"), "") for value in values]
    found = _addresses([_FOLDED.sub(" ", text) for text in texts])
    return [Person(line(_words(name)), line(address)) for name, address in found if name or address][:MOST_ADDRESSES]


def _addresses(values: Sequence[str]) -> list[tuple[str, str]]:
    try:
        found = email.utils.getaddresses(list(values))
    except (RecursionError, IndexError, ValueError):
        found = []
    # What is no list of addresses is shown as it stands.
    return found if any(address for _, address in found) else [(value, "") for value in values]


def _date(text: str) -> datetime | None:
    try:
        return email.utils.parsedate_to_datetime(text[:200])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
