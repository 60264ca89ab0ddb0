"""One try to deliver: a POST through the guard, and what came of it.

Knows: which addresses may be endpoints, how long one is waited for, how much of its answer is looked at. Must not know: rows,
signatures, when to try again.

Every try reads, resolves, judges and dials the address anew, so that a name that has moved inside meanwhile is refused. A
redirect is an answer that is not wanted, never a place to go. Whoever answers is an enemy: head, body, pace and time are
bounded, and what is kept of the answer is a short printable text.

What the owner of an endpoint is told of a connection that was not made never says why: it would tell him what is inside the
operator's network.

Sources: security promises 33-37 and 71.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..gate.errors import BadRequest, SourceFault
from .httpwire import Head, Wire, body, read_head, request_head
from .outbound import Clock, Connect, NoTLS, OutboundGuard, Patience, Resolve, Target, read_url, system_resolve, tcp_connect

logger = logging.getLogger("secure_delivery.engine")

MOST_READ = 65_536  # bytes of an answer's body
MOST_KEPT = 1_000  # characters of it
_GONE = 410
_MOST_TLS = 200  # characters of what a TLS library says


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a try: the status of the answer, None when there was none; the start of it or what went wrong; how many
    milliseconds it took. `final`: trying again is of no use."""

    status: int | None
    answer: str
    took: int = 0
    final: bool = False

    @property
    def delivered(self) -> bool:
        """Whether the endpoint has it. The documentation names 200, 201 and 204."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the endpoint said that it will never want anything again."""
        return self.status == _GONE


class Sender:
    """Sends. Safe to share among threads.

    `seconds` is how long a whole try may take, from looking up the name to the end of the answer. With `https_only` plain http
    is for hosts and networks that `allow` names; `allow`, `ports` and what comes after it are those of `OutboundGuard`.
    """

    def __init__(
        self,
        *,
        seconds: float = 10.0,
        https_only: bool = True,
        allow: Iterable[str] = (),
        ports: Sequence[int] = (80, 443),
        resolve: Resolve = system_resolve,
        connect: Connect = tcp_connect,
        clock: Clock = time.monotonic,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        short = min(5.0, seconds)
        self.seconds = seconds
        self._https_only = https_only
        self._guard = OutboundGuard(
            allow=allow,
            ports=ports,
            patience=Patience(resolve=short, connect=short, first_byte=seconds, whole=seconds),
            resolve=resolve,
            connect=connect,
            clock=clock,
            tls=tls,
        )

    def check(self, url: str) -> Target:
        """An address of an endpoint, as far as it can be judged without asking anybody. Raises `BadRequest` with a sentence for
        its author."""
        try:
            target = read_url(url)
        except BadRequest as error:
            raise BadRequest(str(error), public=error.public.replace("source", "webhook")) from None
        allowed = self._guard.allow_list
        if self._https_only and target.scheme != "https" and not allowed.lists(target.host, target.port, target.address):
            raise BadRequest(public="Webhooks are only sent by https.")
        if not allowed.opens(target.port):
            raise BadRequest(public="Webhooks are not sent to this port.")
        return target

    def send(self, url: str, fields: Sequence[tuple[str, str]], data: bytes) -> Outcome:
        """Post `data` with these header fields. Whatever happens outside is an outcome, not a fault."""
        began = self._guard.clock()
        try:
            target = self.check(url)
            status, answer = self._exchange(target, fields, data, began + self.seconds)
        except BadRequest as error:
            status, answer = None, error.public
        except SourceFault as error:
            status, answer = None, _told(error)
            logger.info("webhook: %s", error)
        return Outcome(status=status, answer=answer, took=int((self._guard.clock() - began) * 1000))

    def _exchange(self, target: Target, fields: Sequence[tuple[str, str]], data: bytes, ends: float) -> tuple[int, str]:
        ours = (
            ("Host", target.authority),
            ("Connection", "close"),
            ("Accept-Encoding", "identity"),
            ("Content-Length", str(len(data))),
        )
        head = request_head("POST", target.resource, (*ours, *fields))
        try:
            connection = self._guard.open(target, ends=ends)
        except NoTLS as error:
            raise _Told(str(error), f"No TLS: {str(error).partition('no TLS: ')[2][:_MOST_TLS]}") from None
        except SourceFault as error:
            raise _Told(str(error), "No connection could be made.") from None
        with connection:
            wire = Wire(connection, patience=self._guard.patience, ends=ends, clock=self._guard.clock)
            wire.send(head + data)
            answer = read_head(wire)
            if 300 <= answer.status < 400:
                return answer.status, "Redirects are not followed."
            return answer.status, printable(_start(wire, answer))


class _Told(SourceFault):
    """A fault with other words for the owner of the endpoint than for the log."""

    def __init__(self, detail: str, told: str) -> None:
        super().__init__(detail)
        self.told = told


def _told(error: SourceFault) -> str:
    return printable((error.told if isinstance(error, _Told) else str(error)).encode())


def _start(wire: Wire, head: Head) -> bytes:
    """The body of an answer, as much as is looked at. How it ends does not matter: the status is what counts."""
    found = bytearray()
    if head.status == 204:
        return b""
    try:
        for piece in body(wire, head):
            found += piece
            if len(found) >= MOST_READ:
                break
    except SourceFault:
        pass
    return bytes(found[:MOST_READ])


def printable(data: bytes) -> str:
    """At most `MOST_KEPT` characters of one line, for a log."""
    text = data[: 4 * MOST_KEPT].decode("utf-8", "replace")
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())[:MOST_KEPT]
