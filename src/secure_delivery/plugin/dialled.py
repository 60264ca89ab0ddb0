"""HTTP sessions whose every connection comes from a `Dial`: one guarded way out, whatever a client library does.

Knows: requests and urllib3, which a plugin that calls this brings itself; nothing here imports it but such a plugin, late.
Must not know: any provider.

* Connections: the pools open none themselves. Proxies, certificate bundles and passwords of the environment play no part.
* TLS: certificates are verified against the system's authorities, whatever a caller says.
* Plain HTTP: only where it was allowed.
* Redirects: never followed; a credential goes where it was meant to go or nowhere.
* Secrets in queries (signatures, names of upload sessions): added below the layers that log and that put URLs in exceptions.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from .protocols import Dial

#: Carries the query from the adapter to the connection; it never leaves this process.
_QUERY = "X-Secure-Delivery-Query"
_POOL = 32  # connections kept open to one host


class DialAdapter(HTTPAdapter):
    """The transport of a session. `insecure` lets it speak plain HTTP, to test servers."""

    def __init__(self, dial: Dial, *, insecure: bool = False) -> None:
        self._dial = dial
        self._insecure = insecure
        self._tls = ssl.create_default_context()
        super().__init__(pool_maxsize=_POOL, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = _pools(self._dial)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, True, None)
        return host, ({"ssl_context": self._tls, "cert_reqs": "CERT_REQUIRED"} if host["scheme"] == "https" else {})

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing to set: the context of the pool verifies."""

    def request_url(self, request: Any, proxies: Any) -> str:
        return super().request_url(request, None).partition("?")[0]

    def add_headers(self, request: Any, **_: Any) -> None:
        if query := request.url.partition("?")[2]:
            request.headers[_QUERY] = query

    def send(self, request: Any, stream: bool = False, timeout: Any = None, *_: Any, **__: Any) -> requests.Response:
        if not self._insecure and not request.url.startswith("https://"):
            raise PermissionError("only https is spoken here")
        response = super().send(request, stream=stream, timeout=timeout, verify=True, cert=None, proxies=None)
        if 300 <= response.status_code < 400:
            response.headers.pop("Location", None)
        return response


def equip(session: requests.Session, dial: Dial, *, insecure: bool = False) -> requests.Session:
    """The session, with this transport for everything and nothing taken from the environment."""
    session.trust_env = False
    adapter = DialAdapter(dial, insecure=insecure)
    for scheme in tuple(session.adapters):
        session.mount(scheme, adapter)
    return session


def _pools(dial: Dial) -> dict[str, Any]:
    """Pool classes for both schemes, whose connections are dialled."""

    class Plain(_Dialled, HTTPConnection):
        pass

    class Secured(_Dialled, HTTPSConnection):
        pass

    Plain.dial = Secured.dial = staticmethod(dial)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecuredPool(HTTPSConnectionPool):
        ConnectionCls = Secured

    return {"http": PlainPool, "https": SecuredPool}


class _Dialled:
    """The part of a connection that differs: where its socket comes from, and that it completes the target of a request."""

    dial: Dial
    host: str
    port: int
    timeout: Any

    def _new_conn(self) -> socket.socket:
        seconds = self.timeout if isinstance(self.timeout, (int, float)) else 10.0
        connection = type(self).dial(self.host.strip("[]"), self.port, float(seconds))
        connection.settimeout(float(seconds))
        with contextlib.suppress(OSError):  # only a matter of speed
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> None:
        sent = dict(headers or {})
        query = sent.pop(_QUERY, "")
        super().request(method, f"{url}?{query}" if query else url, body, sent, **options)  # type: ignore[misc]
