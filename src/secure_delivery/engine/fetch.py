"""Fetching a file from outside: one GET, its redirects, and a body that is never larger than wanted.

Knows: what an answer means. Must not know: policies (the caller's `check` does), where the bytes go, how addresses are judged.

Every hop is a new request in every respect: its URL is read anew, shown to `check`, resolved, judged and dialled anew, and
headers the caller gave are left behind for good when the origin changes.

What is told to clients never holds an address or says why a host was refused: whether a name of the operator's own network
exists is nobody's business. `str(error)` has it, for the log; queries, which may hold credentials, are in neither.

Sources: security promises 16 (the policy's `url` on every hop), 33-38; RFC 9110 section 15.4, RFC 9111 section 5.2, RFC 6266.
A request with a body, for webhooks, needs `_open` with another method and nothing else of this module.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import unquote, urljoin

from ..gate.errors import BadRequest, NotFound, SourceFault, TooLarge
from .files import clean_name
from .httpwire import PIECE, Fields, Head, Wire, body, checked_headers, inflated, length_of, read_head, request_head
from .outbound import Clock, Connect, OutboundGuard, Patience, Resolve, Target, system_resolve, tcp_connect
from .types import HEAD, sniff

MAX_REDIRECTS = 3
AGENT = "secure-delivery"

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_OURS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "accept-encoding", "expect"}
)
_DISPOSITION = 1024  # characters of Content-Disposition that are looked at
_NAME_EXTENDED = re.compile(r";\s*filename\*\s*=\s*utf-8'[^';]{0,40}'([^;\s]+)", re.IGNORECASE)
_NAME_QUOTED = re.compile(r';\s*filename\s*=\s*"((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_NAME_TOKEN = re.compile(r';\s*filename\s*=\s*([^\s;"]+)', re.IGNORECASE)
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_AGE = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What was fetched. `url` is the one that answered, after redirects; `mimetype` is that of the content, whatever the
    sender called it; `size` in bytes and `sha256` in hex are of the content without its coding; `max_age` is how many
    seconds the sender lets anybody keep it: 0 not at all, None when it does not say."""

    url: str
    mimetype: str
    filename: str
    size: int
    sha256: str
    max_age: int | None


class Fetcher:
    """Fetches files through one guard. Safe to share among threads.

    The parameters are those of `OutboundGuard`; `guard` is the guard itself, for whoever else goes outside.
    """

    def __init__(
        self,
        *,
        allow: Iterable[str] = (),
        ports: Collection[int] = (80, 443),
        https_only: bool = False,
        patience: Patience | None = None,
        resolve: Resolve = system_resolve,
        connect: Connect = tcp_connect,
        clock: Clock = time.monotonic,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.guard = OutboundGuard(
            allow=allow,
            ports=ports,
            https_only=https_only,
            patience=patience,
            resolve=resolve,
            connect=connect,
            clock=clock,
            tls=tls,
        )

    def fetch(
        self,
        url: str,
        *,
        into: BinaryIO,
        max_bytes: int,
        check: Callable[[str], None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Fetched:
        """Write what a URL holds into `into`, at most `max_bytes`.

        `check` gets the URL of every hop, as it would be fetched, before anybody is asked about it; what it raises is passed
        on. `headers` go to the first origin only. Raises `BadRequest` for a URL that may not be written, `SourceFault` for
        anything outside that fails or is refused, `NotFound` when the source says so, `TooLarge`. After a fault `into` holds
        any part of the body, for the caller to drop.
        """
        ends = self.guard.clock() + self.guard.patience.whole
        target = self.guard.read(url)
        try:
            carried = checked_headers(headers or {}, _OURS)
        except ValueError as error:
            raise BadRequest(str(error), public="A header for the source is not valid.") from None
        for _ in range(MAX_REDIRECTS + 1):
            if check is not None:
                check(target.url)
            with self._open(target, carried, ends) as (wire, head):
                if head.status not in _REDIRECTS:
                    return _receive(target, wire, head, into, max_bytes)
                following = self._follow(target, head)
            if following.origin != target.origin:
                carried = ()
            target = following
        raise SourceFault(f"{target.place}: more than {MAX_REDIRECTS} redirects", public="The source redirects too often.")

    @contextmanager
    def _open(
        self, target: Target, carried: tuple[tuple[str, str], ...], ends: float, method: str = "GET"
    ) -> Iterator[tuple[Wire, Head]]:
        """One request and the head of its answer, on a connection that lasts as long as the `with`."""
        given = {name.lower() for name, _ in carried}
        fields = [("Host", target.authority), ("Connection", "close"), ("Accept-Encoding", "gzip, identity")]
        defaults = (("User-Agent", AGENT), ("Accept", "*/*"))
        fields += [field for field in defaults if field[0].lower() not in given]
        with self.guard.open(target, ends=ends) as connection:
            wire = Wire(connection, patience=self.guard.patience, ends=ends, clock=self.guard.clock)
            try:
                wire.send(request_head(method, target.resource, (*fields, *carried)))
                yield wire, read_head(wire)
            except SourceFault as error:
                raise SourceFault(f"{target.place}: {error}", public=error.public) from None

    def _follow(self, target: Target, head: Head) -> Target:
        """Where a redirect leads. A bad one is the source's fault, not that of whoever named the source."""
        location = head.fields.text("location")
        if not location or any(character < " " or character in "\\\x7f" for character in location):
            raise SourceFault(f"redirect {head.status} to nowhere")
        try:
            # Joining would repair an absolute URL that has lost its host, and lead back to ours.
            following = self.guard.read(location if _ABSOLUTE.match(location) else urljoin(target.url, location))
        except (BadRequest, ValueError) as error:
            raise SourceFault(f"redirect to {location.partition('?')[0][:200]!r}: {error}") from None
        if target.scheme == "https" and following.scheme != "https":
            raise SourceFault(f"redirect from https to {following.place}")
        return following


def _receive(target: Target, wire: Wire, head: Head, into: BinaryIO, max_bytes: int) -> Fetched:
    """The body of the final answer."""
    if head.status in _GONE:
        raise NotFound(f"{target.place}: status {head.status}", public="The source does not exist.")
    if head.status not in (200, 203):
        raise SourceFault(f"status {head.status}", public=f"The source answered with status {head.status}.")
    filename = _filename(target, head.fields)
    # Compressed bytes are bounded too, a little wider: a stream can be padded for ever without becoming any content.
    coded = "content-encoding" in dict(head.fields.items)
    wanted = max_bytes + max_bytes // 1000 + PIECE if coded else max_bytes
    if (length := length_of(head.fields)) is not None and length > wanted:
        raise TooLarge(f"{target.place}: {length} bytes announced, {max_bytes} allowed")
    size, digest, start = 0, hashlib.sha256(), bytearray()
    for piece in inflated(_bounded(body(wire, head), wanted, target.place), head.fields):
        size += len(piece)
        if size > max_bytes:
            raise TooLarge(f"{target.place}: more than {max_bytes} bytes")
        digest.update(piece)
        if len(start) < HEAD:
            start += piece[:HEAD]
        into.write(piece)
    return Fetched(
        url=target.url,
        mimetype=sniff(bytes(start), filename),
        filename=filename,
        size=size,
        sha256=digest.hexdigest(),
        max_age=_max_age(head.fields),
    )


def _bounded(pieces: Iterator[bytes], most: int, place: str) -> Iterator[bytes]:
    for piece in pieces:
        most -= len(piece)
        if most < 0:
            raise TooLarge(f"{place}: more bytes than any allowed content takes")
        yield piece


def _filename(target: Target, fields: Fields) -> str:
    """The name the sender gives, else the last part of the path; made safe by `clean_name`."""
    disposition = (fields.text("content-disposition") or "")[:_DISPOSITION]
    if found := _NAME_EXTENDED.search(disposition):
        return clean_name(unquote(found[1]))
    if found := _NAME_QUOTED.search(disposition):
        return clean_name(re.sub(r"\\(.)", r"\1", found[1]))
    if found := _NAME_TOKEN.search(disposition):
        return clean_name(found[1])
    return clean_name(unquote(target.resource.partition("?")[0].rpartition("/")[2]))


def _max_age(fields: Fields) -> int | None:
    directives: dict[str, str] = {}
    for item in ",".join(fields.all("cache-control")).lower().split(","):
        name, _, value = item.strip().partition("=")
        directives.setdefault(name.strip(), value.strip(' "'))
    if not directives.keys().isdisjoint({"no-store", "no-cache", "private"}) or "*" in fields.all("vary"):
        return 0
    told = directives.get("s-maxage", directives.get("max-age"))
    if told is None:
        return None
    age = (fields.all("age") or ["0"])[0]
    if not _AGE.fullmatch(told):
        return 0
    return max(0, int(told) - (int(age) if _AGE.fullmatch(age) else 0))
