"""The way to Azure Blob Storage: the official client with one credential, built when it is first needed.

Knows: the client library and what it must be kept from; shared access signatures. Must not know: what is asked for.

Kept from: proxies of the environment, and trying again by itself with pauses of its own.
"""

from __future__ import annotations

import datetime
import threading
from typing import TYPE_CHECKING, Any

from secure_delivery.plugin import Dial
from secure_delivery.plugin.tries import Patience

from .options import Options

if TYPE_CHECKING:
    from requests import Response, Session

#: Bytes sent in one request; what a draft and the requests of its blocks hold in memory follows from it.
BLOCK = 8 << 20
_READING = 3600  # seconds that a signature for one of our own reads lasts: it is judged when the read begins


class Account:
    """Shared by all requests of one storage; threads may use it at once."""

    def __init__(self, options: Options, dial: Dial, patience: Patience) -> None:
        self.options = options
        self.patience = patience
        self._dial = dial
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._containers: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Account({self.options.account!r}, {self.options.endpoint!r})"

    def blob(self, container: str, name: str) -> Any:
        """A blob of the client library. Makes no request."""
        with self._lock:
            client = self._containers.get(container)
            if client is None:
                client = self._containers[container] = self._client(container, self._ready())
        return client.get_blob_client(name)

    def get(self, container: str, name: str, headers: dict[str, str]) -> Response:
        """The head of a download; its body is read by whoever asked.

        Signed by a shared access signature in either case: the client library reads bodies whole, and this one streams.
        """
        blob = self.blob(container, name)
        token = self.options.sas or self.sign(container, name, _READING)
        with self._lock:
            session = self._ready()
        return session.get(f"{blob.url}?{token}", headers=headers, stream=True, timeout=self.patience.timeout)

    def sign(self, container: str, name: str, seconds: int, **answers: Any) -> str:
        """A shared access signature to read one blob, made here. `answers` are `content_type` and its like."""
        from azure.storage.blob import BlobSasPermissions, generate_blob_sas

        return generate_blob_sas(
            account_name=self.options.account,
            container_name=container,
            blob_name=name,
            account_key=self.options.key,
            permission=BlobSasPermissions(read=True),
            expiry=datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds),
            protocol="https,http" if self.options.insecure else "https",
            **answers,
        )

    def _ready(self) -> Session:
        """The session. The lock is held."""
        if self._session is None:
            import requests

            from secure_delivery.plugin.dialled import equip

            self._session = equip(requests.Session(), self._dial, insecure=self.options.insecure)
        return self._session

    def _client(self, container: str, session: Session) -> Any:
        from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
        from azure.core.pipeline.transport import RequestsTransport
        from azure.storage.blob import ContainerClient

        options, patience = self.options, self.patience
        return ContainerClient(
            options.endpoint,
            container,
            credential=AzureNamedKeyCredential(options.account, options.key)
            if options.key
            else AzureSasCredential(options.sas),
            transport=RequestsTransport(
                session=session,
                session_owner=False,
                use_env_settings=False,
                connection_timeout=patience.connect,
                read_timeout=patience.read,
            ),
            retry_total=0,
            max_single_put_size=BLOCK,
        )
