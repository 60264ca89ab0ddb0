"""What both clients have in common and what needs no network: signing, signed URLs, and httpx's terms put into ours.

Knows: httpx's requests, answers and faults. Must not know: threads, event loops.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypedDict

import httpx

from ..gate.policy import SignedPolicy
from .core import AGENT, Core, checked, expiry_of
from .errors import NetworkError, ProtocolError
from .signing import Calls, Signer
from .transform import Transform, transform
from .wire import Reply, Request, Retry

#: Before these the request had not left, so that it may always be made again.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.ProxyError)


class Grant(TypedDict):
    """A signed policy in the form in which a page gets it: the answer of an endpoint for the script `signed-urls.js`."""

    policy: str
    signature: str
    expiry: int


class ClientBase:
    """The part of a client that asks nobody."""

    def __init__(
        self,
        base: str,
        *,
        api_key: str,
        secret: str | bytes | None,
        signed: SignedPolicy | None,
        retry: Retry | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._core = Core(base, api_key, Signer(secret, signed, clock=clock), retry or Retry())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._core.base!r}, api_key='{self._core.api_key[:4]}…', {self._core.signer!r})"

    def sign(
        self,
        *,
        expires_in: int,
        call: Calls,
        handle: str | None = None,
        path: str | None = None,
        container: str | None = None,
        url: str | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
        round_to: int = 1,
    ) -> SignedPolicy:
        """A signed policy to give away: for so many seconds, these calls, and within these limits.

        `path`, `container` and `url` are patterns, sizes are bytes. `round_to` rounds the end up to a multiple of seconds, so
        that the policy, and with it the URL, stays the same for that long and can be cached. Raises `SigningError`.
        """
        return self._core.signer.sign(
            expires_in,
            call=call,
            round_to=round_to,
            handle=None if handle is None else checked(handle),
            path=path,
            container=container,
            url=url,
            min_size=min_size,
            max_size=max_size,
        )

    def grant(self, *, expires_in: int, call: Calls, handle: str | None = None, round_to: int = 1) -> Grant:
        """As `sign`, in the form that a page's script expects. Ask yourself before who may have it."""
        signed = self.sign(expires_in=expires_in, call=call, handle=handle, round_to=round_to)
        return {"policy": signed.encoded, "signature": signed.signature, "expiry": expiry_of(signed)}

    def url(
        self,
        source: str | Sequence[str],
        chain: Transform = transform,
        *,
        expires_in: int = 3600,
        round_to: int = 1,
        call: Calls = None,
        bind: bool = True,
        signed: SignedPolicy | None = None,
        debug: bool = False,
    ) -> str:
        """A URL that delivers a file (a handle, a URL elsewhere, `src://alias/path`, or a list), transformed by a chain.

        With a secret it is signed: for `expires_in` seconds, for just the calls that the chain needs (or `call`), and bound to
        this source. A URL that also uses other files, such as a watermark, cannot be bound to one: say `bind=False` for a
        policy that covers every file of the application, knowing that it does, or give your own as `signed`.

        `debug`: the URL answers what would be done. Raises `TransformError` or `SigningError`.
        """
        return self._core.url(
            source, chain, expires_in=expires_in, round_to=round_to, call=call, bind=bind, signed=signed, debug=debug
        )

    def _auth(self, request: Request) -> dict[str, Any]:
        """Credentials that the caller's httpx client sends by itself are for the server, and for nobody it points to."""
        return {} if request.ours else {"auth": None}


def outgoing(
    http: httpx.Client | httpx.AsyncClient, request: Request, content: bytes | Iterator[bytes] | AsyncIterator[bytes] | None
) -> httpx.Request:
    """The request in httpx's terms."""
    headers = {"user-agent": AGENT, **request.headers, **(request.sink.headers() if request.sink is not None else {})}
    if request.body is not None and not isinstance(request.body, bytes):
        headers["content-length"] = str(request.body.size)
    more: dict[str, Any] = {}
    if request.patience is not None:
        usual = http.timeout
        read = None if usual.read is None else max(usual.read, request.patience)
        more["timeout"] = httpx.Timeout(connect=usual.connect, read=read, write=usual.write, pool=usual.pool)
    try:
        return http.build_request(request.method, request.url, headers=headers, content=content, **more)
    except httpx.InvalidURL:  # only the server can have named it
        raise ProtocolError("The server points to a place that is no URL.") from None


def reply_of(response: httpx.Response) -> Reply:
    """Status and headers of an answer; its body is still to come."""
    return Reply(response.status_code, {name.lower(): value for name, value in response.headers.items()})


def fault_of(request: Request, error: httpx.RequestError) -> NetworkError:
    """A fault of the network in our terms. Its message names neither URL nor body."""
    fault = NetworkError(f"No answer while {request.what}: {type(error).__name__}.", unsent=isinstance(error, _UNSENT))
    fault.__cause__ = error
    return fault
