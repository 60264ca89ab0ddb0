"""How requests travel: over connections that the server's address guard made, one try each, to one host.

Knows: urllib3, TLS, what botocore hands over and wants back. Must not know: S3, credentials, when to try again.

It takes the place of botocore's own HTTP session, through the event that is there for it. So nothing of the environment
(proxies, certificate bundles) plays a part, no redirect is followed, and the certificates trusted are those of the machine.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSResponse  # type: ignore[import-untyped]
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError, ProtocolError

from secure_delivery.plugin import Dial, StorageRefused

from .patience import Patience

_PIECE = 1 << 18  # bytes handed to the socket at once: its timeout counts for each piece, not for a whole part
_LONGEST_ANSWER = 1 << 20  # bytes of an answer that is no object; S3's longest here are errors of a few hundred
_NO_ADDRESS = "The storage of this application is at an address that this server does not connect to."


class _Dialled:
    """What both kinds of connections do differently from urllib3's."""

    def __init__(self, *arguments: Any, dial: Dial, patience: Patience, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._dial = dial
        self._patience = patience

    def _new_conn(self) -> socket.socket:
        host, port = str(self.host).strip("[]"), int(self.port)  # type: ignore[attr-defined]
        try:
            connected = self._dial(host, port, self._patience.connect)
        except PermissionError as error:  # the guard's word for an address that nobody may be sent to
            raise StorageRefused(f"no connection to {host}:{port} is allowed: {error}", public=_NO_ADDRESS) from None
        except OSError as error:
            raise NewConnectionError(self, f"{type(error).__name__}: {error}") from None  # type: ignore[arg-type]
        connected.settimeout(self._patience.read)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def send(self, data: Any) -> None:
        if not isinstance(data, (bytes, bytearray, memoryview)) or len(data) <= _PIECE:
            super().send(data)  # type: ignore[misc]
            return
        with memoryview(data) as view:
            for start in range(0, len(view), _PIECE):
                super().send(view[start : start + _PIECE])  # type: ignore[misc]


class _Plain(_Dialled, HTTPConnection):
    pass


class _Secure(_Dialled, HTTPSConnection):
    pass


class Transport:
    """Sends the prepared requests of botocore. Safe to share among threads."""

    def __init__(self, dial: Dial, patience: Patience) -> None:
        self._patience = patience
        self._manager = PoolManager(
            num_pools=8,
            maxsize=16,
            timeout=Timeout(connect=patience.connect, read=patience.read),
            ssl_context=ssl.create_default_context(),
            cert_reqs="CERT_REQUIRED",
        )

        def pool(kind: Any, connection: Any, host: str, port: int, **more: Any) -> Any:
            made = kind(host, port, **more)
            made.ConnectionCls = partial(connection, dial=dial, patience=patience)
            return made

        self._manager.pool_classes_by_scheme = {
            "http": partial(pool, HTTPConnectionPool, _Plain),  # type: ignore[dict-item]
            "https": partial(pool, HTTPSConnectionPool, _Secure),  # type: ignore[dict-item]
        }

    def send(self, request: Any, **_: Any) -> Any:
        """The answer to one request, whole unless it is an object. Raises urllib3's exceptions and `StorageRefused`."""
        parts = urlsplit(request.url)
        answer = self._manager.connection_from_url(request.url).urlopen(
            request.method,
            f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/",
            body=request.body,
            headers=request.headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
        )
        raw = answer if request.stream_output and answer.status < 300 else self._read(answer)
        return AWSResponse(request.url, answer.status, answer.headers, raw)

    def _read(self, answer: Any) -> HTTPResponse:
        """All of a short answer. One that is too long, or takes too long, is broken off: an endpoint may be anybody's."""
        ends = time.monotonic() + self._patience.answer
        body = bytearray()
        try:
            while piece := answer.read1(1 << 16):
                body += piece
                if len(body) > _LONGEST_ANSWER or time.monotonic() > ends:
                    raise ProtocolError("the answer is too long or too slow")
        except BaseException:
            answer.close()
            raise
        answer.release_conn()
        return HTTPResponse(body=io.BytesIO(bytes(body)), status=answer.status, preload_content=False)

    def close(self) -> None:
        self._manager.clear()
