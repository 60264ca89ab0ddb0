"""What doors and guard say to each other: the head of a request, and what becomes of it.

Knows: heads, admissions, answers as plain values. Must not know: rules, how a request is judged, WSGI or ASGI.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .errors import BadRequest, SecureDeliveryError
from .model import Application, Decision, RequestFacts
from .policy import Call, SignedPolicy

Headers = list[tuple[str, str]]


class Head(NamedTuple):
    """The head of a request as the doors read it. `path` is decoded and relative to the wrapped app; `query` is raw.

    A header that came twice is given as its values joined by ", ", which no parser here accepts.
    """

    method: str
    path: str
    query: str = ""
    origin: str | None = None
    referer: str | None = None
    authorization: str | None = None
    content_type: str | None = None
    content_length: str | None = None
    preflight: str | None = None  # Access-Control-Request-Method


class Reply(NamedTuple):
    """A complete answer that the door sends instead of calling the app."""

    status: int
    headers: Headers
    body: bytes


class Admission(NamedTuple):
    """The app may have the request. `path` is what it should see, without a `security=` segment.

    `application` is `None` only where a guard that merely reports let a request through that belongs to none.
    """

    application: Application | None
    decision: Decision
    path: str
    origin: str | None = None  # to be named in the CORS answer, when a whitelist approved it
    method: str = "GET"
    #: The headers that an answer gets, by second and status: a remembered admission has them written once (`outgoing`).
    written: dict[tuple[int, int], Any] | None = None

    @property
    def metered(self) -> bool:
        """Whether the door must count the bytes of the body."""
        return self.decision.min_size is not None or self.decision.max_size is not None


class WantsBody(NamedTuple):
    """The rule lets a policy travel in the body: the door peeks and asks again with what it found."""

    content_type: str | None


def error_reply(status: int, code: str, sentence: str, *, vary: Sequence[str] = (), extra: Headers | None = None) -> Reply:
    """A refusal or fault as clients see it: JSON with a stable code and one sentence, never to be cached."""
    body = json.dumps({"error": {"code": code, "message": sentence}}).encode()
    headers = [
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        *(extra or []),
    ]
    if vary:
        headers.append(("vary", ", ".join(vary)))
    return Reply(status, headers, body)


def fault_reply(fault: SecureDeliveryError) -> Reply:
    """A fault of the tree as an answer."""
    return error_reply(fault.status, fault.code, fault.public)


def read_length(text: str | None) -> int | None:
    """The number of a Content-Length header, or `None` without one. Raises `BadRequest` for anything but digits."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadRequest("malformed Content-Length", public="The Content-Length is not a number.")
    return int(text)


def facts_of(
    calls: frozenset[Call],
    credential: SignedPolicy | str | None,
    names: Mapping[str, str],
    *,
    size: int | None,
    origin: str | None,
    referer: str | None,
) -> RequestFacts:
    """The facts of a request from its parts: the one credential it shows, and what its rule or route names."""
    return RequestFacts(
        calls=calls,
        signed=credential if isinstance(credential, SignedPolicy) else None,
        secret=credential if isinstance(credential, str) else None,
        handle=names.get("handle"),
        container=names.get("container"),
        path=names.get("path"),
        url=names.get("url"),
        size=size,
        origin=origin,
        referer=referer,
    )
