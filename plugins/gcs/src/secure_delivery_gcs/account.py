"""The way to Google Cloud Storage: the official client with one service account, built when it is first needed.

Knows: the client library and what it must be kept from. Must not know: blobs, keys, what is asked for.

Kept from: finding credentials, projects and proxies in the environment; asking a metadata server; following the variables
that move endpoints; and reading a bucket's metadata in the background, which credentials that may only write cannot do.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from secure_delivery.plugin import Dial, StorageRefused
from secure_delivery.plugin.tries import Patience

from .options import Options

if TYPE_CHECKING:
    from requests import Response, Session

#: What IAM permits bounds it further; the narrower scopes do not cover access control lists.
_SCOPE = "https://www.googleapis.com/auth/devstorage.full_control"


@dataclass(frozen=True, slots=True)
class _Parts:
    client: Any
    authorized: Session
    plain: Session
    credentials: Any = field(repr=False)


class Account:
    """Shared by all requests of one storage; threads may use it at once."""

    def __init__(self, options: Options, dial: Dial, patience: Patience) -> None:
        self.options = options
        self.patience = patience
        self._dial = dial
        self._lock = threading.Lock()
        self._parts: _Parts | None = None

    def __repr__(self) -> str:
        return f"Account({self.options.account.email!r}, {self.options.endpoint!r})"

    def blob(self, bucket: str, name: str) -> Any:
        """A blob of the client library. Makes no request. Raises `StorageRefused` for a private key that is none."""
        return self._ready().client.bucket(bucket).blob(name, kms_key_name=self.options.kms_key)

    def sign(self, bucket: str, name: str, **how: Any) -> str:
        """A signed URL, made here."""
        parts = self._ready()
        blob = parts.client.bucket(bucket).blob(name)
        url: str = blob.generate_signed_url(
            version="v4", credentials=parts.credentials, api_access_endpoint=self.options.endpoint, **how
        )
        return url

    def get(self, bucket: str, name: str, query: str, headers: dict[str, str]) -> Response:
        """The head of a download; its body is read by whoever asked."""
        place = f"b/{quote(bucket, safe='')}/o/{quote(name, safe='')}"
        url = f"{self.options.endpoint}/download/storage/v1/{place}?alt=media{query}"
        return self._ready().authorized.get(url, headers=headers, stream=True, timeout=self.patience.timeout)

    def session(self, method: str, url: str, **how: Any) -> Response:
        """A request of an upload session: its URL is its credential, so no other goes along."""
        return self._ready().plain.request(method, url, **{"timeout": self.patience.timeout, **how})

    def _ready(self) -> _Parts:
        with self._lock:
            if self._parts is None:
                self._parts = self._build()
            return self._parts

    def _build(self) -> _Parts:
        import requests
        from google.api_core.client_options import ClientOptions
        from google.auth.transport.requests import AuthorizedSession, Request
        from google.cloud.storage import Client  # type: ignore[import-untyped]
        from google.oauth2 import service_account

        from secure_delivery.plugin.dialled import equip

        account = self.options.account
        try:
            read: Any = service_account.Credentials.from_service_account_info
            credentials = read(dict(account.info), scopes=[_SCOPE])
        except ValueError:
            credentials = None
        if credentials is None:
            raise StorageRefused("the private key of the service account cannot be read")
        insecure = self.options.insecure
        plain = equip(requests.Session(), self._dial, insecure=insecure)
        session: Any = AuthorizedSession
        authorized = equip(session(credentials, auth_request=Request(plain)), self._dial, insecure=insecure)
        where = ClientOptions(api_endpoint=self.options.endpoint, universe_domain=account.universe)
        client = Client(project=account.project, credentials=credentials, _http=authorized, client_options=where)
        # The client would ask for every bucket's project and place, in a thread of its own, to describe traces with.
        client._bucket_metadata_cache = None
        return _Parts(client, authorized, plain, credentials)
