"""What can go wrong for a client, as one tree.

Knows: statuses, stable codes, and the shapes in which servers say what is wrong. Must not know: how requests travel.

A message never holds a secret, a policy or a signature: it is made of what the server said, cut to one printable line, or
of what the request was for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .state import State

_MAX_MESSAGE = 300  # characters of a server's text that go into a message
_UNPRINTABLE = re.compile(r"[^\S ]+|[^\x20-\x7e\xa0-\ud7ff\ue000-\uffff\U00010000-\U0010ffff]+")
_XML_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_XML_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")


class ClientError(Exception):
    """Base of everything this package raises, except for `TypeError` and `ValueError` on arguments that cannot be meant.

    Attributes: `status`, the HTTP status of the answer or None where there was none; `code`, the server's stable code
    (`policy_expired`, `too_large`, …) or one of ours; `message`, one sentence.
    """

    default_code: ClassVar[str] = "client"

    def __init__(self, message: str, *, code: str | None = None, status: int | None = None) -> None:
        super().__init__(message, code, status)
        self.message = message
        self.code = code or self.default_code
        self.status = status

    def __str__(self) -> str:
        where = self.code if self.status is None else f"{self.status} {self.code}"
        return f"{self.message} [{where}]"


class SigningError(ClientError):
    """Something is to be signed that cannot be: there is no secret, or the policy would be refused."""

    default_code = "signing"


class TransformError(ClientError, ValueError):
    """A task, a value or a source that no transformation URL can carry."""

    default_code = "bad_task"


class WebhookError(ClientError):
    """A webhook that was not sent by who knows the secret, or not now. Answer it with 400 and do nothing else."""

    default_code = "webhook"


class SourceChanged(ClientError):
    """What is uploaded turned out longer or shorter than it was said to be."""

    default_code = "source_changed"


class NetworkError(ClientError):
    """No answer: connection refused or broken, time over. `unsent` says that the server cannot have seen the request."""

    default_code = "network"

    def __init__(self, message: str, *, unsent: bool = False) -> None:
        super().__init__(message)
        self.unsent = unsent


class ProtocolError(ClientError):
    """An answer that is none: not JSON, a member missing, a place to go to that a careful client does not go to."""

    default_code = "protocol"


class ResponseError(ClientError):
    """The server answered, and not with a success."""

    default_code = "refused"


class Denied(ResponseError):
    """401 or 403: the key is unknown, the policy missing, expired or too narrow, or the site not on the whitelist."""


class NotFound(ResponseError):
    """404 or 410: there is no such file, or no longer."""


class TooLarge(ResponseError):
    """413: more bytes than the server, the application or the policy admits."""


class TooMany(ResponseError):
    """429, still, after all attempts. `retry_after` is how many seconds the server asked for, where it did."""

    retry_after: float | None = None


class ServerError(ResponseError):
    """5xx, still, after all attempts."""


class UploadError(ClientError):
    """A multipart upload that began and did not end. The fault behind it is `__cause__`, its code and status are also here.

    `state` is what `upload(…, resume=state)` goes on from. None: the server no longer knows this upload; start anew.
    """

    default_code = "upload"

    def __init__(self, cause: ClientError, state: State | None) -> None:
        super().__init__(cause.message, code=cause.code, status=cause.status)
        self.state = state


def response_error(status: int, headers: Mapping[str, str], body: bytes) -> ResponseError:
    """The error of an answer. Reads `{"error": {"code", "message"}}`, `{"error": "text"}`, storages' XML and plain text."""
    code, message = _explained(headers.get("content-type", ""), body)
    message = _line(message) or f"The server answered {status}."
    error = _class_of(status)(message, code=code, status=status)
    if isinstance(error, TooMany):
        error.retry_after = _seconds(headers.get("retry-after"))
    return error


def _class_of(status: int) -> type[ResponseError]:
    if status >= 500:
        return ServerError
    named = {401: Denied, 403: Denied, 404: NotFound, 410: NotFound, 413: TooLarge, 429: TooMany}
    return named.get(status, ResponseError)


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and re.fullmatch(r"[0-9]{1,9}", text) else None


def _explained(content_type: str, body: bytes) -> tuple[str | None, str]:
    text = body[:65536].decode("utf-8", "replace").strip()
    if text.startswith("{"):
        try:
            return _from_json(json.loads(text))
        except (ValueError, RecursionError):
            return None, ""
    xml_code = _XML_CODE.search(text)
    if xml_code is not None:
        sentence = _XML_MESSAGE.search(text)
        return xml_code[1], sentence[1] if sentence else xml_code[1]
    return None, "" if text.startswith("<") or "html" in content_type else text


def _from_json(answer: dict[str, Any]) -> tuple[str | None, str]:
    error = answer.get("error", answer)
    if isinstance(error, str):
        return None, error
    if not isinstance(error, dict):
        return None, ""
    code, message = error.get("code"), error.get("message", error.get("msg", ""))
    usable = isinstance(code, str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", code)
    return (code if usable else None), message if isinstance(message, str) else ""


def _line(text: str) -> str:
    plain = _UNPRINTABLE.sub(" ", text).strip()
    return plain if len(plain) <= _MAX_MESSAGE else plain[: _MAX_MESSAGE - 1] + "…"
